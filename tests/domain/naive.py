"""A second, slow and plain model of the same rules, written without the domain's code, to compare with.

It is told what is posted, in that sequence, since what a late order meets (tier, limits, what was spent) is what was
known when it came. All else it works out anew each time, from all orders and all refunds: it keeps no running sums.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import pairwise

from core.domain.orders.facts import Cancellation, Fulfilment, Order, OrderLine, Refund, RefundLine
from core.domain.program import AnyPromotion, AnyRule, CategoryRule, Expiry, ItemRule, Program, SpendRule
from tests.domain.naive_earning import Earned, Judged, fits, naive_earned
from tests.domain.naive_tiers import NaiveTiers, Sold, Worth
from tests.domain.naive_time import DAY, end_of_points


@dataclass
class End:
    """When points of one kind end that inactivity ends, all together."""

    kind: str
    at: datetime


@dataclass
class Pile:
    """Points of one order that end together."""

    order_id: str
    place: int  #: among all piles
    kind: str  #: the rule or promotion whose own expiry they have
    left: int
    available_at: datetime | None
    end: datetime | End | None
    is_pending: bool
    expired: int = 0
    excused: int = 0
    is_there: bool = True  #: it did not go into a debt as it came

    @property
    def expires_at(self) -> datetime | None:
        return self.end.at if isinstance(self.end, End) else self.end

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass
class Sale:
    """One order, and what was settled when it came."""

    order: Order
    program: Program
    tier: str
    judged: Judged
    was_first: bool  #: of its customer's orders, when it came
    refunds: list[Refund] = field(default_factory=list)
    reverted: set[str] = field(default_factory=set)  #: the refunds that did not happen
    revision: int = 0
    cancelled_at: datetime | None = None
    called_off: list[Cancellation] = field(default_factory=list)  #: some of its lines
    fulfilled_at: datetime | None = None
    excused: int = 0
    shortfall: int = 0
    taken: list[tuple[Pile, int]] = field(default_factory=list)  #: by its clawbacks, oldest first, less what came back
    first_order: Order = field(init=False)
    first_judged: Judged = field(init=False)
    has_chosen: bool = field(init=False)  #: the newest promotion, for ever
    _found: dict[tuple[int, frozenset[str]], Earned] = field(
        default_factory=dict
    )  #: since all of it is asked for again and again

    def __post_init__(self) -> None:
        self.first_order, self.first_judged = self.order, self.judged
        gives = {p.promotion_id for p in self.program.promotions} & self.earned().by_name.keys()
        self.has_chosen = self.program.combine_promotions.value == "newest" and bool(gives)

    def earned(self, *, first: bool = False) -> Earned:
        """What it earns with all its refunds, or what it earned at first."""
        return self._with([] if first else self._all_refunds())

    def counts(self) -> Sold:
        """What it counts for tiers, and when."""
        at, refunds = self.order.occurred_at, self._all_refunds()
        instants = sorted({max(at, refund.occurred_at) for refund in refunds})
        found = [(at, self.earned(first=True))]
        found += [(at, self._with([each for each in refunds if each.occurred_at <= at])) for at in instants]
        kept = [(since, _worth(earned, _orders(self, earned))) for since, earned in found]
        # What changes nothing is no matter to tiers: time does not pass by it.
        return Sold(at, [kept[0], *(new for old, new in pairwise(kept) if new[1] != old[1])])

    @property
    def is_counted(self) -> bool:
        """Whether it is one of its customer's orders: the first one, say."""
        return self.standing(self.earned())[0]

    def standing(self, earned: Earned) -> tuple[bool, bool]:
        """Whether it counts, and whether it earns."""
        earns = earned.points > 0 or self.program.counted_orders.value != "earning"
        is_paid = earned.is_paid or self.program.counted_orders.value == "all"
        return earned.is_kept and earns and is_paid, earned.points > 0

    def _all_refunds(self) -> list[Refund]:
        happened = [refund for refund in self.refunds if refund.refund_id not in self.reverted]
        happened += [self._in_part(number, each) for number, each in enumerate(self.called_off)]
        if self.cancelled_at is None:
            return happened
        source, order_id = self.order.source, self.order.order_id
        return [*happened, Refund(source, "", order_id, self.cancelled_at, True, None, None, ())]

    def _in_part(self, number: int, called_off: Cancellation) -> Refund:
        """A cancellation of a line as the refund that it is as good as; without pieces it is of all of the line."""
        (part,) = called_off.lines
        (line,) = [line for line in self.order.lines if line.line_id == part.line_id]
        given = RefundLine(part.line_id, line.quantity if part.quantity is None else part.quantity, None, None)
        name = f"called off {number}"
        return Refund(self.order.source, name, self.order.order_id, called_off.occurred_at, False, None, None, (given,))

    def _with(self, refunds: list[Refund]) -> Earned:
        key = self.revision, frozenset(refund.refund_id for refund in refunds)
        if key not in self._found:
            self._found[key] = naive_earned(self.order, refunds, self.program, self.tier, self.judged)
        return self._found[key]


def _worth(earned: Earned, orders: int) -> Worth:
    return Worth(earned.points, earned.spent, orders)


def _orders(sale: Sale, earned: Earned) -> int:
    return int(earned.is_kept and (earned.is_paid or sale.program.counted_orders.value == "all"))


@dataclass
class NaiveAccount:
    """One account."""

    program: Program  #: in force now
    piles: list[Pile] = field(default_factory=list)
    shared: list[End] = field(default_factory=list)
    debt: int = 0
    sales: dict[str, Sale] = field(default_factory=dict)
    changed_at: datetime | None = None  #: when the program in force replaced the first one
    first_program: Program = field(init=False)

    def __post_init__(self) -> None:
        self.first_program = self.program

    # What there is.

    @property
    def balance(self) -> int:
        return sum(pile.left for pile in self.piles if not pile.is_pending) - self.debt

    @property
    def pending(self) -> int:
        return sum(pile.left for pile in self.piles if pile.is_pending)

    @property
    def ends(self) -> Counter[tuple[datetime | None, bool]]:
        found: Counter[tuple[datetime | None, bool]] = Counter()
        for pile in self.piles:
            found[pile.expires_at, pile.is_pending] += pile.left
        return +found

    @property
    def lifetime(self) -> int:
        return sum(sale.earned().points + sale.excused + sale.shortfall for sale in self.sales.values())

    def version_at(self, instant: datetime) -> Program:
        """The version in force then."""
        return self.program if self.changed_at is not None and instant >= self.changed_at else self.first_program

    def tiers(self, end: datetime, *more: Sold) -> NaiveTiers:
        """The tiers through time, to `end`, from all that is known; with `more` orders."""
        return NaiveTiers([*(sale.counts() for sale in self.sales.values()), *more], self.version_at).run(end)

    def given(self, name: str, limit: str, period: str = "") -> tuple[int, int]:
        """The points that orders of a period have of a rule or promotion, and how many of them have any.

        An order counts for a `limit` that its version has.
        """
        points = [
            sale.earned().by_name.get(name, 0)
            for sale in self.sales.values()
            if f"{sale.order.occurred_at.astimezone(sale.program.zone):%Y-%m-%d}".startswith(period)
            and limit in _limits(sale.program, name)
        ]
        return sum(points), sum(each > 0 for each in points)

    def left_over(self, rule_id: str) -> Fraction:
        """The remainder that orders have left for the next one."""
        found = Fraction(0)
        for sale in self.sales.values():
            left_over = sale.earned().left_over
            if rule_id in left_over:
                found += left_over[rule_id] - sale.judged.carried.get(rule_id, 0)
        return found

    # What happens.

    def complete(self, order: Order, version: Program, now: datetime) -> None:
        """An order comes, made under `version`."""
        tier = self._named(self.tiers(order.occurred_at).at(order.occurred_at), version)
        sale, reached = self._settled(order, version, tier)
        names = [each.tier_id for each in version.tiers]
        if (
            version.qualification.crossing_order.value == "new_tier"
            and reached in names
            and names.index(reached) > names.index(tier)
        ):
            again, reached = self._settled(order, version, reached)
            if reached in names and names.index(reached) > names.index(tier):
                sale = again
        self.sales[order.order_id] = sale
        if self.debt and sale.earned().points:
            self.release(now)
        if sale.is_counted:
            self._slide(version, order.occurred_at, now)
        others = [each for each in self.sales.values() if each is not sale]
        is_empty = not any(each.is_counted for each in others) and not any(pile.left for pile in self.piles)
        self._grant(sale, now, sale.earned().by_kind(sale.program), begins=is_empty)

    def refund(self, refund: Refund, now: datetime) -> None:
        sale = self.sales[refund.order_id]
        before, first = sale.earned(), sale.earned(first=True)
        sale.refunds.append(refund)
        self._settle(sale, before, first, now)

    def revert(self, order_id: str, refund_id: str, now: datetime) -> None:
        """A refund did not happen after all."""
        sale = self.sales[order_id]
        before, first = sale.earned(), sale.earned(first=True)
        sale.reverted.add(refund_id)
        self._settle(sale, before, first, now)

    def amend(self, order: Order, revision: int, now: datetime) -> None:
        """The order is this now, unless it is something newer already."""
        sale = self.sales[order.order_id]
        if revision <= sale.revision:
            return
        before, first = sale.earned(), sale.earned(first=True)
        judged = self._judged_anew(sale, order)
        sale.order, sale.revision, sale.judged = order, revision, judged
        self._settle(sale, before, first, now)

    def cancel(self, cancellation: Cancellation, now: datetime) -> None:
        sale = self.sales[cancellation.order_id]
        before, first = sale.earned(), sale.earned(first=True)
        if cancellation.lines:
            sale.called_off.append(cancellation)
        else:
            sale.cancelled_at = cancellation.occurred_at
        self._settle(sale, before, first, now)

    def fulfil(self, fulfilment: Fulfilment, now: datetime) -> None:
        sale = self.sales[fulfilment.order_id]
        sale.fulfilled_at = fulfilment.occurred_at
        for pile in self.piles:
            if pile.order_id == fulfilment.order_id and pile.is_pending and pile.available_at is None:
                pile.available_at = _available_at(sale, now)
                pile.end = self._end(sale, pile.kind, pile.available_at, now)
                if pile.available_at is not None and pile.available_at <= now:
                    self._release(pile)

    def spend(self, points: int, now: datetime) -> None:
        for pile in self._spendable(now):
            part = min(points, pile.left)
            pile.left, points = pile.left - part, points - part

    def release(self, now: datetime) -> None:
        due = [pile for pile in self.piles if pile.is_pending and pile.available_at and pile.available_at <= now]
        for pile in sorted(due, key=lambda pile: (pile.available_at, pile.place)):
            self._release(pile)

    def expire(self, now: datetime) -> None:
        over = [pile for pile in self.piles if pile.is_over(now) and pile.left]
        if over:
            self.release(now)
        for pile in over:
            pile.expired, pile.left = pile.expired + pile.left, 0

    # How.

    def _settled(self, order: Order, version: Program, tier: str) -> tuple[Sale, str]:
        """What an order is at this tier, and the tier that holds from its own time on."""
        is_first = not any(sale.is_counted for sale in self.sales.values())
        judged = self._judged(order, version, tier, is_first=is_first)
        sale = Sale(order, version, tier, judged, is_first)
        return sale, self.tiers(order.occurred_at, sale.counts()).at(order.occurred_at)

    def _named(self, tier: str, version: Program) -> str:
        """A tier that the version has."""
        assert tier in [each.tier_id for each in version.tiers], "the versions of these stories have the same tiers"
        return tier

    def _judged(self, order: Order, version: Program, tier: str, *, is_first: bool) -> Judged:
        parts = [*version.earning_rules, *version.promotions]
        judged = Judged({_name(p) for p in parts if not fits(p.when, order, version, tier, is_first=is_first)}, {}, {})
        day = f"{order.occurred_at.astimezone(version.zone):%Y-%m-%d}"
        for rule in version.earning_rules:
            left = [
                max(0, cap - self.given(rule.rule_id, limit, period)[0])
                for limit, period, cap in (
                    ("per_day", day, rule.caps.per_day),
                    ("per_month", day[:7], rule.caps.per_month),
                )
                if cap is not None
            ]
            if left:
                judged.at_most[rule.rule_id] = min(left)
            if isinstance(rule, SpendRule) and rule.carry:
                judged.carried[rule.rule_id] = self.left_over(rule.rule_id)
        for promotion in version.promotions:
            limits, name = promotion.limits, promotion.promotion_id
            points, orders = self.given(name, "budget")
            if (
                _is_reached(limits.orders_per_customer, self.given(name, "ever")[1])
                or _is_reached(limits.orders_per_customer_and_day, self.given(name, "day", day)[1])
                or _is_reached(limits.orders, orders)
                or _is_reached(limits.budget_points, points)
            ):
                judged.excluded.add(name)
            elif limits.budget_points is not None:
                judged.at_most[name] = limits.budget_points - points
        if version.combine_promotions.value == "newest":
            names = [p.promotion_id for p in version.promotions if p.promotion_id not in judged.excluded]
            for name in names[::-1]:
                alone = judged._replace(excluded=judged.excluded | {other for other in names if other != name})
                if naive_earned(order, [], version, tier, alone).by_name.get(name):
                    return alone
        return judged

    def _judged_anew(self, sale: Sale, order: Order) -> Judged:
        """What was judged at first stays. What looks for lines that were not there at first is judged now."""
        parts = [*sale.program.earning_rules, *sale.program.promotions]
        new = {_name(p) for p in parts if _looks_for(p, order.lines) and not _looks_for(p, sale.first_order.lines)}
        if sale.has_chosen:
            new -= {p.promotion_id for p in sale.program.promotions}
        others = NaiveAccount(self.program, sales={key: each for key, each in self.sales.items() if each is not sale})
        now, old = others._judged(order, sale.program, sale.tier, is_first=sale.was_first), sale.first_judged
        return Judged(
            (old.excluded - new) | (now.excluded & new),
            old.at_most | {name: most for name, most in now.at_most.items() if name in new},
            old.carried | {name: rest for name, rest in now.carried.items() if name in new},
        )

    def _expiry(self, program: Program, kind: str) -> Expiry:
        own = [part.expiry for part in (*program.earning_rules, *program.promotions) if kind and _name(part) == kind]
        return own[0] if own and own[0] is not None else program.expiry

    def _end(
        self, sale: Sale, kind: str, available: datetime | None, now: datetime, *, begins: bool = False
    ) -> datetime | End | None:
        program = sale.program
        expiry = self._expiry(program, kind)
        at = end_of_points(expiry, program, available)
        if at is None or expiry.policy.value != "inactivity":
            return at
        assert available is not None
        ahead = [end for end in self.shared if end.kind == kind and end.at > now]
        if begins and at <= now:
            ahead = []
        if not sale.is_counted and not begins:
            ahead = [end for end in ahead if end.at > available]
        if not ahead:
            self.shared.append(End(kind, at))
            return self.shared[-1]
        latest = max(reversed(ahead), key=lambda end: end.at)
        if begins:
            latest.at = at
        elif sale.is_counted:
            latest.at = max(latest.at, at)
        return latest

    def _come_back(self, now: datetime) -> None:
        """An order that counted does not any more: points end when the others let them."""
        for end in self.shared:
            ends = []
            first = True
            for pile in self.piles:
                sale = self.sales[pile.order_id]
                if pile.end is not end or not pile.is_there or not any(sale.standing(sale.earned())):
                    continue
                if first or sale.is_counted or (pile.is_pending and pile.left):
                    ends.append(end_of_points(self._expiry(sale.program, end.kind), sale.program, pile.available_at))
                first = False
            for sale in self.sales.values():
                expiry = self._expiry(sale.program, end.kind)
                if sale.is_counted and expiry.policy.value == "inactivity":
                    ends.append(end_of_points(expiry, sale.program, sale.order.occurred_at))
            found = [at for at in ends if at is not None]
            if found and end.at > now:
                end.at = max(now, min(end.at, max(found)))

    def _slide(self, program: Program, active_at: datetime, now: datetime) -> None:
        for end in self.shared:
            expiry = self._expiry(program, end.kind)
            at = end_of_points(expiry, program, active_at)
            if expiry.policy.value == "inactivity" and max(active_at, now) < end.at:
                assert at is not None
                end.at = max(end.at, at)

    def _grant(self, sale: Sale, now: datetime, granted: dict[str, int], *, begins: bool = False) -> None:
        available = _available_at(sale, now)
        new: list[Pile] = []
        for kind, points in granted.items():
            end = self._end(sale, kind, available, now, begins=begins)
            is_pending = available is None or available > now
            place = len(self.piles) + len(new)
            new.append(Pile(sale.order.order_id, place, kind, points, available, end, is_pending))
        self.piles += new
        for pile in new:
            if not pile.is_pending:
                self._pay(pile)
                pile.is_there = pile.left > 0

    def _release(self, pile: Pile) -> None:
        pile.is_pending = False
        self._pay(pile)

    def _pay(self, pile: Pile) -> None:
        part = min(self.debt, pile.left)
        pile.left, self.debt = pile.left - part, self.debt - part

    def _settle(self, sale: Sale, before: Earned, first: Earned, now: datetime) -> None:
        """Post the difference between what the order earned `before` and what it earns."""
        self.release(now)
        if sale.earned().points > before.points:
            self._give_back(sale, before, now)
        else:
            self._take_back(sale, before, first, now)
        was, is_now = sale.standing(before), sale.standing(sale.earned())
        if is_now[0] and not was[0]:
            self._go_on(sale, now)
        elif was > is_now:
            self._come_back(now)

    def _go_on(self, sale: Sale, now: datetime) -> None:
        """An order counts after all, and so do its points."""
        piles = [pile for pile in self.piles if pile.order_id == sale.order.order_id]
        for end in self.shared:
            expiry = self._expiry(sale.program, end.kind)
            if end.at > now and expiry.policy.value == "inactivity":
                instants = [sale.order.occurred_at, *(pile.available_at for pile in piles if pile.end is end)]
                ends = [end_of_points(expiry, sale.program, instant) for instant in instants]
                end.at = max([end.at, *(at for at in ends if at is not None)])

    def _give_back(self, sale: Sale, before: Earned, now: datetime) -> None:
        more = sale.earned().points - before.points
        not_taken = min(more, sale.shortfall)
        excused = min(more - not_taken, sale.excused)
        sale.shortfall, sale.excused, more = (
            sale.shortfall - not_taken,
            sale.excused - excused,
            more - not_taken - excused,
        )
        for pile in [pile for pile in self.piles if pile.order_id == sale.order.order_id][::-1]:
            part = min(excused, pile.excused)
            pile.excused, excused = pile.excused - part, excused - part
        returns: dict[int, int] = {}
        for place, (pile, points) in reversed([*enumerate(sale.taken)]):
            part = min(more, points)
            sale.taken[place], more = (pile, points - part), more - part
            if part:
                returns[pile.place] = returns.get(pile.place, 0) + part
        count = len(self.piles)
        self._grant(sale, now, self._beyond(sale, before, more))
        for place, points in reversed(returns.items()):
            pile = self.piles[place]
            paid = 0 if pile.is_pending else min(points, self.debt)
            self.debt, pile.left = self.debt - paid, pile.left + points - paid
        for pile in [*(self.piles[place] for place in returns), *self.piles[count:]]:
            if pile.is_over(now) and not pile.is_pending:
                pile.expired, pile.left = pile.expired + pile.left, 0

    def _beyond(self, sale: Sale, before: Earned, points: int) -> dict[str, int]:
        """Points beyond what was taken, by the rule or promotion whose own expiry they have."""
        had, has = before.by_kind(sale.program), sale.earned().by_kind(sale.program)
        found: dict[str, int] = {}
        for kind in has:
            part = min(points, max(0, has[kind] - had.get(kind, 0)))
            if part:
                found[kind] = part
            points -= part
        if points:
            first = next(iter(has))
            found[first] = found.get(first, 0) + points
        return found

    def _take_back(self, sale: Sale, before: Earned, first: Earned, now: datetime) -> None:
        program, after = sale.program, sale.earned()
        owes = _owes(first.by_kind(program), after.by_kind(program))
        owed = _owes(first.by_kind(program), before.by_kind(program))
        due = before.points - after.points
        own = [pile for pile in self.piles if pile.order_id == sale.order.order_id]
        missing, taken = 0, dict.fromkeys((pile.place for pile in own), 0)
        is_pending_only = program.clawback.policy.value == "pending_only"
        takeable = [pile for pile in own if not pile.is_over(now) and (pile.is_pending or not is_pending_only)]
        for kind in owes:
            part = min(due, max(0, owes[kind] - owed[kind]))
            due -= part
            for pile in own:
                if pile.kind == kind:
                    lost = pile.expired + (pile.left if pile.is_over(now) else 0) - pile.excused
                    pile.excused += min(part, lost)
                    sale.excused += min(part, lost)
                    part -= min(part, lost)
            for pile in takeable:
                if pile.kind == kind:
                    part -= (taken_of := min(part, pile.left))
                    pile.left, taken[pile.place] = pile.left - taken_of, taken.get(pile.place, 0) + taken_of
            missing += part
        for pile in [*takeable, *([] if is_pending_only else self._spendable(now, without=sale.order.order_id))]:
            missing -= (taken_of := min(missing, pile.left))
            pile.left, taken[pile.place] = pile.left - taken_of, taken.get(pile.place, 0) + taken_of
        sale.taken += [(self.piles[place], points) for place, points in taken.items()]
        if program.clawback.policy.value == "allow_negative":
            self.debt += missing
        else:
            sale.shortfall += missing

    def _spendable(self, now: datetime, without: str = "") -> list[Pile]:
        found = [
            pile
            for pile in self.piles
            if not pile.is_pending and not pile.is_over(now) and pile.order_id != without and pile.left
        ]
        dated = [pile for pile in found if pile.expires_at is not None]
        undated = [pile for pile in found if pile.expires_at is None]
        dated.sort(key=lambda pile: (pile.expires_at, pile.available_at, pile.place))
        undated.sort(key=lambda pile: (pile.available_at, pile.place))
        return dated + undated


def _available_at(sale: Sale, now: datetime) -> datetime | None:
    """When points that an order is given now are available, as far as that is known."""
    availability, at = sale.program.availability, sale.order.occurred_at
    wait = (availability.days or 0) * DAY
    match availability.policy.value:
        case "on_fulfilled" | "days_after_fulfilment":
            return None if sale.fulfilled_at is None else min(max(sale.fulfilled_at, at), now) + wait
        case "after_days":
            return at + wait
        case _:
            return min(at, now)


def _looks_for(part: AnyRule | AnyPromotion, lines: Iterable[OrderLine]) -> bool:
    """Whether it names articles or categories of these lines; what names none, or carries, is for every order."""
    if isinstance(part, SpendRule) and part.carry:
        return False
    names = part if isinstance(part, ItemRule | CategoryRule) else part.lines
    skus, categories = getattr(names, "skus", ()), getattr(names, "categories", ())
    return any(line.sku in skus or not {*line.categories}.isdisjoint(categories) for line in lines)


def _name(part: AnyRule | AnyPromotion) -> str:
    return part.promotion_id if hasattr(part, "promotion_id") else part.rule_id


def _limits(program: Program, name: str) -> list[str]:
    """The limits over orders that a version has for a rule or promotion."""
    found: list[str] = []
    for rule in program.earning_rules:
        if rule.rule_id == name:
            found += [limit for limit in ("per_day", "per_month") if getattr(rule.caps, limit) is not None]
    for promotion in program.promotions:
        if promotion.promotion_id == name:
            limits = promotion.limits
            found += ["ever"] if limits.orders_per_customer is not None else []
            found += ["day"] if limits.orders_per_customer_and_day is not None else []
            found += ["budget"] if limits.orders is not None or limits.budget_points is not None else []
    return found


def _is_reached(limit: int | None, used: int) -> bool:
    return limit is not None and used >= limit


def _owes(granted: dict[str, int], kept: dict[str, int]) -> dict[str, int]:
    """What each kind lost; what one has more than at first stands for what the first others lost."""
    more = sum(max(0, points - granted.get(kind, 0)) for kind, points in kept.items())
    owes = {}
    for kind, points in granted.items():
        lost = max(0, points - kept.get(kind, 0))
        owes[kind] = max(0, lost - more)
        more = max(0, more - lost)
    return owes
