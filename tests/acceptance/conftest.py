"""One whole worker per broker and module: it takes seconds to start, and each test has its own customers and orders."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.whole_worker import WholeWorker
from tests.factories import PROGRAM_TEXT, SOURCE

RABBITMQ_URL = os.environ.get("LOYALTY_TEST_RABBITMQ_URL")
SETTINGS = {"LOYALTY_INTAKE_IDLE_CLAIM_SECONDS": "3"}
BROKERS = ["valkey", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)]
GRANTS = f"""
unlisted: accept
sources:
  - source: "{SOURCE}"
    commands:
      [{{command: credit}}, {{command: transfer}}, {{command: convert}}, {{command: redeem}},
       {{command: authorize}}, {{command: capture}}, {{command: void}},
       {{command: reward.issue}}, {{command: account.merge}}, {{command: account.unmerge}}]
"""


@contextmanager
def started(request: pytest.FixtureRequest, folder: Path, settings: Mapping[str, str]) -> Iterator[WholeWorker]:
    """`loyalty up` on the broker of this name, under the usual program, which takes the messages of all sources."""
    broker_url = None
    if request.param == "rabbitmq":
        if RABBITMQ_URL is None:
            pytest.skip("no RabbitMQ: set LOYALTY_TEST_RABBITMQ_URL to run this test")
        broker_url = RABBITMQ_URL
    whole = WholeWorker(folder / "data", broker_url, {**SETTINGS, **settings})
    try:
        whole.start()
        whole.apply_program(PROGRAM_TEXT.replace('sources: ["/shops/test"]', "default: true"))
        yield whole
    finally:
        whole.remove()
    assert whole.stray_lines() == [], "whatever happened to its processes, their log is JSON only"


@pytest.fixture(scope="module", params=BROKERS)
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeWorker]:
    """A worker that takes orders."""
    with started(request, tmp_path_factory.mktemp("worker"), {}) as whole:
        yield whole


@pytest.fixture(scope="module", params=BROKERS)
def commanded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeWorker]:
    """A worker that takes commands of the usual source too."""
    folder = tmp_path_factory.mktemp("commanded")
    path = folder / "sources.yaml"
    path.write_text(GRANTS, encoding="utf-8")
    with started(request, folder, {"LOYALTY_SOURCES_FILE": str(path)}) as whole:
        yield whole
