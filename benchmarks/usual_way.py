"""The usual way, to compare with: one Celery task per message, one SQLAlchemy session and commit each.

It decides with the same core and writes the same tables through mapped classes, one row at a time, then publishes its
events. It is written with care, not to lose: compiled statements are cached, the task acks late, prefetch is 4. It
reads what orders and refunds need under the program of the benchmarks, where no points end, wait or have a limit.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from celery import Celery
from psycopg.types.json import set_json_dumps
from pydantic_core import to_json
from sqlalchemy import Engine, event, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from uuid6 import uuid7

from benchmarks.usual_rows import (
    AccountRow,
    AllocationRow,
    EntryRow,
    InboxRow,
    LotRow,
    MemberRow,
    OrderRow,
    OutboxRow,
    RefundRow,
    TierChangeRow,
    account_of,
    lot_of,
    lot_row,
    order_row,
    posted_order,
    posted_refund,
    refund_row,
)
from config.queues import celery_queues
from core.domain.books import Books
from core.domain.decision import AccountChange, Decision
from core.domain.message import Message
from core.domain.orders.accrual import order_reach
from core.domain.orders.facts import Order, Refund
from core.domain.orders.posted import PostedOrder, PostedRefund
from core.domain.orders.settling import lowering
from core.domain.outcomes import Parked, Replayed, Waiting
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts
from core.messages.inbound.reading import MessageLimits, ReadEvent, read_message, read_settled
from core.posting.events import EventContext, decision_events
from core.posting.handlers import HANDLERS
from core.posting.loading import load_tiers
from core.store import tables
from core.store.engine import create_database_engine
from core.store.judgements import steps_json
from core.store.programs import load_registry
from core.store.shards import ACCOUNT_SHARDS, account_shard
from workers.brokers import EventPublisher, open_event_publisher

_LIMITS = MessageLimits(1 << 20, 1000, 86_400)
_NUMBERS = "usual_numbers"  #: a sequence, as usual; nothing here depends on the order of the commits
_ALL_PUBLISHED = f"""
INSERT INTO relay_positions SELECT shard, 9223372036854775807 FROM generate_series(0, {ACCOUNT_SHARDS - 1}) AS shard
"""
_EVENTS_MAX = 100  #: of one message: so many numbers of events belong to each


@cache
def _engine() -> Engine:
    return with_plain_json(create_database_engine(os.environ["LOYALTY_DATABASE_URL"]))


def with_plain_json(engine: Engine) -> Engine:
    """Have new connections write JSON without blanks and escapes, as the hashes of messages are made of it."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        set_json_dumps(to_json, connection)

    return engine


@cache
def _programs() -> ProgramRegistry:
    with _engine().connect() as connection:
        return load_registry(connection)


@cache
def _publisher() -> EventPublisher:
    return open_event_publisher(os.environ["LOYALTY_BROKER_URL"])


def prepare(engine: Engine) -> None:
    """Make what the usual way needs beside our tables. Its events are published as they are written: no relay comes."""
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SEQUENCE {_NUMBERS}"))
        connection.execute(text(_ALL_PUBLISHED))


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
    handler = HANDLERS[event.type]
    message, data = read_settled(handler.contract, event.source, event.occurred_at, event.settled)
    context = EventContext("/bench", datetime.now(UTC))
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
            settled_at=context.recorded_at,
        )
        session.add(inbox)
        session.flush()
        outcome = handler.decide(_open_books(session, message), message, _programs(), context.recorded_at)
        match outcome:
            case Decision():
                _write(session, outcome, inbox.inbox_id, data)
            case Replayed():
                inbox.state = "replayed"
            case Waiting():  # its order is with another process in this moment; a nightly job would find it
                inbox.state, inbox.settled, inbox.settled_at = "waiting", event.settled, None
            case Parked(reason, detail):
                inbox.state, inbox.reason, inbox.detail = "dead", reason.value, detail
        events = decision_events(outcome, context) if isinstance(outcome, Decision) else []
        session.add_all(
            OutboxRow(outbox_id=inbox.inbox_id * _EVENTS_MAX + place, **each._asdict())
            for place, each in enumerate(events)
        )
    if events:
        _publisher().publish([(each.type, each.body) for each in events])


def _open_books(session: Session, message: Message[Any]) -> Books:
    """Load and lock what the message is about. What is not loaded is not there: the books are whole."""
    books = Books(uuid7, are_whole=True)
    match message.fact:
        case Order():
            _load_for_order(session, books, message)
        case Refund():
            _load_for_refund(session, books, message.fact)
    return books


def _load_for_order(session: Session, books: Books, message: Message[Order]) -> None:
    """Load the customer's account. The same order again is refused by the key of its table."""
    order = message.fact
    program_id = _programs().resolve(message.program_id, order.source, order.occurred_at)
    if program_id is None or order.customer_id is None:
        return
    members = tables.members.c
    row = session.scalars(
        select(AccountRow)
        .join(tables.members, members.account_id == tables.accounts.c.account_id)
        .where(members.program_id == program_id, members.customer_id == order.customer_id)
        .with_for_update(of=tables.accounts)
    ).one_or_none()
    if row is None:
        return
    account = account_of(row)
    books.put_accounts({account.account_id: account})
    books.put_primaries({(program_id, order.customer_id): account.account_id})
    reach = order_reach(message, _programs(), datetime.now(UTC))
    _load_tiers(session, books, account.account_id, reach.customers[program_id, order.customer_id], ())


def _load_for_refund(session: Session, books: Books, refund: Refund) -> None:
    """Load the refund's order with its refunds, and the account with its lots."""
    key = refund.source, refund.order_id
    orders, refunds, lots = tables.orders.c, tables.refunds.c, tables.lots.c
    posted = [
        posted_order(row)
        for row in session.scalars(
            select(OrderRow).where(orders.source == refund.source, orders.order_id == refund.order_id).with_for_update()
        )
    ]
    books.put_orders([key], posted)
    rows = session.scalars(
        select(RefundRow).where(refunds.source == refund.source, refunds.order_id == refund.order_id)
    )
    books.put_refunds([key], [], map(posted_refund, rows))
    for account_id in sorted({order.account_id for order in posted if order.account_id is not None}):
        books.put_accounts({account_id: account_of(session.get_one(AccountRow, account_id, with_for_update=True))})
        lots_of_account = session.scalars(select(LotRow).where(lots.account_id == account_id))
        books.put_lots(account_id, map(lot_of, lots_of_account), is_all_open=True)
        _load_tiers(session, books, account_id, lowering(_programs(), key, refund.occurred_at).account, posted)


def _load_tiers(
    session: Session, books: Books, account_id: UUID, wanted: AccountParts | None, posted: Sequence[PostedOrder]
) -> None:
    """Load what the account's tier follows from, which mostly is nothing, by our own statements."""
    assert wanted is not None
    load_tiers(session.connection(), books, {account_id: wanted}, _programs(), posted)


def _write(session: Session, decision: Decision, inbox_id: int, data: Mapping[str, Any]) -> None:
    for change in decision.changes:
        _write_account(session, change)
    for fact in decision.facts:
        match fact:
            case PostedOrder():
                session.add(order_row(fact, inbox_id, data))
            case PostedRefund():
                session.add(refund_row(fact, inbox_id))
    for posted in decision.orders:
        order: Any = session.get_one(OrderRow, (*posted.key, posted.program_id))
        order.points_entitled = posted.points_entitled
        order.points_excused = posted.points_excused
        order.points_shortfall = posted.points_shortfall
        order.qualifying_points, order.qualifying_spend, order.qualifying_orders = posted.qualifying
        steps = steps_json(posted.qualifying_steps)
        order.qualifying_steps = None if steps is None else json.loads(steps)
        order.is_counted = posted.is_counted


def _write_account(session: Session, change: AccountChange) -> None:
    account_id, shard = change.account.account_id, account_shard(change.account.account_id)
    values = change.account._asdict()
    if change.opened is not None:
        session.add(AccountRow(account_shard=shard, **values))
        session.add(MemberRow(**{name: values[name] for name in ("program_id", "customer_id", "account_id")}))
    else:
        row = session.get_one(AccountRow, account_id)
        for name, value in values.items():
            setattr(row, name, value)
    for entry in change.entries:
        values = entry._asdict()
        del values["allocations"]
        session.add(EntryRow(**{**values, "kind": entry.kind.value}))
        session.add_all(
            AllocationRow(
                account_id=account_id,
                sequence=entry.sequence,
                lot_number=part.lot_number,
                kind=part.kind.value,
                points=part.points,
            )
            for part in entry.allocations
        )
    opening = {entry.sequence for entry in change.entries}
    for lot in change.lots:
        if lot.opened_by_sequence in opening:
            session.add(lot_row(account_id, shard, lot))
        else:
            known: Any = session.get_one(LotRow, (account_id, lot.lot_number))
            known.points_remaining = lot.points_remaining
    for moved in change.tier_changes:
        session.add(TierChangeRow(**{**moved._asdict(), "reason": moved.reason.value}))


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
