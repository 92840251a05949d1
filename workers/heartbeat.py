"""The heartbeat of a role: a file that a process touches while it makes progress. The supervisor watches its age."""

import os
from pathlib import Path

HEARTBEAT_VARIABLE = "LOYALTY_HEARTBEAT_FILE"


def beat_heart(path: str | None = None) -> None:
    """Touch `path`, or else the file named by LOYALTY_HEARTBEAT_FILE; without either, do nothing.

    Call it after work was done or none was found, never from a timer that also runs while the work is stuck.
    """
    file = path or os.environ.get(HEARTBEAT_VARIABLE)
    if file:
        Path(file).touch()
