"""The `loyalty` command line. Exit codes: 0 ok, 1 found a problem, 2 wrong use; 141 where nobody reads the output."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import psycopg
import structlog
import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError as UnreadableSettingsError
from sqlalchemy.exc import DBAPIError
from typer.core import TyperGroup

from config.release import RELEASE
from config.settings import ROLE_NAMES, unknown_variables
from core.errors import LoyaltyError, UserError
from workers.cli.command_errors import DatabaseFailedError, NotPermittedError, NotTextError, SettingsError
from workers.cli.data_folder import DataDir, take_data_dir_everywhere
from workers.cli.output import note, say
from workers.process_logs import speaks_records

log = structlog.get_logger(__name__)

PROBLEM, WRONG_USE = 1, 2
#: Commands that run until they are stopped, and speak to a log.
PROCESSES = ("up", *ROLE_NAMES)


class _Output(TextIOWrapper):
    """Standard output that ends the program once nobody reads it, as SIGPIPE ends others.

    Left to click and rich, `loyalty verify | head` would end with 1, which says that the books are wrong.
    """

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._end()

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._end()

    def _end(self) -> NoReturn:
        # What is buffered still goes nowhere, without another failure when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        raise SystemExit(128 + signal.SIGPIPE)


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows ASCII only gets escapes, no traceback
    if isinstance(sys.stdout, TextIOWrapper):
        out = sys.stdout
        sys.stdout = _Output(out.buffer, out.encoding, out.errors, line_buffering=out.line_buffering)
    code = run(sys.argv[1:])
    if sys.stdout is not None:
        sys.stdout.flush()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Expected errors become one message on standard error."""
    try:
        _commands()(args=list(arguments), prog_name="loyalty")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else PROBLEM if end.code else 0
    except Exception as error:
        failure = _as_failure(error)
        if failure is None:
            raise
        if speaks_records():
            log.error("process_failed", action="process_failed", error=type(failure).__name__, reason=str(failure))  # noqa: TRY400  # an expected error, without a traceback
        else:
            note(f"loyalty: {failure}")
        return WRONG_USE if isinstance(failure, UserError) else PROBLEM
    return 0


#: The commands, as the help lists them, by the module that has them. A module is imported when one of its commands is
#: asked for: importing all of them would take longer than most commands.
MODULES = {
    "process_commands": ("up", "demo", "addresses", "intake", "worker", "beat"),
    "event_commands": ("submit", "publish", "tail"),
    "replay_command": ("events",),
    "renew_command": ("renew-stream",),
    "quote_command": ("quote",),
    "account_commands": ("account",),
    "customer_commands": ("customer",),
    "value_commands": ("points",),
    "reward_commands": ("reward",),
    "show_command": ("command",),
    "lot_commands": ("lots",),
    "program_commands": ("program",),
    "dead_commands": ("dead",),
    "ledger_commands": ("verify", "rebuild"),
    "report_commands": ("report",),
    "export_command": ("export",),
    "import_commands": ("import",),
    "status_commands": ("status", "health"),
    "upkeep_command": ("upkeep",),
    "database_commands": ("db",),
    "broker_commands": ("broker",),
}


class _Commands(Mapping[str, Any]):
    """Each command by its name, of a module that is imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        module = next((module for module, names in MODULES.items() if name in names), None)
        if module is None:
            raise KeyError(name)
        return commands_of(module)[name]

    def __iter__(self) -> Iterator[str]:
        return (name for names in MODULES.values() for name in names)

    def __len__(self) -> int:
        return sum(map(len, MODULES.values()))


class _Group(TyperGroup):
    """All commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands()  # type: ignore[assignment]  # nobody adds any

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # as click calls it
        """Their names, in the order of the help."""
        return list(self.commands)


@cache
def commands_of(module: str) -> Mapping[str, Any]:
    """The commands of a module of this package, by their names."""
    app = typer.Typer()
    app.callback()(_root)  # so that a module with one command has a group of one
    gc.disable()  # a fifth of the time: what modules make is never garbage
    try:
        import_module(f"workers.cli.{module}").register(app)
    finally:
        gc.freeze()
        gc.enable()
    take_data_dir_everywhere(app)
    return typer.main.get_group(app).commands


@cache  # for callers that run many commands in one process; they keep nothing of a run
def _commands() -> Callable[..., object]:
    return typer.main.get_command(build_app())


def build_app() -> typer.Typer:
    """Put the commands together."""
    app = typer.Typer(
        name="loyalty",
        cls=_Group,
        help=_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    return app


_HELP = """Loyalty points: messages about orders in, an explainable ledger and events out.

\b
Look at it run:        loyalty demo
Run it here:           loyalty up
Send it some orders:   loyalty submit orders.ndjson --wait
Ask about a customer:  loyalty account explain C-1001
What needs a person:   loyalty dead list

\b
Commands find the servers of `loyalty up` in the data folder, or use those of
LOYALTY_DATABASE_URL and LOYALTY_BROKER_URL.
Exit codes: 0 ok, 1 found a problem, 2 wrong use.
"""


def _say_version(is_asked: bool) -> None:
    if is_asked:
        say(f"loyalty {RELEASE}")
        raise typer.Exit


def _root(
    context: typer.Context,
    _data_dir: DataDir = None,
    *,
    version: Annotated[  # noqa: ARG001  # its callback has answered
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which release this is.")
    ] = False,
) -> None:
    if context.invoked_subcommand not in PROCESSES:  # these say it in their logs
        for unknown in unknown_variables(os.environ):
            if unknown.meant:
                note(f"loyalty: {unknown}")


def _as_failure(error: Exception) -> LoyaltyError | None:
    """The expected error that an error stands for; None for one of ours that needs its traceback."""
    match error:
        case LoyaltyError():
            return error
        case ValidationError(title="Settings"):
            return SettingsError(problems=_settings_text(error))
        case UnreadableSettingsError():
            return SettingsError(problems=error)
        case UnicodeEncodeError():
            return NotTextError()
        case DBAPIError() | psycopg.Error():
            return _database_failure(error)
    return None


def _settings_text(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        # An URL may hold a password, and a key or a salt is one; they are never shown.
        value = "" if name.endswith(("_url", "_key", "_salt")) else f" (it is {problem['input']!r})"
        lines.append(f"  LOYALTY_{name.upper()}: {problem['msg']}{value}")
    return "\n".join(lines)


def _database_failure(error: DBAPIError | psycopg.Error) -> LoyaltyError:
    """Say in one line what the database reported: its first line, as SQLAlchemy and its details would quote values."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    message = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    text = " ".join((message or str(cause)).split()).rstrip(".?") or type(cause).__name__
    if isinstance(cause, psycopg.errors.InsufficientPrivilege):
        return NotPermittedError(reason=text)
    if isinstance(cause, psycopg.Error) and cause.sqlstate is not None:
        return DatabaseFailedError(what=f"refused ({cause.sqlstate}): {text}")
    return DatabaseFailedError(what=f"cannot be reached: {text}")
