"""What becomes of authorizations at their deadlines: the points that they still hold come back."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core.domain.books import Books
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted
from core.domain.value.authorizing import decide_deadline
from core.posting.events import EventContext
from core.posting.loading import load_done, load_parts
from core.posting.writing import Writing
from core.store.authorizations import accounts_with_deadlines, load_deadlines
from core.store.engine import run_bulk
from core.store.ledger import lock_free_accounts
from core.store.locks import LockClass, try_lock
from core.store.movements import load_entries_of_commands

#: Keeps this task's locks apart from those of `core.upkeep.due_batches`.
_DEADLINE_LOCK = 600
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
    chain_key: bytes | None = None,
) -> int | None:
    """Let come back what authorizations hold whose deadlines have passed by `as_of`, each as of its deadline.

    How many there were; a second run finds nothing. With `chain_key` the entries carry their accounts' chains on.
    """
    if not try_lock(connection, LockClass.PERIODIC, _DEADLINE_LOCK + shard):
        return None
    found = accounts_with_deadlines(connection, shard, as_of, rows_max)
    accounts = lock_free_accounts(connection, found)
    due = load_deadlines(connection, accounts, as_of, rows_max)
    books = Books(_no_new_account)
    books.put_accounts(accounts)
    # What is due to be released pays off what they owe first.
    load_parts(connection, books, dict.fromkeys(accounts, AccountParts(LotsWanted.IF_OWING)), registry, as_of)
    load_done(connection, books, load_entries_of_commands(connection, [each.command_key for each in due]))
    writing = Writing(context)
    for authorization in due:
        program_id = accounts[authorization.account_id].program_id
        assert authorization.expires_at is not None
        program = registry.at(program_id, authorization.expires_at).program
        decision = decide_deadline(books, authorization, program, as_of)
        books.apply(decision)
        writing.keep(decision)
    writing.write(connection, chain_key)
    return len(due)


def _no_new_account() -> UUID:
    raise AssertionError("a deadline opens no account")


def shards_with_deadlines(connection: Connection, as_of: datetime, shards: int) -> list[int]:
    """The account shards with an open authorization whose deadline has passed by `as_of`."""
    return [row[0] for row in run_bulk(connection, _SHARDS_DUE, (shards - 1, as_of))]
