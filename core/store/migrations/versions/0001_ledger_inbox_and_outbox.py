"""The first tables: ledger, inbox, outbox, and what periodic work and releases keep of themselves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("program_id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("account_shard", sa.SmallInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lots_opened", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("balance", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("pending", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("deficit", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lifetime_points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("qualifying_points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("qualifying_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tier_id", sa.String(), nullable=False),
        sa.Column("tier_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tier_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tier_changes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("orders_posted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tier_held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tier_warned_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("balance >= -deficit", name=op.f("ck_accounts_balance_covers_lots")),
        sa.CheckConstraint("deficit >= 0", name=op.f("ck_accounts_deficit")),
        sa.CheckConstraint("pending >= 0", name=op.f("ck_accounts_pending")),
        sa.CheckConstraint("qualifying_points >= 0", name=op.f("ck_accounts_qualifying_points")),
        sa.CheckConstraint("reserved >= 0", name=op.f("ck_accounts_reserved")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
    )
    op.create_index(
        "ix_accounts_tier_review",
        "accounts",
        ["account_shard", "tier_until"],
        postgresql_where=sa.text("tier_until IS NOT NULL"),
    )
    op.create_table(
        "budgets",
        sa.Column("program_id", sa.String(), nullable=False),
        sa.Column("promotion_id", sa.String(), nullable=False),
        sa.Column("points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("orders", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "promotion_id", name=op.f("pk_budgets")),
    )
    op.create_table(
        "inbox",
        sa.Column("inbox_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("event_id", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("variant", sa.LargeBinary(), server_default=sa.text("''"), nullable=False),
        sa.Column("type", sa.String(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shard", sa.SmallInteger(), nullable=True),
        sa.Column("subject", sa.String(), nullable=True),
        sa.Column("is_subject", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("settled", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("deliveries", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("times_parked", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signature", sa.String(), nullable=True),
        sa.CheckConstraint(
            "(state IN ('dead', 'dropped')) = (reason IS NOT NULL)", name=op.f("ck_inbox_dead_has_reason")
        ),
        sa.CheckConstraint(
            "(state IN ('received', 'waiting')) = (settled IS NOT NULL)", name=op.f("ck_inbox_open_is_settled")
        ),
        sa.CheckConstraint(
            "(state IN ('received', 'waiting')) = (settled_at IS NULL)", name=op.f("ck_inbox_outcome_has_time")
        ),
        sa.CheckConstraint("state <> 'received' OR shard IS NOT NULL", name=op.f("ck_inbox_received_has_shard")),
        sa.CheckConstraint(
            "state IN ('received', 'waiting', 'posted', 'replayed', 'dead', 'dropped')", name=op.f("ck_inbox_state")
        ),
        sa.PrimaryKeyConstraint("inbox_id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("source", "event_id", "variant", name=op.f("uq_inbox_source_event_id_variant")),
        postgresql_with={
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_vacuum_threshold": "5000",
            "vacuum_index_cleanup": "on",
            "autovacuum_analyze_scale_factor": "0.005",
            "autovacuum_analyze_threshold": "2000",
            "toast_tuple_target": "4080",
        },
    )
    op.create_index("ix_inbox_dead", "inbox", ["inbox_id"], postgresql_where=sa.text("state = 'dead'"))
    op.create_index(
        "ix_inbox_open_subjects",
        "inbox",
        ["source", "subject"],
        postgresql_where=sa.text("state IN ('received', 'waiting') AND subject IS NOT NULL"),
    )
    op.create_index("ix_inbox_received", "inbox", ["shard", "inbox_id"], postgresql_where=sa.text("state = 'received'"))
    op.create_index("ix_inbox_waiting", "inbox", ["inbox_id"], postgresql_where=sa.text("state = 'waiting'"))
    op.create_table(
        "numbers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("next_number", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_numbers")),
    )
    op.create_table(
        "outbox",
        sa.Column("outbox_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_shard", sa.SmallInteger(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("outbox_id", name=op.f("pk_outbox")),
        sa.UniqueConstraint(
            "account_id", "event_id", name=op.f("uq_outbox_account_id_event_id"), postgresql_nulls_not_distinct=True
        ),
        postgresql_with={
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_vacuum_threshold": "5000",
            "vacuum_index_cleanup": "on",
            "autovacuum_analyze_scale_factor": "0.005",
            "autovacuum_analyze_threshold": "2000",
        },
    )
    op.create_index("ix_outbox_created_at", "outbox", ["created_at"], postgresql_using="brin")
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["account_shard", "outbox_id"],
        postgresql_where=sa.text("published_at IS NULL"),
    )
    op.create_table(
        "periodic_runs",
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("result", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_periodic_runs")),
    )
    op.create_table(
        "posting_attempts",
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_posting_attempts")),
    )
    op.create_table(
        "programs",
        sa.Column("program_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("effective_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.Column("file_text", sa.String(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_programs_version")),
        sa.PrimaryKeyConstraint("program_id", "version", name=op.f("pk_programs")),
    )
    op.create_table(
        "retention",
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("purged_before", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("table_name", name=op.f("pk_retention")),
    )
    op.create_table(
        "schema_support",
        sa.Column("is_only_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("oldest_revision", sa.String(), nullable=False),
        sa.CheckConstraint("is_only_row", name=op.f("ck_schema_support_is_only_row")),
        sa.PrimaryKeyConstraint("is_only_row", name=op.f("pk_schema_support")),
    )
    op.create_table(
        "turns",
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("task", "shard", name=op.f("pk_turns")),
    )
    op.create_table(
        "account_references",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("program_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_account_references_account_id")),
        sa.PrimaryKeyConstraint("kind", "reference", "program_id", name=op.f("pk_account_references")),
    )
    op.create_index(op.f("ix_account_references_account_id"), "account_references", ["account_id"])
    op.create_table(
        "dead_letter_actions",
        sa.Column("action_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("inbox_id", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("acted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "action IN ('parked', 'retried', 'dropped', 'replaced')", name=op.f("ck_dead_letter_actions_action")
        ),
        sa.ForeignKeyConstraint(["inbox_id"], ["inbox.inbox_id"], name=op.f("fk_dead_letter_actions_inbox_id")),
        sa.PrimaryKeyConstraint("action_id", name=op.f("pk_dead_letter_actions")),
    )
    op.create_index(op.f("ix_dead_letter_actions_inbox_id"), "dead_letter_actions", ["inbox_id"])
    op.create_table(
        "entries",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("pending_change", sa.BigInteger(), nullable=False),
        sa.Column("reserved_change", sa.BigInteger(), nullable=False),
        sa.Column("deficit_change", sa.BigInteger(), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=False),
        sa.Column("pending_after", sa.BigInteger(), nullable=False),
        sa.Column("reserved_after", sa.BigInteger(), nullable=False),
        sa.Column("lifetime_points_after", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("order_id", sa.String(), nullable=True),
        sa.Column("refund_id", sa.String(), nullable=True),
        sa.Column("corrects_sequence", sa.BigInteger(), nullable=True),
        sa.Column("why", postgresql.JSON(), nullable=False),
        sa.Column("chain_hash", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "CASE kind WHEN 'accrual' THEN points >= 0 AND pending_change >= 0"
            " WHEN 'release' THEN points > 0 AND pending_change = - points"
            " ELSE points <= 0 AND pending_change <= 0 END AND reserved_change = 0",
            name=op.f("ck_entries_sign"),
        ),
        sa.CheckConstraint("kind IN ('accrual', 'clawback', 'expiry', 'release')", name=op.f("ck_entries_kind")),
        sa.CheckConstraint("corrects_sequence < sequence", name=op.f("ck_entries_corrects_earlier")),
        sa.CheckConstraint("pending_after >= 0", name=op.f("ck_entries_pending_after")),
        sa.CheckConstraint(
            "points <> 0 OR pending_change <> 0 OR reserved_change <> 0", name=op.f("ck_entries_points")
        ),
        sa.CheckConstraint("reserved_after >= 0", name=op.f("ck_entries_reserved_after")),
        sa.CheckConstraint("sequence > 0", name=op.f("ck_entries_sequence")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_entries_account_id")),
        sa.PrimaryKeyConstraint("account_id", "sequence", name=op.f("pk_entries")),
    )
    op.create_index("ix_entries_recorded_at", "entries", ["recorded_at"], postgresql_using="brin")
    op.create_table(
        "members",
        sa.Column("program_id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_members_account_id")),
        sa.PrimaryKeyConstraint("program_id", "customer_id", name=op.f("pk_members")),
    )
    op.create_index(op.f("ix_members_account_id"), "members", ["account_id"])
    op.create_table(
        "orders",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("program_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("customer_id", sa.String(), nullable=True),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("inbox_id", sa.BigInteger(), nullable=False),
        sa.Column("business_hash", sa.LargeBinary(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lines", postgresql.JSON(), nullable=False),
        sa.Column("points_paid", sa.Numeric(), nullable=False),
        sa.Column("program_version", sa.Integer(), nullable=False),
        sa.Column("tier_id", sa.String(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("points_entitled", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("points_excused", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("points_shortfall", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attributes", postgresql.JSON(), nullable=True),
        sa.Column("customer_tags", postgresql.JSON(), nullable=True),
        sa.Column("judgement", postgresql.JSON(), nullable=True),
        sa.Column("qualifying_points", sa.BigInteger(), nullable=False),
        sa.Column("qualifying_spend", sa.BigInteger(), nullable=False),
        sa.Column("qualifying_orders", sa.SmallInteger(), nullable=False),
        sa.Column("fulfilled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("account_id IS NOT NULL OR points_entitled = 0", name=op.f("ck_orders_guests_earn_nothing")),
        sa.CheckConstraint(
            "points_entitled >= 0 AND points_excused >= 0 AND points_shortfall >= 0",
            name=op.f("ck_orders_points_not_negative"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_orders_account_id")),
        sa.PrimaryKeyConstraint("source", "order_id", "program_id", name=op.f("pk_orders")),
    )
    op.create_index("ix_orders_account", "orders", ["account_id", "occurred_at"])
    op.create_table(
        "reminders",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("days_ahead", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("ck_reminders_number")),
        sa.CheckConstraint("points >= 0", name=op.f("ck_reminders_points")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_reminders_account_id")),
        sa.PrimaryKeyConstraint("account_id", "expires_at", name=op.f("pk_reminders")),
    )
    op.create_index(op.f("ix_reminders_expires_at"), "reminders", ["expires_at"])
    op.create_table(
        "repairs",
        sa.Column("repair_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("found", postgresql.JSONB(), nullable=False),
        sa.Column("rebuilt", postgresql.JSONB(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_repairs_account_id")),
        sa.PrimaryKeyConstraint("repair_id", name=op.f("pk_repairs")),
    )
    op.create_index(op.f("ix_repairs_account_id"), "repairs", ["account_id"])
    op.create_table(
        "tier_changes",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("change_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("previous_tier_id", sa.String(), nullable=False),
        sa.Column("tier_id", sa.String(), nullable=False),
        sa.Column("qualifying_points", sa.BigInteger(), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "reason IN ('qualified', 'reviewed', 'refunded', 'held')", name=op.f("ck_tier_changes_reason")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_tier_changes_account_id")),
        sa.PrimaryKeyConstraint("account_id", "change_number", name=op.f("pk_tier_changes")),
    )
    op.create_table(
        "usages",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("orders", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("carried", sa.String(), server_default=sa.text("'0'"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_usages_account_id")),
        sa.PrimaryKeyConstraint("account_id", "name", "period", name=op.f("pk_usages")),
    )
    op.create_table(
        "lots",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("lot_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_shard", sa.SmallInteger(), nullable=False),
        sa.Column("opened_by_sequence", sa.BigInteger(), nullable=False),
        sa.Column("origin_kind", sa.String(), nullable=False),
        sa.Column("origin_source", sa.String(), nullable=False),
        sa.Column("origin_id", sa.String(), nullable=False),
        sa.Column("origin_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("points_granted", sa.BigInteger(), nullable=False),
        sa.Column("points_remaining", sa.BigInteger(), nullable=False),
        sa.Column("points_expired", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("available_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("earned_by", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("is_pending", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("points_excused", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("origin_kind IN ('order')", name=op.f("ck_lots_origin_kind")),
        sa.CheckConstraint("is_pending OR available_at IS NOT NULL", name=op.f("ck_lots_available_has_time")),
        sa.CheckConstraint("points_excused BETWEEN 0 AND points_granted", name=op.f("ck_lots_points_excused")),
        sa.CheckConstraint("points_granted > 0", name=op.f("ck_lots_points_granted")),
        sa.CheckConstraint(
            "points_remaining + points_expired <= points_granted", name=op.f("ck_lots_points_within_grant")
        ),
        sa.CheckConstraint("points_remaining >= 0 AND points_expired >= 0", name=op.f("ck_lots_points_not_negative")),
        sa.ForeignKeyConstraint(
            ["account_id", "opened_by_sequence"],
            ["entries.account_id", "entries.sequence"],
            name=op.f("fk_lots_account_id_opened_by_sequence"),
        ),
        sa.PrimaryKeyConstraint("account_id", "lot_number", name=op.f("pk_lots")),
    )
    op.create_index(
        "ix_lots_expiry",
        "lots",
        ["account_shard", "expires_at"],
        postgresql_where=sa.text("points_remaining > 0 AND expires_at IS NOT NULL"),
    )
    op.create_index("ix_lots_origin", "lots", ["account_id", "origin_id"])
    op.create_index(
        "ix_lots_release",
        "lots",
        ["account_shard", "available_at"],
        postgresql_where=sa.text("is_pending AND available_at IS NOT NULL"),
    )
    op.create_table(
        "order_events",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("program_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("inbox_id", sa.BigInteger(), nullable=False),
        sa.Column("business_hash", sa.LargeBinary(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("points_due", sa.BigInteger(), nullable=False),
        sa.Column("points_taken", sa.BigInteger(), nullable=False),
        sa.Column("points_excused", sa.BigInteger(), nullable=False),
        sa.Column("points_shortfall", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('fulfilled', 'cancelled')", name=op.f("ck_order_events_kind")),
        sa.CheckConstraint(
            "points_due = points_taken + points_excused + points_shortfall", name=op.f("ck_order_events_points_add_up")
        ),
        sa.CheckConstraint(
            "points_taken >= 0 AND points_excused >= 0 AND points_shortfall >= 0",
            name=op.f("ck_order_events_points_not_negative"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_order_events_account_id")),
        sa.ForeignKeyConstraint(
            ["source", "order_id", "program_id"],
            ["orders.source", "orders.order_id", "orders.program_id"],
            name=op.f("fk_order_events_source_order_id_program_id"),
        ),
        sa.PrimaryKeyConstraint("source", "order_id", "program_id", "kind", name=op.f("pk_order_events")),
    )
    op.create_index(op.f("ix_order_events_account_id"), "order_events", ["account_id"])
    op.create_table(
        "refunds",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("refund_id", sa.String(), nullable=False),
        sa.Column("program_id", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("inbox_id", sa.BigInteger(), nullable=False),
        sa.Column("business_hash", sa.LargeBinary(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("is_full", sa.Boolean(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=True),
        sa.Column("lines", postgresql.JSON(), nullable=True),
        sa.Column("points_due", sa.BigInteger(), nullable=False),
        sa.Column("points_taken", sa.BigInteger(), nullable=False),
        sa.Column("points_excused", sa.BigInteger(), nullable=False),
        sa.Column("points_shortfall", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "num_nonnulls(nullif(is_full, false), amount, lines) <= 1", name=op.f("ck_refunds_in_one_way")
        ),
        sa.CheckConstraint(
            "points_due = points_taken + points_excused + points_shortfall", name=op.f("ck_refunds_points_add_up")
        ),
        sa.CheckConstraint(
            "points_taken >= 0 AND points_excused >= 0 AND points_shortfall >= 0",
            name=op.f("ck_refunds_points_not_negative"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_refunds_account_id")),
        sa.ForeignKeyConstraint(
            ["source", "order_id", "program_id"],
            ["orders.source", "orders.order_id", "orders.program_id"],
            name=op.f("fk_refunds_source_order_id_program_id"),
        ),
        sa.PrimaryKeyConstraint("source", "refund_id", "program_id", name=op.f("pk_refunds")),
    )
    op.create_index(op.f("ix_refunds_account_id"), "refunds", ["account_id"])
    op.create_index("ix_refunds_order", "refunds", ["source", "order_id", "program_id"])
    op.create_table(
        "allocations",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lot_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "CASE WHEN kind IN ('opened', 'returned') THEN points > 0 ELSE points < 0 END",
            name=op.f("ck_allocations_sign"),
        ),
        sa.CheckConstraint("kind IN ('opened', 'taken', 'returned', 'expired')", name=op.f("ck_allocations_kind")),
        sa.ForeignKeyConstraint(
            ["account_id", "lot_number"],
            ["lots.account_id", "lots.lot_number"],
            name=op.f("fk_allocations_account_id_lot_number"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "sequence"],
            ["entries.account_id", "entries.sequence"],
            name=op.f("fk_allocations_account_id_sequence"),
        ),
        sa.PrimaryKeyConstraint("account_id", "sequence", "lot_number", name=op.f("pk_allocations")),
    )
    op.execute("INSERT INTO numbers (name) VALUES ('inbox'), ('outbox')")
    op.execute("INSERT INTO schema_support (oldest_revision) VALUES ('0001')")
