"""`loyalty import orders`: orders of earlier years, by the rules of their day."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.factories import PROGRAM_TEXT, SOURCE, order
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine, Printed

HEADER = "order_id,time,customer_id,currency,line_id,sku,quantity,amount,tax,kind,categories,attributes.channel"
FILE = f"""{HEADER}
5001,2024-03-01T10:00:00+01:00,C-1,EUR,1,TEAPOT,2,40.00,7.60,,home; tea,till
5001,,,,2,,1,4.95,,shipping,,
5002,2026-03-01T10:00:00+01:00,C-1,EUR,1,CUP,1,10.00,,,,
5003,2026-03-02,,EUR,1,CUP,1,10.00,,,,
"""
pytestmark = pytest.mark.usefixtures("shell")


def imported(loyalty: CommandLine, content: str, *arguments: object, name: str = "orders.csv") -> Printed:
    path = Path(name)
    path.write_text(content)
    return loyalty("import", "orders", path, "--source", SOURCE, *arguments)


def bad(printed: Printed) -> list[tuple[Any, ...]]:
    assert printed.code == 1
    return [(row["line"], row["column"], row["problem"]) for row in printed.json["bad_rows"]]


def test_orders_earn_by_the_rules_of_their_day(loyalty: CommandLine, shell: Shell) -> None:
    shell.apply_program(PROGRAM_TEXT.replace('bronze: "1"', 'bronze: "3"'), "2025-01-01T00:00:00+00:00")
    printed = imported(loyalty, FILE)
    assert printed.code == 0, printed
    assert "3 orders imported with 70 points, 0 were there already, 0 bad rows." in printed.out
    points = shell.rows("SELECT order_id, points FROM entries ORDER BY occurred_at")
    assert [tuple(row) for row in points] == [("5001", 40), ("5002", 30)]
    assert shell.value("SELECT count(*) FROM orders") == 3
    assert shell.differences() == []


def test_a_second_run_of_the_orders_changes_nothing_and_says_so(loyalty: CommandLine, shell: Shell) -> None:
    imported(loyalty, FILE)
    before = shell.rows("SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM outbox)")
    printed = imported(loyalty, FILE, name="copy.csv")
    assert "0 orders imported, 3 were there already, 0 bad rows." in printed.out
    assert "Nothing is changed." in printed.out
    assert shell.rows("SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM outbox)") == before


def test_orders_that_the_shop_has_sent_itself_are_there_already(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("5002", customer_id="C-1", time="2026-03-01T10:00:00+01:00"))
    content = (
        "order_id,time,customer_id,currency,sku,quantity,amount\n5002,2026-03-01T10:00:00+01:00,C-1,EUR,sku-1,1,100\n"
    )
    assert imported(loyalty, content, "--json").json["known"] == 1
    [(line, _, problem)] = bad(imported(loyalty, content.replace(",100", ",90"), "--json"))
    assert line == 2
    assert "order_conflict" in problem
    assert shell.value("SELECT count(*) FROM inbox") == 1, "what contradicts is not even parked"


def test_json_lines_are_orders_or_whole_messages_about_them(loyalty: CommandLine, shell: Shell) -> None:
    bought = {"order_id": "5001", "time": "2026-03-01T10:00:00+01:00", "customer_id": "C-1", "currency": "EUR"}
    bought |= {"lines": [{"line_id": "1", "quantity": 2, "amount": "40.00"}]}
    data = {"refund_id": "r1", "order_id": "5001", "lines": [{"line_id": "1", "quantity": 1}]}
    returned = {"id": "refund-1", "type": "order.refunded", "time": "2026-03-05T10:00:00+01:00", "data": data}
    command = {"id": "c", "type": "loyalty.command.credit", "time": "2026-03-05T10:00:00+01:00", "data": {}}
    nameless = {"type": "order.refunded", "time": "2026-03-05T10:00:00+01:00", "data": data}
    content = "\n".join(json.dumps(each) for each in (bought, returned, command, nameless))
    printed = imported(loyalty, content, "--json", name="orders.jsonl")
    assert [row[:2] for row in bad(printed)] == [(3, "type"), (4, "id")]
    assert (printed.json["imported"], printed.json["points"]) == (2, 20)
    assert shell.balance("C-1") == 20
    assert imported(loyalty, content, "--json", name="orders.jsonl").json["known"] == 2


@pytest.mark.parametrize(
    ("row", "column", "problem"),
    [
        ("5001,,C-1,EUR,1,,1,40.00,,,,", "time", "is missing"),
        (",2026-03-01,C-1,EUR,1,,1,40.00,,,,", "order_id", "is missing"),
        ("5001,1.3.2026,C-1,EUR,1,,1,40.00,,,,", "time", "is not a time"),
        ("5001,2090-01-01,C-1,EUR,1,,1,40.00,,,,", "time", "is still to come"),
        ("5001,2026-03-01,C-1,EURO,1,,1,40.00,,,,", "currency", ""),
        ('5001,2026-03-01,C-1,EUR,1,,1,"40,00",,,,', "amount", 'is the string "40,00"'),
        ("5001,2026-03-01,C-1,EUR,1,,,40.00,,,,", "quantity", "is missing"),
        ("5001,2026-03-01,C-1,EUR,1,,1,40.00,,gift,,", "kind", "is a string of length 4"),
        ("5001,2026-03-01,C-1,JPY,1,,1,40.00,,,,", "currency", "wrong_currency"),
    ],
)
def test_every_kind_of_bad_order_is_told_and_stops_nothing(
    loyalty: CommandLine, shell: Shell, row: str, column: str | None, problem: str
) -> None:
    good = "5009,2026-03-01,C-1,EUR,1,,1,10.00,,,,"
    [(line, told_column, told)] = bad(imported(loyalty, f"{HEADER}\n{row}\n{good}\n", "--json"))
    assert (line, told_column) == (2, column), told
    assert problem in told
    assert shell.balance("C-1") == 10


def test_lines_of_one_order_agree_and_stand_together(loyalty: CommandLine, shell: Shell) -> None:
    rows = FILE.replace("5001,,,,2", "5001,,C-2,,2") + "5002,2026-03-01T10:00:00+01:00,C-1,EUR,1,CUP,1,10.00,,,,\n"
    printed = imported(loyalty, rows, "--json")
    told = {line: (column, problem) for line, column, problem in bad(printed)}
    assert told[2] == ("customer_id", "is another one in line 3, of the same order; write it in the first line alone")
    assert "stood above already" in told[6][1]


def test_a_dry_run_of_orders_changes_nothing(loyalty: CommandLine, shell: Shell) -> None:
    printed = imported(loyalty, FILE, "--dry-run", "--json").json
    assert (printed["imported"], printed["points"], printed["is_dry_run"]) == (3, 50, True)
    assert shell.value("SELECT count(*) FROM inbox") == 0


def test_a_bad_cell_is_told_by_its_own_line_and_column(loyalty: CommandLine) -> None:
    rows = FILE.replace("1,4.95,,shipping", "1,4.95,x,shipping")
    [(line, column, problem)] = bad(imported(loyalty, rows, "--json"))
    assert (line, column, "lines[" in problem) == (3, "tax", False)
