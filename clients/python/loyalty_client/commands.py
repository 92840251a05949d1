"""What services ask for. Made by clients/python/generate_types.py from docs/schemas; do not edit."""

from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from loyalty_client.checks import other_than
from loyalty_client.envelope import Command, SentPart
from loyalty_client.values import (
    Attributes,
    CardNumber,
    CustomerId,
    Id,
    Label,
    OperatorName,
    OwnAccountId,
    Points,
    Words,
)


class AdjustData(SentPart):
    """Correct what an account has: more with points above 0, less with points below 0."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    acting_customer_id: CustomerId | None = None
    """The customer who asks for it: the account's owner or a member. Left out, that of customer_id."""
    points: Annotated[int, Field(ge=-1_000_000_000_000_000, le=1_000_000_000_000_000), AfterValidator(other_than(0))]
    """How many: above 0 they are given, below 0 taken; not 0."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""
    reason: Words
    """Why: one of the program's adjustment_reasons where it lists some, else any words; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    order_id: Id | None = None
    """The order that it is for, as people are shown it."""
    expires_at: AwareDatetime | None = None
    """Of points that are given, the first instant at which they cannot be spent; left out, as the program says."""
    allow_negative_balance: bool | None = None
    """true: where fewer can be spent than are taken, the account owes the rest. Left out: false, and none are taken."""


class AuthorizeData(SentPart):
    """Reserve points of an account: all of them, or none. They leave the balance, and are still the customer's."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    acting_customer_id: CustomerId | None = None
    """The customer who asks for it: the account's owner or a member. Left out, that of customer_id."""
    points: Points
    """How many, above 0: whole points, or the smallest units of the program's money."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""
    authorization_id: Id | None = None
    """Names the authorization for ever, in all programs; left out, it has the command's id."""
    expires_at: AwareDatetime | None = None
    """The deadline, one hour to 90 days ahead: what is not captured by then comes back. Left out: in seven days."""
    expires_in_seconds: Annotated[int, Field(ge=3_600, le=7_776_000)] | None = None
    """The same, counted from when it is done."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    order_id: Id | None = None
    """The order that it is for, as people are shown it."""


class CaptureData(SentPart):
    """Take the points of an authorization for good."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    authorization_id: Id
    """The authorization: the id that it was given, or its command's."""
    points: Points | None = None
    """How many of those that it holds; left out: all."""
    is_final: bool | None = None
    """false: the rest stays reserved, for another capture. Left out, true: the rest comes back."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    order_id: Id | None = None
    """The order that it is for, as people are shown it."""


class CloseData(SentPart):
    """Close an account for good."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    points_left: Literal["forfeit", "transfer"] | None = None
    """forfeit: points that are left are given up. transfer: they go to another account of the program, with the dates
    that they have. Left out: they stand in the way.
    """
    to_customer_id: CustomerId | None = None
    """With transfer, the shop's id of the customer whose account gets the points; who has none gets one."""
    to_account_id: Id | None = None
    """With transfer, the account that gets them, in place of a customer."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""


class ConvertData(SentPart):
    """Turn points of a customer into those of another program, at the rate of the program: all of them, or none."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    acting_customer_id: CustomerId | None = None
    """The customer who asks for it: the account's owner or a member. Left out, that of customer_id."""
    to_program_id: Id
    """The program whose points they become: one of those that the program lists under conversions."""
    points: Points
    """How many, above 0: whole points, or the smallest units of the program's money."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""


class MemberData(SentPart):
    """A customer who may use an account beside its owner."""

    customer_id: CustomerId
    """The shop's id of the customer."""
    role: Literal["member", "viewer"]
    """member: may spend its points, unless the program lets its owner alone do that. viewer: may not."""


class CreateData(SentPart):
    """Open an account for a customer, under an id of your own."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId
    """The shop's id of the customer whose account it is."""
    account_id: OwnAccountId
    """The account's own id, beside the one that we draw: unique for ever, in all programs. Nothing that looks like a
    UUID.
    """
    points: Points | None = None
    """Its opening value; left out, none."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    expires_at: AwareDatetime | None = None
    """The first instant at which the opening value cannot be spent; left out, as the program says."""
    enrolled_at: AwareDatetime | None = None
    """When the membership began, not in the future; left out, with the first order."""
    lifetime_points: Points | None = None
    """Points that the customer earned elsewhere before, spent or not: part of the account's lifetime points."""
    metadata: Attributes | None = None
    """Whatever else is kept with the account, by names of your own; no personal data."""
    tags: Annotated[list[Label], Field(max_length=100)] | None = None
    """Words to find accounts by; no personal data."""
    members: Annotated[list[MemberData], Field(max_length=50)] | None = None
    """Who may use it beside its owner. Who has no account in the program lets their orders earn for this one."""


class CreditData(SentPart):
    """Give points to an account; a customer who has none gets one."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    acting_customer_id: CustomerId | None = None
    """The customer who asks for it: the account's owner or a member. Left out, that of customer_id."""
    points: Points
    """How many, above 0: whole points, or the smallest units of the program's money."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    order_id: Id | None = None
    """The order that it is for, as people are shown it."""
    available_at: AwareDatetime | None = None
    """From when on they can be spent; left out, at once."""
    expires_at: AwareDatetime | None = None
    """The first instant at which they cannot be spent; left out, as the program says."""


class DebitData(SentPart):
    """Take points from an account, of those that can be spent: all of them, or none."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    acting_customer_id: CustomerId | None = None
    """The customer who asks for it: the account's owner or a member. Left out, that of customer_id."""
    points: Points
    """How many, above 0: whole points, or the smallest units of the program's money."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    order_id: Id | None = None
    """The order that it is for, as people are shown it."""
    allow_remainder: bool | None = None
    """true: where there are fewer, take those; the answer says how many remain. Left out: false."""


class DeleteRewardData(SentPart):
    """Take an issued reward back: its points return, and it can be given again."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    issue_id: Id
    """The issued reward: the id that it was given, or its command's."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    order_id: Id | None = None
    """The order that it is for, as people are shown it."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""


class EraseData(SentPart):
    """Erase a customer: nothing that is kept names them afterwards, and their points are given up."""

    customer_id: CustomerId
    """The shop's id of the customer."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""


class IssueRewardData(SentPart):
    """Give a customer a reward of the program's catalogue: its price is reserved, and gone once it is redeemed."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    acting_customer_id: CustomerId | None = None
    """The customer who asks for it: the account's owner or a member. Left out, that of customer_id."""
    reward_id: Id
    """The reward, as the program's file names it."""
    issue_id: Id | None = None
    """Names what is issued for ever, in all programs; left out, it has the command's id."""
    expires_at: AwareDatetime | None = None
    """The deadline, one hour to 3,660 days ahead: what is not redeemed by then is taken back. Left out: none."""
    expires_in_seconds: Annotated[int, Field(ge=3_600, le=316_224_000)] | None = None
    """The same, counted from when it is issued."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    order_id: Id | None = None
    """The order that it is for, as people are shown it."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""


class LinkData(SentPart):
    """A card, a phone number or an e-mail address by which an account is found, or no longer."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """The number of a loyalty card; no number of a payment card."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number, in international form. Only a hash is kept."""
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address. Only a hash is kept."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""


class MergeData(SentPart):
    """Let an account become a part of another one of its program, which has all that it had from then on."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    into_customer_id: CustomerId | None = None
    """The shop's id of the customer whose account survives."""
    into_account_id: Id | None = None
    """The account that survives, in place of a customer."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""


class RedeemData(SentPart):
    """Take points that the customer spends: all of them, or none. Authorizes and captures in one."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    acting_customer_id: CustomerId | None = None
    """The customer who asks for it: the account's owner or a member. Left out, that of customer_id."""
    points: Points
    """How many, above 0: whole points, or the smallest units of the program's money."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    order_id: Id | None = None
    """The order that it is for, as people are shown it."""


class RedeemRewardData(SentPart):
    """Let the customer have an issued reward; that is for good."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    issue_id: Id
    """The issued reward: the id that it was given, or its command's."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    order_id: Id | None = None
    """The order that it is for, as people are shown it."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""


class ReverseData(SentPart):
    """Undo a command, once: what it took comes back, and what it gave is taken again."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    command_id: Id
    """The command to undo: a credit, debit, redemption, adjustment or transfer."""
    command_source: Id | None = None
    """Whose command it is; left out, one of the source of this one."""
    points: Points | None = None
    """So many of its points; left out, all."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    allow_negative_balance: bool | None = None
    """true: where what it gave is spent, the account owes that. Left out: false, and nothing is undone."""


class StatusData(SentPart):
    """Freeze an account, or unfreeze it."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""


class TransferData(SentPart):
    """Move points from an account to another one of the same program: all of them, or none."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    acting_customer_id: CustomerId | None = None
    """The customer who asks for it: the account's owner or a member. Left out, that of customer_id."""
    to_customer_id: CustomerId | None = None
    """The shop's id of the customer whose account gets the points; who has none gets one."""
    to_account_id: Id | None = None
    """The account that gets them, in place of a customer."""
    points: Points
    """How many, above 0: whole points, or the smallest units of the program's money."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    order_id: Id | None = None
    """The order that it is for, as people are shown it."""
    allow_remainder: bool | None = None
    """true: where there are fewer, move those; the answer says how many remain. Left out: false."""


class UpdateData(SentPart):
    """Keep something else with an account. What is left out stays as it is."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    customer_id: CustomerId | None = None
    """The shop's id of the customer whose account it is."""
    account_id: Id | None = None
    """The account, in place of a customer: the id that we drew, or its own."""
    card: CardNumber | None = None
    """A card that is linked to the account, in place of a customer."""
    phone: Annotated[str, Field(max_length=40, pattern="^ *\\+[0-9 ()./-]*$")] | None = None
    """A phone number that is linked to the account, in international form, in place of a customer. Only a hash is
    kept.
    """
    email: Annotated[str, Field(max_length=254, pattern="^ *[^@\\s]+@[^@\\s]+ *$")] | None = None
    """An e-mail address that is linked to the account, in place of a customer. Only a hash is kept."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    metadata: Attributes | None = None
    """All of its metadata from now on, in the place of what was there; {}: none."""
    tags: Annotated[list[Label], Field(max_length=100)] | None = None
    """All of its tags from now on, in the place of what was there; []: none."""
    members: Annotated[list[MemberData], Field(max_length=50)] | None = None
    """All who may use it beside its owner from now on, in the place of those who were there; []: nobody."""
    is_primary: bool | None = None
    """true: the orders of its owner come to it from now on, where they have several. Left out: as it was."""


class VoidData(SentPart):
    """Let all points come back that an authorization holds."""

    program_id: Id | None = None
    """The loyalty program; left out, the one of the account, or of the command's source."""
    authorization_id: Id
    """The authorization: the id that it was given, or its command's."""
    unit: Id | None = None
    """What the points are; said, the command is rejected where the program counts others."""
    reason: Words | None = None
    """Why, in words that people are shown; no personal data."""
    by: OperatorName | None = None
    """Who gave the command by hand, as operators are named; no e-mail address."""
    order_id: Id | None = None
    """The order that it is for, as people are shown it."""


class AccountClose(Command):
    """Asks to close an account for good."""

    type: Literal["loyalty.command.account.close"] = "loyalty.command.account.close"
    data: CloseData
    """The account."""


class AccountCreate(Command):
    """Asks to open an account."""

    type: Literal["loyalty.command.account.create"] = "loyalty.command.account.create"
    data: CreateData
    """The account."""


class AccountFreeze(Command):
    """Asks to freeze an account: nothing leaves it by spending."""

    type: Literal["loyalty.command.account.freeze"] = "loyalty.command.account.freeze"
    data: StatusData
    """The account."""


class AccountLink(Command):
    """Asks to let an account be found by a card, a phone number or an e-mail address."""

    type: Literal["loyalty.command.account.link"] = "loyalty.command.account.link"
    data: LinkData
    """The account, and what is linked."""


class AccountMerge(Command):
    """Asks to merge an account into another one."""

    type: Literal["loyalty.command.account.merge"] = "loyalty.command.account.merge"
    data: MergeData
    """The two accounts."""


class AccountUnfreeze(Command):
    """Asks to unfreeze an account."""

    type: Literal["loyalty.command.account.unfreeze"] = "loyalty.command.account.unfreeze"
    data: StatusData
    """The account."""


class AccountUnlink(Command):
    """Asks to let an account no longer be found by a card, a phone number or an e-mail address."""

    type: Literal["loyalty.command.account.unlink"] = "loyalty.command.account.unlink"
    data: LinkData
    """The account, and what is linked."""


class AccountUnmerge(Command):
    """Asks to undo the merge of an account."""

    type: Literal["loyalty.command.account.unmerge"] = "loyalty.command.account.unmerge"
    data: StatusData
    """The account that was merged into another one."""


class AccountUpdate(Command):
    """Asks to keep something else with an account."""

    type: Literal["loyalty.command.account.update"] = "loyalty.command.account.update"
    data: UpdateData
    """What is to be kept with it."""


class Adjust(Command):
    """Asks to correct what an account has."""

    type: Literal["loyalty.command.adjust"] = "loyalty.command.adjust"
    data: AdjustData
    """The adjustment."""


class Authorize(Command):
    """Asks to reserve points."""

    type: Literal["loyalty.command.authorize"] = "loyalty.command.authorize"
    data: AuthorizeData
    """The authorization."""


class Capture(Command):
    """Asks to take reserved points for good."""

    type: Literal["loyalty.command.capture"] = "loyalty.command.capture"
    data: CaptureData
    """The capture."""


class Convert(Command):
    """Asks to turn points into those of another program."""

    type: Literal["loyalty.command.convert"] = "loyalty.command.convert"
    data: ConvertData
    """The conversion."""


class Credit(Command):
    """Asks to give points to an account."""

    type: Literal["loyalty.command.credit"] = "loyalty.command.credit"
    data: CreditData
    """The credit."""


class CustomerErase(Command):
    """Asks to erase a customer."""

    type: Literal["loyalty.command.customer.erase"] = "loyalty.command.customer.erase"
    data: EraseData
    """The customer."""


class Debit(Command):
    """Asks to take points from an account."""

    type: Literal["loyalty.command.debit"] = "loyalty.command.debit"
    data: DebitData
    """The debit."""


class Redeem(Command):
    """Asks to take points that a customer spends."""

    type: Literal["loyalty.command.redeem"] = "loyalty.command.redeem"
    data: RedeemData
    """The redemption."""


class Reverse(Command):
    """Asks to undo a command."""

    type: Literal["loyalty.command.reverse"] = "loyalty.command.reverse"
    data: ReverseData
    """The reversal."""


class RewardDelete(Command):
    """Asks to take an issued reward back."""

    type: Literal["loyalty.command.reward.delete"] = "loyalty.command.reward.delete"
    data: DeleteRewardData
    """The issued reward."""


class RewardIssue(Command):
    """Asks to give a customer a reward."""

    type: Literal["loyalty.command.reward.issue"] = "loyalty.command.reward.issue"
    data: IssueRewardData
    """The reward."""


class RewardRedeem(Command):
    """Asks to let a customer have an issued reward."""

    type: Literal["loyalty.command.reward.redeem"] = "loyalty.command.reward.redeem"
    data: RedeemRewardData
    """The issued reward."""


class Transfer(Command):
    """Asks to move points to another account."""

    type: Literal["loyalty.command.transfer"] = "loyalty.command.transfer"
    data: TransferData
    """The transfer."""


class Void(Command):
    """Asks to let reserved points come back."""

    type: Literal["loyalty.command.void"] = "loyalty.command.void"
    data: VoidData
    """The void."""


COMMANDS: dict[str, type[Command]] = {
    "loyalty.command.account.close": AccountClose,
    "loyalty.command.account.create": AccountCreate,
    "loyalty.command.account.freeze": AccountFreeze,
    "loyalty.command.account.link": AccountLink,
    "loyalty.command.account.merge": AccountMerge,
    "loyalty.command.account.unfreeze": AccountUnfreeze,
    "loyalty.command.account.unlink": AccountUnlink,
    "loyalty.command.account.unmerge": AccountUnmerge,
    "loyalty.command.account.update": AccountUpdate,
    "loyalty.command.adjust": Adjust,
    "loyalty.command.authorize": Authorize,
    "loyalty.command.capture": Capture,
    "loyalty.command.convert": Convert,
    "loyalty.command.credit": Credit,
    "loyalty.command.customer.erase": CustomerErase,
    "loyalty.command.debit": Debit,
    "loyalty.command.redeem": Redeem,
    "loyalty.command.reverse": Reverse,
    "loyalty.command.reward.delete": RewardDelete,
    "loyalty.command.reward.issue": RewardIssue,
    "loyalty.command.reward.redeem": RewardRedeem,
    "loyalty.command.transfer": Transfer,
    "loyalty.command.void": Void,
}
"""By their types."""
