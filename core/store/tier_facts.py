"""Loading what tiers follow from: sums of what orders count, or each of them with holds and tier changes."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

from sqlalchemy import Connection

from core.domain.orders.posted import Qualifying
from core.domain.tiers.history import CountedOrder, OrdersByTime, TierFacts, TierHistoryEntry, TierHold
from core.store.engine import run_bulk
from core.store.judgements import read_steps
from core.store.rows import arrays

_TIER_HISTORY = """
SELECT account_id, effective_at, tier_id FROM tier_changes WHERE account_id = ANY(%b)
ORDER BY account_id, change_number
"""


def load_tier_history(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, list[TierHistoryEntry]]:
    """The tier changes of these accounts, in the order in which they were told."""
    history: dict[UUID, list[TierHistoryEntry]] = {account_id: [] for account_id in account_ids}
    if account_ids:
        for account_id, effective_at, tier_id in run_bulk(connection, _TIER_HISTORY, (list(account_ids),)):
            history[account_id].append(TierHistoryEntry(effective_at, tier_id))
    return history


_MEASURES = ("points", "spend", "orders")
_KEPT = ", ".join(f"sum(o.qualifying_{name})::bigint" for name in _MEASURES)
_BEFORE_REFUNDS = ", ".join(
    f"sum(coalesce((o.qualifying_steps->0->>{place})::bigint, o.qualifying_{name}))::bigint"
    for place, name in enumerate(_MEASURES, start=1)
)
_COUNTED = f"""
SELECT k.account_id, min(o.occurred_at), {_KEPT}, {_BEFORE_REFUNDS}
FROM unnest(%b::uuid[], %b::timestamptz[], %b::timestamptz[]) AS k(account_id, start, ending)
     JOIN orders o ON o.account_id = k.account_id AND o.occurred_at >= k.start AND o.occurred_at < k.ending
GROUP BY k.account_id, k.start
"""  # noqa: S608  # our own names
_END = datetime.max.replace(tzinfo=UTC)


def load_counted(
    connection: Connection, since: Mapping[UUID, datetime], bounds: Mapping[UUID, Iterable[datetime]]
) -> dict[UUID, list[CountedOrder]]:
    """What each of these accounts' orders from its instant on count for the tier, added up between its `bounds`."""
    counted: dict[UUID, list[CountedOrder]] = {account_id: [] for account_id in since}
    stretches = []
    for account_id, first in since.items():
        starts = [first, *sorted(bound for bound in set(bounds[account_id]) if bound > first)]
        stretches += [(account_id, *stretch) for stretch in pairwise([*starts, _END])]
    if stretches:
        for account_id, first, *sums in run_bulk(connection, _COUNTED, arrays(stretches, 3)):
            kept, before_refunds = Qualifying(*sums[:3]), Qualifying(*sums[3:])
            counted[account_id].append(CountedOrder(first, kept, None if kept == before_refunds else before_refunds))
    return counted


_TIER_ORDERS = f"""
SELECT o.account_id, o.occurred_at, {", ".join(f"o.qualifying_{name}" for name in _MEASURES)}, o.qualifying_steps::text
FROM orders o WHERE o.account_id = ANY(%b)
"""  # noqa: S608  # our own names
_TIER_HOLDS = """
SELECT account_id, (rebuilt->>'held_at')::timestamptz, rebuilt->>'tier_id', (rebuilt->>'tier_held_until')::timestamptz
FROM repairs WHERE account_id = ANY(%b) AND subject = 'tier' ORDER BY repair_id
"""


def load_tier_facts(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, TierFacts]:
    """All that the tiers of these accounts, which the caller has locked, follow from, beside their programs."""
    orders: dict[UUID, list[CountedOrder]] = {account_id: [] for account_id in account_ids}
    holds: dict[UUID, list[TierHold]] = {account_id: [] for account_id in account_ids}
    if account_ids:
        for account_id, occurred_at, *kept, text in run_bulk(connection, _TIER_ORDERS, (list(account_ids),)):
            steps = read_steps(text)
            ordered = steps[0].qualifying if steps else None
            orders[account_id].append(CountedOrder(occurred_at, Qualifying(*kept), ordered, steps))
        for account_id, *hold in run_bulk(connection, _TIER_HOLDS, (list(account_ids),)):
            holds[account_id].append(TierHold(*hold))
    return {account_id: TierFacts(OrdersByTime(orders[account_id]), holds[account_id]) for account_id in account_ids}
