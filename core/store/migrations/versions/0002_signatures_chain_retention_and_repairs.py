"""Signatures of messages, the entries' hash chain, retention, repairs, and which releases these tables suit.

Everything is added; a running release 0001 goes on beside it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.get_context().autocommit_block():  # one hot table at a time; each statement can be run twice
        op.execute("ALTER TABLE inbox ADD COLUMN IF NOT EXISTS signature VARCHAR")
        op.execute("ALTER TABLE entries ADD COLUMN IF NOT EXISTS chain_hash BYTEA")
        op.execute("""
            ALTER TABLE dead_letter_actions
                DROP CONSTRAINT IF EXISTS ck_dead_letter_actions_action,
                ADD CONSTRAINT ck_dead_letter_actions_action
                    CHECK (action IN ('parked', 'retried', 'dropped', 'replaced')) NOT VALID
        """)
        op.execute("ALTER TABLE dead_letter_actions VALIDATE CONSTRAINT ck_dead_letter_actions_action")
        # Every message leaves a dead entry at the low end of the index that posting reads from, every event one at the
        # relay's. By default both would pile up until a fifth of the table is dead; the entries are the point, so the
        # indexes are cleaned each time too.
        for table in ("inbox", "outbox"):
            op.execute(f"""
                ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
                                         vacuum_index_cleanup = on)
            """)
    op.create_table(
        "retention",
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("purged_before", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("table_name", name=op.f("pk_retention")),
    )
    op.create_table(
        "repairs",
        sa.Column("repair_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("found", postgresql.JSONB(), nullable=False),
        sa.Column("rebuilt", postgresql.JSONB(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_repairs_account_id")),
        sa.PrimaryKeyConstraint("repair_id", name=op.f("pk_repairs")),
    )
    op.create_index(op.f("ix_repairs_account_id"), "repairs", ["account_id"])
    op.create_table(
        "schema_support",
        sa.Column("is_only_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("oldest_revision", sa.String(), nullable=False),
        sa.CheckConstraint("is_only_row", name=op.f("ck_schema_support_is_only_row")),
        sa.PrimaryKeyConstraint("is_only_row", name=op.f("pk_schema_support")),
    )
    op.execute("INSERT INTO schema_support (oldest_revision) VALUES ('0001')")
