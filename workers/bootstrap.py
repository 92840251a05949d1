"""Builds what the rest is given: settings, addresses, engine, runtime. The only reader of the environment."""

import os
from collections.abc import Callable
from typing import NamedTuple

from celery import Celery
from sqlalchemy import Engine
from uuid6 import uuid7

from config.settings import Settings, UnknownVariable, unknown_variables
from core.errors import BrokerUnavailableError, BrokerUrlError, NoServersError, UnsupportedBrokerError
from core.messages.inbound.reading import MessageLimits
from core.messages.inbound.sources_file import load_sources, secret_variables
from core.posting.batch import BatchBounds, Poster
from core.receiving.executing import Executor
from core.store.engine import SessionLimits, create_database_engine
from tasks.runtime import EventPublisher, Runtime
from tasks.spans import NO_SPANS, Spans
from tasks.watching import UNWATCHED, Watcher
from workers.brokers import BROKER_SCHEMES, check_broker_url, open_event_publisher, url_scheme
from workers.database_address import known_database_url
from workers.metrics.beside import own_watcher
from workers.nudging import QuietNudger
from workers.secrets import reference_salt, writing_key
from workers.servers.folder import read_addresses
from workers.tracing_setup import open_spans
from workers.urls import broker_url_problem

#: How often a task's run fits into its time limit: upkeep takes four runs, and the last batch may take long.
RUNS_PER_TASK_LIMIT = 12
#: How often the time in which a batch is decided fits into the time that a session may idle: the last message of a
#: batch, and what is read and written, come on top.
_DECIDINGS_PER_IDLE_LIMIT = 4


class Addresses(NamedTuple):
    """Where the servers are."""

    database_url: str
    broker_url: str


def known_broker_url(settings: Settings) -> str | None:
    """The broker that the settings name, else the embedded one that runs in the data folder; None for neither.

    BrokerUrlError, UnsupportedBrokerError for what can never work.
    """
    if settings.broker_url is not None:
        return checked_broker_url(settings.broker_url.get_secret_value())
    embedded = read_addresses(settings.data_dir)
    return None if embedded is None else embedded.broker_url


def find_addresses(settings: Settings) -> Addresses:
    """Both servers; NoServersError when one is not known."""
    database_url, broker_url = known_database_url(settings), known_broker_url(settings)
    if database_url is None or broker_url is None:
        raise NoServersError
    return Addresses(database_url, broker_url)


def checked_broker_url(url: str) -> str:
    """Return it; BrokerUrlError, UnsupportedBrokerError where no client could understand it as it was meant."""
    scheme = url_scheme(url)
    if scheme not in BROKER_SCHEMES:
        raise UnsupportedBrokerError(scheme=scheme)
    problem = broker_url_problem(url)
    if problem is not None:
        raise BrokerUrlError(reason=problem)
    try:
        check_broker_url(url)
    except BrokerUnavailableError as error:
        raise BrokerUrlError(reason=error.data["reason"]) from error
    return url


def open_engine(settings: Settings, *, application_name: str = "loyalty", plans_once: bool = False) -> Engine:
    """An engine on the database of these settings (`plans_once`: see `create_database_engine`)."""
    limits = SessionLimits(
        settings.database_statement_seconds_max, settings.database_idle_seconds_max, settings.database_lock_seconds_max
    )
    url = find_addresses(settings).database_url
    return create_database_engine(
        url, limits=limits, application_name=application_name, gives_up=True, plans_once=plans_once
    )


def message_limits(settings: Settings) -> MessageLimits:
    """What intake takes. Reads the file of sources: SourcesFileError."""
    sources = None if settings.sources_file is None else load_sources(settings.sources_file, os.environ)
    return MessageLimits(
        settings.message_bytes_max,
        settings.array_events_max,
        settings.clock_skew_seconds_max,
        sources,
        settings.reply_prefix,
        reference_salt=reference_salt(settings),
    )


def misspelt_variables(settings: Settings) -> list[UnknownVariable]:
    """Name the variables with our prefix that nothing reads, here or in the file of sources."""
    read = frozenset[str]() if settings.sources_file is None else secret_variables(settings.sources_file)
    return unknown_variables(os.environ, read)


def build_runtime(settings: Settings, app: Celery) -> Runtime:
    """What tasks are given. Opens nothing yet: connections are made at first use, after the fork."""
    addresses = find_addresses(settings)
    return runtime_on(
        open_engine(settings, application_name="loyalty-worker"),
        settings,
        open_publisher=lambda: open_event_publisher(
            addresses.broker_url, events_kept_max=settings.events_kept_max, declares=settings.declare
        ),
        nudge=QuietNudger(app),
        watcher=own_watcher(),
        spans=open_spans("worker", is_amqp=addresses.broker_url.startswith("amqp")),
    )


def runtime_on(
    engine: Engine,
    settings: Settings,
    *,
    open_publisher: Callable[[], EventPublisher],
    nudge: Callable[..., None],
    watcher: Watcher = UNWATCHED,
    spans: Spans = NO_SPANS,
) -> Runtime:
    """What tasks are given, on this database."""
    chain_key = writing_key(settings)
    return Runtime(
        engine=engine,
        poster=Poster(
            engine,
            event_source=settings.event_source,
            new_account_id=uuid7,
            chain_key=chain_key,
            reference_salt=reference_salt(settings),
            bounds=BatchBounds(deciding_seconds_max=_deciding_seconds_max(settings)),
            tallies=watcher.tallies or spans.is_on,
        ),
        open_publisher=open_publisher,
        nudge=nudge,
        event_source=settings.event_source,
        posting_batch_messages=settings.posting_batch_messages,
        relay_batch_events=settings.relay_batch_events,
        upkeep_batch_rows=settings.upkeep_batch_rows,
        waiting_days_max=settings.waiting_days_max,
        waiting_alarm_hours=settings.waiting_alarm_hours,
        inbox_retention_days=settings.inbox_retention_days,
        outbox_retention_days=settings.outbox_retention_days,
        run_seconds_max=settings.task_seconds_max / RUNS_PER_TASK_LIMIT,
        chain_key=chain_key,
        watcher=watcher,
        spans=spans,
    )


def command_executor(settings: Settings, engine: Engine) -> Executor:
    """What does commands at once, in this process, as the workers with these settings do them."""
    return Executor(
        engine,
        event_source=settings.event_source,
        shards=settings.shards,
        limits=message_limits(settings),
        new_id=uuid7,
        chain_key=writing_key(settings),
    )


def _deciding_seconds_max(settings: Settings) -> float:
    """How long a batch is decided: well within the time for which PostgreSQL lets a session say nothing."""
    return min(BatchBounds().deciding_seconds_max, settings.database_idle_seconds_max / _DECIDINGS_PER_IDLE_LIMIT)
