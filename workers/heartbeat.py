"""The heartbeat of a role: a file that a process touches while it is well. The supervisor watches its age.

Beside it, of a role that may be well and still not get on, a file that it touches when it has got on with its work, or
found none. Whoever asks whether the role is ready looks at that.
"""

import os
from pathlib import Path

HEARTBEAT_VARIABLE = "LOYALTY_HEARTBEAT_FILE"
#: How often a role's supervisor has started it again, told to the role.
RESTARTS_VARIABLE = "LOYALTY_ROLE_RESTARTS"


def beat_heart(path: str | None = None) -> None:
    """Touch `path`, or else the file named by LOYALTY_HEARTBEAT_FILE; without either, do nothing.

    Call it after work was done or none was found, never from a timer that also runs while the work is stuck.
    """
    file = path or os.environ.get(HEARTBEAT_VARIABLE)
    if file:
        Path(file).touch()


def mark_progress(*, is_beginning: bool = False) -> None:
    """Touch the file of progress; at the beginning only make it, since the process before may have been stuck too."""
    file = os.environ.get(HEARTBEAT_VARIABLE)
    if file and not (is_beginning and progress_file(Path(file)).exists()):
        progress_file(Path(file)).touch()


def progress_file(heartbeat: Path) -> Path:
    """Which file it is."""
    return heartbeat.with_suffix(".progress")
