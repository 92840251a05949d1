"""Held points, what limits have used, what an order counts for the tier, its fulfilment and cancellation, reminders.

Columns and tables are added, with defaults under which release 0002 goes on beside it, as long as no program uses what
only this release knows. Hardly a row is rewritten: null in a new column of `orders` means what it meant before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_INSTANT = sa.DateTime(timezone=True)
_SIGN = """CASE kind WHEN 'accrual' THEN points >= 0 AND pending_change >= 0
           WHEN 'release' THEN points > 0 AND pending_change = - points
           ELSE points <= 0 AND pending_change <= 0 END"""


def upgrade() -> None:
    with op.get_context().autocommit_block():  # one hot table at a time; each statement can be run twice
        op.execute("""
            ALTER TABLE accounts
                ADD COLUMN IF NOT EXISTS orders_posted INTEGER DEFAULT 0 NOT NULL,
                ADD COLUMN IF NOT EXISTS enrolled_at TIMESTAMPTZ,
                ADD COLUMN IF NOT EXISTS tier_held_until TIMESTAMPTZ,
                ADD COLUMN IF NOT EXISTS tier_warned_until TIMESTAMPTZ
        """)
        op.execute("""
            ALTER TABLE orders
                ADD COLUMN IF NOT EXISTS attributes JSON,
                ADD COLUMN IF NOT EXISTS customer_tags JSON,
                ADD COLUMN IF NOT EXISTS frozen JSON,
                ADD COLUMN IF NOT EXISTS qualifying_points BIGINT,
                ADD COLUMN IF NOT EXISTS qualifying_spend BIGINT,
                ADD COLUMN IF NOT EXISTS qualifying_orders SMALLINT,
                ADD COLUMN IF NOT EXISTS fulfilled_at TIMESTAMPTZ,
                ADD COLUMN IF NOT EXISTS cancelled_at TIMESTAMPTZ
        """)
        op.execute("""
            ALTER TABLE entries
                ADD COLUMN IF NOT EXISTS pending_change BIGINT DEFAULT 0 NOT NULL,
                ADD COLUMN IF NOT EXISTS pending_after BIGINT DEFAULT 0 NOT NULL
        """)
        op.execute("""
            ALTER TABLE lots
                ALTER COLUMN available_at DROP NOT NULL,
                ADD COLUMN IF NOT EXISTS earned_by VARCHAR DEFAULT '' NOT NULL,
                ADD COLUMN IF NOT EXISTS is_pending BOOLEAN DEFAULT false NOT NULL,
                ADD COLUMN IF NOT EXISTS points_excused BIGINT DEFAULT 0 NOT NULL
        """)
        op.execute("ALTER TABLE repairs ALTER COLUMN account_id DROP NOT NULL")  # a budget is of no account
        for table, name, condition in (
            ("entries", "points", "points <> 0 OR pending_change <> 0"),
            ("entries", "kind", "kind IN ('accrual', 'clawback', 'expiry', 'release')"),
            ("entries", "sign", _SIGN),
            ("entries", "pending_after", "pending_after >= 0"),
            ("lots", "points_excused", "points_excused BETWEEN 0 AND points_granted"),
            ("lots", "available_has_time", "is_pending OR available_at IS NOT NULL"),
            ("tier_changes", "reason", "reason IN ('qualified', 'reviewed', 'refunded', 'held')"),
        ):
            constraint = f"ck_{table}_{name}"
            op.execute(f"""
                ALTER TABLE {table}
                    DROP CONSTRAINT IF EXISTS {constraint},
                    ADD CONSTRAINT {constraint} CHECK ({condition}) NOT VALID
            """)
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_lots_release")
        # So that what a refund found expired is not excused again by the next one; seldom any row.
        op.execute("""
            UPDATE lots l SET points_excused = o.points_excused FROM orders o
            WHERE o.points_excused > 0 AND l.account_id = o.account_id AND l.lot_number = o.lot_number
              AND l.points_excused <> o.points_excused
        """)
        op.execute("""
            CREATE INDEX CONCURRENTLY ix_lots_release ON lots (account_shard, available_at)
            WHERE is_pending AND available_at IS NOT NULL
        """)
    _create_tables()
    op.execute("UPDATE schema_support SET oldest_revision = '0002'")


def _create_tables() -> None:
    points = [
        sa.Column(f"points_{name}", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
        for name in ("due", "taken", "excused", "shortfall")
    ]
    op.create_table(
        "order_events",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("order_id", sa.String(), nullable=False),
        sa.Column("program_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("inbox_id", sa.BigInteger(), nullable=False),
        sa.Column("business_hash", sa.LargeBinary(), nullable=False),
        sa.Column("occurred_at", _INSTANT, nullable=False),
        sa.Column("recorded_at", _INSTANT, server_default=sa.text("now()"), nullable=False),
        *points,
        sa.CheckConstraint("kind IN ('fulfilled', 'cancelled')", name=op.f("ck_order_events_kind")),
        sa.CheckConstraint(
            "points_due = points_taken + points_excused + points_shortfall", name=op.f("ck_order_events_points_add_up")
        ),
        sa.CheckConstraint(
            "points_taken >= 0 AND points_excused >= 0 AND points_shortfall >= 0",
            name=op.f("ck_order_events_points_not_negative"),
        ),
        sa.ForeignKeyConstraint(
            ["source", "order_id", "program_id"],
            ["orders.source", "orders.order_id", "orders.program_id"],
            name=op.f("fk_order_events_source_order_id_program_id"),
        ),
        sa.PrimaryKeyConstraint("source", "order_id", "program_id", "kind", name=op.f("pk_order_events")),
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
        "budgets",
        sa.Column("program_id", sa.String(), nullable=False),
        sa.Column("promotion_id", sa.String(), nullable=False),
        sa.Column("points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("orders", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "promotion_id", name=op.f("pk_budgets")),
    )
    op.create_table(
        "reminders",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("days_ahead", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("told_at", _INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("points >= 0", name=op.f("ck_reminders_points")),
        sa.CheckConstraint("number > 0", name=op.f("ck_reminders_number")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_reminders_account_id")),
        sa.PrimaryKeyConstraint("account_id", "expires_at", name=op.f("pk_reminders")),
    )
    op.create_index(op.f("ix_reminders_expires_at"), "reminders", ["expires_at"])
