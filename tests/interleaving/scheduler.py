"""A seeded scheduler: actors are threads that pass one baton, so that an interleaving is a function of its seed.

An actor runs until it pauses: at the boundaries of its transactions, at its dealings with the broker, and now and then
between two statements. The scheduler then picks who goes on, and whether something happens to it there. An actor that
waits in the database for a lock of a parked one is told from one that works by asking the database, never by time.
Where one frees several others at once, in the middle of statements on several rows, the server decides who comes first:
a schedule with such races (one in a hundred, counted) may differ when it is run again.
"""

import math
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Protocol

ROOT = Path(__file__).parents[2]
_PARTS = ("core/receiving", "core/posting", "core/upkeep", "core/mending", "tasks", "workers")
_PRODUCT = tuple(f"{ROOT / folder}/" for folder in _PARTS)
#: How long the scheduler waits for an actor before it asks the database whether it waits for a lock.
_ASK_SECONDS = 0.002
_SLOWNESS = 0.9
_STUCK_SECONDS = 60.0


class Fault(Enum):
    """What happens to an actor at a pause."""

    NONE = ""
    DEATH = "DIES"  #: its process is gone: it does nothing more, not even clean up
    LOSS = "LOSES ITS CONNECTION"  #: it lives and learns of it by an error


class Died(BaseException):
    """The actor's process is gone; raised through its code, which may do nothing more."""


class Step(NamedTuple):
    """One line of the trace: an actor goes on from a place; or, without a number, what it met in the database."""

    number: int | None
    actor: str
    place: str
    fault: Fault = Fault.NONE

    def __str__(self) -> str:
        number = "" if self.number is None else self.number
        return f"{number:>5} {self.actor:10} {self.place:80} {self.fault.value}".rstrip()


class Locks(Protocol):
    """What the scheduler asks the database."""

    def blockers(self, backend_pids: Sequence[int]) -> dict[int, list[int]]:
        """Who stands in the way of each of these sessions; [] for one that waits for no lock."""

    def cancel(self, backend_pid: int) -> None:
        """Cancel the statement of a session."""


class Actor:
    """One process, played by a thread. `life` does its work and pauses on the way."""

    def __init__(self, name: str, rng: random.Random, life: Callable[["Actor"], None]) -> None:
        self.name = name
        self.rng = rng  #: its own, so that what it draws does not depend on the others
        self.life = life
        self.is_slow = False  #: it is seldom picked, so that much happens while it is in the middle of something
        self.statement_pauses = 0.0  #: how often it pauses before a statement
        self.backend_pid: int | None = None  #: the session that it speaks to
        self.backend_pids: set[int] = set()  #: all that it spoke to
        self.is_victim = False  #: its statement is cancelled to end a deadlock
        self.is_dead = False
        self.error: BaseException | None = None
        self.place = ""
        self.faults: tuple[Fault, ...] = ()
        self.is_wanted: Callable[[], bool] | None = None  #: while it idles: whether there is work for it
        self.wakes_at = math.inf  #: while it idles: the step at which it wakes anyway
        self.is_moving = self.is_finished = self.has_waited = False
        self._fault = Fault.NONE
        self._baton = threading.Semaphore(0)
        self._scheduler: Scheduler | None = None

    def pause(self, place: str, *faults: Fault) -> Fault:
        """Give the baton back; returns when the actor goes on, with what happens to it: NONE, LOSS, or raises Died."""
        self.live_on()
        self.place, self.faults, self.has_waited = place, faults, False
        self._hand_back()
        self._baton.acquire()
        if self._fault is Fault.DEATH:
            self.is_dead = True
            raise Died
        return self._fault

    def idle(self, is_wanted: Callable[[], bool], wakes_at: float = math.inf) -> bool:
        """Pause until there is work or until step `wakes_at`. False: there is none, and there will be none."""
        self.is_wanted, self.wakes_at = is_wanted, wakes_at
        self.pause("is idle")
        self.is_wanted = None
        return is_wanted() or wakes_at < math.inf

    def live_on(self) -> None:
        """Raise Died if the process is gone."""
        if self.is_dead:
            raise Died

    def pause_at_statement(self) -> Fault:
        """Pause before a statement: now and then, and always after a wait for a lock, when others may run too."""
        self.live_on()
        if (self.rng.random() < self.statement_pauses) or self.has_waited:
            return self.pause(f"statement in {product_place()}", Fault.LOSS, Fault.DEATH)
        return Fault.NONE

    def pause_at_boundary(self, what: str, *faults: Fault) -> Fault:
        """Pause at a transaction's or the broker's boundary, named after the product's code that came there."""
        return self.pause(f"{what} in {product_place()}", *faults)

    def speak_to(self, backend_pid: int) -> None:
        """Note the session that a statement goes to, and that may come to wait."""
        self.backend_pid = backend_pid
        self.backend_pids.add(backend_pid)

    def tell_locks_freed(self) -> None:
        """Say that a transaction of this actor has ended, so that others may have got its locks."""
        if self._scheduler is not None:
            self._scheduler.locks_freed = True

    def start(self, scheduler: "Scheduler") -> None:
        """Begin to live; pauses before it does anything."""
        self._scheduler = scheduler
        self.is_moving = True
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def go_on(self, fault: Fault) -> None:
        """Give it the baton."""
        self._fault = fault
        self.is_moving = True
        self._baton.release()

    def _run(self) -> None:
        try:
            self.pause("begins")
            self.life(self)
        except BaseException as error:  # noqa: BLE001  # whatever it is, the simulation reports it
            self.error = error
        self.is_finished = True
        self.tell_locks_freed()
        self._hand_back()

    def _hand_back(self) -> None:
        assert self._scheduler is not None
        with self._scheduler.quiet:
            self.is_moving = False
            self._scheduler.quiet.notify()


class Scheduler:
    """Lets actors live to their end, one at a time.

    Faults come at random, or, with `dies_at`, once: whoever comes to that place first dies there.
    """

    def __init__(
        self,
        actors: Sequence[Actor],
        rng: random.Random,
        locks: Locks,
        *,
        fault_rate: float,
        dies_at: str | None = None,
    ) -> None:
        self.quiet = threading.Condition()
        self.locks_freed = False
        self.trace: list[Step] = []
        self.seen: Counter[str] = Counter()  #: boundaries that actors came to
        self.faults: Counter[str] = Counter()  #: what happened at them
        self.deadlocks = 0
        #: How often one freed several others in the middle of their statements: the server decides who comes first.
        self.races = 0
        self._waits: dict[Actor, list[Actor]] = {}
        self._victims: list[Actor] = []  #: cancelled, and still seen to wait
        self._steps = 0
        self._actors, self._rng, self._locks, self._fault_rate = actors, rng, locks, fault_rate
        self._dies_at = dies_at
        self._stickiness = rng.choice((0.0, 0.3, 0.6))

    def run(self) -> None:
        """Run until every actor has ended."""
        for actor in self._actors:
            actor.start(self)
            self._settle(actor)
        last: Actor | None = None
        while ready := self._ready():
            is_same = last in ready and self._rng.random() < self._stickiness
            actor = last if is_same and last is not None else self._rng.choice(ready)
            others = [other for other in ready if other is not actor]
            if actor.is_slow and others and actor.rng.random() < _SLOWNESS:
                actor = self._rng.choice(others)
            fault = self._fault_at(actor)
            self.trace.append(Step(self._steps, actor.name, actor.place, fault))
            self._steps += 1
            actor.go_on(fault)
            self._settle(actor)
            last = actor
        assert all(actor.is_finished for actor in self._actors)

    def _ready(self) -> list[Actor]:
        """Who can go on. Time passes when nobody else has anything to do; at its end the idle ones end too."""
        parked = [actor for actor in self._actors if not actor.is_finished and not actor.is_moving]
        ready = [
            actor for actor in parked if actor.is_wanted is None or actor.wakes_at <= self._steps or actor.is_wanted()
        ]
        return ready or sorted(parked, key=lambda actor: actor.wakes_at)[:1]

    def _fault_at(self, actor: Actor) -> Fault:
        is_statement = actor.place.startswith("statement")
        if actor.faults and not is_statement:
            self.seen[actor.place] += 1
        if self._dies_at is not None:
            if actor.place != self._dies_at or self.seen[actor.place] > 1:
                return Fault.NONE
            self.faults[f"{Fault.DEATH.value} at {actor.place}"] += 1
            return Fault.DEATH
        if not actor.faults or self._rng.random() >= self._fault_rate / (5 if is_statement else 1):
            return Fault.NONE
        fault = self._rng.choice(actor.faults)
        if not is_statement:
            self.faults[f"{fault.value} at {actor.place}"] += 1
        return fault

    def _settle(self, moved: Actor) -> None:
        """Wait until every actor is parked, ended, or waits in the database for one that is."""
        suspects, before, asked, is_settled = [moved], dict[Actor, list[Actor]](), 0, False
        while not is_settled:
            self._wait_a_moment(suspects)
            if not (asked or moved.is_moving or self.locks_freed):
                return  # who waited before waits still
            if self.locks_freed and sum(moved in others for others in self._waits.values()) > 1:
                self.races += 1
            self.locks_freed = False
            # All that move, since one that was freed meanwhile may be what another waits for, for a moment only.
            moving = [actor for actor in self._actors if actor.is_moving]
            blockers = self._blockers(moving)
            suspects = [actor for actor in moving if not blockers[actor]]
            self._victims = [actor for actor in self._victims if blockers.get(actor)]
            if not suspects and blockers == before:  # not while they were asked for one after the other
                suspects = self._end_deadlock(blockers)
                self._note_waits(blockers)
                is_settled = not suspects
                self._waits = blockers
            before = blockers
            asked += 1
            assert asked * _ASK_SECONDS < _STUCK_SECONDS, f"stuck: {[(a.name, a.place) for a in moving]}"

    def _wait_a_moment(self, moving: Sequence[Actor]) -> None:
        with self.quiet:
            self.quiet.wait_for(lambda: not any(actor.is_moving for actor in moving), _ASK_SECONDS)

    def _blockers(self, actors: Sequence[Actor]) -> dict[Actor, list[Actor]]:
        found = self._locks.blockers([actor.backend_pid for actor in actors if actor.backend_pid is not None])
        actor_of = {pid: actor for actor in self._actors for pid in actor.backend_pids}
        return {
            actor: [actor_of[pid] for pid in found.get(actor.backend_pid or 0, ()) if pid in actor_of]
            for actor in actors
        }

    def _note_waits(self, blockers: dict[Actor, list[Actor]]) -> None:
        for actor, others in blockers.items():
            if not actor.has_waited:
                actor.has_waited = True
                names = ", ".join(sorted(other.name for other in others))
                self.trace.append(Step(None, actor.name, f"waits for {names}"))

    def _end_deadlock(self, blockers: dict[Actor, list[Actor]]) -> list[Actor]:
        """Cancel one of those that wait in a circle, as the database would after its own delay."""
        if self._victims:
            return self._victims  # the server has not come to cancel it: the circle that is seen is still the same
        for actor in sorted(blockers, key=lambda actor: actor.name):
            reached, more = set[Actor](), list(blockers[actor])
            while more:
                other = more.pop()
                if other not in reached:
                    reached.add(other)
                    more += blockers.get(other, [])
            if actor in reached:
                assert actor.backend_pid is not None
                self.deadlocks += 1
                self.trace.append(Step(None, actor.name, "is cancelled to end a deadlock"))
                actor.is_victim = True
                self._victims.append(actor)
                self._locks.cancel(actor.backend_pid)
                return [actor]
        return []


def product_place() -> str:
    """The product's function that is running in this thread, and the one that called it."""
    found: list[str] = []
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # there is no other way to look at a running frame
    while frame is not None and len(found) < 2:
        code = frame.f_code
        if code.co_filename.startswith(_PRODUCT):
            name = code.co_qualname.replace("<locals>.", "")
            found.append(f"{Path(code.co_filename).stem}.{name}")
        frame = frame.f_back
    return " of ".join(found)
