"""What lets points of one account last that inactivity ends, as far as books hold it."""

from collections.abc import Collection, Iterable

from core.domain.account_lots import AccountLots, NotLoadedError
from core.domain.expiry.lasting import Keeping, condensed, keepings_of
from core.domain.orders.posted import PostedOrder
from core.domain.reach import OrderKey


class AccountKeepings:
    """The orders of one account that are here, and what all the others let last."""

    def __init__(self) -> None:
        """Nothing is here yet."""
        self._orders: dict[OrderKey, PostedOrder] = {}
        self._of_others: list[Keeping] | None = None  #: None: that was not loaded
        self._of_commands: list[Keeping] = []  #: that were decided since

    def put(self, keepings: Iterable[Keeping]) -> None:
        """Take in what all orders let last but those of which all lots are here."""
        self._of_others = list(keepings)

    def put_of_commands(self, keepings: Iterable[Keeping]) -> None:
        """Take in what a command lets last that was decided just now."""
        self._of_commands = condensed([*self._of_commands, *keepings])

    def put_order(self, posted: PostedOrder) -> None:
        """Take in an order in its present state."""
        self._orders[posted.key] = posted

    def drop(self, posted: PostedOrder) -> None:
        """Drop an order that has moved to another account."""
        self._orders.pop(posted.key, None)

    def forget(self, posted: PostedOrder, lots: AccountLots) -> None:
        """Drop an order that does not change any more; what it lets last stays."""
        self.drop(posted)
        if lots.expiries():
            more = keepings_of(posted, lots.of_order(posted.key))
            self._of_others = condensed([*(self._of_others or ()), *more])

    def without(self, orders: Collection[OrderKey], lots: AccountLots, *, is_whole: bool) -> list[Keeping]:
        """All of it but what these orders add; with `is_whole` nothing that was not loaded is missing."""
        if self._of_others is None and not is_whole:
            raise NotLoadedError("what lets points of the account last")
        keepings = [*(self._of_others or ()), *self._of_commands]
        for key, posted in self._orders.items():
            if key not in orders and lots.holds_lots_of(key):
                keepings += keepings_of(posted, lots.of_order(key))
        return keepings
