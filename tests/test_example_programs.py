"""The example programs give what their comments say."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from core.domain.expiry.dates import expires_at
from core.domain.orders.earning import entitlement
from core.domain.orders.facts import LineKind, Order, OrderLine, Refund
from core.domain.orders.limits import judge
from core.domain.orders.posted import Usage
from core.domain.program import Circumstances, Program, UsageKey
from core.messages.program_files.program_file import load_program
from tests.facts import refund
from tests.pages import ROOT

GROCER = load_program(ROOT / "config" / "programs" / "grocer.yaml")
FASHION = load_program(ROOT / "config" / "programs" / "fashion.yaml")
FRIDAY_NOON = "2027-11-05T12:00"
SATURDAY_NOON = "2027-11-06T12:00"
QUIET = "2027-11-04T07:30"


def line(line_id: str, amount: str, quantity: str = "1", sku: str | None = None, *categories: str) -> OrderLine:
    return OrderLine(line_id, sku, Decimal(quantity), Decimal(amount), Decimal(0), LineKind.PRODUCT, categories)


def order(program: Program, at: str, *lines: OrderLine, tags: tuple[str, ...] = (), **attributes: Any) -> Order:
    occurred_at = datetime.fromisoformat(at).replace(tzinfo=program.zone)
    return Order("/s", "o1", "c1", "EUR", occurred_at, lines, Decimal(0), attributes, tags)


def given(
    program: Program,
    sold: Order,
    *refunds: Refund,
    tier: str | None = None,
    is_first: bool = False,
    usages: dict[UsageKey, Usage] | None = None,
) -> dict[str, int]:
    """What each rule and promotion gives."""
    tier_id = tier or program.tiers[0].tier_id
    local = sold.occurred_at.astimezone(program.zone)
    judgement = judge(program, Circumstances(sold, local, tier_id, is_first), usages or {}, {})
    return {
        name: points for name, points in entitlement(sold, refunds, program, tier_id, judgement).given.items() if points
    }


def test_the_grocer_carries_what_is_left_to_the_next_order() -> None:
    assert given(GROCER, order(GROCER, FRIDAY_NOON, line("1", "3.00"))) == {"shopping": 1}
    carried = {UsageKey("shopping", "ever"): Usage(carried=Decimal(1))}
    assert given(GROCER, order(GROCER, FRIDAY_NOON, line("1", "1.00")), usages=carried) == {"shopping": 1}


def test_the_grocer_gives_for_fresh_food_crates_and_organic_pieces() -> None:
    basket = order(
        GROCER,
        FRIDAY_NOON,
        line("1", "9.00", "1", "APPLES", "fruit", "organic"),
        line("2", "12.00", "6", "WATER-12"),
        line("3", "0.50", "1", "BAG-PAPER", "organic"),
        line("4", "8.00", "1", "CIGARETTES", "tobacco"),
    )
    assert given(GROCER, basket) == {"shopping": 10, "fresh": 5, "crates": 20, "organic": 2}
    assert given(GROCER, basket, tier="gold")["organic"] == 3


def test_the_grocer_gives_for_a_basket_at_a_quiet_hour_while_enough_of_it_is_kept() -> None:
    basket = order(GROCER, QUIET, line("1", "15.00"), line("2", "5.00"))
    assert given(GROCER, basket)["quiet-hours"] == 10
    assert "quiet-hours" not in given(GROCER, basket, refund(net="1.00"))
    assert "quiet-hours" not in given(GROCER, basket._replace(occurred_at=datetime(2027, 11, 4, 9, tzinfo=GROCER.zone)))


def test_the_grocers_points_of_10_january_end_with_april() -> None:
    end = expires_at(GROCER.expiry, GROCER.zone, datetime(2027, 1, 10, 12, tzinfo=GROCER.zone))
    assert end is not None
    assert end.astimezone(GROCER.zone).date() == date(2027, 5, 1)


COAT = (line("1", "100.00"),)


@pytest.mark.parametrize(
    ("sold", "how", "points"),
    [
        (order(FASHION, FRIDAY_NOON, *COAT), {}, {"spend": 100}),
        (order(FASHION, FRIDAY_NOON, *COAT), {"tier": "silver"}, {"spend": 110}),
        (order(FASHION, FRIDAY_NOON, *COAT, channel="app"), {}, {"spend-in-app": 150}),
        (order(FASHION, FRIDAY_NOON, *COAT, channel="app"), {"tier": "gold"}, {"spend-in-app": 250}),
        (order(FASHION, SATURDAY_NOON, *COAT), {}, {"spend": 100, "double-weekends": 100}),
        (order(FASHION, "2027-11-06T18:00", *COAT), {}, {"spend": 100}),
        (order(FASHION, "2027-12-04T12:00", *COAT), {}, {"spend": 100}),
        (order(FASHION, FRIDAY_NOON, *COAT, tags=("birthday",)), {}, {"spend": 100, "birthday": 200}),
        (order(FASHION, FRIDAY_NOON, *COAT), {"is_first": True}, {"spend": 100, "welcome": 250}),
        (order(FASHION, FRIDAY_NOON, line("1", "39.99")), {"is_first": True}, {"spend": 40}),
        (order(FASHION, "2027-12-24T23:59", *COAT, gift=True), {"tier": "gold"}, {"spend": 125, "gift-season": 100}),
        (order(FASHION, "2027-12-24T23:59", *COAT, gift=True), {}, {"spend": 100}),
        (order(FASHION, FRIDAY_NOON, line("1", "100.00", "1", None, "final-sale")), {}, {}),
    ],
)
def test_the_fashion_house_gives_what_its_file_says(sold: Order, how: dict[str, Any], points: dict[str, int]) -> None:
    assert given(FASHION, sold, **how) == points


def test_the_welcome_points_are_taken_back_only_when_nothing_is_kept() -> None:
    first = order(FASHION, FRIDAY_NOON, *COAT)
    assert given(FASHION, first, refund(net="99.00"), is_first=True) == {"spend": 1, "welcome": 250}
    assert given(FASHION, first, refund(), is_first=True) == {}


def test_birthday_points_are_for_one_order_of_a_day_and_two_for_ever() -> None:
    sold = order(FASHION, FRIDAY_NOON, *COAT, tags=("birthday",))
    for period, orders in (("2027-11-05", 1), ("ever", 2)):
        usages = {UsageKey("birthday", period): Usage(points=200, orders=orders)}
        assert given(FASHION, sold, usages=usages) == {"spend": 100}
