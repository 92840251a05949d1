"""What differs between two JSON texts, value by value."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

_NOTHING = "nothing"


class Change(NamedTuple):
    """One value that was changed, added or taken out."""

    path: str  #: such as data.lines[0].amount
    before: str  #: as JSON
    after: str


def changed_values(before: bytes, after: bytes) -> list[Change] | None:
    """Compare two texts; None if one of them is no JSON (or nested too deeply to look into)."""
    try:
        # Numbers stay as they are written: 12.50 and 12.5 are not the same bytes.
        old, new = (
            dict(_values(json.loads(raw, parse_float=_Number, parse_int=_Number), "")) for raw in (before, after)
        )
    except (ValueError, RecursionError):
        return None
    return [
        Change(path or "the whole", old.get(path, _NOTHING), new.get(path, _NOTHING))
        for path in dict.fromkeys((*old, *new))
        if old.get(path) != new.get(path)
    ]


class _Number(str):
    """A number, digit by digit."""

    __slots__ = ()


def _values(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _values(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from _values(item, f"{path}[{place}]")
    elif isinstance(value, _Number):
        yield path, str(value)
    else:
        yield path, json.dumps(value, ensure_ascii=False)
