"""A good shop: it publishes at its pace, keeps what was not confirmed, and sends it again until it is."""

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence

import kombu.exceptions
import psycopg
from celery import Celery
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from core.errors import BrokerTopologyError, BrokerUnavailableError
from core.store.engine import run_bulk
from tests.faults.stream import Delivery, Key, Way
from workers.brokers import ShopPublisher, open_shop_publisher

_BATCH_MESSAGES = 20
_TICK_SECONDS = 0.05
_RETRY_SECONDS = 0.15
_LOOK_SECONDS = 0.2
#: After that long without an outcome an event is submitted again: on Redis a Celery message may be lost.
_SUBMIT_AGAIN_SECONDS = 2.0
_SUBMIT_QUEUE = "loyalty.submit"
_KNOWN = "SELECT body FROM inbox WHERE body = ANY(%b)"


class ConfirmedWay:
    """One connection to the broker, opened anew whenever it fails."""

    def __init__(self, broker_url: str) -> None:
        self._broker_url = broker_url
        self._publisher: ShopPublisher | None = None
        self.failures = 0

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> bool:
        """True when all are confirmed; otherwise nobody knows which ones the broker has."""
        try:
            if self._publisher is None:
                self._publisher = open_shop_publisher(self._broker_url)
            self._publisher.publish(messages)
        except (BrokerUnavailableError, BrokerTopologyError):
            self.failures += 1
            self.close()
            return False
        return True

    def close(self) -> None:
        """Let go of the broker."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None


class Shop:
    """Sends the deliveries of a stream over `seconds`, each way in a thread of its own."""

    def __init__(self, broker_url: str, engine: Engine, deliveries: Iterable[Delivery], seconds: float) -> None:
        self.confirmed: Counter[Key] = Counter()  #: by event: how often the broker has confirmed it
        self._broker_url = broker_url
        self._engine = engine
        self._seconds = seconds
        self._queued: deque[Delivery] = deque()
        self._submitted: deque[Delivery] = deque()
        for delivery in deliveries:
            (self._submitted if delivery.way is Way.CELERY else self._queued).append(delivery)
        self._giving_up = threading.Event()
        self._threads = [
            threading.Thread(target=self._publish, name="shop", daemon=True),
            threading.Thread(target=self._submit, name="celery-shop", daemon=True),
        ]
        self._began = 0.0

    def start(self) -> None:
        """Begin to sell."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def is_done(self) -> bool:
        """Whether everything is confirmed, and all that was submitted has its outcome."""
        return not any(thread.is_alive() for thread in self._threads)

    def give_up(self) -> None:
        """Stop, whatever is left."""
        self._giving_up.set()
        for thread in self._threads:
            thread.join(20)

    def _due(self, waiting: deque[Delivery], count_max: int) -> list[Delivery]:
        share = (time.monotonic() - self._began) / self._seconds
        due: list[Delivery] = []
        while waiting and waiting[0].at <= share and len(due) < count_max:
            due.append(waiting.popleft())
        return due

    def _publish(self) -> None:
        way = ConfirmedWay(self._broker_url)
        unconfirmed: list[Delivery] = []
        while (unconfirmed or self._queued) and not self._giving_up.is_set():
            unconfirmed += self._due(self._queued, _BATCH_MESSAGES - len(unconfirmed))
            if not unconfirmed:
                time.sleep(_TICK_SECONDS)
            elif way.publish([(delivery.routing_key, delivery.body) for delivery in unconfirmed]):
                self.confirmed.update(event.key for delivery in unconfirmed for event in delivery.events)
                unconfirmed = []
            else:
                time.sleep(_RETRY_SECONDS)
        way.close()

    def _submit(self) -> None:
        celery = _celery(self._broker_url)
        again_at: dict[int, float] = {}
        wait_seconds: dict[int, float] = {}  # doubles: what only takes long must not be submitted a hundred times
        pending: dict[int, Delivery] = {}
        while (pending or self._submitted) and not self._giving_up.is_set():
            for delivery in self._due(self._submitted, _BATCH_MESSAGES):
                pending[id(delivery)], again_at[id(delivery)] = delivery, 0.0
                wait_seconds[id(delivery)] = _SUBMIT_AGAIN_SECONDS
            known = self._known(tuple(pending.values()))
            for number, delivery in tuple(pending.items()):
                if all(known & set(event.bodies) for event in delivery.events):
                    del pending[number]
                elif again_at[number] <= time.monotonic():
                    if not _submit_once(celery, delivery):
                        celery.close()
                        celery = _celery(self._broker_url)
                    again_at[number] = time.monotonic() + wait_seconds[number]
                    wait_seconds[number] *= 2
            time.sleep(_LOOK_SECONDS)
        celery.close()

    def _known(self, deliveries: Iterable[Delivery]) -> set[bytes]:
        """The spellings of these events that are in the inbox; none while the database is away."""
        bodies = [body for delivery in deliveries for event in delivery.events for body in event.bodies]
        if not bodies:
            return set()
        try:
            with self._engine.connect() as connection:
                return {bytes(body) for (body,) in run_bulk(connection, _KNOWN, (bodies,))}
        except (DBAPIError, psycopg.Error):
            return set()


def _celery(broker_url: str) -> Celery:
    app = Celery("shop", broker=broker_url, set_as_current=False)
    options = {"read_timeout": 5, "write_timeout": 5, "socket_timeout": 5, "socket_connect_timeout": 3}
    names = ("read_timeout", "write_timeout") if broker_url.startswith("amqp") else ("socket_timeout",)
    app.conf.broker_transport_options = {name: options[name] for name in names}
    app.conf.broker_connection_timeout = 3
    return app


def _submit_once(celery: Celery, delivery: Delivery) -> bool:
    """Send the task. True says nothing about where its message is: only the outcome does."""
    # Both forms that producers may use, each for about half of them.
    text = delivery.body.decode()
    argument = text if len(text) % 2 else json.loads(text)
    try:
        celery.send_task("loyalty.submit", args=[argument], queue=_SUBMIT_QUEUE, retry=False, ignore_result=True)
    except (kombu.exceptions.KombuError, OSError):
        return False
    return True
