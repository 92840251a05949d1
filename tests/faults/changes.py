"""How messages are made that change what was said of an order, or only a part of it.

They are about orders of one program, in which what a customer has follows from the set of the messages.
"""

from typing import Any

from core.domain.outcomes import Reason
from tests.faults.fault_programs import CHANGED, CURRENCY, SOURCES, TILL
from tests.faults.makers import CANCELLED, give_back, money_of, new_line, new_order, new_order_event, new_refund, sell
from tests.faults.stream import POSTED, Maker, envelope

AMENDED, REVERTED, RETURNED, CLAIMED = "order.amended", "order.refund_reverted", "order.returned", "order.claimed"


def changed_order(maker: Maker) -> None:
    """Others give it back, deliver it or call it off."""
    sell(maker, new_order(maker, CHANGED))


def _sold(maker: Maker) -> dict[str, Any]:
    return maker.random.choice([order for order in maker.sold if order["source"] == SOURCES[CHANGED]])


def _tell(maker: Maker, event: dict[str, Any]) -> None:
    maker.add(event, POSTED)
    maker.refunded.append(event)


def refund_at_the_till(maker: Maker) -> None:
    """Of an order that was made in another channel; now and then it comes first."""
    order = new_order(maker, CHANGED) if maker.random.random() < 0.3 else _sold(maker)
    if order not in maker.sold:
        maker.sold.append(order)
        steps = [lambda: maker.add(order, POSTED), lambda: _refund_at_the_till(maker, order)]
        maker.random.shuffle(steps)
        for step in steps:
            step()
    else:
        _refund_at_the_till(maker, order)


def _refund_at_the_till(maker: Maker, order: dict[str, Any]) -> None:
    given = money_of(maker, order, maker.random.randint(1, 9))
    event = new_refund(maker, order, order_source=order["source"], **given)
    _tell(maker, {**event, "source": TILL})


def refund_in_another_currency(maker: Maker) -> None:
    maker.add(new_refund(maker, _sold(maker), currency="USD", full=True), Reason.WRONG_CURRENCY)


def cancellation_of_lines(maker: Maker) -> None:
    """Of one line, and sometimes of another one by itself, or of all of the order; with refunds beside them."""
    order = new_order(maker, CHANGED)
    lines = order["data"]["lines"]
    steps = [lambda: sell(maker, order), *(lambda line=line: _cancel_line(maker, order, line) for line in lines[:2])]
    if maker.random.random() < 0.5:
        steps.append(lambda: give_back(maker, order, **money_of(maker, order, 4)))
    maker.random.shuffle(steps)
    for step in steps:
        step()


def _cancel_line(maker: Maker, order: dict[str, Any], line: dict[str, Any]) -> None:
    parts = [{"line_id": line["line_id"], "quantity": line["quantity"]}]
    own = {"cancellation_id": maker.new_id("part")} if maker.random.random() < 0.5 else {}
    _tell(maker, new_order_event(maker, CANCELLED, order, lines=parts, **own))


def amended_order(maker: Maker) -> None:
    """What is sold becomes something else, which may be told first; its first line, which a refund may name, stays."""
    order = new_order(maker, CHANGED)
    first, *others = order["data"]["lines"]
    lines = [first, *others[1:], *(new_line(maker, number, 1) for number in range(20, 20 + maker.random.randint(1, 3)))]
    data = {"order_id": order["data"]["order_id"], "customer_id": order["data"]["customer_id"], "revision": 1}
    event_id = f"{maker.new_id('amended')}-of-{data['order_id']}"
    data |= {"currency": CURRENCY, "lines": lines}
    amended = envelope(AMENDED, event_id, order["source"], maker.time(0, 30), data)
    steps = [lambda: maker.add(order, POSTED), lambda: _tell(maker, amended)]
    if maker.random.random() < 0.5:
        part = {"line_id": first["line_id"], "quantity": first["quantity"]}
        steps.append(lambda: give_back(maker, order, lines=[part]))
    maker.random.shuffle(steps)
    for step in steps:
        step()


def undone_refund(maker: Maker) -> None:
    """Of an order that others give back too, or of one that comes last."""
    order = new_order(maker, CHANGED) if maker.random.random() < 0.5 else _sold(maker)
    given = {"full": True} if maker.random.random() < 0.3 else money_of(maker, order, maker.random.randint(1, 9))
    refund = new_refund(maker, order, **given)
    data = {"refund_id": refund["data"]["refund_id"], "order_id": order["data"]["order_id"]}
    undone = envelope(REVERTED, f"{data['refund_id']}-undone", order["source"], maker.time(0, 30), data)
    steps = [lambda: _tell(maker, refund), lambda: _tell(maker, undone)]
    if order not in maker.sold:
        steps.append(lambda: sell(maker, order))
    maker.random.shuffle(steps)
    for step in steps:
        step()


def goods_without_receipt(maker: Maker) -> None:
    """At the till, from what the customer has; now and then more than that."""
    lines = [new_line(maker, number, 1) for number in range(1, maker.random.randint(2, 4))]
    customer_id = _sold(maker)["data"]["customer_id"]
    data = {"return_id": maker.new_id("return"), "customer_id": customer_id, "currency": CURRENCY}
    event = envelope(RETURNED, f"{data['return_id']}-back", TILL, maker.time(0, 30), {**data, "lines": lines})
    _tell(maker, event)


def claimed_order(maker: Maker) -> None:
    """A guest's, which somebody claims, now and then before it is there; a part of it may come back."""
    order = new_order(maker, CHANGED, customer_id=None)
    claim = new_order_event(maker, CLAIMED, order, customer_id=maker.customer(CHANGED))
    steps = [lambda: maker.add(order, POSTED), lambda: _tell(maker, claim)]
    if maker.random.random() < 0.5:
        steps.append(lambda: give_back(maker, order, **money_of(maker, order, 3)))
    maker.random.shuffle(steps)
    for step in steps:
        step()
