"""What a person does about dead letters: retry them, as if they came in again, or drop them."""

from datetime import datetime, timedelta
from typing import NamedTuple

import psycopg
from sqlalchemy import Connection, Engine

from core.domain.outcomes import Reason
from core.messages.inbound import MessageLimits, ReadEvent, UnreadableEvent, read_message
from core.posting.receiving import receive
from core.store.dead_letters import (
    FirstMessage,
    LockedLetter,
    Revival,
    append_action,
    drop,
    first_message,
    keep_dead,
    lock_letter,
    order_shard,
    revive,
    settle_as_replayed,
)
from core.store.reports import database_now
from core.store.shards import message_shard


class RetryLimits(NamedTuple):
    """What a retried message is taken in with: what intake and posting have now."""

    messages: MessageLimits
    shards: int
    event_source: str
    waiting_days_max: int


class Mended(NamedTuple):
    """What became of one letter."""

    inbox_id: int
    state: str | None  #: of the message now; None if there is no such message
    text: str  #: one sentence for a person
    shards: frozenset[int] = frozenset()  #: that have new work
    is_mended: bool = True  #: False: it is as dead as before, or there was nothing to mend


def retry_letter(engine: Engine, inbox_id: int, limits: RetryLimits) -> Mended:
    """Take a dead letter in again, in a transaction of its own; it stays dead if it still cannot be read.

    A message that could not be read is read again under the present limits; an array becomes one message per event.
    A second call finds it received or posted and changes nothing.
    """
    try:
        return _retry(engine, inbox_id, limits)
    except psycopg.errors.UniqueViolation:  # the same event came in between; now it is there to be compared
        return _retry(engine, inbox_id, limits)


def drop_letter(engine: Engine, inbox_id: int, why: str) -> Mended:
    """Settle a dead letter for good and keep `why` beside it. A second call changes nothing."""
    with engine.begin() as connection:
        letter = lock_letter(connection, inbox_id)
        if letter is None or letter.state != "dead":
            return _nothing_to_mend(inbox_id, letter)
        drop(connection, inbox_id)
        append_action(connection, inbox_id, "dropped", letter.reason, why)
        return Mended(inbox_id, "dropped", "is dropped; its bytes and its reason are kept")


def _retry(engine: Engine, inbox_id: int, limits: RetryLimits) -> Mended:
    with engine.begin() as connection:
        letter = lock_letter(connection, inbox_id)
        if letter is None or letter.state != "dead":
            return _nothing_to_mend(inbox_id, letter)
        now = database_now(connection)
        events = read_message(letter.body, limits=limits.messages, now=now)
        match events:
            case [ReadEvent(body=letter.body) as event]:
                mended = _take_in(connection, letter, event, limits, now)
            case [UnreadableEvent(body=letter.body, reason=reason, detail=detail)]:
                mended = _keep(connection, letter, reason, detail)
            case _:
                mended = _split(connection, letter, limits)
        append_action(connection, inbox_id, "retried", letter.reason, mended.text)
        return mended


def _nothing_to_mend(inbox_id: int, letter: LockedLetter | None) -> Mended:
    if letter is None:
        return Mended(inbox_id, None, "is not in the inbox: there is no message of this number", is_mended=False)
    return Mended(inbox_id, letter.state, f"is no dead letter: it is {letter.state}", is_mended=False)


def _take_in(
    connection: Connection, letter: LockedLetter, event: ReadEvent, limits: RetryLimits, now: datetime
) -> Mended:
    first = first_message(connection, event.source, event.event_id)
    if first is not None and first.inbox_id != letter.inbox_id:
        return _compare(connection, letter, event, first)
    if event.refund_id is None:
        shard: int | None = message_shard(event.customer_id or event.order_id, limits.shards)
    else:
        shard = order_shard(connection, event.source, event.order_id)
    if shard is None and letter.received_at < now - timedelta(days=limits.waiting_days_max):
        # It would be parked again by the next sweep.
        detail = (
            f"its order has not come in {limits.waiting_days_max} days; send the order and retry, or drop the refund"
        )
        return _keep(connection, letter, Reason.ORDER_NEVER_CAME, detail)
    state = "waiting" if shard is None else "received"
    revival = Revival(
        state,
        event.source,
        event.event_id,
        event.type,
        event.occurred_at,
        event.order_id,
        shard,
        event.content_hash,
    )
    revive(connection, letter.inbox_id, revival)
    if shard is None:
        return Mended(letter.inbox_id, state, "is in the inbox again and waits for its order")
    return Mended(letter.inbox_id, state, "is in the inbox again, to be posted", frozenset({shard}))


def _compare(connection: Connection, letter: LockedLetter, event: ReadEvent, first: FirstMessage) -> Mended:
    """Judge a letter whose source and id another message has, as intake would have."""
    if first.content_hash == event.content_hash:
        settle_as_replayed(connection, letter.inbox_id)
        text = f"has come again as message {first.inbox_id}, which is {first.state}; so this one is settled as replayed"
        return Mended(letter.inbox_id, "replayed", text)
    detail = (
        f"message {first.inbox_id} has the same source and id but other content; "
        "send a changed message under a new id, or drop this one"
    )
    return _keep(connection, letter, Reason.EVENT_CONFLICT, detail)


def _keep(connection: Connection, letter: LockedLetter, reason: Reason, detail: str) -> Mended:
    keep_dead(connection, letter.inbox_id, reason.value, detail)
    return Mended(letter.inbox_id, "dead", f"stays dead ({reason.value}): {detail}", is_mended=False)


def _split(connection: Connection, letter: LockedLetter, limits: RetryLimits) -> Mended:
    """Take in the events of an array, each as a message of its own; the array itself is settled as dropped."""
    receipt = receive(
        connection,
        [letter.body],
        limits=limits.messages,
        shards=limits.shards,
        event_source=limits.event_source,
    )
    drop(connection, letter.inbox_id)
    numbers = sorted({stored.inbox_id for stored in receipt.stored})
    text = (
        f"is an array that can be read now; its events are {_numbers_text(numbers)}: {receipt.received} received, "
        f"{receipt.waiting} waiting, {receipt.replayed} replayed, {receipt.parked} parked"
    )
    return Mended(letter.inbox_id, "dropped", text, frozenset(receipt.shards), is_mended=receipt.parked == 0)


def _numbers_text(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"message {numbers[0]}"
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"messages {numbers[0]} to {numbers[-1]}"
    return "messages " + ", ".join(str(number) for number in numbers[:10]) + (", …" if len(numbers) > 10 else "")  # noqa: PLR2004  # enough to find them
