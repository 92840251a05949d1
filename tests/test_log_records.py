"""Log records: their names are stable and explained, and nothing of a message or a customer is in them."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.pages import ROOT

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
#: What may hold what a sender wrote, or who a customer is; as a name of a value, or anywhere in the expression for it.
PERSONAL = {
    "bodies", "body", "customer", "customer_id", "data", "email", "event", "message", "orig", "payload", "raw",
    "raw_messages", "statement", "params",
}  # fmt: skip
#: Facts about these that are none of them: our numbers, and the ids of traces, which are digits.
HARMLESS = {"message.inbox_id", "message.log_fields", "log_fields(message.events[0].trace)"}


class Record(NamedTuple):
    """One call that logs."""

    place: str
    level: str
    names: list[str]  #: more than one where it depends
    values: dict[str, ast.expr]


def records() -> Iterator[Record]:
    for part in ("core", "tasks", "workers"):
        for path in sorted((ROOT / part).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LEVELS
                    and ast.unparse(node.func.value).rpartition(".")[2] in {"log", "_log"}
                ):
                    values = {word.arg or ast.unparse(word.value): word.value for word in node.keywords}
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    yield Record(place, node.func.attr, _names(path.read_text(), node.args[0]), values)


def _names(source: str, first: ast.expr) -> list[str]:
    """The constants that an argument can be: itself, or what its variable is given in this file."""
    if isinstance(first, ast.Constant):
        return [str(first.value)]
    given = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == ast.unparse(first)
    ]
    return [str(word.value) for value in given for word in ast.walk(value) if _is_name(word)]


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


RECORDS = list(records())


def explained() -> dict[str, set[str]]:
    """The table of the operators' page: each name, and its levels."""
    page = (ROOT / "docs/operations.md").read_text()
    _, _, table = page.partition("| `event` | Level | Meaning |\n")
    rows = [row.split("|")[1:3] for row in table.partition("\n\n")[0].splitlines()[1:]]
    return {name: set(levels.strip().split(", ")) for names, levels in rows for name in re.findall(r"`(\w+)`", names)}


def test_every_record_is_in_the_operators_page_and_every_name_there_is_logged() -> None:
    logged = {name for record in RECORDS for name in record.names}
    assert len(logged) > 20
    assert logged == set(explained())


def test_records_have_the_level_that_the_page_says() -> None:
    page = explained()
    wrong = [
        (record.place, record.level)
        for record in RECORDS
        for name in record.names
        if record.level not in page.get(name, set())
    ]
    assert wrong == []


def test_a_records_action_is_its_name() -> None:
    wrong = [
        record.place
        for record in RECORDS
        if "action" in record.values
        and ast.unparse(record.values["action"]) not in {*map(repr, record.names), "action"}
    ]
    assert wrong == []


def test_no_record_holds_anything_of_a_message_or_a_customer() -> None:
    wrong = [
        (record.place, name)
        for record in RECORDS
        for name, value in record.values.items()
        if ast.unparse(value) not in HARMLESS and {name, *_words(value)} & PERSONAL
    ]
    assert wrong == []


def _words(value: ast.expr) -> set[str]:
    names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(value) if isinstance(node, ast.Attribute)}


def test_no_record_shows_the_text_of_an_error_by_way_of_its_traceback() -> None:
    """A database error quotes the row, and so a customer."""
    assert [record.place for record in RECORDS if record.level == "exception" or "exc_info" in record.values] == []
