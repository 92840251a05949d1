"""What a merge of two accounts moves, as the ledger keeps it: which account it was, and which lots.

A lot moves as a whole, with what of it was spent and has expired, so that what comes later finds it as it would have
been in one account: refunds excuse what has expired, and what comes back returns to it. What its entry opens of it is
what was left.
"""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class MergeRole(StrEnum):
    """What an entry of a merge, or of one that is undone, did to its account."""

    MERGED = "merged"  #: all that it had went to the survivor
    SURVIVOR = "survivor"  #: it got all that the other had
    PARTED = "parted"  #: what was left of that went back
    RESTORED = "restored"  #: it has back what was left


class PostedMerge(NamedTuple):
    """One side of a merge, or of one that is undone; each has two."""

    account_id: UUID
    sequence: int  #: its entry
    role: MergeRole
    other_account_id: UUID
    other_sequence: int
    lifetime_points: int  #: how many came, below zero: went
    source: str  #: of the command
    command_id: str

    @property
    def event_key(self) -> str:
        """What tells what it did to orders from what other merges did. No id holds the character between them."""
        return f"{self.source}\t{self.command_id}"


class LotMove(NamedTuple):
    """One side of a lot that moved: beyond what the entry says, what of it was gone already moved too."""

    account_id: UUID
    sequence: int
    lot_number: int
    other_account_id: UUID
    other_lot_number: int
    points_granted: int  #: of a lot that it opened: how many it had held beyond what was left
    points_expired: int  #: how many of those that have expired came, below zero: went
