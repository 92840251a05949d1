"""What travels beside a message, in headers and properties of AMQP or in fields of a stream entry.

That is its signature, where its sender wants an answer, and the trace that it belongs to.

What a stranger wrote there is looked at only as far as it takes to find what is asked for, and nothing in it raises.
"""

import struct
from collections.abc import Mapping
from typing import Final

from core.messages.inbound.reading import CutMessage
from core.messages.inbound.replies import REPLY_BYTES_MAX, ReplyAddress
from core.messages.trace_context import TRACESTATE_READ_MAX, TraceContext, trace_context
from workers.brokers.topology import CORRELATION_FIELD, REPLY_FIELD, SIGNATURE_FIELD, SIGNATURE_HEADER

#: More than any signature or name of a task has; what is cut is none.
_CHARACTERS_MAX: Final = 200
#: How the trace of an event is called beside it, what wins first. CloudEvents in binary form has it as an attribute of
#: the event, which says where that began; what OpenTelemetry writes beside any message is of the last hop.
_TRACES: Final = tuple(
    (f"{prefix}traceparent", f"{prefix}tracestate") for prefix in ("cloudEvents:", "cloudEvents_", "")
)
TRACE_FIELDS: Final = tuple(name for names in _TRACES for name in names)  #: of a stream entry
_TRACE_FIELDS: Final = tuple((parent.encode(), state.encode()) for parent, state in _TRACES)
_ANY_TRACE: Final = b"traceparent"
_FIELD: Final = SIGNATURE_FIELD.encode()
_REPLY_FIELD: Final = REPLY_FIELD.encode()
_CORRELATION_FIELD: Final = CORRELATION_FIELD.encode()

_PROPERTIES_AT: Final = 12  # after class, weight and body size
_HAS_CONTENT_TYPE: Final = 0x8000
_HAS_CONTENT_ENCODING: Final = 0x4000
_HAS_HEADERS: Final = 0x2000
_HAS_DELIVERY_MODE: Final = 0x1000
_HAS_PRIORITY: Final = 0x0800
_HAS_CORRELATION_ID: Final = 0x0400
_HAS_REPLY_TO: Final = 0x0200
_LONG: Final = struct.Struct(">I")
#: How many bytes a value of each type takes. Those of `_SIZED` are led by their length.
_FIXED: Final = {
    ord(kind): size
    for kinds, size in (("tbB", 1), ("sUu", 2), ("iIf", 4), ("lLdT", 8), ("D", 5), ("V", 0))
    for kind in kinds
}
_SIZED: Final = frozenset(b"SxAF")
_TEXTS: Final = frozenset(b"Sx")


def signature_of_header(payload: bytes) -> str | None:
    """Find the signature among the properties of an AMQP header frame; None if there is none to be found."""
    return text_header(payload, SIGNATURE_HEADER)


def trace_of_header(payload: bytes) -> TraceContext | None:
    """Find the trace among the properties of an AMQP header frame; None for none, or a wrong one."""
    if _ANY_TRACE not in payload:  # mostly, and then it costs nothing
        return None
    for parent, state in _TRACES:
        trace = trace_context(text_header(payload, parent), text_header(payload, state, TRACESTATE_READ_MAX + 1))
        if trace is not None:
            return trace
    return None


def trace_of_fields(fields: Mapping[bytes, bytes | CutMessage]) -> TraceContext | None:
    """Find the trace among the fields of a stream entry; None for none, or a wrong one."""
    if len(fields) == 1:  # mostly: the event alone
        return None
    for parent, state in _TRACE_FIELDS:
        if parent in fields:
            traceparent, tracestate = (
                beside_text(_head(fields.get(name, b"")), TRACESTATE_READ_MAX + 1) for name in (parent, state)
            )
            trace = trace_context(traceparent, tracestate)
            if trace is not None:
                return trace
    return None


def text_header(payload: bytes, name: str, characters_max: int = _CHARACTERS_MAX) -> str | None:
    """Find a header among the properties of an AMQP header frame; "" for one that is not text."""
    wanted = name.encode()
    if wanted not in payload:  # nearly always for a signature: this costs nothing
        return None
    try:
        return _found(payload, wanted, characters_max)
    except (struct.error, IndexError):  # lengths that lead behind the end: no client library writes that
        return None


def reply_of_header(payload: bytes) -> ReplyAddress | None:
    """Find where the sender wants an answer, among the properties of an AMQP header frame."""
    flags = int.from_bytes(payload[_PROPERTIES_AT : _PROPERTIES_AT + 2], "big")
    if not flags & _HAS_REPLY_TO:  # nearly always
        return None
    try:
        at = _headers_at(payload, flags)
        if flags & _HAS_HEADERS:
            at += _LONG.size + _LONG.unpack_from(payload, at)[0]
        at += bool(flags & _HAS_DELIVERY_MODE) + bool(flags & _HAS_PRIORITY)
        correlation_id: bytes | None = None
        if flags & _HAS_CORRELATION_ID:
            correlation_id = payload[at + 1 : at + 1 + payload[at]]
            at += 1 + len(correlation_id)
        return _address(payload[at + 1 : at + 1 + payload[at]], correlation_id)
    except (struct.error, IndexError):
        return None


def reply_of_fields(fields: Mapping[bytes, bytes | CutMessage]) -> ReplyAddress | None:
    """Find where the sender wants an answer, among the fields of a stream entry."""
    name = fields.get(_REPLY_FIELD)
    if name is None:  # nearly always
        return None
    correlation_id = fields.get(_CORRELATION_FIELD)
    return _address(_head(name), None if correlation_id is None else _head(correlation_id))


def _address(name: bytes, correlation_id: bytes | None) -> ReplyAddress | None:
    """Read an address; what is too long or no text stays so, for the reader of messages to refuse."""
    if not name:
        return None
    return ReplyAddress(_text(name), None if correlation_id is None else _text(correlation_id))


def _text(raw: bytes) -> str:
    return raw[: REPLY_BYTES_MAX + 1].decode(errors="replace")


def _head(raw: bytes | CutMessage) -> bytes:
    return raw.head if isinstance(raw, CutMessage) else raw


def signature_of_fields(fields: Mapping[bytes, bytes | CutMessage]) -> str | None:
    """Find the signature among the fields of a stream entry."""
    raw = fields.get(_FIELD)
    return None if raw is None else beside_text(_head(raw))


def beside_text(raw: bytes, characters_max: int = _CHARACTERS_MAX) -> str:
    """Read what stands where a text should; what is none becomes a text that is no signature and no name either."""
    return raw[:characters_max].decode("ascii", "replace")


def header_table(headers: Mapping[str, str]) -> bytes:
    """Write the header table of a message."""
    entries = b""
    for name, text in headers.items():
        value = text.encode()
        entries += bytes((len(name),)) + name.encode() + b"S" + _LONG.pack(len(value)) + value
    return _LONG.pack(len(entries)) + entries


def trace_headers(trace: TraceContext | None) -> dict[str, str]:
    """What is written beside a message, as OpenTelemetry reads it beside any."""
    if trace is None:
        return {}
    return {name: text for name, text in trace._asdict().items() if text is not None}


def _found(payload: bytes, wanted: bytes, characters_max: int) -> str | None:
    flags = int.from_bytes(payload[_PROPERTIES_AT : _PROPERTIES_AT + 2], "big")
    at = _headers_at(payload, flags)
    if not flags & _HAS_HEADERS:
        return None
    (size,) = _LONG.unpack_from(payload, at)
    at += _LONG.size
    end = at + size
    while at < end:
        name_end = at + 1 + payload[at]
        name, kind = payload[at + 1 : name_end], payload[name_end]
        at = name_end + 1
        if kind in _SIZED:
            (size,) = _LONG.unpack_from(payload, at)
            at += _LONG.size
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            return None  # of unknown length, so that nothing behind it can be found
        if name == wanted:
            return beside_text(payload[at : at + size], characters_max) if kind in _TEXTS else ""
        at += size
    return None


def _headers_at(payload: bytes, flags: int) -> int:
    """Where the table of headers begins, or what would stand behind it."""
    at = _PROPERTIES_AT + 2
    for has_text in (_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING):
        if flags & has_text:
            at += 1 + payload[at]
    return at
