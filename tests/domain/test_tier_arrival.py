"""Tiers are a function of facts with their own times: how these arrive, and when reviews run, cannot matter."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from core.domain.decision import TierChangeReason
from core.domain.orders.facts import Order, Refund
from core.domain.program import Program
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.domain.naive_tiers import Held, NaiveTiers, Sold, Worth
from tests.facts import TIER_IDS, instant, line, order, part, program_with, refund, spend_rule

START, END = instant("2023-01-01"), instant("2028-01-01")
_FIELDS = {"points": "threshold_points", "spend": "threshold_amount", "orders": "threshold_orders"}
_THRESHOLDS = {"points": (0, 300, 700), "spend": ("0", "300", "700"), "orders": (0, 2, 4)}
_WINDOWS = ("lifetime", "calendar_year", "membership_year", "rolling_months")

qualifications = st.fixed_dictionaries(
    {
        "window": st.sampled_from(_WINDOWS),
        "refunds": st.sampled_from(["at_once", "at_once", "at_review", "never"]),
        "downgrade": st.sampled_from(["to_fit", "to_fit", "one_step", "never"]),
        "grace_days": st.sampled_from([0, 0, 20, 400]),
        "months": st.sampled_from([1, 3, 12]),
    }
)
_MICROSECOND = timedelta(microseconds=1)
#: Far apart, of one instant, or of the next one.
_TOGETHER = [timedelta(days=10), timedelta(days=10) + _MICROSECOND, timedelta(days=400)]
times = st.integers(0, 1500).map(timedelta) | st.sampled_from(_TOGETHER)
times_later = st.integers(0, 300).map(timedelta) | st.sampled_from([timedelta(0), _MICROSECOND, timedelta(days=1)])


class Story(NamedTuple):
    """What happened, each at its own time."""

    first: Program
    second: Program  #: from `changed_at` on
    changed_at: datetime
    orders: list[tuple[timedelta, int]]  #: when, from START on, and pieces of 10.00
    refunds: list[tuple[int, timedelta, int]]  #: of which order, so much later, so many pieces

    def sold(self) -> list[Order]:
        return [
            order(order_id=f"o{n}", lines=[line("1", f"{10 * pieces}.00", pieces)], at=START + since)
            for n, (since, pieces) in enumerate(self.orders)
        ]

    def given_back(self) -> list[Refund]:
        """The refunds, each of no more pieces than are left."""
        sold, left, found = self.sold(), [pieces for _, pieces in self.orders], []
        for n, (which, later, pieces) in enumerate(self.refunds):
            number = which % len(sold)
            many = min(pieces, left[number])
            if many:
                left[number] -= many
                at = sold[number].occurred_at + later
                found.append(refund(part("1", quantity=many), order_id=f"o{number}", refund_id=f"r{n}", at=at))
        return found

    def version_at(self, at: datetime) -> Program:
        return self.second if at >= self.changed_at else self.first

    def facts(self) -> list[ShopFact]:
        return [*self.sold(), *self.given_back()]

    def facts_at_once(
        self, holds: list[Held], through: datetime | None, known: Sequence[ShopFact] | None = None
    ) -> NaiveTiers:
        """The tiers that follow from all of it, or what is known, by the last instant at which something happened."""
        found, known = [], self.facts() if known is None else known
        for sold in (fact for fact in known if isinstance(fact, Order)):
            left = int(sold.lines[0].quantity)
            kept = [(sold.occurred_at, _worth(left))]
            given_back = [fact for fact in known if isinstance(fact, Refund) and fact.order_id == sold.order_id]
            for back in sorted(given_back, key=lambda each: each.occurred_at):
                left -= int(back.lines[0].quantity or 0)
                kept.append((back.occurred_at, _worth(left)))
            found.append(Sold(sold.occurred_at, kept))
        return NaiveTiers(found, self.version_at, holds).run(through or END)


def _worth(pieces: int) -> Worth:
    return Worth(10 * pieces, 1000 * pieces, int(pieces > 0))


def tiered(measure: str, qualification: dict[str, Any]) -> Program:
    if qualification["window"] != "rolling_months":
        qualification = {name: value for name, value in qualification.items() if name != "months"}
    tiers = [
        {"tier_id": tier, _FIELDS[measure]: most} for tier, most in zip(TIER_IDS, _THRESHOLDS[measure], strict=True)
    ]
    # What an order earned stays as it was when it came, so here it is the same in every tier.
    return program_with(
        tiers=tiers, earning_rules=[spend_rule("1")], qualification={**qualification, "measure": measure}
    )


def told(first: Program, second: Program, *facts: Any) -> Story:
    """A story; a program does not change to or from years of each member's own."""
    windows = {program.qualification.window.value for program in (first, second)}
    is_one = len(windows) > 1 and "membership_year" in windows
    return Story(first, first if is_one else second, *facts)


stories = st.builds(
    told,
    st.builds(tiered, st.sampled_from([*_FIELDS]), qualifications),
    st.builds(tiered, st.sampled_from([*_FIELDS]), qualifications),
    st.sampled_from([END + timedelta(days=1), instant("2024-07-10"), instant("2025-01-01T00:00+01:00")]),
    st.lists(st.tuples(times, st.integers(1, 60)), min_size=1, max_size=7),
    st.lists(st.tuples(st.integers(0, 6), times_later, st.integers(1, 60)), max_size=5),
)


def told_at(book: Book, first: str, at: datetime) -> str:
    """The tier that the tier changes tell of an instant."""
    return [first, *(change.tier_id for change in book.tier_changes if change.effective_at <= at)][-1]


def check(book: Book, right: NaiveTiers) -> None:
    check_everything(book)
    for at in {change.effective_at for change in book.tier_changes} | {at for at, _ in right.changes}:
        assert told_at(book, right.first, at) == right.at(at)
    assert (book.account.tier_id, book.account.tier_until) == (right.tier, right.until)


@given(stories, st.integers(0, 10_000))
def test_however_facts_arrive_and_reviews_run_the_tiers_are_those_of_all_facts_at_once(
    story: Story, number: int
) -> None:
    random = Random(number)
    facts = story.facts()
    in_time = sorted(facts, key=lambda fact: (fact.occurred_at, isinstance(fact, Refund)))
    arrivals = [in_time, in_time[::-1], random.sample(facts, len(facts)), random.sample(2 * facts, 2 * len(facts))]
    ends = []
    for arrival in arrivals:
        book = Book(story.first)
        book.apply(story.second, story.changed_at)
        latest = START
        for fact in arrival:
            if random.random() < 0.4:  # beat may have come at any time, but not before what is known happened
                book.review(min(END, latest + timedelta(days=random.choice([0, 40, 400]))))
            book.deliver(fact, END)
            latest = max(latest, fact.occurred_at)
        book.review(END)
        check(book, story.facts_at_once([], book.account.counted_until))
        ends.append((book.account.tier_id, book.account.tier_until, book.account.qualifying_points))
    assert ends == [ends[0]] * len(ends)


def each_behind_its_order(facts: Iterable[ShopFact], known: Iterable[ShopFact] = ()) -> Iterator[ShopFact]:
    """These facts in their sequence, but that refunds wait for their orders, of which some may be `known`."""
    waiting: dict[str, list[ShopFact]] = {}
    come = {fact.order_id for fact in known if isinstance(fact, Order)}
    for fact in facts:
        if isinstance(fact, Order):
            come.add(fact.order_id)
            yield fact
            yield from waiting.pop(fact.order_id, [])
        elif fact.order_id in come:
            yield fact
        else:
            waiting.setdefault(fact.order_id, []).append(fact)


def check_told_since(book: Book, number: int, right: NaiveTiers) -> None:
    """The tier changes behind the one of this number were told with what counted at their own instants."""
    for change in book.tier_changes[number:]:
        assert change.qualifying_points in right.told_with(change.reason.value, change.effective_at), change


@given(stories, st.integers(0, 10_000))
def test_every_tier_change_is_told_with_what_counted_at_its_own_instant(story: Story, number: int) -> None:
    random = Random(number)
    facts = story.facts()
    book = Book(story.first)
    book.apply(story.second, story.changed_at)
    known: list[ShopFact] = []
    for fact in each_behind_its_order(random.sample(facts, len(facts))):
        told = len(book.tier_changes)
        known.append(fact)
        book.deliver(fact, END)
        if random.random() < 0.4:
            book.review(max(each.occurred_at for each in known) + timedelta(days=random.choice([0, 40, 400])))
        check_told_since(book, told, story.facts_at_once([], book.account.counted_until, known))


def test_a_review_that_is_taken_back_is_told_with_what_it_counts_now() -> None:
    """And not with what the new year counts, which has only begun."""
    yearly = tiered("points", {"window": "calendar_year"})
    book = Book(yearly)
    for name, pieces, at in (("a", 30, "2023-05-01"), ("b", 10, "2024-05-01")):
        book.deliver(order(order_id=name, lines=[line("1", f"{10 * pieces}.00", pieces)], at=instant(at)), END)
    book.review(instant("2025-02-01"))
    assert [change.tier_id for change in book.tier_changes] == ["silver", "bronze"]
    book.deliver(order(order_id="late", lines=[line("1", "250.00", 25)], at=instant("2024-08-01")), END)
    corrected = book.tier_changes[2]
    assert (corrected.tier_id, corrected.reason, corrected.effective_at) == (
        "silver", TierChangeReason.CORRECTED, book.tier_changes[1].effective_at
    )  # fmt: skip
    assert corrected.qualifying_points == 350


_LIFETIME = tiered("points", {"window": "lifetime", "refunds": "at_once"})
#: Put down by hand, up again by one order, and down with its refund, though its orders come to the tier all the same.
_UP_BY_ONE_ORDER = Story(
    _LIFETIME, _LIFETIME, END, [(timedelta(0), 30), (timedelta(days=10), 1)], [(1, timedelta(days=1), 1)]
)


@given(stories, st.sampled_from(TIER_IDS), times, st.integers(1, 900), st.integers(0, 10_000))
@example(_UP_BY_ONE_ORDER, "bronze", timedelta(0), 1, 0)
def test_a_hold_by_hand_is_a_fact_of_its_own_time(
    story: Story, tier_id: str, since: timedelta, held_days: int, number: int
) -> None:
    random = Random(number)
    facts = story.facts()
    held_at = START + since + timedelta(seconds=1)
    hold = Held(held_at, tier_id, held_at + timedelta(days=held_days))
    known = [fact for fact in facts if fact.occurred_at <= held_at]
    if not any(isinstance(fact, Order) for fact in known):
        return  # there is no account to hold
    later = [fact for fact in facts if fact.occurred_at > held_at]
    story = story._replace(second=story.first)
    late = [fact for fact in random.sample(known, len(known) // 2) if isinstance(fact, Refund)]
    come = [fact for fact in known if fact not in late]
    book = Book(story.first)
    book.apply(story.second, story.changed_at)
    for fact in sorted(come, key=lambda fact: (fact.occurred_at, isinstance(fact, Refund))):
        book.deliver(fact, END)
    book.review(held_at)
    told = len(book.tier_changes)
    book.hold(tier_id, hold.until, held_at)
    check_told_since(book, told, story.facts_at_once([hold], book.account.counted_until, come))
    for fact in each_behind_its_order(random.sample([*late, *later], len([*late, *later])), come):
        told = len(book.tier_changes)
        come.append(fact)
        book.deliver(fact, END)
        check_told_since(book, told, story.facts_at_once([hold], book.account.counted_until, come))
    book.review(END)
    check(book, story.facts_at_once([hold], book.account.counted_until))
