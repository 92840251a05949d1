"""The example of docs/reading.md prints what the page says."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.factories import command, line, order
from tests.pages import ROOT, blocks
from tests.shell import Shell, take_by_operator

PAGE = ROOT / "docs" / "reading.md"
REWARD = "rewards: [{reward_id: mug, name: A mug, cost: 60, kind: item, sku: MUG}]\n"


def test_the_example_prints_what_the_page_says(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(engine, program_text=(ROOT / "config/programs/example.yaml").read_text() + REWARD)
    [source] = shell.rows("SELECT document->'sources'->>0 AS name FROM programs")
    of = {"customer_id": "C-1001", "source": source.name, "currency": "GBP", "time": datetime.now(UTC).isoformat()}
    shell.take(order("5001", lines=[line("1", "49.00")], **of), order("5002", lines=[line("1", "50.00")], **of))
    take_by_operator(
        shell,
        command("authorize", "a1", customer_id="C-1001", points=40, authorization_id="basket-9"),
        command("account.link", "l1", customer_id="C-1001", card="9801-0007"),
    )
    [example], [printed] = blocks(PAGE, "python"), blocks(PAGE, "text")
    names: dict[str, Any] = {"database_url": engine.url.render_as_string(hide_password=False)}
    exec(compile(example, PAGE.name, "exec"), names)  # noqa: S102  # the example of the page itself
    names["engine"].dispose()
    assert capsys.readouterr().out == printed
