"""What a change of an order's facts does to its account: post the difference between what it earned and what it earns.

A refund, a cancellation, an amendment, a refund that did not happen after all: each leads from one state of the order
to another, and `settle` posts what lies between, down or up. So it cannot matter in how many steps, or in which order,
the last state was reached.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision, Fact
from core.domain.expiry.dates import available_at, available_by_fulfilment, expiries_begun_by, moves_of, new_expiry
from core.domain.expiry.due import decide_expiry, release
from core.domain.ledger import POINTS_MAX, Account, Entry, EntryKind, LotTerms, debit, entry_between, give_back
from core.domain.lots import Lot, Origin, OriginKind, SharedExpiry, room_in
from core.domain.orders.activity import expiries_after, recounted
from core.domain.orders.earning import Entitlement
from core.domain.orders.facts import Refund
from core.domain.orders.holding import Held, Rebalancing, held_of, rebalanced
from core.domain.orders.limits import budget_changes, usage_changes
from core.domain.orders.posted import PostedOrder, Qualifying, Recovery
from core.domain.orders.qualifying_steps import with_refunds
from core.domain.orders.reckoning import beginning
from core.domain.orders.taking import Deduction, dues_of, take_back
from core.domain.orders.withdrawing import Report, withdraw
from core.domain.outcomes import Parked, Reason
from core.domain.program import ClawbackPolicy, Program
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, OrderKey, OrderParts, TierInstant
from core.domain.reports import KeptOrder
from core.domain.tiers.history import counted_order
from core.domain.tiers.recounting import recount
from core.domain.value.authorizations import Authorization


def lowering(rules: ProgramRegistry, order: OrderKey, occurred_at: datetime) -> OrderParts:
    """What a message of that time asks of an order's books that can only lower what it earns from then on.

    That is so of refunds and cancellations, but where the order has lines below zero.
    """
    return _parts(rules, TierInstant(occurred_at, order, is_new=False))


def raising(rules: ProgramRegistry, order: OrderKey) -> OrderParts:
    """What a message asks of an order's books that can also raise what it earns, and did from its own time on."""
    return _parts(rules, TierInstant(None, order, is_new=False))._replace(takes=True)


def _parts(rules: ProgramRegistry, instant: TierInstant) -> OrderParts:
    is_shared = any(version.program.has_inactivity for version in rules.versions())
    account = AccountParts(LotsWanted.TO_TAKE, (instant,), expiries=is_shared, keepings=is_shared)
    is_withdrawn = any(version.program.clawback.takes_reserved for version in rules.versions())
    return OrderParts(refunds=True, events=True, account=account._replace(holding=is_withdrawn), limits=True)


class OrderChange(NamedTuple):
    """How the facts of one customer's order changed."""

    before: PostedOrder
    after: PostedOrder  #: with what was reported; its numbers are still those of `before`
    had: KeptOrder  #: what was kept of `before`
    has: KeptOrder  #: what is kept of `after`
    refunds: Sequence[Refund]  #: all that count for `after`, also its cancellation as one
    added: Refund | None  #: the one of these that is new; None: it is something else that changes
    occurred_at: datetime
    refund_id: str | None = None
    because: Mapping[str, Any] = {}  #: what its entry says of it beside the calculation
    is_leaving: bool = False  #: the order leaves the account, which is as if it had never been there for its tier

    @property
    def order_key(self) -> tuple[str, str]:
        """The order's source and id."""
        return self.before.key


class Settled(NamedTuple):
    """The difference, as it is posted."""

    change: AccountChange
    posted: PostedOrder  #: in its new state
    recovery: Recovery  #: below zero where points came back
    sequence: int | None  #: of the entry; None: there is none
    rest: Decision  #: budgets, authorizations, and what each rule gives now

    def decision(self, *facts: Fact) -> Decision:
        """All that the change of the order does; `facts` are what its message reported."""
        return self.rest._replace(changes=(self.change,), facts=facts, orders=(self.posted,))


def settle(books: Books, change: OrderChange, rules: ProgramRegistry, as_of: datetime) -> Settled | Parked:
    """Post the difference between what the order earned before and what it earns now.

    The version that judged the order decides its points. Less than before is a clawback: points of the order that have
    expired already are excused, the rest is taken from its own lots, then from those that expire soonest, and the
    program's policy says what becomes of points that no lot covers. More than before comes back: first it is set off
    against what was not taken and what was excused, then it returns to the lots that the order's clawbacks took from,
    with their dates; what goes beyond opens a lot, as the order's own points did.
    """
    posted = change.before
    assert posted.account_id is not None
    program = rules.version(posted.program_id, posted.program_version).program
    target = change.has.earning.of(change.has.basket)
    if change.is_leaving:
        target = _nothing(target, change, program)
    ends_apart = len(program.expiries) > 1
    is_up = target.points > posted.points_entitled
    # What each rule and promotion gave before matters only where their use is counted, or their points end apart.
    is_asked = change.had.earning.is_counted or change.has.earning.is_counted or ends_apart or is_up
    before = change.had.earning.of(change.had.basket) if is_asked else target
    account = books.account(posted.account_id)
    # Pending lots that are due by now are released first, whether or not the run for it came.
    released = release(account, books.lots_to_release(account, as_of), as_of)
    newer = {lot.lot_number: lot for lot in released.lots}
    held = held_of(change.after, program, change.has, target, books.order_events_of(posted))
    difference = _Difference(change, program, before, target, released.account, newer, as_of, held)
    moved = _up(books, difference) if is_up else _down(books, difference, ends_apart=ends_apart)
    if max(moved.account.balance + moved.account.pending, moved.account.lifetime_points) > POINTS_MAX:
        return _too_many_points(target.points)
    return _settled(books, difference, released, _rebalanced(books, difference, moved), rules)


def _nothing(left: Entitlement, change: OrderChange, program: Program) -> Entitlement:
    """What an order earns in the account that it leaves, whatever refunds in full would leave of it."""
    assert change.before.tier_id is not None
    carried = change.before.judged.carried
    why = {**beginning(change.before.tier_id, change.has.basket, program), "rules": []}
    left_over = {name: carried.get(name, Decimal(0)) for name in left.left_over}
    return Entitlement(0, (), {}, Qualifying(), is_counted=False, explain=lambda: why, left_over=left_over)


class _Difference(NamedTuple):
    """What an order earned and earns, and its account with what was due to be released."""

    change: OrderChange
    program: Program  #: the version that judged the order
    before: Entitlement
    target: Entitlement
    account: Account
    newer: Mapping[int, Lot]  #: lots of the account that were released just now
    as_of: datetime
    held: Held | None  #: what waits for the rest of the order, if it is fulfilled in part


class _Moved(NamedTuple):
    """What the difference does to the account and its lots."""

    account: Account
    recovery: Recovery
    entries: tuple[Entry, ...] = ()
    lots: Mapping[int, Lot] = {}
    expiries: tuple[tuple[SharedExpiry, ...], tuple[SharedExpiry, ...]] = ((), ())  #: that it moved, and that it began
    sequence: int | None = None
    authorizations: tuple[Authorization, ...] = ()


def _settled(
    books: Books, difference: _Difference, released: AccountChange, moved: _Moved, rules: ProgramRegistry
) -> Settled:
    change, program, before, target, *_ = difference
    posted, recovery = change.after, moved.recovery
    posted = with_refunds(posted, change.refunds, change.added, change.has.earning, target.qualifying)
    program_at = rules.in_force(posted.program_id)
    counted = recount(
        books,
        moved.account,
        counted_order(change.before),
        None if change.is_leaving else counted_order(posted),
        program_at,
    )
    posted = posted._replace(points_entitled=target.points, is_counted=target.is_counted)
    account = recounted(counted.account, change.before, posted)
    lots, (has_moved, begun) = {**difference.newer, **moved.lots}, moved.expiries
    return Settled(
        AccountChange(
            account,
            released.entries + moved.entries,
            tuple(lots.values()),
            counted.changes,
            usage_changes(program, account.account_id, posted.order, posted.judged, before, target),
            None,
            expiries_after(books, change.before, posted, lots, has_moved, rules, difference.as_of),
            begun,
        ),
        posted._replace(
            points_excused=posted.points_excused + recovery.points_excused,
            points_shortfall=posted.points_shortfall + recovery.points_shortfall,
        ),
        recovery,
        moved.sequence,
        Decision(
            budgets=budget_changes(program, before, target), authorizations=moved.authorizations, given=target.given
        ),
    )


def _down(books: Books, difference: _Difference, *, ends_apart: bool) -> _Moved:
    """Take back what the order no longer earns."""
    change, program, before, target, account, newer, as_of, held = difference
    due = change.before.points_entitled - target.points
    dues = {"": due}
    if ends_apart:
        ordered = change.had.basket.as_ordered(change.had.earning.ordered)
        dues = dues_of(change.had.earning.of(ordered).grants, before.grants, target.grants, due)
        dues[""] = dues.get("", 0) + due - sum(dues.values())
    own = _own_lots(books, difference)
    others = books.lots_to_take(account, as_of, newer, {lot.lot_number for lot in own})
    taken = take_back(own, others, dues, program, as_of, None if held is None else held.by_earner)
    report = Report(change.before.order.source, change.occurred_at, change.before.order.order_id, change.refund_id)
    account, entries, taken, authorizations = withdraw(books, account, taken, program, report, as_of)
    shortfall = 0 if program.clawback.policy is ClawbackPolicy.ALLOW_NEGATIVE else taken.uncovered
    recovery = Recovery(due, due - taken.excused - shortfall, taken.excused, shortfall)
    if not recovery.points_taken:
        return _Moved(account, recovery, lots=taken.lots)
    after = _debit(account, taken, recovery)
    why = _why(difference, points_excused_as_expired=taken.excused, points_shortfall=shortfall)
    entry = _entry(account, after, EntryKind.CLAWBACK, change, taken.allocations, why)
    return _Moved(
        after, recovery, (*entries, entry), taken.lots, sequence=entry.sequence, authorizations=authorizations
    )


def _rebalanced(books: Books, difference: _Difference, moved: _Moved) -> _Moved:
    """Let as many points wait for the rest of the order as that earns, if it is fulfilled in part."""
    change, held = difference.change, difference.held
    if held is None:
        return moved
    lots = {**{lot.lot_number: lot for lot in _own_lots(books, difference)}, **moved.lots}
    own = [lot for _, lot in sorted(lots.items()) if lot.origin.key == (OriginKind.ORDER, *change.order_key)]
    of = Rebalancing(
        change.after,
        difference.program,
        held,
        own,
        held.fulfilled_at,
        change.occurred_at,
        difference.as_of,
        moved.expiries[0] + moved.expiries[1],
    )
    more = rebalanced(books, moved.account, of)
    return moved._replace(
        account=more.account,
        entries=moved.entries + more.entries,
        lots={**moved.lots, **{lot.lot_number: lot for lot in more.lots}},
        expiries=(moved.expiries[0] + more.expiries, moved.expiries[1] + more.expiries_begun),
    )


def _own_lots(books: Books, difference: _Difference) -> list[Lot]:
    lots = books.lots_of_order(difference.account, difference.change.order_key)
    return [difference.newer.get(lot.lot_number, lot) for lot in lots]


def _debit(account: Account, taken: Deduction, recovery: Recovery) -> Account:
    available, uncovered = recovery.points_taken - taken.pending, taken.uncovered - recovery.points_shortfall
    debited = debit(account, available, uncovered=uncovered, pending=taken.pending)
    return debited._replace(lifetime_points=account.lifetime_points - recovery.points_taken)


def _up(books: Books, difference: _Difference) -> _Moved:
    """Give the account what the order earns more."""
    change, account, as_of = difference.change, difference.account, difference.as_of
    posted = change.before
    more = difference.target.points - posted.points_entitled
    not_taken = min(more, posted.points_shortfall)
    excused = min(more - not_taken, posted.points_excused)
    lots = _no_longer_excused(_own_lots(books, difference), excused)
    points = more - not_taken - excused
    recovery = Recovery(-more, -points, -excused, -not_taken)
    if not points:
        return _Moved(account, recovery, lots=lots)
    returns = _returns(books, difference, lots, points)
    terms, expiries = _terms(books, difference, points - sum(part for _, part in returns))
    origin = Origin(OriginKind.ORDER, *change.order_key, posted.order.occurred_at)
    given = give_back(account, origin, returns, terms, as_of)
    entry = _entry(account, given.account, EntryKind.ACCRUAL, change, given.allocations, _why(difference))
    changed = {**lots, **{lot.lot_number: lot for lot in given.lots}}
    # What came back to a lot that has expired meanwhile expires with it.
    due = [lot for lot in given.lots if lot.is_due(as_of) and not lot.is_pending and lot.points_remaining]
    after, kept = given.account, tuple(moves_of(expiries, given.opened))
    entries: tuple[Entry, ...] = (entry,)
    for expired in decide_expiry(after, due, as_of).changes:
        after, entries = expired.account, (entry, *expired.entries)
        changed |= {lot.lot_number: lot for lot in expired.lots}
    return _Moved(after, recovery, entries, changed, (kept, expiries_begun_by(given.opened)), entry.sequence)


def _returns(books: Books, difference: _Difference, changed: Mapping[int, Lot], points: int) -> list[tuple[Lot, int]]:
    """To which lots so many points come back, at most: the last that they were taken from first."""
    returns: dict[int, int] = {}
    into: dict[int, Lot] = {}
    for number, taken in reversed(books.takes_of(difference.account, difference.change.order_key)):
        if not points or not taken:
            continue
        lot = into.get(number) or changed.get(number) or difference.newer.get(number)
        into[number] = lot = lot or books.lot(difference.account, number)
        # What waits again for the rest of an order may have come to a lot that was taken from.
        part = min(points, taken, room_in(lot) - returns.get(number, 0))
        returns[number] = returns.get(number, 0) + part
        points -= part
    as_of = difference.as_of
    # Its time may have come while nothing was left in it.
    return [
        (lot._replace(is_pending=lot.is_pending and not lot.is_to_release(as_of)), returns[number])
        for number, lot in into.items()
        if returns[number]
    ]


def _no_longer_excused(own: Sequence[Lot], points: int) -> dict[int, Lot]:
    changed: dict[int, Lot] = {}
    for lot in reversed(own):
        part = min(points, lot.points_excused)
        if part:
            changed[lot.lot_number] = lot._replace(points_excused=lot.points_excused - part)
            points -= part
    return changed


def _terms(books: Books, difference: _Difference, points: int) -> tuple[list[LotTerms], tuple[SharedExpiry, ...]]:
    """On which terms so many points beyond what was taken are given, and the shared expiries that they move on."""
    if not points:
        return [], ()
    change, program, as_of = difference.change, difference.program, difference.as_of
    posted = change.after
    ordered_at = posted.order.occurred_at
    available = available_at(program.availability, ordered_at, as_of)
    if available is None and posted.fulfilled_at is not None:
        available = available_by_fulfilment(program.availability, ordered_at, posted.fulfilled_at, as_of)
    shared = {}
    if program.has_inactivity:
        own = {lot.expires_with for lot in _own_lots(books, difference)}  # the order keeps something again
        expiries = books.expiries(difference.account)
        shared = {
            each.expires_with: each._replace(is_kept=each.is_kept or each.expires_with in own) for each in expiries
        }
    moved: dict[int, SharedExpiry] = {}
    terms = [
        _terms_of(difference, earned_by, part, available, shared, moved)
        for earned_by, part in _beyond(difference, points).items()
    ]
    return terms, tuple(moved.values())


def _beyond(difference: _Difference, points: int) -> dict[str, int]:
    """So many points beyond what was taken, by what earns more than before."""
    had, grants = dict(difference.before.grants), difference.target.grants
    parts: dict[str, int] = {}
    for earned_by, granted in grants:
        part = min(points, granted - had.get(earned_by, 0))
        if part > 0:
            parts[earned_by] = part
            points -= part
    if points:  # what it gives less of elsewhere came from lots that are gone
        first = grants[0].earned_by
        parts[first] = parts.get(first, 0) + points
    return parts


def _terms_of(
    difference: _Difference,
    earned_by: str,
    points: int,
    available: datetime | None,
    shared: dict[int, SharedExpiry],
    moved: dict[int, SharedExpiry],
) -> LotTerms:
    program, as_of, is_counted = difference.program, difference.as_of, difference.target.is_counted
    new = new_expiry(program, earned_by, available, shared.values(), as_of, is_counted=is_counted)
    if new.moved is not None:
        shared[new.moved.expires_with] = moved[new.moved.expires_with] = new.moved
    return LotTerms(points, available, new.expires_at, earned_by, new.expires_with)


def _entry(
    before: Account,
    after: Account,
    kind: EntryKind,
    change: OrderChange,
    allocations: Sequence[Any],
    why: dict[str, Any],
) -> Entry:
    source, order_id = change.order_key
    return entry_between(
        before,
        after,
        kind,
        change.occurred_at,
        allocations,
        why,
        source=source,
        order_id=order_id,
        refund_id=change.refund_id,
        corrects_sequence=change.before.sequence,
    )


def _why(difference: _Difference, **notes: int) -> dict[str, Any]:
    """The calculation of what the order earns now, and what it earned before."""
    target = difference.target
    return {
        **target.why,
        "points_entitled_before": difference.change.before.points_entitled,
        "points_entitled_after": target.points,
        **{name: points for name, points in notes.items() if points},
        **difference.change.because,
    }


def _too_many_points(points: int) -> Parked:
    detail = f"the order earns {points:,} points now, and its account would come to more than {POINTS_MAX:,}"
    return Parked(Reason.TOO_MANY_POINTS, f"{detail}; check the amounts of the message")
