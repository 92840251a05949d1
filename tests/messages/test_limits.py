"""What is too much of a message or a file is refused in words, and at once."""

import json
from typing import Any

import pytest

from config.settings import MESSAGE_BYTES_CEILING, Settings
from core.domain.outcomes import Reason
from core.errors import ProgramFileError
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.reading import MESSAGE_BYTES_KEPT_MAX, MessageLimits, ReadEvent, business_hash, read_settled
from core.messages.program_files.program_file import load_program, parse_program
from tests.factories import PROGRAM_TEXT
from tests.messages.inbound_samples import LIMITS, ORDER, REFUND, body, changed, read, read_one, refused

LARGE = MessageLimits(message_bytes_max=2_000_000, array_events_max=10, clock_skew_seconds_max=86_400)


def nested(levels: int, bracket: str = "[]") -> bytes:
    opening, closing = ('{"a":', "}") if bracket == "{}" else bracket
    return body(changed(ORDER, "more", "HERE")).replace(b'"HERE"', (opening * levels + "1" + closing * levels).encode())


@pytest.mark.parametrize("bracket", ["[]", "{}"])
def test_a_hundred_levels_are_read_and_hundreds_are_not(bracket: str) -> None:
    for raw in (nested(99, bracket), b"[" + nested(99, bracket) + b"]"):
        [event] = read(raw)
        assert isinstance(event, ReadEvent)
    for levels in (250, 5_000):
        for raw in (nested(levels, bracket), b"[" + nested(levels, bracket) + b"]"):
            event = refused(raw)
            assert (event.reason, "nested too deeply" in event.detail) == (Reason.NOT_JSON, True)


@pytest.mark.parametrize("event", [ORDER, REFUND], ids=["order", "refund"])
def test_ten_thousand_lines_are_read_and_one_more_is_not(event: dict[str, Any]) -> None:
    money = "amount" if event is ORDER else "net"
    lines = [{"line_id": str(number), "quantity": 1, money: "0.01"} for number in range(10_001)]
    [taken] = read(changed(event, "data.lines", lines[:-1]), LARGE)
    assert isinstance(taken, ReadEvent)
    read_settled(INBOUND[taken.type], taken.source, taken.occurred_at, taken.settled)
    result = refused(changed(event, "data.lines", lines), LARGE)
    assert "data.lines is an array of length 10001; it must be an array of 1 to 10,000 lines" in result.detail


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *[(path, "1e999999999") for path in ("data.lines.0.amount", "data.lines.0.quantity", "data.points_paid")],
        *[(path, "9" * 90_000) for path in ("data.lines.0.amount", "data.lines.0.tax", "data.points_paid")],
        *[(path, "x" * 201) for path in ("id", "source", "data.order_id", "data.lines.0.sku", "data.lines.0.line_id")],
        ("data.lines.0.quantity", "0." + "0" * 90_000),
        ("data.lines.0.quantity", 10**12),
        ("data.lines.0.quantity", 10**4000),
        ("data.lines.0.categories", ["x"] * 101),
        ("data.lines.0.categories", ["x" * 201]),
        ("data.customer_tags", [str(number) for number in range(101)]),
        ("data.customer_tags", ["x" * 201]),
        ("data.customer_tags", [1] * 20_000),
        ("data.attributes", {str(number): number for number in range(101)}),
        ("data.attributes", {"x" * 201: 1}),
        ("data.attributes", {"x": "y" * 1001}),
        ("data.attributes", {"x": 2**63}),
        ("data.attributes", {"x": -(10**4000)}),
        ("time", "2026-03-01T10:00:00." + "0" * 90_000 + "Z"),
    ],
)
def test_a_value_that_is_too_long_or_too_large_is_refused_and_not_repeated(path: str, value: Any) -> None:
    result = refused(changed(ORDER, path, value))
    assert result.reason in {Reason.INVALID_DATA, Reason.BAD_ENVELOPE}
    assert len(result.detail) < 300
    assert result.detail.startswith(path.partition(".")[0])


@pytest.mark.parametrize("number", ["1e999999999", "-1E+400", "1e-999999999", "0." + "1" * 5000])
def test_a_number_with_a_huge_exponent_costs_nothing_wherever_it_stands(number: str) -> None:
    ignored = body(changed(ORDER, "more", "HERE")).replace(b'"HERE"', number.encode())
    assert read_one(ignored).subject == "order o-1"
    amount = body(changed(ORDER, "data.lines.0.amount", "HERE")).replace(b'"HERE"', number.encode())
    assert "amounts are decimal strings" in refused(amount).detail


def test_the_largest_values_are_read_and_read_again() -> None:
    line = {"line_id": "x" * 200, "quantity": 10**12 - 1, "amount": "9" * 12 + ".9999", "categories": ["y" * 200] * 100}
    attributes = {"n" * 200: "t" * 1000, "i": 2**63 - 1, "j": -(2**63) + 1}
    order = changed(changed(ORDER, "data.lines", [line]), "data.attributes", attributes)
    event = read_one(changed(order, "data.customer_tags", [f"{number:0200}" for number in range(100)]))
    message, _ = read_settled(INBOUND[event.type], event.source, event.occurred_at, event.settled)
    assert message.digest == business_hash(event.settled)


def refused_program(text: str) -> str:
    with pytest.raises(ProgramFileError) as raised:
        parse_program(text, path="p.yaml")
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(50)),
            "is an alias (*); write the value out",
        ),
        ("a: &a [*a]", "is an alias (*)"),
        ("[" * 5_000, "it is nested too deeply"),
        ("{a: " * 5_000, "it is nested too deeply"),
        ("- " * 5_000 + "x", "it is nested too deeply"),
        ("name: " + "x" * 1001, "name has 1,001 characters; a value has at most 1,000"),
        ("name: 1" + ":1" * 5_000, "name has 10,001 characters"),
        ("name: 0x" + "f" * 5_000, "name has 5,002 characters"),
        ("name: 1" + "0" * 900, "is the number 10"),
        ("name: 1e99999", "is"),
        ("name: !!timestamp soon", "its tag (!!) does not fit"),
        ("name: !!int ''", "its tag (!!) does not fit"),
        ("name: !!bool maybe", "its tag (!!) does not fit"),
        ("name: !!python/object/apply:os.system [x]", "name is a list"),
        ("name: !!python/name:os.system x", "could not determine a constructor for the tag"),
    ],
)
def test_a_program_file_that_would_cost_too_much_is_refused(text: str, words: str) -> None:
    found = refused_program(text)
    assert words in found
    assert max(map(len, found.splitlines())) < 300


def test_a_program_file_of_more_than_a_megabyte_is_not_read(tmp_path: Any) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(PROGRAM_TEXT + "#" * 1_048_576)
    with pytest.raises(ProgramFileError, match="more than 1,048,576 bytes"):
        load_program(path)


def test_an_array_is_cut_off_at_its_limit_however_long_it_is() -> None:
    result = refused(b"[" + b",".join([json.dumps(7).encode()] * 40_000) + b"]")
    assert (result.reason, f"more than {LIMITS.array_events_max} events" in result.detail) == (Reason.TOO_LARGE, True)


def test_no_message_may_be_larger_than_intake_holds() -> None:
    assert MESSAGE_BYTES_CEILING == MESSAGE_BYTES_KEPT_MAX
    with pytest.raises(ValueError, match="less than or equal to 16777216"):
        Settings(message_bytes_max=MESSAGE_BYTES_KEPT_MAX + 1)
