"""What all tables share: naming, instants, columns that are not null unless they say so."""

from typing import Any

from sqlalchemy import CheckConstraint, Column, DateTime, MetaData, text
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

INSTANT = DateTime(timezone=True)
#: Every row of the inbox dies once by the update that settles it, and its entry at the low end of a partial index is in
#: the way of whoever looks for work there: vacuumed at a fiftieth of the table instead of a fifth, indexes each time.
#: Analyzed still sooner: where statistics are old, the few rows that are open look like none, and any index as good as
#: theirs.
QUEUE_STORAGE = {
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_vacuum_threshold": "5000",
    "vacuum_index_cleanup": "on",
    "autovacuum_analyze_scale_factor": "0.005",
    "autovacuum_analyze_threshold": "2000",
}


def column(
    name: str,
    kind: TypeEngine[Any],
    *items: SchemaItem,
    null: bool = False,
    default: str | None = None,
    is_renewed: bool = False,
) -> Column[Any]:
    """A column that must have a value, unless `null`. `default` is SQL; every update sets it again if `is_renewed`."""
    value = text(default) if default is not None else None
    return Column(name, kind, *items, nullable=null, server_default=value, onupdate=value if is_renewed else None)


def within_reach(*names: str) -> CheckConstraint:
    """Instants that Python can read and reckon with: PostgreSQL knows infinity and years before 1 and after 9999."""
    return CheckConstraint(
        " AND ".join(f"{name} BETWEEN '1000-01-01 00:00Z' AND '9000-01-01 00:00Z'" for name in names), name="instants"
    )
