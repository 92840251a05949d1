"""What happens to a world during a run, beside the shop: the strikes, and the probes that measure its recovery."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.faults.event_log import EventLog
from tests.faults.faults import Fault
from tests.faults.shop import ConfirmedWay
from tests.faults.stream import Key, Stream
from tests.faults.world import World

_PROBE_SECONDS = 0.5
_RETRY_SECONDS = 0.1
_AT_ONCE_MAX = 2
_STRIKE_SECONDS_MAX = 180.0


class Planned(NamedTuple):
    """A strike that is to come: so many seconds after the run's beginning."""

    at_seconds: float
    fault: Fault
    seed: int


class Strike(NamedTuple):
    """A strike that is over. Both instants are of the monotonic clock."""

    fault: str
    began_at: float
    ended_at: float
    error: str | None


class Probes:
    """One small order every half a second, through all of the worker and back."""

    def __init__(self, broker_url: str, stream: Stream, log: EventLog) -> None:
        self.confirmed: Counter[Key] = Counter()
        self._way = ConfirmedWay(broker_url)
        self._stream = stream
        self._log = log
        self._began_at: dict[str, float] = {}  # by order_id
        self._hurry = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def hurry(self) -> None:
        """Send the next one at once."""
        self._hurry.set()

    def stop(self) -> None:
        """Send no more; the last one is confirmed when this returns."""
        self._stopping.set()
        self._hurry.set()
        self._thread.join()

    def recovery_seconds(self, since: float) -> float | None:
        """How long after `since` the first order was told that began after it; None if none was yet."""
        told = [self._log.told_at.get(key) for key, began_at in tuple(self._began_at.items()) if began_at >= since]
        return min((at - since for at in told if at is not None), default=None)

    def _run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            self._hurry.clear()
            delivery = self._stream.add_probe(number)
            (event,) = delivery.events
            assert event.subject is not None
            self._began_at[event.subject[2]] = time.monotonic()
            while not self._way.publish([(delivery.routing_key, delivery.body)]):
                time.sleep(_RETRY_SECONDS)
            self.confirmed[event.key] += 1
            self._hurry.wait(_PROBE_SECONDS)
        self._way.close()


class Strikes:
    """Strikes as planned, each in a thread of its own, two at once at most."""

    def __init__(self, world: World, plan: Sequence[Planned], probes: Probes) -> None:
        self.done: list[Strike] = []
        self._world = world
        self._probes = probes
        self._places = threading.Semaphore(_AT_ONCE_MAX)
        self._threads = [
            threading.Thread(target=self._strike, args=(planned,), name=planned.fault.name, daemon=True)
            for planned in plan
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> list[str]:
        """Wait until all are over; what went wrong with the strikes themselves."""
        deadline = time.monotonic() + _STRIKE_SECONDS_MAX
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        problems = [f"wrong: strike {thread.name} does not end" for thread in self._threads if thread.is_alive()]
        return problems + [f"wrong: strike {done.fault}: {done.error}" for done in self.done if done.error is not None]

    def _strike(self, planned: Planned) -> None:
        time.sleep(planned.at_seconds)
        with self._places:
            began_at, error = time.monotonic(), None
            try:
                planned.fault.strike(self._world, random.Random(planned.seed))
            except Exception as raised:  # noqa: BLE001  # reported as a difference of the run
                error = repr(raised)
            self.done.append(Strike(planned.fault.name, began_at, time.monotonic(), error))
        self._probes.hurry()


def recoveries(strikes: Sequence[Strike], probes: Probes) -> dict[str, float | None]:
    """Recovery by fault; None where it is not over. A fault into whose recovery another fell is left out: it is
    measured with the later one."""
    found: dict[str, float | None] = {}
    for strike in strikes:
        seconds = probes.recovery_seconds(strike.ended_at)
        until = time.monotonic() if seconds is None else strike.ended_at + seconds
        others = [other for other in strikes if other is not strike and other.ended_at > strike.ended_at]
        if not any(other.began_at < until for other in others):
            found[strike.fault] = seconds
    return found
