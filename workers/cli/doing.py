"""Doing a command that a person gives, at once, and showing what it did."""

from datetime import datetime
from typing import Any

import typer
from sqlalchemy import Engine

from config.settings import Settings
from core.domain.program.registry import ProgramRegistry
from core.domain.value.commands import LINKED
from core.reading.snapshot import snapshot_of
from core.receiving.executing import OPERATOR_SOURCE, CommandAccepted, CommandAnswer, CommandRequest
from workers.bootstrap import command_executor
from workers.cli.answer_pages import done_text, print_accounts, print_erased
from workers.cli.command_errors import CommandNotDoneError, WhichOfProgramsError
from workers.cli.command_spellings import Spelling
from workers.cli.output import print_json, say
from workers.cli.wiring import acting, opened_database
from workers.process_logs import set_up_logging


def do(
    spelling: Spelling,
    data: dict[str, Any],
    own_id: str | None,
    *,
    has_program: bool,
    is_dry_run: bool,
    as_json: bool,
) -> None:
    """Do a command with these fields, or say what it would do; `has_program`: it is about an account of a program."""
    settings = Settings()
    set_up_logging(settings)
    # Other words than a person's own are an address in some places.
    data["by"] = acting(data["by"]) if "by" in data else acting(None).partition("@")[0]
    with opened_database(settings) as engine:
        rules = _with_program(engine, data) if has_program else None
        request = CommandRequest(spelling.verb, data, own_id)
        executor = command_executor(settings, engine)
        ask = executor.preview if is_dry_run else executor.execute
        answer = ask(request)
    if as_json:
        print_json(_document(answer, is_dry_run=is_dry_run))
    elif isinstance(answer, CommandAccepted):
        _say(spelling, answer, rules, is_dry_run=is_dry_run)
    if not isinstance(answer, CommandAccepted):
        if as_json:
            raise typer.Exit(1)
        told = {name: answer.data[name] for name in ("code", "detail", "advice", "command_id")}
        raise CommandNotDoneError(**told, verb="would not be" if is_dry_run else "is not")


def _with_program(engine: Engine, data: dict[str, Any]) -> ProgramRegistry:
    """The programs that are in force; a customer, or a card, that is named in none of them is meant in the only one."""
    with engine.begin() as connection:
        _, now, rules, _ = snapshot_of(connection)
    known = rules.program_ids()
    is_of_program = "customer_id" in data or ("account_id" not in data and data.keys() & LINKED.keys())
    if is_of_program and "program_id" not in data and rules.resolve(None, OPERATOR_SOURCE, now) is None:
        if len(known) > 1:
            raise WhichOfProgramsError(known=", ".join(known))
        if known:
            data["program_id"] = known[0]
    return rules


def _document(answer: CommandAnswer, *, is_dry_run: bool) -> dict[str, Any]:
    outcome = "accepted" if isinstance(answer, CommandAccepted) else "rejected"
    return {"outcome": outcome, "is_dry_run": is_dry_run, "is_repeated": answer.is_repeated, **answer.data}


def _say(spelling: Spelling, answer: CommandAccepted, rules: ProgramRegistry | None, *, is_dry_run: bool) -> None:
    data = answer.data
    verb = "Would be done" if is_dry_run else "Done"
    if answer.is_repeated:
        verb = f"Done before, at {data['recorded_at'][:19].replace('T', ' ')}Z"
    say(f"{verb}: {done_text(spelling.done, data)}.", style="bold")
    if rules is None:
        print_erased(data)
    else:
        recorded_at = datetime.fromisoformat(data["recorded_at"])
        print_accounts(data, lambda program_id: rules.at(program_id, recorded_at).program.zone)
    if is_dry_run:
        say("Nothing is changed. To do it: leave out --dry-run")
    else:
        say(f"It is command {data['command_id']}: the same again with --id changes nothing and shows this again.")
