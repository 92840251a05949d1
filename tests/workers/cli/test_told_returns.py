"""Goods that came back without a receipt, as support reads of them."""

from tests.factories import PROGRAM_TEXT, goods_back, line, order
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine


def test_a_return_says_what_the_goods_would_have_earned(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "600.00"), goods_back("b7", lines=[line("1", "12.00"), line("2", "8.50")]))
    _, taken = loyalty("account", "history", "c1", "--json").json["accounts"][0]["entries"]
    assert (taken["kind"], taken["points"], taken["return_id"], taken["order_id"]) == ("clawback", -30, "b7", None)
    assert taken["why_text"] == (
        "Bought that day, the goods that came back would have earned 30 points. "
        "20.50 EUR in tier silver: 1.5 per 1.00 gives 30 (rule spend, rounded down)."
    )
    assert "return b7" in loyalty("account", "history", "c1").out
    told = " ".join(loyalty("account", "explain", "c1").out.split())
    assert "Goods came back without a receipt (return b7), which took 30 points: balance 570." in told
    assert "Bought that day, the goods that came back would have earned 30 points." in told


def test_what_is_not_there_is_told(loyalty: CommandLine, shell: Shell) -> None:
    shell.apply_program(PROGRAM_TEXT + "clawback: {policy: clamp}\n", "2026-01-01T00:00:00Z")
    shell.take(order("o1", "5.00"), goods_back(amount="20.00"))
    [account] = loyalty("account", "history", "c1", "--json").json["accounts"]
    assert "Not taken, by the program's clawback policy: 15 points." in account["entries"][-1]["why_text"]


def test_what_went_below_zero_is_told(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(goods_back(amount="20.00"))
    assert "the deficit grew by as much" in loyalty("account", "explain", "c1").out
    assert shell.differences() == []
