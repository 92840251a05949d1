"""Programs, and the books: accounts, entries, lots, tiers. Keys lead with the account."""

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Index, Table, text
from sqlalchemy.dialects.postgresql import JSON, JSONB

from core.store.tables.base import BIGINT, BOOLEAN, BYTES, INSTANT, INTEGER, SMALLINT, TEXT, UUID, column, metadata

programs = Table(
    "programs",
    metadata,
    Column("program_id", TEXT, primary_key=True),
    Column("version", INTEGER, primary_key=True),
    column("effective_from", INSTANT),  #: -infinity for the first version: it judges all history
    column("document", JSONB()),
    column("file_text", TEXT),
    column("applied_at", INSTANT, default="now()"),
    column("is_default", BOOLEAN, default="false"),
    CheckConstraint("version > 0", name="version"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", UUID, primary_key=True),
    column("program_id", TEXT),
    column("customer_id", TEXT),
    column("account_shard", SMALLINT),
    column("sequence", BIGINT, default="0"),
    column("lots_opened", INTEGER, default="0"),
    column("balance", BIGINT, default="0"),
    column("pending", BIGINT, default="0"),
    column("reserved", BIGINT, default="0"),
    column("deficit", BIGINT, default="0"),
    column("lifetime_points", BIGINT, default="0"),
    column("qualifying_points", BIGINT, default="0"),
    column("qualifying_from", INSTANT, null=True),
    column("tier_id", TEXT),
    column("tier_since", INSTANT, null=True),
    column("tier_until", INSTANT, null=True),
    column("tier_changes", INTEGER, default="0"),
    column("orders_posted", INTEGER, default="0"),
    column("enrolled_at", INSTANT, null=True),
    column("tier_held_until", INSTANT, null=True),
    column("tier_warned_until", INSTANT, null=True),
    column("created_at", INSTANT, default="now()"),
    column("updated_at", INSTANT, default="now()", is_renewed=True),
    CheckConstraint("deficit >= 0", name="deficit"),
    CheckConstraint("pending >= 0", name="pending"),
    CheckConstraint("reserved >= 0", name="reserved"),
    CheckConstraint("balance >= -deficit", name="balance_covers_lots"),
    CheckConstraint("qualifying_points >= 0", name="qualifying_points"),
    Index("ix_accounts_tier_review", "account_shard", "tier_until", postgresql_where=text("tier_until IS NOT NULL")),
)

members = Table(
    "members",
    metadata,
    Column("program_id", TEXT, primary_key=True),
    Column("customer_id", TEXT, primary_key=True),
    column("account_id", UUID),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    Index(None, "account_id"),
)

#: Permanent ids other than customers' and orders' by which an account is found. The program stands last in the key:
#: intake, which knows none, asks by kind and reference.
account_references = Table(
    "account_references",
    metadata,
    Column("kind", TEXT, primary_key=True),
    Column("reference", TEXT, primary_key=True),
    Column("program_id", TEXT, primary_key=True),
    column("account_id", UUID),
    column("shard", SMALLINT),  #: where messages about it are posted
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    Index(None, "account_id"),
)

entries = Table(
    "entries",
    metadata,
    Column("account_id", UUID, primary_key=True),
    Column("sequence", BIGINT, primary_key=True, autoincrement=False),
    column("kind", TEXT),
    column("points", BIGINT),
    column("pending_change", BIGINT),
    column("reserved_change", BIGINT),
    column("deficit_change", BIGINT),
    column("balance_after", BIGINT),
    column("pending_after", BIGINT),
    column("reserved_after", BIGINT),
    column("lifetime_points_after", BIGINT),
    column("occurred_at", INSTANT),
    column("recorded_at", INSTANT, default="now()"),
    column("source", TEXT, null=True),
    column("order_id", TEXT, null=True),
    column("refund_id", TEXT, null=True),
    column("corrects_sequence", BIGINT, null=True),
    column("why", JSON()),
    column("chain_hash", BYTES, null=True),  #: over this entry and the one before; null: no chain was kept
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    CheckConstraint("sequence > 0", name="sequence"),
    CheckConstraint("points <> 0 OR pending_change <> 0 OR reserved_change <> 0", name="points"),
    CheckConstraint("kind IN ('accrual', 'clawback', 'expiry', 'release')", name="kind"),
    CheckConstraint(
        "CASE kind WHEN 'accrual' THEN points >= 0 AND pending_change >= 0"
        " WHEN 'release' THEN points > 0 AND pending_change = - points"
        " ELSE points <= 0 AND pending_change <= 0 END AND reserved_change = 0",
        name="sign",
    ),
    CheckConstraint("pending_after >= 0", name="pending_after"),
    CheckConstraint("reserved_after >= 0", name="reserved_after"),
    CheckConstraint("corrects_sequence < sequence", name="corrects_earlier"),
    # Entries are added in order of time: who asks for those since an instant reads the end of the table, not all of it.
    Index("ix_entries_recorded_at", "recorded_at", postgresql_using="brin"),
)

lots = Table(
    "lots",
    metadata,
    Column("account_id", UUID, primary_key=True),
    Column("lot_number", INTEGER, primary_key=True, autoincrement=False),
    column("account_shard", SMALLINT),
    column("opened_by_sequence", BIGINT),
    column("origin_kind", TEXT),
    column("origin_source", TEXT),
    column("origin_id", TEXT),
    column("origin_at", INSTANT),
    column("points_granted", BIGINT),
    column("points_remaining", BIGINT),
    column("points_expired", BIGINT, default="0"),
    column("available_at", INSTANT, null=True),  #: null: not before its order is fulfilled
    column("expires_at", INSTANT, null=True),
    column("earned_by", TEXT, default="''"),
    column("is_pending", BOOLEAN, default="false"),
    column("points_excused", BIGINT, default="0"),
    ForeignKeyConstraint(["account_id", "opened_by_sequence"], ["entries.account_id", "entries.sequence"]),
    CheckConstraint("points_granted > 0", name="points_granted"),
    CheckConstraint("points_remaining >= 0 AND points_expired >= 0", name="points_not_negative"),
    CheckConstraint("points_remaining + points_expired <= points_granted", name="points_within_grant"),
    CheckConstraint("points_excused BETWEEN 0 AND points_granted", name="points_excused"),
    CheckConstraint("is_pending OR available_at IS NOT NULL", name="available_has_time"),
    CheckConstraint("origin_kind IN ('order')", name="origin_kind"),
    Index("ix_lots_origin", "account_id", "origin_id"),
    Index(
        "ix_lots_expiry",
        "account_shard",
        "expires_at",
        postgresql_where=text("points_remaining > 0 AND expires_at IS NOT NULL"),
    ),
    Index(
        "ix_lots_release",
        "account_shard",
        "available_at",
        postgresql_where=text("is_pending AND available_at IS NOT NULL"),
    ),
)

allocations = Table(
    "allocations",
    metadata,
    Column("account_id", UUID, primary_key=True),
    Column("sequence", BIGINT, primary_key=True, autoincrement=False),
    Column("lot_number", INTEGER, primary_key=True, autoincrement=False),
    column("kind", TEXT),
    column("points", BIGINT),
    ForeignKeyConstraint(["account_id", "sequence"], ["entries.account_id", "entries.sequence"]),
    ForeignKeyConstraint(["account_id", "lot_number"], ["lots.account_id", "lots.lot_number"]),
    CheckConstraint("kind IN ('opened', 'taken', 'returned', 'expired')", name="kind"),
    CheckConstraint("CASE WHEN kind IN ('opened', 'returned') THEN points > 0 ELSE points < 0 END", name="sign"),
)

tier_changes = Table(
    "tier_changes",
    metadata,
    Column("account_id", UUID, primary_key=True),
    Column("change_number", INTEGER, primary_key=True, autoincrement=False),
    column("previous_tier_id", TEXT),
    column("tier_id", TEXT),
    column("qualifying_points", BIGINT),
    column("effective_at", INSTANT),
    column("reason", TEXT),
    column("recorded_at", INSTANT, default="now()"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    CheckConstraint("reason IN ('qualified', 'reviewed', 'refunded', 'held')", name="reason"),
)
