"""What periodic runs, repairs and migrations keep of themselves."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from core.domain.calendar import YEAR_MAX, YEAR_MIN
from core.store.tables.base import INSTANT, column, metadata, within_reach

reminders = sa.Table(
    "reminders",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    sa.Column("expires_at", INSTANT, primary_key=True),
    column("points", sa.BigInteger()),  #: 0: withdrawn
    column("days_ahead", sa.Integer()),
    column("number", sa.Integer(), default="1"),
    column("told_at", INSTANT, default="now()", is_renewed=True),
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.CheckConstraint("points >= 0", name="points"),
    sa.CheckConstraint("number > 0", name="number"),
    within_reach("expires_at"),
    sa.Index(None, "expires_at"),
)

periodic_runs = sa.Table(
    "periodic_runs",
    metadata,
    sa.Column("task", sa.String(), primary_key=True),
    column("as_of", INSTANT),
    column("finished_at", INSTANT, default="now()"),
    column("result", JSONB()),
    # Python has no years before 1: nothing could read such a row any more.
    sa.CheckConstraint(f"extract(year FROM as_of AT TIME ZONE 'UTC') BETWEEN {YEAR_MIN} AND {YEAR_MAX}", name="as_of"),
)

retention = sa.Table(
    "retention",
    metadata,
    sa.Column("table_name", sa.String(), primary_key=True),
    column("purged_before", INSTANT),  #: what was settled before this instant may be gone
    column("seal", sa.LargeBinary(), null=True),  #: over both; null: no chain was kept
    within_reach("purged_before"),
)

repairs = sa.Table(
    "repairs",
    metadata,
    sa.Column("repair_id", sa.BigInteger(), sa.Identity(), primary_key=True),
    column("account_id", sa.Uuid(), null=True),  #: null: a promotion's budget was put right
    column("subject", sa.String()),  #: what was put right: account, or lot 7
    column("found", JSONB()),
    column("rebuilt", JSONB()),
    column("reason", sa.String(), null=True),  #: in the words of who did it
    column("applied_by", sa.String()),  #: a person
    column("applied_at", INSTANT, default="now()"),
    column("seal", sa.LargeBinary(), null=True),  #: over what was given; null: no chain was kept
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.Index(None, "account_id"),
)

schema_support = sa.Table(
    "schema_support",
    metadata,
    sa.Column("is_only_row", sa.Boolean(), primary_key=True, server_default=sa.text("true")),
    column("oldest_revision", sa.String()),  #: releases of this revision and later work on these tables
    sa.CheckConstraint("is_only_row", name="is_only_row"),
)
