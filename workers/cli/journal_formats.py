"""A journal as beancount, hledger and spreadsheets read it."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from io import StringIO
from types import MappingProxyType

from core.domain.accounting.flows import FLOWS, Flow
from core.domain.accounting.journal import (
    OPENING,
    OWED,
    Journal,
    JournalAccount,
    Posting,
    Transaction,
    against,
)
from core.domain.calendar import add_months, last_day_of
from core.domain.ledger import EntryKind

_FLOW_WORDS = {flow: flow.value.replace("_", " ") for flow in Flow}


class JournalFormat(StrEnum):
    """Who reads the journal."""

    BEANCOUNT = "beancount"
    HLEDGER = "hledger"
    CSV = "csv"


def journal_text(journal: Journal, form: JournalFormat, *, has_opening: bool = True) -> str:
    """The whole journal; without its opening it goes on where that of the month before ends."""
    return _FORMATS[form](journal, has_opening)


def _beancount(journal: Journal, has_opening: bool) -> str:
    commodity, first, following = _commodity(journal), journal.month.first_day, _following(journal)
    lines = []
    if has_opening:
        lines.append(f'option "title" "Points of {journal.program_id}"')
        lines += [f"{first} open {_name(journal, account)} {commodity}" for account in _accounts()]
    for day, told, entries, postings in _told(journal, has_opening):
        lines += ["", f'{day} * "{told}"']
        lines += [f"  entries: {entries}"] if entries else []
        lines += [f"  {_name(journal, p.account)}  {_amount(journal, p.points)} {commodity}" for p in postings]
    lines.append("")
    if journal.point_value is not None and not journal.is_money:
        lines.append(f"{_last(journal)} price {commodity} {journal.point_value} {journal.currency}")
    lines += [
        f"{following} balance {_name(journal, account)}  {_amount(journal, points)} {commodity}"
        for account, points in journal.closing().items()
    ]
    return "\n".join(lines) + "\n"


def _hledger(journal: Journal, has_opening: bool) -> str:
    commodity = _commodity(journal)
    commodity = commodity if commodity.isalpha() else f'"{commodity}"'
    lines = [f"; Points of {journal.program_id}, {journal.month.text}"]
    if has_opening:
        lines += [f"account {_name(journal, account)}" for account in _accounts()]
    for day, told, entries, postings in _told(journal, has_opening):
        lines += ["", f"{day} * {told}" + (f"  ; entries: {entries}" if entries else "")]
        lines += [f"    {_name(journal, p.account)}  {_amount(journal, p.points)} {commodity}" for p in postings]
    if journal.point_value is not None and not journal.is_money:
        lines += ["", f"P {_last(journal)} {commodity} {journal.point_value} {journal.currency}"]
    lines += ["", f"{_last(journal)} * balances"]
    lines += [
        f"    {_name(journal, account)}  0 {commodity} = {_amount(journal, points)} {commodity}"
        for account, points in journal.closing().items()
    ]
    return "\n".join(lines) + "\n"


def _csv(journal: Journal, has_opening: bool) -> str:
    written = StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(("transaction", "date", "description", "account", "amount", "commodity", "entries"))
    for number, (day, told, entries, postings) in enumerate(_told(journal, has_opening), start=1):
        for posting in postings:
            name, amount = _name(journal, posting.account), _amount(journal, posting.points)
            writer.writerow((number, day, told, name, amount, _commodity(journal), entries))
    return written.getvalue()


def _told(journal: Journal, has_opening: bool) -> Iterator[tuple[date, str, int, tuple[Posting, ...]]]:
    """Each transaction: its day, what it is, of how many entries, and its lines."""
    if has_opening and journal.opening_postings:
        yield journal.month.first_day, "opening", 0, journal.opening_postings
    for each in journal.transactions:
        yield each.day, _words(each), each.entries, each.postings


def _words(transaction: Transaction) -> str:
    return f"{_FLOW_WORDS[transaction.flow]}: {transaction.kind}"


def _accounts() -> Iterable[JournalAccount]:
    """All that any month may need."""
    kinds = [(flow, kind.value) for kind, flow in FLOWS.items() if flow is not Flow.HELD]
    undone = [(flow, EntryKind.REVERSAL.value) for flow in (Flow.ISSUED, Flow.REDEEMED, Flow.ADJUSTED, Flow.MOVED)]
    every = [*kinds, *undone, (Flow.EXPIRED, "forfeited")]
    return [*OWED, OPENING, *sorted(against(flow, kind) for flow, kind in every)]


def _name(journal: Journal, account: JournalAccount) -> str:
    """As beancount wants its accounts: each part begins with a large letter or a digit."""
    program = journal.program_id.replace("_", "-").strip("-") or "0"
    return ":".join((account.side.value, "Points", program[0].upper() + program[1:], *account.names))


def _commodity(journal: Journal) -> str:
    return re.sub(r"[^A-Z0-9]+", "-", journal.unit.upper()).strip("-")


def _amount(journal: Journal, points: int) -> str:
    """Points as they are; money in major units."""
    if not journal.is_money:
        return str(points)
    assert journal.point_value is not None
    return f"{Decimal(points) * journal.point_value:f}"


def _last(journal: Journal) -> date:
    return last_day_of(journal.month.first_day, 1)


def _following(journal: Journal) -> date:
    return add_months(journal.month.first_day, 1)


_FORMATS: Mapping[JournalFormat, Callable[[Journal, bool], str]] = MappingProxyType(
    {JournalFormat.BEANCOUNT: _beancount, JournalFormat.HLEDGER: _hledger, JournalFormat.CSV: _csv}
)
