"""Whatever happens to an account, under whatever program: the invariants hold, and a second model agrees."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.book import Book
from tests.domain.command_stories import CommandStoryRun, steps_with_commands, steps_with_merges
from tests.domain.stories import Step, steps
from tests.domain.story_run import StoryRun
from tests.domain.valid_programs import Versions, mergeable_versions, various_versions

VERSIONS = various_versions(300)
MERGEABLE = mergeable_versions(150)
versions = st.sampled_from(VERSIONS)


@settings(max_examples=14 * settings().max_examples)
@given(versions, steps)
def test_whatever_happens_the_invariants_hold_and_the_naive_model_agrees(program: Versions, story: list[Step]) -> None:
    run = StoryRun(program)
    for _ in run.run(story):
        pass
    run.check()


@settings(max_examples=14 * settings().max_examples)
@given(versions, steps_with_commands)
def test_whatever_is_commanded_besides_the_naive_model_agrees_on_every_lot_and_answer(
    program: Versions, story: list[Step]
) -> None:
    run = CommandStoryRun(program)
    for _ in run.run(story):
        pass
    run.check()


@settings(max_examples=14 * settings().max_examples)
@given(st.sampled_from(MERGEABLE), steps_with_merges)
def test_whatever_is_merged_and_undone_between_the_naive_model_agrees_on_every_lot_and_answer(
    program: Versions, story: list[Step]
) -> None:
    run = CommandStoryRun(program)
    for _ in run.run(story):
        pass
    run.check()


@given(st.sampled_from([pair for pair in VERSIONS if pair.first.has_inactivity]), steps)
def test_when_expiry_runs_come_changes_nothing(program: Versions, story: list[Step]) -> None:
    """Of stories without spending, which this release has not: it would release points first, as refunds do."""
    without_runs = [step for step in story if step[0] not in {"spend", "expire"}]
    rarely, often = StoryRun(program), StoryRun(program)
    for _ in rarely.run(without_runs):
        pass
    for _ in often.run(without_runs):
        for customer in often.customers.values():
            customer.book.expire(often.now)
    for customer in rarely.customers.values():
        customer.book.expire(rarely.now)
    for name, customer in rarely.customers.items():
        for book in (customer.book, often.customers[name].book):
            book.release(rarely.now)
        assert apart_from_numbers(customer.book) == apart_from_numbers(often.customers[name].book)


def apart_from_numbers(book: Book) -> list[object]:
    """What is in the books, without the numbers of entries."""
    return [
        book.account._replace(sequence=0),
        [lot._replace(opened_by_sequence=0) for lot in book.lots.values()],
        [posted._replace(sequence=None) for posted in book.orders.values()],
        book.tier_changes,
    ]
