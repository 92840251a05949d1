"""`loyalty reward`: the catalogue of a program, and rewards that a person issues, redeems and takes back."""

import pytest
from sqlalchemy import Engine

from tests.factories import command
from tests.posting.test_rewards import CATALOGUE
from tests.shell import Shell, take_by_operator
from tests.workers.cli.command_line import CommandLine


@pytest.fixture
def catalogue(engine: Engine) -> Shell:
    shell = Shell(engine, shards=16, program_text=CATALOGUE)
    take_by_operator(shell, command("credit", "g1", points=100))
    return shell


@pytest.mark.usefixtures("catalogue")
def test_the_catalogue_says_what_there_is_and_what_is_left(loyalty: CommandLine) -> None:
    printed = loyalty("reward", "list").out
    assert "Rewards of Test Rewards (test)" in printed
    [mug] = [line for line in printed.splitlines() if line.strip().startswith("mug")]
    assert mug.split() == ["mug", "60", "A", "mug:", "article", "MUG", "3", "is", "issued"]
    [five] = [line.split() for line in printed.splitlines() if line.startswith("five-off")]
    assert five == ["five-off", "100", "5", "euros", "off:", "5.00", "EUR", "off", "-", "is", "issued"]
    assert "was issued until 2026-06-30T22:00:00+00:00" in printed
    told = loyalty("reward", "list", "--program", "test", "--json").json["programs"][0]["rewards"]
    assert (told[0]["reward_id"], told[0]["stock_left"], told[0]["had"]) == ("mug", 3, None)
    assert loyalty("reward", "list", "--program", "none").code == 2


@pytest.mark.usefixtures("catalogue")
def test_of_a_customer_it_says_what_is_within_reach(loyalty: CommandLine) -> None:
    assert loyalty("reward", "issue", "c1", "mug").code == 0
    printed = loyalty("reward", "list", "--customer", "c1").out
    assert "c1 can spend 40 points" in printed
    endings = {line.split()[0]: line.rpartition("  ")[2] for line in printed.splitlines()[2:] if line.strip()}
    assert (endings["mug"], endings["five-off"], endings["parking"]) == (
        "20 points short",
        "60 points short",
        "within reach",
    )
    told = loyalty("reward", "list", "--customer", "c1", "--json").json["programs"][0]["rewards"]
    assert [(each["code"], each["had"], each["points_short"]) for each in told][:3] == [
        (None, 1, 20), (None, 0, 60), ("not_in_tier", 0, 40),
    ]  # fmt: skip


def test_one_is_issued_redeemed_and_told_of(loyalty: CommandLine, catalogue: Shell) -> None:
    printed = loyalty("reward", "issue", "c1", "mug", "--issue-id", "till-7", "--id", "k1")
    assert "Done: reward A mug issued to c1 as till-7, for 60 points." in printed.out
    shown = loyalty("account", "show", "c1").out
    assert "till-7, reward mug" in shown
    assert "60, by authorizations and rewards" in shown
    assert "Reward mug, issued as till-7, reserves 60 points." in loyalty("account", "explain", "c1").out
    printed = loyalty("reward", "redeem", "till-7", "--order", "5001")
    assert "Done: reward A mug of c1 redeemed, for 60 points." in printed.out
    explained = loyalty("account", "explain", "c1").out
    assert "Reward mug was issued, which reserved 60 points" in explained
    assert "Reward mug was redeemed for 60 points" in explained
    assert "(reward mug, issue till-7) for order 5001" in " ".join(loyalty("account", "history", "c1").out.split())
    assert "reward A mug issued to c1 as till-7" in loyalty("command", "show", "k1").out
    assert catalogue.differences() == []


def test_one_is_taken_back(loyalty: CommandLine, catalogue: Shell) -> None:
    loyalty("reward", "issue", "c1", "mug", "--issue-id", "till-8", "--expires-in-seconds", "3600")
    printed = loyalty("reward", "delete", "till-8", "--dry-run")
    assert "Would be done: reward A mug of c1 taken back, 60 points returned." in printed.out
    assert loyalty("reward", "delete", "till-8", "--json").json["reward"]["sku"] == "MUG"
    assert "Reward mug was taken back, which gave back 60 points" in loyalty("account", "explain", "c1").out
    loyalty("reward", "issue", "c1", "mug", "--issue-id", "till-9", "--expires-in-seconds", "3600")
    catalogue.void("2099-01-01T00:00:00Z")
    explained = loyalty("account", "explain", "c1").out
    assert "Reward mug expired, which gave back 60 points" in explained
    assert "The deadline of issue till-9 had passed." in explained


@pytest.mark.usefixtures("catalogue")
def test_one_that_is_not_given_ends_with_1_and_says_why(loyalty: CommandLine) -> None:
    printed = loyalty("reward", "issue", "c1", "cup")
    assert (printed.code, "unknown_reward" in printed.err) == (1, True)
    assert "mug, five-off, tenth-off, parking, summer" in printed.err
