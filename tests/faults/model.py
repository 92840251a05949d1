"""What the ledger must hold: the naive model of the domain tests, fed with the messages of a run.

A customer's points in a program of one tier follow from the set of messages alone. Where tiers make the rates depend on
the order of posting, the messages are replayed in the order in which the ledger posted them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from typing import Any, NamedTuple

from core.domain.orders.facts import LineKind, Order, OrderLine, Refund, RefundLine
from core.domain.program import Program
from tests.domain.naive_earning import naive_points, share_back
from tests.domain.naive_tiers import NaiveTiers
from tests.faults.fault_programs import CHANGED, COINS, FADING, HELD, LIMITED, LONG_AGO, PROGRAMS, VALUED, program_of
from tests.limit_checks import kept_amount
from tests.plain_model import NEVER, NaiveAccount

OrderKey = tuple[str, str]  #: source, order_id
AccountKey = tuple[str, str]  #: program_id, customer_id


class Sale(NamedTuple):
    """An order, with what its points depend on besides."""

    order: Order
    program: Program
    expires_at: datetime | None


class LedgerEntry(NamedTuple):
    """One entry as the ledger holds it."""

    sequence: int
    kind: str
    points: int
    balance_after: int
    lifetime_points_after: int
    occurred_at: datetime
    source: str | None
    order_id: str | None
    refund_id: str | None
    pending_change: int = 0
    pending_after: int = 0
    command_id: str | None = None


class Totals(NamedTuple):
    """Where an account stands. A replay tells balance and pending as one: what is pending follows from the messages."""

    balance: int
    lifetime_points: int
    pending: int = 0


class Replayed(NamedTuple):
    """An account after its entries were replayed: what the model holds, and where it disagrees."""

    totals: Totals
    tier: str
    tiers: NaiveTiers  #: through time
    earned: dict[str, int]  #: by order_id
    differences: list[str]


class Model:
    """The facts that are to be posted, each once."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.sales: dict[OrderKey, Sale] = {}
        #: Of each order; its cancellation, or one of its lines, is one without an id.
        self.refunds: dict[OrderKey, list[Refund]] = defaultdict(list)
        self.fulfilled: set[OrderKey] = set()
        self.parcels: dict[OrderKey, list[RefundLine]] = defaultdict(list)  #: the lines that were fulfilled of each
        self.amended: dict[OrderKey, Order] = {}  #: what became of it
        self.claimed: dict[OrderKey, str] = {}  #: by whom
        self.undone: set[tuple[str, str]] = set()  #: refunds that did not happen: source, refund_id
        #: Goods without a receipt, as orders, by their customers' accounts.
        self.returned: dict[AccountKey, list[Order]] = defaultdict(list)
        self.opened: set[AccountKey] = set()  #: by a command
        self.merging: dict[AccountKey, AccountKey] = {}  #: an account that may become a part of the other one
        self.paid: dict[OrderKey, tuple[str, str]] = {}  #: by which field, and what it names

    def add(self, event: dict[str, Any]) -> None:
        """Take the fact that an event reports, or what it asks for."""
        if event["type"] in _ADDERS:
            _ADDERS[event["type"]](self, event)
            return
        if event["type"] in {"loyalty.command.credit", "loyalty.command.account.create"}:
            self.opened.add((VALUED, event["data"]["customer_id"]))

    def together(self, program_id: str, customers: tuple[str, str]) -> None:
        """Two accounts may become one: what they have is told of both together."""
        gone, stays = customers
        self.merging[program_id, gone] = program_id, stays

    def share_back(self, key: OrderKey) -> Fraction:
        """How much of an order is given back in the end."""
        order, program, _ = self.sales[key]
        return share_back(order, self.refunds[key], program)

    def accounts(self) -> dict[AccountKey, list[OrderKey]]:
        """The accounts that must exist, with their orders."""
        found: dict[AccountKey, list[OrderKey]] = defaultdict(list)
        found |= {account: [] for account in self.opened}
        for key, sale in self.sales.items():
            customer_id = self._owner(key)
            if customer_id is not None:
                found[sale.program.program_id, customer_id].append(key)
        return found

    def order_keys(self) -> set[OrderKey]:
        """All orders, those of guests too."""
        return set(self.sales)

    def refund_ids(self) -> set[tuple[str, str]]:
        """All refunds that are to be posted: source and refund_id."""
        return {(refund.source, refund.refund_id) for refund in self._all_refunds() if refund.refund_id}

    def order_events(self) -> Counter[tuple[str, str, str]]:
        """All that is to be posted of what happened to orders: source, order_id, kind; parts and refunds one by one."""
        cancelled = Counter((*r.order_key, "cancelled") for r in self._all_refunds() if not r.refund_id)
        undone = Counter((*each.order_key, "refund_reverted") for each in self._all_refunds() if self._is_undone(each))
        amended = {(*key, "amended") for key in self.amended}
        claimed = {(*key, "claimed") for key in self.claimed}
        sent = Counter((*key, "fulfilled") for key, parcels in self.parcels.items() for _ in parcels)
        fulfilled = {(*key, "fulfilled") for key in self.fulfilled}
        return cancelled + sent + undone + Counter(amended | claimed | fulfilled)

    def _owner(self, key: OrderKey) -> str | None:
        return self.claimed.get(key, self.sales[key].order.customer_id)

    def _is_undone(self, refund: Refund) -> bool:
        return (refund.source, refund.refund_id) in self.undone

    def _all_refunds(self) -> Iterator[Refund]:
        return (refund for refunds in self.refunds.values() for refund in refunds)

    def is_predicted(self, key: OrderKey) -> bool:
        """Whether what the order earns does not depend on other customers' orders, or other orders' remainders."""
        return self.sales[key].program.program_id != LIMITED

    def earned(self, key: OrderKey) -> int:
        """What the order earns in the end, in a program of one tier, from all that is known of it."""
        order, program, _ = self.sales[key]
        refunds = [refund for refund in self.refunds[key] if not self._is_undone(refund)]
        return naive_points(self.amended.get(key, order), refunds, program, program.tiers[0].tier_id)

    def kept(self) -> dict[str, Fraction]:
        """For how much each customer of the program with limits bought and kept."""
        found: dict[str, Fraction] = defaultdict(Fraction)
        for key, (order, program, _) in self.sales.items():
            if program.program_id == LIMITED and order.customer_id is not None:
                found[order.customer_id] += kept_amount(order, self.refunds.get(key, ()), program)
        return found

    def totals(self, account: AccountKey, orders: Sequence[OrderKey], moved: int) -> Totals | None:
        """Where the account must end, whatever the order of posting; None where that order matters.

        `moved` are the points that commands have given, less those that they have taken: by their answers.
        """
        program = PROGRAMS[account[0]]
        if len(program.tiers) > 1:
            return None
        if not is_replayed(account):
            points = sum(self.earned(key) for key in orders)
            back = self.returned.get(account, ())
            points -= sum(naive_points(goods, [], program, program.tiers[0].tier_id) for goods in back)
            return Totals(points + moved, points)
        naive = NaiveAccount(program)
        lifetime_points = 0
        for key in orders:
            before = naive.balance
            naive.complete(self.sales[key].order, self.sales[key].expires_at)
            for refund in self.refunds[key]:
                naive.refund(refund, self.now)
            lifetime_points += naive.balance - before
        naive.expire(self.now)
        pending = sum(naive.earned[key[1]] - self._points_sent(key, naive.earned[key[1]]) for key in orders)
        return Totals(naive.balance - pending, lifetime_points, pending)

    def _points_sent(self, key: OrderKey, earned: int) -> int:
        """How many of the points that an order has earned need not wait for it: as if only what was sent was bought."""
        order, program, _ = self.sales[key]
        if program.program_id != HELD or key in self.fulfilled:
            return earned
        kept = dict(pieces_kept(order, self.refunds[key]))
        for line_id, quantity in kept.items():
            kept[line_id] = max(Decimal(0), quantity - self._pieces_sent(key, line_id))
        rest = tuple(RefundLine(line_id, quantity, None, None) for line_id, quantity in kept.items() if quantity)
        if not rest:
            return earned
        back = Refund(order.source, "rest", order.order_id, order.occurred_at, False, None, None, rest)
        return naive_points(order, [*self.refunds[key], back], program, program.tiers[0].tier_id)

    def _pieces_sent(self, key: OrderKey, line_id: str) -> Decimal:
        ordered = next(line.quantity for line in self.sales[key].order.lines if line.line_id == line_id)
        return min(ordered, sum((p.quantity or ordered for p in self.parcels[key] if p.line_id == line_id), Decimal(0)))

    def replay(self, orders: Sequence[OrderKey], entries: Sequence[LedgerEntry]) -> Replayed:
        """Post the account's messages in the order of its entries."""
        return _Replay({key: (self.sales[key], self.refunds[key]) for key in orders}, self.now).run(entries)


def is_replayed(account: AccountKey) -> bool:
    """Whether its entries are told one by one; what changes orders afterwards, and commands, are told by their end."""
    return account[0] not in {CHANGED, VALUED, COINS}


def is_predicted(account: AccountKey) -> bool:
    """Whether what its orders earn does not depend on other customers' orders, or other orders' remainders."""
    return account[0] != LIMITED


def _order_of(event: dict[str, Any], order_id: str) -> Order:
    data = event["data"]
    return Order(
        source=event["source"],
        order_id=order_id,
        customer_id=data.get("customer_id"),
        currency=data["currency"],
        occurred_at=datetime.fromisoformat(event["time"]).astimezone(UTC),
        lines=tuple(_order_line(line) for line in data["lines"]),
        points_paid=Decimal(data.get("points_paid") or 0),
        attributes=data.get("attributes") or {},
    )


def _add_order(model: Model, event: dict[str, Any]) -> None:
    program, order = program_of(event), _order_of(event, event["data"]["order_id"])
    expires_at = None
    if program.program_id == FADING:
        expires_at = LONG_AGO.get(event["time"], model.now + timedelta(days=1))
    model.sales[order.source, order.order_id] = Sale(order, program, expires_at)
    for name in ("points_command_id", "points_authorization_id"):
        if name in event["data"]:
            model.paid[order.source, order.order_id] = name, event["data"][name]


def _add_refund(model: Model, event: dict[str, Any]) -> None:
    data = event["data"]
    refund = Refund(
        source=event["source"],
        refund_id=data["refund_id"],
        order_id=data["order_id"],
        occurred_at=datetime.fromisoformat(event["time"]).astimezone(UTC),
        full=bool(data.get("full")),
        paid=_number(data.get("paid")),
        net=_number(data.get("net")),
        lines=tuple(_refund_line(line) for line in data.get("lines") or ()),
        order_source=data.get("order_source"),
    )
    model.refunds[refund.order_key].append(refund)


def _add_amendment(model: Model, event: dict[str, Any]) -> None:
    order = _order_of(event, event["data"]["order_id"])
    model.amended[order.source, order.order_id] = order


def _add_claim(model: Model, event: dict[str, Any]) -> None:
    model.claimed[event["source"], event["data"]["order_id"]] = event["data"]["customer_id"]


def _add_reversion(model: Model, event: dict[str, Any]) -> None:
    model.undone.add((event["source"], event["data"]["refund_id"]))


def _add_return(model: Model, event: dict[str, Any]) -> None:
    goods = _order_of(event, event["data"]["return_id"])
    model.returned[CHANGED, goods.customer_id or ""].append(goods)


def _add_fulfilment(model: Model, event: dict[str, Any]) -> None:
    key = event["source"], event["data"]["order_id"]
    lines = event["data"].get("lines")
    if lines:
        model.parcels[key] += [_refund_line(line) for line in lines]
    else:
        model.fulfilled.add(key)


def _add_cancellation(model: Model, event: dict[str, Any]) -> None:
    lines = event["data"].get("lines")
    data = {"refund_id": "", "order_id": event["data"]["order_id"], "full": not lines, "lines": lines}
    _add_refund(model, {**event, "data": data})


#: What each type of message does to the model.
_ADDERS: dict[str, Callable[[Model, dict[str, Any]], None]] = {
    "order.completed": _add_order,
    "order.refunded": _add_refund,
    "order.fulfilled": _add_fulfilment,
    "order.cancelled": _add_cancellation,
    "order.amended": _add_amendment,
    "order.refund_reverted": _add_reversion,
    "order.returned": _add_return,
    "order.claimed": _add_claim,
}


class _Replay:
    """One account. A message that moved no points has no entry: it is posted where it fits."""

    def __init__(self, facts: dict[OrderKey, tuple[Sale, list[Refund]]], now: datetime) -> None:
        self._sales = {key: sale for key, (sale, _) in facts.items()}
        self._open = {key: {refund.refund_id: refund for refund in refunds} for key, (_, refunds) in facts.items()}
        self._now = now
        self._program = next(iter(self._sales.values())).program
        self._naive = NaiveAccount(self._program)
        self._lifetime_points = 0
        self._told: set[tuple[str | None, str]] = set()  #: the refunds that have an entry: order_id, refund_id
        self._differences: list[str] = []

    def run(self, entries: Sequence[LedgerEntry]) -> Replayed:
        self._told = {(entry.order_id, entry.refund_id or "") for entry in entries if entry.kind == "clawback"}
        for entry in entries:
            before = self._naive.balance
            problem = self._post(entry)
            points = self._naive.balance - before
            if entry.kind != "expiry":
                self._lifetime_points += points
            if problem is None and points != entry.points + entry.pending_change:
                problem = f"the model has {points} points"
            elif problem is None and (entry.balance_after + entry.pending_after, entry.lifetime_points_after) != (
                self._naive.balance,
                self._lifetime_points,
            ):
                problem = f"the model has balance {self._naive.balance} and lifetime points {self._lifetime_points}"
            if problem is not None:
                self._differences.append(f"{entry}: {problem}")
        self._differences += self._left_over()
        totals = Totals(self._naive.balance, self._lifetime_points)
        return Replayed(
            totals,
            self._naive.tier,
            self._naive.tiers(NEVER),
            self._naive.earned,
            self._differences,
        )

    def _post(self, entry: LedgerEntry) -> str | None:
        key = entry.source or "", entry.order_id or ""
        if entry.kind == "expiry":
            self._naive.expire(entry.occurred_at)
        if entry.kind in {"expiry", "release"}:
            return None
        if key not in self._sales:
            return "no such order of this customer was sent"
        if entry.kind == "accrual":
            if key[1] in self._naive.orders:
                return "the order has an accrual already"
            self._naive.complete(self._sales[key].order, self._sales[key].expires_at)
            return None
        refund = self._open[key].get(entry.refund_id or "")
        if refund is None or key[1] not in self._naive.orders:
            return "no such refund was sent, or it was posted already, or before its order"
        self._post_silent_before(key, refund, -entry.points - entry.pending_change)
        del self._open[key][refund.refund_id]
        self._naive.refund(refund, self._now)
        return None

    def _post_silent_before(self, key: OrderKey, refund: Refund, points: int) -> None:
        """Find the refunds that moved nothing and without which this one would have moved other points."""
        others = [other for other in self._open[key].values() if (key[1], other.refund_id) not in self._told]
        earned = self._naive.earned[key[1]]
        for count in range(len(others) + 1):
            for silent in combinations(others, count):
                if (
                    self._would_earn(key, *silent) == earned
                    and self._would_earn(key, *silent, refund) == earned - points
                ):
                    for other in silent:
                        del self._open[key][other.refund_id]
                        self._naive.refund(other, self._now)
                    return

    def _would_earn(self, key: OrderKey, *more: Refund) -> int:
        naive = self._naive
        return naive_points(
            self._sales[key].order, [*naive.refunds[key[1]], *more], self._program, naive.tier_of[key[1]]
        )

    def _left_over(self) -> Iterator[str]:
        """What has no entry must move no points."""
        for key, sale in self._sales.items():
            before = self._naive.balance
            if key[1] not in self._naive.orders:
                self._naive.complete(sale.order, sale.expires_at)
                if self._naive.balance != before:
                    yield f"order {key[1]} of {self._naive.balance - before} points has no entry"
            for refund in self._open[key].values():
                before = self._naive.balance
                self._naive.refund(refund, self._now)
                if self._naive.balance != before:
                    yield f"refund {refund.refund_id} of {self._naive.balance - before} points has no entry"


def pieces_kept(order: Order, refunds: Sequence[Refund]) -> Iterator[tuple[str, Decimal]]:
    """How many pieces of each line the refunds leave."""
    for line in order.lines:
        back = sum(
            (p.quantity or 0 for refund in refunds for p in refund.lines if p.line_id == line.line_id), Decimal(0)
        )
        is_gone = any(refund.full for refund in refunds)
        yield line.line_id, Decimal(0) if is_gone else max(Decimal(0), line.quantity - back)


def _order_line(line: dict[str, Any]) -> OrderLine:
    kind = LineKind(line.get("kind") or "product")
    amount, tax = Decimal(line["amount"]), Decimal(line.get("tax") or 0)
    return OrderLine(line["line_id"], None, Decimal(line["quantity"]), amount, tax, kind, ())


def _refund_line(line: dict[str, Any]) -> RefundLine:
    return RefundLine(line["line_id"], *(_number(line.get(name)) for name in ("quantity", "paid", "net")))


def _number(value: str | int | None) -> Decimal | None:
    return None if value is None else Decimal(value)
