"""What keeps a shop's consumer right, and roles within their rights at a broker that others run. See `table`."""

from tests.protections.protection import Edit, Protection

_PROGRESS = "clients/python/loyalty_client/consumer_progress.py"
_CONSUMING = "clients/python/loyalty_client/consuming.py"
_QUEUES = "clients/python/loyalty_client/rabbitmq_link.py"
_PROGRESS_TESTS = ("tests/clients/test_client_progress.py",)
_CONSUMER_TESTS = ("tests/clients/test_client_consumer.py",)

OF_CLIENTS = (
    Protection(
        "the client's consumer knows what it has seen",
        "an event that comes again is applied once",
        (Edit(_PROGRESS, "        if not new:\n            return Taken(Turn.REPEATED)\n", ""),),
        (*_PROGRESS_TESTS, *_CONSUMER_TESTS),
    ),
    Protection(
        "the client's consumer holds what comes early",
        "balances are applied in the order in which they changed",
        (Edit(_PROGRESS, "        if sequence > last + 1:\n", "        if sequence > last + 9:\n"),),
        (*_PROGRESS_TESTS, *_CONSUMER_TESTS),
    ),
    Protection(
        "the client's consumer commits before it acknowledges",
        "a crash of a consumer loses no event",
        (
            Edit(
                _CONSUMING,
                "                    outcome = self._take(delivery, apply)\n"
                "                    deliveries.acknowledge(delivery)\n",
                "                    deliveries.acknowledge(delivery)\n"
                "                    outcome = self._take(delivery, apply)\n",
            ),
        ),
        _CONSUMER_TESTS,
    ),
    Protection(
        "the client keeps nothing of an event whose work failed",
        "an event that could not be applied comes again and is applied",
        (Edit(_CONSUMING, "            self._progress.rollback()\n", "            self._progress.commit()\n"),),
        (*_PROGRESS_TESTS, *_CONSUMER_TESTS),
    ),
    Protection(
        "the client's messages must find a queue",
        "what a shop was told is published is in a queue",
        (Edit(_QUEUES, "            mandatory=True,\n", ""),),
        ("tests/clients/test_client_on_rabbitmq.py",),
        needs_rabbitmq=True,
    ),
    Protection(
        "with LOYALTY_DECLARE=false nothing is declared",
        "roles run with a user who may configure nothing",
        (Edit("workers/brokers/amqp_topology.py", "    if not declares:\n", "    if link is None:\n"),),
        ("tests/acceptance/test_restricted_broker.py",),
        needs_rabbitmq=True,
    ),
)
