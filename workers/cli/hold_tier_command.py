"""`loyalty account hold-tier`: a tier that a person gives to a customer, until a date."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from config.settings import Settings
from core.domain.ledger import Account
from core.domain.program import Program
from core.domain.tiers.qualification import decide_tier_hold, review_due_at
from core.mending.tier_holds import hold_tier as write_hold
from core.posting.events import EventContext
from core.reading.snapshot import Snapshot, snapshot_of
from core.reading.standing import require_accounts
from workers.cli.command_errors import HoldUntilError, UnknownTierError, WhichProgramError, WhyError
from workers.cli.output import AsJson, print_json, say, time_text, until_text
from workers.cli.wiring import By, CustomerId, acting, opened_database, read_instant
from workers.secrets import writing_key

_YEARS_MAX = 100


def hold_tier(
    customer_id: CustomerId,
    *,
    tier_id: Annotated[str, typer.Option("--tier", metavar="TIER", help="A tier of the program in force.")],
    until_text: Annotated[
        str, typer.Option("--until", metavar="TIME", help="Kept at least until this instant, with its offset.")
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the change.")],
    program_id: Annotated[str | None, typer.Option("--program", help="The account in this program.")] = None,
    by: By = None,
    is_applied: Annotated[bool, typer.Option("--apply", help="Do it; without it nothing is changed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a customer into a tier by hand, and keep them there at least until an instant; then a review decides.

    \b
    loyalty account hold-tier C-1001 --tier gold --until 2027-12-31T23:00:00+00:00 --reason "moved from the old card"
    loyalty account hold-tier C-1001 --tier gold --until 2027-12-31T23:00:00+00:00 --reason "as above" --apply

    Shows what would change; --apply does it, and publishes loyalty.tier.changed. Refunds and reviews leave a held tier
    alone, orders may raise it. A second hold replaces the first. The table repairs keeps who did it and why.
    """
    if not reason.strip():
        raise WhyError
    until = read_instant(until_text, "--until")
    settings = Settings()
    with opened_database(settings) as engine, engine.begin() as connection:
        known_now = snapshot_of(connection)
        now = known_now.as_of
        _check_until(until, until_text, now)
        before, program = _account(known_now, customer_id, program_id)
        if program.tier(tier_id) is None:
            known = ", ".join(tier.tier_id for tier in program.tiers)
            raise UnknownTierError(program_id=program.program_id, tier_id=tier_id, known=known)
        if is_applied:
            context = EventContext(settings.event_source, now)
            why, who = reason.strip(), acting(by)
            key = writing_key(settings)
            after = write_hold(connection, before.account_id, program, tier_id, until, why, who, context, key)
        else:
            # Without the orders, which only the event of the change tells of, and nothing is published here.
            (change,) = decide_tier_hold(before, program, tier_id, until, now, ()).changes
            after = change.account
    document = _document(before, after, program, is_applied=is_applied)
    if as_json:
        print_json({"customer_id": customer_id, **document})
    else:
        _say(customer_id, before, after, program, is_applied=is_applied)


def _check_until(until: datetime, text: str, now: datetime) -> None:
    if until <= now:
        raise HoldUntilError(text=text, reason="it is not in the future")
    if until > now + timedelta(days=365 * _YEARS_MAX):
        raise HoldUntilError(text=text, reason=f"it is more than {_YEARS_MAX} years ahead")


def _account(now: Snapshot, customer_id: str, program_id: str | None) -> tuple[Account, Program]:
    accounts = require_accounts(now.connection, customer_id, program_id)
    if len(accounts) > 1:
        known = ", ".join(account.program_id for account in accounts)
        raise WhichProgramError(customer_id=customer_id, known=known)
    return accounts[0], now.program(accounts[0].program_id)


def _document(before: Account, after: Account, program: Program, *, is_applied: bool) -> dict[str, Any]:
    return {
        "account_id": after.account_id,
        "program_id": after.program_id,
        "is_applied": is_applied,
        "previous_tier": before.tier_id,
        "tier": after.tier_id,
        "tier_held_until": after.tier_held_until,
        "tier_until": after.tier_until,
        "review_due_at": review_due_at(after, program),
    }


def _say(customer_id: str, before: Account, after: Account, program: Program, *, is_applied: bool) -> None:
    zone = program.zone
    say(f"{customer_id} in {program.name} ({program.program_id}); times in {program.time_zone}", style="bold")
    moved = f"stays in {after.tier_id}" if before.tier_id == after.tier_id else f"{before.tier_id} to {after.tier_id}"
    verb = "Done" if is_applied else "Would be done"
    assert after.tier_held_until is not None
    say(f"  {verb}: {moved}, held until {until_text(after.tier_held_until, zone)}.")
    if before.tier_held_until is not None:
        say(f"  It replaces the hold until {until_text(before.tier_held_until, zone)}.")
    say(f"  The next review of the tier is at {time_text(review_due_at(after, program), zone)[:16]}.")
    if not is_applied:
        say("Nothing is changed. To do it: add --apply")
