"""The books of a month as double entry: what each day did to what is owed, and what stands against it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from core.domain.accounting.flows import Flow
from core.domain.accounting.months import Month


class Side(StrEnum):
    """The kind of an account. Liabilities, equity and income are below zero when there is some of them."""

    ASSETS = "Assets"
    LIABILITIES = "Liabilities"
    EQUITY = "Equity"
    INCOME = "Income"
    EXPENSES = "Expenses"


class JournalAccount(NamedTuple):
    """An account of the journal, within its program."""

    side: Side
    names: tuple[str, ...]


AVAILABLE = JournalAccount(Side.LIABILITIES, ("Available",))
PENDING = JournalAccount(Side.LIABILITIES, ("Pending",))
RESERVED = JournalAccount(Side.LIABILITIES, ("Reserved",))
DEFICIT = JournalAccount(Side.ASSETS, ("Deficit",))
OPENING = JournalAccount(Side.EQUITY, ("Opening",))
#: What is owed, and what customers owe: the accounts that have a balance over the months.
OWED = (AVAILABLE, PENDING, RESERVED, DEFICIT)
_AGAINST = {
    Flow.ISSUED: (Side.EXPENSES, "Issued"),
    Flow.CLAWED_BACK: (Side.EXPENSES, "ClawedBack"),
    Flow.REDEEMED: (Side.INCOME, "Redeemed"),
    Flow.EXPIRED: (Side.INCOME, "Expired"),
    Flow.ADJUSTED: (Side.EXPENSES, "Adjusted"),
    Flow.MOVED: (Side.EQUITY, "Moved"),
}


class Changes(NamedTuple):
    """How many points came to each bucket; below zero: left it."""

    available: int  #: in lots
    pending: int
    reserved: int
    deficit: int  #: by which customers owe more

    @property
    def outstanding(self) -> int:
        """By how much what is outstanding has changed."""
        return self.available + self.pending + self.reserved - self.deficit


class Posting(NamedTuple):
    """One line of a transaction; those of one come to zero."""

    account: JournalAccount
    points: int


class Transaction(NamedTuple):
    """What all entries of one kind did on one day."""

    day: date
    flow: Flow
    kind: str  #: of the entries
    entries: int
    changes: Changes

    @property
    def postings(self) -> tuple[Posting, ...]:
        """Its lines, without those of no points."""
        return _postings(self.changes, against(self.flow, self.kind))


class Journal(NamedTuple):
    """A month of a program's books."""

    program_id: str
    month: Month
    unit: str
    currency: str
    is_money: bool
    point_value: Decimal | None
    opening: Changes  #: what there was when it began
    transactions: Sequence[Transaction]

    @property
    def opening_postings(self) -> tuple[Posting, ...]:
        """What there was when the month began, against an account of its own."""
        return _postings(self.opening, OPENING)

    def closing(self) -> Counter[JournalAccount]:
        """The balances of the accounts of what is owed when the month is over."""
        balances = Counter(dict.fromkeys(OWED, 0))
        for posting in (*self.opening_postings, *(each for one in self.transactions for each in one.postings)):
            if posting.account in OWED:
                balances[posting.account] += posting.points
        return balances


def against(flow: Flow, kind: str) -> JournalAccount:
    """What stands against a change of what is owed; of what only moves between buckets nothing does."""
    if flow is Flow.HELD:
        return OPENING  # of no points ever
    side, name = _AGAINST[flow]
    return JournalAccount(side, (name, kind.capitalize()))


def _postings(changes: Changes, other: JournalAccount) -> tuple[Posting, ...]:
    return tuple(posting for posting in _all_postings(changes, other) if posting.points)


def _all_postings(changes: Changes, other: JournalAccount) -> Iterator[Posting]:
    yield Posting(AVAILABLE, -changes.available)
    yield Posting(PENDING, -changes.pending)
    yield Posting(RESERVED, -changes.reserved)
    yield Posting(DEFICIT, changes.deficit)
    yield Posting(other, changes.outstanding)
