"""What one record of a file asks for: ordinary messages, under ids that are the same each time the file is read."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic_core import to_json

from core.domain.program import Program
from core.importing.files import BadRow


class Part(NamedTuple):
    """One message of a record."""

    body: bytes  #: a whole event; its time is that of the run where the record gives none
    line: int
    columns: Mapping[str, str] = MappingProxyType({})  #: where fields of the message stand, if under other names
    lines: tuple[int, ...] = ()  #: of an order of CSV: where each of its lines stands


class Hold(NamedTuple):
    """The tier that an account has until an instant, whatever it earns."""

    account_id: str  #: its own
    program: Program
    tier_id: str
    until: datetime
    line: int


class Plan(NamedTuple):
    """One record: all of it is imported, or nothing."""

    key: str  #: names it in the file, once
    line: int
    parts: tuple[Part, ...]
    raw: tuple[bytes, ...]
    hold: Hold | None = None

    def bad(self, problem: str, line: int | None = None, column: str | None = None) -> BadRow:
        """Why it is not imported."""
        return BadRow(line or self.line, column, problem, self.raw)


def event(event_id: str, source: str, kind: str, time: datetime | str, data: Mapping[str, Any]) -> bytes:
    """A message as a shop would send it."""
    return to_json({"id": event_id, "source": source, "type": kind, "time": time, "data": data})
