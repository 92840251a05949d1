# ruff: noqa: INP001  # a script, not a package
"""Writes the tables of the docs that follow from the code: settings, queue names and reasons.

`python docs/generate.py` rewrites them in place, between the markers `<!-- name: ... -->` and `<!-- /name -->`.
A test fails while they differ from the code.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from inspect import getsource
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))  # run as a script, only this folder is on the path

from config.queues import QUEUE_NAMES  # noqa: E402
from config.schedule import TICKS  # noqa: E402
from config.settings import Settings  # noqa: E402
from core.domain import outcomes  # noqa: E402
from core.messages.reasons import MENDS  # noqa: E402
from tasks.registry import TASKS  # noqa: E402

_LIMITS = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}


def tables() -> dict[str, dict[str, str]]:
    """Every generated table, by file and name."""
    return {
        "operations.md": {"settings": _settings(), "tasks": _tasks()},
        "messages.md": {"reasons": _reasons()},
    }


def with_tables(text: str, named: dict[str, str]) -> str:
    """Put the tables between their markers; KeyError-like failure is a marker that is not there."""
    for name, table in named.items():
        pattern = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda found, table=table: f"{found[1]}{table}{found[2]}", text)
        if count != 1:
            raise ValueError(f"the markers of table {name} stand {count} times")
    return text


def _settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        meaning = " ".join((field.description or "").split())
        limits = _limits(field.metadata) + _choices(field.annotation)
        rows.append((f"`LOYALTY_{name.upper()}`", _default(field.default), f"{meaning}{limits}"))
    return _table(("Setting", "Default", "Meaning"), rows)


def _default(value: Any) -> str:
    return "unset" if value is None else f"`{value}`"


def _limits(metadata: Sequence[Any]) -> str:
    limits = [
        text.format(f"{getattr(bound, name):,}")
        for bound in metadata
        for name, text in _LIMITS.items()
        if hasattr(bound, name)
    ]
    return f" ({' '.join(limits)})" if limits else ""


def _choices(annotation: Any) -> str:
    return f" ({', '.join(get_args(annotation))})" if get_origin(annotation) is Literal else ""


def _tasks() -> str:
    every = {tick.task: f"{tick.every_seconds:g} s" for tick in TICKS}
    rows = []
    for task in TASKS:
        assert task.queue in QUEUE_NAMES
        summary = (task.function.__doc__ or "").partition("\n")[0]
        rows.append((f"`{task.name}`", f"`{task.queue}`", every.get(task.name, "when there is work"), summary))
    return _table(("Task", "Queue", "Runs each", "What it does"), rows)


def _reasons() -> str:
    # What a reason means stands beside it in the source, as a comment.
    meanings = dict(re.findall(r'= "(\w+)"  #: (.+)', getsource(outcomes.Reason)))
    rows = [(f"`{reason}`", meanings[reason], MENDS[reason]) for reason in outcomes.Reason]
    return _table(("Reason", "What is wrong", "What mends it"), rows)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    for file, named in tables().items():
        path = FOLDER / file
        path.write_text(with_tables(path.read_text(encoding="utf-8"), named), encoding="utf-8")
