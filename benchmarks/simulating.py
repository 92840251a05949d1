"""Simulating a changed program over so many recorded orders, against merely reading them.

python -m benchmarks.simulating --orders 100000 --rounds 3
"""

import argparse
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine, text

from benchmarks.servers import PROGRAM_FILE, database_server, fresh_database
from core.messages.program_files.program_file import load_program, parse_program
from core.simulating.beside import compare_recorded
from core.simulating.comparing import sides
from core.simulating.recorded import RecordedMessage, read_only, recorded_messages
from core.store.programs import load_registry

_UNTIL = datetime(2030, 1, 1, tzinfo=UTC)

# Three lines each, ten orders to a customer, one in twenty with a refund of its first line, over two years.
_FILL = """
INSERT INTO accounts (account_id, program_id, customer_id, account_shard, tier_id)
SELECT md5('account ' || n)::uuid, 'online-retail', 'c' || n, 0, 'bronze' FROM generate_series(1, :orders / 10) AS n;
INSERT INTO orders (source, order_id, program_id, account_id, customer_id, shard, inbox_id, business_hash, currency,
                    occurred_at, lines, points_paid, program_version, tier_id, points_entitled, qualifying_points,
                    qualifying_spend, qualifying_orders, is_counted)
SELECT '/bench', n::text, 'online-retail', md5('account ' || c)::uuid, 'c' || c, 0, n, '', 'GBP',
       timestamptz '2025-01-01Z' + n * interval '2 years' / :orders,
       json_build_object(
           'line_id', json_build_array('1', '2', '3'),
           'sku', json_build_array('s' || n % 500, 's' || n % 77, 's' || n % 31),
           'quantity', json_build_array(1 + n % 3, 2, 1),
           'amount', json_build_array((n % 90)::text, '12.5', '7.99')),
       0, 1, 'bronze', 0, 0, 0, 0, false
FROM (SELECT n, 1 + (n * 7919::bigint) % greatest(1, :orders / 10) AS c FROM generate_series(1, :orders) AS n) AS n;
INSERT INTO refunds (source, refund_id, program_id, order_source, order_id, account_id, inbox_id, business_hash,
                     occurred_at, is_full, lines, points_due, points_taken, points_excused, points_shortfall)
SELECT source, 'r' || order_id, program_id, source, order_id, account_id, inbox_id, '',
       occurred_at + interval '9 days', false,
       json_build_array(json_build_object('line_id', '1', 'quantity', '1')), 0, 0, 0, 0
FROM orders WHERE order_id::integer % 20 = 0;
ANALYZE
"""
_PROMOTION = """
promotions:
  - {promotion_id: extra, kind: addition, points: 20, lines: {skus: [s1, s2, s3]}, limits: {budget_points: 9000}}
"""


def main() -> None:
    """Fill, read, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database-url", help="another server than the embedded one; it gets a database of its own")
    arguments = parser.parse_args()
    with database_server(arguments.database_url) as url:
        _measure(url, arguments.orders, arguments.rounds)


def _measure(server_url: str, orders: int, rounds: int) -> None:
    changed = parse_program(_changed(), path="changed.yaml")
    with fresh_database(server_url, "loyalty_bench_simulating", load_program(PROGRAM_FILE)) as engine:
        _fill(engine, orders)
        with engine.begin() as connection:
            versions = load_registry(connection).versions()
        for _ in range(rounds):
            rows = _timed(engine, lambda read: sum(1 for _ in read))
            started = time.perf_counter()
            compare_recorded(engine, "online-retail", sides(versions, changed, None), _UNTIL, iter)
            both = time.perf_counter() - started
            print(
                f"reading {orders / rows:,.0f} orders a second, simulating both programs {orders / both:,.0f}: "
                f"{both:.1f} s, {both / rows:.1f} times the reading",
                flush=True,
            )


def _changed() -> str:
    """The same program with other rates, a promotion, and points that end."""
    changes = {'bronze: "1"': 'bronze: "2"', "policy: never": "policy: after_days, days: 365"}
    found = PROGRAM_FILE.read_text(encoding="utf-8")
    for old, new in changes.items():
        found = found.replace(old, new)
    return found + _PROMOTION


def _timed(engine: Engine, work: Callable[[Iterator[RecordedMessage]], object]) -> float:
    with engine.begin() as connection:
        read_only(connection)
        started = time.perf_counter()
        work(recorded_messages(connection, "online-retail", _UNTIL))
        return time.perf_counter() - started


def _fill(engine: Engine, orders: int) -> None:
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in _FILL.split(";\n"):
            connection.execute(text(statement), {"orders": orders} if ":orders" in statement else {})


if __name__ == "__main__":
    main()
