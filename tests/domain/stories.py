"""Stories for the property tests: what reaches one account, in the sequence in which it is recorded, from numbers."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from core.domain.orders.facts import AmendedOrder, Fulfilment, Order, OrderLine, Refund, RefundReversion, Return
from core.domain.program import Program
from tests.domain.book import Book, ShopFact
from tests.domain.naive import NaiveAccount
from tests.domain.valid_programs import CATEGORIES, SKUS, Versions
from tests.facts import SOURCE, cancellation, fulfilment, instant, line, order, part, refund

START = instant("2026-01-10")
Step = tuple[str, int, int]
SHOP = (
    *["order"] * 4,
    *["refund"] * 4,
    *["amend", "amend", "revert", "revert"],
    *["parcel", "parcel", "parcel", "return"],
    *["fulfil", "fulfil", "cancel"],
)
KINDS = (*SHOP, "spend", "pass", "pass", "expire", "release", "review", "change")
steps = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 10_000), st.integers(0, 200)), min_size=2, max_size=18
)


def some_lines(number: int) -> list[OrderLine]:
    """One to three lines, chosen by a number."""
    lines = []
    for n in range(1 + number % 3):
        which = number // (3 + n)
        lines.append(
            line(
                str(n),
                Decimal(0 if which % 9 == 4 else which * 37 % 9000).scaleb(-2),
                1 + which % 4,
                tax=str(Decimal(which * 11 % 900).scaleb(-2)) if which % 5 == 0 else "0",
                kind="shipping" if which % 7 == 6 else "gift_card" if which % 17 == 16 else "product",
                sku=SKUS[which % len(SKUS)],
                categories=CATEGORIES[: which % 4],
            )
        )
    return lines


def some_order(order_id: str, number: int, at: datetime) -> Order:
    """An order, chosen by a number."""
    currency, rate = {1: ("CHF", None), 5: ("CHF", "1.2"), 6: ("ZAR", "0.05291234")}.get(number % 13, ("EUR", None))
    lines = some_lines(number)
    cost = sum((each.amount + each.tax for each in lines), Decimal(0))
    return order(
        order_id=order_id,
        currency=currency,
        rate=rate,
        lines=lines,
        at=at,
        points_paid=min(Decimal("7.31"), cost) if number % 6 == 5 else "0",
        attributes={"channel": ("web", "till")[number % 2], "paid": number % 3 > 0, "till": number % 4},
        customer_tags=[["vip"], [], ["staff", "press"]][number % 3],
    )


def some_refund(sold: Order, refund_id: str, number: int, at: datetime) -> Refund:
    """One of the refunds of an order, chosen by a number."""
    one = sold.lines[number % len(sold.lines)]
    match number % 8:
        case 0:
            return refund(order_id=sold.order_id, refund_id=refund_id, at=at)
        case 1 | 2:
            share = round(sold.total_net * (number % 60) / 100, 2)
            return refund(net=share, order_id=sold.order_id, refund_id=refund_id, at=at)
        case 3:
            given = part(one.line_id, net=str(round(one.amount / 3, 2)))
        case 4:
            paid = (sold.total_gross - sold.points_paid) * (number % 60) / 100
            return refund(paid=round(paid, 2), order_id=sold.order_id, refund_id=refund_id, at=at)
        case 5:
            given = part(one.line_id, quantity=1, net=str(round(one.amount * (number % 7) / 6, 2)))
        case _:
            given = part(one.line_id, quantity=1 + number % int(one.quantity))
    return refund(given, order_id=sold.order_id, refund_id=refund_id, at=at)


def some_amendment(sold: Order, named: set[str], revision: int, number: int, at: datetime) -> AmendedOrder:
    """What an order became, chosen by a number: other lines and other money, and all lines that are `named` already."""
    lines = some_lines(number)
    there = {line.line_id for line in lines}
    lines += [line for line in sold.lines if line.line_id in named - there]
    gross = sum((line.amount + line.tax for line in lines), Decimal(0))
    now = some_order(sold.order_id, number, sold.occurred_at)._replace(
        lines=tuple(lines),
        points_paid=min(gross, Decimal(number % 3)),
        currency=sold.currency,
        rate=sold.rate,
    )
    return AmendedOrder(sold.source, sold.order_id, at, revision, now)


class StoryRun:
    """Runs a story on a book and on the naive model alike."""

    def __init__(self, versions: Versions) -> None:
        self.versions = versions
        self.book, self.naive = Book(versions.first), NaiveAccount(versions.first)
        self.now = START
        self.changed_at: datetime | None = None
        self.sold: dict[str, Order] = {}
        self.revisions: dict[str, int] = {}
        self.refunds: list[Refund] = []
        self.parts = self.returns = 0
        self.named: dict[str, set[str]] = {}  #: lines of orders that are called off in part

    def run(self, story: list[Step]) -> Iterator[None]:
        for kind, number, days in story:
            self._step(kind, number, days)
            yield

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
                new = some_order(f"o{len(sold)}", number, now - late)
                self.sold[new.order_id] = new
                self._post(new)
            case "return":
                self.returns += 1
                goods = some_order("", number, now - timedelta(hours=days % 30))
                named = SOURCE, f"b{self.returns}", "c1", goods.currency, goods.occurred_at, goods.lines, goods.rate
                self._post(Return(*named))
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

    def _go_on(self, kind: str, number: int, days: int) -> None:
        """Let time pass, or what time brings happen."""
        now = self.now
        match kind:
            case "spend":
                self.book.spend(1 + number % 200, now)
                self.naive.spend(1 + number % 200, now)
            case "pass":
                self.now += timedelta(days=days, hours=number % 24)
            case "change":
                self.book.apply(self.versions.second, now)
                self.naive.program = self.versions.second
                self.changed_at = self.naive.changed_at = self.changed_at or now
            case "review":
                self.book.review(now)
            case "expire" | "release":
                getattr(self.book, kind)(now)
                getattr(self.naive, kind)(now)

    def _send(self, sold: Order, number: int) -> None:
        """Deliver some pieces of a line, or two lines."""
        self.parts += 1
        first = number % len(sold.lines)
        some = sold.lines[first : first + 1 + number % 2]
        lines = {one.line_id: None if number % 3 == 0 else 1 + number % int(one.quantity) for one in some}
        at = self.now - timedelta(days=number % 3)
        self._post(fulfilment(sold.order_id, at, lines=lines, part_id=f"y{self.parts}"))

    def _cancel(self, sold: Order, number: int) -> None:
        """Call off the whole order now and then, else some pieces of a line."""
        if number % 3 == 0:
            self._post(cancellation(sold.order_id, self.now))
            return
        self.parts += 1
        one = sold.lines[number % len(sold.lines)]
        pieces = None if number % 5 == 0 else 1 + number % int(one.quantity)
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
        """Post a message; one that was there before is a repeat, which the naive model is not given."""
        now, book, naive = self.now, self.book, self.naive
        if isinstance(message, Order):
            book.deliver(message, now)
            naive.complete(message, self._version_at(message.occurred_at), now)
        elif isinstance(message, Refund):
            book.deliver(message, now)
            naive.refund(message, now)
        elif isinstance(message, AmendedOrder):
            book.deliver(message, now)
            naive.amend(message.order, message.revision, now)
        elif isinstance(message, RefundReversion):
            if message.refund_id not in naive.sales[message.order_id].reverted:
                naive.revert(message.order_id, message.refund_id, now)
            book.deliver(message, now)
        elif isinstance(message, Return):
            naive.take(message, self._version_at(message.occurred_at), now)
            book.deliver(message, now)
        elif isinstance(message, Fulfilment) and message.lines:
            naive.fulfil_part(message, now)
            book.deliver(message, now)
        elif isinstance(message, Fulfilment):
            if naive.sales[message.order_id].fulfilled_at is None:
                naive.fulfil(message, now)
            book.deliver(message, now)
        else:
            if message.lines or naive.sales[message.order_id].cancelled_at is None:
                naive.cancel(message, now)
            book.deliver(message, now)
        book.deliver(message, now)
