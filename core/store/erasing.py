"""Erases a customer from every table that the map of personal data names. Numbers, hashes and keys stay right.

The caller holds the erasure's lock alone, so that nothing is received or posted meanwhile, and the accounts.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, Table

from core.domain.decision import Erasure
from core.domain.nameless import named_in, without_names, without_person
from core.domain.value.commands import LINKED
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.store import tables
from core.store.engine import run_bulk
from core.store.erasing_messages import find_messages, write_messages
from core.store.erasures import (
    ErasedAccount,
    append_erased_accounts,
    append_erasure,
    append_old_contents,
    content_key,
    count_erasure,
)
from core.store.outbox import PUBLISHED_THROUGH
from core.store.personal_data import ROWS
from core.store.personal_rows import PersonalRows
from core.store.proof.chain import ErasedWhy, erased_why, why_digest
from core.store.proof.invariants.contents import content_forms
from core.store.proof.seals import require_key, seal_again
from core.store.rows import Append, Shape, arrays, keys_of, unnested

_ORDER = ("source", "order_id", "program_id")
#: What is set of rows that stay.
WRITTEN: Mapping[Table, tuple[str, ...]] = {
    tables.orders: ("customer_id", "reference", "attributes", "customer_tags", "amendment"),
    tables.returns: ("customer_id", "reference"),
    tables.commands: ("business_hash", "answer"),
    tables.entries: ("why",),
    tables.dead_letter_actions: ("reason", "detail"),
    tables.repairs: ("reason",),
}


class Scrubbing(PersonalRows):
    """One customer's erasure, table by table, and what it has come to so far."""

    def __init__(self, connection: Connection, erasure: Erasure, salt: bytes, chain_key: bytes | None) -> None:
        """`salt` is the secret of what recognises late messages; `chain_key` is needed where there is a chain."""
        super().__init__(connection, erasure.customer_id, erasure.own)
        self.salt = salt
        self.names = {erasure.customer_id: erasure.token}
        self.token = erasure.token
        self._chain_key = chain_key
        self.rows: dict[str, int] = {}
        self.contents: dict[bytes, bytes | None] = {}  #: of messages, by which late ones are recognised

    def write(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Set what is written of rows of a table, which begin with their keys, and count them."""
        self.count(table, len(rows))
        if rows:
            keys, names = keys_of(table), WRITTEN[table]
            sets = ", ".join(f"{name} = k.{name}" for name in names)
            found = " AND ".join(f"t.{name} = k.{name}" for name in keys)
            columns = (*keys, *names)
            statement = f"UPDATE {table.name} t SET {sets} FROM {unnested(table, columns)} WHERE {found}"  # noqa: S608
            run_bulk(self.connection, statement, arrays(rows, len(columns)))

    def count(self, table: Table, rows: int) -> None:
        """Note in how many rows of a table the customer was named."""
        if rows:
            self.rows[table.name] = self.rows.get(table.name, 0) + rows

    def keep_content(self, kind: str, source: str, name: str, content: bytes, now: bytes | None = None) -> bytes:
        """Recognise a message from now on; `now` is the hash that its row has. Returns its key."""
        key = content_key(self.salt, kind, source, name, content)
        self.contents[key] = now
        return key

    def seal(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Seal rows as they are now, those that had a seal."""
        if rows and self._chain_key is not None:
            seal_again(self.connection, self._chain_key, table, rows)

    def without(self, data: Any, *, is_own: bool, keeps: frozenset[str] = frozenset()) -> Any:
        """The data without the customer."""
        return without_person(data, self.names, keeps=keeps) if is_own else without_names(data, self.names)


class Asking(NamedTuple):
    """The command that asks for an erasure."""

    source: str
    command_id: str
    digest: bytes  #: of its content
    inbox_id: int | None = None  #: None: it was not received, and is only tried


#: Posting finds all by keys, and soon; here whole tables are searched for the customer's id.
_WHOLE_TABLES = ("SET LOCAL enable_seqscan = on", "SET LOCAL statement_timeout = 0")


def erase_customer(
    connection: Connection, erasure: Erasure, asking: Asking, salt: bytes, chain_key: bytes | None
) -> Erasure:
    """Let nothing name the customer any more. Returns the erasure with the rows in which they were named.

    The message that asks for it counts for nothing, and is kept as it is where there are none. ChainKeyMissingError
    where there is a chain, and no key to seal what is left.
    """
    for setting in _WHOLE_TABLES:
        run_bulk(connection, setting)
    count_erasure(connection)
    work = Scrubbing(connection, erasure, salt, chain_key)
    require_key(connection, chain_key, erasure.own)
    _erase_details(work)
    orders = _erase_orders(work)
    _erase_returns(work)
    events = _erase_order_events(work, orders)
    commands = _erase_commands(work, ())
    letters = find_messages(work, orders, events, [row[0] for row in commands], asking.inbox_id)
    if not (work.rows or erasure.own or _may_use_accounts(work)):
        return erasure
    command_key = work.keep_content("command", *asking[:3])
    commands += _erase_commands(work, letters.commands)
    _erase_explanations(work, chain_key, [row[1] for row in commands])
    write_messages(work, letters)
    _erase_events(work)
    _erase_repairs(work)
    _erase_names(work)
    append_erasure(connection, erasure.token, erasure.customer_id, salt)
    append_old_contents(connection, work.contents)
    append_erased_accounts(
        connection, [ErasedAccount(each, erasure.token, each in erasure.closed) for each in erasure.own]
    )
    return erasure._replace(rows=work.rows, command_key=command_key)


def _may_use_accounts(work: Scrubbing) -> bool:
    statement = f"SELECT 1 FROM account_members t WHERE {ROWS['account_members']} LIMIT 1"  # noqa: S608  # our own words
    return bool(run_bulk(work.connection, statement, work.values))


def _erase_details(work: Scrubbing) -> None:
    for table in (tables.account_details, tables.account_references):
        statement = f"DELETE FROM {table.name} t WHERE {ROWS[table.name]} RETURNING 1"  # noqa: S608  # our own words
        work.count(table, len(run_bulk(work.connection, statement, work.values)))


def _erase_names(work: Scrubbing) -> None:
    """Let accounts be nobody's, and others' accounts be theirs alone."""
    connection, values = work.connection, {**work.values, "token": work.token}
    for table, statement in _NAMES:
        work.count(table, len(run_bulk(connection, f"{statement} RETURNING 1", values)))
    # Where their orders came to somebody else's account they may have had others of their own.
    run_bulk(connection, _PRIMARIES_LEFT, values)


_NAMES = (
    (tables.account_members, "DELETE FROM account_members t WHERE t.customer_id = %(customer_id)s"),
    (
        tables.members,
        "DELETE FROM members t WHERE t.customer_id = %(customer_id)s AND t.account_id <> ALL(%(own)s)",
    ),
    (tables.members, "UPDATE members t SET customer_id = %(token)s WHERE t.customer_id = %(customer_id)s"),
    (tables.accounts, "UPDATE accounts t SET customer_id = %(token)s WHERE t.customer_id = %(customer_id)s"),
)
_PRIMARIES_LEFT = """
INSERT INTO members (program_id, customer_id, account_id)
SELECT DISTINCT ON (program_id) program_id, customer_id, account_id FROM accounts
WHERE customer_id = %(token)s ORDER BY program_id, created_at, account_id
ON CONFLICT DO NOTHING
"""


def _erase_orders(work: Scrubbing) -> list[tuple[str, str, str]]:
    """The keys of the customer's orders, which are nobody's in particular then."""
    columns = ("customer_id", "reference_kind", "reference", "amendment", "business_hash")
    selected = [f"t.{name}" for name in (*_ORDER, *columns)]
    found = work.find(tables.orders, *selected, "t.seal IS NOT NULL", _form_of("orders"))
    changed = []
    for *key, customer_id, kind, reference, amendment, old_hash, _, _ in found:
        work.keep_content("fact", key[0], "", old_hash)
        named = work.names.get(customer_id, customer_id)
        changed.append((*key, named, work.token if kind in LINKED else reference, None, None, _amended(amendment)))
    work.write(tables.orders, changed)
    _hash_again(work, tables.orders, [(*row[:3], row[-1]) for row in found])
    work.seal(tables.orders, [tuple(row[:3]) for row in found if row[-2]])
    return [tuple(row[:3]) for row in found]


def _amended(amendment: Mapping[str, Any] | None) -> str | None:
    if amendment is None:
        return None
    return to_json({**amendment, "attributes": {}, "customer_tags": []}).decode()


def _erase_returns(work: Scrubbing) -> None:
    keys = keys_of(tables.returns)
    columns = [f"t.{name}" for name in (*keys, "customer_id", "reference_kind", "reference", "business_hash")]
    found = work.find(tables.returns, *columns, "t.seal IS NOT NULL", _form_of("returns"))
    changed = []
    for *key, customer_id, kind, reference, old_hash, _, _ in found:
        work.keep_content("fact", key[0], "", old_hash)
        named = work.names.get(customer_id, customer_id)
        changed.append((*key, named, work.token if kind in LINKED else reference))
    work.write(tables.returns, changed)
    _hash_again(work, tables.returns, [(*row[:3], row[-1]) for row in found])
    work.seal(tables.returns, [tuple(row[:3]) for row in found if row[-2]])


def _form_of(table: str) -> str:
    """SQL of which form of content a row's hash is of; null: of none, and then it is left as it is."""
    forms = enumerate(content_forms(table))
    return f"CASE {' '.join(f'WHEN t.business_hash = {form} THEN {number}' for number, form in forms)} END"


def _hash_again(work: Scrubbing, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Let rows have the hashes of what they say now: who changes them behind the worker's back is still seen."""
    keys = keys_of(table)
    cases = " ".join(f"WHEN {number} THEN {form}" for number, form in enumerate(content_forms(table.name)))
    found = " AND ".join(f"{table.name}.{name} = k.key_{name}" for name in keys)
    lists = ", ".join("%b::text[]" for _ in keys)
    statement = f"""
    UPDATE {table.name} SET business_hash = CASE k.form {cases} ELSE business_hash END
    FROM unnest({lists}, %b::integer[]) AS k({", ".join(f"key_{name}" for name in keys)}, form) WHERE {found}
    """  # noqa: S608  # our own words
    if rows:
        run_bulk(work.connection, statement, arrays(rows, len(keys) + 1))


#: What stands before content in its hash: of commands that move orders, their type.
_FORMS = ("", *(f"{COMMAND_PREFIX}account.{verb}\n" for verb in ("merge", "unmerge")))


def _erase_order_events(work: Scrubbing, orders: Sequence[tuple[str, str, str]]) -> list[int]:
    """What is kept of messages about orders. Returns the messages."""
    work.put_orders(orders)
    keys = keys_of(tables.order_events)
    columns = [f"t.{name}" for name in (*keys, "inbox_id", "business_hash")]
    found = work.find(tables.order_events, *columns, "t.content::text")
    changed: list[tuple[Any, ...]] = []
    for *key, inbox_id, old_hash, content in found:
        data = from_json(content)
        after = to_json(work.without(data, is_own=True)).decode()
        if after != content:
            forms = [form for form in _FORMS if sha256(f"{form}{content}".encode()).digest() == old_hash]
            new_hash = sha256(f"{forms[0]}{after}".encode()).digest() if forms else old_hash
            work.keep_content("fact", key[0], "", old_hash)
            changed.append((*key, key[4].replace(old_hash.hex(), new_hash.hex()), new_hash, after, inbox_id))
    _write_order_events(work, changed)
    return [row[-1] for row in changed]


def _write_order_events(work: Scrubbing, rows: Sequence[Sequence[Any]]) -> None:
    work.count(tables.order_events, len(rows))
    if rows:
        run_bulk(work.connection, _PUT_ORDER_EVENTS, arrays([row[:-1] for row in rows], 8))


_PUT_ORDER_EVENTS = """
UPDATE order_events t SET event_key = k.new_key, business_hash = k.business_hash, content = k.content::json
FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bytea[], %b::text[])
     AS k(source, order_id, program_id, kind, event_key, new_key, business_hash, content)
WHERE (t.source, t.order_id, t.program_id, t.kind, t.event_key)
      = (k.source, k.order_id, k.program_id, k.kind, k.event_key)
"""


def _erase_commands(work: Scrubbing, keys: Sequence[tuple[str, str]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Answers, and the hashes of what was asked. Without `keys` those that the map finds. Returns (message, answer)."""
    columns = ("t.source", "t.command_id", "t.inbox_id", "t.business_hash", "t.account_id", "t.answer")
    if keys:
        statement = f"SELECT {', '.join(columns)} FROM commands t JOIN {_KEYED} USING (source, command_id)"  # noqa: S608
        found = run_bulk(work.connection, statement, arrays(keys, 2))
    else:
        found = work.find(tables.commands, *columns)
    own = set(work.values["own"])
    changed, answers = [], []
    for source, command_id, inbox_id, old_hash, account_id, answer in found:
        is_own = account_id in own or bool(keys)
        if not is_own and work.names.keys().isdisjoint(named_in(answer)):
            continue
        key = content_key(work.salt, "command", source, command_id, old_hash)
        if old_hash not in work.contents:  # it has the key already, from before
            work.contents[key] = None
            left = to_json(work.without(answer, is_own=is_own)).decode()
            changed.append((source, command_id, key, left))
            if is_own or answer.get("acting_customer_id") in work.names:
                answers.append((inbox_id, answer))
    work.write(tables.commands, changed)
    return answers


_KEYED = unnested(tables.commands, ("source", "command_id"))
_APPEND_WHYS = Append(Shape(tables.erased_whys, ErasedWhy).new())


def _erase_explanations(work: Scrubbing, chain_key: bytes | None, answers: Sequence[Mapping[str, Any]]) -> None:
    """What entries say of why they are there. The chain covers digests of it, which stay; what makes them goes."""
    own = set(work.values["own"])
    told = [entry for answer in answers for entry in answer.get("entries", ())]
    entries = {(UUID(each["account_id"]), each["sequence"]) for each in told}
    accounts, sequences = arrays(sorted(entries), 2)
    salts: dict[UUID, bytes] = dict(row[:2] for row in run_bulk(work.connection, _SALTS, (list({*own, *accounts}),)))
    found = work.find(
        tables.entries, "t.account_id", "t.sequence", "t.why::text", "t.chain_hash IS NOT NULL", _IS_ERASED,
        accounts=accounts, sequences=sequences,
    )  # fmt: skip
    changed, kept = [], []
    for account_id, sequence, why, is_chained, is_erased in found:
        left = to_json(work.without(from_json(why), is_own=True, keeps=_TOLD_BY_US)).decode()
        is_changed = left != why
        if is_changed:
            changed.append((account_id, sequence, left))
        if is_chained and not is_erased and (is_changed or account_id in own):
            assert chain_key is not None
            kept.append(erased_why(chain_key, account_id, sequence, why_digest(salts[account_id], why), left))
    work.write(tables.entries, changed)
    _APPEND_WHYS.run(work.connection, kept)
    statement = f"DELETE FROM account_salts t WHERE {ROWS['account_salts']}"  # noqa: S608  # our own words
    run_bulk(work.connection, statement, work.values)


_SALTS = "SELECT account_id, salt FROM account_salts WHERE account_id = ANY(%b)"
_IS_ERASED = "EXISTS (SELECT 1 FROM erased_whys w WHERE (w.account_id, w.sequence) = (t.account_id, t.sequence))"
#: No words about a person in an explanation: what the program says there.
_TOLD_BY_US: frozenset[str] = frozenset()

#: Events in which `reason` is a code of ours.
_CODED = frozenset({"loyalty.balance.changed", "loyalty.tier.changed", "loyalty.message.parked"})


_IS_OPEN = f"t.outbox_id > {PUBLISHED_THROUGH.format(shard='t.account_shard')}"


def _erase_events(work: Scrubbing) -> None:
    """Events that were published, and those that still have to be: these leave in their turn, without the customer."""
    own = set(work.values["own"])
    changed = []
    for outbox_id, account_id, kind, body, is_open in work.find(
        tables.outbox, "t.outbox_id", "t.account_id", "t.type", "t.body", _IS_OPEN
    ):
        event = from_json(body)
        is_own = account_id in own
        if not is_own and work.names.keys().isdisjoint(named_in(event["data"])):
            continue
        keeps = frozenset({"reason"}) if kind in _CODED else frozenset()
        event.pop("tracestate", None)  # anything may stand in it
        left = to_json({**event, "data": work.without(event["data"], is_own=is_own, keeps=keeps)}).decode()
        changed.append((outbox_id, left, is_open))
    work.count(tables.outbox, len(changed))
    if changed:
        run_bulk(work.connection, _PUT_EVENTS, arrays(changed, 3))


# Where an answer still goes is kept until it has gone.
_PUT_EVENTS = """
UPDATE outbox t SET body = k.body, tracestate = NULL, reply_to = CASE WHEN k.is_open THEN t.reply_to END,
    correlation_id = CASE WHEN k.is_open THEN t.correlation_id END
FROM unnest(%b::bigint[], %b::text[], %b::boolean[]) AS k(outbox_id, body, is_open) WHERE t.outbox_id = k.outbox_id
"""


def _erase_repairs(work: Scrubbing) -> None:
    found = work.find(tables.repairs, "t.repair_id", "t.seal IS NOT NULL", "t.reason IS NOT NULL")
    work.write(tables.repairs, [(row[0], None) for row in found if row[2]])
    work.seal(tables.repairs, [(row[0],) for row in found if row[1] and row[2]])
