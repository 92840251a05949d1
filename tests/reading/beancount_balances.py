"""What the real beancount makes of a journal."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from beancount import loader
from beancount.core import data, inventory


def beancount_balances(text: str) -> dict[str, Decimal]:
    """The balance of every account, as beancount has it; it must find no error."""
    entries, errors, _ = loader.load_string(text)
    assert errors == []
    sums: dict[str, Any] = defaultdict(inventory.Inventory)
    for entry in entries:
        if isinstance(entry, data.Transaction):
            for posting in entry.postings:
                sums[posting.account].add_position(posting)
    return {
        account: sum((position.units.number for position in held), start=Decimal(0)) for account, held in sums.items()
    }
