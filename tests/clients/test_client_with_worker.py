"""The Python client against a whole worker: its README as it stands there, answers, and what goes wrong."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from loyalty_client import LoyaltyClient, NoAnswerError, SigningKey
from loyalty_client.commands import Authorize, AuthorizeData, Credit, CreditData, Debit, DebitData
from loyalty_client.events import CommandAccepted, CommandRejected
from tests.acceptance.whole_worker import WholeWorker
from tests.pages import ROOT, blocks
from workers.brokers import open_shop_publisher

pytestmark = pytest.mark.slow

CLIENT = ROOT / "clients" / "python"
CHECKOUT, SIGNED = "/services/checkout", "/services/signed"
SECRET = b"of thirty-two bytes at the least, as is asked for"
SOURCES = f"""
unlisted: accept
sources:
  - source: {CHECKOUT}
    commands: [{{command: credit, points_per_command_max: 1000}}, {{command: debit}}, {{command: authorize}}]
  - source: {SIGNED}
    keys: [{{key_id: k1, secret_variable: CLIENT_SECRET}}]
    commands: [{{command: credit}}]
"""


@pytest.fixture(scope="module", params=["valkey", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeWorker]:
    """`loyalty up` under the example program, which takes commands of two sources."""
    broker_url = os.environ.get("LOYALTY_TEST_RABBITMQ_URL") if request.param == "rabbitmq" else None
    if request.param == "rabbitmq" and broker_url is None:
        pytest.skip("no RabbitMQ: set LOYALTY_TEST_RABBITMQ_URL to run this test")
    folder: Path = tmp_path_factory.mktemp("client")
    (folder / "sources.yaml").write_text(SOURCES)
    settings = {"LOYALTY_SOURCES_FILE": str(folder / "sources.yaml"), "CLIENT_SECRET": SECRET.decode()}
    whole = WholeWorker(folder / "data", broker_url, settings)
    try:
        whole.start()
        open_shop_publisher(whole.broker_url).close()  # the exchange is there, however long intake takes to start
        whole.apply_program((ROOT / "config" / "programs" / "example.yaml").read_text())
        yield whole
    finally:
        whole.remove()


def credit(command_id: str, customer_id: str = "c1", points: int = 500, source: str = CHECKOUT) -> Credit:
    return Credit(id=command_id, source=source, data=CreditData(customer_id=customer_id, points=points))


def run_alone(script: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a script where nothing of the worker is on the path, as it is in a shop."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CLIENT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_readme_does_what_it_says_without_anything_of_the_worker(worker: WholeWorker, tmp_path: Path) -> None:
    publish, ask, consume = blocks(CLIENT / "README.md", "python")
    environment = {"LOYALTY_BROKER_URL": worker.broker_url}
    [first] = [line for line in publish.splitlines() if line.startswith("BROKER_URL")]
    # A queue of RabbitMQ collects what comes once it is there.
    run_alone(f"import os\n{first}\n{consume}", tmp_path, environment)
    run_alone(publish, tmp_path, environment)
    no_engine = "import sys; assert not {'core', 'config', 'tasks', 'workers', 'celery'} & set(sys.modules)"
    printed = run_alone(f"{publish}\n{ask}\n{consume}\n{no_engine}", tmp_path, environment).splitlines()
    assert printed[0] == "reserved 40 points, 9 are left"
    assert set(printed[1:-1]) <= {"Applied"}
    assert "('C-6001', 9)" in printed[-1]
    assert worker.balance("C-6001") == 9


def test_the_same_command_is_done_once_and_answered_as_it_was(worker: WholeWorker) -> None:
    command = credit("k1", customer_id="c9")
    with LoyaltyClient(worker.broker_url) as client:
        first, again = (client.ask(command, seconds_max=60) for _ in "12")
    with LoyaltyClient(worker.broker_url) as another:
        assert another.ask(command, seconds_max=60) == first
    assert isinstance(first, CommandAccepted)
    assert (first, worker.balance("c9")) == (again, 500)


def test_what_is_not_done_is_answered_with_its_reason_and_advice(worker: WholeWorker) -> None:
    asked = [
        (credit("k2", points=1_001), "not_allowed"),
        (credit("k3", source="/shops/high-street"), "not_allowed"),
        (Debit(id="k4", source=CHECKOUT, data=DebitData(customer_id="nobody", points=5)), "unknown_account"),
        (Debit(id="k5", source=CHECKOUT, data=DebitData(points=5)), "invalid_data"),
        (
            Authorize(id="k6", source=CHECKOUT, data=AuthorizeData(customer_id="c1", points=9_999)),
            "insufficient_points",
        ),
    ]
    with LoyaltyClient(worker.broker_url) as client:
        client.ask(credit("k0", points=500), seconds_max=60)
        for command, code in asked:
            answer = client.ask(command, seconds_max=60)
            assert isinstance(answer, CommandRejected)
            assert (answer.data.code, answer.correlationid) == (code, command.id)
            assert answer.data.advice


def test_an_answer_that_does_not_come_in_time_comes_when_the_same_is_asked_again(worker: WholeWorker) -> None:
    command = credit("k7", customer_id="c7", points=7)
    with LoyaltyClient(worker.broker_url) as client:
        with pytest.raises(NoAnswerError, match="k7"):
            client.ask(command, seconds_max=0)
        answer = client.ask(command, seconds_max=60)
    assert isinstance(answer, CommandAccepted)
    assert worker.balance("c7") == 7


def test_a_source_that_must_sign_is_heard_when_it_does(worker: WholeWorker) -> None:
    with LoyaltyClient(worker.broker_url, signing_key=SigningKey("k1", SECRET)) as client:
        answer = client.ask(credit("k8", customer_id="c8", points=8, source=SIGNED), seconds_max=60)
    assert isinstance(answer, CommandAccepted)
    assert worker.differences() == []
