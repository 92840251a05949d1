"""An order id that is posted already with other content: what to do depends on what differs."""

from typing import Any

import pytest

from core.domain.orders.conflicts import order_conflict
from core.domain.orders.facts import Order
from core.domain.outcomes import Reason
from tests.facts import line, order

OWN_ID = "send it in a new event with an order_id of its own"
AMEND = "send order.amended with the whole order as it is now and a revision"
SALE: dict[str, Any] = {"at": "2026-11-20T10:00:00Z", "lines": [line("1", "12.00")]}
OTHER_LINES = [line("1", "34.00")]


@pytest.mark.parametrize(
    ("again", "advice"),
    [
        (
            order(**SALE, customer_id="c2"),
            f"The posted one is another customer's: if this is another order, {OWN_ID}; if it is",
        ),
        (order(**SALE, customer_id=None), f"This one names no customer: if it is another order, {OWN_ID}"),
        (order(**SALE)._replace(currency="GBP"), f"This one has another currency: if it is another order, {OWN_ID}"),
        (
            order(at="2026-11-20T10:02:00Z", lines=OTHER_LINES),
            f"This one has another time and other lines: if it is another order, {OWN_ID}; if the order was",
        ),
        (order(at="2026-11-20T10:00:00Z", lines=OTHER_LINES), f"If the order was changed, {AMEND}; if it is another"),
        (
            order(at="2026-11-20T10:02:00Z", lines=[line("9", "12.00"), *OTHER_LINES]),
            f"If the order was changed, {AMEND}; if it is another order, {OWN_ID}",
        ),
        (order(**SALE, points_paid="1.00"), f"If the order was changed, {AMEND}; if it is another order, {OWN_ID}"),
    ],
)
def test_what_to_send_instead(again: Order, advice: str) -> None:
    parked = order_conflict(order(**SALE), again)
    assert parked.reason is Reason.ORDER_CONFLICT
    assert parked.detail.startswith(f"this order is posted already with other content; the first one stands. {advice}")
    assert parked.detail.endswith("; drop this message")


def test_of_two_sales_of_guests_at_one_till_only_time_and_lines_can_tell() -> None:
    first, second = (
        order(**SALE, customer_id=None),
        order(at="2026-11-20T10:02:00Z", lines=OTHER_LINES, customer_id=None),
    )
    assert f"if it is another order, {OWN_ID}; if the order was changed" in order_conflict(first, second).detail


def test_a_guest_s_order_and_a_customer_s_are_told_apart() -> None:
    assert (
        "The posted one is a guest's: if this is another order"
        in order_conflict(order(**SALE, customer_id=None), order(**SALE)).detail
    )


def test_no_customer_is_named_in_what_is_logged_and_published() -> None:
    detail = order_conflict(order(**SALE, customer_id="kim"), order(**SALE, customer_id="robin")).detail
    assert "kim" not in detail
    assert "robin" not in detail
