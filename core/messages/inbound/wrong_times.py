"""What is wrong with a time that looks nearly as RFC 3339 wants it, such as a day that no calendar has."""

import re
from calendar import monthrange
from datetime import UTC, datetime

_YEAR_MIN, _MONTHS, _HOURS, _MINUTES = 1970, 12, 24, 60
_PLACES_MAX = 9
_TIME = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})(?P<between>[Tt ])"
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(:(?P<second>[0-9]{2}))?((?P<point>[.,])(?P<places>[0-9]+))?"
    r"(?P<blank> ?)(?P<offset>[Zz]|UTC|GMT|[-+][0-9]{2}(:?[0-9]{2})?)?"
)
_OFFSET = re.compile(r"[Zz]|[-+](?P<hours>[0-9]{2}):(?P<minutes>[0-9]{2})")


def time_advice(text: str) -> str | None:
    """How to mend a time that the contract does not take; None: it is too far from one to say."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    return (
        _wrong_day(found) or _wrong_clock(found) or _wrong_form(found, text) or _wrong_offset(found) or _outside(text)
    )


def _wrong_day(found: re.Match[str]) -> str | None:
    year, month, day = (int(found[name]) for name in ("year", "month", "day"))
    if not year or not 1 <= month <= _MONTHS:
        return (
            f"there is no {'month' if year else 'year'} {found['month' if year else 'year']}; look how its date is made"
        )
    last = monthrange(year, month)[1]
    if not 1 <= day <= last:
        return f"there is no such day: {found['year']}-{found['month']} has {last} days"
    return None


def _wrong_clock(found: re.Match[str]) -> str | None:
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    if hour >= _HOURS or minute >= _MINUTES:
        return "hours go from 00 to 23 and minutes from 00 to 59; the end of a day is 00:00:00 of the next one"
    if second == _MINUTES:
        return "a leap second is not taken: write 59 in its place"
    if second > _MINUTES:
        return "seconds go from 00 to 59"
    return None


def _wrong_form(found: re.Match[str], text: str) -> str | None:
    if found["second"] is None:
        return f'the seconds are missing: write "{text[:10]}T{text[11:16]}:00" and the offset from UTC'
    if found["offset"] is None and found["point"] != ",":
        return f'the offset from UTC is missing: write "{text[:10]}T{text[11:19]}Z" if it is UTC'
    if found["point"] == ",":
        return "write a point before the decimals of the second, no comma"
    if len(found["places"] or "") > _PLACES_MAX:
        return f"a second has at most {_PLACES_MAX} decimals: leave out what is behind them"
    if found["between"] == " " or found["blank"]:
        return 'leave the blank out: write "T" between the date and the time, and the offset right after the time'
    return None


def _wrong_offset(found: re.Match[str]) -> str | None:
    offset = _OFFSET.fullmatch(found["offset"])
    if offset is None:
        return 'write the offset from UTC as "Z" or with hours and minutes, such as "+02:00"'
    if int(offset["hours"] or 0) >= _HOURS or int(offset["minutes"] or 0) >= _MINUTES:
        return "an offset from UTC has hours from 00 to 23 and minutes from 00 to 59"
    return None


def _outside(text: str) -> str | None:
    """Whether it is a right time that is not taken; a zone may carry it over the edge of all years."""
    try:
        year = datetime.fromisoformat(text.upper()).astimezone(UTC).year
    except OverflowError:
        year = int(text[:4])
    if year < _YEAR_MIN:
        return f"nothing before {_YEAR_MIN} is taken; was the sender's clock ever set?"
    return "it is not taken in UTC, where its year has five digits; look how its date is made"
