"""Lots: which can be spent, in what order, and what taking from them leaves."""

import pytest

from core.domain.ledger import credit, debit
from core.domain.lots import Allocation, in_spending_order, take
from tests.facts import account, instant, lot


@pytest.mark.parametrize(
    ("as_of", "is_spendable"),
    [
        pytest.param("2026-02-01T11:59:59+00:00", False, id="not before it is available"),
        pytest.param("2026-02-01T12:00:00+00:00", True, id="from the instant at which it is"),
        pytest.param("2026-03-01T11:59:59.999999+00:00", True, id="until just before it expires"),
        pytest.param("2026-03-01T12:00:00+00:00", False, id="not at the instant of expiry, whether or not the job ran"),
        pytest.param("2027-01-01T00:00:00+00:00", False, id="not afterwards"),
    ],
)
def test_a_lot_can_be_spent(as_of: str, is_spendable: bool) -> None:
    assert lot(available="2026-02-01", expires="2026-03-01").is_spendable(instant(as_of)) is is_spendable


def test_a_lot_without_expiry_is_never_due() -> None:
    assert not lot().is_due(instant("9000-01-01"))
    assert lot().is_spendable(instant("9000-01-01"))


def test_an_empty_lot_cannot_be_spent() -> None:
    assert not lot(remaining=0, granted=100).is_spendable(instant("2026-06-01"))


def test_a_last_point_can_be_spent() -> None:
    assert lot(remaining=1, granted=100).is_spendable(instant("2026-06-01"))


def test_the_soonest_expiry_is_spent_first_then_undated_ones_then_the_oldest() -> None:
    lots = [
        lot(1, expires=None, available="2026-01-01"),
        lot(2, expires="2027-06-01", available="2026-01-01"),
        lot(3, expires="2027-02-01", available="2026-02-01"),
        lot(4, expires="2027-02-01", available="2026-01-15"),
        lot(5, expires=None, available="2025-12-01"),
        lot(6, expires="2027-02-01", available="2026-02-01"),
    ]
    assert [each.lot_number for each in in_spending_order(reversed(lots))] == [4, 3, 6, 2, 5, 1]


@pytest.mark.parametrize(
    ("points", "left", "uncovered"),
    [
        pytest.param(0, [], 0, id="nothing"),
        pytest.param(30, [20], 0, id="part of the first"),
        pytest.param(50, [0], 0, id="all of the first"),
        pytest.param(60, [0, 0], 0, id="the first, then the next that has any"),
        pytest.param(110, [0, 0, 50], 0, id="three of them"),
        pytest.param(200, [0, 0, 0], 40, id="more than there is"),
    ],
)
def test_points_are_taken_in_the_order_given(points: int, left: list[int], uncovered: int) -> None:
    lots = [lot(1, 50), lot(2, 0, granted=80), lot(3, 10), lot(4, 100, expires="2027-01-01")]
    changed, allocations, rest = take(lots, points)
    assert [each.points_remaining for each in changed] == left
    assert rest == uncovered
    assert -sum(part.points for part in allocations) == points - uncovered
    before = {each.lot_number: each for each in lots}
    assert allocations == [
        Allocation(each.lot_number, each.points_remaining - before[each.lot_number].points_remaining, each.expires_at)
        for each in changed
    ]
    assert all(each.points_granted == before[each.lot_number].points_granted for each in changed)


@pytest.mark.parametrize(
    ("deficit", "points", "opened", "deficit_after"),
    [
        pytest.param(0, 100, 100, 0, id="no deficit: all of it"),
        pytest.param(30, 100, 70, 0, id="a deficit: what is left after it"),
        pytest.param(100, 100, None, 0, id="the same deficit: no lot"),
        pytest.param(130, 100, None, 30, id="a larger deficit: no lot, and some is still owed"),
    ],
)
def test_a_credit_pays_off_the_deficit_before_it_opens_a_lot(
    deficit: int, points: int, opened: int | None, deficit_after: int
) -> None:
    before = account(balance=-deficit, deficit=deficit, sequence=4, lots_opened=2)
    expires = instant("2027-01-01")
    after, new, change = credit(before, points, available_at=instant("2026-01-01"), expires_at=expires)
    assert (after.balance, after.deficit, after.sequence) == (points - deficit, deficit_after, 5)
    assert change == deficit_after - deficit
    assert (new.points_granted if new else None) == opened
    assert after.lots_opened == (2 if new is None else 3)
    if new is not None:
        assert new == lot(3, new.points_granted, expires="2027-01-01")._replace(opened_by_sequence=5)


def test_a_debit_beyond_the_lots_becomes_deficit() -> None:
    after = debit(account(balance=20, deficit=5, sequence=1), 50, uncovered=25)
    assert (after.balance, after.deficit, after.sequence) == (-30, 30, 2)
