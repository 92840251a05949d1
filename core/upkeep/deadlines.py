"""What becomes of authorizations at their deadlines, when the points that they hold come back, and is told before."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from core.domain.books import Books
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted
from core.domain.value.authorizing import decide_deadline
from core.posting.events import EventContext, authorization_expiring
from core.posting.loading import load_done, load_parts, load_uses
from core.posting.shared_limits import load_limits, stocks_of
from core.posting.writing import Writing
from core.store.appending import append_events
from core.store.authorizations import (
    accounts_with_deadlines,
    accounts_with_near_deadlines,
    load_deadlines,
    load_near_deadlines,
    note_told,
)
from core.store.engine import run_bulk
from core.store.ledger import lock_free_accounts
from core.store.locks import PeriodicTurn, try_periodic_turn
from core.store.movements import load_entries_of_commands
from core.upkeep.runs import BatchDone

_SHARDS_DUE = """
SELECT s FROM generate_series(0, %s) AS s WHERE EXISTS (
    SELECT FROM authorizations WHERE account_shard = s AND state = 'open' AND expires_at <= %s)
"""


def void_batch(
    connection: Connection,
    shard: int,
    as_of: datetime,
    rows_max: int,
    registry: ProgramRegistry,
    context: EventContext,
    chain_key: bytes | None,
) -> BatchDone | None:
    """Let come back what authorizations hold whose deadlines have passed by `as_of`, each as of its deadline.

    How many there were; a second run finds nothing. With `chain_key` the entries carry their accounts' chains on.
    """
    if not try_periodic_turn(connection, PeriodicTurn.DEADLINE, shard):
        return None
    found = accounts_with_deadlines(connection, shard, as_of, rows_max)
    accounts = lock_free_accounts(connection, found)
    due = load_deadlines(connection, accounts, as_of, rows_max)
    books = Books(_no_new_account)
    books.put_accounts(accounts)
    # What is due to be released pays off what they owe first.
    load_parts(connection, books, dict.fromkeys(accounts, AccountParts(LotsWanted.IF_OWING)), registry, as_of)
    load_done(connection, books, load_entries_of_commands(connection, [each.command_key for each in due]))
    load_uses(connection, books, due, registry)
    stocks = load_limits(connection, books, stocks_of(books, due, registry), is_contended=False)
    writing = Writing(context)
    for authorization in due:
        decision = decide_deadline(books, authorization, registry, as_of)
        books.apply(decision)
        writing.keep(decision)
    writing.write(connection, chain_key=chain_key, books=books, loaded=stocks)
    return BatchDone(len(due), len(found) - len(accounts))


def announce_batch(
    connection: Connection,
    shard: int,
    as_of: datetime,
    rows_max: int,
    registry: ProgramRegistry,
    context: EventContext,
) -> BatchDone | None:
    """Tell of authorizations that hold points at `as_of` and have their deadlines soon, each once.

    How many there were; a second run finds nothing. One whose deadline has passed by then is not told of any more.
    """
    if not try_periodic_turn(connection, PeriodicTurn.NEAR_DEADLINE, shard):
        return None
    ahead = hours_ahead(registry, as_of)
    near_deadlines = accounts_with_near_deadlines(connection, shard, as_of, ahead, rows_max)
    accounts = lock_free_accounts(connection, near_deadlines)
    found = load_near_deadlines(connection, accounts, as_of)
    due = []
    for authorization, reserved_at in found:
        near = timedelta(hours=ahead[accounts[authorization.account_id].program_id])
        if authorization.is_expiring(reserved_at, near, as_of):
            due.append(authorization)
    note_told(connection, due)
    append_events(connection, [authorization_expiring(accounts[each.account_id], each, context) for each in due])
    return BatchDone(len(due), len(near_deadlines) - len(accounts))


def hours_ahead(registry: ProgramRegistry, as_of: datetime) -> dict[str, int]:
    """How long before their deadlines authorizations are told of, by the version of each program in force."""
    programs = {program_id: registry.at(program_id, as_of).program for program_id in registry.program_ids()}
    return {program_id: program.reminders.authorization_hours_ahead for program_id, program in programs.items()}


def _no_new_account() -> UUID:
    raise AssertionError("a deadline opens no account")


def shards_with_deadlines(connection: Connection, as_of: datetime, shards: int) -> list[int]:
    """The account shards with an open authorization whose deadline has passed by `as_of`."""
    return [row[0] for row in run_bulk(connection, _SHARDS_DUE, (shards - 1, as_of))]


_SHARDS_NEAR = """
SELECT s FROM generate_series(0, %s) AS s WHERE EXISTS (
    SELECT FROM authorizations
    WHERE account_shard = s AND state = 'open' AND told_at IS NULL AND expires_at > %s AND expires_at <= %s)
"""


def shards_with_near_deadlines(
    connection: Connection, as_of: datetime, shards: int, registry: ProgramRegistry
) -> list[int]:
    """The account shards with an open authorization, not told of, whose deadline is as near as programs tell."""
    until = as_of + timedelta(hours=max(hours_ahead(registry, as_of).values(), default=0))
    return [row[0] for row in run_bulk(connection, _SHARDS_NEAR, (shards - 1, as_of, until))]
