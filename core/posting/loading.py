"""Opening the books for a batch: everything that its messages touch, with a few set-based statements."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Account, PostedOrder
from core.domain.orders.facts import Refund
from core.domain.orders.limits import usage_keys
from core.domain.program import Program, RefundEffect, UsageKey
from core.domain.tiers.counting import counted_from
from core.domain.tiers.qualification import qualification_period
from core.messages.inbound.reading import StoredCancellation, StoredEvent, StoredFulfilment, StoredOrder, StoredRefund
from core.posting.books import Books, BudgetLimit
from core.store.ledger import (
    load_budgets,
    load_counted,
    load_lots,
    load_members,
    load_order_events,
    load_orders,
    load_refunds,
    load_tier_history,
    load_usages,
    lock_accounts,
    lock_budgets,
)
from core.store.programs import BEGINNING, ProgramRegistry


class _Subject(NamedTuple):
    """An order of the batch, or a posted one that a message of the batch is about; and whose it is."""

    occurred_at: datetime
    account_id: UUID | None  #: None: the account is opened by this batch, so nothing is there to load
    program: Program  #: the version that judges it
    is_new: bool


def open_books(
    connection: Connection,
    events: Sequence[StoredEvent],
    registry: ProgramRegistry,
    new_account_id: Callable[[], UUID],
    as_of: datetime,
    *,
    is_contended: bool,
) -> Books:
    """Load and lock the accounts, lots, orders, refunds and limits that `events` touch.

    Budgets, which all shards share, are read without a lock: when the books are written it shows whether they were
    enough. With `is_contended` they were not, and are locked first, so that this batch waits for the others.
    """
    books = Books(new_account_id)
    orders = [event for event in events if isinstance(event, StoredOrder)]
    refunds = [event.refund for event in events if isinstance(event, StoredRefund)]
    about = {key for event in events if (key := _changed_order(event)) is not None}
    keys = {(e.order.source, e.order.order_id) for e in orders} | about
    records = load_orders(connection, keys)
    books.put_orders(records)
    books.put_refunds(load_refunds(connection, _refund_keys(events, refunds)))
    books.put_order_events(load_order_events(connection, about))

    posted = [r.posted for r in records if (r.posted.order.source, r.posted.order.order_id) in about]
    customers = {key: event for event in orders if (key := _customer(event, registry)) is not None}
    members = load_members(connection, customers)
    account_ids = set(members.values()) | {p.account_id for p in posted if p.account_id is not None}
    accounts = lock_accounts(connection, account_ids)
    books.put_accounts(members, accounts)

    subjects = [*_new_subjects(orders, registry, members), *_posted_subjects(posted, registry)]
    debited = {p.account_id for p in posted if p.account_id is not None}
    debited |= {
        members[key]
        for event in orders
        if (event.order.source, event.order.order_id) in about
        and (key := _customer(event, registry)) is not None
        and key in members
    }
    active = _active_accounts(subjects, accounts, registry, as_of)
    books.put_lots(load_lots(connection, debited | active, _own_lots(posted)))
    books.put_history(load_tier_history(connection, _with_history(subjects, accounts, registry, as_of)))
    books.put_counted(load_counted(connection, _counted_since(subjects, accounts, registry, as_of)))
    limits = _budget_limits(subjects)
    budgets = (lock_budgets if is_contended else load_budgets)(connection, limits)
    books.put_limits(load_usages(connection, _usages(subjects)), budgets, limits)
    return books


def _changed_order(event: StoredEvent) -> tuple[str, str] | None:
    """The order that a refund, a fulfilment or a cancellation is about."""
    match event:
        case StoredRefund(refund):
            return refund.source, refund.order_id
        case StoredFulfilment(fulfilment):
            return fulfilment.source, fulfilment.order_id
        case StoredCancellation(cancellation):
            return cancellation.source, cancellation.order_id
        case _:
            return None


def _refund_keys(events: Sequence[StoredEvent], refunds: Sequence[Refund]) -> list[tuple[str, str, str]]:
    """(source, refund_id, order_id) of the batch's refunds; a cancellation asks for its order's refunds too."""
    keys = [(refund.source, refund.refund_id, refund.order_id) for refund in refunds]
    cancelled = [event.cancellation for event in events if isinstance(event, StoredCancellation)]
    return keys + [(cancellation.source, "", cancellation.order_id) for cancellation in cancelled]


def _customer(event: StoredOrder, registry: ProgramRegistry) -> tuple[str, str] | None:
    program_id = registry.resolve(event.program_id, event.order.source)
    if program_id is None or event.order.customer_id is None:
        return None
    return program_id, event.order.customer_id


def _new_subjects(
    orders: Sequence[StoredOrder], registry: ProgramRegistry, members: dict[tuple[str, str], UUID]
) -> Iterator[_Subject]:
    for event in orders:
        key = _customer(event, registry)
        if key is not None:
            program = registry.at(key[0], event.order.occurred_at).program
            yield _Subject(event.order.occurred_at, members.get(key), program, is_new=True)


def _posted_subjects(posted: Sequence[PostedOrder], registry: ProgramRegistry) -> Iterator[_Subject]:
    for each in posted:
        program = registry.version(each.program_id, each.program_version).program
        yield _Subject(each.order.occurred_at, each.account_id, program, is_new=False)


def _own_lots(posted: Sequence[PostedOrder]) -> set[tuple[UUID, int]]:
    """The accruals of these orders, whose lots clawbacks look at even when nothing is left in them."""
    return {(p.account_id, p.sequence) for p in posted if p.account_id is not None and p.sequence is not None}


def _usages(subjects: Sequence[_Subject]) -> set[tuple[UUID, UsageKey]]:
    return {
        (subject.account_id, key)
        for subject in subjects
        if subject.account_id is not None
        for key in usage_keys(subject.program, subject.occurred_at)
    }


def _budget_limits(subjects: Sequence[_Subject]) -> dict[tuple[str, str], BudgetLimit]:
    """The budgets that may pay for these orders, with the least limits of the versions that judge them."""
    found: dict[tuple[str, str], BudgetLimit] = {}
    for subject in subjects:
        if not subject.program.budgeted:
            continue
        for limit in subject.program.seasons.at(subject.occurred_at).promotion_limits:
            if limit.orders is not None or limit.budget_points is not None:
                key = subject.program.program_id, limit.name
                had = found.get(key, BudgetLimit(None, None))
                points, orders = _least(had.points, limit.budget_points), _least(had.orders, limit.orders)
                found[key] = BudgetLimit(points, orders)
    return found


def _least(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


def _active_accounts(
    subjects: Sequence[_Subject], accounts: dict[UUID, Account], registry: ProgramRegistry, as_of: datetime
) -> set[UUID]:
    """Accounts whose new orders move the end of their points, or pay off a deficit that overdue points may pay off."""
    found: set[UUID] = set()
    for subject in subjects:
        if subject.is_new and subject.account_id is not None:
            account = accounts[subject.account_id]
            is_owing = account.deficit > 0 and account.pending > 0
            if is_owing or registry.at(account.program_id, as_of).program.has_inactivity:
                found.add(subject.account_id)
    return found


def _with_history(
    subjects: Sequence[_Subject], accounts: dict[UUID, Account], registry: ProgramRegistry, as_of: datetime
) -> set[UUID]:
    """Accounts that have changed their tier and have new orders, or refunds that may cost it.

    An account that moves within this batch is covered too: it had a history before, or it had none to load.
    """
    found: set[UUID] = set()
    for subject in subjects:
        if subject.account_id is not None and accounts[subject.account_id].tier_changes:
            current = registry.at(accounts[subject.account_id].program_id, as_of).program
            if subject.is_new or current.qualification.refunds is RefundEffect.AT_ONCE:
                found.add(subject.account_id)
    return found


def _new_orders(subjects: Sequence[_Subject]) -> dict[UUID, list[datetime]]:
    """When the new orders of each account occurred."""
    instants: dict[UUID, list[datetime]] = defaultdict(list)
    for subject in subjects:
        if subject.account_id is not None and subject.is_new:
            instants[subject.account_id].append(subject.occurred_at)
    return instants


def _counted_since(
    subjects: Sequence[_Subject], accounts: dict[UUID, Account], registry: ProgramRegistry, as_of: datetime
) -> dict[UUID, datetime]:
    """Accounts whose recorded orders are needed for the tier, and from when on: seldom any."""
    since: dict[UUID, list[datetime]] = defaultdict(list)
    for subject in subjects:
        if subject.account_id is None or not subject.is_new:
            continue
        account = accounts[subject.account_id]
        start = counted_from(account, subject.occurred_at, registry.at(account.program_id, as_of).program)
        if start is not None:
            since[subject.account_id].append(start)
    for account_id, instants in _new_orders(subjects).items():
        # A period that an order of this batch is in may end, and be reviewed, before a later one of it.
        current = registry.at(accounts[account_id].program_id, as_of).program
        period = qualification_period(current, min(instants), accounts[account_id].enrolled_at)
        if period.end is not None and max(instants) >= period.end:
            since[account_id].append(period.start or BEGINNING)
    return {account_id: min(instants) for account_id, instants in since.items()}
