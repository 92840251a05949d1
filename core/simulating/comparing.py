"""A changed program beside the one in force, both run over the same recorded orders: what would differ."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from core.domain.program import Program
from core.domain.program.registry import BEGINNING, ProgramVersion
from core.simulating.recorded import RecordedMessage
from core.simulating.simulated_books import Line, SimulatedBooks, Tally


class AccountChange(NamedTuple):
    """What is different for one account; points are granted less clawed back."""

    account_id: UUID
    customer_id: str
    points_before: int
    points_after: int
    tier_before: str
    tier_after: str

    @property
    def difference(self) -> int:
        """How many points more."""
        return self.points_after - self.points_before


class Side(NamedTuple):
    """What one of the two runs came to."""

    tally: Tally
    points_open: int  #: of all accounts at the end: available and pending
    tiers: Counter[str]  #: accounts in each at the end


class Comparison(NamedTuple):
    """Two runs over the same orders; they differ by the program alone."""

    before: Side
    after: Side
    tier_moves: Counter[tuple[str, str]]  #: accounts by their tier before and after
    accounts: list[AccountChange]  #: every account, the most affected first


class AccountEnd(NamedTuple):
    """One account at the end of a run."""

    customer_id: str
    points_net: int  #: granted less clawed back
    tier_id: str


class Run(NamedTuple):
    """What one run came to, with all its accounts."""

    side: Side
    accounts: dict[UUID, AccountEnd]


class Sides(NamedTuple):
    """The versions of both runs, and the instant from which figures count."""

    in_force: Line
    changed: Line
    start: datetime


def sides(versions: Sequence[ProgramVersion], changed: Program, since: datetime | None) -> Sides:
    """Put `changed` in the place of all `versions` of a program from `since` on; of all time without `since`.

    In force is for each order the version that judged it, which is another one than that of its time where a version
    was backdated. What happened before `since` is run so on both sides and counts for tiers, limits and lots, but not
    for the figures.
    """
    start = since or BEGINNING
    # Those that are over stay known by their numbers, since orders of before may be refunded after.
    kept = [each._replace(is_withdrawn=each.is_withdrawn or each.effective_from >= start) for each in versions]
    program_id = versions[0].program_id
    inserted = changed.model_copy(update={"program_id": program_id})
    line = [*kept, ProgramVersion(program_id, len(kept) + 1, start, inserted)]
    return Sides(Line(versions, judged_until=None), Line(line, judged_until=start), start)


def compare(recorded: Iterable[RecordedMessage], both: Sides, until: datetime) -> Comparison:
    """Run `recorded`, given by time, under both sides' versions."""
    before, after = SimulatedBooks(both.in_force, both.start), SimulatedBooks(both.changed, both.start)
    for each in recorded:
        before.take(each)
        after.take(each)
    return compared(_ended(before, until), _ended(after, until))


def run(recorded: Iterable[RecordedMessage], line: Line, start: datetime, until: datetime) -> Run:
    """Run `recorded`, given by time, under one side's versions."""
    books = SimulatedBooks(line, start)
    for each in recorded:
        books.take(each)
    return _ended(books, until)


def compared(before: Run, after: Run) -> Comparison:
    """Put the two runs beside each other."""
    account_ids = before.accounts.keys() | after.accounts.keys()
    accounts = [_change(each, before.accounts.get(each), after.accounts.get(each)) for each in account_ids]
    accounts.sort(key=lambda change: (-abs(change.difference), change.customer_id, change.account_id))
    moves = Counter((change.tier_before, change.tier_after) for change in accounts)
    return Comparison(before.side, after.side, moves, accounts)


def _ended(books: SimulatedBooks, until: datetime) -> Run:
    books.finish(until)
    accounts = books.accounts.values()
    points_open = sum(account.balance + account.pending for account in accounts)
    side = Side(books.tally, points_open, Counter(account.tier_id for account in accounts))
    ends = {
        account_id: AccountEnd(account.customer_id, books.points_net[account_id], account.tier_id)
        for account_id, account in books.accounts.items()
    }
    return Run(side, ends)


def _change(account_id: UUID, before: AccountEnd | None, after: AccountEnd | None) -> AccountChange:
    """What became of one account. One that a side never opened, as its orders are refused there, is in no tier."""
    known = before or after
    assert known is not None
    return AccountChange(
        account_id,
        known.customer_id,
        before.points_net if before else 0,
        after.points_net if after else 0,
        before.tier_id if before else "-",
        after.tier_id if after else "-",
    )
