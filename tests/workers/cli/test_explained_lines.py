"""What `loyalty account explain` says of conditions on lines, free pieces, whole steps and other currencies."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, line, order, refund
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from tests.workers.cli.test_account_explain import explained, order_explained, outcomes


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("kind: item, points: 1, skus: [gift]", "the pieces that it is for cost nothing"),
        ("kind: item, points: 1, skus: [cup]", "no line of the order counts for it"),
        (
            "kind: category, points: 1, categories: [tea], minimum_quantity: 3, maximum_price: 5",
            "no line of the order has what it asks of each: at least 3 pieces, at most 5 EUR a piece",
        ),
        (
            "kind: spend, points: 5, per_amount: 1, when: {maximum_price: 20}",
            "a piece of what counts for it costs 50 EUR on average, and it asks for at most 20 EUR a piece",
        ),
        (
            'kind: spend, points: 5, per_amount: "250.00", steps: whole',
            "it comes to less than one point, as only whole steps of 250.00 EUR earn",
        ),
    ],
)
def test_what_a_rule_asks_of_lines_and_steps_is_named(
    loyalty: CommandLine, engine: Engine, rule: str, reason: str
) -> None:
    text = PROGRAM_TEXT.replace("earning_rules:\n", f"earning_rules:\n  - {{rule_id: r, {rule}}}\n")
    shell = Shell(engine, shards=16, program_text=text + "combine: stack\n")
    tea, gift = line("1", "100.00", 2, categories=["tea"]), line("2", "0.00", sku="gift")
    shell.take(order("o1", lines=[tea, gift]))
    assert outcomes(order_explained(loyalty, "o1"))["r"] == (0, f"nothing by rule r: {reason}")


def test_whole_steps_are_told(loyalty: CommandLine, engine: Engine) -> None:
    steps = 'per_amount: "2.50"\n    steps: whole'
    Shell(engine, shards=16, program_text=PROGRAM_TEXT.replace('per_amount: "1.00"', steps)).take(order("o1", "3.00"))
    assert "1 for each whole 2.50 EUR gives 1 (rule spend, rounded down)" in str(explained(loyalty))


def test_an_order_in_another_currency_is_told_in_both(loyalty: CommandLine, engine: Engine, tmp_path: Path) -> None:
    text = PROGRAM_TEXT.replace("currency: EUR\n", 'currency: EUR\ncurrencies: {ZAR: "0.0529"}\n')
    shell, sold = Shell(engine, shards=16, program_text=text), order("o1", currency="ZAR", lines=[line("1", "1700.00")])
    path = tmp_path / "order.json"
    path.write_text(json.dumps(sold["data"]))
    quoted = " ".join(loyalty("quote", path, "--program", "test").out.split())
    assert "1700 ZAR at 0.0529 = 89.93 EUR" in quoted
    shell.take(sold, refund("r1", "o1", lines=[{"line_id": "1", "net": "700.00"}]))
    (first, back) = explained(loyalty)["entries"]
    assert first["sentences"][0] == "1700 ZAR at 0.0529 = 89.93 EUR of it count, in tier bronze."
    assert first["sentences"][1] == "1 per 1.00 EUR gives 89 (rule spend, rounded down)."
    assert "1000 ZAR at 0.0529 = 52.90 EUR are kept of it and count" in str(back["sentences"])
    told = order_explained(loyalty, "o1")
    assert told["lines"] == ["Line 1, sku-1, 1 for 1700 ZAR: 52.90 EUR of it count; 37.03 EUR were refunded."]
    assert told["basis"] == ["1000 ZAR at 0.0529 = 52.90 EUR count now."]
    assert "line 1 (700 ZAR net)" in told["refunds"][0]
