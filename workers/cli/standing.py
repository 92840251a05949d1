"""How an account stands, now or at an instant of the past, and how that is said: points, tier, pending, what ends."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.domain.ledger import Account
from core.domain.lots import Lot
from core.domain.program import SPEND_UNITS, ExpiryPolicy, Measure, Program, QualificationWindow
from core.domain.tiers.next_tier import counted_units, next_tier
from core.domain.tiers.qualification import Counted, qualification_period, review_due_at
from core.messages.outbound.event_json import instant_text
from core.reading.accounts import OpenMessage, database_now, load_accounts, load_open_lots, load_open_messages
from core.reading.past import load_past
from core.store.ledger import load_counted
from core.store.programs import BEGINNING, ProgramRegistry, load_registry
from workers.cli.errors import FutureInstantError, NotOpenedYetError, UnknownCustomerError, UnknownProgramError
from workers.cli.output import Row, count_text, time_text
from workers.cli.wiring import read_instant

UNTIL_THEN = "counted from then"  #: the end of points that wait for their order to be fulfilled


class Standing(NamedTuple):
    """An account at `as_of`, with what belongs to it."""

    account: Account  #: of the past: with what entries and tier changes tell; the rest is not known
    program: Program  #: the version in force at `as_of`
    as_of: datetime
    is_past: bool
    lots: Sequence[Lot]  #: with points left, in the order in which they would be spent
    open_messages: Sequence[OpenMessage]  #: none of the past
    counted: Sequence[Counted]  #: orders that count for the tier


class Found(NamedTuple):
    """The accounts that a command is about."""

    as_of: datetime
    registry: ProgramRegistry
    standings: list[Standing]


def load_standings(
    connection: Connection, customer_id: str, program_id: str | None, as_of_text: str | None = None
) -> Found:
    """The customer's accounts, or the one of `program_id`, now or as they were recorded at an instant of the past.

    UnknownProgramError, UnknownCustomerError; InstantError, FutureInstantError and NotOpenedYetError of the instant.
    """
    now = database_now(connection)
    as_of = now if as_of_text is None else read_instant(as_of_text, "--as-of")
    if as_of > now:
        raise FutureInstantError(option="--as-of", text=as_of_text)
    registry, accounts = find_accounts(connection, customer_id, program_id)
    standings = []
    for account in accounts:
        program = registry.at(account.program_id, as_of).program
        if as_of_text is None:
            standings.append(_present(connection, account, program, as_of))
        elif (past := _past(connection, account, program, as_of)) is not None:
            standings.append(past)
    if not standings:
        opened_at = connection.exec_driver_sql(
            "SELECT min(created_at) FROM accounts WHERE account_id = ANY(%s)", ([a.account_id for a in accounts],)
        ).scalar_one()
        where = "" if program_id is None else f" in program {program_id}"
        raise NotOpenedYetError(
            customer_id=customer_id, where=where, as_of=_exactly(as_of), opened_at=_exactly(opened_at)
        )
    return Found(as_of, registry, standings)


def _exactly(instant: datetime) -> str:
    return instant_text(instant).replace("T", " ")


def find_accounts(
    connection: Connection, customer_id: str, program_id: str | None
) -> tuple[ProgramRegistry, list[Account]]:
    """The customer's accounts by program, at least one; UnknownProgramError and UnknownCustomerError."""
    registry = load_registry(connection)
    if program_id is not None and program_id not in registry.program_ids():
        raise UnknownProgramError(program_id=program_id, known=", ".join(registry.program_ids()) or "none")
    accounts = load_accounts(connection, customer_id, program_id)
    if not accounts:
        where = "" if program_id is None else f" in program {program_id}"
        raise UnknownCustomerError(customer_id=customer_id, where=where)
    return registry, accounts


def _present(connection: Connection, account: Account, program: Program, as_of: datetime) -> Standing:
    lots = load_open_lots(connection, account.account_id)
    messages = load_open_messages(connection, account.account_id)
    return Standing(account, program, as_of, False, lots, messages, _counted(connection, account, program, as_of))


def _counted(connection: Connection, account: Account, program: Program, as_of: datetime) -> Sequence[Counted]:
    """Orders that a period which begins by now would begin with."""
    if program.qualification.window is QualificationWindow.LIFETIME and account.qualifying_from is None:
        return ()
    since = qualification_period(program, as_of, account.enrolled_at).start or BEGINNING
    return load_counted(connection, {account.account_id: since})[account.account_id]


def _past(connection: Connection, account: Account, program: Program, as_of: datetime) -> Standing | None:
    past = load_past(connection, account, as_of)
    if past is None:
        return None
    then = Account(
        account.account_id,
        account.program_id,
        account.customer_id,
        past.tier_id,
        sequence=past.sequence,
        balance=past.balance,
        pending=past.pending,
        deficit=past.deficit,
        lifetime_points=past.lifetime_points,
        tier_since=past.tier_since,
        tier_changes=past.tier_changes,
    )
    return Standing(then, program, as_of, True, past.lots, (), ())


def standing_document(standing: Standing) -> dict[str, Any]:
    """The account for `--json`. What is not known of the past is null."""
    account, program, as_of, is_past, lots, messages, counted = standing
    following = None if is_past else next_tier(account, program, as_of, counted)
    return {
        "account_id": account.account_id,
        "program_id": account.program_id,
        "program_name": program.name,
        "balance": account.balance,
        "pending": account.pending,
        "deficit": account.deficit,
        "points_past_expiry": points_past_expiry(lots, as_of),
        "lifetime_points": account.lifetime_points,
        "tier": account.tier_id,
        "tier_since": account.tier_since,
        "tier_until": account.tier_until,
        "tier_held_until": account.tier_held_until,
        "tier_warned_until": account.tier_warned_until,
        "measure": program.qualification.measure,
        "qualifying_points": None if is_past else counted_units(account, program, as_of, counted),
        "next_tier": None if following is None else following.tier.tier_id,
        "points_to_next_tier": None if following is None else following.units_to_go,
        "sequence": account.sequence,
        "lots": list(lots),
        "open_messages": None if is_past else list(messages),
    }


def units_text(units: int, program: Program) -> str:
    """Units of the program's measure, as a number for people; of money with its currency."""
    if program.qualification.measure is Measure.SPEND:
        return f"{Decimal(units) / SPEND_UNITS:,.2f} {program.currency}"
    return f"{units:,}"


def measured_text(units: int, program: Program) -> str:
    """The same with what they are."""
    match program.qualification.measure:
        case Measure.POINTS:
            return f"{units_text(units, program)} qualifying {'point' if units == 1 else 'points'}"
        case Measure.SPEND:
            return f"{units_text(units, program)} of qualifying spend"
        case Measure.ORDERS:
            return f"{units_text(units, program)} qualifying {'order' if units == 1 else 'orders'}"


def tier_text(standing: Standing) -> str:
    """The tier, since when, and until when it is sure."""
    account, zone = standing.account, standing.program.zone
    since = "" if account.tier_since is None else f" since {time_text(account.tier_since, zone)[:16]}"
    until = "" if account.tier_until is None else f", reviewed at {time_text(account.tier_until, zone)[:16]}"
    grace = standing.program.qualification.grace_days
    if until and grace:
        due = time_text(review_due_at(account, standing.program), zone)[:16]
        until = f", reviewed at {due} for the time to {time_text(account.tier_until, zone)[:16]}"
    held = account.tier_held_until
    if held is not None and held > standing.as_of:
        until += f", held by hand until {time_text(held, zone)[:16]}"
    if account.tier_warned_until is not None and account.tier_warned_until == account.tier_until:
        until += "; the customer was told that it is at risk"
    return f"{account.tier_id}{since}{until}"


def next_tier_text(standing: Standing) -> str:
    """The next tier and what is missing for it."""
    account, program, as_of, _, _, _, counted = standing
    had = measured_text(counted_units(account, program, as_of, counted), program)
    following = next_tier(account, program, as_of, counted)
    if following is None:
        return f"none above it ({had})"
    threshold = units_text(following.tier.threshold(program.qualification.measure), program)
    return f"{following.tier.tier_id}, {units_text(following.units_to_go, program)} to go ({had} of {threshold})"


def available_text(lot: Lot, zone: tzinfo) -> str:
    """When a lot became available, or will."""
    if lot.available_at is None:
        return "when the order is fulfilled"
    return f"{'pending until ' if lot.is_pending else ''}{time_text(lot.available_at, zone)[:16]}"


def ends_text(lot: Lot, program: Program) -> str:
    """When a lot ends."""
    if lot.expires_at is not None:
        return time_text(lot.expires_at, program.zone)[:16]
    expiry = program.expiries.get(lot.earned_by, program.expiry)
    if lot.is_pending and lot.available_at is None and expiry.policy is not ExpiryPolicy.NEVER:
        return UNTIL_THEN
    return "never"


def lot_rows(standing: Standing) -> list[Row]:
    """One row for each lot, for a listing."""
    zone = standing.program.zone
    return [
        Row(
            (
                str(lot.lot_number),
                f"{lot.points_remaining:,}",
                f"{lot.points_granted:,}",
                available_text(lot, zone),
                ends_text(lot, standing.program),
                f"entry {lot.opened_by_sequence}" + (f", {lot.earned_by}" if lot.earned_by else ""),
            )
        )
        for lot in standing.lots
    ]


def pending_texts(standing: Standing) -> list[str]:
    """What is pending, and until when: one sentence for each instant."""
    held = [lot for lot in standing.lots if lot.is_pending]
    texts = []
    for when, group in groupby(
        sorted(held, key=lambda lot: (lot.available_at is None, lot.available_at or standing.as_of)),
        key=lambda lot: lot.available_at,
    ):
        points = sum(lot.points_remaining for lot in group)
        until = "when their order is fulfilled"
        if when is not None:
            until = f"on {time_text(when, standing.program.zone)[:16]}"
        texts.append(f"{count_text(points, 'pending point')} will be available {until}.")
    return texts


def ending_texts(standing: Standing) -> list[str]:
    """What ends and when: one sentence for each instant, the soonest first."""
    texts = []
    ending = [lot for lot in standing.lots if lot.expires_at is not None]
    for when, group in groupby(
        sorted(ending, key=lambda lot: lot.expires_at or standing.as_of), lambda x: x.expires_at
    ):
        points = count_text(sum(lot.points_remaining for lot in group), "point")
        assert when is not None
        instant = time_text(when, standing.program.zone)[:16]
        if when <= standing.as_of:
            texts.append(f"{points} ended on {instant}; the next run of expiry takes them from the balance.")
        else:
            texts.append(f"{points} can be used until {instant}.")
    open_ended = [lot for lot in standing.lots if lot.expires_at is None]
    for end, group in groupby(
        sorted(open_ended, key=lambda x: ends_text(x, standing.program)), lambda x: ends_text(x, standing.program)
    ):
        points = count_text(sum(lot.points_remaining for lot in group), "point")
        texts.append(
            f"{points} never end." if end == "never" else f"The time of {points} begins when they are available."
        )
    return texts


def points_past_expiry(lots: Sequence[Lot], as_of: datetime) -> int:
    """Points that have expired and are still in the balance."""
    return sum(lot.points_remaining for lot in lots if lot.is_due(as_of) and not lot.is_pending)
