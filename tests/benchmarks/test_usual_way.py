"""The usual way, which ours is compared with, does the same work: it ends in the same ledger."""

import pytest
from sqlalchemy import Row

from benchmarks import usual_way
from benchmarks.load import sample_messages
from benchmarks.servers import PROGRAM_FILE, fresh_database
from core.messages.program_files.program_file import load_program
from core.store.proof.verify import verify_ledger
from tests.conftest import Servers
from tests.shell import Shell

pytestmark = pytest.mark.slow

#: What either way wrote, without the ids of accounts and the numbers of messages, which are its own.
WRITTEN = {
    "accounts": "accounts t",
    "entries": "entries t JOIN accounts USING (account_id)",
    "lots": "lots t JOIN accounts USING (account_id)",
    "allocations": "allocations t JOIN accounts USING (account_id)",
    "tier_changes": "tier_changes t JOIN accounts USING (account_id)",
    "orders": "orders t",
    "refunds": "refunds t",
    "outbox": "outbox t LEFT JOIN accounts USING (account_id)",
}
OWN = "{account_id,account_shard,shard,inbox_id,outbox_id,event_key,body,created_at,updated_at,recorded_at}"


def written(shell: Shell, table: str) -> list[Row[tuple[str]]]:
    """The rows of a table, each with its customer."""
    customer = "" if table in {"orders", "refunds"} else "customer_id, "
    return shell.rows(
        f"SELECT {customer} (to_jsonb(t) - '{OWN}'::text[])::text AS content FROM {WRITTEN[table]} ORDER BY 1, content"
    )


class NoPublisher:
    """What is published elsewhere is no part of it."""

    def publish(self, events: object, replies: object = (), traces: object = ()) -> None:
        """Take nothing."""

    def close(self) -> None:
        """Close nothing."""


def test_it_ends_in_the_ledger_that_ours_ends_in(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [body for _, body in sample_messages(200)]
    program, url = load_program(PROGRAM_FILE), servers.database_url
    with (
        fresh_database(url, "loyalty_ours", program) as our_engine,
        fresh_database(url, "loyalty_usual", program) as usual_engine,
    ):
        ours = Shell(our_engine, program_text=None)
        ours.receive(*messages)
        ours.post()

        usual = Shell(usual_engine, program_text=None)
        usual_way.with_plain_json(usual_engine).dispose()
        monkeypatch.setattr(usual_way, "_engine", lambda: usual_engine)
        monkeypatch.setattr(usual_way, "_publisher", NoPublisher)
        usual_way.prepare(usual_engine)
        for body in messages:
            usual_way.process(body.decode())

        with usual_engine.begin() as connection:
            # Its numbers have gaps: they come from a sequence, so many for the events of each message.
            gaps = "events are numbered without gaps to the last, which is never purged"
            assert {difference.name for difference in verify_ledger(connection)} == {gaps}
        for table in WRITTEN:
            rows = written(ours, table)
            assert rows, "there is nothing to compare"
            assert written(usual, table) == rows
