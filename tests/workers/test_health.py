"""Alive and ready, asked of role after role and server after server: the answer is the truth, and comes in time."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workers.health import Finding, check_live, check_ready, check_working
from workers.heartbeat import HEARTBEAT_VARIABLE, beat_heart, progress_file

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NOWHERE_DATABASE, NOWHERE_BROKER = "postgresql://127.0.0.1:1/nowhere", "redis://127.0.0.1:1/0"


def beat(data_dir: Path, role: str, *, age_seconds: float = 0) -> None:
    file = data_dir / "heartbeats" / f"{role}.heartbeat"
    file.parent.mkdir(exist_ok=True)
    beat_heart(str(file))
    os.utime(file, (time.time() - age_seconds,) * 2)


def problems(findings: list[Finding]) -> dict[str, str]:
    return {found.subject: found.problem for found in findings if found.problem is not None}


@pytest.fixture
def silent_address() -> Iterator[str]:
    """A server that takes connections and never says a word, as one does that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


class TestLive:
    def test_every_role_that_gave_a_sign_lately_is_alive(self, tmp_path: Path) -> None:
        beat(tmp_path, "intake")
        beat(tmp_path, "worker", age_seconds=60)
        assert check_live(tmp_path) == [Finding("role intake", None), Finding("role worker", None)]

    def test_one_that_is_still_is_named_with_its_age(self, tmp_path: Path) -> None:
        beat(tmp_path, "intake")
        beat(tmp_path, "worker", age_seconds=500)
        assert list(problems(check_live(tmp_path))) == ["role worker"]
        assert re.search(r"gave its last sign 5\d\d s ago", problems(check_live(tmp_path))["role worker"])
        assert problems(check_live(tmp_path, ["intake"])) == {}
        assert problems(check_live(tmp_path, age_seconds_max=600)) == {}

    def test_one_that_is_asked_for_and_never_gave_a_sign_is_not_alive(self, tmp_path: Path) -> None:
        beat(tmp_path, "intake")
        assert list(problems(check_live(tmp_path, ["intake", "beat"]))) == ["role beat"]

    def test_where_nothing_runs_nothing_is_alive(self, tmp_path: Path) -> None:
        assert "is `loyalty up` running" in problems(check_live(tmp_path))["roles"]


class TestWorking:
    def test_an_intake_that_is_alive_and_stores_nothing_will_not_do_and_no_server_is_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOYALTY_DATABASE_URL", NOWHERE_DATABASE)
        beat(tmp_path, "intake")
        beat(tmp_path, "worker")
        file = progress_file(tmp_path / "heartbeats" / "intake.heartbeat")
        file.touch()
        assert problems(check_working(tmp_path)) == {}
        os.utime(file, (0, 0))
        assert list(problems(check_working(tmp_path))) == ["role intake"]
        assert problems(check_live(tmp_path)) == {}


class TestReady:
    @pytest.fixture
    def ask(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], dict[str, str]]:
        beat(tmp_path, "intake")

        def problems_with(database_url: str, broker_url: str) -> dict[str, str]:
            monkeypatch.setenv("LOYALTY_DATABASE_URL", database_url)
            monkeypatch.setenv("LOYALTY_BROKER_URL", broker_url)
            return problems(check_ready(tmp_path))

        return problems_with

    def test_servers_that_answer_and_have_our_tables_will_do(
        self, ask: Any, shared_database_url: str, stream_broker_url: str
    ) -> None:
        assert ask(shared_database_url, stream_broker_url) == {}

    @pytest.mark.rabbitmq
    def test_rabbitmq_will_do_too_and_says_whom_it_does_not_let_in(
        self, ask: Any, shared_database_url: str, rabbitmq_url: str
    ) -> None:
        assert ask(shared_database_url, rabbitmq_url) == {}
        scheme, _, rest = rabbitmq_url.rpartition("@")
        found = ask(shared_database_url, f"{scheme}-wrong@{rest}")
        assert (list(found), "ACCESS_REFUSED" in found["broker"], "wrong" in found["broker"]) == (
            ["broker"],
            True,
            False,
        )

    def test_servers_that_are_away_are_each_named(self, ask: Any) -> None:
        found = ask(NOWHERE_DATABASE, NOWHERE_BROKER)
        assert sorted(found) == ["broker", "database"]
        assert "refused" in found["database"]
        assert NOWHERE_BROKER in found["broker"]

    def test_an_intake_that_is_alive_and_stores_nothing_will_not_do(
        self, ask: Any, tmp_path: Path, shared_database_url: str, stream_broker_url: str
    ) -> None:
        file = progress_file(tmp_path / "heartbeats" / "intake.heartbeat")
        file.touch()
        assert ask(shared_database_url, stream_broker_url) == {}
        os.utime(file, (time.time() - 500,) * 2)
        assert problems(check_live(tmp_path)) == {}
        found = ask(shared_database_url, stream_broker_url)
        assert list(found) == ["role intake"]
        assert re.match(r"is alive and has not got on for 5\d\d s: it has stored nothing", found["role intake"])

    def test_a_database_without_our_tables_will_not_do(
        self, ask: Any, empty_database_url: str, stream_broker_url: str
    ) -> None:
        found = ask(empty_database_url, stream_broker_url)
        assert (list(found), "loyalty db upgrade" in found["database"]) == (["database"], True)


def ask_as_a_container(question: str, data_dir: Path, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "workers.health", question],
        cwd=ROOT,
        env=os.environ | {"LOYALTY_DATA_DIR": str(data_dir), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_check_of_a_container_ends_in_time_though_its_servers_hang(tmp_path: Path, silent_address: str) -> None:
    beat(tmp_path, "worker")
    live = ask_as_a_container("live", tmp_path)
    ready = [
        ask_as_a_container(
            "ready",
            tmp_path,
            LOYALTY_DATABASE_URL=f"postgresql://{silent_address}/loyalty?connect_timeout=600",
            LOYALTY_BROKER_URL=f"{scheme}://{silent_address}//",
        )
        for scheme in ("redis", "amqp")
    ]
    assert (live.communicate(timeout=60)[0], live.returncode) == ("ok    role worker\n", 0)
    answers = [asked.communicate(timeout=60)[0].splitlines() for asked in ready]
    for asked, lines in zip(ready, answers, strict=True):
        assert (asked.returncode, lines[-1], [line.split(":")[0] for line in lines[:-1]]) == (
            1,
            "ok    role worker",
            ["FAIL  database", "FAIL  broker"],
        )
    assert "FAIL  broker: does not answer within 5 s" in answers[0], "Redis would be waited for twice as long"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], Path, Path]]]:
    started: list[subprocess.Popen[bytes]] = []

    def run(role: str, **environment: str) -> tuple[subprocess.Popen[bytes], Path, Path]:
        heart, log = tmp_path / f"{role}-{len(started)}.heartbeat", tmp_path / f"{role}-{len(started)}.log"
        with log.open("wb") as output:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "workers", role],
                    cwd=ROOT,
                    env=os.environ | {HEARTBEAT_VARIABLE: str(heart), **environment},
                    stdout=output,
                    stderr=output,
                )
            )
        return started[-1], heart, log

    yield run
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_roles_without_their_servers_stay_alive_and_say_what_they_wait_for(
    start: Any, shared_database_url: str, stream_broker_url: str
) -> None:
    waiting = [
        start(role, LOYALTY_DATABASE_URL=shared_database_url, LOYALTY_BROKER_URL=NOWHERE_BROKER)
        for role in ("intake", "worker", "beat")
    ]
    waiting.append(start("intake", LOYALTY_DATABASE_URL=NOWHERE_DATABASE, LOYALTY_BROKER_URL=stream_broker_url))
    beats: dict[Path, set[int]] = {heart: set() for _, heart, _ in waiting}
    deadline = time.monotonic() + 60
    said = {waiting[0][2]: '"event": "intake_interrupted"', waiting[3][2]: '"event": "database_awaited"'}
    while not (
        all(len(seen) > 2 for seen in beats.values()) and all(words in log.read_text() for log, words in said.items())
    ):
        assert time.monotonic() < deadline, [log.read_text()[-500:] for _, _, log in waiting]
        for heart, seen in beats.items():
            if heart.exists():
                seen.add(heart.stat().st_mtime_ns)
        time.sleep(0.05)
    assert [process.poll() for process, _, _ in waiting] == [None] * 4
    told = next(line for line in waiting[3][2].read_text().splitlines() if "database_awaited" in line)
    assert "refused" in json.loads(told)["detail"]
