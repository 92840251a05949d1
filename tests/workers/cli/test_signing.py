"""Signing on the command line, and the file of sources in the processes: read at the start, refused when wrong."""

from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from core.messages.inbound.sources import sign
from tests.factories import SOURCE, as_bytes, order
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from workers.bootstrap import message_limits
from workers.brokers import open_intake, open_shop_publisher
from workers.intake import Intake, IntakeLimits

SECRET = b"s" * 32


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return path


@pytest.fixture
def sources_file(tmp_path: Path, secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sources.yaml"
    keys = f"[{{key_id: k, secret_file: {secret_file.name}}}]"
    path.write_text(f"unlisted: park\nsources: [{{source: {SOURCE}, keys: {keys}}}]")
    monkeypatch.setenv("LOYALTY_SOURCES_FILE", str(path))
    return path


def events_file(tmp_path: Path, *events: Any) -> Path:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join(map(as_bytes, events)))
    return path


@pytest.mark.parametrize("broker", ["valkey", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_published_messages_are_signed_each_by_itself_and_intake_takes_them(
    loyalty: CommandLine,
    shell: Shell,
    broker: str,
    sources_file: Path,
    secret_file: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = request.getfixturevalue("stream_broker_url" if broker == "valkey" else "rabbitmq_url")
    monkeypatch.setenv("LOYALTY_BROKER_URL", url)
    source = open_intake(url, consumer="signing")
    shop = open_shop_publisher(url)
    try:
        while left := source.receive(messages_max=10_000, wait_seconds=0.1):
            source.acknowledge(left)  # of another test
        path = events_file(sources_file.parent, order("o1"), [order("o2"), order("o3")])
        assert loyalty("publish", path, "--key-id", "k", "--secret-file", secret_file).code == 0
        shop.publish([("order.completed", as_bytes(order("forged")))])
        limits = IntakeLimits(message_limits(Settings()), 100, 60, 1, 4)
        intake = Intake(shell.engine, lambda: source, lambda *_: True, limits, event_source="/loyalty")
        while shell.value("SELECT count(*) FROM inbox") < 4:
            assert intake.step(source), "a message did not come"
    finally:
        shop.close()
        source.close()
    assert shell.outcomes() == {("received", None): 3, ("dead", "bad_signature"): 1}
    signatures = shell.rows("SELECT body, signature FROM inbox WHERE state = 'received'")
    assert [row.signature for row in signatures] == [sign(row.body, "k", SECRET) for row in signatures]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--key-id", "k"], "--key-id and --secret-file belong together"),
        (["--secret-file", "secret"], "--key-id and --secret-file belong together"),
        (["--key-id", "a key", "--secret-file", "secret"], "a key id has 1 to 64 of the characters"),
        (["--key-id", "k", "--secret-file", "nothing"], "nothing cannot be read: No such file"),
        (["--key-id", "k", "--secret-file", "events.ndjson"], "has more than 4,096 bytes"),
    ],
)
def test_what_cannot_be_signed_is_not_published(
    loyalty_alone: CommandLine, tmp_path: Path, secret_file: Path, options: list[str], words: str
) -> None:
    path = events_file(tmp_path, *(order(f"o{n}") for n in range(30)))
    assert secret_file.exists()
    printed = loyalty_alone("publish", path, *options)
    assert printed.code == 2
    assert words in printed.err
    assert SECRET.decode() not in printed.err


def test_submit_asks_an_operator_for_no_signature_and_a_retry_neither(
    loyalty: CommandLine, shell: Shell, sources_file: Path
) -> None:
    path = events_file(sources_file.parent, order("o1"), order("o2", program_id="later", source="/shops/unlisted"))
    assert loyalty("submit", path).code == 0
    assert shell.post() == {"posted": 1, "parked": 1}
    assert loyalty("dead", "retry", "--reason", "unknown_program").code == 0


def test_retry_reads_the_file_of_sources(loyalty: CommandLine, shell: Shell, sources_file: Path) -> None:
    shell.take(order("o1", program_id="later"))
    printed = loyalty("dead", "retry", "--all", "--json")
    assert printed.code == 1
    assert "stays dead (bad_signature): the message is not signed" in printed.json[0]["text"]


@pytest.mark.parametrize("command", ["up", "intake"])
def test_no_process_starts_with_a_wrong_file_of_sources(
    loyalty: CommandLine, sources_file: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_BROKER_URL", "redis://127.0.0.1:1/0")
    sources_file.write_text(sources_file.read_text().replace("park", "drop"))
    printed = loyalty(command)
    assert printed.code == 2
    assert 'line 1: unlisted is the text "drop"; write accept, or park' in printed.err.replace(r"\"", '"')
