"""Loading what is posted of returns without a receipt."""

from collections.abc import Collection

from sqlalchemy import Connection

from core.domain.orders.facts import Return
from core.domain.orders.posted import PostedReturn
from core.domain.reach import ReturnKey
from core.messages.inbound.reading import read_lines
from core.store import tables
from core.store.engine import run_bulk
from core.store.rows import Field, Shape, arrays, unnested

_LINES = Field("lines", read=read_lines)
RETURN_FACTS = Shape(tables.returns, Return, lines=_LINES)
RETURNS = Shape(tables.returns, PostedReturn, business_hash="digest", lines=_LINES._replace(path="returned.lines"))

_RETURNS = f"""
SELECT {RETURNS.select("r")}
FROM {unnested(tables.returns, ("source", "return_id"))} JOIN returns r USING (source, return_id)
"""  # noqa: S608  # our own names


def load_returns(connection: Connection, keys: Collection[ReturnKey]) -> list[PostedReturn]:
    """What is posted of returns of these (source, return_id), of any program."""
    return [RETURNS.read(row) for row in run_bulk(connection, _RETURNS, arrays(keys, 2))] if keys else []
