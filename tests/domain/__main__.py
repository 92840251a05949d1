"""`python -m tests.domain`: many stories against the naive model, each with a program of its own; or one, in words."""
# ruff: noqa: T201  # a command prints what it found

import argparse
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from random import Random
from typing import NamedTuple

from tests.domain.command_stories import ALL_KINDS, CommandStoryRun, random_merging_story, random_story
from tests.domain.stories import KINDS, Step
from tests.domain.valid_programs import Versions, mergeable_versions, various_versions

_STEPS_MAX, _STEPS_WITH_COMMANDS_MAX = 18, 30
_TELL_STORIES = 5_000


def story_of(seed: int, *, merging: bool = False) -> tuple[Versions, list[Step]]:
    """The story of a seed, and the programs that it is told under; with `merging` one in which accounts are merged."""
    random = Random(seed)
    match 3 if merging else seed % 4:
        case 1:
            return various_versions(1, seed)[0], random_story(random, ALL_KINDS, _STEPS_WITH_COMMANDS_MAX)
        case 3:
            return mergeable_versions(1, seed)[0], random_merging_story(random, _STEPS_WITH_COMMANDS_MAX)
        case _:
            return various_versions(1, seed)[0], random_story(random, KINDS, _STEPS_MAX)


class Found(NamedTuple):
    """How a story went."""

    seed: int
    merges: int  #: that were done
    problem: str | None  #: what is wrong with it


def found_of(versions: Versions, story: list[Step], seed: int = 0) -> Found:
    """Run a story to its end, or to where something is wrong."""
    run, problem = CommandStoryRun(versions), None
    try:
        for _ in run.run(story):
            pass
        run.check()
    except Exception:  # noqa: BLE001  # whatever it is, it is what was looked for
        problem = traceback.format_exc()
    return Found(seed, run.merges, problem)


def found_of_seed(seed: int, *, merging: bool = False) -> Found:
    """Run the story of a seed."""
    return found_of(*story_of(seed, merging=merging), seed)


def shortened(story: list[Step], is_wrong: Callable[[list[Step]], bool]) -> list[Step]:
    """The story without the steps that it is wrong without."""
    place = 0
    while place < len(story):
        shorter = story[:place] + story[place + 1 :]
        if is_wrong(shorter):
            story, place = shorter, 0
        else:
            place += 1
    return story


def main() -> int:
    """Run the stories; 1 if one failed."""
    given = _arguments()
    seeds = [given.seed] if given.seed is not None else range(given.from_seed, given.from_seed + given.stories)
    started, told, failed, merging = time.monotonic(), 0, 0, 0
    with ProcessPoolExecutor(given.jobs) as pool:
        for found in pool.map(partial(found_of_seed, merging=given.merging), seeds, chunksize=50):
            told += 1
            merging += found.merges > 0
            if found.problem is not None:
                failed += 1
                _tell(found.seed, found.problem, merging=given.merging)
                if failed >= given.failures:
                    pool.shutdown(cancel_futures=True)
                    break
            if told % _TELL_STORIES == 0:
                print(f"... {told} stories, {failed} failed", flush=True)
    print(f"{told} stories, {merging} of them with merges, in {time.monotonic() - started:.0f} s; {failed} failed")
    return 1 if failed else 0


def _tell(seed: int, problem: str, *, merging: bool) -> None:
    versions, story = story_of(seed, merging=merging)
    kind = _without_numbers(problem)
    story = shortened(story, lambda shorter: _without_numbers(found_of(versions, shorter).problem or "") == kind)
    print(f"story {seed} failed:", *problem.splitlines()[-6:], sep="\n  ")
    print("  the shortest that fails:", *story, sep="\n    ")
    print(f"  first program: {versions.first.model_dump_json(exclude_defaults=True)}", flush=True)


def _without_numbers(problem: str) -> list[str]:
    """The end of a problem, without what is another number in a shorter story."""
    return re.sub(r"\d+", "", problem).splitlines()[-4:]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.domain", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--stories", type=int, default=4_000, help="how many to run (4,000)")
    parser.add_argument("--from", dest="from_seed", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--merging", action="store_true", help="only stories in which accounts are merged")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one per core)")
    parser.add_argument("--failures", type=int, default=1, help="stop after so many failures (1)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
