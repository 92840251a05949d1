"""Replies of Redis and Valkey of which no more is kept than fits into memory.

A read of a stream is bounded by entries alone, and its reply is one value to redis-py. So what stands behind the first
BATCH_BYTES_MAX of a reply is cut as it comes in; whoever reads leaves such entries pending, and reads them again.
"""

from typing import Any, Final

from redis._parsers import _RESP2Parser
from redis._parsers.socket import SocketBuffer
from redis.utils import SENTINEL

from core.messages.inbound.reading import HEAD_BYTES, CutMessage
from workers.brokers.large_messages import BATCH_BYTES_MAX, Collected

#: Ids and names of fields are read whole behind what is cut, too: a million of them before that ends.
_SMALL_BYTES: Final = 64
_SMALL_BYTES_MAX: Final = 1_000_000 * _SMALL_BYTES
_PIECE_BYTES: Final = 65_536
#: Heads are for the first entry of a reply; the others will be read again.
_HEADS_BYTES_MAX: Final = 16 * HEAD_BYTES


class CuttingParser(_RESP2Parser):
    """redis-py's own parser, over a buffer that cuts long values: to be named as a connection's `parser_class`."""

    def on_connect(self, connection: Any) -> None:
        """Begin with a connection's socket."""
        super().on_connect(connection)  # type: ignore[no-untyped-call]
        self._buffer = _CuttingBuffer(self._sock, self.socket_read_size, connection.socket_timeout)


class _CuttingBuffer(SocketBuffer):
    """Gives a value that does not fit as a `CutMessage`, whatever its length, and keeps none of its bytes."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._begin()

    def purge(self) -> None:
        """Forget a reply that has been read."""
        super().purge()
        self._begin()

    def _begin(self) -> None:
        self._left_bytes, self._left_small_bytes = BATCH_BYTES_MAX, _SMALL_BYTES_MAX
        self._left_head_bytes = _HEADS_BYTES_MAX

    def read(self, length: int, timeout: float | object = SENTINEL) -> Any:
        """Read a value: bytes, or a `CutMessage`."""
        if length <= self._left_bytes:
            self._left_bytes -= length
            return super().read(length, timeout)
        if length <= min(_SMALL_BYTES, self._left_small_bytes):
            self._left_small_bytes -= length
            return super().read(length, timeout)
        self._left_bytes = 0
        return self._cut(length, timeout)

    def _cut(self, length: int, timeout: float | object) -> CutMessage:
        value = Collected(length, kept_bytes_max=-1, head_bytes=min(HEAD_BYTES, self._left_head_bytes))
        left = length
        while left:
            piece = self._buffer.read(min(left, _PIECE_BYTES))
            if piece:
                value.add(piece)
                left -= len(piece)
            else:
                super().purge()  # all was read: what the buffer holds is let go
                self._read_from_socket(timeout=timeout)
        super().read(0, timeout)  # the line's end
        cut = value.message()
        assert isinstance(cut, CutMessage)
        self._left_head_bytes -= len(cut.head)
        return cut
