"""What the tables themselves refuse, whoever writes: the idempotency keys and the invariants that one row can carry."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import CheckConstraint, Constraint, Engine, ForeignKeyConstraint, UniqueConstraint
from sqlalchemy.exc import IntegrityError

from core.store.engine import create_database_engine
from core.store.tables import metadata
from tests.conftest import OpenDatabase
from tests.factories import PROGRAM_TEXT, command, fulfilment, goods_back, line, order, refund
from tests.published import PUBLISH_ALL
from tests.shell import Shell, take_by_operator

# For every constraint a statement that would break it, and nothing else, in the ledger of `filled`.
REFUSED = {
    "pk_programs": "INSERT INTO programs SELECT * FROM programs",
    "ck_programs_version": "UPDATE programs SET version = 0",
    "pk_program_changes": "INSERT INTO program_changes SELECT * FROM program_changes",
    "fk_program_changes_program_id_version": "UPDATE program_changes SET version = 9",
    "ck_program_changes_change_number": "UPDATE program_changes SET change_number = 0",
    "ck_program_changes_effective_from": (
        "UPDATE program_changes SET effective_from = changed_at - interval '1 second'"
    ),
    "pk_inbox": "UPDATE inbox SET inbox_id = 1",
    "uq_inbox_source_event_id_variant": "UPDATE inbox SET source = 's', event_id = 'e', variant = ''",
    "ck_inbox_state": "UPDATE inbox SET state = 'lost' WHERE state = 'posted'",
    "ck_inbox_dead_has_reason": "UPDATE inbox SET reason = 'not_json' WHERE state = 'posted'",
    "ck_inbox_outcome_has_time": "UPDATE inbox SET settled_at = NULL WHERE state = 'posted'",
    "ck_inbox_open_is_settled": "UPDATE inbox SET settled = '{}' WHERE state = 'posted'",
    "ck_inbox_received_has_shard": (
        "UPDATE inbox SET state = 'received', settled = '{}', settled_at = NULL, shard = NULL WHERE state = 'posted'"
    ),
    "pk_dead_letter_actions": "UPDATE dead_letter_actions SET action_id = 1",
    "ck_dead_letter_actions_action": "UPDATE dead_letter_actions SET action = 'forgotten'",
    "ck_dead_letter_actions_acted_by": "UPDATE dead_letter_actions SET acted_by = NULL",
    "fk_dead_letter_actions_inbox_id": "UPDATE dead_letter_actions SET inbox_id = 999",
    "pk_accounts": "INSERT INTO accounts SELECT * FROM accounts",
    "ck_accounts_deficit": "UPDATE accounts SET deficit = -1",
    "ck_accounts_pending": "UPDATE accounts SET pending = -1",
    "ck_accounts_reserved": "UPDATE accounts SET reserved = -1",
    "ck_accounts_balance_covers_lots": "UPDATE accounts SET balance = -1, deficit = 0",
    "ck_accounts_qualifying_points": "UPDATE accounts SET qualifying_points = -1",
    "ck_accounts_lifetime_points_given": "UPDATE accounts SET lifetime_points_given = -1",
    "ck_accounts_status": "UPDATE accounts SET status = 'gone'",
    "ck_accounts_enrolment_given": "UPDATE accounts SET is_enrolment_given = true, enrolled_at = NULL",
    "ck_accounts_merged_into_another": "UPDATE accounts SET merged_into = account_id WHERE merged_into IS NULL",
    "fk_accounts_merged_into": "UPDATE accounts SET merged_into = gen_random_uuid() WHERE merged_into IS NOT NULL",
    "pk_merges": "INSERT INTO merges SELECT * FROM merges",
    "fk_merges_account_id_sequence": "DELETE FROM lot_moves; UPDATE merges SET sequence = 99",
    "fk_merges_other_account_id_other_sequence": "UPDATE merges SET other_sequence = 99",
    "ck_merges_role": "UPDATE merges SET role = 'friend'",
    "ck_merges_two_accounts": "UPDATE merges SET other_account_id = account_id",
    "pk_lot_moves": "INSERT INTO lot_moves SELECT * FROM lot_moves",
    "fk_lot_moves_account_id_sequence": "UPDATE lot_moves SET sequence = 99",
    "fk_lot_moves_account_id_lot_number": "UPDATE lot_moves SET lot_number = 99",
    "fk_lot_moves_other_account_id_other_lot_number": "UPDATE lot_moves SET other_lot_number = 99",
    "ck_lot_moves_points_granted": "UPDATE lot_moves SET points_granted = -1",
    "pk_account_details": "INSERT INTO account_details SELECT * FROM account_details",
    "fk_account_details_account_id": "UPDATE account_details SET account_id = gen_random_uuid()",
    "pk_commands": "INSERT INTO commands SELECT * FROM commands",
    "fk_commands_account_id": "UPDATE commands SET account_id = gen_random_uuid()",
    "ck_commands_rejected_has_code": "UPDATE commands SET code = 'unknown_account'",
    "ck_commands_version_of_accepted": "UPDATE commands SET program_version = NULL",
    "pk_authorizations": "INSERT INTO authorizations SELECT * FROM authorizations",
    "fk_authorizations_account_id_sequence": "UPDATE authorizations SET sequence = 99",
    "ck_authorizations_kind": "UPDATE authorizations SET kind = 'loan'",
    "ck_authorizations_reward_of_rewards": "UPDATE authorizations SET reward_id = 'tea'",
    "ck_authorizations_points_not_negative": "UPDATE authorizations SET points_captured = -1, points_returned = 0",
    "ck_authorizations_points_add_up": "UPDATE authorizations SET points_captured = points_authorized",
    "ck_authorizations_state": "UPDATE authorizations SET state = 'lost', points_captured = points_authorized",
    "ck_authorizations_instants": "UPDATE authorizations SET expires_at = 'infinity'",
    "pk_erasures": "INSERT INTO erasures SELECT token, 'another', salt_check FROM erasures",
    "uq_erasures_name_key": "INSERT INTO erasures SELECT 'another', name_key, salt_check FROM erasures",
    "pk_erased_accounts": "INSERT INTO erased_accounts SELECT * FROM erased_accounts",
    "fk_erased_accounts_account_id": "UPDATE erased_accounts SET account_id = gen_random_uuid()",
    "fk_erased_accounts_token": "UPDATE erased_accounts SET token = 'another'",
    "pk_erased_contents": "INSERT INTO erased_contents SELECT * FROM erased_contents",
    "ck_commands_accepted_has_account": "UPDATE commands SET account_id = NULL, program_version = NULL"
    " WHERE code IS NULL",
    "pk_account_salts": "INSERT INTO account_salts SELECT * FROM account_salts",
    "fk_account_salts_account_id": "UPDATE account_salts SET account_id = gen_random_uuid()",
    "pk_erased_whys": "INSERT INTO erased_whys SELECT * FROM erased_whys",
    "fk_erased_whys_account_id_sequence": "UPDATE erased_whys SET sequence = 99",
    "pk_members": "INSERT INTO members SELECT * FROM members",
    "fk_members_account_id": "UPDATE members SET account_id = gen_random_uuid()",
    "pk_account_members": "INSERT INTO account_members SELECT * FROM account_members",
    "fk_account_members_account_id": "UPDATE account_members SET account_id = gen_random_uuid()",
    "ck_account_members_role": "UPDATE account_members SET role = 'owner'",
    "pk_account_references": "INSERT INTO account_references SELECT * FROM account_references",
    "fk_account_references_account_id": "UPDATE account_references SET account_id = gen_random_uuid()",
    "pk_entries": "INSERT INTO entries SELECT * FROM entries WHERE sequence = 1",
    "fk_entries_account_id": (
        "INSERT INTO entries SELECT (jsonb_populate_record(e, jsonb_build_object('account_id', gen_random_uuid()))).*"
        " FROM entries e WHERE sequence = 1"
    ),
    "ck_entries_sequence": "UPDATE entries SET sequence = 0, corrects_sequence = NULL WHERE sequence = 2",
    "ck_entries_points": "UPDATE entries SET points = 0 WHERE kind = 'clawback'",
    "ck_entries_pending_after": "UPDATE entries SET pending_after = -1",
    "ck_entries_reserved_after": "UPDATE entries SET reserved_after = -1",
    "ck_entries_kind": "UPDATE entries SET kind = 'gift' WHERE kind = 'clawback'",
    "ck_entries_sign": "UPDATE entries SET points = -points WHERE kind = 'clawback'",
    "uq_entries_reversal": "UPDATE entries SET kind = 'reversal', corrects_sequence = 1 WHERE sequence IN (2, 3)",
    "ck_entries_corrects_earlier": "UPDATE entries SET corrects_sequence = sequence",
    "pk_lots": "INSERT INTO lots SELECT * FROM lots WHERE lot_number = 1",
    "fk_lots_account_id_opened_by_sequence": "UPDATE lots SET opened_by_sequence = 99",
    "ck_lots_points_granted": "UPDATE lots SET points_granted = 0, points_remaining = 0, points_expired = 0",
    "ck_lots_points_not_negative": "UPDATE lots SET points_remaining = -1",
    "ck_lots_points_within_grant": "UPDATE lots SET points_expired = points_granted + 1",
    "ck_lots_points_excused": "UPDATE lots SET points_excused = points_granted + 1",
    "ck_lots_available_has_time": "UPDATE lots SET available_at = NULL",
    "ck_lots_origin_kind": "UPDATE lots SET origin_kind = 'gift'",
    "ck_lots_one_expiry": "UPDATE lots SET expires_with = 1, expires_at = now()",
    "fk_lots_account_id_expires_with": "UPDATE lots SET expires_with = 99, expires_at = NULL",
    "pk_shared_expiries": "INSERT INTO shared_expiries SELECT * FROM shared_expiries",
    "fk_shared_expiries_account_id": "UPDATE shared_expiries SET account_id = gen_random_uuid()",
    "ck_inbox_instants": "UPDATE inbox SET occurred_at = '-infinity'",
    "ck_accounts_orders_counted": "UPDATE accounts SET orders_counted = -1",
    "ck_accounts_instants": "UPDATE accounts SET tier_until = 'infinity'",
    "ck_lots_instants": "UPDATE lots SET expires_at = 'infinity'",
    "ck_shared_expiries_instants": "UPDATE shared_expiries SET expires_at = '12000-01-01Z'",
    "ck_orders_instants": "UPDATE orders SET cancelled_at = '0044-03-15 BC'",
    "ck_reminders_instants": "UPDATE reminders SET expires_at = 'infinity'",
    "ck_retention_instants": "UPDATE retention SET purged_before = 'infinity'",
    "pk_allocations": "INSERT INTO allocations SELECT * FROM allocations WHERE sequence = 1",
    "fk_allocations_account_id_sequence": "UPDATE allocations SET sequence = 99 WHERE sequence = 1",
    "fk_allocations_account_id_lot_number": "UPDATE allocations SET lot_number = 99 WHERE sequence = 1",
    "ck_allocations_kind": "UPDATE allocations SET kind = 'lent' WHERE kind = 'taken'",
    "ck_allocations_sign": "UPDATE allocations SET points = -points",
    "pk_tier_changes": "INSERT INTO tier_changes SELECT * FROM tier_changes",
    "fk_tier_changes_account_id": "UPDATE tier_changes SET account_id = gen_random_uuid()",
    "ck_tier_changes_reason": "UPDATE tier_changes SET reason = 'liked'",
    "pk_orders": "INSERT INTO orders SELECT * FROM orders",
    "fk_orders_account_id": "UPDATE orders SET account_id = gen_random_uuid()",
    "ck_orders_points_not_negative": "UPDATE orders SET points_shortfall = -1",
    "ck_orders_guests_earn_nothing": "UPDATE orders SET account_id = NULL",
    "ck_orders_reference": "UPDATE orders SET reference_kind = 'card'",
    "ck_orders_paid_in_one_way": "UPDATE orders SET points_command_id = 'p1', points_authorization_id = 'a1'",
    "pk_order_payments": "INSERT INTO order_payments SELECT * FROM order_payments",
    "fk_order_payments_order_source_order_id_program_id": "UPDATE order_payments SET order_id = 'another'",
    "ck_order_payments_kind": "UPDATE order_payments SET kind = 'gift', source = '/shops/test'",
    "ck_order_payments_source_of_commands": "UPDATE order_payments SET source = '/shops/test'",
    "ck_order_payments_order_whole": "UPDATE order_payments SET order_id = NULL",
    "ck_order_payments_share": "UPDATE order_payments SET share = '3/0'",
    "ck_order_payments_points_not_negative": "UPDATE order_payments SET points_due = -1",
    "pk_refunds": "INSERT INTO refunds SELECT * FROM refunds",
    "fk_refunds_account_id": "UPDATE refunds SET account_id = gen_random_uuid()",
    "ck_refunds_in_one_way": "UPDATE refunds SET is_full = true",
    "fk_refunds_order_source_order_id_program_id": "UPDATE refunds SET order_id = 'another'",
    "ck_refunds_points_add_up": "UPDATE refunds SET points_taken = points_taken + 1",
    "ck_refunds_points_have_an_entry": "UPDATE refunds SET sequence = NULL",
    "ck_refunds_points_one_way": (
        "UPDATE refunds SET points_taken = points_taken + points_excused + 1, points_excused = -1"
    ),
    "pk_order_events": "INSERT INTO order_events SELECT * FROM order_events",
    "fk_order_events_account_id": "UPDATE order_events SET account_id = gen_random_uuid()",
    "fk_order_events_source_order_id_program_id": "UPDATE order_events SET order_id = 'another'",
    "ck_order_events_kind": "UPDATE order_events SET kind = 'forgotten'",
    "ck_order_events_points_add_up": "UPDATE order_events SET points_taken = points_taken + 1",
    "ck_order_events_points_one_way": "UPDATE order_events SET sequence = 7, points_taken = 1, points_excused = -1",
    "ck_order_events_points_have_an_entry": "UPDATE order_events SET sequence = 7",
    "ck_order_events_part_has_content": "UPDATE order_events SET event_key = '1'",
    "pk_returns": "INSERT INTO returns SELECT * FROM returns",
    "fk_returns_account_id": "UPDATE returns SET account_id = gen_random_uuid()",
    "ck_returns_points_add_up": "UPDATE returns SET points_taken = points_taken + 1",
    "ck_returns_points_not_negative": (
        "UPDATE returns SET points_taken = points_taken + points_excused + 1, points_excused = -1"
    ),
    "ck_returns_points_have_an_entry": "UPDATE returns SET sequence = NULL",
    "ck_returns_taken_of_accounts": "UPDATE returns SET account_id = NULL",
    "ck_returns_reference": "UPDATE returns SET reference_kind = 'card'",
    "pk_usages": "INSERT INTO usages SELECT * FROM usages",
    "fk_usages_account_id": "UPDATE usages SET account_id = gen_random_uuid()",
    "pk_source_days": "INSERT INTO source_days SELECT * FROM source_days",
    "pk_budgets": "INSERT INTO budgets SELECT * FROM budgets",
    "pk_reminders": "INSERT INTO reminders SELECT * FROM reminders",
    "fk_reminders_account_id": "UPDATE reminders SET account_id = gen_random_uuid()",
    "ck_reminders_points": "UPDATE reminders SET points = -1",
    "ck_reminders_number": "UPDATE reminders SET number = 0",
    "pk_outbox": "UPDATE outbox SET outbox_id = 1",
    "ck_outbox_reply": "UPDATE outbox SET reply_to = repeat('ü', 128)",
    "uq_outbox_account_id_event_key": "UPDATE outbox SET event_key = 'same'",
    "pk_numbers": "INSERT INTO numbers SELECT * FROM numbers",
    "pk_turns": "INSERT INTO turns SELECT * FROM turns",
    "pk_relay_positions": "INSERT INTO relay_positions SELECT * FROM relay_positions",
    "pk_posting_attempts": "INSERT INTO posting_attempts SELECT * FROM posting_attempts",
    "pk_periodic_runs": "INSERT INTO periodic_runs SELECT * FROM periodic_runs",
    "ck_periodic_runs_as_of": "UPDATE periodic_runs SET as_of = '2300-01-01'",
    "pk_liability_snapshots": "INSERT INTO liability_snapshots SELECT * FROM liability_snapshots",
    "fk_liability_snapshots_program_id_program_version": "UPDATE liability_snapshots SET program_version = 9",
    "ck_liability_snapshots_month": "UPDATE liability_snapshots SET month = '2026-01-02'",
    "ck_liability_snapshots_month_was_over": "UPDATE liability_snapshots SET as_of = taken_at",
    "ck_liability_snapshots_instants": "UPDATE liability_snapshots SET as_of = '-infinity'",
    "pk_liability_lines": "INSERT INTO liability_lines SELECT * FROM liability_lines",
    "fk_liability_lines_program_id_month": "UPDATE liability_lines SET month = '2025-12-01'",
    "ck_liability_lines_bucket": "UPDATE liability_lines SET bucket = 'lent'",
    "ck_liability_lines_earned_month": "UPDATE liability_lines SET bucket = 'reserved'",
    "ck_liability_lines_last_month": "UPDATE liability_lines SET bucket = 'deficit', earned_month = NULL",
    "pk_activity_lines": "INSERT INTO activity_lines SELECT * FROM activity_lines",
    "fk_activity_lines_program_id_month": "UPDATE activity_lines SET month = '2025-12-01'",
    "ck_activity_lines_flow": "UPDATE activity_lines SET flow = 'lent'",
    "ck_activity_lines_cause_kind": "UPDATE activity_lines SET cause_kind = 'whim'",
    "ck_activity_lines_points": "UPDATE activity_lines SET points = 0",
    "pk_retention": "INSERT INTO retention SELECT * FROM retention",
    "pk_repairs": "UPDATE repairs SET repair_id = 1",
    "fk_repairs_account_id": "UPDATE repairs SET account_id = gen_random_uuid()",
    "pk_schema_support": "INSERT INTO schema_support SELECT * FROM schema_support",
    "ck_schema_support_is_only_row": "INSERT INTO schema_support VALUES (false, '0001')",
}

LIMITED = """
promotions:
  - {promotion_id: more, kind: addition, points: 5, limits: {budget_points: 100, orders_per_customer: 3}}
"""


@pytest.fixture(scope="module")
def filled(open_database: OpenDatabase) -> Iterator[Shell]:
    """One order, refunded and fulfilled, one message parked and dropped, a limit, a reminder: rows in every table.

    Every test leaves it as it was: what is refused changes nothing.
    """
    with open_database() as url:
        engine = create_database_engine(url)
        yield fill(engine)
        engine.dispose()


def fill(engine: Engine) -> Shell:
    shell = Shell(engine, shards=1, program_text=PROGRAM_TEXT + LIMITED)
    lines = [line("1", "600.00"), line("2", "10.00")]
    shell.take(order(lines=lines), refund(net="50.00"), fulfilment(), b"broken")
    shell.take(goods_back())
    take_by_operator(shell, command("credit", "k1", points=5), command("authorize", "k3", points=5))
    members = [{"customer_id": "c9", "role": "member"}]
    create = command("account.create", "k2", account_id="a1", customer_id="c2", tags=["vip"], members=members)
    take_by_operator(shell, create)
    merge = command("account.merge", "k5", customer_id="c5", into_customer_id="c6")
    take_by_operator(shell, command("credit", "k6", customer_id="c6", points=5))
    take_by_operator(shell, command("credit", "k7", customer_id="c5", points=5), merge)
    shell.take(order("paid", "10.00", customer_id=None, points_paid="5.00", points_authorization_id="k3"))
    shell.execute("INSERT INTO account_references SELECT 'card', '1', program_id, account_id, 0 FROM accounts LIMIT 1")
    shell.execute("INSERT INTO account_salts SELECT account_id, 'salt' FROM accounts LIMIT 1")
    shell.execute("INSERT INTO erased_whys SELECT account_id, sequence, 'digest', 'seal' FROM entries LIMIT 1")
    shell.execute("INSERT INTO erasures VALUES ('erased@1', 'key', 'check')")
    shell.execute("INSERT INTO erased_accounts SELECT account_id, 'erased@1', false FROM accounts LIMIT 1")
    shell.execute("INSERT INTO erased_contents VALUES ('key', 'hash'), ('another', NULL)")
    shell.execute("INSERT INTO reminders SELECT account_id, now(), 5, 30 FROM accounts")
    shell.execute(
        "INSERT INTO shared_expiries (account_id, expires_with, account_shard, earned_by, expires_at)"
        " SELECT account_id, 1, account_shard, '', now() FROM accounts"
    )
    shell.execute(
        "INSERT INTO dead_letter_actions (inbox_id, action, acted_by) VALUES (1, 'dropped', ''), (2, 'dropped', '')"
    )
    shell.execute("INSERT INTO periodic_runs (task, as_of, result) VALUES ('loyalty.expire_lots', now(), '{}')")
    shell.execute("INSERT INTO source_days VALUES ('/shops/test', 'loyalty.command.credit', now(), 5)")
    shell.execute("INSERT INTO posting_attempts VALUES (0) ON CONFLICT DO NOTHING")
    shell.execute(PUBLISH_ALL)
    shell.apply_program(PROGRAM_TEXT, "2098-01-01T00:00:00Z")
    shell.execute("INSERT INTO program_changes VALUES ('test', 2, 1, '2099-01-01', now(), 'anna', 'not ready')")
    shell.execute("INSERT INTO retention VALUES ('inbox', now())")
    shell.execute("INSERT INTO liability_snapshots VALUES ('test', '2026-01-01', '2026-02-01', 1, 0, '{}')")
    shell.execute(
        "INSERT INTO liability_lines SELECT program_id, month, n, 'available', '', month, month, 15 - 10 * n"
        " FROM liability_snapshots, generate_series(1, 2) AS n"
    )
    shell.execute(
        "INSERT INTO activity_lines SELECT program_id, month, n, 'issued', 'rule', 'spend', 1, 15 - 10 * n"
        " FROM liability_snapshots, generate_series(1, 2) AS n"
    )
    shell.execute(
        "INSERT INTO repairs (account_id, subject, found, rebuilt, applied_by)"
        " SELECT account_id, 'account', '{}', '{}', 'kim' FROM accounts, generate_series(1, 2)"
    )
    return shell


def all_constraints() -> list[Constraint]:
    return [constraint for table in metadata.sorted_tables for constraint in table.constraints]


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(filled: Shell, name: str) -> None:
    with pytest.raises(IntegrityError) as refused:
        filled.execute(REFUSED[name])
    cause = refused.value.orig
    assert isinstance(cause, psycopg.Error)
    assert cause.diag.constraint_name == name


def test_every_constraint_is_tried_here() -> None:
    unique = {str(index.name) for table in metadata.sorted_tables for index in table.indexes if index.unique}
    assert {str(constraint.name) for constraint in all_constraints()} | unique == set(REFUSED)


def test_the_ledger_that_is_tampered_with_has_rows_everywhere(filled: Shell) -> None:
    empty = [name for name in metadata.tables if filled.value(f"SELECT count(*) FROM {name}") == 0]
    assert empty == []
    assert filled.differences() == []


_UNKNOWN_OF_ORDERS = """
account_id amendment attributes cancelled_at customer_id customer_tags fulfilled_at judgement
points_authorization_id points_command_id points_command_source qualifying_steps rate reference reference_kind
seal sequence tier_id
"""
_UNKNOWN_OF_MESSAGES = (
    "type occurred_at shard subject content_hash settled reason detail settled_at signature awaits subject_source"
    " reply_to correlation_id points_per_command_max points_per_day_max traceparent tracestate"
)


_UNKNOWN_OF_ACCOUNTS = (
    "counted_until enrolled_at merged_into own_account_id qualifying_from tier_held_until tier_since tier_until"
    " tier_warned_until"
)


def test_what_must_be_known_cannot_be_left_out(filled: Shell) -> None:
    """Every column that is not declared optional refuses null."""
    optional: dict[str, list[str]] = {}
    rows: list[Any] = filled.rows(
        "SELECT table_name, column_name FROM information_schema.columns"
        " JOIN information_schema.tables USING (table_schema, table_name)"
        " WHERE table_schema = 'public' AND is_nullable = 'YES' AND table_type = 'BASE TABLE'"
    )
    for row in rows:
        optional.setdefault(row.table_name, []).append(row.column_name)
    assert {name: sorted(columns) for name, columns in optional.items()} == {
        "programs": ["applied_by"],
        "program_changes": ["effective_from"],
        "inbox": sorted(_UNKNOWN_OF_MESSAGES.split()),
        "dead_letter_actions": ["acted_by", "detail", "reason"],
        "accounts": sorted(_UNKNOWN_OF_ACCOUNTS.split()),
        "entries": ["chain_hash", "command_id", "corrects_sequence", "order_id", "refund_id", "return_id", "source"],
        "account_details": ["business_hash"],
        "erased_contents": ["content_hash"],
        "authorizations": ["expires_at", "reward_id", "told_at"],
        "commands": ["account_id", "code", "program_version"],
        "lots": ["available_at", "expires_at", "expires_with"],
        "shared_expiries": ["extended_to"],
        "orders": sorted(_UNKNOWN_OF_ORDERS.split()),
        "order_payments": ["order_id", "order_source", "program_id"],
        "refunds": ["account_id", "currency", "lines", "net", "paid", "sequence"],
        "order_events": ["account_id", "accrual_sequence", "content", "sequence"],
        "returns": ["account_id", "rate", "reference", "reference_kind", "seal", "sequence", "tier_id"],
        "outbox": ["account_id", "correlation_id", "reply_to", "traceparent", "tracestate"],
        "liability_lines": ["earned_month", "last_month"],
        "activity_lines": ["program_version"],
        "repairs": ["account_id", "reason", "seal"],
        "retention": ["seal"],
    }


def test_kinds_of_constraints_are_those_that_this_file_knows() -> None:
    """An exclusion constraint would need a case of its own."""
    kinds = (CheckConstraint, UniqueConstraint, ForeignKeyConstraint)
    others = [c for c in all_constraints() if not isinstance(c, kinds) and not str(c.name).startswith("pk_")]
    assert others == []
