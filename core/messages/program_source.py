"""Reads the YAML of a program file as plain values, and remembers in which line each of them stands."""

import re
from typing import Any, NamedTuple

import yaml

from core.errors import ProgramFileError
from core.messages.problems import path_text

YamlPath = tuple[str | int, ...]


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


class ProgramSource:
    """A program file as values, with the place of each one."""

    def __init__(self, text: str, *, path: str) -> None:
        """Read `text`. ProgramFileError when it is not YAML; what else is odd about it goes to `problems`."""
        self.value: Any = None
        self.places: dict[YamlPath, Place] = {}
        self.problems: list[Problem] = []
        self._scalars = yaml.constructor.SafeConstructor()
        self._seen: set[int] = set()
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            if root is not None:
                self.value = self._read(root)
        except (yaml.YAMLError, RecursionError) as error:
            raise ProgramFileError(path=path, problems=_why_not(error)) from error

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
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:  # a tag such as !!python/...; the 45th of a month
            self._refuse(node.start_mark.line + 1, path, f"cannot be read: {getattr(error, 'problem', None) or error}")
            return None
        plain_integer = re.fullmatch(r"[-+]?(0|[1-9][0-9_]*)", node.value)
        if isinstance(value, int) and not isinstance(value, bool) and not plain_integer:
            text = f"is written {node.value}, which YAML reads as {value}; write a plain integer, or quote it"
            self._refuse(node.start_mark.line + 1, path, text)
        return value

    def _refuse(self, line: int, path: YamlPath, text: str) -> None:
        self.problems.append(Problem(line, path, text))


def _why_not(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return f"{where}it is not YAML: {error.problem or error.context}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"it is not YAML: {str(error).splitlines()[0]}"
