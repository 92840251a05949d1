"""The examples of messages in the published schemas: one story, of what was sent and what was published for it.

`sent.json` is written by hand. `published.json` is what the engine published for it, which a test plays again
(tests/posting/test_story.py) and writes when LOYALTY_TEST_RECORD is set.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

#: How many messages of one type are shown: a refund says in three ways how much.
EXAMPLES_MAX = 3

Event = Mapping[str, Any]


def sent_messages() -> list[dict[str, Any]]:
    """What shops and services sent, in the order in which they sent it."""
    return _read("sent.json")


def published_events() -> list[dict[str, Any]]:
    """Events that the engine published for it, at least one of each type."""
    return _read("published.json")


def examples_of(event_type: str) -> Sequence[Event]:
    """The first messages or events of a type; none of a type that the story does not have."""
    return _by_type().get(event_type, [])[:EXAMPLES_MAX]


@cache
def _by_type() -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in (*sent_messages(), *published_events()):
        found.setdefault(event["type"], []).append(event)
    return found


def _read(name: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads(files("core.messages.examples").joinpath(name).read_text("utf-8"))
    return events
