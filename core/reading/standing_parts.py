"""Accounts with all that belongs to them, in one statement: who waits for an account waits for round trips, not rows.

The driver prepares what comes again. Of a statement beyond 4,096 bytes it keeps nothing: they have to stay below.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import Connection

from core.domain.ledger import Account
from core.domain.lots import Lot
from core.domain.members import Member, Role
from core.domain.orders.posted import Qualifying
from core.domain.value.authorizations import Authorization
from core.domain.value.commands import ACCOUNT, CUSTOMER, LINKED, Whom, told_reference
from core.reading.open_lots import LOTS, OPEN_LOTS
from core.reading.open_messages import (
    ABOUT_ORDERS,
    LETTERS_OF_CUSTOMER,
    LETTERS_OF_OWNER,
    AboutOrder,
    Letter,
    read_about_order,
    read_letter,
    sought_texts,
)
from core.store.account_names import drawn_id
from core.store.authorizations import AUTHORIZATIONS
from core.store.engine import run_bulk
from core.store.ledger import ACCOUNTS
from core.store.rows import gathered


class AccountParts(NamedTuple):
    """An account of the present, and what is read with it."""

    account: Account
    lots: list[Lot]  #: with points left, oldest first; one more than are listed, where there are more
    counted: Qualifying | None  #: what orders of the running period count; None: nothing, or no period was given
    authorizations: list[Authorization]  #: that hold points, the oldest first
    members: list[Member]  #: who may use it beside its owner, by their ids
    linked: list[tuple[str, str]]  #: by what else it is found: kind, and what is told of it
    about_orders: list[AboutOrder]
    letters: list[Letter]  #: the parked messages in which the customer's id stands


# By arrays, which are worked out once, where a join would sort what it has found. The account to which a customer's
# orders come stands first: what is said of their points is mostly about that.
_OF_CUSTOMER = """
FROM accounts a LEFT JOIN members m ON m.account_id = a.account_id AND m.customer_id = %(name)s
WHERE a.account_id = ANY(ARRAY(
    SELECT account_id FROM accounts WHERE customer_id = %(name)s
    UNION ALL SELECT account_id FROM account_members WHERE customer_id = %(name)s
)) AND (%(program_id)s::text IS NULL OR a.program_id = %(program_id)s)
ORDER BY a.program_id, m.account_id IS NULL, a.created_at, a.account_id
"""
_NAMED = """
FROM accounts a
WHERE a.account_id = ANY(ARRAY(
    SELECT account_id FROM account_references WHERE kind = %(kind)s AND reference = %(name)s
    UNION ALL SELECT %(drawn)s::uuid
)) AND (%(program_id)s::text IS NULL OR a.program_id = %(program_id)s)
ORDER BY a.program_id, a.account_id
"""
_COUNTED = """
SELECT json_build_array(sum(o.qualifying_points)::bigint, sum(o.qualifying_spend)::bigint,
                        sum(o.qualifying_orders)::bigint) FROM orders o
WHERE o.account_id = a.account_id AND o.occurred_at >= (%(periods)s::jsonb->a.program_id->>0)::timestamptz
  AND o.occurred_at < (%(periods)s::jsonb->a.program_id->>1)::timestamptz
"""
_AUTHORIZATIONS = f"""
SELECT {AUTHORIZATIONS.select_nested("h")} FROM authorizations h
WHERE a.reserved <> 0 AND h.account_id = a.account_id AND h.state = 'open'
"""  # noqa: S608  # our own names
_MEMBERS = "SELECT json_build_array(b.customer_id, b.role) FROM account_members b WHERE b.account_id = a.account_id"
_LINKED = f"""
SELECT json_build_array(r.kind, r.reference) FROM account_references r
WHERE r.account_id = a.account_id AND r.kind IN ({", ".join(f"'{kind}'" for kind in LINKED)})
"""  # noqa: S608  # our own words
_PARTS = (OPEN_LOTS, _COUNTED, _AUTHORIZATIONS, _MEMBERS, _LINKED, ABOUT_ORDERS)


def _statement(found: str, selected: str) -> str:
    return " ".join(f"SELECT {selected} {found}".split())


def _with_parts(letters: str) -> str:
    """All as one value: the driver takes longer for the columns of a row than for the JSON."""
    parts = ", ".join(gathered(part) for part in (*_PARTS, letters))
    return f"json_build_array({ACCOUNTS.select_nested('a')}, {parts})::text"


_ACCOUNTS_OF_CUSTOMER = _statement(_OF_CUSTOMER, ACCOUNTS.select("a"))
_NAMED_ACCOUNTS = _statement(_NAMED, ACCOUNTS.select("a"))
_PARTS_OF_CUSTOMER = _statement(_OF_CUSTOMER, _with_parts(LETTERS_OF_CUSTOMER))
_PARTS_OF_NAMED = _statement(_NAMED, _with_parts(LETTERS_OF_OWNER))


def load_called(connection: Connection, whom: Whom, program_id: str | None = None) -> list[Account]:
    """The accounts that a customer owns or is a member of, or to which another name leads; by program."""
    statement = _ACCOUNTS_OF_CUSTOMER if whom.kind == CUSTOMER else _NAMED_ACCOUNTS
    return [ACCOUNTS.read(row) for row in run_bulk(connection, statement, _asked(whom, program_id))]


def load_parts(connection: Connection, whom: Whom, program_id: str | None, periods: str) -> list[AccountParts]:
    """The same with what belongs to them; `periods` is JSON, by program the start and end in which orders count."""
    asked = _asked(whom, program_id) | {"periods": periods}
    if whom.kind == CUSTOMER:
        rows = run_bulk(connection, _PARTS_OF_CUSTOMER, asked | sought_texts(whom.id))
    else:
        rows = run_bulk(connection, _PARTS_OF_NAMED, asked)
    return [_read(from_json(text)) for (text,) in rows]


def _asked(whom: Whom, program_id: str | None) -> dict[str, Any]:
    drawn = drawn_id(whom.id) if whom.kind == ACCOUNT else None
    return {"kind": whom.kind, "name": whom.id, "drawn": drawn, "program_id": program_id}


def _read(row: Sequence[Any]) -> AccountParts:
    account, lots, [sums], authorizations, members, linked, about_orders, letters = row
    return AccountParts(
        ACCOUNTS.read_nested(account),
        [LOTS.read_nested(each) for each in lots],
        None if sums[0] is None else Qualifying(*sums),
        sorted((AUTHORIZATIONS.read_nested(each) for each in authorizations), key=_sequence),
        [Member(customer_id, Role(role)) for customer_id, role in sorted(members)],
        sorted((kind, told_reference(kind, reference)) for kind, reference in linked),
        [read_about_order(each) for each in about_orders],
        [read_letter(each) for each in letters],
    )


def _sequence(authorization: Authorization) -> int:
    return authorization.sequence
