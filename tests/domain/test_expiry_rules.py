"""When points end, by each policy, and what inactivity does to all of them together."""

from typing import Any

import pytest

from core.domain.expiry.dates import expires_at
from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.domain.naive_time import end_of_points
from tests.facts import fulfilment, instant, order, program_with, refund

QUARTER = {"policy": "after_months", "months": 6, "end_of": "quarter"}


@pytest.mark.parametrize(
    ("expiry", "available", "last_day"),
    [
        pytest.param({"policy": "after_days", "days": 1}, "2026-03-28", "2026-03-29", id="a day of 23 hours"),
        pytest.param({"policy": "after_days", "days": 1}, "2026-10-24", "2026-10-25", id="a day of 25 hours"),
        pytest.param({"policy": "after_days", "days": 365}, "2027-03-01", "2028-02-29", id="days over a leap day"),
        pytest.param({"policy": "after_months", "months": 1}, "2026-01-31", "2026-02-28", id="31 January: to the 28th"),
        pytest.param({"policy": "after_months", "months": 1}, "2028-01-31", "2028-02-29", id="or the 29th"),
        pytest.param({"policy": "after_months", "months": 12}, "2028-02-29", "2029-02-28", id="29 February"),
        pytest.param(
            {"policy": "after_months", "months": 12, "end_of": "month"}, "2020-07-06", "2021-07-31", id="end of month"
        ),
        pytest.param(
            {"policy": "after_months", "months": 1, "end_of": "month"}, "2028-01-31", "2028-02-29", id="of February"
        ),
        pytest.param(QUARTER, "2026-01-10", "2026-09-30", id="end of quarter"),
        pytest.param(QUARTER, "2026-03-31", "2026-09-30", id="the last day of a quarter"),
        pytest.param(QUARTER, "2026-09-30", "2027-03-31", id="into the next year"),
        pytest.param({**QUARTER, "end_of": "half_year"}, "2026-01-10", "2026-12-31", id="end of half-year"),
        pytest.param({**QUARTER, "end_of": "year"}, "2026-07-10", "2027-12-31", id="end of year"),
        pytest.param({"policy": "fixed_day", "day": "03-31"}, "2026-03-30", "2026-03-31", id="a fixed day ahead"),
        pytest.param({"policy": "fixed_day", "day": "03-31"}, "2026-03-31", "2026-03-31", id="that day itself"),
        pytest.param({"policy": "fixed_day", "day": "03-31"}, "2026-04-01", "2027-03-31", id="the day after it"),
        pytest.param(
            {"policy": "fixed_day", "day": "12-31", "months": 6}, "2026-08-01", "2027-12-31", id="at least six months"
        ),
        pytest.param({"policy": "fixed_day", "day": "02-29"}, "2027-01-01", "2027-02-28", id="29 February in 2027"),
        pytest.param({"policy": "fixed_day", "day": "02-29"}, "2028-01-01", "2028-02-29", id="and in 2028"),
        pytest.param({"policy": "fixed_day", "day": "02-29"}, "2027-03-01", "2028-02-29", id="from one to the other"),
        pytest.param({"policy": "inactivity", "days": 30}, "2026-03-01", "2026-03-31", id="days without activity"),
        pytest.param({"policy": "inactivity", "months": 6}, "2026-08-31", "2027-02-28", id="months without activity"),
    ],
)
def test_points_are_good_for_the_whole_of_their_last_day(expiry: dict[str, Any], available: str, last_day: str) -> None:
    program = program_with(expiry=expiry)
    end = expires_at(program.expiry, program.zone, instant(available))
    assert end is not None
    assert f"{end.astimezone(program.zone):%H:%M}" == "00:00"
    year, month, day = (int(each) for each in last_day.split("-"))
    ended = end.astimezone(program.zone).date()
    assert (ended.toordinal() - 1) == type(ended)(year, month, day).toordinal()
    assert end == end_of_points(program.expiry, program, instant(available))


class TestInactivity:
    PROGRAM = program_with(expiry={"policy": "inactivity", "months": 6})

    def ends(self, book: Book) -> list[str]:
        check_everything(book)
        zone = self.PROGRAM.zone
        return [f"{lot.expires_at.astimezone(zone):%Y-%m-%d}" for lot in book.lots.values() if lot.expires_at]

    def test_each_order_moves_the_end_of_all_points(self) -> None:
        book = Book(self.PROGRAM)
        book.complete(order(order_id="o1", at="2026-01-10"), instant("2026-01-10"))
        book.complete(order(order_id="o2", at="2026-05-10"), instant("2026-05-10"))
        assert self.ends(book) == ["2026-11-11", "2026-11-11"]

    @pytest.mark.parametrize(
        ("counted", "amount", "end"),
        [
            ("earning", "0.50", "2026-07-11"),
            ("paid", "0.50", "2026-11-11"),
            ("paid", "0.00", "2026-07-11"),
            ("all", "0.00", "2026-11-11"),
        ],
    )
    def test_an_order_that_earns_nothing_does_if_the_program_counts_it(
        self, counted: str, amount: str, end: str
    ) -> None:
        book = Book(program_with(expiry={"policy": "inactivity", "months": 6}, counted_orders=counted))
        book.complete(order(order_id="o1", at="2026-01-10"), instant("2026-01-10"))
        book.complete(order(amount, "o2", at="2026-05-10"), instant("2026-05-10"))
        assert self.ends(book) == [end]

    def test_points_of_an_order_that_does_not_count_end_with_the_others_and_move_none(self) -> None:
        visit = {"rule_id": "visit", "kind": "visit", "points": "5"}
        book = Book(program_with(expiry={"policy": "inactivity", "months": 6}, earning_rules=[visit]))
        book.complete(order(order_id="o1", at="2026-01-10"), instant("2026-01-10"))
        book.complete(order("0.00", "o2", at="2026-05-10"), instant("2026-05-10"))
        assert self.ends(book) == ["2026-07-11", "2026-07-11"]

    def test_no_refund_does(self) -> None:
        book = Book(self.PROGRAM)
        book.complete(order(order_id="o1", at="2026-01-10"), instant("2026-01-10"))
        book.refund(refund(net="10.00", at="2026-05-10"))
        assert self.ends(book) == ["2026-07-11"]

    def test_an_order_after_the_end_does_not_bring_points_back_whether_or_not_the_run_came(self) -> None:
        book = Book(self.PROGRAM)
        book.complete(order(order_id="o1", at="2026-01-10"), instant("2026-01-10"))
        book.complete(order("50.00", "o2", at="2026-07-11"), instant("2026-07-11"))
        assert self.ends(book) == ["2026-07-11", "2027-01-12"]
        book.expire(instant("2026-07-12"))
        assert book.account.balance == 50

    @pytest.mark.parametrize("has_run_come", [True, False])
    def test_nor_does_one_that_is_dated_before_the_end_and_posted_after_it(self, has_run_come: bool) -> None:
        book = Book(self.PROGRAM)
        book.complete(order(order_id="o1", at="2026-01-10"), instant("2026-01-10"))
        if has_run_come:
            book.expire(instant("2026-07-11"))
        book.refund(refund(refund_id="r1", net="40.00", at="2026-07-12"))
        book.complete(order("50.00", "late", at="2026-07-09"), instant("2026-07-13"))
        assert self.ends(book) == ["2026-07-11", "2027-01-10"]
        book.refund(refund(refund_id="r2", at="2026-07-14"))
        book.expire(instant("2026-07-15"))
        check_everything(book)
        assert [lot.points_excused for lot in book.lots.values()] == [100, 0]
        assert (book.account.balance, book.orders["o1"].points_excused) == (50, 100)

    def test_nor_does_one_that_earns_nothing(self) -> None:
        book = Book(program_with(expiry={"policy": "inactivity", "months": 6}, counted_orders="paid"))
        book.complete(order(order_id="o1", at="2026-01-10"), instant("2026-01-10"))
        book.complete(order("0.50", "late", at="2026-07-09"), instant("2026-07-11"))
        assert self.ends(book) == ["2026-07-11"]

    def test_nor_does_one_whose_transaction_began_before_that_of_a_refund_that_found_the_points_ended(self) -> None:
        book = Book(self.PROGRAM)
        book.complete(order(order_id="o1", at="2026-01-10"), instant("2026-01-10"))
        book.refund(refund(net="40.00", at="2026-07-11"))
        book.complete(order("50.00", "late", at="2026-07-09"), instant("2026-07-10"))
        assert self.ends(book) == ["2026-07-11", "2027-01-10"]

    def test_a_late_order_does_not_end_with_points_that_have_ended(self) -> None:
        book = Book(self.PROGRAM)
        book.complete(order(order_id="o2", at="2026-01-20"), instant("2026-01-20"))
        book.complete(order("50.00", "late", at="2026-01-10"), instant("2026-07-21"))
        assert self.ends(book) == ["2026-07-21", "2026-07-11"]

    def test_a_late_order_ends_with_those_that_came_after_it(self) -> None:
        book = Book(self.PROGRAM)
        book.complete(order(order_id="o2", at="2026-05-10"), instant("2026-05-10"))
        book.complete(order(order_id="late", at="2026-01-10"), instant("2026-05-11"))
        assert self.ends(book) == ["2026-11-11", "2026-11-11"]

    def test_points_that_wait_for_their_fulfilment_end_with_the_others_too(self) -> None:
        book = Book(program_with(expiry={"policy": "inactivity", "months": 6}, availability={"policy": "on_fulfilled"}))
        book.complete(order(order_id="o1", at="2026-01-10"), instant("2026-01-10"))
        book.complete(order(order_id="o2", at="2026-05-10"), instant("2026-05-10"))
        book.fulfil(fulfilment("o2", at="2026-05-20"))
        book.fulfil(fulfilment("o1", at="2026-05-12"), instant("2026-05-21"))
        assert self.ends(book) == ["2026-11-21", "2026-11-21"]


def test_a_changed_policy_dates_no_points_that_were_there() -> None:
    book = Book(program_with())
    book.complete(order(order_id="o1", at="2026-01-10"), instant("2026-01-10"))
    book.program = program_with(expiry={"policy": "inactivity", "days": 30})
    book.complete(order(order_id="o2", at="2026-02-10"), instant("2026-02-10"))
    assert [lot.expires_at is None for lot in book.lots.values()] == [True, False]


def test_points_that_went_into_a_debt_at_once_let_no_others_last_from_when_they_were_available() -> None:
    inactivity = {"policy": "inactivity", "months": 6}
    book = Book(program_with(expiry=inactivity, availability={"policy": "after_days", "days": 3}))
    book.complete(order("20.00", at="2026-03-01"), instant("2026-03-01"))
    book.release(instant("2026-03-05"))
    book.spend(20, instant("2026-03-05"))
    book.refund(refund(net="15.00", at="2026-03-06"))
    book.complete(order("10.00", "o2", at="2026-03-12"), instant("2026-03-20"))
    (shared,) = book.books.expiries(book.account)
    assert (book.account.balance, shared.expires_at) == (
        -5,
        expires_at(book.program.expiry, book.program.zone, instant("2026-03-12")),
    )
    check_everything(book)
