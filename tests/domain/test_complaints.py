"""What users of other loyalty systems complain about, and the worked cases of their documentation, as they end here."""

from typing import Any

import pytest

from core.domain.expiry.dates import expires_at
from core.domain.ledger import EntryKind
from core.domain.orders.earning import entitlement
from core.domain.orders.facts import Refund
from core.domain.outcomes import Parked, Reason
from core.domain.program import Program
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.facts import (
    TIER_IDS,
    cancellation,
    fulfilment,
    instant,
    line,
    order,
    part,
    program_with,
    refund,
    spend_rule,
)

PLAIN = program_with(earning_rules=[spend_rule("1")])
PER_10 = program_with(earning_rules=[spend_rule("1", per_amount="10")])


def rules(*parts: dict[str, Any], **over: Any) -> Program:
    return program_with(earning_rules=[{"rule_id": f"r{n}", **each} for n, each in enumerate(parts)], **over)


def points(program: Program, *refunds: Any, **facts: Any) -> int:
    return entitlement(order(**facts), refunds, program, "bronze").points


class TestSquaresDocumentation:
    def test_1_point_per_10_gives_10_for_105(self) -> None:
        assert points(PER_10, amount="105.00") == 10

    def test_a_visit_from_a_minimum_on(self) -> None:
        visit = rules({"kind": "visit", "points": "1", "when": {"minimum_amount": "5"}})
        assert [points(visit, amount=amount) for amount in ("4.99", "5.00", "500.00")] == [0, 1, 1]

    @pytest.mark.parametrize(("tax", "earned"), [("excluded", 9), ("included", 10)])
    def test_tax_mode(self, tax: str, earned: int) -> None:
        program = rules({"kind": "spend", "points": "1", "per_amount": "10"}, basis={"tax": tax})
        assert points(program, lines=[line("1", "99.00", tax="7.92")]) == earned

    def test_excluded_categories_and_articles(self) -> None:
        lines = {"exclude_categories": ["alcohol"], "exclude_skus": ["stamps"]}
        program = rules({"kind": "spend", "points": "1", "per_amount": "1", "lines": lines})
        bought = [line("1", "10.00"), line("2", "20.00", categories=["alcohol"]), line("3", "5.00", sku="stamps")]
        assert points(program, lines=bought) == 10

    def test_of_several_rules_the_one_that_gives_most(self) -> None:
        program = rules(
            {"kind": "visit", "points": "10"},
            {"kind": "category", "points": "4", "categories": ["tea"]},
            {"kind": "item", "points": "9", "skus": ["cup"]},
        )
        bought = [line("1", "10.00", 3, categories=["tea"]), line("2", "20.00", sku="cup")]
        assert points(program, lines=bought) == 12

    @pytest.mark.parametrize(
        ("base", "promotion", "total"),
        [
            pytest.param("5", {"kind": "addition", "points": 3}, 8, id="an addition of 3 to 5 gives 8"),
            pytest.param("4", {"kind": "multiplier", "multiplier": "1.5"}, 6, id="a multiplier of 1.5 makes 6 of 4"),
        ],
    )
    def test_promotions(self, base: str, promotion: dict[str, Any], total: int) -> None:
        program = rules({"kind": "visit", "points": base}, promotions=[{"promotion_id": "p", **promotion}])
        assert points(program) == total

    def test_one_promotion_applies_the_most_recent(self) -> None:
        old, new = ({"promotion_id": n, "kind": "addition", "points": p} for n, p in (("old", 9), ("new", 3)))
        program = rules({"kind": "visit", "points": "5"}, promotions=[old, new], combine_promotions="newest")
        book = Book(program)
        book.complete(order())
        assert book.account.balance == 8

    def test_the_expiration_policy_of_twelve_months_is_to_the_end_of_the_month(self) -> None:
        expiry = {"policy": "after_months", "months": 12, "end_of": "month"}
        program = program_with(expiry=expiry, time_zone="America/New_York")
        end = expires_at(program.expiry, program.zone, instant("2020-07-06"))
        assert end == instant("2021-08-01T00:00-04:00")

    def test_a_refund_in_an_item_program_takes_the_points_of_that_item(self) -> None:
        program = rules({"kind": "item", "points": "5", "skus": ["cup"]})
        bought = [line("1", "30.00", 3, sku="cup"), line("2", "20.00")]
        assert points(program, refund(part("1", quantity=1)), lines=bought) == 10
        assert points(program, refund(part("2", quantity=1)), lines=bought) == 15

    def test_small_refunds_must_not_add_up_to_nothing(self) -> None:
        """Each of 1.00 and 5.00 alone removes no point of "1 per 10"; both together leave 99.00 here."""
        book = Book(PER_10)
        book.complete(order("105.00"))
        for n, amount in enumerate(["1.00", "5.00"]):
            book.refund(refund(net=amount, refund_id=f"r{n}"))
        assert book.account.balance == 9
        check_everything(book)

    def test_a_change_of_the_expiry_policy_is_not_retroactive(self) -> None:
        book = Book(program_with(expiry={"policy": "after_months", "months": 6}))
        book.complete(order(at="2026-01-10"))
        book.program = program_with()
        book.complete(order(order_id="o2", at="2026-02-10"))
        assert [lot.expires_at is None for lot in book.lots.values()] == [False, True]

    def test_30_then_20_at_1_per_50_is_not_lost(self) -> None:
        book = Book(rules({"kind": "spend", "points": "1", "per_amount": "50", "carry": True}))
        book.complete(order("30.00", "o1"))
        book.complete(order("20.00", "o2"))
        assert book.account.balance == 1


class TestComplaints:
    def test_points_kept_after_a_refund(self) -> None:
        book = Book(PLAIN)
        for n in range(3):
            book.complete(order("99.99", f"o{n}"))
            book.refund(refund(order_id=f"o{n}", refund_id=f"r{n}"))
        assert (book.account.balance, book.account.lifetime_points) == (0, 0)

    def test_a_refund_refused_because_the_points_were_spent(self) -> None:
        book = Book(PLAIN)
        book.complete(order())
        book.spend(100, instant("2026-03-02"))
        book.refund(refund())
        assert (book.account.balance, book.account.deficit) == (-100, 100)
        check_everything(book)

    def test_returned_points_wrong_by_rounding(self) -> None:
        program = program_with(earning_rules=[spend_rule("1", rounding="half_up")])
        book = Book(program)
        book.complete(order(lines=[line("1", "10.00", 3)]))
        for n in range(3):
            book.refund(refund(part("1", quantity=1), refund_id=f"r{n}"))
        assert (book.account.balance, [entry.points for entry in book.entries]) == (0, [10, -3, -4, -3])

    def test_the_returned_quantity_ignored(self) -> None:
        assert points(PLAIN, refund(part("1", quantity=1)), lines=[line("1", "40.00", 4)]) == 30

    def test_the_balance_wrong_after_earn_spend_cancel_refund_in_a_row(self) -> None:
        book = Book(PLAIN)
        book.complete(order("100.00", "o1"))
        book.complete(order("50.00", "o2"))
        book.spend(80, instant("2026-03-02"))
        book.cancel(cancellation("o2"))
        book.refund(refund(net="30.00", order_id="o1", at="2026-03-06"))
        assert book.account.balance == 100 + 50 - 80 - 50 - 30
        check_everything(book)

    def test_points_on_the_part_that_was_paid_with_points(self) -> None:
        assert points(PLAIN, amount="100.00", points_paid="25.00") == 75

    def test_gift_cards_earn_when_they_are_bought_and_again_when_they_are_spent(self) -> None:
        assert points(PLAIN, lines=[line("1", "50.00", kind="gift_card"), line("2", "20.00")]) == 20

    def test_points_on_tax_and_shipping(self) -> None:
        bought = [line("1", "50.00", tax="10.00"), line("2", "4.90", tax="0.98", kind="shipping")]
        assert points(PLAIN, lines=bought) == 50

    def test_twice_the_points_after_a_redelivery(self) -> None:
        book = Book(PLAIN)
        messages: list[ShopFact] = [order(), order(), refund(net="10.00"), refund(net="10.00")]
        for message in messages * 2:
            book.deliver(message, instant("2026-03-06"))
        assert (book.account.balance, len(book.entries)) == (90, 2)

    def test_a_refund_faster_than_its_order(self) -> None:
        book = Book(PLAIN)
        book.deliver(refund(net="10.00"), instant("2026-03-06"))
        assert book.entries == []
        book.deliver(order(), instant("2026-03-06"))
        assert book.account.balance == 90
        check_everything(book)

    def test_the_balance_collapses_when_old_points_end_that_were_spent_already(self) -> None:
        book = Book(program_with(expiry={"policy": "after_months", "months": 1}))
        book.complete(order("100.00", "o1", at="2026-01-10"))
        book.spend(100, instant("2026-01-11"))
        book.complete(order("40.00", "o2", at="2026-02-05"))
        book.expire(instant("2026-02-20"))
        assert book.account.balance == 40
        check_everything(book)

    def test_short_lived_points_die_behind_long_lived_ones(self) -> None:
        expiry = {"policy": "after_days", "days": 7}
        bonus = {"promotion_id": "bonus", "kind": "addition", "points": 20, "expiry": expiry}
        book = Book(rules({"kind": "spend", "points": "1", "per_amount": "1"}, promotions=[bonus]))
        book.complete(order(at="2026-03-01"))
        book.spend(20, instant("2026-03-02"))
        assert book.expire(instant("2026-04-01")).entries == ()
        assert book.account.balance == 100

    @pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Los_Angeles", "Pacific/Auckland"])
    def test_points_end_a_day_early_or_late_by_the_time_zone(self, zone: str) -> None:
        program = program_with(time_zone=zone, expiry={"policy": "fixed_day", "day": "12-31"})
        end = expires_at(program.expiry, program.zone, instant("2026-06-01"))
        assert end is not None
        assert f"{end.astimezone(program.zone):%Y-%m-%d %H:%M}" == "2027-01-01 00:00"

    def test_the_wrong_tiers_rate_for_the_order_that_crosses_the_threshold(self) -> None:
        tiers = [
            {"tier_id": tier, "threshold_points": most} for tier, most in zip(TIER_IDS, (0, 500, 2000), strict=True)
        ]
        book = Book(program_with(tiers=tiers))
        assert book.complete(order("500.00")).entries[0].points == 500
        assert book.complete(order("100.00", "o2", at="2026-03-02")).entries[0].points == 150

    def test_spending_or_expiry_loses_the_tier(self) -> None:
        book = Book(program_with(expiry={"policy": "after_days", "days": 1}))
        book.complete(order("600.00"))
        book.spend(300, instant("2026-03-01"))
        book.expire(instant("2026-06-01"))
        assert (book.account.balance, book.account.tier_id) == (0, "silver")

    def test_a_fixed_bonus_fully_taken_on_a_partial_refund(self) -> None:
        bonus = {"promotion_id": "bonus", "kind": "addition", "points": 20, "clawback": "full_refund"}
        book = Book(rules({"kind": "spend", "points": "1", "per_amount": "1"}, promotions=[bonus]))
        book.complete(order())
        book.refund(refund(net="50.00"))
        assert book.account.balance == 70
        book.refund(refund(refund_id="r2"))
        assert book.account.balance == 0
        check_everything(book)

    def test_points_before_the_return_window_has_closed(self) -> None:
        book = Book(program_with(availability={"policy": "after_days", "days": 14}))
        book.complete(order(at="2026-03-01"), as_of=instant("2026-03-01"))
        book.refund(refund(net="40.00", at="2026-03-09"))
        assert (book.account.balance, book.account.pending) == (0, 60)
        book.release(instant("2026-03-15"))
        assert (book.account.balance, book.account.pending) == (60, 0)


class TestWhatUsersAskFor:
    def test_a_refund_goes_by_the_rules_of_its_order_whatever_changed_since(self) -> None:
        book = Book(PLAIN)
        book.complete(order("50.00"))
        book.program = program_with(earning_rules=[spend_rule("2", rule_id="doubled")])
        assert book.refund(refund()).entries[0].points == -50

    def test_no_double_loss_of_points_that_expired(self) -> None:
        book = Book(program_with(expiry={"policy": "after_months", "months": 1}))
        book.complete(order(at="2026-01-10"))
        book.expire(instant("2026-03-01"))
        book.complete(order("30.00", "o2", at="2026-03-02"))
        book.refund(refund(at="2026-03-03"))
        assert (book.orders["o1"].points_excused, book.account.balance) == (100, 30)

    def test_an_order_that_is_late_earns_at_the_rules_and_the_tier_of_its_day(self) -> None:
        book = Book(program_with())
        book.complete(order("600.00", "o1", at="2026-03-01"))
        later = program_with(earning_rules=[spend_rule("9")])
        book.apply(later, instant("2026-03-01T18:00+01:00"))
        assert book.complete(order("10.00", "late", at="2026-02-01")).entries[0].points == 10
        assert book.complete(order("10.00", "new", at="2026-03-02")).entries[0].points == 90

    def test_a_schedule_that_slept_for_months_loses_nothing(self) -> None:
        program = program_with(
            availability={"policy": "after_days", "days": 14},
            expiry={"policy": "after_months", "months": 1},
            qualification={"window": "rolling_months", "months": 1},
        )
        in_time, asleep = Book(program), Book(program)
        for book in (in_time, asleep):
            book.complete(order("600.00", at="2026-01-10"), as_of=instant("2026-01-10"))
        for day in ("2026-01-24", "2026-02-10", "2026-03-01", "2026-04-01"):
            in_time.release(instant(day))
            in_time.expire(instant(day))
            in_time.review(instant(day))
        asleep.release(instant("2026-09-01"))
        asleep.expire(instant("2026-09-01"))
        asleep.review(instant("2026-09-01"))
        assert asleep.entries == in_time.entries
        assert asleep.tier_changes == in_time.tier_changes

    def test_why_this_many_points(self) -> None:
        bonus = {"promotion_id": "double", "kind": "multiplier", "multiplier": "2"}
        book = Book(
            rules({"kind": "spend", "points": "1", "per_amount": "10", "caps": {"per_order": 5}}, promotions=[bonus])
        )
        book.complete(order("99.00"))
        (rule,), (promotion,) = book.entries[0].why["rules"], book.entries[0].why["promotions"]
        assert (rule["basis_amount"], rule["points_before_limit"], rule["points"]) == ("99", 9, 5)
        assert (promotion["base_points"], promotion["multiplier"], promotion["points"]) == (5, "2", 5)

    def test_a_fulfilment_twice_releases_once(self) -> None:
        book = Book(program_with(availability={"policy": "on_fulfilled"}))
        for message in (order(), fulfilment(), fulfilment()):
            book.deliver(message, instant("2026-03-04"))
        assert [entry.kind for entry in book.entries] == [EntryKind.ACCRUAL, EntryKind.RELEASE]


class TestMoneyBackIsNoReturnOfGoods:
    PER_CUP = rules({"kind": "item", "skus": ["CUP"], "points": 10})

    @pytest.mark.parametrize("money", ["0.01", "8.00", "80.00"])
    def test_a_price_adjustment_takes_no_points_that_were_given_for_pieces(self, money: str) -> None:
        assert points(self.PER_CUP, refund(part(net=money)), lines=[line("1", "80.00", 2, sku="CUP")]) == 20

    def test_a_piece_that_came_back_with_part_of_its_price_is_a_piece(self) -> None:
        cups = [line("1", "73.50", 3, sku="CUP")]
        assert points(self.PER_CUP, refund(part(quantity=1, net="10.00")), lines=cups) == 20

    def test_a_cent_of_rounding_does_not_keep_a_refund_from_being_all(self) -> None:
        book = Book(PLAIN)
        book.complete(order(lines=[line(str(n), "8.1301", tax="1.8699") for n in range(3)]))
        book.refund(refund(paid="30.01"))
        assert book.account.balance == 0

    def test_a_refund_in_another_currency_is_not_taken_for_the_orders(self) -> None:
        book = Book(PLAIN)
        book.complete(order("9800.00"))
        parked = book.decide(refund(paid="98.00", currency="GBP"), instant("2026-03-06"))
        assert isinstance(parked, Parked)
        assert parked.reason is Reason.WRONG_CURRENCY
        assert "GBP, but the order is in EUR; send what was given back in EUR" in parked.detail
        assert book.account.balance == 9800

    @pytest.mark.parametrize(("tax", "left"), [("excluded", 50), ("included", 60)])
    @pytest.mark.parametrize("half", [refund(paid="60.00"), refund(net="50.00"), refund(part(paid="60.00"))])
    def test_half_of_the_money_is_half_whether_with_tax_or_without(self, tax: str, left: int, half: Refund) -> None:
        program = program_with(earning_rules=[spend_rule("1")], basis={"tax": tax})
        assert points(program, half, lines=[line("1", "100.00", 2, tax="20.00")]) == left
