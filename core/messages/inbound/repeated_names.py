"""Names that stand more than once in an object of a message: a parser takes the last, and nobody knows which was meant.

An amount that stands twice would be the wrong one without a word. Fields that the contract ignores may stand as often
as they like.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from core.messages.inbound.stray_fields import Path, Places

_PROBLEMS_MAX = 5


class _RepeatedError(Exception):
    """A name stands twice."""


class _Pairs(list[tuple[str, Any]]):
    """An object, with each name as often as it stands there."""


def _each_once(pairs: Sequence[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _RepeatedError


# Numbers are not looked at; as floats those of any length are read at once.
_LOOK = json.JSONDecoder(object_pairs_hook=_each_once, parse_int=float)
_READ = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=float)


def repeated_names(body: bytes, places: Places) -> list[Path]:
    """Where names stand more than once that mean something, the first few; `body` is JSON of a known type."""
    text = body.decode()
    try:
        _LOOK.decode(text)
    except _RepeatedError:
        return list(islice(_repeated(_READ.decode(text), (), places), _PROBLEMS_MAX))
    return []


def repeated_text(paths: Sequence[str]) -> str:
    """What is wrong with these, in words."""
    stand = "stands" if len(paths) == 1 else "stand"
    return f"{', '.join(paths)} {stand} more than once, and only one can be meant; send each name once in an object"


def _repeated(found: Any, path: Path, places: Places) -> Iterator[Path]:
    if isinstance(found, _Pairs):
        place = places.get(tuple(part for part in path if isinstance(part, str)))
        # What is below a field that is known, such as an attribute of the shop's own, means something too.
        known = [(name, value) for name, value in found if place is None or name in place.known]
        counts = Counter(name for name, _ in known)
        yield from ((*path, name) for name, count in counts.items() if count > 1)
        for name, value in known:
            yield from _repeated(value, (*path, name), places)
    elif isinstance(found, list):
        for number, each in enumerate(found):
            yield from _repeated(each, (*path, number), places)
