"""What the tables themselves refuse, whoever writes: the idempotency keys and the invariants that one row can carry."""

from typing import Any

import psycopg
import pytest
from sqlalchemy import CheckConstraint, Constraint, Engine, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.exc import IntegrityError

from core.store.tables import metadata
from tests.factories import line, order, refund
from tests.shell import Shell

# For every constraint a statement that would break it, and nothing else, in the ledger of `filled`.
REFUSED = {
    "pk_programs": "INSERT INTO programs SELECT * FROM programs",
    "ck_programs_version": "UPDATE programs SET version = 0",
    "pk_inbox": "UPDATE inbox SET inbox_id = 1",
    "uq_inbox_source_event_id_variant": "UPDATE inbox SET source = 's', event_id = 'e', variant = ''",
    "ck_inbox_state": "UPDATE inbox SET state = 'lost' WHERE state = 'posted'",
    "ck_inbox_dead_has_reason": "UPDATE inbox SET reason = 'not_json' WHERE state = 'posted'",
    "ck_inbox_outcome_has_time": "UPDATE inbox SET settled_at = NULL WHERE state = 'posted'",
    "ck_inbox_received_has_shard": (
        "UPDATE inbox SET state = 'received', settled_at = NULL, shard = NULL WHERE state = 'posted'"
    ),
    "pk_dead_letter_actions": "UPDATE dead_letter_actions SET action_id = 1",
    "ck_dead_letter_actions_action": "UPDATE dead_letter_actions SET action = 'forgotten'",
    "fk_dead_letter_actions_inbox_id": "UPDATE dead_letter_actions SET inbox_id = 999",
    "pk_accounts": "INSERT INTO accounts SELECT * FROM accounts",
    "ck_accounts_deficit": "UPDATE accounts SET deficit = -1",
    "ck_accounts_pending": "UPDATE accounts SET pending = -1",
    "ck_accounts_balance_covers_lots": "UPDATE accounts SET balance = -1, deficit = 0",
    "ck_accounts_qualifying_points": "UPDATE accounts SET qualifying_points = -1",
    "pk_members": "INSERT INTO members SELECT * FROM members",
    "fk_members_account_id": "UPDATE members SET account_id = gen_random_uuid()",
    "pk_entries": "INSERT INTO entries SELECT * FROM entries WHERE sequence = 1",
    "fk_entries_account_id": "INSERT INTO entries SELECT gen_random_uuid(), {others} FROM entries WHERE sequence = 1",
    "ck_entries_sequence": "UPDATE entries SET sequence = 0, corrects_sequence = NULL WHERE sequence = 2",
    "ck_entries_points": "UPDATE entries SET points = 0 WHERE kind = 'clawback'",
    "ck_entries_kind": "UPDATE entries SET kind = 'gift' WHERE kind = 'clawback'",
    "ck_entries_sign": "UPDATE entries SET points = -points WHERE kind = 'clawback'",
    "ck_entries_corrects_earlier": "UPDATE entries SET corrects_sequence = sequence",
    "pk_lots": "INSERT INTO lots SELECT * FROM lots WHERE lot_number = 1",
    "fk_lots_account_id_opened_by_sequence": "UPDATE lots SET opened_by_sequence = 99",
    "ck_lots_points_granted": "UPDATE lots SET points_granted = 0, points_remaining = 0, points_expired = 0",
    "ck_lots_points_not_negative": "UPDATE lots SET points_remaining = -1",
    "ck_lots_points_within_grant": "UPDATE lots SET points_expired = points_granted + 1",
    "pk_allocations": "INSERT INTO allocations SELECT * FROM allocations WHERE sequence = 1",
    "fk_allocations_account_id_sequence": "UPDATE allocations SET sequence = 99 WHERE sequence = 1",
    "fk_allocations_account_id_lot_number": "UPDATE allocations SET lot_number = 99 WHERE sequence = 1",
    "ck_allocations_points": "UPDATE allocations SET points = 0",
    "pk_tier_changes": "INSERT INTO tier_changes SELECT * FROM tier_changes",
    "fk_tier_changes_account_id": "UPDATE tier_changes SET account_id = gen_random_uuid()",
    "ck_tier_changes_reason": "UPDATE tier_changes SET reason = 'liked'",
    "pk_orders": "INSERT INTO orders SELECT * FROM orders",
    "fk_orders_account_id": "UPDATE orders SET account_id = gen_random_uuid()",
    "ck_orders_points_not_negative": "UPDATE orders SET points_shortfall = -1",
    "ck_orders_guests_earn_nothing": "UPDATE orders SET account_id = NULL",
    "pk_refunds": "INSERT INTO refunds SELECT * FROM refunds",
    "fk_refunds_source_order_id_program_id": "UPDATE refunds SET order_id = 'another'",
    "ck_refunds_points_add_up": "UPDATE refunds SET points_taken = points_taken + 1",
    "ck_refunds_points_not_negative": (
        "UPDATE refunds SET points_taken = points_taken + points_excused + 1, points_excused = -1"
    ),
    "pk_outbox": "UPDATE outbox SET outbox_id = 1",
    "uq_outbox_account_id_event_id": "UPDATE outbox SET event_id = 'same'",
    "pk_posting_attempts": "INSERT INTO posting_attempts SELECT * FROM posting_attempts",
    "pk_periodic_runs": "INSERT INTO periodic_runs SELECT * FROM periodic_runs",
}


@pytest.fixture
def filled(engine: Engine) -> Shell:
    """One order with one refund, one message parked and dropped, one run recorded: a row or more in every table."""
    shell = Shell(engine, shards=1)
    shell.take(order(lines=[line("1", "600.00"), line("2", "10.00")]), refund(amount="50.00"), b"broken")
    shell.execute("INSERT INTO dead_letter_actions (inbox_id, action) VALUES (1, 'dropped'), (2, 'dropped')")
    shell.execute("INSERT INTO periodic_runs (task, as_of, result) VALUES ('loyalty.expire_lots', now(), '{}')")
    shell.execute("INSERT INTO posting_attempts VALUES (0) ON CONFLICT DO NOTHING")
    return shell


def all_constraints() -> list[Constraint]:
    return [constraint for table in metadata.sorted_tables for constraint in table.constraints]


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(filled: Shell, name: str) -> None:
    columns = ", ".join(column.name for column in list(metadata.tables["entries"].columns)[1:])
    with pytest.raises(IntegrityError) as refused:
        filled.execute(REFUSED[name].replace("{others}", columns))
    cause = refused.value.orig
    assert isinstance(cause, psycopg.Error)
    assert cause.diag.constraint_name == name


def test_every_constraint_is_tried_here() -> None:
    assert {str(constraint.name) for constraint in all_constraints()} == set(REFUSED)


def test_the_ledger_that_is_tampered_with_has_rows_everywhere(filled: Shell) -> None:
    empty = [name for name in metadata.tables if filled.value(f"SELECT count(*) FROM {name}") == 0]
    assert empty == []
    assert filled.differences() == []


def test_what_must_be_known_cannot_be_left_out(filled: Shell) -> None:
    """Every column that is not declared optional refuses null."""
    optional: dict[str, list[str]] = {}
    rows: list[Any] = filled.rows(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND is_nullable = 'YES'"
    )
    for row in rows:
        optional.setdefault(row.table_name, []).append(row.column_name)
    assert {name: sorted(columns) for name, columns in optional.items()} == {
        "inbox": ["content_hash", "detail", "occurred_at", "order_id", "reason", "settled_at", "shard", "type"],
        "dead_letter_actions": ["detail", "reason"],
        "accounts": ["qualifying_from", "tier_since", "tier_until"],
        "entries": ["corrects_sequence", "order_id", "refund_id", "source"],
        "lots": ["expires_at"],
        "orders": ["account_id", "customer_id", "lot_number", "sequence", "tier_id"],
        "outbox": ["account_id", "published_at"],
    }


def test_kinds_of_constraints_are_those_that_this_file_knows() -> None:
    """An exclusion constraint or a unique index would need a case of its own."""
    kinds = (CheckConstraint, UniqueConstraint, ForeignKeyConstraint)
    others = [c for c in all_constraints() if not isinstance(c, kinds) and not str(c.name).startswith("pk_")]
    unique_indexes = [i for table in metadata.sorted_tables for i in table.indexes if isinstance(i, Index) and i.unique]
    assert (others, unique_indexes) == ([], [])
