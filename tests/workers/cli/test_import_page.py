"""The samples of docs/import.md are imported as the page says."""

from pathlib import Path

from sqlalchemy import Engine

from core.importing.account_rows import LAYOUT as ACCOUNTS
from core.importing.order_rows import LAYOUT as ORDERS
from tests.factories import PROGRAM_TEXT
from tests.pages import ROOT, blocks
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

PAGE = ROOT / "docs" / "import.md"
SHOP = "/shops/high-street"


def program(engine: Engine) -> Shell:
    return Shell(engine, shards=16, program_text=PROGRAM_TEXT.replace("EUR", "GBP").replace("/shops/test", SHOP))


def test_the_samples_of_accounts_are_imported(loyalty: CommandLine, engine: Engine) -> None:
    shell = program(engine)
    Path("crm.csv").write_text(blocks(PAGE, "csv")[0])
    assert loyalty("import", "accounts", "crm.csv", "--dry-run").code == 0
    assert shell.value("SELECT count(*) FROM accounts") == 0
    printed = loyalty("import", "accounts", "crm.csv", "--by", "ann", "--bad-rows", "crm-bad.csv")
    assert printed.out.startswith("2 accounts imported with 550 points")
    assert shell.differences() == []


def test_the_samples_of_accounts_in_json_are_imported(loyalty: CommandLine, engine: Engine) -> None:
    shell = program(engine)
    Path("crm.jsonl").write_text(blocks(PAGE, "jsonl")[0])
    assert loyalty("import", "accounts", "crm.jsonl").out.startswith("2 accounts imported with 500 points")
    assert shell.differences() == []


def test_the_samples_of_orders_are_imported(loyalty: CommandLine, engine: Engine) -> None:
    shell = program(engine)
    Path("orders-2024.csv").write_text(blocks(PAGE, "csv")[1])
    assert loyalty("import", "orders", "orders-2024.csv", "--source", SHOP, "--dry-run").code == 0
    assert shell.value("SELECT count(*) FROM orders") == 0
    printed = loyalty("import", "orders", "orders-2024.csv", "--source", SHOP)
    assert printed.out.startswith("2 orders imported with 50 points")
    assert shell.differences() == []


def test_the_samples_of_orders_in_json_are_imported(loyalty: CommandLine, engine: Engine) -> None:
    shell = program(engine)
    Path("orders.jsonl").write_text(blocks(PAGE, "jsonl")[1])
    printed = loyalty("import", "orders", "orders.jsonl", "--source", SHOP)
    assert printed.out.startswith("2 orders imported with 20 points")
    assert shell.differences() == []


def test_the_page_names_every_column() -> None:
    text = PAGE.read_text()
    for layout in (ACCOUNTS, ORDERS):
        assert [column for column in (*layout.columns, *layout.prefixes) if f"`{column}" not in text] == []
