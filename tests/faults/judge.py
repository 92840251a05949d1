"""After a run: is everything there, once, as the model says? Each difference is said in words; none is a clean run.

A difference begins with lost, doubled or wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.store.engine import run_bulk
from core.store.proof.verify import verify_ledger
from tests.faults.event_log import AccountLog, Change, EventLog
from tests.faults.fault_programs import BUDGET_POINTS, CAP_PER_DAY, COINS, LIMITED, PROGRAMS, STEP
from tests.faults.judged_commands import REJECTED, InboxRow, command_differences, points_moved
from tests.faults.model import AccountKey, LedgerEntry, Totals, is_predicted, is_replayed
from tests.faults.stream import (
    ANSWERED,
    COMMAND_CONFLICT,
    MARK,
    NOT_ALLOWED,
    POSTED,
    REPLAYED,
    WAITING,
    Event,
    Key,
    Stream,
    conflict_of,
)
from tests.limit_checks import Limits, limit_problems, load_limits
from tests.published import COUNT_UNPUBLISHED


class AccountRow(NamedTuple):
    """One account."""

    account_id: UUID
    program_id: str
    customer_id: str
    balance: int
    lifetime_points: int
    tier_id: str
    pending: int = 0


class TierRow(NamedTuple):
    """One tier change. Each is what holds from its instant on, whatever was told before."""

    previous_tier_id: str
    tier_id: str
    effective_at: datetime


class OrderRow(NamedTuple):
    """One posted order."""

    source: str
    order_id: str
    points_entitled: int


class Snapshot(NamedTuple):
    """What the database holds, at one instant."""

    inbox: list[InboxRow]
    accounts: list[AccountRow]
    entries: dict[UUID, list[LedgerEntry]]
    tiers: dict[UUID, list[TierRow]]  #: from, to
    orders: list[OrderRow]
    refunds: list[tuple[str, str]]  #: source, refund_id
    order_events: list[tuple[str, str, str]]  #: source, order_id, kind
    limits: Limits
    unpublished: int
    broken: list[str]  #: what `verify_ledger` finds


_ENTRIES = """
SELECT account_id, sequence, kind, points, balance_after, lifetime_points_after, occurred_at,
       source, order_id, refund_id, pending_change, pending_after, command_id
FROM entries ORDER BY account_id, sequence
"""
_INBOX = "SELECT inbox_id, source, event_id, variant = '', body, state, reason, deliveries FROM inbox ORDER BY inbox_id"
_ACCOUNTS = "SELECT account_id, program_id, customer_id, balance, lifetime_points, tier_id, pending FROM accounts"
#: What shops have told; the others are of merges.
_ORDER_EVENTS = "SELECT source, order_id, kind FROM order_events WHERE kind NOT IN ('moved_away', 'moved_in')"
_TIERS = (
    "SELECT account_id, previous_tier_id, tier_id, effective_at FROM tier_changes ORDER BY account_id, change_number"
)


def take_snapshot(connection: Connection) -> Snapshot:
    """Read everything. `connection` must be at the start of its transaction."""
    broken = [f"{found.name}: {found.text}" for found in verify_ledger(connection)]
    entries: dict[UUID, list[LedgerEntry]] = defaultdict(list)
    for account_id, *values in run_bulk(connection, _ENTRIES):
        entries[account_id].append(LedgerEntry(*values))
    tiers: dict[UUID, list[TierRow]] = defaultdict(list)
    for account_id, *values in run_bulk(connection, _TIERS):
        tiers[account_id].append(TierRow(*values))
    return Snapshot(
        inbox=[InboxRow(*row) for row in run_bulk(connection, _INBOX)],
        accounts=[AccountRow(*row) for row in run_bulk(connection, _ACCOUNTS)],
        entries=entries,
        tiers=tiers,
        orders=[OrderRow(*row) for row in run_bulk(connection, "SELECT source, order_id, points_entitled FROM orders")],
        refunds=[(row[0], row[1]) for row in run_bulk(connection, "SELECT source, refund_id FROM refunds")],
        order_events=[(row[0], row[1], row[2]) for row in run_bulk(connection, _ORDER_EVENTS)],
        limits=load_limits(connection, PROGRAMS[LIMITED]),
        unpublished=run_bulk(connection, COUNT_UNPUBLISHED)[0][0],
        broken=broken,
    )


def differences(
    stream: Stream, confirmed: Mapping[Key, int], snapshot: Snapshot, log: EventLog, *, may_disorder: bool
) -> list[str]:
    """Everything that is not as it must be.

    `may_disorder`: the broker failed, so that first deliveries of an account's events may have come out of order.
    """
    found = [f"wrong: loyalty verify: {text}" for text in snapshot.broken]
    found += [f"wrong: limits: {text}" for text in _limit_problems(stream, snapshot)]
    if snapshot.unpublished:
        found.append(f"lost: {snapshot.unpublished} event(s) are not published")
    found += _inbox_differences(stream, confirmed, snapshot.inbox)
    found += command_differences(stream, snapshot.inbox, snapshot.entries, log)
    found += _account_differences(stream, snapshot, log)
    found += _event_differences(stream, snapshot, log)
    if not may_disorder:
        found += [f"wrong: events: {text}" for text in log.disorder]
    return found


def _limit_problems(stream: Stream, snapshot: Snapshot) -> Iterator[str]:
    kept = stream.model.kept()
    return limit_problems(snapshot.limits, budget_points=BUDGET_POINTS, cap_per_day=CAP_PER_DAY, step=STEP, kept=kept)


def _inbox_differences(stream: Stream, confirmed: Mapping[Key, int], inbox: Sequence[InboxRow]) -> Iterator[str]:
    by_key: dict[Key, list[InboxRow]] = defaultdict(list)
    for row in inbox:
        key = "", row.body.decode(errors="surrogateescape")
        key = key if key in stream.events else (row.source, row.event_id)
        if key in stream.events:
            by_key[key].append(row)
        elif stream.name.encode() in row.body or MARK.encode() not in row.body:
            yield f"doubled: inbox: {row} was sent by nobody"
    posted: dict[Any, list[tuple[Event, InboxRow]]] = defaultdict(list)
    for key, contents in stream.events.items():
        rows = by_key[key]
        if len(rows) != len(contents):
            what = "lost" if len(rows) < len(contents) else "doubled"
            yield f"{what}: inbox: event {key} of {len(contents)} content(s) has {len(rows)} row(s)"
            continue
        if sum(row.deliveries for row in rows) < confirmed.get(key, 0):
            yield f"lost: inbox: event {key} was confirmed {confirmed[key]} times, and counted {rows}"
        yield from _event_rows(key, contents, rows, posted)
    for twins in posted.values():
        yield from _twin_differences(twins)
    counted = Counter(_outcome(key, row, stream) for key, rows in by_key.items() for row in rows)
    wanted = stream.outcomes()
    if counted != wanted:
        yield f"wrong: inbox: outcomes {sorted(counted.items())}, expected {sorted(wanted.items())}"


def _outcome(key: Key, row: InboxRow, stream: Stream) -> str:
    is_command = stream.events[key][0].is_command
    if is_command and row.is_first and row.state in {POSTED, REJECTED}:
        return ANSWERED
    return row.reason or row.state


def _event_rows(
    key: Key, contents: Sequence[Event], rows: Sequence[InboxRow], posted: dict[Any, list[tuple[Event, InboxRow]]]
) -> Iterator[str]:
    """The rows of one event id: each content once, and all but one of them parked."""
    left = list(contents)
    for row in rows:
        event = next((event for event in left if row.body in event.bodies), None)
        if event is None:
            yield f"doubled: inbox: {row} is no content of event {key}, or came twice"
            continue
        left.remove(event)
        if event.subject is None:
            yield from _wrong_outcome(row, REJECTED if event.fate == NOT_ALLOWED else "dead", event.fate)
        elif event.is_command:
            if not row.is_first:
                yield from _wrong_outcome(row, REJECTED, COMMAND_CONFLICT)
        elif not row.is_first:
            yield from _wrong_outcome(row, "dead", "event_conflict")
        elif event.fate == POSTED:
            posted[event.subject].append((event, row))
        elif event.fate == WAITING:
            yield from _wrong_outcome(row, WAITING, None)
        else:
            yield from _wrong_outcome(row, "dead", event.fate)
    if sum(row.is_first for row in rows) != (contents[0].subject is not None):
        yield f"wrong: inbox: event {key} has {sum(row.is_first for row in rows)} first row(s)"


def _twin_differences(twins: Sequence[tuple[Event, InboxRow]]) -> Iterator[str]:
    """Of the events that report the same order or refund one is posted, whichever was first."""
    winners = [event for event, row in twins if row.state == POSTED]
    if len(winners) != 1:
        yield f"{'doubled' if winners else 'lost'}: inbox: {len(winners)} of {[row for _, row in twins]} are posted"
        return
    for event, row in twins:
        if row.state != POSTED:
            assert event.subject is not None
            is_same = event.business == winners[0].business
            state, reason = (REPLAYED, None) if is_same else ("dead", conflict_of(event.subject[0]))
            yield from _wrong_outcome(row, state, reason)


def _wrong_outcome(row: InboxRow, state: str, reason: str | None) -> Iterator[str]:
    if (row.state, row.reason) != (state, reason):
        yield f"wrong: inbox: {row} must be {state} {reason or ''}"


def _account_differences(stream: Stream, snapshot: Snapshot, log: EventLog) -> Iterator[str]:
    model, ours = stream.model, stream.name
    moved = points_moved(stream, log)
    # Conversions open accounts where they are done.
    wanted = model.accounts() | {key: [] for key in moved if key[0] == COINS}
    ends: dict[AccountKey, list[tuple[Totals, Totals]]] = defaultdict(list)  #: of what may be merged, together
    accounts: dict[AccountKey, AccountRow] = {}
    for row in snapshot.accounts:
        key = row.program_id, row.customer_id
        if key in accounts or (key not in wanted and row.customer_id.startswith(ours)):
            yield f"doubled: accounts: {row} is one too many"
        accounts[key] = row
    earned: dict[str, int] = {}
    for key, orders in wanted.items():
        if key not in accounts:
            yield f"lost: accounts: {key} has none, and {len(orders)} order(s)"
            continue
        if not is_predicted(key):
            continue
        account, totals = accounts[key], model.totals(key, orders, moved[key])
        held = Totals(account.balance, account.lifetime_points, account.pending)
        if totals is not None:
            ends[model.merging.get(key, key)].append((held, totals))
        if not is_replayed(key):
            earned |= {order_id: model.earned((source, order_id)) for source, order_id in orders}
            continue
        replayed = model.replay(orders, snapshot.entries.get(account.account_id, ()))
        yield from (f"wrong: entries of {key}: {text}" for text in replayed.differences)
        together = Totals(account.balance + account.pending, account.lifetime_points)
        if (together, account.tier_id) != (replayed.totals, replayed.tier):
            yield f"wrong: accounts: {key} is at {held} in {account.tier_id}, its entries replayed at {replayed}"
        changes = snapshot.tiers.get(account.account_id, [])
        for instant in {*(change.effective_at for change in changes), *(at for at, _ in replayed.tiers.changes)}:
            told = [replayed.tiers.first, *(change.tier_id for change in changes if change.effective_at <= instant)][-1]
            if told != replayed.tiers.at(instant):
                yield f"wrong: tiers of {key}: {told} at {instant} by {changes}, replayed {replayed.tiers.changes}"
        earned |= replayed.earned
    for key, of_key in ends.items():
        has, given = (Totals(*map(sum, zip(*each, strict=True))) for each in zip(*of_key, strict=True))
        if has != given:
            yield f"wrong: accounts: {key} has {has}, the messages give {given}"
    yield from _fact_differences(stream, snapshot, earned)


def _fact_differences(stream: Stream, snapshot: Snapshot, earned: Mapping[str, int]) -> Iterator[str]:
    """Each order and each refund that was to be posted is recorded once; the tables' keys see to "once"."""
    orders = {(row.source, row.order_id): row for row in snapshot.orders if row.order_id.startswith(stream.name)}
    for name, wanted, found in (
        ("orders", stream.model.order_keys(), set(orders)),
        ("refunds", stream.model.refund_ids(), {row for row in snapshot.refunds if row[1].startswith(stream.name)}),
        (
            "fulfilments and cancellations",
            _each(stream.model.order_events().elements()),
            _each(row for row in snapshot.order_events if row[1].startswith(stream.name)),
        ),
    ):
        yield from (f"lost: {name}: {key} is missing" for key in sorted(wanted - found))
        yield from (f"doubled: {name}: {key} is one too many" for key in sorted(found - wanted))
    for key, row in orders.items():
        is_predicted = key not in stream.model.sales or stream.model.is_predicted(key)
        if is_predicted and row.points_entitled != earned.get(key[1], 0):
            yield f"wrong: orders: {row} is entitled to {earned.get(key[1], 0)} points by the model"


def _each(events: Iterable[tuple[str, str, str]]) -> set[tuple[object, ...]]:
    """These, of which several may be alike, each with its number among those."""
    numbers: Counter[tuple[str, str, str]] = Counter()
    found: set[tuple[object, ...]] = set()
    for event in events:
        numbers[event] += 1
        found.add((*event, numbers[event]))
    return found


def _event_differences(stream: Stream, snapshot: Snapshot, log: EventLog) -> Iterator[str]:
    yield from (f"wrong: events: {text}" for text in log.problems)
    accounts = {str(row.account_id): row for row in snapshot.accounts}
    for account_id, row in accounts.items():
        told = log.accounts.get(account_id, AccountLog())
        if not told.is_created or told.customer_id != row.customer_id:
            yield f"lost: events: the creation of account {account_id} of {row.customer_id} was not told"
        entries = {e.sequence: _told(e) for e in snapshot.entries.get(row.account_id, ())}
        yield from _missing(f"events: account {account_id}, sequence", told.changes, entries)
        tiers = dict(enumerate((change[:2] for change in snapshot.tiers.get(row.account_id, ())), start=1))
        yield from _missing(f"events: account {account_id}, tier change", told.tiers, tiers)
        if sum(change.points for change in told.changes.values()) != row.balance:
            yield f"wrong: events: those of account {account_id} do not add up to its balance {row.balance}"
    yield from (
        f"doubled: events: account {account_id} of {told.customer_id} is in no ledger"
        for account_id, told in log.accounts.items()
        if account_id not in accounts and told.customer_id.startswith(stream.name)
    )
    parked = {row.inbox_id: row.reason for row in snapshot.inbox if row.state == "dead"}
    first = min((row.inbox_id for row in snapshot.inbox), default=0)
    told_parked = {inbox_id: reason for inbox_id, reason in log.parked.items() if inbox_id >= first}
    yield from _missing("events: message parked", told_parked, parked)


def _told(entry: LedgerEntry) -> Change:
    return Change(
        entry.kind,
        entry.points,
        entry.balance_after,
        entry.lifetime_points_after,
        entry.order_id,
        entry.refund_id,
        entry.command_id,
    )


def _missing(what: str, told: Mapping[int, object], held: Mapping[int, object]) -> Iterator[str]:
    for number in sorted(told.keys() | held.keys()):
        if told.get(number) != held.get(number):
            kind = "lost" if number not in told else "doubled" if number not in held else "wrong"
            yield f"{kind}: {what} {number}: told {told.get(number)}, the ledger has {held.get(number)}"
