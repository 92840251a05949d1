"""Orders in another currency than the program's: which rate counts, and for what."""

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency

from core.domain.currencies import WITHDRAWN, decimal_places, smallest_unit
from core.domain.orders.earning import entitlement
from core.domain.orders.rates import rate_problem
from core.domain.outcomes import Parked, Reason
from core.domain.program import Program
from core.errors import ProgramFileError
from core.messages.program_files.program_file import describe_differences, parse_program
from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.factories import PROGRAM_TEXT
from tests.facts import AS_OF, line, order, part, program_with, refund, spend_rule
from tests.pages import ROOT, blocks, table

PAGE = ROOT / "docs" / "programs.md"
ONE = program_with(earning_rules=[spend_rule("1")], currencies={"ZAR": "0.0529"})
PLAIN = program_with(earning_rules=[spend_rule("1")])


def zar(amount: str = "1700.00", **facts: Any) -> Any:
    return order(amount, **{"currency": "ZAR", **facts})


def points(program: Program, *refunds: Any, **facts: Any) -> int:
    return entitlement(zar(**facts), refunds, program, "bronze").points


class TestOneBalance:
    def test_100_eur_and_1700_zar_are_about_190_points(self) -> None:
        book = Book(ONE)
        book.complete(order("100.00", "y1"))
        book.complete(zar(order_id="y2"))
        assert book.account.balance == 100 + 89
        check_everything(book)

    def test_the_rate_of_the_message_goes_before_that_of_the_file(self) -> None:
        assert [points(ONE), points(ONE, rate="0.055"), points(PLAIN, rate="0.055")] == [89, 93, 93]

    def test_the_amount_is_taken_times_the_rate_once_and_exactly(self) -> None:
        lines = [line(str(n), "0.0001") for n in range(1, 4)]
        program = program_with(earning_rules=[spend_rule("1", per_amount="0.0001")])
        assert points(program, lines=lines, rate="0.33333") == 0
        assert points(program, lines=lines, rate="0.33334") == 1

    def test_refunds_are_in_the_currency_of_the_order_and_keep_its_rate(self) -> None:
        book = Book(ONE)
        book.complete(zar(lines=[line("1", "1700.00", 2)]))
        book.program = program_with(earning_rules=[spend_rule("1")], currencies={"ZAR": "9"})
        book.refund(refund(part("1", quantity=1)))
        assert book.account.balance == 44
        book.refund(refund(refund_id="r2"))
        assert book.account.balance == 0
        check_everything(book)

    def test_minimums_prices_and_tiers_are_in_the_currency_of_the_program(self) -> None:
        visit = {"rule_id": "visit", "kind": "visit", "points": "5", "when": {"minimum_amount": "89.94"}}
        assert [points(program_with(earning_rules=[visit]), rate=rate) for rate in ("0.0529", "0.05291")] == [0, 5]
        priced = spend_rule("1", lines={"minimum_price": "44.965"})
        assert points(program_with(earning_rules=[priced]), lines=[line("1", "1700.00", 2)], rate="0.0529") == 89
        assert points(program_with(earning_rules=[priced]), lines=[line("1", "1699.98", 2)], rate="0.0529") == 0
        earned = entitlement(zar(), (), ONE, "bronze")
        assert earned.qualifying.spend == 8993

    def test_the_explanation_says_what_was_converted(self) -> None:
        sold, half = zar(lines=[line("1", "1700.00", 2)], points_paid="170.00"), refund(part("1", quantity=1))
        why = entitlement(sold, (), ONE, "bronze").why
        assert why["basis_amount"] == "80.937"
        assert why["converted"] == {"amount": "1530", "currency": "ZAR", "rate": "0.0529", "into": "EUR"}
        capped = program_with(earning_rules=[spend_rule("1", caps={"per_order": 5})], currencies={"ZAR": "0.0529"})
        assert entitlement(sold, (half,), capped, "bronze").why["converted"]["amount"] == "765"
        assert "converted" not in entitlement(order(), (), ONE, "bronze").why
        tiny = entitlement(zar(rate="0.000000000123"), (), ONE, "bronze").why["converted"]
        assert (tiny["amount"], tiny["rate"]) == ("1700", "0.000000000123")


PERIODS = [
    {"starts_on": "2026-01-01", "ends_on": "2026-06-30", "rate": "0.0498"},
    {"starts_on": "2026-08-01", "rate": "0.0529"},
]


@pytest.mark.parametrize(
    ("at", "rate"),
    [
        pytest.param("2025-12-31T23:59:59+01:00", None, id="before the first"),
        pytest.param("2026-01-01T00:00:00+01:00", "0.0498", id="from the midnight of the program's time zone on"),
        pytest.param("2026-06-30T23:59:59+02:00", "0.0498", id="to the end of the last day"),
        pytest.param("2026-07-01T00:00:00+02:00", None, id="between two"),
        pytest.param("2026-08-01T00:00:00+02:00", "0.0529", id="in the next one"),
        pytest.param("2036-08-01", "0.0529", id="without end"),
    ],
)
def test_the_day_of_the_order_says_which_rate_counts(at: str, rate: str | None) -> None:
    program = program_with(currencies={"ZAR": PERIODS})
    assert program.rate_on("ZAR", zar(at=at).occurred_at) == (None if rate is None else Decimal(rate))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        pytest.param(
            {"currency": "USD"},
            "data.currency is USD, program test has EUR, and its file has no rate of USD (currencies); send the order "
            "in a new event with data.rate, what 1 USD is worth in EUR",
            id="no rate at all",
        ),
        pytest.param(
            {"currency": "ZAR", "at": "2026-07-01"},
            "and its file has no rate of ZAR for 2026-07-01, the day of the order; send",
            id="none of that day",
        ),
        pytest.param(
            {"rate": "0.9"},
            "data.rate is 0.9, but the order is in EUR, the currency of program test; leave rate out",
            id="a rate of the program's own currency",
        ),
    ],
)
def test_an_order_that_nobody_can_value_is_parked(facts: dict[str, Any], said: str) -> None:
    found = rate_problem(order(**facts), program_with(currencies={"ZAR": PERIODS}))
    assert found is not None
    assert found.reason is Reason.WRONG_CURRENCY
    assert said in found.detail


def test_a_rate_of_1_says_nothing_of_the_programs_own_currency() -> None:
    book = Book(PLAIN)
    book.complete(order(rate="1"))
    assert book.account.balance == 100


def test_an_order_at_a_mistaken_rate_is_parked_for_its_points_and_its_spend_stays_a_number_of_the_ledger() -> None:
    huge = zar("999999999999", rate="999999999999")
    assert entitlement(huge, (), ONE, "bronze").qualifying.spend == 10**18
    found = Book(ONE).decide(huge, AS_OF)
    assert isinstance(found, Parked)
    assert found.reason is Reason.TOO_MANY_POINTS


@given(
    st.lists(st.tuples(st.integers(1, 100_000), st.integers(1, 4)), min_size=1, max_size=4),
    st.integers(1, 10**9),
    st.integers(0, 3),
)
def test_an_order_at_a_rate_earns_what_one_of_the_amounts_times_the_rate_would(
    goods: list[tuple[int, int]], rate: int, back: int
) -> None:
    worth = Decimal(rate).scaleb(-8)
    sold = [line(str(n), Decimal(cents).scaleb(-2), pieces) for n, (cents, pieces) in enumerate(goods)]
    same = [each._replace(amount=each.amount * worth) for each in sold]
    refunds = [refund(part(str(back % len(goods)), quantity=1))]
    rule = spend_rule("1.5", per_amount="0.7", caps={"per_order": 10**9})
    program = program_with(earning_rules=[rule])
    there = entitlement(zar(lines=sold, rate=f"{worth:f}"), refunds, program, "bronze").points
    assert there == entitlement(order(lines=same), refunds, program, "bronze").points


class TestProgramFile:
    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ("{EUR: 1}", "currencies.EUR is the program's own currency: take it out"),
            ('{SAR: "0.2", ZAA: "0.1"}', 'currencies.ZAA is "ZAA", which is not a known currency'),
            ("{ZAR: 0.0529}", "currencies.ZAR is the unquoted number 0.0529, which is not exact"),
            ('{ZAR: "0"}', 'currencies.ZAR is the text "0"; write what one unit of the currency is worth'),
            ('{ZAR: "0.1234567890123"}', "at most 12 decimal places"),
            ("{ZAR: []}", "currencies.ZAR is an empty list; write"),
            ("{ZAR: [{starts_on: 2026-01-01}]}", "currencies.ZAR[0].rate is missing; write"),
            ("{ZAR: [{rate: 1}, {rate: 2}]}", "currencies.ZAR[1].starts_on is missing: only the first period"),
            (
                "{ZAR: [{starts_on: 2026-02-01, rate: 1}, {starts_on: 2026-01-01, rate: 2}]}",
                "currencies.ZAR[1].starts_on must be later than 2026-02-01",
            ),
            (
                "{ZAR: [{ends_on: 2026-02-01, rate: 1}, {starts_on: 2026-02-01, rate: 2}]}",
                "currencies.ZAR[1].starts_on must be later than 2026-02-01",
            ),
            ("{ZAR: [{starts_on: 2026-02-01, ends_on: 2026-01-01, rate: 1}]}", "ends_on is before starts_on"),
            ('{ZAR: [{from: 2026-01-01, rate: "1"}]}', "currencies.ZAR[0].from is not a field here; known are"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said(self, written: str, said: str) -> None:
        with pytest.raises(ProgramFileError, match=re.escape(said)):
            parse_program(f"{PROGRAM_TEXT}currencies: {written}\n", path="p.yaml")

    def test_a_changed_rate_is_a_difference(self) -> None:
        old, new = (program_with(currencies={"ZAR": rate}) for rate in ("0.0529", PERIODS[1:]))
        assert describe_differences(PLAIN, ONE)[-1].startswith("currencies.ZAR: added (") or describe_differences(
            PLAIN, ONE
        )
        assert describe_differences(old, new) == [
            "currencies.ZAR: [{rate: 0.0529}] -> [{rate: 0.0529, starts_on: 2026-08-01}]"
        ]


@pytest.mark.parametrize("row", table(PAGE, "Order"), ids=" ".join)
def test_the_worked_examples_of_the_page(row: list[str]) -> None:
    (written,) = [block for block in blocks(PAGE, "yaml") if "currencies:" in block]
    program = parse_program(PROGRAM_TEXT.replace("currency: EUR\n", written), path="page.yaml")
    said, rate, counts = row
    amount, currency, _, day = said.split(" ")
    sold = order(amount, at=day, currency=currency, rate=rate or None)
    is_parked = rate_problem(sold, program) is not None
    assert is_parked == (counts == "parked")
    if not is_parked:
        assert f"{entitlement(sold, (), program, 'bronze').why['basis_amount']} EUR" == counts


class TestRounding:
    @pytest.mark.parametrize(
        ("currency", "lines", "most", "over"),
        [
            pytest.param("EUR", ["10.00", "10.00"], "20.02", "20.03", id="a cent for each line"),
            pytest.param("JPY", ["1010", "1010", "1010"], "3033", "3034", id="a yen for each line"),
            pytest.param("KWD", ["10.000"], "10.010", "10.011", id="of three places a cent all the same"),
        ],
    )
    def test_as_much_as_shops_round_by_is_taken_as_all(
        self, currency: str, lines: list[str], most: str, over: str
    ) -> None:
        book = Book(program_with(currency=currency, earning_rules=[spend_rule("1")]))
        sold = order(currency=currency, lines=[line(str(n), amount) for n, amount in enumerate(lines)])
        book.complete(sold)
        parked = book.decide(refund(paid=over, refund_id="too-much"), AS_OF)
        assert isinstance(parked, Parked)
        assert parked.reason is Reason.REFUND_EXCEEDS_ORDER
        book.refund(refund(paid=most, refund_id="all"))
        assert book.account.balance == 0

    def test_what_can_be_sent_at_most_is_money_that_there_is(self) -> None:
        book = Book(program_with(currency="JPY", earning_rules=[spend_rule("1")]))
        book.complete(order(currency="JPY", lines=[line(str(n), "1010.1010", tax="101.0101") for n in range(3)]))
        parked = book.decide(refund(paid="3400"), AS_OF)
        assert isinstance(parked, Parked)
        assert "send at most 3334, " in parked.detail

    def test_the_places_of_every_currency_are_those_of_the_standard(self) -> None:
        listed = {currency.code: currency.exponent or 0 for currency in Currency}
        assert {code: decimal_places(code) for code in listed} == listed
        assert not WITHDRAWN & listed.keys()

    @pytest.mark.parametrize("currency", ["BGN", "HRK"])
    def test_of_a_currency_that_was_withdrawn_orders_and_refunds_still_come(self, currency: str) -> None:
        assert smallest_unit(currency) == Decimal("0.01")
        read = parse_program(PROGRAM_TEXT.replace("EUR", currency), path="p.yaml")
        assert read.currency == currency
