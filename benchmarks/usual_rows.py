"""The rows of the usual way: a mapped class for each table, and the values of the domain from them and for them."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import registry, relationship

from core.domain.ledger import Account
from core.domain.lots import Lot, Origin, OriginKind
from core.domain.orders.facts import Order, Refund
from core.domain.orders.posted import PostedOrder, PostedRefund, Qualifying, Recovery
from core.messages.inbound.order_lines import lines_of
from core.store import tables
from core.store.judgements import judgement_json, read_judgement, read_steps
from core.store.ledger import read_refund_lines, refund_lines_json


class Row:
    """A mapped row."""

    def __init__(self, **values: Any) -> None:
        """Set the columns."""
        for name, value in values.items():
            setattr(self, name, value)


class InboxRow(Row):
    """A row of `inbox`."""

    inbox_id: Any
    state: str
    reason: str | None
    detail: str | None
    settled: str | None
    settled_at: datetime | None


class AccountRow(Row):
    """A row of `accounts`."""


class MemberRow(Row):
    """A row of `members`."""


class OrderRow(Row):
    """A row of `orders`."""


class RefundRow(Row):
    """A row of `refunds`."""


class EntryRow(Row):
    """A row of `entries`."""


class LotRow(Row):
    """A row of `lots`."""


class AllocationRow(Row):
    """A row of `allocations`."""


class TierChangeRow(Row):
    """A row of `tier_changes`."""


class OutboxRow(Row):
    """A row of `outbox`."""


def _map_classes() -> None:
    mapper = registry()
    # The relationships tell the unit of work what to insert first, so that one flush writes everything.
    for row, table, parents in (
        (InboxRow, tables.inbox, ()),
        (AccountRow, tables.accounts, ()),
        (MemberRow, tables.members, (AccountRow,)),
        (OrderRow, tables.orders, (AccountRow,)),
        (RefundRow, tables.refunds, (OrderRow,)),
        (EntryRow, tables.entries, (AccountRow,)),
        (LotRow, tables.lots, (EntryRow,)),
        (AllocationRow, tables.allocations, (EntryRow, LotRow)),
        (TierChangeRow, tables.tier_changes, (AccountRow,)),
        (OutboxRow, tables.outbox, ()),
    ):
        names = {f"of_{parent.__name__}": parent for parent in parents}
        related: dict[str, Any] = {
            name: relationship(parent, overlaps=",".join(names)) for name, parent in names.items()
        }
        mapper.map_imperatively(row, table, properties=related)


_map_classes()


def account_of(row: Any) -> Account:
    """The account of a row."""
    return Account(*(getattr(row, name) for name in Account._fields))


def lot_row(account_id: UUID, shard: int, lot: Lot) -> LotRow:
    """The row of a new lot."""
    values = lot._asdict()
    origin = values.pop("origin")
    return LotRow(
        account_id=account_id,
        account_shard=shard,
        origin_kind=origin.kind.value,
        origin_source=origin.source,
        origin_id=origin.id,
        origin_at=origin.at,
        **values,
    )


def lot_of(row: Any) -> Lot:
    """The lot of a row."""
    origin = Origin(OriginKind(row.origin_kind), row.origin_source, row.origin_id, row.origin_at)
    return Lot(
        row.lot_number,
        row.opened_by_sequence,
        origin,
        row.points_granted,
        row.points_remaining,
        row.points_expired,
        row.available_at,
        row.expires_at,
        row.earned_by,
        row.is_pending,
        row.points_excused,
    )


def order_row(posted: PostedOrder, inbox_id: int, data: Mapping[str, Any]) -> OrderRow:
    """The row of a new order; `data` is its message's."""
    order, judgement = posted.order, judgement_json(posted.judgement)
    return OrderRow(
        source=order.source,
        order_id=order.order_id,
        program_id=posted.program_id,
        account_id=posted.account_id,
        customer_id=order.customer_id,
        shard=0,
        inbox_id=inbox_id,
        business_hash=posted.digest,
        currency=order.currency,
        rate=order.rate,
        occurred_at=order.occurred_at,
        lines=data["lines"],
        points_paid=order.points_paid,
        program_version=posted.program_version,
        tier_id=posted.tier_id,
        sequence=posted.sequence,
        points_entitled=posted.points_entitled,
        qualifying_points=posted.qualifying.points,
        qualifying_spend=posted.qualifying.spend,
        qualifying_orders=posted.qualifying.orders,
        is_counted=posted.is_counted,
        **_without_null(
            attributes=data.get("attributes"),
            customer_tags=data.get("customer_tags"),
            judgement=None if judgement is None else json.loads(judgement),
        ),
    )


def posted_order(row: Any) -> PostedOrder:
    """The order of a row."""
    return PostedOrder(
        Order(
            row.source,
            row.order_id,
            row.customer_id,
            row.currency,
            row.occurred_at,
            lines_of(row.lines),
            row.points_paid,
            row.attributes or {},
            tuple(row.customer_tags or ()),
            row.rate,
        ),
        row.program_id,
        row.program_version,
        row.business_hash,
        row.tier_id,
        row.account_id,
        row.sequence,
        row.points_entitled,
        row.points_excused,
        row.points_shortfall,
        read_judgement(None if row.judgement is None else json.dumps(row.judgement)),
        Qualifying(row.qualifying_points, row.qualifying_spend, row.qualifying_orders),
        is_counted=row.is_counted,
        qualifying_steps=read_steps(None if row.qualifying_steps is None else json.dumps(row.qualifying_steps)),
        fulfilled_at=row.fulfilled_at,
        cancelled_at=row.cancelled_at,
    )


def refund_row(posted: PostedRefund, inbox_id: int) -> RefundRow:
    """The row of a new refund."""
    refund, lines = posted.refund, refund_lines_json(posted.refund.lines)
    return RefundRow(
        source=refund.source,
        order_source=refund.order_key[0],
        refund_id=refund.refund_id,
        program_id=posted.program_id,
        order_id=refund.order_id,
        account_id=posted.account_id,
        inbox_id=inbox_id,
        business_hash=posted.digest,
        occurred_at=refund.occurred_at,
        sequence=posted.sequence,
        is_full=refund.full,
        currency=refund.currency,
        paid=refund.paid,
        net=refund.net,
        **posted.recovery._asdict(),
        **_without_null(lines=None if lines is None else json.loads(lines)),
    )


def posted_refund(row: Any) -> PostedRefund:
    """The refund of a row."""
    lines = read_refund_lines(None if row.lines is None else json.dumps(row.lines))
    return PostedRefund(
        Refund(row.source, row.refund_id, row.order_id, row.occurred_at, row.is_full, row.paid, row.net, lines),
        row.program_id,
        row.business_hash,
        row.account_id,
        Recovery(*(getattr(row, name) for name in Recovery._fields)),
        row.sequence,
    )


def _without_null(**values: Any) -> dict[str, Any]:
    """The columns of JSON that have a value: None would be written as the null of JSON."""
    return {name: value for name, value in values.items() if value is not None}
