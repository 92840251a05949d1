"""The books of one batch: what was loaded, changed in memory by each decision, and then written in one go.

Later messages of a batch see what earlier ones changed, exactly as if each had been posted alone.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection
from uuid6 import uuid7

from core.domain.ledger import Account, Decision, Entry, PostedOrder, TierChange
from core.domain.lots import Lot
from core.domain.orders.accrual import Known
from core.domain.orders.limits import Budget, Usage
from core.domain.program import UsageKey
from core.domain.tiers.qualification import Counted, TierHistoryEntry
from core.store.appending import (
    NewOrder,
    NewOrderEvent,
    NewRefund,
    OutboxEvent,
    append_accounts,
    append_allocations,
    append_entries,
    append_lots,
    append_order_events,
    append_orders,
    append_refunds,
    append_tier_changes,
    update_accounts,
    update_budgets,
    update_lots,
    update_orders,
    write_usages,
)
from core.store.frozen import why_json
from core.store.ledger import OrderEventRecord, OrderRecord, RefundRecord, lock_budgets


class BudgetLimit(NamedTuple):
    """What all customers' orders may have of a promotion; None without a limit."""

    points: int | None
    orders: int | None


class BudgetRaceError(Exception):
    """Other batches have meanwhile taken what this one promised of a budget; it has to be done again."""


class Books:
    """Accounts, lots, orders and refunds of one batch, and the rows that it will add."""

    def __init__(self, new_account_id: Callable[[], UUID] = uuid7) -> None:
        """Start empty; `new_account_id` draws ids for accounts that the batch opens."""
        self._new_account_id = new_account_id
        self._accounts: dict[UUID, Account] = {}
        self._members: dict[tuple[str, str], UUID] = {}
        self._opened: set[UUID] = set()
        self._changed: set[UUID] = set()
        self._lots: dict[UUID, dict[int, Lot]] = defaultdict(dict)
        self._lots_changed: dict[tuple[UUID, int], None] = {}
        self._orders: dict[tuple[str, str], dict[str, OrderRecord]] = defaultdict(dict)
        self._orders_changed: dict[tuple[str, str, str], None] = {}
        self._refunds: dict[tuple[str, str, str], list[RefundRecord]] = defaultdict(list)
        self._refunds_by_id: dict[tuple[str, str, str], RefundRecord] = {}
        self._history: dict[UUID, list[TierHistoryEntry]] = {}
        self._counted: dict[UUID, list[Counted]] = {}
        self._usages: dict[UUID, dict[UsageKey, Usage]] = defaultdict(dict)
        self._usages_changed: dict[tuple[UUID, UsageKey], None] = {}
        self._budgets: dict[str, dict[str, Budget]] = defaultdict(dict)
        self._budgets_read: dict[str, dict[str, Budget]] = {}
        self._budget_limits: Mapping[tuple[str, str], BudgetLimit] = {}
        self._budgets_changed: dict[tuple[str, str], None] = {}
        self._order_events: dict[tuple[str, str, str, str], bytes] = {}
        self._new_order_events: list[NewOrderEvent] = []
        self._entries: list[Entry] = []  # without their calculations
        self._whys: list[str] = []
        self._tier_changes: list[TierChange] = []
        self._new_orders: dict[tuple[str, str, str], NewOrder] = {}
        self._new_refunds: list[NewRefund] = []
        self.events: list[OutboxEvent] = []

    def put_accounts(self, members: dict[tuple[str, str], UUID], accounts: dict[UUID, Account]) -> None:
        """Take in locked accounts and the customers that lead to them."""
        self._members.update(members)
        self._accounts.update(accounts)

    def put_lots(self, lots: dict[UUID, dict[int, Lot]]) -> None:
        """Take in the lots of accounts that may be debited."""
        self._lots.update(lots)

    def put_orders(self, records: Iterable[OrderRecord]) -> None:
        """Take in posted orders."""
        for record in records:
            order = record.posted.order
            self._orders[order.source, order.order_id][record.posted.program_id] = record

    def put_refunds(self, records: Iterable[RefundRecord]) -> None:
        """Take in posted refunds."""
        for record in records:
            self._keep_refund(record)

    def put_history(self, history: dict[UUID, list[TierHistoryEntry]]) -> None:
        """Take in tier changes."""
        self._history.update(history)

    def put_counted(self, counted: dict[UUID, list[Counted]]) -> None:
        """Take in what recorded orders count for the tier, of accounts where that is needed."""
        self._counted.update(counted)

    def put_limits(
        self,
        usages: dict[UUID, dict[UsageKey, Usage]],
        budgets: dict[str, dict[str, Budget]],
        limits: Mapping[tuple[str, str], BudgetLimit],
    ) -> None:
        """Take in what has been had of rules and promotions; `limits` are those of the budgets."""
        self._usages.update(usages)
        self._budgets.update({program_id: dict(found) for program_id, found in budgets.items()})
        self._budgets_read, self._budget_limits = budgets, limits

    def put_order_events(self, records: Iterable[OrderEventRecord]) -> None:
        """Take in posted fulfilments and cancellations."""
        for *key, business_hash in records:
            self._order_events[tuple(key)] = business_hash  # type: ignore[index]  # the first four fields

    def _keep_refund(self, record: RefundRecord) -> None:
        refund = record.refund
        self._refunds[refund.source, refund.order_id, record.program_id].append(record)
        self._refunds_by_id[refund.source, refund.refund_id, record.program_id] = record

    def account_of(
        self, program_id: str, customer_id: str, first_tier_id: str, enrolled_at: datetime
    ) -> tuple[Account, bool]:
        """The customer's account; opened in memory if there is none yet (second value: True)."""
        account_id = self._members.get((program_id, customer_id))
        if account_id is not None:
            return self._accounts[account_id], False
        opened = Account(self._new_account_id(), program_id, customer_id, first_tier_id, enrolled_at=enrolled_at)
        return opened, True

    def account(self, account_id: UUID | None) -> Account | None:
        """An account by its id; None for a guest's order."""
        return None if account_id is None else self._accounts[account_id]

    def open_account(self, account: Account) -> None:
        """Keep an account that `account_of` opened."""
        self._members[account.program_id, account.customer_id] = account.account_id
        self._accounts[account.account_id] = account
        self._opened.add(account.account_id)
        self._counted[account.account_id] = []

    def lots(self, account_id: UUID) -> dict[int, Lot]:
        """The account's lots that have points left, and those of refunded orders."""
        return self._lots[account_id]

    def history(self, account_id: UUID) -> list[TierHistoryEntry]:
        """The account's tier changes, oldest first, those of this batch included."""
        return self._history.setdefault(account_id, [])

    def known(self, account: Account) -> Known:
        """What an order of the account is judged by, as far as it was taken in."""
        account_id = account.account_id
        return Known(
            history=self._history.get(account_id, ()),
            counted=self._counted.get(account_id, ()),
            lots=tuple(self._lots.get(account_id, {}).values()),
            usages=self._usages.get(account_id, {}),
            budgets=self._budgets.get(account.program_id, {}),
        )

    def order_event_hash(self, key: tuple[str, str], program_id: str, kind: str) -> bytes | None:
        """The business hash of the order's posted fulfilment or cancellation."""
        return self._order_events.get((*key, program_id, kind))

    def orders(self, source: str, order_id: str) -> dict[str, OrderRecord]:
        """What is posted of this order, by program."""
        return self._orders.get((source, order_id), {})

    def refund_by_id(self, source: str, refund_id: str, program_id: str) -> RefundRecord | None:
        """The posted refund of this id."""
        return self._refunds_by_id.get((source, refund_id, program_id))

    def refunds_of(self, posted: PostedOrder) -> list[RefundRecord]:
        """The posted refunds of this order."""
        return self._refunds.get((posted.order.source, posted.order.order_id, posted.program_id), [])

    def record_order(self, new: NewOrder) -> None:
        """Keep an order that is posted for the first time."""
        order = new.posted.order
        self._new_orders[order.source, order.order_id, new.posted.program_id] = new
        self._orders[order.source, order.order_id][new.posted.program_id] = OrderRecord(new.posted, new.business_hash)

    def record_refund(self, new: NewRefund) -> None:
        """Keep a refund that is posted for the first time."""
        self._new_refunds.append(new)
        self._keep_refund(RefundRecord(new.program_id, new.posted.refund, new.business_hash))

    def record_order_event(self, new: NewOrderEvent) -> None:
        """Keep a fulfilment or cancellation that is posted for the first time."""
        self._new_order_events.append(new)
        self._order_events[new.source, new.order_id, new.program_id, new.kind] = new.business_hash

    def apply(self, decision: Decision) -> None:
        """Change the books as decided."""
        if decision.account is not None:
            account_id = decision.account.account_id
            self._accounts[account_id] = decision.account
            self._changed.add(account_id)
            for lot in decision.lots:
                self._lots[account_id][lot.lot_number] = lot
                self._lots_changed[account_id, lot.lot_number] = None
            for change in decision.tier_changes:
                self.history(account_id).append(TierHistoryEntry(change.effective_at, change.tier_id))
        for entry in decision.entries:
            # A text from now on: a batch's calculations, as they are worked out, take more memory than caches hold.
            self._whys.append(why_json(entry.why))
            self._entries.append(entry._replace(why={}))
        self._tier_changes += decision.tier_changes
        posted = decision.order
        if posted is not None:
            key = (posted.order.source, posted.order.order_id, posted.program_id)
            known = self._orders.get(key[:2], {}).get(posted.program_id)
            if known is not None:
                self._orders[key[:2]][posted.program_id] = known._replace(posted=posted)
                self._orders_changed[key] = None
            self._recount(posted, known)
        self._apply_limits(decision)

    def _recount(self, posted: PostedOrder, known: OrderRecord | None) -> None:
        """Keep what the account's recorded orders count for the tier in step."""
        counted = self._counted.get(posted.account_id) if posted.account_id is not None else None
        if counted is None:
            return
        is_new = known is None or known.posted is posted
        if is_new:
            counted.append(Counted(posted.order.occurred_at, posted.qualifying))
        elif known is not None and known.posted.qualifying != posted.qualifying:
            before = Counted(posted.order.occurred_at, known.posted.qualifying)
            if before in counted:  # or the order is from before what was taken in
                counted.remove(before)
                counted.append(Counted(posted.order.occurred_at, posted.qualifying))

    def _apply_limits(self, decision: Decision) -> None:
        for change in decision.usages:
            key = UsageKey(change.name, change.period)
            had = self._usages[change.account_id].get(key, Usage())
            self._usages[change.account_id][key] = Usage(
                had.points + change.points, had.orders + change.orders, had.carried + change.carried
            )
            self._usages_changed[change.account_id, key] = None
        for spent in decision.budgets:
            budgets = self._budgets[spent.program_id]
            budget = budgets.get(spent.promotion_id, Budget())
            budgets[spent.promotion_id] = Budget(budget.points + spent.points, budget.orders + spent.orders)
            self._budgets_changed[spent.program_id, spent.promotion_id] = None

    def write(self, connection: Connection, chain_key: bytes | None = None) -> None:
        """Write what changed, but the events; with `chain_key` entries carry their accounts' hash chains on.

        Parents before children, since foreign keys are checked at once.
        """
        # In one order everywhere: two shards that open the same accounts wait for each other, and must not in a circle.
        opened = sorted((self._accounts[account_id] for account_id in self._opened), key=lambda account: account[1:3])
        append_accounts(connection, opened)
        update_accounts(connection, [self._accounts[account_id] for account_id in self._changed - self._opened])
        self._write_orders(connection)
        append_entries(connection, self._entries, self._whys, chain_key)
        self._write_lots(connection)
        append_allocations(connection, self._entries)
        append_tier_changes(connection, self._tier_changes)
        append_refunds(connection, self._new_refunds)
        append_order_events(connection, self._new_order_events)
        write_usages(connection, [(of, key, self._usages[of][key]) for of, key in self._usages_changed])
        self._write_budgets(connection)

    def _write_budgets(self, connection: Connection) -> None:
        """Add what this batch took of budgets, late, since others wait from here to the commit; BudgetRaceError."""
        now = lock_budgets(connection, self._budgets_changed)
        written: list[tuple[str, str, Budget]] = []
        for program_id, name in self._budgets_changed:
            read = self._budgets_read.get(program_id, {}).get(name, Budget())
            taken, current = self._budgets[program_id][name], now[program_id][name]
            total = Budget(current.points + taken.points - read.points, current.orders + taken.orders - read.orders)
            limit = self._budget_limits[program_id, name]
            if current != read and (
                _goes_beyond(total.points, current.points, limit.points)
                or _goes_beyond(total.orders, current.orders, limit.orders)
            ):
                raise BudgetRaceError
            written.append((program_id, name, total))
        update_budgets(connection, written)

    def _write_orders(self, connection: Connection) -> None:
        def current(key: tuple[str, str, str]) -> PostedOrder:
            return self._orders[key[0], key[1]][key[2]].posted

        append_orders(connection, [new._replace(posted=current(key)) for key, new in self._new_orders.items()])
        update_orders(connection, [current(key) for key in self._orders_changed if key not in self._new_orders])

    def _write_lots(self, connection: Connection) -> None:
        opening = {(entry.account_id, entry.sequence) for entry in self._entries}
        changed = [(account_id, self._lots[account_id][number]) for account_id, number in self._lots_changed]
        new = [(account_id, lot) for account_id, lot in changed if (account_id, lot.opened_by_sequence) in opening]
        append_lots(connection, new)
        update_lots(connection, [pair for pair in changed if (pair[0], pair[1].opened_by_sequence) not in opening])

    def account_shards(self) -> Collection[int]:
        """The relay shards that have new events."""
        return {event.account_shard for event in self.events}


def _goes_beyond(total: int, before: int, most: int | None) -> bool:
    return most is not None and before < total and total > most
