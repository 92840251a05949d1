# ruff: noqa: INP001  # a script, not a package
"""Writes docs/asyncapi.yaml, the AsyncAPI document of everything that comes in and goes out.

`python docs/asyncapi.py` makes it from the contracts, the published schemas and the names of queues and streams. A test
fails while it differs from the code.
"""

import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
FILE = FOLDER / "asyncapi.yaml"
sys.path.insert(0, str(FOLDER.parent))  # run as a script, only this folder is on the path

from core.messages.inbound.contracts import INBOUND  # noqa: E402
from core.messages.inbound.replies import REPLY_BYTES_MAX, REPLY_PREFIX  # noqa: E402
from core.messages.outbound.published_events import OUTBOUND_EVENTS, OutboundType  # noqa: E402
from core.messages.schemas import all_schemas  # noqa: E402
from workers.brokers import topology  # noqa: E402

Part = dict[str, Any]

RABBITMQ, STREAMS = "rabbitmq", "streams"
ANSWERS = (OutboundType.COMMAND_ACCEPTED.value, OutboundType.COMMAND_REJECTED.value)
FACTS = [kind for kind, row in INBOUND.items() if row.verb is None]
COMMANDS = [kind for kind, row in INBOUND.items() if row.verb is not None]
EVENTS = [str(kind) for kind in OUTBOUND_EVENTS]
ARRAY, TASK = "array", "task"
INTRODUCTION = """\
Shops publish what becomes of their orders, and services publish commands. The loyalty worker keeps the points, answers
each command, and publishes one event for each change of a balance. All messages are CloudEvents 1.0 in structured JSON.
They travel on RabbitMQ, or on streams of Redis or Valkey. This document is written from the side of the worker: it
receives what shops publish, and sends what consumers read.
"""
SIGNED = (
    "Who may publish follows from the broker's accounts and from the file LOYALTY_SOURCES_FILE: a source that has keys "
    "there signs each message, and a source may send only the commands that it is granted there, within their limits."
)


def document() -> Part:
    """The AsyncAPI 3 document."""
    return {
        "asyncapi": "3.1.0",
        "id": "urn:loyalty:worker",
        "info": {"title": "Loyalty worker", "version": version("loyalty-worker"), "description": INTRODUCTION},
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": _messages(),
            "schemas": {kind: {"$ref": f"./schemas/{kind}.json"} for kind in (*INBOUND, *EVENTS)} | _beside(),
            "securitySchemes": _security_schemes(),
            "correlationIds": {
                "asked": {
                    "description": "Chosen by who asks; goes back with the answer.",
                    "location": f"$message.header#/{topology.CORRELATION_FIELD}",
                }
            },
            "tags": {name: {"name": name} for name in ("facts", "commands", "answers", "events")},
        },
    }


def _ref(*path: str) -> Part:
    return {"$ref": "#/" + "/".join(path)}


def _servers() -> Part:
    security = [_ref("components", "securitySchemes", name) for name in ("password", "certificate")]
    return {
        RABBITMQ: {
            "host": "{host}",
            "pathname": "/{vhost}",
            "protocol": "amqps",
            "protocolVersion": "0-9-1",
            "title": "RabbitMQ",
            "description": "LOYALTY_BROKER_URL of amqps:// or, without TLS, amqp://.",
            "variables": {"host": {"default": "localhost:5671"}, "vhost": {"default": "%2F"}},
            "security": security,
        },
        STREAMS: {
            "host": "{host}",
            "pathname": "/{database}",
            "protocol": "redis",
            "title": "Redis or Valkey",
            "description": "LOYALTY_BROKER_URL of rediss:// or, without TLS, redis://. A message is a stream's entry.",
            "variables": {"host": {"default": "localhost:6379"}, "database": {"default": "0"}},
            "security": security,
        },
    }


def _security_schemes() -> Part:
    return {
        "password": {
            "type": "userPassword",
            "description": "An account of the broker, with the rights of docs/operations.md and no more.",
        },
        "certificate": {
            "type": "X509",
            "description": "A client certificate beside TLS: ssl_certfile and ssl_keyfile in the URL.",
        },
        "signature": {
            "type": "symmetricEncryption",
            "description": "A secret that the source shares with the worker, and signs the bytes of each message with "
            f"(HMAC-SHA256): in the header {topology.SIGNATURE_HEADER}, or the field {topology.SIGNATURE_FIELD}. "
            "Messages are signed, not encrypted.",
        },
    }


def _channels() -> Part:
    incoming, events = [*FACTS, *COMMANDS, ARRAY], EVENTS
    return {
        _on("shop-events", RABBITMQ): _exchange(
            topology.SHOP_EXCHANGE,
            incoming,
            f"The worker's queue {topology.INTAKE_QUEUE} is bound to it with {' and '.join(topology.INTAKE_BINDINGS)}. "
            "Publish with confirms and mandatory, so that a message that no queue takes is an error.",
        ),
        _on("shop-events", STREAMS): _stream(
            topology.SHOP_STREAM,
            incoming,
            f"The field {topology.EVENT_FIELD} holds the JSON. The worker reads as the group {topology.INTAKE_GROUP}, "
            "and deletes what it has stored.",
        ),
        _on("loyalty-events", RABBITMQ): _exchange(
            topology.EVENT_EXCHANGE,
            events,
            "Each consumer has a durable queue of its own, bound before the first event that it must not miss.",
        ),
        _on("loyalty-events", STREAMS): _stream(
            topology.EVENT_STREAM,
            events,
            f"The field {topology.EVENT_FIELD} holds the JSON, the field {topology.TYPE_FIELD} the type. Each consumer "
            "has a group of its own.",
        ),
        _on("answers", RABBITMQ): _answers(
            RABBITMQ, "The queue that the property reply_to named, by the default exchange."
        ),
        _on("answers", STREAMS): _answers(
            STREAMS, "The stream that the field reply_to named. It is deleted an hour after its last answer."
        ),
        _on("tasks", RABBITMQ): {
            "address": topology.SUBMIT_QUEUE,
            "description": "For producers that speak Celery: an exchange of this name leads to the queue.",
            "servers": [_ref("servers", RABBITMQ)],
            "messages": {TASK: _ref("components", "messages", TASK)},
            "bindings": {"amqp": {"is": "queue", "queue": {"name": topology.SUBMIT_QUEUE, "durable": True}}},
        },
        _on("tasks", STREAMS): {
            "address": topology.SUBMIT_QUEUE,
            "description": "For producers that speak Celery: a list, as kombu keeps a queue, and no stream.",
            "servers": [_ref("servers", STREAMS)],
            "messages": {TASK: _ref("components", "messages", TASK)},
        },
    }


def _on(channel: str, broker: str) -> str:
    return f"{channel}-on-{broker}"


def _carried(kinds: Iterable[str]) -> Part:
    return {kind: _ref("components", "messages", kind) for kind in kinds}


def _exchange(name: str, kinds: Sequence[str], description: str) -> Part:
    return {
        "address": "{type}",
        "title": f"Exchange {name}",
        "description": description,
        "servers": [_ref("servers", RABBITMQ)],
        "parameters": {
            "type": {
                "description": "The routing key is the event's type; of an array, that of its first event.",
                "location": "$message.payload#/type",
            }
        },
        "messages": _carried(kinds),
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": name, "type": "topic", "durable": True, "autoDelete": False},
                "bindingVersion": "0.3.0",
            }
        },
    }


def _stream(name: str, kinds: Sequence[str], description: str) -> Part:
    return {
        "address": name,
        "title": f"Stream {name}",
        "description": description,
        "servers": [_ref("servers", STREAMS)],
        "messages": _carried(kinds),
    }


def _answers(broker: str, description: str) -> Part:
    return {
        "address": None,
        "title": "Answers to who asked",
        "description": description,
        "servers": [_ref("servers", broker)],
        "messages": _carried(ANSWERS),
    }


def _operations() -> Part:
    found: Part = {}
    for broker, name in ((RABBITMQ, "RabbitMQ"), (STREAMS, "Streams")):
        shop, out = _on("shop-events", broker), _on("loyalty-events", broker)
        found[f"receiveFactsOn{name}"] = _operation("receive", shop, [*FACTS, ARRAY], "Take what became of orders.") | {
            "description": SIGNED,
            "security": [_ref("components", "securitySchemes", each) for each in ("password", "signature")],
        }
        found[f"receiveCommandsOn{name}"] = _operation(
            "receive", shop, [*COMMANDS, ARRAY], "Do what is asked for, once for ever, and answer."
        ) | {
            "description": f"{SIGNED} Answers go to all who read {topology.EVENT_EXCHANGE}, and where reply_to says.",
            "security": [_ref("components", "securitySchemes", each) for each in ("password", "signature")],
            "reply": _reply(broker),
        }
        found[f"sendEventsOn{name}"] = _operation(
            "send", out, EVENTS, "Tell what changed, at least once, in each account's order."
        )
        found[f"receiveTasksOn{name}"] = _operation(
            "receive",
            _on("tasks", broker),
            [TASK],
            f"Take events from producers that speak Celery ({topology.SUBMIT_QUEUE}).",
        )
    return found


def _operation(action: str, channel: str, kinds: Iterable[str], summary: str) -> Part:
    return {
        "action": action,
        "summary": summary,
        "channel": _ref("channels", channel),
        "messages": [_ref("channels", channel, "messages", kind) for kind in kinds],
    }


def _reply(broker: str) -> Part:
    channel = _on("answers", broker)
    return {
        "address": {
            "description": f"Begins with {REPLY_PREFIX} (LOYALTY_REPLY_PREFIX), or is a name that RabbitMQ gives.",
            "location": f"$message.header#/{topology.REPLY_FIELD}",
        },
        "channel": _ref("channels", channel),
        "messages": [_ref("channels", channel, "messages", kind) for kind in ANSWERS],
    }


def _messages() -> Part:
    schemas = all_schemas()
    found = {kind: _message(kind, schemas[f"{kind}.json"]) for kind in (*FACTS, *COMMANDS, *EVENTS)}
    found[ARRAY] = {
        "name": ARRAY,
        "title": "Several events in one message",
        "summary": "An array of at most LOYALTY_ARRAY_EVENTS_MAX events, each of which stands or falls by itself.",
        "headers": _ref("components", "schemas", "besideWhatIsSent"),
        "payload": {
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": [_ref("components", "schemas", kind) for kind in (*FACTS, *COMMANDS)]},
        },
    }
    found[TASK] = {
        "name": TASK,
        "title": f"The Celery task {topology.SUBMIT_QUEUE}",
        "summary": "An event or a list of events as the argument of a task, in Celery's JSON (protocol 2).",
        "payload": _ref("components", "schemas", "taskBody"),
    }
    return found


def _message(kind: str, schema: Part) -> Part:
    is_command, is_answer = kind in COMMANDS, kind in ANSWERS
    tag = "commands" if is_command else "answers" if is_answer else "facts" if kind in FACTS else "events"
    beside = "besideWhatIsSent" if kind in INBOUND else "besideWhatIsTold"
    message = {
        "name": kind,
        "title": kind,
        "summary": schema["description"],
        "tags": [_ref("components", "tags", tag)],
        "headers": _ref("components", "schemas", beside),
        "payload": _ref("components", "schemas", kind),
        "examples": [{"name": example["id"], "payload": example} for example in schema["examples"][:1]],
    }
    if is_command or is_answer:
        message["correlationId"] = _ref("components", "correlationIds", "asked")
    return message


_TRACE: Part = {
    "traceparent": {
        "type": "string",
        "description": "The trace of this hop, as W3C Trace Context writes it; on RabbitMQ a header.",
    },
    "tracestate": {"type": "string", "description": "What tracing systems add to it; on RabbitMQ a header."},
}


def _beside() -> Part:
    short = {"type": "string", "minLength": 1, "maxLength": REPLY_BYTES_MAX}
    signature = {"type": "string", "description": "<key_id>=<hexadecimal digits>, over the bytes of the message."}
    correlation = {**short, "description": "Chosen by who asks; goes back with the answer."}
    return {
        "besideWhatIsSent": {
            "type": "object",
            "description": "On RabbitMQ headers, and the properties reply_to and correlation_id; on Redis and Valkey "
            f"fields of the entry beside {topology.EVENT_FIELD}. All are optional.",
            "properties": {
                topology.SIGNATURE_HEADER: {**signature, "description": f"On RabbitMQ: {signature['description']}"},
                topology.SIGNATURE_FIELD: {**signature, "description": f"On Redis, Valkey: {signature['description']}"},
                topology.REPLY_FIELD: {
                    **short,
                    "description": "The queue or the stream where the answer to a command goes.",
                },
                topology.CORRELATION_FIELD: correlation,
                **_TRACE,
            },
        },
        "besideWhatIsTold": {
            "type": "object",
            "description": "On RabbitMQ properties and headers, on Redis and Valkey fields of the entry.",
            "properties": {
                topology.TYPE_FIELD: {
                    "type": "string",
                    "description": "On Redis, Valkey in loyalty.events: the event's type.",
                },
                topology.CORRELATION_FIELD: {
                    **correlation,
                    "description": "Of an answer at the place that reply_to named.",
                },
                **_TRACE,
            },
        },
        "taskBody": {
            "type": "array",
            "description": "The arguments of the task by place and by name, and Celery's own options.",
            "minItems": 3,
            "maxItems": 3,
            "items": [
                {"type": "array", "description": "An event, a list of events, or their JSON text."},
                {"type": "object", "properties": {"events": {}, "signature": signature}},
                {"type": ["object", "null"]},
            ],
        },
    }


def document_text() -> str:
    """The document as its file holds it."""
    head = "# Made by docs/asyncapi.py from the contracts; do not edit.\n"
    return head + yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=120)


if __name__ == "__main__":
    FILE.write_text(document_text(), encoding="utf-8")
