"""`account explain --for customer`: a customer's questions are answered without ids, and account for every point."""

import re
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.factories import (
    PROGRAM_TEXT,
    amendment,
    cancellation,
    claim,
    command,
    fulfilment,
    goods_back,
    line,
    order,
    refund,
)
from tests.posting.test_rewards import CATALOGUE
from tests.reading.everything import MONEY
from tests.shell import Shell, take_by_operator
from tests.workers.cli.command_line import CommandLine
from tests.workers.cli.test_account_explain import TAKEN_BACK
from tests.workers.cli.test_account_explain_at_random import random_messages

THE_ANSWERS = """
Test Rewards
What do I have?
  You can spend 421 points.
What is set aside?
  30 points are set aside for a purchase. What is not used by 24 December 2090, 12:00 comes back to you.
When does it end?
  421 points do not end.
What did I lose or spend, and why?
  5 March 2026: 150 points. You gave back something of your order of 1 March 2026 or were paid back for it, so it earns less.
Why am I bronze?
  You are bronze.
  5 March 2026: you ceased to be silver, since what you gave back left 450 points, and silver takes 500 points.
  1 March 2026: you became silver, since you had reached 600 points, and silver takes 500 points.
  For silver you need 50 points more.
"""  # noqa: E501  # what is printed, line by line
YEARLY = PROGRAM_TEXT + "qualification: {window: calendar_year}\nexpiry: {policy: after_months, months: 2}\n"


def answers(loyalty: CommandLine, customer_id: str = "c1", *options: object) -> dict[str, list[str]]:
    [account] = loyalty("account", "explain", customer_id, "--for", "customer", "--json", *options).json["accounts"]
    return {each["about"]: each["sentences"] for each in account["answers"]}


def lost(loyalty: CommandLine, customer_id: str = "c1") -> list[str]:
    return answers(loyalty, customer_id)["lost"]


def test_each_question_has_its_answer(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + "qualification: {refunds: at_once}\n")
    shell.take(order("o1", "600.00"))
    shell.take(refund("r1", "o1", net="150.00", time="2026-03-05T09:00:00+01:00"))
    take_by_operator(
        shell,
        command("credit", "g1", points=1, expires_at="2090-02-01T00:00:00+01:00"),
        command("authorize", "a1", points=30, authorization_id="basket-9", expires_at="2026-12-24T12:00:00+01:00"),
    )
    shell.execute("UPDATE authorizations SET expires_at = '2090-12-24T11:00Z'")
    printed = loyalty("account", "explain", "c1", "--for", "customer")
    assert printed.code == 0
    assert printed.out.splitlines() == [line for line in THE_ANSWERS.splitlines() if line]


def test_the_tier_is_told_by_what_holds_and_not_by_what_was_taken_back(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(*TAKEN_BACK)
    assert answers(loyalty)["tier"] == [
        "You are bronze.", "That is where everybody begins.", "For silver you need 42 points more.",
    ]  # fmt: skip
    shell.take(order("o5", "60.00", time="2026-03-06T12:00:00+01:00"))
    assert answers(loyalty)["tier"][:-1] == [
        "You are silver.",
        "6 March 2026: you became silver, since you had reached 518 points, and silver takes 500 points.",
    ]


def test_whoever_has_nothing_is_told_so(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "0.00"))
    assert answers(loyalty) == {
        "have": ["You can spend 0 points."],
        "reserved": ["Nothing."],
        "ends": ["There is nothing that could end."],
        "lost": ["Nothing."],
        "tier": ["You are bronze.", "That is where everybody begins.", "For silver you need 500 points more."],
    }


def test_what_went_is_told_by_when_it_happened_however_late_we_heard_of_it(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "100.00"), order("o2", "100.00"))
    shell.take(refund("r2", "o2", net="10.00", time="2026-04-09T12:00:00Z"))
    shell.take(refund("r1", "o1", net="20.00", time="2026-03-09T12:00:00Z"))
    assert [text.partition(":")[0] for text in lost(loyalty)] == ["9 April 2026", "9 March 2026"]


def test_where_there_is_one_tier_nobody_asks_why_it_is_that_one(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16, program_text=MONEY)
    take_by_operator(shell, command("credit", "g1", program_id="money", points=10))
    assert answers(loyalty)["have"] == ["You can spend 0.10 EUR."]
    assert "tier" not in answers(loyalty)


def test_the_ends_are_told_by_their_last_day_and_what_has_ended_is_told_as_lost(
    loyalty: CommandLine, engine: Engine
) -> None:
    shell = Shell(engine, shards=16, program_text=YEARLY)
    shell.take(order("o1", "600.00"))
    take_by_operator(
        shell,
        command("credit", "g1", points=10, expires_at="2090-02-01T00:00:00+01:00"),
        command("credit", "g2", points=1, expires_at="2090-03-01T00:00:00+01:00"),
    )
    found = answers(loyalty)
    assert found["have"] == ["You can spend 11 points."]
    assert found["ends"] == [
        "10 points can be spent until 31 January 2090.",
        "1 point can be spent until 28 February 2090.",
    ]
    shell.expire("2026-06-01T00:00:00Z")
    [expired] = lost(loyalty)
    assert expired == "2 May 2026: 600 points. They were not used in time: their last day was 1 May 2026."
    shell.review("2028-01-02T00:00:00Z")
    tier, ended = answers(loyalty)["tier"], "only 0 points counted for it when we looked, and silver takes 500 points"
    assert tier[:2] == [
        "You are bronze.",
        f"1 January 2028: you ceased to be silver, since {ended}.",
    ]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([cancellation("o1")], "100 points. Your order of 1 March 2026 was cancelled."),
        (
            [amendment("o1", lines=[line("1", "60.00")], revision=1)],
            "40 points. You changed your order of 1 March 2026, and as it is now it earns less.",
        ),
        ([goods_back("b1", lines=[line("1", "25.00")])], "25 points. You gave goods back without a receipt"),
        (
            [claim("o1", "c2", previous_customer_id="c1")],
            "It turned out that your order of 1 March 2026 was another customer's.",
        ),
    ],
)
def test_what_orders_take_back_is_told_by_the_day_of_the_order(
    loyalty: CommandLine, shell: Shell, messages: list[dict[str, Any]], words: str
) -> None:
    shell.take(order("o1", "100.00"))
    shell.take(*messages)
    told = lost(loyalty)
    assert words in told[0], told


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ([command("debit", "d1", points=8, reason="wrong customer")], "taken from your account. The reason we noted: "),
        ([command("redeem", "d1", points=8, order_id="77")], "8 points. You spent them."),
        ([command("adjust", "d1", points=-8, reason="counted twice")], "8 points. We put your account right."),
        ([command("transfer", "d1", points=8, to_customer_id="c2")], "8 points. They went to another account."),
        (
            [command("account.merge", "d1", into_customer_id="c2")],
            "They went to the account that yours was joined with.",
        ),
        (
            [
                command("authorize", "a1", points=20, authorization_id="b9"),
                command("capture", "d1", customer_id=None, authorization_id="b9", points=8),
            ],
            "8 points. You spent them.",
        ),
        (
            [command("credit", "g1", points=8), command("reverse", "d1", customer_id=None, command_id="g1")],
            "8 points. What had brought them was undone.",
        ),
        (
            [
                command("reward.issue", "i1", reward_id="mug", issue_id="i-1"),
                command("reward.redeem", "d1", customer_id=None, issue_id="i-1"),
            ],
            '60 points. You used the reward "A mug".',
        ),
        (
            [command("account.close", "d1", points_left="forfeit")],
            "100 points. Your account was closed, and they went with it.",
        ),
    ],
)
def test_what_commands_take_is_told_without_their_names(
    loyalty: CommandLine, engine: Engine, commands: list[dict[str, Any]], words: str
) -> None:
    shell = Shell(engine, shards=16, program_text=CATALOGUE)
    shell.take(order("o1", "100.00"), order("o2", "5.00", customer_id="c2"))
    take_by_operator(shell, *commands)
    assert words in lost(loyalty)[0], (lost(loyalty), shell.outcomes())


def test_a_reward_is_reserved_by_its_name(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16, program_text=CATALOGUE)
    shell.take(order("o1", "100.00"))
    take_by_operator(shell, command("reward.issue", "i1", reward_id="mug", issue_id="i-1"))
    assert answers(loyalty)["reserved"] == ['60 points are set aside for the reward "A mug".']


def test_what_waits_and_what_is_owed_is_told(loyalty: CommandLine, engine: Engine) -> None:
    held = PROGRAM_TEXT + "availability: {policy: on_fulfilled}\n"
    shell = Shell(engine, shards=16, program_text=held)
    shell.take(order("o1", "100.00"), fulfilment("o1"), order("o2", "1.00"))
    assert answers(loyalty)["have"] == [
        "You can spend 100 points.",
        "1 point more can be spent when its order is delivered.",
    ]
    take_by_operator(shell, command("debit", "d1", points=70))
    shell.take(refund("r1", "o1", net="90.00"))
    have = answers(loyalty)["have"]
    assert have[:2] == [
        "You can spend 0 points.",
        "More was taken back than you had; what you get next makes up for it first: 60 points.",
    ]


def test_money_and_units_are_called_as_the_program_calls_them(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + "unit: EUR\n")
    take_by_operator(shell, command("credit", "g1", points=123456), command("debit", "d1", points=56))
    assert answers(loyalty)["have"] == ["You can spend 1,234.00 EUR."]
    assert "0.56 EUR. They were taken from your account." in lost(loyalty)[0]


def test_a_locked_account_and_unsettled_orders_are_told_of(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "100.00"), refund("r9", "o1", net="900.00"), order("o1", "55.00", event_id="again"))
    take_by_operator(shell, command("account.freeze", "f1"))
    have = answers(loyalty)["have"]
    assert "Your account is locked for the time being: it goes on to earn, and nothing can be spent." in have
    assert "Something about 1 order of yours is not settled yet; it may change what you have." in have


def test_a_tier_that_a_person_gave_and_holds_is_told_so(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "100.00"))
    held = ("--tier", "gold", "--until", "2090-01-01T00:00:00+01:00", "--reason", "as promised", "--by", "Kim")
    assert loyalty("account", "hold-tier", "c1", *held, "--apply").code == 0
    tier = answers(loyalty)["tier"]
    assert tier[0] == "You are gold."
    assert tier[1].endswith("you became gold, since we gave you this tier.")
    assert tier[2] == "You keep it at least until 31 December 2089."
    assert "Kim" not in str(tier)


def test_of_a_long_history_it_says_that_earlier_losses_are_not_listed(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "100.00"))
    take_by_operator(shell, *(command("debit", f"d{number}", points=1) for number in range(3)))
    assert len(answers(loyalty)["lost"]) == 3
    assert answers(loyalty, "c1", "--limit", 2)["lost"][-1] == "What happened before that is not listed here."


def test_the_past_and_one_order_are_for_support(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "100.00"))
    for options in (("--order", "o1"), ("--as-of", "2026-11-01T00:00:00Z")):
        printed = loyalty("account", "explain", "c1", "--for", "customer", *options)
        assert (printed.code, printed.out) == (2, "")
        assert "leave out --order and --as-of" in printed.err
    assert loyalty("account", "explain", "c1", "--for", "nobody").code == 2
    assert loyalty("account", "explain", "nobody", "--for", "customer").code == 1
    assert loyalty("account", "explain", "c1", "--for", "support").out == loyalty("account", "explain", "c1").out


@pytest.mark.parametrize("seed", [1, 2])
def test_of_random_histories_every_lost_point_is_told_once_and_no_id(
    loyalty: CommandLine, engine: Engine, seed: int
) -> None:
    shell = Shell(engine, shards=16, program_text=YEARLY.replace("months: 2", "months: 600"))
    shell.take(*random_messages(Random(seed), "/shops/test"))
    printed = loyalty("account", "explain", "c1", "--for", "customer", "--limit", 1000).out
    amounts = re.findall(r"^  \d.* \d{4}: ([\d,]+) points?\.", printed, re.MULTILINE)
    told = sum(int(amount.replace(",", "")) for amount in amounts)
    changes = shell.rows("SELECT points + pending_change + reserved_change AS change FROM entries")
    assert told == -sum(row.change for row in changes if row.change < 0) > 0
    ids = shell.rows(
        "SELECT order_id AS id FROM orders UNION SELECT refund_id FROM refunds UNION SELECT source FROM orders"
        " UNION SELECT account_id::text FROM accounts UNION SELECT customer_id FROM accounts"
    )
    assert [row.id for row in ids if re.search(rf"(?<![\w-]){re.escape(row.id)}(?![\w-])", printed)] == []
    shell.take(order("after", "1.00", lines=[line("1", "1.00")]))
    assert shell.differences() == []


def test_points_still_to_come_that_have_an_end_are_told_with_it(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16)
    ends = {"available_at": "2090-01-01T00:00:00Z", "expires_at": "2090-12-30T23:00:00Z"}
    take_by_operator(shell, command("credit", "k1", customer_id="c1", program_id="test", points=7, **ends))
    assert answers(loyalty)["ends"] == ["7 points still to come can be spent until 30 December 2090."]
