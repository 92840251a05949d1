"""What periodic runs, repairs and migrations keep of themselves."""

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Identity, Index, Table, text
from sqlalchemy.dialects.postgresql import JSONB

from core.store.tables.base import BIGINT, BOOLEAN, INSTANT, INTEGER, TEXT, UUID, column, metadata

reminders = Table(
    "reminders",
    metadata,
    Column("account_id", UUID, primary_key=True),
    Column("expires_at", INSTANT, primary_key=True),
    column("points", BIGINT),  #: 0: withdrawn
    column("days_ahead", INTEGER),
    column("number", INTEGER, default="1"),
    column("told_at", INSTANT, default="now()", is_renewed=True),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    CheckConstraint("points >= 0", name="points"),
    CheckConstraint("number > 0", name="number"),
    Index(None, "expires_at"),
)

periodic_runs = Table(
    "periodic_runs",
    metadata,
    Column("task", TEXT, primary_key=True),
    column("as_of", INSTANT),
    column("finished_at", INSTANT, default="now()"),
    column("result", JSONB()),
)

retention = Table(
    "retention",
    metadata,
    Column("table_name", TEXT, primary_key=True),
    column("purged_before", INSTANT),  #: what was settled before this instant may be gone
)

repairs = Table(
    "repairs",
    metadata,
    Column("repair_id", BIGINT, Identity(), primary_key=True),
    column("account_id", UUID, null=True),  #: null: a promotion's budget was put right
    column("subject", TEXT),  #: what was put right: account, or lot 7
    column("found", JSONB()),
    column("rebuilt", JSONB()),
    column("applied_at", INSTANT, default="now()"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    Index(None, "account_id"),
)

schema_support = Table(
    "schema_support",
    metadata,
    Column("is_only_row", BOOLEAN, primary_key=True, server_default=text("true")),
    column("oldest_revision", TEXT),  #: releases of this revision and later work on these tables
    CheckConstraint("is_only_row", name="is_only_row"),
)
