"""What comes back of points that paid orders, in the naive model: written without the domain's code."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from core.domain.orders.facts import Order
from tests.domain.naive_earning import share_back
from tests.domain.naive_merges import NaiveMerges
from tests.domain.naive_sales import Pile, Told
from tests.domain.naive_value import Did

Key = tuple[str, str]  #: "authorization" or "command", and its id
Parts = list[tuple[Pile, int]]


def paid_by(order: Order) -> Key | None:
    """What an order names as having paid it."""
    if order.points_authorization_id is not None:
        return "authorization", order.points_authorization_id
    return None if order.points_command_id is None else ("command", order.points_command_id)


@dataclass
class Payment:
    """What has come back of points that paid an order."""

    told: Told | None = None  #: the order that names it now
    due: int = 0
    excused: int = 0
    shortfall: int = 0

    @property
    def back(self) -> int:
        """How many have come back and were not taken again."""
        return self.due + self.excused + self.shortfall


@dataclass
class Payer:
    """What took the points."""

    account: NaiveMerges
    returning: Parts  #: in the order in which it comes back
    undone: int  #: of these, by a reversal

    @property
    def points(self) -> int:
        return sum(points for _, points in self.returning)


@dataclass
class NaivePayments:
    """All that has paid orders, of all accounts."""

    accounts: list[NaiveMerges] = field(default_factory=list)
    known: dict[Key, Payment] = field(default_factory=dict)

    def back(self, command_id: str) -> int:
        """How many points of a command have come back."""
        payment = self.known.get(("command", command_id))
        return 0 if payment is None else payment.back

    def follow(self, told: Told, was: Key | None, now: datetime) -> None:
        """Let what has paid an order follow what was told of it; `was` is what it named before."""
        key = paid_by(told.order)
        if was is not None and was != key:
            self.known[was].told = None
            self.settle(was, now)
        if key is None:
            return
        self.known.setdefault(key, Payment()).told = told
        if told.cancelled_at is not None and key[0] == "authorization":
            for account in self.accounts:
                hold = account.holds.get(key[1])
                if hold is not None and hold.state == "open":
                    account.let_go_now(hold, "voided", now, gives_back=False)
        self.settle(key, now)

    def settle(self, key: Key, now: datetime) -> None:
        """Let as many points be back as should be."""
        payment, payer = self.known.get(key), self._payer(key)
        if payment is None or payer is None or payer.account.merge is not None:
            return
        told = payment.told
        share = Fraction(0) if told is None else share_back(told.order, told.all_refunds(), told.program)
        due = min(math.floor(round(share * payer.points, 6)), payer.points - payer.undone)
        if due > payment.due:
            self._give_back(payment, payer, due, now)
        elif due < payment.due:
            self._take_again(payment, payer, due, now)

    def _payer(self, key: Key) -> Payer | None:
        kind, name = key
        for account in self.accounts:
            if kind == "authorization" and name in account.holds:
                captures = account.holds[name].captures
                return Payer(account, [part for capture in captures for part in capture[::-1]], 0)
            for did in account.did.get(name, []) if kind == "command" else ():
                if did.kind in {"redeem", "debit"}:
                    return Payer(account, _taken(did)[::-1], did.undone)
        return None

    def _give_back(self, payment: Payment, payer: Payer, due: int, now: datetime) -> None:
        start, points = payment.back + payer.undone, due - payment.due
        not_taken = min(points, payment.shortfall)
        excused = min(points - not_taken, payment.excused)
        payment.due, payment.shortfall = due, payment.shortfall - not_taken
        payment.excused, points = payment.excused - excused, points - not_taken - excused
        if points:
            parts = _between(payer.returning, start, start + points)
            payer.account.come_back([*parts[::-1]], points, now, now, payer.account.program)

    def _take_again(self, payment: Payment, payer: Payer, due: int, now: datetime) -> None:
        account, before = payer.account, payer.account.state()
        account.release(now)
        missing, excused, taken = payment.due - due, 0, 0
        own = _between(payer.returning, due + payer.undone, payment.due + payer.undone)
        for pile, points in own:
            if pile.is_over(now):
                excused += min(points, pile.expired + pile.left)
            else:
                part = min(points, pile.left)
                pile.left, taken = pile.left - part, taken + part
        missing -= excused + taken
        places = {pile.place for pile, _ in own}
        for pile in [] if account.debt else account.spendable(now):
            part = 0 if pile.place in places else min(missing, pile.left)
            pile.left, missing = pile.left - part, missing - part
        may_owe = account.program.clawback.policy.value == "allow_negative"
        account.debt += missing if may_owe else 0
        shortfall = 0 if may_owe else missing
        if payment.due - due == excused + shortfall:
            account.put_back(*before)
        payment.due, payment.excused = due, payment.excused + excused
        payment.shortfall += shortfall


def _taken(did: Did) -> Parts:
    return [(pile, points) for pile, points in did.taken if pile is not None]


def _between(parts: Parts, start: int, end: int) -> Parts:
    """Those of the points that stand from `start` up to `end`; each pile once."""
    found: dict[int, tuple[Pile, int]] = {}
    place = 0
    for pile, points in parts:
        part = max(0, min(end, place + points) - max(start, place))
        place += points
        if part:
            found[pile.place] = (pile, found.get(pile.place, (pile, 0))[1] + part)
    return [*found.values()]
