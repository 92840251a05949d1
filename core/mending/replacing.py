"""A mended event in the place of a dead letter: stored as any message is, in one transaction with the letter's end."""

from collections.abc import Sequence

import psycopg
from sqlalchemy import Connection, Engine

from core.mending.dead_letters import MendOutcome, RetryLimits, nothing_to_mend, numbers_text
from core.mending.letters import LockedLetter, append_actions, lock_letter, step_aside
from core.messages.inbound.reading import ReadEvent, UnreadableEvent, read_message
from core.receiving.receive import receive_by_operator
from core.store.inbox import StoredMessage, hold_numbers


class _RefusedError(Exception):
    """Undoes the transaction."""


def replace_letter(engine: Engine, inbox_id: int, raw: bytes, limits: RetryLimits, acted_by: str) -> MendOutcome:
    """Store `raw` (one event, or an array) as new messages and settle the dead letter as dropped, both or neither.

    The mended event may keep the letter's source and id; the letter's own content, should it come again, is then
    counted on the letter. Refused, with nothing changed: what cannot be read, what says the same as the letter, and
    an event whose source and id another message has. A second call finds no dead letter and changes nothing.
    """
    try:
        return _replaced(engine, inbox_id, raw, limits, acted_by)
    except psycopg.errors.UniqueViolation:  # an event of that source and id came in between; now it is seen
        return _replaced(engine, inbox_id, raw, limits, acted_by)


def _replaced(engine: Engine, inbox_id: int, raw: bytes, limits: RetryLimits, acted_by: str) -> MendOutcome:
    try:
        with engine.begin() as connection:
            return _replace(connection, inbox_id, raw, limits, acted_by)
    except _RefusedError as refusal:
        return MendOutcome(inbox_id, "dead", f"stays dead: {refusal}", is_mended=False)


def _replace(connection: Connection, inbox_id: int, raw: bytes, limits: RetryLimits, acted_by: str) -> MendOutcome:
    hold_numbers(connection)
    letter = lock_letter(connection, inbox_id)
    if letter is None or letter.state != "dead":
        return nothing_to_mend(inbox_id, letter)
    unguarded = limits.messages._replace(sources=None)  # as `receive_by_operator` reads
    events = read_message(raw, limits=unguarded, now=letter.as_of)
    _refuse_unchanged(letter, raw, events)
    _refuse_unreadable(events)
    step_aside(connection, inbox_id)
    receipt = receive_by_operator(
        connection,
        [raw],
        limits=limits.messages,
        shards=limits.shards,
        event_source=limits.event_source,
        traces=[letter.trace],
    )
    _refuse_taken(receipt.stored)
    text = f"is replaced by {numbers_text(sorted(stored.inbox_id for stored in receipt.stored))}"
    append_actions(connection, [letter.acted_on("replaced", text, acted_by)])
    return MendOutcome(inbox_id, "dropped", text, frozenset(receipt.shards))


def _refuse_unreadable(events: Sequence[ReadEvent | UnreadableEvent]) -> None:
    for event in events:
        if isinstance(event, UnreadableEvent):
            raise _RefusedError(f"the mended event would be parked too ({event.reason.value}): {event.detail}")


def _refuse_unchanged(letter: LockedLetter, raw: bytes, events: Sequence[ReadEvent | UnreadableEvent]) -> None:
    same = (letter.source, letter.event_id, letter.content_hash)
    if raw.strip() == letter.body.strip() or any(
        isinstance(event, ReadEvent) and (event.source, event.event_id, event.content_hash) == same for event in events
    ):
        raise _RefusedError(
            "the mended event says the same as this message; if what kept it out is mended, retry this one as it is: "
            f"loyalty dead retry {letter.inbox_id}"
        )


def _refuse_taken(stored: Sequence[StoredMessage]) -> None:
    for row in stored:
        event_id = row.message.event_id
        if not row.is_new:
            raise _RefusedError(
                f"message {row.inbox_id}, which is {row.state}, has event id {event_id} and this content already; "
                "if nothing else is to be done, drop this one"
            )
        if row.message.reason is not None:
            raise _RefusedError(
                f"event {event_id} would be parked too ({row.message.reason.value}): {row.message.detail}"
            )
