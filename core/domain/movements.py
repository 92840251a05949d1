"""What entries of commands did to lots: what they took comes back when they are undone."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from core.domain.ledger import FORFEITED, Entry, EntryKind
from core.domain.lots import Allocation


class Movement(NamedTuple):
    """One entry of a command, as far as others undo it."""

    account_id: UUID
    sequence: int
    kind: EntryKind
    points: int  #: change of the balance
    pending_change: int
    reserved_change: int
    deficit_change: int
    allocations: tuple[Allocation, ...]  #: of an authorization: less what clawbacks have taken of it
    occurred_at: datetime  #: the command's own time
    program_version: int  #: that decided the command
    points_corrected: int = 0  #: sum of the points of later commands' entries that name it
    is_reversed: bool = False  #: whether a reversal has undone it, all of it or a part
    is_forfeit: bool = False  #: whether it gave up what was left of an account that was closed: nothing was bought
    captures: tuple[int, ...] = ()  #: of an authorization: how many points each capture has taken, oldest first

    @property
    def key(self) -> tuple[UUID, int]:
        """What names it for ever."""
        return self.account_id, self.sequence

    def without(self, returned: Iterable[Allocation]) -> "Movement":
        """It without what a clawback let come back of an authorization, to take it."""
        back = {each.lot_number: each.points for each in returned}
        less = [each._replace(points=each.points + back.get(each.lot_number, 0)) for each in self.allocations]
        return self._replace(allocations=tuple(each for each in less if each.points))


def movement_of(entry: Entry, program_version: int) -> Movement:
    """What a new entry did, of a command that this version decided."""
    return Movement(
        entry.account_id,
        entry.sequence,
        entry.kind,
        entry.points,
        entry.pending_change,
        entry.reserved_change,
        entry.deficit_change,
        entry.allocations,
        entry.occurred_at,
        program_version,
        is_forfeit=bool(entry.why.get(FORFEITED)),
    )
