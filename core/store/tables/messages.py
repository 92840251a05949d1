"""Messages that come in and events that go out, until they are settled."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)

from core.store.tables.base import INSTANT, QUEUE_STORAGE, column, metadata

inbox = Table(
    "inbox",
    metadata,
    Column("inbox_id", BigInteger, Identity(), primary_key=True),
    column("source", String(), default="''"),
    column("event_id", String(), default="''"),
    #: '' for the first content seen under (source, event_id); a hash of the content for conflicts and unreadable ones.
    column("variant", LargeBinary(), default="''"),
    column("type", String(), null=True),
    column("occurred_at", INSTANT, null=True),
    column("shard", SmallInteger(), null=True),
    column("order_id", String(), null=True),
    column("content_hash", LargeBinary(), null=True),
    column("body", LargeBinary()),
    column("state", String()),
    column("reason", String(), null=True),
    column("detail", String(), null=True),
    column("deliveries", Integer(), default="1"),
    column("times_parked", Integer(), default="0"),
    column("received_at", INSTANT, default="now()"),
    column("settled_at", INSTANT, null=True),
    column("signature", String(), null=True),  #: as it came beside the message, so that a retry can check it again
    UniqueConstraint("source", "event_id", "variant"),
    CheckConstraint("state IN ('received', 'waiting', 'posted', 'replayed', 'dead', 'dropped')", name="state"),
    CheckConstraint("(state IN ('dead', 'dropped')) = (reason IS NOT NULL)", name="dead_has_reason"),
    CheckConstraint("(state IN ('received', 'waiting')) = (settled_at IS NULL)", name="outcome_has_time"),
    CheckConstraint("state <> 'received' OR shard IS NOT NULL", name="received_has_shard"),
    Index("ix_inbox_received", "shard", "inbox_id", postgresql_where=text("state = 'received'")),
    Index("ix_inbox_open_orders", "source", "order_id", postgresql_where=text("state IN ('received', 'waiting')")),
    Index("ix_inbox_waiting", "inbox_id", postgresql_where=text("state = 'waiting'")),
    Index("ix_inbox_dead", "inbox_id", postgresql_where=text("state = 'dead'")),
    postgresql_with=QUEUE_STORAGE,
)

dead_letter_actions = Table(
    "dead_letter_actions",
    metadata,
    Column("action_id", BigInteger, Identity(), primary_key=True),
    column("inbox_id", BigInteger()),
    column("action", String()),
    column("reason", String(), null=True),
    column("detail", String(), null=True),
    column("acted_at", INSTANT, default="now()"),
    ForeignKeyConstraint(["inbox_id"], ["inbox.inbox_id"]),
    CheckConstraint("action IN ('parked', 'retried', 'dropped', 'replaced')", name="action"),
    Index(None, "inbox_id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", BigInteger, Identity(), primary_key=True),
    column("account_shard", SmallInteger()),
    column("account_id", Uuid(), null=True),  #: null: an event that is about no account
    column("event_id", String()),
    column("type", String()),
    column("body", String()),
    column("created_at", INSTANT, default="now()"),
    column("published_at", INSTANT, null=True),
    UniqueConstraint("account_id", "event_id", postgresql_nulls_not_distinct=True),
    Index("ix_outbox_unpublished", "account_shard", "outbox_id", postgresql_where=text("published_at IS NULL")),
    postgresql_with=QUEUE_STORAGE,
)

posting_attempts = Table(
    "posting_attempts",
    metadata,
    Column("shard", SmallInteger, primary_key=True),
    column("attempts", Integer(), default="0"),
    column("started_at", INSTANT, default="now()"),
)
