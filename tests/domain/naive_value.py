"""What commands do to the account of the naive model: written without the domain's code, to compare with.

A command is what is sent: a verb and its data. What it is told is "accepted" with some numbers, or why it is rejected.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.domain.program import Program
from tests.domain.naive import NaiveAccount
from tests.domain.naive_limits import Moved, NaiveLimits
from tests.domain.naive_sales import End, Pile, move_back

Told = tuple[str, dict[str, str | int | datetime]]
Taken = list[tuple[Pile | None, int]]  #: from which piles, in this order; None: from none, so that a debt grew
PileState = tuple[str, str, int, int, datetime | None, datetime | None, bool]
POINTS_MAX = 10**15


@dataclass
class Did:
    """What a command did to an account, as far as another one undoes it."""

    account: "NaiveValue"
    kind: str
    points: int  #: above 0: given
    taken: Taken = field(default_factory=list)
    opened: list[Pile] = field(default_factory=list)
    is_undone: bool = False
    undone: int = 0  #: so many of its points
    moved: Moved | None = None  #: what of it counts for a limit


@dataclass
class NaiveValue(NaiveAccount):
    """One account that commands give points to and take them from."""

    answers: dict[str, tuple[object, Told]] = field(default_factory=dict)  #: content and answer by command id
    is_open: bool = False  #: the customer has an account
    customer_id: str = ""
    status: str = "active"
    did: dict[str, list[Did]] = field(default_factory=dict)  #: by command id
    limits: NaiveLimits = field(default_factory=NaiveLimits)

    def command(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        """Do a command once; the same again is told the same, and other content under its id is a conflict."""
        content = verb, data, at
        if command_id not in self.answers:
            self.answers[command_id] = content, self.do(verb, command_id, data, at, now)
        known, told = self.answers[command_id]
        return told if known == content else ("command_conflict", {})

    def pile_states(self) -> Counter[PileState]:
        """Every lot that there ever was: what it is of, what is left of it, and its dates."""
        found: Counter[PileState] = Counter()
        for pile in self.piles:
            if pile.is_there:
                of = ("order", pile.order_id) if pile.command_id is None else ("command", pile.command_id)
                is_pending = pile.is_pending and pile.left > 0
                found[(*of, pile.left, pile.expired, pile.available_at, pile.expires_at, is_pending)] += 1
        return found

    @property
    def has_account(self) -> bool:
        """Whether the customer has an account."""
        return bool(self.is_open or self.sales or self.returned)

    @property
    def everybody(self) -> "list[NaiveValue]":
        """All accounts, this one first."""
        return [self, *(each for each in self.others if isinstance(each, NaiveValue))]

    def do(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        """Do a command on this account that has passed all checks that they have in common."""
        match verb:
            case "credit":
                return self.credit(command_id, data, at, now)
            case "adjust":
                return self._adjust(command_id, data, at, now)
            case "transfer":
                return self._transfer(command_id, data, at, now)
            case _:
                return self._debit(verb, command_id, data, at, now)

    def moving(self, limit: str, points: int, at: datetime) -> Moved | None:
        """What counts for a limit if a command moves so many points; None: its customer may not."""
        moved = Moved(limit, at, points, self.program)
        return moved if self.limits.takes(moved) else None

    def note(self, command_id: str, did: Did) -> None:
        """Keep what a command did."""
        if did.moved is not None:
            self.limits.moved.append(did.moved)
        self.did.setdefault(command_id, []).append(did)

    def _adjust(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        if data["points"] > 0:
            return self.credit(command_id, data, at, now, "adjust")
        asked = -data["points"]
        can_be_spent = self.spendable_by(now)
        if can_be_spent < asked and not data.get("allow_negative_balance"):
            return "insufficient_points", {}
        self.release(now)
        points = min(asked, can_be_spent)
        taken: Taken = [*self.spend(points, now)]
        self.debt += asked - points
        self.note(
            command_id, Did(self, "adjust", -asked, [*taken, *([(None, asked - points)] if asked > points else [])])
        )
        return "accepted", {"points": asked}

    def _transfer(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        receiver = self.receiver(data)
        if isinstance(receiver, str):
            return receiver, {}
        asked: int = data["points"]
        can_be_spent = self.spendable_by(now)
        if can_be_spent < asked and not (data.get("allow_remainder") and can_be_spent):
            return "insufficient_points", {}
        points = min(asked, can_be_spent)
        if receiver.all_points + points > POINTS_MAX:
            return "too_many_points", {}
        moved = self.moving("transfer", points, at)
        if moved is None:
            return "limit_reached", {}
        self.release(now)
        receiver.is_open = True
        if receiver.debt:
            receiver.release(now)
        taken = self.spend(points, now)
        opened = [receiver.receive(pile, part) for pile, part in taken]
        self.note(command_id, Did(self, "transfer", -points, [*taken], moved=moved))
        self.note(command_id, Did(receiver, "transfer", points, opened=[pile for pile in opened if pile.is_there]))
        told: dict[str, str | int | datetime] = {"points": points}
        return "accepted", told | ({"remainder": asked - points} if data.get("allow_remainder") else {})

    def receiver(self, data: dict[str, Any]) -> "NaiveValue | str":
        """Who gets points by a transfer, or why nobody does."""
        (receiver,) = (each for each in self.everybody if each.customer_id == data["to_customer_id"])
        if receiver is self:
            return "same_account"
        return "account_closed" if receiver.status == "closed" else receiver

    def receive(self, of: Pile, points: int) -> Pile:
        """Take in points of another account, with the dates that they have there now."""
        pile = Pile(of.order_id, len(self.piles), of.kind, points, of.available_at, of.expires_at, of.is_pending)
        pile.command_id, pile.was_received = of.command_id, True
        self.piles.append(pile)
        if not pile.is_pending:
            self._pay(pile)
        pile.is_there, pile.size = pile.left > 0, pile.left
        return pile

    def credit(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime, kind: str = "credit") -> Told:
        """Give points, which pay off a debt first."""
        points: int = data["points"]
        if self.all_points + points > POINTS_MAX:
            return "too_many_points", {}
        available = data.get("available_at") or min(at, now)
        shared = [(end, end.at) for end in self.shared]
        if "expires_at" in data:
            end = data["expires_at"]
            ends_at = end
        else:
            begins = not self._left_after_release(now)
            end = self._end_by(self.program, "", available, now, is_counted=True, begins=begins)
            ends_at = getattr(end, "at", end)
        moved = self.moving("credit", points, at) if kind == "credit" else None
        problem = ""
        if ends_at is not None and ends_at <= max(now, available):
            problem = "already_expired"
        elif moved is None and kind == "credit":
            problem = "limit_reached"
        if problem:
            # A shared end that begins, or is moved, is as before if the credit is refused.
            self.shared = [end for end, _ in shared]
            for of_shared, instant in shared:
                of_shared.at = instant
            return problem, {}
        pile = self.take_in(points, available, end, now, self.program, command_id)
        move_back(shared, [pile])
        self.note(command_id, Did(self, kind, points, opened=[pile] if pile.is_there else [], moved=moved))
        return "accepted", {"points": points}

    def take_in(
        self,
        points: int,
        available: datetime,
        end: datetime | End | None,
        now: datetime,
        program: Program,
        command_id: str,
    ) -> Pile:
        """Get points by a command."""
        self.is_open = True
        if self.debt:
            self.release(now)
        pile = Pile("", len(self.piles), "", points, available, end, available > now, command_id=command_id)
        pile.given_under = program
        self.piles.append(pile)
        if not pile.is_pending:
            self._pay(pile)
            pile.is_there, pile.size = pile.left > 0, pile.left
        return pile

    def _debit(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        asked: int = data["points"]
        can_be_spent = self.spendable_by(now)
        if can_be_spent < asked and not (data.get("allow_remainder") and can_be_spent):
            return "insufficient_points", {}
        points = min(asked, can_be_spent)
        moved = self.moving("redeem", points, at) if verb == "redeem" else None
        if verb == "redeem" and moved is None:
            return "limit_reached", {}
        self.release(now)
        self.note(command_id, Did(self, verb, -points, [*self.spend(points, now)], moved=moved))
        self.be_active(at, now)
        told: dict[str, str | int | datetime] = {"points": points}
        return "accepted", told | ({"remainder": asked - points} if data.get("allow_remainder") else {})

    def be_active(self, at: datetime, now: datetime) -> None:
        """Spending lets the other points last longer."""
        self.spent.append((self.program, at))
        self._slide(self.program, at, now)

    @property
    def all_points(self) -> int:
        """What there is, and what is still to come of it."""
        return self.balance + self.pending + self.reserved

    def _left_after_release(self, now: datetime) -> int:
        """How many points are left in lots, once what is due has paid off what is owed."""
        due = [pile for pile in self.piles if pile.is_pending and pile.available_at and pile.available_at <= now]
        return sum(pile.left for pile in self.piles) - min(self.debt, sum(pile.left for pile in due))

    def spendable_by(self, now: datetime) -> int:
        """What is there for spending once what is due is released; nothing while a debt is left."""
        due = [pile for pile in self.piles if pile.is_pending and pile.available_at and pile.available_at <= now]
        debt = self.debt
        found = sum(pile.left for pile in self.piles if not pile.is_pending and not pile.is_over(now))
        for pile in sorted(due, key=lambda pile: (pile.available_at, pile.place)):
            paid = min(debt, pile.left)
            debt -= paid
            found += 0 if pile.is_over(now) else pile.left - paid
        return 0 if debt else found
