"""What a dead letter shows of a wrong value, which is stored, logged and published: anything may stand in any field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages.inbound.fields import CURRENCIES
from core.messages.inbound.reading import UnreadableEvent
from core.messages.inbound.shown_values import may_be_shown
from core.messages.inbound.wanted import AMOUNTS, TIMES
from tests.messages.inbound_samples import ORDER, REFUND, changed, read, refused

MONEY_BACK = changed(REFUND, "data.lines", ...)
PLACES = {
    "time": (ORDER, "time"),
    "specversion": (ORDER, "specversion"),
    "amount": (ORDER, "data.lines.0.amount"),
    "tax": (ORDER, "data.lines.0.tax"),
    "quantity": (ORDER, "data.lines.0.quantity"),
    "kind": (ORDER, "data.lines.1.kind"),
    "currency": (ORDER, "data.currency"),
    "rate": (ORDER, "data.rate"),
    "points_paid": (ORDER, "data.points_paid"),
    "paid": (MONEY_BACK, "data.paid"),
    "net": (MONEY_BACK, "data.net"),
    "full": (MONEY_BACK, "data.full"),
}
NUMBERS = ("quantity", "rate", *AMOUNTS)

#: Telephone numbers, cards, accounts of banks, names, dates of birth, codes of post.
OF_A_PERSON = [
    "+447400900123", "+44 7400 900123", "07400900123", "0740 090 0123", "7400900123", "447400900123", "030 123 456",
    "(030) 123456", "+49-30-123456", "030.1234567", "+1 212 555 0123", "212-555-0123", "555 0123", "+4930123456",
    "4111 1111 1111 1111", "4111111111111111", "4111-1111-1111-1111", "378282246310005", "3782 822463 10005",
    "DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "DE89370400440532013000", "X12 345",
    "Anna", "Anna 1984", "1984 Ann", "Anna-Maria", "Smith", "Ron 1984", "Kim", "Ann S", "Smith 12.50", "Ann€5",
    "01.02.1984", "1984-2-1", "02/01/1984", "SW1A 1AA", "SW1A1AA", "ann@example.com", "AB123456C", "much", "Jo",
    "12 Bob",
]  # fmt: skip
NUMBERS_OF_A_PERSON = [447400900123, 4111111111111111, 378282246310005, 7400900123, 447400900123.0]


def told_of(field: str, value: object) -> list[str]:
    """What is told of a value in this field; nothing where the contract takes it."""
    return [each.detail for each in read(changed(*PLACES[field], value)) if isinstance(each, UnreadableEvent)]


@pytest.mark.parametrize("field", PLACES)
@pytest.mark.parametrize("value", OF_A_PERSON)
def test_no_field_shows_what_may_be_of_a_person(field: str, value: str) -> None:
    assert not may_be_shown(field, value)
    assert not any(value in detail for detail in told_of(field, value))


@pytest.mark.parametrize("field", PLACES)
@pytest.mark.parametrize("value", NUMBERS_OF_A_PERSON)
def test_no_field_shows_a_number_that_may_be_of_a_person(field: str, value: float) -> None:
    assert not may_be_shown(field, value)
    assert not any(str(value)[:9] in detail for detail in told_of(field, value))


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        (
            NUMBERS,
            ["12,50", "€12.50", "€ 12.50", "12.50 EUR", "EUR 12.50", "12.50 eur", "$5", "-$5.00", "-5.00", "+5.00",
             "5.", ".5", "1,234.50", "1.234,56", "1 234,56", "1'234.56", "1,234,567.89", "1e2", "1E-3",
             " 10.00", "10.00 ",
             "1.000000", "0.1234567890123", "12.5%", "١٢,50", "US$ 7.50", "100 kr", "1,50", 12.5, 10.0, 1,
             0, -1, 1e-7, 119.99000000000001, 999_999_999],
        ),
        (
            TIMES,
            ["2026-01-31 09:30:00", "2026-01-31T09:30:00", "2026-01-31", "2026-01", "2026-01-31T09:30Z",
             "2026-01-31T09:30:00+0000", "2026-01-31T09:30:00 +01:00", "2026-01-31T09:30:00,5Z", "2026-02-30T10:00:00Z",
             "2026-01-31T09:30:00UTC", "2026-01-31T09:30:00.1234567891Z", "1969-12-31T23:59:59Z", "1706693400",
             "1706693400000", 1_706_693_400, 1_706_693_400_000, 1_706_693_400.25],
        ),
        (("currency",), ["gbp", "EURO", "Eur", "€", "$", "GBPP", "eur "]),
        (("kind",), ["shippng", "SHIPPING", "gift card", "giftcard", "Delivery", "discount", "coupon", "fees"]),
        (("specversion",), ["0.3", "1.0.2", "1", "2.0"]),
        (("full",), ["true", "yes", "No", "1", "0"]),
        (("type",), ["order.complete", "com.example.order-created.v2"]),
    ],
    ids=["numbers", "times", "currency", "kind", "specversion", "full", "type"],
)  # fmt: skip
def test_what_looks_like_what_belongs_there_is_shown(fields: tuple[str, ...], values: list[Any]) -> None:
    assert [(field, value) for field in fields for value in values if not may_be_shown(field, value)] == []


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("amount", "12,50", 'is the string "12,50"'),
        ("amount", "12.50 EUR", 'is the string "12.50 EUR"'),
        ("paid", "1.234,56", 'is the string "1.234,56"'),
        ("amount", 12.5, 'is the number 12.5; amounts are decimal strings in major units: write "12.50"'),
        ("time", 1_706_693_400, "is the number 1706693400"),
        ("time", "2026-01-31 09:30:00", 'is the string "2026-01-31 09:30:00"'),
        ("kind", "shippng", 'is the string "shippng"; did you mean "shipping"?'),
        ("currency", "gbp", 'is the string "gbp"; did you mean "GBP"?'),
    ],
)
def test_the_reader_of_a_dead_letter_sees_what_is_shown(field: str, value: Any, told: str) -> None:
    assert told in refused(changed(*PLACES[field], value)).detail


@given(
    st.from_regex(r"\A(\+|00|0|)[1-9]([ ./-]?[0-9]){9,17}\Z"), st.sampled_from([*NUMBERS, "currency", "kind", "full"])
)
def test_no_more_than_nine_digits_in_a_row_are_shown_before_the_point(value: str, field: str) -> None:
    if may_be_shown(field, value):
        whole = value.replace(",", ".").rpartition(".")[0] or value
        assert sum(each.isdigit() for each in whole) <= 9


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyzäéABCDEFG", min_size=1, max_size=10), st.integers(0, 10**6))
def test_words_beside_a_number_are_shown_only_where_they_are_a_currency(word: str, number: int) -> None:
    for text in (f"{word} {number}", f"{number} {word}", f"{word}{number}"):
        if may_be_shown("amount", text):
            assert word.upper() in CURRENCIES or word.lower() in {"kr", "e", "euro"}


def test_a_field_that_may_hold_anything_shows_nothing() -> None:
    for field in ("id", "source", "order_id", "customer_id", "sku", "reason", "by", "card", "attributes"):
        assert not any(may_be_shown(field, value) for value in ("1", "2026-01-31", "EUR", "product", 1))
