"""A good shop: it publishes at its pace, keeps what was not confirmed, and sends it again until it is."""

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence

import kombu.exceptions
from celery import Celery

from core.errors import BrokerTopologyError, BrokerUnavailableError
from tests.faults.stream import Delivery, Key, Way
from workers.brokers import ShopPublisher, open_shop_publisher

_BATCH_MESSAGES = 20
_TICK_SECONDS = 0.05
_RETRY_SECONDS = 0.15
_SUBMIT_QUEUE = "loyalty.submit"


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

    def __init__(self, broker_url: str, deliveries: Iterable[Delivery], seconds: float) -> None:
        self._confirmed: Counter[Key] = Counter()
        self._accepted: Counter[Key] = Counter()  # of the tasks; each thread has a counter of its own
        self._broker_url = broker_url
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

    @property
    def confirmed(self) -> Counter[Key]:
        """By event: how often the broker has confirmed it, by itself or in a task."""
        return self._confirmed + self._accepted

    def is_done(self) -> bool:
        """Whether everything is confirmed."""
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
                self._confirmed.update(event.key for delivery in unconfirmed for event in delivery.events)
                unconfirmed = []
            else:
                time.sleep(_RETRY_SECONDS)
        way.close()

    def _submit(self) -> None:
        celery = _celery(self._broker_url)
        waiting: deque[Delivery] = deque()
        while (waiting or self._submitted) and not self._giving_up.is_set():
            waiting += self._due(self._submitted, _BATCH_MESSAGES)
            while waiting and _is_submitted(celery, waiting[0]):
                self._accepted.update(event.key for event in waiting.popleft().events)
            if waiting:
                celery.close()
                celery = _celery(self._broker_url)
                time.sleep(_RETRY_SECONDS)
            time.sleep(_TICK_SECONDS)
        celery.close()


def _celery(broker_url: str) -> Celery:
    app = Celery("shop", broker=broker_url, set_as_current=False)
    options = {"read_timeout": 5, "write_timeout": 5, "socket_timeout": 5, "socket_connect_timeout": 3}
    names = ("read_timeout", "write_timeout") if broker_url.startswith("amqp") else ("socket_timeout",)
    app.conf.broker_transport_options = {name: options[name] for name in names} | {"confirm_publish": True}
    app.conf.broker_connection_timeout = 3
    return app


def _is_submitted(celery: Celery, delivery: Delivery) -> bool:
    """Send the task; whether the broker has it, and so must not lose it."""
    # Both forms that producers may use, each for about half of them.
    text = delivery.body.decode()
    argument = text if len(text) % 2 else json.loads(text)
    try:
        celery.send_task("loyalty.submit", args=[argument], queue=_SUBMIT_QUEUE, retry=False, ignore_result=True)
    except (kombu.exceptions.KombuError, OSError):
        return False
    return True
