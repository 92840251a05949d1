"""One account in memory: what the posting shell does with decisions, for tests that post a story without a database."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from core.domain.accrual import decide_accrual
from core.domain.clawback import decide_clawback
from core.domain.expiry import decide_expiry
from core.domain.ledger import Account, Decision, Entry, EntryKind, PostedOrder, PostedRefund, TierChange, debit
from core.domain.lots import Lot, in_spending_order, take
from core.domain.orders import Order, Refund
from core.domain.program import Program
from core.domain.tiers import TierHistoryEntry, decide_tier_review, period_ended
from tests.facts import AS_OF, account

#: A kind of entry that this release does not know: whatever else empties lots, so that refunds find them empty.
REDEMPTION = cast("EntryKind", "redemption")


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
    versions: list[Program] = field(default_factory=list)

    def complete(self, order: Order, as_of: datetime | None = None) -> Decision:
        """Post an order under the program in force."""
        self.versions.append(self.program)
        history = [TierHistoryEntry(change.effective_at, change.tier_id) for change in self.tier_changes]
        decision = decide_accrual(
            self.account, history, order, self.program, len(self.versions), self.program, as_of=AS_OF
        )
        return self._keep(decision, as_of or order.occurred_at)

    def refund(self, refund: Refund, as_of: datetime | None = None) -> Decision:
        """Post a refund of a posted order."""
        as_of = as_of or refund.occurred_at
        posted = self.orders[refund.order_id]
        known = [earlier.refund for earlier in self.refunds.get(refund.order_id, ())]
        frozen = self.versions[posted.program_version - 1]
        decision = decide_clawback(self.account, self.lots, posted, known, refund, frozen, self.program, as_of)
        return self._keep(decision, as_of)

    def expire(self, as_of: datetime) -> Decision:
        """Run the expiry job."""
        return self._keep(decide_expiry(self.account, self.lots.values(), as_of), as_of)

    def review(self, as_of: datetime) -> list[Decision]:
        """Run the review job: once for each period that has ended by `as_of`."""
        decisions = []
        while self.account.tier_until is not None and self.account.tier_until <= as_of:
            start, end = period_ended(self.account, self.program)
            assert end is not None
            points = sum(
                posted.points_entitled
                for posted in self.orders.values()
                if (start is None or start <= posted.order.occurred_at) and posted.order.occurred_at < end
            )
            decisions.append(self._keep(decide_tier_review(self.account, self.program, points), as_of))
        return decisions

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
        )
        self._keep(Decision(account=after, entries=(entry,), lots=tuple(changed)), as_of)

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
        return decision
