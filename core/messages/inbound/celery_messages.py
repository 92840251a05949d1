"""Reads what a Celery client sent: kombu's envelope, and in it the task `loyalty.submit`, which hands over events.

Nothing of it is done as Celery would: of all that a client can write there, only the task's name and its arguments are
looked at. Nothing here raises for what a message holds.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from core.messages.inbound.fields import TYPE_LIKE, plain_decimal
from core.messages.inbound.near_names import nearest
from core.messages.inbound.replies import ReplyAddress
from core.messages.trace_context import TraceContext, trace_context

SUBMIT_TASK = "loyalty.submit"
#: Every envelope has it, so that other messages cost one search.
_MARK = b'"delivery_tag"'
#: An event may have fields of a shop's own by any name, such as those of an envelope; no envelope has these.
_OF_AN_EVENT = {"type", "source", "data"}
#: Stands for what is not text, and so not a signature.
_NO_SIGNATURE = "?"
_NAMES_COMPARED_MAX = 10
#: A number with more places than this stays as it was written: as a plain decimal, 1E+999999999 has a gigabyte.
_PLACES_MAX = 100
#: Celery says in each message where results would go: to a queue with the name of the client, who asks for none here.
_CLIENT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class CeleryMessage(NamedTuple):
    """A Celery message as it came. Whatever stands in a header is no more than what somebody wrote there."""

    headers: Mapping[str, Any]
    body: bytes
    reply: ReplyAddress | None = None  #: where its sender wants an answer


class HandedOver(NamedTuple):
    """What a Celery message hands over: a message of ours, as if it had been sent by itself."""

    raw: bytes
    signature: str | None
    reply: ReplyAddress | None = None
    trace: TraceContext | None = None  #: among the headers of the task, where OpenTelemetry's own clients put it


class UnusableTask(NamedTuple):
    """Why a Celery message hands over nothing."""

    detail: str  #: what is wrong, and how to mend it; no personal data
    trace: TraceContext | None = None


def envelope(headers: Mapping[str, str], body: bytes, reply: ReplyAddress | None = None) -> bytes:
    """Put a Celery message into kombu's envelope, as it stands on Redis, with the body readable where it is text."""
    try:
        text, encoding = body.decode(), "text"
    except UnicodeDecodeError:
        text, encoding = b64encode(body).decode(), "base64"
    properties = {"body_encoding": encoding, "delivery_tag": "", **({} if reply is None else reply._asdict())}
    return json.dumps({"body": text, "headers": dict(headers), "properties": properties}, ensure_ascii=False).encode()


def open_envelope(raw: bytes) -> CeleryMessage | None:
    """Take a Celery message out of kombu's envelope; None for what is no envelope."""
    if _MARK not in raw:
        return None
    try:
        document = json.loads(raw)
        body, headers, properties = (document[name] for name in ("body", "headers", "properties"))
        if "delivery_tag" not in properties or document.keys() >= _OF_AN_EVENT:
            return None
        is_base64 = properties.get("body_encoding") == "base64"
        decoded = b64decode(body, validate=True) if is_base64 else body.encode(errors="surrogatepass")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    return CeleryMessage(headers, decoded, _reply(properties)) if isinstance(headers, dict) else None


def handed_over(raw: bytes) -> HandedOver | UnusableTask | None:
    """Take out what the task `loyalty.submit` hands over; None for what is no Celery message.

    What was sent to the same queue without Celery is handed over as it is.
    """
    message = open_envelope(raw)
    if message is None:
        return None
    name, arguments = message.headers.get("task"), _arguments(message.body)
    trace = trace_context(message.headers.get("traceparent"), message.headers.get("tracestate"))
    if name is None and isinstance(arguments, dict) and "args" in arguments:  # Celery's protocol before version 4
        name, arguments = arguments.get("task"), [arguments["args"], arguments.get("kwargs", {})]
    if name is None:
        return HandedOver(message.body, None, message.reply, trace)
    if name != SUBMIT_TASK:
        shown = name if isinstance(name, str) and TYPE_LIKE.fullmatch(name) else "of another name"
        return UnusableTask(f"it is the task {shown}; what may be sent here is the task {SUBMIT_TASK} only", trace)
    match arguments:
        case [list(positional), dict(named), *_]:
            return _submitted(positional, named, message.reply)._replace(trace=trace)
    return UnusableTask(
        "the body of the task is not what Celery writes as JSON in UTF-8; send it with the serializer json and without "
        "compression",
        trace,
    )


def _reply(properties: Mapping[str, Any]) -> ReplyAddress | None:
    name, correlation_id = properties.get("reply_to"), properties.get("correlation_id")
    if not isinstance(name, str) or not name or _CLIENT.fullmatch(name):
        return None
    return ReplyAddress(name, correlation_id if isinstance(correlation_id, str) else None)


def _submitted(positional: list[Any], named: dict[str, Any], reply: ReplyAddress | None) -> HandedOver | UnusableTask:
    named = dict(named)
    signature = named.pop("signature", None)
    if named.keys() - {"events"} or bool(positional) == bool(named):
        return UnusableTask(_call_advice(named))
    given = named["events"] if named else positional[0] if len(positional) == 1 else positional
    try:
        raw = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    except (ValueError, RecursionError):
        return UnusableTask("the arguments of the task cannot be written as JSON; are they nested too deeply?")
    if signature is not None and not isinstance(signature, str):
        signature = _NO_SIGNATURE
    return HandedOver(raw.encode(errors="surrogatepass"), signature, reply)


def _call_advice(named: Mapping[str, Any]) -> str:
    """What is wrong with a call that fits no form. A name of the caller's own is shown where it is nearly ours."""
    how = (
        f"call {SUBMIT_TASK} with the events alone or with events=, and with signature= beside them if they are signed"
    )
    near = [name for name in islice(named, _NAMES_COMPARED_MAX) if name != "events" and nearest(name, ("events",))]
    if near:
        return f"the task has the argument {near[0]}, whose name is events; {how}"
    if not named:
        return f"the task hands over no event; {how}"
    return f"the arguments of the task are not those of {SUBMIT_TASK}; {how}"


def _arguments(body: bytes) -> Any:
    """The body of a task; None for what is not JSON."""
    try:
        return json.loads(body.decode(), object_hook=_plain)
    except (ValueError, RecursionError):
        return None


def _plain(found: dict[str, Any]) -> Any:
    """Write a value for which Celery's JSON has a form of its own as our contracts want it; leave all others alone."""
    if found.keys() != {"__type__", "__value__"}:
        return found
    try:
        return _WRITTEN[found["__type__"]](found["__value__"])
    except (ValueError, TypeError, LookupError, InvalidOperation):
        return found  # for the contract to refuse


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _decimal(value: Any) -> str:
    number = Decimal(_text(value))
    if not number.is_finite() or max(abs(number.adjusted()), len(number.as_tuple().digits)) > _PLACES_MAX:
        return str(number)
    sign, plain = "-" if number < 0 else "", plain_decimal(f"{abs(number):f}")
    return sign + plain


_WRITTEN: dict[str, Callable[[Any], str]] = {
    "decimal": _decimal,
    "uuid": lambda value: str(UUID(hex=_text(value["hex"]))),
    "datetime": lambda value: datetime.fromisoformat(_text(value)).isoformat(),
    "date": _text,
    "time": _text,
    "bytes": _text,
    "base64": lambda value: b64decode(_text(value), validate=True).decode(),
}
