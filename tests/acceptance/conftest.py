"""One whole worker per broker and module: it takes seconds to start, and each test has its own customers and orders."""

import os
from collections.abc import Iterator

import pytest

from tests.acceptance.whole_worker import WholeWorker
from tests.factories import PROGRAM_TEXT

RABBITMQ_URL = os.environ.get("LOYALTY_TEST_RABBITMQ_URL")
SETTINGS = {"LOYALTY_INTAKE_IDLE_CLAIM_SECONDS": "3"}


@pytest.fixture(scope="module", params=["valkey", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeWorker]:
    """`loyalty up` under the usual program, which takes the orders of all sources."""
    broker_url = None
    if request.param == "rabbitmq":
        if RABBITMQ_URL is None:
            pytest.skip("no RabbitMQ: set LOYALTY_TEST_RABBITMQ_URL to run this test")
        broker_url = RABBITMQ_URL
    whole = WholeWorker(tmp_path_factory.mktemp("worker") / "data", broker_url, SETTINGS)
    try:
        whole.start()
        whole.apply_program(PROGRAM_TEXT.replace('sources: ["/shops/test"]', "default: true"))
        yield whole
    finally:
        whole.remove()
    assert whole.stray_lines() == [], "whatever happened to its processes, their log is JSON only"
