"""A program answers which tier a customer has, and refuses rules that contradict each other."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from core.domain.program import Program

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
        ({"expiry": {"policy": "after_months"}}, ("expiry", "months"), "missing_months"),
        ({"expiry": {"policy": "never", "months": 3}}, ("expiry", "months"), "months_without_policy"),
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
