"""What protects queues from what strangers send. See `table`."""

from tests.protections.protection import Edit, Protection

OF_QUEUES = (
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
)
