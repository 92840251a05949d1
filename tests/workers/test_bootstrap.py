"""What the settings make of the runtime that tasks are given."""

from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from config.settings import Settings
from workers.bootstrap import build_runtime
from workers.brokers.topology import EVENT_STREAM
from workers.celery_app import create_app


@pytest.mark.parametrize(("named", "is_trimmed"), [({}, False), ({"events_kept_max": 1_000}, True)])
def test_the_stream_of_events_is_trimmed_only_where_the_settings_say_so(
    stream_broker_url: str, named: dict[str, Any], is_trimmed: bool
) -> None:
    settings = Settings(
        database_url=SecretStr("postgresql://nowhere/none"), broker_url=SecretStr(stream_broker_url), **named
    )
    runtime = build_runtime(settings, create_app(settings))
    try:
        runtime.publisher().publish([("loyalty.balance.changed", "{}")] * 3_000)
    finally:
        runtime.close()
    with redis.Redis.from_url(stream_broker_url) as client:
        kept = client.xlen(EVENT_STREAM)
    assert (1_000 <= kept < 1_500) if is_trimmed else (kept == 3_000)


@pytest.mark.parametrize("idle_seconds", [1, 4, 20, 600])
def test_a_batch_is_decided_well_within_the_time_that_a_session_may_idle(idle_seconds: int) -> None:
    urls = {"database_url": SecretStr("postgresql://nowhere/none"), "broker_url": SecretStr("redis://nowhere")}
    settings = Settings(database_idle_seconds_max=idle_seconds, **urls)  # type: ignore[arg-type]
    deciding_seconds = build_runtime(settings, create_app(settings)).poster.bounds.deciding_seconds_max
    assert deciding_seconds <= idle_seconds / 4
    assert deciding_seconds < settings.task_seconds_max / 4


def test_a_worker_needs_neither_the_sources_nor_their_secrets(tmp_path: Path) -> None:
    settings = Settings(
        database_url=SecretStr("postgresql://nowhere/none"),
        broker_url=SecretStr("redis://nowhere"),
        sources_file=tmp_path / "only-intake-may-read-this.yaml",
        reference_salt=SecretStr("a secret of thirty-two characters"),
    )
    build_runtime(settings, create_app(settings)).close()
