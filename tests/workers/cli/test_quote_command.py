"""`loyalty quote`: what an order would earn now is what posting it then gives."""

import json
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from core.store.tables import metadata
from tests.factories import PROGRAM_TEXT, as_bytes, line, order
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

RICH = PROGRAM_TEXT.replace("earning_rules:", "combine: stack\nearning_rules:").replace(
    "tiers:",
    """  - {rule_id: coffee, kind: item, skus: [coffee], points: 5, caps: {per_day: 12}}
  - {rule_id: visit, kind: visit, points: 3, when: {minimum_amount: "20.00"}}
  - {rule_id: carry, kind: spend, per_amount: "30.00", points: 1, carry: true}
promotions:
  - {promotion_id: welcome, kind: addition, points: 100, when: {first_order: true},
     expiry: {policy: after_days, days: 9}}
  - {promotion_id: double, kind: multiplier, multiplier: 2, lines: {categories: [sale]}, limits: {budget_points: 150}}
tiers:""",
) + "availability: {policy: after_days, days: 14}\nexpiry: {policy: months_end, months: 12}\n".replace(
    "months_end", "after_months"
)
COFFEE = [line("1", "40.00", sku="coffee", quantity=2)]
SALE = [line("1", "100.00", categories=["sale"])]

#: What is posted before, and the order that is quoted.
CASES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "a new customer's first order": ([], order("q", "100.00")),
    "a later order": ([order("o1", "10.00")], order("q", "100.00")),
    "an order in a higher tier": ([order("o1", "900.00")], order("q", "100.00")),
    "an order that reaches a tier": ([order("o1", "300.00")], order("q", "100.00")),
    "pieces below their cap": ([], order("q", lines=COFFEE)),
    "pieces when the day's cap is almost reached": ([order("o1", lines=COFFEE)], order("q", lines=COFFEE)),
    "a remainder of earlier orders": ([order("o1", "20.00")], order("q", "10.00")),
    "a promotion with enough in its budget": ([order("o1")], order("q", lines=SALE)),
    "what is left of a budget": ([order("o1", customer_id="c2", lines=SALE)], order("q", lines=SALE)),
    "a budget that is used up": (
        [order("o1", customer_id="c2", lines=SALE), order("o2", customer_id="c3", lines=SALE)],
        order("q", lines=SALE),
    ),
    "an order that earns nothing": ([order("o1")], order("q", "0.00")),
}


@pytest.fixture
def rich(shell: Shell) -> Shell:
    shell.apply_program(RICH, "2020-01-01T00:00:00Z")
    return shell


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "order.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("case", CASES)
def test_a_quote_is_what_posting_the_same_order_then_gives(
    case: str, rich: Shell, loyalty: CommandLine, tmp_path: Path
) -> None:
    before, asked = CASES[case]
    rich.take(*before)
    quoted = loyalty("quote", written(tmp_path, asked), "--json").json
    assert rich.take(asked) == {"posted": 1}
    posted = rich.rows("SELECT tier_id, points_entitled, sequence FROM orders WHERE order_id = 'q'")[0]
    account = rich.rows("SELECT balance, pending, tier_id FROM accounts WHERE customer_id = 'c1'")[0]
    lots = rich.rows(
        "SELECT points_granted, is_pending, available_at, expires_at FROM lots JOIN accounts USING (account_id)"
        " WHERE customer_id = 'c1' AND opened_by_sequence = :sequence ORDER BY lot_number",
        sequence=posted.sequence,
    )
    assert (quoted["tier"], quoted["points"]) == (posted.tier_id, posted.points_entitled)
    assert (quoted["balance_after"], quoted["pending_after"], quoted["tier_after"]) == tuple(account)
    assert [
        (lot["points"], lot["is_pending"], *(lot[name][:19] for name in ("available_at", "expires_at")))
        for lot in quoted["lots"]
    ] == [
        (lot.points_granted, lot.is_pending, *(at.isoformat()[:19] for at in (lot.available_at, lot.expires_at)))
        for lot in lots
    ]
    given = {told.get("rule_id") or told["promotion_id"]: told["points"] for told in quoted["rules"]}
    given |= {told["promotion_id"]: told["points"] for told in quoted["promotions"]}
    assert sum(given.values()) == posted.points_entitled


def test_data_alone_is_an_order_of_now(shell: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    data = {"currency": "EUR", "lines": [line(amount="120.50")]}
    quoted = loyalty("quote", written(tmp_path, data), "--json").json
    assert (quoted["points"], quoted["is_new_customer"], quoted["tier"]) == (120, True, "bronze")
    assert [told["why_text"] for told in quoted["rules"]] == ["1 per 1.00 EUR gives 120 (rule spend, rounded down)"]


def test_the_order_may_come_from_standard_input(
    shell: Shell, loyalty: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(as_bytes(order("o1")))))
    assert loyalty("quote", "-", "--json").json["points"] == 100


def test_for_a_customer_the_tier_counts(shell: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    shell.take(order("o1", "600.00"))
    path = written(tmp_path, {"currency": "EUR", "lines": [line()]})
    assert loyalty("quote", path, "--json").json["points"] == 100
    assert loyalty("quote", path, "--customer", "c1", "--json").json["points"] == 150


def test_the_sentences_say_how_rules_and_promotions_came_to_their_points(
    rich: Shell, loyalty: CommandLine, tmp_path: Path
) -> None:
    lines = [line("1", "40.00", sku="coffee", quantity=3), line("2", "25.00", categories=["sale"])]
    printed = loyalty("quote", written(tmp_path, order("q", lines=lines)))
    assert printed.code == 0
    for sentence in (
        "The order would earn 210 points for a new customer.",
        "1 per 1.00 EUR gives 65 (rule spend, rounded down)",
        "5 for each of 3 pieces gives 15 (rule coffee, rounded down, it counts 1 line of the order), of which",
        "3 for the order gives 3 (rule visit)",
        "gives 2 (rule carry, rounded down); 5 EUR are left over for the next order",
        "100 more (promotion welcome)",
        "2 times 28 gives 28 more (promotion double)",
    ):
        assert sentence in printed.out, printed.out


def test_an_order_that_is_posted_already_is_told(shell: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    shell.take(order("o1"))
    assert loyalty("quote", written(tmp_path, order("o1")), "--json").json["is_posted_already"] is True
    assert "other content is parked as order_conflict" in loyalty("quote", written(tmp_path, order("o1", "9.00"))).out


def test_who_needs_an_account_first_is_told_so_with_what_the_order_would_earn_then(
    shell: Shell, loyalty: CommandLine, tmp_path: Path
) -> None:
    shell.take(order("o1", "600.00"))
    shell.apply_program(PROGRAM_TEXT + "enrol: command\n", "2020-01-01T00:00:00Z")
    asked = order("q", customer_id="c2")
    printed = loyalty("quote", written(tmp_path, asked))
    assert "The order would earn 100 points for a new customer." in printed.out
    assert "Posted now it would earn nothing: the customer has no account, and only a command opens one" in printed.out
    assert loyalty("quote", written(tmp_path, asked), "--json").json["needs_account"] is True
    assert loyalty("quote", written(tmp_path, order("q")), "--json").json["needs_account"] is False
    shell.take(asked)
    assert shell.value("SELECT points_entitled FROM orders WHERE order_id = 'q'") == 0


def test_nothing_is_written(rich: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    counts = {table.name: rich.value(f"SELECT count(*) FROM {table}") for table in metadata.sorted_tables}
    assert loyalty("quote", written(tmp_path, order("q", lines=SALE))).code == 0
    assert {table.name: rich.value(f"SELECT count(*) FROM {table}") for table in metadata.sorted_tables} == counts


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not_json"),
        ({"currency": "EUR", "lines": []}, "data.lines"),
        ({"currency": "EUR", "lines": [{**line(), "amount": 12.5}]}, "data.lines[0].amount is the number 12.5"),
        ({"currency": "GBP", "lines": [line()]}, "data.currency is GBP, program test has EUR"),
        ({"currency": "EUR", "lines": [line()], "program_id": "x"}, "data.program_id names a program that is not here"),
        ({"specversion": "1.0", "id": "e", "source": "/s", "type": "order.refunded", "time": "2026-03-05T12:00:00Z",
          "data": {"refund_id": "r", "order_id": "o", "full": True}}, "holds an order.refunded"),
    ],
)  # fmt: skip
def test_wrong_input_is_told_in_the_words_of_intake(
    shell: Shell, loyalty: CommandLine, tmp_path: Path, content: Any, told: str
) -> None:
    printed = loyalty("quote", written(tmp_path, content))
    assert printed.code == 2
    assert told in printed.err


def test_a_file_that_is_not_there_is_told(shell: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    assert loyalty("quote", tmp_path / "none.json").code == 2
