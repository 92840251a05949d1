"""Roles as processes of their own, of this release or of another, and a shop that goes on selling before them."""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from core.reading.progress import load_progress
from core.store.proof.verify import verify_ledger
from tests.acceptance.whole_worker import wait_until
from tests.factories import as_bytes, order, refund
from workers.brokers import open_shop_publisher
from workers.heartbeat import HEARTBEAT_VARIABLE

ROOT = Path(__file__).parents[2]


class RoleProcesses:
    """Processes by name. None is started again: one that exits is a failure of the test."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, "LOYALTY_LOG_LEVEL": "warning", **environment}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str, tree: Path = ROOT, **environment: str) -> None:
        """Start processes, named role-number, from the sources in `tree`; return when each has begun to work."""
        hearts = []
        for name in names:
            heart = self._folder / f"{name}.heartbeat"
            heart.unlink(missing_ok=True)
            hearts.append(heart)
            with self._log(name).open("ab") as log:
                self._running[name] = subprocess.Popen(
                    [sys.executable, "-m", "workers", name.partition("-")[0]],
                    cwd=tree,
                    env={
                        **self._environment,
                        "PYTHONPATH": str(tree),
                        "LOYALTY_INTAKE_NAME": name,
                        HEARTBEAT_VARIABLE: str(heart),
                        **environment,
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        wait_until(lambda: all(heart.exists() for heart in hearts) or self.exited() != {}, self.logs, seconds_max=120)
        assert self.exited() == {}, self.logs()

    def stop(self, *names: str) -> None:
        """TERM, and wait for the end, which must be a good one."""
        stopped = [(name, self._running.pop(name)) for name in names]
        for _, process in stopped:
            process.terminate()
        codes = {name: process.wait(60) for name, process in stopped}
        assert set(codes.values()) == {0}, f"{codes}\n{self.logs()}"

    def kill(self) -> None:
        """End all at once, as a power cut does."""
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
        self._running.clear()

    def exited(self) -> dict[str, int]:
        """The exit codes of those that should run and do not."""
        return {name: code for name, process in self._running.items() if (code := process.poll()) is not None}

    def logs(self) -> str:
        """The last that each wrote."""
        return "\n".join(f"{file.name}: {file.read_text()[-1500:]}" for file in sorted(self._folder.glob("*.log")))

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


class Shop:
    """Sells in a thread of its own until it is told to stop: orders of one point, every tenth given back."""

    def __init__(self, broker_url: str, customers: int = 20) -> None:
        self._broker_url = broker_url
        self._customers = customers
        self._closing = threading.Event()
        self._seller: threading.Thread | None = None
        self.messages: list[bytes] = []
        self.points: Counter[str] = Counter()

    def open(self) -> None:
        """Begin to sell, at most a hundred a second."""
        self._closing.clear()
        self._seller = threading.Thread(target=self._sell)
        self._seller.start()

    def close(self) -> None:
        """Stop when the broker has what was sold. A second call does nothing."""
        self._closing.set()
        if self._seller is not None:
            self._seller.join()

    def sell(self, orders: int) -> list[bytes]:
        """Make the messages of so many orders more."""
        first = len(self.messages)
        for _ in range(orders):
            number = len(self.messages)
            order_id, customer_id = f"o{number}", f"c{number % self._customers}"
            self.messages.append(as_bytes(order(order_id, "1.00", customer_id=customer_id)))
            self.points[customer_id] += 1
            if number % 10 == 9:
                self.messages.append(as_bytes(refund(order_id, order_id)))
                self.points[customer_id] -= 1
        return self.messages[first:]

    def publish(self, messages: list[bytes]) -> None:
        """Hand messages to the broker."""
        publisher = open_shop_publisher(self._broker_url)
        publisher.publish([("order.completed", message) for message in messages])
        publisher.close()

    def _sell(self) -> None:
        while not self._closing.wait(0.1):
            self.publish(self.sell(10))


def posted(engine: Engine) -> int:
    """How many messages are posted."""
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM inbox WHERE state = 'posted'")).scalar_one())


def wait_through(engine: Engine, messages: int, what: Any) -> None:
    """Until so many messages have their outcome, and every event is published."""

    def is_through() -> bool:
        with engine.connect() as connection:
            progress = load_progress(connection)
        return progress.received >= messages and progress.is_through

    wait_until(is_through, what)


def check_books(engine: Engine, shop: Shop) -> None:
    """Each message is posted once, every balance is what the shop counted, and the books are right."""
    with engine.connect() as connection:
        states = connection.execute(text("SELECT state, count(*) AS messages FROM inbox GROUP BY state")).all()
        balances = connection.execute(text("SELECT customer_id, balance FROM accounts")).all()
    assert {row.state: row.messages for row in states} == {"posted": len(shop.messages)}
    assert {row.customer_id: row.balance for row in balances} == shop.points
    with engine.begin() as connection:
        assert [found.text for found in verify_ledger(connection)] == []
