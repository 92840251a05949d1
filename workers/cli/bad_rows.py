"""The file beside an import that holds the rows that could not be imported, each with its problem."""

import csv
import os
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic_core import to_json

from core.importing.files import PROBLEM, BadRow, ImportFile
from workers.cli.command_errors import BadRowsFileError


class BadRowsFile:
    """In the form of the file that is imported, so that it can be imported itself once it is mended.

    Each row is written byte by byte as it came: one that is read, cut or filled up to fit would look right, and be
    imported with other amounts by whoever imports this file unmended. Problems stand in front of the rows, where none
    of them can make a row that is too short wide enough: in a first column of CSV, on a line of their own in JSON.
    """

    def __init__(self, path: Path, source: ImportFile) -> None:
        """Made anew. BadRowsFileError if it cannot be, or is there already."""
        self._source = source
        self._separator = source.delimiter.encode()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it names customers
        except OSError as error:
            raise BadRowsFileError(path=path, reason=error.strerror or type(error).__name__) from error
        self._file = os.fdopen(descriptor, "wb")
        if source.is_csv:
            own = b"" if PROBLEM in source.header else PROBLEM.encode() + self._separator
            self._file.write(own + _ended(source.first_line))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, bad_rows: Iterable[BadRow]) -> None:
        """Add the rows of each, the problem in the first of them."""
        for bad in bad_rows:
            where = f"line {bad.line}" + (f", {bad.column}" if bad.column else "")
            problem = f"{where}: {bad.problem}"
            if self._source.is_csv:
                told = [problem, *[""] * (len(bad.raw) - 1)]
                rows = [self._row(raw, each) for raw, each in zip(bad.raw, told, strict=True)]
            else:
                rows = [to_json({PROBLEM: problem}) + b"\n", *map(_ended, bad.raw)]
            self._file.write(b"".join(rows))

    def _row(self, raw: bytes, problem: str) -> bytes:
        header = self._source.header
        if PROBLEM not in header:
            cell = b'"' + problem.replace('"', '""').encode(errors="backslashreplace") + b'"' if problem else b""
            return cell + self._separator + _ended(raw)
        cells = self._source.cells(raw)
        if cells is None:  # nobody can say which of them tells the problem of an earlier import
            return _ended(raw)
        cells[header.index(PROBLEM)] = problem
        text = StringIO(newline="")
        csv.writer(text, delimiter=self._source.delimiter).writerow(cells)
        return text.getvalue().encode(errors="surrogateescape")


def _ended(row: bytes) -> bytes:
    return row if row.endswith(b"\n") else row + b"\n"
