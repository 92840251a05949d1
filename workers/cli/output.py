"""What commands print: results to standard output, as text for people or as JSON; everything else to standard error."""

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from shutil import get_terminal_size
from time import monotonic
from typing import Annotated, Any, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from core.domain.calendar import next_midnight
from core.messages.outbound.event_json import instant_text

_Item = TypeVar("_Item")

#: Width of text that goes to a file or a pipe, unless COLUMNS says otherwise.
_WIDTH_OF_FILES = 120
#: Rows that a listing may be asked for.
LIMIT_MAX = 1_000_000
#: What every command takes that prints results.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_INSTANT = timedelta(microseconds=1)  #: the smallest that the database keeps
_SECONDS_OF_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


class Row(NamedTuple):
    """One line of a listing, and what stands indented below it."""

    cells: tuple[str, ...]
    details: tuple[str, ...] = ()


def console() -> Console:
    """Give the console of standard output; colours only on a terminal."""
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or _WIDTH_OF_FILES)
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def say(text: str = "", *, style: str = "") -> None:
    """Print a line or several of the result."""
    console().print(Text(printable(text), style=style), soft_wrap=True)


def separated(items: Iterable[_Item]) -> Iterator[_Item]:
    """Give items one by one, with an empty line between what is printed of each."""
    for place, item in enumerate(items):
        if place:
            say()
        yield item


def say_below(text: str, *, indent: int = 4) -> None:
    """Print text that belongs to the line above it."""
    _print_indented(console(), text, indent)


def note(text: str) -> None:
    """Print what is no result (a hint, a failure) to standard error."""
    print(printable(text), file=sys.stderr)  # noqa: T201


class ProgressLine:
    """One line on a terminal that says how far a command is; anywhere else, and with `is_quiet`, nothing.

    On standard error, so that results can be piped. Results printed beside it call `clear` first.
    """

    def __init__(self, *, is_quiet: bool = False) -> None:
        """Nothing is shown yet; the time counts from now."""
        self._is_shown = sys.stderr.isatty() and not is_quiet
        self._started = monotonic()

    def show(self, text: str) -> None:
        """Put `text` and the time so far in place of what was shown before."""
        if self._is_shown:
            line = f"{printable(text, is_line=True)}, {age_text(monotonic() - self._started)}"
            width = get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[K{line[:width]}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print name and value pairs below each other."""
    width = max((cell_len(name) for name, _ in facts), default=0)
    for name, value in facts:
        console().print(Text("  ").append(name.ljust(width + 2), style="dim").append(printable(value)), soft_wrap=True)


def print_listing(headers: Sequence[str], rows: Sequence[Row]) -> None:
    """Print rows in columns; a header that begins with > is for numbers, which stand at the right."""
    names = [header.removeprefix(">") for header in headers]
    lines = [[printable(cell, is_line=True) for cell in row.cells] for row in rows]
    widths = [max(cell_len(cell) for cell in column) for column in zip(names, *lines, strict=True)]
    to_right = [header.startswith(">") for header in headers]
    out = console()
    out.print(Text(_aligned(names, widths, to_right), style="bold"), soft_wrap=True)
    for cells, row in zip(lines, rows, strict=True):
        out.print(Text(_aligned(cells, widths, to_right)), soft_wrap=True)
        for detail in row.details:
            _print_indented(out, detail, 4)


def _print_indented(out: Console, text: str, indent: int) -> None:
    # Wrapped here and not by rich, which fills every line with spaces to its end.
    for line in Text(printable(text), style="dim").wrap(out, max(out.width - indent, 20)):
        line.rstrip()
        out.print(Text(" " * indent) + line, soft_wrap=True)


def _aligned(cells: Sequence[str], widths: Sequence[int], to_right: Sequence[bool]) -> str:
    parts = []
    for cell, width, is_right in zip(cells, widths, to_right, strict=True):
        space = " " * (width - cell_len(cell))
        parts.append(space + cell if is_right else cell + space)
    return "  ".join(parts).rstrip()


def print_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(json_value(value), ensure_ascii=False, indent=2) + "\n")


def json_value(value: Any) -> Any:
    """Give tuples with names as objects, instants as RFC 3339 in UTC, ids and decimals as strings."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    elif is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    match value:
        case dict():
            return {str(name): json_value(item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [json_value(item) for item in value]
        case datetime():
            return instant_text(value)
        case UUID() | Decimal():
            return str(value)
        case Enum():
            return value.value
        case _:
            return value


def printable(text: str, *, is_line: bool = False) -> str:
    """Escape what could command a terminal: messages hold whatever a sender wrote. Line ends and tabs stay in texts."""
    kept = "" if is_line else "\n\t"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def command_text(command: str, *values: object) -> str:
    """A command of ours that a person may copy into a shell: `values`, which others wrote, are nothing but words there.

    `command` is what we write ourselves: `dead show`, or with an option at its end that takes the first value.
    """
    words = [str(value) for value in values]
    is_option = command.rpartition(" ")[2].startswith("--")
    if not is_option and any(word.startswith("-") for word in words):
        words.insert(0, "--")
    return printable(f"loyalty {command} {shlex.join(words)}", is_line=True)


def points_text(points: int) -> str:
    """Points with their sign, as in a statement."""
    return f"{points:+,}"


def time_text(instant: datetime | None, zone: tzinfo | None = None) -> str:
    """An instant to the second in `zone`; without one in UTC, marked with Z."""
    if instant is None:
        return "-"
    if zone is None:
        return instant_text(instant)[:19].replace("T", " ") + "Z"
    return instant.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def until_text(end: datetime, zone: ZoneInfo) -> str:
    """The last day on which something is good that ends at `end`, which is no part of it any more.

    With the last minute where it does not end with the day.
    """
    last = (end - _INSTANT).astimezone(zone)
    day = f"{last.day} {last:%B %Y}"
    return day if next_midnight(last.date(), zone) == end else f"{day} {last:%H:%M}"


def age_text(seconds: float) -> str:
    """A duration in its two largest units."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in _SECONDS_OF_UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def count_text(count: int, noun: str, plural: str | None = None) -> str:
    """`1 entry`, `2 entries`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
