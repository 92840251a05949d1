"""What a message needs of the books: which orders and customers, and which parts of each.

The loader takes the union over all messages of a batch. A decider that asks for more than that gets an error.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from core.domain.program import Program
from core.domain.records import quickly_replaced
from core.domain.value.payments import PaymentKey

K = TypeVar("K")
OrderKey = tuple[str, str]  #: source, order_id
RefundKey = tuple[str, str]  #: source, refund_id
ReturnKey = tuple[str, str]  #: source, return_id
CustomerKey = tuple[str, str]  #: program_id, customer_id
CommandKey = tuple[str, str]  #: source, command_id


class ReferenceKey(NamedTuple):
    """A name by which an account is found, other than its customer's."""

    kind: str  #: such as account
    reference: str
    program_id: str = ""  #: '': it is unique among all programs


class LotsWanted(IntEnum):
    """Which lots of an account; each choice includes those before it."""

    NONE = 0
    IF_OWING = 1  #: those that are due to be released, where the account owes points and they may have to pay them off
    TO_TAKE = 2  #: those that are due to be released, and, in spending order, as many as the orders' refunds may take
    ALL = 3  #: all that have points left
    EVERY = 4  #: empty ones too


class TierInstant(NamedTuple):
    """When something counts for an account's tier."""

    at: datetime | None  #: None: what was before it counts otherwise too
    order: OrderKey
    is_new: bool  #: whether the order is made; else it counts otherwise from then on
    place: int = 0  #: of its message in the batch


@quickly_replaced
class AccountParts(NamedTuple):
    """Which parts of an account."""

    lots: LotsWanted = LotsWanted.NONE
    tiers_at: tuple[TierInstant, ...] = ()  #: what its tier follows from at these instants
    limits_of: tuple[tuple[Program, datetime], ...] = ()  #: usages and budgets of an order of that instant
    expiries: bool = False  #: its shared expiries that have not been carried out
    points_to_take: int = 0  #: beside what refunds of orders may take: with `LotsWanted.TO_TAKE`
    keepings: bool = False  #: what lets these last
    details: bool = False  #: its metadata and tags
    holding: bool = False  #: the authorizations that hold points of it, and the lots that these came from
    members: bool = False  #: who may use it beside its owner
    primaries: bool = False  #: where the orders of these and of its owner come to
    rewards: frozenset[str] = frozenset()  #: how often it has these, and everybody
    itself: bool = False  #: the account that is named, even where it is merged into another; and that one too
    merge: bool = False  #: its merges, and all orders that are its own or moved away by one
    commands_at: tuple[datetime, ...] = ()  #: what commands of these instants are held against
    owner_gets_in: frozenset[str] = frozenset()  #: programs in which its owner's account gets points, of a reference

    def union(self, other: "AccountParts") -> "AccountParts":
        """The parts that either asks for."""
        return AccountParts(
            max(self.lots, other.lots),
            self.tiers_at + other.tiers_at,
            self.limits_of + other.limits_of,
            self.expiries or other.expiries,
            self.points_to_take + other.points_to_take,
            self.keepings or other.keepings,
            self.details or other.details,
            self.holding or other.holding,
            self.members or other.members,
            self.primaries or other.primaries,
            self.rewards | other.rewards,
            self.itself or other.itself,
            self.merge or other.merge,
            self.commands_at + other.commands_at,
            self.owner_gets_in | other.owner_gets_in,
        )

    def of_message(self, place: int) -> "AccountParts":
        """What the message asks for that has this place in its batch."""
        if not self.tiers_at:
            return self
        marked = [TierInstant(at, order, is_new, place) for at, order, is_new, _ in self.tiers_at]
        return self._replace(tiers_at=tuple(marked))


#: Of an account that gets points by command.
GETTING = AccountParts(LotsWanted.IF_OWING, expiries=True)


class OrderParts(NamedTuple):
    """Which parts of a posted order, beside itself."""

    refunds: bool = False
    events: bool = False  #: its fulfilment and its cancellation
    account: AccountParts | None = None  #: of its account, and the lots that the order opened, whatever is left of them
    limits: bool = False  #: usages and budgets of the order, under the version that judged it
    takes: bool = False  #: from which lots its clawbacks took, and these lots

    def union(self, other: "OrderParts") -> "OrderParts":
        """The parts that either asks for."""
        accounts = [parts for parts in (self.account, other.account) if parts is not None]
        return OrderParts(
            self.refunds or other.refunds,
            self.events or other.events,
            accounts[0].union(accounts[-1]) if len(accounts) > 1 else next(iter(accounts), None),
            self.limits or other.limits,
            self.takes or other.takes,
        )


_NO_ORDERS: Mapping[OrderKey, OrderParts] = MappingProxyType({})
_NO_CUSTOMERS: Mapping[CustomerKey, AccountParts] = MappingProxyType({})
_NO_REFERENCES: Mapping[ReferenceKey, AccountParts] = MappingProxyType({})
_NO_MOVEMENTS: Mapping[CommandKey, AccountParts] = MappingProxyType({})
_NO_PAYMENTS: Mapping[PaymentKey, frozenset[OrderKey]] = MappingProxyType({})
_NO_PERSONS: Mapping[str, AccountParts] = MappingProxyType({})
_NO_OWNERS: Mapping[OrderKey, tuple[CustomerKey | ReferenceKey, ...]] = MappingProxyType({})


@quickly_replaced
class Reach(NamedTuple):
    """What one message, or all messages of a batch, need of the books."""

    orders: Mapping[OrderKey, OrderParts] = _NO_ORDERS
    refunds: frozenset[RefundKey] = frozenset()
    customers: Mapping[CustomerKey, AccountParts] = _NO_CUSTOMERS
    #: Whose orders the messages report: what another message needs of such an order's account is needed of theirs.
    #: Several for one order, if it is reported in two programs, or again with other content.
    owners: Mapping[OrderKey, tuple[CustomerKey | ReferenceKey, ...]] = _NO_OWNERS
    returns: frozenset[ReturnKey] = frozenset()
    references: Mapping[ReferenceKey, AccountParts] = _NO_REFERENCES
    commands: frozenset[CommandKey] = frozenset()
    #: Commands of which the entries are needed, with the lots that these took from, and these parts of their accounts.
    movements: Mapping[CommandKey, AccountParts] = _NO_MOVEMENTS
    #: What messages name as having taken the points that paid their orders.
    payments: Mapping[PaymentKey, frozenset[OrderKey]] = _NO_PAYMENTS
    offered: frozenset[PaymentKey] = frozenset()  #: what orders may name so, of which the messages themselves are about
    #: Customers of whom all accounts are needed, in all programs, and all that they may use.
    persons: Mapping[str, AccountParts] = _NO_PERSONS


def union(reaches: Iterable[Reach]) -> Reach:
    """What any of `reaches` asks for."""
    orders: dict[OrderKey, OrderParts] = {}
    customers: dict[CustomerKey, AccountParts] = {}
    owners: dict[OrderKey, tuple[CustomerKey | ReferenceKey, ...]] = {}
    refunds: set[RefundKey] = set()
    returns: set[ReturnKey] = set()
    references: dict[ReferenceKey, AccountParts] = {}
    movements: dict[CommandKey, AccountParts] = {}
    accounts_of: dict[CommandKey, Reach] = {}
    payments: dict[PaymentKey, frozenset[OrderKey]] = {}
    offered: set[PaymentKey] = set()
    persons: dict[str, AccountParts] = {}
    for place, reach in enumerate(reaches):
        for order, of_order in reach.orders.items():
            if of_order.account is not None:
                of_order = of_order._replace(account=of_order.account.of_message(place))  # noqa: PLW2901
            orders[order] = orders[order].union(of_order) if order in orders else of_order
        for customer, parts in reach.customers.items():
            of_customer = parts.of_message(place)
            customers[customer] = customers[customer].union(of_customer) if customer in customers else of_customer
        for order, customers_of_order in reach.owners.items():
            owners[order] = owners.get(order, ()) + customers_of_order
        refunds.update(reach.refunds)
        returns.update(reach.returns)
        _join(references, reach.references)
        accounts_of.update(dict.fromkeys(reach.commands, reach))
        offered.update(reach.offered)
        _join(persons, reach.persons)
        for payment, of_orders in reach.payments.items():
            payments[payment] = payments.get(payment, frozenset()) | of_orders
        _join(movements, reach.movements)
    for command, parts in movements.items():
        # It may be posted by this batch: what undoes it then reaches the accounts that it reaches.
        reached = accounts_of.get(command, Reach())
        _join(customers, dict.fromkeys(reached.customers, parts))
        _join(references, dict.fromkeys(reached.references, parts))
    return Reach(
        orders,
        frozenset(refunds),
        customers,
        owners,
        frozenset(returns),
        references,
        frozenset(accounts_of),
        movements,
        payments,
        frozenset(offered),
        persons,
    )


def _join(parts_of: dict[K, AccountParts], more: Mapping[K, AccountParts]) -> None:
    for key, parts in more.items():
        parts_of[key] = parts_of[key].union(parts) if key in parts_of else parts
