"""Runs stories on the books of the domain and on the naive model alike, so that they can be compared."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from core.domain.orders.facts import Order, OrderClaim, Refund, RefundReversion, Return
from core.domain.program import Program
from tests.domain.agreement import check_agreement
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.domain.naive import NaiveAccount
from tests.domain.naive_sales import About, Told
from tests.domain.stories import SHOP, START, Step, some_amendment, some_order, some_refund
from tests.domain.valid_programs import Versions
from tests.facts import SOURCE, cancellation, fulfilment


class Customer(NamedTuple):
    """A customer's account, twice."""

    book: Book
    naive: NaiveAccount


class StoryRun:
    """Runs a story of some customers on books and on the naive model alike."""

    new_naive: Callable[[Program], NaiveAccount] = NaiveAccount
    customer_ids: tuple[str, ...] = ("c1", "c2")

    def __init__(self, versions: Versions) -> None:
        self.versions = versions
        new_naive = type(self).new_naive
        first = Book(versions.first)
        self.customers = {
            name: Customer(
                first if name == "c1" else Book(versions.first, customer_id=name, beside=first),
                new_naive(versions.first),
            )
            for name in self.customer_ids
        }
        for customer in self.customers.values():
            customer.naive.others += [each.naive for each in self.customers.values() if each is not customer]
        self.now = START
        self.changed_at: datetime | None = None
        self.sold: dict[str, Order] = {}  #: as they are now
        self.told: dict[str, Told] = {}
        self.owners: dict[str, list[str]] = {}  #: whose account had each order, one after the other; a guest's: none
        self.claims = 0
        self.revisions: dict[str, int] = {}
        self.refunds: list[Refund] = []
        self.parts = self.returns = 0
        self.named: dict[str, set[str]] = {}  #: lines of orders that are called off in part

    def run(self, story: list[Step]) -> Iterator[None]:
        for kind, number, days in story:
            self._step(kind, number, days)
            yield

    def check(self) -> None:
        """All invariants hold of the books, and the naive model agrees."""
        for book, naive in self.customers.values():
            check_everything(book)
            check_agreement(book, naive)

    def takes_orders(self, customer_id: str) -> bool:
        """Whether orders come to this customer."""
        del customer_id
        return True

    def home_of(self, customer_id: str) -> str:
        """The customer to whose account comes what is this customer's."""
        return customer_id

    def _step(self, kind: str, number: int, days: int) -> None:
        if kind in SHOP:
            self._tell(kind, number, days)
        else:
            self._go_on(kind, number, days)

    def _tell(self, kind: str, number: int, days: int) -> None:
        """Tell what a shop would, of one of the orders."""
        now, sold = self.now, [*self.sold.values()]
        one = sold[days % len(sold)] if sold else None
        match kind:
            case "order":
                late = timedelta(days=days % 50 if days % 4 == 0 else 0, hours=days % 7 - 1)
                new = some_order(f"o{len(sold)}", number, now - late)._replace(customer_id=self._buyer(number))
                self.sold[new.order_id] = new
                self._post(new)
            case "return":
                self.returns += 1
                goods = some_order("", number, now - timedelta(hours=days % 30))
                customer_id = self._anybody(number)
                back = goods.currency, goods.occurred_at, goods.lines, goods.rate
                self._post(Return(SOURCE, f"b{self.returns}", customer_id, *back))
            case "refund" if one:
                self.refunds.append(some_refund(one, f"r{len(self.refunds)}", number, now))
                self._post(self.refunds[-1])
            case "revert" if self.refunds:
                undone = self.refunds[days % len(self.refunds)]
                self._post(RefundReversion(undone.source, undone.refund_id, undone.order_id, now))
            case "amend" if one:
                self._amend(one, number)
            case "fulfil" if one:
                self._post(fulfilment(one.order_id, now - timedelta(days=number % 3)))
            case "parcel" if one:
                self._send(one, number)
            case "cancel" if one:
                self._cancel(one, number)
            case "claim" if one:
                self._claim(one, self._anybody(number))

    def _buyer(self, number: int) -> str | None:
        """Who buys, chosen by a number: mostly the first customer, and now and then a guest."""
        match number % 7:
            case 6:
                return None
            case 4 | 5:
                return self.customer_ids[1 + number // 7 % (len(self.customer_ids) - 1)]
            case _:
                return "c1"

    def _anybody(self, number: int) -> str:
        """A customer, chosen by a number."""
        return self.customer_ids[number % len(self.customer_ids)]

    def _go_on(self, kind: str, number: int, days: int) -> None:
        """Let time pass, or what time brings happen."""
        now = self.now
        if kind == "pass":
            self.now += timedelta(days=days, hours=number % 24)
        elif kind == "change":
            self.changed_at = self.changed_at or now
            for book, naive in self.customers.values():
                book.apply(self.versions.second, now)
                naive.program, naive.changed_at = self.versions.second, self.changed_at
        elif kind == "spend":
            for customer in self.customers["c1"]:
                customer.spend(1 + number % 200, now)
        else:
            for book, naive in self.customers.values():
                getattr(book, kind)(now)
                if kind != "review":
                    getattr(naive, kind)(now)

    def _claim(self, sold: Order, customer_id: str) -> None:
        """Say whose an order is: it does not come back to whom it has left."""
        owners = self.owners[sold.order_id]
        if self.home_of(customer_id) in owners[:-1]:
            return
        self.claims += 1  # each at a time of its own, since the last one counts
        at = self.now - timedelta(days=1) + timedelta(microseconds=self.claims)
        was_of = [name for name in self.customer_ids if [self.home_of(name)] == owners[-1:]]
        previous = was_of[self.claims % len(was_of)] if was_of else None
        self._post(OrderClaim(SOURCE, sold.order_id, customer_id, previous, at))

    def _send(self, sold: Order, number: int) -> None:
        """Deliver some pieces of a line, or two lines."""
        self.parts += 1
        first = number % len(sold.lines)
        some = sold.lines[first : first + 1 + number % 2]
        lines = {one.line_id: None if number % 3 == 0 else 1 + number % abs(int(one.quantity)) for one in some}
        at = self.now - timedelta(days=number % 3)
        self._post(fulfilment(sold.order_id, at, lines=lines, part_id=f"y{self.parts}"))

    def _cancel(self, sold: Order, number: int) -> None:
        """Call off the whole order now and then, else some pieces of a line."""
        if number % 3 == 0:
            self._post(cancellation(sold.order_id, self.now))
            return
        self.parts += 1
        one = sold.lines[number % len(sold.lines)]
        pieces = None if number % 5 == 0 else 1 + number % abs(int(one.quantity))
        self._post(cancellation(sold.order_id, self.now, lines={one.line_id: pieces}, part_id=f"x{self.parts}"))
        self.named.setdefault(sold.order_id, set()).add(one.line_id)

    def _amend(self, sold: Order, number: int) -> None:
        """Sell something else in an order's place: its next revision, or the one after it, or an older one."""
        newest = self.revisions.get(sold.order_id, 0)
        revision = max(1, newest + (1, 2, 2, -1)[number % 4])
        refunds = [refund for refund in self.refunds if refund.order_id == sold.order_id]
        named = self.named.get(sold.order_id, set()).union(part.line_id for each in refunds for part in each.lines)
        amended = some_amendment(sold, named, revision, number, self.now)
        if revision > newest:
            self.revisions[sold.order_id], self.sold[sold.order_id] = revision, amended.order
        self._post(amended)

    def _version_at(self, instant: datetime) -> Program:
        is_old = self.changed_at is None or instant < self.changed_at
        return self.versions.first if is_old else self.versions.second

    def _post(self, message: ShopFact) -> None:
        """Post a message, and again; a repeat is no news to the naive model."""
        now = self.now
        match message:
            case Order():
                told = self.told[message.order_id] = Told(message, self._version_at(message.occurred_at))
                self.owners[message.order_id] = []
                home = message.customer_id and self.home_of(message.customer_id)
                if home is not None and self.takes_orders(home):
                    self._come(told, home)
            case Return():
                version = self._version_at(message.occurred_at)
                self.customers[self.home_of(message.customer_id)].naive.take(message, version, now)
            case OrderClaim():
                owners, home = self.owners[message.order_id], self.home_of(message.customer_id)
                if home not in owners and self.takes_orders(home):
                    if owners:
                        self.customers[owners[-1]].naive.go(message.order_id, now)
                    self._come(self.told[message.order_id], home)
            case _:
                self._hear(message)
        for _ in range(2):
            self.customers["c1"].book.deliver(message, now)

    def _come(self, told: Told, customer_id: str) -> None:
        self.owners[told.order.order_id].append(customer_id)
        self.customers[customer_id].naive.come(told, self.now)

    def _hear(self, message: About) -> None:
        told, owners = self.told[message.order_id], self.owners[message.order_id]
        if not told.is_new(message):
            return
        if owners:
            self.customers[owners[-1]].naive.hear(message, self.now)
        else:
            told.hear(message)
