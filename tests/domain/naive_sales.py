"""What the naive model knows of one order, of its points, and of when these end."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from core.domain.orders.facts import (
    AmendedOrder,
    Cancellation,
    Fulfilment,
    Order,
    OrderLine,
    Refund,
    RefundLine,
    RefundReversion,
)
from core.domain.program import AnyPromotion, AnyReward, AnyRule, CategoryRule, ItemRule, Program, SpendRule
from tests.domain.naive_earning import Earned, Judged, called_off, naive_earned
from tests.domain.naive_limits import Moved
from tests.domain.naive_tiers import Sold, Worth
from tests.domain.naive_time import DAY

About = Refund | RefundReversion | AmendedOrder | Cancellation | Fulfilment  #: about an order that is there


@dataclass
class End:
    """When points of one kind end that inactivity ends, all together."""

    kind: str
    at: datetime


@dataclass
class Pile:
    """Points of one order that end together."""

    order_id: str
    place: int  #: among all piles
    kind: str  #: the rule or promotion whose own expiry they have
    left: int
    available_at: datetime | None
    end: datetime | End | None
    is_pending: bool
    expired: int = 0
    excused: int = 0
    is_there: bool = True  #: it did not go into a debt as it came
    command_id: str | None = None  #: of the command that gave them; None: an order did
    given_under: Program | None = None  #: the version that such a command was done under
    was_received: bool = False  #: from another account
    has_parted: bool = False  #: what was left of it has gone back to where a merge brought it from
    size: int = field(init=False)  #: what was left of it once it was there

    def __post_init__(self) -> None:
        self.size = self.left

    def is_of(self, order_id: str) -> bool:
        """Whether the order has given them, wherever they are now."""
        return self.command_id is None and self.order_id == order_id

    @property
    def room(self) -> int:
        return self.size - self.left - self.expired

    @property
    def waits(self) -> bool:
        """Whether it waits for the order to be fulfilled."""
        return self.is_pending and self.available_at is None

    @property
    def expires_at(self) -> datetime | None:
        return self.end.at if isinstance(self.end, End) else self.end

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass
class Hold:
    """Points that are reserved, for a reward or for whatever."""

    taken: list[tuple[Pile, int]]  #: what is still held, and where it came from
    deadline: datetime
    moved: Moved  #: what of it counts for a limit
    state: str = "open"
    captures: list[list[tuple[Pile, int]]] = field(default_factory=list)  #: what each has taken for good
    reward: AnyReward | None = None  #: as it was when it was issued

    @property
    def points(self) -> int:
        """How many are still held."""
        return sum(points for _, points in self.taken)


@dataclass
class Told:
    """What the shop has told of one order, whoever's it is."""

    first_order: Order
    program: Program  #: in force at its time
    order: Order = field(init=False)  #: as it is now
    revision: int = 0
    refunds: list[Refund] = field(default_factory=list)
    reverted: set[str] = field(default_factory=set)  #: the refunds that did not happen
    cancelled_at: datetime | None = None
    called_off: list[Cancellation] = field(default_factory=list)  #: some of its lines
    fulfilled_at: datetime | None = None
    parcels: list[Fulfilment] = field(default_factory=list)  #: what was fulfilled of its lines

    def __post_init__(self) -> None:
        self.order = self.first_order

    def is_new(self, message: About) -> bool:
        """Whether the message says something that was not told before, or is not told better since."""
        match message:
            case AmendedOrder(revision=revision):
                return revision > self.revision
            case RefundReversion(refund_id=refund_id):
                return refund_id not in self.reverted
            case Cancellation(lines=()):
                return self.cancelled_at is None
            case Fulfilment(lines=()):
                return self.fulfilled_at is None
        return True

    def hear(self, message: About) -> None:
        """Note what the message says."""
        match message:
            case Refund():
                self.refunds.append(message)
            case RefundReversion():
                self.reverted.add(message.refund_id)
            case AmendedOrder():
                self.order, self.revision = message.order, message.revision
            case Cancellation() if message.lines:
                self.called_off.append(message)
            case Cancellation():
                self.cancelled_at = message.occurred_at
            case Fulfilment() if message.lines:
                self.parcels.append(message)
            case Fulfilment():
                self.fulfilled_at = message.occurred_at

    def all_refunds(self) -> list[Refund]:
        """All that is as good as given back."""
        happened = [refund for refund in self.refunds if refund.refund_id not in self.reverted]
        happened += [self._in_part(number, each) for number, each in enumerate(self.called_off)]
        if self.cancelled_at is None:
            return happened
        source, order_id = self.order.source, self.order.order_id
        return [*happened, Refund(source, "", order_id, self.cancelled_at, True, None, None, ())]

    def _in_part(self, number: int, called_off: Cancellation) -> Refund:
        """A cancellation of a line as the refund that it is as good as; without pieces it is of all of the line."""
        (part,) = called_off.lines
        (line,) = [line for line in self.order.lines if line.line_id == part.line_id]
        pieces = abs(line.quantity) if part.quantity is None else part.quantity
        given = RefundLine(part.line_id, pieces, None, None)
        name = f"called off {number}"
        return Refund(self.order.source, name, self.order.order_id, called_off.occurred_at, False, None, None, (given,))

    def pieces_sent(self, line: OrderLine) -> Decimal:
        """How many pieces of a line are fulfilled."""
        parts = [part for parcel in self.parcels for part in parcel.lines if part.line_id == line.line_id]
        if any(part.quantity is None for part in parts):
            return abs(line.quantity)
        return min(abs(line.quantity), sum((part.quantity or Decimal(0) for part in parts), Decimal(0)))


@dataclass
class Sale:
    """One order of one customer, and what was settled when it came."""

    told: Told
    tier: str
    judged: Judged
    was_first: bool  #: of its customer's orders, when it came
    has_left: bool = False  #: it is another customer's now
    excused: int = 0
    shortfall: int = 0
    taken: list[tuple[Pile, int]] = field(default_factory=list)  #: by its clawbacks, oldest first, less what came back
    first_judged: Judged = field(init=False)
    has_chosen: bool = field(init=False)  #: the newest promotion, for ever
    _found: dict[tuple[int, frozenset[tuple[str, tuple[RefundLine, ...]]]], Earned] = field(
        default_factory=dict
    )  #: since all of it is asked for again and again

    def __post_init__(self) -> None:
        self.first_judged = self.judged
        gives = naive_earned(self.told.first_order, [], self.program, self.tier, self.judged).by_name
        promotions = {p.promotion_id for p in self.program.promotions}
        self.has_chosen = self.program.combine_promotions.value == "newest" and not promotions.isdisjoint(gives)

    @property
    def order(self) -> Order:
        return self.told.order

    @property
    def program(self) -> Program:
        return self.told.program

    def earned(self) -> Earned:
        """What it earns with all its refunds."""
        if self.has_left:
            return Earned({}, {}, 0, is_kept=False, is_paid=False)
        return self._with(self.told.all_refunds())

    def earned_at_first(self) -> Earned:
        """What it earned before any of it came back, without what was called off of lines below zero."""
        return self._with(called_off(self.order, self.told.all_refunds()))

    def counts(self) -> Sold:
        """What it counts for tiers, and when."""
        at, refunds = self.order.occurred_at, self.told.all_refunds()
        instants = sorted({max(at, refund.occurred_at) for refund in refunds})
        found = [(at, self._with([]))]
        found += [(at, self._with([each for each in refunds if each.occurred_at <= at])) for at in instants]
        kept = [(since, worth_of(earned, orders_of(self, earned))) for since, earned in found]
        # What changes nothing is no matter to tiers: time does not pass by it.
        return Sold(at, [kept[0], *(new for old, new in pairwise(kept) if new[1] != old[1])])

    @property
    def is_counted(self) -> bool:
        """Whether it is one of its customer's orders: the first one, say."""
        return self.standing(self.earned())[0]

    def standing(self, earned: Earned) -> tuple[bool, bool]:
        """Whether it counts, and whether it earns."""
        earns = earned.points > 0 or self.program.counted_orders.value != "earning"
        is_paid = earned.is_paid or self.program.counted_orders.value == "all"
        return earned.is_kept and earns and is_paid, earned.points > 0

    def waiting(self) -> dict[str, int] | None:
        """How many points wait for the rest of the order, by kind; None: it is not fulfilled in parts."""
        is_by_fulfilment = self.program.availability.policy.value in {"on_fulfilled", "days_after_fulfilment"}
        if not self.told.parcels or self.told.fulfilled_at is not None or not is_by_fulfilment:
            return None
        refunds = self.told.all_refunds()
        rest = []
        for line in self.order.lines:
            if line.quantity < 0:
                continue  # what was given back in exchange waits for nothing
            more = pieces_kept(line, refunds) - self.told.pieces_sent(line)
            if more > 0:
                rest.append(RefundLine(line.line_id, more, None, None))
        at = self.order.occurred_at
        back = (
            [Refund(self.order.source, "rest", self.order.order_id, at, False, None, None, tuple(rest))] if rest else []
        )
        sent = naive_earned(self.order, [*refunds, *back], self.program, self.tier, self.judged)
        left = max(0, self.earned().points - sent.points)
        found, of_sent = {}, sent.by_kind(self.program)
        for kind, points in self.earned().by_kind(self.program).items():
            found[kind] = min(left, max(0, points - of_sent.get(kind, 0)))
            left -= found[kind]
        return found

    def come_back(self, pile: Pile, points: int) -> None:
        """Points are in the pile again that clawbacks took from it, the last of them first."""
        for place, (of, taken) in reversed([*enumerate(self.taken)]):
            part = min(points, taken) if of is pile else 0
            self.taken[place], points = (of, taken - part), points - part

    def _with(self, refunds: list[Refund]) -> Earned:
        key = self.told.revision, frozenset((refund.refund_id, refund.lines) for refund in refunds)
        if key not in self._found:
            self._found[key] = naive_earned(self.order, refunds, self.program, self.tier, self.judged)
        return self._found[key]


def move_back(were: list[tuple[End, datetime]], new: Iterable[Pile]) -> None:
    """Let ends be as they were that no new pile has: what goes into a debt as it comes lets no points last."""
    for end, at in were:
        if not any(pile.end is end and pile.is_there for pile in new):
            end.at = at


def pieces_kept(line: OrderLine, refunds: list[Refund]) -> Decimal:
    """How many pieces of a line the refunds leave."""
    left = line.quantity
    for refund in refunds:
        if refund.full:
            return Decimal(0)
        left -= sum((part.quantity or Decimal(0) for part in refund.lines if part.line_id == line.line_id), Decimal(0))
    return max(Decimal(0), left)


def surplus(piles: list[Pile], held: dict[str, int], points: int) -> list[tuple[Pile, int]]:
    """Of which of the piles so many points are, that wait: what goes beyond what is held of their kind comes first."""
    points = max(0, min(points, sum(pile.left for pile in piles) - sum(held.values())))
    kept, parts = dict(held), {}
    for pile in piles:
        stays = min(pile.left, kept.get(pile.kind, 0))
        kept[pile.kind] = kept.get(pile.kind, 0) - stays
        parts[pile.place] = min(points, pile.left - stays)
        points -= parts[pile.place]
    for pile in piles:
        more = min(points, pile.left - parts[pile.place])
        parts[pile.place], points = parts[pile.place] + more, points - more
    return [(pile, parts[pile.place]) for pile in piles if parts[pile.place]]


def worth_of(earned: Earned, orders: int) -> Worth:
    return Worth(earned.points, earned.spent, orders)


def orders_of(sale: Sale, earned: Earned) -> int:
    return int(earned.is_kept and (earned.is_paid or sale.program.counted_orders.value == "all"))


def available_at_of(sale: Sale, now: datetime) -> datetime | None:
    """When points that an order is given now are available, as far as that is known."""
    availability, at = sale.program.availability, sale.order.occurred_at
    wait = (availability.days or 0) * DAY
    match availability.policy.value:
        case "on_fulfilled" | "days_after_fulfilment":
            return None if sale.told.fulfilled_at is None else min(max(sale.told.fulfilled_at, at), now) + wait
        case "after_days":
            return at + wait
        case _:
            return min(at, now)


def looks_for(part: AnyRule | AnyPromotion, lines: Iterable[OrderLine]) -> bool:
    """Whether it names articles or categories of these lines; what names none, or carries, is for every order."""
    if isinstance(part, SpendRule) and part.carry:
        return False
    names = part if isinstance(part, ItemRule | CategoryRule) else part.lines
    skus, categories = getattr(names, "skus", ()), getattr(names, "categories", ())
    return any(line.sku in skus or not {*line.categories}.isdisjoint(categories) for line in lines)


def name_of(part: AnyRule | AnyPromotion) -> str:
    return part.promotion_id if hasattr(part, "promotion_id") else part.rule_id


def limits_of(program: Program, name: str) -> list[str]:
    """The limits over orders that a version has for a rule or promotion."""
    found: list[str] = []
    for rule in program.earning_rules:
        if rule.rule_id == name:
            found += [limit for limit in ("per_day", "per_month") if getattr(rule.caps, limit) is not None]
    for promotion in program.promotions:
        if promotion.promotion_id == name:
            limits = promotion.limits
            found += ["ever"] if limits.orders_per_customer is not None else []
            found += ["day"] if limits.orders_per_customer_and_day is not None else []
            found += ["budget"] if limits.orders is not None or limits.budget_points is not None else []
    return found


def is_reached(limit: int | None, used: int) -> bool:
    return limit is not None and used >= limit


def owes_of(granted: dict[str, int], kept: dict[str, int]) -> dict[str, int]:
    """What each kind lost; what one has more than at first stands for what the first others lost."""
    more = sum(max(0, points - granted.get(kind, 0)) for kind, points in kept.items())
    owes = {}
    for kind, points in granted.items():
        lost = max(0, points - kept.get(kind, 0))
        owes[kind] = max(0, lost - more)
        more = max(0, more - lost)
    return owes
