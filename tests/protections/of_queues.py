"""What protects queues from what strangers send. See `table`."""

from tests.protections.of_traces import OF_TRACES
from tests.protections.protection import Edit, Protection

OF_QUEUES = (
    *OF_TRACES,
    Protection(
        "messages written anew before Celery sees them",
        "no stranger's message ends a worker",
        (
            Edit(
                "workers/celery_transport.py",
                'return {} if is_amqp else {"broker_transport": RedisTransport}',
                "return {}",
            ),
        ),
        (
            "tests/acceptance/test_bad_input.py::test_celery_takes_nothing_but_our_nudges_and_the_worker_goes_on[valkey]",
        ),
    ),
    Protection(
        "who asks again while a command is decided is answered too",
        "every command is answered, wherever its sender asks",
        (
            Edit(
                "core/posting/batch.py",
                "writing.answer_also(settle(turn.connection, settlements, turn.as_of))",
                "settle(turn.connection, settlements, turn.as_of)",
            ),
        ),
        ("tests/posting/test_posted_commands.py",),
    ),
    Protection(
        "no task takes what a message brings besides its shard",
        "nobody can have points expired that are still good",
        (Edit("tasks/registry.py", "            return not arguments\n", "            return True\n"),),
        ("tests/tasks/test_registry.py::test_no_message_can_bring_a_periodic_task_an_instant",),
    ),
    Protection(
        "what is submitted moves into the stream before it leaves its list",
        "no message that was accepted is lost",
        (
            Edit(
                "workers/brokers/stream_scripts.py",
                "        if type(added) == 'table' then\n            return\n        end\n",
                "",
            ),
        ),
        (
            "tests/workers/brokers/test_broker_submitted.py::TestOnRedis::test_what_the_stream_does_not_take_stays_in_the_list",
        ),
    ),
    Protection(
        "servers are asked for their mode",
        "no role begins on a cluster or a Sentinel, where its steps would fail later",
        (Edit("workers/brokers/stream_link.py", "    if mode in _MODES_REFUSED:\n", "    if False:\n"),),
        (
            "tests/workers/brokers/test_server_modes.py::test_a_cluster_and_a_sentinel_are_refused_by_everything_that_connects",
        ),
    ),
    Protection(
        "names that are for answers",
        "no sender has us write into a queue of somebody else",
        (
            Edit(
                "core/messages/inbound/replies.py",
                "    if not name.startswith((prefix, *_NAMED_BY_RABBITMQ)) or not _is_right(name):\n",
                "    if not _is_right(name):\n",
            ),
        ),
        ("tests/messages/test_replies.py::test_any_other_queue_and_what_no_queue_can_be_called_is_not_taken",),
    ),
    Protection(
        "answers over a connection of their own",
        "what who asks has written holds no event up",
        (
            Edit(
                "workers/brokers/amqp.py",
                "            self._answers.send(replies)\n",
                "            from workers.brokers.amqp_answers import _answer\n"
                '            self._channel.offer("", list(map(_answer, replies)))\n',
            ),
        ),
        (
            "tests/workers/brokers/test_broker_rabbitmq_replies.py::test_a_place_that_is_gone_holds_up_neither_events_nor_the_answers_beside_it",
        ),
        needs_rabbitmq=True,
    ),
    Protection(
        "streams of answers end",
        "answers that nobody fetches fill no server",
        (Edit("workers/brokers/stream_scripts.py", "redis.call('EXPIRE', KEYS[1], ARGV[1])\n", ""),),
        (
            "tests/workers/brokers/test_broker_replies.py::TestOnStreams::test_a_stream_of_answers_goes_an_hour_after_the_last_one",
        ),
    ),
)
