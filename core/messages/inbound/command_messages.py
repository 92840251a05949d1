"""The contract of commands: what programs may ask for. `core.domain.value` decides them.

All share how they name an account, and nearly all what they count.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, with_config

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

from core.domain.ledger import POINTS_MAX
from core.messages.inbound.fields import (
    NAMING,
    CardNumber,
    CustomerId,
    Id,
    OperatorName,
    Text,
    UtcTime,
    named_nowhere,
    named_twice,
)
from core.messages.inbound.order_messages import STRICT, Envelope, leave_out_null, refuse
from core.messages.inbound.personal_names import EmailAddress, PhoneNumber

COMMAND_PREFIX = "loyalty.command."
#: The fields that are as good as left out where they are false.
SWITCHES = ("allow_remainder", "allow_negative_balance", "is_primary")

# Described by Field, since every command has them.
Points = Annotated[
    int,
    Field(
        ge=1,
        le=POINTS_MAX,
        examples=[500],
        description="How many, above 0: whole points, or the smallest units of the program's money.",
    ),
]
NamedProgram = Annotated[
    Id | None, Field(description="The loyalty program; left out, the one of the account, or of the command's source.")
]
NamedCustomer = Annotated[CustomerId | None, Field(description="The shop's id of the customer whose account it is.")]
NamedAccount = Annotated[
    Id | None, Field(description="The account, in place of a customer: the id that we drew, or its own.")
]
NamedCard = Annotated[
    CardNumber | None, Field(description="A card that is linked to the account, in place of a customer.")
]
NamedPhone = Annotated[
    PhoneNumber | None,
    Field(
        description="A phone number that is linked to the account, in international form, in place of a customer. "
        "Only a hash is kept."
    ),
]
NamedEmail = Annotated[
    EmailAddress | None,
    Field(description="An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."),
]
Acting = Annotated[
    CustomerId | None,
    Field(description="The customer who asks for it: the account's owner or a member. Left out, that of customer_id."),
]
NamedUnit = Annotated[
    Id | None, Field(description="What the points are; said, the command is rejected where the program counts others.")
]
ForOrder = Annotated[Id | None, Field(description="The order that it is for, as people are shown it.")]
Reason = Annotated[Text | None, Field(description="Why, in words that people are shown; no personal data.")]
ByHand = Annotated[
    OperatorName | None, Field(description="Who gave the command by hand, as operators are named; no e-mail address.")
]


@with_config(STRICT)
class NamingData(TypedDict):
    """Whose account a command is about: one of these beside the program."""

    program_id: NotRequired[NamedProgram]
    customer_id: NotRequired[NamedCustomer]
    account_id: NotRequired[NamedAccount]
    card: NotRequired[NamedCard]
    phone: NotRequired[NamedPhone]
    email: NotRequired[NamedEmail]


@with_config(STRICT)
class CreditData(NamingData):
    """Give points to an account; a customer who has none gets one."""

    acting_customer_id: NotRequired[Acting]
    points: Points
    unit: NotRequired[NamedUnit]
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]
    order_id: NotRequired[ForOrder]
    available_at: NotRequired[UtcTime | None]
    """From when on they can be spent; left out, at once."""
    expires_at: NotRequired[UtcTime | None]
    """The first instant at which they cannot be spent; left out, as the program says."""


@with_config(STRICT)
class DebitData(NamingData):
    """Take points from an account, of those that can be spent: all of them, or none."""

    acting_customer_id: NotRequired[Acting]
    points: Points
    unit: NotRequired[NamedUnit]
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]
    order_id: NotRequired[ForOrder]
    allow_remainder: NotRequired[bool | None]
    """true: where there are fewer, take those; the answer says how many remain. Left out: false."""


def settle_command(data: Any) -> Any:
    """Leave out what says nothing, and refuse a command that names no account, or two."""
    named_once(leave_out_empty(data), NAMING)
    return data


def leave_out_empty(data: Any) -> Any:
    """Leave out what says nothing."""
    leave_out_null(data)
    for name in SWITCHES:
        if data.get(name) is False:
            del data[name]
    return data


def named_once(data: Any, fields: tuple[str, ...]) -> None:
    """Refuse a command that names an account in none of these fields, or in two."""
    refuse(named_twice(data, fields) or named_nowhere(data, fields, "name the account by one of them"))


@with_config(STRICT)
class CreditCommand(Envelope):
    """Asks to give points to an account."""

    type: Literal["loyalty.command.credit"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[CreditData, AfterValidator(settle_command)]
    """The credit."""


@with_config(STRICT)
class DebitCommand(Envelope):
    """Asks to take points from an account."""

    type: Literal["loyalty.command.debit"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[DebitData, AfterValidator(settle_command)]
    """The debit."""
