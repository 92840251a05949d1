"""`loyalty account explain --for customer`: the customer's own questions, each with its answers."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from core.reading.accounts import load_order_times
from core.reading.snapshot import Snapshot
from core.reading.standing import Standing, Standings, load_account_history
from workers.cli.command_errors import ForCustomerError
from workers.cli.customer_sentences import questions
from workers.cli.output import print_json, printable, say, separated

Answers = tuple[Standing, Sequence[tuple[str, str, list[str]]]]


class Audience(StrEnum):
    """Whom an explanation is for."""

    SUPPORT = "support"
    CUSTOMER = "customer"


ForWhom = Annotated[
    Audience,
    typer.Option("--for", help="For support, with ids and rules; or for the customer, as it can be sent to them."),
]


def require_whole_present(audience: Audience, order_id: str | None, as_of_text: str | None) -> None:
    """ForCustomerError where a customer is to be told of one order alone, or of the past."""
    if audience is Audience.CUSTOMER and (order_id is not None or as_of_text is not None):
        raise ForCustomerError


def explain_to_customer(now: Snapshot, found: Standings, entries_max: int, *, as_json: bool) -> None:
    """Print what customers ask of each account, answered from its last entries."""
    answers = [_answered(now, found, standing, entries_max) for standing in found.standings]
    if as_json:
        print_json({"accounts": [_document(standing, asked) for standing, asked in answers]})
        return
    for standing, asked in separated(answers):
        say(standing.program.name, style="bold")
        for _, question, sentences in asked:
            say(question, style="bold")
            for sentence in sentences:
                say(f"  {printable(sentence, is_line=True)}")


def _answered(now: Snapshot, found: Standings, standing: Standing, entries_max: int) -> Answers:
    history = load_account_history(now.connection, found.registry, standing, entries_max)
    about = history.entries
    keys = {(each.source, each.order_id) for each in about if each.source is not None and each.order_id is not None}
    times = load_order_times(now.connection, standing.account.program_id, keys)
    return standing, questions(standing, history, times)


def _document(standing: Standing, asked: Sequence[tuple[str, str, list[str]]]) -> dict[str, Any]:
    return {
        "program_name": standing.program.name,
        "answers": [
            {"about": about, "question": question, "sentences": sentences} for about, question, sentences in asked
        ],
    }
