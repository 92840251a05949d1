"""The usual way, to compare with: one Celery task per message, one SQLAlchemy session and commit each.

It decides with the same core and writes the same tables through mapped classes, one row at a time, then publishes its
events. It is written with care, not to lose: compiled statements are cached, the task acks late, prefetch is 4.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from celery import Celery
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, registry, relationship
from uuid6 import uuid7

from config.queues import celery_queues
from core.domain.decision import Decision
from core.domain.ledger import Account
from core.domain.lots import Lot
from core.domain.orders.accrual import Known, decide_accrual, decide_guest_order
from core.domain.orders.clawback import decide_clawback
from core.domain.orders.facts import Order, Refund
from core.domain.orders.posted import PostedOrder, PostedRefund
from core.domain.program.registry import ProgramRegistry
from core.messages.inbound.reading import (
    MessageLimits,
    ReadEvent,
    StoredOrder,
    StoredRefund,
    read_lines,
    read_message,
    read_stored_event,
)
from core.posting.events import EventContext, account_created, decision_events
from core.store import tables
from core.store.appending import OutboxEvent
from core.store.engine import create_database_engine
from core.store.programs import load_registry
from core.store.shards import account_shard
from workers.brokers import EventPublisher, open_event_publisher

_LIMITS = MessageLimits(1 << 20, 1000, 86_400)
_NUMBERS = "usual_numbers"  #: a sequence, as usual; nothing here depends on the order of the commits


class Row:
    """A mapped row."""

    def __init__(self, **values: Any) -> None:
        """Set the columns."""
        for name, value in values.items():
            setattr(self, name, value)


class InboxRow(Row):
    """A row of `inbox`."""

    inbox_id: Any


class AccountRow(Row):
    """A row of `accounts`."""


class MemberRow(Row):
    """A row of `members`."""


class OrderRow(Row):
    """A row of `orders`."""


class RefundRow(Row):
    """A row of `refunds`."""

    body: bytes


class EntryRow(Row):
    """A row of `entries`."""


class LotRow(Row):
    """A row of `lots`."""

    lot_number: int


class AllocationRow(Row):
    """A row of `allocations`."""


class TierChangeRow(Row):
    """A row of `tier_changes`."""


class OutboxRow(Row):
    """A row of `outbox`."""


@cache
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
        parents_of: dict[str, Any] = {f"of_{parent.__name__}": relationship(parent) for parent in parents}
        mapper.map_imperatively(row, table, properties=parents_of)


@cache
def _engine() -> Engine:
    _map_classes()
    return create_database_engine(os.environ["LOYALTY_DATABASE_URL"])


@cache
def _programs() -> ProgramRegistry:
    with _engine().connect() as connection:
        return load_registry(connection)


@cache
def _publisher() -> EventPublisher:
    return open_event_publisher(os.environ["LOYALTY_BROKER_URL"])


def prepare(engine: Engine) -> None:
    """Make what the usual way needs beside our tables."""
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SEQUENCE {_NUMBERS}"))


def process(raw: str) -> None:
    """Do everything for one message; once more if another process has just opened the same account."""
    try:
        _process(raw)
    except IntegrityError:
        _process(raw)


def _process(raw: str) -> None:
    """Do everything for one message, then publish."""
    body = raw.encode()
    (event,) = read_message(body, limits=_LIMITS, now=datetime.now(UTC))
    assert isinstance(event, ReadEvent)
    stored = read_stored_event(body)
    with Session(_engine(), autoflush=False) as session, session.begin():
        inbox = InboxRow(
            inbox_id=func.nextval(_NUMBERS),
            source=event.source,
            event_id=event.event_id,
            type=event.type,
            occurred_at=event.occurred_at,
            shard=0,
            subject=event.subject,
            is_subject=event.is_subject,
            content_hash=event.content_hash,
            body=body,
            state="posted",
            settled_at=datetime.now(UTC),
        )
        session.add(inbox)
        session.flush()
        context = EventContext("/bench", datetime.now(UTC))
        post = _post_order if isinstance(stored, StoredOrder) else _post_refund
        events = post(session, stored, inbox.inbox_id, context)  # type: ignore[arg-type]  # chosen by its type
        session.add_all(
            OutboxRow(outbox_id=func.nextval(_NUMBERS), **e._asdict(), published_at=context.recorded_at) for e in events
        )
    if events:
        _publisher().publish([(e.type, e.body) for e in events])


def _post_order(session: Session, stored: StoredOrder, inbox_id: int, context: EventContext) -> list[OutboxEvent]:
    order = stored.order
    program_id = _programs().resolve(stored.program_id, order.source)
    assert program_id is not None
    version = _programs().at(program_id, order.occurred_at)
    events: list[OutboxEvent] = []
    row: Any = None
    if order.customer_id is None:
        decision = decide_guest_order(order, version.program, version.version)
    else:
        row = session.scalars(
            select(AccountRow)
            .join(tables.members, tables.members.c.account_id == tables.accounts.c.account_id)
            .where(tables.members.c.program_id == program_id, tables.members.c.customer_id == order.customer_id)
            .with_for_update(of=tables.accounts)
        ).one_or_none()
        if row is None:
            account = Account(uuid7(), program_id, order.customer_id, version.program.tiers[0].tier_id)
            row = AccountRow(**account._asdict(), account_shard=account_shard(account.account_id))
            session.add(row)
            session.add(MemberRow(program_id=program_id, customer_id=order.customer_id, account_id=account.account_id))
            events.append(account_created(account, order.occurred_at, context))
        account = _account(row)
        decision = decide_accrual(
            account, Known(), order, version.program, version.version, version.program, as_of=context.recorded_at
        )
    assert decision.order is not None
    session.add(_order_row(decision.order, stored, inbox_id))
    _write(session, decision, row)
    return events + decision_events(decision, context)


def _post_refund(session: Session, stored: StoredRefund, inbox_id: int, context: EventContext) -> list[OutboxEvent]:
    refund = stored.refund
    order: Any = session.scalars(
        select(OrderRow).where(tables.orders.c.source == refund.source, tables.orders.c.order_id == refund.order_id)
    ).one_or_none()
    if order is None:
        return []
    known = [
        _refund(row.body)
        for row in session.scalars(
            select(RefundRow).where(
                tables.refunds.c.source == refund.source, tables.refunds.c.order_id == refund.order_id
            )
        )
    ]
    row: Any = None
    lots: dict[int, Lot] = {}
    if order.account_id is not None:
        row = session.get(AccountRow, order.account_id, with_for_update=True)
        lots = {
            lot.lot_number: Lot(*(getattr(lot, name) for name in Lot._fields))
            for lot in session.scalars(select(LotRow).where(tables.lots.c.account_id == order.account_id))
        }
    version = _programs().version(order.program_id, order.program_version)
    decision = decide_clawback(
        _account(row) if row else None,
        lots,
        _posted(order),
        known,
        refund,
        version.program,
        version.program,
        context.recorded_at,
    )
    assert decision.refund is not None
    assert decision.order is not None
    session.add(_refund_row(decision.refund, stored, order.program_id, session.get(InboxRow, inbox_id)))
    order.points_entitled = decision.order.points_entitled
    _write(session, decision, row)
    return decision_events(decision, context)


def _order_row(posted: PostedOrder, stored: StoredOrder, inbox_id: int) -> OrderRow:
    order = stored.order
    return OrderRow(
        source=order.source,
        order_id=order.order_id,
        program_id=posted.program_id,
        account_id=posted.account_id,
        customer_id=order.customer_id,
        shard=0,
        inbox_id=inbox_id,
        business_hash=stored.business_hash,
        currency=order.currency,
        occurred_at=order.occurred_at,
        lines=json.loads(stored.lines_json),
        points_paid=order.points_paid,
        program_version=posted.program_version,
        tier_id=posted.tier_id,
        sequence=posted.sequence,
        lot_number=posted.lot_number,
        points_entitled=posted.points_entitled,
    )


def _refund_row(result: PostedRefund, stored: StoredRefund, program_id: str, message: Any) -> RefundRow:
    refund = result.refund
    return RefundRow(
        source=refund.source,
        refund_id=refund.refund_id,
        program_id=program_id,
        order_id=refund.order_id,
        inbox_id=message.inbox_id,
        business_hash=stored.business_hash,
        occurred_at=refund.occurred_at,
        body=message.body,
        points_due=result.points_due,
        points_taken=result.points_taken,
        points_excused=result.points_excused,
        points_shortfall=result.points_shortfall,
    )


def _write(session: Session, decision: Decision, account_row: Any) -> None:
    if decision.account is not None:
        for name, value in decision.account._asdict().items():
            setattr(account_row, name, value)
    for entry in decision.entries:
        values = entry._asdict()
        allocations = values.pop("allocations")
        session.add(EntryRow(**{**values, "kind": entry.kind.value}))
        for lot in decision.lots:
            if lot.opened_by_sequence == entry.sequence:
                shard = account_shard(entry.account_id)
                session.add(LotRow(account_id=entry.account_id, account_shard=shard, **lot._asdict()))
            else:
                known: Any = session.get(LotRow, (entry.account_id, lot.lot_number))
                known.points_remaining = lot.points_remaining
        session.add_all(
            AllocationRow(
                account_id=entry.account_id, sequence=entry.sequence, lot_number=part.lot_number, points=part.points
            )
            for part in allocations
        )
    for change in decision.tier_changes:
        session.add(TierChangeRow(**{**change._asdict(), "reason": change.reason.value}))


def _account(row: Any) -> Account:
    return Account(*(getattr(row, name) for name in Account._fields))


def _posted(row: Any) -> PostedOrder:
    lines = read_lines(json.dumps(row.lines))
    order = Order(row.source, row.order_id, row.customer_id, row.currency, row.occurred_at, lines, row.points_paid)
    return PostedOrder(
        order,
        row.program_id,
        row.program_version,
        row.tier_id,
        row.account_id,
        row.sequence,
        row.lot_number,
        row.points_entitled,
        row.points_excused or 0,
        row.points_shortfall or 0,
    )


def _refund(body: bytes) -> Refund:
    stored = read_stored_event(body)
    assert isinstance(stored, StoredRefund)
    return stored.refund


def create_usual_app() -> tuple[Celery, Callable[..., Any]]:
    """Make the usual app and its one task."""
    broker_url = os.environ["LOYALTY_BROKER_URL"]
    is_amqp = broker_url.startswith("amqp")
    app = Celery("usual", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=4,
        worker_concurrency=2,
        accept_content=["json"],
        task_queues=celery_queues(is_amqp=is_amqp),
        task_default_queue="loyalty.posting",
        task_default_exchange="loyalty.tasks",
        task_default_exchange_type="topic" if is_amqp else "direct",
        task_default_queue_type="quorum" if is_amqp else "classic",
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
    )
    return app, app.task(name="usual.process")(process)


def main() -> None:
    """Run the worker."""
    app, _ = create_usual_app()
    app.worker_main(["worker", "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR"])


if __name__ == "__main__":
    main()
