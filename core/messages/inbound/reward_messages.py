"""The contract of commands that issue rewards, redeem them and delete them."""

from typing import Annotated, Literal, NotRequired

from pydantic import AfterValidator, Field, with_config

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

from core.messages.inbound.authorization_messages import SECONDS_MIN, settle_deadline, settle_void
from core.messages.inbound.command_messages import (
    Acting,
    ByHand,
    ForOrder,
    NamedProgram,
    NamingData,
    Reason,
)
from core.messages.inbound.fields import Id, UtcTime
from core.messages.inbound.order_messages import STRICT, Envelope

ISSUED_SECONDS_MAX = 3_660 * 86_400

NamedIssue = Annotated[Id, Field(description="The issued reward: the id that it was given, or its command's.")]


@with_config(STRICT)
class IssueRewardData(NamingData):
    """Give a customer a reward of the program's catalogue: its price is reserved, and gone once it is redeemed."""

    acting_customer_id: NotRequired[Acting]
    reward_id: Id
    """The reward, as the program's file names it."""
    issue_id: NotRequired[Id | None]
    """Names what is issued for ever, in all programs; left out, it has the command's id."""
    expires_at: NotRequired[UtcTime | None]
    """The deadline, one hour to 3,660 days ahead: what is not redeemed by then is taken back. Left out: none."""
    expires_in_seconds: NotRequired[Annotated[int, Field(ge=SECONDS_MIN, le=ISSUED_SECONDS_MAX)] | None]
    """The same, counted from when it is issued."""
    reason: NotRequired[Reason]
    order_id: NotRequired[ForOrder]
    by: NotRequired[ByHand]


@with_config(STRICT)
class RedeemRewardData(TypedDict):
    """Let the customer have an issued reward; that is for good."""

    program_id: NotRequired[NamedProgram]
    issue_id: NamedIssue
    reason: NotRequired[Reason]
    order_id: NotRequired[ForOrder]
    by: NotRequired[ByHand]


@with_config(STRICT)
class DeleteRewardData(TypedDict):
    """Take an issued reward back: its points return, and it can be given again."""

    program_id: NotRequired[NamedProgram]
    issue_id: NamedIssue
    reason: NotRequired[Reason]
    order_id: NotRequired[ForOrder]
    by: NotRequired[ByHand]


@with_config(STRICT)
class IssueRewardCommand(Envelope):
    """Asks to give a customer a reward."""

    type: Literal["loyalty.command.reward.issue"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[IssueRewardData, AfterValidator(settle_deadline)]
    """The reward."""


@with_config(STRICT)
class RedeemRewardCommand(Envelope):
    """Asks to let a customer have an issued reward."""

    type: Literal["loyalty.command.reward.redeem"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[RedeemRewardData, AfterValidator(settle_void)]
    """The issued reward."""


@with_config(STRICT)
class DeleteRewardCommand(Envelope):
    """Asks to take an issued reward back."""

    type: Literal["loyalty.command.reward.delete"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[DeleteRewardData, AfterValidator(settle_void)]
    """The issued reward."""
