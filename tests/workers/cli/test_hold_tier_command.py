"""`loyalty account hold-tier`: a tier that a person gives to a customer."""

from getpass import getuser

import pytest

from tests.factories import PROGRAM_TEXT, order, refund
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine, Printed

UNTIL = "2090-06-30T22:00:00+00:00"
YEARLY = PROGRAM_TEXT + "qualification: {window: calendar_year, refunds: at_once}\n"


def hold(
    loyalty: CommandLine, *arguments: object, tier: str = "gold", until: str = UNTIL, reason: str = "as promised"
) -> Printed:
    return loyalty("account", "hold-tier", "c1", "--tier", tier, "--until", until, "--reason", reason, *arguments)


def test_without_apply_it_only_tells_what_would_change(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"))
    printed = hold(loyalty)
    assert printed.code == 0
    assert "Would be done: bronze to gold, held until 30 June 2090." in printed.out
    assert "Nothing is changed" in printed.out
    assert shell.value("SELECT tier_id FROM accounts") == "bronze"
    assert shell.rows("SELECT * FROM repairs") == []


def test_with_apply_the_tier_is_changed_told_and_kept_with_its_reason(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"))
    document = hold(loyalty, "--apply", "--json").json
    assert (document["is_applied"], document["previous_tier"], document["tier"]) == (True, "bronze", "gold")
    assert document["tier_held_until"] == "2090-06-30T22:00:00Z"
    [event] = shell.events("loyalty.tier.changed")
    assert (event["data"]["tier"], event["data"]["reason"]) == ("gold", "held")
    assert "as promised" not in str(event), "a reason may name people"
    [kept] = shell.rows("SELECT subject, found, reason FROM repairs")
    assert (kept.subject, kept.found["tier_id"], kept.reason) == ("tier", "bronze", "as promised")
    assert shell.differences() == []
    assert "held by hand until 30 June 2090" in loyalty("account", "show", "c1").out
    told = loyalty("account", "explain", "c1").out
    assert f"From bronze to gold: it was set by hand by {getuser()} (as promised)." in told


def test_a_tier_that_is_held_to_the_end_of_a_year_is_reviewed_then(loyalty: CommandLine, shell: Shell) -> None:
    shell.apply_program(YEARLY, "2026-01-01T00:00:00+00:00")
    shell.take(order("o1"))
    reviewed = [hold(loyalty, "--json", until=f"2089-12-31T{time}+00:00").json for time in ("22:59:59", "23:00:00")]
    assert [document["review_due_at"] for document in reviewed] == ["2089-12-31T23:00:00Z"] * 2


def test_later_orders_earn_in_the_held_tier_and_refunds_leave_it(loyalty: CommandLine, shell: Shell) -> None:
    shell.apply_program(YEARLY, "2026-01-01T00:00:00+00:00")
    shell.take(order("o1"))
    hold(loyalty, "--apply")
    time = shell.value("SELECT now()").isoformat()
    shell.take(order("o2", time=time), refund("r1", "o1", time=time))
    assert shell.value("SELECT points FROM entries WHERE order_id = 'o2' AND kind = 'accrual'") == 200
    assert shell.value("SELECT tier_id FROM accounts") == "gold"


def test_the_same_hold_again_changes_nothing_and_another_replaces_it(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"))
    for _ in range(2):
        assert hold(loyalty, "--apply").code == 0
    assert len(shell.rows("SELECT * FROM repairs")) == 1
    assert "It replaces the hold until 30 June 2090." in hold(loyalty, "--apply", tier="silver").out
    assert [event["data"]["tier"] for event in shell.events("loyalty.tier.changed")] == ["gold", "silver"]


@pytest.mark.parametrize(
    ("wrong", "code", "error"),
    [
        ({"tier": "platinum"}, 2, "has no tier platinum; its tiers: bronze, silver, gold"),
        ({"until": "2020-01-01T00:00:00Z"}, 2, "it is not in the future"),
        ({"until": "2199-01-01T00:00:00Z"}, 2, "more than 100 years ahead"),
        ({"until": "next year"}, 2, "is not a time"),
        ({"until": "9999-12-31T23:59:59-14:00"}, 2, "is not a time"),
        ({"reason": " "}, 2, "Say why with --reason"),
    ],
)
def test_a_hold_that_cannot_be_is_refused(
    loyalty: CommandLine, shell: Shell, wrong: dict[str, str], code: int, error: str
) -> None:
    shell.take(order("o1"))
    printed = hold(loyalty, "--apply", **wrong)
    assert (printed.code, error in printed.err) == (code, True)
    assert shell.rows("SELECT * FROM repairs") == []


def test_a_customer_of_two_programs_needs_one_named(loyalty: CommandLine, shell: Shell) -> None:
    text = PROGRAM_TEXT.replace("program_id: test", "program_id: club")
    shell.apply_program(text.replace('sources: ["/shops/test"]', "sources: []"))
    shell.take(order("o1"), order("o2", program_id="club"))
    printed = hold(loyalty, "--apply")
    assert (printed.code, "(club, test). Say which with --program" in printed.err) == (2, True)
    assert hold(loyalty, "--apply", "--program", "club").code == 0
    assert shell.rows("SELECT program_id FROM accounts WHERE tier_held_until IS NOT NULL") == [("club",)]


def test_an_unknown_customer_is_a_problem(loyalty: CommandLine, shell: Shell) -> None:
    assert "no account of customer c1" in hold(loyalty, "--apply").err
