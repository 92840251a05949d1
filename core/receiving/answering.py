"""Answers that commands get while they are received: what is not let in, and what has its answer already."""

from collections.abc import Iterator, Mapping, Sequence

import structlog
from sqlalchemy import Connection

from core.domain.outcomes import Reason, Rejected, RejectionCode
from core.domain.value.situations import conflict
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.inbound.reading import command_hash
from core.messages.trace_context import log_fields
from core.posting.answers import Asked, refused_at_intake, told_again
from core.posting.events import EventContext
from core.store.appending import OutboxEvent
from core.store.commands import load_answers
from core.store.inbox import InboxMessage, StoredMessage

log = structlog.get_logger(__name__)

_MEND = "mend it, and send it again: its id is not used up"
_ADVICE: Mapping[Reason | RejectionCode, str] = {
    RejectionCode.NOT_ALLOWED: "let the operators grant it to this source, and send it again: its id is not used up",
    Reason.NO_REFERENCE_SALT: "let the operators set that secret, and send it again: its id is not used up",
    RejectionCode.COMMAND_CONFLICT: "give every command an id of its own; the answer to the first one stands",
}
#: Of these it is not sure whose the message is: an answer might be taken for that of somebody else's command.
_NOT_SURE_WHOSE = {Reason.UNKNOWN_SOURCE, Reason.BAD_SIGNATURE}


def intake_answers(connection: Connection, stored: Sequence[StoredMessage], context: EventContext) -> list[OutboxEvent]:
    """The answers that the commands among these messages get at once; the others get theirs when they are posted."""
    commands = [row for row in stored if _is_command(row.message)]
    if not commands:
        return []
    return [*_refusals(commands, context), *_repetitions(connection, commands, context)]


def _is_command(message: InboxMessage) -> bool:
    return (message.type or "").startswith(COMMAND_PREFIX) and bool(message.source and message.event_id)


def log_refusals(stored: Sequence[StoredMessage]) -> None:
    """Log the commands that are not let in. Once their transaction is committed: one that is done again tells twice."""
    for row, reason, _ in _refused([row for row in stored if _is_command(row.message)]):
        if row.is_new:
            asked = _asked(row.message)
            log.warning(
                "command_refused",
                action="command_refused",
                inbox_id=row.inbox_id,
                type=asked.type,
                code=reason.value,
                **log_fields(asked.trace),
            )


def _refused(commands: Sequence[StoredMessage]) -> Iterator[tuple[StoredMessage, Reason | RejectionCode, str]]:
    # One that a batch holds twice is answered once.
    for row in {row.inbox_id: row for row in reversed(commands)}.values():
        reason, detail = row.message.reason, row.message.detail
        if reason is not None and detail is not None and reason not in _NOT_SURE_WHOSE:
            yield row, reason, detail


def _refusals(commands: Sequence[StoredMessage], context: EventContext) -> Iterator[OutboxEvent]:
    for row, reason, detail in _refused(commands):
        outcome = Rejected(reason, detail, _ADVICE.get(reason, _MEND))
        yield refused_at_intake(_asked(row.message), outcome, row.inbox_id, row.deliveries, context)


def _repetitions(
    connection: Connection, commands: Sequence[StoredMessage], context: EventContext
) -> Iterator[OutboxEvent]:
    """Commands that came before and have their answers get the same again; those that have none yet will get one.

    One of other content than that which has the answer was a conflict when it was posted, and is one again.
    """
    again = {
        (row.message.source, row.message.event_id): row
        for row in commands
        if (not row.is_new or row.message.is_old) and row.message.reason is None
    }
    for answer in load_answers(connection, list(again)):
        row = again[answer.source, answer.command_id]
        message = row.message
        assert message.type is not None
        if not message.is_old and command_hash(message.type, message.settled or "") != answer.business_hash:
            yield refused_at_intake(_asked(message), conflict(), row.inbox_id, row.deliveries, context)
            continue
        yield told_again(_asked(row.message), answer, row.inbox_id, row.deliveries, context)


def _asked(message: InboxMessage) -> Asked:
    assert message.type is not None
    return Asked(
        message.source, message.event_id, message.type, message.reply_to, message.correlation_id, message.trace
    )
