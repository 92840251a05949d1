"""The lots of one account, as far as books hold them. Asking for more than that raises an error."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from core.domain.lots import Lot, OriginKind, SharedExpiry, SpendingKey, in_spending_order, spending_key
from core.domain.reach import OrderKey

_NEVER = datetime.max.replace(tzinfo=UTC)
_BEHIND_ALL: SpendingKey = (_NEVER, _NEVER, 2**31)  # more lots than an account counts


class NotLoadedError(LookupError):
    """A decider asked the books for something that was not loaded: its reach is too small."""


class _ToTake(NamedTuple):
    """Which lots are here of an account of which not all that have points left are."""

    as_of: datetime  #: what is due to be released by then is here
    is_looked_for: bool  #: whether what can be spent is here
    #: What can be spent is here, line by line and in spending order: of some lines only as far as the lot of this
    #: number. The lots of a line have one shared expiry, or (None) instants of their own, so that their order lasts.
    last_numbers: Mapping[int | None, int]


class AccountLots:
    """The lots of one account, and the expiries that they share.

    Lots are given out with the instants at which they expire as these are now, also where they share them.
    """

    def __init__(self, account_id: UUID, *, is_whole: bool) -> None:
        """With `is_whole` nothing of the account is missing here."""
        self._account_id = account_id
        self._is_whole = is_whole
        self._has_all_open = is_whole
        self._has_every = is_whole
        self._to_take: _ToTake | None = None
        self._orders: set[OrderKey] = set()  #: of which all lots are here
        self._expiries: dict[int, SharedExpiry] | None = {} if is_whole else None
        self._open: dict[int, Lot] = {}
        self._empty: dict[int, Lot] = {}
        self._pending: dict[int, Lot] = {}  #: of the open ones
        self._numbers_of: dict[tuple[OriginKind, str, str], tuple[int, ...]] = {}

    # What is loaded, and what decisions change.

    def put(self, lot: Lot) -> None:
        """Keep a lot in its present state."""
        place, other = (self._open, self._empty) if lot.points_remaining else (self._empty, self._open)
        other.pop(lot.lot_number, None)
        place[lot.lot_number] = lot
        if lot.is_pending and lot.points_remaining:
            self._pending[lot.lot_number] = lot
        else:
            self._pending.pop(lot.lot_number, None)
        origin = lot.origin.key
        numbers = self._numbers_of.get(origin, ())
        if lot.lot_number not in numbers:
            self._numbers_of[origin] = (*numbers, lot.lot_number)

    def put_all_open(self) -> None:
        """Note that all lots with points left were taken in."""
        self._has_all_open = True

    def put_every(self) -> None:
        """Note that all lots were taken in."""
        self._has_all_open = self._has_every = True

    def put_lots_of_order(self, order: OrderKey) -> None:
        """Note that all lots that this order first earned were taken in."""
        self._orders.add(order)

    def put_to_take(self, lots: Collection[Lot], points: int, as_of: datetime) -> None:
        """Take in the lots that are due to be released by `as_of`, and in spending order those that cover `points`.

        Of each line as many as cover them by themselves; where there are fewer, all of it.
        """
        missing: dict[int | None, int] = {}
        last_numbers: dict[int | None, int] = {}
        for lot in lots:
            self.put(lot)
        for lot in in_spending_order(lot for lot in lots if lot.is_spendable(as_of)):
            line = lot.expires_with
            if line not in last_numbers:
                missing[line] = missing.get(line, points) - lot.points_remaining
                if missing[line] <= 0:
                    last_numbers[line] = lot.lot_number
        self._to_take = _ToTake(as_of, points > 0, last_numbers)

    def put_expiries(self, expiries: Iterable[SharedExpiry]) -> None:
        """Take in all shared expiries that have not been carried out, or the new state of some."""
        self._expiries = (self._expiries or {}) | {each.expires_with: each for each in expiries}

    # What deciders ask.

    def open(self) -> Collection[Lot]:
        """Those with points left."""
        if not self._has_all_open:
            raise NotLoadedError(f"open lots of account {self._account_id}")
        return self._dated(self._open.values())

    def every(self) -> list[Lot]:
        """All of them, also the empty ones, by their numbers."""
        if not (self._is_whole or self._has_every):
            raise NotLoadedError(f"all lots of account {self._account_id}")
        return sorted(self._dated([*self._open.values(), *self._empty.values()]), key=lambda lot: lot.lot_number)

    def to_release(self, as_of: datetime) -> Sequence[Lot]:
        """Pending ones with points left whose time has come by `as_of`."""
        if not self._has_all_open and (self._to_take is None or self._to_take.as_of < as_of):
            raise NotLoadedError(f"lots of account {self._account_id} to release by {as_of}")
        return [*self._dated([lot for lot in self._pending.values() if lot.is_to_release(as_of)])]

    def to_take(self, as_of: datetime, changed: Mapping[int, Lot], without: Collection[int]) -> Iterator[Lot]:
        """What can be spent at `as_of`, in spending order, but for the lots `without`.

        `changed` are lots that the caller has changed meanwhile. Who reads on behind what was loaded gets the error.
        """
        through: SpendingKey | None = _BEHIND_ALL
        if not self._has_all_open:
            through = None
            if self._to_take is not None and self._to_take.is_looked_for:
                last_ones = [self._lot(number) for number in self._to_take.last_numbers.values()]
                through = min(map(spending_key, self._dated(last_ones)), default=_BEHIND_ALL)
        if through is not None:
            known = self._dated({**self._open, **changed}.values())
            for lot in in_spending_order(lot for lot in known if lot.is_spendable(as_of)):
                if spending_key(lot) > through:
                    break
                if lot.lot_number not in without:
                    yield lot
        if through != _BEHIND_ALL:
            raise NotLoadedError(f"more lots of account {self._account_id} to take from")

    def of_order(self, order: OrderKey) -> list[Lot]:
        """Those that this order first earned, also empty ones, by their numbers."""
        if not self._is_whole and order not in self._orders:
            raise NotLoadedError(f"lots of order {order} in account {self._account_id}")
        numbers = self._numbers_of.get((OriginKind.ORDER, *order), ())
        return [*self._dated([self._lot(number) for number in sorted(numbers)])]

    def numbered(self, number: int) -> Lot:
        """The lot of this number."""
        if number not in self._open and number not in self._empty:
            raise NotLoadedError(f"lot {number} of account {self._account_id}")
        (lot,) = self._dated([self._lot(number)])
        return lot

    def holds_lots_of(self, order: OrderKey) -> bool:
        """Whether all lots that this order first earned are here."""
        return self._is_whole or order in self._orders

    def expiries(self) -> list[SharedExpiry]:
        """The shared expiries that have not been carried out."""
        if self._expiries is None:
            raise NotLoadedError(f"shared expiries of account {self._account_id}")
        return [*self._expiries.values()]

    def _lot(self, number: int) -> Lot:
        return self._open.get(number) or self._empty[number]

    def _dated(self, lots: Collection[Lot]) -> Collection[Lot]:
        shared = self._expiries
        if not shared:
            return lots
        return [
            lot if lot.expires_with not in shared else lot._replace(expires_at=shared[lot.expires_with].expires_at)
            for lot in lots
        ]
