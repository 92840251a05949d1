from datetime import UTC, datetime
from uuid import UUID

import pytest

from core.domain.ledger import Account
from core.domain.standing import counted_points, next_tier
from tests.factories import program

LIFETIME = program()
YEARLY = program("qualification: {window: calendar_year}\n")
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
    assert (None if found is None else (found.tier.tier_id, found.points_to_go)) == following


def test_points_of_a_year_that_is_over_count_no_more() -> None:
    this_year = ACCOUNT._replace(qualifying_points=300, qualifying_from=START_OF_2026)
    assert counted_points(this_year, YEARLY, NOW) == 300
    assert counted_points(this_year, YEARLY, datetime(2027, 1, 1, tzinfo=UTC)) == 0
    found = next_tier(this_year, YEARLY, datetime(2027, 1, 1, tzinfo=UTC))
    assert found is not None
    assert found.points_to_go == 500


def test_points_of_another_window_count_no_more_and_those_of_a_period_ahead_do() -> None:
    by_lifetime = ACCOUNT._replace(qualifying_points=300, lifetime_points=800)
    this_year = by_lifetime._replace(qualifying_from=START_OF_2026)
    assert counted_points(by_lifetime, YEARLY, NOW) == 0
    assert counted_points(this_year, LIFETIME, NOW) == 800
    assert counted_points(this_year, YEARLY, datetime(2025, 6, 1, tzinfo=UTC)) == 300
