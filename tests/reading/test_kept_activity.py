"""What became of points in months that are over is kept: the same as the entries tell, whatever came, and for good."""

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from core.domain.accounting.activity import Activity
from core.domain.accounting.months import month_of, months_between
from core.reading.finance.activity import first_month, load_activity
from core.store.activity import load_activity_lines, points_outstanding
from core.store.engine import begin_reading
from core.store.programs import load_registry
from tasks.purge import purge
from tests.answers import TRUSTED
from tests.conftest import Servers
from tests.factories import command
from tests.reading.books_by_hand import Hand
from tests.reading.living_year import do_what_is_due, keep_months
from tests.reading.set_clock import SetClock, open_with_set_clock
from tests.reading.year_messages import PROGRAM_IDS, PROGRAMS, Year
from tests.shell import Shell, take_by_operator
from tests.tasks.runtimes import make_runtime

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ZONE = ZoneInfo("Europe/Berlin")
BEGINS = datetime(2025, 4, 1, 0, 30, tzinfo=ZONE)  # so that version 2 of a program comes in the middle
MONTHS = 5
MAY, JULY = date(2025, 5, 1), date(2025, 7, 1)
#: Rows of entries that the session has read so far.
READ = """
SELECT pg_stat_get_xact_tuples_returned(t.oid) + pg_stat_get_xact_tuples_fetched(t.oid)
FROM pg_class t WHERE t.relname = 'entries'
"""
KEPT = "SELECT * FROM activity_lines ORDER BY program_id, month, line_number"


class History(NamedTuple):
    """Months in which messages came in no order, and were kept when it pleased chance."""

    shell: Shell
    clock: SetClock

    def activity(self, program_id: str) -> Activity:
        with self.shell.engine.begin() as connection:
            begin_reading(connection)
            registry = load_registry(connection)
            first = first_month(connection, registry, program_id) or BEGINS.date().replace(day=1)
            last = month_of(registry, program_id, self.clock.instant).first_day
            return load_activity(connection, registry, program_id, months_between(registry, program_id, first, last))

    def kept(self) -> list[Any]:
        return self.shell.rows(KEPT)


@pytest.fixture(scope="module", params=[1, 2, 3])
def history(servers: Servers, request: pytest.FixtureRequest) -> Iterator[History]:
    chance = random.Random(request.param)
    with open_with_set_clock(servers.database_url, BEGINS) as clock:
        shell = Shell(clock.engine, program_text=None, limits=TRUSTED)
        for program_text, effective_from in PROGRAMS:
            shell.apply_program(program_text, effective_from)
        year = Year(request.param)
        shell.take(*year.everything(clock.instant))
        while clock.instant < BEGINS + timedelta(days=30 * MONTHS):
            clock.set(clock.instant + timedelta(days=chance.randint(1, 9), hours=chance.randint(0, 12)))
            shell.take(*year.batch(clock.instant, chance.randint(5, 30)))
            if chance.random() < 0.7:
                do_what_is_due(shell, clock)
            if chance.random() < 0.2:
                keep_months(shell, clock.go_on(15))
        keep_months(shell, clock.go_on(15))
        shell.take(*year.late(clock.go_on(60)))
        do_what_is_due(shell, clock)
        yield History(shell, clock)


def test_kept_months_are_what_their_entries_come_to_however_late_they_were_kept(history: History) -> None:
    for program_id in PROGRAM_IDS:
        found = history.activity(program_id)
        assert sum(month.kept_at is not None for month in found.months) >= 4
        with history.shell.engine.begin() as connection:
            begin_reading(connection)
            read = load_activity_lines(connection, program_id, [each.month for each in found.months])
            before = [points_outstanding(connection, program_id, each.month.starts_at) for each in found.months]
        assert (program_id, list(found.lines)) == (program_id, read)
        assert [each.points_before for each in found.months] == before


def test_kept_months_are_what_is_counted_by_hand(history: History) -> None:
    url = history.clock.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    for program_id in PROGRAM_IDS:
        sums = history.activity(program_id).sums(
            lambda x: (x.month, x.flow.value, x.cause.kind.value, x.cause.name, x.version)
        )
        counted = Hand(url, program_id, ZONE.key).activity_by_version()
        assert {key: points for key, points in sums.items() if points} == counted


def test_of_months_that_were_kept_no_entry_is_read(history: History) -> None:
    with history.shell.engine.begin() as connection:
        begin_reading(connection)
        registry = load_registry(connection)
        before = connection.execute(text(READ)).scalar_one()
        assert first_month(connection, registry, "test") == date(2025, 4, 1)
        assert load_activity(connection, registry, "test", months_between(registry, "test", MAY, JULY)).lines
        assert connection.execute(text(READ)).scalar_one() == before


def test_nothing_that_may_be_done_to_a_ledger_moves_a_month_that_was_kept(history: History) -> None:
    shell, kept, told = history.shell, history.kept(), {each: history.activity(each) for each in PROGRAM_IDS}
    now = history.clock.instant.isoformat()
    reserved = shell.rows("SELECT authorization_id FROM authorizations WHERE state = 'open' AND kind = 'authorization'")
    for number, row in enumerate(reserved):
        void = command("void", f"v{number}", customer_id=None, authorization_id=row.authorization_id, time=now)
        take_by_operator(shell, void)
    for number in range(3):
        erase = command("customer.erase", f"e{number}", customer_id=f"c{number}", reason="asked for it", time=now)
        merge = command(
            "account.merge", f"m{number}", customer_id=f"c{number + 3}", into_customer_id="c8", program_id="test",
            time=now,
        )  # fmt: skip
        take_by_operator(shell, erase, merge)
    assert shell.value("SELECT count(*) FROM erasures") > 0
    assert shell.value("SELECT count(*) FROM merges") > 0
    assert shell.repairs() == ([], [])
    purge(make_runtime(shell.engine, inbox_retention_days=1, outbox_retention_days=1))
    history.clock.go_on(60 * 24)
    do_what_is_due(shell, history.clock)
    keep_months(shell, history.clock.go_on(15))
    assert set(kept) <= set(history.kept())
    for program_id, before in told.items():
        past = {each.month.text for each in before.months if each.kept_at is not None}
        lines = [line for line in history.activity(program_id).lines if line.month in past]
        assert lines == [line for line in before.lines if line.month in past]
    assert shell.differences() == []
