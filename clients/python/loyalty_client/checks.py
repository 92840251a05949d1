"""Checks of values that pydantic has no constraint for.

Amounts and quantities travel as decimal strings: a binary float has lost digits before it is written.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any


def decimal_text(pattern: str, *, not_zero: bool = False) -> Callable[[Any], Any]:
    """Make a check that writes a Decimal as text, and takes text only in the form of the pattern.

    What is neither is left to its type, but for a float.
    """
    form = re.compile(pattern)

    def checked(value: Any) -> Any:
        if isinstance(value, float):
            # pydantic tells of ValueErrors alone.
            raise ValueError('write a Decimal, or text such as "12.50": a float has lost digits')  # noqa: TRY004
        if not isinstance(value, str | Decimal):
            return value
        text = f"{value:f}" if isinstance(value, Decimal) else value
        if not form.match(text) or text.endswith("\n"):
            raise ValueError(f'{text!r} is not a decimal number in the form of "12.50", or has too many digits')
        if not_zero and not text.strip("-0."):
            raise ValueError("it must not be zero")
        return text

    return checked


def visible(pattern: str) -> Callable[[str], str]:
    """Make a check of names: pydantic would quote the pattern, of which nobody can read what is wrong."""
    form = re.compile(pattern)
    at = ", or an @" if "@" in pattern else ""

    def checked(value: str) -> str:
        if not form.match(value) or value.endswith("\n"):
            raise ValueError(f"{value!r} has a blank at an end, a character that nobody sees{at}")
        return value

    return checked


def unlike(pattern: str) -> Callable[[str], str]:
    """Make a check that refuses text of this form."""
    form = re.compile(pattern)

    def checked(value: str) -> str:
        if form.search(value):
            raise ValueError(f"{value!r} has a form that is not allowed here")
        return value

    return checked


def other_than(refused: int) -> Callable[[int], int]:
    """Make a check that refuses one number."""

    def checked(value: int) -> int:
        if value == refused:
            raise ValueError(f"it must not be {refused}")
        return value

    return checked
