"""Files to import, read record by record: CSV below a line of column names, or one JSON object in each line."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import chain
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

from pydantic_core import from_json

from core.errors import UserError
from core.messages.inbound.near_names import nearest

#: Of a longer line only the beginning is looked at: it is no record of anybody's.
LINE_BYTES_MAX = 1_000_000
#: What is in a column of this name is not imported: in it, the file of bad rows says what is wrong.
PROBLEM = "problem"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = ",;\t"
_NO_UTF8 = "holds bytes that are not UTF-8; save the file as UTF-8"


class ImportFileError(UserError):
    """{name} is not imported: {problem}. Nothing is changed."""


class CellError(UserError):
    """{column} {problem}."""


class BadRow(NamedTuple):
    """A record that is not imported, and why."""

    line: int
    column: str | None
    problem: str  #: what is wrong, and how to mend it
    raw: tuple[bytes, ...] = ()  #: its rows, byte by byte as they stand in the file
    #: Of a row that is bad by itself: what can be read of its first line and of its last, to tell whose it is.
    first: Mapping[str, Any] = MappingProxyType({})
    last: Mapping[str, Any] = MappingProxyType({})
    begins: bool = False  #: as of a record


class Record(NamedTuple):
    """One row of a CSV file, or one line of JSON."""

    line: int  #: where it begins, from 1
    values: dict[str, Any]  #: of CSV texts that are not empty
    raw: bytes  #: the row, byte by byte as it stands in the file
    begins: bool = False  #: whether a problem stands in it: the file of bad rows tells each in the first row it is of


class Layout(NamedTuple):
    """Which fields a kind of file has."""

    columns: frozenset[str]  #: of CSV
    fields: frozenset[str]  #: of JSON
    required: tuple[str, ...]
    prefixes: tuple[str, ...]  #: of CSV: columns of any name behind it, such as `metadata.`


class ImportFile:
    """A file that is read once, from its beginning. `header` has the column names of a CSV file once it is open."""

    def __init__(self, stream: BinaryIO, name: str, layout: Layout) -> None:
        """Reads the first line. ImportFileError where nothing in the file can be used."""
        self._stream = stream
        self._name = name
        self._layout = layout
        self.bytes_read = 0
        self.lines_read = 0
        self.first_line = self._first_line()
        self.is_csv = not self.first_line.lstrip().startswith(b"{")
        self.header: list[str] = []
        self._width_of_first_line = 0
        self.delimiter = ","
        if self.is_csv:
            self._read_header()

    def records(self) -> Iterator[Record | BadRow]:
        """All records, in their order; blank lines are passed over."""
        return self._csv_records() if self.is_csv else self._json_records()

    def _refuse(self, problem: str) -> ImportFileError:
        return ImportFileError(name=self._name, problem=problem)

    def _lines(self) -> Iterator[bytes]:
        """The lines that are left, each with its end; a very long one is cut."""
        while line := self._stream.readline(LINE_BYTES_MAX):
            self.bytes_read += len(line)
            self.lines_read += 1
            part = line
            while not part.endswith(b"\n") and len(part) == LINE_BYTES_MAX:
                part = self._stream.readline(LINE_BYTES_MAX)
                self.bytes_read += len(part)
            yield line if line.endswith(b"\n") or part is line else line + b"\n"

    def _first_line(self) -> bytes:
        lines = self._lines()
        first = next(lines, b"")
        if first.startswith(_WIDE_MARKS) or b"\0" in first:
            raise self._refuse("it is not UTF-8 (UTF-16, as it seems); save it as UTF-8")
        first = first.removeprefix(_BYTE_ORDER_MARK)
        while not first.strip():
            line = next(lines, None)
            if line is None:
                raise self._refuse("it is empty")
            first = line
        return first

    def _read_header(self) -> None:
        if b"\r" in self.first_line.rstrip(b"\r\n"):
            raise self._refuse("its lines end with CR alone; save it with LF or CRLF")
        text = self.first_line.decode(errors="surrogateescape")
        self.delimiter = max(_DELIMITERS, key=text.count)
        try:
            [cells] = csv.reader([text], delimiter=self.delimiter, strict=True)
        except (csv.Error, ValueError):
            raise self._refuse("its first line, which names the columns, has a quote that is not closed") from None
        self._width_of_first_line = len(cells)
        names = [cell.strip() for cell in cells]
        while names and not names[-1]:  # spreadsheets leave empty columns at the end
            names.pop()
        self.header = names
        self._check_header()

    def _check_header(self) -> None:
        known = self._layout.columns
        for place, name in enumerate(self.header):
            if self.header.index(name) != place:
                raise self._refuse(f"it has two columns {_shown(name)}; take one out")
            if not self._is_column(name):
                advice = _advice(name, known)
                raise self._refuse(f"line {self.lines_read} names a column {_shown(name)}, which is unknown; {advice}")
        missing = [name for name in self._layout.required if name not in self.header]
        if missing:
            what = f"line {self.lines_read}, which names the columns, has no {missing[0]}"
            raise self._refuse(f"{what}; the columns are {', '.join(sorted(known))}")

    def _is_column(self, name: str) -> bool:
        if name in self._layout.columns or name == PROBLEM:
            return True
        return any(name.startswith(prefix) and name != prefix for prefix in self._layout.prefixes)

    def _csv_records(self) -> Iterator[Record | BadRow]:
        before = self.lines_read
        taken: list[bytes] = []  # by the reader, for the record that it is at
        reader = csv.reader(self._texts(taken), delimiter=self.delimiter, strict=True)
        while True:
            line = before + reader.line_num + 1
            taken.clear()
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield self._unusable(line, None, f"cannot be read as CSV ({error}); check its quotes", taken)
                continue
            if cells is None:
                return
            if any(cell.strip() for cell in cells):
                yield self._record(line, cells, taken)

    def _texts(self, taken: list[bytes]) -> Iterator[str]:
        for line in self._lines():
            taken.append(line)
            yield line.decode(errors="surrogateescape")

    def _record(self, line: int, cells: list[str], taken: list[bytes]) -> Record | BadRow:
        if not self._fits(cells):
            problem = (
                f"has {len(cells)} cells, and line 1 names {len(self.header)} columns; "
                "put quotes around a text that holds the separator, and leave empty cells empty"
            )
            return self._unusable(line, None, problem, taken)
        values = {}
        for name, cell in zip(self.header, cells, strict=False):
            if not cell.isascii() and _has_lone_bytes(cell):
                return self._unusable(line, name, _NO_UTF8, taken)
            text = cell.strip()
            if text:
                values[name] = text
        begins = values.pop(PROBLEM, None) is not None
        return Record(line, values, b"".join(taken), begins)

    def _fits(self, cells: list[str]) -> bool:
        # An empty cell more than the first line has is no empty column of a spreadsheet: a comma within an amount, with
        # an empty cell behind it, would make the amount's second half the tax.
        width = len(self.header)
        return len(cells) in {width, self._width_of_first_line} and not any(cell.strip() for cell in cells[width:])

    def _unusable(self, line: int, column: str | None, problem: str, taken: list[bytes]) -> BadRow:
        first, last = self._glimpsed(taken[0]), self._glimpsed(taken[-1])
        return BadRow(line, column, problem, (b"".join(taken),), first, last, PROBLEM in first)

    def _glimpsed(self, line: bytes) -> dict[str, str]:
        """What the cells of a faulty line seem to be: good to find its neighbours by, and never imported."""
        try:
            [cells] = csv.reader([line.decode(errors="surrogateescape")], delimiter=self.delimiter)
        except (csv.Error, ValueError):
            return {}
        return {name: cell.strip() for name, cell in zip(self.header, cells, strict=False) if cell.strip()}

    def cells(self, raw: bytes) -> list[str] | None:
        """The cells of a row of CSV, in the order of the header; None where they do not fit it."""
        lines = (line.decode(errors="surrogateescape") for line in BytesIO(raw))
        try:
            [cells] = csv.reader(lines, delimiter=self.delimiter, strict=True)
        except (csv.Error, ValueError):
            return None
        return cells if self._fits(cells) else None

    def _json_records(self) -> Iterator[Record | BadRow]:
        line = self.first_line
        while True:
            if line.strip() and not is_problem_alone(line):
                yield self._json_record(self.lines_read, line)
            following = next(self._lines(), None)
            if following is None:
                return
            line = following

    def _json_record(self, number: int, line: bytes) -> Record | BadRow:
        raw = (line,)
        try:
            line.decode()
            values = from_json(line, allow_inf_nan=False)
        except UnicodeDecodeError:
            return BadRow(number, None, _NO_UTF8, raw)
        except (ValueError, RecursionError) as error:
            return BadRow(number, None, f"is not JSON ({error}); write one object in each line", raw)
        if not isinstance(values, dict):
            return BadRow(number, None, "is not a JSON object; write one object in each line", raw)
        values.pop(PROBLEM, None)
        for name in values:
            if name not in self._layout.fields:
                problem = f"is unknown; {_advice(name, self._layout.fields)}"
                return BadRow(number, _shown(name), problem, raw)
        return Record(number, {name: value for name, value in values.items() if value is not None}, line)


def is_problem_alone(line: bytes) -> bool:
    """Whether a line of JSON holds nothing to import: it only says what is wrong with the line below it."""
    if len(line) > LINE_BYTES_MAX or PROBLEM.encode() not in line:
        return False
    try:
        values = from_json(line)
    except ValueError:
        return False
    return isinstance(values, dict) and values.keys() == {PROBLEM}


def _has_lone_bytes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _shown(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()[:60] or '""'


def _advice(name: str, known: frozenset[str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near}?" if near else f"known are {', '.join(sorted(known))}"


def grouped(
    records: Iterable[Record | BadRow], names: tuple[str, ...], rows_max: int
) -> Iterator[list[Record | BadRow]]:
    """The rows of each record, which stand below each other and agree in these columns, one row more than the most.

    A row that is bad by itself is of the record that it names in the first of these columns: nobody can say what else
    it would have held, and a record without one of its rows is another one.
    """
    group: list[Record | BadRow] = []
    for record in records:
        if group and (len(group) > rows_max or not _is_same(group[-1], record, names)):
            yield group
            group = []
        group.append(record)
    if group:
        yield group


def _is_same(above: Record | BadRow, below: Record | BadRow, names: tuple[str, ...]) -> bool:
    of_above = above.last if isinstance(above, BadRow) else above.values
    of_below = below.first if isinstance(below, BadRow) else below.values
    compared = names[:1] if isinstance(above, BadRow) or isinstance(below, BadRow) else names
    if below.begins or names[0] not in of_below:
        return False
    return all(of_above.get(name) == of_below.get(name) for name in compared)


def bad_among(group: list[Record | BadRow]) -> BadRow | None:
    """All rows of a record as a bad one, if one of them is bad by itself."""
    bad = next((each for each in group if isinstance(each, BadRow)), None)
    if bad is None or len(group) == 1:
        return bad
    raw = [each.raw if isinstance(each, BadRow) else (each.raw,) for each in group]
    return bad._replace(raw=tuple(chain.from_iterable(raw)))


def with_prefix(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The cells of the columns of this prefix, by what stands behind it."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
