"""How long points last that inactivity ends, worked out anew where an order does not count any more.

Each order that counts lets all such points of its account last so long after it, and so does each credit of points,
from when they are available on. Without one of them the end is that of the others, as if it had never been.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from core.domain.decision import AccountChange
from core.domain.expiry.dates import expires_at
from core.domain.ledger import GIVING, SPENDING
from core.domain.lots import Lot, SharedExpiry
from core.domain.orders.posted import PostedOrder
from core.domain.program import ExpiryPolicy, Program

ProgramOf = Callable[[int], Program]  #: a version of the account's program, by its number


class Keeping(NamedTuple):
    """What lets points last: an order that counts, or points that became available."""

    program_version: int
    at: datetime
    expires_with: int | None = None  #: the shared expiry of the points; None: an order, which is for all of them
    lot_number: int | None = None  #: of the points; None: it does not matter
    is_counted: bool = True  #: else they only keep their own expiry, where they are the first that have it
    is_gone: bool = (
        False  #: of an order of which nothing is kept: they only tell when an expiry ends that is theirs alone
    )


def keepings_of(posted: PostedOrder, lots: Iterable[Lot]) -> Iterator[Keeping]:
    """What an order and its lots keep.

    Points of an order that does not count begin to share an expiry, or have one that is there, and do not move it.
    Lots of an order of which nothing is kept are told of too, since its points may come back to them.
    """
    version = posted.program_version
    if posted.is_counted:
        yield Keeping(version, posted.order.occurred_at)
    for lot in lots:
        if lot.expires_with is not None and lot.available_at is not None:
            # Points do not end before they are available.
            is_kept = posted.is_counted or (lot.is_pending and lot.points_remaining > 0)
            is_gone = not is_kept and not posted.points_entitled
            yield Keeping(version, lot.available_at, lot.expires_with, lot.lot_number, is_kept, is_gone)


def keepings_of_command(change: AccountChange, program_version: int) -> Iterator[Keeping]:
    """What a command and its lots keep: spending is an activity, and a credit keeps the points that it joins."""
    opened = {entry.sequence for entry in change.entries if entry.kind in GIVING}
    for entry in change.entries:
        if entry.kind in SPENDING:
            yield Keeping(program_version, entry.occurred_at)
    for lot in change.lots:
        if lot.opened_by_sequence in opened and lot.expires_with is not None and lot.available_at is not None:
            yield Keeping(program_version, lot.available_at, lot.expires_with, lot.lot_number)


def condensed(keepings: Iterable[Keeping]) -> list[Keeping]:
    """Those of them that matter."""
    latest: dict[tuple[int, int | None, bool], Keeping] = {}
    firsts: dict[int, Keeping] = {}
    for each in keepings:
        if each.is_counted or each.is_gone:
            key = each.program_version, each.expires_with, each.is_gone
            latest[key] = max(latest.get(key, each), each, key=lambda one: one.at)
        if each.expires_with is not None and each.lot_number is not None and not each.is_gone:
            first = firsts.get(each.expires_with, each)
            firsts[each.expires_with] = min(first, each, key=lambda one: one.lot_number or 0)
    return [*latest.values(), *(first for first in firsts.values() if not first.is_counted)]


def lasting_until(shared: SharedExpiry, keepings: Iterable[Keeping], program_of: ProgramOf) -> datetime | None:
    """Until when these let points with this expiry last; None: they say nothing of it.

    Where all of its points are of orders of which nothing is kept, these let it last as they did: should one of the
    orders be kept again, its points end as if it had never been gone.
    """
    concerned = [each for each in keepings if each.expires_with in (None, shared.expires_with)]
    if any(each.expires_with is not None and not each.is_gone for each in concerned):
        concerned = [each for each in concerned if not each.is_gone]
    first = min((each.lot_number for each in concerned if each.lot_number is not None), default=None)
    ends = [
        end
        for each in concerned
        if each.is_counted or each.is_gone or each.lot_number == first
        if (end := _end(shared, each, program_of)) is not None
    ]
    if ends and shared.extended_to is not None:
        ends.append(shared.extended_to)  # what a person has promised stays
    return max(ends, default=None)


def _end(shared: SharedExpiry, keeping: Keeping, program_of: ProgramOf) -> datetime | None:
    program = program_of(keeping.program_version)
    expiry = program.expiries.get(shared.earned_by, program.expiry)
    return expires_at(expiry, program.zone, keeping.at) if expiry.policy is ExpiryPolicy.INACTIVITY else None


def moved_back(
    shared: Iterable[SharedExpiry], keepings: Iterable[Keeping], program_of: ProgramOf, as_of: datetime
) -> list[SharedExpiry]:
    """The shared expiries that end earlier, or are kept by no points any more, as `keepings` are all that is there.

    One that has passed by `as_of` stands. One whose end would have passed by then ends at `as_of`: until then its
    points were good. One that no known points have ends when it did: others say nothing of when it would.
    """
    known, moved = list(keepings), []
    having_it = {each.expires_with for each in known}
    keeping_it = {each.expires_with for each in known if not each.is_gone}
    for each in shared:
        if each.expires_at <= as_of:
            continue
        end = lasting_until(each, known, program_of) if each.expires_with in having_it else None
        now = each._replace(is_kept=each.expires_with in keeping_it)
        if end is not None and end < each.expires_at:
            now = now._replace(expires_at=max(end, as_of))
        if now != each:
            moved.append(now)
    return moved


def moved_on(
    shared: Iterable[SharedExpiry], keepings: Iterable[Keeping], program_of: ProgramOf, as_of: datetime
) -> list[SharedExpiry]:
    """The shared expiries that end later by `keepings`. One that has passed by `as_of` stands."""
    known, moved = list(keepings), []
    for each in shared:
        end = lasting_until(each, known, program_of) if each.expires_at > as_of else None
        if end is not None and end > each.expires_at:
            moved.append(each._replace(expires_at=end))
    return moved
