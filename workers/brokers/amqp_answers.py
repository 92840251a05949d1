"""Answers to who asked, on RabbitMQ: to the queue whose name came with the message.

Over a connection of their own: RabbitMQ ends the connection of whoever publishes to a direct reply-to of a node that is
gone, or to a forged one, and what strangers write must not hold our events up.
"""

from collections.abc import Sequence
from itertools import chain
from time import monotonic
from typing import Final

import amqp
import structlog

from core.errors import BrokerUnavailableError, EventNotConfirmedError
from core.messages.outbound.replies import Reply
from workers.brokers.amqp_confirms import IN_FLIGHT_MESSAGES_MAX, ConfirmedChannel
from workers.brokers.amqp_frames import Outgoing, message_properties
from workers.brokers.amqp_link import AmqpLink
from workers.brokers.headers import trace_headers

#: Content type and encoding of an event.
EVENT_CONTENT: Final = ("application/cloudevents+json", "utf-8")
_DEFAULT_EXCHANGE: Final = ""  # leads to the queue with the name of the routing key
#: How long the broker may be silent about answers. It speaks within some milliseconds, unless it is blocked, or a queue
#: has lost its nodes.
_CONFIRM_SECONDS: Final = 1.0
#: How long answers are tried again, one by one, where one of them has ended the connection; the rest is dropped.
_TRYING_SECONDS: Final = 2.0
_FULL: Final = "a queue refused it (is it full?)"

log = structlog.get_logger(__name__)


class AmqpAnswers:
    """Sends answers as far as they can be sent. What cannot is logged and dropped: it is among the events."""

    def __init__(self, broker_url: str) -> None:
        """Connects to nothing yet: most who send ask for nothing."""
        self._broker_url = broker_url
        self._link: AmqpLink | None = None
        self._is_permitted = True

    def send(self, replies: Sequence[Reply]) -> None:
        """Send all. Never raises for what the broker does; some may arrive twice."""
        messages = [_answer(reply) for reply in replies] if self._is_permitted else []
        problems: list[str] = []
        until = monotonic() + _TRYING_SECONDS
        for start in range(0, len(messages), IN_FLIGHT_MESSAGES_MAX):
            problems += self._send_window(messages[start : start + IN_FLIGHT_MESSAGES_MAX], until)
        if problems:
            log.warning("replies_refused", action="replies_refused", replies=len(problems), errors=sorted({*problems}))

    def close(self) -> None:
        """Close the connection. Never raises; closing again does nothing."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _send_window(self, window: Sequence[Outgoing], until: float) -> list[str]:
        """Send so many as may be in flight; a text for each that is not sent."""
        is_used = self._link is not None
        try:
            return [_FULL] * self._offer(window)
        except (BrokerUnavailableError, EventNotConfirmedError) as error:
            is_connected = self._link is not None
            self.close()
            # Until the relay connects anew: by then it may have been given the right.
            self._is_permitted = not isinstance(error.__cause__, amqp.AccessRefused)
            problem = str(error.data["reason"])
        if not (is_connected and self._is_permitted):
            return [problem] * len(window)
        if is_used:  # it may have ended long before
            return self._send_window(window, until)
        if len(window) == 1:
            return [problem]
        # One of them has done that to all.
        alone = (self._send_window([message], until) if monotonic() < until else [problem] for message in window)
        return list(chain.from_iterable(alone))

    def _offer(self, window: Sequence[Outgoing]) -> int:
        if self._link is None:
            self._link = AmqpLink(self._broker_url, purpose="answers")
            self._channel = ConfirmedChannel(self._link, confirm_seconds=_CONFIRM_SECONDS)
        return self._channel.offer(_DEFAULT_EXCHANGE, window)


def _answer(reply: Reply) -> Outgoing:
    headers = trace_headers(reply.trace)
    properties = message_properties(*EVENT_CONTENT, headers=headers, correlation_id=reply.correlation_id)
    return reply.reply_to, reply.text.encode(), properties
