"""What always holds of an account, whatever happened to it. Numbered as in `core.store.verify`, which asks the same of
the database."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from core.domain.earning import entitlement
from core.domain.ledger import Account, Entry, EntryKind, PostedOrder, PostedRefund, TierChange
from core.domain.lots import Lot
from core.domain.program import ClawbackPolicy, Program
from tests.domain.book import Book


def check_everything(book: Book) -> None:
    """Check all invariants of a book."""
    check_balance(book.account, book.lots.values(), book.entries)
    check_allocations(book.entries, book.lots)
    check_sequence(book.account, book.entries)
    for order_id, posted in book.orders.items():
        frozen = book.versions[posted.program_version - 1]
        check_order(posted, book.refunds.get(order_id, ()), book.entries, frozen)
    check_lifetime_points(book.account, book.entries)
    check_nothing_expired_is_taken(book.entries, book.recorded_at, book.lots)
    check_tier(book.account, book.tier_changes, book.program)


def check_balance(account: Account, lots: Iterable[Lot], entries: Sequence[Entry]) -> None:
    """1: the balance is the sum of the entries, and what the lots hold less the deficit."""
    assert account.balance == sum(entry.points for entry in entries)
    assert account.balance + account.pending == sum(lot.points_remaining for lot in lots) - account.deficit
    assert account.deficit == sum(entry.deficit_change for entry in entries)
    assert account.deficit >= 0


def check_allocations(entries: Sequence[Entry], lots: Mapping[int, Lot]) -> None:
    """2: an entry is the sum of its allocations, and a lot is what its allocations left."""
    given: dict[int, int] = dict.fromkeys(lots, 0)
    taken: dict[int, int] = dict.fromkeys(lots, 0)
    expired: dict[int, int] = dict.fromkeys(lots, 0)
    for entry in entries:
        assert entry.points != 0
        assert entry.points == sum(part.points for part in entry.allocations) - entry.deficit_change
        assert len({part.lot_number for part in entry.allocations}) == len(entry.allocations)
        for part in entry.allocations:
            assert part.points != 0
            assert part.expires_at == lots[part.lot_number].expires_at
            if part.points > 0:
                assert lots[part.lot_number].opened_by_sequence == entry.sequence
                given[part.lot_number] += part.points
            elif entry.kind is EntryKind.EXPIRY:
                expired[part.lot_number] -= part.points
            else:
                taken[part.lot_number] -= part.points
    for number, lot in lots.items():
        assert 0 <= lot.points_remaining <= lot.points_granted
        assert lot.points_granted == given[number] > 0
        assert lot.points_expired == expired[number]
        assert lot.points_remaining == given[number] - taken[number] - expired[number]


def check_sequence(account: Account, entries: Sequence[Entry]) -> None:
    """3: entries are numbered 1, 2, 3, …, and their balances chain."""
    assert [entry.sequence for entry in entries] == list(range(1, account.sequence + 1))
    balance = 0
    for entry in entries:
        balance += entry.points
        assert entry.balance_after == balance


def check_order(
    posted: PostedOrder, refunds: Sequence[PostedRefund], entries: Sequence[Entry], frozen: Program
) -> None:
    """4: an order's entries are its entitlement, and what refunds did not take because it had expired or by policy."""
    of_order = [entry for entry in entries if entry.order_id == posted.order.order_id]
    held = sum(entry.points for entry in of_order)
    assert held == posted.points_entitled + posted.points_excused + posted.points_shortfall
    assert posted.tier_id is not None
    target = entitlement(posted.order, [known.refund for known in refunds], frozen, posted.tier_id)
    assert posted.points_entitled == target.points >= 0
    for known in refunds:
        due = known.points_taken + known.points_excused + known.points_shortfall
        assert known.points_due == due
        assert min(known.points_taken, known.points_excused, known.points_shortfall) >= 0
    assert posted.points_excused == sum(known.points_excused for known in refunds)
    assert posted.points_shortfall == sum(known.points_shortfall for known in refunds)
    if frozen.clawback.policy is ClawbackPolicy.ALLOW_NEGATIVE:
        assert posted.points_shortfall == 0
    else:
        assert all(entry.deficit_change <= 0 for entry in of_order)
    for entry in of_order:
        if entry.kind is EntryKind.CLAWBACK:
            assert entry.corrects_sequence == posted.sequence is not None
            assert entry.points < 0


def check_lifetime_points(account: Account, entries: Sequence[Entry]) -> None:
    """5: lifetime points are accruals less clawbacks; nothing else changes them."""
    lifetime = 0
    for entry in entries:
        if entry.kind in {EntryKind.ACCRUAL, EntryKind.CLAWBACK}:
            lifetime += entry.points
        assert entry.lifetime_points_after == lifetime
    assert account.lifetime_points == lifetime >= 0


def check_nothing_expired_is_taken(
    entries: Sequence[Entry], recorded_at: Sequence[datetime], lots: Mapping[int, Lot]
) -> None:
    """8: a lot that is past its expiry is taken from by its expiry only, and by that not before."""
    for entry, as_of in zip(entries, recorded_at, strict=True):
        for part in entry.allocations:
            if part.points < 0:
                assert lots[part.lot_number].is_due(as_of) is (entry.kind is EntryKind.EXPIRY)


def check_tier(account: Account, changes: Sequence[TierChange], program: Program) -> None:
    """The tier is what the last change says, changes follow each other, and a review lies ahead of what it counts."""
    assert [change.change_number for change in changes] == list(range(1, account.tier_changes + 1))
    tier_id, since = None, None
    for change in changes:
        assert change.tier_id != change.previous_tier_id
        assert tier_id is None or change.previous_tier_id == tier_id
        assert since is None or change.effective_at >= since
        tier_id, since = change.tier_id, change.effective_at
    assert account.tier_id == (tier_id or program.tiers[0].tier_id)
    assert account.tier_since == since
    assert account.qualifying_points >= 0
    if account.tier_until is not None:
        assert account.tier_id != program.tiers[0].tier_id
        assert account.qualifying_from is not None
        assert account.qualifying_from < account.tier_until
