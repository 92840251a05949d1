"""The worst orders and refunds that may be posted, beside ordinary ones; a part of `python -m benchmarks.worst`.

The most lines that an order may have, with many rules that look at each of them, and many refunds of one order at once.
What counts is the longest batch: a shard's other messages wait for it, and PostgreSQL ends a session that is silent for
longer than LOYALTY_DATABASE_IDLE_SECONDS_MAX.
"""

import json
import time
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine
from uuid6 import uuid7

from benchmarks.load import Message, sample_messages
from benchmarks.posting import fill_inbox
from benchmarks.servers import PROGRAM_FILE, fresh_database
from core.domain.program import Program
from core.messages.program_files.program_file import load_program, parse_program
from core.posting.batch import Poster

_BATCH_MESSAGES = 500
_RULES = 50
_PROGRAM = """
program_id: worst
name: Worst
currency: EUR
time_zone: Europe/Berlin
default: true
combine: stack
tiers: [{tier_id: bronze, threshold_points: 0}]
earning_rules:
"""


class PostingRun(NamedTuple):
    """What it took to post a case."""

    messages: int
    seconds: float
    longest_seconds: float  #: of its batches

    def ratio_to(self, other: "PostingRun") -> float:
        """How many times as long a message took."""
        return self.seconds / self.messages / (other.seconds / other.messages)


def program_of_rules(rules: int, more: str = "") -> Program:
    """A program of so many rules that count, each for all lines but those of one article."""
    rows = [
        f'  - {{rule_id: r{n}, kind: spend, per_amount: "1.00", points: 1, lines: {{exclude_skus: [x{n}]}}{more}}}\n'
        for n in range(rules)
    ]
    return parse_program(_PROGRAM + "".join(rows), path="worst.yaml")


def posting_cases(lines: int, refunds: int) -> dict[str, tuple[Program, list[Message]]]:
    """The messages of each case with their program; ordinary ones first, and as many."""
    plain, many = program_of_rules(1), program_of_rules(_RULES)
    by_line = program_of_rules(_RULES, ", round_per: line")
    big = _order("big", lines)
    by_lines = [
        _refund("big", n, {"lines": [{"line_id": str(n % lines), "quantity": "0.007"}]}) for n in range(refunds)
    ]
    amounts = [_refund("big", n, {"net": "0.07"}) for n in range(refunds)]
    orders = [_order(f"o{n}", lines) for n in range(max(2, refunds // 10))]
    of_each = [_refund(f"o{n}", n, {"net": "0.07"}) for n in range(len(orders))]
    return {
        "ordinary": (load_program(PROGRAM_FILE), sample_messages(refunds)),
        "refunds of lines of one order": (plain, [big, *by_lines]),
        f"the same under {_RULES} rules": (many, [big, *by_lines]),
        "refunds of amounts of one order": (plain, [big, *amounts]),
        f"the same under {_RULES} rules by line": (by_line, [big, *amounts[: max(1, refunds // 20)]]),
        "refunds that wait for their order": (plain, [*by_lines, big]),
        "orders of the most lines": (plain, orders),
        f"orders of the most lines under {_RULES} rules": (many, orders),
        f"a refund of each, under {_RULES} rules": (many, [*orders, *of_each]),
    }


def run_posting(database_url: str, lines: int, refunds: int) -> dict[str, PostingRun]:
    """Measure each case, in a database of its own, in one shard."""
    runs = {}
    for name, (program, messages) in posting_cases(lines, refunds).items():
        with fresh_database(database_url, "loyalty_bench_worst", program) as engine:
            fill_inbox(engine, messages, shards=1)
            runs[name] = _posted(engine, len(messages))
    return runs


def print_posting(runs: dict[str, PostingRun]) -> None:
    """Show the cases beside the first one, which is the ordinary one."""
    table = Table(title="The worst messages, from the inbox into the ledger")
    table.add_column("what", no_wrap=True)
    for name in ("messages", "messages/s", "ratio", "longest batch"):
        table.add_column(name, justify="right")
    for name, run in runs.items():
        ratio = f"{run.ratio_to(runs['ordinary']):.1f}"
        table.add_row(
            name, f"{run.messages:,}", f"{run.messages / run.seconds:,.0f}", ratio, f"{run.longest_seconds:.2f} s"
        )
    console = Console()
    console.width = max(console.width, 100)
    console.print(table)


def _posted(engine: Engine, messages: int) -> PostingRun:
    poster = Poster(engine, event_source="/bench", new_account_id=uuid7)
    batches: list[float] = []
    is_left = True
    while is_left:
        started = time.perf_counter()
        result = poster.post_batch(0, _BATCH_MESSAGES)
        batches.append(time.perf_counter() - started)
        is_left = result.claimed > 0
    with engine.connect() as connection:
        bad = connection.exec_driver_sql("SELECT count(*) FROM inbox WHERE state IN ('received', 'dead')").scalar_one()
    if bad:
        raise RuntimeError(f"{bad} of {messages} messages were not posted")
    return PostingRun(messages, sum(batches), max(batches))


def _order(order_id: str, lines: int) -> Message:
    each = [{"line_id": str(n), "sku": f"S{n}", "quantity": 3, "amount": "3.99"} for n in range(lines)]
    data = {"order_id": order_id, "customer_id": f"C-{order_id}", "currency": "EUR", "lines": each}
    return _event("order.completed", order_id, "2026-01-01T00:00:00Z", data)


def _refund(order_id: str, number: int, what: dict[str, Any]) -> Message:
    refund_id = f"{order_id}-r{number}"
    return _event(
        "order.refunded", refund_id, "2026-01-02T00:00:00Z", {"refund_id": refund_id, "order_id": order_id, **what}
    )


def _event(event_type: str, event_id: str, time_text: str, data: dict[str, Any]) -> Message:
    event = {"id": event_id, "source": "/bench", "type": event_type, "time": time_text, "data": data}
    return event_type, json.dumps(event).encode()
