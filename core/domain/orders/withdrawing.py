"""Reserved points that clawbacks take, where the program lets them: authorizations give them back first."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from core.domain.books import Books
from core.domain.ledger import Account, Entry, EntryKind, entry_between
from core.domain.lots import Allocation, AllocationKind, OriginKind
from core.domain.orders.taking import Deduction
from core.domain.program import ClawbackPolicy, Program
from core.domain.reach import OrderKey
from core.domain.value.authorizations import AUTHORIZATION, Authorization, AuthorizationState
from core.domain.value.reserves import Reserved, lots_held


class Report(NamedTuple):
    """What a shop reported that takes points back, as entries name it."""

    source: str
    occurred_at: datetime
    order_id: str | None = None
    refund_id: str | None = None
    return_id: str | None = None

    @property
    def order_key(self) -> OrderKey | None:
        """The order whose points are taken back; None: of goods without a receipt."""
        return None if self.order_id is None else (self.source, self.order_id)


class Withdrawn(NamedTuple):
    """What authorizations gave back for a clawback."""

    account: Account
    entries: tuple[Entry, ...]
    taken: Deduction  #: what the clawback takes, with what came back
    authorizations: tuple[Authorization, ...] = ()  #: in their new state


def withdraw(
    books: Books, account: Account, taken: Deduction, program: Program, report: Report, as_of: datetime
) -> Withdrawn:
    """Let authorizations give back what no lot covers of a clawback, where the program says so.

    The points come back to the lots that they were taken from, whatever these have left of their time, and the
    clawback takes them from there. So the lots are as they were, and what else is held keeps its lots. Points of the
    order itself come first, whichever authorization holds them. Else those are spared whose deadline is soonest, as
    they are about to be captured, but for one that has passed; of each, what was reserved last is given back first.
    Issued rewards keep their price.
    """
    policy = program.clawback.policy
    if not taken.uncovered or not program.clawback.takes_reserved or policy is ClawbackPolicy.PENDING_ONLY:
        return Withdrawn(account, (), taken)
    given = _given_back(books, account, taken.uncovered, report.order_key, as_of)
    entries: list[Entry] = []
    for authorization, parts in given:
        after = account._replace(
            sequence=account.sequence + 1,
            balance=account.balance + _total(parts),
            reserved=account.reserved - _total(parts),
        )
        entries.append(_entry(account, after, authorization, parts, report))
        account = after
    return Withdrawn(
        account,
        tuple(entries),
        _with(taken, [part for _, parts in given for part in parts]),
        tuple(authorization.less(0, _total(parts), AuthorizationState.CLAWED_BACK) for authorization, parts in given),
    )


def _total(parts: Sequence[Reserved]) -> int:
    return sum(part.points for part in parts)


def _given_back(
    books: Books, account: Account, points: int, order: OrderKey | None, as_of: datetime
) -> list[tuple[Authorization, list[Reserved]]]:
    """Which authorizations give back how much of which lots, up to `points`."""
    holding = [each for each in books.holding(account) if each.kind == AUTHORIZATION]
    holding.sort(key=lambda each: _place(each, as_of))
    held = [(each.authorization_id, part) for each in holding for part in reversed(lots_held(books, account, each))]
    of_order = None if order is None else (OriginKind.ORDER, *order)
    held.sort(key=lambda each: each[1].lot.origin.key != of_order)
    found: dict[str, list[Reserved]] = {}
    for authorization_id, part in held:
        taken = min(points, part.points)
        points -= taken
        if taken:
            found.setdefault(authorization_id, []).append(part._replace(points=taken))
    return [(each, found[each.authorization_id]) for each in holding if each.authorization_id in found]


def _place(authorization: Authorization, as_of: datetime) -> tuple[bool, float, int]:
    """Behind which others it gives back: the last deadline comes first, before all one that has passed."""
    assert authorization.expires_at is not None
    is_over = not authorization.is_open(as_of)
    return not is_over, -authorization.expires_at.timestamp(), -authorization.sequence


def _entry(
    before: Account, after: Account, authorization: Authorization, parts: Sequence[Reserved], report: Report
) -> Entry:
    return entry_between(
        before,
        after,
        EntryKind.VOID,
        report.occurred_at,
        [Allocation(lot.lot_number, AllocationKind.RETURNED, points, lot.expires_at) for lot, points in parts],
        {"clawed_back": {"authorization_id": authorization.authorization_id}},
        source=report.source,
        order_id=report.order_id,
        refund_id=report.refund_id,
        return_id=report.return_id,
        corrects_sequence=authorization.sequence,
    )


def _with(taken: Deduction, parts: Sequence[Reserved]) -> Deduction:
    """What a clawback takes with these parts of lots, which hold them no longer than between two entries."""
    allocations = {each.lot_number: each for each in taken.allocations}
    for lot, points in parts:
        had = allocations.get(lot.lot_number, Allocation(lot.lot_number, AllocationKind.TAKEN, 0, lot.expires_at))
        allocations[lot.lot_number] = had._replace(points=had.points - points)
    return taken._replace(allocations=tuple(allocations.values()), uncovered=taken.uncovered - _total(parts))
