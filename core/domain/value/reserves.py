"""Which points of which lots authorizations hold."""

from typing import NamedTuple

from core.domain.books import Books
from core.domain.ledger import Account
from core.domain.lots import Lot
from core.domain.movements import Movement
from core.domain.value.authorizations import Authorization


class Reserved(NamedTuple):
    """Points of a lot that an authorization holds."""

    lot: Lot
    points: int


def lots_held(books: Books, account: Account, authorization: Authorization) -> list[Reserved]:
    """What an open authorization holds, in the order in which it took it: the first is captured first."""
    (movement,) = books.movements_of(authorization)
    parts = parts_held(movement, authorization)
    return [Reserved(books.lot(account, number), points) for number, points in parts]


def parts_held(movement: Movement, authorization: Authorization) -> list[tuple[int, int]]:
    """The same by the numbers of the lots; `movement` is the entry that reserved the points."""
    captured = authorization.points_captured
    found: list[tuple[int, int]] = []
    for part in movement.allocations:  # without what clawbacks have taken
        left = max(0, -part.points - captured)
        captured -= -part.points - left
        if left:
            found.append((part.lot_number, left))
    return found
