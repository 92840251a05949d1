"""Expiry and tier review: the same shell as posting, fed by the calendar instead of the inbox."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core.domain.expiry import decide_expiry
from core.domain.ledger import Account
from core.domain.tiers import decide_tier_review, period_ended
from core.posting.books import Books
from core.posting.events import EventContext, decision_events
from core.store.ledger import lock_accounts
from core.store.locks import LockClass, try_lock
from core.store.programs import BEGINNING, ProgramRegistry
from core.store.upkeep import accounts_due_for_review, accounts_with_due_lots, load_due_lots, qualifying_points

#: Keeps apart the locks of the two tasks on one shard.
_EXPIRY_LOCK, _REVIEW_LOCK = 100, 200


def expire_batch(
    connection: Connection, shard: int, as_of: datetime, lots_max: int, context: EventContext
) -> int | None:
    """Expire lots of one account shard that are due at `as_of`, in this transaction.

    Returns the number of accounts changed; 0 when nothing is due, None when another worker has the shard.
    """
    if not try_lock(connection, LockClass.PERIODIC, _EXPIRY_LOCK + shard):
        return None
    accounts = lock_accounts(connection, accounts_with_due_lots(connection, shard, as_of, lots_max))
    lots = load_due_lots(connection, accounts, as_of)
    books = _books(accounts)
    books.put_lots({account_id: {lot.lot_number: lot for lot in due} for account_id, due in lots.items()})
    for account_id, due in lots.items():
        decision = decide_expiry(accounts[account_id], due, as_of)
        books.apply(decision)
        books.events += decision_events(decision, context)
    books.write(connection)
    return len(lots)


def review_batch(
    connection: Connection,
    shard: int,
    as_of: datetime,
    accounts_max: int,
    registry: ProgramRegistry,
    context: EventContext,
) -> int | None:
    """Review tiers of one account shard that were due by `as_of`: one boundary per account and call.

    Returns the number of accounts reviewed; 0 when nothing is due, None when another worker has the shard.
    """
    if not try_lock(connection, LockClass.PERIODIC, _REVIEW_LOCK + shard):
        return None
    accounts = lock_accounts(connection, accounts_due_for_review(connection, shard, as_of, accounts_max))
    due = {
        account_id: account
        for account_id, account in accounts.items()
        # Read again under the lock: posting may have moved the account meanwhile.
        if account.tier_until is not None and account.tier_until <= as_of
    }
    points = qualifying_points(connection, [_period_ended(account, registry) for account in due.values()])
    books = _books(due)
    for account_id, account in due.items():
        assert account.tier_until is not None
        program = registry.at(account.program_id, account.tier_until).program
        decision = decide_tier_review(account, program, points.get(account_id, 0))
        books.apply(decision)
        books.events += decision_events(decision, context)
    books.write(connection)
    return len(due)


def _period_ended(account: Account, registry: ProgramRegistry) -> tuple[UUID, datetime, datetime]:
    """The account, and the period whose end its review is about."""
    assert account.tier_until is not None
    period = period_ended(account, registry.at(account.program_id, account.tier_until).program)
    return account.account_id, period.start or BEGINNING, account.tier_until


def _books(accounts: dict[UUID, Account]) -> Books:
    books = Books()
    books.put_accounts({}, accounts)
    return books
