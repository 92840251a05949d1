"""Posting: one batch of a shard's inbox rows in one transaction, and the bad message found when a batch fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import psycopg
import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from core.domain.outcomes import Parked, Reason, Replayed, Waiting
from core.messages.inbound import StoredOrder, StoredRefund, read_stored_event
from core.posting.books import Books
from core.posting.deciding import Outcome, Posted, Posting, post_order, post_refund
from core.posting.events import EventContext, message_parked
from core.posting.loading import open_books
from core.store.engine import run_bulk
from core.store.inbox import ClaimedMessage, Settlement, claim_received, claim_waiting, settle
from core.store.locks import LockClass
from core.store.programs import ProgramRegistry, load_registry

log = structlog.get_logger(__name__)

#: After that many deaths in a row on one shard its messages are posted one by one, to find the one that kills.
CRASHES_BEFORE_SINGLE = 3
#: After that many the first message of the shard is parked.
CRASHES_BEFORE_PARKING = 6

ReadMessage = tuple[ClaimedMessage, StoredOrder | StoredRefund]

# One row back if the shard is free: the number of tries in a row, this one included.
_COUNT_ATTEMPT = """
INSERT INTO posting_attempts (shard, attempts)
SELECT %s, 1 WHERE pg_try_advisory_xact_lock(%s, %s)
ON CONFLICT (shard) DO UPDATE SET attempts = posting_attempts.attempts + 1, started_at = now()
RETURNING attempts
"""


@dataclass
class BatchResult:
    """What one call of `post_batch` did."""

    claimed: int = 0
    posted: int = 0
    replayed: int = 0
    waiting: int = 0
    parked: int = 0
    account_shards: set[int] = field(default_factory=set)
    is_busy: bool = False  #: another worker has the shard


class Poster:
    """Posts batches; keeps the program registry between them and reloads it when there is a newer version."""

    def __init__(self, engine: Engine, *, event_source: str, new_account_id: Callable[[], UUID]) -> None:
        """`event_source` is the CloudEvents source of what we publish; `new_account_id` draws account ids."""
        self._engine = engine
        self._event_source = event_source
        self._new_account_id = new_account_id
        self._registry = ProgramRegistry((), stamp=-1)

    def post_batch(self, shard: int, messages_max: int) -> BatchResult:
        """Post the shard's next messages, oldest first, in one transaction; nothing if another worker has the shard.

        If the batch fails, it is done again message by message: the good ones are posted, the bad one is parked. A
        broken database or broker connection is not a message's fault: the error is raised and nothing has changed.
        """
        crashes = self._count_attempt(shard)
        if crashes is None:
            return BatchResult(is_busy=True)
        limit = 1 if crashes >= CRASHES_BEFORE_SINGLE else messages_max
        claimed: list[ClaimedMessage] = []
        try:
            with self._engine.begin() as connection:
                as_of = self._begin(connection, shard)
                if as_of is None:
                    return BatchResult(is_busy=True)
                claimed = claim_received(connection, shard, limit)
                if limit == 1 and crashes >= CRASHES_BEFORE_PARKING and claimed:
                    parked = Parked(
                        Reason.POSTING_CRASHED, f"the worker died {crashes} times while it posted this message"
                    )
                    result = self._settle(connection, shard, as_of, [(claimed[0], parked)], None)
                else:
                    result = self._post(connection, shard, as_of, claimed)
                run_bulk(connection, "UPDATE posting_attempts SET attempts = 0 WHERE shard = %s", (shard,))
                return result
        except Exception as error:
            self._forget_attempt(shard)
            if is_outage(error) or not claimed:
                raise
            log.warning("posting_batch_failed", action="posting_batch_failed", shard=shard, error=type(error).__name__)
        return self._post_each(shard, claimed)

    def _post_each(self, shard: int, claimed: Sequence[ClaimedMessage]) -> BatchResult:
        total = BatchResult()
        for message in claimed:
            result = self._post_alone(shard, message)
            total.claimed += result.claimed
            total.posted += result.posted
            total.replayed += result.replayed
            total.waiting += result.waiting
            total.parked += result.parked
            total.account_shards |= result.account_shards
        return total

    def _post_alone(self, shard: int, message: ClaimedMessage) -> BatchResult:
        try:
            return self._in_shard(shard, message, None)
        except Exception as error:
            if is_outage(error):
                raise
            log.exception(
                "message_failed", action="message_failed", inbox_id=message.inbox_id, error=type(error).__name__
            )
            detail = (
                f"posting it raised {type(error).__name__}; "
                f"retry it after a repair: loyalty dead retry {message.inbox_id}"
            )
            return self._in_shard(shard, message, Parked(Reason.POSTING_FAILED, detail))

    def _in_shard(self, shard: int, message: ClaimedMessage, parked: Parked | None) -> BatchResult:
        with self._engine.begin() as connection:
            as_of = self._begin(connection, shard)
            # Claimed again under the lock: another worker may have posted it since the batch failed.
            still = [m for m in claim_received(connection, shard, 1) if m.inbox_id == message.inbox_id]
            if as_of is None or not still:
                return BatchResult(is_busy=True)
            if parked is not None:
                return self._settle(connection, shard, as_of, [(still[0], parked)], None)
            return self._post(connection, shard, as_of, still)

    def _begin(self, connection: Connection, shard: int) -> datetime | None:
        """Take the shard's lock for this transaction and refresh the registry; None if another worker has the lock."""
        ((is_ours, as_of, stamp),) = run_bulk(
            connection,
            "SELECT pg_try_advisory_xact_lock(%s, %s), now(), (SELECT count(*) FROM programs)",
            (int(LockClass.POSTING), shard),
        )
        if stamp != self._registry.stamp:
            self._registry = load_registry(connection)
        return as_of if is_ours else None

    def _post(
        self, connection: Connection, shard: int, as_of: datetime, claimed: Sequence[ClaimedMessage]
    ) -> BatchResult:
        read = _with_waiting(connection, [(message, read_stored_event(message.body)) for message in claimed])
        books = open_books(connection, [event for _, event in read], self._registry, self._new_account_id)
        posting = Posting(books, self._registry, shard, as_of, EventContext(self._event_source, as_of))
        outcomes = [(message, _post_one(message, event, posting)) for message, event in read]
        result = self._settle(connection, shard, as_of, outcomes, posting)
        result.account_shards |= set(books.account_shards())
        return result

    def _settle(
        self,
        connection: Connection,
        shard: int,
        as_of: datetime,
        outcomes: Sequence[tuple[ClaimedMessage, Outcome]],
        posting: Posting | None,
    ) -> BatchResult:
        """Write the books and every message's outcome."""
        if posting is None:
            posting = Posting(
                Books(self._new_account_id), self._registry, shard, as_of, EventContext(self._event_source, as_of)
            )
        result = BatchResult(claimed=len(outcomes))
        settlements: list[Settlement] = []
        for message, outcome in outcomes:
            match outcome:
                case Posted():
                    result.posted += 1
                    settlements.append(Settlement(message.inbox_id, "posted"))
                case Replayed():
                    result.replayed += 1
                    settlements.append(Settlement(message.inbox_id, "replayed"))
                case Waiting():
                    result.waiting += 1
                    settlements.append(Settlement(message.inbox_id, "waiting"))
                case Parked(reason, detail):
                    result.parked += 1
                    settlements.append(Settlement(message.inbox_id, "dead", reason.value, detail))
                    posting.books.events.append(message_parked(message, outcome, posting.context))
        posting.books.write(connection)
        settle(connection, settlements)
        result.account_shards |= set(posting.books.account_shards())
        return result

    def _count_attempt(self, shard: int) -> int | None:
        """Remember, before the work, that it is tried, so that a death counts. Returns the deaths in a row before."""
        with self._engine.begin() as connection:
            rows = run_bulk(connection, _COUNT_ATTEMPT, (shard, int(LockClass.POSTING), shard))
        return rows[0][0] - 1 if rows else None

    def _forget_attempt(self, shard: int) -> None:
        """A caught error is no death."""
        try:
            with self._engine.begin() as connection:
                run_bulk(connection, "UPDATE posting_attempts SET attempts = 0 WHERE shard = %s", (shard,))
        except (DBAPIError, psycopg.Error):
            log.warning("attempt_not_forgotten", action="attempt_not_forgotten", shard=shard)


def _with_waiting(connection: Connection, read: list[ReadMessage]) -> list[ReadMessage]:
    """Put the refunds that wait for an order of this batch right behind it."""
    orders = [(event.order.source, event.order.order_id) for _, event in read if isinstance(event, StoredOrder)]
    waiting: dict[tuple[str, str], list[ReadMessage]] = {}
    for message in claim_waiting(connection, orders):
        waiting.setdefault((message.source, message.order_id), []).append((message, read_stored_event(message.body)))
    if not waiting:
        return read
    arranged: list[ReadMessage] = []
    for message, event in read:
        arranged.append((message, event))
        if isinstance(event, StoredOrder):
            arranged += waiting.pop((message.source, message.order_id), [])
    return arranged


def _post_one(message: ClaimedMessage, event: StoredOrder | StoredRefund, posting: Posting) -> Outcome:
    if isinstance(event, StoredOrder):
        return post_order(message, event, posting)
    return post_refund(message, event, posting)


def is_outage(error: BaseException) -> bool:
    """Whether the error is about the database or its schema rather than about one message.

    psycopg's OperationalError covers lost connections, deadlocks, timeouts and a full disk; a ProgrammingError means
    that this release and the schema do not fit, which no message can help.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, psycopg.ProgrammingError))
