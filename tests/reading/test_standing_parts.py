"""An account with all that belongs to it comes in one round trip, and says what the parts say by themselves."""

import json
import tempfile
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from core.domain.program.registry import ProgramRegistry, ProgramVersion
from core.domain.tiers.qualification import qualification_period
from core.domain.value.commands import CUSTOMER, Whom
from core.reading import standing_parts
from core.reading.running_periods import RunningPeriods
from core.reading.snapshot import Reader, snapshot_of
from core.reading.storefront import find_accounts, find_standings
from core.store.engine import driver_connection
from tests.factories import PROGRAM_TEXT, command, line, order, program, refund
from tests.posting.test_rewards import CATALOGUE
from tests.shell import SALT, Shell, take_by_operator

NAMES = {
    "customer": "c1",
    "account": "own",
    "card": "9801-0007",
    "phone": "+44 7400 123456",
    "email": "ann@example.com",
}


@pytest.fixture
def shell(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A customer with everything that an account can have, but for a status of its own."""
    monkeypatch.setenv("LOYALTY_REFERENCE_SALT", SALT)
    shell = Shell(engine, program_text=CATALOGUE)
    members = [{"customer_id": "c2", "role": "member"}]
    take_by_operator(
        shell, command("account.create", "k1", account_id="own", customer_id="c1", members=members, is_primary=True)
    )
    shell.take(order("o1", "100.00", customer_id="c1"), refund("r1", "not-there", full=True))
    linked = {kind: name for kind, name in NAMES.items() if kind not in ("customer", "account")}
    take_by_operator(
        shell,
        command("authorize", "a1", account_id="own", points=30, authorization_id="basket-9"),
        command("authorize", "a2", account_id="own", points=20, authorization_id="basket-8"),
        *(command("account.link", f"l-{kind}", account_id="own", **{kind: name}) for kind, name in linked.items()),
    )
    shell.take(refund("r2", "o1", net="1.00", currency="USD"))
    return shell


@pytest.mark.parametrize("kind", NAMES)
def test_a_standing_takes_one_round_trip_by_whatever_name_it_is_asked_for(shell: Shell, kind: str) -> None:
    with Reader(shell.engine).snapshot() as now, tempfile.TemporaryFile() as trace:
        driver = driver_connection(now.connection).pgconn
        driver.trace(trace.fileno())
        find = {"name": NAMES[kind], "kind": kind, "salt": SALT.encode()}
        [standing] = find_standings(now, **find).standings  # type: ignore[arg-type]
        driver.untrace()
        trace.seek(0)
        ready = trace.read().count(b"ReadyForQuery")
        assert [standing.account] == find_accounts(now, **find)  # type: ignore[arg-type]
    assert ready == 1
    assert [held.authorization_id for held in standing.authorizations] == ["basket-9", "basket-8"]
    assert [member.customer_id for member in standing.members] == ["c2"]
    assert standing.linked == [("card", "9801-0007"), ("email", "hidden"), ("phone", "hidden")]
    assert [lot.points_remaining for lot in standing.lots] == [50]
    assert [(message.state, message.order_id) for message in standing.open_messages] == [("dead", "o1")]


@pytest.mark.parametrize("customer_id", ["c1", "Zoë", 'a "b"'])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_parked_orders_are_told_however_their_customer_is_written_and_asked_for(
    engine: Engine, customer_id: str, is_ascii: bool
) -> None:
    shell = Shell(engine)
    take_by_operator(shell, command("account.create", "k1", account_id="own", customer_id=customer_id))
    twice = order("o2", customer_id=customer_id, lines=[line("1", "1.00"), line("1", "1.00")])
    shell.take(json.dumps(twice, ensure_ascii=is_ascii).encode())
    with shell.engine.begin() as connection:
        now = snapshot_of(connection)
        for name, kind in ((customer_id, "customer"), ("own", "account")):
            [standing] = find_standings(now, name, kind=kind).standings
            assert [(each.state, each.order_id) for each in standing.open_messages] == [("dead", "o2")], kind


def test_the_driver_keeps_the_statements() -> None:
    statements = [text for name, text in vars(standing_parts).items() if name.startswith(("_PARTS_OF", "_NAMED_ACC"))]
    assert [text for text in statements if len(text) > 4_096] == []
    assert len(statements) == 3


@pytest.mark.parametrize(
    ("window", "measure", "refunds", "units"),
    [
        ("calendar_year", "points", "at_once", 7),
        ("calendar_year", "orders", "at_once", 1),
        ("calendar_year", "amount", "at_review", 700),
        ("calendar_year", "amount", "never", 900),
        ("rolling_months, months: 1", "points", "at_once", 7),
        ("membership_year", "points", "at_once", 7),
        ("lifetime", "points", "at_once", 5 + 7),
    ],
)
def test_units_are_those_of_the_period_that_runs(
    engine: Engine, window: str, measure: str, refunds: str, units: int
) -> None:
    by = measure.replace("amount", "spend")
    terms = f"qualification: {{window: {window}, measure: {by}, refunds: {refunds}}}\n"
    text = PROGRAM_TEXT.replace("threshold_points", f"threshold_{measure}") + terms
    now = datetime.now(UTC)
    shell = Shell(engine, program_text=text)
    first = order("o1", "5.00", time=now.replace(year=now.year - 2).isoformat())
    shell.take(first, order("o2", "9.00", time=now.isoformat()), refund("r1", "o2", net="2.00", time=now.isoformat()))
    with shell.engine.begin() as connection:
        [standing] = find_standings(snapshot_of(connection), "c1").standings
    assert standing.qualifying_units == units


@given(st.lists(st.datetimes(datetime(2025, 12, 1), datetime(2026, 3, 1), timezones=st.just(UTC)), min_size=1))  # noqa: DTZ001  # in UTC, by timezones
def test_running_periods_are_right_whenever_and_in_whatever_order_they_are_asked_for(instants: list[datetime]) -> None:
    windows = ["calendar_year", "rolling_months, months: 2", "calendar_year"]
    versions = [program(f"qualification: {{window: {window}}}\n") for window in windows]
    since = [datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 12, 17, 8, tzinfo=UTC), datetime(2026, 2, 3, tzinfo=UTC)]
    registry = ProgramRegistry(
        [ProgramVersion("test", n, at, of) for n, (at, of) in enumerate(zip(since, versions, strict=True), start=1)], 1
    )
    periods = RunningPeriods(registry)
    for instant in instants:
        expected = qualification_period(registry.at("test", instant).program, instant, None)
        assert periods.at(instant).by_program == {"test": expected}


def test_of_a_customer_with_many_accounts_each_has_its_own(engine: Engine) -> None:
    shell = Shell(engine, program_text=PROGRAM_TEXT + "one_account_per_customer: false\n")
    take_by_operator(
        shell,
        *(command("account.create", f"k{n}", account_id=f"a{n}", customer_id="c1") for n in range(3)),
        *(command("credit", f"p{n}", account_id=f"a{n}", points=n + 1) for n in range(3)),
    )
    with shell.engine.begin() as connection:
        now = snapshot_of(connection)
        found = standing_parts.load_parts(connection, Whom(CUSTOMER, "c1"), None, now.periods.at(now.as_of).json)
    assert [(each.account.own_account_id, [lot.points_remaining for lot in each.lots]) for each in found] == [
        ("a0", [1]),
        ("a1", [2]),
        ("a2", [3]),
    ]
