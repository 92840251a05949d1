"""The file beside an import that holds the rows that could not be imported, each with its problem."""

import csv
import os
from collections.abc import Iterable
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic_core import from_json, to_json

from core.importing.files import PROBLEM, BadRow, ImportFile
from workers.cli.command_errors import BadRowsFileError


class BadRowsFile:
    """In the form of the file that is imported, and with one column more: mended, it can be imported itself."""

    def __init__(self, path: Path, source: ImportFile) -> None:
        """Made anew. BadRowsFileError if it cannot be, or is there already."""
        self._source = source
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it names customers
        except OSError as error:
            raise BadRowsFileError(path=path, reason=error.strerror or type(error).__name__) from error
        self._file = os.fdopen(descriptor, "wb")
        self._text = TextIOWrapper(self._file, "utf-8", errors="surrogateescape", newline="", write_through=True)
        self._csv = csv.writer(self._text)
        if source.is_csv:
            self._names = [name for name in source.header if name != PROBLEM]
            self._csv.writerow([*self._names, PROBLEM])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._text.close()

    def write(self, bad_rows: Iterable[BadRow]) -> None:
        """Add the rows of each, the problem in the first of them."""
        for bad in bad_rows:
            where = f"line {bad.line}" + (f", {bad.column}" if bad.column else "")
            problem = f"{where}: {bad.problem}"
            for raw in bad.raw:
                if isinstance(raw, bytes):
                    self._text.write(_with_problem(raw, problem))
                else:
                    self._csv.writerow([*self._cells(raw), problem])
                problem = ""

    def _cells(self, raw: list[str]) -> list[str]:
        header = self._source.header
        padded = [*raw, *[""] * (len(header) - len(raw))]
        return [cell for name, cell in zip(header, padded, strict=False) if name != PROBLEM]


def _with_problem(line: bytes, problem: str) -> str:
    try:
        values = from_json(line)
        if isinstance(values, dict):
            return to_json({**values, PROBLEM: problem}).decode() + "\n"
    except ValueError:
        pass
    return line.rstrip(b"\r\n").decode(errors="surrogateescape") + "\n"
