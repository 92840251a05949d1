"""Limits that reach over orders: caps of a day or month, remainders carried on, promotions for so many, budgets.

What is left of each is judged once, when an order is posted, and frozen with it; refunds give back what they take.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from core.domain.orders.earning import Earning, Entitlement
from core.domain.orders.facts import Order
from core.domain.orders.posted import Budget, BudgetChange, Judgement, Usage, UsageChange
from core.domain.program import (
    EVER,
    Circumstances,
    CombinePromotions,
    Places,
    Program,
    PromotionLimit,
    UsageKey,
)

_Value = TypeVar("_Value")
_NOTHING = Decimal(0)
_UNUSED = Usage()
_UNSPENT = Budget()


def usage_keys(program: Program, occurred_at: datetime) -> Sequence[UsageKey]:
    """All that a customer's order of this instant has to be held against."""
    return program.seasons.at(occurred_at).usage_keys if program.has_limits else ()


def budgets_of(program: Program, occurred_at: datetime) -> Sequence[PromotionLimit]:
    """The budgets that may pay for an order of this instant."""
    if not program.budgeted:
        return ()
    limits = program.seasons.at(occurred_at).promotion_limits
    return [limit for limit in limits if limit.orders is not None or limit.budget_points is not None]


def judge(
    program: Program,
    circumstances: Circumstances,
    usages: Mapping[UsageKey, Usage],
    budgets: Mapping[str, Budget],
    places: Places | None = None,
) -> Judgement:
    """Judge for good which rules and promotions an order is for, and how much their limits leave to it.

    `usages` are the account's and `budgets` the promotions', as far as there are any; what is missing was never used.
    `places` is `program.rule_index.places` of the order, where the caller has it.
    """
    if places is None:
        places = program.rule_index.places(circumstances.order.lines)
    judgement = _judge_each(program, circumstances, usages, budgets, places)
    if program.combine_promotions is CombinePromotions.NEWEST:
        return _only_newest(program, circumstances, judgement, places)
    return judgement


def judge_anew(
    program: Program,
    circumstances: Circumstances,
    first: Order,
    old: Judgement,
    usages: Mapping[UsageKey, Usage],
    budgets: Mapping[str, Budget],
) -> Judgement:
    """The judgement of an order as it is now, which was judged to be `old` as it was `first`.

    What was judged then stays. What the order was not for, since no line of it mattered, is judged now, and if none of
    the promotions gave anything of which only the newest may, that one is chosen now. Revisions between the two have no
    say, so it cannot matter whether they came. `usages` and `budgets` are what other orders have had.
    """
    places, places_first = (program.rule_index.places(order.lines) for order in (circumstances.order, first))
    names = set(places).difference(places_first) - program.seasons.at(circumstances.local).every_order
    judgement = old
    if names:
        found = _judge_each(program, circumstances, usages, budgets, places)
        judgement = Judgement(
            (*old.excluded, *(name for name in found.excluded if name in names and name not in old.excluded)),
            {**_only(found.allowances, names), **old.allowances},
            {**_only(found.carried, names), **old.carried},
            old.is_first_order,
        )
    if program.combine_promotions is not CombinePromotions.NEWEST:
        return judgement
    given = Earning(first, program, circumstances.tier_id, old, places_first).after(()).given
    if any(promotion.promotion_id in given for promotion in program.promotions):
        return judgement  # it was chosen then
    return _only_newest(program, circumstances, judgement, places)


def _only(found: Mapping[str, _Value], names: set[str]) -> dict[str, _Value]:
    return {name: value for name, value in found.items() if name in names}


def _judge_each(
    program: Program,
    circumstances: Circumstances,
    usages: Mapping[UsageKey, Usage],
    budgets: Mapping[str, Budget],
    places: Places,
) -> Judgement:
    season = program.seasons.at(circumstances.local)
    names = season.every_order.union(places).difference(season.over)
    excluded = [
        name for name, when in season.conditions if name in names and not when.holds_beside_dates(circumstances)
    ]
    names = names.difference(excluded)
    allowances: dict[str, int] = {}
    carried: dict[str, Decimal] = {}
    for limit in season.rule_limits:
        if limit.name not in names:
            continue
        if limit.caps:
            left = [cap - usages.get(key, _UNUSED).points for key, cap in limit.caps]
            allowances[limit.name] = max(0, min(left))
        if limit.carried is not None and (remainder := usages.get(limit.carried, _UNUSED).carried):
            carried[limit.name] = remainder
    for promotion_limit in season.promotion_limits:
        if promotion_limit.name in names:
            spent = budgets.get(promotion_limit.name, _UNSPENT)
            if _is_used_up(promotion_limit, usages, spent):
                excluded.append(promotion_limit.name)
            elif promotion_limit.budget_points is not None:
                allowances[promotion_limit.name] = promotion_limit.budget_points - spent.points
    is_first = circumstances.is_first_order and program.asks_for_first_order
    return Judgement(tuple(excluded), allowances, carried, is_first)


def _is_used_up(limit: PromotionLimit, usages: Mapping[UsageKey, Usage], spent: Budget) -> bool:
    return (
        any(usages.get(key, _UNUSED).orders >= most for key, most in limit.orders_of_customer)
        or (limit.orders is not None and spent.orders >= limit.orders)
        or (limit.budget_points is not None and spent.points >= limit.budget_points)
    )


def _only_newest(program: Program, circumstances: Circumstances, judgement: Judgement, places: Places) -> Judgement:
    """Leave the last promotion of the file that gives something. Chosen for good: a refund must not bring another."""
    over = program.seasons.at(circumstances.local).over.union(judgement.excluded)
    running = [p.promotion_id for p in program.promotions if p.promotion_id not in over]
    for name in reversed(running):
        others = tuple(other for other in running if other != name)
        alone = judgement._replace(excluded=(*judgement.excluded, *others))
        if name in Earning(circumstances.order, program, circumstances.tier_id, alone, places).after(()).given:
            return alone
    return judgement


def usage_changes(
    program: Program,
    account_id: UUID,
    order: Order,
    judgement: Judgement,
    before: Entitlement | None,
    after: Entitlement,
) -> tuple[UsageChange, ...]:
    """What a posting changes of the account's usages; `before` is None for the order itself."""
    if not program.has_limits:
        return ()
    names = {*after.given, *after.left_over, *(() if before is None else before.given)}
    changes: dict[UsageKey, UsageChange] = {}
    for key in usage_keys(program, order.occurred_at):
        if key.name not in names:
            continue
        points, orders = _difference(key.name, before, after)
        carried = _NOTHING
        if key.period == EVER and key.name in after.left_over:
            had = (
                judgement.carried.get(key.name, _NOTHING)
                if before is None
                else before.left_over.get(key.name, _NOTHING)
            )
            carried = after.left_over[key.name] - had
        if points or orders or carried:
            changes[key] = UsageChange(account_id, key.name, key.period, points, orders, carried)
    return tuple(changes.values())


def budget_changes(program: Program, before: Entitlement | None, after: Entitlement) -> tuple[BudgetChange, ...]:
    """What a posting changes of the promotions' budgets."""
    return tuple(_budget_changes(program, before, after)) if program.budgeted else ()


def _budget_changes(program: Program, before: Entitlement | None, after: Entitlement) -> Iterator[BudgetChange]:
    for promotion_id in program.budgeted:
        points, orders = _difference(promotion_id, before, after)
        if points or orders:
            yield BudgetChange(program.program_id, promotion_id, points, orders)


def _difference(name: str, before: Entitlement | None, after: Entitlement) -> tuple[int, int]:
    """By how many points, and by how many orders, what `name` gives has changed."""
    had = 0 if before is None else before.given.get(name, 0)
    has = after.given.get(name, 0)
    return has - had, (has > 0) - (had > 0)
