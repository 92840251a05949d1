"""Subjects and settled data of messages, account references, numbers and turns from rows."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for statement in (
        "DROP INDEX ix_inbox_open_orders",
        "ALTER TABLE inbox ALTER COLUMN inbox_id DROP IDENTITY",
        "ALTER TABLE inbox DROP COLUMN order_id",
        "ALTER TABLE inbox ADD COLUMN subject VARCHAR",
        "ALTER TABLE inbox ADD COLUMN is_subject BOOLEAN DEFAULT false NOT NULL",
        "ALTER TABLE inbox ADD COLUMN settled VARCHAR",
        """ALTER TABLE inbox ADD CONSTRAINT ck_inbox_open_is_settled
           CHECK ((state IN ('received', 'waiting')) = (settled IS NOT NULL))""",
        """CREATE INDEX ix_inbox_open_subjects ON inbox (source, subject)
           WHERE state IN ('received', 'waiting') AND subject IS NOT NULL""",
        "ALTER TABLE outbox ALTER COLUMN outbox_id DROP IDENTITY",
        "CREATE INDEX ix_outbox_created_at ON outbox USING brin (created_at)",
        *(
            f"ALTER TABLE {table} SET (autovacuum_analyze_scale_factor = 0.005, autovacuum_analyze_threshold = 2000)"
            for table in ("inbox", "outbox")
        ),
        "ALTER TABLE inbox SET (toast_tuple_target = 4080)",
    ):
        op.execute(statement)
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
        "numbers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("next_number", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_numbers")),
    )
    op.execute("INSERT INTO numbers (name) VALUES ('inbox'), ('outbox')")
    op.create_table(
        "turns",
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("task", "shard", name=op.f("pk_turns")),
    )
