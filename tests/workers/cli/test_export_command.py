"""`loyalty export journal`: double entry that the real beancount accepts, with balances that are ours to the point."""

import csv
import io
import re
import subprocess
import sys
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, order
from tests.reading.beancount_balances import beancount_balances
from tests.reading.everything import put_back, with_everything
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

FORMATS = ("beancount", "hledger", "csv")
ACCOUNTS = {
    "Liabilities:Points:{}:Available": ("available", "ended"),
    "Liabilities:Points:{}:Pending": ("pending",),
    "Liabilities:Points:{}:Reserved": ("reserved",),
    "Assets:Points:{}:Deficit": ("deficit",),
}


@pytest.fixture
def books(engine: Engine) -> Shell:
    """Three months with everything in them, all of them over."""
    shell = Shell(engine, program_text=None)
    with_everything(shell)
    put_back(shell)
    return shell


def months_of(shell: Shell) -> list[str]:
    month = "to_char(recorded_at AT TIME ZONE 'Europe/Berlin', 'YYYY-MM')"
    rows = shell.rows(f"SELECT DISTINCT {month} AS month FROM entries ORDER BY month")
    return [row.month for row in rows]


def owed(loyalty: CommandLine, program_id: str, month: str) -> dict[str, int]:
    """What the books hold at a month's end, by account of a journal."""
    [found] = loyalty("report", "liability", "--program", program_id, "--month", month, "--json").json["programs"]
    return {
        account.format(program_id.capitalize()): -sum(found["points"][bucket] for bucket in buckets)
        for account, buckets in ACCOUNTS.items()
    }


def journal(loyalty: CommandLine, month: str, form: str, *more: str, program_id: str = "test") -> str:
    printed = loyalty("export", "journal", "--month", month, "--format", form, "--program", program_id, *more)
    assert (printed.code, printed.err) == (0, "")
    return printed.out


def hledger_balances(text: str) -> dict[str, Decimal]:
    """The same of hledger's form, read by hand: each transaction comes to zero, and each assertion holds."""
    declared = set(re.findall(r"^account (\S+)$", text, re.MULTILINE))
    balances: Counter[str] = Counter()
    asserted = 0
    for block in text.split("\n\n")[1:]:
        head, *lines = block.strip().splitlines()
        if head.startswith("P "):
            continue
        assert re.match(r"\d{4}-\d\d-\d\d \* \w", head)
        total = Decimal(0)
        for line in lines:
            found = re.fullmatch(r'    (\S+)  (-?[0-9.]+) ("[^"]+"|[A-Z]+)(?: = (-?[0-9.]+) \3)?', line)
            assert found is not None, line
            assert found[1] in declared
            balances[found[1]] += Decimal(found[2])  # type: ignore[assignment]
            total += Decimal(found[2])
            if found[4] is not None:
                asserted += 1
                assert balances[found[1]] == Decimal(found[4])
        assert total == 0
    assert asserted == 4
    return dict(balances)  # type: ignore[arg-type]


def csv_balances(text: str) -> dict[str, Decimal]:
    balances: dict[str, Decimal] = defaultdict(Decimal)
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for row in csv.DictReader(io.StringIO(text)):
        balances[row["account"]] += Decimal(row["amount"])
        totals[row["transaction"]] += Decimal(row["amount"])
    assert set(totals.values()) == {Decimal(0)}
    return dict(balances)


READ = {"beancount": beancount_balances, "hledger": hledger_balances, "csv": csv_balances}


@pytest.mark.parametrize("form", FORMATS)
def test_its_balances_are_ours_to_the_point_at_each_months_end(form: str, loyalty: CommandLine, books: Shell) -> None:
    for month in months_of(books):
        balances = READ[form](journal(loyalty, month, form))
        for account, points in owed(loyalty, "test", month).items():
            assert balances.get(account, 0) == points
        assert sum(balances.values()) == 0


def test_money_is_told_in_major_units(loyalty: CommandLine, books: Shell) -> None:
    month = months_of(books)[-1]
    text = journal(loyalty, month, "beancount", program_id="money")
    balances = beancount_balances(text)
    assert (
        balances["Liabilities:Points:Money:Available"] * 100
        == owed(loyalty, "money", month)["Liabilities:Points:Money:Available"]
    )
    assert " EUR" in text
    assert " price " not in text


def test_what_became_of_points_stands_against_what_is_owed(loyalty: CommandLine, books: Shell) -> None:
    for month in months_of(books):
        balances = beancount_balances(journal(loyalty, month, "beancount"))
        flows: Counter[str] = Counter()
        for account, points in balances.items():
            if account.split(":")[0] in {"Expenses", "Income", "Equity"}:
                flows[account.split(":")[3]] += int(points)
        [found] = loyalty("report", "activity", "--program", "test", "--month", month, "--json").json["programs"]
        [told] = found["months"]
        assert told["issued"] == flows["Issued"]
        assert told["clawed_back"] == flows["ClawedBack"]
        assert told["redeemed"] == flows["Redeemed"]
        assert told["expired"] == flows["Expired"]
        assert told["adjusted"] == flows["Adjusted"]
        assert told["moved"] == flows["Moved"]


def test_months_go_on_where_the_one_before_ends(loyalty: CommandLine, books: Shell, tmp_path: Path) -> None:
    first, *others = months_of(books)
    texts = [journal(loyalty, first, "beancount")]
    texts += [journal(loyalty, month, "beancount", "--no-opening") for month in others]
    assert [text.count(" open ") > 0 for text in texts] == [True, False, False]
    balances = beancount_balances("\n".join(texts))
    for account, points in owed(loyalty, "test", others[-1]).items():
        assert balances[account] == points
    file = tmp_path / "books.beancount"
    file.write_text("\n".join(texts))
    checked = subprocess.run([Path(sys.executable).parent / "bean-check", file], capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    available = "balance Liabilities:Points:Test:Available  -"
    file.write_text("\n".join(texts).replace(available, f"{available}1"))
    checked = subprocess.run([Path(sys.executable).parent / "bean-check", file], capture_output=True, check=False)
    assert checked.returncode == 1, "it would notice"


@pytest.mark.parametrize(
    ("program_id", "unit", "account", "commodity"),
    [
        ("high_street-2", "mega_bucks-", "High-street-2", "MEGA-BUCKS"),
        ("-x", "b", "X", "B"),
        ("9lives", "a" * 36, "9lives", "A" * 36),
        ("___", "points", "0", "POINTS"),
    ],
)
def test_names_are_such_as_beancount_takes(
    program_id: str, unit: str, account: str, commodity: str, loyalty: CommandLine, engine: Engine
) -> None:
    shell = Shell(
        engine, program_text=PROGRAM_TEXT.replace("program_id: test", f"program_id: {program_id}\nunit: {unit}")
    )
    shell.take(order())
    put_back(shell)
    [month] = months_of(shell)
    text = loyalty("export", "journal", "--month", month).out
    assert beancount_balances(text)[f"Liabilities:Points:{account}:Available"] == -100
    assert f"-100 {commodity}" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--month", "2026-01"), "A journal is of one program: say which with --program. Programs here: money, test."),
        (("--month", "2026-01", "--program", "tset"), "There is no program tset"),
        (("--month", "2026", "--program", "test"), "--month 2026 is not a month."),
        (("--month", "2199-01", "--program", "test"), "2199-01 is not over in program test"),
        (("--month", "2026-01", "--program", "test", "--format", "excel"), "Invalid value for '--format'"),
        ((), "Missing option '--month'"),
    ],
)
@pytest.mark.usefixtures("books")
def test_wrong_use_is_named_and_ends_with_2(arguments: tuple[str, ...], told: str, loyalty: CommandLine) -> None:
    printed = loyalty("export", "journal", *arguments)
    assert (printed.code, printed.out) == (2, "")
    assert told in printed.err
