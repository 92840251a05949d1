"""What the fulfilment of an order does to its account: the points that were held for it become available."""

from collections.abc import Sequence
from datetime import datetime

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision
from core.domain.expiry.dates import available_by_fulfilment, expiries_begun_by, new_expiry
from core.domain.expiry.due import release
from core.domain.ledger import Account
from core.domain.lots import Lot, SharedExpiry
from core.domain.message import Message
from core.domain.orders.facts import Fulfilment
from core.domain.orders.holding import Rebalancing, held_of, rebalanced
from core.domain.orders.lookup import event_key_of, order_for_event
from core.domain.orders.posted import OrderEventKind, PostedOrder, PostedOrderEvent
from core.domain.orders.taking import waits
from core.domain.outcomes import Parked, Replayed, Waiting
from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, OrderParts, Reach


def fulfilment_reach(message: Message[Fulfilment], rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What `decide_fulfilment` asks of the books."""
    account = AccountParts(expiries=any(version.program.has_inactivity for version in rules.versions()))
    is_part = bool(message.fact.lines)
    return Reach({message.fact.order_key: OrderParts(refunds=is_part, events=True, account=account)})


def decide_fulfilment(
    books: Books, message: Message[Fulfilment], rules: ProgramRegistry, as_of: datetime
) -> Decision | Replayed | Waiting | Parked:
    """Release the points of the order that wait for its fulfilment, or for that of these lines, now or some days later.

    Their time to expire runs from when they become available.

    The version that judged the order decides. Where points wait for nothing, or for a number of days, the fulfilment is
    recorded and changes nothing.
    """
    fulfilment, key = message.fact, message.fact.order_key
    posted = order_for_event(books, OrderEventKind.FULFILLED, message, rules)
    if not isinstance(posted, PostedOrder):
        return posted
    event = PostedOrderEvent(
        OrderEventKind.FULFILLED,
        event_key_of(fulfilment),
        *key,
        fulfilment.occurred_at,
        posted.program_id,
        message.digest,
        posted.account_id,
        lines=fulfilment.lines,
    )
    fulfilled = posted if fulfilment.lines else posted._replace(fulfilled_at=fulfilment.occurred_at)
    recorded = Decision(facts=(event,), orders=(fulfilled,))
    if posted.account_id is None:
        return recorded
    account = books.account(posted.account_id)
    program = rules.version(posted.program_id, posted.program_version).program
    if fulfilment.lines:
        change = _part_fulfilled(books, account, posted, program, event, as_of)
    else:
        change = _all_fulfilled(books, account, posted, program, event, as_of)
    return recorded if change is None else recorded._replace(changes=(change,))


def _all_fulfilled(
    books: Books, account: Account, posted: PostedOrder, program: Program, event: PostedOrderEvent, as_of: datetime
) -> AccountChange | None:
    """What becomes available of all that waits still."""
    held = [lot for lot in books.lots_of_order(account, posted.key) if waits(lot)]
    if not held:
        return None
    available = available_by_fulfilment(program.availability, posted.order.occurred_at, event.occurred_at, as_of)
    shared = {each.expires_with: each for each in (books.expiries(account) if program.has_inactivity else ())}
    moved: dict[int, SharedExpiry] = {}
    due: list[Lot] = []
    for lot in held:
        new = new_expiry(program, lot.earned_by, available, shared.values(), as_of, is_counted=posted.is_counted)
        expires_with = lot.lot_number if new.expires_with == 0 else new.expires_with
        due.append(lot._replace(available_at=available, expires_at=new.expires_at, expires_with=expires_with))
        if new.moved is not None:
            shared[new.moved.expires_with] = moved[new.moved.expires_with] = new.moved
        shared |= {each.expires_with: each for each in _begun(posted, due[-1:])}
    change = release(account, due, as_of)
    source, order_id = posted.key
    return change._replace(
        lots=tuple({lot.lot_number: lot for lot in (*due, *change.lots)}.values()),
        entries=tuple(entry._replace(source=source, order_id=order_id) for entry in change.entries),
        expiries=tuple(moved.values()),
        expiries_begun=_begun(posted, due),
    )


def _begun(posted: PostedOrder, lots: Sequence[Lot]) -> tuple[SharedExpiry, ...]:
    """The shared expiries that begin with these lots of an order of which perhaps nothing is kept."""
    is_kept = posted.is_counted or posted.points_entitled > 0
    return tuple(each._replace(is_kept=is_kept) for each in expiries_begun_by(lots))


def _part_fulfilled(
    books: Books, account: Account, posted: PostedOrder, program: Program, event: PostedOrderEvent, as_of: datetime
) -> AccountChange | None:
    """What becomes available with the lines of `event`, as if only what is fulfilled had been bought."""
    kept = books.kept(posted, program)
    target = kept.earning.of(kept.basket)
    held = held_of(posted, program, kept, target, [*books.order_events_of(posted), event])
    if held is None:
        return None
    available = available_by_fulfilment(program.availability, posted.order.occurred_at, event.occurred_at, as_of)
    own = books.lots_of_order(account, posted.key)
    of = Rebalancing(posted, program, held, own, event.occurred_at, min(available, as_of), as_of)
    change = rebalanced(books, account, of)
    return change if change.entries else None
