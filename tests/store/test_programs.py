"""Program versions: append-only, found by name, source or default, and by the instant they are in force."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from core.errors import VersionStaysError
from core.messages.program_files.program_file import parse_program
from core.store.applying import move_version, withdraw_version
from core.store.programs import append_version, load_registry
from tests.factories import PROGRAM_TEXT, SOURCE, order
from tests.shell import Shell

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)


def apply(engine: Engine, text: str, effective_from: datetime | None = None) -> ProgramVersion | None:
    with engine.begin() as connection:
        return append_version(connection, parse_program(text, path="test.yaml"), text, effective_from)


def registry(engine: Engine) -> ProgramRegistry:
    with engine.begin() as connection:
        return load_registry(connection)


def named(program_id: str, more: str = "", sources: str = "[]") -> str:
    text = PROGRAM_TEXT.replace("program_id: test", f"program_id: {program_id}")
    return text.replace(f'sources: ["{SOURCE}"]', f"sources: {sources}") + more


class TestVersions:
    def test_the_first_version_judges_all_history(self, engine: Engine) -> None:
        first = apply(engine, PROGRAM_TEXT, JUNE)
        assert first is not None
        assert (first.version, first.effective_from) == (1, BEGINNING)
        assert registry(engine).at("test", datetime(1970, 1, 1, tzinfo=UTC)).version == 1

    def test_a_later_version_holds_from_its_instant_on(self, engine: Engine) -> None:
        apply(engine, PROGRAM_TEXT)
        apply(engine, PROGRAM_TEXT.replace("Test Rewards", "Better Rewards"), JUNE)
        known = registry(engine)
        assert known.at("test", JUNE).program.name == "Better Rewards"
        assert known.at("test", datetime(2026, 5, 31, 23, 59, 59, 999999, tzinfo=UTC)).program.name == "Test Rewards"

    def test_a_version_without_an_instant_holds_from_now(self, engine: Engine) -> None:
        apply(engine, PROGRAM_TEXT)
        second = apply(engine, PROGRAM_TEXT + "combine: stack\n")
        assert second is not None
        assert registry(engine).at("test", second.effective_from).version == 2
        assert registry(engine).at("test", JUNE.replace(year=2020)).version == 1

    def test_of_two_versions_from_the_same_instant_the_newer_holds(self, engine: Engine) -> None:
        for name in ("One", "Two", "Three"):
            apply(engine, PROGRAM_TEXT.replace("Test Rewards", name), JULY)
        assert registry(engine).at("test", JULY).program.name == "Three"

    def test_the_same_content_again_is_no_new_version(self, engine: Engine) -> None:
        apply(engine, PROGRAM_TEXT)
        assert apply(engine, PROGRAM_TEXT + "# a comment\n") is None
        assert registry(engine).stamp == 1

    def test_a_version_that_goes_back_to_an_old_content_is_a_new_one(self, engine: Engine) -> None:
        for text in (PROGRAM_TEXT, PROGRAM_TEXT + "combine: stack\n", PROGRAM_TEXT):
            apply(engine, text)
        assert [version.version for version in registry(engine).versions()] == [1, 2, 3]

    def test_every_version_stays_as_it_was_written(self, engine: Engine) -> None:
        texts = [PROGRAM_TEXT, PROGRAM_TEXT + "expiry: {policy: after_months, months: 7}\n"]
        for text in texts:
            apply(engine, text)
        known = registry(engine)
        assert [known.version("test", n).program for n in (1, 2)] == [parse_program(t, path="") for t in texts]

    def test_two_who_apply_at_the_same_time_make_one_version(self, engine: Engine) -> None:
        made: list[ProgramVersion | None] = []
        threads = [threading.Thread(target=lambda: made.append(apply(engine, PROGRAM_TEXT))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [version.version for version in made if version] == [1]
        assert len(made) == 4


class TestVersionsOfTheFuture:
    """Moved and withdrawn until they are in force, by rows that are added; every change gives another stamp."""

    def test_a_running_worker_sees_what_was_moved_and_what_was_withdrawn(self, engine: Engine) -> None:
        shell = Shell(engine)
        shell.apply_program(PROGRAM_TEXT.replace('bronze: "1"', 'bronze: "3"'), "2099-01-01T00:00:00Z")
        shell.apply_program(PROGRAM_TEXT.replace('bronze: "1"', 'bronze: "5"'), "2099-01-01T00:00:00Z")
        later = (datetime.now(UTC) + timedelta(hours=6)).isoformat()  # shops' clocks may be ahead
        points, stamps = [], []
        for number, change in enumerate((lambda _: None, moved, withdrawn)):
            change(engine)
            shell.take(order(f"o{number}", "10.00", time=later))
            points.append(shell.value(f"SELECT points_entitled FROM orders WHERE order_id = 'o{number}'"))
            stamps.append(registry(engine).stamp)
        assert points == [10, 30, 30]
        assert stamps == [3, 4, 5]
        assert shell.differences() == []

    def test_one_that_has_judged_an_order_whose_time_is_ahead_of_ours_stays(self, engine: Engine) -> None:
        shell = Shell(engine)
        hours = [datetime.now(UTC) + timedelta(hours=n) for n in range(1, 4)]
        shell.apply_program(PROGRAM_TEXT + "combine: stack\n", hours[0].isoformat())
        shell.take(order(time=hours[1].isoformat()))
        for change in (withdrawn, moved):
            with pytest.raises(VersionStaysError, match=r"it has judged orders already \(1\)"):
                change(engine)


def moved(engine: Engine, version: int = 2) -> None:
    with engine.begin() as connection:
        move_version(connection, "test", version, None, changed_by="anna", reason="at once")


def withdrawn(engine: Engine) -> None:
    with engine.begin() as connection:
        withdraw_version(connection, "test", None, changed_by="anna", reason="no")


class TestResolving:
    @pytest.fixture
    def known(self, engine: Engine) -> ProgramRegistry:
        apply(engine, named("web", sources='["/web", "/app"]'))
        apply(engine, named("house", "default: true\n"))
        apply(engine, named("club"))
        return registry(engine)

    def test_a_named_program_wins_over_the_source(self, known: ProgramRegistry) -> None:
        assert known.resolve("club", "/web", JUNE) == "club"

    def test_a_named_program_that_is_not_here_is_none(self, known: ProgramRegistry) -> None:
        assert known.resolve("pub", "/web", JUNE) is None

    def test_the_program_that_lists_the_source_wins_over_the_default(self, known: ProgramRegistry) -> None:
        assert (known.resolve(None, "/web", JUNE), known.resolve(None, "/app", JUNE)) == ("web", "web")

    def test_what_no_program_claims_goes_to_the_default(self, known: ProgramRegistry) -> None:
        assert known.resolve(None, "/till", JUNE) == "house"

    def test_without_a_default_it_goes_nowhere(self, engine: Engine) -> None:
        apply(engine, PROGRAM_TEXT)
        assert registry(engine).resolve(None, "/till", JUNE) is None

    def test_a_source_that_a_version_gives_up_is_its_own_until_then(self, engine: Engine) -> None:
        apply(engine, named("web", sources='["/web"]'))
        apply(engine, named("web", sources='["/app"]'), JULY)
        known = registry(engine)
        assert (known.resolve(None, "/web", JUNE), known.resolve(None, "/app", JUNE)) == ("web", None)
        assert (known.resolve(None, "/web", JULY), known.resolve(None, "/app", JULY)) == (None, "web")

    def test_all_programs_are_known_by_name(self, known: ProgramRegistry) -> None:
        assert known.program_ids() == ["club", "house", "web"]


def test_no_programs_are_an_empty_registry(engine: Engine) -> None:
    known = registry(engine)
    assert (known.stamp, known.program_ids(), known.versions(), known.resolve(None, "/web", JUNE)) == (0, [], [], None)
