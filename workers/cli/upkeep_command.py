"""`loyalty upkeep`: what the calendar brings, asked for by a person: for now, or for the past or the future."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import typer

from config.settings import Settings
from core.reading.snapshot import snapshot_of
from core.store.outbox import WrittenEvents
from tasks import periodic
from workers.bootstrap import runtime_on
from workers.cli.output import AsJson, command_text, count_text, points_text, print_json, say, say_below, time_text
from workers.cli.wiring import By, acting, opened_database, read_instant
from workers.process_logs import set_up_logging


class DueTask(StrEnum):
    """The periodic tasks that do what is due at an instant."""

    EXPIRE_LOTS = "expire_lots"
    RELEASE_POINTS = "release_points"
    VOID_AUTHORIZATIONS = "void_authorizations"
    REMIND_AUTHORIZATIONS = "remind_authorizations"
    REVIEW_TIERS = "review_tiers"
    REMIND = "remind"
    WARN_TIERS = "warn_tiers"


_FUNCTIONS: dict[DueTask, Callable[..., dict[str, Any]]] = {task: getattr(periodic, task) for task in DueTask}


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(upkeep)


def upkeep(
    task: Annotated[DueTask, typer.Argument(help="What to do of all that is due.")],
    *,
    as_of_text: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="Due at this instant; now by default.")
    ] = None,
    is_applied: Annotated[bool, typer.Option("--apply", help="Do it; without it nothing is changed.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Show what a periodic task would do now, or at an instant of your choice; with --apply do it.

    \b
    loyalty upkeep expire_lots
    loyalty upkeep expire_lots --as-of 2027-01-01T00:00:00+01:00
    loyalty upkeep review_tiers --apply --by Kim

    Beat has all of this done by itself when it is due. An instant of the future is for trying out: with --apply, points
    that are still good expire, and nothing brings them back. Without --apply the accounts are locked for some seconds.

    Exit code 1 with --apply when accounts that are due were in use and are left: ask again, or leave them to beat.
    """
    as_of = None if as_of_text is None else read_instant(as_of_text, "--as-of")
    settings = Settings()
    set_up_logging(settings)
    with opened_database(settings) as engine:
        runtime = runtime_on(engine, settings, open_publisher=_publish_nothing, nudge=_leave_to_sweep)
        runtime.is_trial, runtime.asked_by = not is_applied, acting(by)
        with engine.begin() as connection:
            now = snapshot_of(connection).as_of
        instant = now if as_of is None else as_of
        results = [_FUNCTIONS[task](runtime, instant.isoformat())]
        # What is in use now may be so for long: a run that finds nothing else is the last.
        while is_applied and results[-1]["accounts"] and not results[-1]["is_finished"]:
            results.append(_FUNCTIONS[task](runtime, instant.isoformat()))
    accounts = sum(result["accounts"] for result in results)
    events: list[WrittenEvents] = results[-1].get("events", [])
    if as_json:
        rest = {} if is_applied else {"events": events}
        told = {name: results[-1][name] for name in ("in_use", "shards_in_use")}
        found = {"accounts": accounts, **told, "is_complete": results[-1]["is_finished"], **rest}
        print_json({"task": task, "as_of": instant, "is_applied": is_applied, **found})
    elif is_applied:
        say(f"{task} as of {time_text(instant)}: {count_text(accounts, 'account')} changed.")
        _say_in_use(results[-1])
    else:
        _say(task, instant, now, accounts, events, as_of_text, is_complete=results[-1]["is_finished"])
        _say_in_use(results[-1])
    if is_applied and not results[-1]["is_finished"]:
        raise typer.Exit(1)


def _say(
    task: DueTask,
    instant: datetime,
    now: datetime,
    accounts: int,
    events: list[WrittenEvents],
    as_of_text: str | None,
    *,
    is_complete: bool,
) -> None:
    least = "" if is_complete else "at least "
    say(f"{task} as of {time_text(instant)} would change {least}{count_text(accounts, 'account')}.", style="bold")
    for event in events:
        moved = "" if event.points is None else f" of {points_text(event.points)} points in all"
        say_below(f"{least}{count_text(event.events, 'event')} {event.type}{moved}")
    if instant > now:
        say_below("That is in the future: what is due by then would be done now, and nothing brings it back.")
    if accounts:
        chosen = command_text(f"upkeep {task} --as-of", as_of_text) if as_of_text else f"loyalty upkeep {task}"
        say(f"Nothing is changed. To do it: {chosen} --apply")
    elif is_complete:
        say("Nothing is due.")


def _say_in_use(result: dict[str, Any]) -> None:
    """What could not be looked at, which may be due."""
    if result["in_use"]:
        are_in_use = count_text(result["in_use"], "account is in use", "accounts are in use")
        say(f"{are_in_use} just now, and left out; ask again.")
    if result["shards_in_use"]:
        say("A worker is doing the same just now, and what it is at is left out; ask again.")


def _publish_nothing() -> NoReturn:
    raise AssertionError("upkeep publishes nothing by itself")


def _leave_to_sweep(_task: str, _shard: int) -> None:
    """The sweep finds what was written, within a second."""
