"""The contract of goods that come back without a receipt."""

from typing import Annotated, Literal, NotRequired

from pydantic import AfterValidator, with_config
from typing_extensions import TypedDict

from core.messages.inbound.fields import (
    NAMING,
    CardNumber,
    CurrencyCode,
    CustomerId,
    ExchangeRate,
    Id,
    StopAtFirst,
    named_nowhere,
    named_twice,
)
from core.messages.inbound.order_messages import (
    LINES_COUNT,
    STRICT,
    Envelope,
    OrderLineData,
    leave_out_null,
    refuse,
    settle_order_lines,
    settle_rate,
)
from core.messages.inbound.personal_names import EmailAddress, PhoneNumber


@with_config(STRICT)
class OrderReturnedData(TypedDict):
    """Goods back without a receipt: of an order that nobody can name."""

    return_id: Id
    """The shop's id of the return; for one source it names one return for ever."""
    customer_id: NotRequired[CustomerId | None]
    """The shop's id of the customer whose points are taken, as in orders."""
    account_id: NotRequired[Id | None]
    """The account, in place of a customer, as in orders."""
    card: NotRequired[CardNumber | None]
    """A card that is linked to the account, in place of a customer."""
    phone: NotRequired[PhoneNumber | None]
    """A linked phone number, in international form, in place of a customer. Only a hash is kept."""
    email: NotRequired[EmailAddress | None]
    """A linked e-mail address, in place of a customer. Only a hash is kept."""
    program_id: NotRequired[Id | None]
    """The loyalty program, as in an order."""
    currency: CurrencyCode
    """ISO 4217 code in upper case, of all amounts."""
    rate: NotRequired[ExchangeRate | None]
    """What one unit of the currency is worth in the program's, as in an order."""
    lines: Annotated[list[OrderLineData], LINES_COUNT, StopAtFirst(), AfterValidator(settle_order_lines)]
    """What came back, in the form of order lines: amounts above 0 are what was given back, tax excluded."""


def _settle_return(data: OrderReturnedData) -> OrderReturnedData:
    leave_out_null(data)
    refuse(named_twice(data, NAMING) or named_nowhere(data, NAMING, "name whose it is by one of them"))
    settle_rate(data)
    return data


@with_config(STRICT)
class OrderReturnedEvent(Envelope):
    """A shop reports goods that came back without a receipt."""

    type: Literal["order.returned"]  # type: ignore[misc]
    """What happened."""
    data: Annotated[OrderReturnedData, AfterValidator(_settle_return)]
    """The return."""
