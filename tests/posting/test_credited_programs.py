"""A program without rules and tiers, whose points are only credited: its orders earn nothing, and everything holds."""

import pytest
from sqlalchemy import Engine

from tests.factories import amendment, cancellation, fulfilment, goods_back, order, refund
from tests.shell import Shell

CREDITED = """\
program_id: test
name: Credited
currency: EUR
time_zone: Europe/Berlin
default: true
"""
WELCOME = "promotions: [{promotion_id: welcome, kind: addition, points: 50, when: {first_order: true}}]\n"
TWICE = "promotions: [{promotion_id: twice, kind: multiplier, multiplier: 2}]\n"


@pytest.mark.parametrize(
    "more",
    [
        "",
        "combine: stack\n",
        TWICE,
        "counted_orders: all\n",
        "expiry: {policy: inactivity, days: 30}\n",
        "availability: {policy: on_fulfilled}\n",
        "qualification: {window: calendar_year}\n",
    ],
)
def test_its_orders_and_all_that_follows_them_are_posted_and_move_no_points(engine: Engine, more: str) -> None:
    shell = Shell(engine, program_text=CREDITED + more)
    messages = [
        order("o1", "100.00"),
        refund("r1", "o1", paid="10.00"),
        amendment("o1", "70.00"),
        fulfilment("o1"),
        order("o2", "20.00"),
        cancellation("o2"),
        goods_back(amount="20.00"),
    ]
    assert shell.take(*messages) == {"posted": len(messages)}
    (account,) = shell.rows("SELECT balance, pending, lifetime_points, tier_id, orders_posted FROM accounts")
    assert tuple(account) == (0, 0, 0, "base", 2)
    assert shell.value("SELECT count(*) FROM entries") == 0
    shell.review("2030-01-01T00:00:00Z")
    assert (shell.events("loyalty.tier.changed"), shell.differences()) == ([], [])


def test_its_orders_earn_what_promotions_add(engine: Engine) -> None:
    shell = Shell(engine, program_text=CREDITED + WELCOME)
    shell.take(order("o1", "100.00"), order("o2", "100.00"))
    assert (shell.balance(), shell.differences()) == (50, [])


def test_a_wrong_tier_of_it_is_found_and_rebuilt(engine: Engine) -> None:
    shell = Shell(engine, program_text=CREDITED + WELCOME)
    shell.take(order("o1", "100.00"))
    shell.execute("UPDATE accounts SET tier_id = 'gold'")
    assert any("an account's tier is that of its last change" in text for text in shell.differences())
    (repair,) = shell.repairs().repairs
    assert (repair.found["tier_id"], repair.rebuilt["tier_id"]) == ("gold", "base")


def test_rules_and_tiers_can_come_later(engine: Engine) -> None:
    shell = Shell(engine, program_text=CREDITED)
    shell.take(order("o1", "100.00", time="2026-03-01T12:00:00Z"))
    rules = "earning_rules: [{rule_id: spend, kind: spend, per_amount: 1, points: 1}]\n"
    tiers = "tiers: [{tier_id: base, threshold_points: 0}, {tier_id: gold, threshold_points: 50}]\n"
    shell.apply_program(CREDITED + rules + tiers, effective_from="2026-03-02T00:00:00Z")
    shell.take(order("o2", "60.00", time="2026-03-03T12:00:00Z"))
    assert (shell.balance(), shell.value("SELECT tier_id FROM accounts"), shell.differences()) == (60, "gold", [])
