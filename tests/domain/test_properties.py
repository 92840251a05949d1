"""What holds for every order, every set of refunds and every sequence of events, not only for those in the tables."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import cycle, islice, product
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from core.domain.earning import entitlement, refund_problem
from core.domain.expiry import expires_at
from core.domain.orders import Order, Refund
from core.domain.program import ClawbackPolicy, Combine, PointsPaidBasis, Program, Rounding, TaxBasis
from core.domain.tiers import qualification_period
from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.domain.naive import NaiveAccount, naive_points
from tests.facts import instant, line, order, part, program_with, refund, spend_rule

START = instant("2026-01-10")
KINDS = st.sampled_from(["product", "product", "product", "shipping", "gift_card"])


def cents(largest: int) -> st.SearchStrategy[str]:
    """Amounts of two places, or now and then of four."""
    return st.one_of(
        st.integers(0, largest).map(lambda n: str(Decimal(n).scaleb(-2))),
        st.integers(0, largest * 100).map(lambda n: str(Decimal(n).scaleb(-4))),
    )


POLICIES = [
    {"clawback": {"policy": clawback.value}, "expiry": expiry}
    for clawback in ClawbackPolicy
    for expiry in ({"policy": "never"}, {"policy": "after_months", "months": 1})
]


def various_programs() -> list[Program]:
    """Programs in which every switch stands each way beside most others. Built once, since that is what takes long."""
    rates = cycle(["0", "0.3333", "1", "1.5", "2.5", "7", "1.3"])
    per_amounts = cycle(["0.7", "1.00", "3", "10"])
    switches = product(
        Rounding, Combine, POLICIES, (["product"], ["product", "shipping"]), TaxBasis, PointsPaidBasis, (1, 2)
    )
    found = []
    for rounding, combine, policies, kinds, tax, points_paid, rules in islice(switches, 0, None, 7):
        of_rules = [
            spend_rule(
                {tier_id: next(rates) for tier_id in ("bronze", "silver", "gold")},
                rule_id=f"r{n}",
                per_amount=next(per_amounts),
                rounding=rounding,
            )
            for n in range(rules)
        ]
        basis = {"kinds": kinds, "tax": tax, "points_paid": points_paid}
        found.append(program_with(earning_rules=of_rules, combine=combine, basis=basis, **policies))
    return found


programs = st.sampled_from(various_programs())
policies = st.sampled_from(POLICIES)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    lines = [
        line(
            str(n),
            draw(cents(20_000)),
            draw(st.integers(1, 4)),
            tax=draw(st.one_of(st.just("0"), cents(4_000))),
            kind=draw(KINDS),
        )
        for n in range(draw(st.integers(1, 4)))
    ]
    return order(lines=lines, at=START, points_paid=draw(st.one_of(st.just("0"), cents(10_000))))


@st.composite
def refunds_of(draw: st.DrawFn, sold: Order) -> Refund:
    """Any refund of this order that is valid on its own."""
    whole = draw(st.integers(0, 9))
    if whole == 0:
        return refund(at=START)
    if whole <= 3:
        return refund(amount=Decimal(draw(cents(int(sold.total_gross * 100)))), at=START)
    parts = []
    for each in draw(st.lists(st.sampled_from(sold.lines), min_size=1, unique_by=lambda each: each.line_id)):
        shape = draw(st.sampled_from(["pieces", "money", "both"]))
        quantity = str(draw(st.integers(1, int(each.quantity) * 2)) / Decimal(2)) if shape != "money" else None
        amount = draw(cents(int((each.amount + each.tax) * 100))) if shape != "pieces" else None
        parts.append(part(each.line_id, quantity=quantity, amount=amount))
    return refund(*parts, at=START)


def numbered(refunds: Sequence[Refund]) -> list[Refund]:
    return [each._replace(refund_id=f"r{n}") for n, each in enumerate(refunds)]


@st.composite
def orders_with_refunds(draw: st.DrawFn) -> tuple[Order, list[Refund]]:
    sold = draw(orders())
    return sold, numbered(draw(st.lists(refunds_of(sold), max_size=4)))


@given(orders_with_refunds(), programs, st.sampled_from(["bronze", "silver", "gold"]))
def test_an_order_earns_what_the_naive_model_says(
    facts: tuple[Order, list[Refund]], program: Program, tier_id: str
) -> None:
    sold, refunds = facts
    assert all(refund_problem(sold, each) is None for each in refunds)
    assert entitlement(sold, refunds, program, tier_id).points == naive_points(sold, refunds, program, tier_id)


@given(orders_with_refunds(), programs)
def test_each_further_refund_earns_the_same_or_less_and_never_below_zero(
    facts: tuple[Order, list[Refund]], program: Program
) -> None:
    sold, refunds = facts
    points = [entitlement(sold, refunds[:n], program, "silver").points for n in range(len(refunds) + 1)]
    assert points == sorted(points, reverse=True)
    assert points[-1] >= 0


@given(st.data(), orders_with_refunds(), programs, st.integers(0, 300), st.integers(0, 40))
def test_the_order_in_which_refunds_arrive_cannot_matter(
    data: st.DataObject, facts: tuple[Order, list[Refund]], program: Program, spent: int, days: int
) -> None:
    sold, refunds = facts
    ends = []
    for arrival in (refunds, data.draw(st.permutations(refunds)), refunds[::-1]):
        book = Book(program)
        book.complete(order("150.00", "other", at=START - timedelta(days=3)))
        book.complete(sold)
        book.spend(spent, START)
        for each in arrival:
            book.refund(each, START + timedelta(days=days))
        check_everything(book)
        ends.append((book.account._replace(sequence=0), book.lots, book.orders))
    assert ends[0] == ends[1] == ends[2]


@given(st.data(), programs)
def test_refunded_pieces_leave_what_buying_only_the_kept_ones_would_have(data: st.DataObject, program: Program) -> None:
    prices = data.draw(st.lists(st.tuples(cents(9_000), st.integers(1, 5), KINDS), min_size=1, max_size=4))
    kept = [data.draw(st.integers(0, quantity)) for _, quantity, _ in prices]
    sold = order(lines=goods(prices, [quantity for _, quantity, _ in prices]), at=START)
    refunds = []
    for n, (price, quantity, _) in enumerate(prices):
        left = quantity - kept[n]
        while left:  # in any number of steps, by pieces or by their price
            some = data.draw(st.integers(1, left))
            money = str(some * Decimal(price))
            by_pieces = part(str(n), quantity=some)
            refunds.append(refund(data.draw(st.sampled_from([by_pieces, part(str(n), amount=money)])), at=START))
            left -= some
    assume(all(Decimal(price) for price, _, _ in prices))
    expected = entitlement(order(lines=goods(prices, kept), at=START), (), program, "silver").points
    book = Book(program)
    book.account = book.account._replace(tier_id="silver")
    book.complete(sold)
    for each in data.draw(st.permutations(numbered(refunds))):
        book.refund(each)
    assert book.orders["o1"].points_entitled == expected
    if program.clawback.policy is not ClawbackPolicy.PENDING_ONLY:
        assert (book.account.balance, book.account.lifetime_points) == (expected, expected)


def goods(prices: list[tuple[str, int, str]], quantities: list[int]) -> list[Any]:
    return [
        line(str(n), quantity * Decimal(price), max(1, quantity), kind=kind)
        for n, ((price, _, kind), quantity) in enumerate(zip(prices, quantities, strict=True))
    ]


@given(cents(50_000), st.lists(st.integers(1, 40), max_size=4), st.integers(0, 30), programs)
def test_refunded_shares_leave_what_an_order_of_the_rest_would_have(
    amount: str, percents: list[int], paid_percent: int, program: Program
) -> None:
    rest = max(0, 100 - sum(percents))
    amounts = [Decimal(amount) * percent / 100 for percent in (*percents, rest, paid_percent)]
    paid_of_rest = Decimal(amount) * rest * paid_percent / 10_000
    assume(all(each == round(each, 4) for each in (*amounts, paid_of_rest)))
    sold = order(amount, points_paid=amounts[-1])
    refunds = [refund(amount=each) for each in amounts[:-2]]
    kept = order(amounts[-2], points_paid=paid_of_rest)
    assert entitlement(sold, refunds, program, "gold").points == entitlement(kept, (), program, "gold").points


# A story: what happens to one account, in the order in which it is recorded.

steps = st.lists(
    st.one_of(
        st.tuples(st.just("order"), st.integers(0, 30_000), st.integers(-1, 40)),
        st.tuples(st.just("order"), st.integers(0, 30_000), st.integers(-1, 40)),
        st.tuples(st.just("refund"), st.integers(0, 9), st.integers(0, 120)),
        st.tuples(st.just("refund"), st.integers(0, 9), st.integers(0, 120)),
        st.tuples(st.just("spend"), st.integers(1, 400), st.just(0)),
        st.tuples(st.just("expire"), st.just(0), st.just(0)),
        st.tuples(st.just("pass"), st.integers(1, 40), st.just(0)),
    ),
    max_size=25,
)
Steps = list[tuple[str, int, int]]


def stories(program: Program, story: Steps, *, skip: str = "") -> Any:
    """Post the story; yields the book and the instant after each step. Steps of kind `skip` are left out."""
    book, now, refunds = Book(program), START, 0
    for kind, first, second in story:
        number = len(book.orders)
        done: Order | Refund | int | None = None
        if kind == "order":
            lines = [line("1", Decimal(first).scaleb(-2), 4), line("post", "4.90", kind="shipping")]
            done = order(order_id=f"o{number}", lines=lines, at=now - timedelta(days=second))
            book.complete(done, now)
        elif kind == "refund" and number:
            refunds += 1
            done = some_refund(book.orders[f"o{first % number}"].order, second)._replace(refund_id=f"r{refunds}")
            book.refund(done, now)
        elif kind == "spend":
            done = first
            book.spend(first, now)
        elif kind == "pass":
            now += timedelta(days=first)
        elif kind == "expire" and skip != "expire":
            book.expire(now)
        yield book, kind, done, now


def some_refund(sold: Order, choice: int) -> Refund:
    """One of the refunds of an order, by number."""
    if choice > 100:
        return refund(order_id=sold.order_id)
    if choice > 80:
        return refund(part("post", quantity=1), order_id=sold.order_id)
    if choice % 2:
        return refund(part("1", quantity=1 + choice % 4), order_id=sold.order_id)
    return refund(amount=round(sold.total_gross * choice / 100, 2), order_id=sold.order_id)


def small_program(**fields: Any) -> Program:
    """A program whose tiers are reached soon, so that a story has upgrades."""
    tiers = [{"tier_id": t, "threshold_points": n} for t, n in (("bronze", 0), ("silver", 150), ("gold", 400))]
    return program_with(tiers=tiers, **fields)


@given(policies, steps)
def test_whatever_happens_the_invariants_hold_and_the_naive_model_agrees(fields: dict[str, Any], story: Steps) -> None:
    program = small_program(**fields)
    naive = NaiveAccount(program)
    for book, kind, done, now in stories(program, story):
        if isinstance(done, Order):
            naive.complete(done, expires_at(program, done.occurred_at))
        elif isinstance(done, Refund):
            naive.refund(done, now)
        elif isinstance(done, int):
            naive.spend(done, now)
        elif kind == "expire":
            naive.expire(now)
        check_everything(book)
        assert (book.account.balance, book.account.deficit, book.account.tier_id) == (
            naive.balance,
            naive.debt,
            naive.tier,
        )
        for order_id, posted in book.orders.items():
            assert posted.tier_id == naive.tier_of[order_id]
            assert posted.points_entitled == naive.earned[order_id]
            assert (posted.points_excused, posted.points_shortfall) == (
                naive.excused[order_id],
                naive.shortfall[order_id],
            )


@given(policies, steps)
def test_when_the_expiry_job_runs_cannot_matter(fields: dict[str, Any], story: Steps) -> None:
    program = small_program(**fields)
    ends = []
    for skip in ("", "expire"):
        book, now = Book(program), START
        for book, _, _, now in stories(program, story, skip=skip):  # noqa: B007  # the last ones are asked below
            pass
        book.expire(now)
        check_everything(book)
        lots = [(n, lot.points_granted, lot.points_remaining, lot.points_expired) for n, lot in book.lots.items()]
        ends.append((book.account._replace(sequence=0), lots, [posted[-3:] for posted in book.orders.values()]))
    assert ends[0] == ends[1]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60_000), st.booleans()), max_size=12))
def test_when_the_tier_review_runs_cannot_matter(story: list[tuple[int, int, bool]]) -> None:
    program = small_program(qualification={"window": "calendar_year"})
    in_time, late, sometimes = Book(program), Book(program), Book(program)
    now = START
    for n, (days, amount, runs) in enumerate(story):
        now += timedelta(days=days)
        in_time.review(now)
        if runs:
            sometimes.review(now)
        for book in (in_time, late, sometimes):
            book.complete(order(Decimal(amount).scaleb(-2), f"o{n}", at=now))
            check_everything(book)
            check_qualifying_points(book, now)
    for book in (in_time, late, sometimes):
        book.review(now + timedelta(days=800))
        check_everything(book)
    for book in (late, sometimes):
        assert book.entries == in_time.entries
        assert book.tier_changes == in_time.tier_changes
        assert book.account == in_time.account


def check_qualifying_points(book: Book, now: datetime) -> None:
    """What counts for the tier is what this year's orders earned."""
    year = now.astimezone(book.program.zone).year
    points = sum(
        posted.points_entitled
        for posted in book.orders.values()
        if posted.order.occurred_at.astimezone(book.program.zone).year == year
    )
    begun = book.account.qualifying_from == qualification_period(book.program, now).start
    assert points == (book.account.qualifying_points if begun else 0)
