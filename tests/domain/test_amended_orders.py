"""Orders that are edited, and refunds that did not happen: all ends where the last facts alone would have ended."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.ledger import EntryKind
from core.domain.orders.facts import Order, OrderLine, RefundReversion
from core.domain.outcomes import Parked, Reason, Replayed, Waiting
from core.domain.program import Program
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.facts import (
    AS_OF,
    account,
    amendment,
    cancellation,
    fulfilment,
    instant,
    line,
    order,
    part,
    program_with,
    refund,
    reversion,
    spend_rule,
)

PLAIN = program_with(earning_rules=[spend_rule("1")])
WELCOME = program_with(
    earning_rules=[spend_rule("1")],
    promotions=[
        {"promotion_id": "welcome", "kind": "addition", "points": 50, "when": {"first_order": True}},
        {
            "promotion_id": "double",
            "kind": "multiplier",
            "multiplier": "2",
            "when": {"starts_on": "2026-03-01", "ends_on": "2026-03-01"},
        },
    ],
)
EXPIRING = program_with(earning_rules=[spend_rule("1")], expiry={"policy": "after_days", "days": 30})
HELD = program_with(earning_rules=[spend_rule("1")], availability={"policy": "on_fulfilled"})
CLAMPING = program_with(earning_rules=[spend_rule("1")], clawback={"policy": "clamp"})
TEA, CUP, BOOK = (line(sku, "5.00", sku=sku) for sku in ("tea", "cup", "book"))
FREE_TEA, FREE_CUP = (line(sku, "0.00", sku=sku) for sku in ("tea", "cup"))
NEWEST = program_with(
    earning_rules=[spend_rule("1")],
    promotions=[
        {"promotion_id": sku, "kind": "addition", "points": points, "lines": {"skus": [sku], "minimum_amount": "1"}}
        for sku, points in (("tea", 10), ("cup", 20))
    ],
    combine_promotions="newest",
)
BY_LINE = program_with(earning_rules=[spend_rule("1", round_per="line")])


def item_rule(**over: Any) -> dict[str, Any]:
    """Seven points for each packet of tea."""
    return {"rule_id": "tea", "kind": "item", "skus": ["tea"], "points": 7, **over}


def told(program: Program, *facts: ShopFact) -> Book:
    """The book of one customer after these facts."""
    book = Book(program)
    for fact in facts:
        book.deliver(fact, AS_OF)
    check_everything(book)
    return book


def balances(book: Book) -> tuple[int, int, int]:
    return book.account.balance, book.account.pending, book.account.lifetime_points


class TestAnAmendment:
    @pytest.mark.parametrize(
        ("amount", "now", "kind"), [("10.00", "20.00", EntryKind.ACCRUAL), ("20.00", "12.50", EntryKind.CLAWBACK)]
    )
    def test_posts_the_difference_to_what_the_order_earns_now(self, amount: str, now: str, kind: EntryKind) -> None:
        book = told(PLAIN, order(amount), amendment(line(amount=now)))
        assert balances(book) == (int(Decimal(now)), 0, int(Decimal(now)))
        entry = book.entries[-1]
        assert (entry.kind, entry.corrects_sequence, entry.why["revision"]) == (kind, 1, 1)
        assert entry.occurred_at == instant("2026-03-06")

    def test_that_changes_nothing_of_the_points_writes_no_entry(self) -> None:
        book = told(PLAIN, order("10.00"), amendment(line(amount="10.00", sku="other")))
        assert (len(book.entries), book.account.balance) == (1, 10)

    def test_keeps_the_day_the_tier_and_the_first_order_of_the_order(self) -> None:
        book = told(WELCOME, order("10.00"), amendment(line(amount="20.00", quantity=2), at="2026-04-01"))
        assert book.account.balance == 2 * 20 + 50

    def test_of_an_order_that_earned_nothing_opens_a_lot_on_the_orders_terms(self) -> None:
        book = Book(EXPIRING)
        book.complete(order("0.00"), as_of=instant("2026-03-02"))
        book.amend(amendment(line(amount="40.00")))
        (lot,) = book.lots.values()
        assert (lot.points_remaining, lot.origin.at) == (40, instant("2026-03-01"))
        assert lot.expires_at == told(EXPIRING, order("40.00")).lots[1].expires_at

    def test_opens_a_pending_lot_while_the_order_is_held(self) -> None:
        book = told(HELD, order("10.00"), amendment(line(amount="30.00")))
        assert (book.account.balance, book.account.pending) == (0, 30)

    def test_pays_off_a_deficit_first(self) -> None:
        book = Book(PLAIN, account(balance=-15, deficit=15, sequence=0))
        book.books.put_lots(book.account.account_id, (), is_all_open=True)
        book.deliver(order("10.00"), AS_OF)
        book.deliver(amendment(line(amount="20.00")), AS_OF)
        assert (book.account.balance, book.account.deficit) == (5, 0)

    def test_works_out_refunds_anew(self) -> None:
        book = told(
            PLAIN,
            order(lines=[line("1", "60.00"), line("2", "40.00")]),
            refund(part("2")._replace(quantity=Decimal(1))),
            amendment(line("1", "60.00"), line("2", "50.00"), line("3", "5.00")),
        )
        assert book.account.balance == 65

    def test_by_lines_below_zero_gives_back_in_exchange(self) -> None:
        exchange = amendment(line("1", "50.00"), line("1-back", "-50.00", -1), line("2", "80.00"))
        for program in (PLAIN, BY_LINE):
            assert told(program, order("50.00"), exchange).account.balance == 80

    def test_of_more_back_than_was_bought_earns_nothing(self) -> None:
        exchange = amendment(line("1", "50.00"), line("1-back", "-50.00", -1), line("2-back", "-10.00", -1))
        for program in (PLAIN, BY_LINE):
            assert told(program, order("50.00"), exchange).account.balance == 0

    def test_after_the_cancellation_leaves_nothing(self) -> None:
        assert told(PLAIN, order("10.00"), cancellation(), amendment(line(amount="20.00"))).account.balance == 0


class TestRevisions:
    def test_the_greatest_counts_in_whatever_order_they_come(self) -> None:
        facts = [amendment(line(amount=f"{n}0.00"), revision=n) for n in (1, 2, 3)]
        for arrival in permutations(facts):
            assert told(PLAIN, order("5.00"), *arrival).account.balance == 30

    def test_an_older_one_is_a_replay(self) -> None:
        book = told(PLAIN, order("5.00"), amendment(line(amount="30.00"), revision=3))
        assert book.decide(amendment(line(amount="20.00"), revision=2), AS_OF) == Replayed()

    def test_whether_one_came_between_is_no_matter_to_what_the_order_was_judged_by(self) -> None:
        on_the_web = program_with(earning_rules=[item_rule(when={"channels": ["web"]})])
        tea, cup = line("1", "10.00", sku="tea"), line("2", "20.00", sku="cup")
        sold = order(lines=[tea], attributes={"channel": "web"})
        between, last = amendment(cup), amendment(tea, cup, revision=2, attributes={"channel": "till"})
        for facts in ((sold, last), (sold, between, last)):
            assert told(on_the_web, *facts).account.balance == 7

    @pytest.mark.parametrize(
        ("sold", "now", "points"),
        [
            pytest.param([BOOK], [BOOK, TEA, CUP], 20, id="none gave anything: the newest of those that would now"),
            pytest.param([BOOK], [BOOK, TEA], 10, id="none gave anything: the only one that would now"),
            pytest.param([FREE_TEA], [TEA, CUP], 20, id="one looked at the order and gave nothing"),
            pytest.param([FREE_TEA, FREE_CUP], [TEA, CUP], 20, id="both looked at it and gave nothing"),
            pytest.param([TEA], [TEA, CUP], 10, id="the older one gave: it stays it"),
            pytest.param([TEA, CUP], [TEA], 0, id="the newer one gave: no other comes in its place"),
        ],
    )
    def test_lets_one_promotion_give_where_only_the_newest_may(
        self, sold: list[OrderLine], now: list[OrderLine], points: int
    ) -> None:
        for between in ([], [amendment(TEA, CUP)], [amendment(CUP)]):
            book = told(NEWEST, order(lines=sold), *between, amendment(*now, revision=2))
            spent = sum(int(line.amount) for line in now)
            assert book.account.balance == spent + points

    @pytest.mark.parametrize(("is_for_the_first", "points"), [(True, 7), (False, 0)])
    def test_the_first_order_stays_the_first_whatever_it_becomes(self, *, is_for_the_first: bool, points: int) -> None:
        program = program_with(earning_rules=[item_rule(when={"first_order": is_for_the_first})])
        cup, tea = line("1", "10.00", sku="cup"), line("2", "10.00", sku="tea")
        assert told(program, order(lines=[cup]), amendment(cup, tea)).account.balance == points

    def test_the_same_again_is_a_replay_and_other_content_a_conflict(self) -> None:
        book = told(PLAIN, order("5.00"), amendment(line(amount="30.00")))
        assert book.decide(amendment(line(amount="30.00")), AS_OF) == Replayed()
        outcome = book.decide(amendment(line(amount="31.00")), AS_OF)
        assert isinstance(outcome, Parked)
        assert outcome.reason is Reason.ORDER_CONFLICT
        assert "next revision" in outcome.detail

    def test_waits_for_its_order(self) -> None:
        book = Book(PLAIN)
        assert book.decide(amendment(line(amount="30.00")), AS_OF) == Waiting("o1")
        assert told(PLAIN, amendment(line(amount="30.00")), order("5.00")).account.balance == 30


@pytest.mark.parametrize(
    ("amended", "reason", "said"),
    [
        (amendment(line("2", "10.00")), Reason.REFUNDED_LINE_MISSING, "leaves out line '1', which refund 'r1' names"),
        (amendment(line("1"), customer_id="c2"), Reason.ORDER_CONFLICT, "order.claimed"),
        (amendment(line("1"), customer_id=None), Reason.ORDER_CONFLICT, "order.claimed"),
    ],
)
def test_what_an_amendment_must_leave_as_it_is(amended: ShopFact, reason: Reason, said: str) -> None:
    book = told(PLAIN, order("10.00"), refund(part("1")._replace(quantity=Decimal(1))))
    outcome = book.decide(amended, AS_OF)
    assert isinstance(outcome, Parked)
    assert (outcome.reason, said in outcome.detail) == (reason, True)


TWO_LINES = order(lines=[line("1", "60.00", 3), line("2", "40.00", 2)])
ONE_PIECE = line("2", "20.00", 1)
BOTH = refund(part("1", quantity=3), part("2", quantity=2))


@pytest.mark.parametrize(
    ("amended", "fact", "points"),
    [
        pytest.param(amendment(line("1", "60.00", 3), ONE_PIECE), refund(part("2", quantity=2)), 60, id="pieces"),
        pytest.param(amendment(line("1", "20.00", 1), ONE_PIECE), BOTH, 0, id="of several lines"),
        pytest.param(amendment(line("1", "60.00", 3), ONE_PIECE), refund(part("2", net="40.00")), 60, id="money"),
        pytest.param(amendment(line("1", "20.00", 1), ONE_PIECE), refund(net="100.00"), 0, id="of the order"),
        pytest.param(amendment(line("1", "60.00", 3)), cancellation(lines={"2": 2}, part_id="x"), 60, id="called off"),
        pytest.param(amendment(line("1", "60.00", 3)), fulfilment(lines={"2": 2}, part_id="x"), 60, id="delivered"),
    ],
)
def test_what_fits_the_order_as_it_was_first_is_taken_before_an_amendment_and_behind_it(
    amended: ShopFact, fact: ShopFact, points: int
) -> None:
    for facts in ((fact, amended), (amended, fact)):
        assert told(PLAIN, TWO_LINES, *facts).account.balance == points


@pytest.mark.parametrize(
    ("fact", "reason", "said"),
    [
        (refund(part("2", quantity=1)), Reason.UNKNOWN_LINE, "that the order was amended to be without"),
        (refund(part("1", quantity=4)), Reason.REFUND_EXCEEDS_ORDER, "more than the 1 that were ordered"),
        (refund(net="101.00"), Reason.REFUND_EXCEEDS_ORDER, "more than the 20.00 EUR"),
        (cancellation(lines={"1": 4}), Reason.REFUND_EXCEEDS_ORDER, "more than the 3 that were ordered"),
    ],
)
def test_what_fits_the_order_neither_as_it_is_nor_as_it_was_first_is_parked(
    fact: ShopFact, reason: Reason, said: str
) -> None:
    outcome = told(PLAIN, TWO_LINES, amendment(line("1", "20.00", 1))).decide(fact, AS_OF)
    assert isinstance(outcome, Parked)
    assert (outcome.reason, said in outcome.detail) == (reason, True)


class TestAnUndoneRefund:
    def test_gives_back_what_the_refund_took(self) -> None:
        book = told(WELCOME, order("100.00"), refund(), reversion())
        assert book.account.balance == 2 * 100 + 50
        entry = book.entries[-1]
        assert (entry.kind, entry.refund_id, entry.why["refund_reverted"]) == (EntryKind.ACCRUAL, "r1", True)
        assert [part.kind.value for part in entry.allocations] == ["returned"]

    def test_leaves_other_refunds_as_they_are(self) -> None:
        first, second = refund(part("1")._replace(quantity=Decimal(1))), refund(refund_id="r2")
        book = told(PLAIN, order(lines=[line("1", "60.00"), line("2", "40.00")]), first, second, reversion("r2"))
        assert book.account.balance == 40

    def test_uses_up_the_id_of_the_refund(self) -> None:
        book = told(PLAIN, order("100.00"), refund(), reversion())
        assert book.decide(refund(), AS_OF) == Replayed()
        assert told(PLAIN, order("100.00"), refund(), reversion(), refund()).account.balance == 100

    def test_waits_for_its_refund(self) -> None:
        book = told(PLAIN, order("100.00"))
        assert isinstance(book.decide(reversion(), AS_OF), Waiting)

    def test_of_another_order_is_parked(self) -> None:
        book = told(PLAIN, order("100.00"), order("5.00", "o2"), refund())
        outcome = book.decide(reversion(order_id="o2"), AS_OF)
        assert isinstance(outcome, Parked)
        assert outcome.reason is Reason.REFUND_CONFLICT

    def test_returns_points_to_the_lots_that_they_were_taken_from(self) -> None:
        book = Book(EXPIRING)
        for fact in (order("100.00", at="2026-03-01"), order("50.00", "o2", at="2026-03-10")):
            book.complete(fact, as_of=fact.occurred_at)
        book.spend(120, instant("2026-03-11"))
        book.refund(refund(at="2026-03-12"))
        assert (book.account.balance, book.account.deficit) == (-70, 70)
        book.revert(reversion(at="2026-03-13"))
        assert (book.account.balance, book.account.deficit) == (30, 0)
        assert {lot.lot_number: lot.points_remaining for lot in book.lots.values()} == {1: 0, 2: 30}

    def test_of_which_a_part_pays_off_a_debt_leaves_as_much_to_come_back_later(self) -> None:
        book = Book(PLAIN)
        book.complete(order("100.00"))
        book.refund(refund(net="60.00"))
        book.spend(40, instant("2026-03-06"))
        book.amend(amendment(line(amount="80.00")))
        assert book.account.deficit == 20
        book.revert(reversion())
        book.amend(amendment(line(amount="150.00"), revision=2))
        assert (book.account.balance, book.account.deficit) == (110, 0)
        assert {lot.lot_number: lot.points_remaining for lot in book.lots.values()} == {1: 60, 2: 50}

    def test_whose_points_would_have_expired_meanwhile_lets_them_expire_at_once(self) -> None:
        book = Book(EXPIRING)
        book.complete(order("100.00"), as_of=instant("2026-03-01"))
        book.refund(refund(at="2026-03-05"))
        book.expire(instant("2026-06-01"))
        book.revert(reversion(at="2026-06-02"))
        assert (book.account.balance, book.account.lifetime_points) == (0, 100)
        assert [entry.kind for entry in book.entries] == ["accrual", "clawback", "accrual", "expiry"]
        check_everything(book)

    def test_of_points_that_had_expired_gives_nothing_a_second_time(self) -> None:
        book = Book(EXPIRING)
        book.complete(order("100.00"), as_of=instant("2026-03-01"))
        book.expire(instant("2026-06-01"))
        book.refund(refund(at="2026-06-02"))
        book.revert(reversion(at="2026-06-03"))
        assert (book.account.balance, len(book.entries)) == (0, 2)
        assert book.orders["o1"].points_excused == 0
        check_everything(book)

    def test_of_points_that_were_not_taken_gives_nothing(self) -> None:
        book = Book(CLAMPING)
        book.complete(order("100.00"))
        book.spend(100, instant("2026-03-02"))
        book.refund(refund(at="2026-03-05"))
        assert book.orders["o1"].points_shortfall == 100
        book.revert(reversion())
        assert (book.account.balance, book.orders["o1"].points_shortfall) == (0, 0)


AMOUNTS = st.integers(1, 500).map(lambda cents: Decimal(cents) / 4)
PIECES = st.integers(1, 4)


@st.composite
def edits(draw: st.DrawFn) -> tuple[Order, list[ShopFact], Sequence[OrderLine], list[ShopFact]]:
    """An order, what happens to it, its lines at the end, and what stands of what fits these."""
    lines = [line(f"{n}", draw(AMOUNTS), draw(PIECES)) for n in (1, 2)]
    first = order(lines=lines)
    facts: list[ShopFact] = []
    now: Sequence[OrderLine] = lines
    for revision in range(1, draw(st.integers(0, 3)) + 1):
        now = [line(f"{n}", draw(AMOUNTS), draw(PIECES)) for n in (1, 2, *draw(st.sampled_from([(), (3,), (3, 4)])))]
        facts.append(amendment(*now, revision=revision))
    standing: list[ShopFact] = []
    for n in range(draw(st.integers(0, 3))):
        of = draw(st.sampled_from(now))
        pieces = draw(st.integers(1, int(of.quantity)))
        back = refund(part(of.line_id, quantity=pieces), refund_id=f"r{n}")
        facts.append(back)
        if draw(st.booleans()):
            facts.append(reversion(f"r{n}"))
        else:
            standing.append(back)
    for n in range(draw(st.integers(0, 2))):
        of = draw(st.sampled_from(now))
        pieces = draw(st.none() | st.integers(1, int(of.quantity)))
        a_part = draw(st.sampled_from([cancellation, fulfilment]))
        standing.append(a_part(lines={of.line_id: pieces}, part_id=f"p{n}"))
        facts.append(standing[-1])
    return first, facts, now, standing


@given(edits(), st.sampled_from([PLAIN, HELD, BY_LINE]), st.randoms(use_true_random=False))
def test_any_arrival_ends_where_the_last_facts_alone_would_have(
    edited: tuple[Order, list[ShopFact], Sequence[OrderLine], list[ShopFact]], program: Program, random: Random
) -> None:
    first, facts, now, standing = edited
    shuffled = [first, *facts]
    random.shuffle(shuffled)
    arrived = Book(program)
    waiting: list[ShopFact] = []
    for fact in shuffled:
        if isinstance(fact, RefundReversion) and isinstance(arrived.decide(fact, AS_OF), Waiting):
            waiting.append(fact)
        else:
            arrived.deliver(fact, AS_OF)
    for fact in waiting:
        arrived.deliver(fact, AS_OF)
    check_everything(arrived)
    assert not arrived.parked
    expected = told(program, first._replace(lines=tuple(now)), *standing)
    assert balances(arrived) == balances(expected)
