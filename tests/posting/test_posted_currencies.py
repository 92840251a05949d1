"""Orders in other currencies through the whole ledger: rows, hashes, repeats, and what is said of them."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, amendment, claim, goods_back, line, order, refund
from tests.shell import Shell

TEXT = PROGRAM_TEXT.replace("currency: EUR\n", 'currency: EUR\ncurrencies: {ZAR: "0.0529"}\n')


@pytest.fixture
def shop(engine: Engine) -> Shell:
    return Shell(engine, shards=4, program_text=TEXT)


def test_one_balance_of_two_currencies(shop: Shell) -> None:
    bought = [line("1", "1700.00", 2)]
    shop.take(order("y1", "100.00"), order("y2", currency="ZAR", lines=bought))
    assert shop.value("SELECT balance FROM accounts") == 189
    shop.take(refund("r1", "y2", lines=[{"line_id": "1", "quantity": 1}]))
    assert shop.value("SELECT balance FROM accounts") == 144
    assert shop.value("SELECT qualifying_spend FROM orders WHERE order_id = 'y2'") in {4496, 8993}
    assert shop.differences() == []


def test_the_rate_of_the_message_is_kept_and_is_part_of_its_content(shop: Shell) -> None:
    mine = order("y2", "1700.00", currency="ZAR", rate="0.0550")
    again, other = ({**mine, "id": rate, "data": {**mine["data"], "rate": rate}} for rate in ("0.055", "0.056"))
    assert shop.take(mine, again, other) == {"posted": 1, "replayed": 1, "parked": 1}
    assert shop.value("SELECT rate FROM orders") == Decimal("0.055")
    assert shop.value("SELECT balance FROM accounts") == 93
    assert shop.differences() == []


def test_a_later_version_changes_no_rate_of_what_is_posted(shop: Shell) -> None:
    shop.take(order("y2", currency="ZAR", lines=[line("1", "1700.00", 2)]))
    shop.apply_program(TEXT.replace("0.0529", "9"), "2026-03-02T00:00:00Z")
    shop.take(refund("r1", "y2", lines=[{"line_id": "1", "quantity": 1}]))
    assert shop.value("SELECT balance FROM accounts") == 44
    shop.take(order("y3", "10.00", currency="ZAR", time="2026-03-03T12:00:00Z"))
    assert shop.value("SELECT balance FROM accounts") == 134
    assert shop.differences() == []


def test_an_order_without_a_rate_is_parked_and_says_what_to_do(shop: Shell) -> None:
    shop.take(order("u1", currency="USD"))
    assert shop.parked_events() == [("completed-u1", "wrong_currency")]
    assert "send the order in a new event with data.rate" in shop.value("SELECT detail FROM inbox")
    shop.take(order("u1", currency="USD", rate="0.9", event_id="again"))
    assert shop.value("SELECT balance FROM accounts") == 90


def test_an_amended_order_keeps_the_rate_that_it_was_posted_with(shop: Shell) -> None:
    shop.take(order("y2", "1700.00", currency="ZAR", rate="0.055"))
    shop.take(amendment("y2", currency="ZAR", lines=[line("1", "3400.00")]))
    assert shop.value("SELECT balance FROM accounts") == 187
    shop.take(amendment("y2", revision=2, currency="ZAR", rate="0.06", lines=[line("1", "1700.00")]))
    assert "the rate of the order stays" in shop.value("SELECT detail FROM inbox WHERE state = 'dead'")
    assert shop.value("SELECT balance FROM accounts") == 187
    assert shop.differences() == []


def test_a_guests_order_that_is_claimed_later_earns_at_the_rate_of_its_day(shop: Shell) -> None:
    shop.take(order("y2", "1700.00", currency="ZAR", customer_id=None))
    shop.apply_program(TEXT.replace("0.0529", "9"), "2026-03-02T00:00:00Z")
    shop.take(claim("y2", "c1"))
    assert shop.value("SELECT balance FROM accounts") == 89
    assert shop.differences() == []


def test_a_return_without_a_receipt_takes_at_the_rate_of_its_own_day(shop: Shell) -> None:
    shop.take(order("y1", "100.00"))
    shop.take(goods_back("t1", currency="ZAR", lines=[line("1", "170.00")]))
    assert shop.value("SELECT balance FROM accounts") == 100 - 8
    assert shop.differences() == []
