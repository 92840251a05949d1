"""What `loyalty account explain` says of conditions on lines, free pieces and whole steps."""

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, line, order
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
