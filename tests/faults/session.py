"""One world with a consumer behind it, in which run after run is made and judged."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import psycopg
from celery import Celery
from kombu.exceptions import KombuError
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from config.settings import Settings
from core.store.engine import create_database_engine, run_bulk
from core.store.tables import metadata
from tasks.registry import queue_of
from tests.faults.consumer import Consumer
from tests.faults.event_log import EventLog
from tests.faults.fault_programs import apply_programs
from tests.faults.faults import FAULTS, Fault, unavailable
from tests.faults.judge import differences, take_snapshot
from tests.faults.kinds import make_stream
from tests.faults.measures import Planned, Probes, Strikes, recoveries
from tests.faults.shop import Shop
from tests.faults.stream import WAITING, Key, Stream
from tests.faults.world import World
from tests.published import COUNT_UNPUBLISHED
from workers.celery_app import create_app

RECOVERY_SECONDS_MAX = 30.0
THROUGH_SECONDS_MAX = 60.0
SELL_SECONDS = 3.5  #: how long the shop takes over the messages of a run
_POLL_SECONDS = 0.1
_EXPIRE_SECONDS = 2.0
#: Kept between runs: the programs, and what is no run's.
_KEPT_TABLES = {"programs", "periodic_runs", "schema_support", "retention", "numbers"}


class Result(NamedTuple):
    """What came of one run."""

    faults: tuple[str, ...]
    seconds: float
    deliveries: int  #: that the broker confirmed
    events: int  #: different ones that the consumer got
    repeats: int  #: that it got besides
    recovery_seconds: dict[str, float | None]
    differences: list[str]


class Progress(NamedTuple):
    """How far a run is; `stored` and `waiting` are its own messages only. What an earlier run submitted may come late:
    on Redis a task that a killed worker had is done again after minutes. `events` are different ones: an answer that is
    told again is the same event."""

    stored: int
    waiting: int
    unposted: int
    unpublished: int
    events: int
    due_lots: int


_PROGRESS = f"""
SELECT count(*) FILTER (WHERE is_ours), count(*) FILTER (WHERE is_ours AND state = 'waiting'),
       count(*) FILTER (WHERE state = 'received'),
       ({COUNT_UNPUBLISHED}), (SELECT count(DISTINCT body) FROM outbox),
       (SELECT count(*) FROM dated_lots WHERE expires_at <= now() AND points_remaining > 0)
FROM (SELECT state, position(%b::bytea IN body) > 0 AS is_ours FROM inbox) AS messages
"""


class Session:
    """Use it in a `with`, from one thread."""

    def __init__(self, folder: Path, broker: str, *, settings: Mapping[str, str] | None = None) -> None:
        self.world = World(folder, broker, settings=settings)
        self.engine: Engine
        self.consumer: Consumer
        self._celery: Celery
        self._endings = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.world)
            self.engine = create_database_engine(self.world.database_url)
            stack.callback(self.engine.dispose)
            apply_programs(self.engine)
            self.consumer = Consumer(self.world.broker_url)
            stack.callback(self.consumer.stop)
            self.consumer.start()
            urls = SecretStr(self.world.database_url), SecretStr(self.world.broker_url)
            self._celery = create_app(Settings(database_url=urls[0], broker_url=urls[1]))
            stack.callback(self._celery.close)
            self._endings = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._endings.close()

    def available(self) -> tuple[list[Fault], dict[str, str]]:
        """The faults that can be struck here, and why not the others."""
        reasons = {fault.name: unavailable(fault, self.world) for fault in FAULTS}
        lacking = {name: reason for name, reason in reasons.items() if reason is not None}
        return [fault for fault in FAULTS if fault.name not in lacking], lacking

    def run(
        self,
        seed: int,
        faults: Sequence[Fault],
        messages: int,
        *,
        sell_seconds: float = SELL_SECONDS,
        recovery_seconds_max: float = RECOVERY_SECONDS_MAX,
    ) -> Result:
        """Empty the ledger, sell a stream of this seed under these strikes, wait for the end, and judge."""
        began_at = time.monotonic()
        stream = make_stream(seed, messages, datetime.now(UTC))
        log = self.consumer.log = EventLog(before=self.consumer.log)
        self.empty()
        shop = Shop(self.world.broker_url, stream.deliveries, sell_seconds)
        probes = Probes(self.world.broker_url, stream, log)
        strikes = Strikes(self.world, planned(seed, faults, sell_seconds), probes)
        for part in (probes, shop, strikes):
            part.start()
        problems = strikes.join()
        recovered = _wait(lambda: None not in recoveries(strikes.done, probes).values(), recovery_seconds_max)
        measured = recoveries(strikes.done, probes)
        if not recovered:
            slow = [name for name, seconds in measured.items() if seconds is None]
            problems.append(f"wrong: no recovery from {', '.join(slow)} within {recovery_seconds_max:.0f} s")
        if not _wait(shop.is_done, THROUGH_SECONDS_MAX):
            problems.append("lost: the shop cannot get rid of its messages")
            shop.give_up()
        probes.stop()
        may_disorder = any(hurts_broker(fault.name) for fault in faults)
        problems += self._judge(stream, shop.confirmed + probes.confirmed, log, may_disorder=may_disorder)
        return Result(
            tuple(fault.name for fault in faults),
            time.monotonic() - began_at,
            sum(shop.confirmed.values()) + sum(probes.confirmed.values()),
            log.distinct,
            log.deliveries - log.distinct,
            measured,
            problems,
        )

    def empty(self) -> None:
        """Forget every message and its effects; nothing may be under way."""
        names = [table.name for table in metadata.sorted_tables if table.name not in _KEPT_TABLES]
        # Not the numbers: the id of an event about a dead letter holds the one of its row.
        statement = f"TRUNCATE {', '.join(names)} CONTINUE IDENTITY"
        deadline = time.monotonic() + THROUGH_SECONDS_MAX
        while True:
            try:
                with self.engine.begin() as connection:
                    run_bulk(connection, statement)
            except (DBAPIError, psycopg.Error):  # a periodic task may have locked tables in another order
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def _judge(self, stream: Stream, confirmed: Counter[Key], log: EventLog, *, may_disorder: bool) -> list[str]:
        """Judge again and again until all is well: what is on its way comes, what is lost or doubled stays so."""
        deadline = time.monotonic() + THROUGH_SECONDS_MAX
        expire_at, found, wanted = 0.0, [""], stream.outcomes()
        while found and time.monotonic() < deadline:
            try:
                with self.engine.begin() as connection:
                    progress = Progress(*run_bulk(connection, _PROGRESS, (stream.name.encode(),))[0])
                if progress.due_lots and time.monotonic() > expire_at:
                    self.ask("loyalty.expire_lots")
                    expire_at = time.monotonic() + _EXPIRE_SECONDS
                if _may_be_through(progress, wanted, log):
                    with self.engine.begin() as connection:
                        snapshot = take_snapshot(connection)
                    found = differences(stream, confirmed, snapshot, log, may_disorder=may_disorder)
                else:
                    found = [f"lost: not through: {progress}, {log.distinct} events told; expected {wanted}"]
            except (DBAPIError, psycopg.Error) as error:
                found = [f"wrong: the database does not answer the judge: {error}"]
            if found:
                time.sleep(2 * _POLL_SECONDS)
        return found

    def ask(self, task: str) -> None:
        """Ask for what beat asks for once a minute."""
        try:
            self._celery.send_task(task, queue=queue_of(task), retry=False, ignore_result=True)
        except (KombuError, OSError):
            return  # asked for again soon


def planned(seed: int, faults: Sequence[Fault], sell_seconds: float) -> list[Planned]:
    """When each fault is struck in the run of this seed."""
    chance = random.Random(f"{seed}/strikes")
    return [Planned(chance.uniform(0.1, 0.8 * sell_seconds), fault, chance.getrandbits(32)) for fault in faults]


def hurts_broker(fault: str) -> bool:
    """Whether the broker, or the way to it, fails: then events may overtake each other (docs/messages.md)."""
    return fault.startswith(("broker-", "both-"))


def _may_be_through(progress: Progress, wanted: Counter[str], log: EventLog) -> bool:
    return (
        progress.stored >= wanted.total()
        and progress.waiting <= wanted[WAITING]
        and progress.unposted == progress.unpublished == progress.due_lots == 0
        and log.distinct >= progress.events
    )


def _wait(condition: Callable[[], bool], seconds_max: float) -> bool:
    deadline = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS / 2)
    return True
