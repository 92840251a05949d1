"""What a database role may do to our tables: the worker's, which cannot rewrite the books, and that of mere readers."""

from collections.abc import Mapping
from typing import NamedTuple

from psycopg import sql
from sqlalchemy import Connection

from core.errors import DatabaseRoleTooStrongError, NoDatabaseRoleError, NotOwnerError
from core.store.engine import driver_connection, run_bulk

_READ = ("SELECT",)
_APPEND = ("SELECT", "INSERT")
_CHANGE = ("SELECT", "INSERT", "UPDATE")

#: What the roles of this release, and every command but `db`, need. What is entered in the books is never changed; only
#: what retention purges is ever deleted.
WORKER_GRANTS: Mapping[str, tuple[str, ...]] = {
    "alembic_version": _READ,
    "schema_support": _READ,
    "programs": _APPEND,
    "inbox": (*_CHANGE, "DELETE"),
    "dead_letter_actions": (*_APPEND, "DELETE"),
    "accounts": _CHANGE,
    "members": _APPEND,
    "account_references": _APPEND,
    "entries": _APPEND,
    "lots": _CHANGE,
    "allocations": _APPEND,
    "tier_changes": _APPEND,
    "orders": _CHANGE,
    "refunds": _APPEND,
    "order_events": _APPEND,
    "usages": _CHANGE,
    "budgets": _CHANGE,
    "reminders": (*_CHANGE, "DELETE"),
    "outbox": (*_CHANGE, "DELETE"),
    "numbers": ("SELECT", "UPDATE"),
    "turns": _CHANGE,
    "posting_attempts": _CHANGE,
    "periodic_runs": _CHANGE,
    "retention": _CHANGE,
    "repairs": _APPEND,
}
READER_GRANTS: Mapping[str, tuple[str, ...]] = dict.fromkeys(WORKER_GRANTS, _READ)

_LIMITED = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")


class Grant(NamedTuple):
    """What the role may do to one table."""

    table: str
    privileges: tuple[str, ...]


def grant_role(connection: Connection, role: str, *, read_only: bool) -> list[Grant]:
    """Give `role` just what it needs here, and take away what it was given before; a second call changes nothing.

    NoDatabaseRoleError if there is no such role, NotOwnerError unless we own the tables. DatabaseRoleTooStrongError if
    it could do more all the same, as the owner of the tables or a superuser, or through another role or PUBLIC; the
    caller's transaction is to be ended then.
    """
    require_role(connection, role)
    _require_owner(connection)
    grants = [Grant(*pair) for pair in (READER_GRANTS if read_only else WORKER_GRANTS).items()]
    name = sql.Identifier(role)
    ((schema, database, connects, sees),) = run_bulk(
        connection,
        "SELECT current_schema(), current_database(), has_database_privilege(%s, current_database(), 'CONNECT'),"
        " has_schema_privilege(%s, current_schema(), 'USAGE')",
        (role, role),
    )
    statements = [sql.SQL("REVOKE CREATE ON SCHEMA {} FROM {}").format(sql.Identifier(schema), name)]
    if not connects:
        statements.append(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), name))
    if not sees:
        statements.append(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), name))
    for table, privileges in grants:
        place = sql.Identifier(table)
        allowed = sql.SQL(", ").join(map(sql.SQL, privileges))
        statements += [
            sql.SQL("REVOKE ALL ON TABLE {} FROM {}").format(place, name),
            sql.SQL("GRANT {} ON TABLE {} TO {}").format(allowed, place, name),
        ]
    for statement in statements:
        driver_connection(connection).execute(statement)
    surplus = _surplus(connection, role, grants)
    if surplus:
        raise DatabaseRoleTooStrongError(role=role, surplus=", ".join(surplus))
    return grants


def require_role(connection: Connection, role: str) -> None:
    """Raise NoDatabaseRoleError unless the server has this role."""
    if not run_bulk(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)):
        raise NoDatabaseRoleError(role=role)


_OWNER = """
SELECT current_user, relowner::regrole::text FROM pg_class
WHERE oid = 'entries'::regclass AND NOT pg_has_role(relowner, 'USAGE')
"""


def _require_owner(connection: Connection) -> None:
    """Raise NotOwnerError where PostgreSQL would only warn, and grant nothing."""
    for user, owner in run_bulk(connection, _OWNER):
        raise NotOwnerError(user=user, owner=owner)


_OWNS = """
SELECT bool_or(pg_has_role(%s, relowner, 'MEMBER')), has_schema_privilege(%s, current_schema(), 'CREATE')
FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%b)
"""
_HELD = """
SELECT t.name, p.name FROM unnest(%b::text[]) AS t(name), unnest(%b::text[]) AS p(name)
WHERE has_table_privilege(%s, quote_ident(t.name), p.name)
"""


def _surplus(connection: Connection, role: str, grants: list[Grant]) -> list[str]:
    """What the role can do beyond `grants`, in words."""
    tables = [grant.table for grant in grants]
    ((owns, creates),) = run_bulk(connection, _OWNS, (role, role, tables))
    if owns:
        return ["it owns them, is a member of their owner, or is a superuser"]
    held = set(run_bulk(connection, _HELD, (tables, list(_LIMITED), role)))
    granted = {(grant.table, privilege) for grant in grants for privilege in grant.privileges}
    on_tables = [f"{privilege} on {table}" for table, privilege in sorted(held - granted)]
    return [*(["CREATE in the schema"] if creates else []), *on_tables]
