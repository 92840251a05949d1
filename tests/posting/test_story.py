"""The messages in the published schemas are a story that the engine takes, and the events what it publishes for it."""

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from core.mending.lot_extensions import Hand, LotFilter, NewEnd, extend_everywhere
from core.messages.examples.story import EXAMPLES_MAX, published_events, sent_messages
from core.messages.outbound.published_events import OUTBOUND_EVENTS
from core.store.programs import load_registry
from tests.answers import TRUSTED
from tests.factories import command, order
from tests.shell import EVENT_SOURCE, Shell

FILE = Path(__file__).parents[2] / "core" / "messages" / "examples" / "published.json"
PROGRAM = """
program_id: high-street
name: High Street Rewards
currency: GBP
time_zone: Europe/London
default: true
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {bronze: "1", silver: "1.25"}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 1000}
qualification: {window: calendar_year, warning_days: 40}
expiry: {policy: after_months, months: 120}
reminders: {days_ahead: [30]}
conversions:
  - {to_program: account-money, points: 100, gives: 50}
rewards:
  - {reward_id: mug, name: A mug, cost: 60, kind: item, sku: MUG}
"""
MONEY = """
program_id: account-money
name: Account money
currency: GBP
time_zone: Europe/London
unit: GBP
"""
#: What an instant that was read off the clock is shown as.
TOLD_AT = datetime(2026, 3, 20, 10, 0, tzinfo=UTC)
_CLOCK = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")


def played(engine: Engine) -> Shell:
    """The story, told to the engine; and what time and people do in it."""
    # What comes due is told by shards, which are of the accounts' ids: drawn ones would change the order.
    ids = (UUID(f"01a1fde8-0ab7-7c4d-9fea-{number:012d}") for number in count(1))
    shell = Shell(engine, limits=TRUSTED, program_text=MONEY, new_account_id=lambda: next(ids))
    shell.apply_program(PROGRAM)
    for message in sent_messages():
        outcomes = shell.take(message)
        assert outcomes == {"posted": 1}, (message["id"], outcomes, shell.events()[-1])
        if message["type"] == "loyalty.command.authorize":
            assert shell.announce((datetime.now(UTC) + timedelta(hours=30)).isoformat()) == 1
    assert shell.take(command("debit", "till-99", source="/services/support", customer_id="C-9", points=5)) == {
        "rejected": 1
    }
    shell.take(order("5007", event_id="order-5007-completed", source="/shops/high-street", currency="GBP", amount=12.5))
    shell.remind("2036-03-01T00:00:00Z")
    shell.review("2027-01-20T00:00:00Z")
    shell.warn("2027-12-05T00:00:00Z")
    with engine.connect() as connection:
        registry = load_registry(connection)
    chosen, end = LotFilter(customer_id="C-1003"), NewEnd(last_day=date(2099, 12, 31))
    done = extend_everywhere(
        engine, registry, chosen, end, datetime(2026, 3, 10, tzinfo=UTC), EVENT_SOURCE, Hand("Kim", "long winter"), None
    )
    assert sum(len(each.extensions) for each in done) == 1
    assert shell.differences() == []
    return shell


def shown(events: list[dict[str, Any]], began: datetime) -> Iterator[dict[str, Any]]:
    """Some of each type; what was read off the clock is written in the same form each time."""
    text = json.dumps(events, ensure_ascii=False)
    seen = set[tuple[str, ...]]()
    for event in json.loads(_CLOCK.sub(lambda found: _steady(found[0], began), text)):
        data = event["data"]
        kind = (event["type"], data.get("kind"), data.get("command"))
        if kind not in seen and sum(each[0] == kind[0] for each in seen) < EXAMPLES_MAX:
            seen.add(kind)
            yield event


def _steady(instant: str, began: datetime) -> str:
    minutes = round((datetime.fromisoformat(instant) - began) / timedelta(minutes=10)) * 10
    return (TOLD_AT + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_events_of_the_examples_are_what_the_engine_publishes_for_the_messages(engine: Engine) -> None:
    began = datetime.now(UTC)
    events = list(shown(played(engine).events(), began))
    if "LOYALTY_TEST_RECORD" in os.environ:
        FILE.write_text("[\n" + ",\n".join(f"  {json.dumps(each, ensure_ascii=False)}" for each in events) + "\n]\n")
    assert events == published_events(), "run this test with LOYALTY_TEST_RECORD=1, then make schemas"
    assert {event["type"] for event in events} == set(OUTBOUND_EVENTS)
