"""The SQL limit writes what posting wrote, whatever tables there are."""

from collections.abc import Mapping

from sqlalchemy import Engine, text

from benchmarks.sql_limit import measure_sql_limit
from core.store.tables import metadata
from tests.factories import PROGRAM_TEXT, cancellation, fulfilment, order, refund
from tests.shell import Shell

LIMITED = """
promotions:
  - {promotion_id: more, kind: addition, points: 5, limits: {budget_points: 100, orders_per_customer: 3}}
"""
#: Of a message only its state is written again.
SETTLED = {"inbox": ["inbox_id", "state"]}


def contents(engine: Engine) -> Mapping[str, list[str]]:
    """Every row of every table."""
    found: dict[str, list[str]] = {}
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            names = ", ".join(SETTLED.get(table.name, table.columns.keys()))
            rows = connection.execute(text(f"SELECT ROW({names})::text FROM {table.name} ORDER BY 1"))
            found[table.name] = list(rows.scalars())
    return found


def test_the_rows_are_those_that_posting_wrote(own_engine: Engine) -> None:
    shell = Shell(own_engine, program_text=PROGRAM_TEXT + LIMITED)
    shell.receive(refund("r9", "o9"), order("o1", "900.00"), order("o2", customer_id="c2"), order("o4"))
    shell.receive(refund("r1", "o1"), fulfilment("o2"), cancellation("o4"), order("o9"), order("o3", customer_id=None))
    shell.post()
    before = contents(own_engine)
    written = {name for name, rows in before.items() if rows}
    assert written >= {"usages", "budgets", "order_events", "refunds", "members", "tier_changes"}
    measure_sql_limit(own_engine, batch_messages=2)
    assert contents(own_engine) == before
