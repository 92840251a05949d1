"""Merges on random stories: what comes later ends where it would have in one account; undone, none is to be seen."""

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.ledger import Account
from core.domain.orders.facts import Order, Refund, RefundLine, RefundReversion
from core.domain.program import Program
from tests.domain.book import Book, ShopFact
from tests.facts import SOURCE, cancellation, fulfilment, instant, line, order, program_with

START = instant("2026-03-01")
NOW = START + timedelta(days=130)  #: all has happened, and some points are past their time
#: Where no order's rate depends on what else its customer has, it cannot matter whose it was at first.
PROGRAMS = [
    program_with(
        earning_rules=[{"rule_id": "spend", "kind": "spend", "per_amount": "1.00", "points": "1", **over}],
        clawback={"policy": policy},
        availability=availability,
        expiry=expiry,
        tiers=[{"tier_id": "bronze", "threshold_points": 0}, {"tier_id": "silver", "threshold_points": 90}],
        qualification={"window": window},
    )
    for over in ({}, {"clawback": "full_refund"})
    for policy in ("allow_negative", "clamp")
    for availability in ({}, {"policy": "on_fulfilled"})
    for expiry in ({}, {"policy": "after_months", "months": 3})
    for window in ("lifetime", "calendar_year")
]


class Told(NamedTuple):
    """One fact or command: of which customer, chosen by numbers."""

    kind: str
    customer: int
    number: int


_SHOP = ["order", "order", "refund", "refund", "revert", "fulfil", "cancel"]
shop = st.lists(
    st.builds(Told, st.sampled_from([*_SHOP, "credit"]), st.integers(0, 1), st.integers(0, 99)), min_size=2, max_size=12
)
later = st.lists(
    st.builds(Told, st.sampled_from([*_SHOP, "credit", "debit", "redeem"]), st.integers(0, 1), st.integers(0, 99)),
    max_size=10,
)


class World:
    """Two customers; with `is_one` all that is told of the first one is told of the second."""

    def __init__(self, program: Program, *, is_one: bool = False) -> None:
        self._is_one = is_one
        first = Book(program, customer_id="c1")
        self.book = Book(program, customer_id="c2", beside=first)
        self._orders: list[Order] = []
        self._refunds: list[Refund] = []
        self._count = 0
        for customer in (0, 1):
            self.command("credit", customer, points=5 + customer, **self._end())
        assert len(self.accounts()) == (1 if is_one else 2)

    def customer(self, number: int) -> str:
        """Whom it is told of."""
        return "c2" if self._is_one or number else "c1"

    def command(self, verb: str, customer: int, **data: Any) -> str:
        """Send a command; its code."""
        self._count += 1
        asked = {"customer_id": self.customer(customer), **data}
        return self.book.command(verb, f"k{self._count}", asked, NOW, NOW)[0]

    def _end(self) -> dict[str, datetime]:
        """Lots that are alike otherwise are taken in the order of their numbers, which a merge changes: none are."""
        return {"expires_at": instant(f"{2100 + self._count}-01-01")}

    def skip(self) -> None:
        """Give the next command the id after the next one, since the other world has sent one more."""
        self._count += 1

    def tell(self, told: Told) -> None:
        """Tell of what happens next."""
        if told.kind in {"credit", "debit", "redeem"}:
            end = self._end() if told.kind == "credit" else {}
            self.command(told.kind, told.customer, points=1 + told.number, **end)
        elif (fact := self._fact(told)) is not None:
            self.book.deliver(fact, NOW)

    def _fact(self, told: Told) -> ShopFact | None:
        if told.kind == "order":
            return self._sold(told)
        if not self._orders or (told.kind == "revert" and not self._refunds):
            return None
        sold = self._orders[told.number % len(self._orders)]
        match told.kind:
            case "refund":
                return self._refund(sold, told.number)
            case "revert":
                undone = self._refunds[told.number % len(self._refunds)]
                return RefundReversion(SOURCE, undone.refund_id, undone.order_id, _later(sold))
            case "fulfil":
                return fulfilment(sold.order_id, _later(sold))
            case _:
                return cancellation(sold.order_id, _later(sold))

    def _sold(self, told: Told) -> Order:
        lines = [line(str(n), Decimal(10 + told.number), 4) for n in range(2)]
        at = START + timedelta(days=told.number, minutes=len(self._orders))
        customer_id = self.customer(told.customer)
        self._orders.append(order(order_id=f"o{len(self._orders)}", lines=lines, at=at, customer_id=customer_id))
        return self._orders[-1]

    def _refund(self, sold: Order, number: int) -> Refund:
        part = RefundLine(str(number % 2), Decimal(1 + number % 3), None, None)
        name, at = f"r{len(self._refunds)}", _later(sold)
        self._refunds.append(Refund(SOURCE, name, sold.order_id, at, full=False, paid=None, net=None, lines=(part,)))
        return self._refunds[-1]

    def accounts(self) -> dict[str, Account]:
        """The accounts by their owners, whatever they are merged into."""
        return {each.customer_id: each for each in self.book.books.accounts.values()}

    def end(self, customer_id: str) -> tuple[object, ...]:
        """Where an account stands, and what it has."""
        account = self.accounts()[customer_id]
        lots: Counter[tuple[object, ...]] = Counter()
        for lot in self.book.books.open_lots(account):
            lots[lot.origin.kind, lot.origin.id, lot.available_at, lot.expires_at, lot.is_pending] += (
                lot.points_remaining
            )
        sums = account.balance, account.pending, account.deficit, account.lifetime_points
        return (*sums, account.tier_id, account.orders_counted, account.enrolled_at, lots)


def _later(sold: Order) -> datetime:
    return sold.occurred_at + timedelta(days=1)


@settings(max_examples=6 * settings().max_examples)
@given(st.sampled_from(PROGRAMS), shop, later)
def test_what_comes_after_a_merge_ends_where_it_would_have_in_one_account_all_along(
    program: Program, before: list[Told], after: list[Told]
) -> None:
    merged, together = World(program), World(program, is_one=True)
    for told in before:
        merged.tell(told)
        together.tell(told)
    answer = merged.command("account.merge", 0, into_customer_id="c2")
    if answer != "accepted":
        assert any(account.deficit for account in merged.accounts().values()), answer
        return
    together.skip()
    for told in after:
        merged.tell(told)
        together.tell(told)
    assert merged.end("c2") == together.end("c2")


@settings(max_examples=6 * settings().max_examples)
@given(st.sampled_from(PROGRAMS), shop, st.lists(shop.flatmap(st.sampled_from), max_size=8))
def test_a_merge_that_is_undone_leaves_both_accounts_as_if_none_had_been(
    program: Program, before: list[Told], between: list[Told]
) -> None:
    merged, apart = World(program), World(program)
    for told in before:
        merged.tell(told)
        apart.tell(told)
    if merged.command("account.merge", 0, into_customer_id="c2") != "accepted":
        return
    for told in between:
        # What is new meanwhile is the survivor's.
        if told.kind not in {"order", "credit"}:
            merged.tell(told)
            apart.tell(told)
    if merged.command("account.unmerge", 0) != "accepted":
        assert any(account.deficit for account in merged.accounts().values())
        return
    if not any(account.deficit for account in apart.accounts().values()):
        assert (merged.end("c1"), merged.end("c2")) == (apart.end("c1"), apart.end("c2"))
