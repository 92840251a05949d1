"""Reads the messages that come in: bytes from a queue to checked events, or to the reason why not.

Reading is the hot path of intake, so it makes what intake needs (who, what, hash, settled data) and leaves the facts of
an event to `read_settled`, with which posting goes on. Nothing here raises for what a message holds.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from core.domain.message import Message
from core.domain.nameless import names_erased
from core.domain.orders.facts import AttributeValue, OrderLine
from core.domain.outcomes import Reason, RejectionCode
from core.domain.value.verbs import Verb
from core.messages.inbound.celery_messages import UnusableTask, handed_over
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.inbound.contracts import INBOUND, Contract, Contracts, Data
from core.messages.inbound.fields import TYPE_LIKE
from core.messages.inbound.json_arrays import elements
from core.messages.inbound.not_json import NO_NUMBER, not_json_detail
from core.messages.inbound.order_lines import lines_of, settled_lines
from core.messages.inbound.personal_names import NO_SALT, hide
from core.messages.inbound.problems import Effort, explain, path_text
from core.messages.inbound.repeated_names import repeated_names, repeated_text
from core.messages.inbound.replies import REPLY_PREFIX, ReplyAddress
from core.messages.inbound.sources import REFUSALS, Sources, is_signature
from core.messages.trace_context import TraceContext, trace_context

_ID_CLEAN = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")
#: What Celery puts around a message besides making four bytes of three.
_ENVELOPE_BYTES = 16_384


class MessageLimits(NamedTuple):
    """What is taken of messages: how much, and from whom."""

    message_bytes_max: int  #: at most MESSAGE_BYTES_KEPT_MAX
    array_events_max: int
    clock_skew_seconds_max: int  #: how far an event's time may be ahead of now
    sources: Sources | None = None  #: who may send, must sign, and may send commands; None: any facts, unsigned
    reply_prefix: str = REPLY_PREFIX  #: what names of senders' queues for answers begin with
    is_trusted: bool = False  #: from whoever may write to the database: any facts and commands
    reference_salt: bytes | None = None  #: secret of the hashes of phone numbers and e-mail addresses


#: A message of more bytes is kept as its head alone: nobody could hold many of them.
MESSAGE_BYTES_KEPT_MAX = 16 * 1024 * 1024
HEAD_BYTES = 64 * 1024


class CutMessage(NamedTuple):
    """What is kept of a message that is too large to be held; the rest was let go while it came in."""

    head: bytes  #: its first HEAD_BYTES
    size_bytes: int  #: of all of it
    digest: bytes  #: SHA-256 of all of it


class ReadEvent(NamedTuple):
    """An event that keeps the contract of its type."""

    source: str
    event_id: str
    type: str
    occurred_at: datetime  #: aware, in UTC
    subject: str  #: what it is about (core.domain.subjects)
    customer_id: str | None  #: None for a guest, and for what is about an order, which names no customer
    is_subject: bool  #: it is the order itself, not something about one, such as a refund, which waits for its order
    content_hash: bytes  #: of type, time and data: the same event again has the same one
    settled: str  #: its data as JSON in their one form, of which `business_hash` is made
    body: bytes  #: this event's JSON, exactly as received
    signature: str | None = None  #: of `body`, as far as there is one
    subject_source: str | None = None  #: whose the subject is, where that is another source than the event's
    reply: ReplyAddress | None = None  #: where its sender wants its answer, allowed or not; None for what gets none
    is_command: bool = False  #: it is answered, and does not wait for what it is about
    points_per_command_max: int | None = None  #: that its source may move by one command; None: any number
    points_per_day_max: int | None = None  #: of all commands of this kind from its source; None: any number
    named: str | None = None  #: the subject of the account that it names by its id; None: it names none so
    trace: TraceContext | None = None  #: of its sender; None: it said none


class UnreadableEvent(NamedTuple):
    """A message, or one event of an array, that cannot be read, or a command that is not let in."""

    reason: Reason | RejectionCode  #: a code: it is answered, and needs no person
    detail: str  #: what is wrong, where, and how to mend it; no personal data
    body: bytes  #: exactly as received; of what Celery handed over its envelope too, where nothing of it can be read
    source: str | None  #: as far as it can be read
    event_id: str | None
    type: str | None  #: as far as it looks like one
    signature: str | None = None  #: that came with `body`, whatever it is worth
    digest: bytes | None = None  #: SHA-256 of the whole message where `body` is only its head
    reply: ReplyAddress | None = None  #: as of `ReadEvent`
    trace: TraceContext | None = None  #: as of `ReadEvent`


class SettledMessage(NamedTuple):
    """What posting makes of the settled data of an event."""

    message: Message[Any]
    data: Data


def read_message(
    raw: bytes | CutMessage,
    *,
    limits: MessageLimits,
    now: datetime,
    signature: str | None = None,
    received_at: datetime | None = None,
    reply: ReplyAddress | None = None,
    trace: TraceContext | None = None,
    contracts: Contracts = INBOUND,
) -> list[ReadEvent | UnreadableEvent]:
    """Read one queue message: an event, or an array of events, whose elements stand and fall each by itself.

    A Celery message is read as what it hands over, with the signature that is among its arguments. `reply` came beside
    the message; each event of a type that is answered has it. `trace` did too; each event has it that says none itself,
    since an event knows where it began, and what carries it knows the last stretch of its way.

    Never raises and never returns an empty list, so whatever came in can be stored. `now` is aware; `received_at` is
    when the message came, if that was earlier, and decides which keys had ended.
    """
    if isinstance(raw, CutMessage):
        kept = signature if is_signature(signature) else None
        return [_cut_off(raw, limits)._replace(signature=kept, trace=trace)]
    submitted = handed_over(raw) if len(raw) <= _ENVELOPE_BYTES + 2 * limits.message_bytes_max else None
    if isinstance(submitted, UnusableTask):
        return [UnreadableEvent(Reason.UNUSABLE_TASK, submitted.detail, raw, None, None, None, trace=submitted.trace)]
    sent = raw
    if submitted is not None:
        raw, signature, reply = submitted[:3]
        trace = submitted.trace or trace
    events = _read(raw, limits, now, contracts)
    if submitted is not None and (unread := _nothing_of(events)) is not None:
        # What stands around it may be all that tells what was meant, or whose it is.
        return [unread._replace(body=sent, trace=trace)]
    if signature is not None or limits.sources is not None:
        events = _judged(raw, events, limits.sources, signature, received_at or now)
    if not limits.is_trusted:
        events = [_let_in(event, limits.sources) if isinstance(event, ReadEvent) else event for event in events]
    if trace is not None:
        events = [event if event.trace is not None else event._replace(trace=trace) for event in events]
    if reply is None or not contracts.answered:
        return events
    return [event._replace(reply=reply) if _is_answered(event, contracts) else event for event in events]


def _nothing_of(events: list[ReadEvent | UnreadableEvent]) -> UnreadableEvent | None:
    """The only event of a message, if not even an attribute of it could be read."""
    match events:
        case [UnreadableEvent(source=None, event_id=None, type=None, reason=reason) as event]:
            return event if reason in {Reason.NOT_JSON, Reason.NOT_AN_EVENT, Reason.BAD_ENVELOPE} else None
    return None


def _is_answered(event: ReadEvent | UnreadableEvent, contracts: Contracts) -> bool:
    """Whether its sender is told what became of it, also of a command that nobody knows."""
    return event.type is not None and (event.type in contracts.answered or event.type.startswith(COMMAND_PREFIX))


def _let_in(event: ReadEvent, sources: Sources | None) -> ReadEvent | UnreadableEvent:
    """Refuse a command that its source may not send."""
    if not event.is_command:
        return event
    verb = Verb(event.type.removeprefix(COMMAND_PREFIX))
    grant = None if sources is None else sources.command_grant(event.source, verb)
    detail = None
    if grant is None:
        detail = f"this source may not send {event.type}; list it under commands in the file of LOYALTY_SOURCES_FILE"
    elif grant.points_per_command_max is not None:
        points = abs(from_json(event.settled).get("points", 0))
        if points > grant.points_per_command_max:
            detail = (
                f"data.points is {points:,}, and this source may send {grant.points_per_command_max:,} in one "
                "command; send fewer, or raise points_per_command_max in the file of LOYALTY_SOURCES_FILE"
            )
    if detail is None:
        if grant is None:
            return event
        return event._replace(
            points_per_command_max=grant.points_per_command_max, points_per_day_max=grant.points_per_day_max
        )
    return UnreadableEvent(
        RejectionCode.NOT_ALLOWED,
        detail,
        event.body,
        event.source,
        event.event_id,
        event.type,
        event.signature,
        trace=event.trace,
    )


def _cut_off(message: CutMessage, limits: MessageLimits) -> UnreadableEvent:
    detail = (
        f"the message has {message.size_bytes} bytes; at most {limits.message_bytes_max} are read, and of one so large "
        f"only the first {len(message.head)} are kept (SHA-256 of all: {message.digest.hex()}); send fewer events in "
        "one"
    )
    return UnreadableEvent(Reason.TOO_LARGE, detail, message.head, None, None, None, digest=message.digest)


def _read(raw: bytes, limits: MessageLimits, now: datetime, contracts: Contracts) -> list[ReadEvent | UnreadableEvent]:
    if len(raw) > limits.message_bytes_max:
        detail = (
            f"the message has {len(raw)} bytes; at most {limits.message_bytes_max} are read: send fewer events in one"
        )
        return [UnreadableEvent(Reason.TOO_LARGE, detail, raw, None, None, None)]
    latest = now + timedelta(seconds=limits.clock_skew_seconds_max)
    if raw[:1] != b"{" and raw.lstrip(b" \t\n\r")[:1] == b"[":
        return _read_array(raw, limits, latest, contracts)
    return [_read_event(raw, limits, latest, contracts, Effort())]


def business_hash(settled: str) -> bytes:
    """Hash the settled data: the same order or refund again has the same hash, in whichever event."""
    return sha256(settled.encode()).digest()


def command_hash(event_type: str, settled: str) -> bytes:
    """Hash a command: what is asked for, and of what."""
    return sha256(f"{event_type}\n{settled}".encode()).digest()


def read_settled(
    contract: Contract, source: str, occurred_at: datetime, settled: str, event_id: str = ""
) -> SettledMessage:
    """Make the message of what intake has checked and settled; only commands are known by their `event_id`."""
    data = from_json(settled)
    fact = contract.fact(source, occurred_at, data)
    digest = business_hash(settled) if contract.verb is None else command_hash(contract.type, settled)
    message = Message(fact, data.get("program_id"), digest, event_id, names_erased(settled))
    return SettledMessage(message, data)


def read_lines(lines_json: str | bytes) -> tuple[OrderLine, ...]:
    """Read the lines of an order in the form that the orders table keeps."""
    return lines_of(from_json(lines_json))


def read_attributes(attributes_json: str | bytes | None) -> dict[str, AttributeValue]:
    """Read the attributes of an order in the form that the orders table keeps."""
    return {} if attributes_json is None else from_json(attributes_json)


def read_tags(tags_json: str | bytes | None) -> tuple[str, ...]:
    """Read the customer's tags in the form that the orders table keeps."""
    return () if tags_json is None else tuple(from_json(tags_json))


#: Of these the source is not known for sure, or not at all.
_ENVELOPE_REASONS = {Reason.TOO_LARGE, Reason.NOT_JSON, Reason.NOT_AN_EVENT, Reason.BAD_ENVELOPE}


def _judged(
    raw: bytes,
    events: list[ReadEvent | UnreadableEvent],
    sources: Sources | None,
    signature: str | None,
    received_at: datetime,
) -> list[ReadEvent | UnreadableEvent]:
    """Put refusals in the place of what the sources may not send, and signatures beside what is kept."""
    is_array = events[0].body is not raw
    kept = signature if is_signature(signature) else None
    if sources is None:
        return events if is_array else [events[0]._replace(signature=kept)]
    check = sources.check(raw, signature, received_at)
    judged: list[ReadEvent | UnreadableEvent] = []
    for event in events:
        source = event.source or ""
        is_named = isinstance(event, ReadEvent) or event.reason not in _ENVELOPE_REASONS
        order_source = event.subject_source if isinstance(event, ReadEvent) else None
        refusal = check.refusal(source, order_source) if is_named else None
        if refusal is not None:
            event = UnreadableEvent(  # noqa: PLW2901
                *refusal, event.body, event.source, event.event_id, event.type, trace=event.trace
            )
        elif is_array and is_named:
            event = event._replace(signature=check.resigned(source, event.body))  # noqa: PLW2901
        judged.append(event if is_array else event._replace(signature=kept))
    if is_array and all(isinstance(event, UnreadableEvent) and event.reason in REFUSALS for event in judged):
        return [_refused_array(raw, judged[0], len(judged), kept)]
    return judged


def _refused_array(raw: bytes, first: Any, count: int, signature: str | None) -> UnreadableEvent:
    """Keep an array of which nothing is taken whole: only as a whole can its signature be checked again."""
    detail = f"{first.detail} (said of the first of {count} events in an array)"
    return UnreadableEvent(first.reason, detail, raw, first.source, None, None, signature, trace=first.trace)


def _read_event(
    body: bytes, limits: MessageLimits, latest: datetime, contracts: Contracts, effort: Effort
) -> ReadEvent | UnreadableEvent:
    if _holds_no_number(body):
        return _unreadable(Reason.NOT_JSON, not_json_detail(body, NO_NUMBER), body)
    try:
        event = contracts.validate_json(body)
    except ValidationError as error:
        problem = explain(body, error, contracts, effort)
        if problem is not None:
            return _unreadable(*problem, body)
        event = contracts.validate_ignoring(body)
    if repeated := repeated_names(body, contracts.places[event["type"]]):
        reason = Reason.INVALID_DATA if repeated[0][0] == "data" else Reason.BAD_ENVELOPE
        return _unreadable(reason, repeated_text([path_text(path) for path in repeated]), body)
    occurred_at = event["time"]
    if occurred_at > latest:
        detail = (
            f"time is {_instant(occurred_at)}; nothing after {_instant(latest)} is taken now: "
            "check the sender's clock and its offset from UTC"
        )
        return _unreadable(Reason.TIME_IN_FUTURE, detail, body)
    data, contract, source = event["data"], contracts[event["type"]], event["source"]
    if (field := hide(data, limits.reference_salt, is_needed=contract.needs_salt)) is not None:
        return _unreadable(Reason.NO_REFERENCE_SALT, f"data.{field} {NO_SALT}", body)
    if contract.subject_source(data) == source:
        del data["order_source"]  # says nothing
    if contract.own_id is not None:
        data.setdefault(contract.own_id, event["id"])
    if contract.has_order_lines:
        data["lines"] = settled_lines(data["lines"])
    settled = to_json(data)
    content = sha256(settled)
    content.update(f"\n{contract.type}\n{occurred_at.isoformat()}".encode())
    return ReadEvent(
        source,
        event["id"],
        contract.type,
        occurred_at,
        contract.subject(data),
        contract.customer(data),
        contract.is_subject,
        content.digest(),
        settled.decode(),
        body,
        subject_source=contract.subject_source(data),
        is_command=contract.verb is not None,
        named=contract.account_named(data),
        trace=_trace(event) if "traceparent" in event else None,
    )


def _trace(attributes: Mapping[str, Any]) -> TraceContext | None:
    return trace_context(attributes.get("traceparent"), attributes.get("tracestate"))


def _instant(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _holds_no_number(body: bytes) -> bool:
    """Whether NaN or an infinity stands in what else is JSON: pydantic lets them pass in fields that it ignores."""
    if b"NaN" in body or b"Infinity" in body:
        try:
            from_json(body, allow_inf_nan=False)
        except ValueError:
            return _is_json(body)
    return False


def _is_json(body: bytes) -> bool:
    try:
        from_json(body)
    except ValueError:
        return False
    return True


def _unreadable(reason: Reason, detail: str, body: bytes) -> UnreadableEvent:
    try:
        event = from_json(body)
    except ValueError:
        event = None
    attributes = event if isinstance(event, dict) else {}
    source, event_id, kind = (_clean(attributes.get(name)) for name in ("source", "id", "type"))
    kind = kind if kind and TYPE_LIKE.fullmatch(kind) else None
    return UnreadableEvent(reason, detail, body, source, event_id, kind, trace=_trace(attributes))


def _clean(value: object) -> str | None:
    """Take only what could be a right id, since PostgreSQL stores no NUL and an index no megabyte."""
    return value if isinstance(value, str) and _ID_CLEAN.fullmatch(value) else None


def _read_array(
    raw: bytes, limits: MessageLimits, latest: datetime, contracts: Contracts
) -> list[ReadEvent | UnreadableEvent]:
    """Cut the array into its elements; one that cannot be cut is kept whole, so that nothing of it is read twice."""
    bodies: list[bytes] = []
    try:
        for element in elements(raw.decode()):
            if len(bodies) == limits.array_events_max:
                detail = f"the array has more than {limits.array_events_max} events; send fewer in one message"
                return [UnreadableEvent(Reason.TOO_LARGE, detail, raw, None, None, None)]
            bodies.append(element.encode())
    except RecursionError:
        return [UnreadableEvent(Reason.NOT_JSON, not_json_detail(raw, "recursion limit"), raw, None, None, None)]
    except ValueError as error:  # also UnicodeDecodeError, whose own text repeats the whole message
        what = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        return [UnreadableEvent(Reason.NOT_JSON, not_json_detail(raw, what), raw, None, None, None)]
    if not bodies:
        return [UnreadableEvent(Reason.NOT_AN_EVENT, "the array is empty; send events in it", raw, None, None, None)]
    effort = Effort()
    return [_read_event(body, limits, latest, contracts, effort) for body in bodies]
