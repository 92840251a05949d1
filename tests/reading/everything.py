"""A program with everything that moves points, in months of their own: told to a worker, then put back in time."""

from datetime import UTC, datetime
from typing import Any

from tests.answers import TRUSTED
from tests.factories import amendment, claim, command, order, refund
from tests.shell import Shell

LATER = "2099-01-01T00:00:00Z"
MONEY = """
program_id: money
name: Account money
currency: EUR
unit: EUR
time_zone: Europe/Berlin
"""
PROGRAM = """
program_id: test
name: Test Rewards
currency: EUR
time_zone: Europe/Berlin
sources: ["/shops/test"]
combine: stack
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: 1}
  - {rule_id: visit, kind: visit, points: 10}
promotions:
  - {promotion_id: large, kind: addition, points: 25, when: {minimum_amount: "100.00"}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 400}
conversions:
  - {to_program: money, points: 2, gives: 1}
point_value: "0.005"
"""

#: What came in each month, the first longest ago.
MONTHS: tuple[tuple[dict[str, Any], ...], ...] = (
    (
        order("o1", "150.00"),
        order("o2", "300.00", customer_id="c2"),
        order("o3", "80.00", customer_id="c3"),
        order("g1", "120.00", customer_id=None),
        command("credit", "k1", points=50, expires_at=LATER),
        command("credit", "k2", points=40, available_at=LATER),
        refund("r1", "o1", net="30.00"),
        command("credit", "short", customer_id="c5", points=100, expires_at=LATER),
        command("credit", "gone", customer_id="c8", points=60, expires_at=LATER),
        command("redeem", "early", customer_id="c5", points=30),
    ),
    (
        command("redeem", "k3", points=20),
        command("debit", "k4", points=5),
        command("authorize", "k5", points=30, authorization_id="a1"),
        command("capture", "k6", customer_id=None, authorization_id="a1", points=10, is_final=False),
        command("transfer", "k7", to_customer_id="c4", points=25),
        command("convert", "k8", to_program_id="money", points=12),
        command("adjust", "k9", points=-3, reason="counted anew"),
        command("adjust", "k10", customer_id="c3", points=-900, reason="wrong", allow_negative_balance=True),
        command("reverse", "k11", customer_id=None, command_id="k3", points=8),
        amendment("o2", "350.00", customer_id="c2"),
        claim("g1", customer_id="c3"),
    ),
    (
        order("o4", "90.00", customer_id="c6"),
        command("account.merge", "k12", customer_id="c4", into_customer_id="c2"),
        command("account.merge", "k13", customer_id="c6", into_customer_id="c2"),
        refund("r2", "o4"),
        refund("r3", "o2", net="100.00"),
        command("authorize", "k17", customer_id="c2", points=15, authorization_id="a2"),
        command("void", "k14", customer_id=None, authorization_id="a1"),
        command("credit", "k15", customer_id="c7", points=70),
        command("account.close", "k16", customer_id="c7", points_left="forfeit"),
    ),
)


def with_everything(shell: Shell) -> None:
    """Post all of it, each month's messages in a month of their own; the last in the present one."""
    shell.limits = TRUSTED
    for text in (MONEY, PROGRAM):
        shell.apply_program(text)
    for place, messages in enumerate(MONTHS):
        if place:
            put_back(shell)
        shell.take(*messages)
    let_expire(shell, "gone", days_ago=40)
    shell.expire(datetime.now(UTC).isoformat())
    let_expire(shell, "short", days_ago=10)
    parked = shell.rows("SELECT event_id, reason, detail FROM inbox WHERE state IN ('dead', 'rejected')")
    assert not parked, parked


def let_expire(shell: Shell, command_id: str, *, days_ago: int) -> None:
    """Let the points of a credit have expired, whatever entries say."""
    shell.execute(
        "UPDATE lots SET expires_at = now() - make_interval(days => :days) WHERE origin_id = :id",
        days=days_ago,
        id=command_id,
    )


def put_back(shell: Shell) -> None:
    """Let everything have been recorded a month earlier than it is, by the clock of the programs' zone.

    In UTC an hour of a month's last day there may be of the next month in the zone, with summer time.
    """
    for table, column in (("entries", "recorded_at"), ("tier_changes", "recorded_at"), ("programs", "applied_at")):
        there = f"({column} AT TIME ZONE 'Europe/Berlin' - interval '1 month') AT TIME ZONE 'Europe/Berlin'"
        shell.execute(f"UPDATE {table} SET {column} = {there}")
