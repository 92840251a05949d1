"""Messages that a customer would ask about and that are not in the ledger: waiting, about to be posted, parked."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import Connection

from core.domain.program.registry import ProgramRegistry
from core.domain.subjects import order_subject
from core.store.engine import run_bulk
from core.store.orders_elsewhere import OrderPair, elsewhere_of
from core.store.rows import gathered


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


class AboutOrder(NamedTuple):
    """A message about the id of one of the account's orders: perhaps another source's, or another program's."""

    pair: OrderPair
    state: str
    reason: str | None
    detail: str | None
    is_subject: bool  #: it brings an order into being, and so is about another one


class Letter(NamedTuple):
    """A parked message in which the customer's id stands."""

    inbox_id: int
    type: str
    source: str
    state: str
    reason: str | None
    received_at: datetime
    detail: str | None
    body: bytes


#: For a statement with an account `a`, as one JSON array each. By one index, whatever their state.
ABOUT_ORDERS = """
SELECT json_build_array(i.inbox_id, i.type, i.source, coalesce(i.subject_source, i.source), i.occurred_at,
    CASE i.state WHEN 'waiting' THEN i.settled::json->>'program_id' END, i.received_at, o.order_id, o.source,
    o.program_id, o.occurred_at, i.state, i.reason, i.detail, i.is_subject)
FROM orders o JOIN inbox i ON i.subject = 'order ' || o.order_id
WHERE o.account_id = a.account_id AND i.state IN ('received', 'waiting', 'dead') AND i.subject IS NOT NULL
  AND (i.state <> 'received' OR NOT i.is_subject)
"""
_INSTANTS = [OrderPair._fields.index(name) for name in ("occurred_at", "received_at", "ordered_at")]
#: So many of the newest dead letters are looked at, and bodies up to this size: somebody waits for the answer.
_LETTERS_MAX, _BODY_BYTES_MAX = 10_000, 65_536
_LETTER = """
i.inbox_id, coalesce(i.type, ''), i.source, i.state, i.reason, i.received_at, i.detail, encode(i.body, 'hex')
"""
# A letter that could not be read has no columns for what is in it.
_LETTERS = f"(SELECT * FROM inbox WHERE state = 'dead' ORDER BY inbox_id DESC LIMIT {_LETTERS_MAX}) AS i"  # noqa: S608  # our own names
#: The same for letters: of a customer who is known before the statement, by what `sought_texts` gives, or of the owner.
LETTERS_OF_CUSTOMER = f"""
SELECT json_build_array({_LETTER}) FROM {_LETTERS}
WHERE (position(%(plain)s::bytea IN body) > 0 OR position(%(escaped)s::bytea IN body) > 0)
  AND octet_length(body) <= {_BODY_BYTES_MAX}
"""  # noqa: S608  # our own names
LETTERS_OF_OWNER = f"""
SELECT json_build_array({_LETTER})
FROM (SELECT convert_to(to_json(a.customer_id)::text, 'UTF8') AS plain OFFSET 0) AS sought, {_LETTERS}
WHERE position(sought.plain IN body) > 0 AND octet_length(body) <= {_BODY_BYTES_MAX}
"""  # noqa: S608  # our own names
_OF_CUSTOMER = f"SELECT {gathered(LETTERS_OF_CUSTOMER)}::text"
_WAITING = """
SELECT i.inbox_id, i.type, i.source, w.order_id, i.state, i.reason, i.received_at, w.source, NULL, i.detail
FROM unnest(%b::text[], %b::text[], %b::text[]) AS w(source, subject, order_id)
JOIN inbox i ON coalesce(i.subject_source, i.source) = w.source AND i.subject = w.subject
WHERE i.state IN ('received', 'waiting') AND NOT i.is_subject
"""


def read_about_order(row: Sequence[Any]) -> AboutOrder:
    """Read one of `ABOUT_ORDERS`."""
    *pair, state, reason, detail, is_subject = row
    for place in _INSTANTS:
        pair[place] = pair[place] and datetime.fromisoformat(pair[place])
    return AboutOrder(OrderPair._make(pair), state, reason, detail, is_subject)


def read_letter(row: Sequence[Any]) -> Letter:
    """Read one of the letters."""
    inbox_id, event_type, source, state, reason, received_at, detail, body = row
    received = datetime.fromisoformat(received_at)
    return Letter(inbox_id, event_type, source, state, reason, received, detail, bytes.fromhex(body))


def sought_texts(customer_id: str) -> dict[str, bytes | None]:
    """As what a customer's id may stand in JSON; the second is None where both are the same."""
    plain, escaped = (json.dumps(customer_id, ensure_ascii=is_ascii).encode() for is_ascii in (False, True))
    return {"plain": plain, "escaped": None if escaped == plain else escaped}


def open_messages(
    connection: Connection, about_orders: Iterable[AboutOrder], parked: Sequence[OpenMessage], registry: ProgramRegistry
) -> list[OpenMessage]:
    """What is about the account's orders, or may be meant so; `parked` orders of the customer, and what waits for them.

    What may be meant so is about an order of the same id that has not come, of another source or in another program.
    """
    found: list[OpenMessage] = []
    pairs: list[OrderPair] = []
    for pair, state, reason, detail, is_subject in about_orders:
        if state == "waiting":
            pairs.append(pair)
        if pair.about_source == pair.order_source and (state == "dead" or not is_subject):
            place = (pair.inbox_id, pair.type, pair.source, pair.order_id)
            found.append(OpenMessage(*place, state, reason, pair.received_at, pair.order_source, detail=detail))
    for other in elsewhere_of(pairs, registry):
        order_source = other.to_add.get("order_source", other.source)
        found.append(OpenMessage(*other[:4], "waiting", None, other.received_at, order_source, other.to_add))
    found += parked
    if parked:
        keys = [(each.order_source, order_subject(each.order_id), each.order_id) for each in parked]
        columns = [list(column) for column in zip(*dict.fromkeys(keys), strict=True)]
        found += [OpenMessage(*row) for row in run_bulk(connection, _WAITING, columns)]
    by_number = {message.inbox_id: message for message in found}
    return [by_number[inbox_id] for inbox_id in sorted(by_number)]


def load_letters(connection: Connection, customer_id: str) -> list[Letter]:
    """The parked messages in which this id stands."""
    ((text,),) = run_bulk(connection, _OF_CUSTOMER, sought_texts(customer_id))
    return [read_letter(row) for row in from_json(text)]


def parked_orders(
    letters: Iterable[Letter], customer_id: str, registry: ProgramRegistry, program_id: str | None, now: datetime
) -> list[OpenMessage]:
    """Those that name the customer, as far as they say which order they are about; of one program, or all."""
    parked = []
    for inbox_id, event_type, source, state, reason, received_at, detail, body in letters:
        data = _data_of(body)
        order_id, named = data.get("order_id"), data.get("program_id")
        if customer_id not in data.values() or not isinstance(order_id, str) or not isinstance(named, str | None):
            continue
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
