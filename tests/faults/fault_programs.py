"""The programs of the fault runs: one whose points no order of arrival can change, and others that are more delicate.

One has tiers, one lets points expire, one holds them until their orders are fulfilled, one has limits over orders,
the orders of one are changed after they were sold, and one has points given and taken by commands,
which become those of the last one.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from core.domain.program import Program
from core.domain.value.verbs import Verb
from core.messages.program_files.program_file import parse_program
from core.store.applying import apply_program

FLAT, TIERED, FADING, HELD, LIMITED, CHANGED = "flat", "tiered", "fading", "held", "limited", "changed"
VALUED, COINS = "valued", "coins"
DESK = "/shops/valued/desk"  #: it may send commands for VALUED
TILL = "/shops/changed/till"  #: another channel of CHANGED
#: Which source reports to which program; "/shops/market" is listed by none, so it belongs to the default.
SOURCES = {FLAT: "/shops/market", TIERED: "/shops/tiered", FADING: "/shops/fading"}
SOURCES |= {HELD: "/shops/held", LIMITED: "/shops/limited", CHANGED: "/shops/changed"}
SOURCES |= {VALUED: "/shops/valued"}
CURRENCY = "EUR"

_HEAD = """
program_id: {0}
name: Fault runs, {0}
currency: EUR
time_zone: Europe/Berlin
"""
_FLAT = """
default: true
combine: stack
basis: {tax: included}
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {member: "1"}}
  - {rule_id: extra, kind: spend, per_amount: "10.00", points: {member: "3"}, rounding: half_up}
tiers: [{tier_id: member, threshold_points: 0}]
"""
_TIERED = """
sources: ["/shops/tiered"]
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {bronze: "1", silver: "1.5", gold: "2"}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 150}
  - {tier_id: gold, threshold_points: 600}
"""
_FADING = """
sources: ["/shops/fading"]
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {member: "1"}, rounding: ceil}
tiers: [{tier_id: member, threshold_points: 0}]
expiry: {policy: after_months, months: 1}
"""
_HELD = """
sources: ["/shops/held"]
availability: {policy: on_fulfilled}
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {member: "2"}}
tiers: [{tier_id: member, threshold_points: 0}]
"""
#: What a promotion may give to all customers, a rule on one day to one, and the step of the rule that carries on.
BUDGET_POINTS, CAP_PER_DAY, STEP = 90, 60, 50
_LIMITED = f"""
sources: ["/shops/limited"]
combine: stack
earning_rules:
  - {{rule_id: steps, kind: spend, per_amount: "{STEP}.00", points: {{member: "1"}}, carry: true}}
  - {{rule_id: capped, kind: spend, per_amount: "1.00", points: {{member: "1"}}, caps: {{per_day: {CAP_PER_DAY}}}}}
promotions:
  - {{promotion_id: launch, kind: addition, points: 20, limits: {{budget_points: {BUDGET_POINTS}}}}}
tiers: [{{tier_id: member, threshold_points: 0}}]
"""
_CHANGED = f"""
sources: ["/shops/changed", "{TILL}"]
earning_rules:
  - {{rule_id: spend, kind: spend, per_amount: "1.00", points: {{member: "1"}}}}
tiers: [{{tier_id: member, threshold_points: 0}}]
"""
#: Points of VALUED become others at this rate, and buy this reward, so often in all.
CONVERTED, COIN = 10, 4
MUG, MUG_COST, MUGS = "mug", 15, 6
_COINS = """
unit: coins
tiers: [{tier_id: member, threshold_points: 0}]
"""
_VALUED = f"""
sources: ["/shops/valued", "{DESK}"]
earning_rules:
  - {{rule_id: spend, kind: spend, per_amount: "1.00", points: {{member: "1"}}}}
tiers: [{{tier_id: member, threshold_points: 0}}]
conversions: [{{to_program: coins, points: {CONVERTED}, gives: {COIN}}}]
rewards: [{{reward_id: {MUG}, name: Mug, kind: item, sku: mug, cost: {MUG_COST}, stock: {MUGS}}}]
"""
_TEXTS = {FLAT: _FLAT, TIERED: _TIERED, FADING: _FADING, HELD: _HELD, LIMITED: _LIMITED, CHANGED: _CHANGED}
_TEXTS |= {COINS: _COINS, VALUED: _VALUED}
PROGRAM_TEXTS = {name: _HEAD.format(name) + text for name, text in _TEXTS.items()}
PROGRAMS = {name: parse_program(text, path=f"{name}.yaml") for name, text in PROGRAM_TEXTS.items()}

#: What DESK may command.
GRANTED = tuple(Verb)
#: Who may send commands, as the file of sources says it.
SOURCES_TEXT = f"""
unlisted: accept
sources:
  - source: "{DESK}"
    commands: [{", ".join(f"{{command: {verb}}}" for verb in GRANTED)}]
"""

#: Times of orders of long ago, and when their points expire in FADING: worked out by hand, not by the code under test.
LONG_AGO = {
    "2025-03-10T12:00:00+00:00": datetime(2025, 4, 10, 22, tzinfo=UTC),
    "2025-01-31T10:00:00+01:00": datetime(2025, 2, 28, 23, tzinfo=UTC),
    "2024-11-20T23:30:00Z": datetime(2024, 12, 21, 23, tzinfo=UTC),
}
#: Orders of FADING that are not of long ago are at most so many days old, and so do not expire during a run.
FRESH_DAYS_MAX = 20


def apply_programs(engine: Engine) -> None:
    """Put the programs in force; a second call changes nothing."""
    for name, text in PROGRAM_TEXTS.items():
        with engine.begin() as connection:
            assert not apply_program(connection, PROGRAMS[name], text, None).problems


def program_of(event: dict[str, Any]) -> Program:
    """The program of an order that can be posted."""
    named = event["data"].get("program_id")
    listed = next((name for name, source in SOURCES.items() if source == event["source"]), FLAT)
    return PROGRAMS[named or listed]
