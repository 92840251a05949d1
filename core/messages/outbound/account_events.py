"""The contract of the events that tell what became of an account beside its points."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

from core.messages.outbound.event_parts import CONTRACT, AccountId, Attributes, Instant, MemberTold, OwnAccountId


@with_config(CONTRACT)
class AccountChangedData(TypedDict):
    """What a command changed of an account."""

    account_id: AccountId
    """The account."""
    own_account_id: NotRequired[OwnAccountId]
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    status: Annotated[str, Field(examples=["active", "frozen", "closed"])]
    """What the account takes part in from now on."""
    metadata: NotRequired[dict[str, str | int | bool]]
    """All that is kept with it from now on, where that changed."""
    tags: NotRequired[list[str]]
    """All words to find it by from now on, where what is kept with it changed."""
    members: NotRequired[list[MemberTold]]
    """All who may use it beside its owner from now on, where that changed."""
    primary_of: NotRequired[list[str]]
    """The customers whose orders come to it from now on."""
    primary_no_longer_of: NotRequired[list[str]]
    """The customers whose orders come to it no longer."""
    linked: NotRequired[dict[str, str]]
    """By what else it is found from now on: the kind, such as card, and the number; of a phone or an email `hidden`."""
    unlinked: NotRequired[dict[str, str]]
    """By what it is found no longer."""
    survivor_account_id: NotRequired[AccountId]
    """Of a merge, or of one that is undone: the other account, which survives."""
    reason: NotRequired[str]
    """Why, as the command says."""
    command_id: str
    """The command."""
    command_source: str
    """The source that sent it."""
    occurred_at: Instant
    """When the command occurred."""
    recorded_at: Instant
    """When it was done."""


@with_config(CONTRACT)
class AccountUpdatedEvent(Attributes):
    """What is kept with an account changed, or it was unfrozen."""

    type: Literal["loyalty.account.updated"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: AccountChangedData
    """The change."""


@with_config(CONTRACT)
class AccountFrozenEvent(Attributes):
    """An account was frozen: nothing leaves it by spending."""

    type: Literal["loyalty.account.frozen"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: AccountChangedData
    """The change."""


@with_config(CONTRACT)
class CustomerErasedEvent(Attributes):
    """A customer was erased whose account it was, or who could use it: nothing in it names them any longer."""

    type: Literal["loyalty.customer.erased"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: AccountChangedData
    """The account as it is without the customer."""


@with_config(CONTRACT)
class AccountMergedEvent(Attributes):
    """An account became a part of another one, which has all that it had."""

    type: Literal["loyalty.account.merged"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account that was merged."""
    data: AccountChangedData
    """The change."""


@with_config(CONTRACT)
class AccountUnmergedEvent(Attributes):
    """A merge was undone: the account has back what is left of what it brought."""

    type: Literal["loyalty.account.unmerged"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account that was merged."""
    data: AccountChangedData
    """The change."""


@with_config(CONTRACT)
class AccountClosedEvent(Attributes):
    """An account was closed for good."""

    type: Literal["loyalty.account.closed"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: AccountChangedData
    """The change."""
