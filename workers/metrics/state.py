"""What the database and the broker tell, read now and then by one process: no scrape waits for them."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from config.schedule import TICKS
from config.settings import Settings
from core.domain.outcomes import Reason
from core.reading.status import Backlog, UnderWay, count_open_authorizations, load_under_way
from core.upkeep.runs import last_runs
from workers.bootstrap import find_addresses, open_engine
from workers.brokers import look_at_intake
from workers.metrics.families import OF_STATE, OTHER

#: Not more often, however often somebody scrapes.
INTERVAL_SECONDS = 10.0
#: A reading that takes long is followed by a pause that is so many times as long.
_PAUSES_PER_READING = 20
#: What was read longer ago, or than so many intervals, is told no more.
_AGE_SECONDS_MAX, _INTERVALS_MAX = 60.0, 3

log = structlog.get_logger(__name__)

Samples = dict[str, dict[str, float]]  #: by metric and the value of its label; "" for what has none


class _Reading(NamedTuple):
    samples: Samples
    good_until: float  #: on the monotonic clock


class StateCollector(Collector):
    """Tells what was read last, while that is fresh."""

    def __init__(self, readers: "tuple[StateReader, ...]") -> None:
        self._readers = readers

    def describe(self) -> list[Metric]:
        """Nothing: what there is changes."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric of which there is a sample."""
        samples: Samples = {}
        for reader in self._readers:
            samples |= reader.samples()
        for family in OF_STATE:
            if family.name in samples:
                metric = GaugeMetricFamily(family.name, family.meaning, labels=family.labels)
                for label, value in samples[family.name].items():
                    metric.add_metric([label] if family.labels else [], value)
                yield metric


class StateReader:
    """Reads again and again in a thread of its own."""

    def __init__(self, read: Callable[[], Samples], interval_seconds: float = INTERVAL_SECONDS) -> None:
        """`read` may take as long as it likes, and fail: it is tried again after the same interval."""
        self._read = read
        self._interval_seconds = interval_seconds
        self._latest = _Reading({}, 0.0)

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, daemon=True).start()

    def samples(self) -> Samples:
        """What was read last; nothing if that is too long ago."""
        latest = self._latest
        return latest.samples if time.monotonic() < latest.good_until else {}

    def _run(self) -> None:
        while True:
            began = time.monotonic()
            pause_seconds = self._interval_seconds
            try:
                samples = self._read()
            except Exception as error:  # noqa: BLE001  # whatever it is: the next reading may find it well
                log.warning("metrics_not_read", action="metrics_not_read", error=type(error).__name__)
            else:
                pause_seconds = max(pause_seconds, _PAUSES_PER_READING * (time.monotonic() - began))
                age_seconds_max = max(_AGE_SECONDS_MAX, _INTERVALS_MAX * pause_seconds)
                self._latest = _Reading(samples, time.monotonic() + age_seconds_max)
            time.sleep(pause_seconds)


def open_readers(settings: Settings) -> tuple[StateReader, ...]:
    """One reader for each server, so that none waits for the other."""
    engine = open_engine(settings, application_name="loyalty-metrics")

    def read_database() -> Samples:
        began = time.monotonic()
        with engine.begin() as connection:
            found, runs = load_under_way(connection), last_runs(connection)
            open_authorizations = count_open_authorizations(connection)
        samples = database_samples(found, runs, open_authorizations, time.time())
        return samples | {"loyalty_state_read_seconds": {"": time.monotonic() - began}}

    def read_broker() -> Samples:
        queue = look_at_intake(find_addresses(settings).broker_url)
        return {"loyalty_queue_messages": {"": queue.waiting}, "loyalty_queue_intakes": {"": queue.intakes}}

    return StateReader(read_database), StateReader(read_broker)


def database_samples(found: UnderWay, runs: list[dict[str, Any]], open_authorizations: int, now: float) -> Samples:
    """What was found, in the words of the metrics. `now` is our clock, in which moments of the database are told."""

    def moment(instant: datetime) -> float:
        return now - (found.as_of - instant).total_seconds()

    ended = {run["task"]: moment(run["finished_at"]) for run in runs}
    audits = [run["result"] for run in runs if run["task"] == "loyalty.audit_ledger"]
    dead: dict[str, float] = dict.fromkeys(Reason, 0.0)
    for reason, letters in found.dead.items():
        name = reason if reason in dead else OTHER
        dead[name] = dead.get(name, 0.0) + letters
    samples: Samples = {
        "loyalty_inbox_lag_messages": {"": found.received.rows},
        "loyalty_inbox_lag_seconds": {"": _age_seconds(found.received, found.as_of)},
        "loyalty_outbox_lag_events": {"": found.unpublished.rows},
        "loyalty_outbox_lag_seconds": {"": _age_seconds(found.unpublished, found.as_of)},
        "loyalty_waiting_messages": {"": found.waiting.rows},
        "loyalty_waiting_lag_seconds": {"": _age_seconds(found.waiting, found.as_of)},
        "loyalty_dead_letters": dead,
        "loyalty_posting_attempts_max": {"": max((shard.attempts for shard in found.shards), default=0)},
        "loyalty_authorizations_open": {"": open_authorizations},
        "loyalty_periodic_last_run_timestamp_seconds": {tick.task: ended.get(tick.task, 0.0) for tick in TICKS},
        "loyalty_periodic_interval_seconds": {tick.task: tick.every_seconds for tick in TICKS},
        "loyalty_ledger_differences": {"": sum(len(audit.get("standing") or {}) for audit in audits)},
        "loyalty_state_read_timestamp_seconds": {"": now},
    }
    if found.stored_at is not None:
        samples["loyalty_inbox_stored_timestamp_seconds"] = {"": moment(found.stored_at)}
    return samples


def _age_seconds(backlog: Backlog, as_of: datetime) -> float:
    return 0.0 if backlog.oldest_at is None else max(0.0, (as_of - backlog.oldest_at).total_seconds())
