"""Checks of values that pydantic has no constraint for.

Amounts and quantities travel as decimal strings: a binary float has lost digits before it is written.
"""

import re
from collections.abc import Callable
from decimal import Decimal


def decimal_text(pattern: str, *, not_zero: bool = False) -> Callable[[int | str | Decimal], int | str]:
    """Make a check that writes a Decimal as text, and takes text only in the form of the pattern; integers pass."""
    form = re.compile(pattern.replace("$", r"\Z"))

    def checked(value: int | str | Decimal) -> int | str:
        if isinstance(value, int):
            return value
        text = f"{value:f}" if isinstance(value, Decimal) else value
        if not form.match(text):
            raise ValueError(f'{text!r} is not a decimal number in the form of "12.50", or has too many digits')
        if not_zero and not text.strip("-0."):
            raise ValueError("it must not be zero")
        return text

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
