"""Calculations as JSON: what was frozen with an order, null in the table where nothing had to be, and an entry's."""

import json
from fractions import Fraction
from typing import Any

from pydantic_core import to_json

from core.domain.ledger import Frozen

_NOTHING = Frozen()


def frozen_json(frozen: Frozen) -> str | None:
    """The column's text. Remainders are exact fractions, such as 61/3."""
    if frozen == _NOTHING:
        return None
    return to_json(
        {
            "excluded": frozen.excluded,
            "allowances": dict(frozen.allowances),
            "carried": {name: str(remainder) for name, remainder in frozen.carried.items()},
        }
    ).decode()


def read_frozen(text: str | None) -> Frozen:
    """What `frozen_json` wrote."""
    if text is None:
        return _NOTHING
    found = json.loads(text)
    carried = {name: Fraction(remainder) for name, remainder in found["carried"].items()}
    return Frozen(tuple(found["excluded"]), found["allowances"], carried)


def why_json(why: dict[str, Any]) -> str:
    """The text of an entry's calculation, as the table keeps it and the hash chain has it."""
    return to_json(why).decode()
