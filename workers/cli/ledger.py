"""`loyalty verify`, `status` and `db`: whether the books are right, what is under way, and the tables themselves."""

from typing import Annotated, Any

import typer

from config.settings import Settings
from core.store.migrate import current_revision, head_revision, upgrade
from core.store.reports import Backlog, Status, load_status
from core.store.runs import last_runs
from core.store.verify import DIFFERENCES_MAX, Difference, verify_steps
from workers.cli.output import (
    Row,
    age_text,
    count_text,
    print_facts,
    print_json,
    print_listing,
    say,
    say_below,
    time_text,
)
from workers.cli.wiring import opened_database

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(verify)
    app.command()(status)
    group = typer.Typer(no_args_is_help=True)
    group.command("upgrade")(upgrade_database)
    group.command()(current)
    app.add_typer(group, name="db", help="The tables of the database: bring them up to date, see where they are.")


def verify(*, as_json: AsJson = False) -> None:
    """Check the invariants of the whole ledger in one snapshot, beside running workers. Changes nothing.

    \b
    loyalty verify && echo "the books are right"
    """
    checks: list[dict[str, object]] = []
    differences: list[Difference] = []
    with opened_database(Settings()) as engine, engine.begin() as connection:
        for check, found in verify_steps(connection):
            checks.append({"invariant": check.invariant, "name": check.name, "differences": len(found)})
            differences += found
            if not as_json:
                _say_check(check.invariant, check.name, found)
    if as_json:
        print_json({"is_right": not differences, "checks": checks, "differences": differences})
    elif differences:
        say(f"The books are not right: {count_text(len(differences), 'difference')}.")
    else:
        say(f"The books are right: {count_text(len(checks), 'check')}, no differences.")
    if differences:
        raise typer.Exit(1)


def status(*, as_json: AsJson = False) -> None:
    """Show how much is there, what is under way, and when the periodic tasks last ran.

    \b
    loyalty status
    """
    with opened_database(Settings()) as engine, engine.begin() as connection:
        found, runs = load_status(connection), last_runs(connection)
    if as_json:
        print_json(
            {
                **found._asdict(),
                "received": _backlog_document(found.received, found),
                "waiting": _backlog_document(found.waiting, found),
                "unpublished": _backlog_document(found.unpublished, found),
                "periodic_runs": runs,
            }
        )
        return
    say("Inbox", style="bold")
    hints = {
        "received": _oldest_text(found.received, found),
        "waiting": _oldest_text(found.waiting, found),
        "dead": " (loyalty dead list)" if found.inbox["dead"] else "",
    }
    print_facts([(state, f"{count:,}{hints.get(state, '')}") for state, count in found.inbox.items()])
    say("Outbox", style="bold")
    print_facts([("unpublished", f"{found.unpublished.rows:,}{_oldest_text(found.unpublished, found)}")])
    say("Ledger", style="bold")
    names = ("programs", "accounts", "orders", "entries")
    print_facts([(name, f"{getattr(found, name):,}") for name in names])
    say("Periodic tasks", style="bold")
    if not runs:
        say("  None has run yet: the first is due a minute after a beat and a worker have started.")
        return
    rows = [
        Row(
            (
                run["task"],
                f"{age_text((found.as_of - run['finished_at']).total_seconds())} ago",
                time_text(run["as_of"]),
                ", ".join(f"{name} {_value_text(value)}" for name, value in run["result"].items()),
            )
        )
        for run in runs
    ]
    print_listing(("Task", "Finished", "As of", "Result"), rows)


def upgrade_database() -> None:
    """Bring the database to the tables of this release. On an up-to-date database it does nothing.

    \b
    loyalty db upgrade
    """
    with opened_database(Settings(), must_be_current=False) as engine:
        before = current_revision(engine)
        upgrade(engine)
        after = current_revision(engine)
    if before == after:
        say(f"Nothing to do: the database is at {after}.")
    else:
        say(f"Upgraded the database from {before or 'empty'} to {after}.")


def current(*, as_json: AsJson = False) -> None:
    """Show which tables the database has and which this release wants; exit code 1 when they differ.

    \b
    loyalty db current
    """
    with opened_database(Settings(), must_be_current=False) as engine:
        found, wanted = current_revision(engine), head_revision()
    if as_json:
        print_json({"current": found, "head": wanted, "is_current": found == wanted})
    elif found == wanted:
        say(f"The database is at {found}, as this release wants it.")
    else:
        say(f"The database is at {found or 'nothing'}, this release wants {wanted}. Run: loyalty db upgrade")
    if found != wanted:
        raise typer.Exit(1)


def _say_check(invariant: int, name: str, found: list[Difference]) -> None:
    say(f"{'FAIL' if found else 'ok  '}  {invariant}  {name}", style="red" if found else "")
    for difference in found:
        say_below(difference.text, indent=9)
    if len(found) == DIFFERENCES_MAX:
        say_below("There may be more: a check stops here.", indent=9)


def _backlog_document(backlog: Backlog, found: Status) -> dict[str, object]:
    age_seconds = None if backlog.oldest_at is None else int((found.as_of - backlog.oldest_at).total_seconds())
    return {"rows": backlog.rows, "oldest_at": backlog.oldest_at, "oldest_age_seconds": age_seconds}


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value):,}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _oldest_text(backlog: Backlog, found: Status) -> str:
    if backlog.oldest_at is None:
        return ""
    return f", the oldest for {age_text((found.as_of - backlog.oldest_at).total_seconds())}"
