"""Seals under the chain's key: silent on what was written, and whatever was changed behind its back is named."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine
from uuid6 import uuid7

from core.errors import ChainKeyMissingError
from core.mending.lot_extensions import Hand, LotFilter, NewEnd, extend_lots
from core.posting.batch import Poster
from core.store.engine import create_database_engine
from core.store.grants import WORKER_GRANTS
from core.store.programs import load_registry
from core.store.proof.chain import walk_chains
from core.store.proof.seals import SEALED
from core.store.proof.verify import run_checks
from tasks.purge import purge
from tests.conftest import OpenDatabase
from tests.factories import PROGRAM_TEXT, claim, goods_back, order
from tests.shell import EVENT_SOURCE, Shell, tampered
from tests.tasks.runtimes import make_runtime

KEY = b"k" * 32
PROGRAM = (
    PROGRAM_TEXT
    + """expiry: {policy: after_months, months: 12}
promotions:
  - {promotion_id: more, kind: addition, points: 5, limits: {orders_per_customer: 1}}
"""
)
SAID = {"attributes": {"channel": "app"}, "customer_tags": ["stäff", "new"], "points_paid": "1.50"}

#: Of each sealed column what a thief might put there.
CHANGED = {
    "orders": {
        "source": "'/elsewhere'",
        "order_id": "order_id || '-2'",
        "program_id": "'another'",
        "account_id": "NULL, points_entitled = 0",
        "customer_id": "'c9'",
        "reference_kind": "'card', reference = '1'",
        "reference": "'1', reference_kind = 'card'",
        "shard": "shard + 1",
        "inbox_id": "inbox_id + 100",
        "business_hash": "''",
        "currency": "'USD'",
        "rate": "1.5",
        "occurred_at": "occurred_at + interval '1 microsecond'",
        "lines": "replace(lines::text, '4', '5')::json",
        "points_paid": "points_paid + 1",
        "points_authorization_id": "'a1'",
        "points_command_id": "'p1'",
        "points_command_source": "'/till', points_command_id = 'p1'",
        "program_version": "2",
        "tier_id": "'gold'",
        "sequence": "7",
        "attributes": """'{"channel":"shop"}'""",
        "customer_tags": "'[]'",
        "judgement": "'{}'",
    },
    "returns": {
        "source": "'/elsewhere'",
        "return_id": "return_id || '-2'",
        "program_id": "'another'",
        "account_id": "NULL, points_due = 0, points_taken = 0, sequence = NULL",
        "customer_id": "'c9'",
        "reference_kind": "'card', reference = '1'",
        "reference": "'1', reference_kind = 'card'",
        "inbox_id": "inbox_id + 100",
        "business_hash": "''",
        "currency": "'USD'",
        "rate": "1.5",
        "occurred_at": "occurred_at + interval '1 microsecond'",
        "lines": "replace(lines::text, '4', '5')::json",
        "program_version": "2",
        "tier_id": "'gold'",
        "points_due": "points_due + 1, points_taken = points_taken + 1",
        "points_taken": "points_taken + 1, points_due = points_due + 1",
        "points_excused": "points_excused + 1, points_due = points_due + 1",
        "points_shortfall": "points_shortfall + 1, points_due = points_due + 1",
        "sequence": "7",
    },
    "repairs": {
        "account_id": "NULL",
        "subject": "'lot 2'",
        "found": "'{}'",
        "rebuilt": """'{"expires_at": "2099-01-01T00:00:00+00:00"}'""",
        "reason": "'another'",
        "applied_by": "'nobody'",
    },
    "retention": {"table_name": "'outbox'", "purged_before": "now()"},
}
OTHERS = [
    ("UPDATE orders SET seal = NULL WHERE order_id = 'o1'", "order o1 of /shops/test has no seal"),
    ("UPDATE orders SET seal = NULL WHERE order_id = 'nothing'", "order nothing of /shops/test has no seal"),
    ("UPDATE orders SET seal = 'x' WHERE order_id = 'guest'", "order guest of /shops/test does not fit its seal"),
    ("UPDATE retention SET seal = NULL, purged_before = now()", "what retention says of inbox has no seal"),
    (
        """INSERT INTO repairs (account_id, subject, found, rebuilt, applied_by)
           SELECT account_id, 'lot 1', '{}', '{"expires_at": "2099-01-01T00:00:00Z"}', 'nobody' FROM accounts""",
        "the change by hand of lot 1",
    ),
]


@pytest.fixture(scope="module")
def sealed(open_database: OpenDatabase) -> Iterator[Shell]:
    """A customer's orders, one that earned nothing, and a guest's; a lot that was extended; what was purged."""
    with open_database() as url:
        engine = create_database_engine(url)
        shell = with_key(Shell(engine, shards=1, program_text=PROGRAM), KEY)
        yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        shell.take(
            order("o1", "40.00", time=yesterday, **SAID),
            order("nothing", "0.00", time=yesterday),
            order("guest", customer_id=None),
            goods_back("b1", "4.00", time=yesterday),
        )
        extend(shell, KEY)
        assert purge(make_runtime(engine, inbox_retention_days=1e-9, chain_key=KEY))["inbox_rows"] == 4
        yield shell
        engine.dispose()


def with_key(shell: Shell, key: bytes | None) -> Shell:
    shell.poster = Poster(shell.engine, event_source=EVENT_SOURCE, new_account_id=uuid7, chain_key=key)
    return shell


def extend(shell: Shell, key: bytes | None) -> None:
    accounts = [row.account_id for row in shell.rows("SELECT account_id FROM accounts")]
    with shell.engine.begin() as connection:
        registry = load_registry(connection)
        hand = Hand("kim", "a long winter")
        extend_lots(connection, registry, LotFilter("test"), NewEnd(days=30), accounts, hand, EVENT_SOURCE, key)


def broken(connection: Connection, *keys: bytes) -> list[str]:
    return [difference.text for step in walk_chains(connection, keys or (KEY,)) for difference in step.differences]


def test_what_the_worker_wrote_fits(sealed: Shell) -> None:
    for table in CHANGED:
        assert sealed.value(f"SELECT count(*) > 0 AND bool_and(length(seal) = 32) FROM {table}")
    with tampered(sealed) as connection:
        assert broken(connection, b"new" * 11, KEY) == []
    assert sealed.differences() == []


def test_whatever_was_changed_of_a_sealed_row_is_named(sealed: Shell) -> None:
    unseen = []
    for table, columns in CHANGED.items():
        for column, value in columns.items():
            first = f"ctid = (SELECT min(ctid) FROM {table})"
            with tampered(sealed, f"UPDATE {table} SET {column} = {value} WHERE {first}") as connection:
                if not any("does not fit its seal" in text for text in broken(connection)):
                    unseen.append((table, column))
    assert unseen == []


@pytest.mark.parametrize(("change", "said"), OTHERS)
def test_a_seal_that_is_not_there_is_missed(sealed: Shell, change: str, said: str) -> None:
    with tampered(sealed, change) as connection:
        assert [text for text in broken(connection) if text.startswith(said)]


#: What a claim changes of an order, which is sealed anew then.
CLAIMED = {"account_id", "shard", "tier_id", "sequence", "judgement"}


def test_everything_is_sealed_that_is_written_once() -> None:
    for table, names in SEALED.items():
        given = {column.name for column in table.columns if column.server_default is None and column.identity is None}
        updated = set(WORKER_GRANTS[table.name].updates) - {"purged_before"} - CLAIMED
        assert set(names) == given - updated - {"seal"}
        assert set(names) == set(CHANGED[table.name])


def test_an_order_that_is_claimed_is_sealed_anew(engine: Engine) -> None:
    shell = with_key(Shell(engine, shards=1, program_text=PROGRAM), KEY)
    shell.take(order("o1", customer_id=None), order("o2", customer_id="c2"))
    shell.take(claim("o1"), claim("o2", "c3", previous_customer_id="c2"))
    with shell.engine.begin() as connection:
        assert broken(connection) == []
    assert (shell.balance("c1"), shell.balance("c2"), shell.balance("c3"), shell.differences()) == (105, 0, 105, [])


def test_without_the_key_no_chained_account_is_changed_by_hand(sealed: Shell) -> None:
    with pytest.raises(ChainKeyMissingError, match="Set LOYALTY_CHAIN_KEY"):
        extend(sealed, None)


def test_without_a_chain_no_key_is_needed_and_nothing_is_sealed(engine: Engine) -> None:
    shell = with_key(Shell(engine, shards=1, program_text=PROGRAM), None)
    shell.take(order("o1"))
    extend(shell, None)
    assert shell.value("SELECT count(seal) FROM orders") + shell.value("SELECT count(seal) FROM repairs") == 0
    with engine.begin() as connection:
        assert broken(connection) == []


def test_a_change_by_hand_that_is_recorded_again_explains_nothing(engine: Engine) -> None:
    shell = with_key(Shell(engine, shards=1, program_text=PROGRAM), KEY)
    shell.take(order("o1", time=(datetime.now(UTC) - timedelta(days=1)).isoformat()))
    extend(shell, KEY)
    extend(shell, KEY)
    assert shell.differences() == []
    again = """
    INSERT INTO repairs (account_id, subject, found, rebuilt, reason, applied_by, seal)
    SELECT account_id, subject, found, rebuilt, reason, applied_by, seal FROM repairs WHERE repair_id = 1;
    UPDATE lots SET expires_at = (SELECT (rebuilt->>'expires_at')::timestamptz FROM repairs WHERE repair_id = 1)
    """
    with tampered(shell, again) as connection:
        assert broken(connection) == []
        (difference,) = [found for step in run_checks(connection) if step.is_done for found in step.found]
        assert difference.name == "a lot's dates are what its order and what moved it give"
