"""All that is held of a customer as one HTML page, which the customer can read and print."""

from collections.abc import Iterator
from typing import Any

from core.reading.customer_data import CustomerData, HeldRows
from workers.cli.output import json_value
from workers.cli.report_page import report_page
from workers.cli.reports import Report, Table

_NOTES = ("Times are in UTC. What names other customers is left out.",)


def customer_page(found: CustomerData) -> str:
    """Give the whole page."""
    facts = [(place.title, f"{len(place.rows):,}") for place in found.places]
    told = Report("What is held, and how much", _NOTES, facts, (), (), {}, ())
    reports = [told, *(_report(place) for place in found.places)]
    return report_page(f"What is held of {found.customer_id}, {found.as_of:%d %B %Y}", reports)


def _report(place: HeldRows) -> Report:
    """A table for what has few columns, a list of facts for each row of what has many."""
    rows = [{_words(name): _text(value) for name, value in row.items()} for row in place.rows]
    headers = tuple(dict.fromkeys(name for row in rows for name in row))
    if len(headers) <= _COLUMNS_MAX:
        cells = [tuple(row.get(name, "") for name in headers) for row in rows]
        return Report(place.title, (), (), (Table("", headers, cells),), (), {}, ())
    cells = [(name if place_in else f"{number}. {name}", value) for number, row in enumerate(rows, start=1)
             for place_in, (name, value) in enumerate(row.items())]  # fmt: skip
    return Report(place.title, (), (), (Table("", ("", ""), cells),), (), {}, ())


#: More would not fit on a sheet of paper.
_COLUMNS_MAX = 6


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    plain = json_value(value)
    if isinstance(plain, dict | list):
        return "; ".join(_parts("", plain))
    return f"{plain:,}" if isinstance(plain, int) and not isinstance(plain, bool) else str(plain)


def _parts(name: str, value: Any) -> Iterator[str]:
    """Each value with the way that leads to it."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _parts(f"{name} {_words(key)}".strip(), part)
    elif isinstance(value, list):
        for number, part in enumerate(value, start=1):
            yield from _parts(f"{name} {number}".strip() if len(value) > 1 else name, part)
    else:
        yield f"{name}: {value}" if name else str(value)
