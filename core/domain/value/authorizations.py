"""Authorizations: points that are reserved until they are captured or come back; an issued reward is one at a price."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from core.domain.reach import CommandKey, ReferenceKey

#: The kinds of account references by which they are found; an id is unique within its kind, in all programs, for ever.
AUTHORIZATION = "authorization"
REWARD = "reward"


class AuthorizationState(StrEnum):
    """What became of an authorization."""

    OPEN = "open"  #: it still holds points
    CAPTURED = "captured"  #: what it held is captured, and what a final capture left is back
    VOIDED = "voided"  #: what it still held is back, by command
    EXPIRED = "expired"  #: what it still held is back, by its deadline
    CLAWED_BACK = "clawed_back"  #: what it still held was taken back, with an order that does not earn it any more


class Authorization(NamedTuple):
    """Points that are reserved. Each of them is captured, returned, or still held."""

    kind: str  #: authorization or reward
    authorization_id: str
    account_id: UUID
    sequence: int  #: the entry that reserved them
    source: str  #: of the command that asked for it
    command_id: str
    points_authorized: int
    expires_at: datetime | None  #: from then on nothing is captured; None: no deadline
    points_captured: int = 0
    points_returned: int = 0
    state: AuthorizationState = AuthorizationState.OPEN
    reward_id: str | None = None  #: the reward of the program that it is for

    @property
    def key(self) -> ReferenceKey:
        """What names it for ever."""
        return ReferenceKey(self.kind, self.authorization_id)

    @property
    def command_key(self) -> CommandKey:
        """The command that asked for it."""
        return self.source, self.command_id

    @property
    def points_held(self) -> int:
        """What is neither captured nor returned."""
        return self.points_authorized - self.points_captured - self.points_returned

    def is_open(self, as_of: datetime) -> bool:
        """Whether points may be captured at `as_of`, whether or not the run of its deadline has come."""
        return self.state is AuthorizationState.OPEN and (self.expires_at is None or as_of < self.expires_at)

    def back_since(self, as_of: datetime) -> datetime:
        """When what it holds came back that is given back at `as_of`: at its deadline, if that has passed."""
        return as_of if self.expires_at is None else min(as_of, self.expires_at)

    def is_expiring(self, reserved_at: datetime, ahead: timedelta, as_of: datetime) -> bool:
        """Whether it is time at `as_of` to tell of its deadline, so long ahead; never of one that lasts no longer."""
        if self.expires_at is None or not ahead or not self.is_open(as_of):
            return False
        return reserved_at < self.expires_at - ahead <= as_of

    def less(self, captured: int, returned: int, closing: AuthorizationState) -> "Authorization":
        """It after these points; in the state `closing` where it holds none any more."""
        after = self._replace(
            points_captured=self.points_captured + captured, points_returned=self.points_returned + returned
        )
        return after if after.points_held else after._replace(state=closing)
