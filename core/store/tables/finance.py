"""What finance was told of each month: what each program owed at its end, and what became of points. Never changed."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from core.store.tables.base import INSTANT, column, metadata, within_reach

liability_snapshots = sa.Table(
    "liability_snapshots",
    metadata,
    sa.Column("program_id", sa.String(), primary_key=True),
    sa.Column("month", sa.Date(), primary_key=True),  #: its first day
    column("as_of", INSTANT),  #: the month's end: what was recorded before it counts
    column("program_version", sa.Integer()),  #: in force then; it says what a point is worth
    column("points_expired", sa.BigInteger()),  #: the history that breakage is estimated by
    column("points_spent", JSONB()),  #: by age in months
    column("taken_at", INSTANT, default="now()"),
    sa.ForeignKeyConstraint(["program_id", "program_version"], ["programs.program_id", "programs.version"]),
    sa.CheckConstraint("extract(day FROM month) = 1", name="month"),
    sa.CheckConstraint("as_of < taken_at", name="month_was_over"),
    within_reach("as_of"),
)

liability_lines = sa.Table(
    "liability_lines",
    metadata,
    sa.Column("program_id", sa.String(), primary_key=True),
    sa.Column("month", sa.Date(), primary_key=True),
    sa.Column("line_number", sa.Integer(), primary_key=True, autoincrement=False),  #: 1, 2, 3, … of the snapshot
    column("bucket", sa.String()),
    column("tier_id", sa.String()),
    column("earned_month", sa.Date(), null=True),  #: null: the points are in no lot
    column("last_month", sa.Date(), null=True),  #: null: they never expire, or it was not known when
    column("points", sa.BigInteger()),
    sa.ForeignKeyConstraint(["program_id", "month"], ["liability_snapshots.program_id", "liability_snapshots.month"]),
    sa.CheckConstraint("bucket IN ('available', 'pending', 'reserved', 'deficit', 'ended')", name="bucket"),
    sa.CheckConstraint("(bucket IN ('reserved', 'deficit')) = (earned_month IS NULL)", name="earned_month"),
    sa.CheckConstraint("last_month IS NULL OR earned_month IS NOT NULL", name="last_month"),
)

#: Of the months that liability_snapshots has, of which some have none.
activity_lines = sa.Table(
    "activity_lines",
    metadata,
    sa.Column("program_id", sa.String(), primary_key=True),
    sa.Column("month", sa.Date(), primary_key=True),
    sa.Column("line_number", sa.Integer(), primary_key=True, autoincrement=False),  #: 1, 2, 3, … of the month
    column("flow", sa.String()),
    column("cause_kind", sa.String()),
    column("cause", sa.String()),  #: the id of a rule or promotion, or the kind of the entries
    #: Of a conversion the other program's; null: time alone moved the points.
    column("program_version", sa.Integer(), null=True),
    column("points", sa.BigInteger()),  #: by which what is outstanding has changed
    sa.ForeignKeyConstraint(["program_id", "month"], ["liability_snapshots.program_id", "liability_snapshots.month"]),
    sa.CheckConstraint("flow IN ('issued', 'clawed_back', 'redeemed', 'expired', 'adjusted', 'moved')", name="flow"),
    sa.CheckConstraint("cause_kind IN ('rule', 'promotion', 'entry')", name="cause_kind"),
    sa.CheckConstraint("points <> 0", name="points"),
)
