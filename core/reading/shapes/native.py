"""An account in our own words, as `loyalty account show --json` gives it."""

from collections.abc import Sequence
from typing import Any

from core.domain.lots import Lot
from core.reading.open_lots import LOTS_LISTED_MAX
from core.reading.standing import Standing


def native_account(standing: Standing) -> dict[str, Any]:
    """The account with its lots, authorizations and open messages. What is not known of the past is None.

    Values are still ours: instants, ids, tuples with names.
    """
    account, program, following = standing.account, standing.program, standing.next_tier
    listed = list(standing.lots[:LOTS_LISTED_MAX])
    return {
        "account_id": account.account_id,
        "own_account_id": account.own_account_id,
        "customer_id": account.customer_id,
        "members": [] if standing.is_past else [each._asdict() for each in standing.members],
        "linked": [{"kind": kind, "reference": reference} for kind, reference in standing.linked],
        "status": None if standing.is_past else account.status,
        "status_since": None if standing.status_change is None else standing.status_change.since,
        "merged_into": account.merged_into,
        "program_id": account.program_id,
        "program_name": program.name,
        "balance": account.balance,
        "pending": account.pending,
        "reserved": account.reserved,
        "deficit": account.deficit,
        "points_past_expiry": standing.points_past_expiry,
        "lifetime_points": account.lifetime_points,
        "tier": account.tier_id,
        "tier_since": account.tier_since,
        "tier_until": account.tier_until,
        "tier_held_until": account.tier_held_until,
        "tier_warned_until": account.tier_warned_until,
        "measure": program.qualification.measure,
        "qualifying_points": standing.qualifying_units,
        "next_tier": None if following is None else following.tier.tier_id,
        "points_to_next_tier": None if following is None else following.units_to_go,
        "sequence": account.sequence,
        "authorizations": [
            {
                "kind": each.kind,
                "authorization_id": each.authorization_id,
                "reward_id": each.reward_id,
                "points_held": each.points_held,
                "expires_at": each.expires_at,
            }
            for each in standing.authorizations
        ],
        "lots": listed,
        "lots_not_listed": sum(left.lots for left in standing.points_left) - len(listed),
        "points_not_listed": points_but_of(standing, listed),
        "open_messages": None if standing.is_past else list(standing.open_messages),
    }


def points_but_of(standing: Standing, lots: Sequence[Lot]) -> int:
    """The points of all the account's lots but these."""
    return sum(left.points for left in standing.points_left) - sum(lot.points_remaining for lot in lots)
