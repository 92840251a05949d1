"""Which wrong values may be shown to the reader of a dead letter, whose text is stored, logged and published.

A name, a telephone number, a card or an account of a bank may stand in any field. So a value is shown only where it
looks like what belongs there, and by its looks could hardly be anything of a person. Else its length is told.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from core.domain.orders.facts import LineKind
from core.messages.inbound.fields import CURRENCIES, NUMBER_HIDDEN_FROM, TYPE_LIKE
from core.messages.inbound.near_names import near_match, nearest
from core.messages.inbound.wanted import AMOUNTS, TIMES

VALUE_CHARACTERS_MAX = 40

_SIGNS = {"%", "€", "$", "£", "¥", "₹", "us$", "a$", "c$", "r$", "kr", "zł", "kč", "euro"}
_CURRENCY_CODES = tuple(sorted(CURRENCIES))
_CODE_CHARACTERS = 3

#: A number alone. Groups of thousands all have one separator; with blanks or apostrophes decimals must follow, as
#: "030 123 456" is a telephone number. So is "0301234567", and one that begins with "+" and has many digits.
_NUMBER = re.compile(
    r"-?(\+(?=\d{1,6}(\D|\Z)))?"
    r"(?!0\d)"
    r"(\d{1,9}([.,]\d{0,5})?"
    r"|\d{0,2}[.,]\d{1,13}"
    r"|\d{1,3}(,\d{3}){1,2}(\.\d{1,4})?"
    r"|\d{1,3}(\.\d{3}){1,2}(,\d{1,4})?"
    r"|\d{1,3}( \d{3}){1,2}[.,]\d{1,4}"
    r"|\d{1,3}('\d{3}){1,2}[.,]\d{1,4}"
    r"|\d{1,6}[eE][-+]?\d{1,2})"
)
#: With what may stand before or behind it: a currency.
_AMOUNT_LIKE = re.compile(
    r"-?(?P<before>[^\d\s.,'+-]{0,4}) ?(?P<number>[-+\d.,' eE]*[\d.,]) ?(?P<behind>[^\d\s.,'+-]{0,4})"
)
_OFFSET = r" ?([Zz]|UTC|GMT|[-+][0-9]{2}(:?[0-9]{2})?)"
_TIME_LIKE = re.compile(
    rf"[0-9]{{4}}-[0-9]{{2}}(-[0-9]{{2}}([Tt ][0-9]{{2}}(:?[0-9]{{2}}){{0,2}}([.,][0-9]{{1,12}})?({_OFFSET})?)?)?"
)
#: Seconds or milliseconds since 1970, of this time.
_UNIX_TIME = re.compile(r"1[0-9]{9}(\.[0-9]{1,9}|[0-9]{3})?")
_VERSION = re.compile(r"[0-9.]{1,5}")
_YES_OR_NO = {"true", "false", "yes", "no", "on", "off", "y", "n", "1", "0"}

_KINDS = tuple(kind.value for kind in LineKind)
_KINDS_MEANT = {"fees": "fee", "tips": "tip", "shipment": "shipping", "delivery": "shipping", "postage": "shipping"}
DISCOUNTS = {"discount", "coupon", "rebate"}

Match = Callable[..., str | None]  #: as `near_match`


def may_be_shown(field: str, value: object, match: Match = near_match) -> bool:
    """Whether a string or a number looks like what belongs into `field`, and like nothing of a person."""
    if field not in _LOOKS:
        return False
    if isinstance(value, str):
        return len(value) <= VALUE_CHARACTERS_MAX and _LOOKS[field](value, match)
    if field in TIMES:
        return _UNIX_TIME.fullmatch(json.dumps(value)) is not None
    return isinstance(value, int | float) and abs(value) < NUMBER_HIDDEN_FROM


def shown(value: Any) -> str:
    """Write a value as JSON, in ASCII, cut to 40 characters."""
    text = json.dumps(value[:VALUE_CHARACTERS_MAX] if isinstance(value, str) else value)
    if len(text) > VALUE_CHARACTERS_MAX:
        return f"{text[: VALUE_CHARACTERS_MAX - 3]}..."
    return text


def near_currency(code: str, match: Match = near_match) -> str | None:
    """Find the currency that `code` was meant to be: "gbp" and "EURO" are clear, "US" and "GBX" are anybody's guess."""
    return match(code, _CURRENCY_CODES, cutoff=0.8) if len(code) >= _CODE_CHARACTERS else None


def near_kind(kind: str) -> str | None:
    """The kind of line that was probably meant."""
    return _KINDS_MEANT.get(kind.casefold()) or nearest(kind, _KINDS)


def _is_amount(text: str) -> bool:
    found = _AMOUNT_LIKE.fullmatch(text.strip(" "))
    if found is None or _NUMBER.fullmatch(found["number"].strip(" ")) is None:
        return False
    beside = [each for each in (found["before"], found["behind"]) if each]
    return len(beside) <= 1 and all(each.lower() in _SIGNS or _is_code(each) for each in beside)


def _is_code(text: str) -> bool:
    """Whether it is the code of a currency, and not written like a name: "Ron" is one."""
    return text.upper() in CURRENCIES and text in {text.upper(), text.lower()}


def _is_time(text: str) -> bool:
    return (_TIME_LIKE.fullmatch(text) or _UNIX_TIME.fullmatch(text)) is not None


_LOOKS: Mapping[str, Callable[[str, Match], bool]] = {
    "specversion": lambda text, _: _VERSION.fullmatch(text) is not None,
    "type": lambda text, _: TYPE_LIKE.fullmatch(text) is not None,
    "currency": lambda text, match: text in _SIGNS or near_currency(text, match) is not None,
    "kind": lambda text, _: text.casefold() in DISCOUNTS or near_kind(text) is not None,
    "full": lambda text, _: text.casefold() in _YES_OR_NO,
    **dict.fromkeys(TIMES, lambda text, _: _is_time(text)),
    **dict.fromkeys(("quantity", "rate", *AMOUNTS), lambda text, _: _is_amount(text)),
}
