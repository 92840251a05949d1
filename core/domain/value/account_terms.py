"""What commands on accounts themselves ask for."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from core.domain.members import Member
from core.domain.value.commands import Whom

AttributeValue = str | int | bool


class CreateTerms(NamedTuple):
    """Open an account under an id of its maker's own."""

    account_id: str
    points: int = 0  #: its opening value; 0: none
    reason: str | None = None  #: for people
    expires_at: datetime | None = None  #: of the opening value; None: as the program says
    enrolled_at: datetime | None = None  #: when the membership began; None: with the first order
    metadata: Mapping[str, AttributeValue] = MappingProxyType({})
    tags: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()  #: who may use it beside its owner
    lifetime_points: int = 0  #: that were earned elsewhere before


class StatusTerms(NamedTuple):
    """Freeze an account, or unfreeze it."""

    reason: str | None = None  #: for people


class CloseTerms(NamedTuple):
    """Close an account for good."""

    reason: str | None = None  #: for people
    forfeit: bool = False  #: what points are left are given up
    to: Whom | None = None  #: or go to this account


class MergeTerms(NamedTuple):
    """Let an account become a part of another one."""

    into: Whom
    reason: str | None = None  #: for people


class UpdateTerms(NamedTuple):
    """Keep something else with an account."""

    metadata: Mapping[str, AttributeValue] | None = None  #: all of it from now on; None: as it was
    tags: tuple[str, ...] | None = None
    reason: str | None = None  #: for people
    members: tuple[Member, ...] | None = None
    is_primary: bool = False  #: its owner's orders come to it from now on


class LinkTerms(NamedTuple):
    """Let an account be found by a card, a phone number or an e-mail address, or no longer."""

    linked: Whom
    reason: str | None = None  #: for people


class EraseTerms(NamedTuple):
    """Erase a customer, in all programs."""

    reason: str | None = None  #: for whoever sends it; it is not kept
