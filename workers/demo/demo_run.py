"""`loyalty demo`: the main job on real orders, from an empty folder to verified books."""

import json
import time
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar
from sqlalchemy import Engine

from config.queues import PERIODIC
from config.settings import Settings
from core.errors import LoyaltyError, UserError
from core.messages.program_files.program_file import parse_program
from core.reading.progress import Progress, load_progress
from core.store.engine import create_database_engine
from core.store.programs import append_version
from workers.brokers import open_shop_publisher
from workers.celery_app import create_app
from workers.demo.figures import changed_program, load_figures
from workers.demo.page import demo_page
from workers.demo.report import build_report, print_report
from workers.demo.sample import Traffic, load_traffic
from workers.embedded import remove_data
from workers.process_logs import set_up_logging
from workers.stack import Stack, running_servers, supervisor_of
from workers.supervisor import Supervisor

_WAIT_SECONDS_MAX = 300.0
_POLL_SECONDS = 0.5
_PUBLISH_BATCH = 200
#: Everything is written and published by then, so a worker that is slow to notice its TERM may be killed.
_STOP_SECONDS = 5.0
FOLDER_NAME = ".loyalty-demo"
_MARK_NAME = "demo.txt"
_PAGE_NAME = "report.html"
_MARK_TEXT = "Made by `loyalty demo`, which empties this folder at each run.\n"


class DemoStuckError(LoyaltyError):
    """The demo was not through after {seconds} s: {progress}. The processes' logs are in {logs}."""


class DemoFolderError(UserError):
    """{folder} holds something that no demo has made, and a demo empties its folder first. Name another --data-dir."""


def run_demo(data_dir: Path, *, as_json: bool) -> bool:
    """Run the demo in an emptied `data_dir`; True if nothing was lost and the books are clean.

    Raises DemoFolderError for a folder of something else, such as the points of a `loyalty up`.
    """
    _empty(data_dir)
    settings = Settings(data_dir=data_dir, database_url=None, broker_url=None, log_level="error")
    set_up_logging(settings)
    console = Console(stderr=as_json)
    console.print("[bold]Starting PostgreSQL and Valkey[/bold] …")
    with running_servers(settings) as stack:
        (data_dir / _MARK_NAME).write_text(_MARK_TEXT, encoding="utf-8")
        engine = create_database_engine(stack.addresses.database_url)
        _apply_program(engine, console)
        logs = data_dir / "logs"
        running = settings.model_copy(
            update={
                "database_url": SecretStr(stack.addresses.database_url),
                "broker_url": SecretStr(stack.addresses.broker_url),
            }
        )
        supervisor = supervisor_of(running, stack.addresses, log_folder=logs, stop_seconds=_STOP_SECONDS)
        traffic = load_traffic(datetime.now(UTC))
        supervisor.start()
        try:
            seconds = _push_through(traffic, running, stack, supervisor, engine, console)
            console.print("[bold]Verifying the ledger[/bold], then stopping …")
            report = build_report(engine, traffic, seconds)
            report["page"] = _write_page(data_dir, engine)
        finally:
            supervisor.stop()
            engine.dispose()
    if as_json:
        print(json.dumps(report))  # noqa: T201  # the command's output
    else:
        print_report(console, report, data_dir)
    return bool(report["is_clean"])


def _empty(folder: Path) -> None:
    is_demo = folder.name == FOLDER_NAME or (folder / _MARK_NAME).exists()
    if not is_demo and folder.is_dir() and any(folder.iterdir()):
        raise DemoFolderError(folder=folder)
    remove_data(folder)
    for name in (_MARK_NAME, _PAGE_NAME):
        (folder / name).unlink(missing_ok=True)  # left where the folder held other files before


def _program_text() -> str:
    return files("config").joinpath("programs/example.yaml").read_text(encoding="utf-8")


def _write_page(data_dir: Path, engine: Engine) -> str:
    """Write the page for a manager; give its path."""
    figures = load_figures(engine, changed_program(_program_text()))
    path = data_dir / _PAGE_NAME
    path.write_text(demo_page(figures), encoding="utf-8")
    return str(path)


def _apply_program(engine: Engine, console: Console) -> None:
    text = _program_text()
    program = parse_program(text, path="config/programs/example.yaml")
    with engine.begin() as connection:
        append_version(connection, program, text, None)
    console.print(f"Program applied: [bold]{program.name}[/bold] (config/programs/example.yaml)")


def _push_through(
    traffic: Traffic, settings: Settings, stack: Stack, supervisor: Supervisor, engine: Engine, console: Console
) -> float:
    """Publish everything and wait until it is through. Returns the seconds from the first publish to the end."""
    publisher = open_shop_publisher(stack.addresses.broker_url)
    app = create_app(settings)
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn())
    started = time.monotonic()
    with ProgressBar(*columns, console=console, transient=False) as bars:
        tasks = {name: bars.add_task(name, total=traffic.distinct) for name in ("received", "posted", "published")}
        parked = bars.add_task("parked", total=traffic.broken)
        for start in range(0, len(traffic.messages), _PUBLISH_BATCH):
            publisher.publish(traffic.messages[start : start + _PUBLISH_BATCH])
        publisher.close()
        while True:
            supervisor.step()
            stack.embedded.revive()
            with engine.connect() as connection:
                progress = load_progress(connection)
            bars.update(tasks["received"], completed=progress.received)
            bars.update(tasks["posted"], completed=progress.received - progress.unposted)
            bars.update(tasks["published"], completed=progress.published, total=progress.events)
            bars.update(parked, completed=progress.parked)
            seconds = time.monotonic() - started
            if progress.received >= traffic.distinct and progress.repeats >= traffic.repeated:
                if progress.is_through:
                    return seconds
                if progress.unposted == 0 and progress.due_lots:
                    app.send_task("loyalty.expire_lots", queue=PERIODIC, expires=10)
            if seconds > _WAIT_SECONDS_MAX:
                raise _stuck(seconds, progress, settings)
            time.sleep(_POLL_SECONDS)


def _stuck(seconds: float, progress: Progress, settings: Settings) -> DemoStuckError:
    return DemoStuckError(seconds=round(seconds), progress=dict(progress._asdict()), logs=settings.data_dir / "logs")
