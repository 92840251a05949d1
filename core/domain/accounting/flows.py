"""What became of points: each entry changes what is outstanding in one way, and these ways add up.

outstanding = balance + pending + reserved
issued = outstanding + redeemed + expired + clawed back - adjusted - moved
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from core.domain.ledger import EntryKind


class Flow(StrEnum):
    """How an entry changes what is outstanding."""

    ISSUED = "issued"  #: orders earned points, or commands credited them
    CLAWED_BACK = "clawed_back"  #: refunds, cancellations and returns took back what orders had earned
    REDEEMED = "redeemed"  #: customers spent points, less what came back
    EXPIRED = "expired"  #: their time was over, or they were forfeited with the account
    ADJUSTED = "adjusted"  #: commands corrected what there was
    MOVED = "moved"  #: they went to another account or program, or came from one
    HELD = "held"  #: nothing left: points became available, were reserved, or were given free again


#: A reversal is of the flow of what it undoes.
FLOWS: Mapping[EntryKind, Flow] = MappingProxyType(
    {
        EntryKind.ACCRUAL: Flow.ISSUED,
        EntryKind.CREDIT: Flow.ISSUED,
        EntryKind.CLAWBACK: Flow.CLAWED_BACK,
        EntryKind.DEBIT: Flow.REDEEMED,
        EntryKind.CAPTURE: Flow.REDEEMED,
        EntryKind.REDEMPTION: Flow.REDEEMED,
        EntryKind.REPAYMENT: Flow.REDEEMED,
        EntryKind.EXPIRY: Flow.EXPIRED,
        EntryKind.ADJUSTMENT: Flow.ADJUSTED,
        EntryKind.TRANSFER: Flow.MOVED,
        EntryKind.CONVERSION: Flow.MOVED,
        EntryKind.MERGE: Flow.MOVED,
        EntryKind.RELEASE: Flow.HELD,
        EntryKind.AUTHORIZATION: Flow.HELD,
        EntryKind.VOID: Flow.HELD,
    }
)
