"""What books hold of the things that an account's tier follows from: as with all books, as far as it was loaded."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from core.domain.account_lots import NotLoadedError
from core.domain.decision import TierChange
from core.domain.tiers.history import CountedOrder, OrdersByTime, TierFacts, TierHistoryEntry, TierHold, less_of


class AccountTiers:
    """One account's tier changes, and what its orders count for its tier: each one, sums, or nothing."""

    def __init__(self, account_id: UUID, *, is_whole: bool) -> None:
        """With `is_whole` all is here: what is absent does not exist."""
        self._account_id = account_id
        self._history: list[TierHistoryEntry] | None = [] if is_whole else None
        self._orders = OrdersByTime() if is_whole else None
        self._holds: list[TierHold] = []
        self._sums: list[CountedOrder] | None = None
        self._summed_since: datetime | None = None

    def put_history(self, told: Iterable[TierHistoryEntry]) -> None:
        """Take in all tier changes, in the order in which they were told."""
        self._history = [*told]

    def put_counted(self, since: datetime, orders: Iterable[CountedOrder]) -> None:
        """Take in what the recorded orders from `since` on count."""
        self._sums, self._summed_since = [*orders], since

    def put_facts(self, orders: OrdersByTime, holds: Iterable[TierHold]) -> None:
        """Take in all that the tier follows from."""
        self._orders, self._holds = orders, [*holds]

    def history(self) -> Sequence[TierHistoryEntry]:
        """All tier changes."""
        if self._history is None:
            raise NotLoadedError(f"tier changes of account {self._account_id}")
        return self._history

    def counted(self, since: datetime) -> Sequence[CountedOrder]:
        """What the recorded orders from `since` on count, perhaps with some earlier ones."""
        if self._orders is not None:
            return self._orders.since(since)
        if self._sums is None or self._summed_since is None or self._summed_since > since:
            raise NotLoadedError(f"orders of account {self._account_id} since {since}")
        return self._sums

    def facts(self) -> TierFacts:
        """All that the tier follows from."""
        if self._orders is None:
            raise NotLoadedError(f"all that the tier of account {self._account_id} follows from")
        return TierFacts(self._orders, self._holds)

    # What decisions change.

    def move(self, changes: Sequence[TierChange], holds: Iterable[TierHold]) -> None:
        """Note tier changes, and holds by hand."""
        self._holds.extend(holds)
        if changes and changes[0].change_number == 1 and self._history is None:
            self._history = []  # it moves for the first time: there was nothing to load
        if self._history is not None:
            self._history += [TierHistoryEntry(moved.effective_at, moved.tier_id) for moved in changes]

    def count(self, before: CountedOrder | None, after: CountedOrder | None) -> None:
        """Put what an order counts now in the place of what it counted; None: it is new, or gone."""
        if self._orders is not None:
            self._orders.change(before, after)
        if self._sums is not None and self._summed_since is not None:
            # What it counted is in a sum with others, and not even there if it is from before.
            both = [less_of(before)] if before is not None else []
            both += [after] if after is not None else []
            self._sums.extend(each for each in both if each.occurred_at >= self._summed_since)
