"""What always holds of an account, whatever happened to it. Numbered as in
`core.store.proof.verify`, which asks the same of the database."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import takewhile

from core.domain.decision import TierChange
from core.domain.ledger import EARNING, Account, Entry, EntryKind
from core.domain.lots import AllocationKind, Lot, Origin, OriginKind
from core.domain.merges import LotMove, PostedMerge
from core.domain.orders.earning import entitlement
from core.domain.orders.facts import Refund
from core.domain.orders.posted import OrderEventKind, PostedOrder, PostedOrderEvent, PostedRefund, refunds_known
from core.domain.program import ClawbackPolicy, Program
from core.domain.tiers.qualification import review_due_at
from core.domain.value.authorizations import Authorization, AuthorizationState
from tests.domain.book import Book

_RETURNING = {EntryKind.VOID, EntryKind.REVERSAL, EntryKind.REPAYMENT}
_GIVING = _RETURNING | {
    EntryKind.ACCRUAL, EntryKind.RELEASE, EntryKind.CREDIT, EntryKind.ADJUSTMENT, EntryKind.TRANSFER,
    EntryKind.CONVERSION, EntryKind.MERGE,
}  # fmt: skip


def check_everything(book: Book) -> None:
    """Check all invariants of a book."""
    check_balance(book.account, book.lots.values(), book.entries)
    check_authorizations(book.account, book.authorizations)
    check_allocations(book.entries, book.lots, book.lot_moves)
    check_origins(book.entries, book.lots.values(), book.orders_ever)
    check_sequence(book.account, book.entries)
    refunds = book.refunds
    for order_id, posted in book.orders.items():
        frozen = book.versions[posted.program_version - 1]
        check_order(posted, refunds[order_id], book.events(order_id), book.entries, frozen)
    assert book.account.orders_counted == sum(posted.is_counted for posted in book.orders.values())
    check_lifetime_points(book.account, book.entries, book.merges)
    check_nothing_expired_is_taken(book.entries, book.recorded_at)
    until = book.account.tier_until
    reviewing = book.program if until is None else book.rules(until).at(book.program.program_id, until).program
    check_tier(book.account, book.tier_changes, reviewing)
    check_limits(book)


def check_balance(account: Account, lots: Iterable[Lot], entries: Sequence[Entry]) -> None:
    """1: the balance is the sum of the entries, and what available lots hold less the deficit; pending points apart."""
    lots = list(lots)
    assert account.balance == sum(entry.points for entry in entries)
    assert account.balance == sum(lot.points_remaining for lot in lots if not lot.is_pending) - account.deficit
    assert account.pending == sum(entry.pending_change for entry in entries)
    assert account.pending == sum(lot.points_remaining for lot in lots if lot.is_pending)
    assert account.deficit == sum(entry.deficit_change for entry in entries)
    assert account.deficit >= 0
    assert account.reserved == sum(entry.reserved_change for entry in entries)


def check_authorizations(account: Account, authorizations: Iterable[Authorization]) -> None:
    """1: what is reserved is what open authorizations hold."""
    held = [each.points_held for each in authorizations]
    assert account.reserved == sum(held)
    for each in authorizations:
        assert min(each.points_captured, each.points_returned, each.points_held) >= 0
        assert (each.state is AuthorizationState.OPEN) is (each.points_held > 0)


def check_allocations(entries: Sequence[Entry], lots: Mapping[int, Lot], moves: Iterable[LotMove] = ()) -> None:
    """2: an entry is the sum of its allocations, and a lot is what its allocations left.

    What was gone of a lot before a merge moved it moves along, and is in no allocation.
    """
    opened: dict[int, int] = dict.fromkeys(lots, 0)
    taken: dict[int, int] = dict.fromkeys(lots, 0)
    expired: dict[int, int] = dict.fromkeys(lots, 0)
    for entry in entries:
        changes = entry.points, entry.pending_change, entry.reserved_change
        assert any(changes) or entry.kind in {EntryKind.RELEASE, EntryKind.MERGE}
        allocated = sum(part.points for part in entry.allocations)
        assert entry.points + entry.pending_change == allocated - entry.deficit_change
        assert len({part.lot_number for part in entry.allocations}) == len(entry.allocations)
        for part in entry.allocations:
            match part.kind:
                case AllocationKind.OPENED:
                    assert part.points > 0
                    assert entry.kind in _GIVING
                    assert lots[part.lot_number].opened_by_sequence == entry.sequence
                    opened[part.lot_number] += part.points
                case AllocationKind.EXPIRED:
                    assert part.points < 0
                    assert entry.kind is EntryKind.EXPIRY
                    assert part.expires_at == lots[part.lot_number].expires_at == entry.occurred_at
                    expired[part.lot_number] -= part.points
                case AllocationKind.TAKEN:
                    assert part.points < 0
                    assert entry.kind not in {EntryKind.ACCRUAL, EntryKind.EXPIRY, EntryKind.CREDIT}
                    taken[part.lot_number] -= part.points
                case AllocationKind.RETURNED:
                    assert part.points > 0
                    assert entry.kind in _RETURNING | {EntryKind.ACCRUAL, EntryKind.RELEASE, EntryKind.MERGE}
                    taken[part.lot_number] -= part.points
    left = {number: opened[number] - taken[number] - expired[number] for number in lots}
    for move in moves:
        opened[move.lot_number] += move.points_granted
        expired[move.lot_number] += move.points_expired
    for number, lot in lots.items():
        assert 0 <= lot.points_remaining <= lot.points_granted
        assert lot.points_granted == opened[number] > 0
        assert lot.points_expired == expired[number]
        assert lot.points_remaining == left[number]
        assert 0 <= lot.points_excused <= lot.points_expired + lot.points_remaining


def check_origins(entries: Sequence[Entry], lots: Iterable[Lot], orders: Mapping[str, PostedOrder]) -> None:
    """A lot keeps what first earned it: the order of the entry that opened it, or its command."""
    for lot in lots:
        entry = entries[lot.opened_by_sequence - 1]
        if entry.kind in _RETURNING | {EntryKind.TRANSFER, EntryKind.MERGE}:
            continue  # as it was where it comes from
        assert entry.source is not None
        if entry.command_id is not None:
            assert lot.origin == Origin(OriginKind.COMMAND, entry.source, entry.command_id, entry.occurred_at)
            continue
        assert entry.order_id is not None
        ordered_at = orders[entry.order_id].order.occurred_at
        assert lot.origin == Origin(OriginKind.ORDER, entry.source, entry.order_id, ordered_at)


def check_sequence(account: Account, entries: Sequence[Entry]) -> None:
    """3: entries are numbered 1, 2, 3, …, and their balances chain."""
    assert [entry.sequence for entry in entries] == list(range(1, account.sequence + 1))
    balance = pending = reserved = 0
    for entry in entries:
        balance += entry.points
        pending += entry.pending_change
        reserved += entry.reserved_change
        assert (entry.balance_after, entry.pending_after, entry.reserved_after) == (balance, pending, reserved)
        assert min(pending, reserved) >= 0


def _known(refunds: Sequence[PostedRefund], posted: PostedOrder, events: Sequence[PostedOrderEvent]) -> list[Refund]:
    """All that counts as a refund of the order."""
    reverted = {event.event_key for event in events if event.kind is OrderEventKind.REFUND_REVERTED}
    cancelled = [event for event in events if event.kind is OrderEventKind.CANCELLED and event.lines]
    return refunds_known(refunds, posted, reverted, [(event.occurred_at, event.lines) for event in cancelled])


def check_order(
    posted: PostedOrder,
    refunds: Sequence[PostedRefund],
    events: Sequence[PostedOrderEvent],
    entries: Sequence[Entry],
    frozen: Program,
) -> None:
    """4: an order's entries are its entitlement, and what refunds did not take because it had expired or by policy."""
    of_order = [each for each in entries if each.order_id == posted.order.order_id and each.kind in EARNING]
    held = sum(entry.points + entry.pending_change for entry in of_order)
    moves = [event for event in events if event.kind in {OrderEventKind.MOVED_AWAY, OrderEventKind.MOVED_IN}]
    held -= sum(event.recovery.points_taken for event in moves if event.account_id == posted.account_id)
    assert held == posted.points_entitled + posted.points_excused + posted.points_shortfall
    assert posted.tier_id is not None
    cancelled = [event for event in events if event.kind is OrderEventKind.CANCELLED]
    assert [posted.cancelled_at] == ([event.occurred_at for event in cancelled if not event.lines] or [None])
    known = _known(refunds, posted, events)
    target = entitlement(posted.current, known, frozen, posted.tier_id, posted.judged)
    assert posted.points_entitled == target.points == sum(grant.points for grant in target.grants) >= 0
    assert target.points == sum(target.given.values())
    assert posted.is_counted == target.is_counted
    has_moved = any(event.kind is OrderEventKind.CLAIMED for event in events)
    recoveries = [each.recovery for each in (*refunds, *events) if each not in moves]
    for each in recoveries:
        assert each.points_due == each.points_taken + each.points_excused + each.points_shortfall
        parts = each.points_taken, each.points_excused, each.points_shortfall
        assert min(parts) >= 0 or max(parts) <= 0
    if not has_moved:  # else some of them are of whoever had it before
        assert posted.points_excused == sum(each.points_excused for each in recoveries)
        assert posted.points_shortfall == sum(each.points_shortfall for each in recoveries)
    if frozen.clawback.policy is ClawbackPolicy.ALLOW_NEGATIVE:
        assert posted.points_shortfall == 0
    else:
        assert all(entry.deficit_change <= 0 for entry in of_order)
    for entry in of_order:
        if entry.kind is EntryKind.CLAWBACK:
            assert entry.corrects_sequence == posted.sequence
            assert entry.points + entry.pending_change < 0
            assert entry.points <= 0
            assert entry.pending_change <= 0


def check_lifetime_points(account: Account, entries: Sequence[Entry], merges: Sequence[PostedMerge]) -> None:
    """5: lifetime points are accruals less clawbacks; nothing else changes them, but that merges move them.

    Goods that come back without a receipt may take more than was ever earned.
    """
    lifetime, returned = 0, 0
    moved = {merge.sequence: merge.lifetime_points for merge in merges}
    for entry in entries:
        lifetime += moved.get(entry.sequence, 0)
        if entry.kind in {EntryKind.ACCRUAL, EntryKind.CLAWBACK}:
            lifetime += entry.points + entry.pending_change
            returned -= 0 if entry.return_id is None else entry.points
        assert entry.lifetime_points_after == lifetime
    assert account.lifetime_points == lifetime
    assert lifetime >= -returned or merges


def check_nothing_expired_is_taken(entries: Sequence[Entry], recorded_at: Sequence[datetime]) -> None:
    """8: a lot that is past its expiry is taken from by its expiry only, and by that not before.

    A late release is none of these: it computes what it would have in time, when the lot was still good. A merge moves
    whatever a lot holds. A clawback
    takes what an authorization gives back for it, since that was reserved when the lot was still good.
    """
    for number, (entry, as_of) in enumerate(zip(entries, recorded_at, strict=True)):
        if entry.kind in {EntryKind.RELEASE, EntryKind.MERGE}:
            continue
        reserved = set(_given_back_for(entry, entries[:number]))
        for part in entry.allocations:
            if part.points < 0 and part.lot_number not in reserved:
                is_over = part.expires_at is not None and part.expires_at <= as_of
                assert is_over is (entry.kind is EntryKind.EXPIRY)


def _given_back_for(clawback: Entry, before: Sequence[Entry]) -> Iterator[int]:
    """The lots of which authorizations gave points back for a clawback."""
    if clawback.kind is EntryKind.CLAWBACK:
        for entry in takewhile(lambda each: each.kind is EntryKind.VOID and each.command_id is None, reversed(before)):
            yield from (part.lot_number for part in entry.allocations)


def check_limits(book: Book) -> None:
    """What is counted for limits is what the orders have, and none has more than its limit left to it."""
    points: Counter[str] = Counter()
    of_program = [each for each in book.family if each.program.program_id == book.program.program_id]
    for each, order_id, posted in [(one, *pair) for one in of_program for pair in one.orders.items()]:
        program = book.versions[posted.program_version - 1]
        if posted.tier_id is None:
            continue  # a guest's
        known = _known(each.refunds[order_id], posted, each.events(order_id))
        given = entitlement(posted.current, known, program, posted.tier_id, posted.judged).given
        assert all(given.get(name, 0) <= most for name, most in posted.judged.allowances.items())
        assert not given.keys() & set(posted.judged.excluded)
        points.update({p.promotion_id: given.get(p.promotion_id, 0) for p in program.promotions if p.has_budget})
    assert {name: budget.points for name, budget in book.budgets.items() if budget.points} == +points
    assert all(budget.orders >= 0 for budget in book.budgets.values())
    assert all(min(usage.points, usage.orders) >= 0 for usage in book.usages.values())


def check_tier(account: Account, changes: Sequence[TierChange], program: Program) -> None:
    """The tier is what the last change says, changes follow each other, and a review lies ahead of what it counts."""
    assert [change.change_number for change in changes] == list(range(1, account.tier_changes + 1))
    told: list[TierChange] = []
    for change in changes:
        assert change.tier_id != change.previous_tier_id
        if told:
            # It follows what was told of its own instant, or of just before.
            first = told[0].previous_tier_id
            by_then = [each for each in told if each.effective_at <= change.effective_at]
            before = [each for each in by_then if each.effective_at < change.effective_at]
            assert change.previous_tier_id in {some[-1].tier_id if some else first for some in (by_then, before)}
        told.append(change)
    tier_id, since = (told[-1].tier_id, told[-1].effective_at) if told else (None, None)
    assert account.tier_id == (tier_id or program.tiers[0].tier_id)
    assert account.tier_since == since
    assert account.qualifying_points >= 0
    if account.tier_until is not None and account.tier_held_until is None:
        assert account.tier_id != program.tiers[0].tier_id
        assert account.qualifying_from is not None
        due_at = review_due_at(account, program)
        assert due_at is not None
        assert account.qualifying_from < due_at
