"""`loyalty import accounts`: what another system's customers had, as ordinary commands."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.shell import SALT, Shell
from tests.workers.cli.command_line import CommandLine, Printed

HEADER = "customer_id,account_id,enrolled_at,points,earned_at,expires_at,card,tier,tier_until,tags,members,metadata.crm"
TWO = f"""{HEADER}
C-1,crm-1,2021-05-03,300,2026-02-01,2090-12-31,9801-0001,gold,2090-01-01,early;vip,C-9=member,A-7
C-1,crm-1,,200,2026-03-01T10:00:00+01:00,,9801-0002,,,,,
C-2,crm-2,2022-01-01,50,2026-04-01,,,,,,,
"""


pytestmark = pytest.mark.usefixtures("shell")


def written(name: str, content: str | bytes) -> Path:
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def imported(loyalty: CommandLine, content: str | bytes, *arguments: object, name: str = "crm.csv") -> Printed:
    return loyalty("import", "accounts", written(name, content), *arguments)


def accounts(shell: Shell) -> list[tuple[Any, ...]]:
    columns = "own_account_id, customer_id, balance, tier_id"
    return [tuple(row) for row in shell.rows(f"SELECT {columns} FROM accounts ORDER BY own_account_id")]


def lots(shell: Shell) -> list[tuple[Any, ...]]:
    statement = """
        SELECT a.own_account_id, l.points_remaining, l.origin_at::date::text, l.expires_at::date::text
        FROM lots l JOIN accounts a USING (account_id) ORDER BY 1, lot_number
    """
    return [tuple(row) for row in shell.rows(statement)]


def counted(shell: Shell) -> list[int]:
    tables = ("accounts", "entries", "lots", "commands", "inbox", "outbox", "repairs", "account_references")
    return [shell.value(f"SELECT count(*) FROM {table}") for table in tables]


def bad(printed: Printed) -> list[tuple[Any, ...]]:
    return [(row["line"], row["column"], row["problem"]) for row in printed.json["bad_rows"]]


def only_problem(loyalty: CommandLine, content: str | bytes, *arguments: object, **more: Any) -> tuple[Any, ...]:
    printed = imported(loyalty, content, "--json", *arguments, **more)
    assert printed.code == 1
    [problem] = bad(printed)
    return problem


def test_accounts_get_the_lots_dates_tiers_and_names_of_the_file(loyalty: CommandLine, shell: Shell) -> None:
    printed = imported(loyalty, TWO, "--by", "ann")
    assert printed.code == 0, printed
    assert "2 accounts imported with 550 points, 0 were there already, 0 bad rows." in printed.out
    assert "1 tier held." in printed.out
    assert accounts(shell) == [("crm-1", "C-1", 500, "gold"), ("crm-2", "C-2", 50, "bronze")]
    assert lots(shell) == [
        ("crm-1", 300, "2026-01-31", "2090-12-30"),
        ("crm-1", 200, "2026-03-01", None),
        ("crm-2", 50, "2026-03-31", None),
    ], "days begin at midnight in Berlin"
    assert shell.value("SELECT enrolled_at::text FROM accounts WHERE customer_id = 'C-1'").startswith(
        "2021-05-02 22:00"
    )
    shown = loyalty("account", "show", "9801-0002", "--named-by", "card", "--json").json
    assert "crm-1" in json.dumps(shown)
    assert shell.rows("SELECT applied_by, reason FROM repairs") == [("ann", "import crm")]
    assert shell.differences() == []


def test_a_second_run_changes_nothing_and_says_so(loyalty: CommandLine, shell: Shell) -> None:
    imported(loyalty, TWO)
    before = counted(shell)
    printed = imported(loyalty, TWO, "--by", "somebody-else")
    assert printed.code == 0
    assert "0 accounts imported, 2 were there already, 0 bad rows." in printed.out
    assert "Nothing is changed." in printed.out
    assert counted(shell) == before


def test_a_dry_run_says_what_would_become_of_it_and_changes_nothing(loyalty: CommandLine, shell: Shell) -> None:
    before = counted(shell)
    printed = imported(loyalty, TWO, "--dry-run")
    assert "2 accounts would be imported with 550 points" in printed.out
    assert "To do it: leave out --dry-run" in printed.out
    assert counted(shell) == before


def test_a_bad_row_names_line_column_and_mend_and_stops_nothing(loyalty: CommandLine, shell: Shell) -> None:
    printed = imported(loyalty, TWO.replace(",50,", ",5O,"), "--json")
    assert printed.code == 1
    assert bad(printed) == [(4, "points", 'is not a whole number; write digits alone, such as "1500"')]
    assert [account[0] for account in accounts(shell)] == ["crm-1"]


def test_of_an_account_with_one_bad_line_nothing_is_imported(loyalty: CommandLine, shell: Shell) -> None:
    content = "customer_id,points,expires_at\nC-1,100,\nC-1,20,2020-01-01\nC-2,7,\n"
    line, column, problem = only_problem(loyalty, content)
    assert (line, column) == (3, "expires_at")
    assert "already_expired" in problem
    assert "write an instant that is to come" in problem
    assert [account[1:3] for account in accounts(shell)] == [("C-2", 7)]
    assert shell.value("SELECT count(*) FROM inbox") == 2, "nothing is kept of what is not imported"


def test_mended_rows_are_imported_from_the_file_of_bad_rows(loyalty: CommandLine, shell: Shell) -> None:
    imported(loyalty, TWO.replace(",50,", ",5O,"), "--bad-rows", "bad.csv")
    rows = Path("bad.csv").read_text()
    assert "line 4, points: is not a whole number" in rows
    printed = imported(loyalty, rows.replace(",5O,", ",50,"), "--name", "crm", name="bad-mended.csv")
    assert "1 account imported with 50 points" in printed.out
    assert imported(loyalty, TWO).out.startswith("0 accounts imported, 2 were there already")


def test_the_file_of_bad_rows_is_never_written_over(loyalty: CommandLine) -> None:
    written("bad.csv", "mine")
    printed = imported(loyalty, TWO, "--bad-rows", "bad.csv")
    assert (printed.code, Path("bad.csv").read_text()) == (2, "mine")


def test_other_points_under_the_same_import_are_a_contradiction_and_no_second_credit(
    loyalty: CommandLine, shell: Shell
) -> None:
    imported(loyalty, TWO)
    printed = imported(loyalty, TWO.replace(",50,", ",60,").replace("2026-02-01", "2026-02-02"), "--json")
    assert [(line, column) for line, column, _ in bad(printed)] == [(2, None), (4, None)]
    assert all("command_conflict" in problem for _, _, problem in bad(printed))
    assert [account[2] for account in accounts(shell)] == [500, 50]


def test_the_same_file_under_another_name_gives_no_points_again(loyalty: CommandLine, shell: Shell) -> None:
    imported(loyalty, TWO)
    printed = imported(loyalty, TWO, "--name", "again", "--json")
    assert printed.json["bad"] == 2
    assert all("account_exists" in problem for _, _, problem in bad(printed))
    assert [account[2] for account in accounts(shell)] == [500, 50]


def test_a_line_that_is_added_to_an_account_is_imported_alone(loyalty: CommandLine, shell: Shell) -> None:
    imported(loyalty, TWO)
    printed = imported(loyalty, TWO + "C-2,crm-2,,9,2026-05-01,,,,,,,\n")
    assert "1 account imported with 9 points, 1 were there already" in printed.out
    assert [account[2] for account in accounts(shell)] == [500, 59]


def test_lines_of_one_account_that_stand_apart_are_bad(loyalty: CommandLine, shell: Shell) -> None:
    line, _, problem = only_problem(loyalty, "customer_id,points\nC-1,10\nC-2,5\nC-1,10\n")
    assert line == 4
    assert "stood above already; write the lines of one record below each other" in problem
    assert [account[2] for account in accounts(shell)] == [10, 5]


def test_json_lines_say_the_same_with_lists(loyalty: CommandLine, shell: Shell) -> None:
    record = {
        "customer_id": "C-1",
        "account_id": "crm-1",
        "enrolled_at": "2021-05-03",
        "lots": [{"points": 300, "earned_at": "2026-02-01", "expires_at": "2090-12-31"}, {"points": 200}],
        "cards": ["9801-0001", "9801-0002"],
        "tier": "gold",
        "tier_until": "2090-01-01",
        "tags": ["vip"],
        "members": [{"customer_id": "C-9", "role": "member"}],
        "metadata": {"crm": "A-7"},
    }
    lines = [record, {"customer_id": "C-2", "lots": [{"points": 5.5}]}, {"customer_id": "C-3", "lots": [{"poinst": 5}]}]
    content = "\n\n".join(json.dumps(line) for line in lines) + "\nnonsense\n"
    printed = imported(loyalty, content, "--json", name="crm.jsonl")
    assert sorted(row[:2] for row in bad(printed)) == [
        (3, "lots[0].points"),
        (5, "lots[0].poinst"),
        (6, None),
    ]
    assert accounts(shell) == [("crm-1", "C-1", 500, "gold")]
    assert imported(loyalty, content, "--json", name="crm.jsonl").json["known"] == 1
    assert shell.differences() == []


def test_phone_numbers_and_addresses_are_linked_and_never_kept(
    loyalty: CommandLine, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "customer_id,points,phone,email\nC-1,5,+44 7400 123456,ann@example.com\nC-2,5,07400 123456,\n"
    assert "LOYALTY_REFERENCE_SALT" in only_problem(loyalty, "customer_id,email\nC-1,ann@example.com\n")[2]
    monkeypatch.setenv("LOYALTY_REFERENCE_SALT", SALT)
    line, column, problem = only_problem(loyalty, content)
    assert (line, column) == (3, "phone")
    assert 'does not begin with "+"' in problem
    assert shell.value("SELECT count(*) FROM account_references WHERE kind IN ('phone', 'email')") == 2
    assert shell.value("SELECT count(*) FROM inbox WHERE settled LIKE '%ann@example.com%'") == 0


@pytest.mark.parametrize(
    ("content", "column", "problem"),
    [
        ("customer_id,points\n,5\n", "customer_id", "is missing"),
        ("customer_id,points\nann@example.com,5\n", "customer_id", "@"),
        ("customer_id,points\nC-1,0\n", "points", "0"),
        ("customer_id,points\nC-1,-5\n", "points", "is not a whole number"),
        ('customer_id,points\nC-1,"1,500"\n', "points", "is not a whole number"),
        ("customer_id,earned_at\nC-1,2024-01-01\n", "points", "is missing"),
        ("customer_id,points,earned_at\nC-1,5,01.02.2024\n", "earned_at", "write a day such as 2024-03-31"),
        ("customer_id,points,earned_at\nC-1,5,2090-01-01\n", "earned_at", "is still to come; write when it was"),
        ("customer_id,points,earned_at\nC-1,5,2024-01-01T10:00:00\n", "earned_at", "is not a time"),
        ("customer_id,enrolled_at\nC-1,2090-01-01\n", "enrolled_at", "still to come"),
        ("customer_id,tier\nC-1,gold\n", "tier_until", "is missing"),
        ("customer_id,tier_until\nC-1,2090-01-01\n", "tier", "is missing beside tier_until"),
        ("customer_id,tier,tier_until\nC-1,golt,2090-01-01\n", "tier", "there are bronze, silver, gold"),
        ("customer_id,tier,tier_until\nC-1,silvr,2090-01-01\n", "tier", "did you mean silver?"),
        ("customer_id,tier,tier_until\nC-1,gold,2020-01-01\n", "tier_until", "is past"),
        ("customer_id,members\nC-1,C-2\n", "members", "C-2=member"),
        ("customer_id,members\nC-1,C-2=boss\n", "members", "member"),
        ("customer_id,program_id\nC-1,tset\n", "program_id", "is not a program; there are test"),
        ("customer_id,card\nC-1,1\n", "card", ""),
        ("customer_id,points\nC-1,5,7\n", None, "has 3 cells, and line 1 names 2 columns"),
        ("customer_id,points\nC-1\n", None, "has 1 cells"),
        ("customer_id,lifetime_points,points\nC-1,1,500,\n", None, "has 4 cells, and line 1 names 3 columns"),
        ('customer_id,points\n"C-1,5\n', None, "cannot be read as CSV"),
        ('customer_id,points\n"C-1"x,5\n', None, "cannot be read as CSV"),
        (b"customer_id,points,tags\nC-1,5,caf\xe9\n", "tags", "not UTF-8"),
    ],
)
def test_every_kind_of_bad_row_is_told(
    loyalty: CommandLine, shell: Shell, content: str | bytes, column: str | None, problem: str
) -> None:
    told_line, told_column, told = only_problem(loyalty, content)
    assert (told_line, told_column) == (2, column), told
    assert problem in told
    assert accounts(shell) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("points\n5\n", "has no customer_id"),
        ("customer_id,point\nC-1,5\n", "did you mean points?"),
        ("customer_id,expiry\nC-1,5\n", "names a column expiry, which is unknown; known are account_id"),
        ("customer_id,points,points\nC-1,5,5\n", "it has two columns points"),
        ("customer_id,points\nC-1,5\n".encode("utf-16"), "UTF-16"),
        (b"customer_id,points\rC-1,5\r", "CR alone"),
        ('"customer_id,points\nC-1,5\n', "a quote that is not closed"),
    ],
)
def test_a_file_of_which_nothing_can_be_used_is_refused_as_a_whole(
    loyalty: CommandLine, shell: Shell, content: str | bytes, problem: str
) -> None:
    printed = imported(loyalty, content)
    assert printed.code == 2
    assert problem in printed.err
    assert accounts(shell) == []


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbfcustomer_id,points,metadata.note\r\nC-1,5,"two\r\nlines"\r\n'.replace(b"two\r\nlines", b"one"),
        b'customer_id;points;metadata.note\nC-1;5;"a;b"\n',
        b"customer_id\tpoints\nC-1\t5\n",
        b'\n\ncustomer_id,points,,\n\n"C-1", 5 ,,\n\n',
        "customer_id,points,metadata.note\nC-1,5,Grüße ☕".encode(),
    ],
)
def test_odd_files_are_read_as_they_are_meant(loyalty: CommandLine, shell: Shell, content: bytes) -> None:
    printed = imported(loyalty, content)
    assert printed.code == 0, printed
    assert [account[1:3] for account in accounts(shell)] == [("C-1", 5)]


def test_lines_are_counted_rightly_behind_a_cell_of_several_lines(loyalty: CommandLine, shell: Shell) -> None:
    content = 'customer_id,points,metadata.note\nC-1,5,"one\ntwo\nthree"\nC-2,x,\n'
    line, column, _ = only_problem(loyalty, content)
    assert (line, column) == (5, "points")
    assert shell.value("SELECT metadata->>'note' FROM account_details") == "one\ntwo\nthree"


@pytest.mark.parametrize("characters", [200_000, 3_000_000])
@pytest.mark.parametrize("name", ["crm.csv", "crm.jsonl"])
def test_a_line_longer_than_any_row_is_bad_and_the_next_one_is_read(
    loyalty: CommandLine, shell: Shell, characters: int, name: str
) -> None:
    long = "x" * characters
    content = f"customer_id,metadata.note\nC-1,{long}\nC-2,\n"
    if name == "crm.jsonl":
        content = f'{{"customer_id": "C-0"}}\n{{"customer_id": "C-1", "metadata": {{"note": "{long}"}}}}\n'
    line, _, problem = only_problem(loyalty, content, name=name)
    assert line == 2
    assert len(problem) < 1_000
    assert len(accounts(shell)) == 1


def test_what_is_imported_is_chained_where_a_chain_is_kept(
    loyalty: CommandLine, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_CHAIN_KEY", "k" * 32)
    assert imported(loyalty, TWO).code == 0
    assert shell.value("SELECT count(*) FROM entries WHERE chain_hash IS NULL") == 0
    verified = loyalty("verify")
    assert verified.code == 0, verified


def test_a_file_without_rows_is_told(loyalty: CommandLine) -> None:
    printed = imported(loyalty, "customer_id,points\n")
    assert (printed.code, "the file has no rows" in printed.err) == (0, True)


def test_many_rows_are_imported_in_several_parts(loyalty: CommandLine, shell: Shell) -> None:
    rows = "".join(f"C-{number},{number},2026-01-01\n" for number in range(1, 3_001))
    printed = imported(loyalty, "customer_id,points,earned_at\n" + rows, "--json").json
    assert (printed["imported"], printed["points"], printed["messages"]) == (3_000, 4_501_500, 6_000)
    assert shell.value("SELECT sum(balance) FROM accounts") == 4_501_500
    assert shell.differences() == []


def test_two_runs_at_once_give_nothing_twice(loyalty: CommandLine, shell: Shell) -> None:
    rows = "".join(f"C-{number},{number},card-{number}\n" for number in range(1, 1_001))
    path = written("crm.csv", "customer_id,points,card\n" + rows)
    command = [sys.executable, "-m", "workers", "import", "accounts", path]
    for run in [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]:
        assert run.wait() in {0, 1}, "the later one may find contradictions: each has its own time"
    assert loyalty("import", "accounts", path, "--json").json["known"] == 1_000
    assert shell.value("SELECT sum(balance) FROM accounts") == 500_500
    assert shell.differences() == []


def test_lifetime_points_are_those_of_the_file(loyalty: CommandLine, shell: Shell) -> None:
    content = "customer_id,lifetime_points,points\nC-1,9000,250\nC-2,0,5\nC-3,,5\n"
    assert imported(loyalty, content).code == 0
    rows = shell.rows("SELECT customer_id, lifetime_points, balance FROM accounts ORDER BY 1")
    assert [tuple(row) for row in rows] == [("C-1", 9000, 250), ("C-2", 0, 5), ("C-3", 0, 5)]
    line, column, _ = only_problem(loyalty, "customer_id,lifetime_points\nC-4,some\n", name="more.csv")
    assert (line, column) == (2, "lifetime_points")
    assert shell.differences() == []


def test_accounts_without_an_id_of_their_own_get_one_of_import_and_customer(loyalty: CommandLine, shell: Shell) -> None:
    imported(loyalty, "customer_id,points\nC-1,5\n")
    assert accounts(shell) == [("crm.C-1", "C-1", 5, "bronze")]
    long = "C" * 70
    _, column, problem = only_problem(loyalty, f"customer_id,points\n{long},5\n", name="more.csv")
    assert column == "account_id"
    assert "write one, or give the import a shorter --name" in problem


def test_a_customer_who_has_an_account_already_is_told(loyalty: CommandLine, shell: Shell) -> None:
    loyalty("points", "credit", "C-1", 10)
    _, _, problem = only_problem(loyalty, "customer_id,points\nC-1,5\n")
    assert "account_exists" in problem


def test_an_import_goes_on_where_it_was_killed(loyalty: CommandLine, shell: Shell) -> None:
    rows = "".join(f"C-{number},{number},2026-01-01,card-{number}\n" for number in range(1, 4_001))
    path = written("crm.csv", "customer_id,points,earned_at,card\n" + rows)
    for accounts_before in (0, 700):
        killed = subprocess.Popen([sys.executable, "-m", "workers", "import", "accounts", path], stderr=subprocess.PIPE)
        while shell.value("SELECT count(*) FROM accounts") <= accounts_before:
            assert killed.poll() is None, killed.stderr
        killed.kill()
        killed.communicate()
    assert shell.value("SELECT count(*) FROM accounts") < 4_000
    printed = loyalty("import", "accounts", path, "--json").json
    assert printed["imported"] + printed["known"] == 4_000
    assert printed["bad"] == 0
    assert shell.value("SELECT sum(balance) FROM accounts") == 8_002_000
    assert shell.value("SELECT count(*) FROM account_references WHERE kind = 'card'") == 4_000
    assert shell.value("SELECT count(*) FROM commands") == 12_000
    assert shell.differences() == []
