"""A report in pieces: what text, CSV and the HTML page show of it are these."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from core.domain.accounting.liability import rounded

#: What stands where there is no figure.
NONE = "-"


class Table(NamedTuple):
    """Rows under headers; a header that begins with > is for numbers."""

    caption: str
    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Plot(NamedTuple):
    """Columns by month, or by whatever the labels name: of each series one, below the line what is below zero."""

    title: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[int]]


class Report(NamedTuple):
    """What one report says of one program."""

    headline: str
    notes: tuple[str, ...]
    facts: Sequence[tuple[str, str]]
    tables: Sequence[Table]
    plots: Sequence[Plot]
    document: dict[str, Any]  #: all of it, for JSON
    csv_rows: Sequence[tuple[Any, ...]]  #: without headers, which are the kind's


class Kind(NamedTuple):
    """One kind of report."""

    title: str
    csv_headers: tuple[str, ...]


def money_text(currency: str, amount: Decimal | None) -> str:
    """An amount as people read it; without a value of a point there is none."""
    return NONE if amount is None else f"{currency} {rounded(amount, currency):,}"


def plain_amount(currency: str, amount: Decimal | None) -> str | None:
    """An amount as programs read it, to the currency's smallest unit."""
    return None if amount is None else str(rounded(amount, currency))


def month_name(first_day: date | None, absent: str) -> str:
    """A month such as 2026-11, or what stands for none."""
    return absent if first_day is None else f"{first_day:%Y-%m}"
