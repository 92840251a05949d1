"""`loyalty submit`, `publish` and `tail`."""

import json
import os
import signal
import subprocess
import sys
import threading
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import redis

from core.messages.outbound.published_events import OutboundType
from tests.factories import as_bytes, command, order, refund
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from workers.brokers import open_event_publisher, open_intake
from workers.cli.event_lines import event_line


def write(folder: Path, *events: object, name: str = "events.ndjson") -> Path:
    path = folder / name
    path.write_bytes(b"\n".join(event if isinstance(event, bytes) else as_bytes(event) for event in events))
    return path


def test_submitted_events_are_counted_and_a_second_time_they_change_nothing(
    loyalty: CommandLine, shell: Shell, tmp_path: Path
) -> None:
    path = write(tmp_path, order("o1"), refund("r1", "o1"), refund("r2", "later"), b"")
    first = loyalty("submit", path)
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("3 events: 2 received, 1 waiting for their order, 0 came before, 0 parked.")
    again = loyalty("submit", path, "--json").json
    assert (again["received"], again["waiting"], again["replayed"]) == (0, 0, 3)
    assert shell.post() == {"posted": 2}


def test_every_parked_event_is_named_also_when_it_came_before(loyalty: CommandLine, tmp_path: Path) -> None:
    path = write(tmp_path, order("o1"), {**order("o2"), "type": "order.shipped"}, b"{broken")
    for _ in range(2):
        printed = loyalty("submit", path)
        assert printed.code == 1
        assert "event completed-o2: unknown_type" in printed.out
        assert "not_json" in printed.out


def test_an_array_may_have_more_events_than_one_message_may(
    loyalty: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_ARRAY_EVENTS_MAX", "2")
    path = write(tmp_path, [order(f"o{n}") for n in range(1201)], name="events.json")
    assert loyalty("submit", path, "--json").json["received"] == 1201


def test_events_are_read_from_standard_input(loyalty: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(as_bytes(order("o1")))))
    assert loyalty("submit", "-").out.startswith("1 event: 1 received")


def test_a_file_that_is_empty_or_not_there_is_wrong_use(loyalty: CommandLine, tmp_path: Path) -> None:
    assert "holds no events" in loyalty("submit", write(tmp_path)).err
    assert loyalty("submit", write(tmp_path)).code == 2
    assert loyalty("submit", tmp_path / "nothing").code == 2


def test_wait_ends_when_every_event_has_its_outcome(loyalty: CommandLine, shell: Shell, tmp_path: Path) -> None:
    path = write(tmp_path, order("o1"), order("o2", program_id="nope"), refund("r2", "later"))
    is_done = threading.Event()

    def post() -> None:
        while not is_done.is_set():
            shell.post()
            is_done.wait(0.05)

    worker = threading.Thread(target=post)
    worker.start()
    try:
        printed = loyalty("submit", path, "--wait", "--json")
    finally:
        is_done.set()
        worker.join()
    assert printed.code == 1, "one is parked"
    assert printed.json["is_settled"] is True
    assert printed.json["outcomes"] == {"posted": 1, "dead": 1, "waiting": 1}
    assert [letter["reason"] for letter in printed.json["parked_messages"]] == ["unknown_program"]


def test_wait_without_a_worker_ends_too_and_says_what_is_missing(loyalty: CommandLine, tmp_path: Path) -> None:
    printed = loyalty("submit", write(tmp_path, order("o1")), "--wait", "--wait-seconds", 0)
    assert printed.code == 1
    assert "1 have no outcome yet. Is a worker running?" in printed.err


def test_published_messages_reach_intake_with_their_bytes(
    loyalty_alone: CommandLine, stream_broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_BROKER_URL", stream_broker_url)
    bodies = [as_bytes(order("o1")).replace(b": ", b" : "), b"{broken", b'{"type": "order.shipped"}']
    printed = loyalty_alone("publish", write(tmp_path, *bodies))
    assert printed.code == 0
    assert printed.out.startswith("Published 3 messages to redis://")
    intake = open_intake(stream_broker_url, consumer="test")
    received = intake.receive(messages_max=10, wait_seconds=60)
    intake.close()
    assert [message.raw for message in received] == bodies


def test_a_broker_that_does_not_answer_is_one_line(
    loyalty_alone: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_BROKER_URL", "redis://:sesame@127.0.0.1:1/0")
    for called in (("tail",), ("publish", write(tmp_path, order()))):
        printed = loyalty_alone(*called)
        assert printed == (1, "", printed.err)
        assert len(printed.err.splitlines()) == 1
        assert "sesame" not in printed.err


def test_an_unknown_kind_of_broker_is_wrong_use(loyalty_alone: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOYALTY_BROKER_URL", "kafka://localhost")
    assert loyalty_alone("tail").code == 2


def test_rabbitmq_has_no_beginning_to_tail_from(loyalty_alone: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOYALTY_BROKER_URL", "amqp://127.0.0.1:1")
    printed = loyalty_alone("tail", "--from-beginning")
    assert printed.code == 2
    assert "keeps no past events" in printed.err


def test_tail_tells_every_event_in_one_line(
    loyalty_alone: CommandLine, shell: Shell, stream_broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_BROKER_URL", stream_broker_url)
    shell.take(order("o1", "600.00"), refund("r1", "o1", net="100.00"), b"{")
    publish(stream_broker_url, shell)
    text = loyalty_alone("tail", "--from-beginning", "--limit", 5)
    assert text.code == 0
    told = "\n".join(line[22:] for line in text.out.splitlines())
    assert "test c1  account opened, tier bronze" in told
    assert "test c1  +600 accrual, balance 600  (#1, order o1)" in told
    assert "test c1  tier bronze -> silver  (qualified)" in told
    assert "test c1  -100 clawback, balance 500  (#2, order o1, refund r1)" in told
    assert "parked: not_json" in told
    documents = loyalty_alone("tail", "--from-beginning", "--limit", 5, "--json").out.splitlines()
    assert [json.loads(line) for line in documents] == shell.events()


def publish(broker_url: str, shell: Shell) -> None:
    rows = shell.rows("SELECT type, body FROM outbox ORDER BY outbox_id")
    publisher = open_event_publisher(broker_url)
    publisher.publish([(row.type, row.body) for row in rows])
    publisher.close()


def test_an_event_of_a_later_release_is_named_and_breaks_nothing() -> None:
    later = {"type": "loyalty.points.gifted", "time": "2026-03-01T12:00:00.5Z", "data": {}}
    assert event_line(as_bytes(later)) == "2026-03-01 12:00:00Z  loyalty.points.gifted"
    assert event_line(as_bytes({**later, "type": OutboundType.BALANCE_CHANGED})).startswith(
        "an event that this release"
    )
    assert event_line(b"\xff").startswith("an event that this release cannot read")


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        (
            "loyalty.points.expiring",
            {"points": 40, "expires_at": "2027-04-01T00:00:00Z"},
            "40 points can be used until 31 March 2027 UTC and no longer",
        ),
        (
            "loyalty.points.expiring",
            {"points": 0, "expires_at": "2027-04-01T00:00:00Z"},
            "no points expire after 31 March 2027",
        ),
        (
            "loyalty.points.extended",
            {"ends": [{"points": 7, "expires_at": "2027-04-01T00:00:00Z"}]},
            "7 points can be used longer, until 31 March 2027 UTC",
        ),
        (
            "loyalty.tier.at_risk",
            {"tier": "gold", "tier_after": "silver", "loses_at": "2027-01-31T23:00:00Z"},
            "tier gold at risk: silver from 2027-01-31 23:00Z",
        ),
        (
            "loyalty.balance.changed",
            {"points": 0, "pending_change": 50, "kind": "accrual", "balance": 7, "sequence": 3, "order_id": "o1"},
            "+0 accrual, balance 7, +50 pending  (#3, order o1)",
        ),
    ],
)
def test_every_event_is_told_in_a_line(kind: str, data: dict[str, object], told: str) -> None:
    event = {"type": kind, "time": "2026-03-01T12:00:00Z", "data": {"program_id": "p", "customer_id": "c1", **data}}
    assert event_line(as_bytes(event)).startswith(f"2026-03-01 12:00:00Z  p c1  {told}")


def test_interrupting_tail_is_no_error(stream_broker_url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "LOYALTY_BROKER_URL": stream_broker_url, "PYTHONUNBUFFERED": "1"}
    client = redis.Redis.from_url(stream_broker_url)
    client.xadd("loyalty.events", {"event": as_bytes({"type": "x", "time": "2026-03-01T12:00:00Z", "data": {}})})
    client.close()
    command = [sys.executable, "-m", "workers", "tail", "--from-beginning"]
    with subprocess.Popen(
        command,
        env=environment,
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that a shell runs in the background inherits an ignored INT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one call, no lock
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "2026-03-01 12:00:00Z  x\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_a_command_that_is_rejected_is_named_with_its_reason(
    loyalty: CommandLine, shell: Shell, tmp_path: Path
) -> None:
    path = write(tmp_path, command("debit", "k1", customer_id="nobody", points=5))
    assert loyalty("submit", path).code == 0
    assert shell.post() == {"rejected": 1}
    told = loyalty("submit", path)
    assert (told.code, "Rejected: message 1, event k1: unknown_account" in told.out) == (1, True)
    document = loyalty("submit", path, "--json").json
    assert [each["reason"] for each in document["rejected_commands"]] == ["unknown_account"]
    assert document["parked_messages"] == []
