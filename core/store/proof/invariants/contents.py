"""Invariants 4 and 6: what shops said is still what they said, as the hashes of their messages show.

A business hash is of a message's data in their one form (`core.messages.inbound.reading`), which is put together here
again from the columns. Whether a message named its program is not kept, and of fulfilments and the like not whether
they came from the order's own source: both forms are right.
"""

from itertools import product

from core.domain.value.commands import LINKED
from core.store.proof.invariants.check import Check


def _member(key: str, value: str, before: str = ",") -> str:
    """Parts for concat, which leaves out what is null: a key with its value, a column that holds JSON or its text."""
    return f"""'{before}"{key}":' || {value}"""


def _text(key: str, column: str | None = None, before: str = ",") -> str:
    return _member(key, f"to_json({column or key})::text", before)


#: Of a named account the customer is its owner, of whom the message says nothing.
_WHOSE = (
    _text("customer_id", "CASE WHEN reference IS NULL THEN customer_id END"),
    _text("account_id", "CASE WHEN reference_kind = 'account' THEN reference END"),
    *(_text(kind, f"CASE WHEN reference_kind = '{kind}' THEN reference END") for kind in LINKED),
)
_MEMBERS = {
    "orders": (
        _text("order_id", before="{"),
        *_WHOSE,
        "{program}",
        _text("currency"),
        _text("rate", "rate::text"),
        _member("lines", "lines"),
        _text("points_paid", "nullif(points_paid, 0)::text"),
        _text("points_authorization_id"),
        _text("points_command_id"),
        _text("points_command_source"),
        _member("attributes", "attributes"),
        _member("customer_tags", "customer_tags"),
    ),
    "refunds": (
        _text("refund_id", before="{"),
        _text("order_id"),
        _text("order_source", "nullif(order_source, source)"),
        "{program}",
        _text("currency"),
        _member("lines", "lines"),
        _text("paid", "paid::text"),
        _text("net", "net::text"),
        _member("full", "nullif(is_full, false)"),
    ),
    "returns": (
        _text("return_id", before="{"),
        *_WHOSE,
        "{program}",
        _text("currency"),
        _text("rate", "rate::text"),
        _member("lines", "lines"),
    ),
    "order_events": (_text("order_id", before="{"), "{order_source}", "{program}"),
}
#: Members that a message may have had or not.
_UNKEPT = {"{program}": _text("program_id"), "{order_source}": _text("order_source", "source")}
_WHATS = {
    "orders": "concat('order ', order_id)",
    "refunds": "concat('order ', order_id, ': its refund ', refund_id)",
    "returns": "concat('return ', return_id)",
    "order_events": "concat('order ', order_id, ': its message that it was ', kind)",
}


#: Of a command the hash is of its type too.
_OF_COMMAND = "sha256(convert_to(concat('loyalty.command.account.{}', E'\\n', content::text), 'UTF8'))"
_CONTENT = "sha256(convert_to(content::text, 'UTF8'))"


def content_forms(table: str) -> list[str]:
    """SQL of the hashes that the columns of a table's row give: one for each form that its message may have had."""
    unkept = {name: ("NULL", text) for name, text in _UNKEPT.items() if name in _MEMBERS[table]}
    forms = []
    for texts in product(*unkept.values()):
        chosen = dict(zip(unkept, texts, strict=True))
        members = (chosen.get(member, member) for member in _MEMBERS[table])
        forms.append(f"sha256(convert_to(concat({', '.join(members)}, '}}'), 'UTF8'))")
    return forms


def _unlike(table: str, condition: str) -> str:
    """The rows of a table that are not what their hashes are of."""
    tests = []
    for digest in content_forms(table):
        if table == "order_events":
            tests.append(f"business_hash <> CASE WHEN content IS NULL THEN {digest} ELSE {_CONTENT} END")
        else:
            tests.append(f"business_hash <> {digest}")
    if table == "order_events":
        tests += [f"business_hash <> {_OF_COMMAND.format(command)}" for command in ("merge", "unmerge")]
    return f"""
        SELECT account_id, format('%s of %s is not what its hash is of', {_WHATS[table]}, source)
        FROM {table}
        WHERE account_id {condition} AND {" AND ".join(tests)}
        """  # noqa: S608  # our own words


def _unlike_anywhere(condition: str) -> str:
    return " UNION ALL ".join(_unlike(table, condition) for table in _MEMBERS)


#: As Python writes an instant, which is part of the hash of a message.
_OCCURRED_AT = """
concat(to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'),
       nullif(to_char(occurred_at AT TIME ZONE 'UTC', '.US'), '.000000'), '+00:00')"""

CONTENTS = (
    Check(
        4,
        "orders, refunds and the like are what their hashes are of",
        _unlike_anywhere("IS NOT NULL"),
        is_of_facts=True,
    ),
    Check(
        4,
        "guests' orders and what is reported of them are what their hashes are of",
        _unlike_anywhere("IS NULL"),
        is_global=True,
    ),
    Check(
        4,
        "an order is fulfilled and cancelled when its messages say so",
        """
        SELECT o.account_id, format('order %s of %s: fulfilled at %s, cancelled at %s, but its messages say %s, %s',
                                    o.order_id, o.source, coalesce(o.fulfilled_at::text, 'no time'),
                                    coalesce(o.cancelled_at::text, 'no time'),
                                    coalesce(f.occurred_at::text, 'no time'), coalesce(c.occurred_at::text, 'no time'))
        FROM orders o
        LEFT JOIN (SELECT * FROM order_events WHERE kind = 'fulfilled' AND event_key = '') f
             USING (source, order_id, program_id)
        LEFT JOIN (SELECT * FROM order_events WHERE kind = 'cancelled' AND event_key = '') c
             USING (source, order_id, program_id)
        WHERE (o.fulfilled_at, o.cancelled_at) IS DISTINCT FROM (f.occurred_at, c.occurred_at)
        """,
        is_of_facts=True,
    ),
    Check(
        6,
        "a posted message is of the time and the source of what it reported",
        """
        SELECT p.account_id, format('%s %s of %s at %s names message %s, which is of %s at %s, about %s of %s', p.what,
                                    p.id, p.source, p.occurred_at, inbox_id, i.source,
                                    coalesce(i.occurred_at::text, '-'), coalesce(i.subject, '-'),
                                    coalesce(i.subject_source, i.source))
        FROM inbox i
        JOIN (SELECT 'order' AS what, order_id AS id, source AS order_source, 'order ' || order_id AS subject, source,
                     inbox_id, occurred_at, account_id FROM orders
              UNION ALL SELECT 'refund', refund_id, order_source, 'order ' || order_id, source, inbox_id, occurred_at,
                               account_id FROM refunds
              UNION ALL SELECT 'return', return_id, source, 'return ' || return_id, source, inbox_id, occurred_at,
                               account_id FROM returns
              UNION ALL SELECT 'command', command_id, NULL, NULL, source, inbox_id, occurred_at, account_id
                               FROM commands
              -- Whose message it was is not kept of these.
              UNION ALL SELECT kind || ' order', order_id, source, 'order ' || order_id, NULL, inbox_id, occurred_at,
                               account_id FROM order_events WHERE kind NOT IN ('moved_away', 'moved_in')) AS p
             USING (inbox_id)
        WHERE (coalesce(i.subject_source, i.source), i.occurred_at, i.subject)
              IS DISTINCT FROM (coalesce(p.order_source, i.subject_source, i.source), p.occurred_at,
                                coalesce(p.subject, i.subject))
           OR i.source <> p.source
        """,
        is_global=True,
    ),
    Check(
        6,
        "what is still to be posted is what came",
        f"""
        SELECT NULL::uuid, format('message %s (%s %s): its settled data, type and time are not what its hash is of',
                                  inbox_id, source, event_id)
        FROM inbox
        WHERE state IN ('received', 'waiting')
          AND content_hash IS DISTINCT FROM
              sha256(convert_to(concat(settled, E'\\n', type, E'\\n', {_OCCURRED_AT}), 'UTF8'))
        """,  # noqa: S608  # our own words
        is_global=True,
    ),
)
