"""Liveness and readiness of the roles of one data folder: `loyalty health`, and `python -m workers.health` for less.

Alive means that a role makes progress, or waits for what it needs and would go on by itself; a platform restarts what
is not alive. Working means that a role which tells whether it gets on does, and ready that its servers answer too.
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from workers.heartbeat import progress_file

#: More than a supervisor needs to end a role that stands still and to start it again.
AGE_SECONDS_MAX = 120.0
#: For all checks together. A server that takes connections and says nothing is found by this alone.
CHECK_SECONDS_MAX = 5.0


class Finding(NamedTuple):
    """One thing that was looked at."""

    subject: str  #: role intake, database, broker
    problem: str | None  #: None: it is as it should be


def check_live(data_dir: Path, roles: Sequence[str] = (), *, age_seconds_max: float = AGE_SECONDS_MAX) -> list[Finding]:
    """Look at the signs of these roles; without names, of every role that this data folder has seen."""
    files = _heartbeats(data_dir, roles)
    if not files:
        place = data_dir / "heartbeats"
        return [Finding("roles", f"none has given a sign in {place}: is `loyalty up` running on this data folder?")]
    return live_by(files, age_seconds_max=age_seconds_max)


def check_working(
    data_dir: Path, roles: Sequence[str] = (), *, age_seconds_max: float = AGE_SECONDS_MAX
) -> list[Finding]:
    """Look at the roles and whether they get on, by files alone: as cheap as asking for life."""
    files = _heartbeats(data_dir, roles)
    return working_by(files, age_seconds_max=age_seconds_max) if files else check_live(data_dir)


def check_ready(
    data_dir: Path, roles: Sequence[str] = (), *, age_seconds_max: float = AGE_SECONDS_MAX
) -> list[Finding]:
    """Look at the roles, whether they get on, and whether database and broker answer within CHECK_SECONDS_MAX."""
    return [*check_working(data_dir, roles, age_seconds_max=age_seconds_max), *check_servers()]


def live_by(heartbeats: Sequence[Path], *, age_seconds_max: float = AGE_SECONDS_MAX) -> list[Finding]:
    """The same as `check_live` of the roles whose files these are."""
    return [Finding(f"role {file.stem}", _silence(file, age_seconds_max)) for file in heartbeats]


def working_by(heartbeats: Sequence[Path], *, age_seconds_max: float = AGE_SECONDS_MAX) -> list[Finding]:
    """The same as `check_working` of the roles whose files these are."""
    alive = zip(live_by(heartbeats, age_seconds_max=age_seconds_max), heartbeats, strict=True)
    return [found if found.problem else _getting_on(found, file, age_seconds_max) for found, file in alive]


def check_servers() -> list[Finding]:
    """Ask the database, which must have the tables of this release, and the broker that the settings name."""
    # Imported here, so that asking for life alone, every few seconds, costs next to nothing.
    from config.settings import Settings  # noqa: PLC0415
    from core.store.migrate import require_current  # noqa: PLC0415
    from workers.bootstrap import find_addresses, open_engine  # noqa: PLC0415
    from workers.brokers import reach_broker  # noqa: PLC0415

    settings = Settings()

    def reach_database() -> None:
        engine = open_engine(settings, application_name="loyalty-health")
        try:
            require_current(engine)
        finally:
            engine.dispose()

    checks = {"database": reach_database, "broker": lambda: reach_broker(find_addresses(settings).broker_url)}
    return _in_time(checks, CHECK_SECONDS_MAX)


def _heartbeats(data_dir: Path, roles: Sequence[str]) -> list[Path]:
    folder = data_dir / "heartbeats"
    return [folder / f"{role}.heartbeat" for role in roles] or sorted(folder.glob("*.heartbeat"))


def _silence(file: Path, age_seconds_max: float) -> str | None:
    try:
        age_seconds = time.time() - file.stat().st_mtime
    except OSError:
        return "has given no sign since it was started"
    if age_seconds > age_seconds_max:
        return f"gave its last sign {age_seconds:.0f} s ago; at most {age_seconds_max:.0f} s are usual"
    return None


def _getting_on(alive: Finding, heartbeat: Path, age_seconds_max: float) -> Finding:
    """Of a role that is alive, whether it gets on, if it tells that."""
    with suppress(OSError):
        age_seconds = time.time() - progress_file(heartbeat).stat().st_mtime
        if age_seconds > age_seconds_max:
            problem = (
                f"is alive and has not got on for {age_seconds:.0f} s: it has stored nothing, and has not found its "
                "queue empty; its log says why (intake_interrupted, role_exited)"
            )
            return alive._replace(problem=problem)
    return alive


def _in_time(checks: dict[str, Callable[[], None]], seconds_max: float) -> list[Finding]:
    """Run the checks side by side; one that does not end in time is left to itself, as no timeout covers all waits."""
    found: dict[str, str | None] = {}

    def run(name: str) -> None:
        try:
            checks[name]()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is why we are not ready
            found[name] = _on_one_line(error)
        else:
            found[name] = None

    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in checks]
    deadline = time.monotonic() + seconds_max
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    silent = f"does not answer within {seconds_max:g} s"
    return [Finding(name, found.get(name, silent)) for name in checks]


def _on_one_line(error: Exception) -> str:
    """What an error says of a server; without the statement that SQLAlchemy would add."""
    text = str(getattr(error, "orig", None) or error)
    return " ".join(text.split()) or type(error).__name__


def lines_of(findings: Sequence[Finding]) -> list[str]:
    """One line for each, what is wrong first."""
    ordered = sorted(findings, key=lambda finding: finding.problem is None)
    return [
        f"FAIL  {found.subject}: {found.problem}" if found.problem else f"ok    {found.subject}" for found in ordered
    ]


_CHECKS: Final = {"live": check_live, "working": check_working, "ready": check_ready}


def main() -> int:
    """Exit 0 if all is well, 1 if not: the health check of a container. For people there is `loyalty health`."""
    parser = argparse.ArgumentParser(prog="python -m workers.health", description=main.__doc__)
    parser.add_argument("question", choices=_CHECKS)
    parser.add_argument("--role", action="append", default=[])
    parser.add_argument("--age-seconds-max", type=float, default=AGE_SECONDS_MAX)
    arguments = parser.parse_args()
    data_dir = Path(os.environ.get("LOYALTY_DATA_DIR", ".loyalty"))
    findings = _CHECKS[arguments.question](data_dir, arguments.role, age_seconds_max=arguments.age_seconds_max)
    sys.stdout.write("\n".join(lines_of(findings)) + "\n")
    return int(any(finding.problem for finding in findings))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a check that hangs holds its thread, and nothing here needs an orderly end
