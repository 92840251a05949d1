"""What the loyalty worker publishes. Made by clients/python/generate_types.py from docs/schemas; do not edit."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from loyalty_client.envelope import Event, ReceivedPart


class MemberTold(ReceivedPart):
    """A customer who may use the account beside its owner."""

    customer_id: str
    """The shop's id of the customer."""
    role: str
    """What they may do: spend its points, or see them."""


class AccountChangedData(ReceivedPart):
    """What a command changed of an account."""

    account_id: str
    """The account."""
    own_account_id: str | None = None
    """The id that the account's maker gave it, where it has one; unique in all programs."""
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    status: str
    """What the account takes part in from now on."""
    metadata: dict[str, str | int | bool] | None = None
    """All that is kept with it from now on, where that changed."""
    tags: list[str] | None = None
    """All words to find it by from now on, where what is kept with it changed."""
    members: list[MemberTold] | None = None
    """All who may use it beside its owner from now on, where that changed."""
    primary_of: list[str] | None = None
    """The customers whose orders come to it from now on."""
    primary_no_longer_of: list[str] | None = None
    """The customers whose orders come to it no longer."""
    linked: dict[str, str] | None = None
    """By what else it is found from now on: the kind, such as card, and the number; of a phone or an email `hidden`."""
    unlinked: dict[str, str] | None = None
    """By what it is found no longer."""
    survivor_account_id: str | None = None
    """Of a merge, or of one that is undone: the other account, which survives."""
    reason: str | None = None
    """Why, as the command says."""
    command_id: str
    """The command."""
    command_source: str
    """The source that sent it."""
    occurred_at: AwareDatetime
    """When the command occurred."""
    recorded_at: AwareDatetime
    """When it was done."""


class AccountCreatedData(ReceivedPart):
    """An account was opened: by a customer's first order or other activity in a program, or by command."""

    account_id: str
    """The account."""
    own_account_id: str | None = None
    """The id that the account's maker gave it, where it has one; unique in all programs."""
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    tier: str
    """The tier that it starts in."""
    occurred_at: AwareDatetime
    """When the order, return or command occurred that opened it."""
    enrolled_at: AwareDatetime | None = None
    """When the membership began, where a command said that."""
    lifetime_points: int | None = None
    """The lifetime points that it begins with, where a command said that: they were earned elsewhere before."""
    metadata: dict[str, str | int | bool] | None = None
    """What its maker wanted kept with it."""
    tags: list[str] | None = None
    """Words to find it by."""
    members: list[MemberTold] | None = None
    """Who may use it beside its owner."""
    recorded_at: AwareDatetime
    """When it was opened."""


class AnsweredAccount(ReceivedPart):
    """An account after a command."""

    account_id: str
    """The account."""
    own_account_id: str | None = None
    """The id that its maker gave it, where it has one."""
    program_id: str | None = None
    """The account's program; those of a conversion are of two. Absent of answers that were kept before it was told."""
    customer_id: str
    """The shop's id of the customer."""
    balance: int
    """Available points."""
    pending: Annotated[int, Field(ge=0)]
    """Points that are granted and not yet available."""
    reserved: Annotated[int, Field(ge=0)]
    """Points that authorizations hold."""
    lifetime_points: int
    """All points earned and not taken back by refunds."""
    tier: str
    """The tier."""
    status: str
    """Whether the account takes part in everything."""
    members: list[MemberTold] | None = None
    """All who may use it beside its owner, where the command said that."""


class LotChange(ReceivedPart):
    """What the change gave to one lot, or took from it."""

    lot_number: Annotated[int, Field(ge=1)]
    """The lot, counted within the account."""
    points: int
    """Positive: given to the lot; negative: taken from it."""
    expires_at: AwareDatetime | None
    """The first instant at which the lot's points cannot be spent; null: never."""


class AnsweredEntry(ReceivedPart):
    """A ledger entry that a command made; each has its event loyalty.balance.changed too."""

    account_id: str
    """The account."""
    sequence: Annotated[int, Field(ge=1)]
    """Its number in the account."""
    kind: str
    """What it does."""
    points: int
    """The change of the available points."""
    pending_change: int | None = None
    """The change of the pending points; absent: 0."""
    reserved_change: int | None = None
    """The change of the reserved points; absent: 0."""
    balance: int
    """Available points after it."""
    lots: list[LotChange]
    """What it gave to lots, or took from them."""


class AuthorizationExpiringData(ReceivedPart):
    """An authorization still holds points, and its deadline is near: then they come back to the balance."""

    account_id: str
    """The account."""
    own_account_id: str | None = None
    """The id that the account's maker gave it, where it has one; unique in all programs."""
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    authorization_id: str
    """The authorization, as the command that made it named it."""
    command_id: str
    """That command."""
    command_source: str
    """The source that sent it."""
    points_held: Annotated[int, Field(ge=1)]
    """How many points it holds: neither captured nor back."""
    expires_at: AwareDatetime
    """The deadline: the first instant at which nothing can be captured."""
    recorded_at: AwareDatetime
    """When this was found."""


class BalanceChangedData(ReceivedPart):
    """One ledger entry. What paid off a deficit, or became one, is in no lot: `lots` may sum to less than it."""

    account_id: str
    """The account."""
    own_account_id: str | None = None
    """The id that the account's maker gave it, where it has one; unique in all programs."""
    program_id: str
    """The loyalty program of the account."""
    customer_id: str
    """The shop's id of the customer."""
    sequence: Annotated[int, Field(ge=1)]
    """Counts the account's balance changes: 1, 2, 3, … without gap, so that loss, repeats and reordering show."""
    kind: str
    """Why the balance changed, coarsely. Later releases add kinds."""
    points: int
    """The change of the available points; 0 where only pending or reserved ones changed."""
    balance: int
    """Available points after the change; below zero when a refund took back more than there was."""
    pending: Annotated[int, Field(ge=0)]
    """Points that are granted and not yet available, after the change."""
    pending_change: int | None = None
    """The change of the pending points; absent: 0."""
    reserved: Annotated[int, Field(ge=0)]
    """Points that authorizations and issued rewards hold, after the change: neither available nor spent."""
    reserved_change: int | None = None
    """The change of the reserved points; absent: 0."""
    lifetime_points: int
    """All points earned and not taken back by refunds, after the change; spending and expiry do not lower it."""
    tier: str
    """The tier after the change."""
    occurred_at: AwareDatetime
    """When the cause occurred: the order's or refund's own time, or the instant of expiry."""
    recorded_at: AwareDatetime
    """When the ledger recorded it."""
    reason: str
    """Why the balance changed, precisely. Later releases add reasons."""
    order_id: str | None = None
    """The shop's order, when one is the cause."""
    refund_id: str | None = None
    """The shop's refund, when one is the cause."""
    return_id: str | None = None
    """The shop's return without a receipt, when one is the cause."""
    command_id: str | None = None
    """The command, when one is the cause."""
    acting_customer_id: str | None = None
    """The member whose order or command is the cause, where that is not the account's owner."""
    lots: list[LotChange]
    """What the change gave to lots, or took from them."""


class ToldReward(ReceivedPart):
    """A reward, as it was when it was issued: a later version of the program changes nothing of it."""

    reward_id: str
    """The reward, as the program's file names it."""
    name: str
    """For people."""
    kind: str
    """What it gives, which decides what else stands here. Later releases add kinds."""
    cost: Annotated[int, Field(ge=1)]
    """Its price in points."""
    amount: str | None = None
    """Of an amount: the money off an order, in major units."""
    currency: str | None = None
    """Of an amount: the currency of the money, by its ISO 4217 code."""
    percent: str | None = None
    """Of a percent: how much of an order's price, in percent."""
    sku: str | None = None
    """Of an item: the article."""
    units: Annotated[int, Field(ge=1)] | None = None
    """Of units: how many."""
    unit_name: str | None = None
    """Of units: of what."""


class CommandAcceptedData(ReceivedPart):
    """A command was done."""

    command_id: str
    """The command: the id of the event that asked for it."""
    command_source: str
    """The source that asked for it."""
    command: str
    """What it asked for."""
    program_id: str | None = None
    """The loyalty program of the account. Absent of customer.erase, which is about all programs."""
    account_id: str | None = None
    """The account that it was about. Absent of customer.erase."""
    customer_id: str | None = None
    """The shop's id of the account's customer. Absent of customer.erase."""
    accounts: list[AnsweredAccount]
    """Every account that it was about or that it changed, as it is after it."""
    entries: list[AnsweredEntry]
    """The ledger entries that it made."""
    acting_customer_id: str | None = None
    """The member who asked for it, where that is not the account's owner."""
    points: Annotated[int, Field(ge=0)] | None = None
    """How many points it moved."""
    remainder: Annotated[int, Field(ge=0)] | None = None
    """How many it could not move, where it allowed for that."""
    to_account_id: str | None = None
    """Of a transfer or a conversion, the account that got the points."""
    merged_account_id: str | None = None
    """Of a merge, or of one that is undone, the account that was merged."""
    to_points: Annotated[int, Field(ge=0)] | None = None
    """Of a conversion, how many points of the other program they became."""
    enrolled_at: AwareDatetime | None = None
    """When the membership began, where the command said that."""
    lifetime_points: Annotated[int, Field(ge=0)] | None = None
    """How many points were earned elsewhere before, where the command said that."""
    authorization_id: str | None = None
    """The authorization that it made, or was about."""
    points_held: Annotated[int, Field(ge=0)] | None = None
    """How many points the authorization still holds."""
    points_returned: Annotated[int, Field(ge=0)] | None = None
    """How many came back of the authorization, since nothing more is captured of it."""
    issue_id: str | None = None
    """The issued reward that it made, or was about."""
    reward: ToldReward | None = None
    """What that reward is."""
    expires_at: AwareDatetime | None = None
    """The deadline of the authorization, or of the issued reward."""
    erased: dict[str, Annotated[int, Field(ge=0)]] | None = None
    """Of customer.erase, in how many rows of which table the customer was named until then."""
    by: str | None = None
    """Who gave it by hand, where it says so."""
    recorded_at: AwareDatetime
    """When it was done."""


class CommandRejectedData(ReceivedPart):
    """A command was not done, and will not be."""

    command_id: str
    """The command: the id of the event that asked for it."""
    command_source: str
    """The source that asked for it."""
    command: str
    """What it asked for."""
    code: str
    """Why, for programs. Later releases add codes."""
    detail: str
    """Why, for people; no personal data."""
    advice: str
    """What to do."""
    recorded_at: AwareDatetime
    """When it was decided."""


class ExtendedEnd(ReceivedPart):
    """Points of one end that can be used longer."""

    points: Annotated[int, Field(ge=1)]
    """How many are left of them, pending ones included."""
    previous_expires_at: AwareDatetime
    """The first instant at which they could not have been spent."""
    expires_at: AwareDatetime
    """The first instant at which they cannot be spent now; it is later."""


class MessageParkedData(ReceivedPart):
    """A message needs a person: `loyalty dead show` shows all of it. What could not be read of it is left out."""

    inbox_id: Annotated[int, Field(ge=1)]
    """Names the message for `loyalty dead show`."""
    source: str | None = None
    """The message's own source."""
    event_id: str | None = None
    """The message's own id."""
    type: str | None = None
    """The message's own type, where it looks like one: words in lower case, parted by dots."""
    order_id: str | None = None
    """The order that it is about."""
    refund_id: str | None = None
    """The refund that it is about."""
    return_id: str | None = None
    """The return without a receipt that it is."""
    reason: str
    """Why it is parked. Later releases add reasons."""
    detail: str
    """What is wrong, where, and how to mend it; without the customer's data."""
    received_at: AwareDatetime
    """When it first came."""


class PointsExpiringData(ReceivedPart):
    """Points are about to expire. Of the same `expires_at` an event with a higher number corrects an earlier one."""

    account_id: str
    """The account."""
    own_account_id: str | None = None
    """The id that the account's maker gave it, where it has one; unique in all programs."""
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    points: Annotated[int, Field(ge=0)]
    """How many expire, as it stands; 0: none any more, forget the earlier reminder."""
    expires_at: AwareDatetime
    """The first instant at which they cannot be spent."""
    days_ahead: Annotated[int, Field(ge=1)]
    """The period of the program's `reminders.days_ahead` that has begun."""
    number: Annotated[int, Field(ge=1)]
    """Counts the reminders of this account and instant: 1, 2, 3, …"""
    recorded_at: AwareDatetime
    """When this was found."""


class PointsExtendedData(ReceivedPart):
    """A person let points of an account be used longer."""

    account_id: str
    """The account."""
    own_account_id: str | None = None
    """The id that the account's maker gave it, where it has one; unique in all programs."""
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    ends: list[ExtendedEnd]
    """What was extended, the soonest first."""
    recorded_at: AwareDatetime
    """When it was done."""


class RewardData(ReceivedPart):
    """What became of a reward that a customer has."""

    account_id: str
    """The account."""
    own_account_id: str | None = None
    """The id that the account's maker gave it, where it has one; unique in all programs."""
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    issue_id: str
    """Names what is issued, in all programs: commands that redeem or delete it name it so."""
    state: str
    """What became of it. expired: its deadline passed, and its points are back, as of one that is deleted."""
    reward: ToldReward
    """What it is."""
    expires_at: AwareDatetime | None = None
    """The deadline: from then on it is not redeemed. Absent: it has none."""
    order_id: str | None = None
    """The shop's order, as the command says."""
    reason: str | None = None
    """Why, as the command says."""
    command_id: str | None = None
    """The command; absent where its deadline has passed."""
    command_source: str | None = None
    """The source that sent the command."""
    occurred_at: AwareDatetime
    """When the command occurred, or the deadline passed."""
    recorded_at: AwareDatetime
    """When it was done."""


class TierAtRiskData(ReceivedPart):
    """The next review will move the account down, unless more qualifies until then."""

    account_id: str
    """The account."""
    own_account_id: str | None = None
    """The id that the account's maker gave it, where it has one; unique in all programs."""
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    tier: str
    """The tier now."""
    tier_after: str
    """The tier after the review, as it stands."""
    loses_at: AwareDatetime
    """When the tier will be lost."""
    measure: str
    """What `missing` counts: points, hundredths of the currency's major unit, or orders."""
    missing: Annotated[int, Field(ge=1)]
    """What is missing to stay."""
    recorded_at: AwareDatetime
    """When this was found."""


class TierChangedData(ReceivedPart):
    """An account moved to another tier."""

    account_id: str
    """The account."""
    own_account_id: str | None = None
    """The id that the account's maker gave it, where it has one; unique in all programs."""
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    sequence: Annotated[int, Field(ge=1)]
    """Counts the account's tier changes: 1, 2, 3, … without gap. It is not the sequence of the balance changes."""
    previous_tier: str
    """The tier before."""
    tier: str
    """The tier now."""
    qualifying_points: Annotated[int, Field(ge=0)]
    """What decided it: points, hundredths of the currency's major unit, or orders, by the program's measure."""
    effective_at: AwareDatetime
    """From when the tier counts for orders."""
    recorded_at: AwareDatetime
    """When the change was recorded."""
    reason: str
    """Why the tier changed. Later releases add reasons."""


class AccountClosed(Event):
    """An account was closed for good."""

    type: Literal["loyalty.account.closed"] = "loyalty.account.closed"
    data: AccountChangedData
    """The change."""


class AccountCreated(Event):
    """An account was opened; comes before every other event of the account."""

    type: Literal["loyalty.account.created"] = "loyalty.account.created"
    data: AccountCreatedData
    """The account."""


class AccountFrozen(Event):
    """An account was frozen: nothing leaves it by spending."""

    type: Literal["loyalty.account.frozen"] = "loyalty.account.frozen"
    data: AccountChangedData
    """The change."""


class AccountMerged(Event):
    """An account became a part of another one, which has all that it had."""

    type: Literal["loyalty.account.merged"] = "loyalty.account.merged"
    data: AccountChangedData
    """The change."""


class AccountUnmerged(Event):
    """A merge was undone: the account has back what is left of what it brought."""

    type: Literal["loyalty.account.unmerged"] = "loyalty.account.unmerged"
    data: AccountChangedData
    """The change."""


class AccountUpdated(Event):
    """What is kept with an account changed, or it was unfrozen."""

    type: Literal["loyalty.account.updated"] = "loyalty.account.updated"
    data: AccountChangedData
    """The change."""


class AuthorizationExpiring(Event):
    """The deadline of an authorization is near. Told once of each, however much of it is captured."""

    type: Literal["loyalty.authorization.expiring"] = "loyalty.authorization.expiring"
    data: AuthorizationExpiringData
    """The authorization."""


class BalanceChanged(Event):
    """The balance of an account changed: exactly one event per ledger entry, in the order of `data.sequence`."""

    type: Literal["loyalty.balance.changed"] = "loyalty.balance.changed"
    data: BalanceChangedData
    """The change."""


class CommandAccepted(Event):
    """The answer to a command that was done. The same command again gets it again."""

    type: Literal["loyalty.command.accepted"] = "loyalty.command.accepted"
    correlationid: str
    """The command's id."""
    data: CommandAcceptedData
    """What was done."""


class CommandRejected(Event):
    """The answer to a command that was not done. The same command again gets it again."""

    type: Literal["loyalty.command.rejected"] = "loyalty.command.rejected"
    correlationid: str
    """The command's id."""
    data: CommandRejectedData
    """Why not, and what to do."""


class CustomerErased(Event):
    """A customer was erased whose account it was, or who could use it: nothing in it names them any longer."""

    type: Literal["loyalty.customer.erased"] = "loyalty.customer.erased"
    data: AccountChangedData
    """The account as it is without the customer."""


class MessageParked(Event):
    """A message that came in was set aside for a person."""

    type: Literal["loyalty.message.parked"] = "loyalty.message.parked"
    data: MessageParkedData
    """The message, without its body."""


class PointsExpiring(Event):
    """Points of an account are about to expire, or fewer than the last reminder said."""

    type: Literal["loyalty.points.expiring"] = "loyalty.points.expiring"
    data: PointsExpiringData
    """The reminder."""


class PointsExtended(Event):
    """Points of an account can be used longer than was announced. No balance changes."""

    type: Literal["loyalty.points.extended"] = "loyalty.points.extended"
    data: PointsExtendedData
    """The new ends."""


class RewardDeleted(Event):
    """A reward was taken back, by command or at its deadline: its points are back."""

    type: Literal["loyalty.reward.deleted"] = "loyalty.reward.deleted"
    data: RewardData
    """The reward."""


class RewardIssued(Event):
    """A customer was given a reward: its price is reserved."""

    type: Literal["loyalty.reward.issued"] = "loyalty.reward.issued"
    data: RewardData
    """The reward."""


class RewardRedeemed(Event):
    """A customer had what a reward gives, for good."""

    type: Literal["loyalty.reward.redeemed"] = "loyalty.reward.redeemed"
    data: RewardData
    """The reward."""


class TierAtRisk(Event):
    """The tier of an account is about to be lost."""

    type: Literal["loyalty.tier.at_risk"] = "loyalty.tier.at_risk"
    data: TierAtRiskData
    """The warning."""


class TierChanged(Event):
    """The tier of an account changed."""

    type: Literal["loyalty.tier.changed"] = "loyalty.tier.changed"
    data: TierChangedData
    """The change."""


EVENTS: dict[str, type[Event]] = {
    "loyalty.account.closed": AccountClosed,
    "loyalty.account.created": AccountCreated,
    "loyalty.account.frozen": AccountFrozen,
    "loyalty.account.merged": AccountMerged,
    "loyalty.account.unmerged": AccountUnmerged,
    "loyalty.account.updated": AccountUpdated,
    "loyalty.authorization.expiring": AuthorizationExpiring,
    "loyalty.balance.changed": BalanceChanged,
    "loyalty.command.accepted": CommandAccepted,
    "loyalty.command.rejected": CommandRejected,
    "loyalty.customer.erased": CustomerErased,
    "loyalty.message.parked": MessageParked,
    "loyalty.points.expiring": PointsExpiring,
    "loyalty.points.extended": PointsExtended,
    "loyalty.reward.deleted": RewardDeleted,
    "loyalty.reward.issued": RewardIssued,
    "loyalty.reward.redeemed": RewardRedeemed,
    "loyalty.tier.at_risk": TierAtRisk,
    "loyalty.tier.changed": TierChanged,
}
"""By their types."""
