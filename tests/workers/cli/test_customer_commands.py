"""`loyalty customer`: all that is held of a person, told to them, and its end."""

import json
import re
from pathlib import Path

import pytest
from sqlalchemy import Engine

from core.reading.customer_data import TOLD
from core.store.personal_data import COLUMNS, PERSONAL
from core.store.tables import metadata
from tests.factories import PROGRAM_TEXT, order
from tests.posting.erased_history import ANN, KIM, LEE, MARKS, PAT, REWARDS, SAM, live, marks_left
from tests.shell import SALT, Shell
from tests.workers.cli.command_line import CommandLine

OTHERS = (ANN, LEE, PAT, SAM)


@pytest.fixture
def kim(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A customer with a whole life here."""
    monkeypatch.setenv("LOYALTY_REFERENCE_SALT", SALT)
    shell = Shell(engine, program_text=PROGRAM_TEXT + REWARDS)
    live(shell)
    return shell


def test_a_dry_run_says_where_a_customer_is_named(loyalty: CommandLine, kim: Shell) -> None:
    before = marks_left(kim)
    printed = loyalty("customer", "erase", KIM, "--dry-run")
    assert printed.code == 0, printed.err
    assert "Would be done: customer erased, with " in printed.out
    assert re.search(r"^  dead letter actions|^  outbox +\d\d", printed.out, re.MULTILINE)
    assert "Nothing is changed." in printed.out
    assert marks_left(kim) == before


def test_a_customer_is_erased_once_and_for_all(loyalty: CommandLine, kim: Shell) -> None:
    done = loyalty("customer", "erase", KIM, "--id", "e1", "--by", "Pim", "--json")
    assert (done.code, done.json["outcome"], done.json["by"]) == (0, "accepted", "Pim"), done.err
    again = loyalty("customer", "erase", KIM, "--id", "e1", "--by", "Pim", "--json")
    assert (again.json["is_repeated"], again.json["erased"]) == (True, done.json["erased"])
    shown = loyalty("command", "show", "e1")
    assert "customer erased" in shown.out
    other = loyalty("customer", "erase", KIM)
    assert (other.code, "customer_erased" in other.err) == (1, True)
    assert loyalty("customer", "erase", "nobody").code == 1
    assert (marks_left(kim), kim.differences()) == ({}, [])
    printed = done.out + again.out + shown.out + other.err
    assert [mark for mark in MARKS if mark in printed] == []


def test_without_the_secret_nobody_is_erased(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order(customer_id=KIM))
    refused = loyalty("customer", "erase", KIM)
    assert (refused.code, "LOYALTY_REFERENCE_SALT" in refused.err) == (2, True)


def test_all_that_is_held_is_told_in_places(loyalty: CommandLine, kim: Shell) -> None:
    printed = loyalty("customer", "export", KIM)
    assert printed.code == 0, printed.err
    for title in ("Accounts", "Orders", "Entries of the accounts", "Messages as they came", "Events that were told"):
        assert re.search(rf"^  {title} +\d+$", printed.out, re.MULTILINE), title


def test_programs_get_all_of_it_as_json(loyalty: CommandLine, kim: Shell, tmp_path: Path) -> None:
    file = tmp_path / "kim.json"
    assert loyalty("customer", "export", KIM, "--json", "--output", file).code == 0
    assert file.stat().st_mode & 0o077 == 0, "nobody else on the machine may read it"
    text = file.read_text()
    assert [mark for mark in ("Kim Miller", "CARD-7704", "vip-kim", "kim.miller@example.com") if mark not in text] == []
    assert [other for other in OTHERS if other in text] == []
    document = json.loads(text)
    assert (document["customer_id"], {"shared-1"} <= set(re.findall("shared-1", text))) == (KIM, False)
    held = document["held"]
    assert {row["order_id"] for row in held["orders"]} == {"k1", "guest", "k2", "k3", "m5"}
    assert {row["role"] for row in held["account_members"]} == {"viewer"}
    assert {(row["kind"], row["reference"]) for row in held["account_references"]} == {
        ("card", "CARD-7704"), ("phone", "hidden"), ("email", "hidden"),
    }  # fmt: skip
    internals = {"account_shard", "shard", "seal", "chain_hash", "business_hash", "content_hash", "salt", "by"}
    assert not internals & {name for rows in held.values() for row in rows for name in row}
    assert '"by":' not in text


def test_it_is_one_page_that_prints(loyalty: CommandLine, kim: Shell, tmp_path: Path) -> None:
    file = tmp_path / "kim.html"
    assert loyalty("customer", "export", KIM, "--format", "html", "--output", file).code == 0
    page = file.read_text()
    assert "default-src 'none'" in page
    assert "@media print" in page
    assert "<h2>Orders</h2>" in page
    assert "Kim Miller" in page
    assert [other for other in OTHERS if other in page] == []
    assert not re.search(r"(?:src|href)=", page)


def test_a_customer_is_found_by_an_account_too(loyalty: CommandLine, kim: Shell) -> None:
    account_id = kim.value("SELECT account_id FROM accounts WHERE customer_id = :id AND program_id = 'test'", id=KIM)
    for name, kind in ((account_id, "account"), ("CARD-7704", "card"), ("kim.miller@example.com", "email")):
        assert loyalty("customer", "export", name, "--named-by", kind, "--json").json["customer_id"] == KIM


def test_after_an_erasure_nothing_is_held(loyalty: CommandLine, kim: Shell) -> None:
    assert loyalty("customer", "erase", KIM).code == 0
    printed = loyalty("customer", "export", KIM)
    assert (printed.code, printed.out, "Nothing is held" in printed.err) == (1, "", True)
    assert loyalty("customer", "export", "nobody", "--json").code == 1


#: What is about a person, and not told: why.
NOT_TOLD = {
    "members": "says only to which of the accounts orders come, which are told",
    "account_salts": "a random number of ours",
}


def test_every_place_that_holds_something_of_a_person_is_told_or_it_says_why_not() -> None:
    told = {each.table.name: set(each.columns) for each in TOLD}
    for table in metadata.tables:
        personal = {name for name, holds in COLUMNS[table].items() if holds in PERSONAL}
        assert not personal or (table in told) != (table in NOT_TOLD), table


def test_every_column_of_every_table_is_on_the_map() -> None:
    assert {name: set(table.columns.keys()) for name, table in metadata.tables.items()} == {
        name: set(columns) for name, columns in COLUMNS.items()
    }
