from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from core.domain.ledger import Account
from core.domain.orders.posted import Qualifying
from core.domain.tiers.history import CountedOrder
from core.domain.tiers.next_tier import counted_units, next_tier
from tests.facts import TIER_IDS, program_with

LIFETIME = program_with()
YEARLY = program_with(qualification={"window": "calendar_year"})
NOW = datetime(2026, 6, 1, tzinfo=UTC)
START_OF_2026 = datetime(2025, 12, 31, 23, tzinfo=UTC)  # midnight in Berlin
ACCOUNT = Account(UUID(int=1), "test", "c1", "bronze")


@pytest.mark.parametrize(
    ("tier_id", "points", "following"),
    [
        ("bronze", 0, ("silver", 500)),
        ("bronze", 499, ("silver", 1)),
        ("silver", 500, ("gold", 1500)),
        ("silver", 100, ("gold", 1900)),
        ("gold", 0, None),
        ("platinum", 600, ("gold", 1400)),
    ],
)
def test_the_next_tier_is_the_lowest_above_the_customers_own(
    tier_id: str, points: int, following: tuple[str, int] | None
) -> None:
    found = next_tier(ACCOUNT._replace(tier_id=tier_id, qualifying_points=points), LIFETIME, NOW)
    assert (None if found is None else (found.tier.tier_id, found.units_to_go)) == following


def test_points_of_a_year_that_is_over_count_no_more() -> None:
    this_year = ACCOUNT._replace(qualifying_points=300, qualifying_from=START_OF_2026)
    assert counted_units(this_year, YEARLY, NOW) == 300
    assert counted_units(this_year, YEARLY, datetime(2027, 1, 1, tzinfo=UTC)) == 0
    found = next_tier(this_year, YEARLY, datetime(2027, 1, 1, tzinfo=UTC))
    assert found is not None
    assert found.units_to_go == 500


def test_points_of_another_window_count_no_more_and_all_orders_do_for_a_lifetime() -> None:
    by_lifetime, known = ACCOUNT._replace(qualifying_points=300), [CountedOrder(NOW, Qualifying(800))]
    this_year = by_lifetime._replace(qualifying_from=START_OF_2026)
    assert counted_units(by_lifetime, YEARLY, NOW) == 0
    assert counted_units(this_year, LIFETIME, NOW, known) == 800


@pytest.mark.parametrize(
    ("measure", "field", "thresholds", "units", "to_go"),
    [
        ("spend", "threshold_amount", ("0", "100.50", "300"), 9050, 1000),
        ("orders", "threshold_orders", (0, 3, 9), 2, 1),
    ],
)
def test_what_is_missing_is_counted_in_units_of_the_measure(
    measure: str, field: str, thresholds: tuple[Any, ...], units: int, to_go: int
) -> None:
    tiers = [{"tier_id": tier, field: most} for tier, most in zip(TIER_IDS, thresholds, strict=True)]
    program = program_with(tiers=tiers, qualification={"measure": measure})
    found = next_tier(ACCOUNT._replace(qualifying_points=units), program, NOW)
    assert found is not None
    assert (found.tier.tier_id, found.units_to_go) == ("silver", to_go)


def test_last_months_units_count_for_a_window_of_months() -> None:
    program = program_with(qualification={"window": "rolling_months", "months": 2})
    now_counted = ACCOUNT._replace(qualifying_points=300, qualifying_from=datetime(2026, 3, 31, 22, tzinfo=UTC))
    assert counted_units(now_counted, program, NOW) == 300
    known = [CountedOrder(datetime(2026, 5, 20, tzinfo=UTC), Qualifying(200))]
    assert counted_units(now_counted, program, datetime(2026, 7, 1, tzinfo=UTC), known) == 200
