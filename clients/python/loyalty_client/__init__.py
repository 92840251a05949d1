"""The client of the loyalty worker: typed messages, publishing, asking and consuming, on RabbitMQ, Redis or Valkey."""

from loyalty_client.client import Answer, LoyaltyClient
from loyalty_client.consumer_progress import Gap, Progress, SqlProgress
from loyalty_client.consuming import Applied, Consumer, Held, Outcome, Repeated, Unreadable
from loyalty_client.envelope import Command, Event, Fact
from loyalty_client.errors import (
    BrokerAwayError,
    BrokerUrlError,
    LoyaltyClientError,
    NoAnswerError,
    NotPublishedError,
    UnreadableEventError,
    UnsupportedBrokerError,
)
from loyalty_client.received import read_event
from loyalty_client.signing import SigningKey

__all__ = [
    "Answer",
    "Applied",
    "BrokerAwayError",
    "BrokerUrlError",
    "Command",
    "Consumer",
    "Event",
    "Fact",
    "Gap",
    "Held",
    "LoyaltyClient",
    "LoyaltyClientError",
    "NoAnswerError",
    "NotPublishedError",
    "Outcome",
    "Progress",
    "Repeated",
    "SigningKey",
    "SqlProgress",
    "Unreadable",
    "UnreadableEventError",
    "UnsupportedBrokerError",
    "read_event",
]
