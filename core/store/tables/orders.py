"""What shops report of orders, and what orders have used up of limits. Business keys hold for ever."""

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.schema import SchemaItem

from core.store.tables.base import INSTANT, column, metadata, within_reach

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("source", sa.String(), primary_key=True),
    sa.Column("order_id", sa.String(), primary_key=True),
    sa.Column("program_id", sa.String(), primary_key=True),
    column("account_id", sa.Uuid(), null=True),  #: null: a guest's order
    column("customer_id", sa.String(), null=True),
    column("reference_kind", sa.String(), null=True),  #: by what it names its account; null: by its customer, or not
    column("reference", sa.String(), null=True),
    column("shard", sa.SmallInteger()),  #: where its refunds are posted
    column("inbox_id", sa.BigInteger()),
    column("business_hash", sa.LargeBinary()),
    column("currency", sa.String()),
    column("rate", sa.Numeric(), null=True),  #: as its message says; null: it does not
    column("occurred_at", INSTANT),
    column("recorded_at", INSTANT, default="now()"),
    column("lines", JSON()),
    column("points_paid", sa.Numeric()),
    column("points_authorization_id", sa.String(), null=True),  #: what they were captured of, if its message says so
    column("points_command_id", sa.String(), null=True),  #: or the redemption or debit that took them
    column("points_command_source", sa.String(), null=True),  #: null: the order's source
    column("program_version", sa.Integer()),
    column("tier_id", sa.String(), null=True),
    column("sequence", sa.BigInteger(), null=True),
    column("points_entitled", sa.BigInteger(), default="0"),
    column("points_excused", sa.BigInteger(), default="0"),
    column("points_shortfall", sa.BigInteger(), default="0"),
    column("attributes", JSON(), null=True),
    column("customer_tags", JSON(), null=True),
    column("judgement", JSON(), null=True),  #: what was judged when it was posted; null: nothing had to be
    column("qualifying_points", sa.BigInteger()),
    column("qualifying_spend", sa.BigInteger()),  #: hundredths
    column("qualifying_orders", sa.SmallInteger()),
    column("qualifying_steps", JSON(), null=True),  #: what it counted when, by its refunds' times; null: always that
    column("is_counted", sa.Boolean()),  #: as an order of its customer
    column("fulfilled_at", INSTANT, null=True),
    column("cancelled_at", INSTANT, null=True),
    column("amendment", JSON(), null=True),  #: the order as its newest revision has it; null: as it came first
    column("seal", sa.LargeBinary(), null=True),  #: over what never changes; null: no chain was kept
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.CheckConstraint(
        "points_entitled >= 0 AND points_excused >= 0 AND points_shortfall >= 0", name="points_not_negative"
    ),
    sa.CheckConstraint("account_id IS NOT NULL OR points_entitled = 0", name="guests_earn_nothing"),
    sa.CheckConstraint("(reference IS NULL) = (reference_kind IS NULL)", name="reference"),
    sa.CheckConstraint(
        "num_nonnulls(points_authorization_id, points_command_id) <= 1"
        " AND (points_command_source IS NULL OR points_command_id IS NOT NULL)",
        name="paid_in_one_way",
    ),
    within_reach("fulfilled_at", "cancelled_at"),
    sa.Index("ix_orders_account", "account_id", "occurred_at"),
)


def _reported(order_source: str) -> Iterator[SchemaItem]:
    """What is kept of every message about an order, and what became of the points that it claimed back."""
    yield column("account_id", sa.Uuid(), null=True)  #: its order's
    yield column("inbox_id", sa.BigInteger())
    yield column("business_hash", sa.LargeBinary())
    yield column("occurred_at", INSTANT)
    yield column("recorded_at", INSTANT, default="now()")
    points = [f"points_{name}" for name in ("due", "taken", "excused", "shortfall")]
    yield from (column(name, sa.BigInteger()) for name in points)  #: below zero: they came back
    yield column("sequence", sa.BigInteger(), null=True)  #: the entry that took or gave them; null: there is none
    order = ["orders.source", "orders.order_id", "orders.program_id"]
    yield sa.ForeignKeyConstraint([order_source, "order_id", "program_id"], order)
    yield sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"])
    yield sa.CheckConstraint("points_due = points_taken + points_excused + points_shortfall", name="points_add_up")
    yield sa.CheckConstraint("(sequence IS NULL) = (points_taken = 0)", name="points_have_an_entry")


_ONE_WAY = " OR ".join(
    " AND ".join(f"points_{name} {sign} 0" for name in ("taken", "excused", "shortfall")) for sign in (">=", "<=")
)

refunds = sa.Table(
    "refunds",
    metadata,
    sa.Column("source", sa.String(), primary_key=True),
    sa.Column("refund_id", sa.String(), primary_key=True),
    sa.Column("program_id", sa.String(), primary_key=True),
    column("order_source", sa.String()),
    column("order_id", sa.String()),
    *_reported("order_source"),
    column("is_full", sa.Boolean()),
    column("currency", sa.String(), null=True),  #: null: not said
    column("paid", sa.Numeric(), null=True),  #: null: no money of the whole order of this kind
    column("net", sa.Numeric(), null=True),  #: null: no money of the whole order of this kind
    column("lines", JSON(), null=True),  #: null: no lines
    sa.CheckConstraint(_ONE_WAY, name="points_one_way"),
    sa.CheckConstraint("num_nonnulls(nullif(is_full, false), paid, net, lines) <= 1", name="in_one_way"),
    sa.Index("ix_refunds_order", "order_source", "order_id", "program_id"),
    sa.Index(None, "account_id"),
)

order_events = sa.Table(
    "order_events",
    metadata,
    sa.Column("source", sa.String(), primary_key=True),  #: the order's
    sa.Column("order_id", sa.String(), primary_key=True),
    sa.Column("program_id", sa.String(), primary_key=True),
    sa.Column("kind", sa.String(), primary_key=True),
    sa.Column("event_key", sa.String(), primary_key=True),  #: '' the whole order; a revision, a refund, a part of it
    *_reported("source"),
    #: Of an order that was given up: the entry that it earned in that account when it came; null: it earned none.
    column("accrual_sequence", sa.BigInteger(), null=True),
    column("content", JSON(), null=True),  #: its message's data, where they say more than that it happened
    sa.CheckConstraint(
        "kind IN ('fulfilled', 'cancelled', 'amended', 'refund_reverted', 'claimed', 'given_up', 'moved_away',"
        " 'moved_in')",
        name="kind",
    ),
    # An order that moves takes along what was excused of it, and not taken.
    sa.CheckConstraint(f"{_ONE_WAY} OR kind IN ('moved_away', 'moved_in')", name="points_one_way"),
    sa.CheckConstraint("event_key = '' OR content IS NOT NULL", name="part_has_content"),
    sa.Index(None, "account_id"),
)

#: Goods back without a receipt: what they would have earned, and what became of it.
returns = sa.Table(
    "returns",
    metadata,
    sa.Column("source", sa.String(), primary_key=True),
    sa.Column("return_id", sa.String(), primary_key=True),
    sa.Column("program_id", sa.String(), primary_key=True),
    column("account_id", sa.Uuid(), null=True),  #: null: the customer had none, and nothing was taken
    column("customer_id", sa.String()),
    column("reference_kind", sa.String(), null=True),  #: as of orders
    column("reference", sa.String(), null=True),
    column("inbox_id", sa.BigInteger()),
    column("business_hash", sa.LargeBinary()),
    column("currency", sa.String()),
    column("rate", sa.Numeric(), null=True),  #: as its message says; null: it does not
    column("occurred_at", INSTANT),
    column("recorded_at", INSTANT, default="now()"),
    column("lines", JSON()),
    column("program_version", sa.Integer()),
    column("tier_id", sa.String(), null=True),
    column("points_due", sa.BigInteger()),
    column("points_taken", sa.BigInteger()),
    column("points_excused", sa.BigInteger()),
    column("points_shortfall", sa.BigInteger()),
    column("sequence", sa.BigInteger(), null=True),  #: the entry that took them; null: there is none
    column("seal", sa.LargeBinary(), null=True),  #: over what never changes; null: no chain was kept
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    sa.CheckConstraint("points_due = points_taken + points_excused + points_shortfall", name="points_add_up"),
    sa.CheckConstraint(
        "points_taken >= 0 AND points_excused >= 0 AND points_shortfall >= 0", name="points_not_negative"
    ),
    sa.CheckConstraint("(sequence IS NULL) = (points_taken = 0)", name="points_have_an_entry"),
    sa.CheckConstraint("account_id IS NOT NULL OR points_taken = 0", name="taken_of_accounts"),
    sa.CheckConstraint("(reference IS NULL) = (reference_kind IS NULL)", name="reference"),
    sa.Index(None, "account_id"),
)

#: What has come back of points that paid orders: of what the orders name as having taken them.
order_payments = sa.Table(
    "order_payments",
    metadata,
    sa.Column("kind", sa.String(), primary_key=True),
    sa.Column("source", sa.String(), primary_key=True),  #: of the command; '': of an authorization
    sa.Column("payment_id", sa.String(), primary_key=True),
    column("order_source", sa.String(), null=True),  #: null: no order names it any more
    column("order_id", sa.String(), null=True),
    column("program_id", sa.String(), null=True),  #: the order's
    column("share", sa.String()),  #: as 3/10, of all that the order cost: how much is given back
    column("points_due", sa.BigInteger()),
    column("points_excused", sa.BigInteger()),
    column("points_shortfall", sa.BigInteger()),
    sa.ForeignKeyConstraint(
        ["order_source", "order_id", "program_id"], ["orders.source", "orders.order_id", "orders.program_id"]
    ),
    sa.CheckConstraint("kind IN ('authorization', 'command')", name="kind"),
    sa.CheckConstraint("(kind = 'authorization') = (source = '')", name="source_of_commands"),
    sa.CheckConstraint("num_nonnulls(order_source, order_id, program_id) IN (0, 3)", name="order_whole"),
    sa.CheckConstraint("share ~ '^(0|1|[1-9][0-9]*/[1-9][0-9]*)$'", name="share"),
    sa.CheckConstraint("points_due >= 0 AND points_excused >= 0 AND points_shortfall >= 0", name="points_not_negative"),
    sa.Index("ix_order_payments_order", "order_source", "order_id", "program_id"),
)

usages = sa.Table(
    "usages",
    metadata,
    sa.Column("account_id", sa.Uuid(), primary_key=True),
    sa.Column("name", sa.String(), primary_key=True),  #: a rule's or a promotion's
    sa.Column("period", sa.String(), primary_key=True),
    column("points", sa.BigInteger(), default="0"),
    column("orders", sa.Integer(), default="0"),
    column("carried", sa.Numeric(), default="0"),  #: a remainder, such as 20.333333333333
    sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)

budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("program_id", sa.String(), primary_key=True),
    sa.Column("name", sa.String(), primary_key=True),  #: a promotion's
    column("points", sa.BigInteger(), default="0"),
    column("orders", sa.BigInteger(), default="0"),
)
