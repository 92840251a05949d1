"""All that is held of one customer, for the customer: by the map of personal data, without what is others'.

Left out are our own numbers (shards, hashes, seals), who worked here by hand, and whatever names another customer: of a
transfer the other side, of a shared account its members.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import Connection, Table

from core.domain.nameless import CUSTOMER_FIELDS, CUSTOMER_LISTS
from core.domain.value.commands import told_reference
from core.store import tables
from core.store.members import load_persons
from core.store.personal_data import COLUMNS, PERSONAL, ROWS, Holds
from core.store.personal_rows import IS_ABOUT_THEM, OrderRow, PersonalRows

#: What stands in the place of another customer's id.
ANOTHER = "another customer"


class HeldRows(NamedTuple):
    """What one table holds of a customer."""

    table: str
    title: str
    rows: list[dict[str, Any]]


class CustomerData(NamedTuple):
    """All that is held of a customer."""

    customer_id: str
    as_of: datetime
    places: list[HeldRows]  #: those that hold something


class Told(NamedTuple):
    """What is told of a table."""

    table: Table
    title: str
    columns: tuple[str, ...]
    order_by: str


def _told(table: Table, title: str, columns: str, order_by: str) -> Told:
    return Told(table, title, tuple(columns.split()), order_by)


#: In the order in which they are told. What the map calls personal and is not here, the test of this module says why.
TOLD: Sequence[Told] = (
    _told(
        tables.accounts,
        "Accounts",
        "account_id own_account_id program_id customer_id status balance pending reserved lifetime_points tier_id"
        " tier_since enrolled_at created_at",
        "created_at",
    ),
    _told(tables.account_details, "Kept with the accounts", "account_id metadata tags", "account_id"),
    _told(tables.account_references, "What the accounts are found by", "account_id kind reference", "kind"),
    _told(tables.account_members, "Accounts of others that may be used", "account_id role", "account_id"),
    _told(
        tables.orders,
        "Orders",
        "source order_id program_id occurred_at customer_id reference_kind reference currency lines points_paid"
        " attributes customer_tags amendment points_entitled tier_id fulfilled_at cancelled_at",
        "occurred_at",
    ),
    _told(
        tables.order_events,
        "What else was reported of orders",
        "source order_id kind occurred_at content",
        "occurred_at",
    ),
    _told(
        tables.refunds,
        "Refunds",
        "source refund_id order_id occurred_at is_full currency paid net lines points_taken",
        "occurred_at",
    ),
    _told(
        tables.returns,
        "Returns without a receipt",
        "source return_id occurred_at reference_kind reference currency lines points_taken",
        "occurred_at",
    ),
    _told(
        tables.entries,
        "Entries of the accounts",
        "account_id sequence kind occurred_at points pending_change reserved_change balance_after order_id refund_id"
        " return_id command_id why",
        "account_id, t.sequence",
    ),
    _told(
        tables.lots,
        "Points and when they end",
        "account_id lot_number origin_kind origin_id origin_at points_granted points_remaining points_expired"
        " available_at expires_at",
        "account_id, t.lot_number",
    ),
    _told(
        tables.tier_changes,
        "Tiers",
        "account_id change_number previous_tier_id tier_id effective_at reason",
        "account_id, t.change_number",
    ),
    _told(
        tables.authorizations,
        "Points that were reserved, and rewards",
        "account_id kind authorization_id reward_id points_authorized points_captured points_returned state expires_at",
        "authorization_id",
    ),
    _told(tables.usages, "What was had of limits", "account_id name period points orders", "name"),
    _told(tables.reminders, "Reminders of points that expire", "account_id expires_at points told_at", "expires_at"),
    _told(tables.repairs, "Changes by hand", "account_id subject reason applied_at", "applied_at"),
    _told(tables.commands, "Commands", "source command_id type occurred_at code", "occurred_at"),
    _told(tables.inbox, "Messages as they came", "source event_id type received_at state body", "inbox_id"),
    _told(tables.dead_letter_actions, "What was done about messages", "inbox_id action reason acted_at", "action_id"),
    _told(tables.outbox, "Events that were told", "type created_at body", "outbox_id"),
)
_OWN = "t.account_id = ANY(%(own)s)"
#: Where others' rows may name the customer too, these alone are told.
_OWN_ALONE = {"entries": _OWN, "commands": _OWN, "outbox": _OWN, "order_events": f"({_OWN} OR t.account_id IS NULL)"}


def load_customer_data(connection: Connection, customer_id: str, as_of: datetime) -> CustomerData | None:
    """All that is held of a customer, at least something; None where nothing is. `as_of` is when it is read."""
    account_ids = load_persons(connection, [customer_id])[customer_id]
    statement = "SELECT account_id FROM accounts t WHERE t.customer_id = %(customer_id)s"
    rows = PersonalRows(connection, customer_id, ())
    own = [row[0] for row in rows.run(statement)] if account_ids else []
    rows = PersonalRows(connection, customer_id, own)
    orders: list[OrderRow] = [
        (row[0], row[1], row[2]) for row in rows.find(tables.orders, "t.source", "t.order_id", "t.program_id")
    ]
    rows.put_orders(orders)
    places = [HeldRows(told.table.name, told.title, _rows_of(rows, told, orders)) for told in TOLD]
    held = [place for place in places if place.rows]
    return CustomerData(customer_id, as_of, held) if held else None


def _rows_of(rows: PersonalRows, told: Told, orders: Sequence[OrderRow]) -> list[dict[str, Any]]:
    name = told.table.name
    selected = [f"t.{column}" for column in told.columns]
    if name == "inbox":
        asked = rows.run(f"SELECT inbox_id FROM commands t WHERE {_OWN}")  # noqa: S608  # our own words
        found = rows.find_messages(orders, [row[0] for row in asked], *selected, IS_ABOUT_THEM)
        found = [row[:-1] for row in found if row[-1] or _is_named(rows, row)]
        found.sort(key=lambda row: row[told.columns.index("received_at")])
    else:
        condition = ROWS.get(name, _OWN)
        if name in _OWN_ALONE:
            condition = f"({condition}) AND {_OWN_ALONE[name]}"
        found = rows.run(f"SELECT {', '.join(selected)} FROM {name} t WHERE {condition} ORDER BY t.{told.order_by}")  # noqa: S608
    return [_told_row(rows, told, row) for row in found]


def _is_named(rows: PersonalRows, row: Sequence[Any]) -> bool:
    """Whether a message that is not about an account of theirs is theirs all the same: an order of nobody's, say."""
    data = _json(bytes(row[-2]))
    said = data.get("data") if isinstance(data, Mapping) else None
    return isinstance(said, Mapping) and said.get("customer_id") == rows.values["customer_id"]


def _told_row(rows: PersonalRows, told: Told, row: Sequence[Any]) -> dict[str, Any]:
    named = dict(zip(told.columns, row, strict=True))
    kind = named.get("kind") or named.get("reference_kind")
    kinds = COLUMNS[told.table.name]
    result = {}
    for name, value in named.items():
        if value is None:
            continue
        if kinds[name] is Holds.REFERENCE and kind is not None:
            result[name] = told_reference(kind, value)
        elif kinds[name] is Holds.RECEIVED:
            result[name] = _received(rows, bytes(value))
        elif kinds[name] in PERSONAL:
            result[name] = _without_others(from_json(value) if name == "body" else value, rows.values["customer_id"])
        else:
            result[name] = value
    return result


def _received(rows: PersonalRows, body: bytes) -> Any:
    """A message as its sender wrote it; as text where it is no JSON."""
    data = _json(body)
    return body.decode(errors="replace") if data is None else _without_others(data, rows.values["customer_id"])


def _json(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError:
        return None


def _without_others(value: Any, customer_id: str) -> Any:
    """The same without whom it names besides the customer, and who gave a command by hand."""
    if isinstance(value, Mapping):
        return {
            field: _field(field, part, customer_id)
            for field, part in value.items()
            if field not in {"by", "members", "accounts"}
        }
    if isinstance(value, list):
        return [_without_others(part, customer_id) for part in value]
    return value


def _field(field: str, part: Any, customer_id: str) -> Any:
    if field in CUSTOMER_FIELDS and isinstance(part, str):
        return part if part == customer_id else ANOTHER
    if field in CUSTOMER_LISTS and isinstance(part, list):
        return [each if each == customer_id else ANOTHER for each in part]
    return _without_others(part, customer_id)
