"""What else commands do to the account of the naive model: they undo each other, and change the account itself.

Written without the domain's code, to compare with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any

from tests.domain.naive_earning import rounded
from tests.domain.naive_holds import HELD, issue_name
from tests.domain.naive_limits import Moved
from tests.domain.naive_merges import NaiveMerges
from tests.domain.naive_payments import NaivePayments
from tests.domain.naive_time import NEVER, end_of_points
from tests.domain.naive_value import POINTS_MAX, Did, NaiveValue, Taken, Told

#: What closed accounts still take, and what frozen ones do not.
_WHEN_CLOSED = {"void", "reward.delete", "account.update", "account.unlink", "account.close", "account.unmerge"}
_NOT_WHEN_FROZEN = {
    *{"debit", "redeem", "transfer", "convert", "authorize", "capture"},
    *{"reward.issue", "reward.redeem", "account.merge"},
}
_OF_ITSELF = {"account.merge", "account.unmerge"}  #: about the very account that is named, wherever it is merged
_REVERSIBLE = {"credit", "debit", "redeem", "adjust", "transfer", "convert"}


def linked_name(data: dict[str, Any]) -> tuple[str, str] | None:
    """The kind and the text of what a command names that may be linked."""
    return next(((kind, data[kind]) for kind in ("card", "phone", "email") if kind in data), None)


@dataclass
class NaiveCommands(NaiveMerges):
    """One account that takes all commands."""

    linked: set[tuple[str, str]] = field(default_factory=set)
    members: dict[str, str] = field(default_factory=dict)  #: their roles by their ids
    homes: "dict[str, NaiveCommands]" = field(default_factory=dict)  #: of members without an account of their own
    purse: "NaiveCommands | None" = None  #: the customer's account in the other program
    payments: NaivePayments = field(default_factory=NaivePayments)  #: of all accounts
    made_by: tuple[str, object] | None = None  #: its own id, and the content of the command that made it

    def do(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        """Find out which account a command is about, and whether it takes it."""
        if verb == "account.create":
            return self._whose(data["customer_id"]).create(command_id, data, at, now)
        if verb == "reverse":
            return self._reverse(command_id, data, now)
        named = self._named(verb, data)
        if isinstance(named, str):
            return named, {}
        account = named if verb in _OF_ITSELF else named.survivor
        problem = account.why_not(verb, data) or account.why_not_for(verb, data, named)
        if problem:
            return problem, {}
        told = account.do_here(verb, command_id, data, at, now)
        acting = data.get("acting_customer_id", data.get("customer_id", account.customer_id))
        if told[0] != "accepted" or acting == account.customer_id:
            return told
        return told[0], {**told[1], "acting_customer_id": acting}

    def why_not_for(self, verb: str, data: dict[str, Any], named: "NaiveCommands") -> str:
        """Why it is not done for the customer who asks for it; the command has `named` an account that is it by now."""
        acting = data.get("acting_customer_id", self.customer_id)
        if acting in {self.customer_id, named.customer_id}:
            return ""
        if acting not in self.members:
            return "not_a_member"
        may_spend = self.members[acting] == "member" and self.program.access.value == "members"
        return "" if may_spend or verb not in _NOT_WHEN_FROZEN else "member_may_not_spend"

    def why_not(self, verb: str, data: dict[str, Any]) -> str:
        """Why this account does not take such a command."""
        if self.status == "closed" and verb not in _WHEN_CLOSED:
            return "account_closed"
        if self.status == "frozen" and verb in _NOT_WHEN_FROZEN:
            return "account_frozen"
        return "" if data.get("unit", self.program.unit) == self.program.unit else "wrong_unit"

    def do_here(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        """Do a command on this account, which takes it."""
        if verb in HELD:
            return self.hold_or_end(verb, command_id, data, at, now)
        if verb == "convert":
            return self._convert(command_id, data, at, now)
        if verb.startswith("account."):
            return self._administer(verb, command_id, data, at, now)
        return super().do(verb, command_id, data, at, now)

    def command(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        """Do a command once, and let what it takes come back at once, as far as its order is given back already."""
        is_new = command_id not in self.answers
        told = super().command(verb, command_id, data, at, now)
        if is_new and told[0] == "accepted" and verb in {"capture", "debit", "redeem"}:
            is_capture = verb == "capture"
            key = ("authorization", data["authorization_id"]) if is_capture else ("command", command_id)
            if (payment := self.payments.known.get(key)) is not None and payment.told is not None:
                self.payments.settle(key, now)
        return told

    @property
    def survivor(self) -> "NaiveCommands":
        """The account to which all comes that comes to this one."""
        found = super().survivor
        assert isinstance(found, NaiveCommands)
        return found

    @property
    def all(self) -> "Sequence[NaiveCommands]":
        """All accounts, this one first."""
        return [each for each in self.everybody if isinstance(each, NaiveCommands)]

    def _whose(self, customer_id: str) -> "NaiveCommands":
        (found,) = (each for each in self.all if each.customer_id == customer_id)
        return found

    def _named(self, verb: str, data: dict[str, Any]) -> "NaiveCommands | str":
        if verb in {"capture", "void"}:
            found = [each for each in self.all if data["authorization_id"] in each.holds]
            return found[0] if found else "unknown_authorization"
        if verb in {"reward.redeem", "reward.delete"}:
            found = [each for each in self.all if issue_name(data["issue_id"]) in each.holds]
            return found[0] if found else "unknown_issue"
        if "customer_id" in data:
            found = [self._whose(data["customer_id"])]
            if "program_id" in data:
                found = [each.purse for each in found if each.purse is not None]
        elif (name := linked_name(data)) is not None:
            found = [each for each in self.all if name in each.linked]
        else:
            found = [each for each in self.all if each.made_by is not None and each.made_by[0] == data["account_id"]]
        opens = verb == "credit" and "customer_id" in data
        return found[0] if found and (opens or found[0].has_account) else "unknown_account"

    # What is undone.

    def _reverse(self, command_id: str, data: dict[str, Any], now: datetime) -> Told:
        purses = [each.purse for each in self.all if each.purse is not None]
        done = [did for each in (*self.all, *purses) for did in each.did.get(data["command_id"], [])]
        is_conversion = any(did.kind == "convert" for did in done)
        most = max((abs(did.points) for did in done if did.points < 0 or not is_conversion), default=0)
        came_back = self.payments.back(data["command_id"])
        points = data.get("points", most - came_back)
        accounts = [did.account for did in done if isinstance(did.account, NaiveCommands)]
        problem = self._why_not_reversed(done, data, points - most + came_back, is_all_back=came_back == most > 0)
        if all(did.kind in _REVERSIBLE for did in done) and any(each.merge is not None for each in accounts):
            problem = "already_merged"
        if problem:
            return problem, {}
        parts = [abs(did.points) if is_conversion else points for did in done]
        for account, did, part in zip(accounts, done, parts, strict=True):
            if did.points < 0 and account.all_points + part > POINTS_MAX:
                return "too_many_points", {}
            if did.points > 0 and not account.take_again(did, part, now, may_owe="allow_negative_balance" in data):
                return "insufficient_points", {}
        for account, did in zip(accounts, done, strict=True):
            did.is_undone, did.undone = True, points
            if did.moved is not None:
                did.moved.undone += points
            if did.points < 0:
                account.come_back(all_but_last(did.taken, came_back), points, now, now, account.program, command_id)
            self.note(command_id, Did(account, "reverse", -did.points))
        return "accepted", {"points": points}

    def _why_not_reversed(self, done: list[Did], data: dict[str, Any], beyond: int, *, is_all_back: bool) -> str:
        if not done:
            return "unknown_command"
        if any(did.kind not in _REVERSIBLE for did in done):
            return "not_reversible"
        if any(did.is_undone for did in done) or is_all_back:
            return "already_reversed"
        if beyond and any(did.kind == "convert" for did in done):
            return "not_reversible"
        if beyond > 0:
            return "exceeds_command"
        return "" if data.get("unit", self.program.unit) == self.program.unit else "wrong_unit"

    def take_again(self, did: Did, points: int, now: datetime, *, may_owe: bool) -> bool:
        """Take what a command gave; false, and nothing is otherwise, where there is too little."""
        before = self.state()
        self.release(now)
        own = [pile for pile in reversed(did.opened) if not pile.is_over(now)]
        places = {pile.place for pile in did.opened}
        others = [] if self.debt else [pile for pile in self.spendable(now) if pile.place not in places]
        for pile in own + others:
            part = min(points, pile.left)
            pile.left, points = pile.left - part, points - part
        if points and not may_owe:
            self.put_back(*before)
            return False
        self.debt += points
        return True

    # What becomes points of another program.

    def _convert(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        conversion = next((each for each in self.program.conversions if each.to_program == data["to_program_id"]), None)
        points, purse = data["points"], self._whose(data["customer_id"]).purse
        if conversion is None or purse is None:
            return "not_convertible", {}
        gives = rounded(Fraction(points * conversion.gives, conversion.points), conversion.rounding.value)
        moved = self.moving("convert", points, at)
        problem = ""
        if conversion.points_min is not None and points < conversion.points_min:
            problem = "below_minimum"
        elif conversion.points_step is not None and points % conversion.points_step:
            problem = "not_convertible"
        elif not gives:
            problem = "below_minimum"
        elif purse.status == "closed":
            problem = "account_closed"
        elif self.spendable_by(now) < points:
            problem = "insufficient_points"
        if problem or moved is None:
            return problem or "limit_reached", {}
        self.release(now)
        taken: Taken = [*self.spend(points, now)]
        self.note(command_id, Did(self, "convert", -points, taken, moved=moved))
        purse.get_converted(command_id, gives, now)
        return "accepted", {"points": points, "to_points": gives}

    def get_converted(self, command_id: str, points: int, now: datetime) -> None:
        """Take in what points of another program became."""
        end = end_of_points(self.program.expiry, self.program, now)
        pile = self.take_in(points, now, end, now, self.program, command_id)
        self.note(command_id, Did(self, "convert", points, opened=[pile] if pile.is_there else []))

    # What is done to the account itself.

    def create(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        made_by = data["account_id"], (data, at)
        if any(each.made_by is not None and each.made_by[0] == made_by[0] for each in self.all):
            is_same = any(each.made_by == made_by for each in self.all)
            return ("accepted", {}) if is_same else _EXISTS
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
                return self._update(data)
            case "link":
                having = [each.survivor for each in self.all if linked_name(data) in each.linked]
                if any(each is not self for each in having):
                    return "reference_taken", {}
                if not having:
                    self.linked.update(filter(None, [linked_name(data)]))
            case "unlink":
                for each in self.all:
                    if each.survivor is self:
                        each.linked.difference_update([linked_name(data)])
            case "merge":
                return self._noted(command_id, self.merge_into(self._other(data)))
            case "unmerge":
                return self._noted(command_id, self.unmerge())
            case _:
                return self._close(command_id, data, at, now)
        return "accepted", {}

    def _other(self, data: dict[str, Any]) -> "NaiveCommands | None":
        """The account that is to survive a merge."""
        if "into_customer_id" in data:
            found = [self._whose(data["into_customer_id"])]
        else:
            own_id = data["into_account_id"]
            found = [each for each in self.all if each.made_by is not None and each.made_by[0] == own_id]
        return found[0].survivor if found and found[0].has_account else None

    def _noted(self, command_id: str, told: Told) -> Told:
        if told[0] == "accepted":
            self.note(command_id, Did(self, "merge", 0))
        return told

    def _update(self, data: dict[str, Any]) -> Told:
        if "members" not in data:
            return "accepted", {}
        members = {each["customer_id"]: each["role"] for each in data["members"]}
        if self.customer_id in members:
            return "owner_listed", {}
        owners = {each.customer_id for each in self.all}
        homeless = [name for name in members if name not in {*self.members, *self.homes, *owners}]
        if homeless and self.status == "closed":
            return "account_closed", {}
        for name in [name for name in self.members if name not in members and self.homes.get(name) is self]:
            del self.homes[name]
        self.homes.update(dict.fromkeys(homeless, self))
        self.members = members
        return "accepted", {}

    def _close(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        if self.status == "closed":
            return "accepted", {}
        if self.reserved:
            return "authorizations_open", {}
        before = self.state()
        self.release(now)
        left = [pile for pile in self.piles if pile.left and not pile.is_over(now)]
        left.sort(key=lambda pile: (pile.expires_at or NEVER, pile.available_at or NEVER, pile.place))
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
            self.put_back(*before)
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
        if self.debt:
            return "insufficient_points", self
        receiver = self.receiver(data)
        if isinstance(receiver, str):
            return receiver, self
        return "too_many_points" if receiver.all_points + points > POINTS_MAX else "", receiver


_EXISTS: Told = ("account_exists", {})


def all_but_last(taken: Taken, points: int) -> Taken:
    """What was taken, without the last points of it."""
    found: Taken = []
    for pile, part in taken[::-1]:
        left = max(0, part - points)
        points -= part - left
        found.append((pile, left))
    return found[::-1]
