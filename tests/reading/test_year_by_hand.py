"""A year with every kind of message, posted as it came: the reports' figures are those that are counted by hand."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection

from core.domain.accounting.activity import Activity
from core.domain.accounting.liability import Liability
from core.domain.accounting.months import month_at, months_between
from core.messages.inbound.contracts import INBOUND
from core.reading.finance.activity import load_activity
from core.reading.finance.journal import load_journal
from core.reading.finance.owed import load_owed
from core.reading.finance.promotion import UNCHANGED, load_promotion
from core.store.activity import load_activity_lines
from core.store.engine import begin_reading, run_bulk
from core.store.liability import load_liability
from core.store.programs import load_registry
from tests.answers import TRUSTED
from tests.conftest import Servers
from tests.reading.beancount_balances import beancount_balances
from tests.reading.books_by_hand import Hand
from tests.reading.living_year import do_what_is_due, keep_months
from tests.reading.set_clock import SetClock, open_with_set_clock
from tests.reading.year_messages import PLAIN, POINT_VALUES, PROGRAM_IDS, PROGRAMS, Year
from tests.shell import Shell
from workers.cli.journal_formats import JournalFormat, journal_text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ZONE = ZoneInfo("Europe/Berlin")
BEGINS = datetime(2025, 1, 1, 0, 30, tzinfo=ZONE)
MONTH_ENDS = [datetime(2025 + number // 12, number % 12 + 1, 1, tzinfo=ZONE) for number in range(1, 13)]
MONTHS = [f"2025-{number:02}" for number in range(1, 13)]
SEED, DAYS_APART, MESSAGES_AT_ONCE = 13, 5, 22


class Posted(NamedTuple):
    """The year, and what came late after it."""

    shell: Shell
    clock: SetClock
    hands: dict[str, Hand]
    kept: dict[tuple[str, str], Liability]  #: each month's end as it was told before anything came late


@pytest.fixture(scope="module")
def posted(servers: Servers) -> Iterator[Posted]:
    with open_with_set_clock(servers.database_url, BEGINS) as clock:
        shell = Shell(clock.engine, program_text=None, limits=TRUSTED)
        for text, effective_from in PROGRAMS:
            shell.apply_program(text, effective_from)
        year = Year(SEED)
        mornings = [BEGINS + timedelta(days=day, hours=9) for day in range(0, 365, DAYS_APART)]
        for instant in sorted([*mornings, *MONTH_ENDS]):
            clock.set(instant)
            if instant in mornings:
                is_full = mornings.index(instant) % 20 == 3
                shell.take(*(year.everything(instant) if is_full else year.batch(instant, MESSAGES_AT_ONCE)))
            do_what_is_due(shell, clock)
            keep_months(shell, clock.go_on(15))
        kept = {(program_id, month): owed(shell, program_id, month) for program_id in PROGRAM_IDS for month in MONTHS}
        shell.take(*year.late(clock.go_on(60)))
        do_what_is_due(shell, clock)
        url = clock.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        yield Posted(shell, clock, {program_id: Hand(url, program_id, ZONE.key) for program_id in PROGRAM_IDS}, kept)


def reading(connection: Connection) -> Any:
    begin_reading(connection)
    return load_registry(connection)


def owed(shell: Shell, program_id: str, at: str | datetime) -> Liability:
    """As it was kept of a month, or by what was recorded before an instant."""
    with shell.engine.begin() as connection:
        registry = reading(connection)
        if isinstance(at, datetime):
            return load_liability(connection, registry, program_id, at)
        found = load_owed(connection, registry, program_id, month_of_year(registry, program_id, at))
        assert found.kept_at is not None
        return found


def month_of_year(registry: Any, program_id: str, month: str) -> Any:
    return month_at(registry, program_id, datetime.fromisoformat(f"{month}-01").date())


def activity(shell: Shell, program_id: str) -> Activity:
    with shell.engine.begin() as connection:
        registry = reading(connection)
        first, last = (datetime.fromisoformat(day).date() for day in ("2025-01-01", "2026-01-01"))
        return load_activity(connection, registry, program_id, months_between(registry, program_id, first, last))


def lines_of(found: Liability) -> dict[tuple[str, str, str | None, str | None], int]:
    def month(day: object) -> str | None:
        return None if day is None else f"{day:%Y-%m}"

    return {
        (line.bucket.value, line.tier_id, month(line.earned_month), month(line.last_month)): line.points
        for line in found.lines
    }


def by_cause(found: Activity) -> Counter[tuple[str, str]]:
    return found.sums(lambda line: (line.flow.value, line.cause.name))


def point_value(program_id: str, version: int | None) -> Decimal | None:
    value = POINT_VALUES.get((program_id, version or 1))
    return None if value is None else Decimal(value)


def test_each_kind_of_message_was_posted_and_the_ledger_is_clean(posted: Posted) -> None:
    outcomes = Counter((row.type, row.state) for row in posted.shell.rows("SELECT type, state FROM inbox"))
    # What erasure takes away could not be counted by hand any more.
    assert [kind for kind in INBOUND if not outcomes[kind, "posted"]] == ["loyalty.command.customer.erase"]
    assert {kind for kind, state in outcomes if state == "dead"} == set()
    assert posted.shell.differences() == []
    assert posted.shell.value("SELECT count(DISTINCT kind) FROM entries") == 16


@pytest.mark.parametrize("program_id", PROGRAM_IDS)
class TestWhatIsOwed:
    def test_is_what_is_counted_by_hand_at_many_instants(self, posted: Posted, program_id: str) -> None:
        hand = posted.hands[program_id]
        for as_of in [*MONTH_ENDS, *(end + timedelta(days=11) for end in MONTH_ENDS[::3]), posted.clock.instant]:
            found = owed(posted.shell, program_id, as_of)
            assert (as_of, lines_of(found)) == (as_of, hand.liability(as_of))
            history = found.valuation.history
            spent = {age: points for age, points in history.points_spent.items() if points}
            assert (history.points_expired, spent) == hand.history(as_of)

    def test_was_kept_at_each_months_end_and_has_not_moved_by_what_came_late(
        self, posted: Posted, program_id: str
    ) -> None:
        for month, end in zip(MONTHS, MONTH_ENDS, strict=True):
            before, after = posted.kept[program_id, month], owed(posted.shell, program_id, month)
            assert before.kept_at == after.kept_at
            assert lines_of(before) == lines_of(after)
            if program_id != "sliding":  # its points have the end that they have now
                assert (month, lines_of(after)) == (month, posted.hands[program_id].liability(end))

    def test_is_worth_what_the_version_says_that_was_in_force(self, posted: Posted, program_id: str) -> None:
        for month, end in zip(MONTHS, MONTH_ENDS, strict=True):
            found = owed(posted.shell, program_id, month)
            version = 2 if program_id == "test" and month >= "2025-07" else 1
            counted = sum(points for (bucket, *_), points in posted.hands[program_id].liability(end).items())
            value = point_value(program_id, version)
            assert found.worth(found.by_entries) == (None if value is None else counted * value)


@pytest.mark.parametrize("program_id", PROGRAM_IDS)
class TestWhatBecameOfPoints:
    def test_is_what_is_counted_by_hand_by_month_cause_and_version(self, posted: Posted, program_id: str) -> None:
        found = activity(posted.shell, program_id)
        assert [month.kept_at is not None for month in found.months] == [True] * 12 + [False]
        sums = found.sums(lambda x: (x.month, x.flow.value, x.cause.kind.value, x.cause.name, x.version))
        assert {key: points for key, points in sums.items() if points} == posted.hands[program_id].activity_by_version()

    def test_comes_to_the_same_whether_months_were_kept_or_are_read_again(
        self, posted: Posted, program_id: str
    ) -> None:
        found = activity(posted.shell, program_id)
        with posted.shell.engine.begin() as connection:
            reading(connection)
            read = load_activity_lines(connection, program_id, [each.month for each in found.months])
        assert read == list(found.lines)

    def test_costs_what_the_versions_say(self, posted: Posted, program_id: str) -> None:
        found = activity(posted.shell, program_id)
        counted: Counter[int | None] = Counter()
        for (_, flow, _, _, version), points in posted.hands[program_id].activity_by_version().items():
            if flow in {"issued", "clawed_back"}:
                counted[version] += points
        told: Counter[int | None] = Counter()
        for line in found.lines:
            if line.flow.value in {"issued", "clawed_back"}:
                told[line.version] += line.points
        for version, points in counted.items():
            value = point_value(program_id, version)
            assert found.worth(told[version], version) == (None if value is None else points * value)

    def test_leads_from_month_to_month_to_what_is_owed(self, posted: Posted, program_id: str) -> None:
        found = activity(posted.shell, program_id)
        ends = [*MONTH_ENDS, posted.clock.instant + timedelta(minutes=1)]
        assert [month.points_after for month in found.months] == [
            sum(posted.hands[program_id].liability(end).values()) for end in ends
        ]

    def test_is_in_the_journal_of_each_month_to_the_point(self, posted: Posted, program_id: str) -> None:
        hand, part = posted.hands[program_id], Decimal("0.01") if program_id == "money" else 1
        for month, end in zip(MONTHS, MONTH_ENDS, strict=True):
            with posted.shell.engine.begin() as connection:
                registry = reading(connection)
                journal = load_journal(connection, registry, program_id, month_of_year(registry, program_id, month))
            found = beancount_balances(journal_text(journal, JournalFormat.BEANCOUNT))
            counted: Counter[str] = Counter()
            for name, points in hand.balances(end).items():
                counted[name] += points if name == "Deficit" else -points
            for (flow, kind), points in hand.flows(month).items():
                counted[f"{flow.title().replace('_', '')}:{kind.capitalize()}"] += points
            told = {name.split(":Points:")[1].partition(":")[2]: amount for name, amount in found.items()}
            told.pop("Opening", None)
            assert (month, {name: amount for name, amount in told.items() if amount}) == (
                month,
                {name: points * part for name, points in counted.items() if points},
            )


def test_each_promotion_had_the_orders_that_are_counted_by_hand(posted: Posted) -> None:
    for promotion_id in ("large", "summer", "scarce"):
        with posted.shell.engine.begin() as connection:
            found = load_promotion(connection, reading(connection), "test", promotion_id)
        months = {(f"{each.month:%Y-%m}", each.version): each.points_left for each in found.months}
        counted = posted.hands["test"].promotion(promotion_id)
        assert {"had": tuple(found.had), "others": tuple(found.others), "months": months} == counted
        assert found.had.orders
        assert found.cost == sum(
            (points * Decimal(POINT_VALUES["test", version]) for (_, version), points in counted["months"].items()),
            start=Decimal(0),
        )


def test_an_order_to_which_nothing_has_happened_has_one_entry(posted: Posted) -> None:
    """So a promotion's report neither sorts such entries nor looks for others of their orders."""
    with posted.shell.engine.begin() as connection:
        rows = run_bulk(connection, ENTRIES_OF_ORDERS)
    entries = {is_unchanged: set(counts) for is_unchanged, counts in rows}
    assert entries[True] == {1}
    assert entries[False] >= {1, 2, 3}


ENTRIES_OF_ORDERS = f"""
SELECT is_unchanged, array_agg(DISTINCT entries)
FROM (SELECT {UNCHANGED} AS is_unchanged, count(*) AS entries
      FROM orders o
      JOIN entries e ON e.source = o.source AND e.order_id = o.order_id AND e.kind IN ('accrual', 'clawback')
      JOIN accounts a ON a.account_id = e.account_id AND a.program_id = o.program_id
      GROUP BY o.source, o.order_id, o.program_id) AS of_order
GROUP BY is_unchanged
"""  # the statement's own words


class TestMessages:
    """What was sent and accepted, read as it came, comes to what the report tells."""

    def test_commands_moved_what_they_asked_for(self, posted: Posted) -> None:
        asked = posted.hands["test"].asked()
        told = {program_id: by_cause(activity(posted.shell, program_id)) for program_id in ("test", "money")}
        assert told["test"]["issued", "credit"] == asked["credit"] + asked["account.create"]
        assert told["test"]["redeemed", "redemption"] == -asked["redeem"]
        assert told["test"]["adjusted", "adjustment"] == asked["adjust"]
        assert told["test"]["moved", "conversion"] == -asked["convert"]
        assert told["test"]["moved", "transfer"] == 0

    def test_orders_earned_what_is_kept_of_them(self, posted: Posted) -> None:
        told = activity(posted.shell, "plain").sums(lambda line: line.cause)
        by_rules = sum(points for cause, points in told.items() if cause.kind.value == "rule")
        assert by_rules == posted.hands["plain"].ordered(PLAIN)


def test_what_came_late_is_of_the_open_month(posted: Posted) -> None:
    late = posted.clock.instant - timedelta(minutes=30)
    rows = posted.shell.rows(
        "SELECT occurred_at FROM entries WHERE recorded_at > :late AND order_id IS NOT NULL", late=late
    )
    assert any(row.occurred_at < MONTH_ENDS[-2] for row in rows)
    found = [line for line in activity(posted.shell, "test").lines if line.month == "2026-01"]
    assert {line.flow.value for line in found} >= {"issued", "clawed_back"}
