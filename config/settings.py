"""Settings from environment variables with the prefix LOYALTY_ (and `.env`), read once per process by `workers`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that can be set. Each field is the variable LOYALTY_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix="LOYALTY_", env_file=".env", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    database_url: SecretStr | None = None
    """PostgreSQL 15 to 18: `postgresql://user:password@host/database`. Unset: the embedded server."""
    broker_url: SecretStr | None = None
    """RabbitMQ (`amqp://`, `amqps://`) or Redis/Valkey (`redis://`, `rediss://`). Unset: the embedded Valkey."""
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
    """How long intake waits for a first message before it looks after other things."""
    intake_idle_claim_seconds: Annotated[float, Field(gt=0)] = 30
    """On streams: after how long a silent consumer's messages are taken over."""
    message_bytes_max: Annotated[int, Field(ge=1_000)] = 1_048_576
    """A larger message is parked unread."""
    array_events_max: Annotated[int, Field(ge=1)] = 1_000
    """Events in one array message."""
    clock_skew_seconds_max: Annotated[int, Field(ge=0)] = 86_400
    """How far ahead of our clock an event's time may be."""

    posting_batch_messages: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Inbox rows that are posted in one transaction."""
    relay_batch_events: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Events that are published before they are marked."""
    upkeep_batch_rows: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Lots or accounts that expiry and tier review change in one transaction."""
    nudge_interval_seconds: Annotated[float, Field(gt=0, le=10)] = 0.2
    """Intake wakes the same shard at most this often; what comes between is taken along by the next batch."""
    waiting_days_max: Annotated[int, Field(ge=1)] = 30
    """How long a refund waits for its order before it is parked."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object per line, or text for people."""
