"""What a storefront asks: whose account, what happened, what would this basket earn, which reward is within reach.

Each function reads one snapshot and changes nothing. Lots, the next tier and open authorizations are in a `Standing`.
"""

from datetime import datetime
from typing import NamedTuple

from core.domain.ledger import Account
from core.domain.value.commands import CUSTOMER, Whom
from core.messages.inbound.personal_names import hidden_name
from core.reading.accounts import HistoryEntry, load_history
from core.reading.catalogue import RewardOffer, load_offers
from core.reading.snapshot import Snapshot
from core.reading.standing import Standing, Standings, load_standings, require_named


def find_accounts(
    now: Snapshot, name: str, *, kind: str = CUSTOMER, program_id: str | None = None, salt: bytes | None = None
) -> list[Account]:
    """The accounts of this name, at least one, by program: one lookup, for who wants balance and tier alone.

    `kind` says what the name is: customer (all that the customer owns or may use), account (either of its ids), card,
    phone or email. The last two need the `salt` that the workers have. UnknownCustomerError, UnknownAccountError,
    UnknownProgramError; NoReferenceSaltError and UnusableNameError of phone and email.
    """
    return require_named(now, Whom(kind, hidden_name(kind, name, salt)), program_id)


def find_standings(
    now: Snapshot,
    name: str,
    *,
    kind: str = CUSTOMER,
    program_id: str | None = None,
    as_of: datetime | None = None,
    salt: bytes | None = None,
) -> Standings:
    """The same accounts with their lots, next tier, members, open authorizations and messages; or as of the past.

    Errors as of `find_accounts`, and NotOpenedYetError where no account was opened by `as_of`.
    """
    return load_standings(now, Whom(kind, hidden_name(kind, name, salt)), program_id, as_of)


class HistoryPage(NamedTuple):
    """Some of an account's entries."""

    entries: list[HistoryEntry]  #: the oldest of them first
    before: int | None  #: what asks for the page of those before them; None: there are none


def history_page(now: Snapshot, account: Account, entries_max: int = 50, *, before: int | None = None) -> HistoryPage:
    """The newest entries of the account, or those before an entry number that an earlier page has named.

    Numbers are for good: what is booked while somebody reads on moves no page.
    """
    through = account.sequence if before is None else min(account.sequence, before - 1)
    return page_of(load_history(now.connection, account.account_id, entries_max, through=through))


def page_of(entries: list[HistoryEntry]) -> HistoryPage:
    """These entries with what asks for those before them."""
    first = entries[0].sequence if entries else 1
    return HistoryPage(entries, first if first > 1 else None)


def rewards_of(now: Snapshot, standing: Standing) -> list[RewardOffer]:
    """The rewards of the account's program, in the order of its file, with how many points each is short of."""
    return list(load_offers(now.connection, standing.program, standing, now.as_of))
