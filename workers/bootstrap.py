"""Builds what the rest is given: settings, addresses, engine, runtime. The only reader of the environment."""

import gc
import logging
import sys
from typing import NamedTuple

import structlog
from celery import Celery
from sqlalchemy import Engine
from uuid6 import uuid7

from config.schedule import NUDGE_SECONDS_MAX
from config.settings import Settings
from core.errors import DatabaseUrlError, NoServersError, UnsupportedBrokerError
from core.messages.inbound import MessageLimits
from core.posting.batch import Poster
from core.store.engine import create_database_engine, normalized_url
from tasks.registry import queue_of
from tasks.runtime import Runtime
from workers.brokers import BROKER_SCHEMES, open_event_publisher
from workers.embedded import read_addresses


class Addresses(NamedTuple):
    """Where the servers are."""

    database_url: str
    broker_url: str


def find_addresses(settings: Settings) -> Addresses:
    """The servers that the settings name, else the embedded ones that run in the data folder.

    Raises NoServersError when there are neither.
    """
    database_url = settings.database_url.get_secret_value() if settings.database_url else None
    broker_url = settings.broker_url.get_secret_value() if settings.broker_url else None
    if database_url is None or broker_url is None:
        embedded = read_addresses(settings.data_dir)
        database_url = database_url or (embedded.database_url if embedded else None)
        broker_url = broker_url or (embedded.broker_url if embedded else None)
    if database_url is None or broker_url is None:
        raise NoServersError
    return checked_addresses(database_url, broker_url)


def checked_addresses(database_url: str, broker_url: str) -> Addresses:
    """Refuse what can never work before any process is started with it: DatabaseUrlError, UnsupportedBrokerError."""
    if not normalized_url(database_url).startswith("postgresql+psycopg://"):
        raise DatabaseUrlError
    scheme = broker_url.partition("://")[0]
    if scheme not in BROKER_SCHEMES:
        raise UnsupportedBrokerError(scheme=scheme)
    return Addresses(database_url, broker_url)


def open_engine(settings: Settings, *, application_name: str = "loyalty") -> Engine:
    """An engine on the database of these settings."""
    return create_database_engine(find_addresses(settings).database_url, application_name=application_name)


def message_limits(settings: Settings) -> MessageLimits:
    """What intake takes."""
    return MessageLimits(settings.message_bytes_max, settings.array_events_max, settings.clock_skew_seconds_max)


def build_runtime(settings: Settings, app: Celery) -> Runtime:
    """What tasks are given. Opens nothing yet: connections are made at first use, after the fork."""
    addresses = find_addresses(settings)
    engine = create_database_engine(addresses.database_url, application_name="loyalty-worker")

    def nudge(task: str, shard: int) -> None:
        send_nudge(app, task, shard)

    return Runtime(
        engine=engine,
        poster=Poster(engine, event_source=settings.event_source, new_account_id=uuid7),
        open_publisher=lambda: open_event_publisher(addresses.broker_url),
        nudge=nudge,
        event_source=settings.event_source,
        limits=message_limits(settings),
        shards=settings.shards,
        posting_batch_messages=settings.posting_batch_messages,
        relay_batch_events=settings.relay_batch_events,
        upkeep_batch_rows=settings.upkeep_batch_rows,
        waiting_days_max=settings.waiting_days_max,
    )


def collect_garbage_seldom() -> None:
    """Make Python's collector look for cycles a hundred times less often.

    A batch builds tens of thousands of tuples, all of which end with it and none of which are cycles: looking through
    them at every 700th costs a tenth of posting. Children are recycled by memory, should anything ever gather.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(70_000, 20, 20)


def send_nudge(app: Celery, task: str, shard: int) -> bool:
    """Ask for a run of `task` on `shard`. False if the broker did not take it: the sweep finds what was left."""
    try:
        app.send_task(
            task, args=(shard,), queue=queue_of(task), expires=NUDGE_SECONDS_MAX, ignore_result=True, retry=False
        )
    except Exception as error:  # noqa: BLE001  # whatever the broker client raises, a nudge is only a hint
        log = structlog.get_logger(__name__)
        log.warning("nudge_lost", action="nudge_lost", task=task, shard=shard, error=type(error).__name__)
        return False
    return True


def set_up_logging(settings: Settings) -> None:
    """Log to standard error, one line per record, with stable `action` names."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
