"""`loyalty import ... --bad-rows FILE`: unmended, the file imports nothing; mended, it imports all."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.factories import SOURCE
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine, Printed

pytestmark = pytest.mark.usefixtures("shell")

ORDERS = "order_id,time,customer_id,currency,line_id,sku,quantity,amount,tax"
ACCOUNTS = "customer_id,points,metadata.note"
OF_AN_ACCOUNT = '{"customer_id": "C-1", "lots": [{"points": 5, "expires_at": %s}]}'


def imported(loyalty: CommandLine, noun: str, path: str, content: str | bytes | None, *more: str) -> Printed:
    if content is not None:
        Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    source = ("--source", SOURCE) if noun == "orders" else ()
    return loyalty("import", noun, path, *source, "--name", "first", "--json", *more)


def told(printed: Printed) -> list[tuple[Any, ...]]:
    """The problems, without the numbers of lines and cells, which are those of each file."""
    assert printed.code == 1, printed
    return [(row["column"], re.sub(r"\d+", "N", row["problem"])) for row in printed.json["bad_rows"]]


@pytest.mark.parametrize(
    ("noun", "content", "faulty", "mended"),
    [
        ("orders", f"{ORDERS}\n7001,2026-05-01,C-1,EUR,1,CUP,1,1,250.00,0.00\n", "1,250.00", '"1250.00"'),
        ("orders", f"{ORDERS}\n7001,2026-05-01,C-1,EUR,1,CUP,1,10.00\n", "10.00\n", "10.00,\n"),
        ("orders", f"{ORDERS}\n7001,2026-05-01,C-1,EUR,1,CUP,1,0.50\n", "1,0.50", "1,0.50,"),
        ("orders", f"{ORDERS}\n7001,2026-05-01,C-1,EUR,1,CUP,1,-10,\n", "CUP,1,-10", "CUP,1,10"),
        ("orders", f"{ORDERS}\n7001,2026-05-01,C-1,EUR,1,CUP,1,10,\n7001,,,,2,CUP,1,1,250,\n", "1,250", "1250"),
        ("accounts", f"{ACCOUNTS}\nC-1,1,500,\n", "1,500", "1500"),
        ("accounts", f"{ACCOUNTS}\nC-1,5\n", "C-1,5", "C-1,5,"),
        ("accounts", "customer_id\n5,C-1\n", "5,C-1", "C-1"),
        ("accounts", 'customer_id\n"C-1\n', '"C-1', "C-1"),
        ("accounts", f'{ACCOUNTS}\nC-1,5,"best" customer\n', '"best" customer', "best customer"),
        ("accounts", f'{ACCOUNTS}\nC-1,5,"best"" ""\nC-2,7,\n', '""\nC-2', '"\n,C-2'),
        ("accounts", f"{ACCOUNTS.replace(',', ';')}\nC-1;1;500;\n", "1;500", "1500"),
        ("accounts", f"{ACCOUNTS},problem\nC-1,1,500,,\n", "1,500", "1500"),
        ("accounts", f"{ACCOUNTS}\nC-1,-5,\n", "-5", "5"),
        ("accounts", f"{ACCOUNTS}\nC-1,5,caf\udce9\n".encode(errors="surrogateescape"), "caf\udce9", "café"),
        ("accounts", '{"customer_id": "C-0"}\nC-1\n', "\nC-1", '\n{"customer_id": "C-1"}'),
        ("accounts", '{"customer_id": "C-0"}\n[]\n', "[]", '{"customer_id": "C-1"}'),
        ("accounts", OF_AN_ACCOUNT % "NaN", "NaN", "null"),
        ("accounts", OF_AN_ACCOUNT % '"soon"', '"soon"', "null"),
    ],
)
def test_bad_rows_import_nothing_until_they_are_mended(
    loyalty: CommandLine, shell: Shell, noun: str, content: str | bytes, faulty: str, mended: str
) -> None:
    problems = told(imported(loyalty, noun, "all", content, "--bad-rows", "bad"))
    before = shell.value("SELECT count(*) FROM inbox")
    assert told(imported(loyalty, noun, "bad", None, "--bad-rows", "bad-again")) == problems
    assert told(imported(loyalty, noun, "bad-again", None)) == problems
    assert shell.value("SELECT count(*) FROM inbox") == before

    bad = Path("bad").read_text(errors="surrogateescape")
    assert bad.count(faulty) == 1, bad
    printed = imported(loyalty, noun, "bad", bad.replace(faulty, mended))
    assert (printed.code, printed.json["known"]) == (0, 0), printed
    assert printed.json["imported"] == 1 + ("C-2" in mended)
    assert shell.differences() == []


def test_an_order_with_a_row_that_is_too_long_is_left_out_as_a_whole(loyalty: CommandLine, shell: Shell) -> None:
    head = "7001,2026-05-01,C-1,EUR"
    content = f"{ORDERS}\n{head},1,CUP,1,10,\n{head},2,CUP,1,1,250.00,\n{head},3,CUP,1,20,\n"
    assert len(told(imported(loyalty, "orders", "all", content, "--bad-rows", "bad"))) == 1
    assert shell.value("SELECT count(*) FROM orders") == 0
    mended = Path("bad").read_text().replace("1,250.00", "1250.00")
    assert imported(loyalty, "orders", "bad", mended).json["points"] == 1_280


def test_problems_are_told_in_the_order_of_their_lines(loyalty: CommandLine) -> None:
    content = f"{ACCOUNTS}\n,5,\nC-2,0,\nC-3,x,\nC-4,-1,\nC-5\n"
    rows = imported(loyalty, "accounts", "all", content).json["bad_rows"]
    assert [row["line"] for row in rows] == [2, 3, 4, 5, 6]
