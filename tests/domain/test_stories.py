"""Whatever happens to an account, under whatever program: the invariants hold, and a second model agrees."""

from collections import Counter
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.domain.naive import NaiveAccount
from tests.domain.stories import Step, StoryRun, steps
from tests.domain.valid_programs import Versions, various_versions

BILLIONTH = Fraction(1, 10**9)
VERSIONS = various_versions(300)
versions = st.sampled_from(VERSIONS)


def check_agreement(book: Book, naive: NaiveAccount) -> None:
    """The book is as the naive model says."""
    account = book.account
    assert (account.balance, account.pending, account.deficit) == (naive.balance, naive.pending, naive.debt)
    assert account.lifetime_points == naive.lifetime
    ends: Counter[object] = Counter()
    for lot in book.lots.values():
        ends[lot.expires_at, lot.is_pending] += lot.points_remaining
    assert +ends == naive.ends
    assert [(change.effective_at, change.tier_id) for change in book.tier_changes] == naive.tiers.changes
    assert (account.tier_id, account.tier_until) == (naive.tiers.tier, naive.tiers.until)
    assert account.qualifying_from == naive.tiers.counted_from
    assert account.qualifying_points == naive.tiers.counted(naive.units())
    for order_id, posted in book.orders.items():
        sale = naive.sales[order_id]
        assert posted.tier_id == sale.tier
        assert posted.points_entitled == sale.earned().points
        assert (posted.points_excused, posted.points_shortfall) == (sale.excused, sale.shortfall)
    for (name, period), usage in book.usages.items():
        if period == "ever" and not name.startswith("p"):
            assert abs(Fraction(usage.carried) - naive.left_over(name)) < BILLIONTH  # thirds are kept to a trillionth
            continue
        limit = {4: "ever", 7: "per_month", 10: "day" if name.startswith("p") else "per_day"}[len(period)]
        assert (usage.points, usage.orders) == naive.given(name, limit, "" if period == "ever" else period)
    for name, budget in book.budgets.items():
        assert (budget.points, budget.orders) == naive.given(name, "budget")


@settings(max_examples=7 * settings().max_examples)
@given(versions, steps)
def test_whatever_happens_the_invariants_hold_and_the_naive_model_agrees(program: Versions, story: list[Step]) -> None:
    run = StoryRun(program)
    for _ in run.run(story):
        pass
    check_everything(run.book)
    check_agreement(run.book, run.naive)


@given(st.sampled_from([pair for pair in VERSIONS if pair.first.has_inactivity]), steps)
def test_when_expiry_runs_come_changes_nothing(program: Versions, story: list[Step]) -> None:
    """Of stories without spending, which this release has not: it would release points first, as refunds do."""
    without_runs = [step for step in story if step[0] not in {"spend", "expire"}]
    rarely, often = StoryRun(program), StoryRun(program)
    for _ in rarely.run(without_runs):
        pass
    for _ in often.run(without_runs):
        often.book.expire(often.now)
    rarely.book.expire(rarely.now)
    for run in (rarely, often):
        run.book.release(run.now)
    assert apart_from_numbers(rarely.book) == apart_from_numbers(often.book)


def apart_from_numbers(book: Book) -> list[object]:
    """What is in the books, without the numbers of entries."""
    return [
        book.account._replace(sequence=0),
        [lot._replace(opened_by_sequence=0) for lot in book.lots.values()],
        [posted._replace(sequence=None) for posted in book.orders.values()],
        book.tier_changes,
    ]
