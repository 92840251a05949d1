"""`loyalty points`: commands that a person gives. They are done at once, and each shows what it did."""

import re
from zoneinfo import ZoneInfo

import pytest

from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.inbound.contracts import INBOUND
from core.receiving.receive import receive_by_operator
from tests.factories import PROGRAM_TEXT, as_bytes, command, order
from tests.shell import EVENT_SOURCE, LIMITS, Shell, take_by_operator
from tests.workers.cli.command_line import CommandLine
from workers.cli.command_spellings import OPTIONS, PARTIES, SPELLINGS, Spelling
from workers.cli.output import until_text
from workers.cli.value_commands import fields_of, naming_fields

UNTIL = "2090-06-30T22:00:00+00:00"


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_every_command_can_be_given_at_the_command_line() -> None:
    assert {f"{COMMAND_PREFIX}{spelling.verb}" for spelling in SPELLINGS} == set(INBOUND) & INBOUND.answered


class TestPoints:
    def test_given_ones_are_shown_with_before_after_and_until_when(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order("o1", "100.00"))
        printed = loyalty("points", "credit", "c1", 500, "--reason", "late parcel", "--expires-at", UNTIL)
        assert printed.code == 0, printed.err
        assert "Done: 500 points given to c1." in printed.out
        assert ["balance", "100", "600"] in lines(printed.out)
        assert ["+500", "30", "June", "2090"] in lines(printed.out)
        assert (shell.balance(), shell.differences()) == (600, [])
        history = loyalty("account", "history", "c1").out
        assert "late parcel" in history

    def test_taken_ones_are_too(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order("o1", "100.00"))
        printed = loyalty("points", "debit", "c1", 120, "--allow-remainder")
        assert "Done: 100 points taken from c1; 20 points could not be." in printed.out
        assert ["balance", "100", "0"] in lines(printed.out)
        assert ["-100", "for", "good"] in lines(printed.out)

    def test_a_correction_takes_with_points_below_0(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order("o1", "100.00"))
        printed = loyalty("points", "adjust", "c1", "-30", "--reason", "counted twice", "--id", "k1")
        assert printed.code == 0, printed.err
        assert (["balance", "100", "70"] in lines(printed.out), shell.balance()) == (True, 70)
        assert "Done: the points of c1 corrected by -30 points." in printed.out
        assert "corrected by +1 point." in loyalty("points", "adjust", "c1", 1, "--reason", "x").out

    def test_an_account_can_be_named_in_another_way(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order("o1", "100.00"))
        account_id = shell.value("SELECT account_id FROM accounts")
        printed = loyalty("points", "debit", account_id, 40, "--named-by", "account", "--json")
        assert (printed.json["account_id"], printed.json["points"]) == (str(account_id), 40)
        assert loyalty("points", "debit", account_id, 40, "--named-by", "shoe").code == 2

    def test_a_dry_run_shows_the_same_and_changes_nothing(self, loyalty: CommandLine, shell: Shell) -> None:
        printed = loyalty("points", "credit", "c1", 500, "--reason", "late parcel", "--dry-run")
        assert "Would be done: 500 points given to c1." in printed.out
        assert ["balance", "0", "500"] in lines(printed.out)
        assert "Nothing is changed" in printed.out
        assert (shell.balance(), shell.value("SELECT count(*) FROM inbox")) == (None, 0)
        assert loyalty("points", "debit", "c1", 5, "--order", "5001", "--dry-run").code == 1

    def test_they_are_moved_and_both_accounts_are_shown(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order("o1", "100.00"))
        printed = loyalty("points", "transfer", "c1", "c2", 40)
        assert printed.code == 0, printed.err
        assert "Done: 40 points moved from c1." in printed.out
        assert [line for line in lines(printed.out) if "balance" in line] == [
            ["balance", "100", "60"],
            ["balance", "0", "40"],
        ]
        account_id = shell.value("SELECT account_id FROM accounts WHERE customer_id = 'c2'")
        loyalty("points", "transfer", account_id, "c1", 10, "--named-by", "account", "--to-named-by", "customer")
        assert (shell.balance(), shell.balance("c2"), shell.differences()) == (70, 30, [])

    def test_they_are_taken_again_when_a_command_is_undone(self, loyalty: CommandLine, shell: Shell) -> None:
        assert loyalty("points", "credit", "c1", 50, "--reason", "late parcel", "--id", "gift-77").code == 0
        undone = loyalty("points", "reverse", "gift-77", "--points", 20)
        assert (undone.code, "20 points" in undone.out, shell.balance()) == (0, True, 30)
        assert "It asked for" not in loyalty("account", "history", "c1").out
        assert "already_reversed" in loyalty("points", "reverse", "gift-77").err

    def test_they_go_to_another_program(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.apply_program(PROGRAM_TEXT.replace("program_id: test", "program_id: money").replace("/shops/test", "/m"))
        rate = "conversions: [{to_program: money, points: 10, gives: 1}]\n"
        shell.apply_program(PROGRAM_TEXT + rate, "2026-01-01T00:00:00Z")
        shell.take(order("o1", "100.00"))
        turned = loyalty("points", "convert", "c1", "money", 50, "--program", "test")
        assert turned.code == 0, turned.err
        assert (shell.balance(), shell.balance(program_id="money"), shell.differences()) == (50, 5, [])

    def test_each_account_of_a_conversion_is_told_in_its_own_program_and_zone(
        self, loyalty: CommandLine, shell: Shell
    ) -> None:
        far = PROGRAM_TEXT.replace("program_id: test", "program_id: money").replace("/shops/test", "/m")
        far = far.replace("Europe/Berlin", "Pacific/Kiritimati") + "expiry: {policy: after_days, days: 90}\n"
        shell.apply_program(far)
        shell.apply_program(
            PROGRAM_TEXT + "conversions: [{to_program: money, points: 10, gives: 1}]\n", "2026-01-01T00:00:00Z"
        )
        shell.take(order("o1", "100.00"))
        turned = loyalty("points", "convert", "c1", "money", 50, "--program", "test", "--id", "k1").out
        ends = shell.value("SELECT expires_at FROM lots WHERE expires_at IS NOT NULL")
        assert ends.astimezone(ZoneInfo("Pacific/Kiritimati")).hour == 0
        for page in (turned, loyalty("command", "show", "k1").out):
            [taken, given] = re.findall(r"^c1 in (\w+) \(account", page, re.MULTILINE)
            assert (taken, given) == ("test", "money")
            assert until_text(ends, ZoneInfo("Pacific/Kiritimati")) in page
        told = loyalty("command", "show", "k1", "--json").json["commands"][0]["answer"]["accounts"]
        assert [account["program_id"] for account in told] == ["test", "money"]

    def test_they_are_reserved_captured_in_part_and_given_back(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order("o1", "100.00"))
        reserved = loyalty("points", "authorize", "c1", 60, "--authorization-id", "a1")
        assert "Done: 60 points of c1 reserved." in reserved.out, reserved.err
        assert ["reserved", "0", "60"] in lines(reserved.out)
        captured = loyalty("points", "capture", "a1", "--points", 20, "--keep-rest")
        assert ["reserved", "60", "40"] in lines(captured.out), captured.err
        given_back = loyalty("points", "void", "a1")
        assert ["balance", "40", "80"] in lines(given_back.out), given_back.err
        assert loyalty("points", "redeem", "c1", 80).code == 0
        assert (shell.balance(), shell.differences()) == (0, [])


class TestAccounts:
    def test_one_is_changed_linked_to_a_card_and_closed(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order("o1", "100.00"))
        assert loyalty("account", "update", "c1", "--tag", "staff").code == 0
        linked = loyalty("account", "link", "c1", "--card", "9780201379624")
        assert "Done: linked to the account of c1." in linked.out, linked.err
        assert loyalty("points", "debit", "9780201379624", 40, "--named-by", "card", "--json").json["points"] == 40
        assert "unlinked" in loyalty("account", "unlink", "c1", "--card", "9780201379624").out
        assert "points_left" in loyalty("account", "close", "c1").err
        closed = loyalty("account", "close", "c1", "--points-left", "forfeit", "--reason", "asked for it")
        assert (closed.code, shell.balance(), shell.differences()) == (0, 0, [])

    def test_what_is_left_of_a_closed_one_goes_where_it_is_said(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order("o1", "100.00"))
        closed = loyalty("account", "close", "c1", "--points-left", "transfer", "--to-customer-id", "c2")
        assert closed.code == 0, closed.err
        assert (shell.balance(customer_id="c2"), shell.differences()) == (100, [])

    def test_one_is_merged_into_another_and_parted_from_it_again(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), order("o2", "50.00", customer_id="c2"))
        merged = loyalty("account", "merge", "c1", "c2", "--reason", "signed up twice")
        assert "Done: account merged into that of c2, with 100 points." in merged.out, merged.err
        assert ["balance", "50", "150"] in lines(merged.out)
        assert "merged into account" in loyalty("account", "show", "c1").out
        assert "was merged into another one, which took 100 points" in loyalty("account", "explain", "c1").out
        assert "was merged into this one, which brought 100 points" in loyalty("account", "explain", "c2").out
        assert loyalty("account", "merge", "c1", "c2").code == 1
        parted = loyalty("account", "unmerge", "c1")
        assert "Done: merge of the account of c1 undone, with 100 points." in parted.out, parted.err
        assert (shell.balance(), shell.balance("c2"), shell.differences()) == (100, 50, [])

    def test_one_is_frozen_and_unfrozen(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order("o1", "100.00"))
        assert "Done: account of c1 frozen." in loyalty("account", "freeze", "c1", "--reason", "stolen").out
        assert loyalty("points", "debit", "c1", 5).code == 1
        assert loyalty("account", "unfreeze", "c1").code == 0
        assert loyalty("points", "debit", "c1", 5).code == 0

    def test_one_is_opened_with_all_that_can_be_said_of_it(self, loyalty: CommandLine, shell: Shell) -> None:
        since = ("--enrolled-at", "2021-05-01T00:00:00+01:00")
        more = ("--tag", "staff", "--tag", "north", "--metadata", "card=old=1")
        printed = loyalty("account", "create", "till-7", "c1", "--points", 100, *since, *more)
        assert printed.code == 0, printed.err
        assert "Done: account opened for c1, with 100 points." in printed.out
        assert loyalty("account", "create", "till-8", "c2", "--metadata", "card").code == 2
        assert (shell.balance(), shell.differences()) == (100, [])
        assert loyalty("points", "debit", "till-7", 5, "--named-by", "account").code == 0


class TestTheSameAgain:
    def test_with_the_id_that_was_printed_it_changes_nothing(self, loyalty: CommandLine, shell: Shell) -> None:
        command_id = loyalty("points", "credit", "c1", 500, "--json").json["command_id"]
        again = loyalty("points", "credit", "c1", 500, "--id", command_id)
        assert "Done before, at " in again.out
        assert f"It is command {command_id}" in again.out
        assert shell.balance() == 500

    def test_without_it_it_is_another_command(self, loyalty: CommandLine, shell: Shell) -> None:
        for _ in range(2):
            loyalty("points", "credit", "c1", 500)
        assert shell.balance() == 1_000


class TestNotDone:
    def test_it_says_why_and_what_to_do_and_ends_with_1(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order("o1", "100.00"))
        printed = loyalty("points", "debit", "c1", 120, "--id", "k1")
        assert (printed.code, printed.out) == (1, "")
        assert (
            "Command k1 is not done: 120 are asked for, and 100 can be spent now (insufficient_points)" in printed.err
        )
        assert "ask for no more than can be spent" in printed.err
        document = loyalty("points", "debit", "c1", 120, "--id", "k1", "--json")
        assert (document.code, document.json["outcome"], document.json["code"]) == (
            1,
            "rejected",
            "insufficient_points",
        )
        assert (document.json["is_repeated"], shell.balance()) == (True, 100)

    def test_a_dry_run_says_so_too(self, loyalty: CommandLine, shell: Shell) -> None:
        printed = loyalty("points", "debit", "c1", 1, "--dry-run")
        assert (printed.code, "would not be done" in printed.err) == (1, True)
        assert shell.value("SELECT count(*) FROM commands") == 0

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("credit", "c1", 0), "data.points"),
            (("credit", "c1", "5.5"), "POINTS"),
            (("credit", "c1", 5, "--expires-at", "tomorrow"), "data.expires_at"),
            (("adjust", "c1", 5), "data.reason"),
            (("credit", "c1"), "POINTS"),
        ],
    )
    def test_wrong_use_ends_with_2_and_says_what(
        self, loyalty: CommandLine, shell: Shell, arguments: tuple[object, ...], told: str
    ) -> None:
        printed = loyalty("points", *arguments)
        assert (printed.code, told in printed.err) == (2, True), printed.err
        assert shell.value("SELECT count(*) FROM inbox") == 0

    def test_of_several_programs_one_is_to_be_named(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.apply_program(PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace("/shops/test", "/o"))
        printed = loyalty("points", "credit", "c1", 5)
        assert (printed.code, "Several programs are here (other, test)" in printed.err) == (2, True)
        assert loyalty("points", "credit", "c1", 5, "--program", "other").code == 0
        assert shell.balance("c1", "other") == 5

    def test_without_a_program_nothing_is_done(self, loyalty: CommandLine) -> None:
        printed = loyalty("points", "credit", "c1", 5)
        assert (printed.code, "unknown_program" in printed.err) == (1, True)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.words)
def test_every_field_of_its_contract_can_be_given(spelling: Spelling) -> None:
    fields = fields_of(spelling)
    named = {field for name in spelling.arguments if name in PARTIES for field in naming_fields(name, fields).values()}
    assert fields.keys() - named <= OPTIONS.keys()
    assert set(spelling.arguments) - PARTIES.keys() <= fields.keys()


class TestCommandShow:
    def test_it_shows_a_command_with_its_answer(self, loyalty: CommandLine, shell: Shell) -> None:
        take_by_operator(shell, command("credit", "k1", points=500, reason="gift", expires_at=UNTIL))
        take_by_operator(shell, command("debit", "k2", points=700))
        done = loyalty("command", "show", "k1")
        assert "Command k1 of /shops/test: credit" in done.out
        assert "500 points given to c1" in done.out
        assert (["balance", "0", "500"] in lines(done.out), done.code) == (True, 0)
        refused = loyalty("command", "show", "k2").out
        assert "700 are asked for, and 500 can be spent now (insufficient_points)" in refused
        assert "ask for no more than can be spent" in refused

    def test_one_id_may_be_that_of_several_sources(self, loyalty: CommandLine, shell: Shell) -> None:
        for source in ("/shops/test", "/tills/1"):
            take_by_operator(shell, command("credit", "k1", points=5, source=source, program_id="test"))
        both = loyalty("command", "show", "k1", "--json").json["commands"]
        assert [(each["source"], each["state"]) for each in both] == [
            ("/shops/test", "accepted"),
            ("/tills/1", "accepted"),
        ]
        one = loyalty("command", "show", "k1", "--source", "/tills/1", "--json").json["commands"]
        assert one == both[1:]

    def test_one_that_has_no_answer_yet_says_where_it_stands(self, loyalty: CommandLine, shell: Shell) -> None:
        asked = as_bytes(command("credit", "k1", points=5))
        with shell.engine.begin() as connection:
            receive_by_operator(connection, [asked], limits=LIMITS, shards=16, event_source=EVENT_SOURCE)
        assert "none; it is about to be posted" in loyalty("command", "show", "k1").out

    def test_one_that_was_not_let_in_says_why(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.receive(command("credit", "k1", points=5))
        printed = loyalty("command", "show", "k1").out
        assert "this source may not send loyalty.command.credit" in printed
        assert "(not_allowed)" in printed

    def test_an_order_of_that_id_is_none(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.receive(order("o1", event_id="k1"))
        printed = loyalty("command", "show", "k1")
        assert (printed.code, "There is no command k1" in printed.err) == (1, True)
