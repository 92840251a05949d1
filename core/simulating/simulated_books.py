"""One simulated run: what posting, expiry, release and reviews would have written, kept in memory.

Every message is taken at the time when it happened, and before it what was due on its account by then; so a run gives
what the workers would have posted, had every message come at once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision
from core.domain.expiry.due import decide_expiry, decide_release
from core.domain.ledger import Account, EntryKind
from core.domain.lots import Lot
from core.domain.message import Message
from core.domain.orders.facts import Order
from core.domain.orders.posted import PostedOrder, PostedOrderEvent, PostedRefund
from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from core.domain.reach import OrderKey
from core.domain.tiers.qualification import review_overdue
from core.posting.handlers import HANDLERS
from core.simulating.recorded import RecordedMessage

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


class SimulatedBooks:
    """All accounts of one program under a line of versions, each in force from its instant on."""

    def __init__(self, versions: Sequence[ProgramVersion], counted_from: datetime) -> None:
        """The first of `versions` holds for all time before the second. Tallied is what happens from `counted_from`."""
        self._program_id = versions[0].program_id
        numbered = (version._replace(version=number) for number, version in enumerate(versions, 1))
        self._rules = ProgramRegistry(numbered, stamp=0)
        self._counted_from = counted_from
        self._account_id = UUID(int=0)  #: of the next account that is opened
        self._books = Books(lambda: self._account_id, are_whole=True)
        self._due_at: dict[UUID, datetime] = {}  #: not after the account's next release or expiry
        self._given: dict[OrderKey, Mapping[str, int]] = {}  #: of orders that something later is about
        self.points_net: Counter[UUID] = Counter()  #: of each account: granted less clawed back, as far as tallied
        self.tally = Tally()

    @property
    def accounts(self) -> Mapping[UUID, Account]:
        """All accounts, as they stand."""
        return self._books.accounts

    def take(self, recorded: RecordedMessage) -> None:
        """Post one message; they are given in the order in which they happened."""
        now, fact = recorded.happened_at, recorded.fact
        is_order = isinstance(fact, Order)
        key = (fact.source, fact.order_id)
        if not is_order and key not in self._given:
            return  # its order is refused here
        self._account_id = recorded.account_id
        self._settle(recorded.account_id, now)
        outcome = HANDLERS[recorded.type].decide(self._books, Message(fact, self._program_id), self._rules, now)
        is_tallied = now >= self._counted_from
        if not isinstance(outcome, Decision):
            self.tally.orders_refused += is_order and is_tallied
            return
        self._keep(outcome)
        if is_tallied:
            self._count(outcome, self._given.get(key, {}), now)
        if is_order and not recorded.is_followed:
            self._books.forget_order(key)
        elif outcome.given is not None:
            self._given[key] = outcome.given

    def finish(self, until: datetime) -> None:
        """Do what is due by `until` on every account."""
        for account_id in self.accounts:
            self._settle(account_id, until)

    def _count(self, decision: Decision, given_before: Mapping[str, int], now: datetime) -> None:
        tally = self.tally
        for fact in decision.facts:
            assert fact.account_id is not None
            match fact:
                case PostedOrder(order=order, points_entitled=points):
                    tally.orders += 1
                    tally.orders_earning += points > 0
                    tally.points_granted += points
                    local = order.occurred_at.astimezone(self._rules.at(self._program_id, now).program.zone)
                    tally.granted_by_month[f"{local.year}-{local.month:02}"] += points
                    self.points_net[fact.account_id] += points
                case PostedRefund(recovery=recovery) | PostedOrderEvent(recovery=recovery):
                    tally.points_clawed_back += recovery.points_taken
                    self.points_net[fact.account_id] -= recovery.points_taken
        if decision.given is not None:
            tally.by_name.subtract(given_before)
            tally.by_name.update(decision.given)

    def _settle(self, account_id: UUID, now: datetime) -> None:
        """Release, expire and review what was due by `now`, as the periodic tasks would have."""
        account = self.accounts.get(account_id)
        if account is None:
            return
        if self._due_at.get(account_id, _NEVER) <= now:
            for decide in (decide_release, decide_expiry):
                decision = decide(self.accounts[account_id], list(self._books.open_lots(account)), now)
                self._keep(decision)
                for change in decision.changes:
                    self._count_expired(change)
            self._due_at[account_id] = min(map(_due_at, self._books.open_lots(account)), default=_NEVER)
            account = self.accounts[account_id]
        if account.tier_until is not None and account.tier_until <= now:
            program = self._rules.at(self._program_id, now).program
            counted = self._books.counted(account, BEGINNING)
            reviewed, changes = review_overdue(account, now, program, counted)
            self._keep(Decision((AccountChange(reviewed, tier_changes=changes),)))

    def _count_expired(self, change: AccountChange) -> None:
        for entry in change.entries:
            if entry.kind is EntryKind.EXPIRY and entry.occurred_at >= self._counted_from:
                self.tally.points_expired -= entry.points

    def _keep(self, decision: Decision) -> None:
        self._books.apply(decision)
        for change in decision.changes:
            if change.lots:
                account_id = change.account.account_id
                due_at = min(_due_at(lot) for lot in change.lots)
                self._due_at[account_id] = min(due_at, self._due_at.get(account_id, _NEVER))


def _due_at(lot: Lot) -> datetime:
    """When the lot is next released or expires."""
    if not lot.points_remaining:
        return _NEVER
    release = lot.available_at if lot.is_pending else None
    return min(release or _NEVER, lot.expires_at or _NEVER)
