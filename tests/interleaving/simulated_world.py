"""One simulation: a history, actors that run the real shell on it, whatever happens to them, and the draining after."""

import math
import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from uuid import UUID

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from core.domain.value.verbs import Verb
from core.errors import BrokerUnavailableError, EventNotConfirmedError
from core.mending.dead_letters import RetryLimits, retry_letters
from core.messages.inbound.sources import CommandGrant, Sources
from core.posting.batch import BatchBounds, Poster
from core.store.engine import run_bulk
from core.store.posting_turns import FEW_MESSAGES_MAX
from core.store.shards import ACCOUNT_SHARDS
from tasks.periodic import audit_ledger, expire_lots, review_tiers, void_authorizations
from tasks.posting import post_inbox, sweep_inbox
from tasks.relay import relay_outbox, sweep_outbox
from tasks.runtime import Runtime
from tests.interleaving.histories import BEHIND_DEADLINES, INSTANTS, SPENT, History, draw_history
from tests.interleaving.memory_broker import Exchange, Nudges, Publisher, ShopQueue, Source
from tests.interleaving.scheduler import Actor, Died, Scheduler
from tests.interleaving.stage import Stage
from tests.shell import EVENT_SOURCE, LIMITS
from tests.tasks.runtimes import make_runtime
from workers.intake import Intake, IntakeLimits

_INTERRUPTIONS = (
    BrokerUnavailableError,
    EventNotConfirmedError,
    DBAPIError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
#: One shop may command anything.
_LIMITS = LIMITS._replace(
    sources=Sources({}, parks_unlisted=False, commands={SPENT: dict.fromkeys(Verb, CommandGrant())})
)
#: For a task that shall do all that there is: a limit that no run comes to.
_LONG_SECONDS = 3600.0
CHAIN_KEY = b"a key of the simulation, and long enough"
#: As often as they like, or the schedule would hang on the clock.
_NUDGES_PER_SECOND = 1e9
#: Within so many steps of the schedule the periodic tasks run; most seeds take a little longer.
_STEPS = 300
#: So many at a time are posted and woken when nothing disturbs: everything that there is.
_CALM_BATCH = 100
#: More than the number of deaths after which a good message would be parked, so that each retry finds its own way.
_DRAINING_ROUNDS_MAX = 50


class Conditions(NamedTuple):
    """What a seed decides about the surroundings."""

    shards: tuple[int, int]  #: of either intake; different while LOYALTY_SHARDS is being changed
    periodic: frozenset[str]  #: who is there besides intakes, posters, relays and the sweep
    is_backlog: bool  #: all messages are in the inbox before the others begin, so that posters meet
    batch_messages: int
    relay_batch_events: int
    upkeep_batch_rows: int
    run_seconds_max: float  #: a task does all that there is, or one batch
    waiting_days_max: int
    nudge_loss_rate: float
    claim_rate: float
    fault_rate: float
    statement_pauses: float
    along_max: int  #: so many messages are posted together whatever their shards


def draw_conditions(rng: random.Random, seed: int) -> Conditions:
    """Draw the surroundings: each seed leaves something out, so that the rest collides the more."""
    return Conditions(
        shards=rng.choice(((1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3), (3, 2))),
        periodic=frozenset(name for name in ("expiry", "review", "operator", "audit") if rng.random() < 0.5),
        is_backlog=rng.random() < 0.4,
        batch_messages=rng.randint(1, 5),
        relay_batch_events=rng.randint(1, 5),
        upkeep_batch_rows=rng.randint(1, 3),
        run_seconds_max=rng.choice((_LONG_SECONDS, -1.0)),
        waiting_days_max=rng.choice((0, 30)),
        nudge_loss_rate=rng.choice((0.0, 0.3)),
        claim_rate=rng.choice((0.0, 0.3)),
        fault_rate=rng.choice((0.0, 0.02, 0.05, 0.1)),
        statement_pauses=rng.choice((0.0, 0.1, 0.4)),
        along_max=random.Random(f"{seed} along").choice((0, 4, FEW_MESSAGES_MAX)),
    )


class World:
    """Everything of one seed. `run` lets the actors live, `drain` does what is left without any disturbance."""

    def __init__(self, stage: Stage, seed: int, dies_at: str | None = None) -> None:
        """Empty the stage and draw everything; with `dies_at` (see Scheduler) that death is the only fault."""
        rng = random.Random(seed)  # the same world every time
        self._calm = random.Random(f"{seed} calm")
        self.stage = stage
        self.conditions = draw_conditions(rng, seed)
        self.history: History = draw_history(rng, random.Random(f"{seed} commands"))
        self.queue = ShopQueue(self.history.deliveries)
        self.exchange = Exchange()
        self.nudges = Nudges(self.conditions.nudge_loss_rate)
        self.problems: list[str] = []
        stage.empty()
        lives = [
            ("intake-1", self._intake(0, 6)),
            ("intake-2", self._intake(1, 6)),
            *((f"poster-{n}", self._tasks(self._post, 5, "loyalty.post_inbox")) for n in (1, 2, 3)),
            *((f"relay-{n}", self._tasks(self._relay, 5, "loyalty.relay_outbox")) for n in (1, 2)),
            ("expiry", self._tasks(lambda actor, runtime: _at_an_instant(actor, runtime, expire_lots), 2)),
            ("review", self._tasks(lambda actor, runtime: _at_an_instant(actor, runtime, review_tiers), 2)),
            ("deadlines", self._tasks(lambda _, runtime: void_authorizations(runtime, BEHIND_DEADLINES), 2)),
            ("sweep", self._tasks(_sweep, 5)),
            ("operator", self._tasks(self._retry, 2)),
            ("audit", self._tasks(self._audit, 2)),
        ]
        absent = {"expiry", "review", "operator", "audit"} - self.conditions.periodic
        if not self.history.commands or self._calm.random() < 0.4:
            absent |= {"deadlines"}
        self.actors = [Actor(name, random.Random(f"{seed} {name}"), life) for name, life in lives if name not in absent]
        for actor in self.actors:
            actor.statement_pauses = self.conditions.statement_pauses
        if self._calm.random() < 0.4:
            self._calm.choice(self.actors).is_slow = True
        self.scheduler = Scheduler(self.actors, rng, stage, fault_rate=self.conditions.fault_rate, dies_at=dies_at)

    def run(self) -> None:
        """Let every actor live to its end."""
        if self.history.earlier:
            self._post_earlier()
        if self.conditions.is_backlog:
            self._receive_all()
        try:
            self.scheduler.run()
        finally:
            self.stage.leave()
        self.problems += [f"{actor.name} failed: {_text(actor.error)}" for actor in self.actors if actor.error]

    def _post_earlier(self) -> None:
        queue = ShopQueue(self.history.earlier)
        source = Source(queue, None, self._calm)
        intake = self._new_intake(self.stage.engine, 0, lambda *_: True)
        while not queue.is_empty:
            intake.step(source)
        runtime = self._runtime(None, self.stage.engine, lambda *_: None)
        for shard in range(self.conditions.shards[0]):
            post_inbox(runtime, shard)

    def _receive_all(self) -> None:
        """Let both intakes take turns, undisturbed, and ask for every shard's posting."""
        source = Source(self.queue, None, self._calm)
        intakes = [self._new_intake(self.stage.engine, which, lambda *_: True) for which in (0, 1)]
        while not self.queue.is_empty:
            self._calm.choice(intakes).step(source)
        self.nudges.asked += [("loyalty.post_inbox", (shard,)) for shard in range(max(self.conditions.shards))]

    def drain(self) -> None:
        """Take in, post, retry, expire, review and relay all that is left, as one process of each would."""
        try:
            self._drain()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the product's
            self.problems.append(f"draining failed: {_text(error)}")

    def _drain(self) -> None:
        source = Source(self.queue, None, self._calm)
        nudges: list[tuple[str, tuple[int, ...]]] = []

        def nudge(task: str, *shards: int) -> bool:
            nudges.append((task, shards))
            return True

        runtime = self._runtime(None, self.stage.engine, nudge)
        intake = self._new_intake(self.stage.engine, 0, nudge)
        while not self.queue.is_empty:
            intake.step(source)
        for _ in range(_DRAINING_ROUNDS_MAX):
            self._do_nudged(runtime, nudges)
            if not self._retry_all():
                break
        else:
            self.problems.append("dead letters that should come to an end are parked again and again")
        expire_lots(runtime, INSTANTS[-1])
        review_tiers(runtime, INSTANTS[-1])
        void_authorizations(runtime, BEHIND_DEADLINES)
        self._do_nudged(runtime, nudges)

    def _do_nudged(self, runtime: Runtime, nudges: list[tuple[str, tuple[int, ...]]]) -> None:
        """Sweep, and run only what is asked for, until nothing is."""
        while True:
            sweep_inbox(runtime)
            sweep_outbox(runtime)
            if not nudges:
                return
            while nudges:
                task, shards = nudges.pop(0)
                {"loyalty.post_inbox": post_inbox, "loyalty.relay_outbox": relay_outbox}[task](runtime, *shards)

    def _retry_all(self) -> int:
        """Retry what was parked for reasons that are gone: deaths that we made, and orders that came late."""
        letters = self.stage.rows("""
            SELECT inbox_id FROM inbox i WHERE state = 'dead' AND (reason = 'posting_crashed'
                OR reason = 'order_never_came' AND EXISTS (SELECT 1 FROM orders o
                   WHERE o.source = i.source AND i.subject = 'order ' || o.order_id)) ORDER BY inbox_id""")
        numbers = [letter["inbox_id"] for letter in letters]
        return len(list(retry_letters(self.stage.engine, numbers, self._retry_limits(), "kim")))

    def _runtime(self, actor: Actor | None, engine: Engine, nudge: Callable[..., object]) -> Runtime:
        rng = self._calm if actor is None else actor.rng
        given = self.conditions
        runtime = make_runtime(
            engine,
            lambda: Publisher(self.exchange, actor),
            posting_batch_messages=_CALM_BATCH if actor is None else given.batch_messages,
            relay_batch_events=given.relay_batch_events,
            upkeep_batch_rows=given.upkeep_batch_rows,
            waiting_days_max=30 if actor is None else given.waiting_days_max,
            run_seconds_max=_LONG_SECONDS if actor is None else given.run_seconds_max,
        )
        runtime.poster = Poster(
            engine,
            event_source=EVENT_SOURCE,
            new_account_id=lambda: UUID(int=rng.getrandbits(128), version=4),
            chain_key=CHAIN_KEY,
            bounds=BatchBounds(along_max=given.along_max),
        )
        runtime.chain_key = CHAIN_KEY

        def ask(task: str, *shards: int) -> None:
            nudge(task, *shards)

        runtime.nudge = ask
        return runtime

    def _tasks(
        self, task: Callable[[Actor, Runtime], None], count: int, nudged: str | None = None
    ) -> Callable[[Actor], None]:
        """The life of a Celery worker: `count` runs of a task; a death is followed by a new process.

        The task runs when it is asked for (`nudged`), or else some time.
        """

        def live(actor: Actor) -> None:
            engine = self.stage.engine_of(actor)

            def nudge(name: str, *shards: int) -> None:
                self.nudges.send(actor, name, *shards)

            runtime = self._runtime(actor, engine, nudge)
            for _ in range(count):
                wakes_at = math.inf if nudged else actor.rng.uniform(0, _STEPS)
                if not actor.idle(lambda: nudged is not None and self.nudges.has(nudged), wakes_at):
                    return
                try:
                    task(actor, runtime)
                except Died:
                    self.exchange.tell_hurt(actor)
                    actor.is_dead = False
                    runtime = self._runtime(actor, engine, nudge)
                except _INTERRUPTIONS:
                    self.exchange.tell_hurt(actor)

        return live

    def _intake(self, which: int, steps: int) -> Callable[[Actor], None]:
        """The life of an intake: as `Intake.run`, but for the waiting."""

        def live(actor: Actor) -> None:
            engine = self.stage.engine_of(actor)

            def open_all() -> tuple[Intake, Source]:
                source = Source(self.queue, actor, actor.rng, self.conditions.claim_rate)
                return self._new_intake(engine, which, partial(self.nudges.send, actor)), source

            intake, source = open_all()
            for _ in range(steps):
                if not actor.idle(lambda: bool(self.queue.waiting)):
                    break
                try:
                    intake.step(source)
                except Died:
                    actor.is_dead = False
                    source.close()
                    intake, source = open_all()
                except _INTERRUPTIONS:
                    source.close()
                    source = Source(self.queue, actor, actor.rng, self.conditions.claim_rate)
            source.close()

        return live

    def _new_intake(self, engine: Engine, which: int, nudge: Callable[..., bool]) -> Intake:
        shards = self.conditions.shards[which]
        limits = IntakeLimits(_LIMITS, self.conditions.batch_messages, 0.0, 0.0, shards, _NUDGES_PER_SECOND)

        def refuse() -> Source:
            raise AssertionError("a step is given its source")

        return Intake(engine, refuse, nudge, limits, event_source=EVENT_SOURCE)

    def _post(self, actor: Actor, runtime: Runtime) -> None:
        shards = self.nudges.take(actor.rng, "loyalty.post_inbox")
        if shards is None or actor.rng.random() < 0.1:
            shards = (actor.rng.randrange(max(self.conditions.shards)),)
        post_inbox(runtime, *shards)

    def _relay(self, actor: Actor, runtime: Runtime) -> None:
        shards = self.nudges.take(actor.rng, "loyalty.relay_outbox")
        relay_outbox(runtime, *(shards or (actor.rng.randrange(ACCOUNT_SHARDS),)))

    def _retry(self, actor: Actor, runtime: Runtime) -> None:
        with runtime.engine.begin() as connection:
            letters = [row[0] for row in run_bulk(connection, "SELECT inbox_id FROM inbox WHERE state = 'dead'")]
        chosen = actor.rng.sample(sorted(letters), min(2, len(letters)))
        for mended in retry_letters(runtime.engine, chosen, self._retry_limits(), "kim"):
            for shard in sorted(mended.shards):
                runtime.nudge("loyalty.post_inbox", shard)

    def _audit(self, actor: Actor, runtime: Runtime) -> None:
        runtime.run_seconds_max = _LONG_SECONDS  # which is how long its statements may take, too
        for _ in range(2):
            found = audit_ledger(runtime, actor.rng.randrange(ACCOUNT_SHARDS))
            self.problems += [f"found by the audit beside all others: {text}" for text in found["differences"]]

    def _retry_limits(self) -> RetryLimits:
        return RetryLimits(_LIMITS, self.conditions.shards[0], EVENT_SOURCE, 30)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _at_an_instant(actor: Actor, runtime: Runtime, task: Callable[[Runtime, str], object]) -> None:
    task(runtime, actor.rng.choice(INSTANTS))


def _sweep(actor: Actor, runtime: Runtime) -> None:
    actor.rng.choice((sweep_inbox, sweep_outbox))(runtime)
