"""A run with the program in force comes to what posting, release, expiry and reviews make of the same messages."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from core.domain.program.registry import BEGINNING
from core.messages.program_files.program_file import parse_program
from core.simulating.comparing import Sides, compare, sides
from core.simulating.recorded import RecordedMessage, read_only, recorded_messages
from core.store.programs import load_registry
from tests.factories import (
    PROGRAM_TEXT,
    amendment,
    cancellation,
    command,
    fulfilment,
    goods_back,
    line,
    order,
    refund,
    reversion,
)
from tests.shell import Shell, take_by_operator

UNTIL = datetime(2036, 6, 1, tzinfo=UTC)
RULES = """combine: stack
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {bronze: 1, silver: "1.5", gold: 2},
     clawback: full_refund}
  - {rule_id: item, kind: item, skus: [s1], points: 7, caps: {per_day: 20}}
  - {rule_id: step, kind: spend, per_amount: "70.00", points: 3, carry: true}
promotions:
  - {promotion_id: first, kind: addition, points: 40, when: {first_order: true}, limits: {budget_points: 130}}
  - {promotion_id: sale, kind: multiplier, multiplier: 2, lines: {categories: [sale]},
     limits: {orders_per_customer: 2}, expiry: {policy: after_days, days: 3650}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
"""
PLAIN = PROGRAM_TEXT.replace("currency: EUR\n", 'currency: EUR\ncurrencies: {CHF: "1.0712"}\n')
PROGRAMS = {
    "plain": PLAIN,
    "rules, promotions and limits": PLAIN[: PLAIN.index("earning_rules")]
    + RULES
    + PLAIN[PLAIN.index("  - {tier_id: silver") :],
    "points held until they are fulfilled": PLAIN + "availability: {policy: on_fulfilled}\n",
    "points held for a week from there": PLAIN + "availability: {policy: days_after_fulfilment, days: 7}\n",
    "points that never go below zero": PLAIN + "clawback: {policy: clamp}\n",
    "years that are reviewed": PLAIN + "qualification: {window: calendar_year, refunds: at_once}\n",
    "rolling months": PLAIN + "qualification: {window: rolling_months, months: 2, measure: points}\n",
}


def story() -> list[dict[str, object]]:
    """Twelve months of four customers: every third order comes back in part, some are delivered or called off."""
    events: list[dict[str, object]] = []
    for n in range(48):
        day = f"2025-{1 + n // 4:02}-{3 + 5 * (n % 4):02}"
        lines = [
            line("1", f"{40 + 17 * (n % 7)}.00", quantity=1 + n % 4, sku=f"s{n % 3}", categories=["sale"][: n % 2])
        ]
        lines.append(line("2", f"{n % 5}9.95"))
        money = {3: {"currency": "CHF"}, 4: {"currency": "CHF", "rate": "0.95"}}.get(n % 6, {})
        events.append(order(f"o{n}", customer_id=f"c{n % 4}", time=f"{day}T10:00:00Z", lines=lines, **money))
        if n % 5 == 0:
            events.append(fulfilment(f"o{n}", time=f"{day}T18:00:00Z"))
        if n % 4 == 0:
            parcel = [{"line_id": "1", "quantity": 1}]
            events.append(fulfilment(f"o{n}", event_id=f"parcel-{n}", time=f"{day}T17:00:00Z", lines=parcel))
        if n % 9 == 0:
            part = [{"line_id": "2"}]
            events.append(cancellation(f"o{n}", event_id=f"part-{n}", time=f"{day}T19:00:00Z", lines=part))
        if n % 3 == 0:
            events.append(refund(f"r{n}", f"o{n}", time=f"{day}T20:00:00Z", lines=[{"line_id": "1", "quantity": 1}]))
        if n % 11 == 0:
            events.append(cancellation(f"o{n}", time=f"{day}T21:00:00Z"))
        if n % 6 == 0:
            events.append(reversion(f"r{n}", f"o{n}", time=f"{day}T22:00:00Z"))
        if n % 8 == 0:
            events.append(goods_back(f"b{n}", "9.99", customer_id=f"c{n % 4}", time=f"{day}T22:30:00Z"))
        if n % 7 == 0:
            now = [line("1", f"{30 + 11 * (n % 9)}.00", quantity=2, sku="s1"), line("3", "12.50"), *lines[1:]]
            currency = {"currency": "CHF"} if money else {}
            events.append(amendment(f"o{n}", customer_id=f"c{n % 4}", time=f"{day}T23:00:00Z", lines=now, **currency))
    return events


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_run_of_the_program_in_force_comes_to_the_balances_and_tiers_of_the_ledger(name: str, engine: Engine) -> None:
    shell = Shell(engine, shards=1, program_text=PROGRAMS[name])  # a budget goes by time across customers
    assert shell.take(*story()) == {"posted": len(story())}
    shell.expire(UNTIL.isoformat())
    shell.review(UNTIL.isoformat())
    with engine.begin() as connection:
        read_only(connection)
        versions = load_registry(connection).versions()
        changed = parse_program(PROGRAMS[name], path="test.yaml")
        messages = list(recorded_messages(connection, "test", UNTIL))
    found = compare(messages, sides(versions, changed, None), UNTIL)
    ledger = shell.rows("SELECT customer_id, lifetime_points, tier_id FROM accounts ORDER BY customer_id")
    simulated = sorted((account.customer_id, account.points_before, account.tier_before) for account in found.accounts)
    assert simulated == [tuple(row) for row in ledger]
    assert found.before.points_open == shell.value("SELECT sum(balance + pending) FROM accounts")
    granted = shell.value("SELECT sum(points + pending_change) FROM entries WHERE kind = 'accrual'")
    assert found.before.tally.points_granted == granted
    returned = shell.value("SELECT sum(points_due) FROM returns")
    of_orders = shell.value("SELECT sum(points_entitled) FROM orders")
    assert (sum(found.before.tally.by_name.values()), returned > 0) == (of_orders - returned, True)
    assert found.before == found.after
    for since in (None, datetime(2025, 6, 1, tzinfo=UTC)):
        _adds_up(messages, sides(versions, parse_program(otherwise(PROGRAMS[name]), path="changed.yaml"), since))


def test_accounts_that_are_there_earn_in_a_run_also_where_only_a_command_opens_them(engine: Engine) -> None:
    shell = Shell(engine, shards=1, program_text=PLAIN)
    shell.take(*story())
    with engine.begin() as connection:
        read_only(connection)
        versions = load_registry(connection).versions()
        messages = list(recorded_messages(connection, "test", UNTIL))
    by_command = parse_program(PLAIN + "enrol: command\n", path="test.yaml")
    found = compare(messages, sides(versions, by_command, None), UNTIL)
    assert found.before.tally.points_granted > 0
    assert found.before == found.after


def otherwise(text: str) -> str:
    """With other rates, and points that expire."""
    expiry = "expiry: {policy: after_days, days: 40}\n"
    return text.replace("bronze: 1,", "bronze: 3,").replace('bronze: "1"', 'bronze: "3"') + expiry


def _adds_up(messages: list[RecordedMessage], both: Sides) -> None:
    """From what was open before to what is open at the end, and from the rules to the whole."""
    found = compare(messages, both, UNTIL)
    assert found.before != found.after
    for side in (found.before, found.after):
        tally = side.tally
        assert tally.points_open_before + tally.points_net - tally.points_expired == side.points_open
        assert sum(tally.by_name.values()) + tally.points_not_taken == tally.points_net
        assert sum(tally.granted_by_month.values()) == tally.points_granted
    assert found.before.tally.points_open_before == found.after.tally.points_open_before
    assert (found.before.tally.points_open_before > 0) == (both.start != BEGINNING)


def test_a_run_comes_to_the_tiers_of_a_ledger_whose_messages_came_backwards_with_reviews_between(
    engine: Engine,
) -> None:
    """Counted by what is spent: what orders have earned depends on the tier that was known when they came."""
    text = PLAIN.replace("threshold_points: 0", "threshold_amount: 0")
    text = text.replace("threshold_points: 500", 'threshold_amount: "500"')
    text = text.replace("threshold_points: 2000", 'threshold_amount: "2000"')
    text += "qualification: {measure: spend, window: rolling_months, months: 2, refunds: at_once}\n"
    shell = Shell(engine, shards=1, program_text=text)
    events = story()
    for place in range(len(events), 0, -12):
        shell.take(*events[max(0, place - 12) : place])
        shell.review("2025-07-01T00:00:00+00:00")
    shell.review(UNTIL.isoformat())
    with engine.begin() as connection:
        read_only(connection)
        versions = load_registry(connection).versions()
        messages = list(recorded_messages(connection, "test", UNTIL))
    found = compare(messages, sides(versions, parse_program(text, path="test.yaml"), None), UNTIL)
    ledger = shell.rows("SELECT customer_id, tier_id FROM accounts ORDER BY customer_id")
    assert sorted((each.customer_id, each.tier_before) for each in found.accounts) == [tuple(row) for row in ledger]
    assert shell.differences() == []


def test_a_household_and_an_account_that_orders_name_come_to_what_the_ledger_has(engine: Engine) -> None:
    shell = Shell(engine, shards=1, program_text=PLAIN)
    members = [{"customer_id": "c2", "role": "member"}]
    take_by_operator(shell, command("account.create", "k1", account_id="home", customer_id="c1", members=members))
    by_id = order("o3", "30.00")
    by_id["data"] = {name: value for name, value in by_id["data"].items() if name != "customer_id"}
    by_id["data"]["account_id"] = "home"
    shell.take(order("o1", "10.00", customer_id="c2"), order("o2", "20.00"), by_id, refund("r1", "o1", net="5.00"))
    with engine.begin() as connection:
        read_only(connection)
        versions = load_registry(connection).versions()
        messages = list(recorded_messages(connection, "test", UNTIL))
    found = compare(messages, sides(versions, parse_program(PLAIN, path="test.yaml"), None), UNTIL)
    [account] = found.accounts
    assert (account.customer_id, account.points_before) == ("c1", shell.value("SELECT balance FROM accounts"))
