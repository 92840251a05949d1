"""Commands posted against plain orders of one line: as many of each kind, by one process, in one run.

python -m benchmarks.posted_commands --messages 5000 --rounds 3

Everything is for the same customers, as many as there are messages of one kind, divided by ten. A ratio above 1 says
that the command is posted faster than the order. Beside the rates stands what the posting process takes of a processor,
which neighbours on the machine hardly touch.
"""

import argparse
import json
import resource
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from benchmarks.posting import BENCH_LIMITS, fill_inbox, measure_posting
from benchmarks.servers import PROGRAM_FILE, database_server, fresh_database
from core.domain.value.verbs import Verb
from core.messages.inbound.sources import CommandGrant, Sources
from core.messages.program_files.program_file import load_program

_BATCH_MESSAGES, _SHARDS = 500, 16
_SOURCE = "/shops/online-retail"  # of the program
_ORDERS = "orders of one line"
_Data = Callable[[int, int], dict[str, Any]]  #: of a message, by its number and its customer's
#: What is measured, in this order: type and data of the messages.
_KINDS: dict[str, tuple[str, _Data]] = {
    _ORDERS: (
        "order.completed",
        lambda number, customer: {
            "order_id": f"order-{number}",
            "customer_id": f"customer-{customer}",
            "currency": "GBP",
            "lines": [{"line_id": "1", "sku": "A", "quantity": 1, "amount": "100.00"}],
        },
    ),
    **{
        verb.value: (
            f"loyalty.command.{verb.value}",
            lambda _, customer: {"customer_id": f"customer-{customer}", "points": 1},
        )
        for verb in (Verb.CREDIT, Verb.AUTHORIZE, Verb.REDEEM, Verb.DEBIT)
    },
}
_GRANTS = {verb: CommandGrant() for verb in (Verb.CREDIT, Verb.AUTHORIZE, Verb.REDEEM, Verb.DEBIT)}
_LIMITS = BENCH_LIMITS._replace(sources=Sources({}, parks_unlisted=False, commands={_SOURCE: _GRANTS}))


class Speed(NamedTuple):
    """Messages of one kind."""

    messages_per_s: float
    processor_us: float  #: of the posting process, for each message

    def ratio_to(self, other: "Speed") -> float:
        """How many times as fast."""
        return self.messages_per_s / other.messages_per_s

    def processor_ratio_to(self, other: "Speed") -> float:
        """The same by what the processor was taken for."""
        return other.processor_us / self.processor_us


def main() -> None:
    """Measure in rounds, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5_000, help="of each kind")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database-url", help="another server than the embedded one; it gets a database of its own")
    arguments = parser.parse_args()
    with database_server(arguments.database_url) as url:
        print_commands([run_commands(url, arguments.messages) for _ in range(arguments.rounds)])


def run_commands(database_url: str, messages: int) -> dict[str, Speed]:
    """Post so many of each kind, one kind after the other."""
    with fresh_database(database_url, "loyalty_bench_commands", load_program(PROGRAM_FILE)) as engine:
        start_seconds = _processor_seconds(lambda: measure_posting(engine, _BATCH_MESSAGES, processes=1))
        return {kind: _posted(engine, kind, messages, start_seconds) for kind in _KINDS}


def _posted(engine: Engine, kind: str, messages: int, start_seconds: float) -> Speed:
    message_type, data = _KINDS[kind]
    customers = max(1, messages // 10)
    bodies = [_body(message_type, f"{kind}-{number}", data(number, number % customers)) for number in range(messages)]
    fill_inbox(engine, [(message_type, body) for body in bodies], _SHARDS, limits=_LIMITS)
    rates: list[float] = []
    seconds = _processor_seconds(lambda: rates.append(measure_posting(engine, _BATCH_MESSAGES, processes=1)))
    return Speed(rates[0], 1e6 * (seconds - start_seconds) / messages)


def _body(message_type: str, event_id: str, data: dict[str, Any]) -> bytes:
    event = {"id": event_id, "source": _SOURCE, "type": message_type, "time": datetime.now(UTC).isoformat()}
    return json.dumps({"specversion": "1.0", **event, "data": data}).encode()


def _processor_seconds(work: Callable[[], object]) -> float:
    """What the processes that this one starts and waits for take of a processor, their start-up included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_commands(rounds: list[dict[str, Speed]]) -> None:
    """Show the medians of the rounds, and their ratios to orders."""
    table = Table(title="Posted by one process")
    for name in ("what", "messages per second", "ratio", "processor time, µs each", "ratio of these"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for kind in _KINDS:
        table.add_row(kind, *_cells([(each[kind], each[_ORDERS]) for each in rounds]))
    Console().print(table)


def _cells(pairs: list[tuple[Speed, Speed]]) -> Iterator[str]:
    yield f"{median(speed.messages_per_s for speed, _ in pairs):,.0f}"
    yield f"{median(speed.ratio_to(orders) for speed, orders in pairs):.2f}"
    yield f"{median(speed.processor_us for speed, _ in pairs):,.0f}"
    yield f"{median(speed.processor_ratio_to(orders) for speed, orders in pairs):.2f}"


if __name__ == "__main__":
    main()
