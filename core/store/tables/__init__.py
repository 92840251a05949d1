"""The tables. Unique keys are the idempotency rules; checks carry the invariants that one row can carry.

Ledger keys lead with the account, so that the tables can later be partitioned or distributed by it. Business keys
(program, source, order) and (program, source, refund) hold for ever.
"""

from core.store.tables.base import metadata
from core.store.tables.commands import authorizations, commands, source_days
from core.store.tables.erasures import erased_accounts, erased_contents, erasures
from core.store.tables.finance import activity_lines, liability_lines, liability_snapshots
from core.store.tables.ledger import (
    FIRST_LOTS,
    account_details,
    account_members,
    account_references,
    account_salts,
    accounts,
    allocations,
    entries,
    erased_whys,
    lot_moves,
    lots,
    members,
    merges,
    program_changes,
    programs,
    shared_expiries,
    tier_changes,
)
from core.store.tables.messages import (
    dead_letter_actions,
    inbox,
    numbers,
    outbox,
    posting_attempts,
    relay_positions,
    turns,
)
from core.store.tables.orders import budgets, order_events, order_payments, orders, refunds, returns, usages
from core.store.tables.upkeep import periodic_runs, reminders, repairs, retention, schema_support

__all__ = [
    "FIRST_LOTS",
    "account_details",
    "account_members",
    "account_references",
    "account_salts",
    "accounts",
    "activity_lines",
    "allocations",
    "authorizations",
    "budgets",
    "commands",
    "dead_letter_actions",
    "entries",
    "erased_accounts",
    "erased_contents",
    "erased_whys",
    "erasures",
    "inbox",
    "liability_lines",
    "liability_snapshots",
    "lot_moves",
    "lots",
    "members",
    "merges",
    "metadata",
    "numbers",
    "order_events",
    "order_payments",
    "orders",
    "outbox",
    "periodic_runs",
    "posting_attempts",
    "program_changes",
    "programs",
    "refunds",
    "relay_positions",
    "reminders",
    "repairs",
    "retention",
    "returns",
    "schema_support",
    "shared_expiries",
    "source_days",
    "tier_changes",
    "turns",
    "usages",
]
