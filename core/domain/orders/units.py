"""Amounts and quantities as whole numbers of a fixed small unit, and as texts for people."""

from decimal import Decimal

_PLACES = 12
#: So many units are one of the major unit of a currency, or one piece.
UNITS: int = 10**_PLACES
#: Thirds and sevenths are rounded to units, so a sum of them may miss what it stands for by a few. Wherever a number is
#: compared or rounded to whole points, it is taken to the millionth first.
UNITS_PER_MILLIONTH: int = 10 ** (_PLACES - 6)
_MILLIONTH_DIGITS = 6
_TEXT_DIGITS = 4


def units_of(number: Decimal) -> int:
    """An amount or a quantity in units, exactly: a message holds 4 decimal places at most."""
    return int(number.scaleb(_PLACES))


def number_of(units: int) -> Decimal:
    """An amount or a quantity that is so many units."""
    return Decimal(units).scaleb(-_PLACES).normalize()


def nearest(numerator: int, denominator: int) -> int:
    """The nearest whole number to a ratio whose denominator is above 0; of two the greater."""
    return (2 * numerator + denominator) // (2 * denominator)


def to_millionth(units: int) -> int:
    """Units to the nearest millionth, still in units."""
    return nearest(units, UNITS_PER_MILLIONTH) * UNITS_PER_MILLIONTH


def amount_text(units: int) -> str:
    """An amount for people: exact to 4 places, else cut to 4 and marked; what is less than a millionth is left out."""
    whole, rest = divmod(abs(units) + UNITS_PER_MILLIONTH // 2, UNITS)
    sign = "-" if units < 0 and (whole or rest >= UNITS_PER_MILLIONTH) else ""
    if rest < UNITS_PER_MILLIONTH:
        return f"{sign}{whole}"
    digits = str(rest // UNITS_PER_MILLIONTH).zfill(_MILLIONTH_DIGITS)
    shown = digits[:_TEXT_DIGITS].rstrip("0")
    more = "…" if digits[_TEXT_DIGITS:].strip("0") else ""
    return f"{sign}{whole}.{shown}{more}" if shown else f"{sign}{whole}{more}"
