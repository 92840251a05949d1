"""Which columns the code updates: read from the statements that it makes, and from the SQL that it holds."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from core.store.proof.rebuild import DERIVED
from core.store.rows import Put, Update

ROOT = Path(__file__).parents[2]
_SETS = r"SET\s+(.*?)(?=\s(?:FROM|WHERE|RETURNING)\s|\Z)"
_UPDATE = re.compile(rf"\bUPDATE\s+(\w+)(?:\s+(?!SET\b)\w+)?\s+{_SETS}", re.DOTALL)
_UPSERT = re.compile(rf"\bINSERT INTO\s+(\w+)\b.*?\bDO UPDATE\s+{_SETS}", re.DOTALL)
_INNERMOST = re.compile(r"\([^()]*\)")


def updated_columns() -> dict[str, set[str]]:
    """Of each table the columns that some statement of ours sets."""
    found: dict[str, set[str]] = defaultdict(set)
    for statement in _statements():
        for table, columns in _set_by(statement):
            found[table] |= columns
    for numbers in DERIVED:  # whose statements are made when they are needed
        found[numbers.table.name] |= set(numbers.names)
    return found


def _statements() -> Iterator[str]:
    for package in ("core", "tasks", "workers"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" in path.parts:
                continue
            text = path.read_text()
            if re.search(r"\b(UPDATE|Update|Put)\b", text):
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                yield from _of_module(import_module(name.removesuffix(".__init__")))
                yield from _inline(ast.parse(text))


def _of_module(module: ModuleType) -> Iterator[str]:
    """The statements that stand in its names, as they are when it is loaded."""
    for value in vars(module).values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, Update | Put):
            yield value.of_one


def _inline(node: ast.AST) -> Iterator[str]:
    """What is written within functions; what is filled in there names no columns."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "filled_in" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _inline(child)


def _set_by(statement: str) -> Iterator[tuple[str, set[str]]]:
    while _INNERMOST.search(statement):
        # Only what is not within parentheses can be a column that is set; what is, may be a statement of its own.
        for inner in _INNERMOST.findall(statement):
            yield from _flat(inner[1:-1])
        statement = _INNERMOST.sub(" ", statement)
    yield from _flat(statement)


def _flat(statement: str) -> Iterator[tuple[str, set[str]]]:
    for pattern in (_UPDATE, _UPSERT):
        for table, sets in pattern.findall(statement):
            columns = {part.partition("=")[0].strip() for part in sets.split(",")}
            assert all(re.fullmatch(r"\w+", column) for column in columns), statement
            if table != "filled_in":
                yield table, columns - {"filled_in"}
