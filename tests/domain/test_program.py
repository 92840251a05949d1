"""A program answers which tier a customer has, and refuses rules that contradict each other."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from core.domain.program import Program, SpendRule

DOCUMENT: dict[str, Any] = {
    "program_id": "high-street",
    "name": "High Street Rewards",
    "currency": "GBP",
    "time_zone": "Europe/London",
    "earning_rules": [
        {"rule_id": "spend", "kind": "spend", "per_amount": "1.00", "points": {"bronze": 1, "gold": "1.5"}}
    ],
    "tiers": [{"tier_id": "bronze", "threshold_points": 0}, {"tier_id": "gold", "threshold_points": 500}],
}
SPEND = DOCUMENT["earning_rules"][0]
BONUS = {"promotion_id": "bonus", "kind": "addition", "points": 100}
PROGRAM = Program.model_validate(DOCUMENT)


@pytest.mark.parametrize(
    ("qualifying_points", "tier_id"),
    [(-3, "bronze"), (0, "bronze"), (499, "bronze"), (500, "gold"), (10**12, "gold")],
)
def test_a_tier_is_reached_at_its_threshold(qualifying_points: int, tier_id: str) -> None:
    assert PROGRAM.tier_for(qualifying_points).tier_id == tier_id


def test_tiers_are_found_by_id_and_ranked() -> None:
    assert PROGRAM.tier("gold") == PROGRAM.tiers[1]
    assert PROGRAM.tier("platinum") is None
    assert [PROGRAM.rank("bronze"), PROGRAM.rank("gold")] == [0, 1]
    with pytest.raises(KeyError, match="platinum"):
        PROGRAM.rank("platinum")


def test_rates_and_amounts_are_exact() -> None:
    (rule,) = PROGRAM.earning_rules
    assert isinstance(rule, SpendRule)
    assert rule.per_amount == Decimal(1)
    assert rule.points == {"bronze": Decimal(1), "gold": Decimal("1.5")}


def test_the_zone_is_that_of_the_file() -> None:
    assert PROGRAM.zone.key == "Europe/London"
    assert PROGRAM.zone is PROGRAM.zone


def test_a_program_comes_back_from_json_equal() -> None:
    assert Program.model_validate_json(PROGRAM.model_dump_json()) == PROGRAM


def test_a_program_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PROGRAM.name = "Other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "place", "code"),
    [
        ({"tiers": []}, ("tiers",), "too_short"),
        (
            {"tiers": [{"tier_id": "bronze", "threshold_points": 1}]},
            ("tiers", 0, "threshold_points"),
            "first_threshold",
        ),
        ({"tiers": DOCUMENT["tiers"] * 2}, ("tiers", 2, "tier_id"), "repeated"),
        ({"earning_rules": DOCUMENT["earning_rules"] * 2}, ("earning_rules", 1, "rule_id"), "repeated"),
        ({"tiers": DOCUMENT["tiers"][:1]}, ("earning_rules", 0, "points", "gold"), "unknown_tier"),
        ({"expiry": {"policy": "after_months"}}, ("expiry", "months"), "missing_with"),
        ({"expiry": {"policy": "never", "months": 3}}, ("expiry", "months"), "means_nothing"),
        ({"time_zone": "Europe/Nowhere"}, ("time_zone",), "unknown_time_zone"),
        ({"time_zone": "../etc/passwd"}, ("time_zone",), "unknown_time_zone"),
        ({"sources": ["/a", "/a"]}, ("sources", 1), "repeated"),
        ({"basis": {"kinds": ["tip", "tip"]}}, ("basis", "kinds", 1), "repeated"),
        ({"default": "yes"}, ("default",), "bool_type"),
        ({"more": 1}, ("more",), "extra_forbidden"),
    ],
)
def test_what_contradicts_itself_is_refused_where_it_stands(
    change: dict[str, Any], place: tuple[str | int, ...], code: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Program.model_validate({**DOCUMENT, **change})
    assert (place, code) in [(problem["loc"], problem["type"]) for problem in caught.value.errors()]


@pytest.mark.parametrize(
    ("rate", "code"),
    [(1.5, "unquoted_decimal"), ("-1", "not_a_decimal"), (True, "not_a_decimal"), (-1, "greater_than_equal")],
)
def test_a_rate_is_an_exact_number_that_is_not_negative(rate: Any, code: str) -> None:
    rule = {**DOCUMENT["earning_rules"][0], "points": {"bronze": rate, "gold": 1}}
    with pytest.raises(ValidationError) as caught:
        Program.model_validate({**DOCUMENT, "earning_rules": [rule]})
    assert caught.value.errors()[0]["type"] == code


def test_one_number_of_points_is_for_every_tier() -> None:
    (rule,) = Program.model_validate({**DOCUMENT, "earning_rules": [{**SPEND, "points": "1.5"}]}).earning_rules
    assert [rule.rate("bronze"), rule.rate("gold")] == [Decimal("1.5"), Decimal("1.5")]


@pytest.mark.parametrize(
    ("measure", "field", "thresholds", "units"),
    [
        ("points", "threshold_points", [0, 500], (0, 500)),
        ("spend", "threshold_amount", ["0", "500.50"], (0, 50_050)),
        ("orders", "threshold_orders", [0, 12], (0, 12)),
    ],
)
def test_thresholds_are_in_units_of_what_is_measured(
    measure: str, field: str, thresholds: list[Any], units: tuple[int, int]
) -> None:
    tiers = [{"tier_id": name, field: at} for name, at in zip(("bronze", "gold"), thresholds, strict=True)]
    program = Program.model_validate({**DOCUMENT, "tiers": tiers, "qualification": {"measure": measure}})
    assert program.thresholds == units
    assert program.tier_for(units[1]).tier_id == "gold"
    assert program.tier_for(units[1] - 1).tier_id == "bronze"


@pytest.mark.parametrize(
    ("change", "is_plain", "has_limits"),
    [
        ({}, True, False),
        ({"promotions": [BONUS]}, False, False),
        ({"earning_rules": [{**SPEND, "when": {"channels": ["app"]}}]}, False, False),
        ({"earning_rules": [{**SPEND, "caps": {"per_order": 5}}]}, False, False),
        ({"earning_rules": [{**SPEND, "caps": {"per_day": 5}}]}, False, True),
        ({"earning_rules": [{**SPEND, "carry": True}]}, False, True),
        ({"promotions": [{**BONUS, "limits": {"orders_per_customer": 1}}]}, False, True),
        ({"promotions": [{**BONUS, "limits": {"budget_points": 1000}}]}, False, True),
    ],
)
def test_a_program_knows_what_its_orders_need(change: dict[str, Any], is_plain: bool, has_limits: bool) -> None:
    program = Program.model_validate({**DOCUMENT, **change})
    assert (program.is_plain, program.has_limits) == (is_plain, has_limits)


def test_rules_and_promotions_may_have_an_expiry_of_their_own() -> None:
    soon = {"policy": "after_days", "days": 60}
    program = Program.model_validate({**DOCUMENT, "promotions": [{**BONUS, "expiry": soon}]})
    assert {name: expiry.policy.value for name, expiry in program.expiries.items()} == {
        "": "never",
        "bonus": "after_days",
    }
