"""Taking points from what can be spent of an account: soonest expiry first, undated last, then oldest."""

from typing import NamedTuple

from core.domain.decision import AccountChange
from core.domain.expiry.due import release
from core.domain.lots import Allocation, Lot, take
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.value.situations import Situation


class Spending(NamedTuple):
    """What can be spent at once of an account, as far as it was asked for."""

    released: AccountChange  #: the account after what was due to be released, whether or not its run has come
    lots: tuple[Lot, ...]  #: in their state after the points were taken
    allocations: tuple[Allocation, ...]
    points: int  #: how many were taken
    missing: int  #: how many could not be

    @property
    def changed(self) -> tuple[Lot, ...]:
        """All lots that are otherwise than before."""
        taken = {lot.lot_number for lot in self.lots}
        return (*(lot for lot in self.released.lots if lot.lot_number not in taken), *self.lots)


def spend(situation: Situation, points: int) -> Spending:
    """Take up to `points` from the lots of an account that can be spent, in spending order.

    An account that owes points has none to spend, whatever is about to be available.
    """
    books, account, as_of = situation.books, situation.account, situation.as_of
    released = release(account, books.lots_to_release(account, as_of), as_of)
    if released.account.deficit:
        return Spending(released, (), (), 0, points)
    changed = {lot.lot_number: lot for lot in released.lots}
    lots, allocations, missing = take(books.lots_to_take(account, as_of, changed, ()), points)
    return Spending(released, tuple(lots), tuple(allocations), points - missing, missing)


REMAINDER_ADVICE = "ask for no more than can be spent, or set data.allow_remainder where the command takes it"


def insufficient(spending: Spending, advice: str = REMAINDER_ADVICE) -> Rejected:
    """Why points are not taken of which there are too few."""
    asked = spending.points + spending.missing
    return Rejected(
        RejectionCode.INSUFFICIENT_POINTS,
        f"{asked:,} are asked for, and {spending.points:,} can be spent now",
        advice,
    )
