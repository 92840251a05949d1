"""Messages that come in and events that go out, until they are settled."""

import sqlalchemy as sa

from core.store.tables.base import INSTANT, QUEUE_STORAGE, column, metadata, within_reach

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column(
        "inbox_id", sa.BigInteger(), primary_key=True, autoincrement=False
    ),  #: from `numbers`, in order of arrival
    column("source", sa.String(), default="''"),
    column("event_id", sa.String(), default="''"),
    #: '' for the first content seen under (source, event_id); a hash of the content for conflicts and unreadable ones.
    column("variant", sa.LargeBinary(), default="''"),
    column("type", sa.String(), null=True),
    column("occurred_at", INSTANT, null=True),
    column("shard", sa.SmallInteger(), null=True),
    column("subject", sa.String(), null=True),  #: what it is about (core.domain.subjects); null: it could not be read
    column("is_subject", sa.Boolean(), default="false"),  #: it brings its subject into being: others wait for it
    column("content_hash", sa.LargeBinary(), null=True),
    column("body", sa.LargeBinary()),  #: as received
    column(
        "settled", sa.String(), null=True
    ),  #: what posting reads: its data in their one form, until it has an outcome that stays
    column("state", sa.String()),
    column("reason", sa.String(), null=True),
    column("detail", sa.String(), null=True),
    column("deliveries", sa.Integer(), default="1"),
    column("times_parked", sa.Integer(), default="0"),
    column("received_at", INSTANT, default="now()"),
    column("settled_at", INSTANT, null=True),
    column("awaits", sa.String(), null=True),  #: what it waits for, where that is not what it is about: a refund
    column("signature", sa.String(), null=True),  #: as it came beside the message, so that a retry can check it again
    column("subject_source", sa.String(), null=True),  #: whose the subject is; null: that of the message's source
    #: While it waits: so many orders of its subject's id are posted, in programs that it is not about.
    column("others_posted", sa.SmallInteger(), default="0"),
    column("reply_to", sa.String(), null=True),  #: the queue or stream where its sender wants its answer too
    column("correlation_id", sa.String(), null=True),  #: goes back with the answer
    #: Of one command, where it says nothing of points itself.
    column("points_per_command_max", sa.BigInteger(), null=True),
    #: Of all commands of this kind from its source on one day, as the sources file said when it came; null: any number.
    column("points_per_day_max", sa.BigInteger(), null=True),
    #: Of the sender's trace, which goes on to all that the message causes (core.messages.trace_context).
    column("traceparent", sa.String(), null=True),
    column("tracestate", sa.String(), null=True),
    sa.UniqueConstraint("source", "event_id", "variant"),
    sa.CheckConstraint(
        "state IN ('received', 'waiting', 'posted', 'replayed', 'rejected', 'dead', 'dropped')", name="state"
    ),
    sa.CheckConstraint("(state IN ('rejected', 'dead', 'dropped')) = (reason IS NOT NULL)", name="dead_has_reason"),
    sa.CheckConstraint("(state IN ('received', 'waiting')) = (settled_at IS NULL)", name="outcome_has_time"),
    sa.CheckConstraint(
        "state = 'dead' OR (state IN ('received', 'waiting')) = (settled IS NOT NULL)", name="open_is_settled"
    ),
    sa.CheckConstraint("state <> 'received' OR shard IS NOT NULL", name="received_has_shard"),
    within_reach("occurred_at"),
    sa.Index("ix_inbox_received", "shard", "inbox_id", postgresql_where=sa.text("state = 'received'")),
    # The second part of its condition keeps the planner from taking it for ix_inbox_received.
    sa.Index(
        "ix_inbox_open_subjects",
        "subject",
        sa.text("coalesce(subject_source, source)"),
        postgresql_where=sa.text("state IN ('received', 'waiting', 'dead') AND subject IS NOT NULL"),
    ),
    sa.Index("ix_inbox_waiting", "inbox_id", postgresql_where=sa.text("state = 'waiting'")),
    sa.Index("ix_inbox_dead", "inbox_id", postgresql_where=sa.text("state = 'dead'")),
    # Else the settled data, which are there for a moment, would be compressed: a third of the server's work at intake.
    postgresql_with={**QUEUE_STORAGE, "toast_tuple_target": "4080"},
)

dead_letter_actions = sa.Table(
    "dead_letter_actions",
    metadata,
    sa.Column("action_id", sa.BigInteger(), sa.Identity(), primary_key=True),
    column("inbox_id", sa.BigInteger()),
    column("action", sa.String()),
    column("reason", sa.String(), null=True),
    column("detail", sa.String(), null=True),
    column("acted_by", sa.String(), null=True),  #: a person; null: the worker, by itself
    column("acted_at", INSTANT, default="now()"),
    sa.ForeignKeyConstraint(["inbox_id"], ["inbox.inbox_id"]),
    sa.CheckConstraint("action IN ('parked', 'retried', 'dropped', 'replaced')", name="action"),
    # Whoever drops or replaces one is a person; the worker only parks and takes in again.
    sa.CheckConstraint(
        "CASE action WHEN 'parked' THEN acted_by IS NULL ELSE action = 'retried' OR acted_by IS NOT NULL END",
        name="acted_by",
    ),
    sa.Index(None, "inbox_id"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column(
        "outbox_id", sa.BigInteger(), primary_key=True, autoincrement=False
    ),  #: from `numbers`, under the account's lock
    column("account_shard", sa.SmallInteger()),
    column("account_id", sa.Uuid(), null=True),  #: null: an event that is about no account
    #: Its id, without the account's and the colon with which the ids of an account's own events begin.
    column("event_key", sa.String()),
    column("type", sa.String()),
    column("body", sa.String()),
    column("created_at", INSTANT, default="now()"),
    column("reply_to", sa.String(), null=True),  #: it answers a message, and goes to this queue or stream too
    column("correlation_id", sa.String(), null=True),  #: of that message
    #: The trace that goes on beside it, as it stands in it: of the message that caused it.
    column("traceparent", sa.String(), null=True),
    column("tracestate", sa.String(), null=True),
    # As much as AMQP takes: what the relay could not write would hold up all that stands behind it.
    sa.CheckConstraint("octet_length(reply_to) <= 255 AND octet_length(correlation_id) <= 255", name="reply"),
    sa.UniqueConstraint("account_id", "event_key", postgresql_nulls_not_distinct=True),
    sa.Index(None, "account_shard", "outbox_id"),
    sa.Index("ix_outbox_created_at", "created_at", postgresql_using="brin"),
    postgresql_with=QUEUE_STORAGE,
)

#: How far the relay has come with each account shard's events, which it publishes in their order: a row for each shard
#: instead of a mark on every event, which would be written twice, with its text and all its index entries.
relay_positions = sa.Table(
    "relay_positions",
    metadata,
    sa.Column("account_shard", sa.SmallInteger(), primary_key=True, autoincrement=False),
    column("published_through", sa.BigInteger()),  #: the shard's events up to this number are published
)

posting_attempts = sa.Table(
    "posting_attempts",
    metadata,
    sa.Column("shard", sa.SmallInteger(), primary_key=True),
    column("attempts", sa.Integer(), default="0"),
    column("started_at", INSTANT, default="now()"),
)

#: The next numbers of inbox and outbox. A row instead of an identity: numbers are drawn in the order of the commits,
#: and it stays so where the database is spread over nodes, which have identities of their own.
numbers = sa.Table(
    "numbers",
    metadata,
    sa.Column("name", sa.String(), primary_key=True),  #: inbox or outbox
    column("next_number", sa.BigInteger(), default="1"),
    column("erasures", sa.BigInteger(), default="0"),  #: of customers, so far: who has a number knows whether one came
)

#: Who works on a shard holds its row. A row instead of an advisory lock, for the same reason.
turns = sa.Table(
    "turns",
    metadata,
    sa.Column("task", sa.String(), primary_key=True),
    sa.Column("shard", sa.SmallInteger(), primary_key=True, autoincrement=False),
)
