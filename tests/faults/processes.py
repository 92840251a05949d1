"""Signals to processes that may have ended meanwhile, and what the kernel knows of them."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_MIB_OF_KIB = 1 / 1024


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_all(pids: Iterable[int]) -> None:
    """End them now."""
    send(pids, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, oldest first."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []


def memory_mib_of(pid: int) -> float:
    """Its memory, what it shares with others by halves (PSS); 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * _MIB_OF_KIB
