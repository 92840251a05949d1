"""The contract of commands that reserve points, capture them, let them come back, or spend them at once."""

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
    settle_command,
)
from core.messages.inbound.fields import Id, UtcTime, own_problem
from core.messages.inbound.order_messages import STRICT, Envelope, leave_out_null, refuse

SECONDS_MIN, SECONDS_MAX = 3_600, 90 * 86_400

NamedAuthorization = Annotated[Id, Field(description="The authorization: the id that it was given, or its command's.")]


@with_config(STRICT)
class AuthorizeData(NamingData):
    """Reserve points of an account: all of them, or none. They leave the balance, and are still the customer's."""

    acting_customer_id: NotRequired[Acting]
    points: Points
    unit: NotRequired[NamedUnit]
    authorization_id: NotRequired[Id | None]
    """Names the authorization for ever, in all programs; left out, it has the command's id."""
    expires_at: NotRequired[UtcTime | None]
    """The deadline, one hour to 90 days ahead: what is not captured by then comes back. Left out: in seven days."""
    expires_in_seconds: NotRequired[Annotated[int, Field(ge=SECONDS_MIN, le=SECONDS_MAX)] | None]
    """The same, counted from when it is done."""
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]
    order_id: NotRequired[ForOrder]


@with_config(STRICT)
class CaptureData(TypedDict):
    """Take the points of an authorization for good."""

    program_id: NotRequired[NamedProgram]
    authorization_id: NamedAuthorization
    points: NotRequired[Annotated[int, Field(ge=1, le=POINTS_MAX)] | None]
    """How many of those that it holds; left out: all."""
    is_final: NotRequired[bool | None]
    """false: the rest stays reserved, for another capture. Left out, true: the rest comes back."""
    unit: NotRequired[NamedUnit]
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]
    order_id: NotRequired[ForOrder]


@with_config(STRICT)
class VoidData(TypedDict):
    """Let all points come back that an authorization holds."""

    program_id: NotRequired[NamedProgram]
    authorization_id: NamedAuthorization
    unit: NotRequired[NamedUnit]
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]
    order_id: NotRequired[ForOrder]


@with_config(STRICT)
class RedeemData(NamingData):
    """Take points that the customer spends: all of them, or none. Authorizes and captures in one."""

    acting_customer_id: NotRequired[Acting]
    points: Points
    unit: NotRequired[NamedUnit]
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]
    order_id: NotRequired[ForOrder]


def settle_deadline(data: Any) -> Any:
    """Leave out what says nothing, and refuse a command that gives its deadline twice, or names not one account."""
    settle_command(data)
    if "expires_at" in data and "expires_in_seconds" in data:
        refuse([own_problem(("expires_in_seconds",), "stands beside expires_at; give the deadline in one way")])
    return data


def _settle_capture(data: Any) -> Any:
    leave_out_null(data)
    if data.get("is_final") is True:
        del data["is_final"]
    return data


def settle_void(data: Any) -> Any:
    """Leave out what says nothing."""
    leave_out_null(data)
    return data


@with_config(STRICT)
class AuthorizeCommand(Envelope):
    """Asks to reserve points."""

    type: Literal["loyalty.command.authorize"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[AuthorizeData, AfterValidator(settle_deadline)]
    """The authorization."""


@with_config(STRICT)
class CaptureCommand(Envelope):
    """Asks to take reserved points for good."""

    type: Literal["loyalty.command.capture"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[CaptureData, AfterValidator(_settle_capture)]
    """The capture."""


@with_config(STRICT)
class VoidCommand(Envelope):
    """Asks to let reserved points come back."""

    type: Literal["loyalty.command.void"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[VoidData, AfterValidator(settle_void)]
    """The void."""


@with_config(STRICT)
class RedeemCommand(Envelope):
    """Asks to take points that a customer spends."""

    type: Literal["loyalty.command.redeem"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[RedeemData, AfterValidator(settle_command)]
    """The redemption."""
