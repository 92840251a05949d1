"""Signatures of sources that must sign: HMAC-SHA256 over the exact bytes of a message."""

import hashlib
import hmac
from typing import NamedTuple


class SigningKey(NamedTuple):
    """A key as the worker's file of sources lists it."""

    key_id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r})"

    def signature(self, raw: bytes) -> str:
        """What goes beside the message."""
        return f"{self.key_id}={hmac.new(self.secret, raw, hashlib.sha256).hexdigest()}"
