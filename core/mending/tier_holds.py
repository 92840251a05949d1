"""A tier that a person sets by hand: the domain decides, in one transaction with the account locked."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Account
from core.domain.program import Program
from core.domain.tiers.qualification import decide_tier_hold
from core.posting.events import EventContext
from core.posting.writing import Writing
from core.store.ledger import lock_accounts
from core.store.proof.seals import require_key
from core.store.repairs import Repair, append_repairs
from core.store.tier_facts import load_tier_facts


class HoldAsked(NamedTuple):
    """Put an account into a tier of `program`, the version in force, at least until `until`."""

    account_id: UUID
    program: Program
    tier_id: str
    until: datetime


def hold_tier(
    connection: Connection,
    account_id: UUID,
    program: Program,
    tier_id: str,
    until: datetime,
    reason: str,
    applied_by: str,
    context: EventContext,
    chain_key: bytes | None,
) -> Account:
    """Put the account into `tier_id`, a tier of `program` (the version in force), at least until `until`.

    As of `hold_tiers`, and returns the account after it.
    """
    asked = HoldAsked(account_id, program, tier_id, until)
    return hold_tiers(connection, [asked], reason, applied_by, context, chain_key)[account_id]


def hold_tiers(
    connection: Connection,
    asked: Collection[HoldAsked],
    reason: str,
    applied_by: str,
    context: EventContext,
    chain_key: bytes | None,
) -> dict[UUID, Account]:
    """Put accounts, each of them once, into tiers. Returns them as they are after it.

    Written in the caller's transaction, with the events, and in `repairs` with who did it and why, sealed with
    `chain_key`: ChainKeyMissingError without it where an account's entries are chained. The same hold once more
    changes nothing; another one replaces the first.
    """
    account_ids = [each.account_id for each in asked]
    require_key(connection, chain_key, account_ids)
    accounts = lock_accounts(connection, account_ids)
    facts = load_tier_facts(connection, account_ids)
    repairs: list[Repair] = []
    writing = Writing(context)
    for account_id, program, tier_id, until in asked:
        before = accounts[account_id]
        orders = facts[account_id].orders
        decision = decide_tier_hold(before, program, tier_id, until, context.recorded_at, orders)
        (change,) = decision.changes
        if change.account._replace(counted_until=before.counted_until) == before:
            continue
        (hold,) = change.holds
        rebuilt = {**_held(change.account), "held_at": hold.held_at}
        if change.tier_changes:
            rebuilt["change_number"] = change.tier_changes[-1].change_number
        repairs.append(Repair(account_id, "tier", _held(before), rebuilt, applied_by, reason))
        writing.keep(decision)
        accounts[account_id] = change.account
    if repairs:
        append_repairs(connection, repairs, chain_key)
        writing.write(connection, chain_key=chain_key)
    return accounts


def _held(account: Account) -> dict[str, object]:
    return {"tier_id": account.tier_id, "tier_held_until": account.tier_held_until, "tier_until": account.tier_until}
