"""A name that stands twice in an object: nobody knows which of both was meant."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.outcomes import Reason
from tests.messages.inbound_samples import ORDER, changed, read_one, refused

TEXT = json.dumps(changed(ORDER, "data.attributes", {"colour": "red", "size": 4}))


def twice(name: str, other: str) -> bytes:
    """The sample order with another value of this name before the one that it has."""
    return TEXT.replace(f'"{name}":', f'"{name}": {other}, "{name}":', 1).encode()


@pytest.mark.parametrize(
    ("name", "other", "reason", "detail"),
    [
        ("amount", '"9000.00"', Reason.INVALID_DATA, "data.lines[0].amount stands more than once"),
        ("quantity", "7", Reason.INVALID_DATA, "data.lines[0].quantity stands"),
        ("customer_id", "null", Reason.INVALID_DATA, "data.customer_id stands"),
        ("lines", "[]", Reason.INVALID_DATA, "data.lines stands"),
        ("colour", '"blue"', Reason.INVALID_DATA, "data.attributes.colour stands"),
        ("data", "{}", Reason.INVALID_DATA, "data stands"),
        ("time", '"2020-01-01T00:00:00Z"', Reason.BAD_ENVELOPE, "time stands"),
        ("id", '"another"', Reason.BAD_ENVELOPE, "id stands"),
    ],
)
def test_it_is_parked_with_its_place(name: str, other: str, reason: Reason, detail: str) -> None:
    event = refused(twice(name, other))
    assert (event.reason, event.body) == (reason, twice(name, other))
    assert event.detail.startswith(detail)
    assert event.detail.endswith("send each name once in an object")


@pytest.mark.parametrize("own", ['"shop": {"a": 1, "a": 2}, ', '"note": 1, "note": 2, '])
def test_what_is_ignored_anyway_may_stand_twice(own: str) -> None:
    body = TEXT.replace('"order_id":', f'{own}"order_id":', 1).encode()
    assert read_one(body) == read_one(TEXT.encode())._replace(body=body)


def names_in(value: Any) -> set[str]:
    match value:
        case dict():
            return set(value).union(*(names_in(each) for each in value.values()))
        case list():
            return set().union(*(names_in(each) for each in value))
    return set()


@given(st.sampled_from(sorted(names_in(json.loads(TEXT)))), st.sampled_from(["null", "1", '""', "[]", "{}", "1e999"]))
def test_no_field_of_a_message_is_taken_when_it_stands_twice(name: str, other: str) -> None:
    assert "more than once" in refused(twice(name, other)).detail
