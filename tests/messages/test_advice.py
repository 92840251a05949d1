"""What readers of parked messages are told to send must be taken."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.messages.inbound.contracts import INBOUND
from tests.messages.inbound_samples import CANCELLATION, ORDER, REFUND, changed, refused

CORE = Path(__file__).parents[2] / "core"
NAMED = re.compile(r"\b(order\.[a-z]+(?:_[a-z]+)*)\b")


def sentences(path: Path) -> Iterator[str]:
    """The texts of a module, but for docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("folder", ["domain", "messages", "posting", "receiving", "upkeep", "mending", "store"])
def test_no_text_tells_to_send_a_type_that_is_not_taken(folder: str) -> None:
    told = {
        (path.name, name)
        for path in (CORE / folder).rglob("*.py")
        for text in sentences(path)
        if " " in text.strip()
        for name in NAMED.findall(text)
    }
    assert {each for each in told if each[1] not in INBOUND} == set()


@pytest.mark.parametrize(
    ("event", "path", "value", "told"),
    [
        (REFUND, "type", "order.refund_cancelled", "did you mean order.refund_reverted?"),
        (REFUND, "type", "order.refund_failed", "did you mean order.refund_reverted?"),
        (ORDER, "type", "order.updated", "did you mean order.amended?"),
        (ORDER, "type", "order.edited", "did you mean order.amended?"),
        (CANCELLATION, "type", "order.cancel", "did you mean order.cancelled?"),
        (CANCELLATION, "type", "order.cancel_requested", "known are order.completed, order.refunded, order.fulfilled"),
        (CANCELLATION, "data.line_id", "2", "write it in a line of data.lines"),
        (CANCELLATION, "data.amount", "5.00", "send order.refunded for money that is given back"),
        (ORDER, "data.lines.1.amount", "-2.50", "leave the line out, and take a discount off the amounts of the goods"),
        (ORDER, "data.lines.1.quantity", 0, "leave the line out"),
    ],
)
def test_what_the_reader_is_told(event: dict[str, object], path: str, value: object, told: str) -> None:
    assert told in refused(changed(event, path, value)).detail
