"""The AsyncAPI document is current, hangs together, and names all that comes in and goes out; so does its page."""

import json
import runpy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from core.messages.inbound.contracts import INBOUND
from core.messages.outbound.published_events import OUTBOUND_EVENTS
from workers.brokers import topology

DOCS = Path(__file__).parents[2] / "docs"
BROKERS = ("RabbitMQ", "Streams")


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
    return loaded


def resolved(reference: str) -> Any:
    """What a reference leads to, in the document or in a file beside it."""
    file, _, path = reference.partition("#")
    found = json.loads((DOCS / file).read_text()) if file else document()
    for step in path.split("/")[1:]:
        found = found[step]
    return found


def references(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        part = dict(enumerate(part))
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            elif name != "examples":
                yield from references(value)


def names(operation: str, of: str = "messages") -> set[str]:
    found = document()["operations"][operation]
    messages = found["messages"] if of == "messages" else found[of]["messages"]
    return {each["$ref"].rpartition("/")[2] for each in messages}


@pytest.mark.parametrize(
    ("script", "made", "file"),
    [("asyncapi.py", "document_text", "asyncapi.yaml"), ("asyncapi_page.py", "page_text", "asyncapi.md")],
)
def test_the_committed_document_and_its_page_are_those_of_the_code(script: str, made: str, file: str) -> None:
    assert runpy.run_path(str(DOCS / script))[made]() == (DOCS / file).read_text(), "run: make docs"


def test_every_reference_leads_somewhere() -> None:
    found = set(references(document()))
    assert len(found) > 2 * len(INBOUND)
    for reference in found:
        assert resolved(reference)


@pytest.mark.parametrize("broker", BROKERS)
def test_everything_that_comes_in_and_goes_out_is_in_an_operation_on_both_brokers(broker: str) -> None:
    commands = {kind for kind, row in INBOUND.items() if row.verb is not None}
    assert names(f"receiveFactsOn{broker}") == {*INBOUND, "array"} - commands
    assert names(f"receiveCommandsOn{broker}") == {*commands, "array"}
    assert names(f"receiveCommandsOn{broker}", of="reply") == {"loyalty.command.accepted", "loyalty.command.rejected"}
    assert names(f"sendEventsOn{broker}") == set(OUTBOUND_EVENTS)
    assert names(f"receiveTasksOn{broker}") == {"task"}


def test_an_operation_uses_messages_of_its_own_channel_and_the_answer_goes_where_it_was_asked() -> None:
    for operation in document()["operations"].values():
        for part in (operation, *([operation["reply"]] if "reply" in operation else [])):
            channel = part["channel"]["$ref"]
            assert all(each["$ref"].startswith(f"{channel}/messages/") for each in part["messages"])
        if "reply" in operation:
            assert resolved(operation["reply"]["channel"]["$ref"])["address"] is None
            beside = document()["components"]["schemas"]["besideWhatIsSent"]["properties"]
            assert operation["reply"]["address"]["location"].partition("#/")[2] == topology.REPLY_FIELD in beside


def test_every_channel_is_on_a_broker_that_asks_who_is_there() -> None:
    for channel in document()["channels"].values():
        for server in channel["servers"]:
            assert resolved(server["$ref"])["security"]
    exchanges = {
        channel["bindings"]["amqp"]["exchange"]["name"]
        for channel in document()["channels"].values()
        if "exchange" in channel.get("bindings", {}).get("amqp", {})
    }
    assert exchanges == {topology.SHOP_EXCHANGE, topology.EVENT_EXCHANGE}
    addresses = {channel["address"] for channel in document()["channels"].values()}
    assert {topology.SHOP_STREAM, topology.EVENT_STREAM, topology.SUBMIT_QUEUE} < addresses


@pytest.mark.parametrize("kind", [*INBOUND, *OUTBOUND_EVENTS])
def test_each_message_has_an_example_that_keeps_its_schema(kind: str) -> None:
    message = document()["components"]["messages"][kind]
    schema = resolved(resolved(message["payload"]["$ref"])["$ref"])
    assert schema["$id"] == f"urn:loyalty:schema:{kind}"
    for example in message["examples"]:
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(example["payload"])
