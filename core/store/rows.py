"""Rows of the tables from values of the domain and back, and the bulk statements for them, all made from the tables.

A `Shape` says once how the values of a type stand in a table. A column holds the field of its name, which may lie
deeper in the value: `order_id` is the only field of that name, and `origin_kind` the field `kind` of a field `origin`.
Only what is otherwise is said. Types are the columns', so whoever adds a column adds it in the table and in the
domain, and nowhere else.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints
from uuid import UUID

from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql

from core.store.engine import driver_connection, run_later

Value = TypeVar("Value")
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
#: What JSON has no words for, by the type of its column.
_FROM_JSON: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {"timestamp with time zone": datetime.fromisoformat, "uuid": UUID}
)


class Field(NamedTuple):
    """A field that does not stand in its column as it is."""

    path: str  #: its name, with dots where it lies deeper
    write: Callable[[Any], Any] | None = None  #: makes what the column holds of it
    read: Callable[[Any], Any] | None = None  #: makes it of what the column holds; JSON comes as its text


class Shape(Generic[Value]):
    """How the values of one type, a NamedTuple, stand in the rows of a table."""

    def __init__(self, table: Table, of: type[Value], **exceptions: str | Field | Callable[[Value], Any]) -> None:
        """`exceptions` are columns with the path of their field, or with what makes their content of a whole value."""
        assert not exceptions.keys() - {column.name for column in table.columns}
        self.table = table
        self._of = of
        self._places = dict(_places(of))
        self._fields: dict[str, Field] = {}  # by column
        self._made: dict[str, Callable[[Value], Any]] = {}
        self._others: list[Column[Any]] = []  # of which the values have nothing
        leaves = {path: place.hint for path, place in self._places.items() if not _is_record(place.hint)}
        for column in table.columns:
            given = exceptions.get(column.name) or _path_of(column, leaves)
            if isinstance(given, str):
                self._fields[column.name] = _field(given, leaves[given])
            elif isinstance(given, Field):
                self._fields[column.name] = given
            elif given is not None:
                self._made[column.name] = given
            else:
                self._others.append(column)

    def new(self) -> "Rows[Value]":
        """Whole rows. What the values do not fill is null, or the database gives it its default."""
        missing = [column.name for column in self._others if not (column.nullable or column.server_default)]
        assert not missing, f"nothing fills {', '.join(missing)} of {self.table.name}"
        return self._rows((*self._fields, *self._made))

    def only(self, *names: str) -> "Rows[Value]":
        """These columns, which the values fill."""
        return self._rows(names)

    def changed(self, *names: str) -> "Rows[Value]":
        """The primary key and these columns."""
        return self._rows((*keys_of(self.table), *names))

    def _rows(self, names: tuple[str, ...]) -> "Rows[Value]":
        source = _Source("value")
        return Rows(
            self.table, names, source.function(f"({', '.join(self._written(name, source) for name in names)},)")
        )

    def _written(self, name: str, source: "_Source") -> str:
        """The code for what the column holds of a value."""
        field = self._fields.get(name)
        if field is None:
            return f"{source.name(self._made[name])}(value)"
        code = f"value{self._places[field.path].code}"
        if field.write is not None:
            return f"{source.name(field.write)}({code})"
        return f"{code}._value_" if _is_enum(field.read) else code

    @cached_property
    def _reading(self) -> tuple[list[str], Callable[[Sequence[Any]], Value]]:
        return self._reader({})

    @cached_property
    def _reading_nested(self) -> tuple[list[str], Callable[[Sequence[Any]], Value]]:
        return self._reader(_FROM_JSON)

    def _reader(
        self, of_types: Mapping[str, Callable[[Any], Any]]
    ) -> tuple[list[str], Callable[[Sequence[Any]], Value]]:
        """The columns of the fields, in their order, and what makes a value of such a row.

        `of_types` makes what columns of a type hold of what stands in the row instead.
        """
        names: list[str] = []
        source = _Source("row")
        columns = {field.path: name for name, field in self._fields.items()}

        def read(of: type[Any], prefix: str) -> str:
            parts = []
            for field, hint in get_type_hints(of).items():
                name = columns.get(prefix + field)
                if name is None:
                    parts.append(read(hint, f"{prefix}{field}."))
                    continue
                code, made_by = f"row[{len(names)}]", self._fields[name].read
                if (made := of_types.get(type_of(self.table, name))) is not None:
                    code = f"({code} and {source.name(made)}({code}))"
                parts.append(code if made_by is None else f"{source.name(made_by)}({code})")
                names.append(name)
            return f"{source.name(tuple.__new__)}({source.name(of)}, ({', '.join(parts)},))"

        return names, source.function(read(self._of, ""))

    def select(self, alias: str) -> str:
        """The columns that `read` takes, of the table under this name."""
        return selected(self.table, self._reading[0], alias)

    def read(self, row: Sequence[Any]) -> Value:
        """Make a value of what was selected."""
        return self._reading[1](row)

    def select_nested(self, alias: str) -> str:
        """The same as one JSON array: what `read_nested` takes, of which many can be `gathered`."""
        assert not {type_of(self.table, name) for name in self._reading_nested[0]} & {"bytea", "numeric", "jsonb"}
        return f"json_build_array({self.select(alias)})"

    def read_nested(self, row: Sequence[Any]) -> Value:
        """Make a value of what was selected as JSON."""
        return self._reading_nested[1](row)


class Rows(NamedTuple, Generic[Value]):
    """Some columns of a table, and what makes a row of them."""

    table: Table
    names: tuple[str, ...]
    row: Callable[[Value], tuple[Any, ...]]

    def unnested(self, alias: str) -> str:
        """What the statement of a bulk change takes `arrays` by."""
        return unnested(self.table, self.names, alias)

    def marks(self) -> str:
        """What a statement about one row takes that row by."""
        types = (type_of(self.table, name) for name in self.names)
        return ", ".join(f"%s::{kind}" if kind == "json" else f"%b::{kind}" for kind in types)

    def arrays(self, values: Iterable[Value]) -> list[list[Any]]:
        """The rows of `values`, one list per column."""
        return arrays(map(self.row, values), len(self.names))


#: So few rows are written one by one: what is made ready for many costs more than it saves them.
_FEW_ROWS_MAX = 3


class Append(Generic[Value]):
    """Adds rows; a key that is there already fails all of them.

    Many with COPY; a few with an INSERT for each, as COPY waits for the database three times.
    A JSON column takes its text; a JSONB column, values.
    """

    def __init__(self, rows: Rows[Value]) -> None:
        """Prepare the statements."""
        self._rows = rows
        names = ", ".join(rows.names)
        self._insert = f"INSERT INTO {rows.table.name} ({names}) VALUES ({rows.marks()})"  # noqa: S608  # our own names
        # Binary, which costs less than half of what text costs here.
        self._copy = f"COPY {rows.table.name} ({names}) FROM STDIN (FORMAT BINARY)".encode()
        types = [type_of(rows.table, name) for name in rows.names]
        self._types = ["text" if kind == "json" else kind for kind in types]  # the same bytes

    def run(self, connection: Connection, values: Collection[Value]) -> None:
        """Append the rows of `values`, in the transaction of `connection`."""
        if len(values) <= _FEW_ROWS_MAX and "jsonb" not in self._types:  # of whose values only COPY knows the type
            for row in map(self._rows.row, values):
                run_later(connection, self._insert, row)
            return
        with driver_connection(connection).cursor() as cursor, cursor.copy(self._copy) as copy:
            copy.set_types(self._types)
            for row in map(self._rows.row, values):
                copy.write_row(row)


class _Change(Generic[Value]):
    """One statement that takes all rows as arrays; for a few, one for each row.

    An array costs several times what the only value in it costs, and a row can have twenty.
    """

    def __init__(self, rows: Rows[Value], of_many: str, of_one: str) -> None:
        self._rows = rows
        self._of_many = of_many
        self.of_one = of_one

    def run(self, connection: Connection, values: Collection[Value]) -> None:
        """Write what the rows of `values` are now; the caller has locked them, or keeps others from them."""
        if len(values) <= _FEW_ROWS_MAX:
            for row in map(self._rows.row, values):
                run_later(connection, self.of_one, row)
        else:
            run_later(connection, self._of_many, self._rows.arrays(values))


class Update(_Change[Value]):
    """Sets columns of rows, which are found by their primary key."""

    def __init__(self, rows: Rows[Value]) -> None:
        """Prepare the statement; `rows` have the key."""
        keys = keys_of(rows.table)
        sets = [f"{name} = c.{name}" for name in rows.names if name not in keys]
        sets += [f"{name} = DEFAULT" for name in _renewed(rows.table)]
        found = " AND ".join(f"t.{name} = c.{name}" for name in keys)
        change = f"UPDATE {rows.table.name} t SET {', '.join(sets)}"  # noqa: S608  # our own names
        one = f"(SELECT {rows.marks()}) AS c({', '.join(rows.names)})"
        super().__init__(
            rows,
            f"{change} FROM {rows.unnested('c')} WHERE {found}",
            f"{change} FROM {one} WHERE {found}",
        )


class Put(_Change[Value]):
    """Adds rows, and sets the columns of those that are there already."""

    def __init__(self, rows: Rows[Value]) -> None:
        """Prepare the statement."""
        keys, names = keys_of(rows.table), ", ".join(rows.names)
        # Renewed by `excluded`, not by now(): Citus refuses what might differ between its nodes.
        sets = [f"{name} = excluded.{name}" for name in (*rows.names, *_renewed(rows.table)) if name not in keys]
        into = f"INSERT INTO {rows.table.name} ({names})"
        known = f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(sets)}"
        super().__init__(
            rows,
            f"{into} SELECT {names} FROM {rows.unnested('c')} {known}",  # noqa: S608  # our own names
            f"{into} VALUES ({rows.marks()}) {known}",
        )


def keys_of(table: Table) -> list[str]:
    """The columns of the primary key."""
    return [column.name for column in table.primary_key.columns]


def _renewed(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.onupdate is not None]


def type_of(table: Table, name: str) -> str:
    """The column's type in PostgreSQL."""
    return table.columns[name].type.compile(_DIALECT).lower()


def selected(table: Table, names: Iterable[str], alias: str) -> str:
    """These columns for a SELECT from the table under this name; JSON as its text."""
    return ", ".join(f"{alias}.{name}::text" if type_of(table, name) == "json" else f"{alias}.{name}" for name in names)


def gathered(nested_select: str) -> str:
    """All rows of a SELECT of one JSON array each, as one such array: part of the row of what has them.

    So one round trip brings rows of many tables, and it costs the server less than array_agg of each column.
    """
    return f"array_to_json(ARRAY({nested_select}))"


def unnested(table: Table, names: Sequence[str], alias: str = "k") -> str:
    """Rows of these columns of the table, from one `%b` for the list of each: to be joined under the name `alias`."""
    lists = ", ".join(f"%b::{type_of(table, name)}[]" for name in names)
    return f"unnest({lists}) AS {alias}({', '.join(names)})"


def arrays(rows: Iterable[Iterable[Any]], width: int) -> list[list[Any]]:
    """Turn rows of so many columns into one list per column, for `unnested`."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


class _Source:
    """Code of a function of one argument. Made once, as `NamedTuple` does, since posting makes rows by the thousand."""

    def __init__(self, argument: str) -> None:
        self._argument = argument
        self._names: dict[str, Any] = {}

    def name(self, thing: Any) -> str:
        """What the code calls `thing`."""
        name = f"thing_{len(self._names)}"
        self._names[name] = thing
        return name

    def function(self, code: str) -> Callable[[Any], Any]:
        """The function that returns what `code` says."""
        made: Callable[[Any], Any] = eval(f"lambda {self._argument}: {code}", self._names)  # noqa: S307  # of our own names
        return made


class _Place(NamedTuple):
    """A field of a value, however deep."""

    hint: Any  #: its type
    code: str  #: how it is reached, such as [1][0]


def _places(of: type[Any], prefix: str = "", above: str = "") -> Iterator[tuple[str, _Place]]:
    """The fields of a NamedTuple, and those of fields that are one too."""
    for number, (name, hint) in enumerate(get_type_hints(of).items()):
        place = _Place(hint, f"{above}[{number}]")
        yield prefix + name, place
        if _is_record(hint):
            yield from _places(hint, f"{prefix}{name}.", place.code)


def _is_record(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields")


def _path_of(column: Column[Any], paths: Iterable[str]) -> str | None:
    """The field whose name, with as many of those above it as there need be, is that of the column."""
    found = [path for path in paths if column.name in _names(path)]
    assert len(found) <= 1, f"{column} may hold any of {found}"
    return found[0] if found else None


def _names(path: str) -> Iterator[str]:
    """Of `lot.origin.kind`: lot_origin_kind, origin_kind, kind."""
    while path:
        yield path.replace(".", "_")
        path = path.partition(".")[2]


def _field(path: str, hint: Any) -> Field:
    if _is_enum(hint):
        return Field(path, read=hint)
    return Field(path)


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Enum)
