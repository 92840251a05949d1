"""What was frozen with an order, as JSON: null in the table where nothing had to be."""

import json
from fractions import Fraction

from core.domain.ledger import Frozen

_NOTHING = Frozen()


def frozen_json(frozen: Frozen) -> str | None:
    """The column's text. Remainders are exact fractions, such as 61/3."""
    if frozen == _NOTHING:
        return None
    return json.dumps(
        {
            "excluded": frozen.excluded,
            "allowances": dict(frozen.allowances),
            "carried": {name: str(remainder) for name, remainder in frozen.carried.items()},
        }
    )


def read_frozen(text: str | None) -> Frozen:
    """What `frozen_json` wrote."""
    if text is None:
        return _NOTHING
    found = json.loads(text)
    carried = {name: Fraction(remainder) for name, remainder in found["carried"].items()}
    return Frozen(tuple(found["excluded"]), found["allowances"], carried)
