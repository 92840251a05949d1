"""Signed messages in the inbox: what a forger sends blocks nothing, and what was refused wrongly can be taken in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from core.mending.dead_letters import MendOutcome, RetryLimits, retry_letters
from core.messages.inbound.reading import MessageLimits
from core.messages.inbound.sources import SourceKey, Sources, sign
from core.receiving.receive import Receipt, receive_by_operator, receive_in_parts
from tests.factories import SOURCE, as_bytes, order, refund
from tests.shell import EVENT_SOURCE, LIMITS, Shell

SECRET, LOST = b"s" * 32, b"l" * 32
SIGNED = LIMITS._replace(sources=Sources({SOURCE: [SourceKey("k", SECRET)]}, parks_unlisted=False))
NO_KEY_YET = LIMITS._replace(sources=Sources({SOURCE: [SourceKey("other", LOST)]}, parks_unlisted=False))
CLOSED = LIMITS._replace(sources=Sources({"/shops/other": []}, parks_unlisted=True))


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def take(
    shell: Shell, message: Any, limits: MessageLimits = SIGNED, *, key_id: str = "k", secret: bytes | None = SECRET
) -> Receipt:
    """Receive one message as intake does, signed unless `secret` is None, and post it."""
    raw = message if isinstance(message, bytes) else as_bytes(message)
    signature = None if secret is None else sign(raw, key_id, secret)
    [(_, receipt)] = receive_in_parts(
        shell.engine, [raw], limits=limits, shards=4, event_source=EVENT_SOURCE, signatures=[signature]
    )
    shell.post()
    return receipt


def retry(shell: Shell, letter: Receipt | int, limits: MessageLimits = SIGNED) -> MendOutcome:
    """Retry one message, and post it."""
    numbers = [letter] if isinstance(letter, int) else [stored.inbox_id for stored in letter.stored]
    [mended] = retry_letters(
        shell.engine, numbers, RetryLimits(limits, shards=4, event_source=EVENT_SOURCE, waiting_days_max=30), "kim"
    )
    shell.post()
    return mended


@pytest.mark.parametrize(
    "forged", [order(), order(amount="9999.00"), {**order(), "type": "order.shipped"}], ids=["same", "other", "unknown"]
)
@pytest.mark.parametrize("secret", [None, LOST], ids=["unsigned", "wrongly signed"])
def test_a_forged_message_takes_neither_id_nor_place_from_the_true_one(
    shell: Shell, forged: dict[str, Any], secret: bytes | None
) -> None:
    assert take(shell, forged, secret=secret).parked == 1
    assert take(shell, order()).received == 1
    assert take(shell, forged, secret=secret).replayed == 1
    assert shell.outcomes() == {("posted", None): 1, ("dead", "bad_signature"): 1}
    assert (shell.balance(), shell.parked_events()) == (100, [("completed-o1", "bad_signature")])
    assert shell.differences() == []


def test_a_forged_message_that_comes_later_is_no_conflict_with_the_true_one(shell: Shell) -> None:
    take(shell, order())
    take(shell, order(amount="9999.00"), secret=None)
    assert shell.outcomes() == {("posted", None): 1, ("dead", "bad_signature"): 1}
    assert shell.value("SELECT deliveries FROM inbox WHERE state = 'posted'") == 1


def test_nothing_of_a_message_that_is_not_its_sources_becomes_a_fact(shell: Shell) -> None:
    take(shell, order(), secret=None)
    [row] = shell.rows("SELECT subject, shard, occurred_at, content_hash = variant AS is_apart FROM inbox")
    assert tuple(row) == (None, None, None, True)
    assert shell.value("SELECT count(*) FROM accounts") == shell.value("SELECT count(*) FROM orders") == 0


def test_a_message_signed_with_a_key_that_was_not_listed_is_taken_in_by_a_retry_once_it_is(shell: Shell) -> None:
    receipt = take(shell, order(), NO_KEY_YET)
    assert retry(shell, receipt, NO_KEY_YET).state == "dead"
    assert retry(shell, receipt).state == "received"
    assert shell.balance() == 100


def test_an_unsigned_copy_that_came_first_does_not_hide_the_signature_of_the_true_message(shell: Shell) -> None:
    take(shell, order(), NO_KEY_YET, secret=None)
    receipt = take(shell, order(), NO_KEY_YET)
    assert retry(shell, receipt).state == "received"
    assert shell.balance() == 100


def test_an_array_that_was_refused_as_a_whole_is_split_by_a_retry(shell: Shell) -> None:
    receipt = take(shell, [order("o1"), order("o2")], NO_KEY_YET)
    assert (receipt.parked, len(receipt.stored)) == (1, 1)
    assert retry(shell, receipt).state == "dropped"
    assert shell.balance() == 200


def test_an_event_of_a_signed_array_can_be_retried_by_itself(shell: Shell) -> None:
    take(shell, [order("o1"), order("o2", program_id="later")])
    [letter] = shell.rows("SELECT inbox_id FROM inbox WHERE reason = 'unknown_program'")
    assert retry(shell, letter.inbox_id).state == "received"
    assert retry(shell, letter.inbox_id, NO_KEY_YET).text.startswith("stays dead (bad_signature)")


def test_a_retry_takes_a_key_that_has_ended_since_and_none_that_was_taken_away(shell: Shell) -> None:
    receipt = take(shell, order(program_id="later"))
    ended = SourceKey("k", SECRET, datetime.now(UTC) + timedelta(hours=1))
    assert retry(shell, receipt, SIGNED._replace(sources=Sources({SOURCE: [ended]}, parks_unlisted=False))).is_mended
    ended_before = SourceKey("k", SECRET, datetime.now(UTC) - timedelta(hours=1))
    for keys in ([ended_before], [SourceKey("other", LOST)]):
        limits = SIGNED._replace(sources=Sources({SOURCE: keys}, parks_unlisted=False))
        assert retry(shell, receipt, limits).text.startswith("stays dead (bad_signature)")


def test_a_letter_that_a_retry_refuses_leaves_its_id_to_the_true_message(shell: Shell) -> None:
    receipt = take(shell, order(amount="9999.00", program_id="later"), NO_KEY_YET, key_id="other", secret=LOST)
    assert shell.outcomes() == {("dead", "unknown_program"): 1}
    assert retry(shell, receipt).text.startswith("stays dead (bad_signature)")
    take(shell, order())
    assert (shell.outcomes()["posted", None], shell.balance()) == (1, 100)


def test_an_unlisted_source_is_parked_until_it_is_listed(shell: Shell) -> None:
    receipt = take(shell, order(), CLOSED, secret=None)
    assert shell.outcomes() == {("dead", "unknown_source"): 1}
    listed = LIMITS._replace(sources=Sources({SOURCE: []}, parks_unlisted=True))
    assert retry(shell, receipt, listed).state == "received"


def test_what_an_operator_hands_over_is_asked_for_no_signature_then_or_later(shell: Shell) -> None:
    messages = [as_bytes(order("o1")), as_bytes(order("o2", program_id="later"))]
    with shell.engine.begin() as connection:
        receipt = receive_by_operator(connection, messages, limits=CLOSED, shards=4, event_source=EVENT_SOURCE)
    assert (receipt.received, receipt.parked) == (2, 0)
    shell.post()
    [letter] = shell.rows("SELECT inbox_id FROM inbox WHERE reason = 'unknown_program'")
    assert retry(shell, letter.inbox_id).state == "received"


def test_no_sender_can_pass_for_an_operator(shell: Shell) -> None:
    [(_, receipt)] = receive_in_parts(
        shell.engine, [as_bytes(order())], limits=LIMITS, shards=4, event_source=EVENT_SOURCE, signatures=["operator"]
    )
    assert receipt.received == 1
    assert shell.value("SELECT signature FROM inbox") is None


def test_a_message_that_cannot_be_stored_keeps_its_signature(own_engine: Engine) -> None:
    shell = Shell(own_engine)
    shell.execute("ALTER TABLE inbox ADD CONSTRAINT no_o1 CHECK (subject <> 'order o1')")
    receipt = take(shell, order())
    shell.execute("ALTER TABLE inbox DROP CONSTRAINT no_o1")
    assert shell.outcomes() == {("dead", "posting_failed"): 1}
    assert retry(shell, receipt).state == "received"
    assert shell.balance() == 100


def test_who_need_not_sign_cannot_speak_of_the_orders_of_one_who_must(shell: Shell) -> None:
    take(shell, order())
    at_the_till = {"source": "/shops/till", "order_source": SOURCE, "program_id": "test"}
    take(shell, refund(**at_the_till), secret=None)
    assert shell.outcome("refunded-r1") == ("dead", "bad_signature")
    assert "this message's source has no keys" in shell.value("SELECT detail FROM inbox WHERE state = 'dead'")
    keys = [SourceKey("k", SECRET)]
    both = SIGNED._replace(sources=Sources({SOURCE: keys, "/shops/till": keys}, parks_unlisted=False))
    take(shell, refund(event_id="signed", **at_the_till), both)
    assert (shell.balance(), shell.differences()) == (0, [])
