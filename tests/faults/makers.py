"""How messages are made: orders that are sold, given back, delivered and called off; and what is no message."""

from decimal import Decimal
from typing import Any

from core.domain.outcomes import Reason
from tests.faults.fault_programs import CURRENCY, FADING, FLAT, HELD, LIMITED, LONG_AGO, SOURCES, TIERED
from tests.faults.stream import NOTHING_TO_READ, POSTED, WAITING, Maker, envelope

ORDER, REFUND, FULFILLED, CANCELLED = "order.completed", "order.refunded", "order.fulfilled", "order.cancelled"


def new_line(maker: Maker, number: int, least: float, kind: str | None = None) -> dict[str, Any]:
    rng = maker.random
    line: dict[str, Any] = {"line_id": str(number), "quantity": rng.choice((1, 1, 2, 3, "0.250", "4.0"))}
    line["amount"] = maker.amount(least, 40)
    if rng.random() < 0.4:  # shares of a random stream
        line["tax"] = f"{Decimal(line['amount']) / 5:.2f}"
    if rng.random() < 0.3:
        line |= {"sku": f"sku-{rng.randrange(90)}", "categories": rng.choice(([], ["tea"], ["tea", "gifts"]))}
    if kind is not None:
        line["kind"] = kind
    return line


def new_order(maker: Maker, program: str, **over: Any) -> dict[str, Any]:
    """An order that nobody has sent yet."""
    rng = maker.random
    order_id = maker.new_id("order")
    lines = [new_line(maker, number, 5) for number in range(1, rng.randint(2, 5))]
    data: dict[str, Any] = {"order_id": order_id, "customer_id": maker.customer(program), "currency": CURRENCY}
    if rng.random() < 0.2:
        paid = sum(Decimal(line["amount"]) for line in over.get("lines", lines))
        data["points_paid"] = f"{paid / rng.randint(3, 9):.2f}"
    if rng.random() < 0.3:
        lines.append(new_line(maker, 9, 1, rng.choice(("shipping", "gift_card", "fee", "tip"))))
    if rng.random() < 0.1:
        data["attributes"] = {"channel": "web", "first_order": True}
    data |= {"lines": lines, **over}
    return envelope(ORDER, f"{order_id}-completed", SOURCES[program], maker.order_time(program), data)


def sell(maker: Maker, event: dict[str, Any]) -> dict[str, Any]:
    maker.add(event, POSTED)
    maker.sold.append(event)
    return event


def flat_order(maker: Maker) -> None:
    sell(maker, new_order(maker, FLAT, **maker.random.choice(({}, {"program_id": FLAT}))))


def tiered_order(maker: Maker) -> None:
    sell(maker, new_order(maker, TIERED))


def late_order(maker: Maker) -> None:
    sell(maker, {**new_order(maker, TIERED), "time": maker.time(100, 400)})


def fading_order(maker: Maker) -> None:
    sell(maker, new_order(maker, FADING))


def old_order(maker: Maker) -> None:
    """Its points are past their time when they come."""
    sell(maker, {**new_order(maker, FADING), "time": maker.random.choice(tuple(LONG_AGO))})


def guest_order(maker: Maker) -> None:
    sell(maker, new_order(maker, maker.random.choice((FLAT, TIERED)), customer_id=None))


def order_of_nothing(maker: Maker) -> None:
    """It earns no points: shipping alone."""
    sell(maker, new_order(maker, FLAT, lines=[new_line(maker, 1, 1, "shipping")]))


def new_refund(maker: Maker, order: dict[str, Any], **data: Any) -> dict[str, Any]:
    """A refund of this order."""
    refund_id = maker.new_id("refund")
    data = {"refund_id": refund_id, "order_id": order["data"]["order_id"], **data}
    return envelope(REFUND, f"{refund_id}-refunded", order["source"], maker.time(0, 30), data)


def give_back(maker: Maker, order: dict[str, Any], **data: Any) -> None:
    event = new_refund(maker, order, **data)
    maker.add(event, POSTED)
    maker.refunded.append(event)


def _gross(order: dict[str, Any]) -> Decimal:
    return sum((Decimal(line["amount"]) + Decimal(line.get("tax") or 0) for line in order["data"]["lines"]), Decimal(0))


def money_of(maker: Maker, order: dict[str, Any], tenths: int) -> dict[str, str]:
    """So many tenths of the order's money, of one of its kinds."""
    data = order["data"]
    net = sum((Decimal(line["amount"]) for line in data["lines"]), Decimal(0))
    paid = _gross(order) - Decimal(data.get("points_paid") or 0)
    kind, money = maker.random.choice([("net", net), ("paid", paid)])
    return {kind: f"{money * tenths / 10:.2f}"}


def _refund_lines(maker: Maker, order: dict[str, Any]) -> list[dict[str, Any]]:
    rng = maker.random
    found = []
    for line in _some_lines(maker, order):
        part = {"line_id": line["line_id"]}
        if rng.random() < 0.6:
            part["quantity"] = (
                line["quantity"] if isinstance(line["quantity"], str) else rng.randint(1, line["quantity"])
            )
        if "quantity" not in part or rng.random() < 0.3:
            net = Decimal(f"{Decimal(line['amount']) * rng.randint(2, 10) / 10:.2f}")
            is_net = order["data"].get("points_paid") or rng.random() < 0.5
            part["net" if is_net else "paid"] = str(min(net, Decimal(line["amount"])))
        found.append(part)
    return found


def refund_of_lines(maker: Maker) -> None:
    order = maker.random.choice(maker.sold)
    give_back(maker, order, lines=_refund_lines(maker, order))


def refund_of_amount(maker: Maker) -> None:
    order = maker.random.choice(maker.sold)
    give_back(maker, order, **money_of(maker, order, maker.random.randint(1, 9)))


def full_refund(maker: Maker) -> None:
    give_back(maker, maker.random.choice(maker.sold), full=True)


def split_refund(maker: Maker) -> None:
    """In three steps, the last of which may find nothing left."""
    order = maker.random.choice(maker.sold)
    give_back(maker, order, lines=_refund_lines(maker, order))
    give_back(maker, order, **money_of(maker, order, 3))
    give_back(maker, order, full=True)


def refund_before_order(maker: Maker) -> None:
    """Made first, so that it mostly comes first."""
    order = new_order(maker, maker.random.choice((FLAT, TIERED, FADING)))
    give_back(maker, order, **money_of(maker, order, 5))
    sell(maker, order)


def refund_of_unknown_order(maker: Maker) -> None:
    order = new_order(maker, FLAT)
    maker.add(new_refund(maker, order, full=True), WAITING)


def refund_too_much(maker: Maker) -> None:
    order = maker.random.choice(maker.sold)
    line = maker.random.choice(order["data"]["lines"])
    parts: list[dict[str, Any]] = [
        {"paid": str(_gross(order) + len(order["data"]["lines"]) * Decimal("0.01") + Decimal("0.01"))},
        {"lines": [{"line_id": line["line_id"], "quantity": 5}]},
        {"lines": [{"line_id": line["line_id"], "net": str(_gross(order) + 1)}]},
    ]
    maker.add(new_refund(maker, order, **maker.random.choice(parts)), Reason.REFUND_EXCEEDS_ORDER)


def refund_of_unknown_line(maker: Maker) -> None:
    order = maker.random.choice(maker.sold)
    lines = [{"line_id": "77", "quantity": 1}, {"line_id": "1", "quantity": "0.1"}]
    maker.add(new_refund(maker, order, lines=lines), Reason.UNKNOWN_LINE)


def held_order(maker: Maker) -> None:
    """Its points are pending until it is fulfilled, if ever."""
    sell(maker, new_order(maker, HELD))


def limited_order(maker: Maker) -> None:
    """What it earns depends on what else was posted before it; all on two days, so that they share their caps."""
    hour = maker.random.randrange(24)
    day = maker.random.choice(("2026-01-12", "2026-01-13"))
    sell(maker, {**new_order(maker, LIMITED), "time": f"{day}T{hour:02}:30:00+01:00"})


def new_order_event(maker: Maker, kind: str, order: dict[str, Any], **data: Any) -> dict[str, Any]:
    """The fulfilment or cancellation of this order."""
    order_id = order["data"]["order_id"]
    event_id = f"{maker.new_id(kind.removeprefix('order.'))}-of-{order_id}"
    return envelope(kind, event_id, order["source"], maker.time(0, 30), {"order_id": order_id, **data})


def _tell_once(maker: Maker, kind: str, order: dict[str, Any]) -> None:
    """Tell of the order that it is fulfilled or cancelled, unless that was told: its time would be another."""
    key = kind, order["source"], order["data"]["order_id"]
    if key not in maker.told:
        maker.told.add(key)
        event = new_order_event(maker, kind, order)
        maker.add(event, POSTED)
        maker.refunded.append(event)


def fulfilment_of_held(maker: Maker) -> None:
    held = [order for order in maker.sold if order["source"] == SOURCES[HELD]]
    _tell_once(maker, FULFILLED, maker.random.choice(held))


def order_in_parcels(maker: Maker) -> None:
    """Line by line, in any order; now and then all of the rest, or something of it comes back."""
    order = new_order(maker, HELD)
    steps = [
        lambda: sell(maker, order),
        *(lambda line=line: _send(maker, order, line) for line in _some_lines(maker, order)),
    ]
    if maker.random.random() < 0.3:
        steps.append(lambda: _tell_once(maker, FULFILLED, order))
    if maker.random.random() < 0.5:
        steps.append(lambda: give_back(maker, order, lines=_refund_lines(maker, order)))
    maker.random.shuffle(steps)
    for step in steps:
        step()


def _some_lines(maker: Maker, order: dict[str, Any]) -> list[dict[str, Any]]:
    lines = order["data"]["lines"]
    return maker.random.sample(lines, maker.random.randint(1, len(lines)))


def _send(maker: Maker, order: dict[str, Any], line: dict[str, Any]) -> None:
    """One line, or a piece of it."""
    rng = maker.random
    is_of_pieces = isinstance(line["quantity"], int)
    part = {
        "line_id": line["line_id"],
        "quantity": rng.randint(1, line["quantity"]) if is_of_pieces else line["quantity"],
    }
    lines = [part if rng.random() < 0.7 else {"line_id": line["line_id"]}]
    own = {"fulfilment_id": maker.new_id("part")} if rng.random() < 0.5 else {}
    event = new_order_event(maker, FULFILLED, order, lines=lines, **own)
    maker.add(event, POSTED)
    maker.refunded.append(event)


def fulfilment(maker: Maker) -> None:
    _tell_once(maker, FULFILLED, maker.random.choice(maker.sold))


def fulfilment_before_order(maker: Maker) -> None:
    """Made first, so that it mostly comes first."""
    order = new_order(maker, HELD)
    _tell_once(maker, FULFILLED, order)
    sell(maker, order)


def cancellation(maker: Maker) -> None:
    _tell_once(maker, CANCELLED, maker.random.choice(maker.sold))


def cancellation_before_order(maker: Maker) -> None:
    """Made first, so that it mostly comes first; sometimes with a refund beside it."""
    order = new_order(maker, maker.random.choice((FLAT, TIERED, HELD, LIMITED)))
    _tell_once(maker, CANCELLED, order)
    if maker.random.random() < 0.5:
        give_back(maker, order, **money_of(maker, order, 5))
    sell(maker, order)


def fulfilled_cancelled_and_refunded(maker: Maker) -> None:
    order = new_order(maker, HELD)
    steps = [
        lambda: sell(maker, order),
        lambda: _tell_once(maker, FULFILLED, order),
        lambda: _tell_once(maker, CANCELLED, order),
        lambda: give_back(maker, order, lines=_refund_lines(maker, order)),
    ]
    maker.random.shuffle(steps)
    for step in steps:
        step()


def order_event_conflict(maker: Maker) -> None:
    """The same fulfilment or cancellation with other content. Whichever is posted first, the points are the same."""
    order, kind = new_order(maker, HELD), maker.random.choice((FULFILLED, CANCELLED))
    sell(maker, order)
    _tell_once(maker, kind, order)
    maker.add(new_order_event(maker, kind, order, program_id=HELD), POSTED, is_twin=True)
    maker.refunded.pop()  # no further twins: how many are replays would depend on which of these is first


def event_of_unknown_order(maker: Maker) -> None:
    maker.add(new_order_event(maker, maker.random.choice((FULFILLED, CANCELLED)), new_order(maker, HELD)), WAITING)


def replay(maker: Maker) -> None:
    """The same order, refund or the like in another event."""
    event = maker.random.choice(maker.sold + maker.refunded)
    maker.add({**event, "id": maker.new_id("again")}, POSTED, is_twin=True)


def order_conflict(maker: Maker) -> None:
    """The same order id with other content. Whichever is posted first, the points are the same."""
    event = sell(maker, new_order(maker, maker.random.choice((FLAT, TIERED))))
    lines = [{**line, "sku": "another"} for line in event["data"]["lines"]]
    maker.add({**event, "id": maker.new_id("other"), "data": {**event["data"], "lines": lines}}, POSTED, is_twin=True)
    maker.sold.remove(event)  # no further twins: how many are replays would depend on which of these is first


def refund_conflict(maker: Maker) -> None:
    """The same refund id with other content, which gives back as much: everything."""
    order = maker.random.choice(maker.sold)
    event = new_refund(maker, order, full=True)
    maker.add(event, POSTED)
    data = {
        "refund_id": event["data"]["refund_id"],
        "order_id": event["data"]["order_id"],
        "lines": [{"line_id": line["line_id"], "quantity": line["quantity"]} for line in order["data"]["lines"]],
    }
    maker.add({**event, "id": maker.new_id("other"), "data": data}, POSTED, is_twin=True)


def event_conflict(maker: Maker) -> None:
    """The same event id with other content. Whichever comes first, the points are the same."""
    event = new_order(maker, maker.random.choice((FLAT, TIERED)))
    maker.add(event, POSTED)
    maker.add({**event, "data": {**event["data"], "attributes": {"note": "changed"}}}, POSTED, is_twin=True)


def unknown_program(maker: Maker) -> None:
    maker.add(new_order(maker, FLAT, program_id="nowhere"), Reason.UNKNOWN_PROGRAM)


def wrong_currency(maker: Maker) -> None:
    """And a refund of it, which waits for an order that is never posted."""
    order = new_order(maker, FLAT, currency="USD")
    maker.add(order, Reason.WRONG_CURRENCY)
    maker.add(new_refund(maker, order, full=True), WAITING)


def nothing_to_read(maker: Maker) -> None:
    text = maker.new_id("text")
    not_json, not_an_event = NOTHING_TO_READ
    choices: list[tuple[bytes, str]] = [
        (f"Order {text} was paid.".encode(), not_json),
        (f'{{"id": "{text}", "data": '.encode(), not_json),
        (f'{{"id": "{text}", "name": "'.encode() + b'\xff"}', not_json),
        (f'["{text}", NaN, ['.encode(), not_json),
        (f'"{text}"'.encode(), not_an_event),
    ]
    maker.add_unreadable(*maker.random.choice(choices), ORDER)


def bad_envelope(maker: Maker) -> None:
    event = new_order(maker, FLAT)
    broken: list[dict[str, Any]] = [
        {name: value for name, value in event.items() if name != "id"},
        {**event, "time": "2026-03-01T12:00:00"},
        {**event, "specversion": "0.3"},
        {**event, "source": None},
    ]
    maker.add_unreadable(maker.random.choice(broken), Reason.BAD_ENVELOPE, ORDER)


def invalid_data(maker: Maker) -> None:
    event = new_order(maker, TIERED)
    broken: list[dict[str, Any]] = [
        {**event["data"], "lines": []},
        {**event["data"], "lines": [{"line_id": "1", "quantity": 1, "amount": 12.5}]},
        {**event["data"], "customer_id": 17},
    ]
    maker.add_unreadable({**event, "data": maker.random.choice(broken)}, Reason.INVALID_DATA, ORDER)


def unknown_type(maker: Maker) -> None:
    event = {**new_order(maker, FLAT), "type": "order.forgotten"}
    maker.add_unreadable(event, Reason.UNKNOWN_TYPE, "order.forgotten")


def time_in_future(maker: Maker) -> None:
    maker.add_unreadable({**new_order(maker, FLAT), "time": "2126-03-01T12:00:00Z"}, Reason.TIME_IN_FUTURE, ORDER)
