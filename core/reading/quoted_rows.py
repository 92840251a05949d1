"""What a quote reads beside an account: budgets as they stand, and whether the order is posted. Locks nothing."""

from sqlalchemy import Connection

from core.domain.orders.facts import Order
from core.domain.orders.limits import Budget
from core.store.engine import run_bulk


def read_budgets(connection: Connection, program_id: str) -> dict[str, Budget]:
    """What all customers have had of the program's promotions, by promotion; another order may come in between."""
    rows = run_bulk(connection, "SELECT promotion_id, points, orders FROM budgets WHERE program_id = %s", (program_id,))
    return {promotion_id: Budget(points, orders) for promotion_id, points, orders in rows}


def is_posted(connection: Connection, order: Order, program_id: str) -> bool:
    """Whether an order of this source and id is in the ledger of the program."""
    statement = "SELECT 1 FROM orders WHERE source = %s AND order_id = %s AND program_id = %s"
    return bool(run_bulk(connection, statement, (order.source, order.order_id, program_id)))
