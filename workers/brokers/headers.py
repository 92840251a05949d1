"""What travels beside a message: the headers of AMQP, the fields of a stream entry; the signature above all.

What a stranger wrote there is looked at only as far as it takes to find what is asked for, and nothing in it raises.
"""

import struct
from collections.abc import Mapping
from typing import Final

from core.messages.inbound.reading import CutMessage
from workers.brokers.topology import SIGNATURE_FIELD, SIGNATURE_HEADER

#: More than any signature or name of a task has; what is cut is none.
_CHARACTERS_MAX: Final = 200
_FIELD: Final = SIGNATURE_FIELD.encode()

_PROPERTIES_AT: Final = 12  # after class, weight and body size
_HAS_CONTENT_TYPE: Final = 0x8000
_HAS_CONTENT_ENCODING: Final = 0x4000
_HAS_HEADERS: Final = 0x2000
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


def text_header(payload: bytes, name: str) -> str | None:
    """Find a header among the properties of an AMQP header frame; "" for one that is not text."""
    wanted = name.encode()
    if wanted not in payload:  # nearly always for a signature: this costs nothing
        return None
    try:
        return _found(payload, wanted)
    except (struct.error, IndexError):  # lengths that lead behind the end: no client library writes that
        return None


def signature_of_fields(fields: Mapping[bytes, bytes | CutMessage]) -> str | None:
    """Find the signature among the fields of a stream entry."""
    raw = fields.get(_FIELD)
    return None if raw is None else beside_text(raw.head if isinstance(raw, CutMessage) else raw)


def beside_text(raw: bytes) -> str:
    """Read what stands where a text should; what is none becomes a text that is no signature and no name either."""
    return raw[:_CHARACTERS_MAX].decode("ascii", "replace")


def header_table(headers: Mapping[str, str]) -> bytes:
    """Write the header table of a message."""
    entries = b""
    for name, text in headers.items():
        value = text.encode()
        entries += bytes((len(name),)) + name.encode() + b"S" + _LONG.pack(len(value)) + value
    return _LONG.pack(len(entries)) + entries


def _found(payload: bytes, wanted: bytes) -> str | None:
    flags = int.from_bytes(payload[_PROPERTIES_AT : _PROPERTIES_AT + 2], "big")
    at = _PROPERTIES_AT + 2
    for has_text in (_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING):
        if flags & has_text:
            at += 1 + payload[at]
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
            return beside_text(payload[at : at + size]) if kind in _TEXTS else ""
        at += size
    return None
