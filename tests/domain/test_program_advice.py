# ruff: noqa: E501  # one case is one line
"""Advice on a program: what is allowed but has no effect, and nothing else."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from core.messages.inbound.problems import path_text
from core.messages.program_files.advice import advise
from core.messages.program_files.program_file import load_program
from tests.facts import program_with

TODAY = date(2026, 6, 1)
SPEND = {"rule_id": "spend", "kind": "spend", "per_amount": 1, "points": 1}
VISIT = {"rule_id": "visit", "kind": "visit", "points": 10}
TWICE = {"promotion_id": "twice", "kind": "multiplier", "multiplier": 2}
BONUS = {"promotion_id": "bonus", "kind": "addition", "points": 100}


def rules(*changes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Spend rules that differ in this, or rules of another kind."""
    return {"earning_rules": [{**SPEND, "rule_id": f"r{n}", **change} for n, change in enumerate(changes)], **fields}


def visits(*changes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"earning_rules": [{**VISIT, "rule_id": f"r{n}", **change} for n, change in enumerate(changes)], **fields}


def bonuses(*changes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"promotions": [{**BONUS, "promotion_id": f"p{n}", **change} for n, change in enumerate(changes)], **fields}


def twices(*changes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"promotions": [{**TWICE, "promotion_id": f"p{n}", **change} for n, change in enumerate(changes)], **fields}


def advice(fields: dict[str, Any]) -> dict[str, str]:
    return {path_text(each.path): each.text for each in advise(program_with(**fields), TODAY)}


YEARLY = {"window": "calendar_year"}
WINE = {"categories": ["wine"]}
NEVER = "so this never holds"


@pytest.mark.parametrize(
    ("fields", "path", "text"),
    [
        # currencies
        ({"currencies": {"ZAR": [{"rate": 1, "ends_on": "2026-05-31"}]}}, "currencies.ZAR[0].ends_on", "is over: from now on orders that say no rate"),
        # basis
        (visits({}, basis={"kept_fees": "included"}), "basis.kept_fees", "as no rule, promotion or tier looks at money"),
        # lines
        (rules({"when": {"minimum_quantity": 2}, "lines": {"minimum_quantity": 2}}), "earning_rules[0].when.minimum_quantity", "as each line that counts has at least 2"),
        (rules({"when": {"minimum_amount": 2}, "lines": {"minimum_amount": 3}}), "earning_rules[0].when.minimum_amount", "as each line that counts has at least 3"),
        ({"earning_rules": [{"rule_id": "r", "kind": "item", "skus": ["A"], "points": 1, "free_pieces": "excluded"}]}, "earning_rules[0].free_pieces", "as free pieces are excluded in the whole program"),
        (rules({"steps": "whole"}, {}), "earning_rules[0]", "since rule r1"),
        (rules({"lines": {"minimum_price": 5}}, {}), "earning_rules[0]", "since rule r1"),
        # rules
        (rules({"points": 0}, {}), "earning_rules[0].points", "gives 0 points in all tiers"),
        (rules({}, {"points": {"bronze": 1, "silver": 1, "gold": 0}, "when": {"tiers": ["gold"]}}),
         "earning_rules[1].points", "gives 0 points in the tiers that it is for"),
        (visits({"points": "0.5"}, {}), "earning_rules[0].points", "parts of points are rounded down"),
        (rules({}, {"points": 2}), "earning_rules[0]", "never counts, since rule r1 gives at least as much"),
        (rules({}, {}), "earning_rules[1]", "never counts, since rule r0 gives at least as much"),
        (rules({"per_amount": 3}, {"per_amount": 2}), "earning_rules[0]", "since rule r1"),
        (rules({}, {"lines": WINE}), "earning_rules[1]", "since rule r0"),
        (rules({}, {"when": {"channels": ["app"]}}), "earning_rules[1]", "since rule r0"),
        (rules({}, {"when": {"minimum_amount": 50}}), "earning_rules[1]", "since rule r0"),
        (rules({"when": {"tiers": ["gold", "bronze"]}}, {"when": {"tiers": ["gold"]}}), "earning_rules[1]", "r0"),
        (visits({}, {"points": 5}), "earning_rules[1]", "since rule r0"),
        (rules({"caps": {"per_order": 500, "per_day": 100}}), "earning_rules[0].caps.per_order", "per_day is 100"),
        (rules({"caps": {"per_day": 500, "per_month": 500}}), "earning_rules[0].caps.per_day", "per_month is 500"),
        # conditions and lines
        (bonuses({"when": {"starts_on": "2026-06-06", "ends_on": "2026-06-07", "hours": [{"days": ["mon"]}]}}),
         "promotions[0].when.hours", NEVER),
        (bonuses({"when": {"channels": ["app"], "attributes": {"channel": ["web"]}}}),
         "promotions[0].when.attributes.channel", NEVER),
        (bonuses({"when": {"tiers": ["gold"], "first_order": True}}), "promotions[0].when.tiers", "leaves out bronze"),
        (bonuses({"lines": {"exclude_kinds": ["product", "tip"]}}), "promotions[0].lines.exclude_kinds", "no line is left"),
        (bonuses({"lines": {"skus": ["a"], "exclude_skus": ["b"]}}), "promotions[0].lines.exclude_skus", "changes nothing"),
        # promotions
        (bonuses({"when": {"ends_on": "2026-05-31"}}), "promotions[0].when.ends_on", "is over"),
        (rules({}, {"points": 2, "when": {"ends_on": "2026-05-31"}}), "earning_rules[1].when.ends_on", "this rule gives nothing"),
        (twices({"when": {"tiers": ["gold"]}}, **rules({"when": {"tiers": ["bronze"]}})),
         "promotions[0].multiplier", "multiplies nothing"),
        (bonuses({"limits": {"budget_points": 99}}), "promotions[0].limits.budget_points", "less than the 100 points"),
        (bonuses({"limits": {"orders_per_customer": 3, "orders_per_customer_and_day": 3}}),
         "promotions[0].limits.orders_per_customer_and_day", "changes nothing, as orders_per_customer is 3"),
        (bonuses({"limits": {"orders_per_customer": 3, "orders": 2}}),
         "promotions[0].limits.orders_per_customer", "changes nothing, as orders is 2"),
        (bonuses({"when": {"first_order": True}, "limits": {"orders_per_customer": 1}}),
         "promotions[0].limits.orders_per_customer", "a customer has one first order"),
        (bonuses({"when": {"channels": ["app"]}}, {}, combine_promotions="newest"), "promotions[0]", "since p1 holds"),
        (bonuses({}, {"points": 200}, combine_promotions="best"), "promotions[0]", "since p1 holds"),
        (twices({}, {"multiplier": 3}, combine_promotions="newest"), "promotions[0]", "since p1 holds"),
        # tiers
        (rules({"points": {"bronze": 0, "silver": 1, "gold": 1}}), "tiers[1]", "they earn nothing in bronze"),
        (rules({"points": {"bronze": 2, "silver": 1, "gold": 1}}), "tiers[1]", "earns less than bronze"),
        (rules({"caps": {"per_month": 100}}, qualification=YEARLY), "tiers[2].threshold_points", "at most 1,200 points"),
        (visits({"caps": {"per_day": 5}}, **bonuses({"limits": {"orders_per_customer": 2}}),
                qualification={"window": "rolling_months", "months": 2}), "tiers[2].threshold_points", "at most 665 points"),
        # qualification
        ({"qualification": {"warning_days": 7}}, "qualification.warning_days", "no other is ever reviewed"),
        ({"qualification": {"grace_days": 7}}, "qualification.grace_days", "no other is ever reviewed"),
        ({"qualification": {"downgrade": "one_step"}}, "qualification.downgrade", "no other is ever reviewed"),
        ({"qualification": {**YEARLY, "downgrade": "never", "warning_days": 7}}, "qualification.warning_days", "of nothing"),
        ({"qualification": {**YEARLY, "warning_days": 400}}, "qualification.warning_days", "longer than a period"),
        ({"qualification": {**YEARLY, "grace_days": 400}}, "qualification.grace_days", "longer than a year"),
        # clawback, expiry and reminders
        ({"clawback": {"policy": "pending_only"}}, "clawback.policy", "takes nothing back ever"),
        ({"expiry": {"policy": "never"}, "reminders": {"days_ahead": [30, 7]}}, "reminders.days_ahead", "no points expire"),
        ({"expiry": {"policy": "after_days", "days": 30}, "reminders": {"days_ahead": [60, 7]}},
         "reminders.days_ahead[0]", "is as long as points are good at all"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_told_with_its_field(fields: dict[str, Any], path: str, text: str) -> None:
    found = advice(fields)
    assert list(found) == [path]
    assert text in found[path]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        rules({}, {"points": 2}, combine="stack"),
        rules({}, {"points": 2, "lines": WINE}),
        rules({}, {"points": 2, "when": {"tiers": ["gold"]}}),
        rules({}, {"points": 2, "caps": {"per_day": 10}}),
        rules({}, {"points": 2, "rounding": "ceil"}),
        rules({}, {"points": 2, "clawback": "never"}),
        rules({"points": {"bronze": 1, "silver": 2, "gold": 2}}, {"points": {"bronze": 2, "silver": 2, "gold": 2}, "when": {"minimum_amount": 9}}),
        rules({"when": {"minimum_quantity": 5}}, {"points": 2, "when": {"minimum_quantity": 6}}),
        rules({"lines": {"maximum_price": 5}}, {"points": 2, "lines": {"maximum_price": 4}}),
        rules({"lines": {"minimum_amount": 5}}, {"points": 2, "lines": {"minimum_amount": 6}}),
        rules({}, {"points": 2, "steps": "whole"}),
        rules({}, basis={"kept_fees": "included"}),
        visits({"when": {"minimum_amount": 5}}, basis={"kept_fees": "included"}),
        rules({"per_amount": 2, "steps": "whole"}, {"per_amount": 3, "points": 2, "steps": "whole"}),
        rules({"when": {"minimum_quantity": 3}, "lines": {"minimum_quantity": 2}}),
        {"currencies": {"ZAR": [{"rate": 1, "ends_on": "2026-06-01"}]}},
        rules({"caps": {"per_order": 100, "per_day": 500, "per_month": 1000}}),
        bonuses({"when": {"starts_on": "2026-06-06", "ends_on": "2026-06-08", "hours": [{"days": ["mon"]}]}}),
        bonuses({"when": {"ends_on": "2026-06-01"}}),
        bonuses({"when": {"tiers": ["bronze", "gold"], "first_order": True}}),
        bonuses({"when": {"tiers": ["gold"], "first_order": True}}, qualification={"crossing_order": "new_tier"}),
        bonuses({"when": {"first_order": False}, "limits": {"orders_per_customer": 1}}),
        bonuses({}, {"when": {"channels": ["app"]}}, combine_promotions="newest"),
        bonuses({}, {"limits": {"orders": 5}}, combine_promotions="newest"),
        bonuses({}, {}),
        rules({"caps": {"per_month": 170}}, qualification=YEARLY),
        rules({"caps": {"per_month": 100}}, {"points": 2}, combine="stack", qualification=YEARLY),
        rules({"caps": {"per_month": 100}}, **twices({}), qualification=YEARLY),
        twices({}, **rules({"when": {"tiers": ["bronze"]}})),
        rules({"points": {"bronze": 0, "silver": 1, "gold": 1}}, **bonuses({})),
        {"qualification": {**YEARLY, "warning_days": 30, "grace_days": 30, "downgrade": "one_step"}},
        rules({"points": {"bronze": 2, "silver": 1, "gold": 1}}, {"when": {"tiers": ["silver", "gold"]}}, combine="stack"),
        {"clawback": {"policy": "pending_only"}, "availability": {"policy": "on_fulfilled"}},
        {"expiry": {"policy": "after_days", "days": 61}, "reminders": {"days_ahead": [60, 7]}},
        bonuses({"expiry": {"policy": "after_days", "days": 60}}, expiry={"policy": "never"}, reminders={"days_ahead": [7]}),
    ],
)  # fmt: skip
def test_what_has_an_effect_is_left_alone(fields: dict[str, Any]) -> None:
    assert advice(fields) == {}


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "config" / "programs").glob("*.yaml")))
def test_there_is_nothing_to_say_of_the_example_programs(path: Path) -> None:
    assert advise(load_program(path), TODAY) == []


def test_without_a_day_nothing_is_over() -> None:
    program = program_with(**bonuses({"when": {"ends_on": "2026-05-31"}}))
    assert advise(program) == []
