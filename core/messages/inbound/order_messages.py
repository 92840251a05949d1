"""The contract of the messages that come in: what a shop may send. The published JSON Schemas are made of it.

Messages are checked in one pass of pydantic's parser, so these types are plain dicts after it (a model per order line
would double the time of reading an order). Nothing is coerced, unknown fields are ignored. A value that may be left
out may also be null. While a message is checked it is also settled: the same fact written in another way ("12.50" and
"12.5", `kind` left out and "product") gives the same dict, so that a repeat is recognized by its content.
"""

import re
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator, with_config
from pydantic_core import InitErrorDetails, PydanticCustomError

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

from core.messages.inbound.fields import (
    OWN_PROBLEM,
    ZERO_PATTERN,
    Amount,
    Attributes,
    CardNumber,
    CurrencyCode,
    CustomerId,
    ExchangeRate,
    Id,
    Kind,
    Label,
    Quantity,
    StopAtFirst,
    Traceparent,
    Tracestate,
    UtcTime,
    counting,
    or_unread,
    own_problem,
    plain_decimal,
    plain_quantity,
    settle_naming,
)
from core.messages.inbound.personal_names import EmailAddress, PhoneNumber
from core.messages.inbound.points_paid import (
    PointsAuthorization,
    PointsCommand,
    PointsCommandSource,
    paid_beyond,
    paid_otherwise,
)

LINES_MAX = 10_000
CATEGORIES_MAX = 100
TAGS_MAX = 100
_PROBLEMS_MAX = 5  #: as many as a detail shows; a message of 300,000 wrong values must not cost a gigabyte

_ZERO = re.compile(ZERO_PATTERN.replace("$", r"\Z"))
STRICT = ConfigDict(strict=True, extra="ignore")
LINES_COUNT = Field(min_length=1, max_length=LINES_MAX)

_KINDS_OF_MONEY = (
    '"paid" is what the customer got back, with tax and after points; "net" is without tax and before points'
)


def _refuse_amount(value: object) -> object:
    if value is not None:
        text = f'does not say which money it is; write "paid" or "net" in its place: {_KINDS_OF_MONEY}'
        raise PydanticCustomError(OWN_PROBLEM, "{text}", {"text": text})
    return value


Refused = Annotated[None, BeforeValidator(_refuse_amount)]


# Shops send these with every order, and most orders name a customer, beside whom they are left out.
AnyCard = Annotated[CardNumber | None, WrapValidator(or_unread)]
AnyPhone = Annotated[PhoneNumber | None, WrapValidator(or_unread)]
AnyEmail = Annotated[EmailAddress | None, WrapValidator(or_unread)]


@with_config(STRICT)
class OrderLineData(TypedDict):
    """One line of an order."""

    line_id: Id
    """The shop's id of the line, unique in the order; refunds name it."""
    sku: NotRequired[Label | None]
    """The shop's id of the article."""
    quantity: Quantity
    """Pieces, above 0; an integer, or a decimal string with at most 3 places."""
    amount: Amount
    """For the whole line, in major units, net of discounts, tax excluded."""
    tax: NotRequired[Amount | None]
    """Tax on the whole line, in major units."""
    kind: NotRequired[Kind | None]
    """What the line is; a product when left out. The program says which kinds earn."""
    categories: NotRequired[Annotated[list[Label], Field(max_length=CATEGORIES_MAX), StopAtFirst()] | None]
    """The shop's categories of the article."""


@with_config(STRICT)
class RefundLineData(TypedDict):
    """What is given back of one order line: pieces, money in one of its two kinds, or both."""

    line_id: Id
    """The line of the order."""
    quantity: NotRequired[Quantity | None]
    """Pieces that came back. Without money, their price is given back too."""
    paid: NotRequired[Amount | None]
    """Money given back for this line as the customer got it, in major units: with tax, after points."""
    net: NotRequired[Amount | None]
    """Money given back for this line in the terms of its amount, in major units: without tax, before points."""
    amount: NotRequired[Refused]
    """Refused, as it does not say which money it is: write `paid` or `net`."""


@with_config(STRICT)
class LinePartData(TypedDict):
    """Pieces of one order line."""

    line_id: Id
    """The line of the order."""
    quantity: NotRequired[Quantity | None]
    """How many pieces; left out, all of the line."""


def refuse(problems: Sequence[InitErrorDetails]) -> None:
    """Raise these problems, if there are any."""
    if problems:
        told = list(problems[:_PROBLEMS_MAX])
        if len(problems) > _PROBLEMS_MAX:
            told[-1] = counting(told[-1], len(problems) - _PROBLEMS_MAX)
        raise ValidationError.from_exception_data("data", told)


def leave_out_null(fields: Any) -> None:
    """Null is as good as left out."""
    if None in fields.values():
        for name in [name for name, value in fields.items() if value is None]:
            del fields[name]


def _settle_amount(fields: Any, name: str) -> None:
    """Write an amount that may be left out in its one form; zero is left out."""
    fields[name] = plain_decimal(fields[name])
    if fields[name] == "0":
        del fields[name]


def _settle_money(fields: Any) -> None:
    """Write the money that is given back in its one form."""
    for name in ("paid", "net"):
        if name in fields:
            fields[name] = plain_decimal(fields[name])


def _settle_quantity(
    line: OrderLineData | RefundLineData | LinePartData,
    place: int,
    problems: list[InitErrorDetails],
    instead: str = "leave the line out",
) -> None:
    quantity = line["quantity"]
    if isinstance(quantity, str):
        if _ZERO.match(quantity):
            problems.append(own_problem((place, "quantity"), f'is "{quantity}"; a quantity is above 0: {instead}'))
        line["quantity"] = plain_quantity(quantity)


def repeated_line_ids(lines: Sequence[OrderLineData | RefundLineData | LinePartData]) -> list[InitErrorDetails]:
    """Problems with the line_ids that stand more than once."""
    counts = Counter(line["line_id"] for line in lines)
    first: set[str] = set()
    problems = []
    for place, line in enumerate(lines):
        line_id = line["line_id"]
        if line_id in first:
            text = "is the line_id of an earlier line too; each line has one of its own, and stands once in a message"
            problems.append(own_problem((place, "line_id"), text))
        elif counts[line_id] > 1:
            first.add(line_id)
    return problems


def settle_order_lines(lines: list[OrderLineData]) -> list[OrderLineData]:
    """Write the lines in their one form; pydantic's error where they contradict each other."""
    problems: list[InitErrorDetails] = []
    for place, line in enumerate(lines):
        if None in line.values():
            leave_out_null(line)
        amount = line["amount"]
        if amount[-1] == "0" or amount[0] == "0":
            line["amount"] = plain_decimal(amount)
        if line["quantity"].__class__ is str:
            _settle_quantity(line, place, problems)
        if "kind" in line and line["kind"] == "product":
            del line["kind"]
        if "tax" in line:
            _settle_amount(line, "tax")
        if "categories" in line and not line["categories"]:
            del line["categories"]
    if len({line["line_id"] for line in lines}) != len(lines):
        problems += repeated_line_ids(lines)
    refuse(problems)
    return lines


def _settle_refund_lines(lines: list[RefundLineData]) -> list[RefundLineData]:
    problems: list[InitErrorDetails] = []
    for place, line in enumerate(lines):
        leave_out_null(line)
        _settle_money(line)
        if "paid" in line and "net" in line:
            problems.append(own_problem((place,), f"has both paid and net; send one of them: {_KINDS_OF_MONEY}"))
        elif not line.keys() & {"quantity", "paid", "net"}:
            text = "has neither quantity nor paid nor net; send what is given back of the line"
            problems.append(own_problem((place,), text))
        if "quantity" in line:
            _settle_quantity(line, place, problems, "leave it out where money alone was given back, else the line")
    if len({line["line_id"] for line in lines}) != len(lines):
        problems += repeated_line_ids(lines)
    refuse(problems)
    return lines


@with_config(STRICT)
class OrderCompletedData(TypedDict):
    """A completed order."""

    order_id: Id
    """The shop's id of the order; for one source it names one order for ever."""
    customer_id: NotRequired[CustomerId | None]
    """The shop's id of the customer, opaque: it goes into events. Left out for a guest, who earns nothing."""
    account_id: NotRequired[Id | None]
    """The account to which the order comes, in place of a customer: the id that we drew, or its own."""
    card: NotRequired[AnyCard]
    """A card that is linked to the account, in place of a customer. Beside one these three are left out."""
    phone: NotRequired[AnyPhone]
    """A linked phone number, in international form, in place of a customer. Only a hash is kept."""
    email: NotRequired[AnyEmail]
    """A linked e-mail address, in place of a customer. Only a hash is kept."""
    program_id: NotRequired[Id | None]
    """The loyalty program; left out, the program that lists the message's source, or the default one."""
    currency: CurrencyCode
    """ISO 4217 code in upper case, of all amounts."""
    rate: NotRequired[ExchangeRate | None]
    """What one unit of the currency is worth in the program's, where that is another one; goes before the program's."""
    lines: Annotated[list[OrderLineData], LINES_COUNT, StopAtFirst(), AfterValidator(settle_order_lines)]
    """All lines of the order, those that do not earn too."""
    points_paid: NotRequired[Amount | None]
    """The part of the amount that was paid with points, in major units; at most what all lines cost with their tax."""
    points_authorization_id: NotRequired[PointsAuthorization]
    points_command_id: NotRequired[PointsCommand]
    points_command_source: NotRequired[PointsCommandSource]
    attributes: NotRequired[Attributes | None]
    """What else the shop wants to say about the order, such as its channel; earning rules may ask for it."""
    customer_tags: NotRequired[Annotated[list[Label], Field(max_length=TAGS_MAX), StopAtFirst()] | None]
    """The groups that the shop counts the customer among; neither their order nor a repeated one matters."""


@with_config(STRICT)
class OrderRefundedData(TypedDict):
    """A refund: of lines, of money of the whole order in one of its two kinds, or of everything. Exactly one."""

    refund_id: Id
    """The shop's id of the refund; for one source it names one refund for ever."""
    order_id: Id
    """The order that is refunded. It may come later than the refund."""
    order_source: NotRequired[Id | None]
    """The source of the order, where that is another channel of the same program; left out, the message's own."""
    program_id: NotRequired[Id | None]
    """The loyalty program, as in the order."""
    currency: NotRequired[CurrencyCode | None]
    """ISO 4217 code in upper case; left out, it is the order's, and it must be that."""
    lines: NotRequired[
        Annotated[list[RefundLineData], LINES_COUNT, StopAtFirst(), AfterValidator(_settle_refund_lines)] | None
    ]
    """What is given back, line by line; a line stands once."""
    paid: NotRequired[Amount | None]
    """Money given back of the order as a whole as the customer got it, in major units: with tax, shipping and all else,
    after points."""
    net: NotRequired[Amount | None]
    """Money given back of the order as a whole in the terms of the lines' amounts, in major units: without tax, before
    points."""
    full: NotRequired[bool | None]
    """True: everything that is not yet given back."""
    amount: NotRequired[Refused]
    """Refused, as it does not say which money it is: write `paid` or `net`."""


def _settle_parts(lines: list[LinePartData]) -> list[LinePartData]:
    problems: list[InitErrorDetails] = []
    for place, line in enumerate(lines):
        leave_out_null(line)
        if "quantity" in line:
            _settle_quantity(line, place, problems, "leave it out for all of the line, else the line")
    if len({line["line_id"] for line in lines}) != len(lines):
        problems += repeated_line_ids(lines)
    refuse(problems)
    return sorted(lines, key=itemgetter("line_id"))  # in whatever order they come, they are the same part


_Parts = Annotated[list[LinePartData], LINES_COUNT, StopAtFirst(), AfterValidator(_settle_parts)]


@with_config(STRICT)
class OrderFulfilledData(TypedDict):
    """A fulfilment: the shop has delivered the order, or some of its lines."""

    order_id: Id
    """The order that is delivered. It may come later than this message."""
    order_source: NotRequired[Id | None]
    """The source of the order, where that is another channel of the same program; left out, the message's own."""
    program_id: NotRequired[Id | None]
    """The loyalty program, as in the order."""
    fulfilment_id: NotRequired[Id | None]
    """The shop's id of the fulfilment; with `lines` it names one fulfilment of the order for ever. Without it their
    time and lines do."""
    lines: NotRequired[_Parts | None]
    """What is delivered, in pieces; left out, the whole order. A line stands once."""


@with_config(STRICT)
class OrderCancelledData(TypedDict):
    """A cancellation: the order is called off, or some of its lines."""

    order_id: Id
    """The order that is called off. It may come later than this message."""
    order_source: NotRequired[Id | None]
    """The source of the order, where that is another channel of the same program; left out, the message's own."""
    program_id: NotRequired[Id | None]
    """The loyalty program, as in the order."""
    cancellation_id: NotRequired[Id | None]
    """The shop's id of the cancellation; with `lines` it names one cancellation of the order for ever. Without it their
    time and lines do."""
    lines: NotRequired[_Parts | None]
    """What is called off, in pieces; left out, the whole order. A line stands once."""


def settle_rate(data: Any) -> None:
    """Write the rate in its one form, if there is one; pydantic's error where it is 0."""
    if "rate" in data:
        data["rate"] = plain_decimal(str(data["rate"]))
        refuse([own_problem(("rate",), "is 0; a rate is above 0")] if data["rate"] == "0" else [])


def settle_order(data: OrderCompletedData) -> OrderCompletedData:
    """Write what may be left out, or be in another order, in its one form."""
    leave_out_null(data)
    refuse(settle_naming(data))
    if "points_paid" in data:
        _settle_amount(data, "points_paid")
        refuse(paid_beyond(data))
    refuse(paid_otherwise(data))
    settle_rate(data)
    if "attributes" in data and not data["attributes"]:
        del data["attributes"]
    if "customer_tags" in data:
        data["customer_tags"] = sorted(set(data["customer_tags"] or ()))
        if not data["customer_tags"]:
            del data["customer_tags"]
    return data


_About = TypeVar("_About", OrderFulfilledData, OrderCancelledData)


def _settle_about(data: _About) -> _About:
    leave_out_null(data)
    return data


def _settle_refund(data: OrderRefundedData) -> OrderRefundedData:
    leave_out_null(data)
    if "full" in data and not data["full"]:
        del data["full"]
    _settle_money(data)
    given = [name for name in ("lines", "paid", "net", "full") if name in data]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        text = f'needs exactly one of "lines", "paid", "net" and "full": true; it has {found}'
        raise PydanticCustomError(OWN_PROBLEM, "{text}", {"text": text})
    return data


@with_config(STRICT)
class Envelope(TypedDict):
    """The CloudEvents 1.0 attributes that every message has."""

    # Described by Field: pydantic does not pass docstrings of attributes on to the types that inherit them.
    specversion: NotRequired[Annotated[Literal["1.0"] | None, Field(description="The version of CloudEvents.")]]
    id: Annotated[
        Id, Field(description="Names the event for ever within its source; the same id again is the same event.")
    ]
    source: Annotated[Id, Field(description='Who reports: a URI reference such as "/shops/high-street".')]
    type: Annotated[Id, Field(description="What happened.")]
    time: Annotated[
        UtcTime,
        Field(
            description="When it happened: RFC 3339 with offset, not in the future. For an order the instant of the "
            "purchase, not of the message."
        ),
    ]
    traceparent: NotRequired[Traceparent]
    tracestate: NotRequired[Tracestate]


@with_config(STRICT)
class OrderCompletedEvent(Envelope):
    """A shop reports a completed order."""

    type: Literal["order.completed"]  # type: ignore[misc]
    """What happened."""
    data: Annotated[OrderCompletedData, AfterValidator(settle_order)]
    """The order."""


@with_config(STRICT)
class OrderRefundedEvent(Envelope):
    """A shop reports a refund."""

    type: Literal["order.refunded"]  # type: ignore[misc]
    """What happened."""
    data: Annotated[OrderRefundedData, AfterValidator(_settle_refund)]
    """The refund."""


@with_config(STRICT)
class OrderFulfilledEvent(Envelope):
    """A shop reports that an order is delivered."""

    type: Literal["order.fulfilled"]  # type: ignore[misc]
    """What happened."""
    data: Annotated[OrderFulfilledData, AfterValidator(_settle_about)]
    """The fulfilment."""


@with_config(STRICT)
class OrderCancelledEvent(Envelope):
    """A shop reports that an order is called off."""

    type: Literal["order.cancelled"]  # type: ignore[misc]
    """What happened."""
    data: Annotated[OrderCancelledData, AfterValidator(_settle_about)]
    """The cancellation."""
