"""Numbers that no contract takes: the detail says what to send in the case at hand."""

from typing import Any

import pytest

from core.messages.inbound.wrong_numbers import number_advice
from tests.messages.inbound_samples import ORDER, REFUND, changed, refused

NOW = ("order.completed", "order.refunded", "order.fulfilled", "order.cancelled")
LATER = (*NOW, "order.returned", "order.refund_reverted")
BOUGHT_AND_BACK = "send the goods that were bought as order.completed, and those that came back as order.refunded of"


@pytest.mark.parametrize(
    ("event", "path", "value", "words"),
    [
        (ORDER, "data.lines.1.amount", "-2.50", "leave the line out, and take a discount off the amounts of the goods"),
        (ORDER, "data.lines.1.amount", "-2.50", BOUGHT_AND_BACK),
        (ORDER, "data.lines.1.amount", -2.5, "leave the line out, and take a discount off the amounts of the goods"),
        (ORDER, "data.lines.1.quantity", -1, f"a quantity is above 0: {BOUGHT_AND_BACK}"),
        (ORDER, "data.lines.1.quantity", "-1", f"a quantity is above 0: {BOUGHT_AND_BACK}"),
        (ORDER, "data.lines.1.quantity", 0, "a quantity is above 0: leave the line out"),
        (ORDER, "data.lines.1.quantity", "0", "a quantity is above 0: leave the line out"),
        (ORDER, "data.lines.1.quantity", "0.000", "a quantity is above 0: leave the line out"),
        (ORDER, "data.lines.0.tax", "-0.50", "amounts are not negative: leave the line out"),
        (ORDER, "data.points_paid", "-5.00", "amounts are not negative: write it without a sign"),
        (REFUND, "data.lines.0.quantity", -1, "write what is given back without a sign"),
        (REFUND, "data.lines.0.quantity", 0, "leave it out where money alone was given back, else the line"),
        (REFUND, "data.lines.0.quantity", "0", "leave it out where money alone was given back, else the line"),
    ],
)
def test_the_detail_says_what_to_send(event: dict[str, Any], path: str, value: Any, words: str) -> None:
    detail = refused(changed(event, path, value)).detail
    assert words in detail
    assert detail.startswith(path.replace(".0.", "[0].").replace(".1.", "[1]."))


@pytest.mark.parametrize(
    "value", ["-0", "-0.00", "--1", "1-", "-", "", "-1e400", "1" * 50, float("-inf"), None, True, [], {}]
)
def test_what_is_no_negative_number_is_left_to_the_format(value: Any) -> None:
    assert number_advice("amount", value, {}, "order.completed", NOW) is None


def test_types_are_named_only_where_they_are_taken() -> None:
    for known in (NOW, LATER):
        texts = [
            number_advice(field, "-1", {}, event_type, known) or ""
            for field in ("amount", "quantity", "paid", "net", "tax", "points_paid")
            for event_type in ("order.completed", "order.refunded", "order.amended", "order.cancelled", None)
        ]
        named = {word.strip(",;:.") for text in texts for word in text.split() if word.startswith("order.")}
        assert named == {"order.completed", "order.refunded", *(set(known) - set(NOW))}


def test_an_exchange_in_one_receipt_is_told_how_to_be_sent() -> None:
    back = {"line_id": "1", "quantity": -1, "amount": "-50.00"}
    detail = refused(changed(ORDER, "data.lines", [back, {"line_id": "2", "quantity": 1, "amount": "80.00"}])).detail
    assert f"data.lines[0].quantity is the number -1; a quantity is above 0: {BOUGHT_AND_BACK}" in detail
    assert (
        'data.lines[0].amount is the string "-50.00"; amounts are not negative; the line is not needed when' in detail
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            {"quantity": -1, "amount": "0.00", "tax": "-1.00"},
            "data.lines[0].tax is below 0, and the line's amount is not; send both below 0 for what is given back",
        ),
        (
            {"quantity": 1, "amount": "5.00", "tax": "-1.00"},
            "data.lines[0].tax is below 0, and the line's amount is not; send both below 0",
        ),
        (
            {"quantity": -1, "amount": "-5.00", "tax": "1.00"},
            "data.lines[0].tax is not below 0, and the line's amount is; send both below 0",
        ),
        (
            {"quantity": -1, "amount": "5.00"},
            "data.lines[0].quantity is below 0, and the line's amount is not; send both below 0",
        ),
    ],
)
def test_signs_that_contradict_each_other_are_told_as_they_are(line: dict[str, Any], told: str) -> None:
    amended = {**ORDER, "type": "order.amended", "data": {**ORDER["data"], "revision": 1}}
    assert told in refused(changed(amended, "data.lines", [{"line_id": "1", **line}])).detail
