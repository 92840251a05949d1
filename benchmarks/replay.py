"""Replay the whole data set through the real processes, twice, and prove the result.

    python -m benchmarks.replay online_retail_2010_2011.csv.gz [--broker-url amqp://…]

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

from pydantic import SecretStr
from sqlalchemy import Engine, text

from benchmarks.load import Message, full_messages
from config.settings import Settings
from core.messages.program_files.program_file import load_program
from core.reading.progress import Progress, load_progress
from core.store.engine import create_database_engine
from core.store.programs import append_version
from core.store.proof.verify import verify_ledger
from workers.brokers import open_shop_publisher
from workers.embedded import remove_data
from workers.stack import running_servers, supervisor_of
from workers.supervisor import Supervisor

_ROOT = Path(__file__).parent.parent
_PROGRAM = _ROOT / "config" / "programs" / "online-retail.yaml"
_SECONDS_MAX = 900.0

# Everything that a replay must not touch, in one number per table.
_FINGERPRINTS = {
    "accounts": "SELECT md5(string_agg(t::text, ';' ORDER BY account_id)) FROM accounts t",
    "entries": "SELECT md5(string_agg(t::text, ';' ORDER BY account_id, sequence)) FROM entries t",
    "lots": "SELECT md5(string_agg(t::text, ';' ORDER BY account_id, lot_number)) FROM lots t",
    "orders": "SELECT md5(string_agg(md5(t::text), ';' ORDER BY source, order_id)) FROM orders t",
    "refunds": "SELECT md5(string_agg(md5(t::text), ';' ORDER BY source, refund_id)) FROM refunds t",
    "events": "SELECT md5(string_agg(event_id, ';' ORDER BY outbox_id)) FROM outbox",
}


def main() -> int:
    """Replay, check, replay again, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--broker-url", help="another broker than the embedded Valkey")
    parser.add_argument("--data-dir", type=Path, default=_ROOT / ".loyalty-replay", help="emptied first")
    arguments = parser.parse_args()
    messages = full_messages(arguments.csv)
    remove_data(arguments.data_dir)
    broker_url = SecretStr(arguments.broker_url) if arguments.broker_url else None
    settings = Settings(data_dir=arguments.data_dir, database_url=None, broker_url=broker_url, log_level="warning")
    with running_servers(settings) as stack:
        engine = create_database_engine(stack.addresses.database_url)
        with engine.begin() as connection:
            append_version(connection, load_program(_PROGRAM), _PROGRAM.read_text(encoding="utf-8"), None)
        supervisor = supervisor_of(settings, stack.addresses, log_folder=arguments.data_dir / "logs")
        supervisor.start()
        try:
            first = _replay(engine, supervisor, stack.addresses.broker_url, messages, repeats=0)
            before = _fingerprints(engine)
            is_equal = _compare(arguments.csv, stack.addresses.database_url)
            second = _replay(engine, supervisor, stack.addresses.broker_url, messages, repeats=len(messages))
            changed = [name for name, value in _fingerprints(engine).items() if value != before[name]]
            with engine.begin() as connection:
                differences = verify_ledger(connection)
        finally:
            supervisor.stop()
            engine.dispose()
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


def _compare(csv: Path, database_url: str) -> bool:
    url = database_url.replace("postgresql+psycopg://", "postgresql://")
    script = Path(__file__).parent / "check_replay.py"
    command = [sys.executable, str(script), str(csv), "--program", str(_PROGRAM), "--database-url", url]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
