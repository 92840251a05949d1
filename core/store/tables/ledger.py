"""Programs, and the books: accounts, entries, lots, tiers. Keys lead with the account."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON, JSONB

from core.store.tables.base import INSTANT, column, metadata, within_reach

programs = sa.Table(
    "programs",
    metadata,
    sa.Column("program_id", sa.String(), primary_key=True),
    sa.Column("version", sa.Integer(), primary_key=True),
    column("effective_from", INSTANT),  #: -infinity for the first version: it judges all history
    column("document", JSONB()),
    column("file_text", sa.String()),
    column("applied_at", INSTANT, default="now()"),
    column("applied_by", sa.String(), null=True),
    sa.CheckConstraint("version > 0", name="version"),
)

#: What became of versions before they came into force; the last change of each counts.
program_changes = sa.Table(
    "program_changes",
    metadata,
    sa.Column("program_id", sa.String(), primary_key=True),
    sa.Column("version", sa.Integer(), primary_key=True),
    sa.Column("change_number", sa.Integer(), primary_key=True),  #: 1, 2, 3, … of the version
    column("effective_from", INSTANT, null=True),  #: the new instant; null: withdrawn
    column("changed_at", INSTANT, default="now()"),
    column("changed_by", sa.String()),
    column("reason", sa.String()),
    sa.ForeignKeyConstraint(["program_id", "version"], ["programs.program_id", "programs.version"]),
    sa.CheckConstraint("change_number > 0", name="change_number"),
    sa.CheckConstraint("effective_from >= changed_at", name="effective_from"),
)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    column("program_id", sa.String()),
    column("customer_id", sa.String()),
    column("account_shard", sa.SmallInteger()),
    column("sequence", sa.BigInteger(), default="0"),
    column("lots_opened", sa.Integer(), default="0"),
    column("balance", sa.BigInteger(), default="0"),
    column("pending", sa.BigInteger(), default="0"),
    column("reserved", sa.BigInteger(), default="0"),
    column("deficit", sa.BigInteger(), default="0"),
    column("lifetime_points", sa.BigInteger(), default="0"),
    column("qualifying_points", sa.BigInteger(), default="0"),
    column("qualifying_from", INSTANT, null=True),
    column("tier_id", sa.String()),
    column("tier_since", INSTANT, null=True),
    column("tier_until", INSTANT, null=True),
    column("tier_changes", sa.Integer(), default="0"),
    column("counted_until", INSTANT, null=True),
    column("orders_posted", sa.Integer(), default="0"),
    column("orders_counted", sa.Integer(), default="0"),
    column("enrolled_at", INSTANT, null=True),
    column("tier_held_until", INSTANT, null=True),
    column("tier_warned_until", INSTANT, null=True),
    column("status", sa.String(), default="'active'"),
    column("own_account_id", sa.String(), null=True),  #: as its maker named it; for good
    column("is_enrolment_given", sa.Boolean(), default="false"),  #: enrolled_at is what a command said, for good
    column("merged_into", sa.Uuid(), null=True),  #: the account that has all that was its own; null: itself
    column("lifetime_points_given", sa.BigInteger(), default="0"),  #: that were earned elsewhere before; for good
    column("created_at", INSTANT, default="now()"),
    column("updated_at", INSTANT, default="now()", is_renewed=True),
    sa.CheckConstraint("deficit >= 0", name="deficit"),
    sa.CheckConstraint("pending >= 0", name="pending"),
    sa.CheckConstraint("reserved >= 0", name="reserved"),
    sa.CheckConstraint("balance >= -deficit", name="balance_covers_lots"),
    sa.CheckConstraint("qualifying_points >= 0", name="qualifying_points"),
    sa.CheckConstraint("lifetime_points_given >= 0", name="lifetime_points_given"),
    sa.CheckConstraint("orders_counted >= 0", name="orders_counted"),
    sa.CheckConstraint("status IN ('active', 'frozen', 'closed')", name="status"),
    sa.CheckConstraint("enrolled_at IS NOT NULL OR NOT is_enrolment_given", name="enrolment_given"),
    sa.CheckConstraint("merged_into <> account_id", name="merged_into_another"),
    sa.ForeignKeyConstraint(["merged_into"], ["accounts.account_id"]),
    within_reach(
        "qualifying_from",
        "tier_since",
        "tier_until",
        "counted_until",
        "enrolled_at",
        "tier_held_until",
        "tier_warned_until",
    ),
    sa.Index("ix_accounts_merged_into", "merged_into", postgresql_where=sa.text("merged_into IS NOT NULL")),
    sa.Index(
        "ix_accounts_tier_review", "account_shard", "tier_until", postgresql_where=sa.text("tier_until IS NOT NULL")
    ),
    sa.Index(None, "customer_id"),  # all of a customer's, beside the primary one
)

#: What is kept with some accounts and counts for nothing; most have no row.
account_details = sa.Table(
    "account_details",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    column("business_hash", sa.LargeBinary(), null=True),  #: of the command that made the account; null: none did
    column("metadata", JSON()),
    column("tags", JSON()),
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)

#: A customer's primary account of a program: the one to which their orders come. Further ones name them as customer.
#: Who has none of their own has that of another customer here, as long as they are a member of it.
members = sa.Table(
    "members",
    metadata,
    sa.Column("program_id", sa.String(), primary_key=True),
    sa.Column("customer_id", sa.String(), primary_key=True),
    column("account_id", sa.Uuid()),
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.Index(None, "account_id"),
)

#: Who may use an account beside its owner.
account_members = sa.Table(
    "account_members",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    sa.Column("customer_id", sa.String(), primary_key=True),
    column("role", sa.String()),
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.CheckConstraint("role IN ('member', 'viewer')", name="role"),
    sa.Index(None, "customer_id"),
)

#: Permanent ids other than customers' and orders' by which an account is found. The program stands last in the key:
#: intake, which knows none, asks by kind and reference.
account_references = sa.Table(
    "account_references",
    metadata,
    sa.Column("kind", sa.String(), primary_key=True),
    sa.Column("reference", sa.String(), primary_key=True),
    sa.Column("program_id", sa.String(), primary_key=True),
    column("account_id", sa.Uuid()),
    column("shard", sa.SmallInteger()),  #: where messages about it are posted
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.Index(None, "account_id"),
)

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),
    column("kind", sa.String()),
    column("points", sa.BigInteger()),
    column("pending_change", sa.BigInteger()),
    column("reserved_change", sa.BigInteger()),
    column("deficit_change", sa.BigInteger()),
    column("balance_after", sa.BigInteger()),
    column("pending_after", sa.BigInteger()),
    column("reserved_after", sa.BigInteger()),
    column("lifetime_points_after", sa.BigInteger()),
    column("occurred_at", INSTANT),
    column("recorded_at", INSTANT, default="now()"),
    column("source", sa.String(), null=True),
    column("order_id", sa.String(), null=True),
    column("refund_id", sa.String(), null=True),
    column("corrects_sequence", sa.BigInteger(), null=True),
    column("why", JSON()),
    column("return_id", sa.String(), null=True),
    column("command_id", sa.String(), null=True),
    column("chain_hash", sa.LargeBinary(), null=True),  #: over this entry and the one before; null: no chain was kept
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.CheckConstraint("sequence > 0", name="sequence"),
    #: A part of an order that is fulfilled may have its points date by date and none of them now.
    sa.CheckConstraint(
        "points <> 0 OR pending_change <> 0 OR reserved_change <> 0 OR kind IN ('release', 'merge')",
        name="points",
    ),
    sa.CheckConstraint(
        "kind IN ('accrual', 'clawback', 'expiry', 'release', 'credit', 'debit', 'adjustment', 'transfer', 'reversal',"
        " 'authorization', 'capture', 'void', 'redemption', 'conversion', 'merge', 'repayment')",
        name="kind",
    ),
    sa.CheckConstraint(
        "CASE WHEN kind IN ('accrual', 'credit') THEN points >= 0 AND pending_change >= 0"
        " WHEN kind IN ('reversal', 'transfer', 'merge')"
        " THEN points <= 0 AND pending_change <= 0 OR points >= 0 AND pending_change >= 0"
        " WHEN kind = 'release' THEN pending_change = - points"
        " WHEN kind IN ('adjustment', 'conversion', 'repayment') THEN pending_change = 0"
        " WHEN kind = 'capture' THEN points = 0 AND pending_change = 0"
        " WHEN kind = 'void' THEN points > 0 AND pending_change = 0"
        " ELSE points <= 0 AND pending_change <= 0 END"
        " AND CASE WHEN kind = 'authorization' THEN reserved_change > 0 AND reserved_change = - points"
        " WHEN kind = 'capture' THEN reserved_change < 0 WHEN kind = 'void' THEN reserved_change = - points"
        " ELSE reserved_change = 0 END",
        name="sign",
    ),
    sa.CheckConstraint("pending_after >= 0", name="pending_after"),
    sa.CheckConstraint("reserved_after >= 0", name="reserved_after"),
    sa.CheckConstraint("corrects_sequence < sequence", name="corrects_earlier"),
    # A command is reversed once, for ever.
    sa.Index(
        "uq_entries_reversal",
        "account_id",
        "corrects_sequence",
        unique=True,
        postgresql_where=sa.text("kind = 'reversal'"),
    ),
    # Entries are added in order of time: who asks for those since an instant reads the end of the table, not all of it.
    sa.Index("ix_entries_recorded_at", "recorded_at", postgresql_using="brin"),
    # What commands have undone of an entry.
    sa.Index(
        "ix_entries_corrections",
        "account_id",
        "corrects_sequence",
        postgresql_where=sa.text("corrects_sequence IS NOT NULL AND (command_id IS NOT NULL OR kind = 'void')"),
    ),
)

#: What makes the digests that the chain has of explanations. Once it is erased with the person, no guess can be tried.
account_salts = sa.Table(
    "account_salts",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    column("salt", sa.LargeBinary()),
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)

#: Explanations of which the personal part is erased: what the chain covers of each as it was.
erased_whys = sa.Table(
    "erased_whys",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),
    column("why_digest", sa.LargeBinary()),
    column("seal", sa.LargeBinary()),  #: over it and what is left of the text
    sa.ForeignKeyConstraint(["account_id", "sequence"], ["entries.account_id", "entries.sequence"]),
)

#: Of an account's lots so many are looked through one by one, in whatever order is asked for.
FIRST_LOTS = 100

#: When points expire that inactivity lets expire: once for all lots of an account that have it, since each activity
#: moves it. Under the number of the lot that began it.
shared_expiries = sa.Table(
    "shared_expiries",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    sa.Column("expires_with", sa.Integer(), primary_key=True, autoincrement=False),
    column("account_shard", sa.SmallInteger()),
    column("earned_by", sa.String()),
    column("expires_at", INSTANT),
    column("extended_to", INSTANT, null=True),  #: to where a person has moved it; null: nobody has
    column("is_over", sa.Boolean(), default="false"),  #: no lot with points left has it; nothing moves it any more
    column("is_kept", sa.Boolean(), default="true"),  #: points of an order that keeps something have it
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    within_reach("expires_at", "extended_to"),
    sa.Index("ix_shared_expiries_due", "account_shard", "expires_at", postgresql_where=sa.text("NOT is_over")),
)

#: To be read as `dated_lots`, a view of the same columns in which `expires_at` is also there where it is shared.
lots = sa.Table(
    "lots",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    sa.Column("lot_number", sa.Integer(), primary_key=True, autoincrement=False),
    column("account_shard", sa.SmallInteger()),
    column("opened_by_sequence", sa.BigInteger()),
    column("origin_kind", sa.String()),
    column("origin_source", sa.String()),
    column("origin_id", sa.String()),
    column("origin_at", INSTANT),
    column("points_granted", sa.BigInteger()),
    column("points_remaining", sa.BigInteger()),
    column("points_expired", sa.BigInteger(), default="0"),
    column("available_at", INSTANT, null=True),  #: null: not before its order is fulfilled
    column("expires_at", INSTANT, null=True),
    column("earned_by", sa.String(), default="''"),
    column("is_pending", sa.Boolean(), default="false"),
    column("points_excused", sa.BigInteger(), default="0"),
    column("expires_with", sa.Integer(), null=True),  #: the shared expiry that it has, and no instant of its own then
    sa.ForeignKeyConstraint(
        ["account_id", "expires_with"], ["shared_expiries.account_id", "shared_expiries.expires_with"]
    ),
    sa.ForeignKeyConstraint(["account_id", "opened_by_sequence"], ["entries.account_id", "entries.sequence"]),
    sa.CheckConstraint("points_granted > 0", name="points_granted"),
    sa.CheckConstraint("points_remaining >= 0 AND points_expired >= 0", name="points_not_negative"),
    sa.CheckConstraint("points_remaining + points_expired <= points_granted", name="points_within_grant"),
    sa.CheckConstraint("points_excused BETWEEN 0 AND points_granted", name="points_excused"),
    sa.CheckConstraint("is_pending OR available_at IS NOT NULL", name="available_has_time"),
    sa.CheckConstraint("origin_kind IN ('order', 'command')", name="origin_kind"),
    sa.CheckConstraint("num_nonnulls(expires_at, expires_with) <= 1", name="one_expiry"),
    within_reach("available_at", "expires_at"),
    sa.Index("ix_lots_origin", "account_id", "origin_id"),
    # Which points let the others with their expiry last longest.
    sa.Index(
        "ix_lots_shared",
        "account_id",
        "expires_with",
        "available_at",
        postgresql_where=sa.text("expires_with IS NOT NULL"),
    ),
    sa.Index(
        "ix_lots_pending",
        "account_id",
        "available_at",
        "lot_number",
        postgresql_where=sa.text("is_pending AND available_at IS NOT NULL"),
    ),
    # In spending order. Most accounts have no more lots than are looked through without it, and so cost it nothing.
    sa.Index(
        "ix_lots_to_take",
        "account_id",
        sa.text("coalesce(expires_with, 0)"),
        sa.text("coalesce(expires_at, 'infinity')"),
        "available_at",
        "lot_number",
        postgresql_where=sa.text(f"lot_number > {FIRST_LOTS} AND points_remaining > 0 AND NOT is_pending"),
    ),
    sa.Index(
        "ix_lots_expiry",
        "account_shard",
        "expires_at",
        postgresql_where=sa.text("points_remaining > 0 AND expires_at IS NOT NULL"),
    ),
    sa.Index(
        "ix_lots_release",
        "account_shard",
        "available_at",
        postgresql_where=sa.text("is_pending AND available_at IS NOT NULL"),
    ),
)

allocations = sa.Table(
    "allocations",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("lot_number", sa.Integer(), primary_key=True, autoincrement=False),
    column("kind", sa.String()),
    column("points", sa.BigInteger()),
    sa.ForeignKeyConstraint(["account_id", "sequence"], ["entries.account_id", "entries.sequence"]),
    sa.ForeignKeyConstraint(["account_id", "lot_number"], ["lots.account_id", "lots.lot_number"]),
    sa.CheckConstraint("kind IN ('opened', 'taken', 'returned', 'expired')", name="kind"),
    sa.CheckConstraint("CASE WHEN kind IN ('opened', 'returned') THEN points > 0 ELSE points < 0 END", name="sign"),
)

#: What accounts were merged, and of which that was undone: each has two sides.
merges = sa.Table(
    "merges",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),  #: its entry
    column("role", sa.String()),
    column("other_account_id", sa.Uuid()),
    column("other_sequence", sa.BigInteger()),
    column("lifetime_points", sa.BigInteger()),  #: that came, below zero: went
    column("source", sa.String()),
    column("command_id", sa.String()),
    sa.ForeignKeyConstraint(["account_id", "sequence"], ["entries.account_id", "entries.sequence"]),
    sa.ForeignKeyConstraint(["other_account_id", "other_sequence"], ["entries.account_id", "entries.sequence"]),
    sa.CheckConstraint("role IN ('merged', 'survivor', 'parted', 'restored')", name="role"),
    sa.CheckConstraint("other_account_id <> account_id", name="two_accounts"),
)

#: Lots that a merge moved, from either side: what of them was spent or had expired moves along.
lot_moves = sa.Table(
    "lot_moves",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("lot_number", sa.Integer(), primary_key=True, autoincrement=False),
    column("other_account_id", sa.Uuid()),
    column("other_lot_number", sa.Integer()),
    column("points_granted", sa.BigInteger()),  #: of a lot that it opened: what it held beyond what was left
    column("points_expired", sa.BigInteger()),  #: of those that have expired: how many came, below zero: went
    sa.ForeignKeyConstraint(["account_id", "sequence"], ["merges.account_id", "merges.sequence"]),
    sa.ForeignKeyConstraint(["account_id", "lot_number"], ["lots.account_id", "lots.lot_number"]),
    sa.ForeignKeyConstraint(["other_account_id", "other_lot_number"], ["lots.account_id", "lots.lot_number"]),
    sa.CheckConstraint("points_granted >= 0", name="points_granted"),
    # Which lots have now what others held.
    sa.Index("ix_lot_moves_other", "other_account_id", "other_lot_number"),
)

tier_changes = sa.Table(
    "tier_changes",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    sa.Column("change_number", sa.Integer(), primary_key=True, autoincrement=False),
    column("previous_tier_id", sa.String()),
    column("tier_id", sa.String()),
    column("qualifying_points", sa.BigInteger()),
    column("effective_at", INSTANT),
    column("reason", sa.String()),
    column("recorded_at", INSTANT, default="now()"),
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.CheckConstraint("reason IN ('qualified', 'reviewed', 'refunded', 'held', 'corrected')", name="reason"),
)
