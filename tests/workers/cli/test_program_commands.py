"""`loyalty program`: checking files, putting them in force, reading them back."""

import re
from pathlib import Path

import pytest

from tests.factories import PROGRAM_TEXT
from tests.workers.cli.command_line import CommandLine


def write(folder: Path, text: str = PROGRAM_TEXT, name: str = "program.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_is_checked_without_a_database(loyalty_alone: CommandLine, tmp_path: Path) -> None:
    printed = loyalty_alone("program", "check", write(tmp_path))
    assert printed.code == 0
    assert "is a valid program file: test, 1 earning rule, 3 tiers (bronze, silver, gold)" in printed.out
    assert "No comparison was made" in printed.out


def test_a_wrong_file_is_wrong_use_and_its_problems_are_named(loyalty_alone: CommandLine, tmp_path: Path) -> None:
    printed = loyalty_alone(
        "program", "check", write(tmp_path, PROGRAM_TEXT.replace("currency: EUR", "currency: EURO"))
    )
    assert printed == (2, "", printed.err)
    assert "currency" in printed.err
    assert loyalty_alone("program", "check", tmp_path / "nothing.yaml").code == 2


def test_advice_is_given_and_is_no_error(loyalty_alone: CommandLine, tmp_path: Path) -> None:
    bonus = "promotions:\n  - {promotion_id: autumn, kind: addition, points: 5, when: {ends_on: 2020-11-30}}\n"
    path = write(tmp_path, PROGRAM_TEXT + bonus + "reminders: {days_ahead: [7]}\n")
    printed = loyalty_alone("program", "check", path)
    assert printed.code == 0
    assert "1 earning rule, 1 promotion, 3 tiers" in printed.out
    _, advice = printed.out.split("Worth another look (advice, no errors):\n")
    over, never = advice.splitlines()[:2]
    assert re.match(r"  line \d+: promotions\[0\]\.when\.ends_on is over: ", over)
    assert re.match(r"  line \d+: reminders\.days_ahead tells nobody anything, as no points end: ", never)
    assert loyalty_alone("program", "check", path, "--json").json["advice"] == [over.strip(), never.strip()]


def test_a_file_without_need_of_advice_gets_none(loyalty_alone: CommandLine, tmp_path: Path) -> None:
    assert "Worth another look" not in loyalty_alone("program", "check", write(tmp_path)).out
    assert loyalty_alone("program", "check", write(tmp_path), "--json").json["advice"] == []


def test_a_new_promotion_is_told_by_name_when_it_is_applied(loyalty: CommandLine, tmp_path: Path) -> None:
    loyalty("program", "apply", write(tmp_path))
    bonus = "promotions:\n  - {promotion_id: twice, kind: multiplier, multiplier: 2, when: {channels: [app]}}\n"
    added = "  promotions[twice]: added (when {channels: [app]}, kind multiplier, multiplier 2)\n"
    path = write(tmp_path, PROGRAM_TEXT + bonus)
    assert added in loyalty("program", "check", path).out
    assert added in loyalty("program", "apply", path).out


def test_a_file_with_line_ends_of_windows_is_shown_without_them(loyalty: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "program.yaml"
    path.write_bytes(PROGRAM_TEXT.replace("\n", "\r\n").encode())
    loyalty("program", "apply", path)
    assert loyalty("program", "show", "test", "--json").json["file_text"] == PROGRAM_TEXT


def test_a_first_version_is_applied_for_all_orders(loyalty: CommandLine, tmp_path: Path) -> None:
    path = write(tmp_path)
    assert "would be its version 1" in loyalty("program", "check", path).out
    assert loyalty("program", "apply", path).out == "Applied version 1 of test, for all orders, however old.\n"
    [listed] = loyalty("program", "list", "--json").json
    assert (listed["program_id"], listed["version"], listed["effective_from"]) == ("test", 1, None)


def test_the_same_content_again_changes_nothing(loyalty: CommandLine, tmp_path: Path) -> None:
    loyalty("program", "apply", write(tmp_path))
    again = loyalty("program", "apply", write(tmp_path, "# a comment more\n" + PROGRAM_TEXT))
    assert (again.code, again.out) == (0, "Nothing changed: version 1 of test says the same.\n")
    assert "says the same as version 1" in loyalty("program", "check", write(tmp_path)).out


def test_a_later_version_says_what_it_changes_and_from_when(loyalty: CommandLine, tmp_path: Path) -> None:
    loyalty("program", "apply", write(tmp_path))
    changed = write(tmp_path, PROGRAM_TEXT.replace('"1.5"', '"1.75"'))
    checked = loyalty("program", "check", changed)
    assert (checked.code, "points.silver: 1.5 -> 1.75" in checked.out) == (0, True)
    applied = loyalty("program", "apply", changed, "--from", "2040-01-01T00:00:00+01:00")
    assert applied.code == 0
    assert "Applied version 2 of test, from 2039-12-31 23:00:00Z" in applied.out
    assert "points.silver: 1.5 -> 1.75" in applied.out
    [listed] = loyalty("program", "list", "--json").json
    assert (listed["version"], listed["newest_version"]) == (1, 2), "version 2 is not in force yet"
    assert "version 2 follows from 2039-12-31 23:00:00Z" in loyalty("program", "list").out


@pytest.mark.parametrize("instant", ["2040-01-01T00:00:00", "2040-01-01", "tomorrow", ""])
def test_an_instant_without_an_offset_is_refused(loyalty: CommandLine, tmp_path: Path, instant: str) -> None:
    loyalty("program", "apply", write(tmp_path))
    printed = loyalty("program", "apply", write(tmp_path, PROGRAM_TEXT.replace('"2"', '"3"')), "--from", instant)
    assert printed.code == 2
    assert "offset from UTC" in printed.err


def test_versions_follow_each_other_in_time(loyalty: CommandLine, tmp_path: Path) -> None:
    loyalty("program", "apply", write(tmp_path))
    second = write(tmp_path, PROGRAM_TEXT.replace('"2"', '"3"'))
    loyalty("program", "apply", second, "--from", "2040-01-01T00:00:00Z")
    third = write(tmp_path, PROGRAM_TEXT.replace('"2"', '"4"'))
    for arguments in (["--from", "2039-12-31T23:59:59Z"], []):  # also now is before 2040
        printed = loyalty("program", "apply", third, *arguments)
        assert printed.code == 2
        assert "version 2 is from 2040-01-01T00:00:00+00:00" in printed.err
    assert loyalty("program", "apply", third, "--from", "2040-01-01T00:00:00Z").code == 0


def test_a_first_version_takes_no_instant(loyalty: CommandLine, tmp_path: Path) -> None:
    printed = loyalty("program", "apply", write(tmp_path), "--from", "2026-01-01T00:00:00Z")
    assert printed.code == 2
    assert "first version is in force for all orders" in printed.err


def test_what_would_collide_with_another_program_is_refused_and_found_by_check(
    loyalty: CommandLine, tmp_path: Path
) -> None:
    loyalty("program", "apply", write(tmp_path, PROGRAM_TEXT + "default: true\n"))
    other = PROGRAM_TEXT.replace("program_id: test", "program_id: other") + "default: true\n"
    refused = loyalty("program", "apply", write(tmp_path, other))
    assert refused == (2, "", refused.err)
    assert "program test is the default already" in refused.err
    assert "program test lists /shops/test already" in refused.err
    checked = loyalty("program", "check", write(tmp_path, other))
    assert checked.code == 1
    assert checked.out.count("It cannot be applied here") == 2
    assert len(loyalty("program", "check", write(tmp_path, other), "--json").json["problems"]) == 2


def test_what_collides_at_some_time_only_is_refused_with_the_time_and_how_to_do_it(
    loyalty: CommandLine, tmp_path: Path
) -> None:
    loyalty("program", "apply", write(tmp_path))
    given_up = write(tmp_path, PROGRAM_TEXT.replace("/shops/test", "/shops/old"))
    loyalty("program", "apply", given_up, "--from", "2099-01-01T00:00:00Z")
    other = PROGRAM_TEXT.replace("program_id: test", "program_id: other")
    refused = loyalty("program", "apply", write(tmp_path, other))
    assert refused.code == 2
    assert (
        "sources: program test lists /shops/test until 2099-01-01T00:00:00Z; a source belongs to one program; a first "
        "version is for all orders, however old: apply the file without it, then with it and "
        "--from 2099-01-01T00:00:00Z" in " ".join(refused.err.split())
    )
    assert loyalty("program", "apply", write(tmp_path, other.replace('"/shops/test"', ""))).code == 0
    too_soon = loyalty("program", "apply", write(tmp_path, other), "--from", "2098-01-01T00:00:00Z")
    assert too_soon.code == 2
    assert "program test lists /shops/test until 2099-01-01T00:00:00Z; a source" in " ".join(too_soon.err.split())
    assert loyalty("program", "apply", write(tmp_path, other), "--from", "2099-01-01T00:00:00Z").code == 0


def test_the_currency_of_a_program_stays(loyalty: CommandLine, tmp_path: Path) -> None:
    loyalty("program", "apply", write(tmp_path))
    refused = loyalty("program", "apply", write(tmp_path, PROGRAM_TEXT.replace("EUR", "USD")))
    assert refused.code == 2
    assert "points for EUR already" in refused.err
    assert len(loyalty("program", "show", "test", "--json").json["versions"]) == 1


def test_a_shown_program_is_its_file_again(loyalty: CommandLine, tmp_path: Path) -> None:
    loyalty("program", "apply", write(tmp_path, PROGRAM_TEXT.replace("Test Rewards", "Žofie Rewards")))
    loyalty("program", "apply", write(tmp_path), "--from", "2040-01-01T00:00:00Z")
    shown = loyalty("program", "show", "test")
    assert "# Version 1 of test, in force now" in shown.out
    assert loyalty("program", "check", write(tmp_path, shown.out, "again.yaml")).code == 0
    second = loyalty("program", "show", "test", "--version", 2, "--json").json
    assert (second["is_in_force"], second["program"]["name"]) == (False, "Test Rewards")
    assert second["file_text"] == PROGRAM_TEXT


def test_an_unknown_program_or_version_is_wrong_use(loyalty: CommandLine, tmp_path: Path) -> None:
    assert "programs here: none" in loyalty("program", "show", "test").err
    loyalty("program", "apply", write(tmp_path))
    assert "programs here: test" in loyalty("program", "show", "nope").err
    printed = loyalty("program", "show", "test", "--version", 2)
    assert printed == (2, "", "loyalty: Program test has no version 2; it has 1 to 1.\n")


def test_without_programs_the_list_says_how_to_apply_one(loyalty: CommandLine) -> None:
    assert loyalty("program", "list").out == "No programs. Put one in force with: loyalty program apply FILE\n"
    assert loyalty("program", "list", "--json").json == []
