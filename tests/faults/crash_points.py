"""Places between two steps of the product where a process can be killed. Nothing in the product knows of them."""

import os
import signal
from pathlib import Path

FOLDER_VARIABLE = "FAULTS_CRASH_FOLDER"

#: Stored, not acknowledged; acknowledged, nudge not sent.
STORED, ACKNOWLEDGED = "stored", "acknowledged"
#: An attempt counted, nothing done; all written, before COMMIT; after it, before the relay is asked for.
COUNTED, POSTED, COMMITTED = "counted", "posted", "committed"
#: Events claimed, not published; confirmed, not marked; marked, before COMMIT.
CLAIMED, PUBLISHED, MARKED = "claimed", "published", "marked"

CRASH_POINTS = (STORED, ACKNOWLEDGED, COUNTED, POSTED, COMMITTED, CLAIMED, PUBLISHED, MARKED)


def arm(folder: Path, point: str, passing: int = 1) -> None:
    """Kill the process that is the `passing`th to come by this point, counted over all processes, once."""
    disarm(folder, point)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{point}.{passing}").touch()


def disarm(folder: Path, point: str) -> bool:
    """Kill nobody there; say whether it was still armed."""
    found = list(folder.glob(f"{point}.*"))
    for file in found:
        file.unlink(missing_ok=True)
    return bool(found)


def is_armed(folder: Path, point: str) -> bool:
    """Whether nobody was killed there yet."""
    return any(folder.glob(f"{point}.*"))


def pass_by(folder: Path, point: str) -> None:
    """Count a passing; does not return if it is the one."""
    for file in folder.glob(f"{point}.*"):
        left = int(file.suffix[1:]) - 1
        try:  # one of several processes at once gets the file
            if left:
                file.rename(file.with_suffix(f".{left}"))
            else:
                file.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        except FileNotFoundError:
            continue
