"""What shops report of orders, and what orders have used up of limits. Business keys hold for ever."""

from collections.abc import Iterator

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Index, Table
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.schema import SchemaItem

from core.store.tables.base import (
    BIGINT,
    BOOLEAN,
    BYTES,
    INSTANT,
    INTEGER,
    NUMERIC,
    SMALLINT,
    TEXT,
    UUID,
    column,
    metadata,
)

orders = Table(
    "orders",
    metadata,
    Column("source", TEXT, primary_key=True),
    Column("order_id", TEXT, primary_key=True),
    Column("program_id", TEXT, primary_key=True),
    column("account_id", UUID, null=True),  #: null: a guest's order
    column("customer_id", TEXT, null=True),
    column("shard", SMALLINT),  #: where its refunds are posted
    column("inbox_id", BIGINT),
    column("business_hash", BYTES),
    column("currency", TEXT),
    column("occurred_at", INSTANT),
    column("recorded_at", INSTANT, default="now()"),
    column("lines", JSON()),
    column("points_paid", NUMERIC),
    column("program_version", INTEGER),
    column("tier_id", TEXT, null=True),
    column("sequence", BIGINT, null=True),
    column("points_entitled", BIGINT, default="0"),
    column("points_excused", BIGINT, default="0"),
    column("points_shortfall", BIGINT, default="0"),
    column("attributes", JSON(), null=True),
    column("customer_tags", JSON(), null=True),
    column("judgement", JSON(), null=True),  #: what was judged when it was posted; null: nothing had to be
    column("qualifying_points", BIGINT),
    column("qualifying_spend", BIGINT),  #: hundredths
    column("qualifying_orders", SMALLINT),
    column("fulfilled_at", INSTANT, null=True),
    column("cancelled_at", INSTANT, null=True),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    CheckConstraint(
        "points_entitled >= 0 AND points_excused >= 0 AND points_shortfall >= 0", name="points_not_negative"
    ),
    CheckConstraint("account_id IS NOT NULL OR points_entitled = 0", name="guests_earn_nothing"),
    Index("ix_orders_account", "account_id", "occurred_at"),
)


def _reported() -> Iterator[SchemaItem]:
    """What is kept of every message about an order, and what became of the points that it claimed back."""
    yield column("account_id", UUID, null=True)  #: its order's
    yield column("inbox_id", BIGINT)
    yield column("business_hash", BYTES)
    yield column("occurred_at", INSTANT)
    yield column("recorded_at", INSTANT, default="now()")
    points = [f"points_{name}" for name in ("due", "taken", "excused", "shortfall")]
    yield from (column(name, BIGINT) for name in points)
    order = ["source", "order_id", "program_id"]
    yield ForeignKeyConstraint(order, [f"orders.{name}" for name in order])
    yield ForeignKeyConstraint(["account_id"], ["accounts.account_id"])
    yield CheckConstraint("points_due = points_taken + points_excused + points_shortfall", name="points_add_up")
    yield CheckConstraint(" AND ".join(f"{name} >= 0" for name in points[1:]), name="points_not_negative")


refunds = Table(
    "refunds",
    metadata,
    Column("source", TEXT, primary_key=True),
    Column("refund_id", TEXT, primary_key=True),
    Column("program_id", TEXT, primary_key=True),
    column("order_id", TEXT),
    *_reported(),
    column("is_full", BOOLEAN),
    column("amount", NUMERIC, null=True),  #: null: no amount of the whole order
    column("lines", JSON(), null=True),  #: null: no lines
    CheckConstraint("num_nonnulls(nullif(is_full, false), amount, lines) <= 1", name="in_one_way"),
    Index("ix_refunds_order", "source", "order_id", "program_id"),
    Index(None, "account_id"),
)

order_events = Table(
    "order_events",
    metadata,
    Column("source", TEXT, primary_key=True),
    Column("order_id", TEXT, primary_key=True),
    Column("program_id", TEXT, primary_key=True),
    Column("kind", TEXT, primary_key=True),
    *_reported(),
    CheckConstraint("kind IN ('fulfilled', 'cancelled')", name="kind"),
    Index(None, "account_id"),
)

usages = Table(
    "usages",
    metadata,
    Column("account_id", UUID, primary_key=True),
    Column("name", TEXT, primary_key=True),  #: a rule's or a promotion's
    Column("period", TEXT, primary_key=True),
    column("points", BIGINT, default="0"),
    column("orders", INTEGER, default="0"),
    column("carried", TEXT, default="'0'"),  #: an exact fraction, such as 20 or 61/3
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)

budgets = Table(
    "budgets",
    metadata,
    Column("program_id", TEXT, primary_key=True),
    Column("promotion_id", TEXT, primary_key=True),
    column("points", BIGINT, default="0"),
    column("orders", BIGINT, default="0"),
)
