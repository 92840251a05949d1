"""Fields that no contract knows are the shop's own and are ignored, but for those that would change the meaning."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.outcomes import Reason
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.near_names import meant_names, slips_between
from core.messages.inbound.reading import ReadEvent
from core.messages.inbound.stray_fields import stray_problems
from tests.messages.inbound_samples import CANCELLATION, FULFILMENT, ORDER, REFUND, changed, read, read_one, refused

AMENDMENT = changed(changed(ORDER, "type", "order.amended"), "data.revision", 1)
RETURN = changed(
    changed(ORDER, "type", "order.returned"),
    "data",
    {"return_id": "b-1", "customer_id": "c-1", "currency": "GBP", "lines": ORDER["data"]["lines"]},
)
REVERSION = changed(changed(REFUND, "type", "order.refund_reverted"), "data", {"refund_id": "r-1", "order_id": "o-1"})
CLAIM = changed(changed(FULFILMENT, "type", "order.claimed"), "data", {"order_id": "o-1", "customer_id": "c-1"})
EVENTS = {each["type"]: each for each in (ORDER, REFUND, FULFILMENT, CANCELLATION, AMENDMENT, RETURN, REVERSION, CLAIM)}
KNOWN = frozenset({"order_id", "customer_id", "program_id", "currency", "lines", "points_paid", "customer_tags", "sku"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("customerId", "customer_id"),
        ("CustomerID", "customer_id"),
        ("customerid", "customer_id"),
        ("customer-id", "customer_id"),
        ("Customer_Id", "customer_id"),
        ("custmer_id", "customer_id"),
        ("cusotmer_id", "customer_id"),
        ("custommer_id", "customer_id"),
        ("customar_id", "customer_id"),
        ("customers_id", "customer_id"),
        ("customer_tag", "customer_tags"),
        ("pointsPaid", "points_paid"),
        ("point_paid", "points_paid"),
        ("points_piad", "points_paid"),
        ("programme_id", "program_id"),
        ("line", "lines"),
        ("SKU", "sku"),
    ],
)
def test_a_slip_of_the_hand_another_case_or_separator_is_a_near_miss(name: str, meant: str) -> None:
    assert meant_names(name, KNOWN) == (meant,)


@pytest.mark.parametrize(
    "name",
    [
        "customer", "customer_ip", "customer_no", "customer_ids", "customer_tax", "customer_age", "customer_type",
        "customer_name", "customer_email", "tags", "skus", "sku2", "id", "order", "number", "order_no", "points",
        "points_plan", "points_used", "total", "tax_lines", "line_items", "liner", "currency_code", "program",
        "", "_", "customer_id" * 10,
    ],
)  # fmt: skip
def test_a_shop_s_own_field_is_no_near_miss(name: str) -> None:
    assert meant_names(name, KNOWN) == (() if name != "liner" else ("lines",))


@given(st.sampled_from(sorted(KNOWN)), st.data())
def test_what_one_slip_made_is_never_further_than_one_slip(field: str, data: Any) -> None:
    place = data.draw(st.integers(1, len(field)))
    slipped = field[:place] + data.draw(st.sampled_from("abcxyz_")) + field[place + data.draw(st.integers(0, 1)) :]
    assert slips_between(slipped, field) in {None, 0, 1}


@pytest.mark.parametrize(
    ("type_", "path", "absent", "meant"),
    [
        ("order.completed", "data.customerId", "data.customer_id", "customer_id"),
        ("order.completed", "data.pointsPaid", "data.points_paid", "points_paid"),
        ("order.completed", "data.atributes", "data.attributes", "attributes"),
        ("order.completed", "data.lines.1.Tax", None, "tax"),
        ("order.completed", "data.lines.1.catgories", None, "categories"),
        ("order.completed", "specVersion", "specversion", "specversion"),
        ("order.refunded", "data.lines.1.quantitiy", None, "quantity"),
        ("order.refunded", "data.lines.0.amout", None, "paid or net"),
        ("order.refunded", "data.programId", None, "program_id"),
        ("order.cancelled", "data.program-id", None, "program_id"),
        ("order.cancelled", "data.Lines", None, "lines"),
        ("order.cancelled", "data.orderSource", None, "order_source"),
        ("order.fulfilled", "data.fulfillment_id", None, "fulfilment_id"),
        ("order.amended", "data.lines.1.catgories", None, "categories"),
        ("order.amended", "data.pointsPaid", "data.points_paid", "points_paid"),
        ("order.returned", "data.lines.1.SKU", None, "sku"),
        ("order.refund_reverted", "data.order_sorce", None, "order_source"),
        ("order.claimed", "data.previousCustomerId", None, "previous_customer_id"),
    ],
)
def test_a_near_miss_of_a_field_that_is_absent_is_parked_with_the_right_name(
    type_: str, path: str, absent: str | None, meant: str
) -> None:
    event = changed(EVENTS[type_], path, "abc")
    result = refused(event if absent is None else changed(event, absent, ...))
    assert result.reason is Reason.INVALID_DATA
    assert (
        result.detail
        == f"{path.replace('.0.', '[0].').replace('.1.', '[1].')} is not a field here; did you mean {meant}?"
    )


@pytest.mark.parametrize(
    ("type_", "path", "value", "words"),
    [
        (
            "order.completed",
            "data.full",
            True,
            "data.full is not a field of order.completed; send what is given back as",
        ),
        ("order.completed", "data.refund_id", "R-1", "send what is given back as order.refunded"),
        (
            "order.refunded",
            "data.line_id",
            "1",
            "is not a field of order.refunded as a whole; write it in a line of data.lines",
        ),
        ("order.refunded", "data.rate", "0.0529", "the rate of the order stays, for its refunds"),
        ("order.cancelled", "data.amount", "5.00", "send order.refunded for money that is given back"),
        ("order.cancelled", "data.line_id", "2", "write it in a line of data.lines"),
        ("order.amended", "data.full", True, "send what is given back as order.refunded"),
        ("order.returned", "data.order_id", "o-1", "whose order nobody can name; send order.refunded of their order"),
        ("order.refund_reverted", "data.paid", "5.00", "send another order.refunded for what is kept of it"),
        ("order.fulfilled", "data.line_id", "2", "write it in a line of data.lines"),
    ],
)
def test_a_field_of_another_type_that_would_mean_less_than_the_whole_is_not_ignored(
    type_: str, path: str, value: Any, words: str
) -> None:
    result = refused(changed(EVENTS[type_], path, value))
    assert result.reason is Reason.INVALID_DATA
    assert words in result.detail


@pytest.mark.parametrize(
    ("path", "value", "absent", "detail"),
    [
        (
            "customer_id",
            "c-1",
            "data.customer_id",
            "customer_id stands beside data, where it means nothing; write it in data",
        ),
        ("points_paid", "1.00", "data.points_paid", "points_paid stands beside data"),
        ("data.lines.0.currency", "EUR", None, "data.lines[0].currency is not the currency of the order"),
        ("data.lines.0.points_paid", "1.00", "data.points_paid", "data.lines[0].points_paid is not a field of a line"),
    ],
)
def test_a_field_in_the_wrong_place_is_not_ignored(path: str, value: str, absent: str | None, detail: str) -> None:
    event = changed(ORDER, path, value)
    assert detail in refused(event if absent is None else changed(event, absent, ...)).detail


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("datacontenttype", "application/json"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("attributes", {"a": "b"}),
        ("data.customerId", "c-1"),
        ("data.orderId", "o-1"),
        ("data.total", "15.50"),
        ("data.amount", "15.50"),
        ("data.paid", "15.50"),
        ("data.customer", {"id": "c-1", "customerId": "c-1"}),
        ("data.lines.0.name", "a mug"),
        ("data.lines.0.lineId", "1"),
        ("data.lines.0.currency", "GBP"),
        ("data.lines.0.points_paid", "1.00"),
        ("data.lines.0.order_id", "o-1"),
        ("data.full", False),
        ("data.refund_id", None),
        ("data.lines.1.Tax", None),
        ("data.lines.1.catgories", []),
    ],
)
def test_what_says_nothing_else_is_ignored_and_the_message_is_the_same_fact(path: str, value: Any) -> None:
    event = read_one(changed(ORDER, path, value))
    assert event.settled == read_one(ORDER).settled
    assert event.content_hash == read_one(ORDER).content_hash


def test_several_are_told_at_once_and_a_missing_field_only_once() -> None:
    event = changed(changed(ORDER, "data.order_id", ...), "data.orderId", "o-1")
    event = changed(changed(event, "data.lines.0.catgories", ["a"]), "data.lines.0.categories", ...)
    detail = refused(event).detail
    assert detail.count("orderId") == 1
    assert 'data.order_id is missing; did you mean it by "orderId"?' in detail
    assert "data.lines[0].catgories is not a field here; did you mean categories?" in detail


def test_of_ten_thousand_lines_with_the_same_slip_five_are_told() -> None:
    line = {"quantity": 1, "amount": "1.00", "taxx": "0.20", "Kind": "fee"}
    event = changed(ORDER, "data.lines", [{"line_id": str(number), **line} for number in range(1_000)])
    detail = refused(event).detail
    assert detail.startswith("data.lines[0].Kind is not a field here; did you mean kind?; data.lines[1].Kind is")
    assert detail.endswith("; and 995 more")


@pytest.mark.parametrize("type_", EVENTS)
@given(data=st.data())
def test_no_field_that_a_contract_does_not_know_ever_reaches_what_is_settled(type_: str, data: Any) -> None:
    names = st.text("abcdefghijklmnopqrstuvwxyz_ID", min_size=1, max_size=14).filter(
        lambda name: name not in INBOUND.field_names
    )
    values = st.none() | st.booleans() | st.text(max_size=3) | st.integers() | st.lists(st.none(), max_size=2)
    event = json.loads(json.dumps(EVENTS[type_]))
    places = [event, event["data"], *event["data"].get("lines", [])]
    for place in places:
        place.update(data.draw(st.dictionaries(names, values, max_size=2)))
    (result,) = read(event)
    if isinstance(result, ReadEvent):
        assert result.settled == read_one(EVENTS[type_]).settled
    else:
        assert result.reason is Reason.INVALID_DATA


def test_threads_that_read_at_the_same_time_do_not_take_each_others_fields() -> None:
    plain = changed(ORDER, "data.lines", [{"line_id": str(n), "quantity": 1, "amount": "1"} for n in range(200)])
    noisy = changed(plain, "data.lines", [{**line, "name": "a mug"} for line in plain["data"]["lines"]])
    wanted = read_one(plain).settled
    with ThreadPoolExecutor(4) as pool:
        settled = pool.map(lambda n: read_one(noisy if n % 2 else plain).settled, range(60))
        assert set(settled) == {wanted}


@pytest.mark.parametrize("type_", INBOUND)
def test_every_contract_is_looked_at_with_its_data_and_its_lines(type_: str) -> None:
    places = INBOUND.places[type_]
    assert {"id", "source", "time", "data"} <= places[()].known
    assert (("data", "lines") in places) == ("lines" in places["data",].known)


@pytest.mark.parametrize("event_type", [each for each in INBOUND if each.startswith("loyalty.command.")])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acting_customer_id", "c-2"), ("points", 5), ("allow_remainder", True), ("allow_negative_balance", True),
        ("is_final", True), ("expires_at", "2030-01-01T00:00:00Z"), ("to_customer_id", "c-2"),
        ("points_left", "forfeit"),
    ],
)  # fmt: skip
def test_no_command_is_done_as_if_something_was_not_there_that_others_know(
    event_type: str, name: str, value: object
) -> None:
    places = INBOUND.places[event_type]
    if name not in places["data",].known:
        found = list(stray_problems({"type": event_type, "data": {name: value}}, places))
        assert [(each.path, event_type in each.text) for each in found] == [(("data", name), True)]


def test_who_asks_is_said_of_every_command_that_lets_points_leave_an_account() -> None:
    spending = {"debit", "redeem", "transfer", "convert", "authorize", "reward.issue"}
    taking = {each for each in INBOUND if "acting_customer_id" in INBOUND.places[each]["data",].known}
    assert taking >= {f"loyalty.command.{verb}" for verb in spending}
