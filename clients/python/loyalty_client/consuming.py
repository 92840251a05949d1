"""Consuming the loyalty worker's events so that none is lost and none counts twice."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from loyalty_client.consumer_progress import Gap, Progress, Turn
from loyalty_client.envelope import Event
from loyalty_client.errors import BrokerAwayError, UnreadableEventError
from loyalty_client.rabbitmq_link import AmqpDeliveries
from loyalty_client.received import read_event
from loyalty_client.redis_link import StreamDeliveries
from loyalty_client.wire import Deliveries, Delivery, is_amqp

_RECEIVE_SECONDS: Final = 2.0
_AWAY_SECONDS_FIRST: Final = 0.5
_AWAY_SECONDS_LAST: Final = 10.0

logger = logging.getLogger(__name__)


class Applied(NamedTuple):
    """Events were applied: the one that came, and those that had waited for it."""

    events: Sequence[Event]


class Repeated(NamedTuple):
    """An event came that was applied before."""

    event: Event


class Held(NamedTuple):
    """A balance change came before one that precedes it, and is kept until that is there."""

    event: Event


class Unreadable(NamedTuple):
    """Something came that is not an event; it is acknowledged, and its bytes are yours to keep."""

    raw: bytes
    reason: str


Outcome = Applied | Repeated | Held | Unreadable


class Consumer:
    """A consumer of loyalty.events under a name of its own, which collects events while it is away.

    On RabbitMQ the name is that of its durable queue: start it once before the first event that it must not miss. On
    Redis and Valkey it is a consumer group, and `member` tells apart the processes that share it: each keeps its own.
    `types` bind the queue of RabbitMQ to some types only, such as `loyalty.balance.*`.
    """

    def __init__(
        self,
        broker_url: str,
        name: str,
        progress: Progress,
        *,
        member: str = "one",
        types: Sequence[str] = ("#",),
        seconds_max: float = 10.0,
        away_seconds_max: float | None = None,
    ) -> None:
        """`away_seconds_max` is how long the broker may be away before BrokerAwayError is raised; None: for ever."""
        self._progress, self._away_seconds_max = progress, away_seconds_max
        self._open: Callable[[], Deliveries]
        if is_amqp(broker_url):
            self._open = lambda: AmqpDeliveries(broker_url, name, types, seconds_max)
        else:
            self._open = lambda: StreamDeliveries(broker_url, name, member, seconds_max)

    def consume(self, apply: Callable[[Event], None], *, idle_seconds_max: float | None = None) -> Iterator[Outcome]:
        """Apply each event once, in its account's order, and tell what became of each that came.

        `apply` works in the transaction of the progress, which is committed before the event is acknowledged. What it
        raises goes to the caller: nothing is kept of the event, and it comes again. Ends when nothing has come for
        `idle_seconds_max`; by default never.
        """
        away_since, wait_seconds = time.monotonic(), _AWAY_SECONDS_FIRST
        while True:
            try:
                for outcome in self._consume(apply, idle_seconds_max):
                    away_since, wait_seconds = time.monotonic(), _AWAY_SECONDS_FIRST
                    if outcome is not None:
                        yield outcome
            except BrokerAwayError as error:
                away_seconds = time.monotonic() - away_since
                if self._away_seconds_max is not None and away_seconds > self._away_seconds_max:
                    raise
                logger.warning("%s Trying again in %g s.", error, wait_seconds)
                time.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _AWAY_SECONDS_LAST)
            else:
                return

    def gaps(self, *, seconds_min: float = 60.0) -> list[Gap]:
        """Balance changes that have been missing for so long: lost, unless the broker or the worker is late."""
        return self._progress.gaps(seconds_min)

    def _consume(self, apply: Callable[[Event], None], idle_seconds_max: float | None) -> Iterator[Outcome | None]:
        """What became of each event that came; None each time that nothing came."""
        deliveries = self._open()
        try:
            idle_since = time.monotonic()
            while True:
                idle_seconds = time.monotonic() - idle_since
                if idle_seconds_max is not None and idle_seconds >= idle_seconds_max:
                    return
                left = _RECEIVE_SECONDS if idle_seconds_max is None else idle_seconds_max - idle_seconds
                found = deliveries.receive(min(left, _RECEIVE_SECONDS))
                for delivery in found:
                    outcome = self._take(delivery, apply)
                    deliveries.acknowledge(delivery)
                    yield outcome
                if found:
                    idle_since = time.monotonic()
                else:
                    yield None
        finally:
            with suppress(BrokerAwayError):
                deliveries.close()

    def _take(self, delivery: Delivery, apply: Callable[[Event], None]) -> Outcome:
        try:
            event = read_event(delivery.body)
        except UnreadableEventError as error:
            return Unreadable(delivery.body, str(error))
        try:
            taken = self._progress.take(event)
            for each in taken.events:
                apply(each)
            self._progress.commit()
        except BaseException:
            self._progress.rollback()
            raise
        match taken.turn:
            case Turn.READY:
                return Applied(taken.events)
            case Turn.HELD:
                return Held(event)
            case Turn.REPEATED:
                return Repeated(event)
