"""Moving the end of lots by hand, account by account: only ever later, and never of points that have ended."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from core.domain.calendar import next_midnight
from core.domain.lots import Lot, SharedExpiry
from core.domain.program.registry import ProgramRegistry
from core.posting.events import EventContext, points_extended
from core.store.appending import append_events, update_expiries, update_lots
from core.store.engine import run_bulk
from core.store.ledger import LOTS, lock_accounts
from core.store.proof.seals import require_key
from core.store.repairs import Repair, append_repairs

_FIRST = UUID(int=0)
#: Accounts that are locked and written at once.
_ACCOUNTS_AT_ONCE = 200


class LotFilter(NamedTuple):
    """Which lots are meant; what is None does not narrow."""

    program_id: str | None = None
    customer_id: str | None = None
    expiring_before: datetime | None = None  #: at this instant they cannot be used any more
    earned_by: str | None = None  #: the rule or promotion whose own expiry the lot has; '' = the program's


class EndingLot(NamedTuple):
    """A lot with points left that ends after `as_of`."""

    account_id: UUID
    customer_id: str
    program_id: str
    lot: Lot


class NewEnd(NamedTuple):
    """Until when lots are to last: to the end of a day of their program, or so many days longer. One of the two."""

    last_day: date | None = None
    days: int | None = None


class Hand(NamedTuple):
    """Who extends lots, and why."""

    applied_by: str
    reason: str


class Extension(NamedTuple):
    """One lot and its new end."""

    of: EndingLot
    expires_at: datetime


class ExtensionOutcome(NamedTuple):
    """What became of the lots of some accounts."""

    extensions: list[Extension]
    lasting: int  #: lots that last so long already, and stay as they are


_CONDITION = """
l.points_remaining > 0 AND l.expires_at > %(as_of)s
AND (%(program_id)s::text IS NULL OR a.program_id = %(program_id)s)
AND (%(customer_id)s::text IS NULL OR a.account_id IN (SELECT m.account_id FROM members m
     WHERE m.program_id = a.program_id AND m.customer_id = %(customer_id)s))
AND (%(expiring_before)s::timestamptz IS NULL OR l.expires_at <= %(expiring_before)s)
AND (%(earned_by)s::text IS NULL OR l.earned_by = %(earned_by)s)
"""
_NEXT = f"""
SELECT DISTINCT l.account_id FROM dated_lots l JOIN accounts a USING (account_id)
WHERE l.account_id > %(after)s AND {_CONDITION} ORDER BY l.account_id LIMIT %(limit)s
"""  # noqa: S608  # our own words
_LOTS = f"""
SELECT a.customer_id, a.program_id, {LOTS.select("l")}
FROM dated_lots l JOIN accounts a USING (account_id)
WHERE l.account_id = ANY(%(account_ids)s) AND {_CONDITION} ORDER BY l.account_id, l.lot_number
"""  # noqa: S608  # our own words


def next_accounts_with_lots(
    connection: Connection, chosen: LotFilter, as_of: datetime, after: UUID | None, accounts_max: int
) -> list[UUID]:
    """The next accounts, by id, that have lots of `chosen` that have not ended by `as_of`."""
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    parameters = {**chosen._asdict(), "as_of": as_of, "after": after or _FIRST, "limit": accounts_max}
    return [row[0] for row in run_bulk(connection, _NEXT, parameters)]


def load_chosen_lots(
    connection: Connection, chosen: LotFilter, as_of: datetime, account_ids: Collection[UUID]
) -> list[EndingLot]:
    """The lots of `chosen` of these accounts, which whoever changes them has locked."""
    parameters = {**chosen._asdict(), "as_of": as_of, "account_ids": list(account_ids)}
    found = []
    for customer_id, program_id, *values in run_bulk(connection, _LOTS, parameters):
        account_id, lot = LOTS.read(values)
        found.append(EndingLot(account_id, customer_id, program_id, lot))
    return found


def new_end(expires_at: datetime, zone: ZoneInfo, end: NewEnd) -> datetime:
    """The instant at which a lot that ends at `expires_at` is to end, by the clocks of `zone`."""
    if end.last_day is not None:
        return next_midnight(end.last_day, zone)
    assert end.days is not None
    # Days by the calendar: a midnight stays one, also where clocks change in between.
    return (expires_at.astimezone(zone) + timedelta(days=end.days)).astimezone(expires_at.tzinfo)


def plan_extension(
    connection: Connection,
    registry: ProgramRegistry,
    chosen: LotFilter,
    end: NewEnd,
    as_of: datetime,
    account_ids: Collection[UUID],
) -> ExtensionOutcome:
    """What an extension of the chosen lots of these accounts would do. Changes nothing."""
    extensions: list[Extension] = []
    lasting = 0
    for found in load_chosen_lots(connection, chosen, as_of, account_ids):
        zone = registry.at(found.program_id, as_of).program.zone
        assert found.lot.expires_at is not None
        expires_at = new_end(found.lot.expires_at, zone, end)
        if expires_at > found.lot.expires_at:
            extensions.append(Extension(found, expires_at))
        else:
            lasting += 1
    return ExtensionOutcome(extensions, lasting)


def extend_lots(
    connection: Connection,
    registry: ProgramRegistry,
    chosen: LotFilter,
    end: NewEnd,
    account_ids: Collection[UUID],
    hand: Hand,
    event_source: str,
    chain_key: bytes | None,
) -> ExtensionOutcome:
    """Move the end of the chosen lots of these accounts, locked, in the caller's transaction.

    Each is kept in `repairs`, sealed with `chain_key`, without which ChainKeyMissingError is raised where the accounts'
    entries are chained. An event tells of each account. Lots that last so long already stay as they are, so
    that with a last day a second call changes nothing; days are added once more. The next reminders correct those that
    customers have had.
    """
    require_key(connection, chain_key, account_ids)
    accounts = lock_accounts(connection, account_ids)
    # The time now and not the transaction's: what ended while we waited for the locks may count as expired already.
    ((as_of,),) = run_bulk(connection, "SELECT clock_timestamp()")
    done = plan_extension(connection, registry, chosen, end, as_of, account_ids)
    lots = [(each.of.account_id, each.of.lot._replace(expires_at=each.expires_at)) for each in done.extensions]
    update_lots(connection, [(account_id, lot) for account_id, lot in lots if lot.expires_with is None])
    # Lots that share their expiry are chosen all together or not at all: no filter tells them apart.
    shared = {
        (account_id, lot.expires_with): SharedExpiry(lot.expires_with, lot.earned_by, lot.expires_at, lot.expires_at)
        for account_id, lot in lots
        if lot.expires_with is not None and lot.expires_at is not None
    }
    update_expiries(connection, [(account_id, expiry) for (account_id, _), expiry in shared.items()])
    append_repairs(
        connection,
        [
            Repair(
                e.of.account_id,
                f"lot {e.of.lot.lot_number}",
                {"expires_at": e.of.lot.expires_at},
                {"expires_at": e.expires_at},
                *hand,
            )
            for e in done.extensions
        ],
        chain_key,
    )
    context = EventContext(event_source, as_of)
    ends = _ends(done.extensions)
    append_events(connection, [points_extended(accounts[account_id], ends[account_id], context) for account_id in ends])
    return done


def _ends(extensions: Iterable[Extension]) -> dict[UUID, list[tuple[int, datetime, datetime]]]:
    """By account how many points had which end and have which, the soonest first: few, however many lots there are."""
    points: dict[UUID, Counter[tuple[datetime, datetime]]] = {}
    for (account_id, _, _, lot), expires_at in extensions:
        assert lot.expires_at is not None
        points.setdefault(account_id, Counter())[lot.expires_at, expires_at] += lot.points_remaining
    return {account_id: [(count, *ends) for ends, count in sorted(of.items())] for account_id, of in points.items()}


def extend_everywhere(
    engine: Engine,
    registry: ProgramRegistry,
    chosen: LotFilter,
    end: NewEnd,
    as_of: datetime,
    event_source: str,
    hand: Hand | None,
    chain_key: bytes | None,
) -> Iterator[ExtensionOutcome]:
    """Extend the chosen lots of all accounts, so many at a time, each time in a transaction of its own.

    Without a `hand` only say what that would do.
    """
    after = None
    while True:
        with engine.begin() as connection:
            account_ids = next_accounts_with_lots(connection, chosen, as_of, after, _ACCOUNTS_AT_ONCE)
            if not account_ids:
                return
            if hand is not None:
                outcome = extend_lots(connection, registry, chosen, end, account_ids, hand, event_source, chain_key)
            else:
                outcome = plan_extension(connection, registry, chosen, end, as_of, account_ids)
        yield outcome
        after = account_ids[-1]
