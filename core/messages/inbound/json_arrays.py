"""Cuts the text of a JSON array into the texts of its elements, so that each keeps the very bytes that were sent."""

import json
import re
from collections.abc import Iterator
from typing import NoReturn

_JSON_SPACE = re.compile(r"[ \t\n\r]*")

# Numbers stay text here: Python refuses to make an integer of more than 4,300 digits.
_scan = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).raw_decode


def elements(text: str) -> Iterator[str]:
    """Yield each element of the array in `text`; ValueError or RecursionError, once it is met, for what is none."""
    at = _skip_space(text, _skip_space(text, 0) + 1)
    if text[at : at + 1] == "]":
        at += 1
    else:
        separator = ","
        while separator == ",":
            start = _skip_space(text, at)
            _, at = _scan(text, start)
            yield text[start:at]
            at = _skip_space(text, at)
            separator = text[at : at + 1]
            at += 1
        if separator != "]":
            _refuse(f"a comma or the end of the array is missing at character {at}")
    if _skip_space(text, at) != len(text):
        _refuse(f"something follows the array at character {at + 1}")


def _skip_space(text: str, at: int) -> int:
    match = _JSON_SPACE.match(text, at)
    return match.end() if match else at


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)
