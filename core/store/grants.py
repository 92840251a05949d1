"""What a database role may do here: the worker's, which cannot rewrite the books, a reader's, a reporting tool's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from psycopg import sql
from sqlalchemy import Connection

from core.errors import DatabaseRoleTooStrongError, NoDatabaseRoleError, NotOwnerError
from core.store.engine import driver_connection, run_bulk
from core.store.report_views import REPORT_VIEWS
from core.store.surplus import Permission, Surplus, find_readable, find_surplus


class Allowed(NamedTuple):
    """What a role may do to one table beside reading it."""

    inserts: bool = False
    deletes: bool = False
    updates: tuple[str, ...] = ()  #: these columns; to lock a row takes one of them

    def with_more(self, more: "Allowed") -> "Allowed":
        """Both."""
        return Allowed(self.inserts or more.inserts, self.deletes or more.deletes, self.updates + more.updates)

    @property
    def privileges(self) -> tuple[str, ...]:
        """As GRANT has them."""
        updates = f"UPDATE ({', '.join(self.updates)})" if self.updates else ""
        named = ("SELECT", self.inserts and "INSERT", updates, self.deletes and "DELETE")
        return tuple(privilege for privilege in named if privilege)


_READ = Allowed()
_APPEND = Allowed(inserts=True)

#: What the roles of this release, and every command but `db`, need. What is entered in the books is never changed; only
#: what retention purges, and the link of a card or a member that a command ends, is ever deleted. Columns that may be
#: updated are those that some statement sets, and no others.
WORKER_GRANTS: Mapping[str, Allowed] = {
    "alembic_version": _READ,
    "schema_support": _READ,
    "programs": _APPEND,
    "program_changes": _APPEND,
    "inbox": Allowed(
        inserts=True,
        deletes=True,
        updates=(
            "source", "event_id", "variant", "type", "occurred_at", "shard", "subject", "is_subject", "content_hash",
            "settled", "state", "reason", "detail", "deliveries", "times_parked", "settled_at",
            "subject_source", "others_posted", "awaits", "reply_to", "correlation_id",
            "points_per_command_max", "points_per_day_max", "traceparent", "tracestate",
        ),
    ),
    "dead_letter_actions": Allowed(inserts=True, deletes=True),
    "accounts": Allowed(
        inserts=True,
        updates=(
            "sequence", "lots_opened", "balance", "pending", "reserved", "deficit", "lifetime_points",
            "qualifying_points", "qualifying_from", "tier_id", "tier_since", "tier_until", "tier_changes",
            "counted_until", "orders_posted", "orders_counted", "enrolled_at", "tier_held_until", "tier_warned_until",
            "status", "merged_into", "updated_at",
        ),
    ),
    "members": Allowed(inserts=True, deletes=True, updates=("account_id",)),
    "account_members": Allowed(inserts=True, deletes=True),
    "account_details": Allowed(inserts=True, updates=("business_hash", "metadata", "tags")),
    "account_references": Allowed(inserts=True, deletes=True),
    "entries": _APPEND,
    "account_salts": _APPEND,
    "erased_whys": _READ,
    "erasures": _READ,
    "erased_accounts": _READ,
    "erased_contents": _READ,
    "commands": _APPEND,
    "authorizations": Allowed(
        inserts=True, updates=("points_captured", "points_returned", "state", "told_at")
    ),
    "lots": Allowed(
        inserts=True,
        updates=(
            "points_granted", "points_remaining", "points_expired", "available_at", "expires_at", "is_pending",
            "points_excused", "expires_with",
        ),
    ),
    "shared_expiries": Allowed(inserts=True, updates=("expires_at", "extended_to", "is_over", "is_kept")),
    "dated_lots": _READ,
    "allocations": _APPEND,
    "tier_changes": _APPEND,
    "merges": _APPEND,
    "lot_moves": _APPEND,
    "orders": Allowed(
        inserts=True,
        updates=(
            "points_entitled", "points_excused", "points_shortfall", "qualifying_points", "qualifying_spend",
            "qualifying_orders", "qualifying_steps", "is_counted", "fulfilled_at", "cancelled_at", "amendment",
            "account_id", "shard", "tier_id", "sequence", "judgement", "seal",
        ),
    ),
    "order_payments": Allowed(
        inserts=True,
        updates=(
            "order_source", "order_id", "program_id", "share", "points_due", "points_excused", "points_shortfall",
        ),
    ),
    "refunds": Allowed(inserts=True, updates=("account_id",)),
    "order_events": Allowed(inserts=True, updates=("account_id",)),
    "returns": _APPEND,
    "usages": Allowed(inserts=True, updates=("points", "orders", "carried")),
    "source_days": Allowed(inserts=True, updates=("points",)),
    "budgets": Allowed(inserts=True, updates=("points", "orders")),
    "reminders": Allowed(inserts=True, deletes=True, updates=("points", "days_ahead", "number", "told_at")),
    "outbox": Allowed(inserts=True, deletes=True, updates=("correlation_id",)),  # its rows are only locked: purging
    "relay_positions": Allowed(inserts=True, updates=("published_through",)),
    "numbers": Allowed(updates=("next_number",)),
    "turns": Allowed(inserts=True, updates=("shard",)),  # its rows are only locked
    "posting_attempts": Allowed(inserts=True, updates=("attempts", "started_at")),
    "periodic_runs": Allowed(inserts=True, updates=("as_of", "finished_at", "result")),
    "retention": Allowed(inserts=True, updates=("purged_before", "seal")),
    "repairs": _APPEND,
    "liability_snapshots": _APPEND,
    "liability_lines": _APPEND,
    "activity_lines": _APPEND,
}  # fmt: skip
#: What a role needs beside that where it erases customers: words may go then, and names, and no number changes.
_ERASING: Mapping[str, Allowed] = {
    "account_details": Allowed(deletes=True),
    "account_salts": Allowed(deletes=True),
    "accounts": Allowed(updates=("customer_id",)),
    "members": Allowed(updates=("customer_id",)),
    "entries": Allowed(updates=("why",)),
    "erased_whys": _APPEND,
    "erasures": _APPEND,
    "erased_accounts": _APPEND,
    "erased_contents": _APPEND,
    "commands": Allowed(updates=("business_hash", "answer")),
    "orders": Allowed(updates=("customer_id", "reference", "attributes", "customer_tags", "business_hash")),
    "order_events": Allowed(updates=("event_key", "business_hash", "content")),
    "returns": Allowed(updates=("customer_id", "reference", "business_hash", "seal")),
    "inbox": Allowed(updates=("body", "signature")),
    "dead_letter_actions": Allowed(updates=("reason", "detail")),
    "outbox": Allowed(updates=("body", "reply_to", "correlation_id", "tracestate")),
    "repairs": Allowed(updates=("reason", "seal")),
    "numbers": Allowed(updates=("erasures",)),
}
ERASER_GRANTS: Mapping[str, Allowed] = {
    table: allowed.with_more(_ERASING.get(table, _READ)) for table, allowed in WORKER_GRANTS.items()
}
READER_GRANTS: Mapping[str, Allowed] = dict.fromkeys(WORKER_GRANTS, _READ)
#: All that a role might have been given something on.
_RELATIONS = [*WORKER_GRANTS, *REPORT_VIEWS]


class Grant(NamedTuple):
    """What the role may do to one table."""

    table: str
    privileges: tuple[str, ...]


def grant_role(connection: Connection, role: str, *, read_only: bool, erases: bool = False) -> list[Grant]:
    """Give `role` just what it needs here, and take away what it was given before; a second call changes nothing.

    With `erases` the worker's role may also erase customers.

    NoDatabaseRoleError if there is no such role, NotOwnerError unless we own the tables. DatabaseRoleTooStrongError if
    it could do more all the same, in whatever way (core.store.surplus); the caller's transaction is to be ended then.
    """
    allowed = READER_GRANTS if read_only else ERASER_GRANTS if erases else WORKER_GRANTS
    grants = [Grant(table, of_table.privileges) for table, of_table in allowed.items()]
    _grant(connection, role, grants)
    _require_no_surplus(role, find_surplus(connection, role, set(_permissions(allowed)), _RELATIONS))
    return grants


def may_erase(connection: Connection, role: str | None = None) -> bool:
    """Whether this role, ours if none is named, may erase customers."""
    statement = "SELECT has_column_privilege(coalesce(%s::name, current_user), 'entries', 'why', 'UPDATE')"
    return bool(run_bulk(connection, statement, (role,))[0][0])


def grant_views(connection: Connection, role: str) -> list[Grant]:
    """Let `role` read the views for reporting tools and nothing else here; otherwise as `grant_role`."""
    grants = [Grant(view, _READ.privileges) for view in REPORT_VIEWS]
    _grant(connection, role, grants)
    surplus = find_surplus(connection, role, (), _RELATIONS) or find_readable(connection, role, list(WORKER_GRANTS))
    _require_no_surplus(role, surplus)
    return grants


def _grant(connection: Connection, role: str, grants: Sequence[Grant]) -> None:
    """Give these privileges and take away every other one on our tables and views."""
    require_role(connection, role)
    _require_owner(connection)
    name = sql.Identifier(role)
    ((schema, database, connects, sees),) = run_bulk(
        connection,
        "SELECT current_schema(), current_database(), has_database_privilege(%s, current_database(), 'CONNECT'),"
        " has_schema_privilege(%s, current_schema(), 'USAGE')",
        (role, role),
    )
    statements = [
        sql.SQL("REVOKE CREATE ON SCHEMA {} FROM {}").format(sql.Identifier(schema), name),
        # A schema of its own could hide our tables from whoever has its name: search_path begins with "$user".
        sql.SQL("REVOKE CREATE ON DATABASE {} FROM {}").format(sql.Identifier(database), name),
    ]
    if not connects:
        statements.append(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), name))
    if not sees:
        statements.append(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), name))
    # Of the columns too: it takes away what was granted of each.
    statements += [sql.SQL("REVOKE ALL ON TABLE {} FROM {}").format(sql.Identifier(each), name) for each in _RELATIONS]
    for table, privileges in grants:
        given = sql.SQL(", ").join(map(sql.SQL, privileges))
        statements.append(sql.SQL("GRANT {} ON TABLE {} TO {}").format(given, sql.Identifier(table), name))
    for statement in statements:
        driver_connection(connection).execute(statement)


def _require_no_surplus(role: str, surplus: Sequence[Surplus]) -> None:
    if surplus:
        lines = (f"  It {found.could}.\n      {found.mend}" for found in surplus)
        raise DatabaseRoleTooStrongError(role=role, surplus="\n".join(lines))


def _permissions(allowed: Mapping[str, Allowed]) -> Iterator[Permission]:
    for table, of_table in allowed.items():
        if of_table.inserts:
            yield Permission("INSERT", table)
        if of_table.deletes:
            yield Permission("DELETE", table)
        for column in of_table.updates:
            yield Permission("UPDATE", table, column)


def require_role(connection: Connection, role: str) -> None:
    """Raise NoDatabaseRoleError unless the server has this role."""
    if not run_bulk(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)):
        quoted = '"' + role.replace('"', '""') + '"'
        raise NoDatabaseRoleError(role=role, quoted=quoted)


_OWNER = """
SELECT current_user, relowner::regrole::text FROM pg_class
WHERE oid = 'entries'::regclass AND NOT pg_has_role(relowner, 'USAGE')
"""


def _require_owner(connection: Connection) -> None:
    """Raise NotOwnerError where PostgreSQL would only warn, and grant nothing."""
    for user, owner in run_bulk(connection, _OWNER):
        raise NotOwnerError(user=user, owner=owner)
