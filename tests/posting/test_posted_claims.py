"""Guests' orders that get their customer, and orders that move to the right one: posted whenever they come."""

from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from tests.arrivals import rounds
from tests.factories import PROGRAM_TEXT, amendment, cancellation, claim, fulfilment, line, order, refund, reversion
from tests.shell import Shell

HELD = PROGRAM_TEXT + "availability: {policy: on_fulfilled}\n"
LIMITED = (
    PROGRAM_TEXT
    + """
promotions:
  - {promotion_id: welcome, kind: addition, points: 50, when: {first_order: true},
     limits: {orders_per_customer: 1, budget_points: 90}}
"""
)


@pytest.fixture(params=[1, 8])
def shell(engine: Engine, request: pytest.FixtureRequest) -> Shell:
    return Shell(engine, shards=request.param)


def posted(shell: Shell, *messages: dict[str, Any]) -> None:
    """Post each by itself, and what it wakes."""
    for message in messages:
        post_all(shell, message)


def post_all(shell: Shell, *messages: dict[str, Any]) -> None:
    """Post messages that come at once, and what they wake."""
    shell.take(*messages)
    while shell.sweep()["woken"]:
        shell.post()


def guest(order_id: str = "o1", amount: str = "100.00", **over: Any) -> dict[str, Any]:
    return order(order_id, amount, customer_id=None, **over)


def test_a_guests_order_earns_once_its_customer_is_known(shell: Shell) -> None:
    posted(shell, guest(), claim())
    assert (shell.balance(), shell.differences()) == (100, [])
    (event,) = shell.events("loyalty.balance.changed")
    assert (event["data"]["reason"], event["data"]["points"]) == ("order_claimed", 100)


def test_the_refund_of_a_claimed_order_finds_it_by_its_old_id(shell: Shell) -> None:
    posted(shell, guest(amount="50.00"), claim(), refund("r1"))
    assert (shell.balance(), shell.differences()) == (0, [])


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_every_arrival_ends_alike(shell: Shell, is_one_batch: bool) -> None:
    story = (
        guest(lines=[line("1", "60.00"), line("2", "40.00")]),
        claim(),
        refund("r1", lines=[{"line_id": "1", "quantity": 1}]),
        amendment("o1", customer_id=None, lines=[line("1", "60.00"), line("2", "50.00")]),
    )
    for together in rounds(permutations(story), is_one_batch=is_one_batch):
        post_all(shell, *together)
    assert [row.balance for row in shell.rows("SELECT balance FROM accounts")] == [50] * 24
    assert shell.value("SELECT count(*) FROM inbox WHERE state <> 'posted'") == 0
    assert shell.differences() == []


def test_an_order_moves_to_the_right_customer(shell: Shell) -> None:
    posted(shell, order("o1", "80.00"), order("o2", "5.00"), claim("o1", "c2", previous_customer_id="c1"))
    assert (shell.balance("c1"), shell.balance("c2"), shell.differences()) == (5, 80, [])
    posted(shell, refund("r1"), reversion("r1"), amendment("o1", "90.00"))
    assert (shell.balance("c1"), shell.balance("c2"), shell.differences()) == (5, 90, [])
    posted(shell, cancellation("o1"))
    assert (shell.balance("c1"), shell.balance("c2"), shell.differences()) == (5, 0, [])


def test_a_moved_order_takes_its_refunds_and_its_tier_along(shell: Shell) -> None:
    posted(shell, order("o1", "600.00"), refund("r1", net="50.00"), claim("o1", "c2", previous_customer_id="c1"))
    assert (shell.balance("c1"), shell.balance("c2")) == (0, 550)
    tiers = {row.customer_id: row.tier_id for row in shell.rows("SELECT customer_id, tier_id FROM accounts")}
    assert (tiers, shell.differences()) == ({"c1": "bronze", "c2": "silver"}, [])


@pytest.mark.parametrize("customer_id", [None, "c1"])
def test_an_edit_of_a_claimed_order_names_its_customer_or_none_as_before(shell: Shell, customer_id: str | None) -> None:
    posted(shell, guest(), claim(), amendment("o1", "70.00", customer_id=customer_id))
    assert (shell.balance(), shell.differences()) == (70, [])


def test_of_several_claims_the_latest_by_its_own_time_counts(shell: Shell) -> None:
    first, second = (
        claim("o1", "c1", time="2026-03-08T10:00:00Z"),
        claim("o1", "c2", time="2026-03-09T10:00:00Z", previous_customer_id="c1"),
    )
    posted(shell, guest(), second, first)
    assert (shell.balance("c1"), shell.balance("c2"), shell.differences()) == (None, 100, [])


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (claim("o1", "c2"), "previous_customer_id"),
        (claim("o1", "c2", previous_customer_id="c3"), "previous_customer_id"),
    ],
)
def test_somebody_elses_order_is_not_taken(shell: Shell, message: dict[str, Any], said: str) -> None:
    posted(shell, order("o1"), message)
    assert shell.outcome(message["id"])[1] == "already_owned"
    assert said in shell.value("SELECT detail FROM inbox WHERE reason IS NOT NULL")
    assert (shell.balance(), shell.differences()) == (100, [])


def test_an_order_does_not_come_back_to_an_account_that_it_has_left(shell: Shell) -> None:
    posted(shell, order("o1"), claim("o1", "c2", previous_customer_id="c1"))
    back = claim("o1", "c1", previous_customer_id="c2", time="2026-04-01T10:00:00Z")
    posted(shell, back)
    assert shell.outcome(back["id"])[1] == "already_owned"
    assert (shell.balance("c1"), shell.balance("c2"), shell.differences()) == (0, 100, [])


def test_the_same_claim_again_is_a_replay_and_ones_own_order_stays(shell: Shell) -> None:
    posted(shell, guest(), claim(), claim(event_id="again"))
    assert shell.outcome("again")[0] == "replayed"
    posted(shell, claim(event_id="later", time="2026-04-01T10:00:00Z"))
    assert (shell.outcome("later")[0], shell.balance(), shell.differences()) == ("posted", 100, [])


def test_limits_and_the_first_order_are_judged_when_the_order_is_claimed(engine: Engine) -> None:
    shell = Shell(engine, program_text=LIMITED)
    posted(shell, guest("o1", "10.00"), claim("o1"), guest("o2", "10.00"), claim("o2"))
    assert shell.balance() == 10 + 50 + 10
    posted(shell, guest("o3", "10.00"), claim("o3", "c2"))
    assert (shell.balance("c2"), shell.differences()) == (10 + 40, [])


def test_points_of_a_claimed_order_wait_for_its_fulfilment(engine: Engine) -> None:
    shell = Shell(engine, program_text=HELD)
    posted(shell, guest("o1"), claim("o1"), guest("o2"), fulfilment("o2"), claim("o2", "c2"))
    rows = shell.rows("SELECT customer_id, balance, pending FROM accounts ORDER BY customer_id")
    assert [tuple(row) for row in rows] == [("c1", 0, 100), ("c2", 100, 0)]
    posted(shell, fulfilment("o1"))
    assert (shell.balance("c1"), shell.differences()) == (100, [])


@pytest.mark.parametrize("is_moved", [False, True], ids=["a guest's", "another customer's"])
def test_what_is_fulfilled_of_a_claimed_order_is_available_however_they_arrive(engine: Engine, is_moved: bool) -> None:
    lines = [line("1", "60.00"), line("2", "40.00", 4)]
    whose: dict[str, Any] = {"customer_id": "c0" if is_moved else None}
    was = {"previous_customer_id": "c0"} if is_moved else {}
    told = [
        order("o1", lines=lines, **whose),
        fulfilment("o1", lines=[{"line_id": "1"}]),
        cancellation("o1", lines=[{"line_id": "2", "quantity": 1}]),
        claim(**was),
    ]
    shell = Shell(engine, shards=1, program_text=HELD)
    for together in rounds((told[0], *others) for others in permutations(told[1:])):
        post_all(shell, *together)
    rows = shell.rows("SELECT balance, pending FROM accounts WHERE customer_id LIKE 'c1%'")
    assert ([tuple(row) for row in rows], shell.differences()) == ([(60, 30)] * 6, [])


@pytest.mark.parametrize("customer_id", ["new", "old"])
def test_a_guests_order_and_its_claim_are_posted_in_one_batch_where_points_have_a_budget(
    engine: Engine, customer_id: str
) -> None:
    shell = Shell(engine, shards=1, program_text=LIMITED)
    shell.take(order("o1", "10.00", customer_id="old"))
    with capture_logs() as logs:
        shell.take(order("o2", "10.00", customer_id=None), claim("o2", customer_id))
    assert [each["event"] for each in logs if each["log_level"] != "info"] == []
    assert shell.differences() == []
