"""What a person does about dead letters: retry them, as if they came in again, or drop them; many or one."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import psycopg
from sqlalchemy import Connection, Engine

from core.domain.outcomes import Reason, RejectionCode
from core.mending.letters import (
    FirstMessage,
    LetterFilter,
    LockedLetter,
    NewAction,
    Revival,
    append_actions,
    drop,
    first_message,
    keep_dead,
    lock_letter,
    newest_letter,
    next_letters,
    revive,
    set_aside,
    settle_as_replayed,
)
from core.messages.inbound.reading import MessageLimits, ReadEvent, UnreadableEvent, read_message
from core.messages.inbound.sources import REFUSALS
from core.messages.reasons import never_came_advice
from core.receiving.receive import (
    BY_OPERATOR,
    Receipt,
    fallback_shard,
    is_only_a_head,
    own_shard,
    receive,
    receive_by_operator,
)
from core.store.failures import is_outage
from core.store.inbox import event_conflict_text, subject_shard
from core.store.locks import LockClass, share_lock

#: Letters that are mended in one transaction: a hundred thousand are done in a few minutes, and none is locked long.
_LETTERS_PER_TRANSACTION = 100


class RetryLimits(NamedTuple):
    """What a retried message is taken in with: what intake and posting have now."""

    messages: MessageLimits
    shards: int
    event_source: str
    waiting_days_max: int


class MendOutcome(NamedTuple):
    """What became of one letter."""

    inbox_id: int
    state: str | None  #: of the message now; None if there is no such message
    text: str  #: one sentence for a person
    shards: frozenset[int] = frozenset()  #: that have new work
    is_mended: bool = True  #: False: it is as dead as before, or there was nothing to mend


#: Mends one letter, and puts down what was done; that is stored together for all of a transaction.
Mend = Callable[[Connection, int, list[NewAction]], MendOutcome]


def retry_letters(
    engine: Engine, inbox_ids: Sequence[int], limits: RetryLimits, acted_by: str
) -> Iterator[MendOutcome]:
    """Take dead letters in again; one stays dead if it still cannot be read.

    A message that could not be read is read again under the present limits; an array becomes one message per event.
    A second call finds them received or posted and changes nothing. They are done in bounded transactions; one that
    the database refuses is left as it is and holds no other up, a database that is away raises.
    """
    return _each(
        engine, inbox_ids, lambda connection, inbox_id, done: _retry(connection, inbox_id, limits, acted_by, done)
    )


def drop_letters(engine: Engine, inbox_ids: Sequence[int], why: str, acted_by: str) -> Iterator[MendOutcome]:
    """Settle dead letters for good and keep `why` beside them. A second call changes nothing."""
    return _each(engine, inbox_ids, lambda connection, inbox_id, done: _drop(connection, inbox_id, why, acted_by, done))


def letters_that_fit(engine: Engine, chosen: LetterFilter) -> Iterator[list[int]]:
    """The numbers of the dead letters that fit by now, in groups, oldest first.

    Each group is looked up when the one before is done. What is parked again meanwhile is not met a second time.
    """
    with engine.begin() as connection:
        newest = newest_letter(connection)
    after = 0
    while True:
        with engine.begin() as connection:
            group = next_letters(connection, chosen, after=after, up_to=newest, rows_max=_LETTERS_PER_TRANSACTION)
        if not group:
            return
        yield group
        after = group[-1]


def _each(engine: Engine, inbox_ids: Sequence[int], mend: Mend) -> Iterator[MendOutcome]:
    for start in range(0, len(inbox_ids), _LETTERS_PER_TRANSACTION):
        group = sorted(inbox_ids[start : start + _LETTERS_PER_TRANSACTION])  # in one order, so that two people can meet
        try:
            mended = _together(engine, group, mend)
        except psycopg.Error as error:
            if is_outage(error) and not isinstance(error, psycopg.errors.DeadlockDetected):
                raise
            mended = [_alone(engine, inbox_id, mend) for inbox_id in group]
        yield from mended


def _together(engine: Engine, inbox_ids: Sequence[int], mend: Mend) -> list[MendOutcome]:
    done: list[NewAction] = []
    with engine.begin() as connection:
        mended = [mend(connection, inbox_id, done) for inbox_id in inbox_ids]
        append_actions(connection, done)
    return mended


def _alone(engine: Engine, inbox_id: int, mend: Mend) -> MendOutcome:
    """Mend a letter in a transaction of its own; a second time if the same event came in between."""
    for is_last in (False, True):
        try:
            return _together(engine, [inbox_id], mend)[0]
        except psycopg.Error as error:
            if is_outage(error) and not isinstance(error, psycopg.errors.DeadlockDetected):
                raise
            if is_last or not isinstance(error, (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected)):
                text = f"is left as it is: the database answered {type(error).__name__} when it was changed"
                return MendOutcome(inbox_id, "dead", text, is_mended=False)
    raise AssertionError("the last try returns or raises")


def _drop(connection: Connection, inbox_id: int, why: str, acted_by: str, done: list[NewAction]) -> MendOutcome:
    letter = lock_letter(connection, inbox_id)
    if letter is None or letter.state != "dead":
        return nothing_to_mend(inbox_id, letter)
    drop(connection, inbox_id)
    done.append(letter.acted_on("dropped", why, acted_by))
    return MendOutcome(inbox_id, "dropped", "is dropped; its bytes and its reason are kept")


def _retry(
    connection: Connection, inbox_id: int, limits: RetryLimits, acted_by: str, done: list[NewAction]
) -> MendOutcome:
    share_lock(connection, LockClass.ERASURE)  # or what names a customer might be taken in again as they are erased
    letter = lock_letter(connection, inbox_id)
    if letter is None or letter.state != "dead":
        return nothing_to_mend(inbox_id, letter)
    now = letter.as_of
    if letter.reason == Reason.TOO_LARGE and is_only_a_head(letter.body, letter.signature, letter.content_hash):
        mended = _keep(connection, letter, Reason.TOO_LARGE, letter.detail or "")
        done.append(letter.acted_on("retried", mended.text, acted_by))
        return mended
    match _read_again(letter, limits.messages, now):
        case [ReadEvent(body=letter.body) as event]:
            mended = _take_in(connection, letter, event, limits, now)
        case [UnreadableEvent(body=letter.body, reason=reason, detail=detail)]:
            if reason in REFUSALS and not letter.variant:
                set_aside(connection, letter.inbox_id, sha256(b"%d" % letter.inbox_id).digest())
            mended = _keep(connection, letter, reason, detail)
        case _:
            mended = _split(connection, letter, limits)
    done.append(letter.acted_on("retried", mended.text, acted_by))
    return mended


def _read_again(letter: LockedLetter, limits: MessageLimits, now: datetime) -> list[ReadEvent | UnreadableEvent]:
    """Read a letter under the present limits and keys; a key that has ended since it came is still good for it."""
    if letter.signature == BY_OPERATOR:
        return read_message(letter.body, limits=limits._replace(sources=None, is_trusted=True), now=now)
    return read_message(letter.body, limits=limits, now=now, signature=letter.signature, received_at=letter.received_at)


def nothing_to_mend(inbox_id: int, letter: LockedLetter | None) -> MendOutcome:
    """What is said of a number that is no dead letter."""
    if letter is None:
        return MendOutcome(inbox_id, None, "is not in the inbox: there is no message of this number", is_mended=False)
    return MendOutcome(inbox_id, letter.state, f"is not a dead letter: it is {letter.state}", is_mended=False)


def _take_in(
    connection: Connection, letter: LockedLetter, event: ReadEvent, limits: RetryLimits, now: datetime
) -> MendOutcome:
    first = first_message(connection, event.source, event.event_id)
    if first is not None and first.inbox_id != letter.inbox_id:
        return _compare(connection, letter, event, first)
    shard = own_shard(event, limits.shards)
    if shard is None:
        shard = subject_shard(connection, event.subject_source or event.source, event.subject)
        shard = fallback_shard(event, limits.shards) if shard is None else shard
    if shard is None and letter.received_at < now - timedelta(days=limits.waiting_days_max):
        # It would be parked again by the next sweep.
        detail = f"its order has not come in {limits.waiting_days_max} days; {never_came_advice(event.type)}"
        return _keep(connection, letter, Reason.ORDER_NEVER_CAME, detail)
    state = "waiting" if shard is None else "received"
    revival = Revival(
        state,
        event.source,
        event.event_id,
        event.type,
        event.occurred_at,
        event.subject,
        event.is_subject,
        shard,
        event.content_hash,
        event.settled,
        event.subject_source,
        event.points_per_command_max,
        event.points_per_day_max,
        *(letter.trace or event.trace or (None, None)),
    )
    revive(connection, letter.inbox_id, revival)
    if shard is None:
        return MendOutcome(letter.inbox_id, state, "is in the inbox again and waits for its order")
    return MendOutcome(letter.inbox_id, state, "is in the inbox again, to be posted", frozenset({shard}))


def _compare(connection: Connection, letter: LockedLetter, event: ReadEvent, first: FirstMessage) -> MendOutcome:
    """Judge a letter whose source and id another message has, as intake would have."""
    if first.content_hash == event.content_hash:
        settle_as_replayed(connection, letter.inbox_id)
        text = f"has come again as message {first.inbox_id}, which is {first.state}; so this one is settled as replayed"
        return MendOutcome(letter.inbox_id, "replayed", text)
    return _keep(connection, letter, Reason.EVENT_CONFLICT, event_conflict_text(first.inbox_id, event.type))


def _keep(connection: Connection, letter: LockedLetter, reason: Reason | RejectionCode, detail: str) -> MendOutcome:
    keep_dead(connection, letter.inbox_id, reason.value, detail)
    return MendOutcome(letter.inbox_id, "dead", f"stays dead ({reason.value}): {detail}", is_mended=False)


def _split(connection: Connection, letter: LockedLetter, limits: RetryLimits) -> MendOutcome:
    """Take in the events of an array, each as a message of its own; the array itself is settled as dropped."""
    take_in: Callable[..., Receipt] = receive_by_operator
    if letter.signature != BY_OPERATOR:
        take_in = partial(receive, signatures=[letter.signature], received_at=letter.received_at)
    receipt = take_in(
        connection,
        [letter.body],
        limits=limits.messages,
        shards=limits.shards,
        event_source=limits.event_source,
        traces=[letter.trace],
    )
    drop(connection, letter.inbox_id)
    numbers = sorted({stored.inbox_id for stored in receipt.stored})
    text = (
        f"is an array that can be read now; its events are {numbers_text(numbers)}: {receipt.received} received, "
        f"{receipt.waiting} waiting, {receipt.replayed} replayed, {receipt.parked} parked"
    )
    return MendOutcome(letter.inbox_id, "dropped", text, frozenset(receipt.shards), is_mended=receipt.parked == 0)


def numbers_text(numbers: list[int]) -> str:
    """Name messages in a sentence."""
    if len(numbers) == 1:
        return f"message {numbers[0]}"
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"messages {numbers[0]} to {numbers[-1]}"
    return "messages " + ", ".join(str(number) for number in numbers[:10]) + (", …" if len(numbers) > 10 else "")  # noqa: PLR2004  # enough to find them
