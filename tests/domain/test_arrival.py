"""Under whatever program: how messages arrive, how often, in how many parts, and when jobs run is no matter."""

from datetime import timedelta
from itertools import chain
from random import Random
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from core.domain.lots import Lot
from core.domain.orders.earning import entitlement
from core.domain.orders.facts import Order, Refund
from core.domain.program import ClawbackPolicy, Program
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.domain.stories import START, Step, some_order, some_refund
from tests.domain.valid_programs import various_versions
from tests.facts import cancellation, fulfilment, order, refund

PROGRAMS = [versions.first for versions in various_versions(300, seed=11)]
programs = st.sampled_from(PROGRAMS)
numbers = st.integers(0, 10_000)


def end_of(book: Book) -> Any:
    """Everything that customers see, without how many entries it took."""
    check_everything(book)
    account = book.account
    return (
        (account.balance, account.pending, account.deficit, account.lifetime_points),
        (account.tier_id, account.qualifying_points),
        [_seen(lot) for lot in book.lots.values()],
        {
            order_id: (posted.points_entitled, posted.points_excused, posted.points_shortfall, posted.qualifying)
            for order_id, posted in book.orders.items()
        },
        {key: usage for key, usage in book.usages.items() if any(usage)},
        {name: budget for name, budget in book.budgets.items() if any(budget)},
    )


def _seen(lot: Lot) -> Lot:
    """A lot without what nobody sees of it: which entry opened it, and the dates of one that is empty."""
    if not lot.points_remaining:
        lot = lot._replace(available_at=None, expires_at=None, expires_with=None, is_pending=False)
    return lot._replace(opened_by_sequence=0)


def begun(program: Program, spent: int) -> Book:
    """An account with an earlier order, of which something was spent."""
    book = Book(program)
    book.complete(order("83.00", "earlier", at=START - timedelta(days=3)), START - timedelta(days=3))
    book.spend(spent, START)
    return book


def refunds_of(sold: Order, chosen: list[int]) -> list[Refund]:
    return [some_refund(sold, f"r{n}", number, START) for n, number in enumerate(chosen)]


@given(programs, numbers, st.lists(numbers, max_size=5), st.sampled_from(["bronze", "silver", "gold"]))
def test_each_further_refund_earns_the_same_or_less(
    program: Program, number: int, chosen: list[int], tier_id: str
) -> None:
    book = Book(program)
    book.account = book.account._replace(tier_id=tier_id)
    sold = some_order("o1", number, START)
    book.complete(sold, START)
    frozen = book.orders["o1"].judgement
    refunds = refunds_of(sold, chosen)
    points = [entitlement(sold, refunds[:n], program, tier_id, frozen).points for n in range(len(refunds) + 1)]
    assert points == sorted(points, reverse=True)
    assert points[-1] >= 0


@given(programs, numbers, st.lists(numbers, min_size=1, max_size=4), st.integers(0, 120), st.integers(0, 60))
def test_messages_of_an_order_end_the_same_in_any_order_and_any_number(
    program: Program, number: int, chosen: list[int], spent: int, days: int
) -> None:
    sold = some_order("o1", number, START)
    messages: list[ShopFact] = [sold, *refunds_of(sold, chosen)]
    if program.clawback.policy is not ClawbackPolicy.PENDING_ONLY:  # which asks what is fulfilled already
        messages += [fulfilment("o1", START)] if number % 3 else []
        days = 0 if number % 3 else days  # what had expired meanwhile would be excused, and pending points do not
    messages += [cancellation("o1", START)] if number % 7 == 0 else []
    arrivals = [messages, [*messages[:1], *messages[:0:-1]], Random(number).sample(2 * messages, 2 * len(messages))]
    ends = []
    for arrival in arrivals:
        book = begun(program, spent)
        for message in arrival:
            book.deliver(message, START + timedelta(days=days))
        ends.append(end_of(book))
    assert ends[0] == ends[1] == ends[2]


@given(programs, numbers, st.lists(numbers, min_size=2, max_size=4), st.integers(0, 120), st.integers(0, 60))
def test_many_refunds_of_lines_end_where_one_of_them_all_would(
    program: Program, number: int, chosen: list[int], spent: int, days: int
) -> None:
    sold = some_order("o1", number, START)
    parts = [each for each in refunds_of(sold, chosen) if each.lines]
    assume(parts)
    together = refund(*chain.from_iterable(each.lines for each in parts), refund_id="all", at=START)
    ends = []
    for refunds in (parts, [together]):
        book = begun(program, spent)
        book.deliver(sold, START)
        for each in refunds:
            book.deliver(each, START + timedelta(days=days))
        ends.append(end_of(book))
    assert ends[0] == ends[1]


steps = st.lists(
    st.tuples(
        st.sampled_from(["order", "order", "refund", "fulfil", "spend", "pass", "pass"]), numbers, st.integers(0, 60)
    ),
    min_size=3,
    max_size=12,
)


def run_of(program: Program, story: list[Step], jobs: list[str]) -> Book:
    """Run a story; `jobs` run after each step, and all of them once at the end."""
    book, now = Book(program), START
    for n, (kind, number, days) in enumerate(story):
        sold = [posted.order for posted in book.orders.values()]
        if kind == "order":
            book.deliver(some_order(f"o{n}", number, now), now)
        elif kind == "refund" and sold:
            book.deliver(some_refund(sold[days % len(sold)], f"r{n}", number, now), now)
        elif kind == "fulfil" and sold:
            book.deliver(fulfilment(sold[number % len(sold)].order_id, now), now)
        elif kind == "spend":
            book.release(now)  # as a command that spends does
            book.spend(number % 100, now)
        now += timedelta(days=days if kind == "pass" else 0)
        for job in jobs:
            getattr(book, job)(now)
    for job in ("release", "expire", "review"):
        getattr(book, job)(now + timedelta(days=400))
    return book


@given(programs, steps)
def test_when_the_jobs_that_release_and_expire_run_cannot_matter(program: Program, story: list[Step]) -> None:
    ends = [end_of(run_of(program, story, jobs)) for jobs in ([], ["release", "expire"], ["expire"])]
    assert ends[0] == ends[1] == ends[2]


@given(programs, steps)
def test_when_the_review_runs_cannot_matter(program: Program, story: list[Step]) -> None:
    story = [step for step in story if step[0] != "refund"]
    late, in_time = (run_of(program, story, jobs) for jobs in ([], ["review"]))
    assert late.tier_changes == in_time.tier_changes
    assert late.account == in_time.account
    assert late.entries == in_time.entries
