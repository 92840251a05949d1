"""What `loyalty account` says of an account's status, and of the id that its maker gave it."""

from tests.factories import command, order
from tests.shell import Shell, take_by_operator
from tests.workers.cli.command_line import CommandLine


def test_a_frozen_account_says_since_when_and_by_which_command(loyalty: CommandLine, shell: Shell) -> None:
    take_by_operator(shell, command("account.create", "k1", account_id="a1", customer_id="c1"))
    for number in (2, 3):  # the second changes nothing
        take_by_operator(shell, command("account.freeze", f"k{number}"))
    text = loyalty("account", "show", "c1").out
    assert "frozen since" in text
    assert "by command k2 of /shops/test" in text
    assert "a1" in text
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert (account["status"], account["own_account_id"]) == ("frozen", "a1")
    since = shell.value("SELECT recorded_at FROM commands WHERE command_id = 'k2'")
    assert account["status_since"] == since.isoformat().replace("+00:00", "Z")
    assert "nothing leaves it by spending" in loyalty("account", "explain", "c1").out


def test_an_active_account_says_nothing_of_it(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order())
    take_by_operator(shell, command("account.freeze", "k1"))
    take_by_operator(shell, command("account.unfreeze", "k2"))
    assert "Status" not in loyalty("account", "show", "c1").out
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert (account["status"], account["status_since"], account["own_account_id"]) == ("active", None, None)


def test_what_comes_to_a_closed_account_is_explained(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "100.00"))
    take_by_operator(shell, command("account.close", "k1", points_left="forfeit", reason="asked to leave"))
    shell.take(order("o2", "50.00"))
    text = loyalty("account", "explain", "c1").out
    assert "closed since" in text
    assert "orders that come are recorded, and earn nothing" in text
    assert "Closing the account took 100 points" in text
    assert "asked to leave" in text
    printed = loyalty("account", "explain", "c1", "--order", "o2")
    assert printed.code == 1
    assert "The account is closed: an order that comes is recorded, and earns nothing." in printed.err
