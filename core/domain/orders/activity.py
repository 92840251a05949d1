"""What an order leaves behind beside points: it counts as an order of its customer.

An order of which nothing is kept leaves no trace, so each change of an order is carried over to its account.
"""

from core.domain.ledger import Account
from core.domain.orders.posted import PostedOrder


def recounted(account: Account, before: PostedOrder | None, after: PostedOrder) -> Account:
    """The order's account once the order has changed; `before` is None where it is new to the account."""
    change = after.is_counted - (before is not None and before.is_counted)
    return account._replace(orders_counted=account.orders_counted + change) if change else account
