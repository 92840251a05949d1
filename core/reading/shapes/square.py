"""An account as Square's Loyalty API would give it: a LoyaltyAccount, field by field."""

from collections import defaultdict
from datetime import datetime
from typing import NotRequired, TypedDict

from sqlalchemy import Connection

from core.messages.outbound.event_json import instant_text
from core.reading.accounts import load_account_times
from core.reading.standing import Standing


class SquareDeadline(TypedDict):
    """Points that expire at one instant."""

    points: int
    expires_at: str


class SquareMapping(TypedDict):
    """By what else than its id the account is found."""

    phone_number: str


class SquareAccount(TypedDict):
    """Square's LoyaltyAccount."""

    id: str
    program_id: str
    balance: int
    lifetime_points: int
    customer_id: str
    enrolled_at: NotRequired[str]
    created_at: str
    updated_at: str
    mapping: NotRequired[SquareMapping]
    expiring_point_deadlines: NotRequired[list[SquareDeadline]]


def square_account(connection: Connection, standing: Standing, phone_number: str | None = None) -> SquareAccount:
    """The account of the present as a LoyaltyAccount.

    `phone_number`, in E.164, is what the caller has found it by: of the numbers that are linked only hashes are kept,
    so none can be told to who does not know it. `standing` is of the present, else ValueError.
    """
    if standing.is_past:
        raise ValueError("a LoyaltyAccount is one of the present")
    account, times = standing.account, load_account_times(connection, standing.account.account_id)
    found = SquareAccount(
        id=str(account.account_id),
        program_id=account.program_id,
        balance=account.balance,
        lifetime_points=account.lifetime_points,
        customer_id=account.customer_id,
        created_at=instant_text(times.created_at),
        updated_at=instant_text(times.updated_at),
    )
    if account.enrolled_at is not None:
        found["enrolled_at"] = instant_text(account.enrolled_at)
    if phone_number is not None:
        found["mapping"] = SquareMapping(phone_number=phone_number)
    if deadlines := _deadlines(standing):
        found["expiring_point_deadlines"] = deadlines
    return found


def _deadlines(standing: Standing) -> list[SquareDeadline]:
    """What of the balance expires when, the soonest first; none of an account without points to spend.

    They come to the balance, less the points that never expire. A deficit is paid by the points that end first.
    """
    available: dict[datetime | None, int] = defaultdict(int)
    for left in standing.points_left:
        if not left.is_pending:
            available[left.expires_at] += left.points
    owed, deadlines = standing.account.deficit, []
    for end in sorted(end for end in available if end is not None):
        paid = min(owed, available[end])
        owed -= paid
        if points := available[end] - paid:
            deadlines.append(SquareDeadline(points=points, expires_at=instant_text(end)))
    return deadlines
