"""A hash is what a message is known by: it stays what it was, release after release."""

from typing import Any

import pytest

from core.messages.inbound import hashes
from core.messages.inbound.order_messages import INBOUND_EVENTS, OrderCompletedData
from core.messages.inbound.reading import has_hash, read_stored_event
from tests.messages.inbound_samples import CANCELLATION, FULFILMENT, ORDER, REFUND, body, changed, read_one

TAGGED = changed(ORDER, "data.customer_tags", ["staff", "vip"])


@pytest.mark.parametrize(
    ("event", "content", "business"),
    [
        (
            ORDER,
            "409fcf8889da92964839f4800339fc31b1d7f5b0f0661c342806e9ad4dfef9f5",
            "fcb29a3144c1d7440e41adf19f07907a8b8d021edac1cf0d5ea638c8fa98eff1",
        ),
        (
            REFUND,
            "277b4c36f90a11c8701344dfd960b7254d208600ba40efd346db0479268dd5ce",
            "fd3dec0256dba5c16a09406986be8ade2e2094f6c8960dce92bd595ab9771364",
        ),
    ],
    ids=["order", "refund"],
)
def test_what_the_first_release_knew_has_the_hashes_of_the_first_release(
    event: dict[str, Any], content: str, business: str
) -> None:
    found = read_one(event)
    assert (found.content_hash.hex(), found.business_hash.hex()) == (content, business)


@pytest.mark.parametrize("event", [ORDER, REFUND, FULFILMENT, CANCELLATION], ids=lambda event: event["type"])
def test_a_message_without_later_fields_has_no_older_hashes(event: dict[str, Any]) -> None:
    assert read_one(event).older_hashes == read_stored_event(body(event)).older_hashes == ()


def test_a_message_with_a_later_field_is_known_by_the_hash_that_it_had_while_the_field_was_ignored() -> None:
    before, now = read_one(ORDER), read_one(TAGGED)
    assert now.content_hash != before.content_hash
    assert now.older_hashes == (before.content_hash,)
    assert read_stored_event(now.body).older_hashes == (before.business_hash,)


def test_the_order_of_tags_and_repeated_ones_do_not_matter() -> None:
    again = read_one(changed(ORDER, "data.customer_tags", ["vip", "staff", "vip"]))
    assert again[8:10] == read_one(TAGGED)[8:10]


@pytest.mark.parametrize(
    ("posted", "again", "is_same"),
    [
        (TAGGED, TAGGED, True),
        (ORDER, TAGGED, True),
        (TAGGED, ORDER, False),
        (TAGGED, changed(ORDER, "data.customer_tags", ["vip"]), False),
        (ORDER, changed(TAGGED, "data.points_paid", "4"), False),
    ],
    ids=["itself", "stored before tags were known", "tags left out", "other tags", "another amount too"],
)
def test_a_posted_order_is_recognized_whichever_release_posted_it(
    posted: dict[str, Any], again: dict[str, Any], is_same: bool
) -> None:
    assert has_hash(read_stored_event(body(again)), read_one(posted).business_hash) is is_same


def test_each_release_that_added_fields_has_its_own_older_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    later = (frozenset({"points_paid"}), frozenset({"attributes", "customer_id"}), frozenset({"customer_tags"}))
    monkeypatch.setattr(hashes, "LATER_FIELDS", {"order.completed": later})
    forms = [TAGGED]
    for fields in (["customer_tags"], ["attributes", "customer_id"], ["points_paid"]):
        form = forms[-1]
        for name in fields:
            form = changed(form, f"data.{name}", ...)
        forms.append(form)
    monkeypatch.setattr(hashes, "LATER_FIELDS", {})
    expected = [read_one(form).content_hash for form in forms]
    monkeypatch.setattr(hashes, "LATER_FIELDS", {"order.completed": later})
    found = read_one(TAGGED)
    assert [found.content_hash, *found.older_hashes] == expected
    assert read_one(forms[1]).older_hashes == tuple(expected[2:])
    assert read_one(forms[3]).older_hashes == ()


def test_every_later_field_is_one_of_the_contract_and_came_once() -> None:
    fields = [name for group in hashes.LATER_FIELDS["order.completed"] for name in group]
    assert set(fields) <= set(OrderCompletedData.__annotations__)
    assert len(fields) == len(set(fields))
    assert set(hashes.LATER_FIELDS) <= set(INBOUND_EVENTS)
