"""What of a program is for the orders of one day: found once for each day, since a batch's orders are of few."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.domain.program.conditions import When
from core.domain.program.earning_rules import AnyRule
from core.domain.program.promotions import AnyPromotion

EVER = "ever"
_DAYS_KEPT_MAX = 1_000


class UsageKey(NamedTuple):
    """A rule or promotion, and a period of the program's calendar."""

    name: str
    period: str  #: 2026-11-21, 2026-11, or `ever`


class Season(NamedTuple):
    """One day of the program's time zone."""

    periods: Mapping[str, str]  #: the day, its month, and ever, as usages name them
    over: frozenset[str]  #: the rules and promotions whose dates do not hold
    every_order: frozenset[str]  #: of the others those that look for no certain lines
    conditions: Sequence[tuple[str, When]]  #: the others that are not for every order
    limited_rules: Sequence[AnyRule]  #: those for which a customer's other orders matter
    limited_promotions: Sequence[AnyPromotion]  #: those for which other orders matter
    usage_keys: Sequence[UsageKey]  #: all that a customer's order has to be held against


class Seasons:
    """The days of one program."""

    def __init__(
        self, zone: ZoneInfo, rules: Iterable[AnyRule], promotions: Iterable[AnyPromotion], every_order: frozenset[str]
    ) -> None:
        """`every_order` are the names of the rules and promotions that look for no certain lines."""
        self._zone, self._every_order = zone, every_order
        self._rules, self._promotions = tuple(rules), tuple(promotions)
        self._found: dict[date, Season] = {}

    def at(self, occurred_at: datetime) -> Season:
        """What there is for an order of this instant."""
        day = occurred_at.astimezone(self._zone).date()
        season = self._found.get(day)
        if season is None:
            if len(self._found) >= _DAYS_KEPT_MAX:
                self._found.clear()
            season = self._found[day] = self._season(day)
        return season

    def _season(self, day: date) -> Season:
        named: list[tuple[str, When]] = [(rule.rule_id, rule.when) for rule in self._rules]
        named += [(promotion.promotion_id, promotion.when) for promotion in self._promotions]
        over = frozenset(name for name, when in named if not when.includes_day(day))
        rules = [rule for rule in self._rules if (rule.limited_per or rule.carry) and rule.rule_id not in over]
        promotions = [
            promotion
            for promotion in self._promotions
            if (promotion.limited_per or promotion.has_budget) and promotion.promotion_id not in over
        ]
        text = day.isoformat()
        periods = {"day": text, "month": text[: len("2026-11")], EVER: EVER}
        keys = [UsageKey(rule.rule_id, periods[name]) for rule in rules for name, _ in rule.limited_per]
        keys += [UsageKey(each.promotion_id, periods[name]) for each in promotions for name, _ in each.limited_per]
        keys += [UsageKey(rule.rule_id, EVER) for rule in rules if rule.carry]
        conditions = [(name, when) for name, when in named if name not in over and not when.is_always]
        return Season(periods, over, self._every_order - over, conditions, rules, promotions, keys)
