"""The contract of the answers to commands. The same command again gets the same answer again."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

from core.messages.outbound.event_parts import (
    CONTRACT,
    AccountId,
    Attributes,
    Instant,
    LotChange,
    MemberTold,
    NotNegative,
    Ordinal,
)
from core.messages.outbound.reward_events import ToldReward


@with_config(CONTRACT)
class AnsweredAccount(TypedDict):
    """An account after a command."""

    account_id: AccountId
    """The account."""
    own_account_id: NotRequired[str]
    """The id that its maker gave it, where it has one."""
    program_id: NotRequired[str]
    """The account's program; those of a conversion are of two. Absent of answers that were kept before it was told."""
    customer_id: str
    """The shop's id of the customer."""
    balance: int
    """Available points."""
    pending: NotNegative
    """Points that are granted and not yet available."""
    reserved: NotNegative
    """Points that authorizations hold."""
    lifetime_points: int
    """All points earned and not taken back by refunds."""
    tier: str
    """The tier."""
    status: Annotated[str, Field(examples=["active", "frozen", "closed"])]
    """Whether the account takes part in everything."""
    members: NotRequired[list[MemberTold]]
    """All who may use it beside its owner, where the command said that."""


@with_config(CONTRACT)
class AnsweredEntry(TypedDict):
    """A ledger entry that a command made; each has its event loyalty.balance.changed too."""

    account_id: AccountId
    """The account."""
    sequence: Ordinal
    """Its number in the account."""
    kind: Annotated[str, Field(examples=["credit", "debit", "adjustment", "transfer", "reversal", "conversion"])]
    """What it does."""
    points: int
    """The change of the available points."""
    pending_change: NotRequired[int]
    """The change of the pending points; absent: 0."""
    reserved_change: NotRequired[int]
    """The change of the reserved points; absent: 0."""
    balance: int
    """Available points after it."""
    lots: list[LotChange]
    """What it gave to lots, or took from them."""


@with_config(CONTRACT)
class CommandAcceptedData(TypedDict):
    """A command was done."""

    command_id: str
    """The command: the id of the event that asked for it."""
    command_source: str
    """The source that asked for it."""
    command: Annotated[str, Field(examples=["credit", "debit"])]
    """What it asked for."""
    program_id: NotRequired[str]
    """The loyalty program of the account. Absent of customer.erase, which is about all programs."""
    account_id: NotRequired[AccountId]
    """The account that it was about. Absent of customer.erase."""
    customer_id: NotRequired[str]
    """The shop's id of the account's customer. Absent of customer.erase."""
    accounts: list[AnsweredAccount]
    """Every account that it was about or that it changed, as it is after it."""
    entries: list[AnsweredEntry]
    """The ledger entries that it made."""
    acting_customer_id: NotRequired[str]
    """The member who asked for it, where that is not the account's owner."""
    points: NotRequired[NotNegative]
    """How many points it moved."""
    remainder: NotRequired[NotNegative]
    """How many it could not move, where it allowed for that."""
    to_account_id: NotRequired[AccountId]
    """Of a transfer or a conversion, the account that got the points."""
    merged_account_id: NotRequired[AccountId]
    """Of a merge, or of one that is undone, the account that was merged."""
    to_points: NotRequired[NotNegative]
    """Of a conversion, how many points of the other program they became."""
    enrolled_at: NotRequired[Instant]
    """When the membership began, where the command said that."""
    lifetime_points: NotRequired[NotNegative]
    """How many points were earned elsewhere before, where the command said that."""
    authorization_id: NotRequired[str]
    """The authorization that it made, or was about."""
    points_held: NotRequired[NotNegative]
    """How many points the authorization still holds."""
    points_returned: NotRequired[NotNegative]
    """How many came back of the authorization, since nothing more is captured of it."""
    issue_id: NotRequired[str]
    """The issued reward that it made, or was about."""
    reward: NotRequired[ToldReward]
    """What that reward is."""
    expires_at: NotRequired[Instant]
    """The deadline of the authorization, or of the issued reward."""
    erased: NotRequired[dict[str, NotNegative]]
    """Of customer.erase, in how many rows of which table the customer was named until then."""
    by: NotRequired[str]
    """Who gave it by hand, where it says so."""
    recorded_at: Instant
    """When it was done."""


@with_config(CONTRACT)
class CommandRejectedData(TypedDict):
    """A command was not done, and will not be."""

    command_id: str
    """The command: the id of the event that asked for it."""
    command_source: str
    """The source that asked for it."""
    command: str
    """What it asked for."""
    code: Annotated[str, Field(examples=["insufficient_points", "unknown_account", "not_allowed"])]
    """Why, for programs. Later releases add codes."""
    detail: str
    """Why, for people; no personal data."""
    advice: str
    """What to do."""
    recorded_at: Instant
    """When it was decided."""


@with_config(CONTRACT)
class CommandAcceptedEvent(Attributes):
    """The answer to a command that was done. The same command again gets it again."""

    type: Literal["loyalty.command.accepted"]  # type: ignore[misc]
    """What happened."""
    subject: NotRequired[AccountId]
    """The account that the command was about. Absent of customer.erase."""
    correlationid: str
    """The command's id."""
    data: CommandAcceptedData
    """What was done."""


@with_config(CONTRACT)
class CommandRejectedEvent(Attributes):
    """The answer to a command that was not done. The same command again gets it again."""

    type: Literal["loyalty.command.rejected"]  # type: ignore[misc]
    """What happened."""
    correlationid: str
    """The command's id."""
    data: CommandRejectedData
    """Why not, and what to do."""
