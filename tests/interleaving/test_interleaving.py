"""Some dozens of seeds, every promise after each of them; and that the scheduler is what it says it is."""

import random
from collections.abc import Iterator
from contextlib import closing, suppress

import psycopg
import pytest
from sqlalchemy import text

from core.store.engine import run_bulk
from tests.conftest import OpenDatabase
from tests.interleaving.interleaving import Result, simulate
from tests.interleaving.scheduler import Actor, Scheduler
from tests.interleaving.stage import Stage

SEEDS = range(24)
#: Of different worlds; without faults they come to the places below and to more.
CALM_SEEDS = (33, 41, 67)
WORDS = (
    "before COMMIT",
    "after COMMIT",
    "before what is one statement",
    "after what is one statement",
    "receive",
    "acknowledge",
    "publish",
    "amid publishing",
    "published",
)

# Around these transactions at least, and at these words with the broker, somebody must die.
PLACES = {
    *(
        f"{when} COMMIT in {place}"
        for when in ("before", "after")
        for place in (
            "receive._Store._rows of receive._Store.messages",
            "batch.Poster._turn of batch.Poster._post_next.work",
            "relay._relay_batch of relay._relay",
            "periodic._run of periodic.expire_lots",
            "periodic._run of periodic.void_authorizations",
        )
    ),
    "before what is one statement in batch.Poster._count_attempt of batch.Poster._post",
    "after what is one statement in batch.Poster._count_attempt of batch.Poster._post",
    "receive in intake.Intake.step",
    "acknowledge in intake.Intake._keep of intake.Intake.step",
    "publish in relay._relay_batch of relay._relay",
    "amid publishing in relay._relay_batch of relay._relay",
    "published in relay._relay_batch of relay._relay",
}


@pytest.fixture(scope="module")
def stage(open_database: OpenDatabase) -> Iterator[Stage]:
    with open_database() as url, closing(Stage(url)) as stage:
        yield stage


def told(result: Result, more: str = "") -> list[str]:
    again = f"python -m tests.interleaving --seed {result.seed}{more} --trace"
    return [f"{problem} ({again})" for problem in result.problems]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_whatever_dies_and_whoever_meets_every_promise_is_kept(stage: Stage) -> None:
    results = [simulate(stage, seed) for seed in SEEDS]
    assert [problem for result in results for problem in told(result)] == []
    assert sum(result.faults.total() for result in results) > 50


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_death_at_any_boundary_breaks_no_promise(stage: Stage) -> None:
    seed_of: dict[str, int] = {}
    for seed in CALM_SEEDS:
        calm = simulate(stage, seed, dies_at="")
        assert (told(calm), calm.faults.total()) == ([], 0)
        seed_of |= {place: seed for place in calm.seen if place.partition(" in ")[0] in WORDS}
    assert set(seed_of) >= PLACES
    for place, seed in seed_of.items():
        result = simulate(stage, seed, dies_at=place)
        assert (told(result, f" --dies-at '{place}'"), result.faults.total()) == ([], 1)


def test_a_seed_makes_the_same_schedule_each_time(stage: Stage) -> None:
    pairs = [(simulate(stage, seed), simulate(stage, seed)) for seed in (3, 14, 35)]
    exact = [(first.schedule, second.schedule) for first, second in pairs if first.races == second.races == 0]
    assert exact
    assert all(first == second and len(first) > 50 for first, second in exact)


def test_an_actor_that_waits_for_a_parked_one_is_told_from_one_that_works(stage: Stage) -> None:
    through, scheduler = live(stage, {"first": [1], "second": [1]}, seed=1)
    assert sorted(through) == ["first", "second"]
    assert [step.place for step in scheduler.trace if step.number is None] == ["waits for second"]


def test_a_circle_of_waiting_actors_is_broken_at_one_of_them(stage: Stage) -> None:
    ends = [live(stage, {"first": [1, 2], "second": [2, 1]}, seed=seed) for seed in range(8)]
    assert {(len(through), scheduler.deadlocks) for through, scheduler in ends} == {(1, 1), (2, 0)}


def live(stage: Stage, rows_of: dict[str, list[int]], seed: int) -> tuple[list[str], Scheduler]:
    """Let actors lock rows one after the other; who came through, and how."""
    stage.empty()
    with stage.engine.begin() as connection:
        connection.execute(text("INSERT INTO posting_attempts (shard) VALUES (1), (2)"))
    through: list[str] = []

    def life(actor: Actor) -> None:
        with suppress(psycopg.errors.DeadlockDetected), stage.engine_of(actor).begin() as connection:
            for row in rows_of[actor.name]:
                actor.pause("between two rows")
                run_bulk(connection, "SELECT 1 FROM posting_attempts WHERE shard = %s FOR UPDATE", (row,))
            actor.pause("with all rows")
            through.append(actor.name)

    actors = [Actor(name, random.Random(name), life) for name in rows_of]
    scheduler = Scheduler(actors, random.Random(seed), stage, fault_rate=0)
    scheduler.run()
    stage.leave()
    assert [actor.error for actor in actors] == [None] * len(actors)
    return through, scheduler
