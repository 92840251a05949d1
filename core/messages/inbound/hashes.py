"""Hashes of what a message says, by which a repeat is told from a conflict, also of what an earlier release stored.

A hash is over the fields of `data` that the release knows, in their settled form. A field that a later release learns
was ignored before, so the same message had another hash then: that of its data without the field. The hash of a message
that lacks the field stays what it was. So whoever compares a hash with a stored one takes those of the older forms too.
The price: a message that adds nothing but such a field to an earlier one counts as its repeat.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic_core import to_json

#: The fields that releases after the first have added to `data`, one group for each such release, oldest first. A group
#: is never changed once it is released, and a new field of a type that is listed here always opens or joins one.
LATER_FIELDS: dict[str, tuple[frozenset[str], ...]] = {"order.completed": (frozenset({"customer_tags"}),)}

OlderHashes = tuple[bytes, ...]  #: under which an earlier release may have stored the same message, newest first


class Hashes(NamedTuple):
    """What one message is known by."""

    content: bytes  #: of type, time and data
    business: bytes  #: of data alone
    older_content: OlderHashes
    older_business: OlderHashes


def message_hashes(event_type: str, time: datetime, data: Mapping[str, Any]) -> Hashes:
    """Hash a settled message; `time` is in UTC."""
    rest = f"\n{event_type}\n{time.isoformat()}".encode()
    content, business = _hashed(data, rest)
    older = [_hashed(form, rest) for form in _older_forms(event_type, data)]
    return Hashes(content, business, tuple(pair[0] for pair in older), tuple(pair[1] for pair in older))


def _hashed(data: Mapping[str, Any], rest: bytes) -> tuple[bytes, bytes]:
    business = sha256(to_json(data))
    content = business.copy()
    content.update(rest)
    return content.digest(), business.digest()


def _older_forms(event_type: str, data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The data as each release before this one knew it, as far as that is something else."""
    for fields in reversed(LATER_FIELDS.get(event_type, ())):
        if not fields.isdisjoint(data):
            data = {name: value for name, value in data.items() if name not in fields}
            yield data
