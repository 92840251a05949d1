"""What the fulfilment of an order does to its account: the points that were held for it become available."""

from collections.abc import Mapping
from datetime import datetime

from core.domain.expiry.dates import ends_at
from core.domain.expiry.due import release
from core.domain.ledger import Account, Decision, PostedOrder
from core.domain.lots import Lot
from core.domain.orders.facts import Fulfilment
from core.domain.program import Program


def decide_fulfilment(
    account: Account | None,
    lots: Mapping[int, Lot],
    posted: PostedOrder,
    fulfilment: Fulfilment,
    program: Program,
    as_of: datetime,
) -> Decision:
    """Release what the order's own lots hold until it is fulfilled; their time to expire runs from now on.

    `program` is the version frozen with the order. Where points wait for nothing, or for a number of days, the
    fulfilment is recorded and changes nothing.
    """
    fulfilled = posted._replace(fulfilled_at=fulfilment.occurred_at)
    if account is None:
        return Decision(order=fulfilled)
    available = min(max(fulfilment.occurred_at, posted.order.occurred_at), as_of)  # clocks of shops may go wrong
    due = [
        lot._replace(
            available_at=available,
            expires_at=ends_at(program, lot.earned_by, available, lots.values(), as_of),
        )
        for lot in lots.values()
        if lot.opened_by_sequence == posted.sequence and lot.is_pending and lot.available_at is None
    ]
    if not due:
        return Decision(order=fulfilled)
    released = release(account, due, as_of)
    entries = tuple(
        entry._replace(source=posted.order.source, order_id=posted.order.order_id) for entry in released.entries
    )
    return Decision(account=released.account, entries=entries, lots=released.lots, order=fulfilled)
