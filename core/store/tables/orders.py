"""What shops report of orders, and what orders have used up of limits. Business keys hold for ever."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Table,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSON

from core.store.tables.base import INSTANT, column, metadata

orders = Table(
    "orders",
    metadata,
    Column("source", String, primary_key=True),
    Column("order_id", String, primary_key=True),
    Column("program_id", String, primary_key=True),
    column("account_id", Uuid(), null=True),  #: null: a guest's order
    column("customer_id", String(), null=True),
    column("shard", SmallInteger()),  #: where its refunds are posted
    column("inbox_id", BigInteger()),
    column("business_hash", LargeBinary()),
    column("currency", String()),
    column("occurred_at", INSTANT),
    column("recorded_at", INSTANT, default="now()"),
    column("lines", JSON()),
    column("points_paid", Numeric()),
    column("program_version", Integer()),
    column("tier_id", String(), null=True),
    column("sequence", BigInteger(), null=True),
    column("points_entitled", BigInteger(), default="0"),
    column("points_excused", BigInteger(), default="0"),
    column("points_shortfall", BigInteger(), default="0"),
    column("attributes", JSON(), null=True),
    column("customer_tags", JSON(), null=True),
    column("judgement", JSON(), null=True),  #: what was judged when it was posted; null: nothing had to be
    column("qualifying_points", BigInteger()),
    column("qualifying_spend", BigInteger()),  #: hundredths
    column("qualifying_orders", SmallInteger()),
    column("fulfilled_at", INSTANT, null=True),
    column("cancelled_at", INSTANT, null=True),
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
    column("order_id", String()),
    column("account_id", Uuid(), null=True),  #: its order's
    column("inbox_id", BigInteger()),
    column("business_hash", LargeBinary()),
    column("occurred_at", INSTANT),
    column("recorded_at", INSTANT, default="now()"),
    column("is_full", Boolean()),
    column("amount", Numeric(), null=True),  #: null: no amount of the whole order
    column("lines", JSON(), null=True),  #: null: no lines
    column("points_due", BigInteger()),
    column("points_taken", BigInteger()),
    column("points_excused", BigInteger()),
    column("points_shortfall", BigInteger()),
    ForeignKeyConstraint(
        ["source", "order_id", "program_id"], ["orders.source", "orders.order_id", "orders.program_id"]
    ),
    CheckConstraint("points_due = points_taken + points_excused + points_shortfall", name="points_add_up"),
    CheckConstraint("points_taken >= 0 AND points_excused >= 0 AND points_shortfall >= 0", name="points_not_negative"),
    CheckConstraint("num_nonnulls(nullif(is_full, false), amount, lines) <= 1", name="in_one_way"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    Index("ix_refunds_order", "source", "order_id", "program_id"),
    Index(None, "account_id"),
)

order_events = Table(
    "order_events",
    metadata,
    Column("source", String, primary_key=True),
    Column("order_id", String, primary_key=True),
    Column("program_id", String, primary_key=True),
    Column("kind", String, primary_key=True),
    column("account_id", Uuid(), null=True),  #: its order's
    column("inbox_id", BigInteger()),
    column("business_hash", LargeBinary()),
    column("occurred_at", INSTANT),
    column("recorded_at", INSTANT, default="now()"),
    column("points_due", BigInteger()),
    column("points_taken", BigInteger()),
    column("points_excused", BigInteger()),
    column("points_shortfall", BigInteger()),
    ForeignKeyConstraint(
        ["source", "order_id", "program_id"], ["orders.source", "orders.order_id", "orders.program_id"]
    ),
    CheckConstraint("kind IN ('fulfilled', 'cancelled')", name="kind"),
    CheckConstraint("points_due = points_taken + points_excused + points_shortfall", name="points_add_up"),
    CheckConstraint("points_taken >= 0 AND points_excused >= 0 AND points_shortfall >= 0", name="points_not_negative"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    Index(None, "account_id"),
)

usages = Table(
    "usages",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("name", String, primary_key=True),  #: a rule's or a promotion's
    Column("period", String, primary_key=True),
    column("points", BigInteger(), default="0"),
    column("orders", Integer(), default="0"),
    column("carried", String(), default="'0'"),  #: an exact fraction, such as 20 or 61/3
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)

budgets = Table(
    "budgets",
    metadata,
    Column("program_id", String, primary_key=True),
    Column("promotion_id", String, primary_key=True),
    column("points", BigInteger(), default="0"),
    column("orders", BigInteger(), default="0"),
)
