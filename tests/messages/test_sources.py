"""Who may send: the source decides, the signature proves it, and each event of an array has its own source."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.domain.outcomes import Reason
from core.messages.inbound.reading import ReadEvent, UnreadableEvent, read_message
from core.messages.inbound.sources import SourceKey, Sources, is_signature, sign
from tests.messages.inbound_samples import CANCELLATION, FULFILMENT, LIMITS, NOW, ORDER, REFUND, body, changed

OLD, NEW, OTHER = b"o" * 32, b"n" * 40, b"x" * 32
SIGNED, FREE, UNLISTED = "/shops/high-street", "/shops/free", "/shops/unlisted"
ENDS = NOW + timedelta(days=1)
KEYS = {SIGNED: [SourceKey("2026-11", NEW), SourceKey("2026-05", OLD, ENDS)], FREE: []}
OPEN = LIMITS._replace(sources=Sources(KEYS, parks_unlisted=False))
CLOSED = LIMITS._replace(sources=Sources(KEYS, parks_unlisted=True))
RAW = body(ORDER)


def judged(
    raw: bytes, signature: str | None = None, *, limits: Any = CLOSED, received_at: datetime | None = None
) -> list[ReadEvent | UnreadableEvent]:
    return read_message(raw, limits=limits, now=NOW, signature=signature, received_at=received_at)


def verdicts(*arguments: Any, **options: Any) -> list[Reason | None]:
    return [getattr(event, "reason", None) for event in judged(*arguments, **options)]


def of(source: str, event: dict[str, Any] = ORDER) -> dict[str, Any]:
    return {**event, "source": source}


@pytest.mark.parametrize("key", [("2026-11", NEW), ("2026-05", OLD)], ids=["the new key", "the old key"])
def test_during_a_rotation_either_key_proves_the_source(key: tuple[str, bytes]) -> None:
    signature = sign(RAW, *key)
    [event] = judged(RAW, signature)
    assert isinstance(event, ReadEvent)
    assert event.signature == signature
    assert verdicts(RAW, signature.upper().replace("2026-05=", "2026-05=")) == [None], "hexadecimal in either case"


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        (None, "the message is not signed"),
        ("", "the message is not signed"),
        ("operator", "has not the form"),
        ("sha256=abc", "has not the form"),
        (sign(RAW, "2026-11", NEW) + " ", "has not the form"),
        (sign(RAW, "2026-11", NEW)[:-1], "has not the form"),
        (sign(RAW, "2024-01", NEW), "a key that its source has not; its keys are 2026-11, 2026-05"),
        (sign(RAW, "2026-11", OLD), "not that of key 2026-11 over these bytes"),
        (sign(RAW + b" ", "2026-11", NEW), "not that of key 2026-11 over these bytes"),
        (sign(RAW, "2026-11", b""), "not that of key 2026-11"),
    ],
)
def test_what_the_source_has_not_signed_is_refused_and_says_why(signature: str | None, words: str) -> None:
    [event] = judged(RAW, signature)
    assert isinstance(event, UnreadableEvent)
    assert (event.reason, event.body) == (Reason.BAD_SIGNATURE, RAW)
    assert (event.source, event.event_id, event.type) == (SIGNED, "evt-1", "order.completed")
    assert words in event.detail
    assert event.signature == (signature if is_signature(signature) else None), "kept, to be checked again"


@pytest.mark.parametrize("event", [REFUND, FULFILMENT, CANCELLATION], ids=lambda event: event["type"])
def test_what_is_about_an_order_is_proved_as_the_order_is(event: dict[str, Any]) -> None:
    raw = body(event)
    assert verdicts(raw, sign(raw, "2026-11", NEW)) == [None]
    assert verdicts(raw) == verdicts(raw, sign(RAW, "2026-11", NEW)) == [Reason.BAD_SIGNATURE]
    assert verdicts(body(of(UNLISTED, event))) == [Reason.UNKNOWN_SOURCE]
    assert verdicts(body(of(FREE, event))) == [None]


def test_a_key_that_has_ended_proves_what_came_before_its_end_and_nothing_after() -> None:
    signature = sign(RAW, "2026-05", OLD)
    assert verdicts(RAW, signature, received_at=ENDS - timedelta(seconds=1)) == [None]
    [event] = judged(RAW, signature, received_at=ENDS)
    assert isinstance(event, UnreadableEvent)
    assert "key 2026-05, which has ended; use 2026-11" in event.detail


@pytest.mark.parametrize(
    ("source", "limits", "reason"),
    [
        (FREE, CLOSED, None),
        (FREE, OPEN, None),
        (UNLISTED, OPEN, None),
        (UNLISTED, CLOSED, Reason.UNKNOWN_SOURCE),
        (SIGNED, OPEN, Reason.BAD_SIGNATURE),
        (SIGNED, LIMITS, None),
    ],
)
def test_without_a_signature_the_source_decides(source: str, limits: Any, reason: Reason | None) -> None:
    assert verdicts(body(of(source)), limits=limits) == [reason]


def test_a_key_of_one_source_proves_nothing_for_another() -> None:
    sources = Sources({SIGNED: [SourceKey("k", NEW)], FREE: [SourceKey("k", OTHER)]}, parks_unlisted=True)
    limits = LIMITS._replace(sources=sources)
    raw = body(of(FREE))
    assert verdicts(raw, sign(raw, "k", NEW), limits=limits) == [Reason.BAD_SIGNATURE]
    assert verdicts(raw, sign(raw, "k", OTHER), limits=limits) == [None]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", Reason.NOT_JSON),
        (b"[]", Reason.NOT_AN_EVENT),
        (body(changed(ORDER, "id", ...)), Reason.BAD_ENVELOPE),
        (b" " * 100_001, Reason.TOO_LARGE),
        (body(changed(ORDER, "type", "order.shipped")), Reason.BAD_SIGNATURE),
        (body(changed(ORDER, "data.lines", [])), Reason.BAD_SIGNATURE),
        (body(changed(ORDER, "time", "2126-03-01T10:00:00Z")), Reason.BAD_SIGNATURE),
    ],
)
def test_an_unreadable_envelope_is_told_first_and_the_data_of_a_stranger_not_at_all(raw: bytes, reason: Reason) -> None:
    [event] = judged(raw)
    assert isinstance(event, UnreadableEvent)
    assert event.reason is reason
    assert "lines" not in event.detail


def test_the_same_wrong_data_are_told_to_who_has_signed_them() -> None:
    raw = body(changed(ORDER, "data.lines", []))
    [event] = judged(raw, sign(raw, "2026-11", NEW))
    assert isinstance(event, UnreadableEvent)
    assert (event.reason, "data.lines is an empty array" in event.detail) == (Reason.INVALID_DATA, True)


class TestArrays:
    def test_one_signature_proves_all_events_of_its_source_and_each_can_be_checked_alone(self) -> None:
        raw = json.dumps([ORDER, REFUND, changed(ORDER, "type", "order.shipped")], indent=1).encode()
        events = judged(raw, sign(raw, "2026-11", NEW))
        assert [getattr(event, "reason", None) for event in events] == [None, None, Reason.UNKNOWN_TYPE]
        for event in events:
            assert verdicts(event.body, event.signature) == [getattr(event, "reason", None)]

    def test_each_event_is_judged_by_its_own_source(self) -> None:
        raw = body([of(FREE), ORDER, of(UNLISTED), 7])
        assert verdicts(raw) == [None, Reason.BAD_SIGNATURE, Reason.UNKNOWN_SOURCE, Reason.NOT_AN_EVENT]
        assert verdicts(raw, sign(raw, "2026-11", NEW)) == [None, None, Reason.UNKNOWN_SOURCE, Reason.NOT_AN_EVENT]
        assert [event.signature for event in judged(raw)] == [None] * 4

    @pytest.mark.parametrize(("secret", "taken"), [(NEW, [True, False, True]), (OTHER, [False, True, False])])
    def test_a_signature_proves_the_events_of_one_source_and_not_those_of_another(
        self, secret: bytes, taken: list[bool]
    ) -> None:
        keys = {SIGNED: [SourceKey("k", NEW)], FREE: [SourceKey("k", OTHER)]}
        limits = LIMITS._replace(sources=Sources(keys, parks_unlisted=True))
        raw = body([ORDER, of(FREE), REFUND])
        assert [isinstance(event, ReadEvent) for event in judged(raw, sign(raw, "k", secret), limits=limits)] == taken

    def test_an_array_of_which_nothing_is_taken_is_kept_whole_with_its_signature(self) -> None:
        raw = body([ORDER, REFUND])
        signature = sign(raw, "2026-11", OTHER)
        [event] = judged(raw, signature)
        assert isinstance(event, UnreadableEvent)
        assert (event.reason, event.body, event.signature) == (Reason.BAD_SIGNATURE, raw, signature)
        assert "said of the first of 2 events" in event.detail


def test_without_a_file_of_sources_a_signature_is_only_kept() -> None:
    signature = sign(RAW, "k", OTHER)
    [event] = judged(RAW, signature, limits=LIMITS)
    assert event.signature == signature
    assert [event.signature for event in judged(RAW, "operator", limits=LIMITS)] == [None]
    assert [event.signature for event in judged(body([ORDER]), signature, limits=LIMITS)] == [None]


def test_a_secret_shows_in_no_text_of_its_key() -> None:
    key = SourceKey("k", b"a secret of many, many letters!!", datetime(2027, 1, 1, tzinfo=UTC))
    assert "secret" not in f"{key!r} {key}"
