"""What a consumer remembers, in its own database and in the transaction of its own work.

It knows what it has seen, how far each account's balance is applied, and what it holds until what precedes that comes.
"""

import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from loyalty_client.envelope import Event
from loyalty_client.events import BalanceChanged
from loyalty_client.received import read_event

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS loyalty_seen (event_id TEXT PRIMARY KEY, seen_at DOUBLE PRECISION NOT NULL)",
    "CREATE TABLE IF NOT EXISTS loyalty_sequences (account_id TEXT PRIMARY KEY, sequence BIGINT NOT NULL)",
    """
    CREATE TABLE IF NOT EXISTS loyalty_held (
        account_id TEXT NOT NULL, sequence BIGINT NOT NULL, customer_id TEXT NOT NULL, event TEXT NOT NULL,
        held_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (account_id, sequence)
    )
    """,
)


class Turn(StrEnum):
    """What is to be done with an event that came."""

    READY = "ready"  #: apply it, with those that waited for it
    REPEATED = "repeated"  #: it was applied before
    HELD = "held"  #: it is kept until those before it have come


class Taken(NamedTuple):
    """What is to be done with an event that came, and with which."""

    turn: Turn
    events: Sequence[Event] = ()  #: to apply now, in this order


class Gap(NamedTuple):
    """Balance changes of an account that have not come, while later ones have."""

    account_id: str
    customer_id: str
    first_sequence: int  #: the first that is missing
    last_sequence: int  #: the last that is missing
    seconds: float  #: how long a later one has waited for it

    @property
    def advice(self) -> str:
        """The command by which an operator of the worker has it published again."""
        return f"loyalty events replay --customer {self.customer_id} --from-sequence {self.first_sequence}"


class Progress(Protocol):
    """The memory of a consumer."""

    def take(self, event: Event) -> Taken:
        """Remember an event that came, and say what is to be done with it, in the transaction that commit() ends."""

    def commit(self) -> None:
        """Keep all since the last call, the consumer's own work too."""

    def rollback(self) -> None:
        """Forget it."""

    def gaps(self, seconds_min: float) -> list[Gap]:
        """What has been missing for at least so long."""


class SqlProgress:
    """Keeps it in three tables of a SQLite or PostgreSQL database, which it makes.

    `connection` is one of Python's DB-API that does not commit by itself, as sqlite3 and psycopg give. Do your own work
    on the same one: both are kept together, or not at all. `placeholder` is "?" for sqlite3 and "%s" for psycopg.
    """

    def __init__(self, connection: Any, *, placeholder: str = "?") -> None:
        self._connection, self._placeholder = connection, placeholder
        for table in _TABLES:
            self._run(table)
        self.commit()

    def take(self, event: Event) -> Taken:
        """Remember an event that came; balance changes wait for those before them."""
        new = self._run("INSERT INTO loyalty_seen VALUES (?, ?) ON CONFLICT DO NOTHING", event.id, time.time()).rowcount
        if not new:
            return Taken(Turn.REPEATED)
        return self._take_in_order(event) if isinstance(event, BalanceChanged) else Taken(Turn.READY, [event])

    def _take_in_order(self, event: BalanceChanged) -> Taken:
        account_id, sequence = event.data.account_id, event.data.sequence
        last = self._locked_sequence(account_id)
        if sequence <= last:
            return Taken(Turn.REPEATED)
        if sequence > last + 1:
            self._run(
                "INSERT INTO loyalty_held VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                account_id, sequence, event.data.customer_id, event.model_dump_json(), time.time(),
            )  # fmt: skip
            return Taken(Turn.HELD)
        events: list[Event] = [event]
        for held, text in self._run(
            "SELECT sequence, event FROM loyalty_held WHERE account_id = ? ORDER BY sequence", account_id
        ).fetchall():
            if held > sequence + 1:
                break
            if held == sequence + 1:
                events.append(read_event(text))
                sequence = held
        self._run("DELETE FROM loyalty_held WHERE account_id = ? AND sequence <= ?", account_id, sequence)
        self._run("UPDATE loyalty_sequences SET sequence = ? WHERE account_id = ?", sequence, account_id)
        return Taken(Turn.READY, events)

    def start_at(self, account_id: str, sequence: int) -> None:
        """Say that an account is known as of a balance change, from `loyalty account show`; what is held is forgotten.

        For a consumer that comes later than the events that are kept. Commit it yourself.
        """
        self._locked_sequence(account_id)
        self._run("UPDATE loyalty_sequences SET sequence = ? WHERE account_id = ?", sequence, account_id)
        self._run("DELETE FROM loyalty_held WHERE account_id = ? AND sequence <= ?", account_id, sequence)

    def forget_seen(self, days_min: float) -> int:
        """Forget the ids of events seen so long ago; how many. Commit it yourself.

        Balance changes are known by their numbers for ever. Other events that came again after that would be applied
        once more, so keep ids for longer than events are published again.
        """
        before = time.time() - days_min * 86_400
        return int(self._run("DELETE FROM loyalty_seen WHERE seen_at < ?", before).rowcount)

    def commit(self) -> None:
        """Commit the connection."""
        self._connection.commit()

    def rollback(self) -> None:
        """Roll the connection back."""
        self._connection.rollback()

    def gaps(self, seconds_min: float) -> list[Gap]:
        """What has been missing for at least so long, the longest first. Commits."""
        rows = self._run(
            "SELECT h.account_id, min(h.customer_id), s.sequence + 1, min(h.sequence) - 1, min(h.held_at)"
            " FROM loyalty_held h JOIN loyalty_sequences s ON s.account_id = h.account_id"
            " GROUP BY h.account_id, s.sequence ORDER BY min(h.held_at)"
        ).fetchall()
        self.commit()
        now = time.time()
        found = [
            Gap(account_id, customer_id, first, last, now - held_at)
            for account_id, customer_id, first, last, held_at in rows
        ]
        return [gap for gap in found if gap.seconds >= seconds_min]

    def _locked_sequence(self, account_id: str) -> int:
        """How far an account is; nobody else takes one of its events until the transaction ends."""
        self._run("INSERT INTO loyalty_sequences VALUES (?, 0) ON CONFLICT DO NOTHING", account_id)
        self._run("UPDATE loyalty_sequences SET sequence = sequence WHERE account_id = ?", account_id)
        row = self._run("SELECT sequence FROM loyalty_sequences WHERE account_id = ?", account_id).fetchone()
        return int(row[0])

    def _run(self, statement: str, *values: Any) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(statement.replace("?", self._placeholder), values)
        return cursor
