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


class RuleLimit(NamedTuple):
    """A rule of which each customer's use is counted."""

    name: str
    caps: Sequence[tuple[UsageKey, int]]  #: how many points it gives in each period
    carried: UsageKey | None  #: where its remainder is kept, if it has one


class PromotionLimit(NamedTuple):
    """A promotion of which the use is counted."""

    name: str
    orders_of_customer: Sequence[tuple[UsageKey, int]]  #: for how many orders in each period
    orders: int | None  #: of all customers
    budget_points: int | None


class Season(NamedTuple):
    """One day of the program's time zone."""

    over: frozenset[str]  #: the rules and promotions whose dates do not hold
    every_order: frozenset[str]  #: of the others those that look for no certain lines
    conditions: Sequence[tuple[str, When]]  #: of the others those that are not for every order
    rule_limits: Sequence[RuleLimit]
    promotion_limits: Sequence[PromotionLimit]
    counted: frozenset[str]  #: the names of those with limits
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
        text = day.isoformat()
        periods = {"day": text, "month": text[: len("2026-11")], EVER: EVER}
        rules = [
            _rule_limit(rule, periods)
            for rule in self._rules
            if (rule.limited_per or rule.carry) and rule.rule_id not in over
        ]
        promotions = [
            _promotion_limit(promotion, periods)
            for promotion in self._promotions
            if (promotion.limited_per or promotion.has_budget) and promotion.promotion_id not in over
        ]
        keys = [key for limit in rules for key, _ in limit.caps]
        keys += [key for limit in promotions for key, _ in limit.orders_of_customer]
        keys += [limit.carried for limit in rules if limit.carried is not None]
        conditions = [(name, when) for name, when in named if name not in over and not when.is_always]
        counted = frozenset([limit.name for limit in rules] + [limit.name for limit in promotions])
        return Season(over, self._every_order - over, conditions, rules, promotions, counted, keys)


def _rule_limit(rule: AnyRule, periods: Mapping[str, str]) -> RuleLimit:
    caps = [(UsageKey(rule.rule_id, periods[period]), points) for period, points in rule.limited_per]
    return RuleLimit(rule.rule_id, caps, UsageKey(rule.rule_id, EVER) if rule.carry else None)


def _promotion_limit(promotion: AnyPromotion, periods: Mapping[str, str]) -> PromotionLimit:
    name, limits = promotion.promotion_id, promotion.limits
    per = [(UsageKey(name, periods[period]), orders) for period, orders in promotion.limited_per]
    return PromotionLimit(name, per, limits.orders, limits.budget_points)
