"""Which program a message belongs to, at every time, whatever versions there are of the future and of the past."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.decision import Decision
from core.domain.orders.accrual import decide_order
from core.domain.orders.clawback import decide_refund
from core.domain.orders.posted import PostedOrder, PostedRefund
from core.domain.outcomes import Parked, Reason, Replayed
from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from tests.domain.book import message_of, whole_books
from tests.facts import AS_OF, SOURCE, instant, order, program_with, refund

SOURCES = ("/web", "/till")
DAYS = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(6)]
FAR = datetime(2099, 1, 1, tzinfo=UTC)


def version(
    program_id: str, number: int, since: datetime, *, sources: tuple[str, ...] = (), default: bool = False
) -> ProgramVersion:
    return ProgramVersion(
        program_id, number, since, program_with(program_id=program_id, sources=sources, default=default)
    )


@st.composite
def lines_of_versions(draw: st.DrawFn) -> list[ProgramVersion]:
    """Up to three programs, each with up to four versions that claim anything."""
    found = []
    for program_id in ("a", "b", "c")[: draw(st.integers(1, 3))]:
        starts = [BEGINNING, *sorted(draw(st.lists(st.sampled_from(DAYS), max_size=3)))]
        for number, since in enumerate(starts, start=1):
            sources = tuple(draw(st.sets(st.sampled_from(SOURCES))))
            made = version(program_id, number, since, sources=sources, default=draw(st.booleans()))
            found.append(made._replace(is_withdrawn=number > 1 and draw(st.booleans())))
    return found


def claims_at(versions: list[ProgramVersion], moment: datetime) -> Iterator[tuple[str | None, str]]:
    """What each program claims at a moment, told the long way: its last version by then; None is the default."""
    there = [v for v in versions if v.effective_from <= moment and not v.is_withdrawn]
    for program_id in sorted({each.program_id for each in versions}):
        program = [v for v in there if v.program_id == program_id][-1].program
        yield from ((source, program_id) for source in program.sources)
        if program.default:
            yield None, program_id


@given(lines_of_versions())
def test_a_message_belongs_where_the_versions_of_its_own_time_say(versions: list[ProgramVersion]) -> None:
    rules = ProgramRegistry(versions, 0)
    for moment in (BEGINNING, *DAYS, DAYS[0] - timedelta(microseconds=1), FAR):
        claims = list(claims_at(versions, moment))
        for source in (*SOURCES, "/elsewhere"):
            found = rules.resolve(None, source, moment)
            takers = {taker for claimed, taker in claims if claimed == source}
            takers = takers or {taker for claimed, taker in claims if claimed is None}
            assert found in takers if takers else found is None


@given(lines_of_versions())
def test_programs_collide_exactly_where_two_claim_the_same_at_one_time(versions: list[ProgramVersion]) -> None:
    rules = ProgramRegistry(versions, 0)
    moments = [BEGINNING, *DAYS, FAR]
    for program_id in rules.program_ids():
        shared: dict[tuple[str, str | None], list[datetime]] = {}
        for moment in moments:
            claims = list(claims_at(versions, moment))
            mine = {claimed for claimed, taker in claims if taker == program_id}
            for claimed, taker in claims:
                if taker != program_id and claimed in mine:
                    shared.setdefault((taker, claimed), []).append(moment)
        found = {(each.program_id, each.source): each for each in rules.collisions(program_id)}
        assert found.keys() == shared.keys()
        for key, times in shared.items():
            assert found[key].since == times[0]
            until = found[key].until
            assert times[-1] == moments[-1] if until is None else times[-1] < until


def test_a_version_of_the_far_future_routes_nothing_before_its_time() -> None:
    """Neither a source that it gives up, nor one that it takes, nor the default."""
    rules = ProgramRegistry(
        [
            version("a", 1, BEGINNING, sources=("/web",), default=True),
            version("a", 2, FAR, sources=("/old",)),
            version("b", 1, BEGINNING),
            version("b", 2, FAR, sources=("/web",), default=True),
        ],
        0,
    )
    today = instant("2026-11-20")
    assert [rules.resolve(None, source, today) for source in ("/web", "/old", "/any")] == ["a", "a", "a"]
    assert [rules.resolve(None, source, FAR) for source in ("/web", "/old", "/any")] == ["b", "a", "b"]
    assert (rules.collisions("a"), rules.collisions("b")) == ([], [])


MOVED = ProgramRegistry(
    [
        version("a", 1, BEGINNING, sources=(SOURCE,)),
        version("a", 2, instant("2026-06-01"), sources=()),
        version("b", 1, BEGINNING),
        version("b", 2, instant("2026-06-01"), sources=(SOURCE,)),
    ],
    0,
)


class TestAfterASourceHasMovedToAnotherProgram:
    def test_an_order_is_posted_where_its_time_leads_however_late_it_comes(self) -> None:
        books = whole_books()
        for order_id, at, program_id in (("old", "2026-05-31", "a"), ("new", "2026-06-02", "b")):
            decision = decide_order(books, message_of(order(order_id=order_id, at=at)), MOVED, AS_OF)
            assert isinstance(decision, Decision)
            assert [fact.program_id for fact in decision.facts] == [program_id]

    @pytest.mark.parametrize("other", ["a", "b"])
    def test_its_refund_finds_it_where_it_was_posted_although_the_refunds_time_leads_elsewhere(
        self, other: str
    ) -> None:
        books = whole_books()
        for named, at in ((None, "2026-05-31"), (other, "2026-05-31")):  # the same order may be in both programs
            outcome = decide_order(books, message_of(order(at=at), named), MOVED, AS_OF)
            if isinstance(outcome, Decision):
                books.apply(outcome)
        decision = decide_refund(books, message_of(refund(at="2026-07-01")), MOVED, AS_OF)
        assert isinstance(decision, Decision)
        (fact,) = decision.facts
        assert isinstance(fact, PostedRefund)
        assert fact.program_id == "a"

    def test_the_order_again_with_a_later_time_is_a_conflict_and_not_an_order_of_the_other_program(self) -> None:
        books = whole_books()
        first = decide_order(books, message_of(order(at="2026-05-31")), MOVED, AS_OF)
        assert isinstance(first, Decision)
        books.apply(first)
        again = decide_order(books, message_of(order(at="2026-06-02")), MOVED, AS_OF)
        assert isinstance(again, Parked)
        assert again.reason is Reason.ORDER_CONFLICT
        named = decide_order(books, message_of(order(at="2026-06-02"), "b"), MOVED, AS_OF)
        assert isinstance(named, Decision), "who names the program means it"

    def test_the_same_order_again_is_a_replay_also_where_the_move_was_backdated(self) -> None:
        books = whole_books()
        before = ProgramRegistry([each for each in MOVED.versions() if each.version == 1], 0)
        first = decide_order(books, message_of(order(at="2026-06-02")), before, AS_OF)
        assert isinstance(first, Decision)
        books.apply(first)
        assert isinstance(first.facts[0], PostedOrder)
        assert decide_order(books, message_of(order(at="2026-06-02")), MOVED, AS_OF) == Replayed()

    def test_an_order_that_no_program_takes_at_its_time_is_told_its_time(self) -> None:
        given_up = ProgramRegistry(MOVED.versions()[:2], 0)
        outcome = decide_order(whole_books(), message_of(order(at="2026-06-02")), given_up, AS_OF)
        assert isinstance(outcome, Parked)
        assert "at 2026-06-02T12:00:00Z, the order's time, no program lists this source" in outcome.detail
