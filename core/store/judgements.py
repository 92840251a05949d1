"""Calculations as JSON: what was judged of an order, null in the table where nothing had to be, and an entry's."""

import json
from fractions import Fraction
from typing import Any

from pydantic_core import to_json

from core.domain.orders.posted import Judgement

_NOTHING = Judgement()


def judgement_json(judgement: Judgement) -> str | None:
    """The column's text. Remainders are exact fractions, such as 61/3."""
    if judgement == _NOTHING:
        return None
    return to_json(
        {
            "excluded": judgement.excluded,
            "allowances": dict(judgement.allowances),
            "carried": {name: str(remainder) for name, remainder in judgement.carried.items()},
        }
    ).decode()


def read_judgement(text: str | None) -> Judgement:
    """What `judgement_json` wrote."""
    if text is None:
        return _NOTHING
    found = json.loads(text)
    carried = {name: Fraction(remainder) for name, remainder in found["carried"].items()}
    return Judgement(tuple(found["excluded"]), found["allowances"], carried)


def why_json(why: dict[str, Any]) -> str:
    """The text of an entry's calculation, as the table keeps it and the hash chain has it."""
    return to_json(why).decode()
