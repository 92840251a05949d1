"""Lots: which can be spent, in what order, and what taking from them leaves."""

from collections.abc import Iterator

import pytest

from core.domain.ledger import LotTerms, credit, debit
from core.domain.lots import Allocation, AllocationKind, Lot, in_spending_order, take
from tests.facts import account, instant, lot, origin


@pytest.mark.parametrize(
    ("as_of", "is_spendable"),
    [
        pytest.param("2026-02-01T12:00:00+00:00", True, id="from the instant at which it is available"),
        pytest.param("2026-03-01T11:59:59.999999+00:00", True, id="until just before it expires"),
        pytest.param("2026-03-01T12:00:00+00:00", False, id="not at the instant of expiry, whether or not the job ran"),
        pytest.param("2027-01-01T00:00:00+00:00", False, id="not afterwards"),
    ],
)
def test_a_lot_can_be_spent(as_of: str, is_spendable: bool) -> None:
    assert lot(available="2026-02-01", expires="2026-03-01").is_spendable(instant(as_of)) is is_spendable


def test_a_pending_lot_cannot_be_spent_before_it_is_released() -> None:
    pending = lot(available="2026-02-01", is_pending=True)
    assert not pending.is_spendable(instant("2026-03-01"))
    assert [pending.is_to_release(instant(at)) for at in ("2026-01-31", "2026-02-01")] == [False, True]
    assert not lot(available=None, is_pending=True).is_to_release(instant("9000-01-01")), "its order is not fulfilled"


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
    taken = {each.lot_number: before[each.lot_number].points_remaining - each.points_remaining for each in changed}
    assert allocations == [
        Allocation(n, AllocationKind.TAKEN, -points, before[n].expires_at) for n, points in taken.items()
    ]
    assert all(each.points_granted == before[each.lot_number].points_granted for each in changed)


@pytest.mark.parametrize(("points", "asked"), [(0, []), (50, [1]), (51, [1, 2])])
def test_no_more_lots_are_looked_at_than_are_needed(points: int, asked: list[int]) -> None:
    looked_at: list[int] = []

    def lots() -> Iterator[Lot]:
        for number in (1, 2, 3):
            looked_at.append(number)
            yield lot(number, 50)

    take(lots(), points)
    assert looked_at == asked, "an account that all passers-by share has thousands"


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
    terms = LotTerms(points, instant("2026-01-01"), expires)
    credited = credit(before, origin("o3"), [terms], instant("2026-01-01"))
    after = credited.account
    assert (after.balance, after.deficit, after.sequence) == (points - deficit, deficit_after, 5)
    assert (after.pending, after.lifetime_points) == (0, points)
    assert credited.lots == ((lot(3, opened, expires="2027-01-01", opened_by=5),) if opened else ())
    assert credited.allocations == ((Allocation(3, AllocationKind.OPENED, opened, expires),) if opened else ())
    assert after.lots_opened == 2 + len(credited.lots)


@pytest.mark.parametrize("available", [None, "2026-01-01T12:00:01+00:00"])
def test_held_points_pay_off_nothing_before_they_are_released(available: str | None) -> None:
    before = account(balance=-30, deficit=30, sequence=4, lots_opened=2)
    held = LotTerms(100, None if available is None else instant(available), None)
    credited = credit(before, origin("o3"), [held], instant("2026-01-01"))
    assert credited.account == before._replace(sequence=5, lots_opened=3, pending=100, lifetime_points=100)
    assert credited.lots == (lot(3, 100, available=available, opened_by=5, is_pending=True),)


def test_lots_of_one_credit_that_end_at_different_times_pay_off_a_deficit_in_turn() -> None:
    grants = [
        LotTerms(points, instant("2026-01-01"), None, earned_by) for earned_by, points in (("", 20), ("bonus", 50))
    ]
    before = account(balance=-30, deficit=30, sequence=4, lots_opened=2)
    credited = credit(before, origin("o3"), grants, instant("2026-01-01"))
    assert credited.lots == (lot(3, 40, opened_by=5, earned_by="bonus")._replace(points_granted=40),)
    assert (credited.account.balance, credited.account.deficit) == (40, 0)


def test_a_debit_beyond_the_lots_becomes_deficit() -> None:
    after = debit(account(balance=20, deficit=5, sequence=1), 50, uncovered=25)
    assert (after.balance, after.deficit, after.sequence) == (-30, 30, 2)
