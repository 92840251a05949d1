"""What can go wrong between a shop and the broker. A class's docstring is its message."""

import inspect


class LoyaltyClientError(Exception):
    """Something went wrong with the loyalty worker's broker."""

    def __init__(self, **facts: object) -> None:
        told = {name: fact.rstrip(".") if isinstance(fact, str) else fact for name, fact in facts.items()}
        super().__init__((inspect.getdoc(type(self)) or "").format(**told))


class UnsupportedBrokerError(LoyaltyClientError):
    """A broker's URL begins with amqp://, amqps://, redis:// or rediss://, and not with {scheme}://."""


class BrokerUrlError(LoyaltyClientError):
    """The broker's URL cannot be read: look at its port, its options, and special characters of the password (%XX)."""


class NotPublishedError(LoyaltyClientError):
    """The broker has not confirmed the message: {reason}. Publish the same again: what came twice is counted once."""


class NoAnswerError(LoyaltyClientError):
    """No answer to {command_id} came in {seconds_max:g} s. Ask again with the same command: it is done once."""


class BrokerAwayError(LoyaltyClientError):
    """The broker cannot be reached, or has ended the connection: {reason}."""


class UnreadableEventError(LoyaltyClientError):
    """It is not an event that this release of the client can read: {reason}."""
