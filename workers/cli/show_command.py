"""`loyalty command show`: a command with its answer."""

from typing import Annotated

import typer

from config.settings import Settings
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.reading.commands import KnownCommand, load_known_commands
from workers.cli.answer_pages import done_text, print_accounts, print_erased
from workers.cli.command_errors import UnknownCommandError
from workers.cli.command_spellings import SPELLINGS
from workers.cli.output import AsJson, command_text, print_facts, print_json, say, separated, time_text
from workers.cli.wiring import opened_snapshot


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    # Or `show` would be the whole group.
    group.callback()(_commands)
    group.command()(show)
    app.add_typer(group, name="command", help="What was asked for by command, and what was answered.")


def _commands() -> None:
    pass


def show(
    command_id: Annotated[str, typer.Argument(metavar="ID", help="The command's id.")],
    *,
    source: Annotated[str | None, typer.Option("--source", help="Only the command of this source.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a command and its answer, as its sender was told it.

    \b
    loyalty command show gift-77
    loyalty command show gift-77 --source /shops/high-street --json
    """
    with opened_snapshot(Settings()) as now:
        found = load_known_commands(now.connection, command_id, source)
    if not found:
        raise UnknownCommandError(command_id=command_id, where="" if source is None else f" of {source}")
    if as_json:
        print_json({"commands": found})
        return
    for command in separated(found):
        verb = command.type.removeprefix(COMMAND_PREFIX)
        say(f"Command {command.command_id} of {command.source}: {verb}", style="bold")
        _say_outcome(command)
        if command.answer is not None and command.state == "accepted":
            if "erased" in command.answer:
                print_erased(command.answer)  # type: ignore[arg-type]  # as it was written
                continue
            print_accounts(command.answer, lambda program_id: now.program(program_id).zone)  # type: ignore[arg-type]  # as it was written


def _say_outcome(command: KnownCommand) -> None:
    answer = command.answer
    facts = [("Asked for at", time_text(command.occurred_at))]
    if answer is None and command.state == "rejected":
        facts.append(("Not let in", f"{command.detail} ({command.reason})"))
    elif answer is None:
        stands = {
            "received": "it is about to be posted",
            "dead": f"it could not be posted ({command.reason}): {command_text('dead show', command.inbox_id)}",
            "dropped": f"it was put away by a person ({command.reason})",
        }
        facts.append(("Answer", f"none; {stands.get(command.state, command.state)}"))
    elif command.state == "accepted":
        verb = command.type.removeprefix(COMMAND_PREFIX)
        done = next((each.done for each in SPELLINGS if each.verb == verb), "{points}")
        facts.append(("Done", f"{done_text(done, answer)}"))  # type: ignore[arg-type]
    else:
        facts += [("Not done", f"{answer['detail']} ({answer['code']})"), ("What to do", answer["advice"])]
    if answer is not None and "by" in answer:
        facts.append(("Given by", answer["by"]))
    if answer is not None:
        facts.append(("Answered at", f"{answer['recorded_at'][:19].replace('T', ' ')}Z"))
    print_facts(facts)
