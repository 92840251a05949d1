"""The answers to commands: each is told once and for ever the same, in the commit that did what it tells."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from pydantic_core import from_json, to_json

from core.domain.decision import AccountChange, Answer, Decision, Erasure
from core.domain.ledger import Account, Entry
from core.domain.members import Member
from core.domain.outcomes import Rejected
from core.domain.value.commands import PostedCommand
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.outbound.command_answers import (
    AnsweredAccount,
    AnsweredEntry,
    CommandAcceptedData,
    CommandRejectedData,
)
from core.messages.outbound.event_json import event_json, instant_text, recorded_text
from core.messages.outbound.published_events import OutboundType
from core.messages.outbound.told_rewards import told_reward
from core.messages.trace_context import TraceContext
from core.posting.events import EventContext, members_told
from core.store.appending import OutboxEvent
from core.store.commands import NewCommand, StoredAnswer
from core.store.inbox import ClaimedMessage
from core.store.shards import account_shard

AnswerData = CommandAcceptedData | CommandRejectedData


class Asked(NamedTuple):
    """The message that brought a command, as far as its answer speaks of it."""

    source: str
    command_id: str
    type: str
    reply_to: str | None = None
    correlation_id: str | None = None
    trace: TraceContext | None = None


def asked_by(message: ClaimedMessage) -> Asked:
    """The command of a message that is posted."""
    return Asked(
        message.source, message.event_id, message.type, message.reply_to, message.correlation_id, message.trace
    )


def accepted(asked: Asked, decision: Decision, answer: Answer, context: EventContext) -> CommandAcceptedData:
    """What the sender of a command is told that was done."""
    changed = {change.account.account_id: change.account for change in decision.changes}
    members = {change.account.account_id: change.members for change in decision.changes}
    accounts = changed | {answer.account.account_id: answer.account}
    data: CommandAcceptedData = {
        "command_id": asked.command_id,
        "command_source": asked.source,
        "command": asked.type.removeprefix(COMMAND_PREFIX),
        "program_id": answer.account.program_id,
        "account_id": str(answer.account.account_id),
        "customer_id": answer.account.customer_id,
        "accounts": [_account(account, members.get(account.account_id)) for account in accounts.values()],
        "entries": [_entry(entry) for change in decision.changes for entry in _of_command(change, asked)],
        "recorded_at": recorded_text(context.recorded_at),
        **{name: instant_text(told) if isinstance(told, datetime) else told for name, told in answer.told.items()},  # type: ignore[typeddict-item]  # its names are fields of the contract, as tests see to
    }
    if answer.offer is not None:
        data["reward"] = told_reward(answer.offer)
    return data


def erased(asked: Asked, decision: Decision, erasure: Erasure, context: EventContext) -> CommandAcceptedData:
    """What the sender of a command is told that erased a customer: nothing that names them."""
    data: CommandAcceptedData = {
        "command_id": asked.command_id,
        "command_source": asked.source,
        "command": asked.type.removeprefix(COMMAND_PREFIX),
        "accounts": [_account(change.account, change.members) for change in decision.changes],
        "entries": [_entry(entry) for change in decision.changes for entry in _of_command(change, asked)],
        "points": erasure.points,
        "erased": dict(erasure.rows),
        "recorded_at": recorded_text(context.recorded_at),
    }
    if erasure.by is not None:
        data["by"] = erasure.by
    return data


def rejected(asked: Asked, outcome: Rejected, context: EventContext) -> CommandRejectedData:
    """What the sender of a command is told that was not done."""
    return {
        "command_id": asked.command_id,
        "command_source": asked.source,
        "command": asked.type.removeprefix(COMMAND_PREFIX),
        "code": outcome.code.value,
        "detail": outcome.detail,
        "advice": outcome.advice,
        "recorded_at": recorded_text(context.recorded_at),
    }


def _of_command(change: AccountChange, asked: Asked) -> list[Entry]:
    return [entry for entry in change.entries if (entry.source, entry.command_id) == (asked.source, asked.command_id)]


def _account(account: Account, members: Iterable[Member] | None) -> AnsweredAccount:
    answered: AnsweredAccount = {
        "account_id": str(account.account_id),
        "program_id": account.program_id,
        "customer_id": account.customer_id,
        "balance": account.balance,
        "pending": account.pending,
        "reserved": account.reserved,
        "lifetime_points": account.lifetime_points,
        "tier": account.tier_id,
        "status": account.status.value,
    }
    if account.own_account_id is not None:
        answered["own_account_id"] = account.own_account_id
    if members is not None:
        answered["members"] = members_told(members)
    return answered


def _entry(entry: Entry) -> AnsweredEntry:
    answered: AnsweredEntry = {
        "account_id": str(entry.account_id),
        "sequence": entry.sequence,
        "kind": entry.kind.value,
        "points": entry.points,
        "balance": entry.balance_after,
        "lots": [
            {
                "lot_number": part.lot_number,
                "points": part.points,
                "expires_at": None if part.expires_at is None else instant_text(part.expires_at),
            }
            for part in entry.allocations
        ],
    }
    if entry.pending_change:
        answered["pending_change"] = entry.pending_change
    if entry.reserved_change:
        answered["reserved_change"] = entry.reserved_change
    return answered


def new_command(
    message: ClaimedMessage, digest: bytes, data: AnswerData, answer: Answer | None, code: str | None
) -> NewCommand:
    """The row that keeps a command and its answer."""
    return NewCommand(
        PostedCommand(message.source, message.event_id, message.type, digest),
        message.inbox_id,
        message.occurred_at,
        None if answer is None else answer.account.account_id,
        None if answer is None else answer.program_version,
        code,
        to_json(data).decode(),
    )


def answer_event(asked: Asked, data: AnswerData, account: Account | None, context: EventContext) -> OutboxEvent:
    """The event that tells an answer for the first time."""
    event_type = OutboundType.COMMAND_REJECTED if "code" in data else OutboundType.COMMAND_ACCEPTED
    account_id = None if account is None else str(account.account_id)
    return _event(asked, event_type, data, account_id, context, _answer_id(asked), asked.trace)


def _event(
    asked: Asked,
    event_type: OutboundType,
    data: AnswerData,
    account_id: str | None,
    context: EventContext,
    event_id: str,
    caused_by: TraceContext | None,
    times: str = "",
) -> OutboxEvent:
    # The same answer again is the same event for consumers, to the byte, with the trace of what caused it first; in the
    # outbox each telling has a row, with the trace of who asked for it.
    body = event_json(
        event_type,
        event_id,
        context.source,
        datetime.fromisoformat(data["recorded_at"]),
        data,
        account_id,
        correlation_id=asked.command_id,
        trace=caused_by,
    )
    of_account = None if account_id is None else UUID(account_id)
    shard = 0 if of_account is None else account_shard(of_account)
    return OutboxEvent(
        shard,
        of_account,
        f"{event_id}{times}",
        event_type.value,
        body,
        reply_to=asked.reply_to,
        correlation_id=asked.correlation_id,
        traceparent=asked.trace and asked.trace.traceparent,
        tracestate=asked.trace and asked.trace.tracestate,
    )


def told_again(
    asked: Asked, stored: StoredAnswer, inbox_id: int, deliveries: int, context: EventContext
) -> OutboxEvent:
    """The event that tells a stored answer once more, to whoever has sent its command once more."""
    account_id = None if stored.account_id is None else str(stored.account_id)
    event_type = OutboundType.COMMAND_REJECTED if stored.code is not None else OutboundType.COMMAND_ACCEPTED
    data: AnswerData = from_json(stored.answer_json)
    first = None if stored.traceparent is None else TraceContext(stored.traceparent, stored.tracestate)
    times = f" {inbox_id}:{deliveries}"
    return _event(asked, event_type, data, account_id, context, _answer_id(asked), first, times)


def refused_at_intake(
    asked: Asked, outcome: Rejected, inbox_id: int, deliveries: int, context: EventContext
) -> OutboxEvent:
    """The event that tells why a command is not even posted; its id is not used up by that.

    It is none of the command's answer, which may have been told or may come yet, and has an id of its own.
    """
    data = rejected(asked, outcome, context)
    event_id = f"{_answer_id(asked)} {inbox_id}:{deliveries}"
    return _event(asked, OutboundType.COMMAND_REJECTED, data, None, context, event_id, asked.trace)


def _answer_id(asked: Asked) -> str:
    return f"answer:{asked.source} {asked.command_id}"
