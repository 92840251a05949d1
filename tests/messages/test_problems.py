"""What cannot be read is kept whole, with a reason and the words that a person needs to mend it."""

import gzip
import json
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from core.domain.outcomes import Reason
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.problems import STREAM_ENTRY
from core.messages.inbound.reading import MessageLimits, UnreadableEvent
from core.messages.reasons import MENDS
from tests.messages.inbound_samples import (
    CANCELLATION,
    FULFILMENT,
    LIMITS,
    NOW,
    ORDER,
    REFUND,
    body,
    changed,
    read,
    read_one,
    refused,
)


@pytest.mark.parametrize(
    ("raw", "reason", "words"),
    [
        (b"", Reason.NOT_JSON, "EOF"),
        (b"order 17", Reason.NOT_JSON, "expected value at line 1 column 1"),
        (b'{"id": "1",}', Reason.NOT_JSON, "trailing comma"),
        (b"{}{}", Reason.NOT_JSON, "trailing characters"),
        (b"[1, 2", Reason.NOT_JSON, "end of the array is missing"),
        (b"[1] 2", Reason.NOT_JSON, "something follows the array"),
        (b"\xef\xbb\xbf{}", Reason.NOT_JSON, "byte order mark"),
        (b"\xef\xbb\xbf[{}]", Reason.NOT_JSON, "byte order mark"),
        (b'{"id": "\xff"}', Reason.NOT_JSON, "unicode"),
        (b'["\xff"]', Reason.NOT_JSON, "UTF-8"),
        (b'{"id": "\\ud800"}', Reason.NOT_JSON, "hex escape"),
        (b'["\\udc00"]', Reason.NOT_JSON, "hex escape"),
        (b'{"id": "a\x00b"}', Reason.NOT_JSON, "control character"),
        (b'{"x": NaN}', Reason.NOT_JSON, "NaN or Infinity"),
        (b'[{"x": -Infinity}]', Reason.NOT_JSON, "NaN or Infinity"),
        (b'{"x": ' + b"9" * 10_000 + b"}", Reason.NOT_JSON, "number out of range"),
        (b'{"a":' * 5_000, Reason.NOT_JSON, "nested too deeply"),
        (b"[" * 50_000, Reason.NOT_JSON, "nested too deeply"),
        (b"[" + b'{"a":' * 300 + b"1" + b"}" * 300 + b"]", Reason.NOT_JSON, "nested too deeply"),
        (b"[]", Reason.NOT_AN_EVENT, "the array is empty"),
        (b" [ ] ", Reason.NOT_AN_EVENT, "the array is empty"),
        (b"[[{}]]", Reason.NOT_AN_EVENT, "an array of length 1"),
        (b'"text"', Reason.NOT_AN_EVENT, "a string of length 4"),
        (b"null", Reason.NOT_AN_EVENT, "null"),
    ],
)
def test_what_is_no_event_is_kept_whole_and_says_why(raw: bytes, reason: Reason, words: str) -> None:
    result = refused(raw)
    assert result.reason is reason
    assert words in result.detail
    assert result.body in raw


TEXT = json.dumps(ORDER)
ARRAY = json.dumps([ORDER], indent=1)


@pytest.mark.parametrize("text", [TEXT, ARRAY], ids=["an event", "an array"])
@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda text: text.encode("utf-16"), "the message is in UTF-16 or UTF-32; write the JSON in UTF-8"),
        (lambda text: text.encode("utf-16-le"), "the message is in UTF-16 or UTF-32"),
        (lambda text: text.encode("utf-16-be"), "the message is in UTF-16 or UTF-32"),
        (lambda text: text.encode("utf-32"), "the message is in UTF-16 or UTF-32"),
        (lambda text: text.encode("utf-32-be"), "the message is in UTF-16 or UTF-32"),
        (lambda text: gzip.compress(text.encode()), "compressed with gzip; send the JSON itself"),
        (lambda text: zlib.compress(text.encode()), "compressed with zlib; send the JSON itself"),
        (lambda text: b64encode(text.encode()), "the message is JSON in base64; send the JSON itself"),
        (lambda text: urlsafe_b64encode(text.encode()) + b"\n", "the message is JSON in base64"),
        (lambda text: b64encode(gzip.compress(text.encode())), "the message is base64 of what gzip compressed"),
    ],
    ids=["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "gzip", "zlib", "base64", "base64 of URLs", "both"],
)
def test_json_in_another_form_is_told_what_it_is(text: str, made: Callable[[str], bytes], told: str) -> None:
    found = refused(made(text))
    assert (found.reason, found.body) == (Reason.NOT_JSON, made(text))
    assert told in found.detail


@pytest.mark.parametrize("raw", [b"order 17", b"nonsense", b"Kim Smith", b"x", b"xyz", b"abcdefgh", b"\x00", b"\xff"])
def test_what_has_no_form_that_is_known_is_told_where_the_parser_stopped(raw: bytes) -> None:
    assert refused(raw).detail.startswith("the message is not JSON in UTF-8: ")


def test_json_that_is_encoded_twice_is_told_so() -> None:
    twice = "it looks like JSON that was encoded twice: send the object itself"
    assert twice in refused(json.dumps(TEXT).encode()).detail
    assert twice in refused(json.dumps(ARRAY).encode()).detail
    assert all(twice in event.detail for event in read([TEXT, TEXT]) if isinstance(event, UnreadableEvent))
    found = refused(changed(ORDER, "data", json.dumps(ORDER["data"])))
    assert (found.reason, twice in found.detail) == (Reason.INVALID_DATA, True)
    assert twice not in refused(b'"a text"').detail


def test_a_missing_type_is_told_those_of_facts_and_how_commands_begin() -> None:
    detail = refused(changed(ORDER, "type", ...)).detail
    facts = ", ".join(f'"{name}"' for name in INBOUND if name.startswith("order."))
    assert detail == f"type is missing; it must be one of the strings {facts}; commands begin with loyalty.command."


def test_nan_in_a_text_is_only_a_text() -> None:
    assert read_one(changed(ORDER, "data.order_id", "NaN")).subject == "order NaN"


def test_an_oversized_message_is_kept_whole() -> None:
    raw = b"[" + b" " * LIMITS.message_bytes_max
    result = refused(raw)
    assert (result.reason, result.body) == (Reason.TOO_LARGE, raw)
    assert "100001 bytes; at most 100000" in result.detail


def test_an_array_of_too_many_events_is_kept_whole() -> None:
    result = refused([ORDER] * 11)
    assert result.reason is Reason.TOO_LARGE
    assert result.body == body([ORDER] * 11)
    assert len(read([ORDER] * 10)) == 10


@pytest.mark.parametrize(
    ("path", "value", "reason", "detail"),
    [
        ("specversion", "0.3", Reason.BAD_ENVELOPE, 'specversion is the string "0.3"; leave it out or write "1.0"'),
        ("id", ..., Reason.BAD_ENVELOPE, "id is missing; it must be a string of 1 to 200 characters"),
        ("source", "", Reason.BAD_ENVELOPE, "source is a string of length 0;"),
        ("type", ..., Reason.BAD_ENVELOPE, 'type is missing; it must be one of the strings "order.completed", "'),
        ("type", 7, Reason.BAD_ENVELOPE, "type is the number 7;"),
        ("time", 1_700_000_000, Reason.BAD_ENVELOPE, "time is the number 1700000000; write the date, time and offset"),
        ("time", "1700000000", Reason.BAD_ENVELOPE, 'time is the string "1700000000"; write the date'),
        ("time", "2026-03-01", Reason.BAD_ENVELOPE, 'such as "2026-01-31T09:30:00Z"'),
        ("time", "2026-02-30T10:00:00Z", Reason.BAD_ENVELOPE, 'time is the string "2026-02-30T10:00:00Z";'),
        ("time", "0001-01-01T00:00:00+14:00", Reason.BAD_ENVELOPE, "time is the string"),
        ("time", "2026-03-01 10:00:00", Reason.BAD_ENVELOPE, 'write "2026-03-01T10:00:00Z" if it is UTC'),
        ("type", "order.complete", Reason.UNKNOWN_TYPE, "did you mean order.completed?"),
        ("type", "order.fulfiled", Reason.UNKNOWN_TYPE, "did you mean order.fulfilled?"),
        ("type", "order.canceled", Reason.UNKNOWN_TYPE, "did you mean order.cancelled?"),
        (
            "type",
            "customer.deleted",
            Reason.UNKNOWN_TYPE,
            "known are order.completed, order.refunded, order.fulfilled, order.cancelled",
        ),
        ("data", ..., Reason.INVALID_DATA, "data is missing; it must be an object"),
        ("data", [], Reason.INVALID_DATA, "data is an empty array; it must be an object"),
        ("data.order_id", ..., Reason.INVALID_DATA, "data.order_id is missing;"),
        ("data.order_id", "o\u00001", Reason.INVALID_DATA, "data.order_id is a string of length 3, with control"),
        ("data.order_id", "o" * 201, Reason.INVALID_DATA, "data.order_id is a string of length 201;"),
        ("data.customer_id", 17, Reason.INVALID_DATA, "data.customer_id is a number;"),
        ("data.customer_id", "", Reason.INVALID_DATA, "leave it out for a guest"),
        ("data.currency", "gbp", Reason.INVALID_DATA, 'data.currency is the string "gbp"; did you mean "GBP"?'),
        ("data.currency", "ZZZ", Reason.INVALID_DATA, "write the ISO 4217 code"),
        ("data.lines", [], Reason.INVALID_DATA, "data.lines is an empty array; it must be an array of"),
        ("data.lines.0", "x", Reason.INVALID_DATA, "data.lines[0] is a string of length 1; a line must"),
        (
            "data.lines.1.amount",
            12.5,
            Reason.INVALID_DATA,
            'data.lines[1].amount is the number 12.5; amounts are decimal strings in major units: write "12.50"',
        ),
        ("data.lines.1.amount", 12, Reason.INVALID_DATA, 'write "12.00"'),
        ("data.lines.1.amount", 0.125, Reason.INVALID_DATA, 'write "0.125"'),
        (
            "data.lines.1.amount",
            "-1",
            Reason.INVALID_DATA,
            'data.lines[1].amount is the string "-1"; amounts are not negative: leave the line out,',
        ),
        ("data.lines.1.amount", "1,50", Reason.INVALID_DATA, "data.lines[1].amount is the string"),
        ("data.lines.1.amount", "١٢", Reason.INVALID_DATA, "data.lines[1].amount is the string"),
        ("data.lines.1.amount", "1.00001", Reason.INVALID_DATA, "4 after the point"),
        ("data.lines.1.amount", "1" * 13, Reason.INVALID_DATA, "at most 12 digits before"),
        (
            "data.lines.1.quantity",
            0,
            Reason.INVALID_DATA,
            "data.lines[1].quantity is the number 0; a quantity is above 0: leave the line out",
        ),
        ("data.lines.1.quantity", "0.00", Reason.INVALID_DATA, 'quantity is "0.00"; a quantity is above 0'),
        ("data.lines.1.quantity", 1.5, Reason.INVALID_DATA, "data.lines[1].quantity is the number 1.5;"),
        ("data.lines.1.quantity", True, Reason.INVALID_DATA, "data.lines[1].quantity is true;"),
        ("data.lines.1.quantity", 10**30, Reason.INVALID_DATA, "data.lines[1].quantity is a number; write"),
        ("data.lines.1.kind", "delivery", Reason.INVALID_DATA, 'did you mean "shipping"?'),
        ("data.lines.1.kind", "gift", Reason.INVALID_DATA, "leave it out or write one of product, shipping, fee, tip"),
        ("data.lines.1.kind", "free", Reason.INVALID_DATA, "leave it out or write one of product, shipping, fee, tip"),
        ("data.lines.1.kind", "discount", Reason.INVALID_DATA, "a discount is not a line: take it off the amounts of"),
        ("data.currency", "US", Reason.INVALID_DATA, "write the ISO 4217 code of three upper-case letters"),
        ("data.currency", "EURO", Reason.INVALID_DATA, 'did you mean "EUR"?'),
        ("data.lines.1.kind", "shiping", Reason.INVALID_DATA, 'is the string "shiping"; did you mean "shipping"?'),
        ("data.lines.1.line_id", "1", Reason.INVALID_DATA, "data.lines[1].line_id is the line_id of an earlier line"),
        ("data.lines.0.categories", ["a", 1], Reason.INVALID_DATA, "data.lines[0].categories[1] is a number; it must"),
        (
            "data.rate",
            "0.1234567890123",
            Reason.INVALID_DATA,
            'data.rate is the string "0.1234567890123"; it must',
        ),
        ("data.rate", 1.2, Reason.INVALID_DATA, "data.rate is the number 1.2; it must be a decimal string above 0"),
        ("data.rate", "0.0", Reason.INVALID_DATA, "data.rate is 0; a rate is above 0"),
        ("data.points_paid", "much", Reason.INVALID_DATA, "data.points_paid is a string of length 4; amounts"),
        (
            "data.points_paid",
            "18.01",
            Reason.INVALID_DATA,
            "data.points_paid is 18.01, more than the 18 that all lines",
        ),
        ("data.attributes", {"a": 1.5}, Reason.INVALID_DATA, "data.attributes has a value that is not a string"),
        (
            "data.customer_tags",
            "vip",
            Reason.INVALID_DATA,
            "customer_tags is a string of length 3; it must be an array of",
        ),
        (
            "data.customer_tags",
            ["vip", 1],
            Reason.INVALID_DATA,
            "data.customer_tags[1] is a number; it must be a string",
        ),
        ("data.customer_tags", [""], Reason.INVALID_DATA, "data.customer_tags[0] is a string of length 0; it must be"),
        ("time", "2026-03-02T12:00:01Z", Reason.TIME_IN_FUTURE, "nothing after 2026-03-02T12:00:00Z is taken now"),
    ],
)
def test_a_broken_contract_is_worded_for_the_person_who_mends_it(
    path: str, value: Any, reason: Reason, detail: str
) -> None:
    result = refused(changed(ORDER, path, value))
    assert result.reason is reason
    assert detail in result.detail
    assert result.body == body(changed(ORDER, path, value))


@pytest.mark.parametrize(
    ("extent", "detail"),
    [
        ({}, 'data needs exactly one of "lines", "paid", "net" and "full": true; it has none of them'),
        ({"full": False}, "it has none of them"),
        ({"net": "1", "full": True}, "it has net and full"),
        ({"paid": "1", "net": "1"}, "it has paid and net"),
        ({"amount": "1"}, 'data.amount does not say which money it is; write "paid" or "net" in its place'),
        ({"amount": 1, "full": True}, 'write "paid" or "net" in its place: "paid" is what the customer got back'),
        ({"net": 1.5}, 'data.net is the number 1.5; amounts are decimal strings in major units: write "1.50"'),
        ({"net": "1", "currency": "eur"}, "data.currency is"),
        ({"lines": [{"line_id": "1", "amount": "1"}]}, "data.lines[0].amount does not say which money it is"),
        ({"lines": [{"line_id": "1", "paid": "1", "net": "1"}]}, "data.lines[0] has both paid and net"),
        ({"full": "yes"}, 'data.full is the string "yes"; write true, or leave it out'),
        ({"lines": []}, "data.lines is an empty array"),
        ({"lines": [{"line_id": "1"}]}, "data.lines[0] has neither quantity nor paid nor net"),
        ({"lines": [{"line_id": "1", "net": "1"}] * 2}, "data.lines[1].line_id is the line_id of an earlier line"),
        ({"lines": [{"line_id": "1", "quantity": "0"}]}, 'data.lines[0].quantity is "0"'),
    ],
)
def test_a_refund_says_in_exactly_one_way_how_much(extent: dict[str, Any], detail: str) -> None:
    result = refused(changed(REFUND, "data", {"refund_id": "r-1", "order_id": "o-1", **extent}))
    assert result.reason is Reason.INVALID_DATA
    assert detail in result.detail


@pytest.mark.parametrize("event", [FULFILMENT, CANCELLATION], ids=["fulfilment", "cancellation"])
@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ({}, "data.order_id is missing; it must be a string of 1 to 200 characters"),
        ({"orderId": "o-1"}, 'data.order_id is missing; did you mean it by "orderId"?'),
        ({"order_id": 17}, "data.order_id is a number;"),
        ({"order_id": ""}, "data.order_id is a string of length 0;"),
        ({"order_id": "o\n1"}, "data.order_id is a string of length 3, with control characters;"),
        ({"order_id": " o"}, "data.order_id is a string of length 2 that begins with a blank; it must be a string"),
        ({"order_id": " o "}, "data.order_id is a string of length 3 that begins and ends with a blank;"),
        (
            {"order_id": "o\u200b1"},
            "data.order_id is a string of length 3, with a character that cannot be seen (U+200B)",
        ),
        ({"order_id": "o-1", "program_id": 3}, "data.program_id is a number;"),
        ([], "data is an empty array; it must be an object"),
    ],
)
def test_a_message_about_an_order_must_name_it(event: dict[str, Any], data: Any, detail: str) -> None:
    result = refused({**event, "data": data})
    assert result.reason is Reason.INVALID_DATA
    assert result.detail.startswith(detail)


@pytest.mark.parametrize("misspelt", ["orderId", "oder_id", "ORDER_ID", "order-id"])
def test_a_misspelt_required_field_is_recognized(misspelt: str) -> None:
    event = changed(changed(ORDER, "data.order_id", ...), f"data.{misspelt}", "o-1")
    assert f'data.order_id is missing; did you mean it by "{misspelt}"?' in refused(event).detail


def test_problems_of_the_envelope_come_first() -> None:
    result = refused(changed(changed(ORDER, "data.currency", "gbp"), "time", "now"))
    assert result.reason is Reason.BAD_ENVELOPE
    assert result.detail.index("time is") < result.detail.index("data.currency is")


def test_five_problems_are_named_and_the_rest_counted() -> None:
    lines = [{"line_id": str(place), "quantity": 1, "amount": place} for place in range(20)]
    detail = refused(changed(ORDER, "data.lines", lines)).detail
    assert detail.count("; data.lines[") == 4
    assert "data.lines[4].amount is the number 4;" in detail
    assert detail.endswith("; and 15 more")


def test_no_personal_value_is_repeated() -> None:
    secret = "jane.doe@example.com\u0000"
    event = changed(ORDER, "data.attributes", {secret: [secret]})
    for path in ("id", "source", "data.order_id", "data.customer_id", "data.program_id", "data.lines.0.line_id",
                 "data.lines.0.sku"):  # fmt: skip
        event = changed(event, path, secret)
    event = changed(event, "data.lines.0.categories", [secret])
    event = changed(event, "data.customer_tags", [secret])
    result = refused(event)
    assert "jane" not in result.detail
    assert (result.source, result.event_id, result.type) == (None, None, "order.completed")


def test_a_long_value_is_cut() -> None:
    assert "9" * 40 not in refused(changed(ORDER, "data.lines.0.amount", "9" * 500)).detail


def test_what_can_be_read_of_a_wrong_event_names_it() -> None:
    result = refused(changed(ORDER, "data", None))
    assert (result.source, result.event_id, result.type) == ("/shops/high-street", "evt-1", "order.completed")


def test_times_may_be_a_little_ahead() -> None:
    assert read_one(changed(ORDER, "time", "2026-03-02T12:00:00Z")).occurred_at == NOW + timedelta(days=1)


def test_every_reason_says_how_to_mend_it() -> None:
    assert list(MENDS) == list(Reason)
    assert all(text.endswith(".") for text in MENDS.values())


@pytest.mark.parametrize(
    ("fields", "has"),
    [
        (["payload"], "payload"),
        (["Event", "sig"], "Event, sig"),
        (["kim@example.com"], "1 of other names"),
        (["payload", "Kim Miller", "\\xff"], "payload, 2 more"),
        ([f"f{number}" for number in range(9)], "f0, f1, f2, f3, f4, 4 more"),
    ],
)
def test_an_entry_of_a_stream_without_the_field_says_which_fields_it_has(fields: list[str], has: str) -> None:
    found = refused(json.dumps({STREAM_ENTRY: dict.fromkeys(fields, "{}")}).encode())
    assert (found.reason, found.detail) == (
        Reason.NOT_AN_EVENT,
        f"the entry has no field event; it has {has}: put the JSON of the event into the field event",
    )


def test_what_is_wrong_many_times_is_told_five_times_and_counted() -> None:
    lines = [{"line_id": "1", "quantity": 1, "amount": "1.00"}] * 1_000
    assert refused(changed(ORDER, "data.lines", lines)).detail.endswith("; and 994 more")
    wrong = refused(changed(ORDER, "data.lines", [{"line_id": "1", "quantity": 1}] * 1_000)).detail
    assert wrong.count("amount is missing") == 5
    assert wrong.endswith("; and 96 more; the last 899 lines were not looked at")
    assert refused(changed(ORDER, "data.lines", [{"line_id": "1", "quantity": 1}] * 102)).detail.endswith(
        "; and 96 more; the last line was not looked at"
    )


class TestOneArray:
    """However many of its events are wrong, explaining an array costs no more than a bounded number of look-ups."""

    def test_the_same_mistake_in_each_event_is_explained_in_each(self) -> None:
        events = read([changed(ORDER, "data.currency", "gbp")] * 10)
        assert {event.detail for event in events if isinstance(event, UnreadableEvent)} == {
            'data.currency is the string "gbp"; did you mean "GBP"?'
        }

    def test_of_ever_new_mistakes_the_first_ones_are_looked_up(self) -> None:
        codes = [f"{letter}EUR" for letter in "ABCDEFGHIJ"]
        details = [event.detail for event in read([changed(ORDER, "data.currency", code) for code in codes])]  # type: ignore[union-attr]
        assert ["did you mean" in detail for detail in details] == [True] * 2 + [False] * 8
        assert all("data.currency is a string of length 4; write" in detail for detail in details[2:])

    def test_lines_after_a_wrong_one_are_looked_at_in_the_first_events(self) -> None:
        events = read([changed(ORDER, "data.lines", [{"line_id": "1"}] * 80)] * 3)
        details = [event.detail for event in events if isinstance(event, UnreadableEvent)]
        assert [detail.rpartition("; ")[2] for detail in details] == [
            "and 155 more",
            "the last 58 lines were not looked at",
            "the last 79 lines were not looked at",
        ]

    def test_many_problems_are_told_in_the_first_events_and_one_in_each_of_the_others(self) -> None:
        many = MessageLimits(message_bytes_max=1_000_000, array_events_max=1_000, clock_skew_seconds_max=86_400)
        details = [event.detail for event in read([{}] * 100, many) if isinstance(event, UnreadableEvent)]
        assert [detail.count(" is missing") for detail in details] == [4] * 50 + [1] * 50
        assert details[-1].endswith("; and 3 more")


@pytest.mark.parametrize(
    "kind",
    ["kim@example.com", "Kim Smith", "order completed", "Order.Completed", "purchase", "+49 30 1234567", "x" * 199,
     "DE89370400440532013000", "a.4930123456789", "order.completed?to=kim", "ordér.complete", "order.\u0456d"],
)  # fmt: skip
def test_of_a_type_that_does_not_look_like_one_only_the_length_is_told(kind: str) -> None:
    found = refused(changed(ORDER, "type", kind))
    assert (found.reason, found.type) == (Reason.UNKNOWN_TYPE, None)
    assert f"type is a string of length {len(kind)}, which this release does not know" in found.detail
    assert kind not in found.detail


@pytest.mark.parametrize("kind", ["order.complete", "com.example.order-created.v2", "loyalty.command.regift"])
def test_an_unknown_type_that_looks_like_one_is_told(kind: str) -> None:
    found = refused(changed(ORDER, "type", kind))
    assert (found.reason, found.type) == (Reason.UNKNOWN_TYPE, kind)
    assert f'type is the string "{kind}", which this release does not know' in found.detail
