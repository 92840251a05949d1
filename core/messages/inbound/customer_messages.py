"""The contract of commands on a customer as a person, in all programs, and what they ask for."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, with_config

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

from core.domain.value.account_terms import EraseTerms
from core.messages.inbound.command_messages import ByHand, Reason, leave_out_empty
from core.messages.inbound.fields import CustomerId
from core.messages.inbound.order_messages import STRICT, Envelope


@with_config(STRICT)
class EraseData(TypedDict):
    """Erase a customer: nothing that is kept names them afterwards, and their points are given up."""

    customer_id: CustomerId
    """The shop's id of the customer."""
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]


@with_config(STRICT)
class EraseCommand(Envelope):
    """Asks to erase a customer."""

    type: Literal["loyalty.command.customer.erase"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[EraseData, AfterValidator(leave_out_empty)]
    """The customer."""


def erase_terms(data: Mapping[str, Any]) -> EraseTerms:
    """Why a customer is erased."""
    return EraseTerms(data.get("reason"))
