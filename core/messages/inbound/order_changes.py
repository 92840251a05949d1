"""The contract of what changes an order later: the whole order as it is now, a refund that did not happen after all."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, with_config
from pydantic_core import InitErrorDetails

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

from core.messages.inbound.fields import (
    NAMING,
    Amount,
    Attributes,
    CardNumber,
    CurrencyCode,
    CustomerId,
    Id,
    Kind,
    Label,
    SignedAmount,
    SignedQuantity,
    StopAtFirst,
    named_nowhere,
    named_twice,
    own_problem,
    plain_decimal,
    plain_quantity,
)
from core.messages.inbound.order_messages import (
    CATEGORIES_MAX,
    LINES_COUNT,
    STRICT,
    TAGS_MAX,
    AnyCard,
    AnyEmail,
    AnyPhone,
    Envelope,
    leave_out_null,
    refuse,
    repeated_line_ids,
    settle_order,
)
from core.messages.inbound.personal_names import EmailAddress, PhoneNumber
from core.messages.inbound.points_paid import PointsAuthorization, PointsCommand, PointsCommandSource

REVISION_MAX = 10**9


@with_config(STRICT)
class AmendedLineData(TypedDict):
    """One line of an order as it is now. What the customer gave back in exchange may stand as a line below zero."""

    line_id: Id
    """The shop's id of the line, unique in the order; refunds name it."""
    sku: NotRequired[Label | None]
    """The shop's id of the article."""
    quantity: SignedQuantity
    """Pieces, not 0; an integer, or a decimal string with at most 3 places. Below 0: given back in exchange."""
    amount: SignedAmount
    """For the whole line, in major units, net of discounts, tax excluded. Below 0: given back in exchange."""
    tax: NotRequired[SignedAmount | None]
    """Tax on the whole line, in major units."""
    kind: NotRequired[Kind | None]
    """What the line is; a product when left out. The program says which kinds earn."""
    categories: NotRequired[Annotated[list[Label], Field(max_length=CATEGORIES_MAX), StopAtFirst()] | None]
    """The shop's categories of the article."""


def _settle_lines(lines: list[AmendedLineData]) -> list[AmendedLineData]:
    problems: list[InitErrorDetails] = []
    for place, line in enumerate(lines):
        leave_out_null(line)
        line["amount"] = plain_decimal(line["amount"])
        quantity = plain_quantity(str(line["quantity"]))
        line["quantity"] = quantity
        if quantity == 0:
            problems.append(own_problem((place, "quantity"), "is 0; leave the line out"))
        problems += _settle_signs(line, place)
        if line.get("kind") == "product":
            del line["kind"]
        if "categories" in line and not line["categories"]:
            del line["categories"]
    if len({line["line_id"] for line in lines}) != len(lines):
        problems += repeated_line_ids(lines)
    refuse(problems)
    return lines


def _settle_signs(line: AmendedLineData, place: int) -> list[InitErrorDetails]:
    """What is given back is below zero in all its numbers; its pieces may be written without the sign."""
    tax = plain_decimal(str(line.get("tax", "0")))
    if tax != "0":
        line["tax"] = tax
    else:
        line.pop("tax", None)
    is_given_back = line["amount"][0] == "-"
    if is_given_back and str(line["quantity"])[0] != "-":
        line["quantity"] = plain_quantity(f"-{line['quantity']}")
    if line["amount"] != "0" and is_given_back != (str(line["quantity"])[0] == "-"):
        text = "is below 0, and the line's amount is not; send both below 0 for what is given back in exchange"
        return [own_problem((place, "quantity"), text)]
    if tax != "0" and is_given_back != (tax[0] == "-"):
        text = (
            "is below 0, and the line's amount is not" if tax[0] == "-" else "is not below 0, and the line's amount is"
        )
        text += "; send both below 0 for what is given back in exchange, and both without a sign otherwise"
        return [own_problem((place, "tax"), text)]
    return []


@with_config(STRICT)
class OrderAmendedData(TypedDict):
    """The whole order as it is now, in place of what was sent before."""

    order_id: Id
    """The order that was edited. It may come later than this message."""
    order_source: NotRequired[Id | None]
    """Where the order was made; left out, where this message comes from."""
    revision: Annotated[int, Field(ge=1, le=REVISION_MAX)]
    """1, 2, 3, …: it grows with each edit, and the greatest counts. The order as it was completed is revision 0."""
    customer_id: NotRequired[CustomerId | None]
    """The order's customer, as before."""
    account_id: NotRequired[Id | None]
    """The order's account, where the order names that, as before."""
    card: NotRequired[AnyCard]
    """The card, where the order names that, as before."""
    phone: NotRequired[AnyPhone]
    """The phone number, where the order names that, as before."""
    email: NotRequired[AnyEmail]
    """The e-mail address, where the order names that, as before."""
    program_id: NotRequired[Id | None]
    """The loyalty program, as in the order."""
    currency: CurrencyCode
    """The order's currency, as before."""
    lines: Annotated[list[AmendedLineData], LINES_COUNT, StopAtFirst(), AfterValidator(_settle_lines)]
    """All lines of the order as it is now. Lines that refunds name must be among them."""
    points_paid: NotRequired[Amount | None]
    """The part of the amount that was paid with points, as in the order."""
    points_authorization_id: NotRequired[PointsAuthorization]
    points_command_id: NotRequired[PointsCommand]
    points_command_source: NotRequired[PointsCommandSource]
    attributes: NotRequired[Attributes | None]
    """As in the order."""
    customer_tags: NotRequired[Annotated[list[Label], Field(max_length=TAGS_MAX), StopAtFirst()] | None]
    """As in the order."""


@with_config(STRICT)
class OrderRefundRevertedData(TypedDict):
    """A refund that did not happen after all: the bank sent it back, or it was a mistake."""

    refund_id: Id
    """The refund, of the same source as this message. It may come later than this message."""
    order_id: Id
    """The refund's order."""
    order_source: NotRequired[Id | None]
    """Where the order was made, as in the refund."""
    program_id: NotRequired[Id | None]
    """The loyalty program, as in the refund."""


@with_config(STRICT)
class OrderClaimedData(TypedDict):
    """Whose order it is: a guest's order that gets its customer, or one that moves to the right customer."""

    order_id: Id
    """The order. It may come later than this message."""
    order_source: NotRequired[Id | None]
    """Where the order was made; left out, where this message comes from."""
    customer_id: NotRequired[CustomerId | None]
    """The customer whose order it is."""
    account_id: NotRequired[Id | None]
    """The account to which it comes, in place of a customer: the id that we drew, or its own."""
    card: NotRequired[CardNumber | None]
    """A card that is linked to the account, in place of a customer."""
    phone: NotRequired[PhoneNumber | None]
    """A linked phone number, in international form, in place of a customer. Only a hash is kept."""
    email: NotRequired[EmailAddress | None]
    """A linked e-mail address, in place of a customer. Only a hash is kept."""
    previous_customer_id: NotRequired[CustomerId | None]
    """Whose it was until now; left out for a guest's order."""
    program_id: NotRequired[Id | None]
    """The loyalty program, as in the order."""


def _settle_claimed(data: OrderClaimedData) -> OrderClaimedData:
    leave_out_null(data)
    refuse(named_twice(data, NAMING) or named_nowhere(data, NAMING, "name whose it is by one of them"))
    if data.get("customer_id", "") == data.get("previous_customer_id"):
        refuse([own_problem(("previous_customer_id",), "is the customer_id too; leave it out for a guest's order")])
    return data


def _settle_amended(data: OrderAmendedData) -> OrderAmendedData:
    of_order: Any = data  # the same fields
    settle_order(of_order)
    return data


def _settle_reverted(data: OrderRefundRevertedData) -> OrderRefundRevertedData:
    leave_out_null(data)
    return data


@with_config(STRICT)
class OrderAmendedEvent(Envelope):
    """A shop reports that an order was edited."""

    type: Literal["order.amended"]  # type: ignore[misc]
    """What happened."""
    data: Annotated[OrderAmendedData, AfterValidator(_settle_amended)]
    """The order as it is now."""


@with_config(STRICT)
class OrderClaimedEvent(Envelope):
    """A shop reports whose order it is."""

    type: Literal["order.claimed"]  # type: ignore[misc]
    """What happened."""
    data: Annotated[OrderClaimedData, AfterValidator(_settle_claimed)]
    """The claim."""


@with_config(STRICT)
class OrderRefundRevertedEvent(Envelope):
    """A shop reports that a refund did not happen after all."""

    type: Literal["order.refund_reverted"]  # type: ignore[misc]
    """What happened."""
    data: Annotated[OrderRefundRevertedData, AfterValidator(_settle_reverted)]
    """The refund."""
