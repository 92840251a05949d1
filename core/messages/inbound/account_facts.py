"""Makes what commands on accounts themselves ask for of the settled data of messages."""

from collections.abc import Iterable, Mapping
from typing import Any

from core.domain.members import Member, Role
from core.domain.value.account_terms import CloseTerms, CreateTerms, LinkTerms, MergeTerms, StatusTerms, UpdateTerms
from core.messages.inbound.command_facts import instant_of, linked_of, whom_of

Data = Mapping[str, Any]


def create_terms(data: Data) -> CreateTerms:
    """The account that a command opens."""
    return CreateTerms(
        data["account_id"],
        data.get("points", 0),
        data.get("reason"),
        instant_of(data.get("expires_at")),
        instant_of(data.get("enrolled_at")),
        data.get("metadata", {}),
        tuple(data.get("tags", ())),
        _members(data.get("members", ())),
        data.get("lifetime_points", 0),
    )


def _members(members: Iterable[Data]) -> tuple[Member, ...]:
    return tuple(Member(each["customer_id"], Role(each["role"])) for each in members)


def status_terms(data: Data) -> StatusTerms:
    """Why an account is frozen or unfrozen."""
    return StatusTerms(data.get("reason"))


def close_terms(data: Data) -> CloseTerms:
    """How an account is closed."""
    left = data.get("points_left")
    return CloseTerms(data.get("reason"), left == "forfeit", whom_of(data, "to_") if left == "transfer" else None)


def merge_terms(data: Data) -> MergeTerms:
    """Which account another one becomes a part of."""
    return MergeTerms(whom_of(data, "into_"), data.get("reason"))


def update_terms(data: Data) -> UpdateTerms:
    """What is to be kept with an account."""
    tags, members = data.get("tags"), data.get("members")
    return UpdateTerms(
        data.get("metadata"),
        None if tags is None else tuple(tags),
        data.get("reason"),
        None if members is None else _members(members),
        is_primary=data.get("is_primary", False),
    )


def link_terms(data: Data) -> LinkTerms:
    """What is linked or unlinked."""
    return LinkTerms(linked_of(data), data.get("reason"))
