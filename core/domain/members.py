"""Who may use an account beside its owner."""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

#: What the entry says of itself that a member's order earned: by this events and readers know to name its customer.
OF_MEMBER = "of_member"


class Role(StrEnum):
    """What a member may do with an account. Its owner, who may do everything, is none of its members."""

    MEMBER = "member"  #: spend its points, where the program lets members do that
    VIEWER = "viewer"  #: see them, and let their own orders earn for it


class Member(NamedTuple):
    """A customer who may use an account that is another one's."""

    customer_id: str
    role: Role


class OwnAccounts(NamedTuple):
    """What decides where the orders of a customer come to who may use an account, or leaves it."""

    primary: UUID | None  #: the account to which they come now
    survivor: UUID | None  #: the same, or the one that it is merged into
    made: UUID | None  #: the oldest account that a command made for them


class PrimaryChange(NamedTuple):
    """Another account is a customer's primary one from now on: the one to which their orders come."""

    customer_id: str
    before: UUID | None  #: None: there was none
    after: UUID | None  #: None: there is none, and their next order opens one
