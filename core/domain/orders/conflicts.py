"""What a person can do about an order whose id is posted already with other content: it depends on what differs."""

from core.domain.orders.facts import Order, OrderLine
from core.domain.outcomes import Parked, Reason

_OTHER_ORDER = "send it in a new event with an order_id of its own"
_CLAIMED = "send order.claimed"
_CHANGED = "send order.amended with the whole order as it is now and a revision"


def order_conflict(posted: Order, order: Order) -> Parked:
    """Why `order` is parked, which has the id of `posted`, and what to send in its place."""
    detail = (
        "this order is posted already with other content; the first one stands. "
        f"{_advice(posted, order)}; drop this message"
    )
    return Parked(Reason.ORDER_CONFLICT, detail)


def _advice(posted: Order, order: Order) -> str:
    if posted.whom != order.whom and posted.customer_id != order.customer_id:
        if order.whom is None:
            return f"This one names no customer: if it is another order, {_OTHER_ORDER}"
        whose, how = (
            ("a guest's", "") if posted.customer_id is None else ("another customer's", " with previous_customer_id")
        )
        return (
            f"The posted one is {whose}: if this is another order, {_OTHER_ORDER}; if it is the same, {_CLAIMED}{how}"
        )
    if posted.currency != order.currency:
        return f"This one has another currency: if it is another order, {_OTHER_ORDER}"
    if posted.occurred_at != order.occurred_at and not _goods(posted) & _goods(order):
        return (
            f"This one has another time and other lines: if it is another order, {_OTHER_ORDER}; if the order was "
            f"changed, {_CHANGED}"
        )
    return f"If the order was changed, {_CHANGED}; if it is another order, {_OTHER_ORDER}"


def _goods(order: Order) -> set[OrderLine]:
    """Its lines but for their ids, which count from 1 in every order."""
    return {line._replace(line_id="") for line in order.lines}
