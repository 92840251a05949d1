"""A random stream of a shop's messages from a seed, with what must become of each of them."""

import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Any, NamedTuple

from tests.faults.fault_programs import (
    CHANGED,
    CURRENCY,
    FADING,
    FLAT,
    FRESH_DAYS_MAX,
    HELD,
    LIMITED,
    SOURCES,
    TIERED,
    VALUED,
)
from tests.faults.model import Model

POSTED, REPLAYED, WAITING = "posted", "replayed", "waiting"
ANSWERED = "answered"  #: a command was posted, or rejected for what it met
NOT_ALLOWED, COMMAND_CONFLICT = "not_allowed", "command_conflict"
COMMAND = "command"
COMMAND_PREFIX = "loyalty.command."
NOTHING_TO_READ = ("not_json", "not_an_event")
#: In all that is sent; a body without it was sent by nobody.
MARK = "run-"
PROBE = "probe-"  #: in the ids of orders that measure how long the whole way takes
ARRAY_EVENTS_MAX = 6
_CUSTOMERS = {FLAT: 20, TIERED: 8, FADING: 6, HELD: 6, LIMITED: 4, CHANGED: 8, VALUED: 5}
_DISORDER = 0.06  #: how far messages move from their place, as a share of the run (one standard deviation)

#: What each type of message reports.
_NOUNS = {
    "order.completed": "order",
    "order.refunded": "refund",
    "order.fulfilled": "fulfilment",
    "order.cancelled": "cancellation",
    "order.amended": "revision",
    "order.refund_reverted": "undone refund",
    "order.returned": "return",
    "order.claimed": "claim",
}

Key = tuple[str, str]  #: source and event id; of what cannot be read "" and the bytes
Subject = tuple[str, str, str]  #: what is reported: "order", "refund" or the like, source, id


class Way(StrEnum):
    """How an event is sent."""

    QUEUE = "queue"  #: as a message of its own
    ARRAY = "array"  #: with others in one message
    CELERY = "celery"  #: with the task loyalty.submit


class Event(NamedTuple):
    """One content under one event id. `bodies` are its spellings; `fate` is what becomes of it if no twin was first."""

    key: Key
    bodies: tuple[bytes, ...]
    routing_key: str
    fate: str  #: posted, waiting, or the reason for which it is parked
    subject: Subject | None = None
    business: str = ""  #: the data that a twin must have to be a replay

    @property
    def is_command(self) -> bool:
        """Whether it can be read, and asks for something."""
        return self.subject is not None and self.subject[0] == COMMAND


class Delivery(NamedTuple):
    """One sending of one or more events. `at` is its place in the run, from 0 to 1."""

    at: float
    way: Way
    routing_key: str
    body: bytes
    events: tuple[Event, ...]


@dataclass
class Stream:
    """What is sent, and what the ledger must make of it."""

    name: str  #: stands at the beginning of every id
    model: Model
    deliveries: list[Delivery] = field(default_factory=list)
    events: dict[Key, list[Event]] = field(default_factory=lambda: defaultdict(list))

    def add_probe(self, number: int) -> Delivery:
        """One more order, of a customer who buys nothing else."""
        order_id = f"{self.name}{PROBE}{number}"
        data: dict[str, Any] = {"order_id": order_id, "customer_id": f"{self.name}prober", "currency": CURRENCY}
        data["lines"] = [{"line_id": "1", "quantity": 1, "amount": "1.00"}]
        found = self.add(envelope("order.completed", order_id, SOURCES[FLAT], "2026-03-01T12:00:00Z", data), POSTED)
        return Delivery(1.0, Way.QUEUE, found.routing_key, found.bodies[0], (found,))

    def add(self, event: dict[str, Any], fate: str, *, is_twin: bool = False) -> Event:
        """Expect an event that can be read; a twin of a posted one is for the inbox, not for the model."""
        data = event["data"]
        is_command = event["type"].startswith(COMMAND_PREFIX)
        noun = COMMAND if is_command else _NOUNS[event["type"]]
        found = Event(
            key=(event["source"], event["id"]),
            bodies=(json.dumps(event).encode(), json.dumps(_respelled(event)).encode()),
            routing_key=event["type"],
            fate=fate,
            subject=(noun, event["source"], event["id"] if is_command else _named(event)),
            business=json.dumps(data, sort_keys=True),
        )
        self.events[found.key].append(found)
        if fate == POSTED and not is_twin:
            self.model.add(event)
        return found

    def add_unreadable(self, body: bytes, reason: str, routing_key: str) -> Event:
        """Expect something that is parked as it is read."""
        found = Event(("", body.decode(errors="surrogateescape")), (body,), routing_key, reason)
        self.events[found.key].append(found)
        return found

    def outcomes(self) -> Counter[str]:
        """How many messages must end how: by state, or by the reason of what is parked."""
        found: Counter[str] = Counter()
        subjects: dict[Subject, list[Event]] = defaultdict(list)
        for contents in self.events.values():
            first = contents[0]
            found[COMMAND_CONFLICT if first.is_command else "event_conflict"] += len(contents) - 1
            if first.subject is None:
                found[first.fate] += 1
            else:
                subjects[first.subject].append(first)
        for events in subjects.values():
            if events[0].fate != POSTED:
                found[events[0].fate] += len(events)
                continue
            if events[0].is_command:
                found[ANSWERED] += 1
                continue
            found[POSTED] += 1
            noun, contents_differ = events[0].subject or "", len({event.business for event in events}) > 1
            found[conflict_of(noun[0]) if contents_differ else REPLAYED] += len(events) - 1
        return +found


def _named(event: dict[str, Any]) -> str:
    """What tells that which an event reports from others of its kind and source."""
    data = event["data"]
    for name in ("refund_id", "return_id"):
        if name in data:
            return str(data[name])
    if "revision" in data:
        return f"{data['order_id']} {data['revision']}"
    if not data.get("lines") or event["type"] == "order.completed":
        return str(data["order_id"])
    part = data.get("cancellation_id") or data.get("fulfilment_id") or json.dumps([event["time"], data["lines"]])
    return f"{data['order_id']} {part}"


def conflict_of(noun: str) -> str:
    """The reason for which other content about the same thing is parked."""
    return f"{noun}_conflict" if noun in {"refund", "return"} else "order_conflict"


class Maker:
    """Makes the events of one stream, and remembers what was sold, so that refunds and twins have something to name."""

    def __init__(self, seed: int, now: datetime) -> None:
        self.random = random.Random(seed)
        self.now = now
        self.stream = Stream(f"{MARK}{seed:x}-", Model(now))
        self.sold: list[dict[str, Any]] = []  #: orders that are posted
        self.refunded: list[dict[str, Any]] = []  #: refunds, fulfilments and cancellations that are posted
        self.told: set[tuple[str, str, str]] = set()  #: which order is fulfilled or cancelled
        self.made: list[tuple[float, Event]] = []
        self._counts: Counter[str] = Counter()

    def new_id(self, noun: str) -> str:
        """An id that is nobody's yet."""
        self._counts[noun] += 1
        return f"{self.stream.name}{noun}-{self._counts[noun]}"

    def customer(self, program_id: str) -> str:
        """One of the program's customers; a few of them are in all programs."""
        return f"{self.stream.name}c{self.random.randrange(_CUSTOMERS[program_id])}"

    def time(self, days_min: float, days_max: float) -> str:
        """A time so many days ago, written with some offset."""
        days = self.random.uniform(days_min, days_max)
        zone = timezone(timedelta(hours=self.random.choice((-5, 0, 1, 2))))
        return (self.now - timedelta(days=days)).astimezone(zone).isoformat(timespec="seconds")

    def order_time(self, program_id: str) -> str:
        """When an order was: points of FADING must not expire during the run unless they are long expired."""
        return self.time(0.1, FRESH_DAYS_MAX if program_id == FADING else 60)

    def amount(self, least: float, most: float) -> str:
        """An amount in major units, of two places, or now and then of four."""
        return f"{self.random.uniform(least, most):.{4 if self.random.random() < 0.1 else 2}f}"

    def add(self, event: dict[str, Any], fate: str, *, is_twin: bool = False) -> None:
        """Send an event that can be read."""
        self._place(self.stream.add(event, fate, is_twin=is_twin))

    def add_unreadable(self, body: bytes | str | dict[str, Any], reason: str, routing_key: str) -> None:
        """Send what cannot be read. It must hold an id of this stream."""
        if isinstance(body, dict):
            body = json.dumps(body)
        raw = body.encode() if isinstance(body, str) else body
        assert self.stream.name.encode() in raw
        self._place(self.stream.add_unreadable(raw, reason, routing_key))

    def _place(self, event: Event) -> None:
        self.made.append((len(self.made), event))


def envelope(kind: str, event_id: str, source: str, time: str, data: dict[str, Any]) -> dict[str, Any]:
    """A CloudEvent."""
    return {"specversion": "1.0", "id": event_id, "source": source, "type": kind, "time": time, "data": data}


def deliveries(maker: Maker, messages: int) -> list[Delivery]:
    """Pack events into messages, send some of them again, and shake the order."""
    rng = maker.random
    count = len(maker.made)
    placed = [(max(0.0, min(1.0, n / count + rng.gauss(0, _DISORDER))), event) for n, event in maker.made]
    found: list[Delivery] = []
    placed.sort(key=lambda pair: pair[0])
    while placed:
        at, event = placed.pop(0)
        way = rng.choices(tuple(Way), (80, 8, 6))[0]
        if event.fate in NOTHING_TO_READ:
            way = Way.QUEUE
        together = [event]
        if way is not Way.QUEUE:
            others = [pair for pair in placed[:20] if pair[1].fate not in NOTHING_TO_READ]
            for pair in others[: rng.randrange(ARRAY_EVENTS_MAX)]:
                placed.remove(pair)
                together.append(pair[1])
        found.append(_delivery(at, way, together, rng))
    repeated = rng.choices(found, k=max(1, messages - len(found)))
    found += [_delivery(rng.random(), Way.QUEUE, [rng.choice(each.events)], rng) for each in repeated]
    return sorted(found, key=lambda delivery: delivery.at)


def _delivery(at: float, way: Way, events: list[Event], rng: random.Random) -> Delivery:
    if way is Way.QUEUE:
        return Delivery(at, way, events[0].routing_key, rng.choice(events[0].bodies), tuple(events))
    # Celery writes the JSON of what it was given anew: only the first spelling comes through it byte for byte.
    bodies = [event.bodies[0] if way is Way.CELERY else rng.choice(event.bodies) for event in events]
    body = b"[" + b", ".join(bodies) + b"]"
    return Delivery(at, way, events[0].routing_key, body, tuple(events))


def _respelled(event: dict[str, Any]) -> dict[str, Any]:
    """The same content written in another way."""
    data = {"shop_version": 2, **event["data"], "program_id": event["data"].get("program_id")}
    if "lines" in data:
        data["lines"] = [
            {
                **line,
                **{name: f"0{line[name]}" for name in ("amount", "paid", "net") if name in line},
                "unknown": [1, {}],
            }
            for line in data["lines"]
        ]
    return {"data": data, **{name: event[name] for name in ("time", "type", "source", "id")}}
