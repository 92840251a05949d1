"""What producers send that speak Celery: the task `loyalty.submit` hands over events, and no other task is done."""

import json
import pickle
import uuid
import zlib
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from core.domain.outcomes import Reason
from core.messages.inbound.celery_messages import envelope, open_envelope
from core.messages.inbound.reading import ReadEvent, UnreadableEvent, read_message
from core.messages.inbound.sources import SourceKey, Sources, sign
from tests.factories import in_envelope, task_of
from tests.messages.inbound_samples import LIMITS, NOW, ORDER, REFUND, body, changed, read, read_one

KEY = SourceKey("k", b"s" * 32)
SIGNED = LIMITS._replace(sources=Sources({ORDER["source"]: [KEY]}, parks_unlisted=True))


def refused(raw: bytes) -> UnreadableEvent:
    (event,) = read(raw)
    assert isinstance(event, UnreadableEvent), event
    return event


@pytest.mark.parametrize(
    "raw",
    [
        task_of(ORDER),
        task_of([ORDER]),
        task_of(json.dumps(ORDER)),
        task_of(body(ORDER)),
        task_of(events=ORDER),
        task_of(events=[ORDER]),
        in_envelope(kombu_json.dumps({"task": "loyalty.submit", "args": [ORDER], "kwargs": {}}).encode(), task=None),
        in_envelope(kombu_json.dumps({"task": "loyalty.submit", "args": [ORDER]}).encode(), task=None),
        in_envelope(body(ORDER), task=None),
        envelope({"task": "loyalty.submit"}, kombu_json.dumps([[ORDER], {}, {}]).encode()),
        envelope({}, body(ORDER)),
    ],
    ids=["an event", "a list", "text", "bytes", "named", "a named list", "of Celery 3", "of Celery 3 without names",
         "no task at all", "of RabbitMQ", "of RabbitMQ without Celery"],
)  # fmt: skip
def test_an_event_that_is_handed_over_in_any_form_is_the_event_that_is_sent_by_itself(raw: bytes) -> None:
    assert read_one(raw)._replace(body=b"") == read_one(ORDER)._replace(body=b"")


def test_several_arguments_are_several_events() -> None:
    assert [event.event_id for event in read(task_of(ORDER, REFUND))] == [ORDER["id"], REFUND["id"]]


VALUES: list[tuple[str, Any, Any]] = [
    ("time", datetime(2026, 3, 1, 9, tzinfo=UTC), "2026-03-01T09:00:00+00:00"),
    ("id", uuid.UUID(int=7), str(uuid.UUID(int=7))),
    ("data.order_id", uuid.UUID(int=8), str(uuid.UUID(int=8))),
    ("data.lines.0.amount", Decimal("12.50"), "12.50"),
    ("data.lines.0.amount", Decimal("12.500000"), "12.50"),
    ("data.lines.0.amount", Decimal("1E+2"), "100"),
    ("data.lines.0.quantity", Decimal(2), "2"),
    ("data.attributes", {"day": date(2026, 3, 1), "at": time(9, 30)}, {"day": "2026-03-01", "at": "09:30:00"}),
]


@pytest.mark.parametrize(("path", "value", "written"), VALUES, ids=[f"{path} {value}" for path, value, _ in VALUES])
def test_what_celerys_json_can_carry_and_ours_cannot_is_written_as_the_contract_wants_it(
    path: str, value: Any, written: Any
) -> None:
    found = read_one(task_of(changed(ORDER, path, value)))
    assert found._replace(body=b"") == read_one(changed(ORDER, path, written))._replace(body=b"")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("time", datetime(2026, 3, 1, 9), "the offset from UTC is missing"),  # noqa: DTZ001  # the point of it
        ("time", date(2026, 3, 1), "time is"),
        ("data.lines.0.amount", Decimal("12.34567"), "amount is"),
        ("data.lines.0.amount", Decimal(-1), "amount is"),
        ("data.lines.0.amount", Decimal("NaN"), "amount is"),
        ("data.lines.0.amount", Decimal("1E+999999999"), "amount is"),
        ("data.lines.0.amount", 12.5, 'write "12.50"'),
        ("data.order_id", b"\xff", "order_id is"),
        ("data.order_id", {"__type__": "uuid", "__value__": {"hex": "none"}}, "order_id is an object"),
        ("data.order_id", {"__type__": "decimal", "__value__": "kim@example.com"}, "order_id is an object"),
        ("data.order_id", {"__type__": "of another release", "__value__": "1"}, "order_id is an object"),
    ],
)
def test_a_value_that_the_contract_does_not_take_is_parked_with_its_reason(path: str, value: Any, words: str) -> None:
    found = refused(task_of(changed(ORDER, path, value)))
    assert found.reason in {Reason.BAD_ENVELOPE, Reason.INVALID_DATA}
    assert words in found.detail
    assert "example.com" not in found.detail


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (task_of(ORDER, task="loyalty.expire_lots"), "it is the task loyalty.expire_lots; what may be sent here"),
        (task_of(as_of="2031-01-01T00:00:00+00:00", task="loyalty.expire_lots"), "loyalty.expire_lots"),
        (task_of(ORDER, task="kim@example.com"), "it is the task of another name"),
        (task_of(ORDER, task="Kim Smith"), "it is the task of another name"),
        (task_of(ORDER).replace(b'"loyalty.submit"', b"[7]"), "it is the task of another name"),
        (in_envelope(kombu_json.dumps({"task": "celery.backend_cleanup", "args": []}).encode(), task=None), "cleanup"),
        (in_envelope(pickle.dumps([[ORDER], {}, {}])), "send it with the serializer json"),
        (in_envelope(zlib.compress(kombu_json.dumps([[ORDER], {}, {}]).encode())), "without compression"),
        (in_envelope(kombu_json.dumps([[ORDER], {}, {}]).encode("utf-16")), "JSON in UTF-8"),
        (in_envelope(b'{"events": 7}'), "not what Celery writes"),
        (in_envelope(b"[[], []]"), "not what Celery writes"),
        (in_envelope(b""), "not what Celery writes"),
        (in_envelope(b"[" * 100_000), "not what Celery writes"),
        (in_envelope(b"[[" + b"9" * 5_000 + b"], {}]"), "not what Celery writes"),
    ],
)
def test_a_message_that_is_another_task_or_cannot_be_decoded_is_parked_whole(raw: bytes, words: str) -> None:
    found = refused(raw)
    assert (found.reason, found.body) == (Reason.UNUSABLE_TASK, raw)
    assert words in found.detail
    assert "example.com" not in found.detail
    assert "Kim" not in found.detail


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense",
        b"",
        b"\xff\xfe",
        b'{"delivery_tag"',
        b'{"body": 7, "headers": {}, "properties": {"delivery_tag": "1"}}',
        b'{"body": "!", "headers": {}, "properties": {"delivery_tag": "1", "body_encoding": "base64"}}',
        b'{"body": "W10=", "headers": [], "properties": {"delivery_tag": "1", "body_encoding": "base64"}}',
        b'{"body": "W10=", "headers": {}, "properties": ["delivery_tag"], "delivery_tag": "1"}',
        b'{"body": "W10=", "headers": {}, "properties": {}, "delivery_tag": "1"}',
        b'{"body": "[]", "headers": {}, "properties": {"delivery_tag": "1"}, "type": "a", "source": "/s", "data": {}}',
    ],
)
def test_what_is_no_envelope_is_read_as_any_other_message(raw: bytes) -> None:
    assert open_envelope(raw) is None
    assert refused(raw).reason in {Reason.NOT_JSON, Reason.BAD_ENVELOPE}


OF_AN_ENVELOPE = {"body": "a letter", "headers": {"a": 1}, "properties": {"delivery_tag": "7"}, "delivery_tag": "7"}


def test_an_event_with_fields_of_its_own_that_an_envelope_has_is_read_as_what_it_is() -> None:
    of_its_own = {**ORDER, **OF_AN_ENVELOPE}
    assert read_one(of_its_own)._replace(body=b"") == read_one(ORDER)._replace(body=b"")
    wrong = changed(of_its_own, "data.order_id", 7)
    (found,) = read(wrong)
    assert isinstance(found, UnreadableEvent)
    assert (found.source, found.event_id, found.body) == (ORDER["source"], ORDER["id"], body(wrong))


@pytest.mark.parametrize("missing", ["type", "source", "data"])
@pytest.mark.parametrize("text", ["a letter", "[]", "null", '{"a": 1}', '[{"a": 1}]'])
def test_what_is_taken_for_an_envelope_and_hands_over_nothing_is_parked_with_all_its_bytes(
    missing: str, text: str
) -> None:
    raw = body(changed({**ORDER, **OF_AN_ENVELOPE, "body": text}, missing, ...))
    assert open_envelope(raw) is not None
    assert refused(raw).body == raw


@pytest.mark.parametrize("given", ["no JSON", "[]", [], 7, {}, {"a": 1}])
def test_a_task_of_which_nothing_can_be_read_is_parked_with_its_envelope(given: Any) -> None:
    raw = task_of(given)
    assert refused(raw).body == raw


def test_an_event_of_a_task_that_can_be_read_in_part_is_parked_by_itself() -> None:
    wrong = changed(ORDER, "data.order_id", 7)
    assert json.loads(refused(task_of(wrong)).body) == wrong


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (task_of(event=ORDER), "the task has the argument event, whose name is events; call loyalty.submit with"),
        (task_of(Events=[ORDER]), "the task has the argument Events, whose name is events"),
        (task_of(1, event=ORDER), "the task has the argument event, whose name is events"),
        (task_of(ORDER, kim_smith=1), "the arguments of the task are not those of loyalty.submit"),
        (task_of(ORDER, events=ORDER), "the arguments of the task are not those of loyalty.submit"),
        (task_of(), "the task hands over no event"),
        (task_of(signature="s"), "the task hands over no event"),
    ],
)
def test_a_call_that_fits_no_form_is_parked_whole_and_told_what_to_call(raw: bytes, told: str) -> None:
    found = refused(raw)
    assert (found.reason, found.body) == (Reason.UNUSABLE_TASK, raw)
    assert told in found.detail
    assert "kim" not in found.detail


def test_an_envelope_that_is_too_large_is_not_opened() -> None:
    assert refused(task_of("x" * 300_000)).reason is Reason.TOO_LARGE
    assert refused(task_of("x" * 100_001)).reason is Reason.TOO_LARGE
    assert refused(task_of("x" * 100_000)).reason is Reason.NOT_JSON


class TestSigning:
    @pytest.mark.parametrize("positional", [True, False], ids=["an argument", "named"])
    def test_the_text_is_signed_and_kept_with_its_signature(self, positional: bool) -> None:
        text = json.dumps(changed(ORDER, "data.customer_id", "jürgen"), ensure_ascii=False)
        signature = sign(text.encode(), "k", KEY.secret)
        raw = task_of(text, signature=signature) if positional else task_of(events=text, signature=signature)
        [event] = read_message(raw, limits=SIGNED, now=NOW)
        assert isinstance(event, ReadEvent)
        assert (event.body, event.signature) == (text.encode(), signature)

    @pytest.mark.parametrize("signature", [None, "", 7, {"k": 1}, "operator", sign(b"", "k", KEY.secret)])
    def test_what_is_not_signed_is_parked(self, signature: Any) -> None:
        [event] = read_message(task_of(json.dumps(ORDER), signature=signature), limits=SIGNED, now=NOW)
        assert isinstance(event, UnreadableEvent)
        assert event.reason is Reason.BAD_SIGNATURE


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(["task", "loyalty-signature"]), st.text(max_size=9)), st.binary(max_size=60))
def test_what_comes_apart_on_rabbitmq_is_put_together_without_loss(headers: dict[str, str], raw: bytes) -> None:
    message = open_envelope(envelope(headers, raw))
    assert message is not None
    assert (message.headers, message.body) == (headers, raw)
