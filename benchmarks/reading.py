"""How long a storefront waits for an account, by each kind of name, against one indexed read of its row.

python -m benchmarks.reading --accounts 100000

Each account has ten orders with a lot each, a tier of a running year, an id of its own, a card, a phone number and an
e-mail address; each tenth has reserved points and a member, and some messages wait or are parked. All are read over one
connection, in any order, within a snapshot: the row by its key, as a program reads it that knows SQLAlchemy and not us;
balance and tier alone (`find_accounts`); all that `loyalty account show` tells (`find_standings`). Beside these stand a
transaction and a snapshot for one reading alone.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from hashlib import md5
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, Engine, Row, text

from benchmarks.filling import ORDERS_EACH, fill_ledger
from benchmarks.servers import database_server, fresh_database
from core.domain.value.commands import ACCOUNT, CARD, CUSTOMER, EMAIL, PHONE
from core.messages.inbound.personal_names import hidden_name
from core.messages.program_files.program_file import parse_program
from core.reading.snapshot import Reader, Snapshot
from core.reading.storefront import find_accounts, find_standings
from core.store.engine import run_bulk
from core.store.ledger import ACCOUNTS
from core.store.programs import append_version

_SALT = b"a salt of the benchmark alone"
_ORDERED_DAYS_AGO = 200  #: so that no lot has expired
_MESSAGES_EACH = 20  #: that wait, and that are parked
#: As of now the year counts, and there is a tier to reach.
_PROGRAM = """
program_id: bench
name: Bench
currency: EUR
time_zone: Europe/Berlin
default: true
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {bronze: "1", silver: "1", gold: "2"}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 500}
  - {tier_id: gold, threshold_points: 5000}
qualification: {window: rolling_months, months: 12}
expiry: {policy: after_days, days: 300}
"""
_OWN_IDS = "UPDATE accounts SET own_account_id = 'account-' || substr(customer_id, 2)"
_REFERENCES = """
INSERT INTO account_references (kind, reference, program_id, account_id, shard)
SELECT %(kind)s, k.reference, %(program_id)s, md5('account ' || k.n)::uuid, 0
FROM unnest(%(references)s::text[]) WITH ORDINALITY AS k(reference, n)
"""
_MEMBERS = """
INSERT INTO account_members (account_id, customer_id, role)
SELECT account_id, 'member of ' || customer_id, 'member' FROM accounts WHERE customer_id LIKE '%%0'
"""
_AUTHORIZATIONS = f"""
INSERT INTO authorizations (kind, authorization_id, account_id, account_shard, sequence, source, command_id,
                            points_authorized)
SELECT 'authorization', 'basket ' || customer_id, account_id, account_shard, {ORDERS_EACH}, '/bench', customer_id, 1
FROM accounts WHERE customer_id LIKE '%%0'
"""
_RESERVED = """
UPDATE accounts SET reserved = 1, balance = balance - 1 WHERE customer_id LIKE '%%0'
"""
# Refunds that wait for orders which never come, and orders that could not be read to their end.
_MESSAGES = """
INSERT INTO inbox (inbox_id, source, event_id, type, occurred_at, subject, body, settled, state, reason, settled_at)
SELECT k.first + n, '/bench', state || n, 'order.refunded', now(), concat('order ', state, n),
       convert_to(concat('{"data":{"order_id":"', state, n, '","customer_id":"unknown ', n, '"}}'), 'UTF8'), '{}',
       state, CASE state WHEN 'dead' THEN 'invalid_message' END, CASE state WHEN 'dead' THEN now() END
FROM (VALUES ('waiting', 10000000000), ('dead', 20000000000)) AS k(state, first), generate_series(1, %(count)s) AS n
"""
_INDEXED, _TRANSACTION = "the row of the account, by its key", "a transaction, and the row in it"
#: So many are read, once before it counts: what the server and the driver keep is there then. With ten times as many
#: their lots and orders, each in a page of its own, would be more than the embedded server keeps.
_ONLINE = 200
_ROW = text("SELECT * FROM accounts WHERE account_id = :account_id")
_BARE_ROW = f"SELECT {ACCOUNTS.select('a')} FROM accounts a WHERE a.account_id = %s"  # our own names


def _drawn_id(number: int) -> UUID:
    return UUID(md5(f"account {number}".encode(), usedforsecurity=False).hexdigest())


#: How an account is named: what that is called, its kind, and the name of each number.
_NAMES: list[tuple[str, str, Callable[[int], str]]] = [
    ("customer id", CUSTOMER, "c{}".format),
    ("drawn account id", ACCOUNT, lambda number: str(_drawn_id(number))),
    ("own account id", ACCOUNT, "account-{}".format),
    ("card", CARD, "9801-{}".format),
    ("phone", PHONE, lambda number: f"+4930{number:08}"),
    ("e-mail", EMAIL, "somebody-{}@example.com".format),
]


class Reads(NamedTuple):
    """Milliseconds of one kind of reading, the median; and how many times that of the row it is, in the same frame."""

    milliseconds: float
    ratio: float


def run_reading(database_url: str, accounts: int, times: int) -> dict[str, Reads]:
    """Fill a database of its own and measure; what is compared with the row stands first."""
    with fresh_database(database_url, "loyalty_bench_reading") as engine:
        fill_accounts(engine, accounts)
        return measure_reads(engine, accounts, times)


def print_reading(found: dict[str, Reads], accounts: int) -> None:
    """Show what took how long, and how many times as long as the row alone."""
    table = Table(title=f"Reading one of {accounts:,} accounts of {ORDERS_EACH} lots each")
    table.add_column("what", no_wrap=True)
    for name in ("median", "ratio"):
        table.add_column(name, justify="right")
    for name, reads in found.items():
        table.add_row(name, f"{reads.milliseconds:.2f} ms", f"{reads.ratio:.1f}")
    console = Console()
    console.width = max(console.width, 100)
    console.print(table)


def main() -> int:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=1_000, help="so often each is read, of another account each time")
    parser.add_argument("--database-url", help="another server than the embedded one; it gets a database of its own")
    arguments = parser.parse_args()
    with database_server(arguments.database_url) as url:
        print_reading(run_reading(url, arguments.accounts, arguments.times), arguments.accounts)
    return 0


def fill_accounts(engine: Engine, accounts: int) -> None:
    """Fill an empty, migrated database as the text above says."""
    fill_ledger(engine, accounts, ordered_days_ago=_ORDERED_DAYS_AGO)
    with engine.begin() as connection:
        append_version(connection, parse_program(_PROGRAM, path="bench.yaml"), _PROGRAM, None)
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        run_bulk(connection, _OWN_IDS)
        for _, kind, name in _NAMES[2:]:
            kept = [hidden_name(kind, name(number), _SALT) for number in range(1, accounts + 1)]
            key = {"kind": kind, "program_id": "" if kind == ACCOUNT else "bench"}
            run_bulk(connection, _REFERENCES, {**key, "references": kept})
        for statement in (_MEMBERS, _AUTHORIZATIONS, _RESERVED):
            run_bulk(connection, statement)
        run_bulk(connection, _MESSAGES, {"count": min(_MESSAGES_EACH, accounts)})
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM"))


def measure_reads(engine: Engine, accounts: int, times: int) -> dict[str, Reads]:
    """Read some accounts again and again, as those of customers who are online; each in every way, in any order."""
    reader, chance = Reader(engine), random.Random(1)  # the same accounts each time
    online = [chance.randint(1, accounts) for _ in range(min(accounts, _ONLINE))]
    ways = list(_ways(engine, reader).items())
    seconds: dict[str, list[float]] = {name: [] for name, _ in ways}
    with reader.snapshot() as now:
        for number in [*online, *(chance.choice(online) for _ in range(times))]:
            chance.shuffle(ways)
            for name, way in ways:
                started = time.perf_counter()
                way(now, number)
                seconds[name].append(time.perf_counter() - started)
    medians = {name: median(found[len(online) :]) for name, found in seconds.items()}
    return {
        name: Reads(1_000 * each, each / medians[_TRANSACTION if name.startswith("a ") else _INDEXED])
        for name, each in medians.items()
    }


def _ways(engine: Engine, reader: Reader) -> dict[str, Callable[[Snapshot, int], Any]]:
    ways: dict[str, Callable[[Snapshot, int], Any]] = {
        _INDEXED: lambda now, number: _row(now.connection, number),
        "the same by the driver alone": lambda now, number: run_bulk(now.connection, _BARE_ROW, (_drawn_id(number),)),
    }
    for called, kind, name in _NAMES:
        ways[f"balance and tier by {called}"] = _of(find_accounts, kind, name)
    for called, kind, name in _NAMES:
        ways[f"all that is shown, by {called}"] = _of(find_standings, kind, name)

    def transaction(_: Snapshot, number: int) -> None:
        with engine.begin() as connection:
            _row(connection, number)

    def snapshot(_: Snapshot, number: int) -> None:
        with reader.snapshot() as of_its_own:
            find_standings(of_its_own, f"c{number}")

    return {**ways, _TRANSACTION: transaction, "a snapshot, and all that is shown in it": snapshot}


def _row(connection: Connection, number: int) -> Row[Any]:
    return connection.execute(_ROW, {"account_id": _drawn_id(number)}).one()


def _of(find: Callable[..., Any], kind: str, name: Callable[[int], str]) -> Callable[[Snapshot, int], Any]:
    return lambda now, number: find(now, name(number), kind=kind, salt=_SALT)


if __name__ == "__main__":
    sys.exit(main())
