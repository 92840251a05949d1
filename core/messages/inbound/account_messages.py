"""The contracts of commands on accounts themselves: what makes them, changes them and ends them."""

import re
from operator import itemgetter
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, StringConstraints, with_config
from pydantic_core import InitErrorDetails

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

from core.domain.ids import id_pattern
from core.domain.value.commands import LINKED
from core.messages.inbound.command_messages import (
    ByHand,
    NamedAccount,
    NamedCustomer,
    NamedProgram,
    NamedUnit,
    NamingData,
    Points,
    Reason,
    named_once,
    settle_command,
)
from core.messages.inbound.fields import (
    Attributes,
    CardNumber,
    CustomerId,
    Id,
    Label,
    StopAtFirst,
    UtcTime,
    named_nowhere,
    named_twice,
    own_problem,
)
from core.messages.inbound.order_messages import STRICT, TAGS_MAX, Envelope, leave_out_null, refuse
from core.messages.inbound.personal_names import EmailAddress, PhoneNumber

OWN_ID_CHARACTERS_MAX = 64
MEMBERS_MAX = 50
#: What the ids look like that we draw.
DRAWN_PATTERN = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"

_DRAWN = re.compile(DRAWN_PATTERN.strip("^$"))

OwnAccountId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=OWN_ID_CHARACTERS_MAX, pattern=id_pattern(but="@")),
    Field(examples=["till-7-0001"], json_schema_extra={"not": {"pattern": DRAWN_PATTERN}}),
]
Tags = Annotated[list[Label], Field(max_length=TAGS_MAX), StopAtFirst()]


@with_config(STRICT)
class MemberData(TypedDict):
    """A customer who may use an account beside its owner."""

    customer_id: CustomerId
    """The shop's id of the customer."""
    role: Literal["member", "viewer"]
    """member: may spend its points, unless the program lets its owner alone do that. viewer: may not."""


Members = Annotated[list[MemberData], Field(max_length=MEMBERS_MAX), StopAtFirst()]


@with_config(STRICT)
class CreateData(TypedDict):
    """Open an account for a customer, under an id of your own."""

    program_id: NotRequired[NamedProgram]
    customer_id: CustomerId
    """The shop's id of the customer whose account it is."""
    account_id: OwnAccountId
    """The account's own id, beside the one that we draw: unique for ever, in all programs. Nothing that looks like a
    UUID."""
    points: NotRequired[Points | None]
    """Its opening value; left out, none."""
    unit: NotRequired[NamedUnit]
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]
    expires_at: NotRequired[UtcTime | None]
    """The first instant at which the opening value cannot be spent; left out, as the program says."""
    enrolled_at: NotRequired[UtcTime | None]
    """When the membership began, not in the future; left out, with the first order."""
    lifetime_points: NotRequired[Points | None]
    """Points that the customer earned elsewhere before, spent or not: part of the account's lifetime points."""
    metadata: NotRequired[Attributes | None]
    """Whatever else is kept with the account, by names of your own; no personal data."""
    tags: NotRequired[Tags | None]
    """Words to find accounts by; no personal data."""
    members: NotRequired[Members | None]
    """Who may use it beside its owner. Who has no account in the program lets their orders earn for this one."""


def _own_id_problems(account_id: str) -> list[InitErrorDetails]:
    if not _DRAWN.fullmatch(account_id):
        return []
    return [own_problem(("account_id",), "looks like an id that we draw, a UUID; choose an id of another form")]


def _settle_lists(data: Any) -> None:
    if "tags" in data:
        data["tags"] = sorted(set(data["tags"]))
    if "members" in data:
        data["members"].sort(key=itemgetter("customer_id"))
        named = [member["customer_id"] for member in data["members"]]
        if len(set(named)) < len(named):
            refuse([own_problem(("members",), "names a customer twice; write each once, with one role")])
        if data.get("customer_id") in named:
            refuse([own_problem(("members",), "names the customer of data.customer_id; leave the owner out")])


def _settle_create(data: Any) -> Any:
    leave_out_null(data)
    refuse(_own_id_problems(data["account_id"]))
    _settle_lists(data)
    for name in ("metadata", "tags", "members"):
        if name in data and not data[name]:
            del data[name]
    return data


@with_config(STRICT)
class CreateCommand(Envelope):
    """Asks to open an account."""

    type: Literal["loyalty.command.account.create"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[CreateData, AfterValidator(_settle_create)]
    """The account."""


@with_config(STRICT)
class StatusData(NamingData):
    """Freeze an account, or unfreeze it."""

    reason: NotRequired[Reason]
    by: NotRequired[ByHand]


@with_config(STRICT)
class CloseData(NamingData):
    """Close an account for good."""

    reason: NotRequired[Reason]
    by: NotRequired[ByHand]
    points_left: NotRequired[Literal["forfeit", "transfer"] | None]
    """forfeit: points that are left are given up. transfer: they go to another account of the program, with the dates
    that they have. Left out: they stand in the way."""
    to_customer_id: NotRequired[CustomerId | None]
    """With transfer, the shop's id of the customer whose account gets the points; who has none gets one."""
    to_account_id: NotRequired[Id | None]
    """With transfer, the account that gets them, in place of a customer."""
    unit: NotRequired[NamedUnit]


@with_config(STRICT)
class MergeData(NamingData):
    """Let an account become a part of another one of its program, which has all that it had from then on."""

    into_customer_id: NotRequired[CustomerId | None]
    """The shop's id of the customer whose account survives."""
    into_account_id: NotRequired[Id | None]
    """The account that survives, in place of a customer."""
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]


def _settle_merge(data: Any) -> Any:
    settle_command(data)
    named_once(data, ("into_customer_id", "into_account_id"))
    return data


@with_config(STRICT)
class MergeCommand(Envelope):
    """Asks to merge an account into another one."""

    type: Literal["loyalty.command.account.merge"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[MergeData, AfterValidator(_settle_merge)]
    """The two accounts."""


@with_config(STRICT)
class UnmergeCommand(Envelope):
    """Asks to undo the merge of an account."""

    type: Literal["loyalty.command.account.unmerge"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[StatusData, AfterValidator(settle_command)]
    """The account that was merged into another one."""


_TO = ("to_customer_id", "to_account_id")


def _settle_close(data: Any) -> Any:
    settle_command(data)
    if data.get("points_left") == "transfer":
        named_once(data, _TO)
    elif named := [name for name in _TO if name in data]:
        refuse([own_problem((named[0],), 'stands without points_left: "transfer"; leave it out, or write that')])
    return data


@with_config(STRICT)
class UpdateData(NamingData):
    """Keep something else with an account. What is left out stays as it is."""

    reason: NotRequired[Reason]
    by: NotRequired[ByHand]
    metadata: NotRequired[Attributes | None]
    """All of its metadata from now on, in the place of what was there; {}: none."""
    tags: NotRequired[Tags | None]
    """All of its tags from now on, in the place of what was there; []: none."""
    members: NotRequired[Members | None]
    """All who may use it beside its owner from now on, in the place of those who were there; []: nobody."""
    is_primary: NotRequired[bool | None]
    """true: the orders of its owner come to it from now on, where they have several. Left out: as it was."""


def _settle_update(data: Any) -> Any:
    settle_command(data)
    _settle_lists(data)
    if not data.keys() & {"metadata", "tags", "members", "is_primary"}:
        text = "is missing, and so are tags, members and is_primary; write what changes of the account"
        refuse([own_problem(("metadata",), text)])
    return data


@with_config(STRICT)
class FreezeCommand(Envelope):
    """Asks to freeze an account: nothing leaves it by spending."""

    type: Literal["loyalty.command.account.freeze"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[StatusData, AfterValidator(settle_command)]
    """The account."""


@with_config(STRICT)
class UnfreezeCommand(Envelope):
    """Asks to unfreeze an account."""

    type: Literal["loyalty.command.account.unfreeze"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[StatusData, AfterValidator(settle_command)]
    """The account."""


@with_config(STRICT)
class CloseCommand(Envelope):
    """Asks to close an account for good."""

    type: Literal["loyalty.command.account.close"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[CloseData, AfterValidator(_settle_close)]
    """The account."""


@with_config(STRICT)
class UpdateCommand(Envelope):
    """Asks to keep something else with an account."""

    type: Literal["loyalty.command.account.update"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[UpdateData, AfterValidator(_settle_update)]
    """What is to be kept with it."""


@with_config(STRICT)
class LinkData(TypedDict):
    """A card, a phone number or an e-mail address by which an account is found, or no longer."""

    program_id: NotRequired[NamedProgram]
    customer_id: NotRequired[NamedCustomer]
    account_id: NotRequired[NamedAccount]
    card: NotRequired[CardNumber | None]
    """The number of a loyalty card; no number of a payment card."""
    phone: NotRequired[PhoneNumber | None]
    """A phone number, in international form. Only a hash is kept."""
    email: NotRequired[EmailAddress | None]
    """An e-mail address. Only a hash is kept."""
    reason: NotRequired[Reason]
    by: NotRequired[ByHand]


def _settle_link(data: Any) -> Any:
    leave_out_null(data)
    named_once(data, ("customer_id", "account_id"))
    kinds = tuple(LINKED)
    refuse(named_twice(data, kinds, "say one at a time"))
    refuse(named_nowhere(data, kinds, "say what is linked by one of them"))
    return data


@with_config(STRICT)
class LinkCommand(Envelope):
    """Asks to let an account be found by a card, a phone number or an e-mail address."""

    type: Literal["loyalty.command.account.link"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[LinkData, AfterValidator(_settle_link)]
    """The account, and what is linked."""


@with_config(STRICT)
class UnlinkCommand(Envelope):
    """Asks to let an account no longer be found by a card, a phone number or an e-mail address."""

    type: Literal["loyalty.command.account.unlink"]  # type: ignore[misc]
    """What is asked for."""
    data: Annotated[LinkData, AfterValidator(_settle_link)]
    """The account, and what is linked."""
