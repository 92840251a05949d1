"""Commands that run processes: up, demo, intake, worker, beat; and addresses, for what shall talk to their servers."""

import os
import re
import signal
import sys
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated

import structlog
import typer
from rich.console import Console

from config.settings import ROLE_NAMES, Settings
from core.errors import UserError
from workers.bootstrap import known_broker_url, message_limits, misspelt_variables
from workers.cli.command_errors import NoBrokerError, NoDatabaseError
from workers.cli.data_folder import named_data_dir
from workers.cli.output import AsJson, print_facts, print_json
from workers.database_address import known_database_url
from workers.demo.demo_run import FOLDER_NAME, run_demo
from workers.heartbeat import HEARTBEAT_VARIABLE
from workers.process_logs import log_as_process, log_failed_start
from workers.roles import run_beat, run_intake, run_worker
from workers.stack import has_programs, own_command, running_servers, supervisor_of

log = structlog.get_logger(__name__)


class UnknownRoleError(UserError):
    """There is no role {role!r}; the roles are intake, worker and beat."""


class Server(StrEnum):
    """Which address is asked for."""

    DATABASE = "database"
    BROKER = "broker"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(up)
    app.command()(demo)
    app.command()(addresses)
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
    Ctrl-C finishes what runs, which can take half a minute; a second one stops at once and loses nothing either.
    """
    roles = tuple(role) if role else ROLE_NAMES
    for name in roles:
        if name not in ROLE_NAMES:
            raise UnknownRoleError(role=name)
    settings = _settings_of_process("supervisor")
    message_limits(settings)  # a wrong file of sources is refused here, not by a role again and again
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)  # until the supervisor takes them: the first process of a container has no default
    with running_servers(settings, roles) as stack:
        _say_up(settings, has_programs=has_programs(stack.addresses.database_url))
        supervisor_of(settings, stack.addresses, roles).run(each_step=stack.embedded.revive)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # only the servers are left, which stop in a moment if they may


def demo(
    context: typer.Context,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Run the main job on real orders: publish them, post them, follow every point, and verify the books.

    \b
    Starts its own PostgreSQL and Valkey, applies an example program, publishes a few thousand real orders and
    cancellations (with some repeated and some broken messages among them), waits until every one has its outcome,
    prints what came of it, and writes a page about it for managers (report.html in its folder). Exit code 0 means that
    nothing was lost and the books are clean.
    Its folder, .loyalty-demo or that of --data-dir, is emptied first, and kept for you to look at.
    """
    if not run_demo(named_data_dir(context) or Path(FOLDER_NAME), as_json=json):
        sys.exit(1)


def addresses(
    server: Annotated[Server | None, typer.Argument(help="Only the URL of this one.", show_default=False)] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Print where the servers are, passwords included: for a consumer, a shop, or psql.

    \b
    loyalty addresses
    psql "$(loyalty addresses database)"
    redis-cli -u "$(loyalty addresses broker)" XLEN shop.events
    """
    known = _known_addresses(Settings())
    if not known or (server is not None and server not in known):
        raise NoBrokerError if server is Server.BROKER else NoDatabaseError
    if as_json:
        print_json({f"{name}_url": known.get(name) for name in ([server] if server else Server)})
    elif server is not None:
        print(known[server])  # noqa: T201  # bare, so that a shell can take it in
    else:
        print_facts(list(known.items()))


def intake() -> None:
    """Run one intake: shops' messages from the broker into the inbox. Several may run (set LOYALTY_INTAKE_NAME)."""
    run_intake(_settings_of_process("intake"))


def worker(
    queues: Annotated[str | None, typer.Option(help="Only these Celery queues, comma-separated.")] = None,
) -> None:
    """Run one Celery worker: posting, relay, expiry, reviews, audits. Several may run."""
    run_worker(_settings_of_process("worker"), queues)


def beat() -> None:
    """Run one beat, which sends the periodic ticks. Several may run; none is ever needed twice."""
    run_beat(_settings_of_process("beat"))


def _settings_of_process(role: str) -> Settings:
    """Read the settings, and log from now on as this role, also why the settings cannot be read."""
    try:
        settings = Settings()
    except ValueError:  # of pydantic, and of its settings
        log_failed_start(role)
        raise
    if role == "supervisor" and sys.stderr.isatty() and "log_format" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_format": "console"})
    log_as_process(settings, role)
    for unknown in misspelt_variables(settings) if HEARTBEAT_VARIABLE not in os.environ else ():
        log.warning("setting_unknown", action="setting_unknown", name=unknown.name, meant=unknown.meant)
    return settings


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit()


def _say_up(settings: Settings, *, has_programs: bool) -> None:
    """Say what runs, and what is missing: to a person on a terminal, to a log as records."""
    if settings.log_format == "json":
        log.info("servers_ready", action="servers_ready", started=_started_servers(settings))
        if not has_programs:
            log.warning("programs_missing", action="programs_missing")
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"{_servers_text(settings)} Stop with Ctrl-C; twice, to wait for nothing.")
    if not has_programs:
        console.print(
            "No program is in force yet, so orders would be parked. In another terminal, in this folder:\n"
            f"  {own_command()} program apply config/programs/example.yaml"
        )


def _started_servers(settings: Settings) -> list[str]:
    """Which servers this `up` has started; the others are those that the settings name."""
    urls = {"PostgreSQL": settings.database_url, "Valkey": settings.broker_url}
    return [name for name, url in urls.items() if url is None]


def _servers_text(settings: Settings) -> str:
    started = _started_servers(settings)
    if not started:
        return "Using the servers that LOYALTY_DATABASE_URL and LOYALTY_BROKER_URL name."
    return f"{' and '.join(started)} {'are' if len(started) > 1 else 'is'} up, with the data in {settings.data_dir}."


def _known_addresses(settings: Settings) -> dict[Server, str]:
    """Each server by itself, as commands need one or both."""
    database_url, broker_url = known_database_url(settings), known_broker_url(settings)
    known: dict[Server, str] = {}
    if database_url is not None:
        # Without the name of our driver, so that every PostgreSQL client takes it.
        known[Server.DATABASE] = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    if broker_url is not None:
        # With the user that the server takes for none: redis-cli logs in as "" otherwise, and is refused.
        known[Server.BROKER] = re.sub(r"^(rediss?://):", r"\1default:", broker_url)
    return known
