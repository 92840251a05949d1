"""What time brings, account by account: the same shell as posting, fed by the calendar instead of the inbox.

Each batch takes what is due of one account shard in the caller's transaction, and returns how many accounts it changed,
or None when another worker has the shard. A second run finds nothing. An account that somebody else holds is left for
the next time, so that no task waits for it with everything behind it; it is counted, or it would look as not due.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection

from core.domain.decision import Decision
from core.domain.expiry.due import decide_expiry, decide_release
from core.domain.expiry.reminders import due_reminders
from core.domain.ledger import Account
from core.domain.lots import Lot
from core.domain.program import Program
from core.domain.program.registry import BEGINNING, ProgramRegistry
from core.domain.tiers.counting import counting_bounds
from core.domain.tiers.history import CountedOrder, CountedSince
from core.domain.tiers.qualification import decide_tier_review, decide_warning, period_ended, review_due_at
from core.posting.events import EventContext, points_expiring, tier_at_risk
from core.posting.writing import Writing
from core.store.appending import append_events, update_accounts
from core.store.ledger import lock_free_accounts
from core.store.locks import PeriodicTurn, try_periodic_turn
from core.store.tier_facts import load_counted
from core.upkeep.due_rows import (
    DueLots,
    Grace,
    accounts_due_for_review,
    accounts_near_review,
    accounts_to_remind,
    accounts_with_due_lots,
    accounts_with_lots_to_release,
    finish_expiries,
    load_due_lots,
    load_expiring,
    load_lots_to_release,
    load_reminders,
    write_reminders,
)
from core.upkeep.runs import BatchDone


def expire_batch(
    connection: Connection,
    shard: int,
    as_of: datetime,
    lots_max: int,
    context: EventContext,
    chain_key: bytes | None,
) -> BatchDone | None:
    """Expire lots that are due at `as_of`. With `chain_key` the entries carry their accounts' hash chains on.

    Accounts that have pending lots to release before are only released; the next batch expires what is due of them.
    """
    if not try_periodic_turn(connection, PeriodicTurn.EXPIRY, shard):
        return None
    found = accounts_with_due_lots(connection, shard, as_of, lots_max)
    accounts = lock_free_accounts(connection, found)
    in_use = len(found) - len(accounts)
    to_release = load_lots_to_release(connection, [*accounts], as_of)
    if to_release:
        released = _write_due(connection, accounts, to_release, as_of, decide_release, context, chain_key)
        return BatchDone(released, in_use)
    due = load_due_lots(connection, [*accounts], as_of)
    changed = _write_due(connection, accounts, due, as_of, decide_expiry, context, chain_key)
    return BatchDone(changed + finish_expiries(connection, accounts, as_of), in_use)


def release_batch(
    connection: Connection,
    shard: int,
    as_of: datetime,
    lots_max: int,
    context: EventContext,
    chain_key: bytes | None,
) -> BatchDone | None:
    """Release pending lots whose time has come by `as_of`. With `chain_key` the entries carry the chains on."""
    if not try_periodic_turn(connection, PeriodicTurn.RELEASE, shard):
        return None
    found = accounts_with_lots_to_release(connection, shard, as_of, lots_max)
    accounts = lock_free_accounts(connection, found)
    due = load_lots_to_release(connection, [*accounts], as_of)
    released = _write_due(connection, accounts, due, as_of, decide_release, context, chain_key)
    return BatchDone(released, len(found) - len(accounts))


class _Decide(Protocol):
    """What time does to lots of an account."""

    def __call__(self, account: Account, lots: Iterable[Lot], as_of: datetime, *, is_cut: bool) -> Decision:
        """Decide it at `as_of`; with `is_cut` there may be more lots than these."""


def _write_due(
    connection: Connection,
    accounts: Mapping[UUID, Account],
    due: Mapping[UUID, DueLots],
    as_of: datetime,
    decide: _Decide,
    context: EventContext,
    chain_key: bytes | None,
) -> int:
    """Decide and write what is due; how many accounts it changed."""
    writing = Writing(context)
    changed = 0
    for account_id, (lots, is_cut) in due.items():
        decision = decide(accounts[account_id], lots, as_of, is_cut=is_cut)
        changed += len(decision.changes)
        writing.keep(decision)
    writing.write(connection, chain_key=chain_key)
    return changed


def review_batch(
    connection: Connection,
    shard: int,
    as_of: datetime,
    accounts_max: int,
    registry: ProgramRegistry,
    context: EventContext,
) -> BatchDone | None:
    """Review tiers that were due by `as_of`: one boundary per account and call."""
    if not try_periodic_turn(connection, PeriodicTurn.REVIEW, shard):
        return None
    found = accounts_due_for_review(connection, shard, as_of, accounts_max, _grace(registry))
    accounts = lock_free_accounts(connection, found)
    ending = {i: account for i, account in accounts.items() if account.tier_until is not None}
    programs = {i: _program_at_end(account, registry) for i, account in ending.items()}
    due = {
        account_id: account
        for account_id, account in ending.items()
        # Read again under the lock: posting may have moved the account meanwhile.
        if (due_at := review_due_at(account, programs[account_id])) is not None and due_at <= as_of
    }
    counted = _load_counted(connection, due, registry)
    writing = Writing(context)
    for account_id, account in due.items():
        program_at = registry.in_force(account.program_id)
        writing.keep(decide_tier_review(account, program_at, _since(counted[account_id])))
    writing.write(connection, chain_key=None)  # a review writes no entry
    return BatchDone(len(due), len(found) - len(accounts))


def warn_batch(
    connection: Connection,
    shard: int,
    as_of: datetime,
    accounts_max: int,
    registry: ProgramRegistry,
    context: EventContext,
    after: UUID | None,
) -> tuple[UUID | None, int] | None:
    """Announce tiers that the next review would take, as far ahead as their program says; each once for one review.

    Looks at the next accounts after `after`; returns the last of them, None when there are no more, and how many of
    them others hold. None when another worker has the shard.
    """
    if not try_periodic_turn(connection, PeriodicTurn.WARNING, shard):
        return None
    ahead = {
        program_id: program.qualification.warning_days
        for program_id, program in _programs(registry, as_of)
        if program.qualification.warning_days is not None
    }
    grace = _grace(registry)
    found = accounts_near_review(connection, shard, as_of, grace, ahead, after, accounts_max) if ahead else []
    accounts = lock_free_accounts(connection, found)
    near = {i: a for i, a in accounts.items() if a.tier_until is not None and a.tier_warned_until != a.tier_until}
    programs = {i: _program_at_end(account, registry) for i, account in near.items()}
    counted = _load_counted(connection, near, registry)
    changed, events = [], []
    for account_id, account in near.items():
        risk = decide_warning(account, programs[account_id], counted[account_id])
        if risk is not None:
            changed.append(risk.account)
            events.append(tier_at_risk(account, risk, programs[account_id].qualification.measure, context))
    update_accounts(connection, changed)
    append_events(connection, events)
    return found[-1] if found else None, len(found) - len(accounts)


def remind_batch(
    connection: Connection,
    shard: int,
    as_of: datetime,
    accounts_max: int,
    registry: ProgramRegistry,
    context: EventContext,
) -> BatchDone | None:
    """Announce points that are about to end, as far ahead as their program says; correct what was announced before."""
    if not try_periodic_turn(connection, PeriodicTurn.REMINDER, shard):
        return None
    ahead = {program_id: program.reminders.days_ahead for program_id, program in _programs(registry, as_of)}
    pairs = [(program_id, days) for program_id, each in ahead.items() for days in each]
    found = accounts_to_remind(connection, shard, as_of, pairs, accounts_max)
    accounts = lock_free_accounts(connection, found)
    expiring = load_expiring(connection, accounts, as_of)
    sent = load_reminders(connection, accounts, as_of)
    written, events = [], []
    for account_id, account in accounts.items():
        due = due_reminders(expiring[account_id], sent[account_id], ahead.get(account.program_id, ()), as_of)
        written += [(account_id, reminder) for reminder in due]
        events += [points_expiring(account, reminder, context) for reminder in due]
    write_reminders(connection, written)
    append_events(connection, events)
    return BatchDone(len({account_id for account_id, _ in written}), len(found) - len(accounts))


def _programs(registry: ProgramRegistry, as_of: datetime) -> list[tuple[str, Program]]:
    """Every program in the version in force at `as_of`."""
    return [(program_id, registry.at(program_id, as_of).program) for program_id in registry.program_ids()]


def _grace(registry: ProgramRegistry) -> list[Grace]:
    """The grace of each version is for the periods that end while it is in force."""
    return [
        Grace(version.program_id, version.effective_from, until, version.program.qualification.grace_days)
        for version, until in registry.stretches()
    ]


def _program_at_end(account: Account, registry: ProgramRegistry) -> Program:
    """The version that reviews the account: the one in force at the end of its period."""
    assert account.tier_until is not None
    return registry.at(account.program_id, account.tier_until).program


def _load_counted(
    connection: Connection, accounts: Mapping[UUID, Account], registry: ProgramRegistry
) -> dict[UUID, list[CountedOrder]]:
    """What the orders of these accounts, each of which has a `tier_until`, count for its next review and after it."""
    since: dict[UUID, datetime] = {}
    bounds: dict[UUID, list[datetime]] = {}
    for account_id, account in accounts.items():
        program = _program_at_end(account, registry)
        due_at = review_due_at(account, program)
        assert account.tier_until is not None
        assert due_at is not None
        instants = [account.tier_until, due_at, account.counted_until or account.tier_until]
        programs = registry.between(account.program_id, min(instants), max(instants))
        # Where several versions are concerned, a later one may count from earlier on.
        start = period_ended(account, program).start if len(programs) == 1 else None
        since[account_id] = start or BEGINNING
        bounds[account_id] = counting_bounds(account, instants, programs)
    return load_counted(connection, since, bounds)


def _since(counted: Sequence[CountedOrder]) -> CountedSince:
    """All of them, from whenever on they are asked for."""
    return lambda _: counted
