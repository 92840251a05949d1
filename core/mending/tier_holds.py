"""A tier that a person sets by hand: the domain decides, in one transaction with the account locked."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Account, Decision
from core.domain.program import Program
from core.domain.tiers.qualification import decide_tier_hold
from core.posting.books import Books
from core.posting.events import EventContext, decision_events
from core.store.appending import append_events
from core.store.ledger import lock_accounts
from core.store.repairs import Repair, append_repairs


def hold_tier(
    connection: Connection,
    account_id: UUID,
    program: Program,
    tier_id: str,
    until: datetime,
    reason: str,
    context: EventContext,
) -> Decision:
    """Put the account into `tier_id`, a tier of `program` (the version in force), at least until `until`.

    Written in the caller's transaction, with the event and with `reason` in `repairs`. The same hold once more changes
    nothing; another one replaces the first.
    """
    before = lock_accounts(connection, [account_id])[account_id]
    decision = decide_tier_hold(before, program, tier_id, until, context.recorded_at)
    after = decision.account
    assert after is not None
    if after == before:
        return decision
    books = Books()
    books.put_accounts({}, {account_id: before})
    books.apply(decision)
    books.events += decision_events(decision, context)
    books.write(connection)
    rebuilt = {**_held(after), "reason": reason}
    if decision.tier_changes:
        rebuilt["change_number"] = decision.tier_changes[-1].change_number
    append_repairs(connection, [Repair(account_id, "tier", _held(before), rebuilt)])
    append_events(connection, books.events)
    return decision


def _held(account: Account) -> dict[str, object]:
    return {"tier_id": account.tier_id, "tier_held_until": account.tier_held_until, "tier_until": account.tier_until}
