"""What is known of an account's past when its tier is judged."""

from datetime import datetime
from typing import NamedTuple

from core.domain.orders.posted import Qualifying


class TierHistoryEntry(NamedTuple):
    """From `effective_at` on the account was in `tier_id`."""

    effective_at: datetime
    tier_id: str


class CountedOrder(NamedTuple):
    """What one recorded order of an account counts for the tier, or several together that lie in the same periods."""

    occurred_at: datetime
    qualifying: Qualifying
