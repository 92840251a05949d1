"""The hashes of chain and seals: HMAC-SHA256 over JSON arrays of columns, under one of several keys."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hmac import compare_digest, digest
from typing import Any


def canonical(values: Sequence[Any]) -> bytes:
    """Columns of a row as they are hashed: the same when they are written as when they are read."""
    return json.dumps(values, separators=(",", ":"), sort_keys=True, default=_plain).encode()


def _plain(value: object) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def hash_of(key: bytes, content: bytes, previous: bytes | None = None) -> bytes:
    """The hash of `content`, which follows `previous`."""
    return digest(key, (previous or b"") + content, "sha256")


class KeyRing:
    """The keys under which hashes may have been made. Who asks in the order of time seldom needs to try two."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """At least one key."""
        self._keys = list(keys)

    def fits(self, found: bytes, content: bytes, previous: bytes | None = None) -> bool:
        """Whether any key gives this hash."""
        for place, key in enumerate(self._keys):
            if compare_digest(hash_of(key, content, previous), found):
                self._keys.insert(0, self._keys.pop(place))  # the next has most likely the same
                return True
        return False
