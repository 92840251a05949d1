"""What periodic runs, repairs and migrations keep of themselves."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    String,
    Table,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from core.store.tables.base import INSTANT, column, metadata

reminders = Table(
    "reminders",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("expires_at", INSTANT, primary_key=True),
    column("points", BigInteger()),  #: 0: withdrawn
    column("days_ahead", Integer()),
    column("number", Integer(), default="1"),
    column("told_at", INSTANT, default="now()", is_renewed=True),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    CheckConstraint("points >= 0", name="points"),
    CheckConstraint("number > 0", name="number"),
    Index(None, "expires_at"),
)

periodic_runs = Table(
    "periodic_runs",
    metadata,
    Column("task", String, primary_key=True),
    column("as_of", INSTANT),
    column("finished_at", INSTANT, default="now()"),
    column("result", JSONB()),
)

retention = Table(
    "retention",
    metadata,
    Column("table_name", String, primary_key=True),
    column("purged_before", INSTANT),  #: what was settled before this instant may be gone
)

repairs = Table(
    "repairs",
    metadata,
    Column("repair_id", BigInteger, Identity(), primary_key=True),
    column("account_id", Uuid(), null=True),  #: null: a promotion's budget was put right
    column("subject", String()),  #: what was put right: account, or lot 7
    column("found", JSONB()),
    column("rebuilt", JSONB()),
    column("applied_at", INSTANT, default="now()"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    Index(None, "account_id"),
)

schema_support = Table(
    "schema_support",
    metadata,
    Column("is_only_row", Boolean, primary_key=True, server_default=text("true")),
    column("oldest_revision", String()),  #: releases of this revision and later work on these tables
    CheckConstraint("is_only_row", name="is_only_row"),
)
