"""Messages that a customer would ask about and that are not in the ledger: waiting, about to be posted, parked."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import Connection

from core.domain.ledger import Account
from core.domain.program.registry import ProgramRegistry
from core.domain.subjects import order_subject
from core.store.engine import database_now, run_bulk
from core.store.orders_elsewhere import account_orders_elsewhere


class OpenMessage(NamedTuple):
    """A message about one of the account's orders, or an order of its customer, that is not in the ledger."""

    inbox_id: int
    type: str  #: such as order.refunded
    source: str
    order_id: str
    state: str  #: received, waiting or dead
    reason: str | None
    received_at: datetime
    order_source: str  #: of the order that it is about
    to_add: Mapping[str, str] | None = None  #: to its data, for it to find this order; None: it finds it as it is
    detail: str | None = None  #: what is wrong with a parked one, and how to mend it


_COLUMNS = "i.inbox_id, i.type, i.source, o.order_id, i.state, i.reason, i.received_at, o.source, NULL, i.detail"
# Two halves, since each has an index of its own and the whole has none.
_OF_ORDERS = f"""
SELECT {_COLUMNS}
FROM orders o JOIN inbox i ON coalesce(i.subject_source, i.source) = o.source AND i.subject = 'order ' || o.order_id
WHERE o.account_id = %s AND i.state IN ('received', 'waiting') AND NOT i.is_subject
UNION ALL
SELECT {_COLUMNS}
FROM orders o JOIN inbox i ON coalesce(i.subject_source, i.source) = o.source AND i.subject = 'order ' || o.order_id
WHERE o.account_id = %s AND i.state = 'dead'
ORDER BY inbox_id
"""  # noqa: S608  # our own names
#: So many of the newest dead letters are looked at, and bodies up to this size: somebody waits for the answer.
_LETTERS_MAX, _BODY_BYTES_MAX = 10_000, 65_536
# A letter that could not be read has no columns for what is in it.
_OF_CUSTOMER = f"""
SELECT inbox_id, coalesce(type, ''), source, state, reason, received_at, detail, body FROM (
    SELECT * FROM inbox WHERE state = 'dead' ORDER BY inbox_id DESC LIMIT {_LETTERS_MAX}
) AS i
WHERE octet_length(body) <= {_BODY_BYTES_MAX}
  AND (position(%b::bytea IN body) > 0 OR position(%b::bytea IN body) > 0)
"""  # noqa: S608  # our own names
_WAITING = """
SELECT i.inbox_id, i.type, i.source, w.order_id, i.state, i.reason, i.received_at, w.source, NULL, i.detail
FROM unnest(%b::text[], %b::text[], %b::text[]) AS w(source, subject, order_id)
JOIN inbox i ON coalesce(i.subject_source, i.source) = w.source AND i.subject = w.subject
WHERE i.state IN ('received', 'waiting') AND NOT i.is_subject
"""


def load_open_messages(
    connection: Connection, account: Account, customer_id: str, registry: ProgramRegistry
) -> list[OpenMessage]:
    """What is about the account's orders, or may be meant so; parked orders of the customer, and what waits for them.

    What may be meant so is about an order of the same id that has not come, of another source or in another program.
    """
    account_id = account.account_id
    found = [OpenMessage(*row) for row in run_bulk(connection, _OF_ORDERS, (account_id, account_id))]
    for other in account_orders_elsewhere(connection, account_id, registry):
        order_source = other.to_add.get("order_source", other.source)
        found.append(OpenMessage(*other[:4], "waiting", None, other.received_at, order_source, other.to_add))
    parked = parked_orders(connection, customer_id, registry, account.program_id)
    found += parked
    if parked:
        keys = [(each.order_source, order_subject(each.order_id), each.order_id) for each in parked]
        columns = [list(column) for column in zip(*dict.fromkeys(keys), strict=True)]
        found += [OpenMessage(*row) for row in run_bulk(connection, _WAITING, columns)]
    by_number = {message.inbox_id: message for message in found}
    return [by_number[inbox_id] for inbox_id in sorted(by_number)]


def parked_orders(
    connection: Connection, customer_id: str, registry: ProgramRegistry, program_id: str | None
) -> list[OpenMessage]:
    """Parked messages that name the customer, as far as they say which order they are about; of one program, or all."""
    texts = [json.dumps(customer_id, ensure_ascii=is_ascii).encode() for is_ascii in (False, True)]
    now = database_now(connection)
    parked = []
    for *values, body in run_bulk(connection, _OF_CUSTOMER, texts):
        data = _data_of(body)
        order_id, named = data.get("order_id"), data.get("program_id")
        if customer_id not in data.values() or not isinstance(order_id, str) or not isinstance(named, str | None):
            continue
        inbox_id, event_type, source, state, reason, received_at, detail = values
        if program_id is None or registry.resolve(named, source, now) == program_id:
            parked.append(
                OpenMessage(inbox_id, event_type, source, order_id, state, reason, received_at, source, None, detail)
            )
    return parked


def _data_of(body: bytes) -> Mapping[str, Any]:
    """The data of an event that may be no right one; empty where there are none."""
    try:
        event = from_json(body)
    except ValueError:
        return {}
    data = event.get("data") if isinstance(event, dict) else None
    return data if isinstance(data, dict) else {}
