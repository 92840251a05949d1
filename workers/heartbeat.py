"""The heartbeat of a role: a file that a process touches while it makes progress. The supervisor watches its age."""

import argparse
import os
import sys
import time
from pathlib import Path

HEARTBEAT_VARIABLE = "LOYALTY_HEARTBEAT_FILE"


def beat_heart(path: str | None = None) -> None:
    """Touch `path`, or else the file named by LOYALTY_HEARTBEAT_FILE; without either, do nothing.

    Call it after work was done or none was found, never from a timer that also runs while the work is stuck.
    """
    file = path or os.environ.get(HEARTBEAT_VARIABLE)
    if file:
        Path(file).touch()


def oldest_age_seconds(folder: Path) -> float | None:
    """How long ago the stillest of the roles in `folder` gave a sign; None if there is none at all."""
    beats = [file.stat().st_mtime for file in folder.glob("*.heartbeat")]
    return time.time() - min(beats) if beats else None


def main() -> int:
    """Exit 0 if every role of this data folder gave a sign lately: the health check of a container."""
    parser = argparse.ArgumentParser(prog="python -m workers.heartbeat", description=main.__doc__)
    parser.add_argument("--age-seconds-max", type=float, default=120)
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("LOYALTY_DATA_DIR", ".loyalty")))
    arguments = parser.parse_args()
    age_seconds = oldest_age_seconds(arguments.data_dir / "heartbeats")
    if age_seconds is None:
        sys.stderr.write(f"no heartbeat in {arguments.data_dir / 'heartbeats'}\n")
        return 1
    if age_seconds > arguments.age_seconds_max:
        sys.stderr.write(f"the last heartbeat is {age_seconds:.0f} s old\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
