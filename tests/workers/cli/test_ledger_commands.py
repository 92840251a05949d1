"""`loyalty verify` and `rebuild`: what operators read when the books are, or are not, right."""

import re
import sys
from pathlib import Path

import pytest
from uuid6 import uuid7

from core.posting.batch import Poster
from core.store.proof.invariants import CHECKS
from tests.factories import PROGRAM_TEXT, order, refund
from tests.shell import EVENT_SOURCE, Shell
from tests.workers.cli.command_line import CommandLine


@pytest.fixture
def wrong(shell: Shell) -> Shell:
    """Two customers, the first with a wrong balance and a wrong lot."""
    shell.take(order("o1"), order("o2", customer_id="c2"), refund("r1", "o1", net="30.00"))
    shell.execute("UPDATE accounts SET balance = 75, lifetime_points = 1070 WHERE customer_id = 'c1'")
    shell.execute("UPDATE lots SET points_remaining = 75 WHERE points_remaining = 70")
    return shell


def test_rebuild_on_right_books_says_so(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order())
    assert loyalty("rebuild") == (0, "Everything is what the facts give.\n", "")
    assert loyalty("rebuild", "--apply").code == 0


def test_rebuild_shows_what_the_rows_say_and_what_the_facts_give_and_changes_nothing(
    loyalty: CommandLine, wrong: Shell
) -> None:
    printed = loyalty("rebuild")
    assert printed.code == 1
    assert "c1 in test (account 0" in printed.out
    assert "account: balance is 75, the facts give 70; lifetime_points is 1,070, the facts give 70" in printed.out
    assert "lot 1: points_remaining is 75, the facts give 70" in printed.out
    assert "3 numbers of 1 account differ; nothing is changed" in printed.out
    assert "c2 in test" not in printed.out
    assert loyalty("rebuild") == printed


def test_rebuild_applies_once_and_keeps_what_was_there(loyalty: CommandLine, wrong: Shell) -> None:
    printed = loyalty("rebuild", "--apply")
    assert printed.code == 0
    assert "account: balance was 75, the facts give 70" in printed.out
    assert "Put right: 3 numbers of 1 account." in printed.out
    assert loyalty("rebuild", "--apply").out == "Everything is what the facts give.\n"
    assert loyalty("verify").code == 0
    kept = wrong.rows("SELECT subject, found FROM repairs ORDER BY repair_id")
    assert [tuple(row) for row in kept] == [
        ("account", {"balance": 75, "lifetime_points": 1070}),
        ("lot 1", {"points_remaining": 75}),
    ]


def test_rebuild_of_one_customer_leaves_the_others(loyalty: CommandLine, wrong: Shell) -> None:
    wrong.execute("UPDATE accounts SET balance = 1 WHERE customer_id = 'c2'")
    document = loyalty("rebuild", "--customer", "c2", "--apply", "--json").json
    assert (document["is_right"], document["accounts_differing"]) == (True, 1)
    assert [d["customer_id"] for d in document["differences"]] == ["c2"]
    assert [(d["found"], d["rebuilt"]) for d in document["differences"]] == [({"balance": 1}, {"balance": 100})]
    assert "c1 in test" in loyalty("rebuild").out
    assert loyalty("rebuild", "--customer", "nobody").code == 1


def test_rebuild_leaves_an_account_with_a_lost_entry_alone_and_verify_names_it(
    loyalty: CommandLine, wrong: Shell
) -> None:
    wrong.execute("DELETE FROM allocations WHERE points < 0")
    wrong.execute("DELETE FROM entries WHERE points < 0")
    printed = loyalty("rebuild", "--apply")
    assert printed.code == 1
    assert "cannot be rebuilt: refund r1 of /shops/test should have entry 2" in printed.out
    assert "Nothing to put right." in printed.out
    assert wrong.value("SELECT count(*) FROM repairs") == 0
    assert "tells of an entry that is not there" in loyalty("verify").out
    document = loyalty("rebuild", "--json").json
    assert (document["is_right"], document["accounts_contradicting"]) == (False, 1)


LIMITED = (
    PROGRAM_TEXT.replace(": test", ": limited").replace("/shops/test", "/limited")
    + """
promotions:
  - promotion_id: launch
    kind: addition
    points: 5
    limits: {budget_points: 100, orders_per_customer_and_day: 2}
"""
)


def test_rebuild_puts_right_what_has_been_had_of_limits(loyalty: CommandLine, shell: Shell) -> None:
    shell.apply_program(LIMITED)
    shell.take(order(source="/limited"))
    shell.execute("UPDATE budgets SET points = 50")
    shell.execute("UPDATE usages SET orders = 2, points = 1000")
    printed = loyalty("rebuild")
    assert (printed.code, loyalty("rebuild")) == (1, printed)
    assert "usage of launch, 2026-03-01: points is 1,000, the facts give 5; orders is 2" in printed.out
    assert "launch in limited\n    budget: points is 50, the facts give 5\n" in printed.out
    assert "2 numbers of 1 account and 1 budget differ; nothing is changed" in printed.out
    assert "1 number of 1 account" not in loyalty("rebuild", "--customer", "c1").out
    assert "budget" not in loyalty("rebuild", "--customer", "c1").out
    document = loyalty("rebuild", "--apply", "--json").json
    assert (document["is_right"], document["budgets"]) == (
        True,
        [{"program_id": "limited", "name": "launch", "found": {"points": 50}, "rebuilt": {"points": 5}}],
    )
    assert loyalty("rebuild", "--apply").out == "Everything is what the facts give.\n"
    assert loyalty("verify").code == 0


def test_rebuild_leaves_a_budget_alone_where_facts_contradict_each_other(loyalty: CommandLine, shell: Shell) -> None:
    shell.apply_program(LIMITED)
    shell.take(order(source="/limited"), order("o2", customer_id="c2", source="/limited"))
    shell.execute(
        "DELETE FROM allocations WHERE points > 0 AND account_id = (SELECT min(account_id::text)::uuid FROM lots)"
    )
    shell.execute("UPDATE budgets SET points = 0")
    document = loyalty("rebuild", "--apply", "--json").json
    assert (document["accounts_contradicting"], document["budgets"]) == (1, [])
    assert shell.value("SELECT points FROM budgets") == 0


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("verify", f"Check 4 of {len(CHECKS)}: {CHECKS[3].name}"),
        ("rebuild", "Slice 1 of 1, 0 accounts differ"),
    ],
)
def test_on_a_terminal_it_shows_how_far_it_is_and_as_json_nothing_but_json(
    loyalty: CommandLine, shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str, shown: str
) -> None:
    shell.take(order())
    assert loyalty(command).err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    printed = loyalty(command)
    assert re.search(rf"\r\x1b\[K{shown}, \d+ s", printed.err)
    assert "\x1b" not in printed.out
    document = loyalty(command, "--json")
    assert (document.json["is_right"], document.err) == (True, "")


KEY = "a key that nobody can guess: made up of words"
CHAIN = "the hash chain and its seals are unbroken"


@pytest.fixture
def chained(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Two customers whose entries carry the chain, and the key in the environment."""
    monkeypatch.setenv("LOYALTY_CHAIN_KEY", KEY)
    shell.poster = Poster(shell.engine, event_source=EVENT_SOURCE, new_account_id=uuid7, chain_key=KEY.encode())
    shell.take(order("o1"), order("o2", customer_id="c2"), refund("r1", "o1", net="30.00"))
    return shell


def test_verify_checks_the_chain_with_the_key_and_says_when_it_could_not(
    loyalty: CommandLine, chained: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = loyalty("verify", "--json").json
    assert (right["is_right"], right["checks"][-1]["name"]) == (True, CHAIN)
    assert {name: right["chain"][name] for name in ("is_kept", "is_checked", "accounts", "entries")} == {
        "is_kept": True, "is_checked": True, "accounts": 2, "entries": 3,
    }  # fmt: skip
    assert right["chain"]["digest"] in loyalty("verify").out
    chained.execute("UPDATE entries SET why = '{}' WHERE sequence = 2")
    wrong = loyalty("verify")
    assert wrong.code == 1
    assert f"FAIL  3  {CHAIN}" in wrong.out
    assert "does not fit its hash" in wrong.out
    monkeypatch.delenv("LOYALTY_CHAIN_KEY")
    unchecked = loyalty("verify")
    assert unchecked.code == 0
    assert "was not checked: LOYALTY_CHAIN_KEY is not set" in unchecked.out
    assert loyalty("verify", "--json").json["chain"]["is_checked"] is False


def test_verify_by_several_processes_prints_what_one_prints(
    loyalty: CommandLine, wrong: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one = loyalty("verify")
    assert by_one.code == 1
    monkeypatch.setattr("core.store.proof.scope.SLICE_ENTRIES_MIN", 1)  # a slice for each account
    assert loyalty("verify", "--jobs", "2") == by_one
    assert loyalty("verify", "--jobs", "2", "--json").json == loyalty("verify", "--json").json


def test_verify_needs_a_process(loyalty: CommandLine) -> None:
    printed = loyalty("verify", "--jobs", "0")
    assert printed.code == 2
    assert "--jobs" in printed.err


def test_heads_kept_elsewhere_show_that_the_end_of_a_chain_is_gone(
    loyalty: CommandLine, chained: Shell, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.heads"
    assert loyalty("verify", "--heads", kept).code == 0
    assert len(kept.read_text().splitlines()) == 2
    chained.take(order("o4"))
    assert loyalty("verify", "--against", kept, "--heads", kept).code == 0
    before = kept.read_text()
    chained.execute("UPDATE entries SET chain_hash = NULL")
    printed = loyalty("verify", "--against", kept, "--heads", kept)
    assert printed.code == 1
    assert printed.out.count("is not the one that was noted") == 2
    assert (kept.read_text(), list(tmp_path.glob("*.part"))) == (before, [])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("not a head\n", "line 1 is not an account, a number and a hash"),
        ("ä\n", "it is not text"),
    ],
)
def test_a_file_that_holds_no_heads_is_refused(
    loyalty: CommandLine, chained: Shell, tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "any.heads"
    if content is not None:
        path.write_text(content)
    printed = loyalty("verify", "--against", path)
    assert printed.code == 2
    assert said in printed.err
    assert "loyalty verify --heads" in printed.err


def test_heads_need_the_key(loyalty: CommandLine, shell: Shell, tmp_path: Path) -> None:
    printed = loyalty("verify", "--heads", tmp_path / "kept.heads")
    assert printed.code == 2
    assert "--heads needs the key" in printed.err


@pytest.mark.parametrize("key", ["short", f"{KEY},short", f"{KEY},"])
def test_a_short_key_is_refused_without_being_shown(
    loyalty: CommandLine, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("LOYALTY_CHAIN_KEY", key)
    printed = loyalty("verify")
    assert printed.code == 2
    assert "LOYALTY_CHAIN_KEY: Value error, each key needs at least 32 characters" in printed.err
    assert key not in printed.err
