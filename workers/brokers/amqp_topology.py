"""What must stand at a RabbitMQ before anything goes through it, and how it comes to stand there.

Our roles declare it themselves at first use. Where they may not, an administrator does (`loyalty broker declare`, or a
file of definitions for RabbitMQ's own tools), and they only look whether it is there, which takes no right at all.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

import amqp

from config.queues import celery_queues
from core.errors import BrokerTopologyError
from workers.brokers.amqp_link import AmqpLink
from workers.brokers.topology import (
    EVENT_EXCHANGE,
    INTAKE_BINDINGS,
    INTAKE_QUEUE,
    INTAKE_QUEUE_ARGUMENTS,
    SHOP_EXCHANGE,
    SUBMIT_QUEUE,
)


class Exchange(NamedTuple):
    """A durable exchange."""

    name: str
    kind: str  #: topic or direct


class Queue(NamedTuple):
    """A durable queue."""

    name: str
    arguments: Mapping[str, Any]


class Binding(NamedTuple):
    """What leads from an exchange to a queue."""

    exchange: str
    queue: str
    routing_key: str


class Topology(NamedTuple):
    """What belongs together: declared in this order."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()


#: Where shops publish, and the queue that intake reads.
INTAKE: Final = Topology(
    (Exchange(SHOP_EXCHANGE, "topic"),),
    (Queue(INTAKE_QUEUE, INTAKE_QUEUE_ARGUMENTS),),
    tuple(Binding(SHOP_EXCHANGE, INTAKE_QUEUE, key) for key in INTAKE_BINDINGS),
)
#: The queue of producers that speak Celery, as Celery's own client declares it, and the exchange that leads to it.
SUBMIT: Final = Topology(
    (Exchange(SUBMIT_QUEUE, "direct"),),
    (Queue(SUBMIT_QUEUE, {}),),
    (Binding(SUBMIT_QUEUE, SUBMIT_QUEUE, SUBMIT_QUEUE),),
)
#: Where our events leave.
EVENTS: Final = Topology((Exchange(EVENT_EXCHANGE, "topic"),))

#: What a user of RabbitMQ must be allowed to who runs our roles and declares nothing, as RabbitMQ matches names.
CONFIGURE_NOTHING: Final = "^$"
ROLE_WRITES: Final = r"^(loyalty\.events|loyalty\.tasks|amq\.default)$"
ROLE_READS: Final = r"^loyalty\.(intake|submit|posting|relay|periodic)$"


def celery_topology() -> Topology:
    """Celery's own queues, as Celery would declare them."""
    queues = celery_queues(is_amqp=True)
    exchanges = {queue.exchange.name: Exchange(queue.exchange.name, queue.exchange.type) for queue in queues}
    return Topology(
        tuple(exchanges.values()),
        tuple(Queue(queue.name, queue.queue_arguments or {}) for queue in queues),
        tuple(Binding(queue.exchange.name, queue.name, queue.routing_key) for queue in queues),
    )


def prepare(link: AmqpLink, topology: Topology, *, declares: bool) -> None:
    """Declare it, where a second declaration changes nothing; or only see that it is there.

    BrokerTopologyError says what is missing, is of another kind, or may not be declared, and how to mend that.
    """
    if not declares:
        _require(link, topology)
    elif topology is SUBMIT:
        _declare_submit(link)
    else:
        _declare(link, topology)


def declare_all(broker_url: str) -> list[str]:
    """Declare everything that our roles and the shops need, as an administrator: the names. Again, nothing changes."""
    topologies = (INTAKE, SUBMIT, EVENTS, celery_topology())
    link = AmqpLink(broker_url, purpose="declare")
    try:
        for topology in topologies:
            prepare(link, topology, declares=True)
    finally:
        link.close()
    return [
        *(f"exchange {exchange.name}" for topology in topologies for exchange in topology.exchanges),
        *(f"queue {queue.name}" for topology in topologies for queue in topology.queues),
    ]


def definitions(vhost: str, *, user: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """The same as RabbitMQ's own tools import it; with `user`, what that one needs to run our roles and no more."""
    found: dict[str, list[dict[str, Any]]] = {"exchanges": [], "queues": [], "bindings": []}
    lasting = {"vhost": vhost, "durable": True, "auto_delete": False}
    for topology in (INTAKE, SUBMIT, EVENTS, celery_topology()):
        found["exchanges"] += [
            {"name": each.name, **lasting, "type": each.kind, "internal": False, "arguments": {}}
            for each in topology.exchanges
        ]
        found["queues"] += [
            {"name": each.name, **lasting, "arguments": dict(each.arguments)} for each in topology.queues
        ]
        found["bindings"] += [
            {
                "source": each.exchange,
                "vhost": vhost,
                "destination": each.queue,
                "destination_type": "queue",
                "routing_key": each.routing_key,
                "arguments": {},
            }
            for each in topology.bindings
        ]
    if user is not None:
        rights = {"configure": CONFIGURE_NOTHING, "write": ROLE_WRITES, "read": ROLE_READS}
        found["permissions"] = [{"user": user, "vhost": vhost, **rights}]
    return found


def _declare(link: AmqpLink, topology: Topology) -> None:
    channel = link.channel
    for exchange in topology.exchanges:
        with _refusals_named(link, f"exchange {exchange.name}", f"rabbitmqadmin delete exchange name={exchange.name}"):
            channel.exchange_declare(exchange.name, exchange.kind, durable=True, auto_delete=False)
    for queue in topology.queues:
        with _refusals_named(link, f"queue {queue.name}", f"rabbitmqctl delete_queue {queue.name}"):
            channel.queue_declare(queue.name, durable=True, auto_delete=False, arguments=dict(queue.arguments))
    for binding in topology.bindings:
        with _refusals_named(link, f"binding of {binding.queue} to {binding.exchange}", ""):
            channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)


def _declare_submit(link: AmqpLink) -> None:
    """Declare what producers that speak Celery use.

    A queue or exchange that one of them declared otherwise does as well: a refusal here would end the intake of all.
    """
    declarations: tuple[Callable[[Any], object], ...] = (
        lambda channel: channel.exchange_declare(SUBMIT_QUEUE, "direct", durable=True, auto_delete=False),
        lambda channel: channel.queue_declare(SUBMIT_QUEUE, durable=True, auto_delete=False),
        lambda channel: channel.queue_bind(SUBMIT_QUEUE, SUBMIT_QUEUE, SUBMIT_QUEUE),
    )
    for declare in declarations:
        with (
            _refusals_named(link, f"queue {SUBMIT_QUEUE}", ""),
            suppress(amqp.PreconditionFailed),
            link.new_channel() as channel,
        ):
            declare(channel)


def _require(link: AmqpLink, topology: Topology) -> None:
    """See that exchanges and queues are there. No client can see bindings: they are the administrator's to make."""
    wanted: list[tuple[str, Callable[[Any], object]]] = [
        *(
            (f"exchange {each.name}", lambda channel, each=each: channel.exchange_declare(each.name, "", passive=True))
            for each in topology.exchanges
        ),
        *(
            (f"queue {each.name}", lambda channel, each=each: channel.queue_declare(each.name, passive=True))
            for each in topology.queues
        ),
    ]
    for what, look in wanted:
        with link.errors():
            try:
                with link.new_channel() as channel:
                    look(channel)
            except amqp.NotFound as error:
                link.close()
                reason = (
                    f"there is no {what}, and LOYALTY_DECLARE is false. An administrator makes it: "
                    "`loyalty broker declare`"
                )
                raise BrokerTopologyError(where=link.where, reason=reason) from error


@contextmanager
def _refusals_named(link: AmqpLink, what: str, deleted_by: str) -> Iterator[None]:
    with link.errors():
        try:
            yield
        except amqp.PreconditionFailed as error:
            link.close()
            reason = (
                f"the {what} exists with other properties ({error.reply_text}). Take out what waits in it, delete it "
                f"({deleted_by}) and start again: it is declared anew"
            )
            raise BrokerTopologyError(where=link.where, reason=reason) from error
        except amqp.AccessRefused as error:
            link.close()
            reason = (
                f"its user may not declare the {what} ({error.reply_text}). Let an administrator do so "
                "(`loyalty broker declare`), and set LOYALTY_DECLARE=false"
            )
            raise BrokerTopologyError(where=link.where, reason=reason) from error
