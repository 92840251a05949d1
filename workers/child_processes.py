"""Child processes that do not outlive us, and finding the ones that an earlier run left behind."""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing import parent_process
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.05
_PROC = Path("/proc")
# Loaded here, not in the child: between fork and exec as little as possible may run.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

Ladder = Iterable[tuple[signal.Signals, float]]  #: signals to send in turn, each with how many seconds to wait for it


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """Return a `preexec_fn` that has the kernel send `death_signal` to the child when its parent dies.

    Linux only; elsewhere it does nothing. The kernel means the THREAD that started the child: start children from the
    main thread, or from one that lives as long as they shall.
    """
    parent = os.getpid()

    def arm() -> None:
        if _LIBC is None:
            return
        # Popen calls us after it changed the user; a change of user afterwards would clear the setting.
        _LIBC.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(death_signal), ctypes.c_ulong(0), ctypes.c_ulong(0))
        if os.getppid() != parent:  # it died between the fork and the line above, and nobody will say so any more
            os._exit(1)

    return arm


def end_with_parent(death_signal: signal.Signals) -> None:
    """Do the same from within a process that `multiprocessing` has started; Linux only too."""
    parent = parent_process()
    assert parent is not None
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(death_signal), ctypes.c_ulong(0), ctypes.c_ulong(0))
    if os.getppid() != parent.pid:  # it died before the line above
        os._exit(1)


def find_processes(program: str, folder: Path, pid_file: Path) -> set[int]:
    """Return the ids of the running processes named `program` whose working folder is `folder`.

    Where there is no /proc, it is the one named in the first line of `pid_file`, if that is such a program.
    """
    if (_PROC / "self" / "cwd").exists():
        return {int(entry.name) for entry in _PROC.glob("[0-9]*") if _works_in(entry, program, folder)}
    pid = read_pid(pid_file)
    return {pid} if pid is not None and _is_named(pid, program) else set()


def read_pid(pid_file: Path) -> int | None:
    """Return the process id in the first line of a file, or None."""
    try:
        return int(pid_file.read_text(encoding="utf-8").split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def is_alive(pid: int) -> bool:
    """Say whether a process of this id exists, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def has_ended(pid: int) -> bool:
    """Say whether our child has ended, without reaping it: until then its id, and its group's, is nobody else's."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # we were started with SIGCHLD ignored, so the kernel has reaped it
        return True


def signal_name(number: int) -> str:
    """Return `SIGKILL` and the like; the bare number for a real-time signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def end_processes(find: Callable[[], set[int]], leader: int | None, ladder: Ladder) -> bool:
    """Signal the processes that `find` returns, step by step of the ladder, until none is left; say whether none is.

    Only `leader` gets the gentle signals: a server's own children give them another meaning.
    """
    for number, wait_seconds in ladder:
        for pid in find():
            if pid == leader or number == signal.SIGKILL:
                _send(pid, number)
        deadline = time.monotonic() + wait_seconds
        while find():
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        else:
            return True
    return not find()


def end_child(process: subprocess.Popen[bytes], ladder: Ladder) -> signal.Signals | None:
    """End our own child by the ladder and reap it; return the signal it took, None if it had ended already."""
    if process.poll() is not None:
        return None
    for number, wait_seconds in ladder:
        process.send_signal(number)
        try:
            process.wait(wait_seconds)
        except subprocess.TimeoutExpired:
            continue
        return number
    process.wait()
    return signal.SIGKILL


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _works_in(entry: Path, program: str, folder: Path) -> bool:
    try:
        return (entry / "comm").read_text(encoding="utf-8").strip() == program and (entry / "cwd").samefile(folder)
    except OSError:  # it has ended, or it is another user's
        return False


def _is_named(pid: int, program: str) -> bool:
    shown = subprocess.run(["/bin/ps", "-o", "comm=", "-p", str(pid)], capture_output=True, check=False)  # noqa: S603 - a number
    return Path(shown.stdout.decode().strip()).name == program


def collect_garbage_seldom() -> None:
    """Make Python's collector look for cycles only where far more is left behind than a batch builds.

    A batch builds a hundred thousand tuples, all of which end with it and none of which are cycles: looking through
    them at every 700th costs a tenth of posting, and once in each batch a twentieth. What is let lie takes some 30 MB;
    children are recycled by memory, should anything ever gather.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(300_000, 20, 20)


def begin_beside() -> None:
    """What a process does first that works beside a command: nobody else would end it if the command is killed."""
    end_with_parent(signal.SIGKILL)
    collect_garbage_seldom()
