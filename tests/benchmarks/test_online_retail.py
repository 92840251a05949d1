"""The replay's documents: conversion, matching of cancellations, the bundled sample, and the second opinion on both."""

import csv
import gzip
import json
import re
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import check_replay
from benchmarks.online_retail import Counts, Document, RetailFileError, convert

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
ROOT = Path(__file__).parent.parent.parent
SAMPLE = ROOT / "workers" / "demo" / "online_retail_sample.ndjson.gz"
ATTRIBUTION = ROOT / "workers" / "demo" / "ATTRIBUTION.md"
REPLAY_PROGRAM = ROOT / "config" / "programs" / "online-retail.yaml"


def records_of(rows: str) -> list[dict[str, str]]:
    """Rows as `invoice sku quantity price customer [day] [time]`, one a line; customer `-` is a guest."""
    lines = [HEADER]
    for row in rows.strip().splitlines():
        invoice, sku, quantity, price, customer, *when = row.split()
        day, time = [*when, *("2011-01-01", "10:00:00")[len(when) :]]
        lines.append(f"{invoice},{sku},,{quantity},{day} {time},{price},{customer.strip('-')},United Kingdom")
    return list(csv.DictReader(StringIO("\n".join(lines))))


def documents_of(rows: str) -> list[Document]:
    return list(convert(records_of(rows)))


def refunds_of(rows: str) -> dict[str, Any]:
    """What is given back of each order: {line_id: (quantity, amount or None)}, or the amount of an unknown one."""
    refunds = [document["data"] for document in documents_of(rows) if document["type"] == "order.refunded"]
    return {
        refund["order_id"]: refund.get("net")
        or {line["line_id"]: (line["quantity"], line.get("net")) for line in refund["lines"]}
        for refund in refunds
    }


# Orders.


def test_an_invoice_becomes_one_order_with_exact_amounts_as_text() -> None:
    assert documents_of("536365 85123A 6 2.55 17850\n536365 71053 3 0.001 17850") == [
        {
            "specversion": "1.0",
            "id": "completed-536365",
            "source": "/shops/online-retail",
            "type": "order.completed",
            "time": "2011-01-01T10:00:00+00:00",
            "data": {
                "order_id": "536365",
                "customer_id": "17850",
                "currency": "GBP",
                "lines": [
                    {"line_id": "1", "sku": "85123A", "quantity": 6, "amount": "15.30"},
                    {"line_id": "2", "sku": "71053", "quantity": 3, "amount": "0.003"},
                ],
            },
        }
    ]


def test_an_order_of_a_guest_names_no_customer() -> None:
    assert "customer_id" not in documents_of("1 A 1 1.00 -")[0]["data"]


def test_shop_time_has_the_offset_that_london_has_on_that_day() -> None:
    documents = documents_of("1 A 1 1.00 7 2011-03-26 12:00:00\n2 A 1 1.00 7 2011-03-28 12:00:00")
    assert [document["time"] for document in documents] == ["2011-03-26T12:00:00+00:00", "2011-03-28T12:00:00+01:00"]


def test_shifted_documents_keep_the_time_of_the_shops_clock() -> None:
    (document,) = convert(records_of("1 A 1 1.00 7 2011-03-26 12:00:00"), shift_days=100)
    assert document["time"] == "2011-07-04T12:00:00+01:00"


def test_an_invoice_with_two_timestamps_happened_at_the_first_also_when_others_stand_between() -> None:
    rows = """
        1 A 1 1.00 7 2011-01-01 10:00:00
        2 A 1 1.00 8 2011-01-01 10:00:00
        1 X 1 1.00 7 2011-01-01 10:01:00
    """
    first, second = documents_of(rows)
    assert (first["data"]["order_id"], len(first["data"]["lines"])) == ("1", 2)
    assert first["time"] == second["time"] == "2011-01-01T10:00:00+00:00"


@pytest.mark.parametrize(
    ("sku", "kind"),
    [
        ("POST", "shipping"),
        ("C2", "shipping"),
        ("AMAZONFEE", "fee"),
        ("M", "fee"),
        ("m", "fee"),
        ("gift_0001_20", "gift_card"),
        ("S", None),
        ("PADS", None),
        ("85123A", None),
    ],
)
def test_stock_codes_that_are_no_goods_have_a_kind_and_products_have_none(sku: str, kind: str | None) -> None:
    assert documents_of(f"1 {sku} 1 1.00 7")[0]["data"]["lines"][0].get("kind") == kind


def test_what_is_no_sale_is_left_out_and_counted() -> None:
    rows = """
        1 A 2 1.00 7
        1 A -1 1.00 7
        1 X 0 1.00 7
        2 A -5 0.00 -
        A3 B 1 -11.00 -
        C4 A -1 0.00 7
    """
    counts = Counts()
    (order,) = convert(records_of(rows), counts=counts)
    assert [line["line_id"] for line in order["data"]["lines"]] == ["1"]
    assert counts.documents == counts.orders == 1
    assert counts.skipped == {
        "sale lines with no pieces or a price below 0": 3,
        "sale invoices without a line left": 1,
        "invoices of bad debt (A...)": 1,
        "cancelled lines with no pieces or no money": 1,
    }


def test_a_file_that_goes_back_in_time_is_refused() -> None:
    with pytest.raises(RetailFileError, match="out of order"):
        documents_of("1 A 1 1.00 7 2011-01-02\n2 A 1 1.00 7 2011-01-01")


def test_an_invoice_that_comes_back_later_is_refused() -> None:
    with pytest.raises(RetailFileError, match="apart"):
        documents_of("1 A 1 1.00 7 2011-01-01\n2 A 1 1.00 7 2011-01-02\n1 A 1 1.00 7 2011-01-02")


def test_a_file_with_other_columns_is_refused() -> None:
    with pytest.raises(RetailFileError, match="cannot be read"):
        list(convert([{"order": "1"}]))


# Cancellations.


def test_a_cancellation_refunds_pieces_of_the_order_that_sold_them() -> None:
    assert documents_of("1 A 5 2.00 7\nC2 A -3 2.00 7 2011-07-01")[1] == {
        "specversion": "1.0",
        "id": "refunded-C2-1",
        "source": "/shops/online-retail",
        "type": "order.refunded",
        "time": "2011-07-01T10:00:00+01:00",
        "data": {"refund_id": "C2-1", "order_id": "1", "lines": [{"line_id": "1", "quantity": 3}]},
    }


def test_the_order_at_the_same_price_is_refunded_before_a_newer_one_at_another_price() -> None:
    assert refunds_of("1 A 1 2.00 7\n2 A 1 3.00 7\nC3 A -1 2.00 7") == {"1": {"1": (1, None)}}


def test_among_orders_at_the_same_price_the_newest_is_refunded() -> None:
    assert refunds_of("1 A 1 2.00 7\n2 A 1 2.00 7\nC3 A -1 2.00 7") == {"2": {"1": (1, None)}}


def test_in_one_order_the_first_line_is_refunded_first() -> None:
    assert refunds_of("1 A 2 2.00 7\n1 A 2 2.00 7\nC3 A -3 2.00 7") == {"1": {"1": (2, None), "2": (1, None)}}


def test_a_cancelled_quantity_spans_orders_and_the_rest_belongs_to_an_unknown_one() -> None:
    refunds = refunds_of("1 A 2 2.00 7\n2 A 3 2.00 7\nC3 A -10 2.00 7")
    assert refunds == {"2": {"1": (3, None)}, "1": {"1": (2, None)}, "unknown-C3": "10.00"}


def test_no_piece_is_refunded_twice() -> None:
    assert refunds_of("1 A 2 2.00 7\nC2 A -2 2.00 7\nC3 A -1 2.00 7") == {"1": {"1": (2, None)}, "unknown-C3": "2.00"}


def test_pieces_refunded_at_another_price_say_their_money() -> None:
    assert refunds_of("1 A 4 2.00 7\nC2 A -2 1.50 7") == {"1": {"1": (2, "3.00")}}


def test_a_line_never_gives_back_more_money_than_it_took() -> None:
    assert refunds_of("1 A 4 2.00 7\nC2 A -3 5.00 7") == {"1": {"1": (3, "8.00")}, "unknown-C2": "7.00"}


def test_two_cancelled_rows_of_one_order_line_are_one_entry() -> None:
    assert refunds_of("1 A 4 2.00 7\nC2 A -1 2.00 7\nC2 A -2 2.00 7") == {"1": {"1": (3, None)}}


@pytest.mark.parametrize(
    "sale",
    ["1 A 1 2.00 8", "1 X 1 2.00 7", "1 a 1 2.00 7", "1 A 1 2.00 -"],
    ids=["customer", "sku", "spelling", "guest"],
)
def test_a_sale_of_another_customer_or_article_is_never_refunded(sale: str) -> None:
    assert refunds_of(f"{sale}\nC2 A -1 2.00 7") == {"unknown-C2": "2.00"}


def test_a_cancellation_without_a_customer_is_a_refund_of_an_unknown_order() -> None:
    assert documents_of("1 A 1 2.00 -\nC2 A -1 2.00 -")[1]["data"] == {
        "refund_id": "C2-unknown",
        "order_id": "unknown-C2",
        "net": "2.00",
    }


def test_a_cancellation_never_refunds_a_later_sale() -> None:
    assert refunds_of("C1 A -1 2.00 7\n2 A 1 2.00 7") == {"unknown-C1": "2.00"}


# The second opinion: benchmarks/check_replay.py shares no code with online_retail.py.

SALES = st.tuples(st.integers(-1, 6), st.sampled_from(["1.00", "2.5", "0.001", "0.00"]))
ROWS = st.tuples(st.booleans(), st.sampled_from(["7", "8", "-"]), st.sampled_from(["A", "X", "POST"]), SALES)


def rows_of(drawn: Iterable[tuple[bool, str, str, tuple[int, str]]]) -> str:
    """Two rows in a row are one invoice when they are of the same customer and sort."""
    lines: list[str] = []
    number, before = 0, None
    for is_cancellation, customer, sku, (quantity, price) in drawn:
        if (is_cancellation, customer) != before:
            number += 1
        before = (is_cancellation, customer)
        invoice, pieces = (f"C{number}", -quantity) if is_cancellation else (str(number), quantity)
        lines.append(f"{invoice} {sku} {pieces} {price} {customer}")
    return "\n".join(lines)


def facts_in_plain_form(facts: Iterable[check_replay.Fact]) -> list[object]:
    """Facts as values that can be compared; a sale's lines without what is left of them."""
    plain: list[object] = []
    for fact in facts:
        if isinstance(fact, check_replay.Sale):
            lines = [(line.line, line.sku, line.pieces, line.pieces * line.price, line.earns) for line in fact.lines]
            plain.append((fact.invoice, fact.customer, lines))
        elif isinstance(fact, check_replay.Return):
            plain.append((fact.invoice, fact.taken))
        else:
            plain.append(fact.money)
    return plain


@given(st.lists(ROWS, min_size=1, max_size=25).map(rows_of))
def test_both_implementations_of_the_matching_agree(rows: str) -> None:
    records = records_of(rows)
    documents = [json.dumps(document) for document in convert(records)]
    ours = facts_in_plain_form(check_replay.facts_of_documents(documents))
    assert ours == facts_in_plain_form(check_replay.read_facts(records))


@given(st.lists(ROWS, min_size=1, max_size=25).map(rows_of))
def test_refunds_add_up_to_the_cancelled_money_and_no_line_gives_back_more_than_it_had(rows: str) -> None:
    records = records_of(rows)
    counts = Counts()
    list(convert(records, counts=counts))
    cancelled = [record for record in records if record["InvoiceNo"].startswith("C")]
    money = sum((max(0, -int(record["Quantity"])) * Decimal(record["UnitPrice"]) for record in cancelled), Decimal(0))
    assert counts.refund_money + counts.unknown_money == money
    for fact in check_replay.read_facts(records):
        if isinstance(fact, check_replay.Sale):
            assert all(line.pieces_left >= 0 and line.money_left >= 0 for line in fact.lines)


# The points of the second opinion, by hand.

RULES = check_replay.read_rules(REPLAY_PROGRAM.read_text(encoding="utf-8"))


def standings_of(rows: str) -> dict[str, check_replay.Standing]:
    return check_replay.work_out(check_replay.read_facts(records_of(rows)), RULES)


def test_the_second_opinion_reads_the_program_file_of_the_replay() -> None:
    assert RULES.program_id == "online-retail"
    assert RULES.per_amount == 1
    assert RULES.rates == {"bronze": Fraction(1), "silver": Fraction(5, 4), "gold": Fraction(3, 2)}
    assert RULES.tiers == [(0, "bronze"), (1000, "silver"), (5000, "gold")]


@pytest.mark.parametrize(
    ("ours", "other"),
    [("policy: never", "policy: after_months, months: 12"), ("rounding: floor", "rounding: ceil"), ("GBP", "EUR")],
)
def test_the_second_opinion_refuses_rules_that_it_does_not_know(ours: str, other: str) -> None:
    text = REPLAY_PROGRAM.read_text(encoding="utf-8").replace(ours, other)
    with pytest.raises(ValueError, match="this check knows"):
        check_replay.read_rules(text)


def test_points_are_rounded_down_once_per_order_and_only_products_earn() -> None:
    assert standings_of("1 A 1 1.60 7\n1 X 1 1.60 7\n1 POST 1 9.00 7\n2 A 1 0.90 7")["7"].balance == 3


def test_the_order_that_reaches_a_tier_still_earns_at_the_tier_before_it() -> None:
    assert standings_of("1 A 1 1000.00 7\n2 A 1 100.00 7")["7"] == (1125, 1125, 1125, "silver")


def test_a_refund_takes_points_at_the_rate_of_its_order_and_never_the_tier() -> None:
    rows = "1 A 1 1000.00 7\n2 X 4 25.00 7\nC3 A -1 1000.00 7\nC4 X -3 25.00 7\n5 A 1 100.00 7"
    assert standings_of(rows)["7"] == (31 + 125, 31 + 125, 31 + 125, "silver")


def test_partial_refunds_leave_what_buying_only_the_kept_goods_would_have_earned() -> None:
    assert standings_of("1 A 3 3.35 7\nC2 A -1 3.35 7\nC3 A -1 3.35 7")["7"].balance == 3


def test_guests_and_refunds_of_unknown_orders_have_no_points() -> None:
    assert standings_of("1 A 1 10.00 -\nC2 A -1 10.00 7") == {}


def test_differences_name_missing_unexpected_and_unequal_accounts() -> None:
    bronze, silver = check_replay.Standing(5, 5, 5, "bronze"), check_replay.Standing(5, 5, 5, "silver")
    lines = check_replay.differences({"1": bronze, "2": bronze, "3": bronze}, {"2": silver, "3": bronze, "4": bronze})
    assert [line.split(",")[0].split(" Standing")[0] for line in lines] == [
        "1: no account",
        "2: expected",
        "4: an account that nobody expected",
    ]


# The bundled sample.


def sample_lines() -> list[str]:
    with gzip.open(SAMPLE, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def test_the_bundled_sample_is_small_and_packed_without_a_time() -> None:
    content = SAMPLE.read_bytes()
    assert len(content) <= 1_000_000
    assert content[3:8] == bytes(5), "the gzip header has no file name and no time, so that it can be made again"


def test_the_bundled_sample_has_orders_then_their_refunds_in_the_order_of_time() -> None:
    documents = [json.loads(line) for line in sample_lines()]
    assert 3000 <= len(documents) <= 5000
    assert len({document["id"] for document in documents}) == len(documents)
    seen: set[str] = set()
    unknown = 0
    for document in documents:
        order_id = document["data"]["order_id"]
        if document["type"] == "order.completed":
            seen.add(order_id)
        elif order_id.startswith("unknown-"):
            unknown += 1
        else:
            assert order_id in seen
    assert 1 <= unknown <= 20
    # UTC would be needed to compare across a change of the clocks, but no shop hour is near one.
    assert [document["time"] for document in documents] == sorted(document["time"] for document in documents)


def test_the_bundled_sample_has_guests_every_tier_and_long_orders() -> None:
    facts = check_replay.facts_of_documents(sample_lines())
    sales = [fact for fact in facts if isinstance(fact, check_replay.Sale)]
    assert any(not sale.customer for sale in sales)
    assert max(len(sale.lines) for sale in sales) > 200
    tiers = {standing.tier for standing in check_replay.work_out(facts, RULES).values()}
    assert tiers == {"bronze", "silver", "gold"}


def test_the_attribution_names_source_licence_and_changes() -> None:
    text = ATTRIBUTION.read_text(encoding="utf-8")
    assert "10.24432/C5BW33" in text
    assert "Chen, D. (2015)" in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text
    assert "## Changes made" in text
    stated = re.search(r"([\d,]+) documents", text)
    assert stated is not None
    assert int(stated[1].replace(",", "")) == len(sample_lines())
