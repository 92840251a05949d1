"""The clients of docs/examples that send a command and wait for its answer, against a whole worker."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.whole_worker import WholeWorker
from tests.factories import PROGRAM_TEXT
from tests.pages import ROOT
from workers.brokers import open_shop_publisher

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "docs" / "examples"
SOURCE = "/services/support"
SOURCES = f"""
sources:
  - source: {SOURCE}
    commands: [{{command: credit, points_per_day_max: 1000}}, {{command: debit}}]
"""


class Asked:
    """What a client printed, and how it ended."""

    def __init__(self, *arguments: str) -> None:
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
        self.code, self.err = done.returncode, done.stderr
        self.answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}


@pytest.fixture(scope="module", params=["valkey", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeWorker]:
    """`loyalty up`, which takes commands of one source."""
    broker_url = os.environ.get("LOYALTY_TEST_RABBITMQ_URL") if request.param == "rabbitmq" else None
    if request.param == "rabbitmq" and broker_url is None:
        pytest.skip("no RabbitMQ: set LOYALTY_TEST_RABBITMQ_URL to run this test")
    folder: Path = tmp_path_factory.mktemp("asked")
    (folder / "sources.yaml").write_text(SOURCES)
    whole = WholeWorker(folder / "data", broker_url, {"LOYALTY_SOURCES_FILE": str(folder / "sources.yaml")})
    try:
        whole.start()
        open_shop_publisher(whole.broker_url).close()  # the exchange is there, however long intake takes to start
        whole.apply_program(PROGRAM_TEXT.replace('sources: ["/shops/test"]', "default: true"))
        yield whole
    finally:
        whole.remove()


def ask(worker: WholeWorker, verb: str, command_id: str, time: str, **data: Any) -> Asked:
    """Ask with the client of the worker's broker."""
    is_rabbitmq = worker.broker_url.startswith("amqp")
    client = EXAMPLES / ("ask_on_rabbitmq.py" if is_rabbitmq else "ask_on_streams.py")
    named = ("--broker-url", worker.broker_url, "--source", SOURCE, "--id", command_id, "--time", time)
    return Asked(sys.executable, str(client), *named, "--seconds-max", "60", verb, json.dumps(data))


TIME = "2026-03-01T12:00:00+00:00"


def test_a_client_waits_for_its_answer_and_gets_it_again_when_it_asks_again(worker: WholeWorker) -> None:
    first, again = (ask(worker, "credit", "k1", TIME, customer_id="c1", points=500) for _ in range(2))
    assert (first.err, first.code) == ("", 0)
    assert first.answer["type"] == "loyalty.command.accepted"
    assert first.answer["data"]["accounts"][0]["balance"] == 500
    assert (again.answer, worker.balance("c1")) == (first.answer, 500)


def test_it_is_told_what_is_not_done(worker: WholeWorker) -> None:
    refused = ask(worker, "debit", "k2", TIME, customer_id="nobody", points=5)
    assert (refused.code, refused.answer["data"]["code"]) == (1, "unknown_account")
    over = ask(worker, "credit", "k3", TIME, customer_id="c2", points=1_001)
    assert (over.code, over.answer["data"]["code"]) == (1, "source_limit_reached")
    assert worker.differences() == []


def test_a_client_without_a_library_does_too(worker: WholeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECONDS_MAX", "60")
    if worker.broker_url.startswith("amqp"):
        pytest.skip("it speaks to Redis and Valkey")
    if shutil.which("redis-cli") is None:
        pytest.skip("no redis-cli is installed")
    data = '{"customer_id": "c3", "points": 50}'
    url = worker.broker_url.replace("redis://:", "redis://default:")
    asked = [Asked("sh", str(EXAMPLES / "ask.sh"), url, SOURCE, "k4", "credit", data, TIME) for _ in "12"]
    assert [each.code for each in asked] == [0, 0], asked[0].err
    assert (asked[0].answer, worker.balance("c3")) == (asked[1].answer, 50)
