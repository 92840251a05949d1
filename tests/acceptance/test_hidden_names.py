"""Phone numbers and e-mail addresses, sent through the queue, stand nowhere afterwards but in the bytes as received."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.whole_worker import WholeWorker
from tests.factories import PROGRAM_TEXT, amendment, as_bytes, claim, command, goods_back, order
from tests.shell import SALT

pytestmark = pytest.mark.slow

PHONE, AGAIN = "+44 7712 654321", "+44 (0)7712-654321"
EMAIL = "Ann.Secret@Mail.example"
UNKNOWN, WRONG = "+49 30 55512345", "0151 555 66677"
#: Parts of all of them, in whatever form.
PLAIN = ("7712654321", "7712 654321", "7712-654321", "secret@", "55512345", "5556667", "555 666")
SOURCES = """
sources:
  - source: /shops/test
    commands: [{command: credit}, {command: debit}, {command: authorize}, {command: account.link}]
"""


@pytest.fixture(scope="module", params=["valkey", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeWorker]:
    """`loyalty up`, to which a shop has sent all that may name an account so, right and wrong."""
    broker_url = os.environ.get("LOYALTY_TEST_RABBITMQ_URL") if request.param == "rabbitmq" else None
    if request.param == "rabbitmq" and broker_url is None:
        pytest.skip("no RabbitMQ: set LOYALTY_TEST_RABBITMQ_URL to run this test")
    folder: Path = tmp_path_factory.mktemp("hidden")
    (folder / "sources.yaml").write_text(SOURCES)
    settings = {
        "LOYALTY_SOURCES_FILE": str(folder / "sources.yaml"),
        "LOYALTY_REFERENCE_SALT": SALT,
        "LOYALTY_LOG_LEVEL": "debug",
    }
    whole = WholeWorker(folder / "data", broker_url, settings)
    try:
        whole.start()
        whole.apply_program(PROGRAM_TEXT)
        publish(whole, order("o0", "10.00"))
        publish(whole, command("account.link", "k1", phone=PHONE), command("account.link", "k2", email=EMAIL))
        publish(
            whole,
            named(order("o1", "20.00"), phone=AGAIN),
            named(order("o2", "30.00"), email=EMAIL),
            named(command("credit", "k3", points=7), phone=PHONE),
            named(command("debit", "k4", points=2), email=EMAIL.lower()),
            named(command("authorize", "k5", points=5), phone=PHONE),
            named(goods_back("b1", "3.00"), email=EMAIL),
        )
        publish(whole, named(amendment("o1", "25.00"), phone=PHONE), order("o6", "1.00", customer_id=None))
        publish(whole, named(claim("o6"), phone=AGAIN))
        publish(
            whole,
            named(order("o3", "20.00"), phone=UNKNOWN),
            named(order("o4", "20.00"), phone=WRONG),
            named(command("debit", "k6", points=1), phone=UNKNOWN),
            named(command("debit", "k7", points=1), phone=WRONG),
            named(command("debit", "k8", points=1), email=EMAIL.replace("@", "@@")),
            named(order("o5", "20.00"), phone=PHONE, email=EMAIL),
        )
        yield whole
    finally:
        whole.remove()


def named(event: dict[str, Any], **by: str) -> dict[str, Any]:
    data = {name: value for name, value in event["data"].items() if name != "customer_id"}
    return {**event, "data": {**data, **by}}


def publish(worker: WholeWorker, *events: dict[str, Any]) -> None:
    """Send them and wait until all are through."""
    known, _ = worker.inbox()
    worker.publish(*(as_bytes(event) for event in events))
    worker.wait_through(known + len(events))


def found_in(text: str) -> list[str]:
    return [part for part in PLAIN if part.lower() in text.lower()]


def test_they_name_the_account(worker: WholeWorker) -> None:
    assert worker.balance("c1") == 10 + 25 + 30 + 7 - 2 - 5 - 3 + 1
    reasons = worker.rows("SELECT reason FROM inbox WHERE state = 'dead' ORDER BY inbox_id")
    assert sorted(row.reason for row in reasons) == ["invalid_data"] * 4 + ["unknown_account"]
    assert worker.differences() == []
    assert worker.loyalty("rebuild", "--json")["differences"] == []


def test_no_row_has_them_but_the_bytes_as_received(worker: WholeWorker) -> None:
    columns = worker.rows(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
    )
    having = set()
    for table, column, kind in columns:
        is_bytes = kind == "bytea"
        as_text = f"""encode("{column}", 'escape')""" if is_bytes else f'"{column}"::text'
        if found_in(str(worker.rows(f'SELECT {as_text} FROM "{table}"'))):
            having.add(f"{table}.{column}")
    assert having == {"inbox.body"}


def test_no_event_has_them(worker: WholeWorker) -> None:
    worker.consumer.consume()
    events = list(worker.consumer.events.values())
    assert len(events) > 15
    assert found_in(json.dumps(events, ensure_ascii=False)) == []
    [first, second] = worker.consumer.of_type("loyalty.account.updated")
    assert sorted((first["data"]["linked"], second["data"]["linked"]), key=str) == [
        {"email": "hidden"},
        {"phone": "hidden"},
    ]


def test_no_line_of_the_log_has_them(worker: WholeWorker) -> None:
    assert worker.log_lines("role_started")
    assert found_in(worker.log_path.read_text(errors="replace")) == []


@pytest.mark.parametrize(
    "words",
    [
        ("account", "show", "c1", "--json"),
        ("account", "history", "c1", "--json"),
        ("account", "explain", "c1", "--order", "o1", "--json"),
        ("account", "show", PHONE, "--named-by", "phone"),
        ("account", "explain", EMAIL, "--named-by", "email"),
        ("account", "history", UNKNOWN, "--named-by", "phone"),
        ("account", "history", WRONG, "--named-by", "phone"),
        ("points", "credit", PHONE, "5", "--named-by", "phone", "--dry-run"),
        ("points", "debit", UNKNOWN, "5", "--named-by", "phone", "--dry-run"),
        ("command", "show", "k1", "--json"),
        ("command", "show", "k7"),
        ("dead", "list"),
        ("dead", "list", "--json"),
        ("events", "replay", "--customer", "c1", "--dry-run"),
    ],
    ids=" ".join,
)
def test_no_command_prints_them(worker: WholeWorker, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "workers", "--data-dir", str(worker.folder), *words],
        env=worker.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout or done.stderr
    assert found_in(done.stdout + done.stderr) == []
