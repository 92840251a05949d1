"""What every broker offers: the intake's source, the publishers of both sides, and the tail.

None of these objects may be shared by threads or taken through a fork. After a `BrokerUnavailableError` close the
object and open a new one: what was received and not acknowledged comes again, what was not confirmed is to be
published again.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from core.messages.inbound.reading import CutMessage
from core.messages.inbound.replies import ReplyAddress
from core.messages.outbound.replies import Reply
from core.messages.trace_context import TraceContext

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class Delivery(NamedTuple):
    """One queue message: its bytes as the shop sent them, and the token that `acknowledge` needs."""

    raw: bytes | CutMessage
    token: Any
    signature: str | None = None  #: that came beside the bytes, whatever it is worth
    reply: ReplyAddress | None = None  #: where the sender wants an answer, allowed or not
    trace: TraceContext | None = None  #: that came beside the bytes


class IntakeQueue(NamedTuple):
    """What waits for intake, as far as its broker tells."""

    waiting: int  #: messages that are not stored; on RabbitMQ without those that are under way to an intake
    intakes: int  #: that take messages from it; on streams those that have asked for some within a minute
    is_closed: bool = False  #: it takes no more messages from anybody, ever: a stream whose last id is used


class IntakeSource(Protocol):
    """Where a shop's messages come from. Delivers at least once; a repeat is for the inbox to find."""

    def receive(self, *, messages_max: int, wait_seconds: float) -> list[Delivery]:
        """Wait up to `wait_seconds` for a first message, then take what is there at once; [] when there is none.

        A batch holds BATCH_BYTES_MAX at most, or one message; of one that is larger only its head is held. No broker
        bounds by bytes what is under way: choose `messages_max` so that this many of the last messages are not more.
        """
        ...

    def acknowledge(self, received: Sequence[Delivery]) -> None:
        """Let the broker forget these messages. Only after the COMMIT that stored them."""
        ...

    def heartbeat(self) -> None:
        """Keep the connection alive while nothing is received: call at least every 3 seconds."""
        ...

    def close(self) -> None:
        """Give everything unacknowledged back. Never raises; closing again does nothing."""
        ...


class EventPublisher(Protocol):
    """How the relay sends our events."""

    def publish(
        self,
        events: Sequence[tuple[str, str]],
        replies: Sequence[Reply] = (),
        traces: Sequence[TraceContext | None] = (),
    ) -> None:
        """Send (event type, JSON text) pairs in order; return when the broker has confirmed all of them.

        `traces`, if there are any, has what is written beside each event.

        `replies` are those of them that go to who asked too. One whose queue is gone, or takes nothing, is dropped: it
        is no reason for an error, and is among the events.

        `EventNotConfirmedError` and `BrokerUnavailableError` leave it open which ones arrived: publish all again, in
        the same order. A consumer may then see event 7 before event 6; the sequence in the event shows it.
        """
        ...

    def close(self) -> None:
        """Close the connection. Never raises; closing again does nothing."""
        ...


class ShopPublisher(Protocol):
    """What a shop does; for the demo, tests and benchmarks."""

    def publish(self, messages: Sequence[tuple[str, bytes]], *, sign: Callable[[bytes], str] | None = None) -> None:
        """Send (routing key = event type, body) pairs; return when the broker has confirmed all of them.

        `sign` gives the signature of a body. `BrokerUnavailableError` when the broker did not confirm, also when no
        queue takes a message.
        """
        ...

    def close(self) -> None:
        """Close the connection. Never raises; closing again does nothing."""
        ...


class EventTail(Protocol):
    """A look at our events as they pass, for a person.

    Not durable: a consumer that must miss nothing needs its own durable queue (RabbitMQ) or its own consumer group
    (Redis, Valkey), declared before the first event.
    """

    def events(self, *, wait_seconds: float) -> Iterator[bytes]:
        """Yield the JSON of one event after the other; end when none came for `wait_seconds`. Call again to go on."""
        ...

    def close(self) -> None:
        """Close the connection. Never raises; closing again does nothing."""
        ...


def url_without_password(broker_url: str) -> str:
    """Return the URL as logs and messages may show it: no password, no options (one may be a password too)."""
    # ';' parts two brokers of one URL only before a scheme; elsewhere it may stand in a password.
    parts = re.split(r";(?=\w+://)", broker_url)
    return ";".join(_without_password(part) for part in parts)


def wrong_option_text(url: str, error: Exception) -> str:
    """Word an option that a client does not take, unless it may be the rest of a password that is not encoded."""
    if "@" in url.partition("?")[2]:
        return "its URL cannot be read (special characters in the password must be percent-encoded)"
    return f"its URL has a wrong option or value: {error}"


def url_scheme(url: str) -> str:
    """Return the scheme of a URL; "" for what has none, as `user:password@host`, which must not be shown."""
    match = _SCHEME.match(url)
    return match[1] if match else ""


def _without_password(url: str) -> str:
    scheme = url_scheme(url)
    separator = "://" if scheme else ""
    rest = url[len(scheme + separator) :]
    # The last @ ends the user's part: a password that is not percent-encoded may hold @, / or ? itself.
    user, at, place = rest.rpartition("@")
    place = place.split("?", 1)[0].split("#", 1)[0]
    return f"{scheme}{separator}{user.split(':', 1)[0]}{at}{place}"
