"""What orders earn, worked out anew as posting does: from the order, its refunds, and what was frozen with it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import Connection

from core.domain.orders.earning import Earning, Entitlement
from core.domain.orders.facts import Order, Refund
from core.domain.orders.posted import PostedOrder, PostedRefund, QualifyingStep, refunds_known
from core.domain.orders.qualifying_steps import steps_of
from core.domain.program.registry import ProgramRegistry
from core.messages.inbound.order_facts import order_of
from core.store.engine import stream_rows
from core.store.ledger import ORDERS, read_parts, read_refund_lines
from core.store.proof.scope import Findings, Scope


class OrderAnew(NamedTuple):
    """An account's order, with what else is needed to work it out anew."""

    posted: PostedOrder
    refunds: list[Refund]  #: and its cancellations, as others
    accrued: int  #: by its own entry
    due: int  #: what was claimed back later, less what came back
    newest: str | None  #: what the message of its newest revision said
    is_claimed: bool  #: it came to its account later than it was posted
    is_moved: bool  #: from another account, which has what was reported of it before


# Refunds come with their orders: to be asked for those of so many orders each time, they would be read as often.
COLUMNS = f"""
o.account_id, o.order_id, o.source, coalesce(e.points + e.pending_change, 0),
coalesce(rd.due, 0) + coalesce(vd.due, 0), r.refunds, v.reverted, v.cancelled, v.newest, v.is_claimed,
v.is_moved, {ORDERS.select("o")}
"""
FROM_ORDERS = """
FROM orders o
LEFT JOIN entries e ON e.account_id = o.account_id AND e.sequence = o.sequence
LEFT JOIN (SELECT order_source, order_id, program_id, account_id, sum(points_due)::bigint AS due
           FROM refunds WHERE points_due <> 0 GROUP BY order_source, order_id, program_id, account_id) rd
     ON rd.order_source = o.source AND rd.order_id = o.order_id AND rd.program_id = o.program_id
        AND rd.account_id = o.account_id
LEFT JOIN (SELECT source, order_id, program_id, account_id, sum(points_due)::bigint AS due
           FROM order_events WHERE points_due <> 0 GROUP BY source, order_id, program_id, account_id) vd
     ON (vd.source, vd.order_id, vd.program_id, vd.account_id) = (o.source, o.order_id, o.program_id, o.account_id)
LEFT JOIN (SELECT order_source, order_id, program_id,
                  array_agg(ARRAY[source, refund_id, occurred_at::text, is_full::text, paid::text, net::text,
                                  lines::text])
                      AS refunds
           FROM refunds GROUP BY order_source, order_id, program_id) r
     ON r.order_source = o.source AND r.order_id = o.order_id AND r.program_id = o.program_id
LEFT JOIN (SELECT source, order_id, program_id, bool_or(kind IN ('claimed', 'moved_in')) AS is_claimed,
                  bool_or(kind = 'claimed' AND content->>'previous_customer_id' IS NOT NULL) AS is_moved,
                  array_agg(event_key) FILTER (WHERE kind = 'refund_reverted') AS reverted,
                  array_agg(ARRAY[occurred_at::text, content::text])
                      FILTER (WHERE kind = 'cancelled' AND event_key <> '') AS cancelled,
                  (array_agg(content::text ORDER BY event_key::integer DESC) FILTER (WHERE kind = 'amended'))[1]
                      AS newest
           FROM order_events GROUP BY source, order_id, program_id) v
     ON v.source = o.source AND v.order_id = o.order_id AND v.program_id = o.program_id
"""
_ORDERS = f"SELECT {COLUMNS} {FROM_ORDERS} WHERE o.account_id IS NOT NULL"  # our own names


def stream_orders(
    connection: Connection, scope: Scope, condition: str = "true", parameters: Mapping[str, Any] | None = None
) -> Iterator[tuple[Any, ...]]:
    """Rows for `read_order` of the accounts' orders that meet a condition on `o`."""
    query = scope.narrow(f"{_ORDERS} AND ({condition})")
    return stream_rows(connection, "orders_anew", query, {**scope.parameters, **(parameters or {})})


def read_order(row: tuple[Any, ...]) -> OrderAnew:
    """Make an order of what was streamed. Any error of Python for what nobody could have written."""
    _, _, _, accrued, due, reported, reverted, cancelled, newest, is_claimed, is_moved, *columns = row
    posted = ORDERS.read(columns)
    order_source, of_order = posted.key
    refunds = []
    for source, refund_id, occurred_at, is_full, *money, lines in reported or ():
        paid, net = (None if amount is None else Decimal(amount) for amount in money)
        parts = is_full == "true", paid, net, read_refund_lines(lines)
        at = datetime.fromisoformat(occurred_at)
        refund = Refund(source, refund_id, of_order, at, *parts, order_source=order_source)
        refunds.append(PostedRefund(refund, posted.program_id, b"", posted.account_id))
    parts_cancelled = [(datetime.fromisoformat(at), read_parts(content)) for at, content in cancelled or ()]
    known = refunds_known(refunds, posted, reverted or (), parts_cancelled)
    return OrderAnew(posted, known, accrued, due, newest, bool(is_claimed), bool(is_moved))


def orders_otherwise(connection: Connection, registry: ProgramRegistry, scope: Scope) -> Findings:
    """Orders that were granted, or count for the tier, something else than they earn."""
    for row in stream_orders(connection, scope):
        try:
            text = _otherwise(read_order(row), registry)
        except Exception as error:  # noqa: BLE001  # whatever somebody has put into the row: it is named
            text = f"cannot be worked out anew: {type(error).__name__}"
        if text is not None:
            account_id, order_id, source = row[:3]
            yield account_id, f"order {order_id} of {source} {text}"


def _otherwise(each: OrderAnew, registry: ProgramRegistry) -> str | None:
    posted = each.posted
    versions = registry.programs(posted.program_id)
    if not 1 <= posted.program_version <= len(versions):
        return f"was judged by version {posted.program_version} of {posted.program_id}, which is not there"
    program = versions[posted.program_version - 1]
    if posted.tier_id is None or program.tier(posted.tier_id) is None:
        return f"was judged in the tier {posted.tier_id}, which version {posted.program_version} does not have"
    if each.is_moved:
        is_right = each.accrued - each.due == posted.points_entitled
        return None if is_right else f"accrued {each.accrued}, and was due {each.due}, which is not what it is owed"
    if not _is_newest(posted, each.newest):
        return "is not what its newest revision says"
    earning = Earning(posted.order, program, posted.tier_id, posted.judgement)
    ordered = kept = earning.after(())
    if posted.amendment is not None:
        earning = Earning(posted.current, program, posted.tier_id, posted.judged)
    if each.refunds or posted.amendment is not None:
        kept = earning.after(each.refunds)
    # What a claimed order earned when it came to its account, its refunds had left of it by then.
    accrued = each.accrued if each.is_claimed else ordered.points
    if (each.accrued, each.due) != (accrued, accrued - kept.points):
        return (
            f"accrued {each.accrued}, and its refunds were due {each.due},"
            f" but it earns {ordered.points}, and {kept.points} after them"
        )
    return _counts_otherwise(posted, kept, steps_of(posted, each.refunds, earning))


def _counts_otherwise(posted: PostedOrder, kept: Entitlement, steps: tuple[QualifyingStep, ...]) -> str | None:
    if posted.is_counted != kept.is_counted:
        is_it, is_not = ("", " not") if posted.is_counted else (" not", "")
        return f"does{is_it} count as an order of its customer, but should{is_not}"
    if posted.qualifying != kept.qualifying:
        had, has = ("/".join(map(str, qualifying)) for qualifying in (posted.qualifying, kept.qualifying))
        return f"counts {had} points, hundredths and orders for the tier, but it earns {has}"
    if posted.qualifying_steps != steps:
        return "does not count for the tier what its refunds left of it at their times"
    return None


def _is_newest(posted: PostedOrder, content: str | None) -> bool:
    """Whether the order is as its newest revision says."""
    now = posted.amendment
    if now is None or content is None:
        return now is None and content is None
    data = from_json(content)
    said = order_of(posted.order.source, posted.order.occurred_at, data)
    return data["revision"] == now.revision and _content(said) == _content(posted.current)


def _content(order: Order) -> tuple[object, ...]:
    return order.lines, order.points_paid, order.attributes, order.customer_tags, order.paid_by
