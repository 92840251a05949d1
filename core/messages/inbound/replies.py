"""Where the sender of a message wants the answer to it, besides among our events: a queue or a stream of its own.

Whoever may send could else have us write into the queues of others. So no name is taken that might be somebody else's.
"""

import re
from typing import Final, NamedTuple

#: What names of queues and streams for answers begin with, unless LOYALTY_REPLY_PREFIX says otherwise.
REPLY_PREFIX: Final = "loyalty.replies."
#: What RabbitMQ calls direct reply-to, and queues that were declared without a name.
_NAMED_BY_RABBITMQ: Final = ("amq.rabbitmq.reply-to.", "amq.gen-")
#: As much as AMQP takes of either.
REPLY_BYTES_MAX: Final = 255
_READABLE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]+")


class ReplyAddress(NamedTuple):
    """Where one answer goes."""

    reply_to: str  #: name of a queue (RabbitMQ) or a stream (Redis, Valkey)
    correlation_id: str | None = None  #: goes back with the answer


def allowed_reply(address: ReplyAddress, prefix: str) -> ReplyAddress | None:
    """Return the address as far as it is allowed: without a wrong correlation id; None if its name is not allowed."""
    name, correlation_id = address
    if not name.startswith((prefix, *_NAMED_BY_RABBITMQ)) or not _is_right(name):
        return None
    return address if correlation_id is None or _is_right(correlation_id) else ReplyAddress(name)


def _is_right(text: str) -> bool:
    return _READABLE.fullmatch(text) is not None and len(text.encode()) <= REPLY_BYTES_MAX
