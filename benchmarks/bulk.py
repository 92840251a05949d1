"""Large tables filled at once: without their keys, foreign keys and indexes, which are made when all rows are there.

Row by row an index of drawn ids is written in any order, and each foreign key is looked up: nine tenths of the time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Engine, text

# Foreign keys first, since they need the unique indexes of others.
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype IN ('p', 'u', 'f') AND (conrelid = ANY(CAST(:tables AS regclass[]))
                                      OR confrelid = ANY(CAST(:tables AS regclass[])))
ORDER BY contype <> 'f', conname
"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = ANY(CAST(:tables AS regclass[])) ORDER BY 1
"""
_QUICKLY = "SET LOCAL maintenance_work_mem = '512MB'; SET LOCAL statement_timeout = 0"


@contextmanager
def without_indexes(engine: Engine, tables: Sequence[str]) -> Iterator[None]:
    """Take the keys and indexes of these tables away, and make them anew at the end, which checks what is in them."""
    with engine.begin() as connection:
        asked = {"tables": list(tables)}
        constraints = connection.execute(text(_CONSTRAINTS), asked).all()
        for table, name, _ in constraints:
            connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
        indexes = connection.execute(text(_INDEXES), asked).all()
        for name, _ in indexes:
            connection.execute(text(f"DROP INDEX {name}"))
    yield
    again = [f"ALTER TABLE {table} ADD CONSTRAINT {name} {meaning}" for table, name, meaning in reversed(constraints)]
    for statement in [*(meaning for _, meaning in indexes), *again]:
        with engine.begin() as connection:
            connection.exec_driver_sql(_QUICKLY)
            connection.exec_driver_sql(statement)
