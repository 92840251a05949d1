"""`loyalty program`: checking files, putting them in force, reading them back."""

import re
from pathlib import Path

import pytest

from tests.factories import PROGRAM_TEXT, order
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

#: Another version of the usual program.
CHANGED = PROGRAM_TEXT.replace('"1.5"', '"1.75"')
LATER = "2040-01-01T00:00:00Z"


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
    told = loyalty_alone("program", "check", tmp_path / "program.yaml", "--json")
    assert (told.code, told.err, len(told.json["problems"])) == (2, "", 1)
    assert told.json["problems"][0] in printed.err


def test_advice_is_given_and_is_no_error(loyalty_alone: CommandLine, tmp_path: Path) -> None:
    bonus = "promotions:\n  - {promotion_id: autumn, kind: addition, points: 5, when: {ends_on: 2020-11-30}}\n"
    path = write(tmp_path, PROGRAM_TEXT + bonus + "reminders: {days_ahead: [7]}\n")
    printed = loyalty_alone("program", "check", path)
    assert printed.code == 0
    assert "1 earning rule, 1 promotion, 3 tiers" in printed.out
    _, advice = printed.out.split("Worth another look (advice, no errors):\n")
    over, never = advice.splitlines()[:2]
    assert re.match(r"  line \d+: promotions\[0\]\.when\.ends_on is over: ", over)
    assert re.match(r"  line \d+: reminders\.days_ahead tells nobody anything, as no points expire: ", never)
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
    said = "Nothing changed: version 1 of test, for all orders, however old, says the same.\n"
    assert (again.code, again.out) == (0, said)
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
    assert listed["version"] == 1, "version 2 is not in force yet"
    assert listed["to_come"] == [{"version": 2, "effective_from": "2039-12-31T23:00:00Z"}]
    told = "version 2 follows from 2039-12-31 23:00:00Z (2040-01-01 00:00 in Europe/Berlin)"
    assert told in loyalty("program", "list").out


def test_a_day_is_its_midnight_in_the_time_zone_of_the_program(loyalty: CommandLine, tmp_path: Path) -> None:
    loyalty("program", "apply", write(tmp_path))
    applied = loyalty("program", "apply", write(tmp_path, CHANGED), "--from", "2040-07-01")
    assert "from 2040-06-30 22:00:00Z (2040-07-01 00:00 in Europe/Berlin)" in applied.out


@pytest.mark.parametrize("instant", ["2040-01-01T00:00:00", "2040-13-01", "1899-12-31", "0001-01-01", "tomorrow", ""])
def test_a_time_that_is_neither_a_day_nor_has_an_offset_is_refused(
    loyalty: CommandLine, tmp_path: Path, instant: str
) -> None:
    loyalty("program", "apply", write(tmp_path))
    printed = loyalty("program", "apply", write(tmp_path, PROGRAM_TEXT.replace('"2"', '"3"')), "--from", instant)
    assert printed.code == 2
    assert f"--from {instant} is not a time" in printed.err
    assert "a day such as 2027-01-01, which begins at midnight in Europe/Berlin" in printed.err


def test_versions_follow_each_other_in_time(loyalty: CommandLine, tmp_path: Path) -> None:
    loyalty("program", "apply", write(tmp_path))
    second = write(tmp_path, PROGRAM_TEXT.replace('"2"', '"3"'))
    loyalty("program", "apply", second, "--from", "2040-01-01T00:00:00Z")
    third = write(tmp_path, PROGRAM_TEXT.replace('"2"', '"4"'))
    for arguments in (["--from", "2039-12-31T23:59:59Z"], []):  # also now is before 2040
        printed = loyalty("program", "apply", third, *arguments)
        assert printed.code == 2
        assert "but version 2 follows from 2040-01-01T00:00:00Z, and versions keep their order" in printed.err
        assert "loyalty program withdraw test --version 2 --reason TEXT; then apply this one" in printed.err
    assert loyalty("program", "apply", third, "--from", "2040-01-01T00:00:00Z").code == 0


def test_a_dry_run_says_what_applying_would_do_and_does_not_do_it(loyalty: CommandLine, tmp_path: Path) -> None:
    first = loyalty("program", "apply", write(tmp_path), "--dry-run")
    assert first.out == (
        "Would apply version 1 of test, for all orders, however old.\nNothing is changed (--dry-run).\n"
    )
    assert loyalty("program", "list", "--json").json == []
    loyalty("program", "apply", write(tmp_path))
    second = loyalty("program", "apply", write(tmp_path, CHANGED), "--from", LATER, "--dry-run").out
    assert second.startswith("Would apply version 2 of test, from 2040-01-01 00:00:00Z")
    assert "points.silver: 1.5 -> 1.75" in second
    assert len(loyalty("program", "show", "test", "--json").json["versions"]) == 1
    refused = loyalty("program", "apply", write(tmp_path, PROGRAM_TEXT.replace("EUR", "USD")), "--dry-run")
    assert (refused.code, "points for EUR already" in refused.err) == (2, True)


def test_the_same_file_with_another_time_is_not_taken_for_done(loyalty: CommandLine, tmp_path: Path) -> None:
    loyalty("program", "apply", write(tmp_path))
    later = write(tmp_path, CHANGED)
    loyalty("program", "apply", later, "--from", LATER)
    assert loyalty("program", "apply", later, "--from", LATER).out.startswith(
        "Nothing changed: version 2 of test, from "
    )
    move = "loyalty program move test --version 2 --from {} --reason TEXT"
    for arguments, start in (
        (["--from", "2041-01-01T00:00:00Z"], "2041-01-01T00:00:00Z"),
        (["--from", "2039-01-01T00:00:00Z"], "2039-01-01T00:00:00Z"),
        ([], "now"),
    ):
        refused = loyalty("program", "apply", later, *arguments)
        assert refused.code == 2
        assert "version 2 says the same, and is to be in force from 2040-01-01T00:00:00Z" in refused.err
        assert move.format(start) in refused.err
    back = loyalty("program", "apply", write(tmp_path))
    assert back.code == 2
    assert "Version 1, which is in force now, says the same; to keep it: loyalty program withdraw" in back.err


def test_a_time_of_the_past_needs_backdate_and_is_told_what_it_does_not_touch(
    shell: Shell, loyalty: CommandLine, tmp_path: Path
) -> None:
    shell.take(*(order(f"o{day}", time=f"2026-03-0{day}T12:00:00Z") for day in (1, 2, 3)))
    command = ("program", "apply", write(tmp_path, CHANGED), "--from", "2026-03-02")
    refused = loyalty(*command)
    assert refused.code == 2
    assert (
        "2026-03-01T23:00:00Z is past: 2 recorded orders since stay as they were judged, and only orders that come "
        "from now on are judged by this file. If that is meant, add --backdate" in refused.err
    )
    assert loyalty(*command, "--dry-run").code == 2
    applied = loyalty(*command, "--backdate").out
    assert "2 recorded orders since then: judged before, and not judged again." in applied
    shell.take(order("late", time="2026-03-03T12:00:00Z"))
    shown = loyalty("program", "show", "test")
    assert (
        "# It was backdated: 2 orders of its time were recorded before it was applied, and judged by an ea" in shown.out
    )
    assert loyalty("program", "show", "test", "--json").json["orders_of_earlier_versions"] == 2
    loyalty("program", "apply", write(tmp_path), "--from", "2026-03-03", "--backdate")
    assert loyalty("program", "show", "test", "--version", 2, "--json").json["orders_of_earlier_versions"] == 1


class TestAVersionThatIsStillToCome:
    @pytest.fixture(autouse=True)
    def _applied(self, loyalty: CommandLine, tmp_path: Path) -> None:
        loyalty("program", "apply", write(tmp_path))
        loyalty("program", "apply", write(tmp_path, CHANGED), "--from", LATER, "--by", "ben")

    def test_is_withdrawn_once_and_keeps_who_when_and_why(self, loyalty: CommandLine) -> None:
        command = ("program", "withdraw", "test", "--reason", "not settled", "--by", "anna")
        dry = loyalty(*command, "--dry-run")
        assert dry.out.startswith("Would withdraw version 2 of test, which is to be in force from 2040-01-01 00:00:00Z")
        assert len(loyalty("program", "list", "--json").json[0]["to_come"]) == 1
        done = loyalty(*command).out
        assert done.startswith("Withdrew version 2 of test, which was to be in force from 2040-01-01 00:00:00Z")
        assert "points.silver: 1.5 -> 1.75" in done
        assert done.endswith("Now: version 1 for all orders, however old.\n")
        again = loyalty(*command, "--version", 2)
        assert again.code == 0
        assert re.match(
            r"Nothing changed: version 2 of test was withdrawn already, .* by anna: not settled\n", again.out
        )
        assert loyalty("program", "list", "--json").json[0]["to_come"] == []
        shown = loyalty("program", "show", "test", "--version", 2)
        assert "# Version 2 of test, withdrawn, was to be in force from 2040-01-01 00:00:00Z" in shown.out
        assert re.search(r"# Applied .* by ben\. All versions: 1 for all orders, however old; 2 withdrawn\.", shown.out)
        assert re.search(r"# Withdrawn, .* by anna: not settled\n", shown.out)
        (change,) = loyalty("program", "show", "test", "--version", 2, "--json").json["changes"]
        assert (change["effective_from"], change["changed_by"], change["reason"]) == (None, "anna", "not settled")

    def test_makes_room_for_a_nearer_one_when_it_is_withdrawn_and_can_come_again(
        self, loyalty: CommandLine, tmp_path: Path
    ) -> None:
        nearer = write(tmp_path, PROGRAM_TEXT.replace('"2"', '"3"'))
        assert "only in its place: loyalty program withdraw test" in loyalty("program", "check", nearer).out
        assert loyalty("program", "apply", nearer).code == 2
        loyalty("program", "withdraw", "test", "--reason", "a nearer one")
        assert loyalty("program", "apply", nearer).out.startswith("Applied version 3 of test, from ")
        again = loyalty("program", "apply", write(tmp_path, CHANGED), "--from", LATER)
        assert again.out.startswith("Applied version 4 of test, from 2040-01-01")

    def test_is_moved_and_keeps_its_number_and_its_place(self, loyalty: CommandLine, tmp_path: Path) -> None:
        loyalty("program", "apply", write(tmp_path, PROGRAM_TEXT.replace('"2"', '"3"')), "--from", "2050-01-01")
        command = ("program", "move", "test", "--version", 2, "--reason", "opens later", "--by", "anna")
        dry = loyalty(*command, "--from", "2041-07-01", "--dry-run").out
        assert dry.startswith("Would move version 2 of test: in force from 2041-06-30 22:00:00Z")
        done = loyalty(*command, "--from", "2041-07-01").out
        assert "Moved version 2 of test: in force from 2041-06-30 22:00:00Z (2041-07-01 00:00 in Europe/Berlin)" in done
        assert loyalty(*command, "--from", "2041-07-01").out.startswith("Nothing changed: version 2 of test is to be")
        shown = loyalty("program", "show", "test", "--version", 2, "--json").json
        assert [each["effective_from"] for each in shown["versions"]] == [
            None, "2041-06-30T22:00:00Z", "2049-12-31T23:00:00Z",
        ]  # fmt: skip
        beyond = loyalty(*command, "--from", "2051-01-01")
        assert "version 3 is from 2049-12-31T23:00:00Z, and versions keep their order" in beyond.err
        assert "2020-12-31T23:00:00Z is past" in loyalty(*command, "--from", "2021-01-01").err
        assert "several versions that are still to come" in loyalty(*command[:3], "--from", LATER, "--reason", "x").err
        now = loyalty(*command, "--from", "now").out
        assert now.startswith("Moved version 2 of test: in force from ")
        assert loyalty("program", "list", "--json").json[0]["version"] == 2

    def test_that_has_come_is_neither_moved_nor_withdrawn(self, loyalty: CommandLine) -> None:
        loyalty("program", "move", "test", "--from", "now", "--reason", "at once")
        for command in (("withdraw", "test"), ("move", "test", "--from", LATER)):
            refused = loyalty("program", *command, "--reason", "x")
            assert (refused.code, "has no version that is still to come; version 2 is in force" in refused.err) == (
                2,
                True,
            )
            refused = loyalty("program", *command, "--reason", "x", "--version", 1)
            assert (refused.code, "Version 1 of program test cannot be changed" in refused.err) == (2, True)
            assert loyalty("program", *command, "--reason", "x", "--version", 9).code == 2
            assert loyalty("program", *command, "--reason", " ").code == 2
        assert loyalty("program", "withdraw", "nope", "--reason", "x").code == 2

    def test_stays_where_two_programs_would_claim_the_same_without_it(
        self, loyalty: CommandLine, tmp_path: Path
    ) -> None:
        loyalty("program", "withdraw", "test", "--reason", "another")
        given_up = PROGRAM_TEXT.replace('["/shops/test"]', "[]") + "default: true\n"
        loyalty("program", "apply", write(tmp_path, given_up), "--from", LATER)
        other = PROGRAM_TEXT.replace("program_id: test", "program_id: other")
        loyalty("program", "apply", write(tmp_path, other.replace('["/shops/test"]', "[]") + "default: true\n"))
        assert len(loyalty("program", "list", "--json").json) == 1, "the default is taken from 2040 on"
        loyalty("program", "apply", write(tmp_path, other.replace('["/shops/test"]', "[]")))
        loyalty("program", "apply", write(tmp_path, other), "--from", LATER)
        refused = loyalty("program", "withdraw", "test", "--reason", "x")
        assert refused.code == 2
        assert "program other lists /shops/test" in refused.err
        refused = loyalty("program", "move", "test", "--from", "2041-01-01", "--reason", "x")
        assert "program other lists /shops/test" in refused.err


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


def test_the_unit_of_a_program_stays(loyalty: CommandLine, tmp_path: Path) -> None:
    loyalty("program", "apply", write(tmp_path, PROGRAM_TEXT + "unit: megabucks\n"))
    refused = loyalty("program", "apply", write(tmp_path, PROGRAM_TEXT))
    assert refused.code == 2
    assert "unit: is points, but the program's accounts count megabucks already" in refused.err
    assert "apply it as another program, with a program_id of its own" in refused.err


def test_points_are_converted_to_a_program_that_is_there(loyalty: CommandLine, tmp_path: Path) -> None:
    money = "program_id: money\nname: Money\ncurrency: EUR\nunit: EUR\ntime_zone: Europe/Berlin\n"
    converting = write(tmp_path, PROGRAM_TEXT + "conversions: [{to_program: money, points: 100, gives: 50}]\n")
    refused = loyalty("program", "apply", converting)
    assert refused.code == 2
    assert "conversions[0].to_program: there is no program money; apply that one first" in refused.err
    assert loyalty("program", "apply", write(tmp_path, money, "money.yaml")).code == 0
    assert loyalty("program", "apply", converting).code == 0


def test_a_program_is_told_with_what_it_counts_and_offers(loyalty: CommandLine, tmp_path: Path) -> None:
    mug = "rewards: [{reward_id: mug, name: A mug, cost: 5, kind: item, sku: MUG}]\n"
    path = write(tmp_path, PROGRAM_TEXT + mug + "unit: megabucks\ntags: [retail]\n")
    assert "3 tiers (bronze, silver, gold), 1 reward, counted in megabucks." in loyalty("program", "check", path).out
    loyalty("program", "apply", path)
    (listed,) = loyalty("program", "list", "--json").json
    assert (listed["unit"], listed["tags"]) == ("megabucks", ["retail"])
    assert " EUR       megabucks  " in loyalty("program", "list").out


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
