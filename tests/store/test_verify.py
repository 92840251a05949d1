"""`loyalty verify`: silent on a clean ledger, and every check finds what it is there for."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import InternalError

from core.store.verify import CHECKS, DIFFERENCES_MAX, verify_ledger
from tests.factories import PROGRAM_TEXT, order, refund
from tests.shell import Shell

PROGRAM = PROGRAM_TEXT + "expiry: {policy: after_months, months: 1}\n"

# Per check, ways to break the ledger of `shell` that it must find; other checks may find them too.
TAMPERED = [
    ("balance is the sum of the entries", "UPDATE accounts SET balance = balance + 1 WHERE customer_id = 'c1'"),
    ("balance is the sum of the entries", "UPDATE entries SET points = points + 1 WHERE sequence = 1"),
    ("balance and pending are the lots less the deficit", "UPDATE accounts SET pending = 5 WHERE customer_id = 'c1'"),
    (
        "balance and pending are the lots less the deficit",
        "UPDATE lots SET points_remaining = points_remaining - 1 WHERE points_remaining > 0",
    ),
    ("deficit is the sum of its changes", "UPDATE accounts SET deficit = deficit + 1 WHERE customer_id = 'c2'"),
    ("deficit is the sum of its changes", "UPDATE entries SET deficit_change = 1 WHERE sequence = 1"),
    ("an entry is the sum of its allocations", "UPDATE allocations SET points = points + 1 WHERE sequence = 1"),
    ("an entry is the sum of its allocations", "DELETE FROM allocations WHERE points < 0"),
    ("a lot holds what its allocations left", "UPDATE lots SET points_granted = points_granted + 1"),
    ("a lot holds what its allocations left", "UPDATE lots SET points_expired = 0"),
    ("a lot holds what its allocations left", "UPDATE entries SET kind = 'clawback' WHERE kind = 'expiry'"),
    (
        "entries are numbered without gaps and their balances chain",
        "UPDATE accounts SET sequence = sequence + 1 WHERE customer_id = 'c1'",
    ),
    (
        "entries are numbered without gaps and their balances chain",
        "UPDATE entries SET balance_after = balance_after + 1 WHERE sequence = 1",
    ),
    (
        "entries are numbered without gaps and their balances chain",
        "WITH gone AS (DELETE FROM allocations WHERE points = -70) DELETE FROM entries WHERE kind = 'expiry'",
    ),
    (
        "an order's entries are its entitlement, what expired and what was not taken",
        "UPDATE orders SET points_entitled = points_entitled + 1 WHERE order_id = 'o1'",
    ),
    (
        "an order's entries are its entitlement, what expired and what was not taken",
        "UPDATE orders SET points_excused = 0 WHERE points_excused > 0",
    ),
    ("lifetime points are accruals less clawbacks", "UPDATE accounts SET lifetime_points = lifetime_points - 1"),
    ("a posted message is in the ledger, once", "UPDATE inbox SET state = 'posted' WHERE state = 'replayed'"),
    ("a posted message is in the ledger, once", "UPDATE orders SET inbox_id = 1"),
    ("a posted message is in the ledger, once", "UPDATE inbox SET state = 'replayed' WHERE state = 'posted'"),
    ("a posted message is in the ledger, once", "DELETE FROM inbox WHERE event_id = 'completed-o1'"),
    (
        "every entry has its event, and an account's events are in order",
        "DELETE FROM outbox WHERE type = 'loyalty.balance.changed'",
    ),
    (
        "every entry has its event, and an account's events are in order",
        "UPDATE outbox SET outbox_id = 1000 - outbox_id",
    ),
    (
        "every entry has its event, and an account's events are in order",
        "UPDATE outbox SET published_at = now() WHERE right(event_id, 1) = '2' AND type = 'loyalty.balance.changed'",
    ),
    ("no expired lot was taken from", "UPDATE lots SET expires_at = '2026-01-01T00:00:00Z'"),
    (
        "a program's balances are what it issued, less what was taken back or expired",
        "UPDATE accounts SET balance = balance + 1 WHERE customer_id = 'c1'",
    ),
]


@pytest.fixture
def shell(engine: Engine) -> Shell:
    """A ledger of everything: refunded, expired, excused, replayed, waiting and parked, a guest, two programs."""
    shell = Shell(engine, shards=1, program_text=PROGRAM)
    shell.apply_program(PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace("/shops/test", "/other"))
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    shell.take(
        order("o1", "620.00", time=yesterday),
        order("o2", "40.00", time=yesterday),
        refund("r1", "o1", amount="100.00", time=yesterday),
        order("old", "70.00", customer_id="c2", time="2026-01-10T12:00:00Z"),
        order("guest", customer_id=None),
        order("o1", "620.00", time=yesterday, event_id="again"),
        order("theirs", source="/other"),
        refund("r2", "never-came"),
        order("dollars", currency="USD"),
    )
    shell.expire("2026-04-30T00:00:00Z")
    shell.take(refund("r3", "old", amount="30.00"), order("o3", "5.00", customer_id="c2", time=yesterday))
    return shell


def found(shell: Shell) -> set[str]:
    return {difference.split(":")[0] for difference in shell.differences()}


def test_a_clean_ledger_is_clean(shell: Shell) -> None:
    kinds = {row.kind for row in shell.rows("SELECT kind FROM entries")}
    states = {row.state for row in shell.rows("SELECT state FROM inbox")}
    assert kinds == {"accrual", "clawback", "expiry"}
    assert states == {"posted", "replayed", "waiting", "dead"}
    assert shell.value("SELECT sum(points_excused) FROM orders") == 30
    assert shell.differences() == []


def test_an_empty_ledger_is_clean(engine: Engine) -> None:
    assert Shell(engine, program_text=None).differences() == []


@pytest.mark.parametrize(("check", "tampering"), TAMPERED)
def test_a_check_finds_what_it_is_there_for(shell: Shell, check: str, tampering: str) -> None:
    shell.execute(tampering)
    assert check in found(shell)


def test_every_check_is_tried_here() -> None:
    assert {check.name for check in CHECKS} == {check for check, _ in TAMPERED}


def test_a_difference_names_the_row_and_both_values(shell: Shell) -> None:
    account_id = shell.value("SELECT account_id FROM accounts WHERE customer_id = 'c2'")
    shell.execute("UPDATE accounts SET lifetime_points = 7 WHERE customer_id = 'c2'")
    assert shell.differences() == [
        f"lifetime points are accruals less clawbacks: account {account_id}: lifetime_points 7, entries give 75"
    ]


def test_one_account_shard_may_be_looked_at_alone(shell: Shell, engine: Engine) -> None:
    shell.execute("UPDATE accounts SET lifetime_points = 7 WHERE customer_id = 'c2'")
    damaged = shell.value("SELECT account_shard FROM accounts WHERE customer_id = 'c2'")
    for shard in range(8):
        with engine.begin() as connection:
            assert len(verify_ledger(connection, account_shard=shard)) == (1 if shard == damaged else 0)


def test_a_ruined_ledger_does_not_drown_the_reader(shell: Shell) -> None:
    shell.take(*(order(f"n{n}", customer_id=f"n{n}") for n in range(DIFFERENCES_MAX + 10)))
    shell.execute("UPDATE accounts SET lifetime_points = lifetime_points + 1")
    assert len(shell.differences()) == DIFFERENCES_MAX


def test_verifying_cannot_change_anything(shell: Shell, engine: Engine) -> None:
    with engine.connect() as connection:
        verify_ledger(connection)
        with pytest.raises(InternalError, match="read-only"):
            connection.execute(text("DELETE FROM outbox"))
