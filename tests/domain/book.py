"""One account in memory: what the posting shell does with decisions, for tests that post a story without a database."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar, cast

from core.domain.expiry.due import decide_expiry, decide_release
from core.domain.expiry.reminders import Reminder, due_reminders
from core.domain.ledger import Account, Decision, Entry, EntryKind, PostedOrder, PostedRefund, TierChange, debit
from core.domain.lots import Lot, in_spending_order, take
from core.domain.orders.accrual import Known, decide_accrual
from core.domain.orders.clawback import decide_cancellation, decide_clawback
from core.domain.orders.facts import Cancellation, Fulfilment, Order, Refund
from core.domain.orders.fulfilment import decide_fulfilment
from core.domain.orders.limits import Budget, Usage
from core.domain.program import Program, UsageKey
from core.domain.tiers.qualification import (
    Counted,
    TierHistoryEntry,
    decide_tier_hold,
    decide_tier_review,
    review_due_at,
)
from tests.facts import AS_OF, account

#: A kind of entry that this release does not know: whatever else empties lots, so that refunds find them empty.
REDEMPTION = cast("EntryKind", "redemption")
Message = Order | Refund | Fulfilment | Cancellation
_M = TypeVar("_M", Refund, Cancellation)


@dataclass
class Book:
    """Everything that is written of one account. `program` is the version in force; replace it to apply another."""

    program: Program
    account: Account = field(default_factory=account)
    lots: dict[int, Lot] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    recorded_at: list[datetime] = field(default_factory=list)  #: as_of of each entry
    tier_changes: list[TierChange] = field(default_factory=list)
    orders: dict[str, PostedOrder] = field(default_factory=dict)
    refunds: dict[str, list[PostedRefund]] = field(default_factory=dict)
    cancellations: dict[str, Cancellation] = field(default_factory=dict)
    versions: list[Program] = field(default_factory=list)
    usages: dict[UsageKey, Usage] = field(default_factory=dict)
    budgets: dict[str, Budget] = field(default_factory=dict)  #: may be shared with other accounts' books
    reminders: dict[datetime, Reminder] = field(default_factory=dict)
    waiting: dict[str, list[Refund | Fulfilment | Cancellation]] = field(default_factory=dict)

    def deliver(self, message: Message, as_of: datetime, version: Program | None = None) -> None:
        """Take a message as it comes: a repeat changes nothing, what comes before its order waits for it."""
        if isinstance(message, Order):
            if message.order_id not in self.orders:
                self.complete(message, as_of, version)
                for waiting in self.waiting.pop(message.order_id, []):
                    self.deliver(waiting, as_of)
        elif message.order_id not in self.orders:
            self.waiting.setdefault(message.order_id, []).append(message)
        elif isinstance(message, Refund):
            known = [posted.refund.refund_id for posted in self.refunds.get(message.order_id, ())]
            if message.refund_id not in known:
                self.refund(message, as_of)
        elif isinstance(message, Fulfilment):
            if self.orders[message.order_id].fulfilled_at is None:
                self.fulfil(message, as_of)
        elif self.orders[message.order_id].cancelled_at is None:
            self.cancel(message, as_of)

    def complete(self, order: Order, as_of: datetime | None = None, version: Program | None = None) -> Decision:
        """Post an order under the program in force, or under an older `version` that was in force on its day."""
        self.versions.append(version or self.program)
        if self.account.enrolled_at is None:
            self.account = self.account._replace(enrolled_at=order.occurred_at)
        known = Known(self.history, self.counted, self.open_lots, self.usages, self.budgets)
        decision = decide_accrual(
            self.account,
            known,
            order,
            self.versions[-1],
            len(self.versions),
            self.program,
            as_of=as_of or AS_OF,
        )
        return self._keep(decision, as_of or order.occurred_at)

    def refund(self, refund: Refund, as_of: datetime | None = None) -> Decision:
        """Post a refund of a posted order."""
        as_of = as_of or refund.occurred_at
        decision = decide_clawback(
            self.account, self.lots, *self._of(refund.order_id, refund), as_of=as_of, history=self.history
        )
        return self._keep(decision, as_of)

    def cancel(self, cancellation: Cancellation, as_of: datetime | None = None) -> Decision:
        """Post the cancellation of a posted order."""
        as_of = as_of or cancellation.occurred_at
        self.cancellations[cancellation.order_id] = cancellation
        decision = decide_cancellation(
            self.account, self.lots, *self._of(cancellation.order_id, cancellation), as_of=as_of, history=self.history
        )
        return self._keep(decision, as_of)

    def fulfil(self, fulfilment: Fulfilment, as_of: datetime | None = None) -> Decision:
        """Post the fulfilment of a posted order."""
        as_of = as_of or fulfilment.occurred_at
        posted = self.orders[fulfilment.order_id]
        frozen = self.versions[posted.program_version - 1]
        return self._keep(decide_fulfilment(self.account, self.lots, posted, fulfilment, frozen, as_of), as_of)

    def expire(self, as_of: datetime) -> Decision:
        """Run the expiry job."""
        return self._keep(decide_expiry(self.account, self.lots.values(), as_of), as_of)

    def release(self, as_of: datetime) -> Decision:
        """Run the release job."""
        return self._keep(decide_release(self.account, self.lots.values(), as_of), as_of)

    def review(self, as_of: datetime) -> list[Decision]:
        """Run the review job: once for each period that has ended by `as_of`."""
        decisions = []
        while (due_at := review_due_at(self.account, self.program)) is not None and due_at <= as_of:
            decisions.append(self._keep(decide_tier_review(self.account, self.program, self.counted), as_of))
        return decisions

    def hold(self, tier_id: str, until: datetime, as_of: datetime) -> Decision:
        """Put the account into a tier by hand."""
        return self._keep(decide_tier_hold(self.account, self.program, tier_id, until, as_of), as_of)

    def remind(self, as_of: datetime) -> list[Reminder]:
        """Run the reminder job."""
        told = list(self.reminders.values())
        due = due_reminders(self.lots.values(), told, self.program.reminders.days_ahead, as_of)
        self.reminders |= {reminder.expires_at: reminder for reminder in due}
        return due

    def spend(self, points: int, as_of: datetime) -> None:
        """Take up to `points` from what can be spent."""
        spendable = in_spending_order(lot for lot in self.lots.values() if lot.is_spendable(as_of))
        changed, allocations, missing = take(spendable, points)
        if not changed:
            return
        after = debit(self.account, points - missing, uncovered=0)
        entry = Entry(
            account_id=after.account_id,
            sequence=after.sequence,
            kind=REDEMPTION,
            points=missing - points,
            balance_after=after.balance,
            lifetime_points_after=after.lifetime_points,
            deficit_change=0,
            occurred_at=as_of,
            allocations=tuple(allocations),
            source=None,
            order_id=None,
            refund_id=None,
            corrects_sequence=None,
            why={},
            pending_after=after.pending,
        )
        self._keep(Decision(account=after, entries=(entry,), lots=tuple(changed)), as_of)

    @property
    def history(self) -> list[TierHistoryEntry]:
        return [TierHistoryEntry(change.effective_at, change.tier_id) for change in self.tier_changes]

    @property
    def counted(self) -> list[Counted]:
        return [Counted(posted.order.occurred_at, posted.qualifying) for posted in self.orders.values()]

    @property
    def open_lots(self) -> list[Lot]:
        return [lot for lot in self.lots.values() if lot.points_remaining]

    def _of(self, order_id: str, message: _M) -> tuple[PostedOrder, list[Refund], _M, Program, Program]:
        """What is known of the order of a message."""
        posted = self.orders[order_id]
        known = [earlier.refund for earlier in self.refunds.get(order_id, ())]
        return posted, known, message, self.versions[posted.program_version - 1], self.program

    def _keep(self, decision: Decision, as_of: datetime) -> Decision:
        self.account = decision.account or self.account
        self.entries += decision.entries
        self.recorded_at += [as_of] * len(decision.entries)
        self.lots.update({lot.lot_number: lot for lot in decision.lots})
        self.tier_changes += decision.tier_changes
        if decision.order is not None:
            self.orders[decision.order.order.order_id] = decision.order
        if decision.refund is not None:
            self.refunds.setdefault(decision.refund.refund.order_id, []).append(decision.refund)
        for usage in decision.usages:
            key = UsageKey(usage.name, usage.period)
            had = self.usages.get(key, Usage())
            self.usages[key] = Usage(had.points + usage.points, had.orders + usage.orders, had.carried + usage.carried)
        for budget in decision.budgets:
            spent = self.budgets.get(budget.promotion_id, Budget())
            self.budgets[budget.promotion_id] = Budget(spent.points + budget.points, spent.orders + budget.orders)
        return decision
