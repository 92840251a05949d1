"""Every protection of a promise: where it stands, how it is taken out, and what must then go red.

A row quotes the exact text that it takes out, so that it cannot rot silently: a changed text is an error.
"""

from tests.protections.of_clients import OF_CLIENTS
from tests.protections.of_commands import OF_COMMANDS
from tests.protections.of_database import OF_DATABASE
from tests.protections.of_erasure import OF_ERASURE
from tests.protections.of_imports import OF_IMPORTS
from tests.protections.of_monitoring import OF_MONITORING
from tests.protections.of_months import OF_MONTHS
from tests.protections.of_orders import OF_ORDERS
from tests.protections.of_payments import OF_PAYMENTS
from tests.protections.of_proof import OF_PROOF
from tests.protections.of_queues import OF_QUEUES
from tests.protections.of_reading import OF_READING
from tests.protections.of_shards import OF_SHARDS
from tests.protections.of_value import OF_VALUE
from tests.protections.protection import Edit, Protection

_BATCH = "core/posting/batch.py"
_LEDGER = "core/store/ledger.py"
_INBOX = "core/store/inbox.py"
_WAITING = "core/store/waiting.py"
_OUTBOX = "core/store/outbox.py"
_TABLES = "core/store/migrations/versions/0001_ledger_inbox_and_outbox.py"
_RELAY = "tasks/relay.py"
_AMQP = "workers/brokers/amqp.py"
_RELAY_TESTS = "tests/tasks/test_relay.py"
_BROKER_TESTS = "tests/workers/brokers/test_brokers.py"
_RABBITMQ_TESTS = "tests/workers/brokers/test_broker_rabbitmq.py"
_WRITE_LEDGER = "writing.write_ledger(turn.connection, chain_key=self._chain_key, books=books)"
_DRIVER_COMMIT = "turn.connection.connection.driver_connection.commit()"

PROTECTIONS = (
    *OF_COMMANDS,
    *OF_IMPORTS,
    *OF_DATABASE,
    *OF_ERASURE,
    *OF_MONTHS,
    *OF_ORDERS,
    *OF_PAYMENTS,
    *OF_PROOF,
    *OF_QUEUES,
    *OF_MONITORING,
    *OF_CLIENTS,
    *OF_READING,
    *OF_SHARDS,
    *OF_VALUE,
    Protection(
        "acknowledge after COMMIT",
        "no message that was accepted is lost",
        (
            Edit(
                "workers/intake.py",
                "        for messages, receipt in self._store(received):\n",
                "        source.acknowledge(received)\n        for messages, receipt in self._store(received):\n",
            ),
        ),
    ),
    Protection(
        "one source, id and content: one message",
        "a message that comes again is counted, not stored again",
        (
            Edit(
                _TABLES,
                "    CONSTRAINT uq_inbox_source_event_id_variant UNIQUE (source, event_id, variant),\n",
                "",
            ),
            Edit(
                _INBOX,
                "ON CONFLICT (source, event_id, variant) DO UPDATE\n"
                "    SET reply_to = CASE WHEN {_ASKS_AGAIN} THEN excluded.reply_to ELSE inbox.reply_to END,\n"
                "        correlation_id = CASE WHEN {_ASKS_AGAIN} THEN excluded.correlation_id"
                " ELSE inbox.correlation_id END,\n"
                "        deliveries = inbox.deliveries\n"
                "        + CASE WHEN inbox.content_hash IS NOT DISTINCT FROM excluded.content_hash"
                " THEN excluded.deliveries ELSE 0 END\n",
                "",
            ),
        ),
    ),
    Protection(
        "one order, whatever its messages are called",
        "an order earns its points once, even if the lock on its shard failed",
        (
            Edit(
                _TABLES,
                "    CONSTRAINT pk_orders PRIMARY KEY (source, order_id, program_id),\n",
                "",
            ),
            Edit(
                _TABLES,
                "    CONSTRAINT fk_refunds_order_source_order_id_program_id"
                " FOREIGN KEY(order_source, order_id, program_id) REFERENCES\n"
                "        orders (source, order_id, program_id),\n",
                "",
            ),
            Edit(
                _TABLES,
                "    CONSTRAINT fk_order_events_source_order_id_program_id"
                " FOREIGN KEY(source, order_id, program_id)\n"
                "        REFERENCES orders (source, order_id, program_id),\n",
                "",
            ),
        ),
        tests=("tests/store/test_constraints.py::test_is_refused[pk_orders]",),
    ),
    Protection(
        "one refund, whatever its messages are called",
        "a refund takes its points once, even if the lock on its order failed",
        (
            Edit(
                _TABLES,
                "    CONSTRAINT pk_refunds PRIMARY KEY (source, refund_id, program_id),\n",
                "",
            ),
        ),
        tests=("tests/store/test_constraints.py::test_is_refused[pk_refunds]",),
    ),
    Protection(
        "the lock on accounts",
        "nobody writes an account that another one has changed meanwhile",
        (Edit(_LEDGER, " ORDER BY a.account_id FOR UPDATE", " ORDER BY a.account_id FOR KEY SHARE"),),
        seeds=(66,),
    ),
    Protection(
        "the order in which accounts are locked",
        "two workers that meet on the same accounts wait for each other and never in a circle",
        (Edit(_LEDGER, " ORDER BY a.account_id FOR UPDATE", " FOR UPDATE"),),
        tests=("tests/store/test_row_locks.py",),
    ),
    Protection(
        "the lock on orders",
        "two refunds of one order do not both take the same points",
        (Edit(_LEDGER, "ORDER BY o.source, o.order_id, o.program_id FOR UPDATE OF o\n", "ORDER BY 1, 2, 8\n"),),
        tests=("tests/posting/test_batches.py::test_two_shards_that_meet_on_the_same_orders_end_right",),
    ),
    Protection(
        "outcome and entries in one transaction",
        "a message is in the ledger exactly if its outcome says so",
        (
            Edit(
                _BATCH,
                f"        {_WRITE_LEDGER}\n",
                f"        {_WRITE_LEDGER}\n        {_DRIVER_COMMIT}\n",
            ),
        ),
    ),
    Protection(
        "a reach that covers what its decider asks for",
        "what was not loaded is never taken for what is not there",
        (
            Edit(
                "core/domain/orders/accrual.py",
                "        tiers_at=(TierInstant(order.occurred_at, key, is_new=True),),\n",
                "",
            ),
        ),
        tests=("tests/posting/test_posting.py::TestOrders::test_a_late_order_earns_at_the_tier_of_its_own_time",),
    ),
    Protection(
        "as many lots as refunds may take from",
        "a refund never finds fewer points than the account has",
        (
            Edit(
                "core/domain/orders/clawback.py",
                "sum(posted.points_entitled + books.points_claimed(posted) for posted in orders)\n",
                "len([*orders])\n",
            ),
        ),
        tests=("tests/domain/test_reaches.py",),
    ),
    Protection(
        "an expiry that has passed stands",
        "what has expired by inactivity is brought back by no order",
        (
            Edit(
                "core/domain/expiry/dates.py",
                " and each.expires_at > max(active_at, as_of):\n",
                ":\n",
            ),
        ),
        tests=("tests/domain/test_expiry_rules.py",),
    ),
    Protection(
        "a lost race is run again",
        "a good message is never parked because another one was first",
        (
            Edit(
                _BATCH,
                "(psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, BudgetRaceError) as error:\n",
                "ZeroDivisionError as error:\n",
            ),
        ),
        tests=("tests/posting/test_isolation.py::TestRace",),
    ),
    Protection(
        "an order takes its waiting refunds along",
        "a refund that came first applies with its order, not some time later",
        (
            Edit(
                _BATCH,
                "        waiting = [] if is_crowded else [self._read(each._replace(shard=shard_of[each.subject_key])) "
                "for each in found]\n",
                "        waiting: list[ReadMessage] = []\n",
            ),
        ),
        tests=("tests/posting/test_posting.py",),
    ),
    Protection(
        "the sweep wakes waiting refunds",
        "a refund that missed its order's posting by a moment is posted all the same",
        (Edit("core/upkeep/sweeping.py", " = wake_waiting(connection, after, rows_max)\n", " = 0, after\n"),),
        seeds=(25,),
    ),
    Protection(
        "the sweep asks for what a lost nudge left",
        "a lost nudge costs a moment and no point",
        (
            Edit(
                "tasks/posting.py",
                '    for shard in shards:\n        runtime.nudge("loyalty.post_inbox", shard)\n',
                "",
            ),
        ),
    ),
    Protection(
        "posting's claim of waiting refunds locks them",
        "a refund is either parked or posted",
        (
            Edit(
                _INBOX,
                "WHERE i.state = 'waiting' ORDER BY i.inbox_id LIMIT %s FOR UPDATE OF i SKIP LOCKED\n",
                "WHERE i.state = 'waiting' ORDER BY i.inbox_id LIMIT %s\n",
            ),
        ),
        seeds=(60,),
    ),
    Protection(
        "the sweep's claim of overdue refunds locks them",
        "a refund is either posted or parked",
        (
            Edit(
                _WAITING,
                "IS NULL\nORDER BY inbox_id FOR UPDATE OF i SKIP LOCKED\n",
                "IS NULL\nORDER BY inbox_id\n",
            ),
        ),
        seeds=(60,),
    ),
    Protection(
        "waking locks what it wakes",
        "a refund that was posted in this moment is not posted again",
        (
            Edit(
                _WAITING,
                "shard IS NOT NULL)) AND state = 'waiting'\n    FOR UPDATE SKIP LOCKED\n",
                "shard IS NOT NULL))\n",
            ),
        ),
        tests=("tests/store/test_row_locks.py",),
    ),
    Protection(
        "a review looks again under the lock",
        "a tier is reviewed at the end of its period and not before",
        (
            Edit(
                "core/upkeep/due_batches.py",
                " is not None and due_at <= as_of\n",
                " is not None\n",
            ),
        ),
        tests=(
            "tests/upkeep/test_due_batches.py::TestReview::test_an_account_that_is_moved_on_in_this_moment_is_left_alone",
        ),
    ),
    Protection(
        "what is expired is not spendable",
        "no expired lot is ever spent, whether or not the expiry task ran",
        (
            Edit(
                "core/domain/lots.py",
                "        return not self.is_pending and not self.is_due(as_of) and self.points_remaining > 0\n",
                "        return not self.is_pending and self.points_remaining > 0\n",
            ),
        ),
        tests=("tests/domain/test_lots.py",),
    ),
    Protection(
        "mark after publishing",
        "every event is published",
        (
            Edit(
                _RELAY,
                "        if events:\n            try:\n",
                "        if events:\n"
                "            mark_published(connection, events)\n"
                "            connection.connection.driver_connection.commit()\n"
                "            try:\n",
            ),
        ),
    ),
    Protection(
        "mark no further than was published",
        "no event is skipped that was committed meanwhile",
        (
            Edit(
                _OUTBOX,
                "SELECT m.shard, m.number\n",
                "SELECT m.shard, (SELECT max(outbox_id) FROM outbox WHERE outbox_id >= m.number)\n",
            ),
        ),
    ),
    Protection(
        "one relay per shard",
        "an event is repeated only after something went wrong",
        (
            Edit(
                "core/store/locks.py",
                "_TAKE_TURNS = turns_statement()\n",
                "_TAKE_TURNS = turns_statement().replace('FOR UPDATE SKIP LOCKED', '')\n",
            ),
        ),
    ),
    Protection(
        "events are taken in their order",
        "an account's events leave in order",
        (
            Edit(_OUTBOX, "ORDER BY account_shard, outbox_id LIMIT {{rows_max}}", "LIMIT {{rows_max}}"),
            Edit(_OUTBOX, "ORDER BY account_shard, outbox_id LIMIT %(rows_max)s", "LIMIT %(rows_max)s"),
        ),
        tests=(f"{_RELAY_TESTS}::test_events_are_taken_in_order_however_the_database_finds_them",),
    ),
    Protection(
        "outbox ids are drawn from one row, under the account's lock",
        "an account's events leave in order",
        (
            Edit(
                "core/store/appending.py",
                "RETURNING next_number - %s\n",
                "RETURNING next_number - %s + 1000 * (pg_backend_pid() %% 7)\n",
            ),
        ),
    ),
    Protection(
        "an event's id follows from what it tells",
        "a consumer knows a repeat by its id",
        (
            Edit(
                "core/posting/events.py",
                '    event_id = f"{subject}:{name}"\n',
                "    event_id = f\"{subject}:{name}:{__import__('uuid').uuid4()}\"\n",
            ),
        ),
    ),
    Protection(
        "a publisher that failed is dropped",
        "confirms of one batch are never read as another's",
        (Edit(_RELAY, "                runtime.drop_publisher()\n", ""),),
        tests=(f"{_RELAY_TESTS}::test_nothing_is_marked_and_the_publisher_is_dropped_when_a_batch_is_not_confirmed",),
    ),
    Protection(
        "the sweep asks for what a lost nudge left in the outbox",
        "a lost nudge costs a moment and no event",
        (Edit(_RELAY, '    for shard in shards:\n        runtime.nudge("loyalty.relay_outbox", shard)\n', ""),),
    ),
    Protection(
        "confirms of RabbitMQ are awaited",
        "nothing is marked that the broker did not confirm",
        (
            Edit(
                "workers/brokers/amqp_confirms.py",
                "while self._unconfirmed and self._link.drain(self._confirm_seconds):\n                pass\n",
                "self._unconfirmed.clear()\n",
            ),
        ),
        tests=(f"{_RABBITMQ_TESTS}::test_an_event_that_a_queue_refuses_is_not_confirmed_and_the_publisher_goes_on",),
        needs_rabbitmq=True,
    ),
    Protection(
        "many are acknowledged at once only if they are all stored",
        "no message that was accepted is lost",
        (
            Edit(
                _AMQP,
                "            if len(tags) == sum(tag <= newest for tag in self._unacknowledged):\n",
                "            if tags:\n",
            ),
        ),
        tests=(f"{_BROKER_TESTS}::test_acknowledging_a_later_batch_first_takes_nothing_of_the_earlier_one_away",),
        needs_rabbitmq=True,
    ),
    Protection(
        "an event that a stream refused is not published",
        "nothing is marked that the broker did not confirm",
        (
            Edit(
                "workers/brokers/streams.py",
                "        if refusal is not None:\n            raise EventNotConfirmedError(",
                "        if refusal is None and events == ():\n            raise EventNotConfirmedError(",
            ),
        ),
        tests=(f"{_RELAY_TESTS}::test_a_stream_that_refuses_events_leaves_them_in_the_outbox",),
    ),
    Protection(
        "records in place of what a library prints",
        "a log is JSON only and quotes nobody's data",
        (Edit("workers/process_logs.py", "            setattr(sys, name, _Silenced(stream))", "            pass"),),
        ("tests/workers/cli/test_process_logs.py::test_whoever_writes_the_lines_are_records_and_quote_nothing",),
    ),
    Protection(
        "every order is worked out anew",
        "books that the worker's role has falsified are not found right",
        (
            Edit(
                "core/store/proof/order_points.py",
                "    if posted.qualifying != kept",
                "    if not kept and posted.qualifying != kept",
            ),
        ),
        ("tests/store/test_verify.py::test_a_wrong_value_in_any_column_that_may_be_updated_is_named",),
    ),
    Protection(
        "orders are sealed",
        "an order that was changed behind the worker's back no longer fits",
        (
            Edit(
                "core/store/proof/seals.py",
                "    return None if keys.fits(kept, seal_content(table, values))",
                "    return None if kept",
            ),
        ),
        ("tests/store/test_seals.py::test_whatever_was_changed_of_a_sealed_row_is_named",),
    ),
)
