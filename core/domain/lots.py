"""Lots: a lot holds the points of one credit that expire together. Every debit says which lots it takes from."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from core.domain.records import quickly_replaced

_NEVER = datetime.max.replace(tzinfo=UTC)


class OriginKind(StrEnum):
    """What first earned the points of a lot."""

    ORDER = "order"
    COMMAND = "command"


class Origin(NamedTuple):
    """What first earned the points of a lot, and when; a lot keeps it wherever its points go."""

    kind: OriginKind
    source: str
    id: str  #: of the order, within its source
    at: datetime

    @property
    def key(self) -> tuple[OriginKind, str, str]:
        """What it is, without its time."""
        return self.kind, self.source, self.id


@quickly_replaced
class Lot(NamedTuple):
    """What is left of one credit. `points_granted - points_remaining - points_expired` was spent or clawed back."""

    lot_number: int  #: 1, 2, 3, … within the account
    opened_by_sequence: int  #: the entry that granted it
    origin: Origin
    points_granted: int  #: what the credit left after it had paid off a deficit
    points_remaining: int
    points_expired: int
    available_at: datetime | None  #: None: not before its order is fulfilled
    expires_at: datetime | None  #: first instant at which it cannot be spent; None = never, or not yet known
    earned_by: str = ""  #: the rule or promotion whose own expiry it has; '' = the program's
    is_pending: bool = False  #: it counts as pending until it is released
    points_excused: int = 0  #: of `points_expired`: what refunds would have taken, had it been there
    expires_with: int | None = None  #: the shared expiry that it has until it has expired; None = an instant of its own

    def is_spendable(self, as_of: datetime) -> bool:
        """Whether points may be taken at `as_of`: strictly before expiry, whether or not the expiry job has run."""
        return not self.is_pending and not self.is_due(as_of) and self.points_remaining > 0

    def is_to_release(self, as_of: datetime) -> bool:
        """Whether the lot is pending and its time has come by `as_of`."""
        return self.is_pending and self.available_at is not None and self.available_at <= as_of

    def is_due(self, as_of: datetime) -> bool:
        """Whether the lot has expired by `as_of`."""
        return self.expires_at is not None and self.expires_at <= as_of


class SharedExpiry(NamedTuple):
    """When the points of an account that inactivity lets expire do so, all together: each activity moves it on.

    One for each rule or promotion with an expiry of its own, and '' = the program's. Once it has passed it stands for
    good, and points that are earned after it begin another.
    """

    expires_with: int  #: the number of the lot that began it
    earned_by: str
    expires_at: datetime
    extended_to: datetime | None = None  #: a person has let them last so long: no order that goes takes that away
    is_kept: bool = True  #: an order that keeps something has points with it; else new points do not share it


class AllocationKind(StrEnum):
    """What an entry did to a lot."""

    OPENED = "opened"  #: the credit opened it
    TAKEN = "taken"  #: a debit took from it
    RETURNED = "returned"  #: what a debit took came back
    EXPIRED = "expired"  #: what was left reached its expiry


class Allocation(NamedTuple):
    """How many points one entry gave to (positive) or took from (negative) one lot."""

    lot_number: int
    kind: AllocationKind
    points: int
    expires_at: datetime | None


SpendingKey = tuple[datetime, datetime, int]


def spending_key(lot: Lot) -> SpendingKey:
    """The lot's place in the spending order."""
    return lot.expires_at or _NEVER, lot.available_at or _NEVER, lot.lot_number


def in_spending_order(lots: Iterable[Lot]) -> list[Lot]:
    """Soonest expiry first, undated last, then oldest."""
    return sorted(lots, key=spending_key)


def take(lots: Iterable[Lot], points: int) -> tuple[list[Lot], list[Allocation], int]:
    """Take `points` from `lots` in the order given.

    Returns the changed lots, what was taken from each (negative), and the points that no lot could cover. `lots` may be
    a generator: it is not read further than needed.
    """
    changed: list[Lot] = []
    allocations: list[Allocation] = []
    for lot in lots if points else ():
        part = min(points, lot.points_remaining)
        if part > 0:
            changed.append(lot._replace(points_remaining=lot.points_remaining - part))
            allocations.append(taken_from(lot, part))
            points -= part
            if points == 0:
                break
    return changed, allocations, points


def room_in(lot: Lot) -> int:
    """How many points can return to the lot: no more than it was granted."""
    return lot.points_granted - lot.points_remaining - lot.points_expired


def taken_from(lot: Lot, points: int) -> Allocation:
    """The allocation of an entry that takes `points` from `lot`."""
    return Allocation(lot.lot_number, AllocationKind.TAKEN, -points, lot.expires_at)
