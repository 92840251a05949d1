"""What a decider returns: all that one message or one periodic step changes, on any number of accounts."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from core.domain.ledger import Account, AccountDetails, Entry
from core.domain.lots import Lot, SharedExpiry
from core.domain.members import Member, PrimaryChange
from core.domain.merges import LotMove, PostedMerge
from core.domain.orders.posted import (
    BudgetChange,
    PostedOrder,
    PostedOrderEvent,
    PostedRefund,
    PostedReturn,
    UsageChange,
)
from core.domain.reach import CommandKey, ReferenceKey
from core.domain.tiers.history import TierHold
from core.domain.value.authorizations import Authorization
from core.domain.value.payments import Payment
from core.domain.value.rewards import Offer, RewardNotice


class TierChangeReason(StrEnum):
    """Why an account's tier changed."""

    QUALIFIED = "qualified"  #: the qualifying points reached a higher threshold
    REVIEWED = "reviewed"  #: the period ended with less than the tier asks for
    REFUNDED = "refunded"  #: a refund took what had qualified for it
    HELD = "held"  #: a person set it, and it is kept until a date
    CORRECTED = "corrected"  #: what was announced for that time does not hold, by what came later


class TierChange(NamedTuple):
    """An account moved to another tier at `effective_at`."""

    account_id: UUID
    change_number: int
    previous_tier_id: str
    tier_id: str
    qualifying_points: int
    effective_at: datetime
    reason: TierChangeReason


class NoticeKind(StrEnum):
    """What became of an account beside its points."""

    UPDATED = "updated"
    FROZEN = "frozen"
    MERGED = "merged"
    UNMERGED = "unmerged"
    CLOSED = "closed"
    ERASED = "erased"  #: a person whose it was, or who could use it


class AccountNotice(NamedTuple):
    """What a command changed of an account beside its points, which others are told."""

    kind: NoticeKind
    command: CommandKey
    occurred_at: datetime
    reason: str | None  #: for people
    linked: tuple[ReferenceKey, ...] = ()
    unlinked: tuple[ReferenceKey, ...] = ()
    survivor: UUID | None = None  #: the account that has, or had, all of it


class AccountChange(NamedTuple):
    """One account after a decision, and how it came there."""

    account: Account
    entries: tuple[Entry, ...] = ()
    lots: tuple[Lot, ...] = ()  #: opened or changed, in their new state
    tier_changes: tuple[TierChange, ...] = ()
    usages: tuple[UsageChange, ...] = ()
    opened: Account | None = None  #: the account as this decision opens it; None if it exists already
    expiries: tuple[SharedExpiry, ...] = ()  #: that moved, and with them all lots that have them
    expiries_begun: tuple[SharedExpiry, ...] = ()
    holds: tuple[TierHold, ...] = ()  #: that a person made
    opened_at: datetime | None = None  #: when it was opened; None: with its first order, or with what first came of it
    is_primary: bool = True  #: where it is opened: whether its customer's orders come to it
    details: AccountDetails | None = None  #: as they are now; None: as they were
    references: tuple[ReferenceKey, ...] = ()  #: by which it is found from now on
    references_gone: tuple[ReferenceKey, ...] = ()  #: by which it is found no longer
    notice: AccountNotice | None = None  #: what else became of it
    members: tuple[Member, ...] | None = None  #: all beside its owner, as they are now; None: as they were
    primaries: tuple[PrimaryChange, ...] = ()  #: whose orders come to it, or to another one, from now on
    merge: PostedMerge | None = None  #: its side of a merge
    lot_moves: tuple[LotMove, ...] = ()  #: its side of the lots that moved

    def then(self, more: "AccountChange") -> "AccountChange":
        """It and what follows in the same account: entries with the lots that they changed."""
        lots = {lot.lot_number: lot for lot in (*self.lots, *more.lots)}
        return self._replace(account=more.account, entries=self.entries + more.entries, lots=tuple(lots.values()))


class Answer(NamedTuple):
    """What a command's sender is told beside the accounts after it and their entries."""

    account: Account  #: the one that it was about
    told: Mapping[str, str | int | datetime] = MappingProxyType({})  #: ids that were made, how much was done
    program_version: int = 0  #: that decided it; set where all commands are decided
    offer: Offer | None = None  #: the reward that it was about, as it was issued


class Erasure(NamedTuple):
    """Nothing that is kept names a customer any more, once this is done."""

    customer_id: str
    token: str  #: what stands in the place of the id from now on
    own: tuple[UUID, ...]  #: their accounts, in all programs
    closed: tuple[UUID, ...]  #: of these, those that end with it
    points: int  #: that are given up
    by: str | None = None  #: who gave the command by hand
    rows: Mapping[str, int] = MappingProxyType({})  #: in how many rows of which table they were named
    command_key: bytes = b""  #: what is kept of the command's content, which names them


#: What a message reported, as the ledger keeps it.
Fact = PostedOrder | PostedRefund | PostedOrderEvent | PostedReturn | Authorization


class Decision(NamedTuple):
    """All that one message or one periodic step changes, to be written in one transaction."""

    changes: tuple[AccountChange, ...] = ()
    facts: tuple[Fact, ...] = ()  #: what the message reported, each for the first time
    orders: tuple[PostedOrder, ...] = ()  #: that were posted before and change, in their new state
    budgets: tuple[BudgetChange, ...] = ()
    authorizations: tuple[Authorization, ...] = ()  #: that were there before and change, in their new state
    rewards: tuple[RewardNotice, ...] = ()  #: what became of issued ones
    payments: tuple[Payment, ...] = ()  #: of orders by points, in their new state
    #: The order's points now, by rule and promotion, or a return's, below zero; None: as they were.
    given: Mapping[str, int] | None = None
    answer: Answer | None = None  #: to the command that is decided; None: it is none, or erases
    erasure: Erasure | None = None
