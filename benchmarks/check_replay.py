"""Works out every customer's points from the Online Retail CSV alone, and compares them with a database.

    python -m benchmarks.check_replay CSV --program config/programs/online-retail.yaml --database-url postgresql://...
    python -m benchmarks.check_replay CSV --program config/programs/online-retail.yaml --expected-only

A second opinion: it shares no code with the worker nor with online_retail.py, only the rules in words. It reads the
whole file into memory and goes through it naively, order by order. In place of the CSV it takes documents that
online_retail.py wrote (.ndjson, .ndjson.gz), such as the bundled sample; then the cancellations are matched already
and only the points are checked. Exit code 0: all equal; 1: differences; 2: wrong use.

From the file to orders and refunds (the rule stands in online_retail.py): invoices come in the order of their first
rows. Of a sale count the rows with pieces and no negative price, numbered from 1. A row of a C invoice takes pieces
from earlier lines of the same customer and StockCode that have pieces and money left: same price before other prices,
then the newest order, then the lowest line number; the money is pieces * cancelled price, at most what the line has
left. What finds no place waits for an order that nobody knows, and changes no points.

From orders to points: an order earns floor(kept product money * rate / per_amount), at the rate of the tier that its
customer was in just before it, for ever. A refunded line keeps its money less the price of the pieces that came back,
or less the money given back for them where that is more. Qualifying points, lifetime points and balance are all the
sum of what the customer's orders earn now. A tier is reached by the order that brings them to its threshold, and never
lost. Guests have no points. Program files with other rules than these are refused.
"""

import argparse
import csv
import gzip
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import NamedTuple

import psycopg

#: Money is counted in ten-thousandths of a pound, in ints; so UnitPrice may have four places.
MONEY_PER_POUND = 10_000
NOT_GOODS = frozenset(
    "POST DOT C2 AMAZONFEE CRUK M m D B ADJUST ADJUST2 TEST001 TEST002".split()  # noqa: SIM905 - a list to be read
) | {"BANK CHARGES"}

STANDINGS_SQL = """
    select m.customer_id, a.balance, a.lifetime_points, a.qualifying_points, a.tier_id
    from members m join accounts a on a.account_id = m.account_id and a.program_id = m.program_id
    where m.program_id = %s
"""
INBOX_SQL = "select state, count(*) from inbox group by state"

DIFFERENCES_SHOWN_MAX = 50


@dataclass
class Bought:
    """A line of a sale; what is left of it changes as it is taken back."""

    place: int  #: counts the sales in the file
    line: int
    sku: str
    price: int
    pieces: int
    earns: bool
    pieces_left: int = 0
    money_left: int = 0

    def __post_init__(self) -> None:
        self.pieces_left, self.money_left = self.pieces, self.pieces * self.price


class Sale(NamedTuple):
    """An order. `customer` is empty for a guest."""

    invoice: str
    customer: str
    lines: list[Bought]


class Return(NamedTuple):
    """What one C invoice takes from one sale: (pieces, money) by line number."""

    cancellation: str
    invoice: str
    taken: dict[int, tuple[int, int]]


class Unplaced(NamedTuple):
    """Money of a C invoice that belongs to no known sale."""

    cancellation: str
    money: int


Fact = Sale | Return | Unplaced


class Rules(NamedTuple):
    """What the program file says."""

    program_id: str
    per_amount: Fraction
    rates: dict[str, Fraction]
    tiers: list[tuple[int, str]]  #: (threshold, tier), lowest first


class Standing(NamedTuple):
    """Where a customer stands."""

    balance: int
    lifetime: int
    qualifying: int
    tier: str


@dataclass
class Customer:
    """A customer's orders so far, with the rate that each was frozen at."""

    tier: str
    rates: dict[str, Fraction] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)


def money_of(price: str) -> int:
    """Read a price in pounds as ten-thousandths of a pound."""
    whole, _, places = price.lstrip("-").partition(".")
    if len(places) > 4:
        raise ValueError(f"{price} has more than 4 decimal places")
    money = int(whole) * MONEY_PER_POUND + int(places.ljust(4, "0"))
    return -money if price.startswith("-") else money


def read_facts(records: Iterable[dict[str, str]]) -> list[Fact]:
    """Bring the rows of each invoice together and turn the invoices into facts, in the order of their first rows."""
    invoices: dict[str, list[dict[str, str]]] = {}
    for record in records:
        invoices.setdefault(record["InvoiceNo"], []).append(record)
    facts: list[Fact] = []
    shelves: dict[str, list[tuple[str, Bought]]] = {}
    for place, (invoice, rows) in enumerate(invoices.items()):
        shelf = shelves.setdefault(rows[0]["CustomerID"], [])
        if invoice[0] == "C":
            facts.extend(take_back(invoice, rows, shelf))
        elif invoice[0] != "A":
            sale = sell(invoice, rows, place)
            if sale.lines:
                facts.append(sale)
            if sale.customer:
                shelf.extend((invoice, bought) for bought in sale.lines)
    return facts


def sell(invoice: str, rows: list[dict[str, str]], place: int) -> Sale:
    """Make the sale of an invoice's rows."""
    lines: list[Bought] = []
    for row in rows:
        pieces, price, sku = int(row["Quantity"]), money_of(row["UnitPrice"]), row["StockCode"]
        if pieces > 0 and price >= 0:
            earns = sku not in NOT_GOODS and sku[:5] != "gift_"
            lines.append(Bought(place, len(lines) + 1, sku, price, pieces, earns))
    return Sale(invoice, rows[0]["CustomerID"], lines)


def take_back(cancellation: str, rows: list[dict[str, str]], shelf: list[tuple[str, Bought]]) -> list[Fact]:
    """Place the rows of a C invoice on what its customer bought; a guest's shelf is empty."""
    taken: dict[str, dict[int, tuple[int, int]]] = {}
    unplaced = 0
    for row in rows:
        needed, price = -int(row["Quantity"]), money_of(row["UnitPrice"])
        if needed <= 0 or price <= 0:
            continue
        unplaced += needed * price
        while needed:
            open_lines = [item for item in shelf if item[1].sku == row["StockCode"]]
            open_lines = [item for item in open_lines if item[1].pieces_left > 0 and item[1].money_left > 0]
            if not open_lines:
                break
            invoice, best = min(open_lines, key=lambda item: (item[1].price != price, -item[1].place, item[1].line))
            pieces = min(needed, best.pieces_left)
            money = min(pieces * price, best.money_left)
            best.pieces_left -= pieces
            best.money_left -= money
            needed -= pieces
            unplaced -= money
            lines = taken.setdefault(invoice, {})
            pieces_before, money_before = lines.get(best.line, (0, 0))
            lines[best.line] = (pieces_before + pieces, money_before + money)
    facts: list[Fact] = [Return(cancellation, invoice, lines) for invoice, lines in taken.items()]
    return [*facts, Unplaced(cancellation, unplaced)] if unplaced else facts


def facts_of_documents(lines: Iterable[str]) -> list[Fact]:
    """Read facts from documents of online_retail.py, one a line."""
    facts: list[Fact] = []
    sales: dict[str, dict[int, Bought]] = {}
    for place, text in enumerate(lines):
        document = json.loads(text)
        data = document["data"]
        if document["type"] == "order.completed":
            lines_sold: list[Bought] = []
            for line in data["lines"]:
                price, rest = divmod(money_of(line["amount"]), line["quantity"])
                if rest:
                    raise ValueError(f"order {data['order_id']} has a price with more than 4 decimal places")
                earns = line.get("kind", "product") == "product"
                lines_sold.append(Bought(place, int(line["line_id"]), line["sku"], price, line["quantity"], earns))
            sales[data["order_id"]] = {bought.line: bought for bought in lines_sold}
            facts.append(Sale(data["order_id"], data.get("customer_id", ""), lines_sold))
        elif "lines" in data:
            taken: dict[int, tuple[int, int]] = {}
            for line in data["lines"]:
                number, pieces = int(line["line_id"]), int(line["quantity"])
                own_share = pieces * sales[data["order_id"]][number].price
                taken[number] = (pieces, money_of(line["net"]) if "net" in line else own_share)
            facts.append(Return(data["refund_id"], data["order_id"], taken))
        else:
            facts.append(Unplaced(data["refund_id"], money_of(data["net"])))
    return facts


def work_out(facts: Iterable[Fact], rules: Rules) -> dict[str, Standing]:
    """Work out where every customer stands after `facts`; who has no order has no standing."""
    sales: dict[str, Sale] = {}
    returns: dict[str, list[Return]] = {}
    customers: dict[str, Customer] = {}
    for fact in facts:
        if isinstance(fact, Unplaced):
            continue
        if isinstance(fact, Sale):
            sales[fact.invoice] = fact
        else:
            returns.setdefault(fact.invoice, []).append(fact)
        sale = sales[fact.invoice]
        if not sale.customer:
            continue
        customer = customers.setdefault(sale.customer, Customer(rules.tiers[0][1]))
        rate = customer.rates.setdefault(sale.invoice, rules.rates[customer.tier])
        kept = kept_money(sale, returns.get(sale.invoice, []))
        customer.points[sale.invoice] = floor(Fraction(kept, MONEY_PER_POUND) * rate / rules.per_amount)
        customer.tier = tier_after(customer.tier, sum(customer.points.values()), rules)
    standings: dict[str, Standing] = {}
    for customer_id, customer in customers.items():
        total = sum(customer.points.values())
        standings[customer_id] = Standing(total, total, total, customer.tier)
    return standings


def kept_money(sale: Sale, returns: list[Return]) -> int:
    """Add up what is left of the lines that earn."""
    kept = 0
    for line in sale.lines:
        if not line.earns:
            continue
        taken = [one.taken[line.line] for one in returns if line.line in one.taken]
        at_price = sum(money for pieces, money in taken if money == pieces * line.price)
        otherwise = [(pieces * line.price, money) for pieces, money in taken if money != pieces * line.price]
        # Where less was given back than the pieces cost, the shop has kept a fee, which earns nothing.
        given_back = at_price + max(sum(cost for cost, _ in otherwise), sum(money for _, money in otherwise))
        kept += max(0, line.pieces * line.price - given_back)
    return kept


def tier_after(tier: str, qualifying: int, rules: Rules) -> str:
    """Find the highest tier reached, or the one held when that is higher."""
    ladder = [name for _, name in rules.tiers]
    reached = [name for threshold, name in rules.tiers if qualifying >= threshold]
    return max(tier, *reached, key=ladder.index)


def read_rules(text: str) -> Rules:
    """Read what this check needs from a program file; ValueError for rules that it does not know.

    No YAML library, on purpose: a reader of its own that understands the layout of config/programs/online-retail.yaml.
    """
    text = re.sub(r"(^|\s)#.*", "", text)

    def values(pattern: str) -> list[str]:
        return [str(found) for found in re.findall(pattern, text, re.MULTILINE)]

    def one(name: str) -> str:
        found = values(rf'^[ -]*{name}:\s*"?([^"\s]+)"?\s*$')
        if len(found) != 1:
            raise ValueError(f"the program file must have exactly one {name}, but has {len(found)}")
        return found[0]

    known = {
        r"^ *(?:- )?kind:\s*(\w+)": {"spend"},
        r"^ *rounding:\s*(\w+)": {"floor"},
        r"^expiry:\s*\{?\s*policy:\s*(\w+)": {"never"},
        r"^qualification:\s*\{?\s*window:\s*(\w+)": {"lifetime"},
        r"^clawback:\s*\{?\s*policy:\s*(\w+)": {"allow_negative"},
        r"^ *kinds:\s*\[([^]]*)\]": {"product"},
        r"^currency:\s*(\w+)": {"GBP"},
    }
    for pattern, accepted in known.items():
        if strange := set(values(pattern)) - accepted:
            raise ValueError(f"this check knows {sorted(accepted)}, but the program file says {sorted(strange)}")
    rates = re.findall(r'([\w-]+):\s*"?([\d.]+)"?', "".join(values(r"^ *points:\s*\{([^}]*)\}")))
    tiers = re.findall(r"tier_id:\s*([\w-]+),\s*threshold_points:\s*(\d+)", text)
    rules = Rules(
        program_id=one("program_id"),
        per_amount=Fraction(one("per_amount")),
        rates={str(tier): Fraction(rate) for tier, rate in rates},
        tiers=sorted((int(threshold), str(tier)) for tier, threshold in tiers),
    )
    if not rules.tiers or {tier for _, tier in rules.tiers} != set(rules.rates):
        raise ValueError(f"tiers {rules.tiers} and rates {rules.rates} do not belong together")
    return rules


def expected_report(facts: list[Fact], standings: dict[str, Standing]) -> str:
    """Describe the standings in a table: totals, tiers, the ten highest balances."""
    kinds = Counter(type(fact).__name__ for fact in facts)
    tiers = Counter(standing.tier for standing in standings.values())
    highest = sorted(standings.items(), key=lambda item: (-item[1].balance, item[0]))[:10]
    rows: list[tuple[str, int]] = [
        ("documents", len(facts)),
        ("orders", kinds["Sale"]),
        ("refunds of a known order", kinds["Return"]),
        ("refunds of an unknown order (they wait)", kinds["Unplaced"]),
        ("accounts", len(standings)),
        ("accounts at 0 points", sum(standing.balance == 0 for standing in standings.values())),
        ("sum of balances", sum(standing.balance for standing in standings.values())),
        *((f"in tier {tier}", count) for tier, count in tiers.most_common()),
        *((f"customer {customer}, {standing.tier}", standing.balance) for customer, standing in highest),
    ]
    return "\n".join(f"{label:<45}{value:>16,}" for label, value in rows)


def differences(expected: dict[str, Standing], found: dict[str, Standing]) -> list[str]:
    """List every customer whose account is missing, is too many, or differs."""
    lines: list[str] = []
    for customer in sorted(expected.keys() | found.keys()):
        if customer not in found:
            lines.append(f"{customer}: no account, expected {expected[customer]}")
        elif customer not in expected:
            lines.append(f"{customer}: an account that nobody expected, {found[customer]}")
        elif expected[customer] != found[customer]:
            lines.append(f"{customer}: expected {expected[customer]}, found {found[customer]}")
    return lines


def compare(database_url: str, facts: list[Fact], expected: dict[str, Standing], program_id: str) -> int:
    """Print what the inbox holds and the differences; return how many there are."""
    # SQLAlchemy names the driver in the URL; libpq does not know that form.
    with psycopg.connect(re.sub(r"^postgresql\+\w+:", "postgresql:", database_url)) as connection:
        found = {str(row[0]): Standing(*row[1:]) for row in connection.execute(STANDINGS_SQL, (program_id,))}
        inbox = {str(state): int(count) for state, count in connection.execute(INBOX_SQL)}
    unknown = sum(isinstance(fact, Unplaced) for fact in facts)
    print(f"inbox: {', '.join(f'{count:,} {state}' for state, count in sorted(inbox.items())) or 'empty'}")
    print(f"expected: {len(facts) - unknown:,} posted, {unknown:,} waiting (refunds of an unknown order)")
    if inbox.get("received"):
        print("The replay is not finished: some messages are not posted yet.")
    lines = differences(expected, found)
    for line in lines[:DIFFERENCES_SHOWN_MAX]:
        print(line)
    if len(lines) > DIFFERENCES_SHOWN_MAX:
        print(f"... and {len(lines) - DIFFERENCES_SHOWN_MAX:,} more")
    print(f"{len(found):,} accounts compared with {len(expected):,} expected: {len(lines):,} differences")
    return len(lines)


def main() -> int:
    """Work out, print, compare."""
    parser = argparse.ArgumentParser(description="Check the points of a replay against a calculation of its own.")
    parser.add_argument("file", type=Path, help="the CSV or NDJSON file, gzipped or not")
    parser.add_argument("--program", type=Path, required=True, metavar="FILE", help="the program file of the replay")
    parser.add_argument("--limit", type=int, metavar="N", help="when only the first N documents were replayed")
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--database-url", metavar="URL", help="compare with the accounts of this database")
    goal.add_argument("--expected-only", action="store_true", help="only print the expected totals")
    options = parser.parse_args()
    try:
        rules = read_rules(options.program.read_text(encoding="utf-8"))
        opener = gzip.open if options.file.suffix == ".gz" else open
        with opener(options.file, "rt", encoding="utf-8", newline="") as file:
            facts = facts_of_documents(file) if ".ndjson" in options.file.suffixes else read_facts(csv.DictReader(file))
            facts = facts[: options.limit]
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"cannot read the files: {error}")
    expected = work_out(facts, rules)
    print(expected_report(facts, expected))
    if options.expected_only:
        return 0
    try:
        return 1 if compare(options.database_url, facts, expected, rules.program_id) else 0
    except psycopg.Error as error:
        parser.error(f"cannot read the database: {error}")


if __name__ == "__main__":
    sys.exit(main())
