"""Commands and the answers that they got, for ever."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON

from core.store.tables.base import INSTANT, column, metadata, within_reach

#: What sources have moved by command on a day, where they have a limit.
source_days = sa.Table(
    "source_days",
    metadata,
    sa.Column("source", sa.String(), primary_key=True),
    sa.Column("type", sa.String(), primary_key=True),  #: of the commands
    sa.Column("day", sa.Date(), primary_key=True),  #: in UTC, on which they were done
    column("points", sa.BigInteger(), default="0"),
)

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
    column("account_id", sa.Uuid(), null=True),  #: null: it was rejected, or erased a customer
    column("program_version", sa.Integer(), null=True),  #: that decided it; null: it was rejected
    column("code", sa.String(), null=True),  #: why it was rejected; null: it was accepted
    column("answer", JSON()),  #: what its sender was told, and is told again
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.CheckConstraint("code IS NULL OR account_id IS NULL", name="rejected_has_code"),
    sa.CheckConstraint(
        "account_id IS NOT NULL OR code IS NOT NULL OR type = 'loyalty.command.customer.erase'",
        name="accepted_has_account",
    ),
    sa.CheckConstraint("(account_id IS NULL) = (program_version IS NULL)", name="version_of_accepted"),
    sa.Index(None, "account_id"),
)

#: Points that are reserved, and issued rewards, which reserve their price.
authorizations = sa.Table(
    "authorizations",
    metadata,
    sa.Column("kind", sa.String(), primary_key=True),
    sa.Column("authorization_id", sa.String(), primary_key=True),
    column("account_id", sa.Uuid()),
    column("account_shard", sa.SmallInteger()),
    column("sequence", sa.BigInteger()),  #: the entry that reserved the points
    column("source", sa.String()),
    column("command_id", sa.String()),  #: the command that asked for it
    column("points_authorized", sa.BigInteger()),
    column("points_captured", sa.BigInteger(), default="0"),
    column("points_returned", sa.BigInteger(), default="0"),
    column("state", sa.String(), default="'open'"),
    column("expires_at", INSTANT, null=True),  #: the deadline
    column("reward_id", sa.String(), null=True),
    column("told_at", INSTANT, null=True),  #: when it was told that its deadline is near; null: that was not told
    sa.ForeignKeyConstraint(["account_id", "sequence"], ["entries.account_id", "entries.sequence"]),
    sa.CheckConstraint("kind IN ('authorization', 'reward')", name="kind"),
    sa.CheckConstraint("(kind = 'reward') = (reward_id IS NOT NULL)", name="reward_of_rewards"),
    sa.CheckConstraint("points_captured >= 0 AND points_returned >= 0", name="points_not_negative"),
    sa.CheckConstraint(
        "CASE state WHEN 'open' THEN points_captured + points_returned < points_authorized"
        " ELSE points_captured + points_returned = points_authorized END",
        name="points_add_up",
    ),
    sa.CheckConstraint("state IN ('open', 'captured', 'voided', 'expired', 'clawed_back')", name="state"),
    within_reach("expires_at"),
    sa.Index(None, "account_id"),
    sa.Index(
        "ix_authorizations_due",
        "account_shard",
        "expires_at",
        postgresql_where=sa.text("state = 'open' AND expires_at IS NOT NULL"),
    ),
)
