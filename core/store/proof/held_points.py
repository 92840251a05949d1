"""How many points wait for the fulfilment of their orders, worked out anew as posting does."""

from collections.abc import Collection, Iterable
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.orders.earning import Earning
from core.domain.orders.holding import held_of
from core.domain.orders.posted import PostedOrderEvent
from core.domain.program.registry import ProgramRegistry
from core.domain.reports import KeptOrder
from core.store.engine import run_bulk
from core.store.ledger import load_order_events
from core.store.proof.order_points import OrderAnew, read_order, stream_orders
from core.store.proof.scope import Findings, Scope

_NOT_FULFILLED = """
o.fulfilled_at IS NULL AND o.tier_id IS NOT NULL
AND (o.program_id, o.program_version) IN (
    SELECT * FROM unnest(%(held_programs)s::text[], %(held_versions)s::integer[]))
"""
# Untouched: nothing but what was reported of the order has ever taken from its lots, or come back to them. Given up:
# what waited went with the account, as nothing else takes it.
_OWN_LOTS = """
SELECT l.account_id, l.origin_source, l.origin_id,
       coalesce(sum(l.points_remaining) FILTER (WHERE l.is_pending AND l.available_at IS NULL), 0)::bigint,
       sum(l.points_remaining)::bigint,
       NOT bool_or(coalesce(l.expires_at <= now(), false) OR EXISTS (
           SELECT FROM allocations n JOIN entries e ON e.account_id = n.account_id AND e.sequence = n.sequence
           WHERE n.account_id = l.account_id AND n.lot_number = l.lot_number
             AND (e.command_id IS NOT NULL
                  OR (e.source, e.order_id) IS DISTINCT FROM (l.origin_source, l.origin_id)))),
       bool_or(EXISTS (
           SELECT FROM allocations n JOIN entries e ON e.account_id = n.account_id AND e.sequence = n.sequence
           WHERE n.account_id = l.account_id AND n.lot_number = l.lot_number
             AND e.kind = 'debit' AND (e.why->>'forfeited')::boolean))
FROM unnest(%(account_ids_of)s::uuid[], %(sources)s::text[], %(order_ids)s::text[]) AS k(account_id, source, order_id)
JOIN dated_lots l ON l.account_id = k.account_id AND l.origin_kind = 'order' AND l.origin_source = k.source
                     AND l.origin_id = k.order_id
GROUP BY l.account_id, l.origin_source, l.origin_id
"""
_ORDERS_AT_ONCE = 1_000
_Key = tuple[UUID, str, str]  #: account, source, order


class _OwnLots(NamedTuple):
    """What the lots of an order hold."""

    waiting: int = 0  #: for its fulfilment
    remaining: int = 0  #: of all of them
    is_untouched: bool = True
    is_given_up: bool = False


def held_otherwise(connection: Connection, registry: ProgramRegistry, scope: Scope) -> Findings:
    """Orders that are not fulfilled, or not all, of which other points wait than they should."""
    held = [each for each in registry.versions() if each.program.availability.is_by_fulfilment]
    if not held:
        return
    parameters = {
        "held_programs": [each.program_id for each in held],
        "held_versions": [each.version for each in held],
    }
    rows = stream_orders(connection, scope, _NOT_FULFILLED, parameters)
    while some := list(islice(rows, _ORDERS_AT_ONCE)):
        orders = {(account_id, source, order_id): row for row in some for account_id, order_id, source in [row[:3]]}
        lots = _own_lots(connection, scope, orders)
        events: dict[tuple[str, str, str], list[PostedOrderEvent]] = {}
        for event in load_order_events(connection, [key[1:] for key in orders]):
            events.setdefault((event.program_id, event.source, event.order_id), []).append(event)
        for key, row in orders.items():
            account_id, source, order_id = key
            try:
                each = read_order(row)
                happened = events.get((each.posted.program_id, source, order_id), [])
                text = _otherwise(each, registry, happened, lots.get(key, _OwnLots()))
            except Exception as error:  # noqa: BLE001  # whatever somebody has put into the row: it is named
                text = f"cannot be worked out anew: {type(error).__name__}"
            if text is not None:
                yield account_id, f"order {order_id} of {source} {text}"


def _own_lots(connection: Connection, scope: Scope, orders: Collection[_Key]) -> dict[_Key, _OwnLots]:
    account_ids, sources, order_ids = (list(column) for column in zip(*orders, strict=True))
    parameters = {"account_ids_of": account_ids, "sources": sources, "order_ids": order_ids}
    rows = run_bulk(connection, scope.narrow(_OWN_LOTS), {**scope.parameters, **parameters})
    return {(account_id, source, order_id): _OwnLots(*sums) for account_id, source, order_id, *sums in rows}


def _otherwise(
    each: OrderAnew, registry: ProgramRegistry, events: Iterable[PostedOrderEvent], lots: _OwnLots
) -> str | None:
    """What is wrong with what waits of an order.

    All of it does until a part is fulfilled. From then on nothing waits beyond the rest; less may, where of what was
    available something was gone by the time that it was to wait again.
    """
    posted = each.posted
    program = registry.programs(posted.program_id)[posted.program_version - 1]
    assert posted.tier_id is not None
    earning = Earning(posted.current, program, posted.tier_id, posted.judged)
    kept = KeptOrder(earning, earning.ordered.after(each.refunds))
    held = held_of(posted, program, kept, earning.of(kept.basket), events)
    wanted = posted.points_entitled if held is None else held.points
    is_exact = not lots.is_given_up and (
        held is None or (lots.is_untouched and lots.remaining == posted.points_entitled)
    )
    if lots.waiting > wanted or (is_exact and lots.waiting < wanted):
        return f"should have {wanted} points that wait for its fulfilment, but its lots have {lots.waiting}"
    return None
