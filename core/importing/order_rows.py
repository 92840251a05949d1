"""Files of orders: each record becomes the message that its shop would have sent, with its own time."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.domain.program.registry import ProgramRegistry
from core.domain.value.commands import LINKED
from core.importing.cells import instant, several
from core.importing.files import BadRow, CellError, Layout, Record, bad_among, grouped, with_prefix
from core.importing.plans import Part, Plan, event

#: An order with more lines than any message may have is not read to its end.
LINES_MAX = 10_000
#: Of a whole number of pieces; a longer one is none.
_DIGITS_MAX = 18
_COMPLETED = "order.completed"
_ATTRIBUTES = "attributes."
_OWNERS = ("customer_id", "account_id", *LINKED)
_HEAD = ("order_id", "time", "currency", "program_id", *_OWNERS, "rate", "points_paid", "customer_tags")
_LINE = ("line_id", "sku", "quantity", "amount", "tax", "kind", "categories")
_LISTS = {"customer_tags", "categories"}
#: Of a whole message.
_ENVELOPE = frozenset({"specversion", "id", "source", "type", "datacontenttype", "data"})
LAYOUT = Layout(
    columns=frozenset({*_HEAD, *_LINE}),
    fields=frozenset({*_HEAD, "lines", "attributes", *_ENVELOPE}),
    required=("order_id", "time", "currency", "amount"),
    prefixes=(_ATTRIBUTES,),
)


class OrderRows:
    """Makes plans of records. `source` is the shop's, under which its later messages about the orders come, too."""

    def __init__(
        self, name: str, source: str, rules: ProgramRegistry, now: datetime, *, program_id: str | None
    ) -> None:
        """`program_id` is for records that name none; None: the program of the source, or the default one."""
        self.source = source
        self._name = name
        self._program_id = program_id
        known = program_id or rules.resolve(None, source, now)
        has_zone = known is not None and known in rules.program_ids()
        self._zone = rules.at(known, now).program.zone if known is not None and has_zone else ZoneInfo("UTC")

    def plans(self, records: Iterable[Record | BadRow], *, is_csv: bool) -> Iterator[Plan | BadRow]:
        """The plans of all records, and what is bad among them, in their order."""
        for group in grouped(records, ("order_id",), LINES_MAX) if is_csv else ([record] for record in records):
            bad = bad_among(group)
            if bad is not None:
                yield bad
                continue
            rows = [record for record in group if isinstance(record, Record)]
            try:
                yield self._of_cells(rows) if is_csv else self._of_json(rows[0])
            except CellError as error:
                yield BadRow(
                    rows[0].line, error.data["column"], error.data["problem"], tuple(each.raw for each in rows)
                )

    def _of_cells(self, rows: list[Record]) -> Plan:
        head: dict[str, Any] = {}
        lines = []
        for number, record in enumerate(rows, 1):
            for name, value in record.values.items():
                if name not in _LINE and head.setdefault(name, value) != value:
                    problem = (
                        f"is another one in line {record.line}, of the same order; write it in the first line alone"
                    )
                    raise CellError(column=name, problem=problem)
            line = {name: _cell(name, record.values[name]) for name in _LINE if name in record.values}
            lines.append({"line_id": str(number), **line})
        data = {name: _cell(name, head[name]) for name in _HEAD if name in head and name != "time"}
        attributes = with_prefix(head, _ATTRIBUTES)
        data |= {"lines": lines} | ({"attributes": attributes} if attributes else {})
        return self._plan(data, head.get("time"), rows, is_csv=True)

    def _of_json(self, record: Record) -> Plan:
        if "type" in record.values or "data" in record.values:
            return self._of_message(record)
        data = {name: value for name, value in record.values.items() if name not in _ENVELOPE and name != "time"}
        return self._plan(data, record.values.get("time"), [record], is_csv=False)

    def _of_message(self, record: Record) -> Plan:
        message = {"source": self.source, **record.values}
        kind, event_id = message.get("type"), message.get("id")
        if not isinstance(kind, str) or not kind.startswith("order."):
            raise CellError(column="type", problem='is none of an order; write as in "order.refunded"')
        if not isinstance(event_id, str):
            raise CellError(column="id", problem="is missing; each message has one of its own, a text")
        data = message.get("data")
        if not isinstance(data, dict):
            raise CellError(column="data", problem="is missing; it says what the message is about, in an object")
        if self._program_id is not None:
            data = {"program_id": self._program_id, **data}
        time = instant(message.get("time"), "time", self._zone)
        body = event(event_id, message["source"], kind, time, data)
        columns = {name: f"data.{name}" for name in ("order_id", "lines", "customer_id", "currency")}
        return Plan(f"{message['source']} {event_id}", record.line, (Part(body, record.line, columns),), (record.raw,))

    def _plan(self, data: dict[str, Any], time: Any, rows: list[Record], *, is_csv: bool) -> Plan:
        order_id = data.get("order_id")
        if not isinstance(order_id, str):
            raise CellError(column="order_id", problem="is missing; it is the shop's id of the order, a text")
        if time is None:
            raise CellError(column="time", problem="is missing; write when the order was completed")
        if self._program_id is not None:
            data = {"program_id": self._program_id, **data}
        event_id = f"import {self._name} {order_id}"
        body = event(event_id, self.source, _COMPLETED, instant(time, "time", self._zone), data)
        raw = tuple(record.raw for record in rows)
        part = Part(body, rows[0].line, lines=tuple(row.line for row in rows) if is_csv else ())
        return Plan(f"{self.source} {event_id}", rows[0].line, (part,), raw)


def _cell(name: str, value: str) -> Any:
    if name in _LISTS:
        return several(value)
    is_whole = value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX
    return int(value) if name == "quantity" and is_whole else value
