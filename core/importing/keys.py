"""Which keys of a file have come already, beside the memory: a file may have millions."""

import sqlite3
from types import TracebackType
from typing import Self


class KeysSeen:
    """A set of texts in a temporary file that ends with it."""

    def __init__(self) -> None:
        """Empty."""
        self._database = sqlite3.connect("", isolation_level=None)  # a file of its own, which SQLite deletes
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, key: str) -> bool:
        """Whether it is new."""
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount == 1
