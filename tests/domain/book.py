"""One account in memory, on the books that posting uses: for tests that post a story without a database."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import count
from typing import Any
from uuid import UUID

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision, TierChange
from core.domain.expiry.due import decide_expiry, decide_release
from core.domain.expiry.reminders import Reminder, due_reminders
from core.domain.ledger import Account, Entry, EntryKind, debit, entry_between
from core.domain.lots import Lot, in_spending_order, take
from core.domain.merges import LotMove, PostedMerge
from core.domain.message import Message
from core.domain.orders.accrual import decide_order, order_reach
from core.domain.orders.amending import amendment_reach, decide_amendment
from core.domain.orders.claiming import claim_reach, decide_claim
from core.domain.orders.clawback import cancellation_reach, decide_cancellation, decide_refund, refund_reach
from core.domain.orders.facts import (
    AmendedOrder,
    Cancellation,
    Fulfilment,
    Order,
    OrderClaim,
    Refund,
    RefundReversion,
    Return,
)
from core.domain.orders.fulfilment import decide_fulfilment, fulfilment_reach
from core.domain.orders.posted import Budget, OrderEventKind, PostedOrder, PostedOrderEvent, PostedRefund, Usage
from core.domain.orders.returning import decide_return, return_reach
from core.domain.orders.reverting import decide_reversion, reversion_reach
from core.domain.outcomes import Parked, Reason, Rejected, Replayed, Waiting
from core.domain.program import Program, UsageKey
from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from core.domain.reach import ReferenceKey
from core.domain.tiers.history import CountedOrder, TierHistoryEntry
from core.domain.tiers.qualification import decide_tier_hold, decide_tier_review, review_due_at
from core.domain.value.authorizations import REWARD, Authorization, AuthorizationState
from core.domain.value.authorizing import decide_deadline
from core.domain.value.commands import PostedCommand
from core.posting.handlers import HANDLERS
from tests.facts import ACCOUNT_ID, AS_OF, SOURCE, account

ShopFact = Order | Refund | Fulfilment | Cancellation | AmendedOrder | RefundReversion | OrderClaim | Return
Outcome = Decision | Replayed | Waiting | Parked
Told = tuple[
    str, dict[str, str | int | datetime]
]  #: of a command: "accepted" or why it is rejected, and what its answer tells
#: What each fact needs of the books, and what decides it: all with one signature.
DECIDERS: dict[type, tuple[Callable[..., Any], Callable[..., Outcome]]] = {
    Order: (order_reach, decide_order),
    Refund: (refund_reach, decide_refund),
    Fulfilment: (fulfilment_reach, decide_fulfilment),
    Cancellation: (cancellation_reach, decide_cancellation),
    AmendedOrder: (amendment_reach, decide_amendment),
    RefundReversion: (reversion_reach, decide_reversion),
    OrderClaim: (claim_reach, decide_claim),
    Return: (return_reach, decide_return),
}
#: Of rewards: those that count for their customer.
_COUNTED = {AuthorizationState.OPEN, AuthorizationState.CAPTURED}
#: Facts behind which parked ones of the same order are judged anew.
MENDS = {AmendedOrder: HANDLERS["order.amended"].mends, RefundReversion: HANDLERS["order.refund_reverted"].mends}


def message_of(fact: ShopFact, program_id: str | None = None) -> Message[Any]:
    """The message that reports this fact; the same fact again has the same digest."""
    return Message(fact, program_id, repr(fact).encode())


def expiring_points(lots: Iterable[Lot], as_of: datetime) -> Counter[datetime]:
    """How many available points of these lots expire when, after `as_of`."""
    points: Counter[datetime] = Counter()
    for lot in lots:
        if lot.expires_at is not None and not lot.is_due(as_of) and not lot.is_pending:
            points[lot.expires_at] += lot.points_remaining
    return points


def whole_books() -> Books:
    """Empty books that nothing is missing in."""
    numbers = count(ACCOUNT_ID.int)
    return Books(lambda: UUID(int=next(numbers)), are_whole=True)


class Book:
    """Everything that is written of one account. `program` is the version in force; replace it to apply another."""

    def __init__(
        self,
        program: Program,
        account: Account | None = None,
        *,
        customer_id: str = "c1",
        books: Books | None = None,
        beside: "Book | None" = None,
    ) -> None:
        """The first order opens the account, unless one is given.

        `books` may be shared with other customers. `beside` is the book of another customer, with whom it shares these
        and the program, and orders may move from one to the other; or one of another program.
        """
        is_of_same = beside is not None and beside.program.program_id == program.program_id
        self.program = program
        self.customer_id = customer_id
        self.books = books or (beside.books if beside is not None else whole_books())
        self.family: list[Book] = [] if beside is None else beside.family
        self.family.append(self)
        self.entries: list[Entry] = []
        self.recorded_at: list[datetime] = []  #: as_of of each entry
        self.tier_changes: list[TierChange] = []
        self.merges: list[PostedMerge] = []
        self.lot_moves: list[LotMove] = []
        #: Version n at place n - 1.
        self.versions: list[Program] = beside.versions if beside is not None and is_of_same else []
        self.in_force_from: list[datetime] = beside.in_force_from if beside is not None and is_of_same else []
        self.reminders: dict[datetime, Reminder] = {}
        self.waiting: dict[str, list[ShopFact]] = {}
        self.parked: list[tuple[ShopFact, Reason]] = []  #: until an amendment puts them right
        self.answers: dict[str, Told] = {}  #: of commands, by their ids
        self._order_ids: dict[str, None] = {}
        self._lots_changed: set[int] = set()  #: their numbers
        self._authorizations: dict[ReferenceKey, None] = {}
        self._usage_keys: dict[UsageKey, None] = {}
        self._promotion_ids: dict[str, None] = {}
        if account is not None:
            self.account = account

    def deliver(self, fact: ShopFact, as_of: datetime, version: Program | None = None) -> None:
        """Take a fact as it comes: a repeat changes nothing, what comes before its order waits for it."""
        match self.decide(fact, as_of, version):
            case Decision() as decision:
                self._keep(decision, as_of)
                for waiting in self.waiting.pop(fact.order_id, []) if isinstance(fact, Order) else ():
                    self.deliver(waiting, as_of)
                self._judge_parked_anew(fact, as_of)
            case Waiting(order_id):
                self.waiting.setdefault(order_id, []).append(fact)
            case Parked(reason) if reason in MENDS[AmendedOrder]:
                self.parked.append((fact, reason))
            case Parked(reason):
                # A second fulfilment or cancellation: the first one stands. Or a claim for who has left.
                assert reason in {Reason.ORDER_CONFLICT, Reason.ACCOUNT_CLOSED}

    def _judge_parked_anew(self, behind: ShopFact, as_of: datetime) -> None:
        mends, parked = MENDS.get(type(behind), frozenset()), self.parked
        is_mended = [fact.order_id == behind.order_id and reason in mends for fact, reason in parked if mends]
        if any(is_mended):
            self.parked = [each for each, mended in zip(parked, is_mended, strict=True) if not mended]
            for (fact, _), mended in zip(parked, is_mended, strict=True):
                if mended:
                    self.deliver(fact, as_of)

    def command(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, as_of: datetime) -> Told:
        """Post a command; what its sender is told, which is as its first answer where it comes again."""
        handler = HANDLERS[f"loyalty.command.{verb}"]
        digest = repr((verb, data, at)).encode()
        # Which of them have rewards posting looks up in the table of authorizations.
        rewards = [each for each in self.books.authorizations() if each.kind == REWARD and each.state in _COUNTED]
        self.books.merged.rewarded = {each.account_id for each in rewards}
        fact = handler.contract.fact(SOURCE, at, data)
        message = Message(fact, data.get("program_id"), digest, command_id)
        outcome = handler.decide(self.books, message, self.rules(as_of), as_of)
        if isinstance(outcome, Replayed):
            return self.answers[command_id]
        told: Told = (outcome.code.value, {}) if isinstance(outcome, Rejected) else ("accepted", {})
        if isinstance(outcome, Decision):
            assert outcome.answer is not None
            assert not outcome.changes or outcome.answer.account in [each.account for each in outcome.changes]
            told = "accepted", self._told(outcome.answer.told)
            self._keep(outcome, as_of)
        if command_id not in self.answers:
            posted = PostedCommand(SOURCE, command_id, handler.contract.type, digest)
            self.books.put_commands([posted.key], [posted])
            self.answers[command_id] = told
        return told

    def _told(self, told: Mapping[str, str | int | datetime]) -> dict[str, str | int | datetime]:
        """What an answer tells, with the customer in the place of the id of a merged account, which is drawn."""
        found = {name: value for name, value in told.items() if name != "to_account_id"}
        if "merged_account_id" in found:
            found["merged_account_id"] = self.books.accounts[UUID(str(found["merged_account_id"]))].customer_id
        return found

    def complete(self, order: Order, as_of: datetime | None = None, version: Program | None = None) -> AccountChange:
        """Post an order under the program in force, or under an older `version` that was in force on its day."""
        return self._keep(self.decide(order, as_of or AS_OF, version), as_of or order.occurred_at)

    def refund(self, refund: Refund, as_of: datetime | None = None) -> AccountChange:
        """Post a refund of a posted order."""
        return self._post(refund, as_of or refund.occurred_at)

    def cancel(self, cancellation: Cancellation, as_of: datetime | None = None) -> AccountChange:
        """Post the cancellation of a posted order."""
        return self._post(cancellation, as_of or cancellation.occurred_at)

    def fulfil(self, fulfilment: Fulfilment, as_of: datetime | None = None) -> AccountChange:
        """Post the fulfilment of a posted order."""
        return self._post(fulfilment, as_of or fulfilment.occurred_at)

    def amend(self, amended: AmendedOrder, as_of: datetime | None = None) -> AccountChange:
        """Post the amendment of a posted order."""
        return self._post(amended, as_of or amended.occurred_at)

    def revert(self, reversion: RefundReversion, as_of: datetime | None = None) -> AccountChange:
        """Post that a posted refund did not happen after all."""
        return self._post(reversion, as_of or reversion.occurred_at)

    def expire(self, as_of: datetime) -> AccountChange:
        """Run the expiry job, to its end; what its last step did."""
        change = AccountChange(self.account)
        while (decision := decide_expiry(self.account, self.open_lots, as_of)).changes:
            change = self._keep(decision, as_of)
        return change

    def release(self, as_of: datetime) -> AccountChange:
        """Run the release job."""
        return self._keep(decide_release(self.account, self.open_lots, as_of), as_of)

    def void_due(self, as_of: datetime) -> None:
        """Run the job that lets come back what authorizations hold past their deadlines."""
        due = [each for each in self.authorizations if each.state is AuthorizationState.OPEN]
        for each in sorted(due, key=lambda each: (each.expires_at or as_of, each.sequence)):
            if each.expires_at is not None and each.expires_at <= as_of:
                self._keep(decide_deadline(self.books, each, self.rules(as_of), as_of), as_of)

    def review(self, as_of: datetime) -> list[AccountChange]:
        """Run the review job: once for each period that has ended by `as_of`."""
        changes = []
        program_at = self.rules(as_of).in_force(self.program.program_id)
        while (until := self.account.tier_until) is not None:
            due_at = review_due_at(self.account, program_at(until))
            if due_at is None or due_at > as_of:
                break
            changes.append(self._keep(decide_tier_review(self.account, program_at, lambda _: self.counted), as_of))
        return changes

    def hold(self, tier_id: str, until: datetime, as_of: datetime) -> AccountChange:
        """Put the account into a tier by hand."""
        self.account = self.account  # it may hold before the first order
        return self._keep(decide_tier_hold(self.account, self.program, tier_id, until, as_of, self.counted), as_of)

    def remind(self, as_of: datetime) -> list[Reminder]:
        """Run the reminder job."""
        sent = list(self.reminders.values())
        due = due_reminders(expiring_points(self.open_lots, as_of), sent, self.program.reminders.days_ahead, as_of)
        self.reminders |= {reminder.expires_at: reminder for reminder in due}
        return due

    def spend(self, points: int, as_of: datetime) -> None:
        """Take up to `points` from what can be spent."""
        spendable = in_spending_order(lot for lot in self.open_lots if lot.is_spendable(as_of))
        changed, allocations, missing = take(spendable, points)
        if changed:
            after = debit(self.account, points - missing, uncovered=0)
            entry = entry_between(self.account, after, EntryKind.REDEMPTION, as_of, allocations, {})
            self._keep(Decision((AccountChange(after, (entry,), tuple(changed)),)), as_of)

    def decide(self, fact: ShopFact, as_of: datetime, version: Program | None = None) -> Outcome:
        """What the decider for this fact says."""
        _, decide = DECIDERS[type(fact)]
        since = min(as_of, fact.occurred_at) if version is None else as_of
        return decide(self.books, message_of(fact), self.rules(since, version), as_of)

    def apply(self, program: Program, since: datetime) -> None:
        """Put another version in force from `since` on; the same one again changes nothing."""
        self.rules(since)
        self.program = program
        self.rules(since)

    def rules(self, instant: datetime, version: Program | None = None) -> ProgramRegistry:
        """All versions that were used, each from when it was first asked for; of a new one that is `instant`.

        `version` was in force before the first one that was used.
        """
        for program in (version, self.program):
            if program is not None and program not in self.versions:
                self.in_force_from.append(instant if self.versions else BEGINNING)
                self.versions.append(program)
        of_programs = {each.program.program_id: each for each in reversed(self.family)}
        for other in of_programs.values():
            if not other.versions:
                other.versions.append(other.program)
                other.in_force_from.append(BEGINNING)
        return ProgramRegistry(
            [
                ProgramVersion(program.program_id, number, since, program)
                for each in of_programs.values()
                for number, (program, since) in enumerate(zip(each.versions, each.in_force_from, strict=True), start=1)
            ],
            0,
        )

    @property
    def account(self) -> Account:
        """The account; before the first order, one that nothing has happened to."""
        found = self.books.account_itself((self.program.program_id, self.customer_id))
        unlike_others = {"account_id": UUID(int=1)} if len(self.family) > 1 else {}
        return found or account(customer_id=self.customer_id, **unlike_others)

    @account.setter
    def account(self, account: Account) -> None:
        self.books.put_primaries({(account.program_id, account.customer_id): account.account_id})
        self.books.put_accounts({account.account_id: account})

    @property
    def lots(self) -> dict[int, Lot]:
        """All lots by their numbers."""
        of_orders = [self.books.lots_of_order(self.account, (SOURCE, order_id)) for order_id in self._order_ids]
        changed = [self.books.lot(self.account, number) for number in self._lots_changed]
        lots = {lot.lot_number: lot for some in (self.open_lots, *of_orders, changed) for lot in some}
        return dict(sorted(lots.items()))

    @property
    def authorizations(self) -> list[Authorization]:
        """All that the account ever had, in the order in which they were made."""
        return [self.books.authorization(key) for key in self._authorizations]

    @property
    def open_lots(self) -> list[Lot]:
        return list(self.books.open_lots(self.account))

    @property
    def history(self) -> list[TierHistoryEntry]:
        return list(self.books.history(self.account))

    @property
    def counted(self) -> list[CountedOrder]:
        return list(self.books.counted(self.account, BEGINNING))

    @property
    def orders(self) -> dict[str, PostedOrder]:
        """The posted orders by their ids, in the sequence in which they were posted; none of another customer."""
        return {order_id: posted for order_id, posted in self.orders_ever.items() if self._keeps(posted)}

    @property
    def orders_ever(self) -> dict[str, PostedOrder]:
        """The same with those that have left the customer."""
        program_id = self.program.program_id
        return {order_id: self.books.orders((SOURCE, order_id))[program_id] for order_id in self._order_ids}

    def _keeps(self, posted: PostedOrder) -> bool:
        return len(self.family) == 1 or self.is_of(posted.account_id)

    @property
    def refunds(self) -> dict[str, list[PostedRefund]]:
        """The posted refunds by their orders' ids."""
        return {order_id: self.books.refunds_of(posted) for order_id, posted in self.orders.items()}

    @property
    def cancellations(self) -> dict[str, PostedOrderEvent]:
        """The posted cancellations by their orders' ids."""
        kind = OrderEventKind.CANCELLED
        found = {order_id: self.books.order_event(posted, kind) for order_id, posted in self.orders.items()}
        return {order_id: event for order_id, event in found.items() if event is not None}

    def events(self, order_id: str) -> list[PostedOrderEvent]:
        """All that is posted of what happened to an order."""
        return self.books.order_events_of(self.orders[order_id])

    @property
    def usages(self) -> dict[UsageKey, Usage]:
        """What is counted of the account's use of limits."""
        return self.books.usages(self.account, self._usage_keys)

    @property
    def budgets(self) -> dict[str, Budget]:
        """What is counted of the budgets that its orders used."""
        return self.books.budgets(self.program.program_id, self._promotion_ids)

    def put_orders(self, posted: Iterable[PostedOrder]) -> None:
        """Begin with these orders."""
        for each in posted:
            self.books.put_orders([each.key], [each])
            self._order_ids[each.order.order_id] = None

    def _post(self, fact: ShopFact, as_of: datetime) -> AccountChange:
        return self._keep(self.decide(fact, as_of), as_of)

    def _keep(self, decision: Outcome, as_of: datetime) -> AccountChange:
        """Apply the decision; returns what it does to the account."""
        assert isinstance(decision, Decision), decision
        self.books.apply(decision)
        (change,) = [
            change for change in decision.changes if len(self.family) == 1 or self.is_of(change.account.account_id)
        ] or [AccountChange(self.account)]
        assert change.account == self.account
        for book in self.family if len(self.family) > 1 else [self]:
            book.note(decision, as_of)
        return change

    def note(self, decision: Decision, as_of: datetime) -> None:
        """Keep what of this was done to the account."""
        for change in decision.changes:
            if len(self.family) == 1 or self.is_of(change.account.account_id):
                self.entries += change.entries
                self.recorded_at += [as_of] * len(change.entries)
                self.tier_changes += change.tier_changes
                self.merges += [] if change.merge is None else [change.merge]
                self.lot_moves += change.lot_moves
                self._lots_changed |= {lot.lot_number for lot in change.lots}
                self._usage_keys |= {UsageKey(usage.name, usage.period): None for usage in change.usages}
        orders = [*(fact for fact in decision.facts if isinstance(fact, PostedOrder)), *decision.orders]
        self._order_ids |= {posted.order.order_id: None for posted in orders if self._keeps(posted)}
        made = [fact for fact in decision.facts if isinstance(fact, Authorization)]
        self._authorizations |= {each.key: None for each in made if self.is_of(each.account_id)}
        self._promotion_ids |= {budget.name: None for budget in decision.budgets}

    def is_of(self, account_id: UUID | None) -> bool:
        """Whether the account is this customer's."""
        if account_id is None:
            return False
        found = self.books.accounts[account_id]
        return (found.program_id, found.customer_id) == (self.program.program_id, self.customer_id)
