"""Replay the whole data set, or a part of it, through the real processes, twice, and prove the result.

    python -m benchmarks.replay online_retail_2010_2011.csv.gz [--broker-url amqp://…]
    python -m benchmarks.replay workers/demo/online_retail_sample.ndjson.gz --limit 200

1. Every order and cancellation goes through the queue; then every balance must equal the independent calculation
   (check_replay.py, which shares no code with the worker), and `verify` must be clean.
2. Everything is published again: nothing may change but the count of deliveries.
Exit code 0 only if all of that holds.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine, text

from benchmarks.load import Message, recorded_messages
from benchmarks.servers import PROGRAM_FILE, ROOT, fresh_database, running_servers
from config.settings import Settings
from core.messages.program_files.program_file import load_program
from core.reading.progress import Progress, load_progress
from core.store.proof.verify import verify_ledger
from workers.bootstrap import Addresses
from workers.brokers import open_shop_publisher
from workers.stack import supervisor_of
from workers.supervisor import Supervisor

_SECONDS_MAX = 900.0

# Everything that a replay must not touch, in one number per table.
_FINGERPRINTS = {
    "accounts": "SELECT md5(string_agg(t::text, ';' ORDER BY account_id)) FROM accounts t",
    "entries": "SELECT md5(string_agg(t::text, ';' ORDER BY account_id, sequence)) FROM entries t",
    "lots": "SELECT md5(string_agg(t::text, ';' ORDER BY account_id, lot_number)) FROM lots t",
    "orders": "SELECT md5(string_agg(md5(t::text), ';' ORDER BY source, order_id)) FROM orders t",
    "refunds": "SELECT md5(string_agg(md5(t::text), ';' ORDER BY source, refund_id)) FROM refunds t",
    "events": "SELECT md5(string_agg(concat(account_id, ':', event_key), ';' ORDER BY outbox_id)) FROM outbox",
}


def main() -> int:
    """Replay, check, replay again, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the CSV, or documents that online_retail.py wrote (.ndjson.gz)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N documents")
    parser.add_argument("--database-url", help="another server than the embedded one; it gets a database of its own")
    parser.add_argument("--broker-url", help="another broker than the embedded Valkey")
    parser.add_argument("--data-dir", type=Path, default=ROOT / ".loyalty-replay", help="emptied first")
    arguments = parser.parse_args()
    messages = recorded_messages(arguments.file)[: arguments.limit]
    with (
        running_servers(arguments.database_url, arguments.broker_url, folder=arguments.data_dir) as (
            server_url,
            broker_url,
        ),
        fresh_database(server_url, "loyalty_replay", load_program(PROGRAM_FILE)) as engine,
    ):
        addresses = Addresses(engine.url.render_as_string(hide_password=False), broker_url)
        settings = Settings(data_dir=arguments.data_dir, log_level="warning")
        supervisor = supervisor_of(settings, addresses, log_folder=arguments.data_dir / "logs")
        supervisor.start()
        try:
            first = _replay(engine, supervisor, broker_url, messages, repeats=0)
            before = _fingerprints(engine)
            is_equal = _compare(arguments.file, addresses.database_url, len(messages))
            second = _replay(engine, supervisor, broker_url, messages, repeats=len(messages))
            changed = [name for name, value in _fingerprints(engine).items() if value != before[name]]
            with engine.begin() as connection:
                differences = verify_ledger(connection)
        finally:
            supervisor.stop()
    counts = f"{first.posted} posted, {first.waiting} waiting, {first.parked} parked, {first.published} events"
    print(f"first replay: {counts}")
    print(f"second replay: {second.repeats} repeats; changed tables: {', '.join(changed) or 'none'}")
    print(f"verify: {differences or 'clean'}")
    return 0 if is_equal and not changed and not differences and not first.parked else 1


def _replay(
    engine: Engine, supervisor: Supervisor, broker_url: str, messages: Sequence[Message], *, repeats: int
) -> Progress:
    publisher = open_shop_publisher(broker_url)
    for start in range(0, len(messages), 500):
        publisher.publish(messages[start : start + 500])
    publisher.close()
    started = time.monotonic()
    while True:
        supervisor.step()
        with engine.connect() as connection:
            progress = load_progress(connection)
        if progress.received >= len(messages) and progress.repeats >= repeats and progress.is_through:
            print(f"{len(messages)} messages through in {time.monotonic() - started:.1f} s")
            return progress
        if time.monotonic() - started > _SECONDS_MAX:
            raise TimeoutError(str(progress))
        time.sleep(1)


def _fingerprints(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        return {name: str(connection.execute(text(query)).scalar()) for name, query in _FINGERPRINTS.items()}


def _compare(file: Path, database_url: str, documents: int) -> bool:
    url = database_url.replace("postgresql+psycopg://", "postgresql://")
    options = ["--program", str(PROGRAM_FILE), "--database-url", url, "--limit", str(documents)]
    command = [sys.executable, "-m", "benchmarks.check_replay", str(file), *options]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
