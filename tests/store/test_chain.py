"""The hash chain over entries: silent on what the worker wrote, and whatever was changed behind its back is seen."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text
from uuid6 import uuid7

from core.errors import ChainKeyMissingError
from core.posting.batch import Poster
from core.store.engine import create_database_engine, run_bulk
from core.store.proof.chain import ChainStep, Head, erased_why, has_chain, missing_heads, walk_chains, why_digest
from core.store.proof.processes import Processes
from tasks.periodic import expire_lots
from tests.conftest import OpenDatabase
from tests.factories import PROGRAM_TEXT, line, order, refund
from tests.shell import EVENT_SOURCE, Shell, tampered
from tests.tasks.runtimes import make_runtime

KEY, NEW_KEY, STRANGE_KEY = b"k" * 32, b"n" * 32, b"s" * 32
EXPIRY = "expiry: {policy: after_months, months: 1}\n"

# Columns of an entry, and what a thief might put there. Account c1 has four entries, the last but one is changed.
CHANGED = {
    "kind": "'expiry'",
    "points": "points - 1",
    "balance_after": "balance_after + 1",
    "lifetime_points_after": "lifetime_points_after + 1",
    "deficit_change": "1",
    "occurred_at": "occurred_at + interval '1 microsecond'",
    "recorded_at": "recorded_at - interval '1 day'",
    "source": "'/elsewhere'",
    "order_id": "'another'",
    "refund_id": "'another'",
    "return_id": "'another'",
    "command_id": "'another'",
    "corrects_sequence": "1",
    "pending_change": "pending_change - 1",
    "pending_after": "pending_after + 1",
    "reserved_change": "reserved_change + 1",
    "reserved_after": "reserved_after + 1",
    "why": """(why::text || ' ')::json""",
    "chain_hash": r"'\x00'",
}
THIRD = "sequence = 3 AND account_id = (SELECT account_id FROM accounts WHERE customer_id = 'c1')"
FORGED = f"""
INSERT INTO entries SELECT account_id, 5, 'accrual', 9, 0, 0, 0, 9, 0, 0, 9, now(), now(), '', '', '', 1, '{{}}'
FROM entries WHERE {THIRD}
"""
UNSIGNED = "ALTER TABLE entries DROP CONSTRAINT ck_entries_sign"  # or it would refuse some of them
TAMPERED = [
    *(
        (f"{UNSIGNED}; UPDATE entries SET {column} = {value} WHERE {THIRD}", 3, "does not fit")
        for column, value in CHANGED.items()
    ),
    (f"UPDATE allocations SET points = points - 1 WHERE {THIRD}", 3, "does not fit"),
    (f"UPDATE allocations SET lot_number = 1 WHERE {THIRD}", 3, "does not fit"),
    (f"UPDATE allocations SET kind = 'expired' WHERE {THIRD}", 3, "does not fit"),
    (f"DELETE FROM allocations WHERE {THIRD}", 3, "does not fit"),
    (f"DELETE FROM allocations WHERE {THIRD}; DELETE FROM entries WHERE {THIRD}", 4, "does not fit"),
    (f"UPDATE entries SET chain_hash = NULL WHERE {THIRD}", 3, "has no hash"),
    (f"UPDATE entries SET chain_hash = NULL WHERE {THIRD.replace('3', '4')}", 4, "has no hash"),
    (f"UPDATE entries SET chain_hash = NULL WHERE {THIRD.replace('= 3', '< 3')}", 3, "does not fit"),
    (FORGED, 5, "has no hash"),
]


@pytest.fixture(scope="module")
def chained(open_database: OpenDatabase) -> Iterator[Shell]:
    """Two customers, one with accruals, clawbacks and an expiry, all with the key. Tests leave it as it was."""
    with open_database() as url:
        engine = create_database_engine(url)
        shell = with_key(Shell(engine, shards=1, program_text=PROGRAM_TEXT + EXPIRY), KEY)
        yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        shell.take(
            order("ö1", "60.00", time="2026-01-10T12:00:00.123456+01:00"),
            order("o2", lines=[line("1", "40.00"), line("2", "2.50")], time=yesterday),
            order("o3", customer_id="c2"),
        )
        shell.take(refund("r2", "o2", net="10.00"))
        expire_lots(make_runtime(engine, chain_key=KEY), "2026-02-20T00:00:00Z")
        yield shell
        engine.dispose()


def with_key(shell: Shell, key: bytes | None) -> Shell:
    shell.poster = Poster(shell.engine, event_source=EVENT_SOURCE, new_account_id=uuid7, chain_key=key)
    return shell


def walk(connection: Connection, *keys: bytes) -> ChainStep:
    (step,) = walk_chains(connection, keys)
    return step


def test_what_the_worker_wrote_fits(chained: Shell) -> None:
    assert chained.value("SELECT count(*) FROM entries WHERE length(chain_hash) = 32") == 5
    assert {row.kind for row in chained.rows("SELECT kind FROM entries")} == {"accrual", "clawback", "expiry"}
    with tampered(chained) as connection:
        step = walk(connection, KEY)
    assert (step.entries, step.differences) == (5, [])
    assert sorted(head.sequence for head in step.heads) == [1, 4]
    assert chained.differences() == []


@pytest.mark.parametrize(("tampering", "sequence", "said"), TAMPERED)
def test_what_was_changed_is_named_once_by_its_first_entry(
    chained: Shell, tampering: str, sequence: int, said: str
) -> None:
    account_id = chained.value("SELECT account_id FROM accounts WHERE customer_id = 'c1'")
    with tampered(chained, tampering) as connection:
        (difference,) = walk(connection, KEY).differences
    assert difference.account_id == account_id
    assert difference.text.startswith(f"entry {sequence} of account {account_id} {said}")


def test_every_column_of_an_entry_is_covered(chained: Shell) -> None:
    columns = chained.rows("SELECT column_name FROM information_schema.columns WHERE table_name = 'entries'")
    assert {row.column_name for row in columns} - {"account_id", "sequence"} == set(CHANGED)


@pytest.mark.parametrize("column", ["account_id", "sequence"])
def test_an_entry_fits_in_its_own_place_only(chained: Shell, column: str) -> None:
    """Its account and its number are part of it: swapped between two entries, neither fits."""
    move = {
        "sequence": "UPDATE entries SET sequence = 7 - sequence WHERE sequence IN (3, 4)",
        "account_id": """UPDATE entries e SET account_id = a.account_id, sequence = 2 FROM accounts a
                         WHERE a.customer_id = 'c2' AND e.sequence = 4""",
    }[column]
    with tampered(chained, f"ALTER TABLE entries DROP CONSTRAINT pk_entries CASCADE; {move}") as connection:
        assert walk(connection, KEY).differences


def test_an_account_has_one_salt_and_its_entries_need_it(chained: Shell) -> None:
    assert chained.value("SELECT count(*) = 2 AND min(length(salt)) = 16 FROM account_salts")
    with tampered(chained, "DELETE FROM account_salts") as connection:
        assert [each.text[:7] for each in walk(connection, KEY).differences] == ["entry 1"] * 2


REPLACED = f"UPDATE entries SET why = '{{}}' WHERE {THIRD}"
KEPT_DIGEST = f"""
INSERT INTO erased_whys SELECT account_id, sequence, %(digest)s, %(seal)s FROM entries WHERE {THIRD}
"""


def test_an_explanation_that_is_erased_leaves_the_chain_as_it_was_and_what_is_left_has_a_seal(chained: Shell) -> None:
    """Its digest, which only the salt makes, stands for it."""
    statement = (
        f"SELECT account_id, sequence, salt, why::text FROM entries JOIN account_salts USING (account_id) WHERE {THIRD}"
    )
    (account_id, sequence, salt, why), heads = chained.rows(statement)[0], chained_heads(chained)
    row = erased_why(KEY, account_id, sequence, why_digest(salt, why), "{}")
    with tampered(chained) as connection:
        values = {"digest": row.why_digest, "seal": row.seal}
        run_bulk(connection, REPLACED)
        run_bulk(connection, KEPT_DIGEST, values)
        assert walk(connection, KEY).differences == []
        assert walk(connection, KEY).heads == heads
        run_bulk(connection, f"UPDATE entries SET why = '[]' WHERE {THIRD}")
        (text,) = [each.text for each in walk(connection, KEY).differences]
        assert "of the explanation of entry 3" in text
        run_bulk(connection, "DELETE FROM erased_whys")
        (text,) = [each.text for each in walk(connection, KEY).differences]
        assert text.startswith("entry 3")


def chained_heads(chained: Shell) -> list[Head]:
    with tampered(chained) as connection:
        return walk(connection, KEY).heads


def test_without_the_key_nothing_fits(chained: Shell) -> None:
    with tampered(chained) as connection:
        texts = [difference.text for difference in walk(connection, STRANGE_KEY).differences]
    assert [text.split()[0] for text in texts] == ["entry"] * 2 + ["order"] * 3


def test_a_chain_goes_on_under_a_new_key_and_is_checked_with_both(engine: Engine) -> None:
    shell = with_key(Shell(engine, shards=1), KEY)
    shell.take(order("o1"))
    with_key(shell, NEW_KEY).take(order("o2"), order("o3", customer_id="c2"))
    with tampered(shell) as connection:
        assert walk(connection, NEW_KEY, KEY).differences == []
        texts = [difference.text for difference in walk(connection, NEW_KEY).differences]
        assert [text.split()[:2] for text in texts] == [["entry", "1"], ["order", "o1"]]
    with tampered(shell, "UPDATE entries SET why = '{}' WHERE order_id = 'o1'") as connection:
        assert "entry 1 " in walk(connection, NEW_KEY, KEY).differences[0].text


def test_a_chain_may_begin_late_but_not_end(engine: Engine) -> None:
    shell = Shell(engine, shards=1)
    shell.take(order("o1"))
    with engine.begin() as connection:
        assert not has_chain(connection)
        assert walk(connection, KEY) == (1, 1, 0, [], [])
    with_key(shell, KEY).take(order("o2"), order("o3"))
    with engine.begin() as connection:
        assert has_chain(connection)
        assert (walk(connection, KEY).entries, walk(connection, KEY).differences) == (2, [])
    with pytest.raises(ChainKeyMissingError):
        with_key(shell, None).take(order("o4"))
    assert with_key(shell, KEY).post() == {"posted": 1}
    with engine.begin() as connection:
        assert (walk(connection, KEY).entries, walk(connection, KEY).differences) == (3, [])


def test_slices_of_any_size_give_the_same_heads(chained: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with tampered(chained) as connection:
        at_once = walk(connection, KEY).heads
        monkeypatch.setattr("core.store.proof.chain.SLICE_ENTRIES_MIN", 1)
        steps = list(walk_chains(connection, (KEY,)))
    assert [head for step in steps for head in step.heads] == at_once
    assert [step.slices_done for step in steps] == [1, 2]


def test_several_processes_walk_as_one_does(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.store.proof.chain.SLICE_ENTRIES_MIN", 1)
    shell = with_key(Shell(engine), KEY)
    shell.take(order("o1"), order("o2", customer_id="c2"))
    shell.execute("UPDATE entries SET points = points + 1, balance_after = balance_after + 1")
    with shell.engine.connect() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        by_one = list(walk_chains(connection, (KEY,)))
        assert list(walk_chains(connection, (KEY,), Processes(2))) == by_one
    assert [len(step.differences) for step in by_one] == [1, 1]


def test_heads_that_were_noted_are_missed_when_the_end_of_a_chain_is_gone(chained: Shell) -> None:
    with tampered(chained) as connection:
        noted = walk(connection, KEY).heads
        assert missing_heads(connection, noted) == []
    fourth = THIRD.replace("= 3", "= 4")
    gone = f"DELETE FROM allocations WHERE {fourth}; DELETE FROM entries WHERE {fourth}"
    with tampered(chained, gone) as connection:
        assert walk(connection, KEY).differences == []
        (missing,) = missing_heads(connection, noted)
        assert missing.text.startswith("entry 4 of account")
        assert missing_heads(connection, [Head(uuid7(), 1, b"")])
