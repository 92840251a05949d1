"""Publishing to the loyalty worker, and asking it."""

from types import TracebackType
from typing import Self
from uuid import NAMESPACE_URL, uuid5

from loyalty_client.envelope import Command, SentMessage
from loyalty_client.errors import NoAnswerError, UnreadableEventError
from loyalty_client.events import CommandAccepted, CommandRejected
from loyalty_client.rabbitmq_link import AmqpLink
from loyalty_client.received import read_event
from loyalty_client.redis_link import StreamLink
from loyalty_client.signing import SigningKey
from loyalty_client.tracing import with_trace
from loyalty_client.wire import REPLY_PREFIX, Link, Outgoing, is_amqp

Answer = CommandAccepted | CommandRejected


class LoyaltyClient:
    """A shop's connection to the loyalty worker: of one thread, and made after a fork.

    `broker_url` is as the worker's LOYALTY_BROKER_URL, with an account of the shop's own and with the same options of
    TLS. It connects with the first call, and again when a connection has ended.
    """

    def __init__(
        self,
        broker_url: str,
        *,
        signing_key: SigningKey | None = None,
        seconds_max: float = 10.0,
        reply_prefix: str = REPLY_PREFIX,
    ) -> None:
        """`seconds_max` is how long the broker may take to connect and to confirm.

        BrokerUrlError or UnsupportedBrokerError where the URL is wrong.
        """
        self._signing_key = signing_key
        self._link: Link
        if is_amqp(broker_url):
            self._link = AmqpLink(broker_url, seconds_max)
        else:
            self._link = StreamLink(broker_url, seconds_max, reply_prefix)

    def publish(self, *messages: SentMessage) -> None:
        """Publish, and return when the broker has confirmed all of it.

        NotPublishedError where it has not: publish the same again, since what comes twice is counted once.
        """
        self._link.publish([self._outgoing(message) for message in messages])

    def ask(self, command: Command, *, seconds_max: float = 10.0) -> Answer:
        """Publish a command and wait for its answer.

        A command that is not done is answered too, by CommandRejected, whose data say why and what to do.
        NotPublishedError, NoAnswerError or BrokerAwayError where nothing is known: ask again with the same object, or
        one of the same id, time and content. The command is done once, and answered as it was the first time.
        """
        # The same for the same command: the answer to the first time that it was asked will do.
        asked = str(uuid5(NAMESPACE_URL, f"{command.source} {command.id}"))
        body = self._link.ask(self._outgoing(command), asked, seconds_max)
        if body is None:
            raise NoAnswerError(command_id=command.id, seconds_max=seconds_max)
        answer = read_event(body)
        if not isinstance(answer, CommandAccepted | CommandRejected):
            raise UnreadableEventError(reason=f"{answer.type} is not an answer")
        return answer

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _outgoing(self, message: SentMessage) -> Outgoing:
        body = with_trace(message).to_json().encode()
        return Outgoing(message.type, body, self._signing_key.signature(body) if self._signing_key else None)
