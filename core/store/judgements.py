"""Calculations as JSON: what was judged of an order, null in the table where nothing had to be, and an entry's."""

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic_core import from_json, to_json

from core.domain.orders.posted import Judgement, Qualifying, QualifyingStep

_NOTHING = Judgement()


def judgement_json(judgement: Judgement) -> str | None:
    """The column's text. Remainders are decimals, such as 20.333333333333."""
    if judgement == _NOTHING:
        return None
    return to_json(
        {
            "excluded": judgement.excluded,
            "allowances": dict(judgement.allowances),
            "carried": {name: f"{remainder:f}" for name, remainder in judgement.carried.items()},
            "is_first_order": judgement.is_first_order,
        }
    ).decode()


def read_judgement(text: str | None) -> Judgement:
    """What `judgement_json` wrote."""
    if text is None:
        return _NOTHING
    found = json.loads(text)
    carried = {name: Decimal(remainder) for name, remainder in found["carried"].items()}
    return Judgement(tuple(found["excluded"]), found["allowances"], carried, found["is_first_order"])


def why_json(why: dict[str, Any]) -> str:
    """The text of an entry's calculation, as the table keeps it and the hash chain has it."""
    return to_json(why).decode()


def steps_json(steps: Iterable[QualifyingStep]) -> str | None:
    """What an order counted when, as its column keeps it; None for an order without refunds."""
    written = [[step.since.isoformat(), *step.qualifying] for step in steps]
    return to_json(written).decode() if written else None


def read_steps(text: str | None) -> tuple[QualifyingStep, ...]:
    """What `steps_json` wrote."""
    return tuple(
        QualifyingStep(datetime.fromisoformat(since), Qualifying(*counts))
        for since, *counts in (from_json(text) if text is not None else ())
    )
