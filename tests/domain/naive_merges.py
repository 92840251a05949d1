"""Two accounts of the naive model become one, and two again: written without the domain's code, to compare with."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from core.domain.program import Program
from tests.domain.naive_holds import NaiveHolds
from tests.domain.naive_limits import Moved
from tests.domain.naive_sales import Pile, Sale
from tests.domain.naive_value import POINTS_MAX, NaiveValue, Told

_Pairs = list[tuple[Pile, Pile]]


@dataclass
class Merge:
    """What an account gave to another one, so that what is left of it can go back."""

    into: "NaiveMerges"
    piles: _Pairs  #: as they are here, and as they are there
    sales: list[Sale]
    moved: list[Moved]  #: what of it counts for limits
    lifetime: int  #: beyond what its orders have


@dataclass
class NaiveMerges(NaiveHolds):
    """One account that may become a part of another one."""

    merge: Merge | None = None  #: by which it is a part of another one now

    @property
    def survivor(self) -> "NaiveMerges":
        """The account to which all comes that comes to this one."""
        return self if self.merge is None else self.merge.into.survivor

    @property
    def all(self) -> "Sequence[NaiveMerges]":
        """All accounts, this one first."""
        return [each for each in self.everybody if isinstance(each, NaiveMerges)]

    def receiver(self, data: dict[str, Any]) -> NaiveValue | str:
        """Who gets points by a transfer, or why nobody does."""
        (named,) = (each for each in self.all if each.customer_id == data["to_customer_id"])
        receiver = named.survivor
        if receiver is self:
            return "same_account"
        return "account_closed" if receiver.status == "closed" else receiver

    def merge_into(self, survivor: "NaiveMerges | None") -> Told:
        """Let all that it has go to another account."""
        problem = "unknown_account" if survivor is None else self._why_not_merged(survivor)
        if self.merge is not None:
            problem = "already_merged"
        if problem or survivor is None:
            return problem, {}
        points, pairs = self.balance + self.pending, []
        for pile in [pile for pile in self.piles if pile.is_there]:
            there = copy(pile)
            there.place = len(survivor.piles)
            survivor.piles.append(there)
            pairs.append((pile, there))
            _empty(pile)
        sales = [sale for sale in self.sales.values() if not sale.has_left]
        _hand_over(sales, self, survivor, pairs)
        merge = Merge(survivor, pairs, sales, [*self.limits.moved], self.lifetime)
        self.lifetime_brought -= merge.lifetime
        survivor.lifetime_brought += merge.lifetime
        survivor.limits.moved += merge.moved
        self.is_open = survivor.is_open = True
        self.merge = merge
        return "accepted", {"points": points, "merged_account_id": self.customer_id}

    def _why_not_merged(self, survivor: "NaiveMerges") -> str:
        if survivor is self:
            return "same_account"
        if survivor.status == "closed":
            return "account_closed"
        if self.reserved:
            return "authorizations_open"
        is_rewarded = any(hold.reward and hold.state in {"open", "captured"} for hold in self.holds.values())
        slides = any(ends_by_inactivity(program) for program in (self.first_program, self.program))
        comes_back = any(order_id in survivor.sales for order_id, sale in self.sales.items() if not sale.has_left)
        if self.debt or survivor.debt or slides or is_rewarded:
            return "not_mergeable"
        if survivor.all_points + self.all_points > POINTS_MAX:
            return "too_many_points"
        return "not_mergeable" if comes_back else ""

    def unmerge(self) -> Told:
        """Let what is left of what it gave to another account come back."""
        merge = self.merge
        if merge is None:
            return "not_merged", {}
        survivor = merge.into
        if survivor.merge is not None:
            return "already_merged", {}
        has_all = all(survivor.sales.get(sale.order.order_id) is sale and not sale.has_left for sale in merge.sales)
        if not has_all or survivor.debt:
            return "not_mergeable", {}
        points = sum(there.left for _, there in merge.piles)
        for here, there in merge.piles:
            here.left, here.expired, here.excused = there.left, there.expired, there.excused
            here.available_at, here.end, here.is_pending = there.available_at, there.end, there.is_pending
            _empty(there)
            there.has_parted = True
        _hand_over(merge.sales, survivor, self, [(there, here) for here, there in merge.piles])
        survivor.lifetime_brought -= merge.lifetime
        self.lifetime_brought += merge.lifetime
        survivor.limits.moved = [each for each in survivor.limits.moved if not any(each is one for one in merge.moved)]
        self.merge = None
        return "accepted", {"points": points, "merged_account_id": self.customer_id}


def _hand_over(sales: list[Sale], giving: NaiveMerges, getting: NaiveMerges, pairs: _Pairs) -> None:
    """Let orders go from one to the other; what their clawbacks took can come back where that has moved along."""
    moved = {id(pile): there for pile, there in pairs}
    for sale in sales:
        getting.sales[sale.order.order_id] = giving.sales.pop(sale.order.order_id)
        sale.taken = [(moved[id(pile)], points) for pile, points in sale.taken if id(pile) in moved]


def _empty(pile: Pile) -> None:
    """Nothing is left of it here."""
    pile.left = pile.expired = pile.excused = 0


def ends_by_inactivity(program: Program) -> bool:
    """Whether inactivity ends any of its points."""
    parts = [*program.earning_rules, *program.promotions]
    expiries = [program.expiry, *(part.expiry for part in parts if part.expiry is not None)]
    return any(expiry.policy.value == "inactivity" for expiry in expiries)
