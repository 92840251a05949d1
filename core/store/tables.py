"""The tables. Unique keys are the idempotency rules; checks carry the invariants that one row can carry.

Ledger keys lead with the account, so that the tables can later be partitioned or distributed by it. Business keys
(program, source, order) and (program, source, refund) hold for ever.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_INSTANT = DateTime(timezone=True)


def _column(
    name: str, kind: TypeEngine[Any], *items: SchemaItem, null: bool = False, default: str | None = None
) -> Column[Any]:
    return Column(name, kind, *items, nullable=null, server_default=text(default) if default is not None else None)


programs = Table(
    "programs",
    metadata,
    Column("program_id", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    _column("effective_from", _INSTANT),  #: -infinity for the first version: it judges all history
    _column("document", JSONB()),
    _column("file_text", String()),
    _column("applied_at", _INSTANT, default="now()"),
    _column("is_default", Boolean(), default="false"),
    CheckConstraint("version > 0", name="version"),
)

inbox = Table(
    "inbox",
    metadata,
    Column("inbox_id", BigInteger, Identity(), primary_key=True),
    _column("source", String(), default="''"),
    _column("event_id", String(), default="''"),
    #: '' for the first content seen under (source, event_id); a hash of the content for conflicts and unreadable ones.
    _column("variant", LargeBinary(), default="''"),
    _column("type", String(), null=True),
    _column("occurred_at", _INSTANT, null=True),
    _column("shard", SmallInteger(), null=True),
    _column("order_id", String(), null=True),
    _column("content_hash", LargeBinary(), null=True),
    _column("body", LargeBinary()),
    _column("state", String()),
    _column("reason", String(), null=True),
    _column("detail", String(), null=True),
    _column("deliveries", Integer(), default="1"),
    _column("times_parked", Integer(), default="0"),
    _column("received_at", _INSTANT, default="now()"),
    _column("settled_at", _INSTANT, null=True),
    UniqueConstraint("source", "event_id", "variant"),
    CheckConstraint("state IN ('received', 'waiting', 'posted', 'replayed', 'dead', 'dropped')", name="state"),
    CheckConstraint("(state IN ('dead', 'dropped')) = (reason IS NOT NULL)", name="dead_has_reason"),
    CheckConstraint("(state IN ('received', 'waiting')) = (settled_at IS NULL)", name="outcome_has_time"),
    CheckConstraint("state <> 'received' OR shard IS NOT NULL", name="received_has_shard"),
    Index("ix_inbox_received", "shard", "inbox_id", postgresql_where=text("state = 'received'")),
    Index("ix_inbox_open_orders", "source", "order_id", postgresql_where=text("state IN ('received', 'waiting')")),
    Index("ix_inbox_waiting", "inbox_id", postgresql_where=text("state = 'waiting'")),
    Index("ix_inbox_dead", "inbox_id", postgresql_where=text("state = 'dead'")),
)

dead_letter_actions = Table(
    "dead_letter_actions",
    metadata,
    Column("action_id", BigInteger, Identity(), primary_key=True),
    _column("inbox_id", BigInteger()),
    _column("action", String()),
    _column("reason", String(), null=True),
    _column("detail", String(), null=True),
    _column("acted_at", _INSTANT, default="now()"),
    ForeignKeyConstraint(["inbox_id"], ["inbox.inbox_id"]),
    CheckConstraint("action IN ('retried', 'dropped')", name="action"),
    Index(None, "inbox_id"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    _column("program_id", String()),
    _column("customer_id", String()),
    _column("account_shard", SmallInteger()),
    _column("sequence", BigInteger(), default="0"),
    _column("lots_opened", Integer(), default="0"),
    _column("balance", BigInteger(), default="0"),
    _column("pending", BigInteger(), default="0"),
    _column("deficit", BigInteger(), default="0"),
    _column("lifetime_points", BigInteger(), default="0"),
    _column("qualifying_points", BigInteger(), default="0"),
    _column("qualifying_from", _INSTANT, null=True),
    _column("tier_id", String()),
    _column("tier_since", _INSTANT, null=True),
    _column("tier_until", _INSTANT, null=True),
    _column("tier_changes", Integer(), default="0"),
    _column("created_at", _INSTANT, default="now()"),
    _column("updated_at", _INSTANT, default="now()"),
    CheckConstraint("deficit >= 0", name="deficit"),
    CheckConstraint("pending >= 0", name="pending"),
    CheckConstraint("balance >= -deficit", name="balance_covers_lots"),
    CheckConstraint("qualifying_points >= 0", name="qualifying_points"),
    Index("ix_accounts_tier_review", "account_shard", "tier_until", postgresql_where=text("tier_until IS NOT NULL")),
)

members = Table(
    "members",
    metadata,
    Column("program_id", String, primary_key=True),
    Column("customer_id", String, primary_key=True),
    _column("account_id", Uuid()),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    Index(None, "account_id"),
)

entries = Table(
    "entries",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    _column("kind", String()),
    _column("points", BigInteger()),
    _column("balance_after", BigInteger()),
    _column("lifetime_points_after", BigInteger()),
    _column("deficit_change", BigInteger()),
    _column("occurred_at", _INSTANT),
    _column("recorded_at", _INSTANT, default="now()"),
    _column("source", String(), null=True),
    _column("order_id", String(), null=True),
    _column("refund_id", String(), null=True),
    _column("corrects_sequence", BigInteger(), null=True),
    _column("why", JSON()),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    CheckConstraint("sequence > 0", name="sequence"),
    CheckConstraint("points <> 0", name="points"),
    CheckConstraint("kind IN ('accrual', 'clawback', 'expiry')", name="kind"),
    CheckConstraint("(kind = 'accrual') = (points > 0)", name="sign"),
    CheckConstraint("corrects_sequence < sequence", name="corrects_earlier"),
)

lots = Table(
    "lots",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("lot_number", Integer, primary_key=True, autoincrement=False),
    _column("account_shard", SmallInteger()),
    _column("opened_by_sequence", BigInteger()),
    _column("points_granted", BigInteger()),
    _column("points_remaining", BigInteger()),
    _column("points_expired", BigInteger(), default="0"),
    _column("available_at", _INSTANT),
    _column("expires_at", _INSTANT, null=True),
    ForeignKeyConstraint(["account_id", "opened_by_sequence"], ["entries.account_id", "entries.sequence"]),
    CheckConstraint("points_granted > 0", name="points_granted"),
    CheckConstraint("points_remaining >= 0 AND points_expired >= 0", name="points_not_negative"),
    CheckConstraint("points_remaining + points_expired <= points_granted", name="points_within_grant"),
    Index(
        "ix_lots_expiry",
        "account_shard",
        "expires_at",
        postgresql_where=text("points_remaining > 0 AND expires_at IS NOT NULL"),
    ),
)

allocations = Table(
    "allocations",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("lot_number", Integer, primary_key=True, autoincrement=False),
    _column("points", BigInteger()),
    ForeignKeyConstraint(["account_id", "sequence"], ["entries.account_id", "entries.sequence"]),
    ForeignKeyConstraint(["account_id", "lot_number"], ["lots.account_id", "lots.lot_number"]),
    CheckConstraint("points <> 0", name="points"),
)

tier_changes = Table(
    "tier_changes",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("change_number", Integer, primary_key=True, autoincrement=False),
    _column("previous_tier_id", String()),
    _column("tier_id", String()),
    _column("qualifying_points", BigInteger()),
    _column("effective_at", _INSTANT),
    _column("reason", String()),
    _column("recorded_at", _INSTANT, default="now()"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    CheckConstraint("reason IN ('qualified', 'reviewed')", name="reason"),
)

orders = Table(
    "orders",
    metadata,
    Column("source", String, primary_key=True),
    Column("order_id", String, primary_key=True),
    Column("program_id", String, primary_key=True),
    _column("account_id", Uuid(), null=True),  #: null: a guest's order
    _column("customer_id", String(), null=True),
    _column("shard", SmallInteger()),  #: where its refunds are posted
    _column("inbox_id", BigInteger()),
    _column("business_hash", LargeBinary()),
    _column("currency", String()),
    _column("occurred_at", _INSTANT),
    _column("recorded_at", _INSTANT, default="now()"),
    _column("lines", JSON()),
    _column("points_paid", Numeric()),
    _column("program_version", Integer()),
    _column("tier_id", String(), null=True),
    _column("sequence", BigInteger(), null=True),
    _column("lot_number", Integer(), null=True),
    _column("points_entitled", BigInteger(), default="0"),
    _column("points_excused", BigInteger(), default="0"),
    _column("points_shortfall", BigInteger(), default="0"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    CheckConstraint(
        "points_entitled >= 0 AND points_excused >= 0 AND points_shortfall >= 0", name="points_not_negative"
    ),
    CheckConstraint("account_id IS NOT NULL OR points_entitled = 0", name="guests_earn_nothing"),
    Index("ix_orders_account", "account_id", "occurred_at"),
)

refunds = Table(
    "refunds",
    metadata,
    Column("source", String, primary_key=True),
    Column("refund_id", String, primary_key=True),
    Column("program_id", String, primary_key=True),
    _column("order_id", String()),
    _column("inbox_id", BigInteger()),
    _column("business_hash", LargeBinary()),
    _column("occurred_at", _INSTANT),
    _column("recorded_at", _INSTANT, default="now()"),
    _column("body", LargeBinary()),
    _column("points_due", BigInteger()),
    _column("points_taken", BigInteger()),
    _column("points_excused", BigInteger()),
    _column("points_shortfall", BigInteger()),
    ForeignKeyConstraint(
        ["source", "order_id", "program_id"], ["orders.source", "orders.order_id", "orders.program_id"]
    ),
    CheckConstraint("points_due = points_taken + points_excused + points_shortfall", name="points_add_up"),
    CheckConstraint("points_taken >= 0 AND points_excused >= 0 AND points_shortfall >= 0", name="points_not_negative"),
    Index("ix_refunds_order", "source", "order_id", "program_id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", BigInteger, Identity(), primary_key=True),
    _column("account_shard", SmallInteger()),
    _column("account_id", Uuid(), null=True),  #: null: an event that is about no account
    _column("event_id", String()),
    _column("type", String()),
    _column("body", String()),
    _column("created_at", _INSTANT, default="now()"),
    _column("published_at", _INSTANT, null=True),
    UniqueConstraint("account_id", "event_id", postgresql_nulls_not_distinct=True),
    Index("ix_outbox_unpublished", "account_shard", "outbox_id", postgresql_where=text("published_at IS NULL")),
)

posting_attempts = Table(
    "posting_attempts",
    metadata,
    Column("shard", SmallInteger, primary_key=True),
    _column("attempts", Integer(), default="0"),
    _column("started_at", _INSTANT, default="now()"),
)

periodic_runs = Table(
    "periodic_runs",
    metadata,
    Column("task", String, primary_key=True),
    _column("as_of", _INSTANT),
    _column("finished_at", _INSTANT, default="now()"),
    _column("result", JSONB()),
)
