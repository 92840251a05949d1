"""What programs ask for: commands on accounts and value. Unlike facts, which have happened, they may be rejected.

A command is known for ever by its source and its id; the same again gets the first answer again.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")  #: what one kind of command asks for


class Whom(NamedTuple):
    """Whose account a command is about: a customer's, or one that is named itself."""

    kind: str  #: customer, or a kind of account reference, such as account
    id: str


#: The kind of `Whom` that names a customer.
CUSTOMER = "customer"
#: The kind that names an account: by the id that we drew, or by the one that its maker gave it.
ACCOUNT = "account"
#: The kinds that name an account by what is linked to it, in one program: the number of a card, or the keyed hash of a
#: phone number or an e-mail address, neither of which is known here.
CARD, PHONE, EMAIL = "card", "phone", "email"
#: With what a person calls each.
LINKED: Mapping[str, str] = MappingProxyType({CARD: "card", PHONE: "phone number", EMAIL: "e-mail address"})
#: Those of which nothing is told but that they are there.
HIDDEN = frozenset({PHONE, EMAIL})


def told_reference(kind: str, reference: str) -> str:
    """What people and other systems are told of a reference."""
    return "hidden" if kind in HIDDEN else reference


class Command(NamedTuple, Generic[T]):
    """One command, with what is common to all of them."""

    source: str
    occurred_at: datetime
    whom: Whom
    terms: T
    unit: str | None = None  #: what its points are, where its sender says so
    acting: str | None = None  #: the customer who asks for it, where its sender says so; else whoever sends it
    by: str | None = None  #: who gave it by hand


class CreditTerms(NamedTuple):
    """Give points to an account."""

    points: int
    reason: str | None = None  #: for people
    order_id: str | None = None  #: what it is for, for people
    available_at: datetime | None = None  #: None: at once
    expires_at: datetime | None = None  #: None: as the program says


class DebitTerms(NamedTuple):
    """Take points from an account."""

    points: int
    reason: str | None = None
    order_id: str | None = None
    allow_remainder: bool = False  #: take what there is, where that is less


class AuthorizeTerms(NamedTuple):
    """Reserve points of an account."""

    points: int
    authorization_id: str  #: left out by its sender, the command's id
    expires_at: datetime | None = None  #: the deadline
    lasts: timedelta | None = None  #: or how long after now it is; None: as is usual
    reason: str | None = None
    order_id: str | None = None


class CaptureTerms(NamedTuple):
    """Take reserved points for good."""

    points: int | None = None  #: None: all that is held
    is_final: bool = True  #: the rest comes back
    reason: str | None = None
    order_id: str | None = None


class VoidTerms(NamedTuple):
    """Let reserved points come back."""

    reason: str | None = None
    order_id: str | None = None


class RedeemTerms(NamedTuple):
    """Take points that a customer spends."""

    points: int
    reason: str | None = None
    order_id: str | None = None


class PostedCommand(NamedTuple):
    """A command that has its answer."""

    source: str
    command_id: str
    type: str
    digest: bytes  #: of its content

    @property
    def key(self) -> tuple[str, str]:
        """What names it for ever."""
        return self.source, self.command_id
