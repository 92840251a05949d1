"""A ledger of commands in which every invariant holds, made by posting: all that moves points beside orders.

Each customer has two orders, and eighteen commands and reports about them; one customer in a hundred is merged into
another.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, text

from benchmarks.posting import BENCH_LIMITS, fill_inbox, measure_posting
from core.messages.program_files.program_file import parse_program
from core.store.programs import append_version

#: So many messages there are of each customer.
MESSAGES_EACH = 20
_SHARDS, _BATCH_MESSAGES = 16, 500
_SOURCE = "/bench"
_PROGRAMS = (
    "program_id: coins\nname: Coins\ncurrency: EUR\nunit: coins\ntime_zone: Europe/Berlin\n",
    """
program_id: bench
name: Bench
currency: EUR
time_zone: Europe/Berlin
default: true
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: 1, caps: {per_month: 100000}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 150}
expiry: {policy: after_months, months: 12}
returned_points_grace_days: 30
conversions: [{to_program: coins, points: 5, gives: 2}]
rewards: [{reward_id: mug, name: Mug, kind: item, sku: mug, cost: 15}]
limits: {redeem: {per_day: 100000}}
""",
)


def fill_with_commands(engine: Engine, messages: int) -> int:
    """Post about so many messages. Returns how many there are."""
    for program_text in _PROGRAMS:
        with engine.begin() as connection:
            append_version(connection, parse_program(program_text, path="bench.yaml"), program_text, None)
    customers = max(2, messages // MESSAGES_EACH)
    limits = BENCH_LIMITS._replace(is_trusted=True)
    count = 0
    # One round after the other, so that the rows of an account do not lie together, and nothing comes before its order.
    for part in zip(*(_of_customer(number, customers) for number in range(customers)), strict=True):
        found = [message for message in part if message is not None]
        fill_inbox(engine, found, _SHARDS, limits=limits)
        count += len(found)
    measure_posting(engine, _BATCH_MESSAGES, processes=2)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        refused = connection.execute(text("SELECT DISTINCT type, reason FROM inbox WHERE state <> 'posted'")).all()
        assert not refused, refused
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM"))
    return count


def _of_customer(number: int, customers: int) -> Iterator[tuple[str, bytes] | None]:
    whose = {"customer_id": f"c{number}"}
    other = f"c{(number + 1) % customers}"
    is_merged = number % 100 == 0 and number + 1 < customers  # what has had a reward is not
    refund = {"currency": "EUR", "net": "10.00"}
    yield _order(number, "a")
    yield _command(number, "credit", points=90, **whose)
    yield _command(number, "authorize", points=20, authorization_id=f"hold-{number}", **whose)
    yield _command(number, "capture", points=8, is_final=False, authorization_id=f"hold-{number}")
    yield _command(number, "void", authorization_id=f"hold-{number}")
    yield _command(number, "redeem", points=10, **whose)
    yield _message(f"paid-{number}", "order.refunded", {"refund_id": f"a{number}", "order_id": f"{number}-a", **refund})
    paid = {"points_paid": "5.00", "points_command_id": f"redeem-{number}", "points_command_source": _SOURCE}
    yield _order(number, "b", **paid)
    yield _message(f"back-{number}", "order.refunded", {"refund_id": f"b{number}", "order_id": f"{number}-b", **refund})
    yield _command(number, "debit", points=3, **whose)
    yield _command(number, "transfer", points=4, to_customer_id=other, **whose)
    yield _command(number, "convert", points=10, to_program_id="coins", **whose)
    reward = {"reward_id": "mug", "issue_id": f"mug-{number}"}
    yield None if is_merged else _command(number, "reward.issue", **reward, **whose)
    end = "redeem" if number % 2 else "delete"
    yield None if is_merged else _command(number, f"reward.{end}", issue_id=f"mug-{number}")
    yield _command(number, "adjust", points=2, reason="counted anew", **whose)
    yield _command(number, "reverse", command_id=f"credit-{number}", points=5)
    yield _command(number, "account.link", card=f"card-{number}", **whose)
    yield _command(number, "account.update", tags=["bench"], **whose)
    yield _message(f"sent-{number}", "order.fulfilled", {"order_id": f"{number}-a"})
    yield _command(number, "account.merge", into_customer_id=other, **whose) if is_merged else None


def _order(number: int, which: str, **more: Any) -> tuple[str, bytes]:
    order_id = f"{number}-{which}"
    lines = [{"line_id": "1", "quantity": 1, "amount": "80.00"}]
    data = {"order_id": order_id, "customer_id": f"c{number}", "currency": "EUR", "lines": lines, **more}
    return _message(f"order-{order_id}", "order.completed", data)


def _command(number: int, verb: str, **data: Any) -> tuple[str, bytes]:
    return _message(f"{verb}-{number}", f"loyalty.command.{verb}", data)


def _message(event_id: str, kind: str, data: dict[str, Any]) -> tuple[str, bytes]:
    event = {"id": event_id, "source": _SOURCE, "type": kind, "time": datetime.now(UTC).isoformat(), "data": data}
    return kind, json.dumps({"specversion": "1.0", **event}).encode()
