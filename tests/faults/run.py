"""Many runs against one broker: which faults, in which order, what came of them, and how to repeat one."""

import argparse
import json
import os
import random
import statistics
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.faults.faults import FAULTS, Fault
from tests.faults.session import Result, Session
from tests.faults.soak import SETTINGS, Soak

MESSAGES = 320
FAULT_NAMES = tuple(fault.name for fault in FAULTS)
_STRIKES_OF_A_RUN = (1, 2, 3)
_STRIKE_WEIGHTS = (4, 4, 2)
_DIFFERENCES_SHOWN_MAX = 40
_LOG_LINES = 2_000
_LINES_SHOWN_MAX, _LINE_CHARACTERS_MAX = 12, 240
_SEED_BITS = 32

Say = Callable[[str], None]


class Tally:
    """What all runs of one broker found, by fault."""

    def __init__(self, broker: str, seed: int) -> None:
        self.broker = broker
        self.seed = seed
        self.runs = 0
        self.failed: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        self.messages = self.events = self.repeats = 0
        self.load_average_max = 0.0  #: beyond the number of processors, times of recovery say little
        self.unavailable: dict[str, str] = {}
        self._struck: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._doubled: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()
        self._recovery: dict[str, list[float]] = defaultdict(list)

    def add(self, seed: int, result: Result) -> None:
        """Count a run."""
        self.runs += 1
        self.load_average_max = max(self.load_average_max, os.getloadavg()[0])
        self.seconds.append(result.seconds)
        self.messages += result.deliveries
        self.events += result.events
        self.repeats += result.repeats
        for fault in result.faults:
            self._struck[fault] += 1
            for kind, counter in (("lost", self._lost), ("doubled", self._doubled), ("wrong", self._wrong)):
                counter[fault] += sum(text.startswith(kind) for text in result.differences)
        for fault, seconds in result.recovery_seconds.items():
            if seconds is not None:
                self._recovery[fault].append(seconds)
        if result.differences:
            self.failed.append(
                {
                    "seed": seed,
                    "faults": list(result.faults),
                    "differences": result.differences[:_DIFFERENCES_SHOWN_MAX],
                }
            )

    def document(self) -> dict[str, Any]:
        """All of it, for build/chaos.json."""
        faults = {}
        for name, struck in sorted(self._struck.items()):
            seconds = self._recovery[name]
            faults[name] = {
                "struck": struck,
                "lost": self._lost[name],
                "doubled": self._doubled[name],
                "wrong": self._wrong[name],
                "recovery_seconds_median": round(statistics.median(seconds), 2) if seconds else None,
                "recovery_seconds_max": round(max(seconds), 2) if seconds else None,
                "recoveries": len(seconds),
            }
        return {
            "seed": self.seed,
            "runs": self.runs,
            "failed": self.failed,
            "messages": self.messages,
            "events": self.events,
            "repeats": self.repeats,
            "seconds_per_run": round(statistics.mean(self.seconds), 1) if self.seconds else None,
            "load_average_max": round(self.load_average_max, 1),
            "faults": faults,
            "unavailable": self.unavailable,
        }


def run_all(broker: str, options: argparse.Namespace, say: Say) -> Tally:
    """Make the runs, in a new world after each that found a difference."""
    tally = Tally(broker, options.seed)
    deal: Iterator[list[Fault]] | None = None
    number = 0
    while number < options.runs:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-"))) / "world"
            session = stack.enter_context(Session(folder, broker))
            faults, tally.unavailable = session.available()
            if deal is None:
                for name, reason in tally.unavailable.items():
                    say(f"{name} cannot be struck: {reason}")
                deal = dealt(options, broker, faults)
            is_clean = True
            while is_clean and number < options.runs:
                seed, struck = run_seed(options.seed, number), next(deal)
                number += 1
                names = ",".join(fault.name for fault in struck)
                say(f"run {number} of {options.runs}: seed {seed}, {names.replace(',', ', ') or 'no faults'}")
                result = _run(session, seed, struck, options.messages)
                tally.add(seed, result)
                say(_told(result))
                is_clean = not result.differences
                if not is_clean:
                    command = repeat_command(broker, seed, names, options.messages)
                    log_path = options.figures.with_name(f"chaos-{broker}-{seed}.log")
                    _say_failure(say, session, result, command, log_path)
            if not is_clean and options.keep:
                say(f"kept: {session.world.database_url} {session.world.broker_url}; Enter ends it")
                input()
    return tally


def _run(session: Session, seed: int, faults: Sequence[Fault], messages: int) -> Result:
    try:
        return session.run(seed, faults, messages)
    except Exception:  # noqa: BLE001  # one run that cannot be made must not end the others
        names = tuple(fault.name for fault in faults)
        return Result(names, 0.0, 0, 0, 0, {}, [f"wrong: the run ended with an error: {traceback.format_exc()}"])


def run_soak(broker: str, options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Make one long run, and return its figures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-"))) / "world"
        session = stack.enter_context(Session(folder, broker, settings=SETTINGS))
        available, lacking = session.available()
        wanted = set(options.strikes if options.strikes is not None else options.faults or FAULT_NAMES)
        soak = Soak(session, options.seed, options.soak, [fault for fault in available if fault.name in wanted])
        soak.run(say)
        return {**soak.document(), "seed": options.seed, "unavailable": lacking}


def run_seed(seed: int, number: int) -> int:
    """The seed of one run: the first one's is the seed given, so that one run can be repeated alone."""
    return seed if number == 0 else random.Random(f"{seed}/{number}").getrandbits(_SEED_BITS)


def repeat_command(broker: str, seed: int, names: str, messages: int) -> str:
    """What makes the same run once more."""
    strikes = f"--strikes {names}" if names else "--strikes none"
    return f"python -m tests.faults --runs 1 --broker {broker} --seed {seed} {strikes} --messages {messages}"


def dealt(options: argparse.Namespace, broker: str, available: Sequence[Fault]) -> Iterator[list[Fault]]:
    """The faults of each run, from a shuffled pack, so that each comes about equally often."""
    by_name = {fault.name: fault for fault in available}
    if options.strikes is not None:
        while True:
            yield [by_name[name] for name in options.strikes]
    wanted = [by_name[name] for name in options.faults or by_name if name in by_name]
    if not wanted:
        raise SystemExit("none of these faults can be struck here")
    chance = random.Random(f"{options.seed}/{broker}")
    pack: list[Fault] = []
    while True:
        count = min(chance.choices(_STRIKES_OF_A_RUN, _STRIKE_WEIGHTS)[0], len(wanted))
        hand: list[Fault] = []
        while len(hand) < count:
            pack = pack or chance.sample(wanted, len(wanted))
            # A fault that is in the hand already waits for the next run.
            place = next((n for n, fault in enumerate(pack) if fault not in hand), None)
            if place is None:
                pack += chance.sample(wanted, len(wanted))
            else:
                hand.append(pack.pop(place))
        yield hand


def fault_names(text: str) -> list[str]:
    """Comma-separated names of faults; "none" for no fault at all."""
    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in FAULT_NAMES:
            raise argparse.ArgumentTypeError(f"there is no fault {name}; known are {', '.join(FAULT_NAMES)}")
    return names


def _told(result: Result) -> str:
    recovery = ", ".join(f"{name} {_seconds(value)}" for name, value in result.recovery_seconds.items())
    state = "clean" if not result.differences else f"{len(result.differences)} DIFFERENCES"
    return (
        f"  {state} after {result.seconds:.1f} s: {result.deliveries} messages, {result.events} events, "
        f"{result.repeats} repeated; recovery: {recovery or 'none needed'}"
    )


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f} s"


def _say_failure(say: Say, session: Session, result: Result, command: str, log_path: Path) -> None:
    for text in result.differences[:_DIFFERENCES_SHOWN_MAX]:
        say(f"    {text}")
    if len(result.differences) > _DIFFERENCES_SHOWN_MAX:
        say(f"    and {len(result.differences) - _DIFFERENCES_SHOWN_MAX} more")
    say(f"    restarts: {session.world.restarts()}")
    written = session.world.log_tail(_LOG_LINES)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    log_path.write_text(f"{written}\n")
    say(f"    what the roles wrote is in {log_path}; the last warnings and errors:")
    for line in [line for line in written.splitlines() if "level" in line and '"info"' not in line][-_LINES_SHOWN_MAX:]:
        say(f"    | {line[:_LINE_CHARACTERS_MAX]}")
    say(f"    repeat it: {command}")


def write(path: Path, documents: dict[str, Any]) -> None:
    """Write the figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(documents, indent=2) + "\n")
