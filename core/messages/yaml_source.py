"""Reads the YAML of a file of ours as plain values, and remembers in which line each of them stands."""

import re
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from core.errors import ProgramFileError, SourcesFileError
from core.messages.inbound.problems import path_text

FILE_BYTES_MAX = 1_048_576
#: No value of ours is nearly as long. YAML reads 1:1:1:... as one number, in a time that grows with its square.
SCALAR_CHARACTERS_MAX = 1_000
NESTING_MAX = 100
#: Nobody mends more at once, and wording one takes far longer than reading a line.
PROBLEMS_TOLD_MAX = 30

_DAY = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}")
_BRACKET = re.compile(r"[\[\]{}]")

#: What PyYAML says of the commonest slips, in words that say what to do.
_MEANT = {
    "but found another document": "a second document begins with ---; one file holds one",
    "mapping values are not allowed here": 'a colon where none can be; write text that has one in quotes: "a: b"',
    "found character '\\t' that cannot start any token": "a tab; indent with spaces",
}

YamlPath = tuple[str | int, ...]
FileError = type[ProgramFileError] | type[SourcesFileError]


class Problem(NamedTuple):
    """One thing that is wrong in a file."""

    line: int
    path: YamlPath
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {path_text(self.path)} {self.text}".replace(":  ", ": ")


class Place(NamedTuple):
    """Where a value stands in the file, and how it is written there."""

    key_line: int
    line: int
    text: str | None  #: None when it is a list or a mapping


def told(problems: Iterable[Problem]) -> str:
    """One line for each problem in the order of the file, the first PROBLEMS_TOLD_MAX of them."""
    ordered = [str(problem) for problem in sorted(set(problems), key=lambda problem: (problem.line, str(problem)))]
    if len(ordered) > PROBLEMS_TOLD_MAX:
        ordered[PROBLEMS_TOLD_MAX:] = [f"and more: these are the first {PROBLEMS_TOLD_MAX} problems; mend them first"]
    return "\n".join(ordered)


#: Stands for standard input where a file is named.
STDIN = "-"


def read_text(path: Path | str, *, error: FileError, takes_stdin: bool = False) -> str:
    """Read a file of UTF-8, with `takes_stdin` also - for standard input; `error` says why it cannot be read."""
    try:
        with nullcontext(sys.stdin.buffer) if takes_stdin and str(path) == STDIN else Path(path).open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise error(path=str(path), problems=f"it has more than {FILE_BYTES_MAX:,} bytes")
        return raw.decode("utf-8-sig")
    except OSError as failure:
        raise error(path=str(path), problems=failure.strerror or "it cannot be read") from failure
    except UnicodeDecodeError as failure:
        problem = f"it is not written in UTF-8 (byte {failure.start + 1})"
        raise error(path=str(path), problems=problem) from failure


class YamlSource:
    """A file as values, with the place of each one."""

    def __init__(self, text: str, *, path: str, error: FileError, shows_values: bool = True) -> None:
        """Read `text`. Raises `error` when it is not YAML; what else is odd about it goes to `problems`.

        Without `shows_values` no problem quotes a value.
        """
        self.value: Any = None
        self.places: dict[YamlPath, Place] = {}
        self.problems: list[Problem] = []
        self._scalars = yaml.constructor.SafeConstructor()
        self._seen: set[int] = set()
        self._shows_values = shows_values
        if _brackets_deep(text) > NESTING_MAX:
            raise error(path=path, problems="it is nested too deeply")
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            if root is not None:
                self.value = self._read(root)
        except (yaml.YAMLError, RecursionError) as failure:
            raise error(path=path, problems=_why_not(failure)) from failure

    def _read(self, node: yaml.Node, path: YamlPath = (), key_line: int | None = None) -> Any:
        line = node.start_mark.line + 1
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        self.places[path] = Place(key_line or line, line, text)
        if text is None and id(node) in self._seen:  # an alias may even contain itself
            self._refuse(line, path, "is an alias (*); write the value out")
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(item, (*path, place)) for place, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: YamlPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            # As written: YAML would make `no:` and `1:` something else than the tier of that name.
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            if key in values:
                first = self.places[*path, key].key_line
                self._refuse(line, (*path, key), f"stands twice, first in line {first}; keep one of them")
            else:
                values[key] = self._read(value_node, (*path, key), line)
        return values

    def _scalar(self, node: yaml.Node, path: YamlPath) -> Any:
        line = node.start_mark.line + 1
        if len(node.value) > SCALAR_CHARACTERS_MAX:
            self._refuse(
                line, path, f"has {len(node.value):,} characters; a value has at most {SCALAR_CHARACTERS_MAX:,}"
            )
            return None
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as failure:  # a tag such as !!python/...; the 45th of a month
            self._refuse(line, path, self._unread(node.value, failure))
            return None
        except (AttributeError, LookupError, OverflowError):  # PyYAML on a tag that does not fit: !!timestamp soon
            self._refuse(line, path, "cannot be read: its tag (!!) does not fit; leave the tag out")
            return None
        plain_integer = re.fullmatch(r"[-+]?(0|[1-9][0-9_]*)", node.value)
        if isinstance(value, int) and not isinstance(value, bool) and not plain_integer:
            read = f" {node.value}, which YAML reads as {value}" if self._shows_values else " as YAML writes numbers"
            is_time = self._shows_values and re.fullmatch(r"[0-9]{1,2}:[0-9]{2}", node.value)
            mend = f'quote it: "{node.value}"' if is_time else "write a plain integer, or quote it"
            text = f"is written{read}; {mend}"
            self._refuse(line, path, text)
        return value

    def _unread(self, written: str, failure: Exception) -> str:
        if not self._shows_values:
            return "cannot be read; quote it if it is text"
        if _DAY.fullmatch(written):
            return f"is {written}, which is not a day of the calendar; write one such as 2026-12-24"
        return f"cannot be read: {getattr(failure, 'problem', None) or failure}"

    def _refuse(self, line: int, path: YamlPath, text: str) -> None:
        self.problems.append(Problem(line, path, text))


def _brackets_deep(text: str) -> int:
    """How many brackets are open at once at most, those in texts and comments included: PyYAML is slow in them."""
    steps = (1 if bracket in "[{" else -1 for bracket in _BRACKET.findall(text))
    return max(accumulate(steps), default=0)


def _why_not(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return f"{where}it is not YAML: {_MEANT.get(error.problem or '', error.problem or error.context)}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"it is not YAML: {str(error).splitlines()[0]}"
