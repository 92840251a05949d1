"""What is owed, and what became of points: every figure is the one that is counted by hand, row by row."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from sqlalchemy import Engine

from core.domain.accounting.activity import Activity
from core.domain.accounting.breakage import BreakageHistory
from core.domain.accounting.flows import FLOWS, Flow
from core.domain.accounting.liability import Bucket, Liability
from core.domain.accounting.months import month_at, month_of, months_between
from core.domain.ledger import EntryKind
from core.reading.finance.activity import first_month, load_activity
from core.store.engine import begin_reading
from core.store.liability import load_liability
from core.store.programs import load_registry
from tests.factories import PROGRAM_TEXT, fulfilment, line, order, refund
from tests.reading.books_by_hand import Hand
from tests.reading.everything import MONEY, with_everything
from tests.shell import Shell


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, program_text=None)


def url_of(shell: Shell) -> str:
    return shell.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def liability(shell: Shell, as_of: datetime, program_id: str = "test") -> Liability:
    with shell.engine.begin() as connection:
        begin_reading(connection)
        return load_liability(connection, load_registry(connection), program_id, as_of)


def activity(shell: Shell, program_id: str = "test") -> Activity:
    with shell.engine.begin() as connection:
        begin_reading(connection)
        registry = load_registry(connection)
        first = first_month(connection, registry, program_id)
        assert first is not None
        last = month_of(registry, program_id, datetime.now(UTC)).first_day
        return load_activity(connection, registry, program_id, months_between(registry, program_id, first, last))


def lines_of(found: Liability) -> dict[tuple[str, str, str | None, str | None], int]:
    def month(day: object) -> str | None:
        return None if day is None else f"{day:%Y-%m}"

    return {
        (line.bucket.value, line.tier_id, month(line.earned_month), month(line.last_month)): line.points
        for line in found.lines
    }


def causes_of(found: Activity) -> dict[tuple[str, str, str, str], int]:
    sums = found.sums(lambda line: (line.month, line.flow.value, line.cause.kind.value, line.cause.name))
    return {key: points for key, points in sums.items() if points}


def instants(shell: Shell) -> list[datetime]:
    """Between all that was recorded, and now."""
    rows = shell.rows("SELECT DISTINCT recorded_at FROM entries ORDER BY recorded_at")
    return [row.recorded_at + timedelta(microseconds=1) for row in rows] + [datetime.now(UTC)]


class TestWithEverything:
    def test_what_is_owed_is_what_is_counted_by_hand_at_every_instant(self, shell: Shell) -> None:
        with_everything(shell)
        for program_id in ("test", "money"):
            hand = Hand(url_of(shell), program_id, "Europe/Berlin")
            for as_of in instants(shell):
                found = liability(shell, as_of, program_id)
                assert lines_of(found) == hand.liability(as_of)
                history = found.valuation.history
                spent = {age: points for age, points in history.points_spent.items() if points}
                assert (history.points_expired, spent) == hand.history(as_of)
        assert all(liability(shell, datetime.now(UTC)).by_bucket[bucket] for bucket in Bucket)

    def test_what_became_of_points_is_what_is_counted_by_hand_month_by_month(self, shell: Shell) -> None:
        with_everything(shell)
        for program_id in ("test", "money"):
            hand = Hand(url_of(shell), program_id, "Europe/Berlin")
            assert causes_of(activity(shell, program_id)) == hand.activity()
        flows = {line.flow for line in activity(shell).lines}
        assert flows == {*Flow} - {Flow.HELD}
        causes = {line.cause.name for line in activity(shell).lines}
        assert {"spend", "visit", "large", "credit", "reversal", "forfeited", "expiry", "capture"} <= causes

    def test_each_month_leads_to_what_is_owed_at_its_end(self, shell: Shell) -> None:
        with_everything(shell)
        found = activity(shell)
        assert len(found.months) == 3
        sums = found.sums(lambda line: line.month)
        for each in found.months:
            assert each.points_before + sums[each.month.text] == each.points_after
            end = min(each.month.ends_at, datetime.now(UTC))
            assert each.points_after == liability(shell, end).by_entries
        assert [each.is_open for each in found.months] == [False, False, True]

    def test_issued_is_outstanding_and_all_that_has_left(self, shell: Shell) -> None:
        with_everything(shell)
        for program_id in ("test", "money"):
            flows = Counter(activity(shell, program_id).sums(lambda line: line.flow))
            held = shell.value(
                "SELECT sum(balance + pending + reserved) FROM accounts WHERE program_id = :id", id=program_id
            )
            gone = flows[Flow.REDEEMED] + flows[Flow.EXPIRED] + flows[Flow.CLAWED_BACK]
            assert flows[Flow.ISSUED] == held - gone - flows[Flow.ADJUSTED] - flows[Flow.MOVED]

    def test_what_comes_late_is_of_the_month_in_which_it_comes(self, shell: Shell) -> None:
        with_everything(shell)
        before, owed = activity(shell), liability(shell, activity(shell).months[1].month.ends_at)
        shell.take(order("late", "500.00", customer_id="c3"), refund("late", "o1"))
        after = activity(shell)
        past = [each.month.text for each in before.months[:-1]]
        assert [line for line in after.lines if line.month in past] == [x for x in before.lines if x.month in past]
        assert after.lines != before.lines
        assert liability(shell, after.months[1].month.ends_at).lines == owed.lines


def test_points_that_wait_for_parcels_are_pending_until_they_are_delivered(shell: Shell) -> None:
    shell.apply_program(
        PROGRAM_TEXT + "availability: {policy: on_fulfilled}\nexpiry: {policy: after_months, months: 9}\n"
    )
    for message in (
        order("o1", lines=[line("1", "60.00"), line("2", "40.00", 2)]),
        fulfilment("o1", lines=[{"line_id": "1"}]),
        refund("r1", "o1", lines=[{"line_id": "1", "quantity": 1}]),
        order("o2", "30.00"),
        fulfilment("o1", event_id="second"),
    ):
        shell.take(message)
    hand = Hand(url_of(shell), "test", "Europe/Berlin")
    now = datetime.now(UTC)
    assert lines_of(liability(shell, now)) == hand.liability(now)
    *past, _ = instants(shell)
    seen = []
    for as_of in past:
        found = liability(shell, as_of)
        seen.append((found.by_bucket[Bucket.AVAILABLE], found.by_bucket[Bucket.PENDING]))
        assert all(line.last_month is None for line in found.lines if line.bucket is Bucket.PENDING)
    assert seen == [(0, 100), (60, 40), (0, 40), (0, 70), (40, 30)]


def test_money_is_worth_itself_and_points_what_the_program_says(shell: Shell) -> None:
    with_everything(shell)
    now = datetime.now(UTC)
    money, points = liability(shell, now, "money"), liability(shell, now)
    assert (money.outstanding, money.worth(money.outstanding)) == (6, Decimal("0.06"))
    assert points.worth(1_000) == Decimal(5)
    shell.apply_program(MONEY.replace("money", "free").replace("unit: EUR\n", ""))
    free = liability(shell, now, "free")
    assert (free.outstanding, free.worth(5), free.breakage) == (0, None, None)


def test_a_month_begins_at_midnight_in_the_time_zone_that_the_program_had_then(shell: Shell) -> None:
    shell.apply_program(PROGRAM_TEXT)
    shell.apply_program(PROGRAM_TEXT.replace("Europe/Berlin", "America/New_York"), "2027-03-10T00:00:00Z")
    with shell.engine.begin() as connection:
        registry = load_registry(connection)
    march = month_at(registry, "test", datetime(2027, 3, 31, tzinfo=UTC).date())
    assert (march.text, str(march.starts_at), str(march.ends_at)) == (
        "2027-03", "2027-02-28 23:00:00+00:00", "2027-04-01 04:00:00+00:00",
    )  # fmt: skip
    assert month_of(registry, "test", march.starts_at).text == "2027-03"
    assert month_of(registry, "test", march.starts_at - timedelta(seconds=1)).text == "2027-02"
    assert month_of(registry, "test", march.ends_at - timedelta(seconds=1)).text == "2027-03"
    assert month_of(registry, "test", march.ends_at).text == "2027-04"


class TestBreakage:
    def test_is_the_share_of_those_that_were_still_there_at_their_age(self) -> None:
        history = BreakageHistory(300, {0: 500, 3: 200})
        assert [history.rate(age) for age in (0, 1, 3, 4)] == [
            Fraction(300, 1000), Fraction(300, 500), Fraction(300, 500), Fraction(1),
        ]  # fmt: skip

    def test_is_not_guessed_without_a_history(self) -> None:
        assert BreakageHistory().rate(0) is None
        assert BreakageHistory(0, {2: -5}).rate(0) is None

    def test_is_nothing_where_all_were_spent(self) -> None:
        assert BreakageHistory(0, {2: 50}).rate(1) == 0
        assert BreakageHistory(0, {2: 50}).rate(9) == 0


def test_every_kind_of_entry_has_its_flow_but_reversals_which_have_that_of_what_they_undo() -> None:
    assert set(FLOWS) == set(EntryKind) - {EntryKind.REVERSAL}
