"""The books of one simulated run: what posting, expiry, release and reviews would have written, kept in memory.

Every message is taken at the time when it happened, and before it what was due on its account by then; so a run gives
what the workers would have posted, had every message come at once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from core.domain.expiry.due import decide_expiry, decide_release
from core.domain.ledger import Account, Decision, EntryKind, PostedOrder
from core.domain.lots import Lot
from core.domain.orders.accrual import Known, accrual_problem, decide_accrual
from core.domain.orders.basket import refund_problem
from core.domain.orders.clawback import decide_cancellation, decide_clawback, whole_refund
from core.domain.orders.facts import Cancellation, Fulfilment, Order, Refund
from core.domain.orders.fulfilment import decide_fulfilment
from core.domain.orders.limits import Budget, Usage
from core.domain.program import Program, UsageKey
from core.domain.tiers.counting import counted_from
from core.domain.tiers.qualification import Counted, TierHistoryEntry, review_overdue
from core.simulating.recorded import Recorded
from core.store.programs import ProgramVersion

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Tally:
    """What a run came to, of all that happened from the simulated program's start on."""

    orders: int = 0
    orders_earning: int = 0
    orders_refused: int = 0  #: in another currency, or of more points than an account may have
    points_granted: int = 0
    points_clawed_back: int = 0
    points_expired: int = 0
    by_name: Counter[str] = field(default_factory=Counter)  #: points of rules and promotions, after refunds
    granted_by_month: Counter[str] = field(default_factory=Counter)  #: by 2026-11, of the program's calendar

    @property
    def points_net(self) -> int:
        """Granted, less what refunds took back: what the program costs, in points."""
        return self.points_granted - self.points_clawed_back


class _Followed(NamedTuple):
    """An order that something later is about."""

    posted: PostedOrder
    refunds: list[Refund]
    given: Mapping[str, int]


@dataclass
class AccountBook:
    """One account of the run."""

    account: Account
    points_net: int = 0  #: granted less clawed back, as far as the tally counts
    history: list[TierHistoryEntry] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)
    lots: dict[int, Lot] = field(default_factory=dict)  #: with points left
    empty_lots: dict[int, dict[int, Lot]] = field(default_factory=dict)  #: by the entry that opened them
    usages: dict[UsageKey, Usage] = field(default_factory=dict)
    orders: dict[tuple[str, str], _Followed] = field(default_factory=dict)
    due_at: datetime = _NEVER  #: not after the next release or expiry


class SimulatedBooks:
    """All accounts of one program under a line of versions, each in force from its instant on."""

    def __init__(self, versions: Sequence[ProgramVersion], counted_from: datetime) -> None:
        """The first of `versions` holds for all time before the second. Tallied is what happens from `counted_from`."""
        self._versions, self._counted_from = versions, counted_from
        self._budgets: dict[str, Budget] = {}
        self.accounts: dict[UUID, AccountBook] = {}
        self.tally = Tally()

    def take(self, recorded: Recorded) -> None:
        """Post one message; they are given in the order in which they happened."""
        now, message = recorded.happened_at, recorded.message
        if isinstance(message, Order):
            self._complete(recorded, message)
            return
        book = self.accounts.get(recorded.account_id)
        followed = None if book is None else book.orders.get((message.source, message.order_id))
        if book is None or followed is None:
            return  # its order is refused here
        self._settle(book, now)
        match message:
            case Refund():
                self._refund(book, followed, message, now)
            case Cancellation():
                self._cancel(book, followed, message, now)
            case Fulfilment():
                self._fulfil(book, followed, message, now)

    def finish(self, until: datetime) -> None:
        """Do what is due by `until` on every account."""
        for book in self.accounts.values():
            self._settle(book, until)

    def _at(self, instant: datetime) -> tuple[int, Program]:
        """The version in force, counted from 1."""
        for place in range(len(self._versions) - 1, 0, -1):
            if self._versions[place].effective_from <= instant:
                return place + 1, self._versions[place].program
        return 1, self._versions[0].program

    def _complete(self, recorded: Recorded, order: Order) -> None:
        now = recorded.happened_at
        version, program = self._at(now)
        is_counted = now >= self._counted_from
        book = self.accounts.get(recorded.account_id) or _opened(recorded, order, program)
        self._settle(book, now)
        lots = tuple(book.lots.values()) if program.has_inactivity else ()
        counted = () if counted_from(book.account, now, program) is None else book.counted
        known = Known(book.history, counted, lots, book.usages, self._budgets)
        decision = decide_accrual(book.account, known, order, program, version, program, as_of=now)
        if order.currency != program.currency or accrual_problem(decision):
            self.tally.orders_refused += is_counted
            return
        self.accounts[recorded.account_id] = book
        posted = decision.order
        assert posted is not None
        self._keep(book, decision)
        book.counted.append(Counted(order.occurred_at, posted.qualifying))
        given = decision.given
        if recorded.is_followed:
            book.orders[order.source, order.order_id] = _Followed(posted, [], given)
        if is_counted:
            self.tally.orders += 1
            self.tally.orders_earning += posted.points_entitled > 0
            self.tally.points_granted += posted.points_entitled
            local = now.astimezone(program.zone)
            self.tally.granted_by_month[f"{local.year}-{local.month:02}"] += posted.points_entitled
            for name, points in given.items():
                self.tally.by_name[name] += points
            book.points_net += posted.points_entitled

    def _refund(self, book: AccountBook, followed: _Followed, refund: Refund, now: datetime) -> None:
        posted, refunds, _ = followed
        if refund_problem(posted.order, refund) is not None:
            return
        decision = decide_clawback(
            book.account, _lots_with_own(book, posted), posted, refunds, refund, *self._programs(posted, now), now,
            book.history,
        )  # fmt: skip
        self._keep_clawback(book, followed, decision, refund, now)

    def _cancel(self, book: AccountBook, followed: _Followed, cancellation: Cancellation, now: datetime) -> None:
        posted, refunds, _ = followed
        decision = decide_cancellation(
            book.account, _lots_with_own(book, posted), posted, refunds, cancellation, *self._programs(posted, now),
            now, book.history,
        )  # fmt: skip
        self._keep_clawback(book, followed, decision, whole_refund(cancellation), now)

    def _keep_clawback(
        self, book: AccountBook, followed: _Followed, decision: Decision, refund: Refund, now: datetime
    ) -> None:
        posted, after = followed.posted, decision.order
        assert after is not None
        self._keep(book, decision)
        if after.qualifying != posted.qualifying:
            place = book.counted.index(Counted(posted.order.occurred_at, posted.qualifying))
            book.counted[place] = Counted(posted.order.occurred_at, after.qualifying)
        refunds = [*followed.refunds, refund]
        given = decision.given
        book.orders[posted.order.source, posted.order.order_id] = _Followed(after, refunds, given)
        if now >= self._counted_from and decision.refund is not None:
            self.tally.points_clawed_back += decision.refund.points_taken
            book.points_net -= decision.refund.points_taken
            self.tally.by_name.subtract(followed.given)
            self.tally.by_name.update(given)

    def _fulfil(self, book: AccountBook, followed: _Followed, fulfilment: Fulfilment, now: datetime) -> None:
        posted = followed.posted
        program, _ = self._programs(posted, now)
        decision = decide_fulfilment(book.account, _lots_with_own(book, posted), posted, fulfilment, program, now)
        assert decision.order is not None
        self._keep(book, decision)
        book.orders[fulfilment.source, fulfilment.order_id] = followed._replace(posted=decision.order)

    def _programs(self, posted: PostedOrder, now: datetime) -> tuple[Program, Program]:
        """The version frozen with the order, and the one in force."""
        return self._versions[posted.program_version - 1].program, self._at(now)[1]

    def _settle(self, book: AccountBook, now: datetime) -> None:
        """Release, expire and review what was due by `now`, as the periodic tasks would have."""
        if book.due_at <= now:
            for decide in (decide_release, decide_expiry):
                decision = decide(book.account, list(book.lots.values()), now)
                self._keep(book, decision)
                for entry in decision.entries:
                    if entry.kind is EntryKind.EXPIRY and entry.occurred_at >= self._counted_from:
                        self.tally.points_expired -= entry.points
            book.due_at = min((_due_at(lot, now) for lot in book.lots.values()), default=_NEVER)
        if book.account.tier_until is not None and book.account.tier_until <= now:
            account, changes = review_overdue(book.account, now, self._at(now)[1], book.counted)
            self._keep(book, Decision(account=account, tier_changes=changes))

    def _keep(self, book: AccountBook, decision: Decision) -> None:
        book.account = decision.account or book.account
        book.history += [TierHistoryEntry(change.effective_at, change.tier_id) for change in decision.tier_changes]
        for lot in decision.lots:
            if lot.points_remaining:
                book.lots[lot.lot_number] = lot
                book.due_at = min(book.due_at, lot.available_at or _NEVER if lot.is_pending else _NEVER)
                book.due_at = min(book.due_at, lot.expires_at or _NEVER)
            else:
                book.lots.pop(lot.lot_number, None)
                book.empty_lots.setdefault(lot.opened_by_sequence, {})[lot.lot_number] = lot
        for usage in decision.usages:
            key = UsageKey(usage.name, usage.period)
            had = book.usages.get(key, Usage())
            book.usages[key] = Usage(had.points + usage.points, had.orders + usage.orders, had.carried + usage.carried)
        for change in decision.budgets:
            spent = self._budgets.get(change.promotion_id, Budget())
            self._budgets[change.promotion_id] = Budget(spent.points + change.points, spent.orders + change.orders)


def _opened(recorded: Recorded, order: Order, program: Program) -> AccountBook:
    assert order.customer_id is not None
    account = Account(
        recorded.account_id, program.program_id, order.customer_id, program.tiers[0].tier_id,
        enrolled_at=order.occurred_at,
    )  # fmt: skip
    return AccountBook(account)


def _lots_with_own(book: AccountBook, posted: PostedOrder) -> dict[int, Lot]:
    """The open lots, and those of the order, whatever is left of them."""
    return book.lots | book.empty_lots.get(posted.sequence or 0, {})


def _due_at(lot: Lot, now: datetime) -> datetime:
    release = lot.available_at if lot.is_pending else None
    return min(instant if instant is not None and instant > now else _NEVER for instant in (release, lot.expires_at))
