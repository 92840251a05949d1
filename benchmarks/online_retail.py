"""Turns the UCI "Online Retail" file into a shop's messages: orders and refunds as CloudEvents, in the order of time.

    python -m benchmarks.online_retail online_retail_2010_2011.csv.gz --out replay.ndjson

The file has one row per invoice line: InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID,
Country, sorted by InvoiceDate. It is CC BY 4.0; workers/demo/ATTRIBUTION.md has the citation.

Sales. An invoice of digits becomes one `order.completed` with the invoice number as order_id. Rows with a quantity of 0
or less (write-offs) or a negative price are left out; an invoice that has no row left is skipped. line_id numbers the
rows that are kept, from 1. No CustomerID is a guest. An invoice with two timestamps happened at its first one. Invoices
`A...` (bad debt) are no orders and are skipped.

Kinds. Postage and carriage (POST, DOT, C2) are `shipping`, gift vouchers (gift_...) `gift_card`. `fee` is all money
that is not goods: BANK CHARGES, AMAZONFEE, CRUK (a charity's commission); M and m (typed in by hand: nothing says that
goods were sold, and most of their money is taken back later); D (a discount, should one stand in a sale); B, ADJUST
and ADJUST2 (bookkeeping); TEST001 and TEST002. Everything else is a product, samples (S) too: goods left the shop.
Product is the contract's default and is not written.

Cancellations. An invoice `C...` does not say which sale it takes back, so each of its rows is placed by this rule:
1. Candidates are the lines with the same StockCode (same spelling) in the customer's orders that came earlier in the
   stream, of which pieces and money are left that no cancellation has taken yet.
2. Lines sold at the cancelled UnitPrice come first, then lines sold at other prices; in each group the newest order
   first, and in one order the lowest line number first.
3. From each candidate in turn it takes the pieces it still needs, at most those that are left; their money is pieces *
   the cancelled UnitPrice, at most the money that is left of that line.
4. Money that found no place (no customer, no candidate, more money than the lines had) stays unplaced.
All that one C invoice takes from one order is one `order.refunded`, one entry for each order line. An entry has the
quantity; it has money (`net`) as well when that is not quantity * the price of the sale. The unplaced money of a C
invoice is one refund of money, of the order `unknown-<C invoice>`, which no shop ever sends: such a refund waits. So
the refunds of a C invoice always add up to its money. Rows of a C invoice without pieces or money are left out.
"""

import argparse
import csv
import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

Document = dict[str, Any]

SOURCE = "/shops/online-retail"
FILE_NAME = "online_retail_2010_2011.csv.gz"
DATA_FOLDER_VARIABLE = "LOYALTY_DATA_FOLDER"
SHOP_ZONE = ZoneInfo("Europe/London")
#: Rows of one invoice stand at most 2 minutes apart in the file, sometimes with rows of others between them.
INVOICE_OPEN = timedelta(minutes=10)
PENNY = Decimal("0.01")

KIND_BY_SKU = {
    **dict.fromkeys(("POST", "DOT", "C2"), "shipping"),
    **dict.fromkeys(("BANK CHARGES", "AMAZONFEE", "CRUK", "M", "m", "D"), "fee"),
    **dict.fromkeys(("B", "ADJUST", "ADJUST2", "TEST001", "TEST002"), "fee"),
}


class RetailFileError(ValueError):
    """The file is not what this reader relies on: another order of rows, or no such columns."""


class Row(NamedTuple):
    """One row of the file, typed. `customer_id` is None for a guest."""

    invoice: str
    sku: str
    quantity: int
    at: datetime  #: shop-local, naive, as in the file
    price: Decimal
    customer_id: str | None


@dataclass(slots=True)
class Invoice:
    """All rows of one invoice number, in the file's order; `at` is the first row's time."""

    number: str
    at: datetime
    customer_id: str | None
    rows: list[Row]


@dataclass(slots=True)
class SoldLine:
    """What is left of one order line after the cancellations so far."""

    order_id: str
    order_number: int  #: counts the sales in stream order, so a higher one is newer
    line_number: int
    price: Decimal
    pieces_left: int
    money_left: Decimal


class Take(NamedTuple):
    """Pieces and money that a cancellation takes from one order line."""

    line: SoldLine
    pieces: int
    money: Decimal


@dataclass(slots=True)
class Counts:
    """What was converted and what was left out; a document counts when it is handed out."""

    orders: int = 0
    orders_of_guests: int = 0
    order_lines: int = 0
    order_money: Decimal = Decimal(0)
    refunds_matched: int = 0
    refund_lines: int = 0
    refund_lines_with_money: int = 0
    refund_money: Decimal = Decimal(0)
    refunds_unknown: int = 0
    unknown_money: Decimal = Decimal(0)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def documents(self) -> int:
        """Orders and refunds together."""
        return self.orders + self.refunds_matched + self.refunds_unknown

    def table(self) -> str:
        """All counts, one a line; money in GBP."""
        rows: list[tuple[str, int | Decimal]] = [
            ("documents", self.documents),
            ("orders", self.orders),
            ("  of guests", self.orders_of_guests),
            ("  lines", self.order_lines),
            ("  GBP", self.order_money),
            ("refunds of a known order", self.refunds_matched),
            ("  lines", self.refund_lines),
            ("  lines with money (other price)", self.refund_lines_with_money),
            ("  GBP", self.refund_money),
            ("refunds of an unknown order", self.refunds_unknown),
            ("  GBP", self.unknown_money),
        ]
        rows += [(f"skipped: {reason}", count) for reason, count in sorted(self.skipped.items())]
        return "\n".join(f"{label:<50}{value:>16,}" for label, value in rows)


class SalesBook:
    """What each customer bought and has not given back: the memory of the matching (rules 1 to 3 above)."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], list[SoldLine]] = {}

    def add(self, customer_id: str, sku: str, line: SoldLine) -> None:
        """Note a line that was sold."""
        self._lines.setdefault((customer_id, sku), []).append(line)

    def take_back(self, customer_id: str, sku: str, pieces: int, price: Decimal) -> list[Take]:
        """Take `pieces` at `price` from the customer's lines; what is not in the takes found no place."""
        candidates = [line for line in self._lines.get((customer_id, sku), []) if line.pieces_left and line.money_left]
        candidates.sort(key=lambda line: (line.price != price, -line.order_number, line.line_number))
        takes: list[Take] = []
        for line in candidates:
            taken = min(pieces, line.pieces_left)
            if not taken:
                break
            money = min(taken * price, line.money_left)
            line.pieces_left -= taken
            line.money_left -= money
            pieces -= taken
            takes.append(Take(line, taken, money))
        return takes


class Converter:
    """Turns invoices into documents, one after the other; it remembers what was sold."""

    def __init__(self, counts: Counts, shift_days: int) -> None:
        self._counts = counts
        self._shift = timedelta(days=shift_days)
        self._book = SalesBook()
        self._sales_seen = 0

    def documents(self, invoice: Invoice) -> Iterator[Document]:
        """Hand out the documents of the next invoice: one, several for a cancellation, or none."""
        if invoice.number.startswith("C"):
            yield from self._refunds(invoice)
        elif invoice.number.isdigit():
            yield from self._order(invoice)
        else:
            self._counts.skipped["invoices of bad debt (A...)"] += 1

    def _order(self, invoice: Invoice) -> Iterator[Document]:
        kept = [row for row in invoice.rows if row.quantity > 0 and row.price >= 0]
        if len(kept) < len(invoice.rows):
            self._counts.skipped["sale lines with no pieces or a price below 0"] += len(invoice.rows) - len(kept)
        if not kept:
            self._counts.skipped["sale invoices without a line left"] += 1
            return
        self._sales_seen += 1
        lines: list[Document] = []
        for number, row in enumerate(kept, 1):
            money = row.quantity * row.price
            line = {"line_id": str(number), "sku": row.sku, "quantity": row.quantity, "amount": amount_text(money)}
            kind = kind_of(row.sku)
            lines.append(line if kind == "product" else {**line, "kind": kind})
            if invoice.customer_id is not None:
                sold = SoldLine(invoice.number, self._sales_seen, number, row.price, row.quantity, money)
                self._book.add(invoice.customer_id, row.sku, sold)
        customer = {} if invoice.customer_id is None else {"customer_id": invoice.customer_id}
        data: Document = {"order_id": invoice.number, **customer, "currency": "GBP", "lines": lines}
        self._counts.orders_of_guests += invoice.customer_id is None
        self._counts.orders += 1
        self._counts.order_lines += len(kept)
        self._counts.order_money += sum(row.quantity * row.price for row in kept)
        yield self._event("order.completed", f"completed-{invoice.number}", invoice.at, data)

    def _refunds(self, invoice: Invoice) -> Iterator[Document]:
        unplaced = Decimal(0)
        takes_by_order: dict[str, list[Take]] = {}
        for row in invoice.rows:
            if row.quantity >= 0 or row.price <= 0:
                self._counts.skipped["cancelled lines with no pieces or no money"] += 1
                continue
            takes: list[Take] = []
            if invoice.customer_id is not None:
                takes = self._book.take_back(invoice.customer_id, row.sku, -row.quantity, row.price)
            for take in takes:
                takes_by_order.setdefault(take.line.order_id, []).append(take)
            unplaced += -row.quantity * row.price - sum(take.money for take in takes)
        for order_id, takes in takes_by_order.items():
            lines = refund_lines(takes)
            self._counts.refunds_matched += 1
            self._counts.refund_lines += len(lines)
            self._counts.refund_lines_with_money += sum("net" in line for line in lines)
            self._counts.refund_money += sum(take.money for take in takes)
            yield self._refund(invoice, order_id, order_id, {"lines": lines})
        if unplaced:
            self._counts.refunds_unknown += 1
            self._counts.unknown_money += unplaced
            yield self._refund(invoice, "unknown", f"unknown-{invoice.number}", {"net": amount_text(unplaced)})

    def _refund(self, invoice: Invoice, suffix: str, order_id: str, given_back: Document) -> Document:
        refund_id = f"{invoice.number}-{suffix}"
        data = {"refund_id": refund_id, "order_id": order_id, **given_back}
        return self._event("order.refunded", f"refunded-{refund_id}", invoice.at, data)

    def _event(self, event_type: str, event_id: str, at: datetime, data: Document) -> Document:
        time = (at + self._shift).replace(tzinfo=SHOP_ZONE).isoformat()
        return {"specversion": "1.0", "id": event_id, "source": SOURCE, "type": event_type, "time": time, "data": data}


def refund_lines(takes: Iterable[Take]) -> list[Document]:
    """One entry for each order line, also when several cancelled rows took from it; all takes are of one order."""
    entries: dict[int, Take] = {}
    for line, pieces, money in takes:
        before = entries.get(line.line_number, Take(line, 0, Decimal(0)))
        entries[line.line_number] = Take(line, before.pieces + pieces, before.money + money)
    lines: list[Document] = []
    for line, pieces, money in entries.values():
        entry: Document = {"line_id": str(line.line_number), "quantity": pieces}
        if money != pieces * line.price:
            entry["net"] = amount_text(money)
        lines.append(entry)
    return lines


def kind_of(sku: str) -> str:
    """Say which line kind a StockCode is; the module's docstring has the reasons."""
    return "gift_card" if sku.startswith("gift_") else KIND_BY_SKU.get(sku, "product")


def amount_text(amount: Decimal) -> str:
    """Write an exact decimal with 2 places, or as many as it needs; more than 4 the contract does not have."""
    rounded = amount.quantize(PENNY)
    if rounded != amount != amount.quantize(PENNY / 100):
        raise RetailFileError(f"The amount {amount} has more than 4 decimal places.")
    return f"{rounded if rounded == amount else amount.normalize():f}"


def typed_rows(records: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    """Give each record its types, and make sure that time never goes back."""
    latest: datetime | None = None
    for record in records:
        try:
            at = datetime.fromisoformat(record["InvoiceDate"])
            quantity, price = int(record["Quantity"]), Decimal(record["UnitPrice"])
            row = Row(record["InvoiceNo"], record["StockCode"], quantity, at, price, record["CustomerID"] or None)
        except (KeyError, ValueError, ArithmeticError) as error:
            raise RetailFileError(f"This row cannot be read: {dict(record)} ({error!r}).") from error
        if latest is not None and at < latest:
            raise RetailFileError(f"Invoice {row.invoice} is out of order: {at} stands after {latest}.")
        latest = at
        yield row


def gather_invoices(rows: Iterable[Row]) -> Iterator[Invoice]:
    """Bring the rows of an invoice together, in the order of the first rows; only a few minutes stay in memory."""
    opened: dict[str, Invoice] = {}
    closed: set[str] = set()
    for row in rows:
        while opened:
            oldest = next(iter(opened.values()))
            if row.at - oldest.at <= INVOICE_OPEN:
                break
            closed.add(oldest.number)
            yield opened.pop(oldest.number)
        if row.invoice in closed:
            raise RetailFileError(f"Rows of invoice {row.invoice} stand more than {INVOICE_OPEN} apart.")
        invoice = opened.setdefault(row.invoice, Invoice(row.invoice, row.at, row.customer_id, []))
        invoice.rows.append(row)
    yield from opened.values()


def convert(
    records: Iterable[Mapping[str, str]], *, counts: Counts | None = None, shift_days: int = 0
) -> Iterator[Document]:
    """Documents of CSV records (see the module), lazily; `counts` is kept up to date with what was handed out."""
    converter = Converter(counts if counts is not None else Counts(), shift_days)
    for invoice in gather_invoices(typed_rows(records)):
        yield from converter.documents(invoice)


def read_records(csv_path: Path) -> Iterator[dict[str, str]]:
    """Read the records of the CSV file, gzipped or plain."""
    with csv_path.open("rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
    opener = gzip.open if gzipped else open
    with opener(csv_path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def last_day(csv_path: Path) -> date:
    """Find the day of the file's last row."""
    latest = max((record["InvoiceDate"] for record in read_records(csv_path)), default="")
    if not latest:
        raise RetailFileError(f"{csv_path} has no rows.")
    return datetime.fromisoformat(latest).date()


def compact(document: Document) -> str:
    """One document as a line of NDJSON, without the line end."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def add_csv_argument(parser: argparse.ArgumentParser) -> None:
    """Let a command name the file, or find it in the data folder."""
    parser.add_argument(
        "csv",
        nargs="?",
        type=Path,
        help=f"the CSV file, gzipped or not (default: {FILE_NAME} in the folder that {DATA_FOLDER_VARIABLE} names)",
    )


def chosen_csv(parser: argparse.ArgumentParser, argument: Path | None) -> Path:
    """Find the file to read; leaves with exit code 2 when there is none."""
    folder = os.environ.get(DATA_FOLDER_VARIABLE)
    if not (path := argument or (Path(folder) / FILE_NAME if folder else None)):
        parser.error(f"name the CSV file, or set {DATA_FOLDER_VARIABLE} to the folder of {FILE_NAME}")
    if not path.is_file():
        parser.error(f"there is no file {path}")
    return path


def main() -> int:
    """Convert and print the counts."""
    parser = argparse.ArgumentParser(description="Turn the Online Retail CSV into orders and refunds (CloudEvents).")
    add_csv_argument(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write NDJSON here (default: only count)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N documents")
    parser.add_argument(
        "--shift-to-end",
        type=date.fromisoformat,
        metavar="DATE",
        help="move all times by whole days, so that the file's last day (of the whole file, --limit or not) is DATE",
    )
    options = parser.parse_args()
    csv_path = chosen_csv(parser, options.csv)
    if options.limit is not None and options.limit < 0:
        parser.error("--limit counts documents: 0 or more")
    counts = Counts()
    try:
        shift_days = (options.shift_to_end - last_day(csv_path)).days if options.shift_to_end else 0
        documents = islice(convert(read_records(csv_path), counts=counts, shift_days=shift_days), options.limit)
        with (options.out or Path(os.devnull)).open("w", encoding="utf-8", newline="\n") as out:
            out.writelines(compact(document) + "\n" for document in documents)
    except (RetailFileError, OSError, EOFError) as error:
        print(error, file=sys.stderr)
        return 1
    print(counts.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
