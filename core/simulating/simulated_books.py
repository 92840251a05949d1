"""One simulated run: what posting, expiry, release and reviews would have written, kept in memory.

Every message is taken at the time when it happened, and before it what was due on its account by then; so a run gives
what the workers would have posted, had every message come at once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision
from core.domain.expiry.due import decide_expiry, decide_release
from core.domain.ledger import Account, EntryKind
from core.domain.lots import Lot
from core.domain.message import Message
from core.domain.orders.facts import Order, Return
from core.domain.orders.posted import PostedOrder, PostedOrderEvent, PostedRefund, PostedReturn
from core.domain.program.registry import ProgramRegistry, ProgramVersion
from core.domain.reach import OrderKey
from core.domain.tiers.qualification import catch_up
from core.posting.handlers import HANDLERS
from core.simulating.recorded import RecordedMessage

_NEVER = datetime.max.replace(tzinfo=UTC)


class Line(NamedTuple):
    """The versions of one run, all of one program, by their numbers from 1 on."""

    versions: Sequence[ProgramVersion]
    judged_until: datetime | None  #: orders before it are judged by the version that judged them; None: all are


@dataclass
class Tally:
    """What a run came to, of all that happened from the simulated program's start on."""

    orders: int = 0
    orders_earning: int = 0
    orders_refused: int = 0  #: in another currency, or of more points than an account may have
    orders_of_other_versions: int = 0  #: judged by another than that of their time, which came later
    points_granted: int = 0
    points_clawed_back: int = 0
    points_expired: int = 0
    points_not_taken: int = 0  #: that refunds did not take back: expired already, or left by the clawback policy
    points_open_before: int = 0  #: of all accounts, by what happened before that start
    by_name: Counter[str] = field(default_factory=Counter)  #: points of rules and promotions, after refunds
    granted_by_month: Counter[str] = field(default_factory=Counter)  #: by 2026-11, of the program's calendar

    @property
    def points_net(self) -> int:
        """Granted, less what refunds took back."""
        return self.points_granted - self.points_clawed_back

    @property
    def points_owed(self) -> int:
        """What the program costs, in points: what is granted, and neither taken back nor expired."""
        return self.points_net - self.points_expired


class SimulatedBooks:
    """All accounts of one program under a line of versions, each in force from its instant on."""

    def __init__(self, line: Line, counted_from: datetime) -> None:
        """Tallied is what happens from `counted_from` on."""
        # What is recorded of guests is not posted here: every message is of a customer who has an account.
        self._line = line._replace(versions=[version.for_the_enrolled() for version in line.versions])
        self._program_id = line.versions[0].program_id
        self._rules = ProgramRegistry(self._line.versions, stamp=0)
        self._judging: dict[int, ProgramRegistry] = {}  #: with one version in force, whatever the time
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
        key = None if isinstance(fact, Return) else fact.order_key
        if not is_order and key is not None and key not in self._given:
            return  # its order is refused here
        self._account_id = recorded.account_id
        self._settle(recorded.account_id, now)
        rules = self._rules_of(recorded)
        outcome = HANDLERS[recorded.type].decide(self._books, Message(fact, self._program_id), rules, now)
        is_tallied = now >= self._counted_from
        self.tally.orders_of_other_versions += is_tallied and rules is not self._rules
        if not isinstance(outcome, Decision):
            self.tally.orders_refused += is_order and is_tallied
            return
        self._keep(outcome)
        for change in outcome.changes:
            self._count_expired(change)
        if is_tallied:
            self._count(outcome, self._given.get(key, {}) if key else {}, now)
        else:
            self.tally.points_open_before += sum(map(_moved, outcome.changes))
        if key is None:
            return
        if is_order and not recorded.is_followed:
            self._books.forget_order(key)
        elif outcome.given is not None:
            self._given[key] = outcome.given

    def finish(self, until: datetime) -> None:
        """Do what is due by `until` on every account."""
        for account_id in self.accounts:
            self._settle(account_id, until)

    def _rules_of(self, recorded: RecordedMessage) -> ProgramRegistry:
        """The versions as they stood for it: of an order that judged it then, even if another was backdated since."""
        number, until = recorded.judged_by, self._line.judged_until
        if number is None or (until is not None and recorded.happened_at >= until):
            return self._rules
        if self._rules.at(self._program_id, recorded.happened_at).version == number:
            return self._rules
        if number not in self._judging:
            versions = [each._replace(is_withdrawn=each.version != number) for each in self._line.versions]
            self._judging[number] = ProgramRegistry(versions, stamp=0)
        return self._judging[number]

    def _count(self, decision: Decision, given_before: Mapping[str, int], now: datetime) -> None:
        tally = self.tally
        for fact in decision.facts:
            if fact.account_id is None:  # of a guest's order, or of a customer whose orders are all refused here
                if isinstance(fact, PostedReturn):
                    tally.points_not_taken += fact.recovery.points_shortfall
                continue
            match fact:
                case PostedOrder(order=order, points_entitled=points):
                    tally.orders += 1
                    tally.orders_earning += points > 0
                    self._count_granted(points, order.occurred_at, now)
                    self.points_net[fact.account_id] += points
                case PostedOrderEvent(recovery=recovery) if recovery.points_taken < 0:
                    self._count_granted(-recovery.points_taken, fact.occurred_at, now)
                    tally.points_not_taken += recovery.points_excused + recovery.points_shortfall
                    self.points_net[fact.account_id] -= recovery.points_taken
                case (
                    PostedRefund(recovery=recovery)
                    | PostedOrderEvent(recovery=recovery)
                    | PostedReturn(recovery=recovery)
                ):
                    tally.points_clawed_back += recovery.points_taken
                    tally.points_not_taken += recovery.points_excused + recovery.points_shortfall
                    self.points_net[fact.account_id] -= recovery.points_taken
        if decision.given is not None:
            tally.by_name.subtract(given_before)
            tally.by_name.update(decision.given)

    def _count_granted(self, points: int, at: datetime, now: datetime) -> None:
        local = at.astimezone(self._rules.at(self._program_id, now).program.zone)
        self.tally.points_granted += points
        self.tally.granted_by_month[f"{local.year}-{local.month:02}"] += points

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
            counted = partial(self._books.counted, account)
            reviewed, changes = catch_up(account, now, self._rules.in_force(self._program_id), counted)
            self._keep(Decision((AccountChange(reviewed, tier_changes=changes),)))

    def _count_expired(self, change: AccountChange) -> None:
        for entry in change.entries:
            if entry.kind is not EntryKind.EXPIRY:
                continue
            if entry.occurred_at >= self._counted_from:
                self.tally.points_expired -= entry.points
            else:
                self.tally.points_open_before += entry.points

    def _keep(self, decision: Decision) -> None:
        self._books.apply(decision)
        for change in decision.changes:
            account_id = change.account.account_id
            # An order that does not count any more may let points end earlier.
            ends = [*map(_due_at, change.lots), *(each.expires_at for each in change.expiries)]
            if ends:
                due_at = min(ends)
                self._due_at[account_id] = min(due_at, self._due_at.get(account_id, _NEVER))


def _moved(change: AccountChange) -> int:
    """By how much the account's points change, available and pending."""
    return sum(entry.points + entry.pending_change for entry in change.entries)


def _due_at(lot: Lot) -> datetime:
    """When the lot is next released or expires."""
    if not lot.points_remaining:
        return _NEVER
    release = lot.available_at if lot.is_pending else None
    return min(release or _NEVER, lot.expires_at or _NEVER)
