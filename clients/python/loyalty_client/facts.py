"""What shops report of their orders. Made by clients/python/generate_types.py from docs/schemas; do not edit."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from loyalty_client.envelope import Fact, SentPart
from loyalty_client.values import (
    Amount,
    Attributes,
    CardNumber,
    CurrencyCode,
    CustomerId,
    ExchangeRate,
    Id,
    Label,
    Quantity,
    SignedAmount,
    SignedQuantity,
)


class AmendedLineData(SentPart):
    """One line of an order as it is now. What the customer gave back in exchange may stand as a line below zero."""

    line_id: Id
    """The shop's id of the line, unique in the order; refunds name it."""
    sku: Label | None = None
    """The shop's id of the article."""
    quantity: SignedQuantity
    """Pieces, not 0; an integer, or a decimal string with at most 3 places. Below 0: given back in exchange."""
    amount: SignedAmount
    """For the whole line, in major units, net of discounts, tax excluded. Below 0: given back in exchange."""
    tax: SignedAmount | None = None
    """Tax on the whole line, in major units."""
    kind: Literal["product", "shipping", "fee", "tip", "gift_card"] | None = None
    """What the line is; a product when left out. The program says which kinds earn."""
    categories: Annotated[list[Label], Field(max_length=100)] | None = None
    """The shop's categories of the article."""


class LinePartData(SentPart):
    """Pieces of one order line."""

    line_id: Id
    """The line of the order."""
    quantity: Quantity | None = None
    """How many pieces; left out, all of the line."""


class OrderAmendedData(SentPart):
    """The whole order as it is now, in place of what was sent before."""

    order_id: Id
    """The order that was edited. It may come later than this message."""
    order_source: Id | None = None
    """Where the order was made; left out, where this message comes from."""
    revision: Annotated[int, Field(ge=1, le=1_000_000_000)]
    """1, 2, 3, …: it grows with each edit, and the greatest counts. The order as it was completed is revision 0."""
    customer_id: CustomerId | None = None
    """The order's customer, as before."""
    account_id: Id | None = None
    """The order's account, where the order names that, as before."""
    card: CardNumber | None = None
    """The card, where the order names that, as before."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """The phone number, where the order names that, as before."""
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """The e-mail address, where the order names that, as before."""
    program_id: Id | None = None
    """The loyalty program, as in the order."""
    currency: CurrencyCode
    """The order's currency, as before."""
    lines: Annotated[list[AmendedLineData], Field(min_length=1, max_length=10_000)]
    """All lines of the order as it is now. Lines that refunds name must be among them."""
    points_paid: Amount | None = None
    """The part of the amount that was paid with points, as in the order."""
    points_authorization_id: Id | None = None
    """The authorization whose captured points paid that part. What is given back of the order then lets as great a
    share of them come back by itself, and what is still held when the order is cancelled.
    """
    points_command_id: Id | None = None
    """Or the id of the command, redeem or debit, that took the points. One authorization or command pays one order; it
    may come later than the order.
    """
    points_command_source: Id | None = None
    """The source of that command; left out, the order's own."""
    attributes: Attributes | None = None
    """As in the order."""
    customer_tags: Annotated[list[Label], Field(max_length=100)] | None = None
    """As in the order."""


class OrderCancelledData(SentPart):
    """A cancellation: the order is called off, or some of its lines."""

    order_id: Id
    """The order that is called off. It may come later than this message."""
    order_source: Id | None = None
    """The source of the order, where that is another channel of the same program; left out, the message's own."""
    program_id: Id | None = None
    """The loyalty program, as in the order."""
    cancellation_id: Id | None = None
    """The shop's id of the cancellation; with `lines` it names one cancellation of the order for ever. Without it
    their time and lines do.
    """
    lines: Annotated[list[LinePartData], Field(min_length=1, max_length=10_000)] | None = None
    """What is called off, in pieces; left out, the whole order. A line stands once."""


class OrderClaimedData(SentPart):
    """Whose order it is: a guest's order that gets its customer, or one that moves to the right customer."""

    order_id: Id
    """The order. It may come later than this message."""
    order_source: Id | None = None
    """Where the order was made; left out, where this message comes from."""
    customer_id: CustomerId | None = None
    """The customer whose order it is."""
    account_id: Id | None = None
    """The account to which it comes, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A linked phone number, in international form, in place of a customer. Only a hash is kept."""
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """A linked e-mail address, in place of a customer. Only a hash is kept."""
    previous_customer_id: CustomerId | None = None
    """Whose it was until now; left out for a guest's order."""
    program_id: Id | None = None
    """The loyalty program, as in the order."""


class OrderLineData(SentPart):
    """One line of an order."""

    line_id: Id
    """The shop's id of the line, unique in the order; refunds name it."""
    sku: Label | None = None
    """The shop's id of the article."""
    quantity: Quantity
    """Pieces, above 0; an integer, or a decimal string with at most 3 places."""
    amount: Amount
    """For the whole line, in major units, net of discounts, tax excluded."""
    tax: Amount | None = None
    """Tax on the whole line, in major units."""
    kind: Literal["product", "shipping", "fee", "tip", "gift_card"] | None = None
    """What the line is; a product when left out. The program says which kinds earn."""
    categories: Annotated[list[Label], Field(max_length=100)] | None = None
    """The shop's categories of the article."""


class OrderCompletedData(SentPart):
    """A completed order."""

    order_id: Id
    """The shop's id of the order; for one source it names one order for ever."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer, opaque: it goes into events. Left out for a guest, who earns nothing."""
    account_id: Id | None = None
    """The account to which the order comes, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer. Beside one these three are left out."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A linked phone number, in international form, in place of a customer. Only a hash is kept."""
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """A linked e-mail address, in place of a customer. Only a hash is kept."""
    program_id: Id | None = None
    """The loyalty program; left out, the program that lists the message's source, or the default one."""
    currency: CurrencyCode
    """ISO 4217 code in upper case, of all amounts."""
    rate: ExchangeRate | None = None
    """What one unit of the currency is worth in the program's, where that is another one; goes before the program's."""
    lines: Annotated[list[OrderLineData], Field(min_length=1, max_length=10_000)]
    """All lines of the order, those that do not earn too."""
    points_paid: Amount | None = None
    """The part of the amount that was paid with points, in major units; at most what all lines cost with their tax."""
    points_authorization_id: Id | None = None
    """The authorization whose captured points paid that part. What is given back of the order then lets as great a
    share of them come back by itself, and what is still held when the order is cancelled.
    """
    points_command_id: Id | None = None
    """Or the id of the command, redeem or debit, that took the points. One authorization or command pays one order; it
    may come later than the order.
    """
    points_command_source: Id | None = None
    """The source of that command; left out, the order's own."""
    attributes: Attributes | None = None
    """What else the shop wants to say about the order, such as its channel; earning rules may ask for it."""
    customer_tags: Annotated[list[Label], Field(max_length=100)] | None = None
    """The groups that the shop counts the customer among; neither their order nor a repeated one matters."""


class OrderFulfilledData(SentPart):
    """A fulfilment: the shop has delivered the order, or some of its lines."""

    order_id: Id
    """The order that is delivered. It may come later than this message."""
    order_source: Id | None = None
    """The source of the order, where that is another channel of the same program; left out, the message's own."""
    program_id: Id | None = None
    """The loyalty program, as in the order."""
    fulfilment_id: Id | None = None
    """The shop's id of the fulfilment; with `lines` it names one fulfilment of the order for ever. Without it their
    time and lines do.
    """
    lines: Annotated[list[LinePartData], Field(min_length=1, max_length=10_000)] | None = None
    """What is delivered, in pieces; left out, the whole order. A line stands once."""


class OrderRefundRevertedData(SentPart):
    """A refund that did not happen after all: the bank sent it back, or it was a mistake."""

    refund_id: Id
    """The refund, of the same source as this message. It may come later than this message."""
    order_id: Id
    """The refund's order."""
    order_source: Id | None = None
    """Where the order was made, as in the refund."""
    program_id: Id | None = None
    """The loyalty program, as in the refund."""


class RefundLineData(SentPart):
    """What is given back of one order line: pieces, money in one of its two kinds, or both."""

    at_least_one_of: ClassVar[tuple[str, ...]] = ("quantity", "paid", "net")
    not_together: ClassVar[tuple[str, ...]] = ("paid", "net")
    line_id: Id
    """The line of the order."""
    quantity: Quantity | None = None
    """Pieces that came back. Without money, their price is given back too."""
    paid: Amount | None = None
    """Money given back for this line as the customer got it, in major units: with tax, after points."""
    net: Amount | None = None
    """Money given back for this line in the terms of its amount, in major units: without tax, before points."""


class OrderRefundedData(SentPart):
    """A refund: of lines, of money of the whole order in one of its two kinds, or of everything. Exactly one."""

    exactly_one_of: ClassVar[tuple[str, ...]] = ("lines", "paid", "net", "full")
    refund_id: Id
    """The shop's id of the refund; for one source it names one refund for ever."""
    order_id: Id
    """The order that is refunded. It may come later than the refund."""
    order_source: Id | None = None
    """The source of the order, where that is another channel of the same program; left out, the message's own."""
    program_id: Id | None = None
    """The loyalty program, as in the order."""
    currency: CurrencyCode | None = None
    """ISO 4217 code in upper case; left out, it is the order's, and it must be that."""
    lines: Annotated[list[RefundLineData], Field(min_length=1, max_length=10_000)] | None = None
    """What is given back, line by line; a line stands once."""
    paid: Amount | None = None
    """Money given back of the order as a whole as the customer got it, in major units: with tax, shipping and all
    else, after points.
    """
    net: Amount | None = None
    """Money given back of the order as a whole in the terms of the lines' amounts, in major units: without tax, before
    points.
    """
    full: bool | None = None
    """True: everything that is not yet given back."""


class OrderReturnedData(SentPart):
    """Goods back without a receipt: of an order that nobody can name."""

    return_id: Id
    """The shop's id of the return; for one source it names one return for ever."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose points are taken, as in orders."""
    account_id: Id | None = None
    """The account, in place of a customer, as in orders."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A linked phone number, in international form, in place of a customer. Only a hash is kept."""
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """A linked e-mail address, in place of a customer. Only a hash is kept."""
    program_id: Id | None = None
    """The loyalty program, as in an order."""
    currency: CurrencyCode
    """ISO 4217 code in upper case, of all amounts."""
    rate: ExchangeRate | None = None
    """What one unit of the currency is worth in the program's, as in an order."""
    lines: Annotated[list[OrderLineData], Field(min_length=1, max_length=10_000)]
    """What came back, in the form of order lines: amounts above 0 are what was given back, tax excluded."""


class OrderAmended(Fact):
    """A shop reports that an order was edited."""

    type: Literal["order.amended"] = "order.amended"
    data: OrderAmendedData
    """The order as it is now."""


class OrderCancelled(Fact):
    """A shop reports that an order is called off."""

    type: Literal["order.cancelled"] = "order.cancelled"
    data: OrderCancelledData
    """The cancellation."""


class OrderClaimed(Fact):
    """A shop reports whose order it is."""

    type: Literal["order.claimed"] = "order.claimed"
    data: OrderClaimedData
    """The claim."""


class OrderCompleted(Fact):
    """A shop reports a completed order."""

    type: Literal["order.completed"] = "order.completed"
    data: OrderCompletedData
    """The order."""


class OrderFulfilled(Fact):
    """A shop reports that an order is delivered."""

    type: Literal["order.fulfilled"] = "order.fulfilled"
    data: OrderFulfilledData
    """The fulfilment."""


class OrderRefundReverted(Fact):
    """A shop reports that a refund did not happen after all."""

    type: Literal["order.refund_reverted"] = "order.refund_reverted"
    data: OrderRefundRevertedData
    """The refund."""


class OrderRefunded(Fact):
    """A shop reports a refund."""

    type: Literal["order.refunded"] = "order.refunded"
    data: OrderRefundedData
    """The refund."""


class OrderReturned(Fact):
    """A shop reports goods that came back without a receipt."""

    type: Literal["order.returned"] = "order.returned"
    data: OrderReturnedData
    """The return."""


FACTS: dict[str, type[Fact]] = {
    "order.amended": OrderAmended,
    "order.cancelled": OrderCancelled,
    "order.claimed": OrderClaimed,
    "order.completed": OrderCompleted,
    "order.fulfilled": OrderFulfilled,
    "order.refund_reverted": OrderRefundReverted,
    "order.refunded": OrderRefunded,
    "order.returned": OrderReturned,
}
"""By their types."""
