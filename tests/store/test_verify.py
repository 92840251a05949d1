"""`loyalty verify`: silent on a clean ledger, and every check finds what it is there for."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from multiprocessing import active_children
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import InternalError

from core.domain.accounting.months import Month
from core.errors import VerifyStoppedError
from core.store.engine import create_database_engine, database_now
from core.store.grants import WORKER_GRANTS
from core.store.programs import load_registry
from core.store.proof.counted_periods import load_periods
from core.store.proof.differences import DIFFERENCES_MAX, Difference, differences_of
from core.store.proof.invariants import CHECKS
from core.store.proof.processes import Processes
from core.store.proof.scope import EVERYTHING
from core.store.proof.verify import run_checks, verify_accounts, verify_ledger
from core.upkeep.snapshots import keep_month
from tests.conftest import OpenDatabase
from tests.database_roles import database_role
from tests.factories import PROGRAM_TEXT, cancellation, command, fulfilment, goods_back, line, order, refund
from tests.shell import Shell, take_by_operator, tampered
from tests.store.account_tamperings import TAMPERED_ACCOUNTS
from tests.store.authorization_tamperings import TAMPERED_AUTHORIZATIONS
from tests.store.every_column import UPDATED, Free, Named, tampering
from tests.store.merge_tamperings import TAMPERED_MERGES
from tests.store.month_tamperings import TAMPERED_MONTHS
from tests.store.moved_tamperings import TAMPERED_MOVES
from tests.store.payment_tamperings import TAMPERED_PAYMENTS
from tests.store.tamperings import CHANGE, TAMPERED
from tests.store.test_verified_limits import TAMPERED_LIMITS

PROGRAM = PROGRAM_TEXT + "expiry: {policy: after_months, months: 1}\n"


def another(program_id: str) -> str:
    return PROGRAM_TEXT.replace("program_id: test", f"program_id: {program_id}").replace(
        "/shops/test", f"/{program_id}"
    )


HELD = """availability: {policy: on_fulfilled}
promotions:
  - {promotion_id: more, kind: addition, points: 5, limits: {budget_points: 12, orders_per_customer: 3}}
"""


def with_programs(engine: Engine) -> Shell:
    shell = Shell(engine, shards=1, program_text=PROGRAM)
    shell.apply_program(another("other"))
    shell.apply_program(another("yearly") + "qualification: {window: calendar_year}\n")
    shell.apply_program(another("held") + HELD)
    shell.apply_program(another("idle") + "expiry: {policy: inactivity, months: 6}\n")
    shell.apply_program(another("later") + "availability: {policy: after_days, days: 30}\n")
    shell.apply_program(another("kind") + "returned_points_grace_days: 30\n")
    shell.apply_program(another("gives") + "conversions: [{to_program: kind, points: 2, gives: 1}]\n")
    for name in ("Two", "Three"):
        shell.apply_program(another("later").replace("Test Rewards", name), "2098-01-01T00:00:00Z")
    shell.execute(CHANGE.format(3, 1, "'2099-01-01'"))
    return shell


RESERVING = ("authorization", "capture", "void", "redemption", "repayment")


def of_commands() -> list[dict[str, Any]]:
    """What is done by command in the ledger."""
    return [
        command("credit", "k1", customer_id="c6", points=5),
        command("credit", "h1", customer_id="c11", points=50, expires_at="2026-12-03T00:00:00Z"),
        command("authorize", "h2", customer_id="c11", points=20, authorization_id="held"),
        command("authorize", "h3", customer_id="c11", points=20, authorization_id="used"),
        command("capture", "h4", customer_id=None, authorization_id="used", points=5),
        command("redeem", "h5", customer_id="c11", points=5),
        order("paid", customer_id=None, points_paid="5.00", points_command_id="h5"),
        refund("r77", "paid", net="40.00"),
        command("credit", "h6", customer_id="c10", program_id="kind", points=5, expires_at="2026-12-03T00:00:00Z"),
        command("authorize", "h7", customer_id="c10", program_id="kind", points=4),
        command("void", "h8", customer_id=None, authorization_id="h7"),
        command("adjust", "k2", customer_id="c6", points=-7, reason="mistake", allow_negative_balance=True),
        command("account.create", "k4", customer_id="own", account_id="a1", enrolled_at="2024-02-29T12:00:00Z"),
        command("adjust", "k3", customer_id="c6", points=2, reason="mistake"),
        command("credit", "k5", customer_id="c6", points=20),
        command("transfer", "k6", customer_id="c6", to_customer_id="c7", points=6),
        command("account.update", "m1", account_id="a1", members=[{"customer_id": "c1", "role": "member"}]),
        command("account.update", "m2", account_id="a1", members=[{"customer_id": "home", "role": "viewer"}]),
        command("account.freeze", "k9", account_id="a1"),
        command("credit", "k7", customer_id="c7", points=20),
        {**command("reverse", "k8"), "data": {"command_id": "k7", "points": 12}},
        command("account.merge", "t1", customer_id="twice", into_customer_id="once"),
        command("credit", "k10", customer_id="c12", program_id="gives", points=30),
        command("convert", "k11", customer_id="c12", program_id="gives", to_program_id="kind", points=10),
        command("convert", "k12", customer_id="c12", program_id="gives", to_program_id="kind", points=4),
        {**command("reverse", "k13"), "data": {"command_id": "k12"}},
    ]


def of_merged(yesterday: str) -> list[dict[str, Any]]:
    """What there is of two accounts that have become one."""
    return [
        order("twice", "80.00", customer_id="twice", time=yesterday),
        refund("r6", "twice", net="20.00", time=yesterday),
        order("once", "30.00", customer_id="once", time=yesterday),
    ]


def end_month(shell: Shell) -> None:
    """Keep what there is now as if it were that of two months, and let retention have been at work long ago."""
    starts_at = datetime(2026, 1, 1, tzinfo=UTC)
    for day in (date(2026, 1, 1), date(2026, 2, 1)):
        with shell.engine.begin() as connection:
            registry, now = load_registry(connection), database_now(connection)
        with shell.engine.begin() as connection:
            for program_id in registry.program_ids():
                keep_month(connection, registry, program_id, Month(day, starts_at, now))
        starts_at = now
    shell.execute("INSERT INTO retention SELECT unnest(ARRAY['inbox', 'outbox']), now() - interval '1 year'")


@pytest.fixture(scope="module")
def ledger(open_database: OpenDatabase) -> Iterator[Shell]:
    """A ledger of everything: refunded, expired, excused, replayed, waiting and parked, a guest, tiers, programs.

    Every test leaves it as it was: what one plants it takes back.
    """
    with open_database() as url:
        engine = create_database_engine(url)
        shell = with_programs(engine)
        yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        shell.take(
            order("o1", "620.00", time=yesterday),
            order("o2", "40.00", time=yesterday),
            refund("r1", "o1", net="100.00", time=yesterday),
            goods_back("b1", "10.00", time=yesterday),
            order("old", "70.00", customer_id="c2", time="2026-01-10T12:00:00Z"),
            order("guest", customer_id=None),
            order("o1", "620.00", time=yesterday, event_id="again"),
            order("theirs", source="/other"),
            order("yearly", "600.00", source="/yearly", time="2025-03-01T12:00:00Z"),
            order("next-year", "20.00", source="/yearly", time="2026-03-01T12:00:00Z"),
            order("this-year", customer_id="c4", source="/yearly"),
            order("keeps", "600.00", customer_id="c5", source="/yearly"),
            order("grows", "1500.00", customer_id="c3", source="/other"),
            order("grows-more", "1500.00", customer_id="c3", source="/other"),
            refund("r2", "never-came"),
            order("dollars", currency="USD"),
        )
        shell.take(
            order("held", customer_id="h1", source="/held"),
            order("called-off", customer_id="h1", source="/held"),
            cancellation("called-off", source="/held"),
            order("sent", customer_id="h2", source="/held"),
            refund("r4", "sent", net="20.00", source="/held"),
            fulfilment("sent", source="/held"),
            refund("r5", "sent", net="20.00", source="/held"),
            order("parcels", customer_id="h3", source="/held", lines=[line("1", "60.00"), line("2", "40.00")]),
            fulfilment("parcels", source="/held", lines=[{"line_id": "1"}]),
            order("first", source="/idle", time=yesterday),
            order("second", source="/idle"),
            order("late", source="/later", time="2020-01-01T12:00:00Z"),
            order("soon", source="/later", time=yesterday),
        )
        shell.take(*of_merged(yesterday))
        take_by_operator(shell, *of_commands())
        shell.expire("2026-04-30T00:00:00Z")
        shell.review("2027-01-02T00:00:00Z")
        shell.take(refund("r3", "old", net="30.00"), order("o3", "5.00", customer_id="c2", time=yesterday))
        end_month(shell)
        yield shell
        engine.dispose()


def found(connection: Connection, slice_entries_max: int | None = None, jobs: int = 1) -> list[str]:
    steps = run_checks(connection, slice_entries_max, Processes(jobs))
    return [f"{found.name}: {found.text}" for step in steps if step.is_done for found in step.found]


def test_a_clean_ledger_is_clean(ledger: Shell) -> None:
    kinds = {row.kind for row in ledger.rows("SELECT kind FROM entries")}
    states = {row.state for row in ledger.rows("SELECT state FROM inbox")}
    assert kinds == {
        *(
            "accrual",
            "clawback",
            "expiry",
            "release",
            "conversion",
            "credit",
            "adjustment",
            "transfer",
            "reversal",
            "merge",
        ),
        *RESERVING,
    }
    assert states == {"posted", "replayed", "waiting", "dead"}
    assert ledger.value("SELECT sum(points_excused) FROM orders") == 30
    assert {row.reason for row in ledger.rows("SELECT reason FROM tier_changes")} == {"qualified", "reviewed"}
    assert ledger.value("SELECT max(tier_changes) FROM accounts") == 2
    assert ledger.differences() == []


@pytest.fixture
def shell(engine: Engine) -> Shell:
    """A ledger of its own, for what cannot be taken back."""
    return Shell(engine, shards=1)


def test_an_empty_ledger_is_clean(engine: Engine) -> None:
    assert Shell(engine, program_text=None).differences() == []


def found_by(connection: Connection, name: str) -> list[Difference]:
    (check,) = [check for check in CHECKS if check.name == name]
    registry = load_registry(connection)
    periods = load_periods(connection, registry, EVERYTHING)
    differences = differences_of(connection, check, EVERYTHING, registry, periods, DIFFERENCES_MAX)
    assert all(difference.account_id is not None or check.is_global for difference in differences)
    return differences


ALL_TAMPERED = [
    *TAMPERED,
    *TAMPERED_ACCOUNTS,
    *TAMPERED_MOVES,
    *TAMPERED_AUTHORIZATIONS,
    *TAMPERED_PAYMENTS,
    *TAMPERED_MERGES,
    *TAMPERED_MONTHS,
]


@pytest.mark.parametrize(("name", "change"), ALL_TAMPERED)
def test_a_check_finds_what_it_is_there_for(ledger: Shell, name: str, change: str) -> None:
    with tampered(ledger, change) as connection:
        assert found_by(connection, name)


def test_every_column_that_the_workers_role_may_update_is_thought_of() -> None:
    updated = {table: set(allowed.updates) for table, allowed in WORKER_GRANTS.items() if allowed.updates}
    assert {table: set(columns) for table, columns in UPDATED.items()} == updated


def test_a_wrong_value_in_any_column_that_may_be_updated_is_named(ledger: Shell) -> None:
    unseen = []
    for table, columns in UPDATED.items():
        for column, expected in columns.items():
            if isinstance(expected, Named):
                with tampered(ledger, tampering(table, column)) as connection:
                    if not found_by(connection, expected.check):
                        unseen.append((table, column))
    assert unseen == []


def test_what_is_free_to_change_is_named_by_no_check(ledger: Shell) -> None:
    """Or it would not be free; and whoever names it first takes it from the list."""
    free = [(table, column) for table, of in UPDATED.items() for column in of if isinstance(of[column], Free)]
    with tampered(ledger, "; ".join(tampering(*place) for place in free)) as connection:
        assert found(connection) == []


def test_every_check_is_tried_here() -> None:
    tried = (*ALL_TAMPERED, *TAMPERED_LIMITS)
    assert {check.name for check in CHECKS} == {check for check, _ in tried}


def test_a_difference_names_the_row_and_both_values(ledger: Shell) -> None:
    account_id = ledger.value("SELECT account_id FROM accounts WHERE customer_id = 'c2'")
    with tampered(ledger, "UPDATE accounts SET lifetime_points = 7 WHERE customer_id = 'c2'") as connection:
        told = f"account {account_id}: lifetime_points 7, entries give 75, and 0 were earned before"
        assert found(connection) == [f"lifetime points are accruals less clawbacks: {told}"]


def test_some_accounts_may_be_looked_at_alone(shell: Shell, engine: Engine) -> None:
    shell.take(*(order(f"o{n}", customer_id=f"c{n}") for n in range(3)))
    shell.execute("UPDATE accounts SET lifetime_points = 7 WHERE customer_id = 'c2'")
    accounts = {row.account_id: row.customer_id for row in shell.rows("SELECT account_id, customer_id FROM accounts")}
    for account_id, customer_id in accounts.items():
        with engine.begin() as connection:
            differences = verify_accounts(connection, [account_id])
        assert [each.account_id for each in differences] == ([account_id] if customer_id == "c2" else [])


def test_slices_of_any_size_find_the_same_and_tell_how_far_they_are(ledger: Shell) -> None:
    with tampered(ledger, "UPDATE accounts SET balance = balance + 1") as connection:
        in_one = found(connection)
        steps = list(run_checks(connection, slice_entries_max=1))
    accounts = ledger.value("SELECT count(*) FROM accounts")
    by_accounts = [step for step in steps if not step.check.is_global]
    assert sorted(f"{x.name}: {x.text}" for step in steps if step.is_done for x in step.found) == sorted(in_one)
    assert {step.slices for step in by_accounts} == {accounts}
    for number in {step.number for step in by_accounts}:
        assert [step.slices_done for step in by_accounts if step.number == number] == [*range(accounts + 1)]
    assert [step.number for step in steps if step.is_done] == list(range(1, len(CHECKS) + 1))


@pytest.mark.parametrize(("name", "change"), ALL_TAMPERED[::10])
def test_slices_that_were_copied_show_what_the_ledger_shows(ledger: Shell, name: str, change: str) -> None:
    with tampered(ledger, change) as connection:
        in_one = found(connection)
        assert any(text.startswith(name) for text in in_one)
        # What of an order names no account any more is in no slice, and missed there as well.
        assert set(in_one) <= set(found(connection, slice_entries_max=1))
        assert sorted(found(connection)) == sorted(in_one)  # the names of the tables mean the ledger's again


def test_slices_that_were_copied_show_nothing_else(ledger: Shell) -> None:
    with ledger.engine.begin() as connection:
        assert found(connection, slice_entries_max=1) == []


def test_several_processes_find_what_one_finds(shell: Shell) -> None:
    shell.take(*(order(f"o{n}", customer_id=f"c{n}") for n in range(5)), refund("r1", "o1"))
    shell.execute("UPDATE accounts SET lifetime_points = 7 WHERE customer_id IN ('c2', 'c3')")
    shell.execute("UPDATE inbox SET source = '/elsewhere' WHERE subject = 'order o4'")
    with snapshot(shell) as connection:
        by_one = found(connection)
        assert {text.split(":")[0] for text in by_one} >= {"lifetime points are accruals less clawbacks"}
        assert any(check.is_global and text.startswith(check.name) for check in CHECKS for text in by_one)
    with snapshot(shell) as connection:
        steps = list(run_checks(connection, slice_entries_max=1, processes=Processes(2)))
    assert [step.number for step in steps if step.is_done] == list(range(1, len(CHECKS) + 1))
    assert sorted(f"{x.name}: {x.text}" for step in steps if step.is_done for x in step.found) == sorted(by_one)


def test_several_processes_see_the_ledger_of_one_moment(shell: Shell) -> None:
    shell.take(*(order(f"o{n}", customer_id=f"c{n}") for n in range(3)))
    with snapshot(shell) as connection:
        steps = run_checks(connection, slice_entries_max=1, processes=Processes(2))
        first = next(steps)  # the snapshot is named by now
        shell.execute("UPDATE accounts SET lifetime_points = 7")
        assert [step.found for step in (first, *steps) if step.is_done] == [[] for _ in CHECKS]
    with snapshot(shell) as connection:
        assert found(connection, slice_entries_max=1, jobs=2)


def test_what_a_killed_process_was_to_look_at_is_not_taken_for_right(shell: Shell) -> None:
    shell.take(*(order(f"o{n}", customer_id=f"c{n}") for n in range(3)))
    with snapshot(shell) as connection:
        steps = run_checks(connection, slice_entries_max=1, processes=Processes(2))
        next(steps)
        for process in active_children():
            process.kill()
        with pytest.raises(VerifyStoppedError):
            list(steps)


@contextmanager
def snapshot(shell: Shell) -> Iterator[Connection]:
    with shell.engine.connect() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        yield connection


def test_who_may_make_no_tables_reads_the_slices_where_they_are(ledger: Shell) -> None:
    database = ledger.engine.url.database
    with database_role(ledger.engine.url.render_as_string(hide_password=False), "reader") as role:
        ledger.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role.name}"')
        ledger.execute(f'REVOKE TEMP ON DATABASE "{database}" FROM PUBLIC')
        engine = create_database_engine(role.url)
        try:
            with engine.connect() as connection:
                assert found(connection, slice_entries_max=1) == []
        finally:
            engine.dispose()
            ledger.execute(f'GRANT TEMP ON DATABASE "{database}" TO PUBLIC')


def test_a_ruined_ledger_does_not_drown_the_reader(shell: Shell) -> None:
    shell.take(*(order(f"n{n}", customer_id=f"n{n}") for n in range(DIFFERENCES_MAX + 10)))
    shell.execute("UPDATE accounts SET lifetime_points = lifetime_points + 1")
    assert len(shell.differences()) == DIFFERENCES_MAX


def test_verifying_cannot_change_anything(ledger: Shell) -> None:
    with ledger.engine.connect() as connection:
        verify_ledger(connection)
        with pytest.raises(InternalError, match="read-only"):
            connection.execute(text("DELETE FROM outbox"))


PURGED = """DELETE FROM {table} WHERE {rows} AND {table}_id < (SELECT max({table}_id) FROM {table});
UPDATE retention SET purged_before = now() {offset} WHERE table_name = '{table}'"""
GAPS = "events are numbered without gaps to the last, which is never purged"


@pytest.mark.parametrize(
    ("table", "rows", "check"),
    [
        ("inbox", "state = 'posted'", "a posted message is in the ledger, once"),
        ("outbox", "true", "every entry has its event, and an account's events are in order"),
        ("outbox", "event_key = '1'", "every entry has its event, and an account's events are in order"),
        ("outbox", "type <> 'loyalty.balance.changed'", "every account and every tier change has its event"),
    ],
)
def test_what_retention_has_purged_is_not_missed(ledger: Shell, table: str, rows: str, check: str) -> None:
    purge = PURGED.replace("{table}", table).replace("{rows}", rows)
    with tampered(ledger, purge.replace("{offset}", "")) as connection:
        assert found(connection) == []
    with tampered(ledger, purge.replace("{offset}", "- interval '1 day'")) as connection:
        assert {difference.split(":")[0] for difference in found(connection)} == {check, *_also(table, rows)}


def _also(table: str, rows: str) -> set[str]:
    if table == "inbox":
        return set()
    answers = set() if "event_key" in rows else {"every command's answer has its event"}
    return answers | ({"every account and every tier change has its event"} if rows == "true" else {GAPS})
