"""What else commands do to the account of the naive model: they reserve points and undo each other, and change the
account itself. Written without the domain's code, to compare with."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from core.domain.program import Program
from tests.domain.naive_limits import Moved
from tests.domain.naive_sales import Pile
from tests.domain.naive_time import DAY, end_of_points, midnight
from tests.domain.naive_value import POINTS_MAX, Did, NaiveValue, Taken, Told

#: What closed accounts still take, and what frozen ones do not.
_WHEN_CLOSED = {"void", "account.update", "account.unlink", "account.close"}
_NOT_WHEN_FROZEN = {"debit", "redeem", "transfer", "authorize", "capture"}
_REVERSIBLE = {"credit", "debit", "redeem", "adjust", "transfer"}


_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Hold:
    """Points that are reserved."""

    taken: Taken  #: what is still held, and where it came from
    deadline: datetime
    moved: Moved  #: what of it counts for a limit
    state: str = "open"

    @property
    def points(self) -> int:
        return sum(points for _, points in self.taken)


@dataclass
class NaiveCommands(NaiveValue):
    """One account that takes all commands."""

    holds: dict[str, Hold] = field(default_factory=dict)  #: by their ids, in the order in which they were made
    cards: set[str] = field(default_factory=set)
    made_by: tuple[str, object] | None = None  #: its own id, and the content of the command that made it

    @property
    def reserved(self) -> int:
        return sum(hold.points for hold in self.holds.values())

    def do(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        """Find out which account a command is about, and whether it takes it."""
        if verb == "account.create":
            return self._whose(data["customer_id"]).create(command_id, data, at, now)
        if verb == "reverse":
            return self._reverse(command_id, data, now)
        account = self._named(verb, data)
        if isinstance(account, str):
            return account, {}
        problem = account.why_not(verb, data)
        return (problem, {}) if problem else account.do_here(verb, command_id, data, at, now)

    def why_not(self, verb: str, data: dict[str, Any]) -> str:
        """Why this account does not take such a command."""
        if self.status == "closed" and verb not in _WHEN_CLOSED:
            return "account_closed"
        if self.status == "frozen" and verb in _NOT_WHEN_FROZEN:
            return "account_frozen"
        return "" if data.get("unit", self.program.unit) == self.program.unit else "wrong_unit"

    def do_here(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        """Do a command on this account, which takes it."""
        match verb:
            case "authorize":
                return self._authorize(command_id, data, at, now)
            case "capture":
                return self._capture(command_id, data, at, now)
            case "void":
                return self._void(command_id, data, now)
            case _ if verb.startswith("account."):
                return self._administer(verb, command_id, data, at, now)
            case _:
                return super().do(verb, command_id, data, at, now)

    @property
    def _all(self) -> "list[NaiveCommands]":
        return [each for each in self.everybody if isinstance(each, NaiveCommands)]

    def _whose(self, customer_id: str) -> "NaiveCommands":
        (found,) = (each for each in self._all if each.customer_id == customer_id)
        return found

    def _named(self, verb: str, data: dict[str, Any]) -> "NaiveCommands | str":
        if verb in {"capture", "void"}:
            found = [each for each in self._all if data["authorization_id"] in each.holds]
            return found[0] if found else "unknown_authorization"
        if "customer_id" in data:
            found = [self._whose(data["customer_id"])]
        elif "card" in data:
            found = [each for each in self._all if data["card"] in each.cards]
        else:
            found = [each for each in self._all if each.made_by is not None and each.made_by[0] == data["account_id"]]
        opens = verb == "credit" and "customer_id" in data
        return found[0] if found and (opens or found[0].has_account) else "unknown_account"

    # Points that are reserved.

    def _authorize(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        name, asked = data["authorization_id"], data["points"]
        if any(name in each.holds for each in self._all):
            return "authorization_exists", {}
        deadline = data.get("expires_at") or now + timedelta(seconds=data.get("expires_in_seconds", 7 * 24 * 3600))
        is_short = "expires_at" in data and deadline - at < timedelta(hours=1)
        if is_short or deadline <= now or deadline - now > 90 * DAY:
            return "wrong_deadline", {}
        if self.spendable_by(now) < asked:
            return "insufficient_points", {}
        moved = self.moving("redeem", asked, at)
        if moved is None:
            return "limit_reached", {}
        self.release(now)
        self.holds[name] = Hold([*self.spend(asked, now)], deadline, moved)
        self.note(command_id, Did(self, "authorize", -asked, moved=moved))
        return "accepted", {"points": asked, "authorization_id": name, "expires_at": deadline}

    def _capture(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        hold = self.holds[data["authorization_id"]]
        if hold.state != "open" or hold.deadline <= now:
            return "authorization_closed", {}
        points = data.get("points", hold.points)
        if points > hold.points:
            return "over_capture", {}
        rest, left = hold.points - points, points
        for place, (pile, part) in enumerate(hold.taken):
            hold.taken[place], left = (pile, part - min(part, left)), left - min(part, left)
        told: dict[str, str | int | datetime] = {"points": points, "authorization_id": data["authorization_id"]}
        if rest and data.get("is_final", True):
            self._let_go(hold, "captured", now, now, self.program)
            told["points_returned"], rest = rest, 0
        if not rest:
            hold.state = "captured"
        self.note(command_id, Did(self, "capture", -points))
        self.be_active(at, now)
        return "accepted", told | {"points_held": rest}

    def _void(self, command_id: str, data: dict[str, Any], now: datetime) -> Told:
        hold = self.holds[data["authorization_id"]]
        if hold.state != "open":
            return "authorization_closed", {}
        points = hold.points
        self._let_go(hold, "voided", now, now, self.program)
        self.note(command_id, Did(self, "void", points))
        return "accepted", {"points": points, "points_held": 0, "authorization_id": data["authorization_id"]}

    def void_due(self, now: datetime) -> None:
        """Let come back what is held past its deadline."""
        for hold in sorted(self.holds.values(), key=lambda hold: hold.deadline):
            if hold.state == "open" and hold.deadline <= now:
                self._let_go(hold, "expired", hold.deadline, now, self.version_at(hold.deadline))

    def _let_go(self, hold: Hold, state: str, since: datetime, now: datetime, program: Program) -> None:
        taken, points = hold.taken, hold.points
        hold.taken, hold.state = [], state
        hold.moved.undone += points
        self.come_back(taken, points, since, now, program)

    def come_back(
        self, taken: Taken, points: int, since: datetime, now: datetime, program: Program, command_id: str = ""
    ) -> None:
        """Give points back to where they were taken, the last first; what has ended by now expires at once."""
        if self.debt:
            self.release(since)
        days = program.returned_points_grace_days
        grace = midnight(since.astimezone(program.zone).date() + (days + 1) * DAY, program) if days else None
        back: list[Pile] = []
        for pile, part in taken[::-1]:
            some = min(part, points)
            if pile is not None and pile.available_at and pile.available_at <= since:
                pile.is_pending = False  # its time may have come while it was empty
            paid = 0 if pile is not None and pile.is_pending else min(self.debt, some)
            points, self.debt, some = points - some, self.debt - paid, some - paid
            if not some:
                continue
            if pile is None or (grace is not None and pile.expires_at is not None and pile.expires_at < grace):
                pile = self._anew(pile, some, grace, now, program, command_id)  # noqa: PLW2901  # it takes its place
                self.piles.append(pile)
            else:
                pile.left += some
            back.append(pile)
        over = [pile for pile in back if pile.is_over(now)]
        for pile in sorted(over, key=lambda pile: (pile.available_at or _NEVER, pile.place)):
            if pile.is_pending and pile.available_at and pile.available_at <= now:
                self._release(pile)
        for pile in over:
            pile.expired, pile.left = pile.expired + pile.left, 0

    def _anew(
        self, of: Pile | None, points: int, grace: datetime | None, now: datetime, program: Program, command_id: str
    ) -> Pile:
        """A pile for points that come back and have none."""
        place = len(self.piles)
        if of is not None:
            pile = Pile(of.order_id, place, of.kind, points, of.available_at, grace, of.is_pending)
            pile.command_id, pile.given_under = of.command_id, of.given_under
            return pile
        pile = Pile("", place, "", points, now, end_of_points(program.expiry, program, now), False)
        pile.command_id, pile.given_under = command_id, program
        return pile

    # What is undone.

    def _reverse(self, command_id: str, data: dict[str, Any], now: datetime) -> Told:
        done = [did for each in self._all for did in each.did.get(data["command_id"], [])]
        most = max((abs(did.points) for did in done), default=0)
        points = data.get("points", most)
        problem = self._why_not_reversed(done, data, points - most)
        if problem:
            return problem, {}
        accounts = [did.account for did in done if isinstance(did.account, NaiveCommands)]
        for account, did in zip(accounts, done, strict=True):
            if did.points < 0 and account.all_points + points > POINTS_MAX:
                return "too_many_points", {}
            if did.points > 0 and not account.take_again(did, points, now, may_owe="allow_negative_balance" in data):
                return "insufficient_points", {}
        for account, did in zip(accounts, done, strict=True):
            did.is_undone = True
            if did.moved is not None:
                did.moved.undone += points
            if did.points < 0:
                account.come_back(did.taken, points, now, now, self.program, command_id)
            self.note(command_id, Did(account, "reverse", -did.points))
        return "accepted", {"points": points}

    def _why_not_reversed(self, done: list[Did], data: dict[str, Any], beyond: int) -> str:
        if not done:
            return "unknown_command"
        if any(did.kind not in _REVERSIBLE for did in done):
            return "not_reversible"
        if any(did.is_undone for did in done):
            return "already_reversed"
        if beyond > 0:
            return "exceeds_command"
        return "" if data.get("unit", self.program.unit) == self.program.unit else "wrong_unit"

    def take_again(self, did: Did, points: int, now: datetime, *, may_owe: bool) -> bool:
        """Take what a command gave; false, and nothing is otherwise, where there is too little."""
        before = self._state()
        self.release(now)
        own = [pile for pile in did.opened if not pile.is_over(now)]
        places = {pile.place for pile in did.opened}
        others = [] if self.debt else [pile for pile in self._spendable(now) if pile.place not in places]
        for pile in own + others:
            part = min(points, pile.left)
            pile.left, points = pile.left - part, points - part
        if points and not may_owe:
            self._put_back(*before)
            return False
        self.debt += points
        return True

    def _state(self) -> tuple[int, list[tuple[Pile, int, bool]]]:
        return self.debt, [(pile, pile.left, pile.is_pending) for pile in self.piles]

    def _put_back(self, debt: int, piles: list[tuple[Pile, int, bool]]) -> None:
        """As it was: nothing was done after all."""
        self.debt = debt
        for pile, left, is_pending in piles:
            pile.left, pile.is_pending = left, is_pending

    # What is done to the account itself.

    def create(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        made_by = data["account_id"], (data, at)
        if any(each.made_by is not None and each.made_by[0] == made_by[0] for each in self._all):
            is_same = any(each.made_by == made_by for each in self._all)
            return ("accepted", {"points": data["points"]} if "points" in data else {}) if is_same else _EXISTS
        if self.has_account:
            return _EXISTS
        if data.get("unit", self.program.unit) != self.program.unit:
            return "wrong_unit", {}
        told: Told = ("accepted", {})
        if "points" in data:
            told = self.credit(command_id, data, at, now)
        if told[0] == "accepted":
            self.made_by, self.is_open = made_by, True
        return told

    def _administer(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        match verb.removeprefix("account."):
            case "freeze":
                self.status = "frozen"
            case "unfreeze":
                self.status = "active"
            case "update":
                pass
            case "link":
                if any(data["card"] in each.cards for each in self._all if each is not self):
                    return "reference_taken", {}
                self.cards.add(data["card"])
            case "unlink":
                self.cards.discard(data["card"])
            case _:
                return self._close(command_id, data, at, now)
        return "accepted", {}

    def _close(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        if self.status == "closed":
            return "accepted", {}
        if self.reserved:
            return "authorizations_open", {}
        before = self._state()
        self.release(now)
        left = [pile for pile in self.piles if pile.left and not pile.is_over(now)]
        left.sort(key=lambda pile: (pile.expires_at or _NEVER, pile.available_at or _NEVER, pile.place))
        points = sum(pile.left for pile in left)
        problem = "points_left" if any(pile.waits for pile in left) else ""
        receiver: NaiveValue = self
        moved: Moved | None = None
        if points and not problem:
            problem, receiver = self._who_gets(data, points)
            if receiver is not self and not problem:
                moved = self.moving("transfer", points, at)
                problem = "" if moved else "limit_reached"
        if problem:
            self._put_back(*before)
            return problem, {}
        self.status = "closed"
        taken: Taken = [(pile, pile.left) for pile in left]
        if receiver is not self:
            self.note(command_id, Did(self, "transfer", -points, taken, moved=moved))
            receiver.is_open = True
            if receiver.debt:
                receiver.release(now)
            got = [receiver.receive(pile, pile.left) for pile in left]
            self.note(command_id, Did(receiver, "transfer", points, opened=[pile for pile in got if pile.is_there]))
        elif points:
            self.note(command_id, Did(self, "debit", -points, taken))
            self.be_active(at, now)
        for pile in left:
            pile.left = 0
        return "accepted", {"points": points} if points else {}

    def _who_gets(self, data: dict[str, Any], points: int) -> tuple[str, NaiveValue]:
        """Why an account with points is not closed, or who gets them: itself where nobody does."""
        if data.get("points_left") != "transfer":
            return "" if "points_left" in data else "points_left", self
        if self.status == "frozen":
            return "account_frozen", self
        receiver = self.receiver(data)
        if isinstance(receiver, str):
            return receiver, self
        return "too_many_points" if receiver.all_points + points > POINTS_MAX else "", receiver


_EXISTS: Told = ("account_exists", {})
