"""Stories of reserved points that clawbacks take: against a plain count of points, in which lots do not matter."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.domain.program import Program
from core.domain.value.reserves import lots_held
from tests.domain.book import Book
from tests.facts import instant, order, part, program_with, refund, spend_rule

KINDS = ("credit", "order", "refund", "refund", "refund", "authorize", "authorize", "capture", "void")
stories = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 10_000)), min_size=2, max_size=25)


@dataclass
class Count:
    """One customer's points, plainly counted."""

    may_owe: bool
    free: int = 0
    owed: int = 0
    held: Counter[str] = field(default_factory=Counter)

    def gain(self, points: int) -> None:
        """Points come, and pay off what is owed first."""
        paid = min(points, self.owed)
        self.owed, self.free = self.owed - paid, self.free + points - paid

    def take_back(self, points: int) -> int:
        """A clawback takes what is free, then what is held, and only the rest is owed, or waived; what it took."""
        from_free = min(points, self.free)
        from_held = min(points - from_free, self.held.total())
        rest = points - from_free - from_held
        self.free, self.owed = self.free - from_free, self.owed + (rest if self.may_owe else 0)
        return from_held


class Run:
    """A story on a book and on the count alike."""

    def __init__(self, program: Program, *, may_owe: bool) -> None:
        self.book, self.count = Book(program), Count(may_owe)
        self.now = instant("2026-03-01")
        self.sold: dict[str, int] = {}  #: what is left of each order

    def step(self, number: int, kind: str, chance: int) -> None:
        """One message, and its effect on the count."""
        self.now += timedelta(minutes=1)
        name, count, points = f"k{number}", self.count, 1 + chance % 40
        held = sorted(name for name, points in count.held.items() if points)
        one = held[chance % len(held)] if held else None
        sold = [order_id for order_id, points in self.sold.items() if points]
        match kind:
            case "order":
                self.book.deliver(order(f"{points}.00", name, at=self.now), self.now)
                self.sold[name] = points
                count.gain(points)
            case "credit":
                self.tell("credit", name, {"customer_id": "c1", "points": points})
                count.gain(points)
            case "authorize" if 0 < points <= count.free:
                self.tell("authorize", name, {"customer_id": "c1", "points": points, "authorization_id": name})
                count.free, count.held[name] = count.free - points, points
            case "capture" if one is not None:
                points = min(points, count.held[one])
                self.tell("capture", name, {"authorization_id": one, "points": points, "is_final": False})
                count.held[one] -= points
            case "void" if one is not None:
                self.tell("void", name, {"authorization_id": one})
                count.gain(count.held.pop(one))
            case "refund" if sold:
                order_id = sold[chance % len(sold)]
                points = min(points, self.sold[order_id])
                self.sold[order_id] -= points
                self.take_back(order_id, name, points)

    def tell(self, verb: str, name: str, data: dict[str, Any]) -> None:
        assert self.book.command(verb, name, data, self.now, self.now)[0] == "accepted"

    def take_back(self, order_id: str, name: str, points: int) -> None:
        own, others = self.reserved_of(order_id)
        from_held = self.count.take_back(points)
        self.book.deliver(refund(part(net=f"{points}.00"), refund_id=name, order_id=order_id, at=self.now), self.now)
        own_after, others_after = self.reserved_of(order_id)
        assert (own - own_after, others - others_after) == (min(own, from_held), from_held - min(own, from_held))
        for each in self.book.books.authorizations():
            self.count.held[each.authorization_id] = each.points_held

    def reserved_of(self, order_id: str) -> tuple[int, int]:
        """How many points of this order are reserved, and how many others."""
        open_ones = [each for each in self.book.books.authorizations() if each.points_held]
        parts = [part for each in open_ones for part in lots_held(self.book.books, self.book.account, each)]
        own = sum(part.points for part in parts if part.lot.origin.id == order_id)
        return own, sum(part.points for part in parts) - own

    def check(self) -> None:
        """The book has what was counted, and every point of it in one place."""
        if not self.book.entries:
            return
        account, count = self.book.account, self.count
        assert (account.balance, account.deficit) == (count.free - count.owed, count.owed)
        assert account.reserved == count.held.total() == sum(self.reserved_of(""))
        assert account.balance == sum(lot.points_remaining for lot in self.book.lots.values()) - account.deficit
        for entry in self.book.entries:
            allocated = sum(part.points for part in entry.allocations)
            assert entry.points + entry.pending_change == allocated - entry.deficit_change


@given(stories, st.sampled_from(["allow_negative", "clamp"]))
def test_an_account_owes_only_what_nothing_that_is_reserved_can_pay(story: list[tuple[str, int]], policy: str) -> None:
    clawback = {"policy": policy, "takes_reserved": True}
    run = Run(program_with(clawback=clawback, earning_rules=[spend_rule()]), may_owe=policy == "allow_negative")
    for number, (kind, chance) in enumerate(story):
        run.step(number, kind, chance)
        run.check()
