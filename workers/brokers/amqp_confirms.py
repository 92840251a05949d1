"""Publishing to RabbitMQ with many confirms in flight."""

from collections.abc import Sequence
from typing import Any, Final

from core.errors import EventNotConfirmedError
from workers.brokers.amqp_frames import Outgoing
from workers.brokers.amqp_link import AmqpLink

IN_FLIGHT_MESSAGES_MAX: Final = 1000
_CONFIRM_SECONDS: Final = 8.0


class ConfirmedChannel:
    """Publishes with many confirms in flight and counts what the broker did not take."""

    def __init__(self, link: AmqpLink, *, confirm_seconds: float = _CONFIRM_SECONDS) -> None:
        """After `confirm_seconds` without a sign of the broker the link is given up."""
        self._link = link
        self._confirm_seconds = confirm_seconds
        self._published = 0  # the broker numbers the messages of a channel from 1, and so do we
        self._confirmed_up_to = 0
        self._unconfirmed: set[int] = set()
        self._refused = 0
        self._unroutable: list[str] = []
        with link.errors():
            link.channel.confirm_select()
        link.channel.events["basic_ack"].add(self._on_ack)
        link.channel.events["basic_nack"].add(self._on_nack)
        link.channel.events["basic_return"].add(self._on_return)

    def publish(self, exchange: str, messages: Sequence[Outgoing], *, mandatory: bool) -> None:
        """Send all; `EventNotConfirmedError` when not all were confirmed and, if `mandatory`, routed to a queue.

        Not more than a window is in flight, and nothing follows a window that failed.
        """
        confirmed = 0
        while confirmed < len(messages):
            window = messages[confirmed : confirmed + IN_FLIGHT_MESSAGES_MAX]
            self._send(exchange, window, mandatory=mandatory)
            self._check(len(messages) - confirmed)
            confirmed += len(window)

    def offer(self, exchange: str, window: Sequence[Outgoing]) -> int:
        """Send so many as may be in flight; how many of them a queue has refused.

        `EventNotConfirmedError` when the broker has not said of all of them that it is done with them.
        """
        self._send(exchange, window, mandatory=False)
        self._check_answered(len(window))
        return self._refused

    def _send(self, exchange: str, window: Sequence[Outgoing], *, mandatory: bool) -> None:
        self._refused = 0
        self._unroutable.clear()
        with self._link.errors():
            self._unconfirmed.update(range(self._published + 1, self._published + len(window) + 1))
            self._published += len(window)
            self._link.publish(exchange, window, mandatory=mandatory)
            while self._unconfirmed and self._link.drain(self._confirm_seconds):
                pass

    def _check(self, open_messages: int) -> None:
        self._check_answered(open_messages)
        if self._refused:
            raise EventNotConfirmedError(count=self._refused, reason="a queue refused them (is it full?)")
        if self._unroutable:
            reason = f"no queue takes the routing key {self._unroutable[0]}"
            raise EventNotConfirmedError(count=len(self._unroutable), reason=reason)

    def _check_answered(self, open_messages: int) -> None:
        if self._unconfirmed:
            self._link.abandon()  # confirms that come later would be counted for other messages
            reason = (
                "the broker has blocked publishers (its memory or disk alarm)"
                if self._link.blocked
                else f"nothing came for {self._confirm_seconds:g} seconds"
            )
            raise EventNotConfirmedError(count=open_messages, reason=reason)

    def _on_ack(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._unconfirmed.difference_update(range(self._confirmed_up_to + 1, tag + 1))
            self._confirmed_up_to = tag
        else:
            self._unconfirmed.discard(tag)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        before = len(self._unconfirmed)
        self._on_ack(tag, multiple)
        self._refused += before - len(self._unconfirmed)

    def _on_return(self, _error: Exception, _exchange: str, routing_key: str, _message: Any) -> None:
        self._unroutable.append(routing_key)
