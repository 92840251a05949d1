"""Whether a name was probably meant to be another: case and separators do not count, a slip of the hand is forgiven.

Strict on purpose: a shop has fields of its own, and whoever takes one of them for a misspelt field of ours parks good
orders. So each word of a name must be right by itself: `customer_ip` is no `customer_id`, nor is `customer_tax` a tag.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache

NAME_CHARACTERS_MAX = 40  #: a longer one is nobody's slip
_SLIPS_MAX = 2
_FORGIVING_FROM = 5  #: letters of a name; of a shorter one only case and separators are forgiven
_WORD_FORGIVING_FROM, _WORD_TWICE_FROM = 4, 8  #: letters of a word that may have one slip, two
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[\W_]+")


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: of `customerId`, `customer_id` and `Customer-ID` the same two."""
    return tuple(word for word in _SEPARATORS.split(_HUMP.sub("_", name).casefold()) if word)


_words_of_wanted = lru_cache(maxsize=1_024)(words_of)


@lru_cache(maxsize=4_096)
def meant_names(name: str, known: frozenset[str]) -> tuple[str, ...]:
    """Those of `known` that `name` was probably meant to be, the likeliest first."""
    if len(name) > NAME_CHARACTERS_MAX:
        return ()
    words = words_of(name)
    found = [(slips, field) for field in known if (slips := _slips(words, _words_of_wanted(field))) is not None]
    return tuple(field for _, field in sorted(found))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `name` was probably meant to be."""
    return next(iter(meant_names(name, frozenset(known))), None)


def near_match(name: str, known: Sequence[str], cutoff: float = 0.75) -> str | None:
    """The one of `known` that looks most like `name`, of what only we have names for: less strict than `nearest`."""
    folded = {re.sub(r"[_\W]", "", candidate).casefold(): candidate for candidate in known}
    matches = get_close_matches(re.sub(r"[_\W]", "", name).casefold(), folded, n=1, cutoff=cutoff)
    return folded[matches[0]] if matches else None


def slips_between(name: str, wanted_name: str) -> int | None:
    """How many slips make one name of the other, case and separators apart; None: they are two names."""
    return _slips(words_of(name), _words_of_wanted(wanted_name))


def _slips(words: tuple[str, ...], wanted: tuple[str, ...]) -> int | None:
    joined, wanted_joined = "".join(words), "".join(wanted)
    if joined == wanted_joined:
        return 0
    if len(wanted_joined) < _FORGIVING_FROM or abs(len(joined) - len(wanted_joined)) > _SLIPS_MAX:
        return None
    if joined[0] != wanted_joined[0] and joined[:2] != wanted_joined[1::-1]:
        return None  # most names end here
    if len(words) != len(wanted):
        ends_right = len(wanted[-1]) >= _WORD_FORGIVING_FROM or joined.endswith(wanted[-1])
        return _slips_of_word(joined, wanted_joined) if ends_right else None
    slips = 0
    for pair in zip(words, wanted, strict=True):
        of_word = _slips_of_word(*pair)
        if of_word is None:
            return None
        slips += of_word
    return slips if slips <= _SLIPS_MAX else None


def _slips_of_word(word: str, wanted: str) -> int | None:
    if word == wanted:
        return 0
    if word[0] != wanted[0] and word[:2] != wanted[1::-1]:
        return None  # hardly anybody misses the first letter
    length = max(len(word), len(wanted))
    most = (length >= _WORD_FORGIVING_FROM) + (length >= _WORD_TWICE_FROM)
    slips = _distance(word, wanted, most)
    return slips if slips <= most else None


def _distance(a: str, b: str, most: int) -> int:
    """How many letters are missing, too many, wrong or swapped with the next one; beyond `most` not exactly."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    start = _alike(a, b)
    a, b = a[start:], b[start:]
    end = _alike(a[::-1], b[::-1])
    a, b = a[: len(a) - end], b[: len(b) - end]
    if not a or not b:
        return len(a) or len(b)
    if most <= 1:
        return 1 if len(a) == len(b) == 1 or (len(a) == 2 and a == b[::-1]) else 2  # noqa: PLR2004 - two are swapped
    shorter = [(a[1:], b[1:]), (a[1:], b), (a, b[1:])]
    if a[:2] == b[1::-1]:
        shorter.append((a[2:], b[2:]))
    return 1 + min(_distance(x, y, most - 1) for x, y in shorter)


def _alike(a: str, b: str) -> int:
    """How many letters at the beginning are the same."""
    place = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        place += 1
    return place
