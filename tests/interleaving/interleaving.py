"""Running seeds, in one process or in several, and what came of them."""

import logging
import multiprocessing
from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import repeat

import structlog

from tests.interleaving.checks import problems
from tests.interleaving.scheduler import Step
from tests.interleaving.simulated_world import World
from tests.interleaving.stage import Stage, open_database


@dataclass
class Result:
    """What came of one seed."""

    seed: int
    problems: list[str]
    trace: list[Step]
    seen: Counter[str]  #: boundaries that actors came to
    faults: Counter[str]  #: what happened at them
    deadlocks: int
    races: int  #: none: the seed alone decides the schedule

    @property
    def schedule(self) -> list[Step]:
        """What the seed decides. Waits are left out: how many locks one waits for in a row, the trace may miss."""
        return [step for step in self.trace if step.number is not None]


@dataclass
class Total:
    """What came of many."""

    seeds: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    deadlocks: int = 0

    def add(self, result: Result) -> None:
        """Count one more."""
        self.seeds += 1
        self.seen += result.seen
        self.faults += result.faults
        self.deadlocks += result.deadlocks

    def __str__(self) -> str:
        deaths = sum(count for name, count in self.faults.items() if name.startswith("DIES"))
        return (
            f"{self.seeds} seeds: {self.faults.total()} faults ({deaths} deaths) of {len(self.faults)} kinds at the"
            f" {len(self.seen)} boundaries that actors came to; {self.deadlocks} deadlocks"
        )


def simulate(stage: Stage, seed: int, dies_at: str | None = None) -> Result:
    """Run one seed from an empty database to the checks; `dies_at` as `World` has it."""
    world = World(stage, seed, dies_at)
    world.run()
    if not world.problems:
        world.drain()
    found = world.problems or problems(world)
    scheduler = world.scheduler
    return Result(seed, found, scheduler.trace, scheduler.seen, scheduler.faults, scheduler.deadlocks, scheduler.races)


def simulate_all(
    server_url: str, seeds: Sequence[int], jobs: int, dies_at: str | None = None
) -> Generator[Result, None, None]:
    """Run seeds, in as many processes as there shall be, each on a database of its own."""
    count = min(jobs, len(seeds))
    with ExitStack() as opened:
        urls = [opened.enter_context(open_database(server_url)) for _ in range(count)]
        if count == 1:
            with closing(Stage(urls[0])) as stage:
                yield from (simulate(stage, seed, dies_at) for seed in seeds)
            return
        context = multiprocessing.get_context("spawn")  # a forked child would share the sessions of its parent
        unused = context.SimpleQueue()
        for url in urls:
            unused.put(url)
        pool = ProcessPoolExecutor(count, context, _open_stage, (unused,))
        opened.callback(pool.shutdown, cancel_futures=True)
        yield from pool.map(_simulate, seeds, repeat(dies_at))


_stages: list[Stage] = []  # the one of this process


def _open_stage(unused: "multiprocessing.SimpleQueue[str]") -> None:
    be_silent()
    _stages.append(Stage(unused.get()))


def _simulate(seed: int, dies_at: str | None) -> Result:
    return simulate(_stages[0], seed, dies_at)


def be_silent() -> None:
    """Keep the product's log out of what a command prints."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
