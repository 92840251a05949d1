"""What a database role could come to beyond what it is granted: the server is asked, by every way that it knows.

A role can do what is granted to it, to PUBLIC, and to every role that it is a member of: also without INHERIT, since
SET ROLE (or, with ADMIN, a grant to itself) is a statement away. It can do anything to what it owns, call functions
that run as their owner, and write through views that do.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from psycopg import sql
from sqlalchemy import Connection

from core.store.engine import driver_connection, run_bulk

_PUBLIC = "public"
_ON_TABLES = ("DELETE", "TRUNCATE", "TRIGGER")
_ON_COLUMNS = ("INSERT", "UPDATE", "REFERENCES")
#: VACUUM, REINDEX and LOCK TABLE; a privilege of its own since PostgreSQL 17.
_MAINTAIN, _MAINTAIN_SINCE = "MAINTAIN", 170_000
_NAMES_SHOWN_MAX = 3

#: What needs no grant. CREATEDB is not among them: it reaches no database that is there already.
_ATTRIBUTES = {
    "SUPERUSER": "is a superuser",
    "CREATEROLE": "may make roles, and before PostgreSQL 16 join any other",
    "BYPASSRLS": "is not held by row security",
    "REPLICATION": "can copy the whole server, passwords included",
}
#: Predefined roles that leave the database; what the others can do to tables is asked of the tables.
_BEYOND_DATABASE = {
    "pg_execute_server_program": "run programs as the server",
    "pg_write_server_files": "write the server's files",
    "pg_read_server_files": "read the server's files",
}


class Permission(NamedTuple):
    """Something that a role may do to a table; `column` None: to all of it."""

    privilege: str
    table: str
    column: str | None = None


class Surplus(NamedTuple):
    """Something that a role could do and need not."""

    could: str  #: what "it" could do, in words
    mend: str  #: what takes it away


class _Held(NamedTuple):
    """One privilege of one grantee."""

    privilege: str
    kind: str  #: as GRANT names it: TABLE, SEQUENCE, SCHEMA, DATABASE, FUNCTION, PARAMETER
    name: str  #: of the object, as it stands in a statement
    table: str | None  #: the same unquoted, of a table of ours
    column: str | None
    is_whole: bool  #: granted on all columns at once


class _Member(NamedTuple):
    """A role that the role can become, itself included."""

    name: str
    through: str | None  #: its own membership that leads there; None for itself
    attributes: tuple[str, ...]
    owned: tuple[str, ...]


def find_surplus(
    connection: Connection, role: str, allowed: Collection[Permission], tables: list[str]
) -> list[Surplus]:
    """Everything that `role` could do to `tables` or around them beyond reading them and `allowed`."""
    members = _members(connection, role, tables)
    itself = members[role]
    if "SUPERUSER" in itself.attributes:
        return [_attribute(role, "SUPERUSER")]
    found = [_attribute(role, name) for name in itself.attributes]
    if itself.owned:
        found.append(
            Surplus(
                f"owns {_listed(itself.owned)}",
                "name another role, and leave this one to `loyalty db upgrade`",
            )
        )
    of_public = _held(connection, _PUBLIC, allowed, tables)
    found += _taken_from(connection, of_public, _PUBLIC)
    inherited: set[_Held] = set()
    by_membership: dict[str, list[str]] = defaultdict(list)
    for other in members.values():
        if other.through is None:
            continue
        if "SUPERUSER" in other.attributes:
            powers = ["do anything, as a superuser"]
        else:
            held = _held(connection, other.name, allowed, tables) - of_public
            inherited |= held
            powers = [*_powers(other), *(words for words, _ in _grouped(held))]
        if powers:
            by_membership[other.through] += powers
    found += _taken_from(connection, _held(connection, role, allowed, tables) - of_public - inherited, role)
    for through, powers in by_membership.items():
        revoke = sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(through), sql.Identifier(role))
        could = f"is a member of {through}, and so could {'; '.join(dict.fromkeys(powers))}"
        found.append(Surplus(could, revoke.as_string(driver_connection(connection))))
    return found


_READABLE = """
SELECT g.name, array_agg(quote_ident(c.relname) ORDER BY c.relname)
FROM pg_class c CROSS JOIN LATERAL (
    SELECT NULL AS name WHERE has_any_column_privilege('public', c.oid, 'SELECT')
    UNION ALL
    SELECT direct.rolname FROM pg_auth_members AS held
    JOIN pg_roles AS role ON role.oid = held.member JOIN pg_roles AS direct ON direct.oid = held.roleid
    WHERE role.rolname = %(role)s AND EXISTS (
        SELECT FROM pg_roles AS reached
        WHERE pg_has_role(direct.oid, reached.oid, 'MEMBER') AND has_any_column_privilege(reached.oid, c.oid, 'SELECT')
          AND NOT has_any_column_privilege('public', c.oid, 'SELECT')
    )
) AS g
WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY(%(tables)b)
GROUP BY g.name ORDER BY g.name NULLS FIRST
"""


def find_readable(connection: Connection, role: str, tables: list[str]) -> list[Surplus]:
    """Which of `tables` a role could read, as everybody may or by a membership, that is not meant to read them."""
    found = []
    for name, readable in run_bulk(connection, _READABLE, {"role": role, "tables": tables}):
        what = f"SELECT on table {_listed(tuple(readable))}"
        if name is None:
            names = sql.SQL(", ").join(map(sql.SQL, readable))
            revoke = sql.SQL("REVOKE SELECT ON TABLE {} FROM PUBLIC").format(names)
            could = f"may {what}, as everybody may"
        else:
            revoke = sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(name), sql.Identifier(role))
            could = f"is a member of {name}, and so could {what}"
        found.append(Surplus(could, revoke.as_string(driver_connection(connection))))
    return found


_MEMBERS = """
SELECT reached.rolname,
       (SELECT direct.rolname FROM pg_auth_members AS held JOIN pg_roles AS direct ON direct.oid = held.roleid
        WHERE held.member = role.oid AND pg_has_role(held.roleid, reached.oid, 'MEMBER')
        ORDER BY direct.oid = reached.oid DESC, direct.rolname LIMIT 1),
       array_remove(ARRAY[CASE WHEN reached.rolsuper THEN 'SUPERUSER' END,
                          CASE WHEN reached.rolcreaterole THEN 'CREATEROLE' END,
                          CASE WHEN reached.rolbypassrls THEN 'BYPASSRLS' END,
                          CASE WHEN reached.rolreplication THEN 'REPLICATION' END], NULL),
       ARRAY(SELECT 'the database' FROM pg_database WHERE datname = current_database() AND datdba = reached.oid)
       || ARRAY(SELECT 'the schema ' || quote_ident(nspname) FROM pg_namespace
                WHERE nspname = ANY(current_schemas(false)) AND nspowner = reached.oid)
       || ARRAY(SELECT 'the table ' || quote_ident(relname) FROM pg_class
                WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%(tables)b)
                  AND relowner = reached.oid ORDER BY relname)
FROM pg_roles AS role JOIN pg_roles AS reached ON pg_has_role(role.oid, reached.oid, 'MEMBER')
WHERE role.rolname = %(role)s ORDER BY reached.rolname
"""


def _members(connection: Connection, role: str, tables: list[str]) -> dict[str, _Member]:
    """Every role that this one can become; of those that a superuser or an owner is by being one, itself is enough."""
    rows = run_bulk(connection, _MEMBERS, {"role": role, "tables": tables})
    return {
        name: _Member(name, through, tuple(attributes), tuple(owned))
        for name, through, attributes, owned in rows
        if name == role or through is not None
    }


# Objects first, then who may do what to them. A view runs as its owner unless it is told otherwise; so does a function
# of SECURITY DEFINER, which is counted where its owner could do anything to the tables.
_HELD = """
WITH RECURSIVE ours AS (
    SELECT oid, relname, relowner FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%(tables)b)
), behind(oid) AS (
    SELECT oid FROM ours
    UNION
    SELECT seen.oid FROM behind
    JOIN pg_depend AS part ON part.refclassid = 'pg_class'::regclass AND part.refobjid = behind.oid
                          AND part.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite AS rule ON rule.oid = part.objid
    JOIN pg_class AS seen ON seen.oid = rule.ev_class
    WHERE NOT EXISTS (SELECT FROM pg_options_to_table(seen.reloptions)
                      WHERE option_name = 'security_invoker' AND option_value::boolean)
), relation AS (
    SELECT behind.oid, behind.oid::regclass::text AS name, ours.relname AS ours
    FROM behind LEFT JOIN ours ON ours.oid = behind.oid
)
SELECT privilege, 'TABLE', name, ours, NULL, true FROM relation, unnest(%(on_tables)b::text[]) AS privilege
WHERE has_table_privilege(%(grantee)s, relation.oid, privilege)
UNION ALL
SELECT privilege, 'TABLE', name, ours, attname, has_table_privilege(%(grantee)s, relation.oid, privilege)
FROM relation JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped,
     unnest(%(on_columns)b::text[]) AS privilege
WHERE has_column_privilege(%(grantee)s, relation.oid, attnum, privilege)
UNION ALL
SELECT privilege, 'SEQUENCE', objid::regclass::text, NULL, NULL, true
FROM pg_depend JOIN ours ON refclassid = 'pg_class'::regclass AND refobjid = ours.oid AND deptype IN ('a', 'i')
JOIN pg_class AS numbers ON classid = 'pg_class'::regclass AND numbers.oid = objid AND numbers.relkind = 'S',
     unnest('{USAGE,UPDATE}'::text[]) AS privilege
-- Asked of sequences alone, in whatever order the planner puts the conditions.
WHERE CASE numbers.relkind WHEN 'S' THEN has_sequence_privilege(%(grantee)s, objid, privilege) END
UNION ALL
SELECT 'CREATE', 'SCHEMA', quote_ident(schema), NULL, NULL, true FROM unnest(current_schemas(false)) AS schema
WHERE has_schema_privilege(%(grantee)s, schema, 'CREATE')
UNION ALL
SELECT 'CREATE', 'DATABASE', quote_ident(current_database()), NULL, NULL, true
WHERE has_database_privilege(%(grantee)s, current_database(), 'CREATE')
UNION ALL
SELECT 'EXECUTE', 'FUNCTION', proc.oid::regprocedure::text, NULL, NULL, true FROM pg_proc AS proc
WHERE prosecdef AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
  AND pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = proc.oid AND deptype = 'e')
  AND EXISTS (SELECT FROM ours WHERE pg_has_role(proowner, relowner, 'MEMBER'))
  AND has_function_privilege(%(grantee)s, proc.oid, 'EXECUTE')
UNION ALL
SELECT privilege, 'PARAMETER', parname, NULL, NULL, true
FROM pg_parameter_acl, unnest('{SET,ALTER SYSTEM}'::text[]) AS privilege
WHERE has_parameter_privilege(%(grantee)s, parname, privilege)
"""


def _held(connection: Connection, grantee: str, allowed: Collection[Permission], tables: list[str]) -> set[_Held]:
    """What a role, or PUBLIC, may do by itself and by inheritance, without what is allowed."""
    maintain = (_MAINTAIN,) if driver_connection(connection).info.server_version >= _MAINTAIN_SINCE else ()
    values = {
        "grantee": grantee,
        "tables": tables,
        "on_tables": [*_ON_TABLES, *maintain],
        "on_columns": list(_ON_COLUMNS),
    }
    held = {_Held(*row) for row in run_bulk(connection, _HELD, values)}
    return {each for each in held if each.table is None or not _is_allowed(each, each.table, allowed)}


def _is_allowed(held: _Held, table: str, allowed: Collection[Permission]) -> bool:
    on_table = Permission(held.privilege, table)
    return on_table in allowed or (held.column is not None and on_table._replace(column=held.column) in allowed)


def _grouped(held: Iterable[_Held]) -> Iterator[tuple[str, sql.Composed]]:
    """Each privilege with all that it is on: in words, and as it stands in REVOKE."""
    whole: dict[tuple[str, str], set[str]] = defaultdict(set)
    columns: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for each in held:
        if each.is_whole or each.column is None:
            whole[each.kind, each.privilege].add(each.name)
        else:
            columns[each.kind, each.privilege, each.name].add(each.column)
    for (kind, privilege), names in sorted(whole.items(), key=lambda each: (each[0][0] != "TABLE", each[0])):
        ordered = tuple(sorted(names))
        clause = sql.SQL("{} ON {} {}").format(*map(sql.SQL, (privilege, kind, ", ".join(ordered))))
        yield f"{privilege} on {kind.lower()} {_listed(ordered)}", clause
    for (kind, privilege, name), found in sorted(columns.items()):
        listed = sql.SQL(", ").join(map(sql.Identifier, sorted(found)))
        clause = sql.SQL("{} ({}) ON {} {}").format(sql.SQL(privilege), listed, sql.SQL(kind), sql.SQL(name))
        yield f"{privilege} {_listed(tuple(sorted(found)))} of {kind.lower()} {name}", clause


def _taken_from(connection: Connection, held: Iterable[_Held], grantee: str) -> list[Surplus]:
    """What was granted to `grantee`, and how it is taken away from there."""
    is_public = grantee == _PUBLIC
    place = sql.SQL("PUBLIC") if is_public else sql.Identifier(grantee)
    how = "as everybody may" if is_public else "as another role has granted, which alone can take it back"
    found = []
    for words, clause in _grouped(held):
        revoke = sql.SQL("REVOKE {} FROM {}").format(clause, place)
        found.append(Surplus(f"may {words}, {how}", revoke.as_string(driver_connection(connection))))
    return found


def _attribute(role: str, name: str) -> Surplus:
    quoted = sql.Identifier(role).as_string()
    return Surplus(_ATTRIBUTES[name], f"ALTER ROLE {quoted} NO{name}")


def _powers(member: _Member) -> Iterator[str]:
    """What a role can do without a grant on anything here."""
    if member.attributes:
        yield f"use {', '.join(member.attributes)} of {member.name}"
    if member.owned:
        yield f"own {_listed(member.owned)}"
    if member.name in _BEYOND_DATABASE:
        yield _BEYOND_DATABASE[member.name]


def _listed(names: tuple[str, ...]) -> str:
    shown, more = names[:_NAMES_SHOWN_MAX], len(names) - _NAMES_SHOWN_MAX
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
