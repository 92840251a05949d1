"""Commands that run processes: up, demo, intake, worker, beat."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from config.settings import Settings
from core.errors import UserError
from workers.bootstrap import set_up_logging
from workers.demo.run import run_demo
from workers.roles import run_beat, run_intake, run_worker
from workers.stack import ROLE_NAMES, has_programs, running_servers, supervisor_of


class UnknownRoleError(UserError):
    """There is no role {role!r}; the roles are intake, worker and beat."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(up)
    app.command()(demo)
    app.command()(intake)
    app.command()(worker)
    app.command()(beat)


def up(
    role: Annotated[list[str] | None, typer.Option(help="Supervise only this role; may be given again.")] = None,
) -> None:
    """Run everything in the foreground until Ctrl-C: servers (if you named none), intake, worker and beat.

    \b
    Without LOYALTY_DATABASE_URL and LOYALTY_BROKER_URL, PostgreSQL and Valkey are started in the data folder
    (.loyalty), where they keep their data between runs. A process that exits or stalls is started again.
    Other commands find the running servers by themselves, from a second terminal in the same folder.
    """
    settings = Settings()
    set_up_logging(settings)
    console = Console(stderr=True)
    roles = tuple(role) if role else ROLE_NAMES
    for name in roles:
        if name not in ROLE_NAMES:
            raise UnknownRoleError(role=name)
    with running_servers(settings) as stack:
        console.print(f"Servers are up; data folder: {settings.data_dir}. Stop with Ctrl-C.", highlight=False)
        if not has_programs(stack.addresses.database_url):
            console.print(
                "No program yet, so orders would be parked. In another terminal: "
                "loyalty program apply config/programs/example.yaml",
                highlight=False,
            )
        supervisor_of(settings, stack.addresses, roles).run(each_step=stack.embedded.revive)


def demo(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Emptied first, and kept for you to look at.")] = Path(".loyalty-demo"),
) -> None:
    """Run the main job on real orders: publish them, post them, follow every point, and verify the books.

    \b
    Starts its own PostgreSQL and Valkey, applies an example program, publishes a few thousand real orders and
    cancellations (with some repeated and some broken messages among them), waits until every one has its outcome,
    and prints what came of it. Exit code 0 means that nothing was lost and the books are clean.
    """
    if not run_demo(data_dir, as_json=json):
        sys.exit(1)


def intake() -> None:
    """Run one intake: shops' messages from the broker into the inbox. Several may run (set LOYALTY_INTAKE_NAME)."""
    run_intake(Settings())


def worker(
    queues: Annotated[str | None, typer.Option(help="Only these Celery queues, comma-separated.")] = None,
) -> None:
    """Run one Celery worker: posting, relay, expiry, reviews, audits. Several may run."""
    run_worker(Settings(), queues)


def beat() -> None:
    """Run one beat, which sends the periodic ticks. Several may run; none is ever needed twice."""
    run_beat(Settings())
