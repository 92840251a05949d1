"""Messages that come in and events that go out, until they are settled."""

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Identity, Index, Table, UniqueConstraint, text

from core.store.tables.base import (
    BIGINT,
    BOOLEAN,
    BYTES,
    INSTANT,
    INTEGER,
    QUEUE_STORAGE,
    SMALLINT,
    TEXT,
    UUID,
    column,
    metadata,
)

inbox = Table(
    "inbox",
    metadata,
    Column("inbox_id", BIGINT, primary_key=True, autoincrement=False),  #: from `numbers`, in order of arrival
    column("source", TEXT, default="''"),
    column("event_id", TEXT, default="''"),
    #: '' for the first content seen under (source, event_id); a hash of the content for conflicts and unreadable ones.
    column("variant", BYTES, default="''"),
    column("type", TEXT, null=True),
    column("occurred_at", INSTANT, null=True),
    column("shard", SMALLINT, null=True),
    column("subject", TEXT, null=True),  #: what it is about (core.domain.subjects); null: it could not be read
    column("is_subject", BOOLEAN, default="false"),  #: it brings its subject into being: others wait for it
    column("content_hash", BYTES, null=True),
    column("body", BYTES),  #: as received
    column("settled", TEXT, null=True),  #: what posting reads: its data in their one form, until it has an outcome
    column("state", TEXT),
    column("reason", TEXT, null=True),
    column("detail", TEXT, null=True),
    column("deliveries", INTEGER, default="1"),
    column("times_parked", INTEGER, default="0"),
    column("received_at", INSTANT, default="now()"),
    column("settled_at", INSTANT, null=True),
    column("signature", TEXT, null=True),  #: as it came beside the message, so that a retry can check it again
    UniqueConstraint("source", "event_id", "variant"),
    CheckConstraint("state IN ('received', 'waiting', 'posted', 'replayed', 'dead', 'dropped')", name="state"),
    CheckConstraint("(state IN ('dead', 'dropped')) = (reason IS NOT NULL)", name="dead_has_reason"),
    CheckConstraint("(state IN ('received', 'waiting')) = (settled_at IS NULL)", name="outcome_has_time"),
    CheckConstraint("(state IN ('received', 'waiting')) = (settled IS NOT NULL)", name="open_is_settled"),
    CheckConstraint("state <> 'received' OR shard IS NOT NULL", name="received_has_shard"),
    Index("ix_inbox_received", "shard", "inbox_id", postgresql_where=text("state = 'received'")),
    # The second part of its condition keeps the planner from taking it for ix_inbox_received.
    Index(
        "ix_inbox_open_subjects",
        "source",
        "subject",
        postgresql_where=text("state IN ('received', 'waiting') AND subject IS NOT NULL"),
    ),
    Index("ix_inbox_waiting", "inbox_id", postgresql_where=text("state = 'waiting'")),
    Index("ix_inbox_dead", "inbox_id", postgresql_where=text("state = 'dead'")),
    # Else the settled data, which are there for a moment, would be compressed: a third of the server's work at intake.
    postgresql_with={**QUEUE_STORAGE, "toast_tuple_target": "4080"},
)

dead_letter_actions = Table(
    "dead_letter_actions",
    metadata,
    Column("action_id", BIGINT, Identity(), primary_key=True),
    column("inbox_id", BIGINT),
    column("action", TEXT),
    column("reason", TEXT, null=True),
    column("detail", TEXT, null=True),
    column("acted_at", INSTANT, default="now()"),
    ForeignKeyConstraint(["inbox_id"], ["inbox.inbox_id"]),
    CheckConstraint("action IN ('parked', 'retried', 'dropped', 'replaced')", name="action"),
    Index(None, "inbox_id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", BIGINT, primary_key=True, autoincrement=False),  #: from `numbers`, under the account's lock
    column("account_shard", SMALLINT),
    column("account_id", UUID, null=True),  #: null: an event that is about no account
    column("event_id", TEXT),
    column("type", TEXT),
    column("body", TEXT),
    column("created_at", INSTANT, default="now()"),
    column("published_at", INSTANT, null=True),
    UniqueConstraint("account_id", "event_id", postgresql_nulls_not_distinct=True),
    Index("ix_outbox_unpublished", "account_shard", "outbox_id", postgresql_where=text("published_at IS NULL")),
    Index("ix_outbox_created_at", "created_at", postgresql_using="brin"),
    postgresql_with=QUEUE_STORAGE,
)

posting_attempts = Table(
    "posting_attempts",
    metadata,
    Column("shard", SMALLINT, primary_key=True),
    column("attempts", INTEGER, default="0"),
    column("started_at", INSTANT, default="now()"),
)

#: The next numbers of inbox and outbox. A row instead of an identity: numbers are drawn in the order of the commits,
#: and it stays so where the database is spread over nodes, which have identities of their own.
numbers = Table(
    "numbers",
    metadata,
    Column("name", TEXT, primary_key=True),  #: inbox or outbox
    column("next_number", BIGINT, default="1"),
)

#: Who works on a shard holds its row. A row instead of an advisory lock, for the same reason.
turns = Table(
    "turns",
    metadata,
    Column("task", TEXT, primary_key=True),
    Column("shard", SMALLINT, primary_key=True, autoincrement=False),
)
