"""The contract of commands that correct what an account has, and move it on."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, with_config

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

from core.domain.ledger import POINTS_MAX
from core.messages.inbound.command_messages import (
    Acting,
    ByHand,
    ForOrder,
    NamedProgram,
    NamedUnit,
    NamingData,
    Points,
    Reason,
    leave_out_empty,
    named_once,
    settle_command,
)
from core.messages.inbound.fields import CustomerId, Id, Text, UtcTime, own_problem
from core.messages.inbound.order_messages import STRICT, Envelope, refuse


@with_config(STRICT)
class AdjustData(NamingData):
    """Correct what an account has: more with points above 0, less with points below 0."""

    acting_customer_id: NotRequired[Acting]
    points: Annotated[
        int,
        Field(ge=-POINTS_MAX, le=POINTS_MAX, examples=[-120], json_schema_extra={"not": {"const": 0}}),
    ]
    """How many: above 0 they are given, below 0 taken; not 0."""
    unit: NotRequired[NamedUnit]
    reason: Text
    """Why: one of the program's adjustment_reasons where it lists some, else any words; no personal data."""
    by: NotRequired[ByHand]
    order_id: NotRequired[ForOrder]
    expires_at: NotRequired[UtcTime | None]
    """Of points that are given, the first instant at which they cannot be spent; left out, as the program says."""
    allow_negative_balance: NotRequired[bool | None]
    """true: where fewer can be spent than are taken, the account owes the rest. Left out: false, and none are taken."""


def _settle_adjustment(data: Any) -> Any:
    settle_command(data)
    if data["points"] == 0:
        refuse([own_problem(("points",), "is 0, which changes nothing; write how many are given, or taken (below 0)")])
    if "expires_at" in data and data["points"] < 0:
        refuse([own_problem(("expires_at",), "is of points that are given; leave it out where points are taken")])
    return data


@with_config(STRICT)
class AdjustCommand(Envelope):
    """Asks to correct what an account has."""

    type: Literal["loyalty.command.adjust"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[AdjustData, AfterValidator(_settle_adjustment)]
    """The adjustment."""


@with_config(STRICT)
class TransferData(NamingData):
    """Move points from an account to another one of the same program: all of them, or none."""

    acting_customer_id: NotRequired[Acting]
    to_customer_id: NotRequired[CustomerId | None]
    """The shop's id of the customer whose account gets the points; who has none gets one."""
    to_account_id: NotRequired[Id | None]
    """The account that gets them, in place of a customer."""
    points: Points
    unit: NotRequired[NamedUnit]
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]
    order_id: NotRequired[ForOrder]
    allow_remainder: NotRequired[bool | None]
    """true: where there are fewer, move those; the answer says how many remain. Left out: false."""


def _settle_transfer(data: Any) -> Any:
    settle_command(data)
    named_once(data, ("to_customer_id", "to_account_id"))
    return data


@with_config(STRICT)
class TransferCommand(Envelope):
    """Asks to move points to another account."""

    type: Literal["loyalty.command.transfer"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[TransferData, AfterValidator(_settle_transfer)]
    """The transfer."""


@with_config(STRICT)
class ReverseData(TypedDict):
    """Undo a command, once: what it took comes back, and what it gave is taken again."""

    program_id: NotRequired[NamedProgram]
    command_id: Id
    """The command to undo: a credit, debit, redemption, adjustment or transfer."""
    command_source: NotRequired[Id | None]
    """Whose command it is; left out, one of the source of this one."""
    points: NotRequired[Points | None]
    """So many of its points; left out, all."""
    unit: NotRequired[NamedUnit]
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]
    allow_negative_balance: NotRequired[bool | None]
    """true: where what it gave is spent, the account owes that. Left out: false, and nothing is undone."""


@with_config(STRICT)
class ReverseCommand(Envelope):
    """Asks to undo a command."""

    type: Literal["loyalty.command.reverse"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[ReverseData, AfterValidator(leave_out_empty)]
    """The reversal."""


@with_config(STRICT)
class ConvertData(NamingData):
    """Turn points of a customer into those of another program, at the rate of the program: all of them, or none."""

    acting_customer_id: NotRequired[Acting]
    to_program_id: Id
    """The program whose points they become: one of those that the program lists under conversions."""
    points: Points
    unit: NotRequired[NamedUnit]
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]


@with_config(STRICT)
class ConvertCommand(Envelope):
    """Asks to turn points into those of another program."""

    type: Literal["loyalty.command.convert"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[ConvertData, AfterValidator(settle_command)]
    """The conversion."""
