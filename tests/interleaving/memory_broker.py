"""The brokers as the simulation has them: in memory, and as unreliable as the contracts of `workers.brokers` allow."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import BrokerUnavailableError, EventNotConfirmedError
from core.messages.outbound.replies import Reply
from tests.interleaving.scheduler import Actor, Fault
from workers.brokers import Delivery

_FAULTS = (Fault.DEATH, Fault.LOSS)


class ShopQueue:
    """What shops published. Delivers at least once, not quite in order, and now and then to two consumers."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self.waiting = list(enumerate(bodies))
        self.held: list[tuple[int, bytes]] = []  #: by a consumer that has not acknowledged
        self.acknowledged: set[int] = set()

    @property
    def is_empty(self) -> bool:
        """Whether everything was acknowledged."""
        return not self.waiting and not self.held

    def take(self, rng: random.Random, messages_max: int, claim_rate: float) -> list[tuple[int, bytes]]:
        """Hand out messages from near the front, and with `claim_rate` one that another consumer holds."""
        taken = [
            self.waiting.pop(min(int(rng.expovariate(1)), len(self.waiting) - 1))
            for _ in range(min(messages_max, len(self.waiting)))
        ]
        if self.held and rng.random() < claim_rate:
            taken.append(rng.choice(self.held))
        self.held += taken
        return taken

    def forget(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """Take acknowledged messages away, whoever else holds them."""
        self.acknowledged |= {number for number, _ in messages}
        self.held = [message for message in self.held if message[0] not in self.acknowledged]

    def give_back(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """Deliver again what a consumer leaves unacknowledged, unless another one holds it too."""
        for message in messages:
            if message in self.held:
                self.held.remove(message)
                if message not in self.held:
                    self.waiting.insert(0, message)


class Source:
    """One consumer of the queue: an `IntakeSource`."""

    def __init__(self, queue: ShopQueue, actor: Actor | None, rng: random.Random, claim_rate: float = 0.0) -> None:
        self._queue, self._actor, self._rng, self._claim_rate = queue, actor, rng, claim_rate
        self._mine: list[tuple[int, bytes]] = []

    def receive(self, *, messages_max: int, wait_seconds: float) -> list[Delivery]:  # noqa: ARG002  # the contract
        if self._actor is not None and self._actor.pause_at_boundary("receive", *_FAULTS) is Fault.LOSS:
            raise BrokerUnavailableError(where="the queue", reason="connection lost")
        taken = self._queue.take(self._rng, self._rng.randint(1, messages_max), self._claim_rate)
        self._mine += taken
        return [Delivery(message[1], message) for message in taken]

    def acknowledge(self, received: Sequence[Delivery]) -> None:
        messages = [message.token for message in received]
        fault = Fault.NONE
        if self._actor is not None:
            fault = self._actor.pause_at_boundary("acknowledge", *_FAULTS)
        if fault is Fault.NONE or self._rng.random() < 0.5:  # a lost connection does not tell whether it arrived
            self._queue.forget(messages)
        if fault is Fault.LOSS:
            raise BrokerUnavailableError(where="the queue", reason="connection lost")

    def heartbeat(self) -> None:
        pass

    def close(self) -> None:
        self._queue.give_back(self._mine)
        self._mine = []


@dataclass
class Publication:
    """One batch that a relay sent."""

    events: list[tuple[str, str]]
    is_clean: bool = True  #: nothing happened to the relay from sending it to the end of its transaction


class Exchange:
    """Where events arrive: `arrivals` is what a consumer sees, `publications` who sent it."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[str, str]] = []
        self.publications: list[Publication] = []
        self._last_of: dict[str, Publication] = {}

    def begin(self, actor: Actor | None) -> Publication:
        """Note that a relay sends something."""
        publication = Publication([])
        self.publications.append(publication)
        if actor is not None:
            self._last_of[actor.name] = publication
        return publication

    def tell_hurt(self, actor: Actor) -> None:
        """Note that something happened to a relay: its last batch may be sent again."""
        if actor.name in self._last_of:
            self._last_of[actor.name].is_clean = False

    def add(self, publication: Publication, events: Sequence[tuple[str, str]]) -> None:
        """Events arrive."""
        publication.events += events
        self.arrivals += events


class Publisher:
    """A relay's connection: an `EventPublisher`."""

    def __init__(self, exchange: Exchange, actor: Actor | None) -> None:
        self._exchange, self._actor = exchange, actor

    def publish(
        self, events: Sequence[tuple[str, str]], replies: Sequence[Reply] = (), traces: Sequence[object] = ()
    ) -> None:
        assert not replies, "nobody asks here"
        assert not traces, "nobody traces here"
        actor = self._actor
        publication = self._exchange.begin(actor)
        if actor is None:
            self._exchange.add(publication, events)
            return
        arriving = actor.rng.randint(0, len(events))
        if actor.pause_at_boundary("publish", *_FAULTS) is Fault.LOSS:
            self._exchange.add(publication, events[:arriving])
            publication.is_clean = False  # also where posting, which had sent it, goes on without it
            raise BrokerUnavailableError(where="the exchange", reason="connection lost")
        self._exchange.add(publication, events[:arriving])
        actor.pause_at_boundary("amid publishing", Fault.DEATH)
        self._exchange.add(publication, events[arriving:])
        if actor.pause_at_boundary("published", *_FAULTS) is Fault.LOSS:
            publication.is_clean = False
            raise EventNotConfirmedError(count=len(events), reason="nothing came")

    def close(self) -> None:
        pass


class Nudges:
    """Celery as far as it matters: asked-for runs, some of which are lost."""

    def __init__(self, loss_rate: float) -> None:
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self._loss_rate = loss_rate

    def send(self, actor: Actor, task: str, *shards: int) -> bool:
        """Ask for a run."""
        actor.pause_at_boundary("nudge", Fault.DEATH)
        if actor.rng.random() >= self._loss_rate:
            self.asked.append((task, shards))
        return True

    def has(self, task: str) -> bool:
        """Whether a run of `task` is asked for."""
        return any(nudge[0] == task for nudge in self.asked)

    def take(self, rng: random.Random, task: str) -> tuple[int, ...] | None:
        """The shards of one run of `task` that was asked for."""
        found = [nudge for nudge in self.asked if nudge[0] == task]
        if not found:
            return None
        nudge = rng.choice(found)
        self.asked.remove(nudge)
        return nudge[1]
