"""What of a program is for the orders of one day: found once for each day, since a batch's orders are of few."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

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
    over: Sequence[str]  #: the rules and promotions whose dates do not hold
    conditions: Sequence[tuple[str, When]]  #: the others that are not for every order
    limited_rules: Sequence[AnyRule]  #: those for which a customer's other orders matter
    limited_promotions: Sequence[AnyPromotion]  #: those for which other orders matter
    usage_keys: Sequence[UsageKey]  #: all that a customer's order has to be held against


class Seasons:
    """The days of one program."""

    def __init__(self, rules: Iterable[AnyRule], promotions: Iterable[AnyPromotion]) -> None:
        self._rules, self._promotions = tuple(rules), tuple(promotions)
        self._found: dict[date, Season] = {}

    def of(self, day: date) -> Season:
        """What there is for the orders of a day."""
        season = self._found.get(day)
        if season is None:
            if len(self._found) >= _DAYS_KEPT_MAX:
                self._found.clear()
            season = self._found[day] = self._season(day)
        return season

    def _season(self, day: date) -> Season:
        named: list[tuple[str, When]] = [(rule.rule_id, rule.when) for rule in self._rules]
        named += [(promotion.promotion_id, promotion.when) for promotion in self._promotions]
        over = [name for name, when in named if not when.includes_day(day)]
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
        return Season(periods, over, conditions, rules, promotions, keys)
