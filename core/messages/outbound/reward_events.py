"""The contract of the events that tell what became of rewards, and how rewards stand in them and in answers."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

from core.messages.outbound.event_parts import CONTRACT, AccountId, Attributes, Instant, Ordinal, OwnAccountId


@with_config(CONTRACT)
class ToldReward(TypedDict):
    """A reward, as it was when it was issued: a later version of the program changes nothing of it."""

    reward_id: str
    """The reward, as the program's file names it."""
    name: str
    """For people."""
    kind: Annotated[str, Field(examples=["amount", "percent", "item", "units"])]
    """What it gives, which decides what else stands here. Later releases add kinds."""
    cost: Ordinal
    """Its price in points."""
    amount: NotRequired[str]
    """Of an amount: the money off an order, in major units."""
    currency: NotRequired[str]
    """Of an amount: the currency of the money, by its ISO 4217 code."""
    percent: NotRequired[str]
    """Of a percent: how much of an order's price, in percent."""
    sku: NotRequired[str]
    """Of an item: the article."""
    units: NotRequired[Ordinal]
    """Of units: how many."""
    unit_name: NotRequired[str]
    """Of units: of what."""


@with_config(CONTRACT)
class RewardData(TypedDict):
    """What became of a reward that a customer has."""

    account_id: AccountId
    """The account."""
    own_account_id: NotRequired[OwnAccountId]
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    issue_id: str
    """Names what is issued, in all programs: commands that redeem or delete it name it so."""
    state: Annotated[str, Field(examples=["issued", "redeemed", "deleted", "expired"])]
    """What became of it. expired: its deadline passed, and its points are back, as of one that is deleted."""
    reward: ToldReward
    """What it is."""
    expires_at: NotRequired[Instant]
    """The deadline: from then on it is not redeemed. Absent: it has none."""
    order_id: NotRequired[str]
    """The shop's order, as the command says."""
    reason: NotRequired[str]
    """Why, as the command says."""
    command_id: NotRequired[str]
    """The command; absent where its deadline has passed."""
    command_source: NotRequired[str]
    """The source that sent the command."""
    occurred_at: Instant
    """When the command occurred, or the deadline passed."""
    recorded_at: Instant
    """When it was done."""


@with_config(CONTRACT)
class RewardIssuedEvent(Attributes):
    """A customer was given a reward: its price is reserved."""

    type: Literal["loyalty.reward.issued"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: RewardData
    """The reward."""


@with_config(CONTRACT)
class RewardRedeemedEvent(Attributes):
    """A customer had what a reward gives, for good."""

    type: Literal["loyalty.reward.redeemed"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: RewardData
    """The reward."""


@with_config(CONTRACT)
class RewardDeletedEvent(Attributes):
    """A reward was taken back, by command or at its deadline: its points are back."""

    type: Literal["loyalty.reward.deleted"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: RewardData
    """The reward."""
