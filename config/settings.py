"""Settings from environment variables with the prefix LOYALTY_ (and `.env`), read once per process by `workers`."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict

from core.messages.inbound.near_names import near_match
from core.messages.inbound.replies import REPLY_PREFIX

#: In the order of their ports.
ROLE_NAMES = ("intake", "worker", "beat")
CHAIN_KEY_CHARACTERS_MIN = 32
REFERENCE_SALT_CHARACTERS_MIN = 32
#: What intake holds of one message at most (core.messages.inbound.reading, which takes long to import).
MESSAGE_BYTES_CEILING = 16 * 1024 * 1024

_PREFIX: Final = "LOYALTY_"
#: What is at the broker besides answers, or what its names begin with (config.queues, workers.brokers.topology, kombu).
OWN_NAMES: Final = (
    "shop.events", "loyalty.events", "loyalty.intake", "loyalty.submit", "loyalty.fresh_stream", "loyalty.posting",
    "loyalty.relay", "loyalty.periodic", "loyalty.tasks", "_kombu.", "unacked", "celery",
)  # fmt: skip
#: What is not a setting and has the prefix all the same: of one process alone, and those of our own tests.
_OTHER_VARIABLES: Final = frozenset({"LOYALTY_INTAKE_NAME", "LOYALTY_HEARTBEAT_FILE", "LOYALTY_ROLE_RESTARTS"})
_OF_TESTS: Final = "LOYALTY_TEST_"


class Settings(BaseSettings):
    """Everything that can be set. Each field is the variable LOYALTY_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix="LOYALTY_", env_file=".env", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    database_url: SecretStr | None = None
    """PostgreSQL 15 to 18, encoded in UTF8: `postgresql://user:password@host/database`. Unset: the embedded server."""
    broker_url: SecretStr | None = None
    """RabbitMQ (`amqp://`, `amqps://`) or Redis/Valkey (`redis://`, `rediss://`). Unset: the embedded Valkey."""
    declare: bool = True
    """Whether our roles declare their exchanges, queues and bindings at RabbitMQ. With false they need no right to
    configure anything: an administrator runs `loyalty broker declare` instead."""
    data_dir: Path = Path(".loyalty")
    """Folder of the embedded servers' data, kept between runs."""
    event_source: str = "/loyalty"
    """CloudEvents `source` of the events that we publish."""

    shards: Annotated[int, Field(ge=1, le=1024)] = 16
    """Message shards: how many workers can post at once. May be changed at any time."""
    worker_processes: Annotated[int, Field(ge=1, le=64)] = 2
    """Celery child processes of one worker."""

    intake_batch_messages: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Broker messages that intake stores with one statement."""
    intake_wait_seconds: Annotated[float, Field(gt=0, le=5)] = 0.05
    """How long intake waits for a message before it wakes shards that still sleep; half a second if none does."""
    intake_idle_claim_seconds: Annotated[float, Field(gt=0)] = 30
    """On streams: after how long a silent consumer's messages are taken over."""
    message_bytes_max: Annotated[int, Field(ge=1_000, le=MESSAGE_BYTES_CEILING)] = 1_048_576
    """A larger message is parked unread."""
    array_events_max: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Events in one array message."""
    clock_skew_seconds_max: Annotated[int, Field(ge=0)] = 86_400
    """How far ahead of our clock an event's time may be."""
    sources_file: Path | None = None
    """YAML file of the sources that may send, command or must sign; read when a process starts. Unset: anybody may send
    what happened, and nobody may command."""
    reply_prefix: Annotated[str, Field(min_length=1, max_length=100)] = REPLY_PREFIX
    """What names of queues and streams must begin with for senders to have answers sent there, besides names that
    RabbitMQ gives. No queue or stream of ours may begin with it."""

    posting_batch_messages: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Inbox rows that are posted in one transaction."""
    relay_batch_events: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Events that are published before they are marked."""
    upkeep_batch_rows: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Rows that expiry, tier review and purging change in one transaction."""
    nudge_interval_seconds: Annotated[float, Field(gt=0, le=10)] = 0.2
    """In a flood intake wakes the same shard at most this often; what comes between is taken along by the next batch.
    While no more than 50 messages wait to be woken for, it does so at once, a hundred times a second at most."""
    waiting_days_max: Annotated[int, Field(ge=1)] = 30
    """How long a message about an order, such as a refund, waits for it (an undone refund: for its refund) before it is
    parked."""
    waiting_alarm_hours: Annotated[float, Field(gt=0)] = 24
    """One that waits longer for its order is a problem: the log says so each hour, `loyalty status` too."""
    lag_alarm_seconds: Annotated[float, Field(gt=0)] = 60
    """`loyalty status` calls it a problem if no message is stored though some wait at the broker, one is not posted, or
    an event is not published, after so long."""
    dead_alarm_messages: Annotated[int, Field(ge=0)] = 0
    """`loyalty status` calls it a problem if there are more dead letters."""
    inbox_retention_days: Annotated[float, Field(gt=0, le=36_500)] = 90
    """How long posted, replayed and dropped messages are kept. Orders and refunds are known for ever."""
    outbox_retention_days: Annotated[float, Field(gt=0, le=36_500)] = 90
    """How long events are kept after they were written, and so how far back `loyalty events replay` reaches."""
    events_kept_max: Annotated[int | None, Field(ge=1_000)] = None
    """Redis, Valkey: roughly how many events stay in `loyalty.events`, read or unread. Unset: all."""

    task_seconds_max: Annotated[int, Field(ge=5, le=240)] = 60
    """A task that runs longer is killed with its process; its work is rolled back and asked for again."""
    database_statement_seconds_max: Annotated[int, Field(ge=1, le=600)] = 20
    """PostgreSQL cancels a statement that takes longer. A connection that is silent for 5 s more is given up."""
    database_idle_seconds_max: Annotated[int, Field(ge=1, le=600)] = 20
    """PostgreSQL ends a session that does nothing for so long within a transaction, and frees what it locked. A message
    that takes longer to work out is parked."""
    database_lock_seconds_max: Annotated[int, Field(ge=1, le=600)] = 10
    """PostgreSQL cancels a statement that waits longer for a lock. Posting waits 1 s at most, and tries again later."""

    chain_key: SecretStr | None = None
    """Secret of the hash chain over each account's entries, and of the seals of orders and changes by hand, at least 32
    characters; the same for all roles. To change it, put the new one before the old ones, with commas: the first
    writes, all verify. Unset: no chain is kept."""

    reference_salt: SecretStr | None = None
    """Secret of the hashes that are kept in the place of phone numbers, e-mail addresses and erased customers, at least
    32 characters; the same for all roles, and for ever: under another one nothing is found that was linked before, and
    nothing is received once a customer was erased. Unset: no message may name an account so, and nobody is erased."""

    metrics_port: Annotated[int | None, Field(ge=1, le=65_533)] = None
    """Port of intake for metrics and health; the worker's is the next one, beat's the one after. Unset: none opens."""
    metrics_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address at which these ports listen; `0.0.0.0`, or `::`: at all of the host's."""
    celery_events: bool = False
    """Whether Celery's events are sent, by which Flower and exporters of Celery's metrics see tasks and workers."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object per line, or text for people."""

    @field_validator("reply_prefix")
    @classmethod
    def _leads_to_nothing_of_ours(cls, value: str) -> str:
        if any(name.startswith(value) for name in OWN_NAMES):
            raise ValueError("names of our own queues and streams begin with it, and no sender may write there")
        return value

    @field_validator("chain_key")
    @classmethod
    def _keys_are_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and any(
            len(key.strip()) < CHAIN_KEY_CHARACTERS_MIN for key in value.get_secret_value().split(",")
        ):
            raise ValueError(f"each key needs at least {CHAIN_KEY_CHARACTERS_MIN} characters")
        return value

    @field_validator("reference_salt")
    @classmethod
    def _salt_is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().strip()) < REFERENCE_SALT_CHARACTERS_MIN:
            raise ValueError(f"it needs at least {REFERENCE_SALT_CHARACTERS_MIN} characters")
        return value


class UnknownVariable(NamedTuple):
    """A variable with our prefix that nothing reads."""

    name: str
    meant: str | None  #: what it is probably a misspelling of

    def __str__(self) -> str:
        return f"{self.name} is not a setting" + (f"; did you mean {self.meant}?" if self.meant else "")


def unknown_variables(environment: Mapping[str, str], read: Collection[str] = ()) -> list[UnknownVariable]:
    """Name what is misspelt in the environment and in `.env`, in order; `read` are names that somebody reads besides.

    pydantic does not tell of these: an environment is full of names that are not ours.
    """
    known = sorted({*(f"{_PREFIX}{name.upper()}" for name in Settings.model_fields), *_OTHER_VARIABLES})
    of_file = {name.upper(): name.upper() for name in DotEnvSettingsSource(Settings).env_vars}  # which it folds
    given = of_file | {name.upper(): name for name in environment}
    return [
        UnknownVariable(name, near_match(upper, known, cutoff=0.85))
        for upper, name in sorted(given.items())
        if upper.startswith(_PREFIX) and not upper.startswith(_OF_TESTS) and upper not in known and name not in read
    ]
