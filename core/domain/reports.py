"""What the books hold of orders, and of all that was reported of them; what was not loaded raises an error."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar
from uuid import UUID

from core.domain.account_lots import NotLoadedError
from core.domain.ledger import Account
from core.domain.orders.basket import Basket
from core.domain.orders.earning import Earning
from core.domain.orders.facts import Refund
from core.domain.orders.posted import (
    OrderEventKind,
    PostedOrder,
    PostedOrderEvent,
    PostedRefund,
    PostedReturn,
    cancelled_part,
    parts_cancelled,
    refunds_known,
)
from core.domain.program import Program
from core.domain.reach import OrderKey, RefundKey, ReturnKey
from core.domain.value.payments import Payment, PaymentKey

#: Of so many orders it is remembered what is kept of them: as many as a batch has messages, and more.
_KEPT_ORDERS_MAX = 1_000
_K = TypeVar("_K")
_V = TypeVar("_V")


class KeptOrder(NamedTuple):
    """What an order earns, and what is kept of it after all refunds so far."""

    earning: Earning
    basket: Basket


class Reports:
    """What is known of orders, their refunds, and what else happened to them."""

    def __init__(self, *, are_whole: bool) -> None:
        """With `are_whole` nothing that exists is missing here."""
        self._are_whole = are_whole
        self._orders: dict[OrderKey, dict[str, PostedOrder]] = {}
        self._refunds: dict[OrderKey, list[PostedRefund]] = {}
        self._refunds_by_id: dict[RefundKey, dict[str, PostedRefund]] = {}
        self._order_events: dict[OrderKey, dict[tuple[str, OrderEventKind, str], PostedOrderEvent]] = {}
        self._returns: dict[ReturnKey, dict[str, PostedReturn]] = {}
        self._payments: dict[PaymentKey, Payment | None] = {}
        self._kept: dict[tuple[OrderKey, str], KeptOrder] = {}
        self._orders_of: dict[UUID, list[OrderKey]] = {}  #: by account, where all of them are here

    def put_refunds(
        self, orders: Iterable[OrderKey], refunds: Iterable[RefundKey], found: Iterable[PostedRefund]
    ) -> None:
        """Take in all posted refunds of these orders, and of these ids."""
        for order in orders:
            self._refunds.setdefault(order, [])
        for refund in refunds:
            self._refunds_by_id.setdefault(refund, {})
        for posted in found:
            self._keep_refund(posted)

    def put_returns(self, keys: Iterable[ReturnKey], returns: Iterable[PostedReturn]) -> None:
        """Take in all that is posted of these returns without a receipt."""
        for key in keys:
            self._returns.setdefault(key, {})
        for posted in returns:
            self._returns[posted.key][posted.program_id] = posted

    def put_order_events(self, orders: Iterable[OrderKey], found: Iterable[PostedOrderEvent]) -> None:
        """Take in all that is posted of what happened to these orders."""
        for order in orders:
            self._order_events.setdefault(order, {})
        for posted in found:
            self._keep_order_event(posted)

    def put_orders_of(self, account_id: UUID, orders: Iterable[OrderKey]) -> None:
        """Take in which orders are an account's, or moved away from it by a merge; they are here themselves too."""
        self._orders_of[account_id] = list(orders)

    def orders_of(self, account: Account) -> list[PostedOrder]:
        """The orders that are the account's, or moved away from it by a merge, by their keys."""
        keys = self._known(self._orders_of, account.account_id)
        if keys is None:  # these books hold all orders
            keys = list(self._orders)
        found = [self._orders[key].get(account.program_id) for key in sorted(keys)]
        return [posted for posted in found if posted is not None and self._is_of(posted, account)]

    def _is_of(self, posted: PostedOrder, account: Account) -> bool:
        return posted.account_id == account.account_id or any(
            event.account_id == account.account_id and event.kind is OrderEventKind.MOVED_AWAY
            for event in self.order_events_of(posted)
        )

    def put_payments(self, keys: Iterable[PaymentKey], payments: Iterable[Payment]) -> None:
        """Take in what is known of what paid orders, by points."""
        self._payments.update(dict.fromkeys(keys))
        self._payments.update((payment.key, payment) for payment in payments)

    def orders(self, key: OrderKey) -> Mapping[str, PostedOrder]:
        """What is posted of the order, by program."""
        return self._known(self._orders, key, {})

    def returns(self, key: ReturnKey) -> Mapping[str, PostedReturn]:
        """What is posted of a return without a receipt, by program."""
        return self._known(self._returns, key, {})

    def refund(self, key: RefundKey, program_id: str) -> PostedRefund | None:
        """The posted refund of this id."""
        return self._known(self._refunds_by_id, key, {}).get(program_id)

    def refunds_of(self, posted: PostedOrder) -> list[PostedRefund]:
        """The posted refunds of an order."""
        refunds = self._known(self._refunds, posted.key, [])
        return [refund for refund in refunds if refund.program_id == posted.program_id]

    def points_claimed(self, posted: PostedOrder) -> int:
        """What the refunds of an order that are here have claimed back, and an undone one may give back."""
        refunds = self._refunds.get(posted.key, [])
        return sum(refund.recovery.points_due for refund in refunds if refund.program_id == posted.program_id)

    def refunds_known(self, posted: PostedOrder) -> list[Refund]:
        """All refunds of an order that happened, and its cancellations as others."""
        events = self.order_events_of(posted)
        reverted = {event.event_key for event in events if event.kind is OrderEventKind.REFUND_REVERTED}
        return refunds_known(self.refunds_of(posted), posted, reverted, parts_cancelled(events))

    def kept(self, posted: PostedOrder, program: Program) -> KeptOrder:
        """What is kept of an order after all its refunds; `program` is the version that was frozen with it.

        Worked out once, and then again from each refund that is applied.
        """
        key = posted.key, posted.program_id
        found = self._kept.get(key)
        if found is None:
            assert posted.tier_id is not None
            earning = Earning(posted.current, program, posted.tier_id, posted.judged)
            found = KeptOrder(earning, earning.ordered.after(self.refunds_known(posted)))
            if len(self._kept) == _KEPT_ORDERS_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = found
        return found

    def payment(self, key: PaymentKey) -> Payment | None:
        """What has come back of points that paid an order; None: no order has ever named what took them."""
        return self._known(self._payments, key)

    def order_event(self, posted: PostedOrder, kind: OrderEventKind, event_key: str = "") -> PostedOrderEvent | None:
        """What is posted of one thing that happened to an order; without `event_key` to the order as a whole."""
        return self._known(self._order_events, posted.key, {}).get((posted.program_id, kind, event_key))

    def order_events_of(self, posted: PostedOrder) -> list[PostedOrderEvent]:
        """All that is posted of what happened to an order."""
        events = self._known(self._order_events, posted.key, {})
        return [event for (program_id, _, _), event in events.items() if program_id == posted.program_id]

    def _keep_refund(self, posted: PostedRefund) -> None:
        refund = posted.refund
        self._refunds.setdefault(refund.order_key, []).append(posted)
        self._refunds_by_id.setdefault((refund.source, refund.refund_id), {})[posted.program_id] = posted
        key = refund.order_key, posted.program_id
        if (kept := self._kept.get(key)) is not None:
            self._kept[key] = kept._replace(basket=kept.basket.plus(refund))

    def _keep_order_event(self, posted: PostedOrderEvent) -> None:
        key = (posted.source, posted.order_id), posted.program_id
        self._order_events.setdefault(key[0], {})[posted.program_id, posted.kind, posted.event_key] = posted
        if posted.kind is OrderEventKind.REFUND_REVERTED:
            self._kept.pop(key, None)
        elif posted.kind is OrderEventKind.CANCELLED and posted.lines and (kept := self._kept.get(key)) is not None:
            part = cancelled_part(self._orders[key[0]][posted.program_id], posted.occurred_at, posted.lines)
            self._kept[key] = kept._replace(basket=kept.basket.plus(part))

    def _known(self, found: Mapping[_K, _V], key: _K, absent: _V | None = None) -> _V:
        try:
            return found[key]
        except KeyError:
            if self._are_whole:
                return absent  # type: ignore[return-value]  # None where the values may be None
            raise NotLoadedError(str(key)) from None
