"""`loyalty rebuild`: the numbers that are kept up step by step, worked out again from what is only ever added."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy import Connection, Engine

from core.store.budgets import apply_budget_repairs, examine_budgets
from core.store.engine import create_database_engine
from core.store.proof.rebuild import Repair, apply_repairs, examine
from core.store.proof.scope import EVERYTHING
from core.store.proof.verify import run_checks
from core.store.repairs import plain
from tests.conftest import OpenDatabase
from tests.factories import PROGRAM_TEXT, cancellation, fulfilment, order, refund
from tests.shell import Shell, tampered

YEARLY = (
    PROGRAM_TEXT.replace("program_id: test", "program_id: yearly").replace("/shops/test", "/yearly")
    + "qualification: {window: calendar_year}\n"
)
HELD = (
    PROGRAM_TEXT.replace("program_id: test", "program_id: held").replace("/shops/test", "/held")
    + "availability: {policy: on_fulfilled}\n"
)
LIMITED = (
    PROGRAM_TEXT.replace("program_id: test", "program_id: limited")
    .replace("/shops/test", "/limited")
    .replace("kind: spend", "kind: spend\n    caps: {per_day: 70}")
    + "promotions: [{promotion_id: launch, kind: addition, points: 5, limits: {budget_points: 100}}]\n"
)
STEPS = (
    PROGRAM_TEXT.replace("program_id: test", "program_id: steps")
    .replace("/shops/test", "/steps")
    .replace('per_amount: "1.00"', 'per_amount: "10.00"\n    carry: true')
)
TEST, YEAR = "program_id = 'test' AND customer_id = 'c1'", "program_id = 'yearly'"

# What is put wrong, and what the repair should say of it: subject, number, found, rebuilt.
REPAIRED = [
    (f"UPDATE accounts SET balance = 7 WHERE {TEST}", ("account", "balance", 7, 510)),
    (f"UPDATE accounts SET sequence = 9 WHERE {TEST}", ("account", "sequence", 9, 4)),
    (f"UPDATE accounts SET lots_opened = 0 WHERE {TEST}", ("account", "lots_opened", 0, 2)),
    (f"UPDATE accounts SET pending = 5 WHERE {TEST}", ("account", "pending", 5, 0)),
    (f"UPDATE accounts SET deficit = 5 WHERE {TEST}", ("account", "deficit", 5, 0)),
    (f"UPDATE accounts SET lifetime_points = 0 WHERE {TEST}", ("account", "lifetime_points", 0, 510)),
    (f"UPDATE accounts SET qualifying_points = 0 WHERE {TEST}", ("account", "qualifying_points", 0, 510)),
    (f"UPDATE accounts SET qualifying_points = 9 WHERE {YEAR}", ("account", "qualifying_points", 9, 30)),
    (f"UPDATE accounts SET tier_id = 'gold' WHERE {TEST}", ("account", "tier_id", "gold", "silver")),
    ("UPDATE accounts SET tier_id = 'gold' WHERE customer_id = 'c2'", ("account", "tier_id", "gold", "bronze")),
    (f"UPDATE accounts SET tier_changes = 4 WHERE {TEST}", ("account", "tier_changes", 4, 1)),
    ("UPDATE lots SET points_granted = 700 WHERE points_granted = 620", ("lot 1", "points_granted", 700, 620)),
    ("UPDATE lots SET points_remaining = 100 WHERE points_granted = 620", ("lot 1", "points_remaining", 100, 480)),
    ("UPDATE lots SET points_expired = 0 WHERE points_expired = 30", ("lot 1", "points_expired", 0, 30)),
    (
        "UPDATE orders SET points_entitled = 1 WHERE order_id = 'o1'",
        ("order o1 of /shops/test", "points_entitled", 1, 480),
    ),
    (
        "UPDATE orders SET points_excused = 1 WHERE order_id = 'o1'",
        ("order o1 of /shops/test", "points_excused", 1, 0),
    ),
    (
        "UPDATE orders SET points_shortfall = 1 WHERE order_id = 'o1'",
        ("order o1 of /shops/test", "points_shortfall", 1, 0),
    ),
    ("UPDATE accounts SET pending = 0 WHERE pending = 60", ("account", "pending", 0, 60)),
    ("UPDATE accounts SET balance = 100 WHERE pending = 60", ("account", "balance", 100, 30)),
    ("UPDATE accounts SET lifetime_points = 30 WHERE pending = 60", ("account", "lifetime_points", 30, 90)),
    (
        "UPDATE lots SET points_remaining = 9 WHERE is_pending AND points_remaining = 60",
        ("lot 1", "points_remaining", 9, 60),
    ),
    ("UPDATE usages SET points = 0 WHERE period = '2026-03-01'", ("usage of spend, 2026-03-01", "points", 0, 70)),
    ("UPDATE usages SET orders = 9 WHERE period = '2026-03-01'", ("usage of spend, 2026-03-01", "orders", 9, 1)),
    (
        "UPDATE usages SET carried = 7.25 WHERE period = 'ever'",
        ("usage of spend, ever", "carried", Decimal("7.25"), Decimal(4)),
    ),
    (
        "UPDATE orders SET points_entitled = 50 WHERE cancelled_at IS NOT NULL",
        ("order called-off of /held", "points_entitled", 50, 0),
    ),
]

# Facts that contradict each other, and what is said of the account that they are of.
LOST = """
WITH gone AS (DELETE FROM allocations WHERE points = {points} RETURNING account_id, sequence)
DELETE FROM entries e USING gone WHERE e.account_id = gone.account_id AND e.sequence = gone.sequence;
"""
CONTRADICTIONS = [
    (LOST.format(points=-100), "place 3"),
    (LOST.format(points=-40), "tells of an entry that is not there"),
    (LOST.format(points=-40) + "DELETE FROM outbox", "refund r2 of /shops/test should have entry"),
    (LOST.format(points=-30) + "DELETE FROM outbox", "only 1 are there: the last may be lost"),
    ("DELETE FROM allocations WHERE points = -100", "allocations 0"),
    ("UPDATE entries SET points = 630 WHERE points = 620", "running sum 630"),
    ("DELETE FROM refunds WHERE refund_id = 'r2'", "nothing reported of order"),
    ("UPDATE tier_changes SET change_number = 5", "tier change 5"),
    ("DELETE FROM order_events WHERE kind = 'cancelled'", "nothing reported of order called-off of /held names it"),
    ("UPDATE entries SET pending_change = 70 WHERE pending_change = 60", "allocations 60"),
    ("UPDATE allocations SET points = -700 WHERE points = -40", 'lot 1: its facts give {"points_remaining": -180}'),
]


@pytest.fixture(scope="module")
def ledger(open_database: OpenDatabase) -> Iterator[Shell]:
    """Refunds, an expired lot, a silver and two bronze customers, one by the year, held points. Tests take back."""
    with open_database() as url:
        engine = create_database_engine(url)
        shell = Shell(engine, shards=1, program_text=PROGRAM_TEXT)
        shell.apply_program(YEARLY)
        shell.apply_program(HELD)
        shell.apply_program(LIMITED)
        shell.apply_program(STEPS)
        shell.take(order("o1", "620.00"), order("o2", "20.00"))
        shell.take(refund("r1", "o1", net="100.00"), refund("r2", "o1", net="40.00"))
        shell.apply_program(PROGRAM_TEXT + "expiry: {policy: after_months, months: 1}\n", "2026-01-01T00:00:00Z")
        shell.take(
            order("o3", "30.00", customer_id="c2", time="2026-01-10T12:00:00Z"),
            order("yearly", "600.00", source="/yearly", time="2025-03-01T12:00:00Z"),
            order("next-year", "20.00", source="/yearly", time="2026-03-01T12:00:00Z"),
            order("guest", customer_id=None),
        )
        shell.take(
            order("held", "60.00", customer_id="c3", source="/held"),
            order("sent", "30.00", customer_id="c3", source="/held"),
            order("called-off", "50.00", customer_id="c3", source="/held"),
            fulfilment("sent", source="/held"),
            cancellation("called-off", source="/held"),
            order("capped", "90.00", customer_id="c4", source="/limited"),
            order("step", "14.00", customer_id="c4", source="/steps"),
        )
        shell.expire("2026-04-30T00:00:00Z")
        yield shell
        engine.dispose()


@pytest.fixture
def shell(engine: Engine) -> Shell:
    """A ledger of its own, for what is committed."""
    return Shell(engine, shards=1)


def told(repairs: list[Repair]) -> list[tuple[str, str, object, object]]:
    return [
        (repair.subject, name, found, repair.rebuilt[name])
        for repair in repairs
        for name, found in repair.found.items()
    ]


def differences(connection: Connection) -> list[str]:
    return [found.text for step in run_checks(connection) if step.is_done for found in step.found]


def test_on_right_books_there_is_nothing_to_rebuild(ledger: Shell) -> None:
    assert ledger.differences() == []
    with tampered(ledger) as connection:
        assert examine(connection, EVERYTHING) == ([], [])


@pytest.mark.parametrize(("tampering", "expected"), REPAIRED, ids=[f"{r[0]} {r[1]}" for _, r in REPAIRED])
def test_a_number_is_rebuilt_from_the_facts(
    ledger: Shell, tampering: str, expected: tuple[str, str, object, object]
) -> None:
    with tampered(ledger, tampering) as connection:
        examined = examine(connection, EVERYTHING)
        assert (told(examined.repairs), examined.contradictions) == ([expected], [])
        assert apply_repairs(connection, examined.repairs, "kim") == examined.repairs
        assert examine(connection, EVERYTHING) == ([], [])
        assert differences(connection) == []
        kept = connection.exec_driver_sql("SELECT subject, found, rebuilt FROM repairs").all()
        subject, name, found, rebuilt = expected
        assert kept == [(subject, plain({name: found}), plain({name: rebuilt}))]


def test_a_ruined_ledger_is_rebuilt_as_it_was(ledger: Shell) -> None:
    tables = ("accounts", "lots", "orders", "usages")
    ruin = """
        DELETE FROM usages;
        UPDATE accounts SET balance = 0, pending = 9, deficit = 3, lifetime_points = 0, qualifying_points = 0,
            tier_id = 'gold', tier_since = now(), tier_changes = 7, lots_opened = 0;
        UPDATE lots SET points_remaining = 0, points_expired = 1, points_granted = 1;
        UPDATE orders SET points_entitled = 0, points_excused = 5, points_shortfall = 5
            WHERE account_id IS NOT NULL"""
    select = "SELECT to_jsonb(t) - 'updated_at' FROM {} t ORDER BY 1"
    before = [ledger.rows(select.format(table)) for table in tables]
    with tampered(ledger, ruin) as connection:
        apply_repairs(connection, examine(connection, EVERYTHING).repairs, "kim")
        assert [connection.exec_driver_sql(select.format(table)).all() for table in tables] == before


@pytest.mark.parametrize(("tampering", "said"), CONTRADICTIONS, ids=[said for _, said in CONTRADICTIONS])
def test_an_account_whose_facts_contradict_each_other_is_left_alone(ledger: Shell, tampering: str, said: str) -> None:
    other = "UPDATE accounts SET balance = balance + 1 WHERE program_id = 'yearly'"
    with tampered(ledger, f"{tampering}; {other}") as connection:
        examined = examine(connection, EVERYTHING)
        assert any(said in " ".join(each.texts) for each in examined.contradictions)
        refused = {each.account_id for each in examined.contradictions}
        applied = apply_repairs(connection, examined.repairs, "kim")
        if "yearly" not in {each.program_id for each in examined.contradictions}:
            assert [repair.program_id for repair in applied] == ["yearly"]
        assert refused.isdisjoint(repair.account_id for repair in applied)
        assert {each.account_id for each in examine(connection, EVERYTHING).contradictions} == refused


@pytest.mark.parametrize(
    ("tampering", "found", "rebuilt"),
    [
        ("UPDATE budgets SET points = 9", {"points": 9}, {"points": 5}),
        ("UPDATE budgets SET orders = 0", {"orders": 0}, {"orders": 1}),
        ("DELETE FROM budgets", {"points": 0, "orders": 0}, {"points": 5, "orders": 1}),
    ],
)
def test_a_budget_is_rebuilt_from_what_orders_have_of_it(
    ledger: Shell, tampering: str, found: dict[str, int], rebuilt: dict[str, int]
) -> None:
    with tampered(ledger, tampering) as connection:
        planned = examine_budgets(connection)
        assert [(repair.subject, repair.found, repair.rebuilt) for repair in planned] == [
            ("budget launch of limited", found, rebuilt)
        ]
        assert apply_budget_repairs(connection, planned, "kim") == planned
        assert (apply_budget_repairs(connection, planned, "kim"), examine_budgets(connection)) == ([], [])
        assert differences(connection) == []
        kept = connection.exec_driver_sql("SELECT account_id, subject, found, rebuilt FROM repairs").all()
        assert kept == [(None, "budget launch of limited", found, rebuilt)]


def test_what_was_posted_of_a_budget_since_the_look_is_counted(shell: Shell, engine: Engine) -> None:
    shell.apply_program(LIMITED)
    shell.take(order("o1", source="/limited"))
    shell.execute("UPDATE budgets SET points = 50")
    with engine.begin() as connection:
        planned = examine_budgets(connection)
    shell.take(order("o2", customer_id="c2", source="/limited"), cancellation("o1", source="/limited"))
    with engine.begin() as connection:
        (done,) = apply_budget_repairs(connection, planned, "kim")
    assert (done.found, done.rebuilt) == ({"points": 50}, {"points": 5})
    assert shell.differences() == []


def test_qualifying_points_are_left_alone_where_the_window_has_changed(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1"))
    shell.apply_program(PROGRAM_TEXT + "qualification: {window: calendar_year}\n", "2026-02-01T00:00:00Z")
    shell.execute("UPDATE accounts SET qualifying_points = 7")
    with engine.begin() as connection:
        assert examine(connection, EVERYTHING) == ([], [])
    assert shell.differences() == []


def test_a_version_of_the_future_hides_no_wrong_qualifying_points(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1"))
    shell.apply_program(PROGRAM_TEXT + "qualification: {window: calendar_year}\n", "2099-01-01T00:00:00Z")
    shell.execute("UPDATE accounts SET qualifying_points = 7")
    with engine.begin() as connection:
        assert told(examine(connection, EVERYTHING).repairs) == [("account", "qualifying_points", 7, 100)]
    assert shell.differences() != []


@pytest.mark.parametrize("later", ["qualification: {refunds: never}\n", "expiry: {policy: inactivity, months: 6}\n"])
def test_a_version_of_the_future_hides_nothing_that_it_will_do_otherwise(shell: Shell, later: str) -> None:
    shell.apply_program(PROGRAM_TEXT + "expiry: {policy: after_months, months: 1}\n", "2020-01-01T00:00:00Z")
    shell.take(order("o1"), order("o2", time="2026-09-01T12:00:00Z"), refund("r1", "o1", net="30.00"))
    shell.apply_program(PROGRAM_TEXT + later, "2099-01-01T00:00:00Z")
    assert shell.differences() == []
    shell.execute("UPDATE orders SET qualifying_points = 100 WHERE order_id = 'o1'")
    shell.execute("UPDATE lots SET expires_at = '2027-03-01T23:00:00Z' WHERE lot_number = 1")
    told = " ".join(shell.differences())
    assert "order o1 of /shops/test counts 100" in told
    assert "expires at 2027-03-01T23:00:00+00:00, but its order gives" in told


def test_what_was_posted_since_the_look_is_counted(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1"))
    shell.execute("UPDATE accounts SET lifetime_points = 0")
    with engine.begin() as connection:
        planned = examine(connection, EVERYTHING).repairs
    shell.execute("UPDATE accounts SET lifetime_points = 100")
    shell.take(order("o2"))
    shell.execute("UPDATE accounts SET lifetime_points = 0")
    with engine.begin() as connection:
        assert told(apply_repairs(connection, planned, "kim")) == [("account", "lifetime_points", 0, 200)]
    assert shell.differences() == []


def test_beside_a_worker_it_waits_for_it_and_finds_nothing(shell: Shell, engine: Engine) -> None:
    """Orders and refunds of the same accounts are posted meanwhile: no deadlock, and no number caught half-way."""
    shell.apply_program(LIMITED)
    shell.take(*(order(f"first-{n}", customer_id=f"c{n}", source="/limited") for n in range(5)))
    with engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT account_id, source, order_id, program_id FROM orders").all()
    planned = [
        Repair(row.account_id, "", "", table, tuple(row[1:]), "", {}, {}, ())
        for row in rows
        for table in ("accounts", "orders")
    ]
    more = [order(f"o{n}", customer_id=f"c{n % 5}", source="/limited") for n in range(30)]
    taken_back = [refund(f"r{n}", f"first-{n % 5}", net="1.00", source="/limited") for n in range(30)]
    shell.receive(*more, *taken_back)
    worker = Shell(engine, shards=1, batch_messages=4, program_text=None)
    applied, lacking = [], []
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(worker.post)
        while not posting.done():
            with engine.begin() as connection:
                applied += apply_repairs(connection, planned, "kim")
            with engine.begin() as connection:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                lacking += examine_budgets(connection)
        assert posting.result()["posted"] == 60
    assert (applied, lacking) == ([], [])
    assert shell.differences() == []
