"""How a customer's accounts stand, now or at an instant of the past, and what made them so. Changes nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.decision import TierChange
from core.domain.ledger import Account
from core.domain.lots import Lot, in_spending_order
from core.domain.members import Member
from core.domain.program import Program, QualificationWindow
from core.domain.program.registry import BEGINNING, ProgramRegistry
from core.domain.tiers.counting import counting_bounds
from core.domain.tiers.history import CountedOrder
from core.domain.tiers.next_tier import NextTier, counted_units, next_tier
from core.domain.tiers.qualification import qualification_period
from core.domain.value.authorizations import Authorization
from core.domain.value.commands import CUSTOMER, HIDDEN, LINKED, Whom
from core.errors import LoyaltyError, NotOpenedYetError, UnknownAccountError, UnknownCustomerError
from core.messages.outbound.event_json import instant_text
from core.reading.accounts import HistoryEntry, load_accounts, load_history, load_tier_changes
from core.reading.open_lots import LOTS_LISTED_MAX, PointsLeft, load_open_lots, load_points_left, points_left_of
from core.reading.open_messages import OpenMessage, load_letters, open_messages, parked_orders
from core.reading.past import load_past, with_past_ends
from core.reading.running_periods import Periods
from core.reading.snapshot import Snapshot
from core.reading.standing_parts import AccountParts, load_called, load_parts
from core.reading.status_changes import StatusChange, load_status_change
from core.store.engine import database_now, run_bulk
from core.store.programs import load_registry, require_program
from core.store.repairs import KeptRepair, load_repairs
from core.store.tier_facts import load_counted

_PARKED_NAMED_MAX = 5


class Standing(NamedTuple):
    """An account at `as_of`, with what belongs to it."""

    account: Account  #: of the past: with what entries and tier changes say; the rest is not known
    program: Program  #: the version in force at `as_of`
    as_of: datetime
    is_past: bool
    #: With points left, in the order in which they would be spent: of the present at most `LOTS_LISTED_MAX`.
    lots: Sequence[Lot]
    points_left: Sequence[PointsLeft]  #: of all lots
    open_messages: Sequence[OpenMessage]  #: none of the past
    counted: Sequence[CountedOrder]  #: orders that count for the tier
    status_change: StatusChange | None = None  #: what froze or closed it
    authorizations: Sequence[Authorization] = ()  #: that hold points, the oldest first; none of the past
    members: Sequence[Member] = ()  #: who may use it beside its owner; none of the past
    linked: Sequence[tuple[str, str]] = ()  #: by what else it is found: kind, and what is told of it; none of the past

    @property
    def points_past_expiry(self) -> int:
        """Points that have expired and are still in the balance."""
        return sum(
            left.points
            for left in self.points_left
            if left.expires_at is not None and left.expires_at <= self.as_of and not left.is_pending
        )

    @property
    def points_spendable(self) -> int:
        """What of the balance can be spent: nothing of what has expired, nor of a balance below zero."""
        return max(0, self.account.balance - self.points_past_expiry)

    @property
    def qualifying_units(self) -> int | None:
        """What counts for the tier, in units of the program's measure; None of the past."""
        return None if self.is_past else counted_units(self.account, self.program, self.as_of, self.counted)

    @property
    def next_tier(self) -> NextTier | None:
        """The tier above, and what is missing for it; None for the highest, and of the past."""
        return None if self.is_past else next_tier(self.account, self.program, self.as_of, self.counted)


class Standings(NamedTuple):
    """A customer's accounts, at least one, by program."""

    as_of: datetime
    registry: ProgramRegistry
    standings: list[Standing]


Repaired = KeptRepair  #: what was changed by hand: what was there, what is now, and why


class AccountHistory(NamedTuple):
    """What made an account what it is; each list has the oldest first."""

    entries: list[HistoryEntry]
    tier_changes: list[tuple[TierChange, Program]]  #: with the version of the program that judged it
    repairs: list[Repaired]  #: what was changed by hand


def require_accounts(connection: Connection, customer_id: str, program_id: str | None = None) -> list[Account]:
    """The accounts that the customer may use, at least one; UnknownProgramError, UnknownCustomerError."""
    accounts = load_accounts(connection, customer_id, program_id)
    if not accounts:
        registry = load_registry(connection)
        raise _unknown_customer(connection, registry, customer_id, program_id, database_now(connection))
    return accounts


def require_named(now: Snapshot, whom: Whom, program_id: str | None) -> list[Account]:
    """The accounts of this name, at least one: all that a customer owns or may use, or what a reference leads to.

    UnknownProgramError, UnknownCustomerError, UnknownAccountError.
    """
    accounts = load_called(now.connection, whom, program_id)
    if not accounts:
        raise _unknown(now, whom, program_id)
    return accounts


def load_standings(
    now: Snapshot, whom: Whom, program_id: str | None = None, as_of: datetime | None = None
) -> Standings:
    """The accounts of a customer, or what another kind of name leads to, or those of `program_id` alone.

    A phone number or an e-mail address is given as it is kept (`core.messages.inbound.personal_names.hidden_name`).

    Now, or as they were recorded at `as_of`, not in the future. UnknownProgramError, UnknownCustomerError,
    UnknownAccountError; NotOpenedYetError when no account was opened by `as_of`.
    """
    if as_of is not None:
        return _past_standings(now, whom, program_id, as_of)
    periods = now.periods.at(now.as_of)
    found = load_parts(now.connection, whom, program_id, periods.json)
    if not found:
        raise _unknown(now, whom, program_id)
    return Standings(now.as_of, now.registry, [_present(now, parts, whom, periods) for parts in found])


def load_account_history(
    connection: Connection, registry: ProgramRegistry, standing: Standing, entries_max: int
) -> AccountHistory:
    """The last entries of the account, at most `entries_max`, and all its tier changes and repairs, up to `as_of`."""
    account_id, program_id = standing.account.account_id, standing.account.program_id
    changes = load_tier_changes(connection, account_id)[: standing.account.tier_changes]
    return AccountHistory(
        load_entries(connection, standing, entries_max),
        [(change, registry.version(program_id, version).program) for change, version in changes],
        load_repairs(connection, account_id, standing.as_of),
    )


def load_entries(
    connection: Connection,
    standing: Standing,
    entries_max: int,
    of_order: tuple[str, str] | None = None,
    before: int | None = None,
) -> list[HistoryEntry]:
    """The account's last entries by `as_of`, oldest of them first: of one (source, order_id) only, or before a number.

    Of the past their lots have the ends that were known then.
    """
    account = standing.account
    through = account.sequence if before is None else min(account.sequence, before - 1)
    entries = load_history(connection, account.account_id, entries_max, through=through, of_order=of_order)
    return with_past_ends(connection, account, entries, standing.as_of) if standing.is_past else entries


def _in_program(program_id: str | None) -> str:
    return "" if program_id is None else f" in program {program_id}"


def _exact_text(instant: datetime) -> str:
    return instant_text(instant).replace("T", " ")


def _unknown(now: Snapshot, whom: Whom, program_id: str | None) -> LoyaltyError:
    """What there is to say where a name leads to nothing."""
    if whom.kind == CUSTOMER:
        return _unknown_customer(now.connection, now.registry, whom.id, program_id, now.as_of)
    if program_id is not None:
        require_program(now.registry, program_id)
    called = f"this {LINKED[whom.kind]}" if whom.kind in HIDDEN else f"the {whom.kind} {whom.id}"
    return UnknownAccountError(called=called, where=_in_program(program_id))


def _unknown_customer(
    connection: Connection, registry: ProgramRegistry, customer_id: str, program_id: str | None, now: datetime
) -> LoyaltyError:
    if program_id is not None:
        require_program(registry, program_id)
    orders = parked_orders(load_letters(connection, customer_id), customer_id, registry, program_id, now)
    numbers = ", ".join(str(order.inbox_id) for order in orders[:_PARKED_NAMED_MAX])
    parked = f"; parked messages name this customer: {numbers} (loyalty dead show)" if orders else ""
    return UnknownCustomerError(customer_id=customer_id, where=_in_program(program_id), parked=parked)


def _opened_at(connection: Connection, account_ids: list[UUID]) -> datetime:
    statement = "SELECT min(created_at) FROM accounts WHERE account_id = ANY(%s)"
    ((opened_at,),) = run_bulk(connection, statement, (account_ids,))
    assert isinstance(opened_at, datetime)
    return opened_at


def _present(now: Snapshot, parts: AccountParts, whom: Whom, periods: Periods) -> Standing:
    """What was read with the account, with what few accounts need another statement for."""
    connection, account = now.connection, parts.account
    program = now.registry.at(account.program_id, now.as_of).program
    if len(parts.lots) > LOTS_LISTED_MAX:
        lots, left = load_open_lots(connection, account.account_id), load_points_left(connection, account.account_id)
    else:
        lots, left = in_spending_order(parts.lots), points_left_of(parts.lots)
    customer_id, letters = account.customer_id, parts.letters
    if whom.kind == CUSTOMER:
        customer_id = whom.id
    elif not customer_id.isascii():  # it may be written in two ways, and only one was looked for
        letters = load_letters(connection, customer_id)
    parked = parked_orders(letters, customer_id, now.registry, account.program_id, now.as_of)
    return Standing(
        account, program, now.as_of, False, lots, left,
        open_messages(connection, parts.about_orders, parked, now.registry),
        _counted(now, parts, program, periods),
        load_status_change(connection, account), parts.authorizations, parts.members, parts.linked,
    )  # fmt: skip


def _counted(now: Snapshot, parts: AccountParts, program: Program, periods: Periods) -> Sequence[CountedOrder]:
    """Orders that a period which begins by now would begin with."""
    account, as_of = parts.account, now.as_of
    if program.qualification.window is QualificationWindow.LIFETIME and account.qualifying_from is None:
        return ()
    if (running := periods.by_program.get(program.program_id)) is not None:
        assert running.start is not None
        return () if parts.counted is None else [CountedOrder(running.start, parts.counted)]
    since = qualification_period(program, as_of, account.enrolled_at).start or BEGINNING
    bounds = counting_bounds(account, (as_of,), [program])
    return load_counted(now.connection, {account.account_id: since}, {account.account_id: bounds})[account.account_id]


def _past_standings(now: Snapshot, whom: Whom, program_id: str | None, as_of: datetime) -> Standings:
    accounts = require_named(now, whom, program_id)
    found = (
        _past(now.connection, account, now.registry.at(account.program_id, as_of).program, as_of)
        for account in accounts
    )
    standings = [standing for standing in found if standing is not None]
    if not standings:
        raise NotOpenedYetError(
            customer_id=whom.id if whom.kind == CUSTOMER else accounts[0].customer_id,
            where=_in_program(program_id),
            as_of=_exact_text(as_of),
            opened_at=_exact_text(_opened_at(now.connection, [account.account_id for account in accounts])),
        )
    return Standings(as_of, now.registry, standings)


def _past(connection: Connection, account: Account, program: Program, as_of: datetime) -> Standing | None:
    past = load_past(connection, account, as_of)
    if past is None:
        return None
    return Standing(past.account, program, as_of, True, past.lots, points_left_of(past.lots), (), ())
