"""What a queue may hold that is no order: each with the reason and some of the words that a person is to read."""

import gzip
import json
from copy import deepcopy
from typing import Any, NamedTuple

from core.domain.outcomes import Reason
from tests.factories import as_bytes, cancellation, fulfilment, line, order, refund

BASE = order("base", lines=[line("1", "60.00", quantity=3), line("2", "40.00")])
BASE_REFUND = refund("base-refund", "base", lines=[{"line_id": "2", "quantity": 1}])


class BadMessage(NamedTuple):
    """One message for which nothing may be posted."""

    name: str
    body: bytes
    reason: Reason
    words: str


def _changed(name: str, path: str, value: Any) -> bytes:
    """A good order with one value replaced, or taken out when it is `...`."""
    event = deepcopy(order(name, lines=[line("1"), line("2")]))
    target: Any = event
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for parent in parents:
        target = target[parent]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return as_bytes(event)


def _not_json() -> list[BadMessage]:
    text = as_bytes(order("text"))
    bodies = {
        "text": (b"Order 17 was paid.", "is not JSON"),
        "nothing": (b"", "is not JSON"),
        "cut off": (text[:-10], "is not JSON"),
        "two in one": (text + text, "trailing characters"),
        "single quotes": (text.replace(b'"', b"'"), "is not JSON"),
        "a NUL byte": (text.replace(b"c1", b"c\x001"), "control character"),
        "a lone surrogate": (text.replace(b"c1", b"c\\ud83d"), "hex escape"),
        "invalid UTF-8": (text.replace(b"c1", b"c\xff1"), "unicode"),
        "Latin-1": (text.replace(b"c1", "Jürgen".encode("latin-1")), "unicode"),
        "UTF-16": (json.dumps(order("utf-16")).encode("utf-16"), "is in UTF-16"),
        "a byte order mark": (b"\xef\xbb\xbf" + text, "byte order mark"),
        "compressed": (gzip.compress(text, mtime=0), "compressed with gzip"),
        "no number": (text.replace(b'"100.00"', b"NaN"), "NaN"),
        "a number without end": (text.replace(b'"100.00"', b"9" * 10_000), "number out of range"),
        "nested deeply": (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "nested too deeply"),
        "arrays nested deeply": (b"[" * 5_000 + b"]" * 5_000, "nested too deeply"),
    }
    return [BadMessage(name, body, Reason.NOT_JSON, words) for name, (body, words) in bodies.items()]


def _not_events() -> list[BadMessage]:
    bodies = {
        "a number": (b"42", "a number"),
        "a string": (b'"order.completed"', "a string of length 15"),
        "null": (b"null", "null"),
        "an empty array": (b"[]", "the array is empty"),
        "an array in an array": (b"[[1]]", "an array of length 1"),
    }
    return [BadMessage(name, body, Reason.NOT_AN_EVENT, words) for name, (body, words) in bodies.items()]


def _wrong_fields() -> list[BadMessage]:
    def wrong(name: str, reason: Reason, path: str, value: Any, words: str) -> BadMessage:
        return BadMessage(name, _changed(name, path, value), reason, words)

    envelope, data = Reason.BAD_ENVELOPE, Reason.INVALID_DATA
    return [
        BadMessage("an empty object", b"{}", envelope, "id is missing"),
        wrong("no id", envelope, "id", ..., "id is missing"),
        wrong("no source", envelope, "source", None, "source is null"),
        wrong("another version", envelope, "specversion", "0.3", 'write "1.0"'),
        wrong("no time", envelope, "time", ..., "time is missing"),
        wrong("a naive time", envelope, "time", "2026-03-01T12:00:00", "the offset from UTC is missing"),
        wrong("a Unix time", envelope, "time", 1_772_000_000, "RFC 3339"),
        wrong("a time years ahead", Reason.TIME_IN_FUTURE, "time", "2126-03-01T12:00:00Z", "check the sender's clock"),
        wrong("an unknown type", Reason.UNKNOWN_TYPE, "type", "order.complete", "did you mean order.completed"),
        wrong("no data", data, "data", ..., "data is missing"),
        wrong("data as text", data, "data", "{}", "data is a string"),
        wrong("no order id", data, "data.order_id", ..., "data.order_id is missing"),
        wrong("an order id that is a number", data, "data.order_id", 17, "data.order_id is a number"),
        wrong("a NUL in the order id", data, "data.order_id", "o\x001", "with control characters"),
        wrong("a blank before the customer id", data, "data.customer_id", " c1", "that begins with a blank"),
        wrong("a blank behind the order id", data, "data.order_id", "o1 ", "that ends with a blank"),
        wrong("an unseen character in a line id", data, "data.lines.1.line_id", "2\u200b", "cannot be seen (U+200B)"),
        wrong("a customer id without end", data, "data.customer_id", "c" * 201, "a string of length 201"),
        wrong("no currency at all", data, "data.currency", "XXQ", "ISO 4217"),
        wrong("no lines", data, "data.lines", [], "data.lines is an empty array"),
        wrong("an exponent", data, "data.lines.1.amount", "1e9", "at most 12 digits"),
        wrong("more lines than any order", data, "data.lines", [line()] * 10_001, "an array of 1 to 10,000"),
        wrong("an attribute without end", data, "data.attributes", {"note": "x" * 1001}, "a text of more than 1,000"),
        wrong("an attribute beyond 64 bits", data, "data.attributes", {"n": 2**63}, "an integer of more than 64 bits"),
        wrong("a float amount", data, "data.lines.1.amount", 12.5, "data.lines[1].amount is the number 12.5"),
        wrong("a negative amount", data, "data.lines.1.amount", "-5.00", "not negative"),
        wrong("an amount beyond range", data, "data.lines.1.amount", "1" * 13, "at most 12 digits"),
        wrong("an amount too fine", data, "data.lines.1.amount", "1.00001", "4 after the point"),
        wrong("a negative quantity", data, "data.lines.1.quantity", -1, "above 0"),
        wrong("a quantity of zero", data, "data.lines.0.quantity", "0.0", "above 0"),
        wrong("a quantity beyond range", data, "data.lines.0.quantity", 10**40, "data.lines[0].quantity is a number"),
        wrong("a line twice", data, "data.lines.1.line_id", "1", "the line_id of an earlier line"),
        wrong("another kind of line", data, "data.lines.0.kind", "shiping", 'did you mean "shipping"'),
    ]


def _not_taken() -> list[BadMessage]:
    base_again = order("base", "99.00", event_id="base-again")
    return [
        BadMessage(
            "5 MB", b"[" + as_bytes(order("five")).ljust(5_000_000) + b"]", Reason.TOO_LARGE, "at most 1048576 are read"
        ),
        BadMessage("1,001 events", as_bytes([BASE] * 1001), Reason.TOO_LARGE, "the array has more than 1000 events"),
        BadMessage(
            "an unknown program",
            as_bytes(order("no-program", program_id="nope")),
            Reason.UNKNOWN_PROGRAM,
            "programs here: test",
        ),
        BadMessage(
            "another currency",
            as_bytes(order("dollars", currency="USD")),
            Reason.WRONG_CURRENCY,
            "program test has EUR",
        ),
        BadMessage(
            "more points than are counted",
            as_bytes(order("rich", lines=[line(f"{n}", "9" * 12) for n in range(1001)])),
            Reason.TOO_MANY_POINTS,
            "would come to more than 1,000,000,000,000,000",
        ),
        BadMessage(
            "the same event id",
            as_bytes({**BASE, "time": "2026-03-02T12:00:00Z"}),
            Reason.EVENT_CONFLICT,
            "other content",
        ),
        BadMessage(
            "the same order id", as_bytes(base_again), Reason.ORDER_CONFLICT, "posted already with other content"
        ),
        BadMessage(
            "the same refund id",
            as_bytes(refund("base-refund", "base", event_id="refund-again", net="1.00")),
            Reason.REFUND_CONFLICT,
            "posted already with other content",
        ),
    ]


def _refunds_not_taken() -> list[BadMessage]:
    return [
        BadMessage(
            "a refund larger than its order",
            as_bytes(refund("too-much", "base", net="100.03")),
            Reason.REFUND_EXCEEDS_ORDER,
            "more than the 100.00 EUR that all lines cost without tax; send at most 100.00",
        ),
        BadMessage(
            "a refund of more than the line's amount",
            as_bytes(refund("too-much-money", "base", lines=[{"line_id": "2", "net": "40.02"}])),
            Reason.REFUND_EXCEEDS_ORDER,
            "more than the 40.00 EUR that the line cost without tax; send at most 40.00",
        ),
        BadMessage(
            "a refund of more pieces than ordered",
            as_bytes(refund("too-many", "base", lines=[{"line_id": "1", "quantity": 4}])),
            Reason.REFUND_EXCEEDS_ORDER,
            "more than the 3 that were ordered",
        ),
        BadMessage(
            "a refund of an unknown line",
            as_bytes(refund("no-line", "base", lines=[{"line_id": "7", "quantity": 1}])),
            Reason.UNKNOWN_LINE,
            "send the line_id of one of its 2 lines",
        ),
        BadMessage(
            "a refund in another currency",
            as_bytes(refund("pounds", "base", paid="9.00", currency="GBP")),
            Reason.WRONG_CURRENCY,
            "data.currency is GBP, but the order is in EUR",
        ),
    ]


def _others_not_taken() -> list[BadMessage]:
    return [
        BadMessage(
            "a cancellation of an unknown line",
            as_bytes(cancellation("base", event_id="no-such-line", lines=[{"line_id": "7"}])),
            Reason.UNKNOWN_LINE,
            "send the cancellation in a new event with the line_id of one of its 2 lines",
        ),
        BadMessage(
            "a fulfilment of more pieces than ordered",
            as_bytes(fulfilment("base", event_id="too-many-there", lines=[{"line_id": "1", "quantity": 4}])),
            Reason.REFUND_EXCEEDS_ORDER,
            "quantity is 4, more than the 3 that were ordered; send the fulfilment in a new event",
        ),
        BadMessage(
            "a refund of an amount",
            as_bytes(refund("which-money", "base", lines=[{"line_id": "1", "amount": "9.00"}])),
            Reason.INVALID_DATA,
            'write "paid" or "net" in its place',
        ),
        BadMessage(
            "a refund of nothing",
            as_bytes(refund("nothing", "base", lines=[{"line_id": "1"}])),
            Reason.INVALID_DATA,
            "neither quantity nor paid nor net",
        ),
        BadMessage(
            "a refund in two ways",
            as_bytes(refund("two-ways", "base", net="1.00", full=True)),
            Reason.INVALID_DATA,
            "it has net and full",
        ),
    ]


BAD_MESSAGES = (
    *_not_json(),
    *_not_events(),
    *_wrong_fields(),
    *_not_taken(),
    *_refunds_not_taken(),
    *_others_not_taken(),
)
