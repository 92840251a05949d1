"""One long run: very many small orders through one world, with a fault every half a minute and little kept for long."""

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
from sqlalchemy.exc import DBAPIError

from core.reading.progress import load_progress
from core.store.engine import run_bulk
from core.store.proof.verify import verify_ledger
from tests.faults.event_log import EventLog
from tests.faults.fault_programs import SOURCES
from tests.faults.faults import Fault
from tests.faults.measures import Planned, Probes, Strikes, recoveries
from tests.faults.model import Model
from tests.faults.session import RECOVERY_SECONDS_MAX, Session
from tests.faults.shop import ConfirmedWay
from tests.faults.stream import MARK, Stream

#: What is settled is kept for a minute, longer than any fault lasts: a long run shows whether the tables stay small.
SETTINGS = {"LOYALTY_INBOX_RETENTION_DAYS": "0.0007", "LOYALTY_OUTBOX_RETENTION_DAYS": "0.0007"}
_CUSTOMERS = 20_000
_BATCH_MESSAGES = 500
#: A shop that sells faster than the worker works would fill the broker, and make every probe wait its turn.
_UNDER_WAY_MAX = 10_000
_REFUND_SHARE, _AGAIN_SHARE = 0.03, 0.01
_RECENT_ORDERS = 5_000
_FAULT_SECONDS = (20.0, 30.0)
_SAMPLE_SECONDS = 5.0
_TOLD_EVERY_SECONDS = 15.0
_THROUGH_SECONDS_MAX = 180.0
_RETRY_SECONDS = 0.2
#: Points of the program FLAT for orders of 1.00 to 9.00: a point per euro, and 3 per 10 euros, rounded half up.
_POINTS = {1: 1, 2: 3, 3: 4, 4: 5, 5: 7, 6: 8, 7: 9, 8: 10, 9: 12}

_BODY = (
    '{"id":"%s","source":"' + SOURCES["flat"] + '","type":"order.completed","time":"2026-03-01T12:00:00Z","data":'
    '{"order_id":"%s","customer_id":"%s","currency":"EUR","lines":[{"line_id":"1","quantity":1,"amount":"%d.00"}]}}'
)
_REFUND_BODY = (
    '{"id":"%s-refund","source":"' + SOURCES["flat"] + '","type":"order.refunded","time":"2026-03-02T12:00:00Z","data":'
    '{"refund_id":"%s-refund","order_id":"%s","full":true}}'
)
_SIZES = """
SELECT (SELECT count(*) FROM inbox), pg_total_relation_size('inbox'),
       (SELECT count(*) FROM outbox), pg_total_relation_size('outbox')
"""
_HELD = """
SELECT a.account_id, a.customer_id, a.balance, a.lifetime_points, a.sequence, coalesce(sum(e.points), 0)::bigint
FROM accounts a LEFT JOIN entries e USING (account_id) GROUP BY a.account_id
"""
_COUNTS = """
SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM refunds),
       (SELECT count(*) FROM inbox WHERE state = 'dead')
"""


class Sample(NamedTuple):
    """The world at one moment."""

    share: float  #: of the orders and refunds that were told
    seconds: float
    memory_mib: dict[str, float]
    inbox_rows: int
    inbox_mib: float
    outbox_rows: int
    outbox_mib: float


class Sales:
    """Orders of one line and refunds of some, with the points that they come to."""

    def __init__(self, seed: int, messages: int) -> None:
        self.name = f"{MARK}{seed:x}-"
        self.points: Counter[str] = Counter()  #: by customer
        self.orders = self.refunds = 0
        self._random = random.Random(seed)
        self._messages = messages
        self._recent: deque[tuple[str, str, int]] = deque(maxlen=_RECENT_ORDERS)

    def batches(self) -> Iterator[list[tuple[str, bytes]]]:
        """All messages, some batches twice."""
        while self.orders + self.refunds < self._messages:
            batch = [self._message() for _ in range(min(_BATCH_MESSAGES, self._messages - self.orders - self.refunds))]
            yield batch
            if self._random.random() < _AGAIN_SHARE:
                yield batch

    def _message(self) -> tuple[str, bytes]:
        chance = self._random
        if len(self._recent) == _RECENT_ORDERS and chance.random() < _REFUND_SHARE:
            order_id, customer_id, points = self._recent.popleft()
            self.refunds += 1
            self.points[customer_id] -= points
            return "order.refunded", (_REFUND_BODY % (order_id, order_id, order_id)).encode()
        self.orders += 1
        order_id, customer_id = f"{self.name}{self.orders}", f"{self.name}c{chance.randrange(_CUSTOMERS)}"
        amount = chance.randint(1, 9)
        self.points[customer_id] += _POINTS[amount]
        self._recent.append((order_id, customer_id, _POINTS[amount]))
        return "order.completed", (_BODY % (order_id, order_id, customer_id, amount)).encode()


class Soak:
    """One long run in a session."""

    def __init__(self, session: Session, seed: int, messages: int, faults: Sequence[Fault]) -> None:
        self.samples: list[Sample] = []
        self.strikes = 0
        self.recovery_seconds: dict[str, list[float]] = {}
        self.differences: list[str] = []
        self._session = session
        self._messages = messages
        self._faults = faults
        self._chance = random.Random(f"{seed}/soak")
        self._sales = Sales(seed, messages)
        self._log = session.consumer.log = EventLog(before=session.consumer.log)
        self._stream = Stream(f"{self._sales.name}p-", Model(datetime.now(UTC)))
        self._probes = Probes(session.world.broker_url, self._stream, self._log)
        self._began_at = time.monotonic()
        self._over = threading.Event()
        self._seconds = 0.0  # until the last message was told

    def run(self, say: Any) -> None:
        """Sell everything, wait until it is through, judge."""
        self._probes.start()
        threads = [threading.Thread(target=work, daemon=True) for work in (self._strike_on, lambda: self._look_on(say))]
        for thread in threads:
            thread.start()
        way = ConfirmedWay(self._session.world.broker_url)
        for batch in self._sales.batches():
            while self._under_way() > _UNDER_WAY_MAX:
                time.sleep(_RETRY_SECONDS / 10)
            while not way.publish(batch):
                time.sleep(_RETRY_SECONDS)
        way.close()
        self._over.set()
        for thread in threads:
            thread.join()
        self._probes.stop()
        self._judge()
        self._sample()

    def _told(self) -> int:
        return self._log.distinct - len(self._log.accounts)

    def _under_way(self) -> int:
        return self._sales.orders + self._sales.refunds - self._told()

    def _strike_on(self) -> None:
        pack: list[Fault] = []
        while not self._over.wait(self._chance.uniform(*_FAULT_SECONDS)) and self._faults:
            pack = pack or self._chance.sample(self._faults, len(self._faults))
            planned = Planned(0.0, pack.pop(), self._chance.getrandbits(32))
            strikes = Strikes(self._session.world, [planned], self._probes)
            strikes.start()
            self.differences += strikes.join()
            self.strikes += 1
            deadline = time.monotonic() + RECOVERY_SECONDS_MAX
            while None in (measured := recoveries(strikes.done, self._probes)).values():
                if time.monotonic() > deadline:
                    self.differences.append(
                        f"wrong: no recovery from {planned.fault.name} in {RECOVERY_SECONDS_MAX:.0f} s"
                    )
                    break
                time.sleep(_RETRY_SECONDS)
            for name, seconds in measured.items():
                self.recovery_seconds.setdefault(name, []).extend(() if seconds is None else (seconds,))

    def _look_on(self, say: Any) -> None:
        say_at = 0.0
        while not self._over.wait(_SAMPLE_SECONDS):
            self._session.ask("loyalty.purge")
            self._sample()
            if time.monotonic() > say_at:
                say_at = time.monotonic() + _TOLD_EVERY_SECONDS
                rate = self._told() / (time.monotonic() - self._began_at)
                say(f"{self._told():,} of {self._messages:,} told, {rate:,.0f} a second, {self.strikes} strikes")

    def _sample(self) -> None:
        try:
            with self._session.engine.connect() as connection:
                ((inbox_rows, inbox_bytes, outbox_rows, outbox_bytes),) = run_bulk(connection, _SIZES)
            memory_mib = self._session.world.memory_mib()
        except (DBAPIError, psycopg.Error, OSError):
            return  # broken just now: the next sample will do
        seconds, share = time.monotonic() - self._began_at, self._told() / self._messages
        mib = 2**20
        self.samples.append(
            Sample(share, seconds, memory_mib, inbox_rows, inbox_bytes / mib, outbox_rows, outbox_bytes / mib)
        )

    def _judge(self) -> None:
        deadline = time.monotonic() + _THROUGH_SECONDS_MAX
        found = [""]
        while found and time.monotonic() < deadline:
            try:
                found = self._found()
            except (DBAPIError, psycopg.Error) as error:
                found = [f"wrong: the database does not answer the judge: {error}"]
            if found:
                time.sleep(_RETRY_SECONDS)
        self.differences += found

    def _found(self) -> list[str]:
        with self._session.engine.begin() as connection:
            progress = load_progress(connection)
            if not progress.is_through or progress.waiting:
                return [f"lost: not through: {progress}"]
            self._seconds = self._seconds or time.monotonic() - self._began_at
            ((orders, refunds, dead),) = run_bulk(connection, _COUNTS)
            rows = run_bulk(connection, _HELD)
        sales, probes = self._sales, self._stream.model.order_keys()
        wanted = (sales.orders + len(probes), sales.refunds, 0)
        if (orders, refunds, dead) != wanted:
            return [f"wrong: (orders, refunds, dead letters) are {(orders, refunds, dead)}, sent were {wanted}"]
        with self._session.engine.begin() as connection:
            found = [f"wrong: loyalty verify: {each.name}: {each.text}" for each in verify_ledger(connection)]
        points = {**sales.points, f"{self._stream.name}prober": len(probes)}
        if {row[1] for row in rows} != points.keys():
            found.append("wrong: the customers who have accounts are not those who bought")
        found += [f"wrong: events: {text}" for text in self._log.problems]
        for account_id, customer_id, balance, lifetime_points, sequence, total in rows:
            if not (balance == lifetime_points == total == points.get(customer_id)):
                found.append(f"wrong: {customer_id} has {balance} points, bought {points.get(customer_id)}")
            changes = self._log.accounts[str(account_id)].changes
            if sorted(changes) != list(range(1, sequence + 1)):
                found.append(f"lost: of account {account_id} {len(changes)} of {sequence} changes were told")
            elif sum(change.points for change in changes.values()) != balance or changes[sequence].balance != balance:
                found.append(f"wrong: the events of account {account_id} give another balance than {balance}")
        return found

    def document(self) -> dict[str, Any]:
        """All of it, for the figures."""
        seconds = self._seconds or self.samples[-1].seconds
        return {
            "messages": self._sales.orders + self._sales.refunds,
            "seconds": round(seconds, 1),
            "messages_per_second": round(self._messages / seconds),
            "strikes": self.strikes,
            "repeats": self._log.deliveries - self._log.distinct,
            "restarts": self._session.world.restarts(),
            "recovery_seconds_max": {name: round(max(each), 2) for name, each in self.recovery_seconds.items() if each},
            "differences": self.differences[:40],
            "samples": [self._at(share)._asdict() for share in (0.1, 0.5, 1.0)],
        }

    def _at(self, share: float) -> Sample:
        return next((sample for sample in self.samples if sample.share >= share), self.samples[-1])


def table(broker: str, document: dict[str, Any]) -> Iterator[str]:
    """The figures for people."""
    names = sorted({name for sample in document["samples"] for name in sample["memory_mib"]})
    yield f"{broker:<34}{'10 %':>12}{'50 %':>12}{'100 %':>12}"
    for name in names:
        values = [sample["memory_mib"].get(name) for sample in document["samples"]]
        yield f"{f'{name}, MiB':<34}" + "".join(f"{'-' if v is None else f'{v:.0f}':>12}" for v in values)
    for name in ("inbox_rows", "inbox_mib", "outbox_rows", "outbox_mib"):
        yield f"{name:<34}" + "".join(f"{sample[name]:>12,.0f}" for sample in document["samples"])
    rate = f"{document['messages_per_second']:,} a second"
    yield f"{document['messages']:,} messages in {document['seconds']:.0f} s, {rate}"
    yield f"{document['strikes']} strikes, {document['repeats']:,} repeats, {len(document['differences'])} differences"
    yield from (f"  {text}" for text in document["differences"])
