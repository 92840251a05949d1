"""Finds the rows that may say something of a customer, by the map of personal data."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table

from core.domain.subjects import order_subject
from core.domain.value.commands import CUSTOMER, LINKED
from core.store import tables
from core.store.engine import run_bulk
from core.store.personal_data import ROWS
from core.store.rows import arrays

OrderRow = tuple[str, str, str]  #: source, order_id, program_id

_WITH_MERGED = """
WITH RECURSIVE family AS (
    SELECT unnest(%s::uuid[]) AS account_id
    UNION
    SELECT a.account_id FROM family f JOIN accounts a ON a.merged_into = f.account_id
)
SELECT account_id FROM family
"""
_OF_ORDERS = """
WITH k AS (SELECT * FROM unnest(%b::text[], %b::text[], %b::text[]) AS k(source, order_id, program_id))
SELECT inbox_id FROM orders JOIN k USING (source, order_id, program_id)
UNION
SELECT r.inbox_id FROM refunds r
JOIN k ON (r.order_source, r.order_id, r.program_id) = (k.source, k.order_id, k.program_id)
UNION
SELECT inbox_id FROM order_events JOIN k USING (source, order_id, program_id)
"""
#: SQL: a message is about an account or an order of theirs, whether or not it names them.
IS_ABOUT_THEM = """
coalesce(t.inbox_id = ANY(%(inbox_ids)s) OR t.subject = ANY(%(subjects)s)
         OR (coalesce(t.subject_source, t.source), t.subject)
            IN (SELECT * FROM unnest(%(of_sources)s::text[], %(of_subjects)s::text[])), false)
"""


#: Lists in which the map looks for rows, and which are known only once others are found.
_FOUND_LATER = (
    "accounts", "sequences", "sources", "order_ids", "programs", "inbox_ids", "subjects", "of_sources", "of_subjects",
)  # fmt: skip


class PersonalRows:
    """The rows of one customer, table by table."""

    def __init__(self, connection: Connection, customer_id: str, account_ids: Sequence[UUID]) -> None:
        """`account_ids` are the customer's own; what was merged into these belongs to them."""
        self.connection = connection
        named = json.dumps(customer_id, ensure_ascii=False)
        own = [row[0] for row in run_bulk(connection, _WITH_MERGED, (list(account_ids),))]
        self.values: dict[str, Any] = {
            "customer_id": customer_id,
            "own": own,
            "linked": list(LINKED),
            "named": named,
            "named_bytes": named.encode(),
            "escaped_bytes": json.dumps(customer_id).encode(),
            **{name: [] for name in _FOUND_LATER},
        }
        #: Kinds and texts by which the accounts are found.
        self.linked: list[tuple[str, str]] = [
            (row[0], row[1]) for row in self.find(tables.account_references, "t.kind", "t.reference")
        ]

    def find(self, table: Table, *columns: str, **values: Any) -> list[Any]:
        """The rows of a table that may say something of the customer."""
        self.values |= values
        statement = f"SELECT {', '.join(columns)} FROM {table.name} t WHERE {ROWS[table.name]}"  # noqa: S608  # our own words
        return run_bulk(self.connection, statement, self.values)

    def run(self, statement: str) -> list[Any]:
        """What a statement finds that takes what is known of the customer."""
        return run_bulk(self.connection, statement, self.values)

    def put_orders(self, orders: Sequence[OrderRow]) -> None:
        """Take in which orders are theirs, so that what was reported of these is found."""
        self.values |= dict(zip(("sources", "order_ids", "programs"), arrays(orders, 3), strict=True))

    def find_messages(self, orders: Sequence[OrderRow], inbox_ids: Sequence[int], *columns: str) -> list[Any]:
        """Messages that name the customer, or are about these orders of theirs, or are these."""
        reported = run_bulk(self.connection, _OF_ORDERS, arrays(orders, 3))
        ids = {*inbox_ids, *(row[0] for row in reported)}
        names = [f"{CUSTOMER} {self.values['customer_id']}", *(f"{kind} {each}" for kind, each in self.linked)]
        keys = {key[:2] for key in orders}
        of_sources, of_orders = arrays([(source, order_subject(order_id)) for source, order_id in keys], 2)
        return self.find(
            tables.inbox, *columns,
            inbox_ids=sorted(ids), subjects=names, of_sources=of_sources, of_subjects=of_orders,
        )  # fmt: skip
