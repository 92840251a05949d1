"""A second, slow and plain model of the same rules, written without the domain's code, to compare with.

It is told what is posted, in that sequence, since what a late order meets (tier, limits, what was spent) is what was
known when it came. All else it works out anew each time, from all orders and all refunds: it keeps no running sums.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from core.domain.orders.facts import AmendedOrder, Fulfilment, Return
from core.domain.program import Expiry, Program
from tests.domain.naive_earning import Earned, naive_earned
from tests.domain.naive_judging import NaiveOrders
from tests.domain.naive_sales import (
    About,
    End,
    Pile,
    Sale,
    Told,
    available_at_of,
    move_back,
    name_of,
    owes_of,
    surplus,
)
from tests.domain.naive_time import DAY, end_of_points


@dataclass
class NaiveAccount(NaiveOrders):
    """One account."""

    piles: list[Pile] = field(default_factory=list)
    shared: list[End] = field(default_factory=list)
    debt: int = 0
    spent: list[tuple[Program, datetime]] = field(default_factory=list)  #: when, and under which version
    returned: int = 0  #: taken for goods that came back without a receipt
    lifetime_brought: int = 0  #: of what merges brought, beyond what their orders have, less what went

    # What there is.

    @property
    def balance(self) -> int:
        return sum(pile.left for pile in self.piles if not pile.is_pending) - self.debt

    @property
    def pending(self) -> int:
        return sum(pile.left for pile in self.piles if pile.is_pending)

    @property
    def reserved(self) -> int:
        """What authorizations hold: nothing, where there are no commands."""
        return 0

    @property
    def ends(self) -> Counter[tuple[datetime | None, bool]]:
        found: Counter[tuple[datetime | None, bool]] = Counter()
        for pile in self.piles:
            found[pile.expires_at, pile.is_pending] += pile.left
        return +found

    @property
    def lifetime(self) -> int:
        sales = sum(sale.earned().points + sale.excused + sale.shortfall for sale in self.sales.values())
        return sales - self.returned + self.lifetime_brought

    # What happens.

    def come(self, told: Told, now: datetime) -> None:
        """An order comes, as the shop has told of it."""
        version, at = told.program, told.order.occurred_at
        tier = self.named(self.tiers(at).at(at), version)
        sale, reached = self.settled(told, tier)
        names = [each.tier_id for each in version.tiers]
        if (
            version.qualification.crossing_order.value == "new_tier"
            and reached in names
            and names.index(reached) > names.index(tier)
        ):
            again, reached = self.settled(told, reached)
            if reached in names and names.index(reached) > names.index(tier):
                sale = again
        self.sales[told.order.order_id] = sale
        if self.debt and sale.earned().points:
            self.release(now)
        if sale.is_counted:
            self._slide(version, at, now)
        is_empty = not any(pile.left for pile in self.piles)
        self._grant(sale, now, sale.earned().by_kind(version), begins=is_empty)
        if told.parcels:
            self._share_out(sale, max(parcel.occurred_at for parcel in told.parcels), now)

    def go(self, order_id: str, now: datetime) -> None:
        """An order is another customer's now."""
        sale = self.sales[order_id]
        before, first = sale.earned(), sale.earned_at_first()
        sale.has_left = True
        self._settle(sale, before, first, now)

    def hear(self, message: About, now: datetime) -> None:
        """Something is told of one of the orders."""
        sale = self.sales[message.order_id]
        before, first = sale.earned(), sale.earned_at_first()
        judged = self.judged_anew(sale, message.order) if isinstance(message, AmendedOrder) else sale.judged
        sale.told.hear(message)
        sale.judged = judged
        if not isinstance(message, Fulfilment):
            self._settle(sale, before, first, now)
        elif message.lines:
            self._share_out(sale, message.occurred_at, now)
        else:
            self._fulfil(sale, now)

    def _fulfil(self, sale: Sale, now: datetime) -> None:
        for pile in self.piles:
            if pile.order_id == sale.order.order_id and pile.waits:
                pile.available_at = available_at_of(sale, now)
                pile.end = self._end(sale, pile.kind, pile.available_at, now)
                if pile.available_at is not None and pile.available_at <= now:
                    self._release(pile)

    def take(self, returned: Return, version: Program, now: datetime) -> None:
        """Goods came back without a receipt."""
        order = returned.as_order
        tier = self.named(self.tiers(order.occurred_at).at(order.occurred_at), version)
        judged = NaiveOrders(version).judged(order, version, tier, is_first=False)
        points = naive_earned(order, [], version, tier, self.chosen(judged, order, version, tier)).points
        policy = version.clawback.policy.value
        good = [pile for pile in self.piles if pile.left and not pile.is_over(now)]
        is_there = any(pile.available_at and pile.available_at <= now for pile in good)
        can_take = (is_there or self.can_give_up(version)) and policy != "pending_only"
        if not points or not (can_take or policy == "allow_negative"):
            return
        self.release(now)
        for pile in [] if policy == "pending_only" else self.spendable(now):
            part = min(points, pile.left)
            pile.left, points, self.returned = pile.left - part, points - part, self.returned + part
        given_up = sum(part for _, part in self.given_up(points, None, version, now))
        points, self.returned = points - given_up, self.returned + given_up
        if policy == "allow_negative":
            self.debt, self.returned = self.debt + points, self.returned + points

    def spend(self, points: int, now: datetime) -> list[tuple[Pile, int]]:
        """Take so many of what can be spent; from which piles, in this order."""
        taken = []
        for pile in self.spendable(now):
            part = min(points, pile.left)
            pile.left, points = pile.left - part, points - part
            if part:
                taken.append((pile, part))
        return taken

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

    def _expiry(self, program: Program, kind: str) -> Expiry:
        own = [part.expiry for part in (*program.earning_rules, *program.promotions) if kind and name_of(part) == kind]
        return own[0] if own and own[0] is not None else program.expiry

    def _end(
        self, sale: Sale, kind: str, available: datetime | None, now: datetime, *, begins: bool = False
    ) -> datetime | End | None:
        return self._end_by(sale.program, kind, available, now, is_counted=sale.is_counted, begins=begins)

    def _end_by(
        self,
        program: Program,
        kind: str,
        available: datetime | None,
        now: datetime,
        *,
        is_counted: bool,
        begins: bool = False,
    ) -> datetime | End | None:
        expiry = self._expiry(program, kind)
        at = end_of_points(expiry, program, available)
        if at is None or expiry.policy.value != "inactivity":
            return at
        assert available is not None
        ahead = [end for end in self.shared if end.kind == kind and end.at > now]
        kept = [end for end in ahead if self._is_kept(end) and (is_counted or end.at > available)]
        left_over = [end for end in ahead if not self._is_kept(end)]
        if kept:
            latest = max(reversed(kept), key=lambda end: end.at)
            if is_counted:
                latest.at = max(latest.at, at)
        elif left_over and begins and at > now:
            latest = max(reversed(left_over), key=lambda end: end.at)
            latest.at = at
        else:
            latest = End(kind, at)
            self.shared.append(latest)
        return latest

    def _is_kept(self, end: End, *, but: Sale | None = None) -> bool:
        """Whether points have this end that were given, or of an order of which something is kept, but this one."""
        piles = [pile for pile in self.piles if pile.end is end and pile.is_there]
        others = [pile for pile in piles if but is None or not pile.is_of(but.order.order_id)]
        return any(pile.command_id is not None or self._stands(pile) for pile in others)

    def _stands(self, pile: Pile) -> bool:
        """Whether something is kept of the order that the points are of."""
        sale = self.sales[pile.order_id]
        return any(sale.standing(sale.earned()))

    def _come_back(self, end: End, now: datetime) -> None:
        """Let points end when the others let them, or, once nothing is kept of them, when they let each other."""
        is_kept, first = self._is_kept(end), True
        ends, own = [], [pile for pile in self.piles if pile.end is end and pile.is_there]
        for pile in own:
            sale = self.sales.get(pile.order_id)
            is_gone = pile.command_id is None and not self._stands(pile)
            if is_gone and (is_kept or (sale is not None and sale.has_left)):
                continue
            if first or is_gone or sale is None or sale.is_counted or (pile.is_pending and pile.left):
                program = pile.given_under if sale is None else sale.program
                assert program is not None
                ends.append(end_of_points(self._expiry(program, end.kind), program, pile.available_at))
            first = False
        if not ends:
            return
        for sale in self.sales.values():
            expiry = self._expiry(sale.program, end.kind)
            if sale.is_counted and expiry.policy.value == "inactivity":
                ends.append(end_of_points(expiry, sale.program, sale.order.occurred_at))
        for program, spent_at in self.spent:
            expiry = self._expiry(program, end.kind)
            if expiry.policy.value == "inactivity":
                ends.append(end_of_points(expiry, program, spent_at))
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
        available, were = available_at_of(sale, now), [(end, end.at) for end in self.shared]
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
                pile.is_there, pile.size = pile.left > 0, pile.left
        move_back(were, new)

    def _release(self, pile: Pile) -> None:
        pile.is_pending = False
        self._pay(pile)

    def _pay(self, pile: Pile) -> None:
        part = min(self.debt, pile.left)
        pile.left, self.debt = pile.left - part, self.debt - part

    def _settle(self, sale: Sale, before: Earned, first: Earned, now: datetime) -> None:
        """Post the difference between what the order earned `before` and what it earns."""
        self.release(now)
        was, is_now = sale.standing(before), sale.standing(sale.earned())
        # Where something was kept of the order before, ends that it has are no matter here: they were kept.
        left = [end for end in self.shared if not self._is_kept(end, but=None if any(was) else sale)]
        if sale.earned().points > before.points:
            self._give_back(sale, before, now)
        else:
            self._take_back(sale, before, first, now)
        if sale.told.parcels:
            self._share_out(sale, max(parcel.occurred_at for parcel in sale.told.parcels), now)
        if was > is_now:
            for end in self.shared:
                self._come_back(end, now)
        elif was < is_now:
            for end in left:
                self._come_back(end, now)
            self._go_on(sale, now)

    def _share_out(self, sale: Sale, sent_at: datetime, now: datetime) -> None:
        """Let so many points of an order wait as its rest earns, where it is fulfilled in part."""
        held = sale.waiting()
        if held is None:
            return
        own = [pile for pile in self.piles if pile.order_id == sale.order.order_id]
        waiting = [pile for pile in own if pile.waits]
        beyond = sum(pile.left for pile in waiting) - sum(held.values())
        available = min(max(sent_at, sale.order.occurred_at), now) + (sale.program.availability.days or 0) * DAY
        for pile, points in surplus(waiting, held, beyond):
            pile.left -= points
            paid = 0 if available > now else min(points, self.debt)
            self.debt -= paid
            if points > paid:
                end = self._end(sale, pile.kind, available, now)
                place, order_id = len(self.piles), sale.order.order_id
                self.piles.append(Pile(order_id, place, pile.kind, points - paid, available, end, available > now))
        takers = [pile for pile in waiting if not pile.has_parted]
        for pile in [pile for pile in own[::-1] if not pile.waits and not pile.is_over(now)]:
            for into in [*(w for w in takers if w.kind == pile.kind), *(w for w in takers if w.kind != pile.kind)]:
                part = min(max(0, -beyond), pile.left, into.room)
                pile.left, into.left, beyond = pile.left - part, into.left + part, beyond + part

    def _go_on(self, sale: Sale, now: datetime) -> None:
        """An order counts after all, and so do its points; or they are there again, with the end that they began."""
        for end in self.shared:
            expiry = self._expiry(sale.program, end.kind)
            all_of_end = [pile for pile in self.piles if pile.end is end and pile.is_there]
            piles = [pile for pile in all_of_end if pile.is_of(sale.order.order_id)]
            instants = [sale.order.occurred_at, *(pile.available_at for pile in piles)]
            if not sale.is_counted:
                instants = [pile.available_at for pile in piles if pile is all_of_end[0]]
            if end.at > now and expiry.policy.value == "inactivity":
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
        for pile, points in reversed(sale.taken):
            part = min(more, points, pile.room - returns.get(pile.place, 0))
            more -= part
            if part:
                returns[pile.place] = returns.get(pile.place, 0) + part
        count = len(self.piles)
        self._grant(sale, now, self._beyond(sale, before, more))
        for place, points in reversed([*returns.items()]):
            pile = self.piles[place]
            paid = 0 if pile.is_pending else min(points, self.debt)
            if points == paid:
                del returns[place]  # nothing comes to it
            self.debt, pile.left = self.debt - paid, pile.left + points - paid
            sale.come_back(pile, points - paid)
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
        owes = owes_of(first.by_kind(program), after.by_kind(program))
        owed = owes_of(first.by_kind(program), before.by_kind(program))
        due = before.points - after.points
        own = [pile for pile in self.piles if pile.order_id == sale.order.order_id]
        missing, taken = 0, dict.fromkeys((pile.place for pile in own), 0)
        parts = {}
        for kind in owes:
            parts[kind] = min(due, max(0, owes[kind] - owed[kind]))
            due -= parts[kind]
        held = sale.waiting()
        if held is not None:
            rest = 0
            for pile, points in surplus([pile for pile in own if pile.waits], held, sum(parts.values())):
                pile.left, taken[pile.place] = pile.left - points, points
                set_off = min(points, parts.get(pile.kind, 0))
                parts[pile.kind] = parts.get(pile.kind, 0) - set_off
                rest += points - set_off
            for kind, points in parts.items():
                parts[kind], rest = points - min(rest, points), rest - min(rest, points)
            own = [pile for pile in own if not pile.waits]
        is_pending_only = program.clawback.policy.value == "pending_only"
        takeable = [pile for pile in own if not pile.is_over(now) and (pile.is_pending or not is_pending_only)]
        for kind, points in parts.items():
            part = self._beyond_expired(sale, [pile for pile in own if pile.kind == kind], points, now)
            for pile in [pile for pile in takeable if pile.kind == kind]:
                part -= (taken_of := min(part, pile.left))
                pile.left, taken[pile.place] = pile.left - taken_of, taken.get(pile.place, 0) + taken_of
            missing += part
        for pile in [*takeable, *([] if is_pending_only else self.spendable(now, without=sale.order.order_id))]:
            missing -= (taken_of := min(missing, pile.left))
            pile.left, taken[pile.place] = pile.left - taken_of, taken.get(pile.place, 0) + taken_of
        for pile, points in self.given_up(missing, sale.order.order_id, program, now):
            missing, taken[pile.place] = missing - points, taken.get(pile.place, 0) + points
        sale.taken += [(self.piles[place], points) for place, points in taken.items()]
        if program.clawback.policy.value == "allow_negative":
            self.debt += missing
        else:
            sale.shortfall += missing

    def _beyond_expired(self, sale: Sale, own: list[Pile], points: int, now: datetime) -> int:
        """How many of the points have not expired; the others are excused."""
        for pile in own:
            part = min(points, pile.expired + (pile.left if pile.is_over(now) else 0) - pile.excused)
            pile.excused, sale.excused, points = pile.excused + part, sale.excused + part, points - part
        return points

    def can_give_up(self, program: Program) -> bool:
        """Whether clawbacks find something reserved that they may take: never, where there are no commands."""
        del program
        return False

    def given_up(
        self, points: int, order_id: str | None, program: Program, now: datetime
    ) -> Iterable[tuple[Pile, int]]:
        """Take up to so many points from what is reserved; from which piles, in this order."""
        del points, order_id, program, now
        return ()

    def spendable(self, now: datetime, without: str | None = None) -> list[Pile]:
        """What can be spent, in the order in which it is; `without` what an order has given."""
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
