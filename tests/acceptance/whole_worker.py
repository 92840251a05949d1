"""A whole worker as its operator starts it, `loyalty up`, with a shop before it and a consumer behind it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import kombu
import redis
from sqlalchemy import Engine, Row, text
from sqlalchemy.exc import DBAPIError

from config.queues import QUEUE_NAMES
from core.messages.program_files.program_file import parse_program
from core.reading.progress import Progress, load_progress
from core.store.applying import apply_program
from core.store.engine import create_database_engine
from core.store.proof.verify import verify_ledger
from workers.brokers import open_shop_publisher
from workers.brokers.topology import EVENT_EXCHANGE, EVENT_FIELD, EVENT_STREAM, INTAKE_QUEUE, SHOP_EXCHANGE
from workers.child_processes import is_alive
from workers.embedded import remove_data
from workers.heartbeat import HEARTBEAT_VARIABLE
from workers.servers.folder import read_addresses

CONSUMER_QUEUE = "test.consumer"
#: For who publishes in a way of its own: RabbitMQ may lose what is not confirmed when the connection is closed.
CONFIRMED = {"confirm_publish": True}
_ROOT = Path(__file__).parents[2]
_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.05


def wait_until(condition: Callable[[], bool], what: Callable[[], object], seconds_max: float = _SECONDS_MAX) -> None:
    """Poll until `condition` holds; fail with `what` was there instead."""
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds_max:.0f} s: {what()}"
        time.sleep(_POLL_SECONDS)


class WholeWorker:
    """One data folder and one broker; the embedded Valkey unless `broker_url` names another."""

    def __init__(self, folder: Path, broker_url: str | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.log_path = folder.with_suffix(".log")
        self.environment = {**os.environ, **(settings or {})}
        if broker_url is not None:
            self.environment["LOYALTY_BROKER_URL"] = broker_url
            _forget_topology(broker_url)
        self._named_broker_url = broker_url
        self._up: subprocess.Popen[bytes] | None = None
        self._others: list[subprocess.Popen[bytes]] = []
        self.broker_url = ""
        self.engine: Engine = create_database_engine("postgresql://nowhere")
        self.consumer = Consumer()

    def start(self) -> Self:
        """`loyalty up`; returns when the database answers, the processes may still be starting."""
        with self.log_path.open("ab") as log:
            self._up = self._spawn("up", output=log)
        wait_until(self._is_up, self.log)
        return self

    def stop(self) -> int:
        """TERM, as an operator's Ctrl-C or a container's stop; returns the exit code."""
        assert self._up is not None
        self.engine.dispose()
        self._up.terminate()
        return self._up.wait(120)

    def remove(self) -> None:
        """Stop in a hurry, and delete all data."""
        self.engine.dispose()
        for process in self._others:
            process.kill()
            process.wait()
        while self._up is not None and self._up.poll() is None:
            self._up.terminate()  # the second time, `loyalty up` waits for nobody
            time.sleep(_POLL_SECONDS)
        self.consumer.close()
        remove_data(self.folder)

    def run_beside(self, *roles: str, **environment: str) -> "list[subprocess.Popen[bytes]]":
        """One more process of each role, of which `loyalty up` knows nothing; returns when they have begun to work."""
        hearts = [self.folder.with_suffix(f".{role}.heartbeat") for role in roles]
        started = []
        for role, heart in zip(roles, hearts, strict=True):
            with heart.with_suffix(".log").open("ab") as log:
                started.append(
                    self._spawn(role, output=log, environment={**environment, HEARTBEAT_VARIABLE: str(heart)})
                )
        self._others += started
        wait_until(lambda: all(heart.exists() for heart in hearts), lambda: [process.poll() for process in started])
        return started

    def loyalty(self, *arguments: str) -> Any:
        """What a command prints as JSON."""
        done = self._run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    def refused(self, *arguments: str) -> str:
        """What a command says that refuses to do it."""
        done = self._run(*arguments)
        assert done.returncode == 2, (done.returncode, done.stdout)
        return done.stderr

    def pid_of(self, role: str) -> int:
        """The process that the supervisor started last in this role."""
        started = [line for line in self.log_lines("role_started") if line["role"] == role]
        return int(started[-1]["process"])

    def pid_of_server(self, server: str) -> int:
        """The process of an embedded server."""
        started = [line for line in self.log_lines("server_started") if line["server"] == server]
        return int(started[-1]["process"])

    def children_of(self, role: str) -> list[int]:
        """The processes that a role's process has forked."""
        pid = self.pid_of(role)
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
        except FileNotFoundError:
            return []

    def log(self) -> str:
        """The last that `loyalty up` and its processes wrote."""
        return self.log_path.read_text(errors="replace")[-3000:]

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """The log records of one event."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        records = [json.loads(line) for line in lines if f'"event": "{event}"' in line]
        return [record for record in records if record["event"] == event]

    def stray_lines(self) -> list[str]:
        """What stands in the log and is no record of a known process."""
        found = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                found.append(line)
            else:
                if not {"event", "level", "timestamp", "role", "host", "pid", "version"} <= set(record):
                    found.append(line)
        return found

    def publish(self, *messages: bytes) -> None:
        """As a shop: until the broker has confirmed them."""
        publisher = open_shop_publisher(self.broker_url)
        for start in range(0, len(messages), 500):
            publisher.publish([("order.completed", message) for message in messages[start : start + 500]])
        publisher.close()

    def wait_through(self, messages: int = 0, *, repeats: int = 0) -> Progress:
        """Until so many distinct messages are in the inbox, each with its outcome, and every event is published."""
        seen: list[Progress] = []

        def is_through() -> bool:
            with suppress(DBAPIError), self.engine.connect() as connection:
                seen[:] = [load_progress(connection)]
            if not seen:
                return False
            return seen[0].received >= messages and seen[0].repeats >= repeats and seen[0].is_through

        wait_until(is_through, lambda: f"{seen}\n{self.log()}")
        return seen[0]

    def apply_program(self, program_text: str) -> None:
        """Put a program file in force."""
        program = parse_program(program_text, path="test.yaml")
        with self.engine.begin() as connection:
            assert apply_program(connection, program, program_text, None).version is not None

    def rows(self, statement: str, **parameters: Any) -> Sequence[Row[Any]]:
        with self.engine.connect() as connection:
            return connection.execute(text(statement), parameters).all()

    def value(self, statement: str, **parameters: Any) -> Any:
        ((value,),) = self.rows(statement, **parameters)
        return value

    def inbox(self) -> tuple[int, int]:
        """How many messages there are, and the newest one's number (numbers have gaps)."""
        (row,) = self.rows("SELECT count(*) AS messages, coalesce(max(inbox_id), 0) AS newest FROM inbox")
        return row.messages, row.newest

    def balance(self, customer_id: str) -> int:
        return int(self.value("SELECT balance FROM accounts WHERE customer_id = :customer_id", customer_id=customer_id))

    def differences(self) -> list[str]:
        """What `loyalty verify` would say; nothing on a clean ledger."""
        with self.engine.begin() as connection:
            return [f"{found.name}: {found.text}" for found in verify_ledger(connection)]

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "workers", "--data-dir", str(self.folder), *arguments],
            cwd=_ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def _spawn(
        self, *arguments: str, output: Any, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "workers", "--data-dir", str(self.folder), *arguments],
            cwd=_ROOT,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def _is_up(self) -> bool:
        assert self._up is not None
        assert self._up.poll() is None, self.log()
        addresses = read_addresses(self.folder)
        if addresses is None or addresses.database_url is None or not self.log_lines("role_started"):
            return False
        self.engine.dispose()
        self.engine = create_database_engine(addresses.database_url)
        self.broker_url = self._named_broker_url or addresses.broker_url or ""
        self.consumer.open(self.broker_url)
        return True


class Consumer:
    """What a consumer of our events must be able to rely on, kept as it would keep it."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.changed: list[str] = []
        self._broker_url = ""

    def open(self, broker_url: str) -> None:
        """On RabbitMQ: declare the durable queue that collects the events, before the first one."""
        self._broker_url = broker_url
        if broker_url.startswith("amqp"):
            with kombu.Connection(broker_url) as connection:
                self._queue()(connection).declare()

    def close(self) -> None:
        if self._broker_url.startswith("amqp"):
            with kombu.Connection(self._broker_url) as connection:
                self._queue()(connection).delete()

    def consume(self) -> None:
        """Take what has come: the same id must be the same event."""
        for body in self._queued() if self._broker_url.startswith("amqp") else self._streamed():
            event = json.loads(body)
            if self.events.setdefault(event["id"], event) != event:
                self.changed.append(event["id"])

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events.values() if event["type"] == kind]

    def problems(self, balances: Mapping[str, int]) -> list[str]:
        """What is wrong if these are the balances of the accounts."""
        by_account: dict[str, dict[int, dict[str, Any]]] = {}
        for event in self.of_type("loyalty.balance.changed"):
            by_account.setdefault(event["subject"], {})[event["data"]["sequence"]] = event["data"]
        found = [f"event {event_id} came with two contents" for event_id in self.changed]
        for account_id, balance in balances.items():
            entries = by_account.get(account_id, {})
            if sorted(entries) != list(range(1, len(entries) + 1)):
                found.append(f"account {account_id} has the sequences {sorted(entries)}")
            elif (entries[max(entries)]["balance"] if entries else 0) != balance:
                found.append(
                    f"account {account_id} has {balance}, the last of its {len(entries)} events another balance"
                )
            if sum(entry["points"] for entry in entries.values()) != balance:
                found.append(f"account {account_id} has {balance}, its events add up to something else")
        return found

    @staticmethod
    def _queue() -> kombu.Queue:
        exchange = kombu.Exchange(EVENT_EXCHANGE, "topic", durable=True)
        return kombu.Queue(CONSUMER_QUEUE, exchange, routing_key="#", durable=True)

    def _queued(self) -> list[Any]:
        bodies: list[Any] = []
        with kombu.Connection(self._broker_url) as connection:
            queue: Any = self._queue()(connection)
            while (message := queue.get(no_ack=True)) is not None:
                bodies.append(message.body)
        return bodies

    def _streamed(self) -> list[bytes]:
        with redis.Redis.from_url(self._broker_url, protocol=2) as client:
            entries: Any = client.xrange(EVENT_STREAM)
        return [fields[EVENT_FIELD.encode()] for _, fields in entries]


def kill(*pids: int, number: signal.Signals = signal.SIGKILL) -> None:
    for pid in pids:
        assert is_alive(pid)
        os.kill(pid, number)


def _forget_topology(broker_url: str) -> None:
    """Delete what an earlier run left on a RabbitMQ that is not ours alone."""
    with kombu.Connection(broker_url) as connection:
        channel: Any = connection.channel()
        for queue in (INTAKE_QUEUE, CONSUMER_QUEUE, *QUEUE_NAMES):
            channel.queue_delete(queue)
        for exchange in (SHOP_EXCHANGE, EVENT_EXCHANGE, "loyalty.tasks"):
            channel.exchange_delete(exchange)
