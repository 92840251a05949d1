"""`loyalty status` and `health`: what is under way, what an operator must look at, and whether the roles are well."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from config.schedule import TICKS
from config.settings import Settings
from core.errors import BrokerUnavailableError
from core.reading.status import Backlog, BusyShard, Status, load_status, load_stored_at
from core.upkeep.runs import last_runs
from workers.bootstrap import known_broker_url
from workers.brokers import look_at_intake
from workers.cli.account_sentences import elsewhere_text
from workers.cli.output import (
    AsJson,
    Row,
    age_text,
    print_facts,
    print_json,
    print_listing,
    say,
    say_below,
    time_text,
)
from workers.cli.status_problems import IntakeLook, Problem, find_problems, is_standing_still, overdue_seconds
from workers.cli.wiring import opened_database
from workers.health import AGE_SECONDS_MAX, Finding, check_live, check_ready, lines_of

Roles = Annotated[list[str] | None, typer.Option("--role", help="Only this role; may be given again.")]
AgeMax = Annotated[float, typer.Option(min=1, help="How old the last sign of a role may be.")]
Runs = Sequence[Mapping[str, Any]]
#: An intake that works stores something within that, or finds its queue empty.
_SECOND_LOOK_SECONDS = 2.0
_ELSEWHERE_SHOWN_MAX = 5

#: What is told of a periodic run, and in which words.
_RESULTS = {
    "accounts": "accounts",
    "differences": "differences",
    "skipped": "skipped",
    "woken": "woken",
    "overdue": "parked",
    "inbox_rows": "messages deleted",
    "outbox_rows": "events deleted",
    "reminders": "reminders deleted",
    "months": "months kept",
    "is_finished": "finished",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(status)
    group = typer.Typer(no_args_is_help=True)
    group.command()(live)
    group.command()(ready)
    app.add_typer(group, name="health", help="Whether the roles of this data folder are alive, and ready for work.")


def status(
    *,
    exact: Annotated[bool, typer.Option("--exact", help="Count large tables too, which takes its time.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is under way, when the periodic tasks last ran, and the problems, if there are any, at the top.

    \b
    loyalty status
    loyalty status --exact --json

    Exit code 1 when there is a problem, 0 when there is none.
    """
    settings = Settings()
    with opened_database(settings) as engine:
        with engine.begin() as connection:
            found, runs = load_status(connection, is_exact=exact), last_runs(connection)
        intake = _look_at_intake(engine, found, settings)
    problems = find_problems(found, runs, settings, intake)
    if as_json:
        print_json(_document(found, runs, problems, intake))
    else:
        _say_problems(problems)
        _say_queue(intake)
        _say_inbox(found)
        _say_rest(found)
        _say_runs(found, runs)
    if problems:
        raise typer.Exit(1)


def _look_at_intake(engine: Engine, found: Status, settings: Settings) -> IntakeLook | None:
    """Look whether what waits at the broker is stored; a second time if nothing was of late, as it may just have come.

    A person who reads the database only names no broker: None.
    """
    url = known_broker_url(settings)
    if url is None:
        return None
    try:
        queue = look_at_intake(url)
        if not queue.waiting or not is_standing_still(found, settings):
            return IntakeLook(queue, None, is_moving=True)
        time.sleep(_SECOND_LOOK_SECONDS)
        again = look_at_intake(url)
    except BrokerUnavailableError as error:
        return IntakeLook(None, str(error.data["reason"]), is_moving=False)
    with engine.begin() as connection:
        is_moving = again.waiting < queue.waiting or load_stored_at(connection) != found.stored_at
    return IntakeLook(again, None, is_moving)


def live(role: Roles = None, age_seconds_max: AgeMax = AGE_SECONDS_MAX, *, as_json: AsJson = False) -> None:
    """Ask whether each role of this data folder makes progress, or waits for what it would go on with by itself.

    \b
    loyalty health live
    loyalty health live --role intake

    Exit code 1 when one does not. For a check every few seconds, python -m workers.health live does the same for less.
    """
    _print_findings(check_live(Settings().data_dir, role or (), age_seconds_max=age_seconds_max), as_json=as_json)


def ready(role: Roles = None, age_seconds_max: AgeMax = AGE_SECONDS_MAX, *, as_json: AsJson = False) -> None:
    """Ask whether the roles can work now: alive, with a database of the right tables and a broker that answer in time.

    \b
    loyalty health ready --json

    Exit code 1 when they cannot. A role that is alive and not ready goes on by itself: restarting it helps nobody.
    """
    _print_findings(check_ready(Settings().data_dir, role or (), age_seconds_max=age_seconds_max), as_json=as_json)


def _print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    is_well = not any(found.problem for found in findings)
    if as_json:
        print_json({"is_well": is_well, "findings": findings})
    else:
        for line in lines_of(findings):
            say(line)
    if not is_well:
        raise typer.Exit(1)


def _document(found: Status, runs: Runs, problems: Sequence[Problem], intake: IntakeLook | None) -> dict[str, Any]:
    late = {run["task"]: overdue_seconds(found, run["task"], run["finished_at"]) is not None for run in runs}
    return {
        "as_of": found.as_of,
        "problems": problems,
        "queue": intake and intake.queue,
        "stored_at": found.stored_at,
        "inbox": found.inbox,
        "received": _backlog_document(found.received, found),
        "waiting": _backlog_document(found.waiting, found),
        "dead": found.dead,
        "unpublished": _backlog_document(found.unpublished, found),
        "shards": [{**shard._asdict(), "oldest_age_seconds": _age_seconds(shard, found)} for shard in found.shards],
        **found.totals,
        "programs": found.programs,
        "estimated": found.estimated,
        "elsewhere": found.elsewhere,
        "periodic_runs": [{**run, "is_overdue": late[run["task"]]} for run in runs],
    }


def _say_problems(problems: Sequence[Problem]) -> None:
    if not problems:
        say("No problems.", style="bold")
        return
    say("Problems", style="bold red")
    for problem in problems:
        say(f"  {problem.text[:1].upper()}{problem.text[1:]}.")
        say_below(problem.mend)


def _say_queue(intake: IntakeLook | None) -> None:
    if intake is not None and intake.queue is not None:
        say("Queue", style="bold")
        print_facts([("waiting", f"{intake.queue.waiting:,}"), ("intakes", f"{intake.queue.intakes:,}")])


def _say_inbox(found: Status) -> None:
    say("Inbox", style="bold")
    hints = {
        "received": _oldest_text(found.received, found),
        "waiting": _oldest_text(found.waiting, found),
        "dead": " (loyalty dead list)" if found.dead else "",
    }
    facts = [(state, f"{count:,}{hints.get(state, '')}") for state, count in found.inbox.items() if count is not None]
    if "messages" in found.estimated:
        facts.append(("in all", _total_text("messages", found)))
    print_facts(facts)
    for order in found.elsewhere[:_ELSEWHERE_SHOWN_MAX]:
        about = elsewhere_text(order.inbox_id, order.source, order.to_add)
        say_below(f"{order.type} of order {order.order_id}, {about}")


def _say_rest(found: Status) -> None:
    say("Outbox", style="bold")
    print_facts([("unpublished", f"{found.unpublished.rows:,}{_oldest_text(found.unpublished, found)}")])
    say("Ledger", style="bold")
    names = ("accounts", "orders", "entries")
    print_facts([("programs", f"{found.programs:,}"), *((name, _total_text(name, found)) for name in names)])


def _say_runs(found: Status, runs: Runs) -> None:
    say("Periodic tasks", style="bold")
    if not runs:
        say("  None has run yet: the first is due a second after a beat and a worker have started.")
        return
    every_seconds = {tick.task: tick.every_seconds for tick in TICKS}
    rows = [
        Row(
            (
                run["task"],
                f"{age_text((found.as_of - run['finished_at']).total_seconds())} ago"
                + (", overdue" if overdue_seconds(found, run["task"], run["finished_at"]) is not None else ""),
                age_text(every_seconds[run["task"]]) if run["task"] in every_seconds else "-",
                time_text(run["as_of"]),
                _result_text(run["result"]),
            )
        )
        for run in runs
    ]
    print_listing(("Task", "Finished", "Runs each", "As of", "Result"), rows)


def _result_text(result: Mapping[str, Any]) -> str:
    """What a run did; what it only keeps for the next run is in --json."""
    values = {words: result.get(name) for name, words in _RESULTS.items()}
    return ", ".join(f"{words} {_value_text(value)}" for words, value in values.items() if value is not None)


def _backlog_document(backlog: Backlog, found: Status) -> dict[str, object]:
    return {**backlog._asdict(), "oldest_age_seconds": _age_seconds(backlog, found)}


def _age_seconds(backlog: Backlog | BusyShard, found: Status) -> int | None:
    return None if backlog.oldest_at is None else int((found.as_of - backlog.oldest_at).total_seconds())


def _age_of_text(backlog: Backlog | BusyShard, found: Status) -> str:
    age_seconds = _age_seconds(backlog, found)
    return "-" if age_seconds is None else age_text(age_seconds)


def _oldest_text(backlog: Backlog, found: Status) -> str:
    return "" if backlog.oldest_at is None else f", the oldest for {_age_of_text(backlog, found)}"


def _total_text(name: str, found: Status) -> str:
    total = found.totals[name]
    if total is None:
        return "not known yet; --exact counts them"
    return f"about {total:,}; --exact counts them" if name in found.estimated else f"{total:,}"


def _value_text(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"{len(value):,}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
