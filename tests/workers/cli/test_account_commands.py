"""`loyalty account` and `verify`: what support staff and operators read."""

from datetime import UTC, datetime, timedelta

from tests.factories import PROGRAM_TEXT, command, line, order, refund
from tests.shell import Shell, take_by_operator
from tests.workers.cli.command_line import CommandLine

SECOND_PROGRAM = PROGRAM_TEXT.replace("program_id: test", "program_id: club").replace(
    'sources: ["/shops/test"]', "sources: []"
)


def test_an_account_shows_balance_tier_and_what_the_next_tier_takes(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "600.00"), order("o2", "100.00", time="2026-03-02T12:00:00+01:00"))
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert account["balance"] == 600 + 150
    assert account["lifetime_points"] == 750
    assert (account["tier"], account["tier_since"]) == ("silver", "2026-03-01T11:00:00Z")
    assert (account["next_tier"], account["points_to_next_tier"]) == ("gold", 1250)
    assert account["open_messages"] == []
    text = loyalty("account", "show", "c1").out
    assert "750" in text
    assert "silver since 2026-03-01 12:00" in text, "times are in the program's time zone"
    assert "gold, 1,250 to go (750 qualifying points of 2,000)" in text


def test_lots_come_with_their_expiry_soonest_first(loyalty: CommandLine, shell: Shell) -> None:
    shell.apply_program(PROGRAM_TEXT + "expiry: {policy: after_months, months: 12}\n", "2026-01-01T00:00:00+00:00")
    now = datetime.now(UTC)
    shell.take(
        order("late", "10.00", time=now.isoformat()),
        order("early", "20.00", time=(now - timedelta(days=30)).isoformat()),
    )
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert [lot["points_remaining"] for lot in account["lots"]] == [20, 10]
    assert account["lots"][0]["expires_at"] < account["lots"][1]["expires_at"]


def test_of_very_many_lots_the_first_are_shown_and_the_rest_is_summed_up(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(*(order(f"o{n}", "2.00") for n in range(103)))
    text = loyalty("account", "show", "c1").out
    assert "order o99\n" in text
    assert "order o100" not in text
    assert "3 more lots with 6 points in all; --json lists the first 1,000." in text
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert (len(account["lots"]), account["lots_not_listed"], account["points_not_listed"]) == (103, 0, 0)


def test_points_that_expired_but_are_not_booked_yet_are_told_apart(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "40.00"))
    shell.execute("UPDATE lots SET expires_at = now() - interval '1 minute'")
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert (account["balance"], account["points_past_expiry"]) == (40, 40)
    assert "40, of which 40 have expired" in loyalty("account", "show", "c1").out


def test_a_customer_of_two_programs_sees_both_unless_one_is_named(loyalty: CommandLine, shell: Shell) -> None:
    shell.apply_program(SECOND_PROGRAM)
    shell.take(order("o1", "10.00"), order("o2", "20.00", program_id="club"))
    both = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert [(account["program_id"], account["balance"]) for account in both] == [("club", 20), ("test", 10)]
    [one] = loyalty("account", "show", "c1", "--program", "club", "--json").json["accounts"]
    assert one["balance"] == 20
    assert loyalty("account", "history", "c1").out.count("Happened") == 2


def test_an_unknown_customer_is_a_problem_and_an_unknown_program_is_wrong_use(
    loyalty: CommandLine, shell: Shell
) -> None:
    shell.take(order())
    printed = loyalty("account", "show", "C1")
    assert printed.code == 1
    assert "no account of customer C1" in printed.err
    assert "upper and lower case" in printed.err
    printed = loyalty("account", "show", "c1", "--program", "nope")
    assert printed.code == 2
    assert "programs here: test" in printed.err


def test_a_refund_that_is_parked_is_shown_with_the_account_of_its_order(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"), refund("r1", "o1", lines=[{"line_id": "9", "quantity": 1}]))
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    [parked] = account["open_messages"]
    assert (parked["order_id"], parked["state"], parked["reason"]) == ("o1", "dead", "unknown_line")
    assert "not in the ledger" in loyalty("account", "show", "c1").out


def test_history_says_of_every_entry_why_it_is_there(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", lines=[line("1", "60.00"), line("2", "40.55")]))
    shell.take(refund("r1", "o1", lines=[{"line_id": "2", "quantity": 1}]))
    first, second = loyalty("account", "history", "c1", "--json").json["accounts"][0]["entries"]
    assert (first["sequence"], first["points"], first["balance_after"], first["order_id"]) == (1, 100, 100, "o1")
    assert first["why_text"] == "100.55 EUR in tier bronze: 1 per 1.00 gives 100 (rule spend, rounded down)."
    assert (second["points"], second["refund_id"], second["corrects_sequence"]) == (-40, "r1", 1)
    assert second["why_text"].startswith("The order earns 60 with this refund, 100 before it. 60 EUR")
    assert [(move["lot_number"], move["points"]) for move in second["lots"]] == [(1, -40)]
    text = loyalty("account", "history", "c1").out
    assert "order o1, refund r1" in text
    assert "100 that never expire; recorded" in text
    assert "40 of those that never expire; corrects entry 1; recorded" in text


def test_history_tells_what_expired_and_what_was_not_taken_twice(loyalty: CommandLine, shell: Shell) -> None:
    shell.apply_program(PROGRAM_TEXT + "expiry: {policy: after_months, months: 1}\n", "2026-01-01T00:00:00+00:00")
    shell.take(order("o1", "100.00"), order("o2", "30.00"))
    shell.expire("2026-06-01T00:00:00+00:00")
    shell.take(refund("r1", "o1", net="10.00"))
    entries = loyalty("account", "history", "c1", "--json").json["accounts"][0]["entries"]
    assert entries[-1]["kind"] == "expiry"
    assert entries[-1]["why_text"] == "They could be used until 1 April 2026."


def test_history_tells_of_a_deficit_and_of_what_pays_it_off(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "100.00"))
    # Nothing of this release spends points; what a later one will leave behind is put there by hand.
    shell.execute("UPDATE lots SET points_remaining = 30")
    shell.take(refund("r1", "o1"))
    shell.take(order("o2", "50.00", time="2026-04-01T12:00:00Z"))
    _, clawback, accrual = loyalty("account", "history", "c1", "--json").json["accounts"][0]["entries"]
    assert clawback["why_text"].endswith("There were no points left for 70 of it: the deficit grew by as much.")
    assert accrual["why_text"].endswith("Of it, 50 points paid off the deficit.")
    assert "20, which the next points pay off" in loyalty("account", "show", "c1").out


def test_history_gives_the_last_entries_and_says_how_many_there_are(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(*(order(f"o{n}", "10.00") for n in range(1, 6)))
    [account] = loyalty("account", "history", "c1", "--limit", 2, "--json").json["accounts"]
    assert [entry["sequence"] for entry in account["entries"]] == [4, 5]
    assert account["entries_in_all"] == 5
    assert "The last 2 of 5 entries" in loyalty("account", "history", "c1", "--limit", 2).out


def test_a_customer_whose_orders_earned_nothing_has_an_account_without_entries(
    loyalty: CommandLine, shell: Shell
) -> None:
    shell.take(order("o1", "0.50"))
    assert loyalty("account", "show", "c1").code == 0
    assert "No entries" in loyalty("account", "history", "c1").out


def test_ids_of_a_sender_cannot_command_the_terminal(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("[red]o\ue0001[/red]"))
    text = loyalty("account", "history", "c1").out
    assert "order [red]o\\ue0001[/red]" in text


def test_verify_ends_with_0_on_right_books_and_names_every_difference_on_wrong_ones(
    loyalty: CommandLine, shell: Shell
) -> None:
    shell.take(order())
    right = loyalty("verify")
    assert right.code == 0
    assert "The books are right" in right.out
    shell.execute("UPDATE accounts SET balance = balance + 5, lifetime_points = lifetime_points - 1")
    wrong = loyalty("verify")
    assert wrong.code == 1
    assert "balance 105" in " ".join(wrong.out.split())
    document = loyalty("verify", "--json")
    assert document.code == 1
    assert document.json["is_right"] is False
    assert {difference["invariant"] for difference in document.json["differences"]} == {1, 5, 9}


def test_a_refund_of_another_sources_order_is_shown_with_what_to_send(loyalty: CommandLine, shell: Shell) -> None:
    shell.apply_program(PROGRAM_TEXT.replace('"/shops/test"', '"/shops/test", "/shops/till"'), "2026-01-01T00:00:00Z")
    shell.apply_program(SECOND_PROGRAM)
    shell.take(order("T1", "90.00"), refund("T1-R1", "T1", source="/shops/till"))
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    [waiting] = account["open_messages"]
    assert (waiting["order_id"], waiting["source"], waiting["state"]) == ("T1", "/shops/till", "waiting")
    assert waiting["to_add"] == {"order_source": "/shops/test"}
    said = "waits for an order that has not come; source /shops/test has one of this id. If that is meant, send"
    for called in (("account", "show", "c1"), ("account", "explain", "c1"), ("status",)):
        out = " ".join(loyalty(*called).out.split())
        assert said in out, called
        assert '"order_source": "/shops/test"' in out
    shell.take(refund("T1-R1", "T1", source="/shops/till", order_source="/shops/test", event_id="mended"))
    assert (shell.balance(), shell.differences()) == (0, [])


def test_a_refund_that_waits_for_its_order_of_another_program_is_shown_with_what_to_send(
    loyalty: CommandLine, shell: Shell
) -> None:
    shell.apply_program(SECOND_PROGRAM)
    shell.take(order("o1", program_id="club"), refund("r1", "o1"), refund("r2", "o2"))
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert [each["to_add"] for each in account["open_messages"]] == [{"program_id": "club"}]
    assert [each["to_add"] for each in loyalty("status", "--json").json["elsewhere"]] == [{"program_id": "club"}]


def test_a_refund_of_a_source_that_has_its_own_program_means_no_order_of_another_one(
    loyalty: CommandLine, shell: Shell
) -> None:
    shell.apply_program(SECOND_PROGRAM.replace("sources: []", "sources: [/shops/club]"))
    shell.take(order("o1"), refund("r1", "o1", source="/shops/club"))
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert (account["open_messages"], loyalty("status", "--json").json["elsewhere"]) == ([], [])


def test_a_customers_order_that_is_parked_is_shown_with_the_refund_that_waits_for_it(
    loyalty: CommandLine, shell: Shell
) -> None:
    wrong = order("o2")
    wrong["data"]["lines"][0]["amount"] = "-5.00"
    shell.take(order("o1"), wrong, refund("r2", "o2"), order("o3", customer_id="c3"), refund("r9", "o9"))
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    parked, waiting = account["open_messages"]
    assert (parked["type"], parked["order_id"], parked["state"]) == ("order.completed", "o2", "dead")
    assert "amounts are not negative: leave the line out" in parked["detail"]
    assert (waiting["type"], waiting["order_id"], waiting["state"]) == ("order.refunded", "o2", "waiting")
    for called in (("account", "explain", "c1"), ("account", "explain", "c1", "--order", "o2")):
        printed = loyalty(*called)
        text = " ".join((printed.out + printed.err).split())
        assert "Not in the ledger: order o2 (message 2) is parked as invalid_data, and needs a person:" in text
        assert "loyalty dead show 2" in text
        assert "Not in the ledger: a refund of order o2 (message 3) waits for its order." in text
    assert loyalty("account", "explain", "c1", "--order", "o2").code == 1
    [other] = loyalty("account", "show", "c3", "--json").json["accounts"]
    assert other["open_messages"] == []


def test_of_two_sales_with_one_number_both_customers_are_told_of_the_parked_one(
    loyalty: CommandLine, shell: Shell
) -> None:
    shell.take(order("o1"), order("o2", customer_id="c2"), order("o1", "34.00", customer_id="c2", event_id="till-b"))
    for customer_id in ("c1", "c2"):
        [account] = loyalty("account", "show", customer_id, "--json").json["accounts"]
        [parked] = account["open_messages"]
        assert (parked["order_id"], parked["reason"]) == ("o1", "order_conflict")
        assert "if this is another order, send it in a new event with an order_id of its own" in parked["detail"]
    assert "another content of order o1 (message 3) is parked as order_conflict" in loyalty(
        "account", "explain", "c1"
    ).out.replace("\n", " ")


def test_what_is_about_one_order_and_not_in_the_ledger_is_told_with_it_and_not_with_another(
    loyalty: CommandLine, shell: Shell
) -> None:
    shell.take(order("o1"), order("o2"), refund("r1", "o1", lines=[{"line_id": "9", "quantity": 1}]))
    [explained] = loyalty("account", "explain", "c1", "--order", "o1", "--json").json["orders"]
    assert [(each["type"], each["reason"]) for each in explained["open_messages"]] == [
        ("order.refunded", "unknown_line")
    ]
    assert (
        "a refund of order o1 (message 3) is parked as unknown_line"
        in loyalty("account", "explain", "c1", "--order", "o1").out
    )
    [explained] = loyalty("account", "explain", "c1", "--order", "o2", "--json").json["orders"]
    assert explained["open_messages"] == []


def test_a_parked_order_is_the_customers_whichever_way_their_id_is_written_and_only_in_its_program(
    loyalty: CommandLine, shell: Shell
) -> None:
    shell.apply_program(SECOND_PROGRAM)
    named = {"customer_id": "\u00e9-1", "currency": "USD"}
    wrong = order("o2", program_id="club", **named)
    shell.take(order("o1", customer_id="\u00e9-1"), order("c", customer_id="\u00e9-1", program_id="club"), wrong)
    club, test = loyalty("account", "show", "\u00e9-1", "--json").json["accounts"]
    assert [each["order_id"] for each in club["open_messages"]] == ["o2"]
    assert test["open_messages"] == []


def test_of_a_customer_whose_only_order_is_parked_its_number_is_told(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", customer_id="c7", lines=[line("1", "-5.00")]), order("o2", customer_id="c77"))
    printed = loyalty("account", "show", "c7")
    assert printed.code == 1
    assert "parked messages name this customer: 1 (loyalty dead show)" in " ".join(printed.err.split())
    assert "parked messages" not in loyalty("account", "show", "c8").err


def test_what_is_reserved_is_shown_with_what_reserves_it(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "100.00"))
    take_by_operator(shell, command("authorize", "k1", points=30, authorization_id="table-7"))
    shown = loyalty("account", "show", "c1")
    assert "Reserved" in shown.out
    assert "table-7" in shown.out
    (account,) = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert (account["balance"], account["reserved"]) == (70, 30)
    assert [(each["authorization_id"], each["points_held"]) for each in account["authorizations"]] == [("table-7", 30)]
    told = loyalty("account", "explain", "c1").out
    assert "Authorization table-7 reserves 30 points, which come back on" in told


def test_the_history_is_paged_by_the_number_that_stands_below_a_page(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(*(order(f"o{number}", "1.00") for number in range(1, 6)))
    last = loyalty("account", "history", "c1", "--limit", 2).out
    assert "The last 2 of 5 entries; --limit shows more, --before 4 those before them." in last
    earlier = loyalty("account", "history", "c1", "--before", 4, "--limit", 2).out
    assert ("order o3" in earlier, "order o4" in earlier) == (True, False)
    assert "Up to entry 3, 2 of 5 entries; --limit shows more, --before 2 those before them." in earlier
    first = loyalty("account", "history", "c1", "--before", 2).out
    assert ("order o1" in first, "--before" in first) == (True, False)
    assert "No entry is before that." in loyalty("account", "history", "c1", "--before", 1).out
    assert loyalty("account", "history", "c1", "--before", 0).code == 2
    [page] = loyalty("account", "history", "c1", "--before", 4, "--limit", 2, "--json").json["accounts"]
    assert ([entry["sequence"] for entry in page["entries"]], page["before"]) == ([2, 3], 2)
    [page] = loyalty("account", "history", "c1", "--json").json["accounts"]
    assert page["before"] is None
