"""What the ledger holds of orders and of what shops report about them, and what orders use up of limits."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from core.domain.orders.facts import AttributeValue, LinePart, Order, OrderLine, Refund, Return
from core.domain.orders.parts import given_back
from core.domain.records import quickly_replaced

_NOTHING: Mapping[str, int] = MappingProxyType({})
_NO_REMAINDERS: Mapping[str, Decimal] = MappingProxyType({})


class Judgement(NamedTuple):
    """What was judged when the order was posted, for good: who it is for, and what its limits left of each rule.

    The empty one means: every rule and promotion of the version on the order's day, without limits.
    """

    excluded: tuple[str, ...] = ()  #: rules and promotions whose conditions, beside their dates, did not hold
    allowances: Mapping[str, int] = _NOTHING  #: the most points that each rule or promotion could give, where limited
    carried: Mapping[str, Decimal] = _NO_REMAINDERS  #: the remainder that each rule brought from earlier orders
    is_first_order: bool = False  #: no other order of the customer counted; kept where the version asks for it


class Qualifying(NamedTuple):
    """What one order counts for the tier, by each measure."""

    points: int = 0
    spend: int = 0  #: hundredths of the major unit
    orders: int = 0  #: 1 while something of it is kept that cost something


class Amendment(NamedTuple):
    """The newest revision of an order: what it is now, and what was judged of it when it came."""

    revision: int  #: 1, 2, 3, …; the order as it came first is 0
    lines: tuple[OrderLine, ...]
    points_paid: Decimal
    attributes: Mapping[str, AttributeValue]
    customer_tags: tuple[str, ...]
    judgement: Judgement
    points_authorization_id: str | None = None
    points_command_id: str | None = None
    points_command_source: str | None = None


def amendment_of(revision: int, now: Order, judgement: Judgement) -> Amendment:
    """The revision in which an order is `now`."""
    return Amendment(
        revision,
        now.lines,
        now.points_paid,
        now.attributes,
        now.customer_tags,
        judgement,
        now.points_authorization_id,
        now.points_command_id,
        now.points_command_source,
    )


class QualifyingStep(NamedTuple):
    """What one order counts for the tier from an instant on, until its next step."""

    since: datetime
    qualifying: Qualifying


@quickly_replaced
class PostedOrder(NamedTuple):
    """What the ledger holds of an order: its facts, the rules frozen with it, and what became of its points."""

    order: Order
    program_id: str
    program_version: int
    digest: bytes  #: of its content: the same order again has the same one
    tier_id: str | None = None  #: the tier that its points were earned at; None for a guest
    account_id: UUID | None = None  #: None for a guest
    sequence: int | None = None  #: its accrual entry; None when it earned nothing
    points_entitled: int = 0  #: entitlement with all refunds known so far
    points_excused: int = 0  #: of what refunds claimed back: had expired already
    points_shortfall: int = 0  #: of what refunds claimed back: not taken by policy
    judgement: Judgement = Judgement()
    qualifying: Qualifying = Qualifying()  #: with all refunds known so far
    is_counted: bool = False  #: it counts as an order of its customer: as the first one, and as activity
    #: What it counted when, by the refunds' own times, from the order on; () while it has none.
    qualifying_steps: tuple[QualifyingStep, ...] = ()
    fulfilled_at: datetime | None = None
    cancelled_at: datetime | None = None
    amendment: Amendment | None = None

    @property
    def current(self) -> Order:
        """The order as it is now."""
        now = self.amendment
        if now is None:
            return self.order
        return self.order._replace(
            lines=now.lines,
            points_paid=now.points_paid,
            attributes=now.attributes,
            customer_tags=now.customer_tags,
            points_authorization_id=now.points_authorization_id,
            points_command_id=now.points_command_id,
            points_command_source=now.points_command_source,
        )

    @property
    def judged(self) -> Judgement:
        """What was judged of the order as it is now."""
        return self.judgement if self.amendment is None else self.amendment.judgement

    @property
    def key(self) -> tuple[str, str]:
        """The order's source and id."""
        return self.order.source, self.order.order_id


class Recovery(NamedTuple):
    """What became of points that were claimed back: due = taken + excused + shortfall. Below zero: they came back."""

    points_due: int = 0
    points_taken: int = 0
    points_excused: int = 0
    points_shortfall: int = 0


class PostedRefund(NamedTuple):
    """What the ledger holds of a refund."""

    refund: Refund
    program_id: str
    digest: bytes
    account_id: UUID | None  #: of its order
    recovery: Recovery = Recovery()
    sequence: int | None = None  #: the entry that took points back; None: there is none


class PostedReturn(NamedTuple):
    """What the ledger holds of a return without a receipt."""

    returned: Return
    program_id: str
    program_version: int
    digest: bytes
    account_id: UUID | None = None  #: None: the customer had none, and nothing was taken
    tier_id: str | None = None  #: what came back would have earned in this tier
    recovery: Recovery = Recovery()
    sequence: int | None = None  #: the entry that took points; None: there is none

    @property
    def key(self) -> tuple[str, str]:
        """Its source and id."""
        return self.returned.source, self.returned.return_id


class OrderEventKind(StrEnum):
    """What can happen to an order."""

    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    AMENDED = "amended"
    REFUND_REVERTED = "refund_reverted"
    CLAIMED = "claimed"  #: it came to a customer
    GIVEN_UP = "given_up"  #: it left the customer whose it was, by the same message
    MOVED_AWAY = "moved_away"  #: it left its account by a merge, as it was
    MOVED_IN = "moved_in"  #: it came to an account by a merge, as it was


class PostedOrderEvent(NamedTuple):
    """What the ledger holds of something that happened to an order."""

    kind: OrderEventKind
    event_key: str  #: what tells it from others of its kind: '' the whole order, a revision, a refund, a part
    source: str
    order_id: str
    occurred_at: datetime
    program_id: str
    digest: bytes
    account_id: UUID | None  #: of its order
    recovery: Recovery = Recovery()
    sequence: int | None = None  #: the entry that it made; None: there is none
    accrual_sequence: int | None = None  #: of an order that was given up: the entry that it earned there when it came
    lines: tuple[LinePart, ...] = ()  #: which part of the order it is about; none: all of it


class Usage(NamedTuple):
    """What one customer's orders of a period have of a rule or promotion, after their refunds."""

    points: int = 0
    orders: int = 0  #: that it gave something for
    carried: Decimal = Decimal(0)  #: the remainder for the next order

    def plus(self, change: "UsageChange") -> "Usage":
        """The usage after a posting."""
        return Usage(self.points + change.points, self.orders + change.orders, self.carried + change.carried)


class UsageChange(NamedTuple):
    """What one posting changed of what its customer has had of a rule or promotion in a period."""

    account_id: UUID
    name: str  #: the rule's or the promotion's
    period: str  #: 2026-11-21, 2026-11, or `ever`
    points: int
    orders: int
    carried: Decimal


class Budget(NamedTuple):
    """What all customers' orders have of a promotion, after their refunds."""

    points: int = 0
    orders: int = 0

    def plus(self, change: "BudgetChange") -> "Budget":
        """The budget after a posting."""
        return Budget(self.points + change.points, self.orders + change.orders)


class BudgetChange(NamedTuple):
    """What one posting changed of what all customers have had of a promotion."""

    program_id: str
    name: str  #: the promotion's
    points: int
    orders: int


def refund_event_key(source: str, refund_id: str) -> str:
    """The key of an order event that is about a refund. No id holds the character between them."""
    return f"{source}\t{refund_id}"


def refunds_known(
    refunds: Iterable[PostedRefund],
    posted: PostedOrder,
    reverted: Collection[str] = (),
    cancelled: Iterable[tuple[datetime, Sequence[LinePart]]] = (),
) -> list[Refund]:
    """All refunds of an order but those `reverted`, and what was `cancelled`, in parts or in all, as others of no id.

    `reverted` are keys as `refund_event_key` makes them.
    """
    known = [each.refund for each in refunds]
    if reverted:
        known = [refund for refund in known if refund_event_key(refund.source, refund.refund_id) not in reverted]
    known += [cancelled_part(posted, at, lines) for at, lines in cancelled]
    if posted.cancelled_at is not None:
        known.append(in_full(posted, posted.cancelled_at))
    return known


def parts_cancelled(events: Iterable[PostedOrderEvent]) -> list[tuple[datetime, Sequence[LinePart]]]:
    """When which lines of an order were cancelled, of all that happened to it."""
    found = (event for event in events if event.kind is OrderEventKind.CANCELLED and event.lines)
    return [(event.occurred_at, event.lines) for event in found]


def cancelled_part(posted: PostedOrder, occurred_at: datetime, lines: Sequence[LinePart]) -> Refund:
    """The refund that the cancellation of these lines counts as; without lines, that of the whole order."""
    whole = in_full(posted, occurred_at)
    return given_back(whole, posted.current, lines) if lines else whole


def in_full(posted: PostedOrder, occurred_at: datetime) -> Refund:
    """The refund that a cancellation of this order counts as."""
    source, order_id = posted.key
    return Refund(source, "", order_id, occurred_at, full=True, paid=None, net=None, lines=())
