"""What orders earn, worked out anew as posting does: from the order, its refunds, and what was frozen with it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.domain.orders.earning import Earning
from core.domain.orders.facts import Refund
from core.domain.orders.posted import PostedOrder, PostedRefund, refunds_known
from core.domain.program import RefundEffect
from core.domain.program.registry import ProgramRegistry
from core.store.engine import database_now, stream_rows
from core.store.ledger import ORDERS, read_refund_lines
from core.store.proof.scope import Findings, Scope


class OrderAnew(NamedTuple):
    """An account's order, with what else is needed to work it out anew."""

    posted: PostedOrder
    refunds: list[Refund]  #: and its cancellation, as one more
    accrued: int  #: by its own entry
    due: int  #: what its refunds and its cancellation claimed back


# Refunds come with their orders: to be asked for those of so many orders each time, they would be read as often.
_ORDERS = f"""
SELECT o.account_id, o.order_id, o.source, coalesce(e.points + e.pending_change, 0),
       coalesce(r.due, 0) + coalesce(c.points_due, 0), r.refunds, {ORDERS.select("o")}
FROM orders o
LEFT JOIN entries e ON e.account_id = o.account_id AND e.sequence = o.sequence
LEFT JOIN (SELECT source, order_id, program_id, sum(points_due)::bigint AS due,
                  array_agg(ARRAY[refund_id, occurred_at::text, is_full::text, amount::text, lines::text]) AS refunds
           FROM refunds GROUP BY source, order_id, program_id) r
     ON r.source = o.source AND r.order_id = o.order_id AND r.program_id = o.program_id
LEFT JOIN (SELECT * FROM order_events WHERE kind = 'cancelled') c
     ON c.source = o.source AND c.order_id = o.order_id AND c.program_id = o.program_id
WHERE o.account_id IS NOT NULL
"""  # noqa: S608  # our own names


def stream_orders(
    connection: Connection, scope: Scope, condition: str = "true", parameters: Mapping[str, Any] | None = None
) -> Iterator[tuple[Any, ...]]:
    """Rows for `read_order` of the accounts' orders that meet a condition on `o`."""
    query = scope.narrow(f"{_ORDERS} AND ({condition})")
    return stream_rows(connection, "orders_anew", query, {**scope.parameters, **(parameters or {})})


def read_order(row: tuple[Any, ...]) -> OrderAnew:
    """Make an order of what was streamed. Any error of Python for what nobody could have written."""
    _, _, _, accrued, due, reported, *columns = row
    posted = ORDERS.read(columns)
    source, of_order = posted.key
    refunds = []
    for refund_id, occurred_at, is_full, amount, lines in reported or ():
        parts = is_full == "true", None if amount is None else Decimal(amount), read_refund_lines(lines)
        refund = Refund(source, refund_id, of_order, datetime.fromisoformat(occurred_at), *parts)
        refunds.append(PostedRefund(refund, posted.program_id, b"", posted.account_id))
    return OrderAnew(posted, refunds_known(refunds, posted), accrued, due)


def orders_otherwise(connection: Connection, registry: ProgramRegistry, scope: Scope) -> Findings:
    """Orders that were granted, or count for the tier, something else than they earn."""
    now = database_now(connection)
    for row in stream_orders(connection, scope):
        try:
            text = _otherwise(read_order(row), registry, now)
        except Exception as error:  # noqa: BLE001  # whatever somebody has put into the row: it is named
            text = f"cannot be worked out anew: {type(error).__name__}"
        if text is not None:
            account_id, order_id, source = row[:3]
            yield account_id, f"order {order_id} of {source} {text}"


def _otherwise(each: OrderAnew, registry: ProgramRegistry, now: datetime) -> str | None:
    posted = each.posted
    versions = registry.programs(posted.program_id)
    if not 1 <= posted.program_version <= len(versions):
        return f"was judged by version {posted.program_version} of {posted.program_id}, which is not there"
    program = versions[posted.program_version - 1]
    if posted.tier_id is None or program.tier(posted.tier_id) is None:
        return f"was judged in the tier {posted.tier_id}, which version {posted.program_version} does not have"
    earning = Earning(posted.order, program, posted.tier_id, posted.judgement)
    ordered = earning.after(())
    kept = earning.after(each.refunds) if each.refunds else ordered
    if (each.accrued, each.due) != (ordered.points, ordered.points - kept.points):
        return (
            f"accrued {each.accrued}, and its refunds were due {each.due},"
            f" but it earns {ordered.points}, and {kept.points} after them"
        )
    # Where versions treat refunds differently, it depends on when each was posted.
    begun = registry.begun(posted.program_id, now)
    effects = {version.qualification.refunds is RefundEffect.NEVER for version in begun}
    counts = ordered.qualifying if effects == {True} else kept.qualifying
    if len(effects) == 1 and posted.qualifying != counts:
        had, has = ("/".join(map(str, qualifying)) for qualifying in (posted.qualifying, counts))
        return f"counts {had} points, hundredths and orders for the tier, but it earns {has}"
    return None
