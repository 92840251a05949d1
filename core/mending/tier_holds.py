"""A tier that a person sets by hand: the domain decides, in one transaction with the account locked."""

from datetime import datetime
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


def hold_tier(
    connection: Connection,
    account_id: UUID,
    program: Program,
    tier_id: str,
    until: datetime,
    reason: str,
    applied_by: str,
    context: EventContext,
    chain_key: bytes | None = None,
) -> Account:
    """Put the account into `tier_id`, a tier of `program` (the version in force), at least until `until`.

    Written in the caller's transaction, with the event, and in `repairs` with who did it and why, sealed with
    `chain_key`: ChainKeyMissingError without it where the account's entries are chained. The same hold once more
    changes nothing; another one replaces the first.
    """
    require_key(connection, chain_key, [account_id])
    before = lock_accounts(connection, [account_id])[account_id]
    decision = decide_tier_hold(before, program, tier_id, until, context.recorded_at)
    (change,) = decision.changes
    if change.account._replace(counted_until=before.counted_until) == before:
        return before
    (hold,) = change.holds
    rebuilt = {**_held(change.account), "held_at": hold.held_at}
    if change.tier_changes:
        rebuilt["change_number"] = change.tier_changes[-1].change_number
    append_repairs(connection, [Repair(account_id, "tier", _held(before), rebuilt, applied_by, reason)], chain_key)
    writing = Writing(context)
    writing.keep(decision)
    writing.write(connection)
    return change.account


def _held(account: Account) -> dict[str, object]:
    return {"tier_id": account.tier_id, "tier_held_until": account.tier_held_until, "tier_until": account.tier_until}
