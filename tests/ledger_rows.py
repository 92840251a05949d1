"""The ledger as a value, so that two runs can be compared."""

from core.store.tables import metadata
from tests.shell import Shell

# Everything that posting writes, without the numbers and instants that differ from run to run.
LEDGER = {
    "accounts": """
        SELECT program_id, customer_id, sequence, lots_opened, balance, pending, reserved, deficit, lifetime_points,
               qualifying_points, qualifying_from, tier_id, tier_since, tier_until, tier_changes, orders_posted,
               orders_counted, enrolled_at, tier_held_until, tier_warned_until FROM accounts""",
    "entries": """
        SELECT a.program_id, a.customer_id, e.sequence, kind, points, pending_change, reserved_change, deficit_change,
               balance_after, pending_after, reserved_after, lifetime_points_after, occurred_at, source, order_id,
               refund_id, corrects_sequence, why::text
        FROM entries e JOIN accounts a USING (account_id)""",
    "lots": """
        SELECT a.program_id, a.customer_id, lot_number, opened_by_sequence, origin_kind, origin_source, origin_id,
               origin_at, points_granted, points_remaining, points_expired, available_at, expires_at, earned_by,
               is_pending, points_excused
        FROM lots JOIN accounts a USING (account_id)""",
    "allocations": """
        SELECT a.program_id, a.customer_id, n.sequence, lot_number, kind, points
        FROM allocations n JOIN accounts a USING (account_id)""",
    "orders": """
        SELECT source, order_id, program_id, customer_id, business_hash, rate, lines::text, points_paid,
               program_version, tier_id, sequence, points_entitled, points_excused, points_shortfall,
               inbox_id, attributes::text, customer_tags::text, judgement::text, qualifying_points, qualifying_spend,
               qualifying_orders, is_counted, fulfilled_at, cancelled_at FROM orders""",
    "refunds": """
        SELECT source, refund_id, program_id, order_id, account_id IS NULL, business_hash, is_full, currency, paid, net,
               lines::text, points_due, points_taken, points_excused, points_shortfall, inbox_id FROM refunds""",
    "order events": """
        SELECT source, order_id, program_id, kind, account_id IS NULL, points_due, points_taken, points_excused,
               points_shortfall, inbox_id FROM order_events""",
    "usages": """
        SELECT a.program_id, a.customer_id, name, period, points, orders, carried
        FROM usages JOIN accounts a USING (account_id)""",
    "budgets": "SELECT program_id, name, points, orders FROM budgets",
    "reminders": """
        SELECT a.program_id, a.customer_id, expires_at, points, days_ahead, number
        FROM reminders JOIN accounts a USING (account_id)""",
    "tier changes": """
        SELECT a.program_id, a.customer_id, change_number, previous_tier_id, t.tier_id, t.qualifying_points,
               effective_at, reason FROM tier_changes t JOIN accounts a USING (account_id)""",
    "inbox": "SELECT source, event_id, state, reason, detail, deliveries FROM inbox",
    "outbox": """
        SELECT program_id, customer_id, event_key, type,
               ((body::jsonb->'data') - '{account_id,recorded_at}'::text[])::text,
               row_number() OVER (PARTITION BY account_id ORDER BY outbox_id)
        FROM outbox JOIN accounts USING (account_id)""",
}


def ledger_rows(shell: Shell) -> dict[str, list[str]]:
    """All rows of the ledger, the inbox and the outbox, in a form that two runs can be compared by."""
    return {name: sorted(map(repr, shell.rows(statement))) for name, statement in LEDGER.items()}


def empty_ledger(shell: Shell) -> None:
    """Delete everything but the programs."""
    kept = {"programs", "schema_support", "numbers"}
    emptied = [f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables) if table.name not in kept]
    with shell.engine.begin() as connection:
        connection.exec_driver_sql("; ".join([*emptied, "UPDATE numbers SET next_number = 1 WHERE name = 'inbox'"]))
