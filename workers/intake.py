"""Intake: the process that takes shops' messages from the broker into the inbox. Ack only after COMMIT.

Not a Celery worker: one that finds a foreign message on its queue deletes it.
"""

import math
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

import psycopg
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BrokerUnavailableError
from core.messages.inbound.reading import MessageLimits
from core.receiving.receive import Receipt, receive_in_parts
from core.store.erasures import RecentIntakeState
from core.store.posting_turns import FEW_MESSAGES_MAX
from tasks.spans import NO_SPANS, Spans, Stage, Work
from tasks.watching import UNWATCHED, Watcher
from workers.brokers import Delivery, IntakeSource
from workers.brokers.large_messages import BATCH_BYTES_MAX, sent_bytes
from workers.heartbeat import beat_heart, mark_progress

log = structlog.get_logger(__name__)

_BACKOFF_SECONDS_MIN, _BACKOFF_SECONDS_MAX = 0.2, 10.0
#: How long a message is waited for where nothing else is to be done. To look twenty times a second took nearly one
#: percent of a processor; a stop is noticed between two looks.
_IDLE_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class IntakeLimits:
    """How intake batches."""

    messages: MessageLimits
    batch_messages: int
    wait_seconds: float  #: for a message, while shards are still to be woken
    nudge_interval_seconds: float
    shards: int
    nudges_at_once_per_second: float = 100.0  #: so many go at once, however short ago their shards were woken


class Intake:
    """Drains one source for ever. Broker or database lost: closes everything, waits, opens again; nothing is acked."""

    def __init__(
        self,
        engine: Engine,
        open_source: Callable[[], IntakeSource],
        nudge: Callable[..., bool],
        limits: IntakeLimits,
        *,
        event_source: str,
        watcher: Watcher = UNWATCHED,
        spans: Spans = NO_SPANS,
    ) -> None:
        """`nudge` asks for a run of a task on shards, and says whether the broker took it."""
        self._engine = engine
        self._recent = RecentIntakeState(engine)
        self._open_source = open_source
        self._nudges = _Nudges(nudge, limits.nudge_interval_seconds, limits.nudges_at_once_per_second)
        self._limits = limits
        self._event_source = event_source
        self._watcher, self._spans = watcher, spans
        self._size = _BatchSize(limits.batch_messages)
        self._is_stopping = False

    def stop(self) -> None:
        """Finish the batch at hand and return from `run`."""
        self._is_stopping = True

    def run(self) -> None:
        """Take messages until `stop`."""
        backoff = _Backoff()
        mark_progress(is_beginning=True)
        while not self._is_stopping:
            source: IntakeSource | None = None
            try:
                source = self._open_source()
                log.info("intake_connected", action="intake_connected")
                while not self._is_stopping:
                    self.step(source)
                    backoff.reset()
            except (BrokerUnavailableError, SQLAlchemyError, psycopg.Error) as error:
                delay_seconds = backoff.next()
                log.warning(
                    "intake_interrupted",
                    action="intake_interrupted",
                    error=type(error).__name__,
                    detail=str(error) if isinstance(error, BrokerUnavailableError) else None,
                    delay_seconds=round(delay_seconds, 2),
                )
                self._size.begin_again()
                self._sleep(delay_seconds)
            finally:
                if source is not None:
                    source.close()

    def step(self, source: IntakeSource) -> int:
        """Take one batch: receive, store, COMMIT, nudge, acknowledge. Returns how many messages came."""
        wait_seconds = min(_IDLE_WAIT_SECONDS, self._nudges.seconds_until_due(self._limits.wait_seconds))
        received = source.receive(messages_max=self._size.messages, wait_seconds=wait_seconds)
        self._size.learn([sent_bytes(message.raw) for message in received])
        if received:
            with self._spans.of(Stage.RECEIVE) as work:
                self._keep(source, received, work)
        else:
            source.heartbeat()
            mark_progress()
        self._nudges.send_due()
        beat_heart()
        return len(received)

    def _keep(self, source: IntakeSource, received: Sequence[Delivery], work: Work) -> None:
        came_at, done = time.monotonic(), 0
        for messages, receipt in self._store(received):
            self._nudges.ask(receipt.shards, receipt.received)
            self._nudges.send_due()  # first of all: somebody may wait for the answer, and nobody for the rest
            work.received(receipt)
            self._watcher.received(receipt, time.monotonic() - came_at)
            source.acknowledge(received[done : done + messages])
            _log_receipt(receipt)
            done += messages
            beat_heart()
            mark_progress()

    def _store(self, received: Sequence[Delivery]) -> Iterator[tuple[int, Receipt]]:
        return receive_in_parts(
            self._engine,
            [message.raw for message in received],
            limits=self._limits.messages,
            shards=self._limits.shards,
            event_source=self._event_source,
            signatures=[message.signature for message in received],
            replies=[message.reply for message in received],
            traces=[message.trace for message in received],
            recent=self._recent,
        )

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._is_stopping and time.monotonic() < until:
            time.sleep(min(0.2, seconds))
            beat_heart()


def _log_receipt(receipt: Receipt) -> None:
    log.info(
        "messages_received",
        action="messages_received",
        messages=len(receipt.stored),
        received=receipt.received,
        waiting=receipt.waiting,
        replayed=receipt.replayed,
        parked=receipt.parked,
        rejected=receipt.rejected,
    )


class _BatchSize:
    """How many messages to ask for: no broker bounds a batch by bytes, so the last batch shows how large they are.

    It begins with one, or an intake that large messages have killed would ask for as many again when it is restarted.
    So it does after an interruption too: what the database would not take together it may take one by one.
    """

    def __init__(self, messages_max: int) -> None:
        self._messages_max = messages_max
        self.messages = 1

    def begin_again(self) -> None:
        self.messages = 1

    def learn(self, sizes_bytes: Sequence[int]) -> None:
        if not sizes_bytes:
            return
        fit = max(1, len(sizes_bytes) * BATCH_BYTES_MAX // max(1, sum(sizes_bytes)))
        is_full = len(sizes_bytes) == self.messages
        self.messages = min(fit, self._messages_max, 2 * self.messages if is_full else self.messages)


class _Nudges:
    """Wakes shards: all together where little has come, and each by itself, at most once per interval, where much has.

    What a shop waits for is mostly one message: it is not kept waiting, and what comes a moment later for another shard
    is posted with it. A flood is for all workers, of which each nudge takes time; its messages are posted together.
    """

    def __init__(self, nudge: Callable[..., bool], interval_seconds: float, at_once_per_second: float) -> None:
        self._nudge = nudge
        self._interval_seconds = interval_seconds
        self._at_once_per_second = at_once_per_second
        self._at_once, self._counted_at = 0.0, 0.0
        self._asked: set[int] = set()
        self._messages = 0
        self._sent_at: dict[int, float] = {}

    def ask(self, shards: set[int], messages: int) -> None:
        self._asked |= shards
        self._messages += messages

    def seconds_until_due(self, seconds_max: float) -> float:
        """Until shards are to be woken; infinite if none is."""
        if not self._asked:
            return math.inf
        return min(seconds_max, max(0.001, (1 - self._at_once) / self._at_once_per_second))

    def send_due(self) -> None:
        now = time.monotonic()
        # What was not used is saved for a third of a second, so that a flood is not begun with one.
        saved = self._at_once + (now - self._counted_at) * self._at_once_per_second
        self._at_once, self._counted_at = min(saved, max(1.0, self._at_once_per_second / 3)), now
        if self._messages <= FEW_MESSAGES_MAX:
            if self._asked and self._at_once >= 1:
                self._send(now, *sorted(self._asked))
            return
        for shard in sorted(self._asked):
            is_due = now - self._sent_at.get(shard, -self._interval_seconds) >= self._interval_seconds
            if (is_due or self._at_once >= 1) and not self._send(now, shard):
                return  # each try can cost the connect timeout; the others would fail too

    def _send(self, now: float, *shards: int) -> bool:
        if not self._nudge("loyalty.post_inbox", *shards):
            return False
        self._sent_at.update(dict.fromkeys(shards, now))
        self._asked.difference_update(shards)
        self._at_once = max(0.0, self._at_once - 1)
        if not self._asked:
            self._messages = 0
        return True


class _Backoff:
    """Doubling delays with jitter, so that many intakes do not come back in step."""

    def __init__(self) -> None:
        self._seconds = _BACKOFF_SECONDS_MIN

    def next(self) -> float:
        seconds = self._seconds
        self._seconds = min(seconds * 2, _BACKOFF_SECONDS_MAX)
        return seconds * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, not a secret

    def reset(self) -> None:
        self._seconds = _BACKOFF_SECONDS_MIN


def consumer_name() -> str:
    """Stable over restarts of one role on one host, different for each of its processes."""
    return os.environ.get("LOYALTY_INTAKE_NAME") or f"intake@{socket.gethostname()}"


def stop_on_signals(intake: Intake) -> None:
    """TERM and INT finish the batch at hand."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        intake.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
