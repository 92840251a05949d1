"""What an order leaves behind beside points: it counts as an order of its customer, and as activity.

An order of which nothing is kept leaves no trace, so each change of an order is carried over to its account.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from core.domain.books import Books
from core.domain.expiry.lasting import keepings_of, moved_back, moved_on
from core.domain.ledger import Account
from core.domain.lots import Lot, OriginKind, SharedExpiry
from core.domain.orders.posted import PostedOrder
from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry


def recounted(account: Account, before: PostedOrder | None, after: PostedOrder) -> Account:
    """The order's account once the order has changed; `before` is None where it is new to the account."""
    change = after.is_counted - (before is not None and before.is_counted)
    return account._replace(orders_counted=account.orders_counted + change) if change else account


def expiries_after(
    books: Books,
    before: PostedOrder,
    after: PostedOrder,
    changed: Mapping[int, Lot],
    moved: Iterable[SharedExpiry],
    rules: ProgramRegistry,
    as_of: datetime,
) -> tuple[SharedExpiry, ...]:
    """The shared expiries that a change of a posted order has moved, on or back; `moved` are moved already.

    `changed` are lots of the account that have changed with it.
    """
    counts_less = (before.is_counted, before.points_entitled > 0) > (after.is_counted, after.points_entitled > 0)
    counts_more = after.is_counted and not before.is_counted
    earns_again = after.points_entitled > 0 and not before.points_entitled
    programs = rules.programs(before.program_id)
    known = {each.expires_with: each for each in moved}
    is_concerned = counts_less or counts_more or earns_again
    if not is_concerned or not any(program.has_inactivity for program in programs):
        return tuple(known.values())
    assert before.account_id is not None
    account = books.account(before.account_id)
    own = {lot.lot_number: lot for lot in books.lots_of_order(account, before.key)}
    own |= {number: lot for number, lot in changed.items() if lot.origin.key == (OriginKind.ORDER, *before.key)}
    keepings = list(keepings_of(after, own.values()))
    others = books.keepings(account, but=(before.key,))
    expiries = books.expiries(account)
    shared = {each.expires_with: each for each in expiries} | known

    def change(found: Iterable[SharedExpiry]) -> None:
        for each in found:
            shared[each.expires_with] = known[each.expires_with] = each

    def program_of(version: int) -> Program:
        return programs[version - 1]

    if counts_less:
        change(moved_back(shared.values(), keepings + others, program_of, as_of))
    else:
        # One that no points kept may end later than with those that keep it now: by others that are gone still.
        left = [shared[each.expires_with] for each in expiries if not each.is_kept]
        change(moved_back(left, keepings + others, program_of, as_of))
        # Points of an order that does not count move only what began with them: others may have had that meanwhile.
        moving = [each for each in keepings if each.is_counted or each.lot_number == each.expires_with]
        change(moved_on(shared.values(), moving, program_of, as_of))
    return tuple(known.values())
