"""The books: accounts with their lots, orders and limits, as deciders see them and as decisions change them.

Asking for what was not loaded raises an error, so "absent" never means "not looked for". Later messages of a batch see
what earlier ones changed, exactly as if each had been posted alone. Posting, simulation and the tests use these books.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from core.domain.account_keepings import AccountKeepings
from core.domain.account_lots import AccountLots, NotLoadedError
from core.domain.account_tiers import AccountTiers
from core.domain.decision import AccountChange, Answer, Decision
from core.domain.expiry.lasting import Keeping, keepings_of_command
from core.domain.ledger import EARNING, Account, Entry, EntryKind
from core.domain.lots import Allocation, Lot, SharedExpiry
from core.domain.merges_known import MergesKnown
from core.domain.movements import Movement, movement_of
from core.domain.names import Names
from core.domain.orders.posted import (
    Budget,
    PostedOrder,
    PostedOrderEvent,
    PostedRefund,
    PostedReturn,
    Usage,
)
from core.domain.program import UsageKey
from core.domain.reach import CommandKey, OrderKey, ReferenceKey
from core.domain.takes import Take, note_takes
from core.domain.tiers.history import CountedOrder, OrdersByTime, TierFacts, TierHistoryEntry, TierHold, counted_order
from core.domain.value.authorizations import Authorization
from core.domain.value.commands import PostedCommand

#: By what the names begin of what commands have used of limits, beside rules and promotions, whose names hold no colon.
COMMAND_LIMIT = "limit:"


class Books(Names):
    """What is known of accounts, orders and limits."""

    def __init__(self, new_account_id: Callable[[], UUID], *, are_whole: bool = False) -> None:
        """`new_account_id` draws ids for accounts that are opened.

        With `are_whole` these books hold everything that exists: what is absent does not exist.
        """
        super().__init__(are_whole=are_whole)
        self._new_account_id = new_account_id
        self._commands: dict[CommandKey, PostedCommand | None] = {}
        self._entries_of: dict[CommandKey, list[tuple[UUID, int]]] = {}
        self._movements: dict[tuple[UUID, int], Movement] = {}
        self._authorizations: dict[ReferenceKey, Authorization] = {}
        self._holding: set[UUID] = set()  #: accounts of which all open authorizations are here
        self._lots: dict[UUID, AccountLots] = {}
        self._tiers: dict[UUID, AccountTiers] = {}
        self._keepings: defaultdict[UUID, AccountKeepings] = defaultdict(AccountKeepings)
        self._usages: dict[UUID, dict[UsageKey, Usage]] = {}
        self._used_by_commands: set[UUID] = set()  #: accounts of which all is here that commands have used of limits
        self._takes: dict[tuple[UUID, OrderKey], list[Take]] = {}
        self._budgets: dict[tuple[str, str], Budget] = {}
        self.merged = MergesKnown()

    # What is loaded.

    def put_commands(self, keys: Iterable[CommandKey], commands: Iterable[PostedCommand]) -> None:
        """Take in which of these commands have their answers already."""
        self._commands.update(dict.fromkeys(keys))
        self._commands.update((command.key, command) for command in commands)

    def put_movements(self, keys: Iterable[CommandKey], movements: Iterable[tuple[CommandKey, Movement]]) -> None:
        """Take in what the entries of these commands did."""
        for key in keys:
            self._entries_of.setdefault(key, [])
        for key, movement in movements:
            self._entries_of[key].append(movement.key)
            self._movements[movement.key] = movement

    def put_authorizations(self, authorizations: Iterable[Authorization]) -> None:
        """Take in authorizations."""
        self._authorizations.update((each.key, each) for each in authorizations)

    def put_holding(self, account_ids: Iterable[UUID], authorizations: Iterable[Authorization]) -> None:
        """Take in all authorizations of these accounts that hold points."""
        self._holding.update(account_ids)
        self.put_authorizations(authorizations)

    def put_lots(self, account_id: UUID, lots: Iterable[Lot], *, is_all_open: bool) -> None:
        """Take in lots of an account; with `is_all_open` the books now hold all of its lots that have points left."""
        known = self._lots_of(account_id)
        for lot in lots:
            known.put(lot)
        if is_all_open:
            known.put_all_open()

    def put_every_lot(self, account_id: UUID, lots: Iterable[Lot]) -> None:
        """Take in all lots of an account, also the empty ones."""
        self.put_lots(account_id, lots, is_all_open=True)
        self._lots_of(account_id).put_every()

    def put_lots_to_take(self, account_id: UUID, lots: Collection[Lot], points: int, as_of: datetime) -> None:
        """Take in the lots that are due to be released by `as_of`, and in spending order those that cover `points`."""
        self._lots_of(account_id).put_to_take(lots, points, as_of)

    def put_expiries(self, account_id: UUID, expiries: Iterable[SharedExpiry]) -> None:
        """Take in all shared expiries of an account that have not been carried out."""
        self._lots_of(account_id).put_expiries(expiries)

    def put_keepings(self, account_id: UUID, keepings: Iterable[Keeping]) -> None:
        """Take in what lets points of an account last: of all its orders but those of which all lots are here."""
        self._keepings[account_id].put(keepings)

    def put_lots_of_order(self, account_id: UUID, order: OrderKey) -> None:
        """Note that all lots of this account that this order first earned were taken in."""
        self._lots_of(account_id).put_lots_of_order(order)

    def put_history(self, history: Mapping[UUID, list[TierHistoryEntry]]) -> None:
        """Take in all tier changes of accounts, in the order in which they were told."""
        for account_id, told in history.items():
            self._tiers_of(account_id).put_history(told)

    def put_counted(self, account_id: UUID, since: datetime, orders: Iterable[CountedOrder]) -> None:
        """Take in what an account's recorded orders from `since` on count for its tier."""
        self._tiers_of(account_id).put_counted(since, orders)

    def put_tier_facts(self, account_id: UUID, orders: OrdersByTime, holds: Iterable[TierHold]) -> None:
        """Take in all that the account's tier follows from."""
        self._tiers_of(account_id).put_facts(orders, holds)

    def put_usages(self, account_id: UUID, usages: Mapping[UsageKey, Usage]) -> None:
        """Take in what an account has had of rules and promotions."""
        self._usages.setdefault(account_id, {}).update(usages)

    def put_used_by_commands(self, account_ids: Iterable[UUID]) -> None:
        """Note that all was taken in that commands of these accounts have used of limits."""
        self._used_by_commands.update(account_ids)

    def put_budgets(self, budgets: Mapping[tuple[str, str], Budget]) -> None:
        """Take in what all customers have had, by program and promotion."""
        self._budgets.update(budgets)

    def put_orders(self, keys: Iterable[OrderKey], orders: Iterable[PostedOrder]) -> None:
        """Take in these orders; no others are posted under these keys."""
        for key in keys:
            self._orders.setdefault(key, {})
        for posted in orders:
            self._put_order(posted)
            if self._are_whole and posted.account_id is not None:
                self._tiers_of(posted.account_id).count(None, counted_order(posted))

    def put_takes(self, account_id: UUID, order: OrderKey, takes: Iterable[Take]) -> None:
        """Take in what all entries about an order but its first took from lots, oldest first."""
        self._takes[account_id, order] = list(takes)

    # What deciders ask.

    def command(self, key: CommandKey) -> PostedCommand | None:
        """The command of this source and id that has its answer already."""
        return self._known(self._commands, key)

    def movements(self, key: CommandKey) -> list[Movement]:
        """What the entries of a command did, account by account in their order; none: it is not known, or rejected."""
        return [self._movements[each] for each in self._known(self._entries_of, key, [])]

    def movement(self, key: tuple[UUID, int]) -> Movement:
        """What one entry of a command did, by its account and sequence."""
        try:
            return self._movements[key]
        except KeyError:
            raise NotLoadedError(f"entry {key[1]} of account {key[0]}") from None

    def movements_here(self) -> Collection[Movement]:
        """All that is here of what commands did."""
        return self._movements.values()

    def movements_of(self, authorization: Authorization) -> list[Movement]:
        """What the command did that asked for an authorization: one movement."""
        movements = self.movements(authorization.command_key)
        return [each for each in movements if each.sequence == authorization.sequence]

    def authorization(self, key: ReferenceKey) -> Authorization:
        """An authorization whose account was found by its id."""
        try:
            return self._authorizations[key]
        except KeyError:
            raise NotLoadedError(f"{key.kind} {key.reference}") from None

    def authorizations(self) -> Collection[Authorization]:
        """Those that are here."""
        return self._authorizations.values()

    def holding(self, account: Account) -> list[Authorization]:
        """The account's authorizations that hold points, the oldest first."""
        if not account.reserved:
            return []
        if account.account_id not in self._holding and not self._has_all_of(account):
            raise NotLoadedError(f"what holds points of account {account.account_id}")
        found = [each for each in self._authorizations.values() if each.account_id == account.account_id]
        return sorted((each for each in found if each.points_held), key=lambda each: each.sequence)

    def draw_id(self) -> UUID:
        """An id that nothing has yet."""
        return self._new_account_id()

    def new_account(self, program_id: str, customer_id: str, tier_id: str, enrolled_at: datetime | None) -> Account:
        """A new account with nothing in it; it exists once a decision that opens it is applied."""
        account_id = self._new_account_id()
        return Account(account_id, program_id, customer_id, tier_id, enrolled_at=enrolled_at, counted_until=enrolled_at)

    def open_lots(self, account: Account) -> Collection[Lot]:
        """The account's lots with points left."""
        return self._lots_asked_of(account).open()

    def every_lot(self, account: Account) -> list[Lot]:
        """All lots of the account, also the empty ones, by their numbers."""
        return self._lots_asked_of(account).every()

    def lots_to_release(self, account: Account, as_of: datetime) -> Sequence[Lot]:
        """The account's pending lots with points left whose time has come by `as_of`."""
        return self._lots_asked_of(account).to_release(as_of)

    def lots_to_take(
        self, account: Account, as_of: datetime, changed: Mapping[int, Lot], without: Collection[int]
    ) -> Iterator[Lot]:
        """What can be spent of the account at `as_of`, in spending order, but for the lots `without`.

        `changed` are lots that the caller has changed meanwhile. Who reads on behind what was loaded gets the error.
        """
        return self._lots_asked_of(account).to_take(as_of, changed, without)

    def lots_of_order(self, account: Account, order: OrderKey) -> list[Lot]:
        """The account's lots that this order first earned, also the empty ones, by their numbers."""
        return self._lots_asked_of(account).of_order(order)

    def lot(self, account: Account, number: int) -> Lot:
        """One of the account's lots by its number."""
        return self._lots_asked_of(account).numbered(number)

    def takes_of(self, account: Account, order: OrderKey) -> Sequence[Take]:
        """How many points each clawback of an order took from which lot, oldest first, less what has come back."""
        return self._known(self._takes, (account.account_id, order), [])

    def expiries(self, account: Account) -> list[SharedExpiry]:
        """The account's shared expiries that have not been carried out."""
        return self._lots_asked_of(account).expiries()

    def keepings(self, account: Account, *, but: Collection[OrderKey]) -> list[Keeping]:
        """What lets points of the account last, without what these orders add to it."""
        keepings, lots = self._keepings[account.account_id], self._lots_of(account.account_id)
        return keepings.without(but, lots, is_whole=self._has_all_of(account))

    def _lots_of(self, account_id: UUID) -> AccountLots:
        found = self._lots.get(account_id)
        if found is None:
            is_whole = self._are_whole or account_id in self._opened
            found = self._lots[account_id] = AccountLots(account_id, is_whole=is_whole)
        return found

    def _lots_asked_of(self, account: Account) -> AccountLots:
        # Of an account that is not here there is nothing to load: it is about to be opened.
        is_new = account.account_id not in self.accounts
        return AccountLots(account.account_id, is_whole=True) if is_new else self._lots_of(account.account_id)

    def history(self, account: Account) -> Sequence[TierHistoryEntry]:
        """The account's tier changes, in the order in which they were told."""
        return self._tiers_asked_of(account).history() if account.tier_changes else ()

    def counted(self, account: Account, since: datetime) -> Sequence[CountedOrder]:
        """What the account's recorded orders from `since` on count for its tier, perhaps with some earlier ones."""
        return self._tiers_asked_of(account).counted(since)

    def tier_facts(self, account: Account) -> TierFacts:
        """All that the account's tier follows from."""
        return self._tiers_asked_of(account).facts()

    def _tiers_of(self, account_id: UUID) -> AccountTiers:
        found = self._tiers.get(account_id)
        if found is None:
            is_whole = self._are_whole or account_id in self._opened
            found = self._tiers[account_id] = AccountTiers(account_id, is_whole=is_whole)
        return found

    def _tiers_asked_of(self, account: Account) -> AccountTiers:
        is_new = account.account_id not in self.accounts
        return AccountTiers(account.account_id, is_whole=True) if is_new else self._tiers_of(account.account_id)

    def usages(self, account: Account, keys: Iterable[UsageKey]) -> dict[UsageKey, Usage]:
        """What the account has had of rules and promotions in these periods."""
        found = self._usages.get(account.account_id, {})
        if self._has_all_of(account):
            return {key: found.get(key, Usage()) for key in keys}
        return {key: self._known(found, key) for key in keys}

    def used_by_commands(self, account: Account) -> dict[UsageKey, Usage]:
        """All that commands have used of limits of the account, of whatever day or month."""
        if account.account_id not in self._used_by_commands and not self._has_all_of(account):
            raise NotLoadedError(f"what commands have used of limits of account {account.account_id}")
        found = self._usages.get(account.account_id, {})
        # Of other days and months may be here that nothing is used of them, for this account alone.
        return {key: usage for key, usage in found.items() if key.name.startswith(COMMAND_LIMIT) and usage.points}

    def budgets(self, program_id: str, names: Iterable[str]) -> dict[str, Budget]:
        """What all customers have had of these promotions."""
        return {name: self._known(self._budgets, (program_id, name), Budget()) for name in names}

    # What decisions change.

    def apply(self, decision: Decision) -> None:
        """Change the books as decided."""
        self._keep_authorizations(decision)
        self._payments.update((payment.key, payment) for payment in decision.payments)
        for change in decision.changes:
            self._apply_to_account(change, decision.answer)
            if decision.answer is not None:
                kept = keepings_of_command(change, decision.answer.program_version)
                self._keepings[change.account.account_id].put_of_commands(kept)
        for fact in decision.facts:
            match fact:
                case PostedOrder():
                    self._keep_new_order(fact)
                case PostedRefund():
                    self._keep_refund(fact)
                case PostedReturn():
                    self._returns.setdefault(fact.key, {})[fact.program_id] = fact
                case PostedOrderEvent():
                    self._keep_order_event(fact)
        for posted in decision.orders:
            self._keep_changed_order(posted)
        self._takes.update(self.merged.takes_moved(decision, self._takes))
        for spent in decision.budgets:
            key = spent.program_id, spent.name
            self._budgets[key] = self._known(self._budgets, key, Budget()).plus(spent)

    def _keep_authorizations(self, decision: Decision) -> None:
        new = [fact for fact in decision.facts if isinstance(fact, Authorization)]
        if not new and not decision.authorizations:
            return
        self.put_authorizations((*new, *decision.authorizations))
        for authorization in new:
            # What it takes now comes back by a later command.
            self._entries_of.setdefault(authorization.command_key, [])

    def _apply_to_account(self, change: AccountChange, answer: Answer | None) -> None:
        account = change.account
        account_id = account.account_id
        assert account.merged_into is None or not change.entries or change.merge is not None, "nothing comes to it"
        if change.merge is not None:
            self.merged.put([change.merge], change.lot_moves)
        self._keep_names(change)
        if change.lots:
            lots = self._lots_of(account_id)
            for lot in change.lots:
                lots.put(lot)
        for entry in change.entries:
            self._keep_movement(entry, answer)
            if entry.source is not None and entry.order_id is not None and entry.kind in EARNING:
                self._keep_takes(account_id, (entry.source, entry.order_id), entry.allocations)
        if change.expiries or change.expiries_begun:
            self._lots_of(account_id).put_expiries((*change.expiries, *change.expiries_begun))
        if change.tier_changes or change.holds:
            self._tiers_of(account_id).move(change.tier_changes, change.holds)
        if change.usages:
            keys = [UsageKey(used.name, used.period) for used in change.usages]
            after = self.usages(account, keys)
            for key, used in zip(keys, change.usages, strict=True):
                after[key] = after[key].plus(used)
            self._usages.setdefault(account_id, {}).update(after)

    def _keep_movement(self, entry: Entry, answer: Answer | None) -> None:
        if entry.command_id is None and entry.corrects_sequence is None:
            return
        corrected = (entry.account_id, entry.corrects_sequence or 0)
        undone = self._movements.get(corrected)
        if entry.source is None or entry.command_id is None:
            if undone is not None and entry.kind is EntryKind.VOID:
                self._movements[corrected] = undone.without(entry.allocations)
            return
        key = entry.source, entry.command_id
        # Of an erasure, which has no answer of one account, nothing is undone.
        if answer is not None and (key in self._entries_of or self._are_whole):
            movement = movement_of(entry, answer.program_version)
            self._entries_of.setdefault(key, []).append(movement.key)
            self._movements[movement.key] = movement
        if undone is not None:
            self._movements[corrected] = undone._replace(
                points_corrected=undone.points_corrected + entry.points,
                is_reversed=undone.is_reversed or entry.kind is EntryKind.REVERSAL,
                captures=(*undone.captures, *([-entry.reserved_change] if entry.kind is EntryKind.CAPTURE else [])),
            )

    def _keep_new_order(self, posted: PostedOrder) -> None:
        self._put_order(posted)
        if posted.account_id is None:
            return
        self._takes[posted.account_id, posted.key] = []
        if not self._are_whole:
            self._lots_of(posted.account_id).put_lots_of_order(posted.key)
        self._tiers_of(posted.account_id).count(None, counted_order(posted))

    def _keep_changed_order(self, posted: PostedOrder) -> None:
        before = self._orders[posted.key][posted.program_id]
        self._put_order(posted)
        if (posted.cancelled_at, posted.amendment) != (before.cancelled_at, before.amendment):
            self._kept.pop((posted.key, posted.program_id), None)
        counted_before, counted_now = counted_order(before), counted_order(posted)
        if before.account_id == posted.account_id:
            if posted.account_id is not None and counted_before != counted_now:
                self._tiers_of(posted.account_id).count(counted_before, counted_now)
            return
        self._kept.pop((posted.key, posted.program_id), None)
        if before.account_id is not None:
            self._tiers_of(before.account_id).count(counted_before, None)
            self._keepings[before.account_id].drop(before)
        if posted.account_id is not None:
            # What clawbacks took elsewhere comes back only where a merge has moved the lots.
            self._takes[posted.account_id, posted.key] = []
            if not self._are_whole:
                self._lots_of(posted.account_id).put_lots_of_order(posted.key)
            self._tiers_of(posted.account_id).count(None, counted_now)

    def _keep_takes(self, account_id: UUID, order: OrderKey, allocations: Iterable[Allocation]) -> None:
        if self._are_whole:
            self._takes.setdefault((account_id, order), [])
        note_takes(self._takes.get((account_id, order), []), allocations)

    def forget_order(self, key: OrderKey) -> None:
        """Drop an order that no later message is about. What it counts for the tier, and lets last, stays."""
        for program_id, posted in self._orders.pop(key, {}).items():
            self._kept.pop((key, program_id), None)
            if posted.account_id is not None:
                self._keepings[posted.account_id].forget(posted, self._lots_of(posted.account_id))

    def _put_order(self, posted: PostedOrder) -> None:
        self._orders.setdefault(posted.key, {})[posted.program_id] = posted
        if posted.account_id is not None:
            self._keepings[posted.account_id].put_order(posted)
