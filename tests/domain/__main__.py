"""`python -m tests.domain`: many stories against the naive model, each with a program of its own; or one, in words."""
# ruff: noqa: T201  # a command prints what it found

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from random import Random

from tests.domain.command_stories import ALL_KINDS, CommandStoryRun, random_story
from tests.domain.stories import KINDS, Step
from tests.domain.valid_programs import Versions, various_versions

_STEPS_MAX, _STEPS_WITH_COMMANDS_MAX = 18, 30
_TELL_STORIES = 5_000


def story_of(seed: int) -> tuple[Versions, list[Step]]:
    """The story of a seed, and the programs that it is told under."""
    (versions,) = various_versions(1, seed)
    kinds, steps_max = (ALL_KINDS, _STEPS_WITH_COMMANDS_MAX) if seed % 2 else (KINDS, _STEPS_MAX)
    return versions, random_story(Random(seed), kinds, steps_max)


def problem_of(versions: Versions, story: list[Step]) -> str | None:
    """What is wrong at the end of a story."""
    run = CommandStoryRun(versions)
    try:
        for _ in run.run(story):
            pass
        run.check()
    except Exception:  # noqa: BLE001  # whatever it is, it is what was looked for
        return traceback.format_exc()
    return None


def problem_of_seed(seed: int) -> tuple[int, str | None]:
    """The seed, and what is wrong with it."""
    return seed, problem_of(*story_of(seed))


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
    started, told, failed = time.monotonic(), 0, 0
    with ProcessPoolExecutor(given.jobs) as pool:
        for seed, problem in pool.map(problem_of_seed, seeds, chunksize=50):
            told += 1
            if problem is not None:
                failed += 1
                _tell(seed, problem)
                if failed >= given.failures:
                    pool.shutdown(cancel_futures=True)
                    break
            if told % _TELL_STORIES == 0:
                print(f"... {told} stories, {failed} failed", flush=True)
    print(f"{told} stories in {time.monotonic() - started:.0f} s; {failed} failed")
    return 1 if failed else 0


def _tell(seed: int, problem: str) -> None:
    versions, story = story_of(seed)
    kind = problem.splitlines()[-4:]
    story = shortened(story, lambda shorter: (problem_of(versions, shorter) or "").splitlines()[-4:] == kind)
    print(f"story {seed} failed:", *problem.splitlines()[-6:], sep="\n  ")
    print("  the shortest that fails:", *story, sep="\n    ")
    print(f"  first program: {versions.first.model_dump_json(exclude_defaults=True)}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.domain", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--stories", type=int, default=4_000, help="how many to run (4,000)")
    parser.add_argument("--from", dest="from_seed", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one per core)")
    parser.add_argument("--failures", type=int, default=1, help="stop after so many failures (1)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
