"""A year of a shop's messages from a seed: orders, all that is reported of them, and every command."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tests.factories import (
    amendment,
    cancellation,
    claim,
    command,
    fulfilment,
    goods_back,
    line,
    order,
    refund,
    reversion,
)

MAIN, HELD, SLIDING, PLAIN = "/shops/test", "/shops/held", "/shops/sliding", "/shops/plain"
_HEAD = "program_id: {0}\nname: {0}\ncurrency: EUR\ntime_zone: Europe/Berlin\n"
_MAIN = """
sources: ["/shops/test"]
combine: stack
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {bronze: "1", silver: "1.25", gold: "1.5"}}
  - {rule_id: visit, kind: visit, points: 10}
promotions:
  - {promotion_id: large, kind: addition, points: 25, when: {minimum_amount: "90.00"}}
  - {promotion_id: summer, kind: multiplier, multiplier: 2, when: {starts_on: 2025-06-01, ends_on: 2025-08-31}}
  - {promotion_id: scarce, kind: addition, points: 7, limits: {budget_points: 140}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 300}
  - {tier_id: gold, threshold_points: 900}
qualification: {window: rolling_months, months: 3}
expiry: {policy: after_months, months: 3}
returned_points_grace_days: 10
conversions: [{to_program: money, points: 3, gives: 2}]
rewards: [{reward_id: mug, name: Mug, kind: item, sku: mug, cost: 15, stock: 20}]
limits: {redeem: {per_month: 200}}
point_value: "0.005"
"""
_HELD = """
sources: ["/shops/held"]
earning_rules: [{rule_id: goods, kind: spend, per_amount: "1.00", points: 2}]
availability: {policy: on_fulfilled}
expiry: {policy: after_months, months: 2, end_of: month}
clawback: {policy: clamp}
point_value: "0.01"
"""
_SLIDING = """
sources: ["/shops/sliding"]
earning_rules: [{rule_id: goods, kind: spend, per_amount: "1.00", points: 1}]
availability: {policy: after_days, days: 14}
expiry: {policy: inactivity, months: 2}
"""
_PLAIN = """
sources: ["/shops/plain"]
earning_rules: [{rule_id: goods, kind: spend, per_amount: "1.00", points: 1}]
point_value: "0.02"
"""
#: Program files, with the instants from which they are in force; the first of each for all that was before.
PROGRAMS: tuple[tuple[str, str | None], ...] = (
    (_HEAD.format("money") + "unit: EUR\n", None),
    (_HEAD.format("test") + _MAIN, None),
    (_HEAD.format("held") + _HELD, None),
    (_HEAD.format("sliding") + _SLIDING, None),
    (_HEAD.format("plain") + _PLAIN, None),
    ((_HEAD.format("test") + _MAIN).replace("0.005", "0.008").replace("points: 10", "points: 12"), "2025-07-01T00:00Z"),
)
PROGRAM_IDS = ("test", "held", "sliding", "plain", "money")
#: What a point is worth, by program and version.
POINT_VALUES = {
    ("test", 1): "0.005", ("test", 2): "0.008", ("held", 1): "0.01", ("plain", 1): "0.02", ("money", 1): "0.01",
}  # fmt: skip
_CUSTOMERS = 9


class Year:
    """Draws messages, and remembers what there is to be named. The same seed, the same messages."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._number = 0
        self._orders: dict[str, list[str]] = {source: [] for source in (MAIN, HELD, SLIDING, PLAIN)}
        self._amounts: dict[str, float] = {}
        self._customers: dict[str, str] = {}
        self._refunds: list[tuple[str, str]] = []
        self._revisions: dict[str, int] = {}
        self._holds: list[str] = []
        self._issues: list[str] = []
        self._done: list[str] = []  #: commands that can be reversed
        self._guests: list[str] = []
        self._merged: list[str] = []
        self._accounts: list[str] = []

    def batch(self, at: datetime, messages: int) -> list[dict[str, Any]]:
        """About so many messages of the days before `at`."""
        found: list[dict[str, Any]] = []
        while len(found) < messages:
            found += self._draw(at)
        return found

    def everything(self, at: datetime) -> list[dict[str, Any]]:
        """One of each kind at least, so that no draw leaves one out."""
        kinds = (*_ORDERS, *_REPORTS, *_COMMANDS)
        return [message for kind in kinds for message in kind(self, at)]

    def late(self, at: datetime) -> list[dict[str, Any]]:
        """What comes long after it happened."""
        then = at - timedelta(days=70)
        return [message for kind in (*_ORDERS, *_REPORTS) for message in kind(self, then)]

    def _draw(self, at: datetime) -> list[dict[str, Any]]:
        kinds = self.random.choices((_ORDERS, _REPORTS, _COMMANDS), (40, 25, 35))[0]
        at -= timedelta(hours=self.random.choice((1, 5, 20, 200)))
        return list(self.random.choice(kinds)(self, at))

    def new_id(self, noun: str) -> str:
        """An id that nothing has yet."""
        self._number += 1
        return f"{noun}-{self._number}"

    def customer(self) -> str:
        """One of a few, so that much meets."""
        return f"c{self.random.randrange(_CUSTOMERS)}"

    def _sell(self, source: str, at: datetime, customer_id: str | None) -> Iterator[dict[str, Any]]:
        order_id, amount = (
            self.new_id("o"),
            self.random.choice((20, 35, 60, 95, 140)) + self.random.randrange(100) / 100,
        )
        first = round(amount / 2, 2)
        lines = [line("1", f"{first:.2f}", 2), line("2", f"{amount - first:.2f}")]
        if customer_id is None:
            self._guests.append(order_id)
        else:
            self._orders[source].append(order_id)
            self._customers[order_id] = customer_id
        self._amounts[order_id] = amount
        yield order(order_id, customer_id=customer_id, lines=lines, source=source, time=at.isoformat())

    def order_of_main(self, at: datetime) -> Iterator[dict[str, Any]]:
        yield from self._sell(MAIN, at, self.customer())

    def order_of_others(self, at: datetime) -> Iterator[dict[str, Any]]:
        for source in (HELD, SLIDING, PLAIN):
            yield from self._sell(source, at, self.customer())

    def order_of_guest(self, at: datetime) -> Iterator[dict[str, Any]]:
        yield from self._sell(MAIN, at, None)

    def order_paid(self, at: datetime) -> Iterator[dict[str, Any]]:
        """By a redemption, of which a part comes back with what is refunded."""
        customer_id, key = self.customer(), self.new_id("k")
        yield command("redeem", key, customer_id=customer_id, points=20, time=at.isoformat())
        [event] = self._sell(MAIN, at, customer_id)
        paid = {"points_paid": "5.00", "points_command_id": key, "points_command_source": MAIN}
        yield event | {"data": event["data"] | paid}
        yield self._refund(MAIN, event["data"]["order_id"], at, net="8.00")

    def _refund(self, source: str, order_id: str, at: datetime, **what: Any) -> dict[str, Any]:
        refund_id = self.new_id("r")
        if source == MAIN:
            self._refunds.append((refund_id, order_id))
        return refund(refund_id, order_id, source=source, time=at.isoformat(), **what)

    def _order(self, *sources: str) -> tuple[str, str]:
        source = self.random.choice([source for source in sources if self._orders[source]])
        return source, self.random.choice(self._orders[source][-25:])

    def refund(self, at: datetime) -> Iterator[dict[str, Any]]:
        source, order_id = self._order(MAIN, HELD, SLIDING, PLAIN)
        what: dict[str, Any] = self.random.choice(
            ({"net": "7.00"}, {"full": True}, {"lines": [{"line_id": "1", "quantity": 1}]}, {"paid": "3.50"})
        )
        yield self._refund(source, order_id, at, **what)

    def undone_refund(self, at: datetime) -> Iterator[dict[str, Any]]:
        if self._refunds:
            undone = self._refunds.pop(self.random.randrange(len(self._refunds)))
            yield reversion(*undone, time=at.isoformat())

    def cancellation(self, at: datetime) -> Iterator[dict[str, Any]]:
        source, order_id = self._order(MAIN, HELD, PLAIN)
        self._orders[source].remove(order_id)
        yield cancellation(order_id, source=source, time=at.isoformat())

    def fulfilment(self, at: datetime) -> Iterator[dict[str, Any]]:
        for order_id in self.random.sample(self._orders[HELD][-9:], min(2, len(self._orders[HELD]))):
            lines = self.random.choice(({}, {"lines": [{"line_id": "1"}]}))
            yield fulfilment(order_id, source=HELD, time=at.isoformat(), event_id=self.new_id("sent"), **lines)

    def amendment(self, at: datetime) -> Iterator[dict[str, Any]]:
        _, order_id = self._order(MAIN)
        revision = self._revisions[order_id] = self._revisions.get(order_id, 0) + 1
        amount = self._amounts[order_id] + self.random.randrange(-15, 60)
        lines = [line("1", f"{amount / 2:.2f}", 2), line("2", f"{amount / 2:.2f}")]
        customer_id = self._customers[order_id]
        yield amendment(order_id, revision=revision, customer_id=customer_id, lines=lines, time=at.isoformat())

    def claim(self, at: datetime) -> Iterator[dict[str, Any]]:
        if self._guests:
            order_id = self._guests.pop(0)
            self._customers[order_id] = customer_id = self.customer()
            self._orders[MAIN].append(order_id)
            yield claim(order_id, customer_id, time=at.isoformat())

    def goods_back(self, at: datetime) -> Iterator[dict[str, Any]]:
        yield goods_back(self.new_id("b"), "9.00", customer_id=self.customer(), time=at.isoformat())

    def _ask(self, verb: str, at: datetime, **data: Any) -> dict[str, Any]:
        key = self.new_id("k")
        if verb in {"credit", "debit", "redeem", "adjust", "transfer", "convert"}:
            self._done.append(key)
        return command(verb, key, time=at.isoformat(), **{"customer_id": self.customer(), **data})

    def credit(self, at: datetime) -> Iterator[dict[str, Any]]:
        day = timedelta(days=1)
        dates = self.random.choice(
            (
                {},
                {"expires_at": (at + 45 * day).isoformat()},
                {"available_at": (at + 20 * day).isoformat(), "expires_at": (at + 90 * day).isoformat()},
            )
        )
        yield self._ask("credit", at, points=self.random.randint(10, 90), **dates)

    def spending(self, at: datetime) -> Iterator[dict[str, Any]]:
        verb = self.random.choice(("debit", "redeem"))
        yield self._ask(verb, at, points=self.random.randint(3, 40))

    def adjustment(self, at: datetime) -> Iterator[dict[str, Any]]:
        points = self.random.choice((-60, -9, 4, 30))
        yield self._ask("adjust", at, points=points, reason="counted anew", allow_negative_balance=points < -50)

    def authorization(self, at: datetime) -> Iterator[dict[str, Any]]:
        hold = self.new_id("hold")
        self._holds.append(hold)
        deadline = self.random.choice((3_600, 20 * 86_400))
        yield self._ask("authorize", at, points=20, authorization_id=hold, expires_in_seconds=deadline)

    def capture(self, at: datetime) -> Iterator[dict[str, Any]]:
        if self._holds:
            hold = self.random.choice(self._holds[-4:])
            part = self.random.choice(({}, {"points": 6, "is_final": False}, {"points": 9}))
            yield self._ask("capture", at, customer_id=None, authorization_id=hold, **part)

    def voiding(self, at: datetime) -> Iterator[dict[str, Any]]:
        if self._holds:
            yield self._ask("void", at, customer_id=None, authorization_id=self.random.choice(self._holds[-3:]))

    def reversal(self, at: datetime) -> Iterator[dict[str, Any]]:
        if self._done:
            part = self.random.choice(({}, {"points": 3}, {"allow_negative_balance": True}))
            yield self._ask("reverse", at, customer_id=None, command_id=self.random.choice(self._done[-12:]), **part)

    def transfer(self, at: datetime) -> Iterator[dict[str, Any]]:
        yield self._ask("transfer", at, to_customer_id=self.customer(), points=self.random.randint(3, 30))

    def conversion(self, at: datetime) -> Iterator[dict[str, Any]]:
        yield self._ask("convert", at, to_program_id="money", points=self.random.randint(3, 30))

    def reward(self, at: datetime) -> Iterator[dict[str, Any]]:
        issue = self.new_id("issue")
        self._issues.append(issue)
        yield self._ask("reward.issue", at, reward_id="mug", issue_id=issue)
        if self.random.random() < 0.7:
            verb = self.random.choice(("reward.redeem", "reward.delete"))
            yield self._ask(verb, at, customer_id=None, issue_id=self.random.choice(self._issues[-3:]))

    def account(self, at: datetime) -> Iterator[dict[str, Any]]:
        """One that is linked, frozen, and closed with its points forfeited or handed on."""
        name, customer_id = self.new_id("account"), self.new_id("n")
        yield self._ask("account.create", at, account_id=name, customer_id=customer_id, points=40)
        whose = {"customer_id": None, "account_id": name}
        for verb in ("link", "unlink"):
            yield self._ask(f"account.{verb}", at, card=f"{name}-card", **whose)
        yield self._ask("account.freeze", at, **whose)
        yield self._ask("redeem", at, points=5, **whose)
        yield self._ask("account.unfreeze", at, **whose)
        yield self._ask("account.update", at, tags=["new"], **whose)
        left = self.random.choice(({"points_left": "forfeit"}, {"points_left": "transfer", "to_customer_id": "c1"}))
        if self.random.random() < 0.8:
            yield self._ask("account.close", at, **whose, **left)

    def merge(self, at: datetime) -> Iterator[dict[str, Any]]:
        """Of a customer who has orders and points, into one of those that stay."""
        gone = self.new_id("g")
        for _ in range(2):
            yield from self._sell(MAIN, at, gone)
        yield self._ask("credit", at, customer_id=gone, points=33)
        if self.random.random() < 0.8:
            self._merged.append(gone)
            yield self._ask("account.merge", at, customer_id=gone, into_customer_id=self.customer())

    def unmerge(self, at: datetime) -> Iterator[dict[str, Any]]:
        if self._merged:
            yield self._ask("account.unmerge", at, customer_id=self._merged.pop())


_ORDERS = (Year.order_of_main, Year.order_of_main, Year.order_of_others, Year.order_of_guest, Year.order_paid)
_REPORTS = (
    Year.refund, Year.refund, Year.undone_refund, Year.cancellation, Year.fulfilment, Year.fulfilment, Year.amendment,
    Year.claim, Year.goods_back,
)  # fmt: skip
_COMMANDS = (
    Year.credit, Year.credit, Year.spending, Year.spending, Year.adjustment, Year.authorization, Year.capture,
    Year.voiding, Year.reversal, Year.transfer, Year.conversion, Year.reward, Year.account, Year.merge, Year.unmerge,
)  # fmt: skip
