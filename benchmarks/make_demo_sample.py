"""Makes the orders of the demo: a sample of the Online Retail replay that is small enough to be bundled.

    python -m benchmarks.make_demo_sample online_retail_2010_2011.csv.gz

Customers are drawn with a fixed seed, and everything that a drawn customer did over the year is kept, so that every
refund finds its order and tiers are reached. A few guest orders and a few refunds of unknown orders (which wait) come
along. The same CSV and options give the same bytes (with the same zlib): no time and no name stands in the gzip header.
"""

import argparse
import gzip
import random
import sys
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from benchmarks.online_retail import (
    Document,
    RetailFileError,
    add_csv_argument,
    chosen_csv,
    compact,
    convert,
    read_records,
)

DEMO_FOLDER = Path(__file__).parent.parent / "workers" / "demo"
SAMPLE_NAME = "online_retail_sample.ndjson.gz"
ATTRIBUTION_NAME = "ATTRIBUTION.md"

ATTRIBUTION = """\
# Attribution

`{sample}` is derived from the data set **Online Retail**:

> Chen, D. (2015). *Online Retail* [Dataset]. UCI Machine Learning Repository. <https://doi.org/10.24432/C5BW33>

The data set is licensed under the
[Creative Commons Attribution 4.0 International licence (CC BY 4.0)](https://creativecommons.org/licenses/by/4.0/).
The sample is shared under the same licence. The author of the data set has no part in this project and does not
endorse it.

## Changes made

- A part was taken: all that {customers:,} of the 4,372 customers bought between 1 December 2010 and 9 December 2011 and
  what they cancelled of it, drawn with seed {seed}, further {guests:,} orders without a customer and {unknown:,}
  cancellations that fit no sale: {documents:,} documents ({orders:,} orders with {lines:,} lines, {refunds:,} refunds).
- Rows became messages (CloudEvents, JSON): rows of an invoice are one order, amounts are Quantity x UnitPrice, times
  have the offset of Europe/London. Descriptions and countries were left out.
- Cancellations, which name no sale in the data set, were matched to sales of the same customer and article; the rule is
  in `benchmarks/online_retail.py`. The matches are ours and not part of the data set.

Made by `benchmarks/make_demo_sample.py`; this file too.
"""


class Stock(NamedTuple):
    """All documents, and which of them belong together, as positions in the list."""

    documents: list[Document]
    by_customer: dict[str, list[int]]
    guest_orders: list[int]
    unknown_refunds: list[int]


def sort_stock(documents: list[Document]) -> Stock:
    """Find the customer of every document: an order names it, a refund names its order."""
    stock = Stock(documents, {}, [], [])
    customer_by_order: dict[str, str | None] = {}
    for position, document in enumerate(documents):
        data = document["data"]
        if document["type"] == "order.completed":
            customer_by_order[data["order_id"]] = data.get("customer_id")
        if data["order_id"] not in customer_by_order:
            stock.unknown_refunds.append(position)
        elif (customer := customer_by_order[data["order_id"]]) is None:
            stock.guest_orders.append(position)
        else:
            stock.by_customer.setdefault(customer, []).append(position)
    return stock


def packed(documents: Iterable[Document]) -> bytes:
    """Gzip the documents as NDJSON."""
    target = BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=target, mtime=0) as file:
        file.writelines(compact(document).encode() + b"\n" for document in documents)
    return target.getvalue()


def draw(stock: Stock, *, seed: int, guests: int, unknown: int, documents_max: int) -> tuple[list[Document], int]:
    """Draw whole customers until the next one would exceed `documents_max`; the documents in order, and how many."""
    chance = random.Random(seed)
    chosen = {*chance.sample(stock.guest_orders, guests), *chance.sample(stock.unknown_refunds, unknown)}
    customers = sorted(stock.by_customer)
    chance.shuffle(customers)
    drawn = 0
    for customer in customers:
        positions = stock.by_customer[customer]
        if len(chosen) + len(positions) > documents_max:
            break
        chosen.update(positions)
        drawn += 1
    return [stock.documents[position] for position in sorted(chosen)], drawn


def main() -> int:
    """Draw, pack, write the sample and its attribution; exit code 1 when it came out too large."""
    parser = argparse.ArgumentParser(description="Make the demo's sample of orders and refunds.")
    add_csv_argument(parser)
    parser.add_argument("--folder", type=Path, default=DEMO_FOLDER, help="where to write (default: workers/demo)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--documents-max", type=int, default=4000, metavar="N")
    parser.add_argument("--guests", type=int, default=120, metavar="N", help="guest orders among them")
    parser.add_argument("--unknown", type=int, default=8, metavar="N", help="refunds of unknown orders among them")
    parser.add_argument("--bytes-max", type=int, default=1_000_000, metavar="N", help="refuse a larger sample")
    options = parser.parse_args()
    try:
        stock = sort_stock(list(convert(read_records(chosen_csv(parser, options.csv)))))
    except RetailFileError as error:
        print(error, file=sys.stderr)
        return 1
    documents, customers = draw(
        stock,
        seed=options.seed,
        guests=options.guests,
        unknown=options.unknown,
        documents_max=options.documents_max,
    )
    content = packed(documents)
    types = Counter(document["type"] for document in documents)
    lines = sum(len(document["data"]["lines"]) for document in documents if document["type"] == "order.completed")
    print(f"{types['order.completed']:,} orders with {lines:,} lines, {types['order.refunded']:,} refunds")
    print(f"{len(documents):,} documents, {customers:,} customers, {len(content):,} bytes")
    if len(content) > options.bytes_max:
        print(f"That is more than {options.bytes_max:,} bytes; choose a lower --documents-max.", file=sys.stderr)
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / SAMPLE_NAME).write_bytes(content)
    attribution = ATTRIBUTION.format(
        sample=SAMPLE_NAME,
        customers=customers,
        seed=options.seed,
        guests=options.guests,
        unknown=options.unknown,
        documents=len(documents),
        orders=types["order.completed"],
        lines=lines,
        refunds=types["order.refunded"],
    )
    (options.folder / ATTRIBUTION_NAME).write_text(attribution, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
