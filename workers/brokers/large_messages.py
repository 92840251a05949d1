"""What is held of what a broker hands over: of a message that is too large its head, its length and its hash.

A shop, or anybody who can publish, decides how large messages are, up to the broker's own limit; so whoever collects
one here lets the rest of it go as it comes in.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from core.messages.inbound.reading import HEAD_BYTES, MESSAGE_BYTES_KEPT_MAX, CutMessage

#: What a batch may hold; a message that alone is more is a batch of its own.
BATCH_BYTES_MAX: Final = MESSAGE_BYTES_KEPT_MAX


class Collected:
    """A message whose pieces come one after the other."""

    def __init__(
        self, size_bytes: int, *, kept_bytes_max: int = MESSAGE_BYTES_KEPT_MAX, head_bytes: int = HEAD_BYTES
    ) -> None:
        """Of more than `kept_bytes_max` only `head_bytes` are kept."""
        self._size_bytes = size_bytes
        self._is_kept = size_bytes <= kept_bytes_max
        self._left_bytes = size_bytes if self._is_kept else head_bytes
        self._pieces: list[bytes] = []
        self._hash = sha256()

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        if not self._is_kept:
            self._hash.update(piece)
            piece = piece[: self._left_bytes]
            self._left_bytes -= len(piece)
        if piece:
            self._pieces.append(piece)

    def message(self) -> bytes | CutMessage:
        """Give what is kept, when all has come."""
        whole = b"".join(self._pieces)
        return whole if self._is_kept else CutMessage(whole, self._size_bytes, self._hash.digest())


def kept(raw: bytes) -> bytes | CutMessage:
    """Cut what is here already, if it is too large to be held."""
    whole = Collected(len(raw))
    whole.add(raw)
    return whole.message()


def held_bytes(raw: bytes | CutMessage) -> int:
    """How much memory it takes."""
    return len(raw.head if isinstance(raw, CutMessage) else raw)


def sent_bytes(raw: bytes | CutMessage) -> int:
    """How large it was."""
    return raw.size_bytes if isinstance(raw, CutMessage) else len(raw)


def fitting(sizes_bytes: Sequence[int], bytes_max: int = BATCH_BYTES_MAX) -> int:
    """How many of these, from the first on, are held together; at least one, if there is one."""
    left_bytes = bytes_max
    for place, size_bytes in enumerate(sizes_bytes):
        left_bytes -= size_bytes
        if left_bytes < 0:
            return max(1, place)
    return len(sizes_bytes)
