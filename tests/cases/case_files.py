"""The case files of this folder: what shops do to orders, in messages, and what must come of it.

A file is a YAML list of tables; each is a program with the stories that are told under it.

program     what differs from a usual program: one point for each 1.00, one tier, British pounds
programs    several of them, instead
stories     by their sentence:
  messages  each {type: data}, with `at` or `days_ago` (else a day after the one before) and `source` (else the
            program's).
            `currency` and `customer_id: C-1` are understood where an order has none; `customer_id: null` is a guest
  arrival   `any` (the default): however the messages arrive, the end is the same; `told`: the sequence matters
  reviewed  reviews run until this instant before the end is looked at
  then      by customer (of another program than the first: "p2/C-1"): the available points, or {available, pending,
            tier, tiers}
  parked    by the place of a message, from 1: [reason, words that its reader is told, …]
  waiting   the places of the messages that wait for their order
  passed_over  the places of the messages that change nothing where a newer one came before
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
FIRST_DAY = datetime(2026, 3, 1, 10, tzinfo=UTC)
_EARNING = {"order.completed", "order.amended", "order.returned"}
_USUAL: dict[str, Any] = {
    "currency": "GBP",
    "time_zone": "Europe/London",
    "earning_rules": [{"rule_id": "spend", "kind": "spend", "per_amount": "1.00", "points": 1}],
    "tiers": [{"tier_id": "base", "threshold_points": 0}],
}


@dataclass(frozen=True)
class Expected:
    """What a customer has in the end; None is not looked at."""

    available: int
    pending: int = 0
    tier: str | None = None
    tiers: list[str] | None = None  #: "2026-01-10 silver", each change that was made


@dataclass(frozen=True)
class Story:
    """Messages, and what must come of them."""

    says: str
    messages: list[dict[str, Any]]
    is_any_arrival: bool
    reviewed: datetime | None
    then: dict[str, Expected]
    parked: dict[int, list[str]]
    waiting: list[int]
    passed_over: list[int]


@dataclass(frozen=True)
class Case:
    """One table of a case file."""

    name: str
    programs: list[str]  #: as program files
    has_tiers: bool  #: that can be lost
    stories: list[Story]


def cases() -> Iterator[Case]:
    """All cases of this folder."""
    for path in sorted(FOLDER.glob("*.yaml")):
        tables = yaml.safe_load(path.read_text(encoding="utf-8"))
        for number, table in enumerate(tables, start=1):
            name = path.stem if len(tables) == 1 else f"{path.stem}.{number}"
            told = table["programs"] if "programs" in table else [table.get("program") or {}]
            programs = [
                {"program_id": f"p{place}", "name": f"P{place}", "sources": [f"/shops/{place}"], **_USUAL, **program}
                for place, program in enumerate(told, start=1)
            ]
            texts = [yaml.safe_dump(program) for program in programs]
            stories = [_story(says, story, programs[0]) for says, story in table["stories"].items()]
            has_tiers = any(len(program["tiers"]) > 1 for program in programs)
            yield Case(name, texts, has_tiers, stories)


def _story(says: str, told: Mapping[str, Any], program: Mapping[str, Any]) -> Story:
    then = {
        customer: Expected(**expected) if isinstance(expected, dict) else Expected(expected)
        for customer, expected in told["then"].items()
    }
    messages = [_message(each, place, program) for place, each in enumerate(told["messages"])]
    reviewed = told.get("reviewed")
    return Story(
        says=says,
        messages=messages,
        is_any_arrival=told.get("arrival", "any") == "any",
        reviewed=None if reviewed is None else datetime.fromisoformat(reviewed),
        then=then,
        parked=told.get("parked", {}),
        waiting=told.get("waiting", []),
        passed_over=told.get("passed_over", []),
    )


def _message(told: Mapping[str, Any], place: int, program: Mapping[str, Any]) -> dict[str, Any]:
    """The whole message."""
    ((kind, data),) = [(name, value) for name, value in told.items() if name not in {"at", "days_ago", "source"}]
    data = {**data}
    if kind in _EARNING:
        data = {"currency": program["currency"], "customer_id": "C-1", **data}
    day = FIRST_DAY + timedelta(days=place)
    if "days_ago" in told:
        day = datetime.now(UTC) - timedelta(days=told["days_ago"])
    at = told.get("at", f"{day:%Y-%m-%dT%H:%M:%SZ}")
    return {
        "specversion": "1.0",
        "id": f"m{place + 1}",
        "source": told.get("source", program["sources"][0]),
        "type": kind,
        "time": at if "T" in at else f"{at}T10:00:00Z",
        "data": data,
    }
