"""The trace that a message belongs to, as W3C Trace Context writes it; CloudEvents has attributes of the same names.

It is a label that travels with a message and decides nothing. So nothing that stands in it is an error: what is not as
W3C wants it is left out.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

#: More of a tracestate is not even looked at.
TRACESTATE_READ_MAX: Final = 8_192
#: As much as everybody who passes one on must be able to carry.
TRACESTATE_KEPT_MAX: Final = 512
_MEMBERS_MAX: Final = 32
_LONG_MEMBER: Final = 128

_VERSION_0: Final = "00"
#: A later version may add something at the end; what is before it means the same.
_TRACEPARENT: Final = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<ids>[0-9a-f]{32}-[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_IMPOSSIBLE_VERSION: Final = "ff"
_SAMPLED: Final = 1
#: Of the flags of a later version these are known: that it is sampled, and that its id is random.
_KNOWN_FLAGS: Final = 0b11
_KEY: Final = r"[a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_MEMBER: Final = re.compile(rf"(?P<key>{_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")


class TraceContext(NamedTuple):
    """One span of a trace: that of whoever sent the message."""

    traceparent: str  #: of version 00, 55 characters
    tracestate: str | None = None  #: what tracing systems say to themselves; at most TRACESTATE_KEPT_MAX characters

    @property
    def trace_id(self) -> str:
        """Which trace it is: 32 hexadecimal digits."""
        return self.traceparent[3:35]

    @property
    def span_id(self) -> str:
        """Which span of it: 16 hexadecimal digits."""
        return self.traceparent[36:52]

    @property
    def is_sampled(self) -> bool:
        """Whether its sender records the trace."""
        return bool(int(self.traceparent[53:], 16) & _SAMPLED)


def log_fields(trace: TraceContext | None) -> dict[str, str]:
    """What a line of the log says of the trace of the one message that it is about."""
    return {} if trace is None else {"trace_id": trace.trace_id}


def trace_context(traceparent: object, tracestate: object = None) -> TraceContext | None:
    """Read what stands where a trace context should; None where that is none.

    A tracestate without a traceparent means nothing. One that is wrong is left out, and of one that is too long the
    members that W3C gives up first.
    """
    if not isinstance(traceparent, str) or (found := _TRACEPARENT.fullmatch(traceparent)) is None:
        return None
    version, ids, flags = found["version"], found["ids"], found["flags"]
    if version == _IMPOSSIBLE_VERSION or ids.startswith(_NO_TRACE) or ids.endswith(_NO_SPAN):
        return None
    if version == _VERSION_0:
        return None if found["more"] else TraceContext(traceparent, _tracestate(tracestate))
    return TraceContext(f"{_VERSION_0}-{ids}-{int(flags, 16) & _KNOWN_FLAGS:02x}", _tracestate(tracestate))


def _tracestate(text: object) -> str | None:
    if not isinstance(text, str) or not text or len(text) > TRACESTATE_READ_MAX:
        return None
    members = [member for each in text.split(",") if (member := each.strip(" \t"))]
    keys = {found["key"] for found in map(_MEMBER.fullmatch, members) if found is not None}
    if not members or len(keys) != len(members) or len(members) > _MEMBERS_MAX:
        return None
    return ",".join(_fitting(members)) or None


def _fitting(members: list[str]) -> Iterable[str]:
    """Without members, each whole, until the rest fits: first the long ones, then the last, which are the oldest."""
    for number in (n for n in range(len(members) - 1, -1, -1) if len(members[n]) > _LONG_MEMBER):
        if _length(members) <= TRACESTATE_KEPT_MAX:
            break
        del members[number]
    while _length(members) > TRACESTATE_KEPT_MAX:
        members.pop()
    return members


def _length(members: list[str]) -> int:
    return sum(map(len, members)) + len(members) - 1
