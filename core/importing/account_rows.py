"""Files of accounts: each record becomes the command that opens an account, and those that fill it."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry
from core.domain.value.commands import LINKED
from core.importing.cells import instant, members, several, whole_number
from core.importing.files import BadRow, CellError, Layout, Record, bad_among, grouped, with_prefix
from core.importing.plans import Hold, Part, Plan, event
from core.messages.inbound.account_messages import OWN_ID_CHARACTERS_MAX
from core.messages.inbound.near_names import nearest

SOURCE_PREFIX = "/import/"
#: An account with more lines than this is a mistake in the file, and would not fit into memory.
LINES_MAX = 1_000
_CREATE, _CREDIT, _LINK = (f"loyalty.command.{verb}" for verb in ("account.create", "credit", "account.link"))
_METADATA = "metadata."
_HEAD = (
    "program_id",
    "customer_id",
    "account_id",
    "enrolled_at",
    "lifetime_points",
    "tier",
    "tier_until",
    "tags",
    "members",
)
_LOT = ("points", "earned_at", "available_at", "expires_at")
_LISTS = {"card": "cards", "phone": "phones", "email": "emails"}
LAYOUT = Layout(
    columns=frozenset({*_HEAD, *_LOT, *LINKED}),
    fields=frozenset({*_HEAD, "metadata", "lots", *_LISTS.values()}),
    required=("customer_id",),
    prefixes=(_METADATA,),
)


class _Item(NamedTuple):
    """A lot, or a name, with its place in the file."""

    values: Mapping[str, Any]
    line: int
    prefix: str  #: what stands before its fields in JSON, such as `lots[2].`; '' in CSV
    columns: Mapping[str, str] = MappingProxyType({})

    def column(self, name: str) -> str:
        """What the file calls a field."""
        return self.columns.get(name, self.prefix + name)


class _Account(NamedTuple):
    """One record, whichever form it came in."""

    head: dict[str, Any]
    line: int
    raw: tuple[bytes, ...]
    lots: list[_Item]
    names: list[_Item]


class AccountRows:
    """Makes plans of records. `name` is the import's own: it stands in the source and in the ids of its commands."""

    def __init__(self, name: str, rules: ProgramRegistry, now: datetime, *, by: str, program_id: str | None) -> None:
        """`program_id` is for records that name none; None: the default program, or the only one."""
        self.source = SOURCE_PREFIX + name
        self._name = name
        self._rules = rules
        self._now = now
        self._by = by
        only = rules.program_ids()[0] if len(rules.program_ids()) == 1 else None
        self._program_id = program_id or rules.resolve(None, self.source, now) or only

    def plans(self, records: Iterable[Record | BadRow], *, is_csv: bool) -> Iterator[Plan | BadRow]:
        """The plans of all records, and what is bad among them, in their order."""
        for found in _of_cells(records) if is_csv else map(_of_json, records):
            if isinstance(found, BadRow):
                yield found
                continue
            try:
                yield self._plan(found)
            except _PlaceError as error:
                yield BadRow(error.line, error.column, error.problem, found.raw)
            except CellError as error:
                yield BadRow(found.line, error.data["column"], error.data["problem"], found.raw)

    def _plan(self, found: _Account) -> Plan:
        head = found.head
        program = self._program(head)
        customer_id = head.get("customer_id")
        if customer_id is None:
            raise CellError(column="customer_id", problem="is missing; each account is some customer's")
        own = head.get("account_id") or self._own_id(head, customer_id)
        create = {
            "program_id": program.program_id,
            "customer_id": customer_id,
            "account_id": own,
            "reason": self._reason(None),
            "by": self._by,
            "tags": several(head.get("tags")),
            "members": members(head.get("members"), "members"),
            "metadata": head.get("metadata"),
        }
        lifetime = whole_number(head.get("lifetime_points", 0), "lifetime_points")
        if lifetime != 0:
            create["lifetime_points"] = lifetime
        if "enrolled_at" in head:
            create["enrolled_at"] = instant(head["enrolled_at"], "enrolled_at", program.zone)
        parts = [Part(event(f"open {own}", self.source, _CREATE, self._now, create), found.line)]
        parts += [self._lot(own, number, lot, program.zone) for number, lot in enumerate(found.lots, 1)]
        parts += [self._name_of(own, number, item) for number, item in enumerate(found.names, 1)]
        return Plan(str(own), found.line, tuple(parts), found.raw, self._hold(head, str(own), program, found.line))

    def _program(self, head: Mapping[str, Any]) -> Program:
        named, known = head.get("program_id"), self._rules.program_ids()
        program_id = named or self._program_id
        if program_id in known:
            return self._rules.at(program_id, self._now).program
        if named is None:
            problem = f"is missing, and no program is the default; write one of {', '.join(known)}, or say --program"
            raise CellError(column="program_id", problem=problem)
        raise CellError(column="program_id", problem=f"is not a program; there are {', '.join(known)}")

    def _own_id(self, head: Mapping[str, Any], customer_id: Any) -> str:
        own = ".".join(str(part) for part in (self._name, head.get("program_id"), customer_id) if part is not None)
        if len(own) > OWN_ID_CHARACTERS_MAX:
            problem = (
                f"is missing, and {own[:20]}..., which would stand in its place, has more than "
                f"{OWN_ID_CHARACTERS_MAX} characters; write one, or give the import a shorter --name"
            )
            raise CellError(column="account_id", problem=problem)
        return own

    def _reason(self, earned_at: datetime | None) -> str:
        # With the time, so that a lot with another one is another command, which its id then contradicts.
        earned = "" if earned_at is None else f", earned at {earned_at.isoformat()}"
        return f"import {self._name}{earned}"

    def _lot(self, own: Any, number: int, lot: _Item, zone: ZoneInfo) -> Part:
        values = lot.values
        if "points" not in values:
            raise _at(lot, "points", "is missing; write how many points the lot has, or leave its dates out, too")
        try:
            times = {name: instant(values[name], name, zone) for name in _LOT[1:] if name in values}
            points = whole_number(values["points"], "points")
        except CellError as error:
            raise _at(lot, error.data["column"], error.data["problem"]) from None
        earned_at = times.pop("earned_at", None)
        data = {"account_id": own, "points": points, "reason": self._reason(earned_at), "by": self._by, **times}
        body = event(f"lot {number} of {own}", self.source, _CREDIT, earned_at or self._now, data)
        columns = {name: lot.column(name) for name in _LOT} | {"time": lot.column("earned_at")}
        return Part(body, lot.line, columns)

    def _name_of(self, own: Any, number: int, item: _Item) -> Part:
        ((kind, value),) = item.values.items()
        data = {"account_id": own, kind: value, "reason": self._reason(None), "by": self._by}
        body = event(f"name {number} of {own}", self.source, _LINK, self._now, data)
        return Part(body, item.line, {kind: item.column(kind)})

    def _hold(self, head: Mapping[str, Any], own: str, program: Program, line: int) -> Hold | None:
        if "tier" not in head:
            if "tier_until" in head:
                raise CellError(column="tier", problem="is missing beside tier_until; write both, or neither")
            return None
        if "tier_until" not in head:
            problem = "is missing; write until when the customer keeps the tier, whatever is earned until then"
            raise CellError(column="tier_until", problem=problem)
        tier_id, known = head["tier"], [tier.tier_id for tier in program.tiers]
        if tier_id not in known:
            near = nearest(str(tier_id), known)
            advice = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
            raise CellError(column="tier", problem=f"is not a tier of {program.program_id}; {advice}")
        until = instant(head["tier_until"], "tier_until", program.zone)
        return Hold(own, program, tier_id, until, line)


class _PlaceError(CellError):
    """{column} {problem} (line {line})."""

    line: int
    column: str
    problem: str


def _at(item: _Item, name: str, problem: str) -> _PlaceError:
    return _PlaceError(column=item.column(name), problem=problem, line=item.line)


def _of_cells(records: Iterable[Record | BadRow]) -> Iterator[_Account | BadRow]:
    """Accounts of CSV rows: those of one account stand below each other, each with a lot, a name, or both."""
    for group in grouped(records, ("customer_id", "account_id", "program_id"), LINES_MAX):
        bad = bad_among(group)
        yield bad or _joined([record for record in group if isinstance(record, Record)])


def _joined(group: list[Record]) -> _Account | BadRow:
    raw = tuple(record.raw for record in group)
    if len(group) > LINES_MAX:
        problem = f"more than {LINES_MAX:,} lines are of one account; import what is more under another --name"
        return BadRow(group[0].line, None, problem, raw)
    head: dict[str, Any] = {}
    lots: list[_Item] = []
    names: list[_Item] = []
    for record in group:
        for name, value in record.values.items():
            if name in LAYOUT.columns and name not in _HEAD:
                continue
            if head.setdefault(name, value) != value:
                problem = "is another one than in the line above, of the same account; write it in the first line alone"
                return BadRow(record.line, name, problem, raw)
        lot = {name: record.values[name] for name in _LOT if name in record.values}
        lots += [_Item(lot, record.line, "")] if lot else []
        names += [_Item({name: record.values[name]}, record.line, "") for name in LINKED if name in record.values]
    head["metadata"] = with_prefix(head, _METADATA)
    return _Account(head, group[0].line, raw, lots, names)


def _of_json(record: Record | BadRow) -> _Account | BadRow:
    if isinstance(record, BadRow):
        return record
    head = {name: value for name, value in record.values.items() if name in (*_HEAD, "metadata")}
    problem = _wrong_text(head) or _wrong_list(record.values)
    if problem is not None:
        return BadRow(record.line, *problem, (record.raw,))
    lots = []
    for place, lot in enumerate(record.values.get("lots", ())):
        unknown = None if not isinstance(lot, dict) else next((name for name in lot if name not in _LOT), None)
        if not isinstance(lot, dict) or unknown is not None:
            column, known = f"lots[{place}]", ", ".join(_LOT)
            problem_text = (
                f"is not a lot; write an object of {known}" if unknown is None else f"is unknown; known are {known}"
            )
            return BadRow(
                record.line, column if unknown is None else f"{column}.{unknown}", problem_text, (record.raw,)
            )
        given = {name: value for name, value in lot.items() if value is not None}
        lots.append(_Item(given, record.line, f"lots[{place}]."))
    names = [
        _Item({kind: value}, record.line, "", {kind: f"{field}[{place}]"})
        for kind, field in _LISTS.items()
        for place, value in enumerate(record.values.get(field, ()))
    ]
    if len(lots) + len(names) > LINES_MAX:
        return BadRow(record.line, None, f"has more than {LINES_MAX:,} lots and names", (record.raw,))
    return _Account(head, record.line, (record.raw,), lots, names)


def _wrong_text(head: Mapping[str, Any]) -> tuple[str, str] | None:
    for name in ("program_id", "customer_id", "account_id", "tier"):
        if not isinstance(head.get(name, ""), str):
            return name, "is not a text; put it in quotes"
    return None


def _wrong_list(values: Mapping[str, Any]) -> tuple[str, str] | None:
    for name in ("lots", "tags", "members", *_LISTS.values()):
        if not isinstance(values.get(name, []), list):
            return name, "is not a list; write it in square brackets"
    return None
