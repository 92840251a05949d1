"""Drives the shell as the processes do, without brokers: receive, post, sweep. Then looks at the tables."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text
from uuid6 import uuid7

from core.messages.inbound.contracts import INBOUND, Contracts
from core.messages.inbound.reading import MessageLimits, ReadEvent, read_message
from core.messages.program_files.program_file import parse_program
from core.posting.batch import Poster
from core.posting.events import EventContext
from core.posting.handlers import HANDLERS, Handler
from core.receiving.receive import Receipt, receive, receive_by_operator
from core.store.posting_turns import shards_with_work
from core.store.programs import append_version, load_registry
from core.store.proof.rebuild import Examination, examine
from core.store.proof.scope import EVERYTHING
from core.store.proof.verify import verify_ledger
from core.store.shards import ACCOUNT_SHARDS
from core.upkeep.deadlines import announce_batch, void_batch
from core.upkeep.due_batches import expire_batch, release_batch, remind_batch, review_batch, warn_batch
from core.upkeep.runs import BatchDone
from core.upkeep.sweeping import sweep_waiting
from tests.factories import PROGRAM_TEXT, as_bytes

EVENT_SOURCE = "/loyalty"
#: As of LOYALTY_REFERENCE_SALT.
SALT = "that of the tests, which is no secret"
LIMITS = MessageLimits(
    message_bytes_max=1_000_000,
    array_events_max=1000,
    clock_skew_seconds_max=86_400,
    reference_salt=SALT.encode(),
)


def receive_into(
    connection: Connection,
    *messages: Any,
    shards: int = 4,
    contracts: Contracts = INBOUND,
    limits: MessageLimits = LIMITS,
) -> Receipt:
    """Receive messages (events, arrays of them, or raw bytes) as one batch, in the caller's transaction."""
    raw = [message if isinstance(message, bytes) else as_bytes(message) for message in messages]
    return receive(connection, raw, limits=limits, shards=shards, event_source=EVENT_SOURCE, contracts=contracts)


def take_by_operator(shell: "Shell", *messages: Any) -> Counter[str]:
    """Receive what somebody hands over who may write to the database, such as commands, and post it."""
    raw = [as_bytes(message) for message in messages]
    with shell.engine.begin() as connection:
        receive_by_operator(connection, raw, limits=LIMITS, shards=shell.shards, event_source=EVENT_SOURCE)
    return shell.post()


class Shell:
    """One worker of everything, on one database."""

    def __init__(
        self,
        engine: Engine,
        *,
        shards: int = 4,
        batch_messages: int = 500,
        program_text: str | None = PROGRAM_TEXT,
        new_account_id: Callable[[], UUID] = uuid7,
        contracts: Contracts = INBOUND,
        handlers: Mapping[str, Handler] = HANDLERS,
        limits: MessageLimits = LIMITS,
    ) -> None:
        self.engine = engine
        self.limits = limits
        self.shards = shards
        self.batch_messages = batch_messages
        self.contracts = contracts
        self.poster = Poster(
            engine,
            event_source=EVENT_SOURCE,
            new_account_id=new_account_id,
            reference_salt=SALT.encode(),
            handlers=handlers,
        )
        if program_text is not None:
            self.apply_program(program_text)

    def apply_program(self, program_text: str, effective_from: str | None = None) -> None:
        """Put a program file in force; a first version for all history."""
        instant = None if effective_from is None else datetime.fromisoformat(effective_from)
        with self.engine.begin() as connection:
            append_version(connection, parse_program(program_text, path="test.yaml"), program_text, instant)

    def receive(self, *messages: Any) -> Receipt:
        """Store messages as one intake batch."""
        with self.engine.begin() as connection:
            return receive_into(connection, *messages, shards=self.shards, contracts=self.contracts, limits=self.limits)

    def post(self) -> Counter[str]:
        """Post until no shard has anything left that can be had; what became of the messages."""
        totals: Counter[str] = Counter()
        is_done = False
        while not is_done:
            with self.engine.connect() as connection:
                shards = shards_with_work(connection)
            is_done = True  # a shard that somebody else has is not waited for
            for shard in shards:
                result = self.poster.post_batch(shard, self.batch_messages)
                is_done = is_done and result.claimed == 0
                totals.update(
                    posted=result.posted,
                    replayed=result.replayed,
                    waiting=result.waiting,
                    parked=result.parked,
                    rejected=result.rejected,
                )
        return +totals

    def take(self, *messages: Any) -> Counter[str]:
        """Receive and post."""
        self.receive(*messages)
        return self.post()

    def sweep(self, waiting_days_max: int = 30, rows_max: int = 500) -> dict[str, int]:
        """Wake and park waiting messages once."""
        with self.engine.begin() as connection:
            swept = sweep_waiting(connection, EVENT_SOURCE, waiting_days_max, rows_max)
            return {"woken": swept.woken, "overdue": swept.overdue}

    def expire(self, as_of: str, lots_max: int = 500) -> int:
        """Expire lots until none are due; how many times an account was changed."""
        return self._on_each_shard(
            lambda connection, shard, context: expire_batch(
                connection, shard, datetime.fromisoformat(as_of), lots_max, context, None
            )
        )

    def review(self, as_of: str, accounts_max: int = 500) -> int:
        """Review tiers until none are due; how many reviews there were."""

        def step(connection: Connection, shard: int, context: EventContext) -> BatchDone | None:
            registry = load_registry(connection)
            return review_batch(connection, shard, datetime.fromisoformat(as_of), accounts_max, registry, context)

        return self._on_each_shard(step)

    def release(self, as_of: str, lots_max: int = 500) -> int:
        """Release held points until none are due; how many times an account was changed."""
        return self._on_each_shard(
            lambda connection, shard, context: release_batch(
                connection, shard, datetime.fromisoformat(as_of), lots_max, context, None
            )
        )

    def void(self, as_of: str, rows_max: int = 500) -> int:
        """Let the points of authorizations come back until no deadline is past; how many there were."""

        def step(connection: Connection, shard: int, context: EventContext) -> BatchDone | None:
            registry = load_registry(connection)
            return void_batch(connection, shard, datetime.fromisoformat(as_of), rows_max, registry, context, None)

        return self._on_each_shard(step)

    def announce(self, as_of: str, rows_max: int = 500) -> int:
        """Tell of authorizations whose deadlines are near; how many there were."""

        def step(connection: Connection, shard: int, context: EventContext) -> BatchDone | None:
            registry = load_registry(connection)
            return announce_batch(connection, shard, datetime.fromisoformat(as_of), rows_max, registry, context)

        return self._on_each_shard(step)

    def remind(self, as_of: str, accounts_max: int = 500) -> int:
        """Tell of points that are about to end until nothing is left to tell; how many times an account was told."""

        def step(connection: Connection, shard: int, context: EventContext) -> BatchDone | None:
            registry = load_registry(connection)
            return remind_batch(connection, shard, datetime.fromisoformat(as_of), accounts_max, registry, context)

        return self._on_each_shard(step)

    def warn(self, as_of: str, accounts_max: int = 500) -> None:
        """Tell of tiers at risk, account by account to the last."""
        last: dict[int, UUID | None] = {}

        def step(connection: Connection, shard: int, context: EventContext) -> BatchDone | None:
            registry, instant = load_registry(connection), datetime.fromisoformat(as_of)
            looked_at = warn_batch(connection, shard, instant, accounts_max, registry, context, last.get(shard))
            last[shard], in_use = looked_at or (None, 0)
            return BatchDone(1 if last[shard] else 0, in_use)

        self._on_each_shard(step)

    def _on_each_shard(self, step: Callable[[Connection, int, EventContext], BatchDone | None]) -> int:
        total = 0
        for shard in range(ACCOUNT_SHARDS):
            done: BatchDone | None = BatchDone(-1)
            while done is not None and done.changed:
                with self.engine.begin() as connection:
                    done = step(connection, shard, EventContext(EVENT_SOURCE, datetime.now(UTC)))
                total += done.changed if done else 0
        return total

    def rows(self, statement: str, **parameters: Any) -> list[Row[Any]]:
        """What a SELECT finds."""
        with self.engine.connect() as connection:
            return list(connection.execute(text(statement), parameters))

    def value(self, statement: str, **parameters: Any) -> Any:
        """The one value that a SELECT finds."""
        ((value,),) = self.rows(statement, **parameters)
        return value

    def execute(self, statement: str, **parameters: Any) -> None:
        """Change the database behind the worker's back."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), parameters)

    def receive_again(self, condition: str = "true") -> None:
        """Put messages back to where intake left them, behind the worker's back."""
        for row in self.rows(f"SELECT inbox_id, body FROM inbox WHERE {condition}"):
            (event,) = read_message(row.body, limits=LIMITS, now=datetime.now(UTC))
            assert isinstance(event, ReadEvent)
            self.execute(
                "UPDATE inbox SET state = 'received', reason = NULL, detail = NULL, settled_at = NULL,"
                " settled = :settled WHERE inbox_id = :inbox_id",
                settled=event.settled,
                inbox_id=row.inbox_id,
            )

    def balance(self, customer_id: str = "c1", program_id: str = "test") -> int | None:
        """The customer's balance; None without an account."""
        found = self.rows(
            "SELECT balance FROM accounts WHERE customer_id = :customer_id AND program_id = :program_id",
            customer_id=customer_id,
            program_id=program_id,
        )
        return found[0].balance if found else None

    def outcome(self, event_id: str) -> tuple[str, str | None]:
        """State and reason of the message; of the latest one if there is a conflict."""
        row = self.rows(
            "SELECT state, reason FROM inbox WHERE event_id = :event_id ORDER BY inbox_id DESC LIMIT 1",
            event_id=event_id,
        )[0]
        return row.state, row.reason

    def outcomes(self) -> Counter[tuple[str, str | None]]:
        """How many messages have which state and reason."""
        return Counter((row.state, row.reason) for row in self.rows("SELECT state, reason FROM inbox"))

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What was put into the outbox, in order; only events of one type if given."""
        rows = self.rows("SELECT type, body FROM outbox ORDER BY outbox_id")
        return [json.loads(row.body) for row in rows if kind in {None, row.type}]

    def parked_events(self) -> list[tuple[str | None, str]]:
        """Event id and reason of every parked message that was told of."""
        return [
            (event["data"].get("event_id"), event["data"]["reason"]) for event in self.events("loyalty.message.parked")
        ]

    def differences(self) -> list[str]:
        """What `loyalty verify` would say; nothing on a clean ledger."""
        with self.engine.begin() as connection:
            return [f"{found.name}: {found.text}" for found in verify_ledger(connection)]

    def repairs(self) -> Examination:
        """What `loyalty rebuild` would put right; nothing on right books."""
        with self.engine.begin() as connection:
            return examine(connection, EVERYTHING)


@contextmanager
def tampered(ledger: Shell, tampering: str = "SELECT 1") -> Iterator[Connection]:
    """A connection that sees the ledger changed by hand; the change is taken back at the end."""
    with ledger.engine.connect() as connection:
        connection.exec_driver_sql(tampering)
        yield connection
        connection.rollback()
