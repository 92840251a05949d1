"""Commands and the answers that they got, for ever."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON

from core.store.tables.base import INSTANT, column, metadata

commands = sa.Table(
    "commands",
    metadata,
    sa.Column("source", sa.String(), primary_key=True),
    sa.Column("command_id", sa.String(), primary_key=True),  #: the id of the event that brought it
    column("type", sa.String()),
    column("business_hash", sa.LargeBinary()),
    column("inbox_id", sa.BigInteger()),
    column("occurred_at", INSTANT),
    column("recorded_at", INSTANT, default="now()"),
    column("account_id", sa.Uuid(), null=True),  #: null: it was rejected
    column("program_version", sa.Integer(), null=True),  #: that decided it; null: it was rejected
    column("code", sa.String(), null=True),  #: why it was rejected; null: it was accepted
    column("answer", JSON()),  #: what its sender was told, and is told again
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.CheckConstraint("(account_id IS NULL) = (code IS NOT NULL)", name="rejected_has_code"),
    sa.CheckConstraint("(account_id IS NULL) = (program_version IS NULL)", name="version_of_accepted"),
    sa.Index(None, "account_id"),
)
