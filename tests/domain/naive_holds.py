"""What the account of the naive model has reserved, by authorizations and for rewards, and what comes back of it.

Written without the domain's code, to compare with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from core.domain.program import AnyReward, Program
from tests.domain.naive_sales import Hold, Pile
from tests.domain.naive_time import DAY, NEVER, end_of_points, midnight
from tests.domain.naive_value import Did, NaiveValue, Taken, Told

#: The commands that reserve points and let them go.
HELD = {"authorize", "capture", "void", "reward.issue", "reward.redeem", "reward.delete"}


def issue_name(issue_id: str) -> str:
    """Under what an issued reward is kept beside authorizations, whose ids are others."""
    return f"reward {issue_id}"


@dataclass
class NaiveHolds(NaiveValue):
    """One account that reserves points."""

    holds: dict[str, Hold] = field(default_factory=dict)  #: by their ids, in the order in which they were made
    tier_told: str = ""  #: in which the account stands: how far that is reviewed is not told here

    @property
    def reserved(self) -> int:
        return sum(hold.points for hold in self.holds.values())

    def can_give_up(self, program: Program) -> bool:
        return program.clawback.takes_reserved and any(hold.points for hold in self._held())

    def _held(self) -> list[Hold]:
        return [hold for hold in self.holds.values() if hold.reward is None]

    @property
    def all(self) -> "Sequence[NaiveHolds]":
        """All accounts, this one first."""
        return [each for each in self.everybody if isinstance(each, NaiveHolds)]

    def given_up(
        self, points: int, order_id: str | None, program: Program, now: datetime
    ) -> Iterator[tuple[Pile, int]]:
        """Take up to so many points from what is reserved, where the program says so; from which piles, in this order.

        Points of the order come first. Else those are spared whose deadline is next, but for one that has passed, and
        of each authorization what it took first.
        """
        if program.clawback.policy.value == "pending_only" or not self.can_give_up(program):
            return
        spared = sorted(enumerate(self._held()), key=lambda each: (each[1].deadline <= now, each[1].deadline, each[0]))
        parts = [(hold, place) for _, hold in spared[::-1] for place in range(len(hold.taken))[::-1]]
        of_order = [each for each in parts if order_id is not None and each[0].taken[each[1]][0].is_of(order_id)]
        for hold, place in (*of_order, *(each for each in parts if each not in of_order)):
            pile, held = hold.taken[place]
            part = min(points, held)
            hold.taken[place], points = (pile, held - part), points - part
            if part:
                hold.state = "open" if hold.points else "clawed_back"
                yield pile, part

    def hold_or_end(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        """Do a command that reserves points, or that lets what is reserved go."""
        match verb:
            case "authorize":
                return self._authorize(command_id, data, at, now)
            case "capture":
                return self._capture(command_id, data, at, now)
            case "void":
                return self._void(command_id, data, now)
            case "reward.issue":
                return self._issue(command_id, data, at, now)
            case _:
                return self._end_issue(verb, command_id, data, at, now)

    def _authorize(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        name, asked = data["authorization_id"], data["points"]
        if any(name in each.holds for each in self.all):
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

    def _issue(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        name = issue_name(data["issue_id"])
        if any(name in each.holds for each in self.all):
            return "issue_exists", {}
        reward = next((each for each in self.program.rewards if each.reward_id == data["reward_id"]), None)
        if reward is None:
            return "unknown_reward", {}
        end = data.get("expires_at")
        if end is not None and (end - at < timedelta(hours=1) or end <= now or end - now > 3_660 * DAY):
            return "wrong_deadline", {}
        moved = self.moving("redeem", reward.cost, at)
        problem = self._why_not_issued(reward, at)
        if not problem and self.spendable_by(now) < reward.cost:
            problem = "insufficient_points"
        if problem or moved is None:
            return problem or "limit_reached", {}
        self.release(now)
        self.holds[name] = Hold([*self.spend(reward.cost, now)], end or NEVER, moved, reward=reward)
        self.note(command_id, Did(self, "issue", -reward.cost, moved=moved))
        told: dict[str, str | int | datetime] = {"points": reward.cost, "issue_id": data["issue_id"]}
        return "accepted", told | ({} if end is None else {"expires_at": end})

    def _why_not_issued(self, reward: AnyReward, at: datetime) -> str:
        if reward.starts_on is not None and at < midnight(reward.starts_on, self.program):
            return "reward_not_yet"
        if reward.ends_on is not None and at >= midnight(reward.ends_on + DAY, self.program):
            return "reward_over"
        if reward.tiers and self.tier_told not in reward.tiers:
            return "not_in_tier"
        if reward.per_customer is not None and self.has_reward(reward.reward_id) >= reward.per_customer:
            return "reward_limit_reached"
        given = sum(each.has_reward(reward.reward_id, of_stock=True) for each in self.all)
        return "out_of_stock" if reward.stock is not None and given >= reward.stock else ""

    def has_reward(self, reward_id: str, *, of_stock: bool = False) -> int:
        """How often the customer has a reward; only what was issued of a stock, if asked so."""
        had = [hold.reward for hold in self.holds.values() if hold.reward and hold.state in {"open", "captured"}]
        return sum(each.reward_id == reward_id and (each.stock is not None or not of_stock) for each in had)

    def _end_issue(self, verb: str, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        hold = self._hold(issue_name(data["issue_id"]))
        is_over = hold.deadline <= now and verb == "reward.redeem"
        if hold.state != "open" or is_over:
            return "issue_closed", {}
        points = hold.points
        told: dict[str, str | int | datetime] = {"points": points, "issue_id": data["issue_id"]}
        told |= {} if hold.deadline == NEVER else {"expires_at": hold.deadline}
        if verb == "reward.delete":
            self.let_go_now(hold, "voided", now)
            self.note(command_id, Did(self, "void", points))
            return "accepted", told
        hold.taken, hold.state = [], "captured"
        self.note(command_id, Did(self, "capture", -points))
        self.be_active(at, now)
        return "accepted", told

    def _hold(self, name: str) -> Hold:
        """What has this id: of this account, or of one that is merged into it, which holds nothing any more."""
        (found,) = (each.holds[name] for each in self.all if name in each.holds)
        return found

    def _capture(self, command_id: str, data: dict[str, Any], at: datetime, now: datetime) -> Told:
        hold = self._hold(data["authorization_id"])
        if hold.state != "open" or hold.deadline <= now:
            return "authorization_closed", {}
        points = data.get("points", hold.points)
        if points > hold.points:
            return "over_capture", {}
        rest, left = hold.points - points, points
        hold.captures.append([])
        for place, (pile, part) in enumerate(hold.taken):
            hold.captures[-1].append((pile, min(part, left)))
            hold.taken[place], left = (pile, part - min(part, left)), left - min(part, left)
        told: dict[str, str | int | datetime] = {"points": points, "authorization_id": data["authorization_id"]}
        if rest and data.get("is_final", True):
            self.let_go_now(hold, "captured", now)
            told["points_returned"], rest = rest, 0
        if not rest:
            hold.state = "captured"
        self.note(command_id, Did(self, "capture", -points))
        self.be_active(at, now)
        return "accepted", told | {"points_held": rest}

    def _void(self, command_id: str, data: dict[str, Any], now: datetime) -> Told:
        hold = self._hold(data["authorization_id"])
        if hold.state != "open":
            return "authorization_closed", {}
        points = hold.points
        self.let_go_now(hold, "voided", now)
        self.note(command_id, Did(self, "void", points))
        return "accepted", {"points": points, "points_held": 0, "authorization_id": data["authorization_id"]}

    def let_go_now(self, hold: Hold, state: str, now: datetime, *, gives_back: bool = True) -> None:
        """By command, or with its order; past its deadline as the job of that would have done it."""
        since = min(now, hold.deadline)
        self.let_go(hold, state, since, now, self.version_at(since), gives_back=gives_back)

    def void_due(self, now: datetime) -> None:
        """Let come back what is held past its deadline."""
        for hold in sorted(self.holds.values(), key=lambda hold: hold.deadline):
            if hold.state == "open" and hold.deadline <= now:
                self.let_go(hold, "expired", hold.deadline, now, self.version_at(hold.deadline))

    def let_go(
        self, hold: Hold, state: str, since: datetime, now: datetime, program: Program, *, gives_back: bool = True
    ) -> None:
        """Let all come back that it holds; `gives_back` its part of a limit too."""
        taken, points = hold.taken, hold.points
        hold.taken, hold.state = [], state
        hold.moved.undone += points if gives_back else 0
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
        for pile in sorted(over, key=lambda pile: (pile.available_at or NEVER, pile.place)):
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

    def state(self) -> tuple[int, list[tuple[Pile, int, bool]]]:
        """What a command may change before it is refused after all."""
        return self.debt, [(pile, pile.left, pile.is_pending) for pile in self.piles]

    def put_back(self, debt: int, piles: list[tuple[Pile, int, bool]]) -> None:
        """As it was: nothing was done after all."""
        self.debt = debt
        for pile, left, is_pending in piles:
            pile.left, pile.is_pending = left, is_pending
