"""What comes in is read, or becomes an UnreadableEvent that a person can mend. Nothing raises, nothing is dropped."""

import copy
import json
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from core.domain.message import Message
from core.domain.orders.facts import Cancellation, Fulfilment, LineKind, Order, OrderLine, Refund, RefundLine
from core.domain.outcomes import Reason
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.order_lines import lines_again
from core.messages.inbound.reading import (
    ReadEvent,
    SettledMessage,
    UnreadableEvent,
    business_hash,
    read_attributes,
    read_lines,
    read_settled,
    read_tags,
)
from tests.messages.inbound_samples import CANCELLATION, FULFILMENT, ORDER, REFUND, body, changed, read, read_one


def settled(event: dict[str, Any]) -> SettledMessage:
    found = read_one(event)
    return read_settled(INBOUND[found.type], found.source, found.occurred_at, found.settled)


def business(event: dict[str, Any]) -> bytes:
    return business_hash(read_one(event).settled)


def test_an_order_is_read_with_what_intake_needs() -> None:
    event = read_one(ORDER)
    assert event[:7] == (
        "/shops/high-street",
        "evt-1",
        "order.completed",
        datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
        "order o-1",
        "c-1",
        True,
    )
    assert event.occurred_at.tzinfo is UTC
    assert event.body == body(ORDER)
    assert len(event.content_hash) == 32


@pytest.mark.parametrize("event", [REFUND, FULFILMENT, CANCELLATION], ids=lambda event: event["type"])
def test_what_is_about_an_order_is_no_order_and_names_no_customer(event: dict[str, Any]) -> None:
    found = read_one(event)
    assert (found.type, found.subject, found.customer_id, found.is_subject) == (event["type"], "order o-1", None, False)


def test_a_settled_order_is_read_as_facts() -> None:
    fact = Order(
        source="/shops/high-street",
        order_id="o-1",
        customer_id="c-1",
        currency="GBP",
        occurred_at=datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
        lines=(
            OrderLine("1", "mug", Decimal(2), Decimal("12.5"), Decimal("2.5"), LineKind.PRODUCT, ("kitchen",)),
            OrderLine("2", None, Decimal("0.25"), Decimal(3), Decimal(0), LineKind.SHIPPING, ()),
        ),
        points_paid=Decimal(5),
        attributes={"channel": "web", "gift": True, "items": 2},
        customer_tags=(),
    )
    assert settled(ORDER).message == Message(fact, "high-street", business(ORDER))


def test_a_settled_refund_is_read_as_facts() -> None:
    refund = Refund(
        source="/shops/high-street",
        refund_id="r-1",
        order_id="o-1",
        occurred_at=datetime(2026, 3, 1, 11, 0, tzinfo=UTC),
        full=False,
        paid=None,
        net=None,
        lines=(RefundLine("1", Decimal(1), None, None), RefundLine("2", None, None, Decimal("1.5"))),
    )
    assert settled(REFUND).message == Message(refund, None, business(REFUND))


@pytest.mark.parametrize(
    ("extent", "paid", "net", "full"),
    [
        ({"paid": "4.20"}, Decimal("4.2"), None, False),
        ({"net": "4.20"}, None, Decimal("4.2"), False),
        ({"full": True}, None, None, True),
        ({"full": True, "lines": None, "amount": None}, None, None, True),
    ],
)
def test_a_refund_is_by_lines_by_money_or_in_full(
    extent: dict[str, Any], paid: Decimal | None, net: Decimal | None, full: bool
) -> None:
    event = changed(REFUND, "data", {"refund_id": "r-1", "order_id": "o-1", **extent})
    refund = settled(event).message.fact
    assert (refund.paid, refund.net, refund.full, refund.lines) == (paid, net, full, ())


@pytest.mark.parametrize("program_id", [None, "high-street"])
def test_a_settled_fulfilment_and_cancellation_are_read_as_facts(program_id: str | None) -> None:
    at = datetime(2026, 3, 1, 11, 30, tzinfo=UTC)
    for event, expected in (
        (FULFILMENT, Fulfilment("/shops/high-street", "o-1", at)),
        (CANCELLATION, Cancellation("/shops/high-street", "o-1", at)),
    ):
        sent = changed(event, "data.program_id", program_id)
        assert settled(sent).message == Message(expected, program_id, business(sent))
        later = changed(changed(sent, "time", "2026-03-01T11:45:00Z"), "data.note", "ignored")
        assert business(later) == business(sent)
        assert read_one(later).content_hash != read_one(sent).content_hash


def test_the_business_hash_is_that_of_the_settled_text_to_the_byte() -> None:
    event = read_one(REFUND)
    assert event.settled == (
        '{"refund_id":"r-1","order_id":"o-1","lines":[{"line_id":"1","quantity":1},{"line_id":"2","net":"1.5"}]}'
    )
    assert settled(REFUND).message.digest == sha256(event.settled.encode()).digest()


def test_the_order_of_tags_and_repeated_ones_do_not_matter() -> None:
    first, again = (changed(ORDER, "data.customer_tags", tags) for tags in (["staff", "vip"], ["vip", "staff", "vip"]))
    assert read_one(again).content_hash == read_one(first).content_hash


def test_a_fulfilment_under_the_id_of_a_cancellation_has_other_content() -> None:
    assert read_one(FULFILMENT).content_hash != read_one(changed(CANCELLATION, "id", "evt-3")).content_hash


def test_attributes_and_tags_are_kept_and_read_back() -> None:
    sent = changed(ORDER, "data.customer_tags", ["vip", "Angestellte", "vip", "été"])
    (order, *_), data = settled(sent)
    assert order.customer_tags == ("Angestellte", "vip", "été")
    assert data["customer_tags"] == ["Angestellte", "vip", "été"]
    assert read_tags(to_json(data["customer_tags"])) == order.customer_tags
    assert read_attributes(to_json(data["attributes"])) == order.attributes
    assert type(order.attributes["gift"]) is bool


@pytest.mark.parametrize(("attributes", "tags"), [(..., ...), (None, None), ({}, [])])
def test_no_attributes_and_no_tags_are_kept_as_nothing(attributes: Any, tags: Any) -> None:
    tagged = changed(ORDER, "data.customer_tags", ["vip"])
    (order, *_), data = settled(changed(changed(tagged, "data.attributes", attributes), "data.customer_tags", tags))
    assert {"attributes", "customer_tags"}.isdisjoint(data)
    assert (order.attributes, order.customer_tags) == ({}, ())
    assert (read_attributes(None), read_tags(None)) == ({}, ())


def test_lines_are_kept_by_their_fields_and_read_back() -> None:
    (order, *_), data = settled(ORDER)
    kept = to_json(data["lines"]).decode()
    assert kept == (
        '{"line_id":["1","2"],"sku":["mug",null],"quantity":[2,"0.25"],"amount":["12.5","3"],"tax":["2.5",null],'
        '"kind":[null,"shipping"],"categories":[["kitchen"],null]}'
    )
    assert read_lines(kept) == order.lines
    assert to_json(lines_again(order.lines)).decode() == kept


def test_a_field_that_no_line_has_is_not_kept() -> None:
    sent = changed(ORDER, "data.lines", [{"line_id": "1", "quantity": 1, "amount": "0.00"}])
    _, data = settled(changed(sent, "data.points_paid", ...))
    assert data["lines"] == {"line_id": ["1"], "quantity": [1], "amount": ["0"]}


_AMOUNTS = st.decimals("-999.999", "999.999", places=3)
_LINES = st.builds(
    OrderLine,
    line_id=st.text("ab1-", min_size=1),
    sku=st.none() | st.text("ab1-", min_size=1),
    quantity=_AMOUNTS.filter(bool),
    amount=_AMOUNTS,
    tax=_AMOUNTS,
    kind=st.sampled_from(LineKind),
    categories=st.lists(st.text("ab1-", min_size=1), max_size=3).map(tuple),
)


@given(st.lists(_LINES, max_size=5))
def test_any_lines_are_read_as_they_were_kept(several: list[OrderLine]) -> None:
    assert read_lines(to_json(lines_again(several))) == tuple(several)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.lines.0.amount", "12.5"),
        ("data.lines.0.amount", "012.5000"),
        ("data.lines.0.quantity", "2.000"),
        ("data.lines.0.kind", "product"),
        ("data.lines.0.kind", None),
        ("data.lines.1.tax", "0.00"),
        ("data.lines.1.categories", []),
        ("data.lines.1.sku", None),
        ("data.points_paid", "5"),
        ("data.attributes", {"items": 2, "channel": "web", "gift": True}),
        ("data.rate", None),
        ("data.customer_tags", []),
        ("data.customer_tags", None),
        ("data.an_unknown_field", "ignored"),
        ("an_unknown_attribute", "ignored"),
        ("specversion", ...),
        ("time", "2026-03-01T09:00:00.000Z"),
    ],
)
def test_the_same_content_written_in_another_way_has_the_same_hashes(path: str, value: Any) -> None:
    first, again = read_one(ORDER), read_one(changed(ORDER, path, value))
    assert again.content_hash == first.content_hash
    assert again.settled == first.settled


def test_whitespace_and_the_order_of_keys_do_not_matter() -> None:
    backwards = {key: ORDER[key] for key in reversed(ORDER)}
    backwards["data"] = {key: ORDER["data"][key] for key in reversed(ORDER["data"])}
    again = read_one(b" \n" + json.dumps(backwards, indent=4).encode() + b"\r\n")
    assert again.content_hash == read_one(ORDER).content_hash


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.customer_id", "c-2"),
        ("data.customer_id", ...),
        ("data.rate", "1.2"),
        ("data.lines.0.amount", "12.51"),
        ("data.lines.0.quantity", 3),
        ("data.lines.1", ...),
        ("data.attributes.gift", 1),
        ("data.points_paid", ...),
        ("data.customer_tags", ["vip"]),
    ],
)
def test_other_content_has_other_hashes(path: str, value: Any) -> None:
    first, other = read_one(ORDER), read_one(changed(ORDER, path, value))
    assert other.content_hash != first.content_hash
    assert other.settled != first.settled


def test_another_event_of_the_same_order_differs_in_content_and_not_in_business() -> None:
    first, again = read_one(ORDER), read_one(changed(ORDER, "time", "2026-03-01T09:30:00Z"))
    assert again.settled == first.settled
    assert again.content_hash != first.content_hash


def test_each_event_of_an_array_keeps_its_own_slice() -> None:
    first, second = json.dumps(ORDER, indent=2, ensure_ascii=False), json.dumps(REFUND)
    results = read(f" [ {first} ,\n{second}]\n".encode())
    assert [result.body.decode() for result in results] == [first, second]
    assert [result.type for result in results] == ["order.completed", "order.refunded"]


def test_one_wrong_event_of_an_array_does_not_stop_the_others() -> None:
    results = read([ORDER, [ORDER], 7, changed(ORDER, "id", ""), REFUND])
    assert [result.reason if isinstance(result, UnreadableEvent) else None for result in results] == [
        None,
        Reason.NOT_AN_EVENT,
        Reason.NOT_AN_EVENT,
        Reason.BAD_ENVELOPE,
        None,
    ]
    assert results[2].body == b"7"


EVENTS = [changed(ORDER, "data.customer_tags", ["staff", "vip"]), REFUND, FULFILMENT, CANCELLATION]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("12.5"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    results = read(raw)
    assert results
    assert all(isinstance(result, UnreadableEvent) and result.detail for result in results)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, item in items for place in places(item, (*path, key))]


@settings(max_examples=300)
@given(st.sampled_from(EVENTS), st.data())
def test_any_change_of_a_right_event_is_read_or_refused(event: dict[str, Any], data: st.DataObject) -> None:
    event = copy.deepcopy(event)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(event)))
        target: Any = event
        for part in path[:-1]:
            target = target[part]
        if isinstance(target, dict) and data.draw(st.booleans()):
            target[data.draw(st.text(max_size=8))] = target.pop(path[-1])
        else:
            target[path[-1]] = data.draw(JSON_VALUES)
    raw = json.dumps(event).encode()
    for result in read(raw) + read(b"[" + raw + b"]"):
        assert result.body == raw
        if isinstance(result, ReadEvent):
            (fact, *_), settled_data = read_settled(
                INBOUND[result.type], result.source, result.occurred_at, result.settled
            )
            assert to_json(settled_data).decode() == result.settled
            if isinstance(fact, Order):
                assert read_lines(to_json(settled_data["lines"])) == fact.lines
                assert dict(settled_data.get("attributes", {})) == fact.attributes
        else:
            assert len(result.detail) < 2000
            assert result.detail.isprintable()


@settings(max_examples=300)
@given(st.sampled_from(EVENTS), st.data())
def test_any_damage_to_the_bytes_is_read_or_refused(event: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray(body(event))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    for result in read(bytes(raw)):
        assert result.body in raw
