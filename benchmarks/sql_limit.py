"""The limit: the very rows that posting wrote, written again by set-based SQL inside PostgreSQL.

The rows of a finished run are put aside in unlogged tables, the ledger is emptied, the inbox is set back, and then
every batch of messages is written in one transaction, as posting does, with no decision and no client in between.

Which tables and columns there are is read from core.store.tables, so that a new one is written here without a word.
"""

import time
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, ForeignKeyConstraint, Table, text

from core.store.tables import accounts, inbox, metadata, programs

#: Columns that name the message which caused a row, by the table that has its number.
_CAUSES = {"refund_id": "refunds", "order_id": "orders"}
#: What is there before anything is posted. All other tables are emptied, and what posting wrote there is put aside.
_KEPT = {inbox.name, programs.name}

# What was received stands for the settled data, which posting took away, and which is nearly as long.
_SET_BACK = """
UPDATE inbox SET state = 'received', settled = convert_from(body, 'UTF8'), settled_at = NULL,
                 shard = coalesce(shard, 0)
WHERE state = 'posted'
"""
_SETTLE = """
UPDATE inbox i SET state = s.state, settled = NULL, settled_at = now()
FROM stage.inbox s WHERE i.inbox_id = s.inbox_id AND s.batch = :batch
"""


def measure_sql_limit(engine: Engine, batch_messages: int) -> float:
    """Messages per second that PostgreSQL writes by itself, from the rows of the run in this database."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        written = _stage(connection, batch_messages)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for table in (*(table.name for table in written), "inbox"):
            connection.execute(text(f"ANALYZE stage.{table}"))
    statements = [text(statement) for statement in (*map(_insert, written), _change_accounts(), _SETTLE)]
    with engine.connect() as connection:
        batches = connection.execute(text("SELECT DISTINCT batch FROM stage.inbox ORDER BY batch")).scalars().all()
        messages = connection.execute(text("SELECT count(*) FROM stage.inbox")).scalar_one()
    started = time.perf_counter()
    for batch in batches:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(statement, {"batch": batch})
    return float(messages / (time.perf_counter() - started))


def _stage(connection: Connection, batch_messages: int) -> list[Table]:
    """Put aside what was posted, each row with the batch that it belongs to; the tables that have rows."""
    connection.execute(text("CREATE SCHEMA stage"))
    connection.execute(
        text(
            "CREATE UNLOGGED TABLE stage.inbox AS SELECT inbox_id, state, inbox_id / :size AS batch"
            " FROM inbox WHERE state = 'posted'"
        ),
        {"size": batch_messages},
    )
    emptied = [table for table in metadata.sorted_tables if table.name not in _KEPT]
    written = [
        table
        for table in emptied
        if connection.execute(text(f"SELECT EXISTS (SELECT 1 FROM {table.name})")).scalar_one()
    ]
    staged: list[Table] = []
    for table in _those_with_a_cause_first(written):
        connection.execute(text(_put_aside(table, staged)), {"size": batch_messages})
        staged.append(table)
    for table in written:
        # What came before its order was posted with it.
        for key in _keys_into(table, written):
            same = " AND ".join(f"t.{our} = p.{their}" for our, their in _pairs(key))
            parent = f"stage.{key.referred_table.name}"
            update = f"UPDATE stage.{table.name} t SET batch = p.batch FROM {parent} p"
            connection.execute(text(f"{update} WHERE p.batch > t.batch AND {same}"))
    for name in (inbox.name, *(table.name for table in written)):
        connection.execute(text(f"CREATE INDEX ON stage.{name} (batch)"))
    connection.execute(text("CREATE INDEX ON stage.entries (account_id)"))
    connection.execute(text(f"TRUNCATE {', '.join(table.name for table in emptied)}"))
    connection.execute(text(_SET_BACK))
    return written


def _those_with_a_cause_first(tables: list[Table]) -> list[Table]:
    """First what names its message, then what names such a row, then the rest in the order of its foreign keys."""
    return sorted(tables, key=lambda table: ("inbox_id" not in table.c, not _causes(table, tables)))


def _causes(table: Table, tables: list[Table]) -> list[str]:
    """The columns by which a row names the row of the message that caused it."""
    names = {other.name for other in tables if "inbox_id" in other.c}
    return [column for column, name in _CAUSES.items() if {column, "source"} <= set(table.c.keys()) and name in names]


def _put_aside(table: Table, staged: list[Table]) -> str:
    """SQL that copies a table; a row's batch is that of the message that caused it, as far as columns and keys say."""
    copy = f"CREATE UNLOGGED TABLE stage.{table.name} AS SELECT t.*, "
    if "inbox_id" in table.c:
        return f"{copy} t.inbox_id / :size AS batch FROM {table.name} t"
    joins: list[str] = []

    def joined(other: str, columns: list[tuple[str, str]], choice: str) -> str:
        name = f"j{len(joins)}"
        theirs = ", ".join(their for _, their in columns)
        condition = " AND ".join(f"{name}.{their} = t.{our}" for our, their in columns)
        joins.append(
            f" LEFT JOIN (SELECT {theirs}, {choice}(batch) AS batch FROM stage.{other} GROUP BY {theirs}) {name}"
            f" ON {condition}"
        )
        return f"{name}.batch"

    caused = [
        joined(_CAUSES[column], [("source", "source"), (column, column)], "max") for column in _causes(table, staged)
    ]
    # It is not there before what it names, and at the latest when another row names it.
    after = [joined(key.referred_table.name, _pairs(key), "max") for key in _keys_into(table, staged)]
    before = [
        joined(child.name, [(their, our) for our, their in _pairs(key)], "min")
        for child in staged
        for key in _keys_into(child, [table])
    ]
    found = [
        *caused,
        *(f"{name}({', '.join(each)})" for name, each in (("greatest", after), ("least", before)) if each),
    ]
    # The rest, such as events, comes evenly, in the order of its key.
    order = ", ".join(f"t.{column.name}" for column in table.primary_key)
    evenly = (
        "(SELECT min(batch) FROM stage.inbox) - 1"
        f" + ntile((SELECT count(DISTINCT batch) FROM stage.inbox)::integer) OVER (ORDER BY {order})"
    )
    return f"{copy} coalesce({', '.join([*found, evenly])}) AS batch FROM {table.name} t{''.join(joins)}"


def _keys_into(table: Table, tables: list[Table]) -> Iterator[ForeignKeyConstraint]:
    return (key for key in table.foreign_key_constraints if key.referred_table in tables)


def _pairs(key: ForeignKeyConstraint) -> list[tuple[str, str]]:
    """Its columns: the name here and the name there."""
    return [(element.parent.name, element.column.name) for element in key.elements]


def _insert(table: Table) -> str:
    names = ", ".join(column.name for column in table.columns)
    override = "OVERRIDING SYSTEM VALUE" if any(column.identity for column in table.columns) else ""
    return f"INSERT INTO {table.name} ({names}) {override} SELECT {names} FROM stage.{table.name} WHERE batch = :batch"


def _change_accounts() -> str:
    """SQL that writes the balances of accounts that an earlier batch opened."""
    columns = [column.name for column in accounts.columns if not column.primary_key]
    return f"""
        UPDATE accounts a SET {", ".join(f"{name} = s.{name}" for name in columns)} FROM stage.accounts s
        WHERE a.account_id = s.account_id AND s.batch < :batch
          AND s.account_id IN (SELECT account_id FROM stage.entries WHERE batch = :batch)
    """
