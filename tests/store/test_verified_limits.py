"""What `loyalty verify` says of limits and budgets: silent when they are right, and it finds what is planted."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from core.store.engine import create_database_engine
from core.store.proof.verify import run_checks
from tests.conftest import OpenDatabase
from tests.factories import PROGRAM_TEXT, cancellation, order, refund
from tests.shell import Shell, tampered

USAGES = "what a customer has had of a limit is what orders and commands have"
BUDGETS = "what is spent of a budget, or of a reward's stock, is what orders and commands have"
TAMPERED_LIMITS = [
    *(
        (USAGES, tampering)
        for tampering in (
            "UPDATE usages SET points = points + 1 WHERE period = '2026-02-10'",
            "UPDATE usages SET points = points - 1 WHERE period = '2026-01'",
            "UPDATE usages SET orders = 2 WHERE name = 'more'",
            "UPDATE usages SET carried = 5 WHERE carried = 8",
            "DELETE FROM usages WHERE period = '2026-01-10'",
            "INSERT INTO usages SELECT account_id, 'spend', '2026-01-11', 5, 1 FROM usages WHERE period = '2026-01'",
            "DELETE FROM refunds WHERE refund_id = 'expired'",
        )
    ),
    *(
        (BUDGETS, tampering)
        for tampering in (
            "UPDATE budgets SET points = points + 1",
            "UPDATE budgets SET orders = orders - 1",
            "DELETE FROM budgets",
            "INSERT INTO budgets VALUES ('test', 'launch', 5, 1)",
            "UPDATE entries SET why = '{}' WHERE order_id = 'plain'",
        )
    ),
]
CAPPED = (
    PROGRAM_TEXT.replace("kind: spend", "kind: spend\n    caps: {per_day: 70, per_month: 100}")
    + "expiry: {policy: after_months, months: 1}\n"
)
PROMOTED = (
    PROGRAM_TEXT.replace(": test", ": promoted").replace("/shops/test", "/promoted")
    + "promotions: [{promotion_id: more, kind: addition, points: 6, limits: {orders: 20, orders_per_customer: 3}}]"
)
STEPS = (
    PROGRAM_TEXT.replace(": test", ": steps")
    .replace("/shops/test", "/steps")
    .replace('per_amount: "1.00"', 'per_amount: "10.00"\n    carry: true')
)


@pytest.fixture(scope="module")
def ledger(open_database: OpenDatabase) -> Iterator[Shell]:
    """Caps with an order refunded after its points expired, a budget with refunds, a remainder. Tests take back."""
    with open_database() as url:
        engine = create_database_engine(url)
        shell = Shell(engine, shards=1, program_text=CAPPED)
        shell.apply_program(PROMOTED)
        shell.apply_program(STEPS)
        shell.take(
            order("capped", "90.00", time="2026-01-10T12:00:00Z"),
            order("late-in-berlin", "90.00", time="2026-02-09T23:30:00Z"),
            order("plain", source="/promoted"),
            order("called-off", source="/promoted"),
            cancellation("called-off", source="/promoted"),
            order("kept-in-part", customer_id="c2", source="/promoted"),
            refund("first", "kept-in-part", net="20.00", source="/promoted"),
            refund("second", "kept-in-part", net="20.00", source="/promoted"),
            order("step", "14.00", source="/steps"),
            order("no-step", "4.00", source="/steps"),
        )
        shell.expire("2026-04-30T00:00:00Z")
        shell.take(refund("expired", "capped", net="30.00"))
        yield shell
        engine.dispose()


def found(connection: Connection) -> dict[str, list[str]]:
    steps = [step for step in run_checks(connection) if step.is_done and step.found]
    return {step.check.name: [difference.text for difference in step.found] for step in steps}


def test_what_has_been_had_is_what_the_orders_have(ledger: Shell) -> None:
    usages = "SELECT program_id, customer_id, name, period, points, orders, carried FROM usages JOIN accounts"
    assert sorted(map(tuple, ledger.rows(f"{usages} USING (account_id)"))) == [
        ("promoted", "c1", "more", "ever", 6, 1, 0),
        ("promoted", "c2", "more", "ever", 3, 1, 0),
        ("steps", "c1", "spend", "ever", 1, 1, 8),
        ("test", "c1", "spend", "2026-01", 60, 1, 0),
        ("test", "c1", "spend", "2026-01-10", 60, 1, 0),
        ("test", "c1", "spend", "2026-02", 70, 1, 0),
        ("test", "c1", "spend", "2026-02-10", 70, 1, 0),
    ]
    assert ledger.differences() == []


@pytest.mark.parametrize(("name", "tampering"), TAMPERED_LIMITS)
def test_a_planted_difference_is_found(ledger: Shell, name: str, tampering: str) -> None:
    with tampered(ledger, tampering) as connection:
        assert name in found(connection)


def test_a_difference_names_the_limit_its_period_and_both_values(ledger: Shell) -> None:
    account_id = ledger.value("SELECT account_id FROM usages WHERE carried = 8")
    planted = "UPDATE usages SET points = 9 WHERE carried = 8; UPDATE budgets SET orders = 7"
    with tampered(ledger, planted) as connection:
        usage = (
            f"account {account_id}: usage of spend, ever: 9 points, 1 orders, remainder 8, but its orders have"
            " 1 points, 1 orders, remainder 8"
        )
        budget = (
            "more of program promoted: 9 points and 7 times are spent, but orders and commands have 9 points, 2 times"
        )
        assert found(connection) == {USAGES: [usage], BUDGETS: [budget]}
