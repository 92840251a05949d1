"""`loyalty verify`: silent on a clean ledger, and every check finds what it is there for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import InternalError

from core.store.engine import create_database_engine
from core.store.programs import load_registry
from core.store.proof.counted_periods import load_periods
from core.store.proof.invariants import CHECKS
from core.store.proof.scope import EVERYTHING
from core.store.proof.verify import DIFFERENCES_MAX, differences_of, run_checks, verify_accounts, verify_ledger
from tests.conftest import OpenDatabase
from tests.factories import PROGRAM_TEXT, cancellation, fulfilment, order, refund
from tests.shell import Shell, tampered
from tests.store.test_verified_limits import TAMPERED_LIMITS

PROGRAM = PROGRAM_TEXT + "expiry: {policy: after_months, months: 1}\n"

YEARLY_ACCOUNT = "(SELECT account_id FROM accounts WHERE program_id = 'yearly' AND customer_id = 'c4')"
SUMS = "balance, pending, reserved and deficit are the sums of their changes"
# Per check, ways to break the ledger of `shell` that it must find; other checks may find them too.
#: A change of version 2 of the program "later", which is of the future: its number, and until when.
CHANGE = "INSERT INTO program_changes SELECT 'later', {}, {}, {}, now(), 'anna', 'later still'"
VERSIONS = "versions keep their order, and change only before they are in force"

TAMPERED = [
    ("an order was judged by a version of its time", "UPDATE orders SET program_version = 7"),
    (
        "an order was judged by a version of its time",
        "UPDATE orders SET program_version = 2 WHERE program_id = 'later'",
    ),
    (VERSIONS, "UPDATE programs SET effective_from = '2100-01-01' WHERE program_id = 'later' AND version = 2"),
    (VERSIONS, "UPDATE programs SET effective_from = '2020-01-01' WHERE program_id = 'test'"),
    (VERSIONS, CHANGE.format(1, 1, "'2100-01-01'")),
    (VERSIONS, CHANGE.format(2, 1, "'2100-01-01'")),
    (VERSIONS, "UPDATE program_changes SET changed_at = '2098-02-01'"),
    (SUMS, "UPDATE accounts SET balance = balance + 1 WHERE customer_id = 'c1'"),
    (SUMS, "UPDATE entries SET points = points + 1 WHERE sequence = 1"),
    (SUMS, "UPDATE accounts SET pending = pending + 1 WHERE customer_id = 'h1'"),
    (SUMS, "UPDATE entries SET pending_change = 1 WHERE sequence = 1"),
    (SUMS, "UPDATE accounts SET reserved = 1 WHERE customer_id = 'c1'"),
    (SUMS, "UPDATE accounts SET deficit = deficit + 1 WHERE customer_id = 'c2'"),
    (SUMS, "UPDATE entries SET deficit_change = 1 WHERE sequence = 1"),
    ("balance and pending are the lots less the deficit", "UPDATE accounts SET pending = 5 WHERE customer_id = 'c1'"),
    (
        "balance and pending are the lots less the deficit",
        "UPDATE lots SET points_remaining = points_remaining - 1 WHERE points_remaining > 0",
    ),
    ("balance and pending are the lots less the deficit", "UPDATE lots SET is_pending = true"),
    ("an entry is the sum of its allocations", "UPDATE allocations SET points = points + 1 WHERE sequence = 1"),
    ("an entry is the sum of its allocations", "DELETE FROM allocations WHERE points < 0"),
    (
        "an entry is the sum of its allocations",
        "UPDATE entries SET pending_change = pending_change - 1 WHERE kind = 'clawback' AND pending_change < 0",
    ),
    ("a lot holds what its allocations left", "UPDATE lots SET points_granted = points_granted + 1"),
    ("a lot holds what its allocations left", "UPDATE lots SET points_expired = 0"),
    ("a lot holds what its allocations left", "UPDATE allocations SET kind = 'taken' WHERE kind = 'expired'"),
    ("a lot holds what its allocations left", "UPDATE allocations SET kind = 'returned' WHERE kind = 'opened'"),
    (
        "entries are numbered without gaps and their balances chain",
        "UPDATE entries SET balance_after = balance_after + 1 WHERE sequence = 1",
    ),
    (
        "entries are numbered without gaps and their balances chain",
        "UPDATE entries SET pending_after = pending_after + 1 WHERE kind = 'release'",
    ),
    (
        "entries are numbered without gaps and their balances chain",
        "UPDATE entries SET reserved_after = 1 WHERE kind = 'release'",
    ),
    (
        "entries are numbered without gaps and their balances chain",
        "UPDATE entries SET lifetime_points_after = 0 WHERE kind = 'expiry'",
    ),
    (
        "entries are numbered without gaps and their balances chain",
        "WITH gone AS (DELETE FROM allocations WHERE points = -70) DELETE FROM entries WHERE kind = 'expiry'",
    ),
    (
        "an order's entries are its entitlement, what expired and what was not taken",
        "UPDATE orders SET points_entitled = points_entitled + 1 WHERE order_id = 'o1'",
    ),
    (
        "an order's entries are its entitlement, what expired and what was not taken",
        "UPDATE orders SET points_excused = 0 WHERE points_excused > 0",
    ),
    (
        "credits open lots, and debits take from earlier ones",
        "UPDATE entries SET kind = 'clawback' WHERE kind = 'expiry'",
    ),
    (
        "credits open lots, and debits take from earlier ones",
        "UPDATE allocations SET kind = 'expired' WHERE kind = 'taken'",
    ),
    (
        "credits open lots, and debits take from earlier ones",
        "UPDATE allocations SET kind = 'returned' WHERE kind = 'opened'",
    ),
    (
        "credits open lots, and debits take from earlier ones",
        "UPDATE allocations SET lot_number = 1 WHERE lot_number = 2",
    ),
    ("credits open lots, and debits take from earlier ones", "UPDATE entries SET deficit_change = 1 WHERE points > 0"),
    (
        "a lot is what its accrual opened",
        "UPDATE lots SET opened_by_sequence = 3 WHERE points_granted = 620",
    ),
    ("a lot is what its accrual opened", "UPDATE lots SET available_at = available_at - interval '1 day'"),
    ("a lot is what its accrual opened", "UPDATE lots SET available_at = available_at + interval '1 second'"),
    ("a lot is what its accrual opened", "UPDATE lots SET expires_at = available_at"),
    (
        "a lot is what its accrual opened",
        "UPDATE lots SET is_pending = true WHERE points_granted = 620",
    ),
    (
        "a lot is what its accrual opened",
        "UPDATE lots SET available_at = now() - interval '1 hour' WHERE available_at IS NULL",
    ),
    ("a lot is what its accrual opened", "UPDATE orders SET fulfilled_at = now() WHERE order_id = 'held'"),
    (
        "a lot is what its accrual opened",
        """UPDATE lots SET available_at = available_at - interval '1 second'
           WHERE account_id IN (SELECT account_id FROM accounts WHERE program_id = 'later')""",
    ),
    (
        "a lot is what its accrual opened",
        """UPDATE lots SET is_pending = true
           WHERE account_id IN (SELECT account_id FROM accounts WHERE program_id = 'later')""",
    ),
    (
        "a lot is what its accrual opened",
        """INSERT INTO lots SELECT account_id, 9, account_shard, 1, origin_kind, origin_source, origin_id, origin_at,
                                   5, 0, 0, now() FROM lots WHERE lot_number = 1""",
    ),
    ("a lot's origin is the order that its accrual is about", "UPDATE lots SET origin_source = '/elsewhere'"),
    ("a lot's origin is the order that its accrual is about", "UPDATE lots SET origin_id = 'o2' WHERE lot_number = 1"),
    ("a lot's origin is the order that its accrual is about", "UPDATE lots SET origin_at = now()"),
    ("refunds and the like are of their order's account", f"UPDATE refunds SET account_id = {YEARLY_ACCOUNT}"),
    ("refunds and the like are of their order's account", f"UPDATE order_events SET account_id = {YEARLY_ACCOUNT}"),
    ("refunds and the like of no account are of guests' orders", "UPDATE refunds SET account_id = NULL"),
    ("refunds and the like of no account are of guests' orders", "UPDATE order_events SET account_id = NULL"),
    ("an account counts its entries and its lots", "UPDATE accounts SET sequence = sequence + 1"),
    ("an account counts its entries and its lots", "UPDATE accounts SET lots_opened = lots_opened - 1"),
    (
        "an account counts its entries and its lots",
        """WITH gone AS (DELETE FROM allocations n USING accounts a WHERE n.account_id = a.account_id AND points < 0
                         AND n.sequence = a.sequence RETURNING n.account_id, n.sequence)
           DELETE FROM entries e USING gone WHERE e.account_id = gone.account_id AND e.sequence = gone.sequence""",
    ),
    (
        "an order's points are its accrual less its refunds",
        "UPDATE orders SET points_shortfall = 1 WHERE order_id = 'o2'",
    ),
    (
        "an order's points are its accrual less its refunds",
        "UPDATE refunds SET points_due = points_due + 1, points_taken = points_taken + 1",
    ),
    ("an order's points are its accrual less its refunds", "UPDATE orders SET points_excused = 0"),
    (
        "an order's points are its accrual less its refunds",
        "UPDATE order_events SET points_due = points_due + 1, points_taken = points_taken + 1 WHERE kind = 'cancelled'",
    ),
    (
        "an accrual is its order's, and a clawback is its refund's",
        "UPDATE orders SET sequence = 7 WHERE order_id = 'o2'",
    ),
    (
        "an accrual is its order's, and a clawback is its refund's",
        "UPDATE orders SET order_id = 'x' WHERE order_id = 'o2'",
    ),
    (
        "an accrual is its order's, and a clawback is its refund's",
        "UPDATE refunds SET refund_id = 'r9' WHERE refund_id = 'r1'",
    ),
    ("an accrual is its order's, and a clawback is its refund's", "UPDATE entries SET corrects_sequence = NULL"),
    (
        "an accrual is its order's, and a clawback is its refund's",
        "DELETE FROM order_events WHERE kind = 'cancelled'",
    ),
    (
        "an accrual is its order's, and a clawback is its refund's",
        "UPDATE entries SET refund_id = 'r1' WHERE order_id = 'called-off' AND kind = 'clawback'",
    ),
    ("lifetime points are accruals less clawbacks", "UPDATE accounts SET lifetime_points = lifetime_points - 1"),
    (
        "qualifying points are what the orders of their period earn",
        "UPDATE accounts SET qualifying_points = qualifying_points + 1 WHERE program_id = 'test'",
    ),
    (
        "qualifying points are what the orders of their period earn",
        "UPDATE accounts SET qualifying_points = qualifying_points + 1 WHERE program_id = 'yearly'",
    ),
    (
        "qualifying points are what the orders of their period earn",
        "UPDATE accounts SET qualifying_from = qualifying_from + interval '1 hour' WHERE program_id = 'yearly'",
    ),
    (
        "qualifying points are what the orders of their period earn",
        "UPDATE accounts SET qualifying_from = NULL WHERE program_id = 'yearly'",
    ),
    ("tier changes are numbered and follow each other", "UPDATE tier_changes SET change_number = change_number + 7"),
    ("tier changes are numbered and follow each other", "UPDATE tier_changes SET tier_id = previous_tier_id"),
    (
        "tier changes are numbered and follow each other",
        "UPDATE tier_changes SET effective_at = '2999-01-01Z' WHERE change_number = 1",
    ),
    (
        "tier changes are numbered and follow each other",
        "UPDATE tier_changes SET previous_tier_id = 'gold' WHERE change_number = 2",
    ),
    ("an account's tier is that of its last change", "UPDATE accounts SET tier_id = 'gold' WHERE tier_changes = 1"),
    ("an account's tier is that of its last change", "UPDATE accounts SET tier_id = 'gold' WHERE tier_changes = 0"),
    ("an account's tier is that of its last change", "UPDATE accounts SET tier_since = now()"),
    ("an account's tier is that of its last change", "DELETE FROM tier_changes"),
    (
        "an account's tier is that of its last change",
        "UPDATE accounts SET tier_until = now() WHERE program_id = 'test'",
    ),
    ("a posted message is in the ledger, once", "UPDATE inbox SET state = 'posted' WHERE state = 'replayed'"),
    ("a posted message is in the ledger, once", "UPDATE orders SET inbox_id = 1"),
    ("a posted message is in the ledger, once", "DELETE FROM order_events WHERE kind = 'fulfilled'"),
    ("a posted message is in the ledger, once", "UPDATE inbox SET state = 'replayed' WHERE state = 'posted'"),
    ("a posted message is in the ledger, once", "DELETE FROM inbox WHERE event_id = 'completed-o1'"),
    (
        "every entry has its event, and an account's events are in order",
        "DELETE FROM outbox WHERE type = 'loyalty.balance.changed'",
    ),
    (
        "every entry has its event, and an account's events are in order",
        "UPDATE outbox SET outbox_id = 1000 - outbox_id",
    ),
    (
        "every entry has its event, and an account's events are in order",
        "UPDATE outbox SET published_at = now() WHERE right(event_id, 1) = '2' AND type = 'loyalty.balance.changed'",
    ),
    (
        "no event tells of an entry that is not there",
        "UPDATE outbox SET event_id = event_id || '9' WHERE type = 'loyalty.balance.changed'",
    ),
    (
        "every account and every tier change has its event",
        "DELETE FROM outbox WHERE type = 'loyalty.account.created'",
    ),
    (
        "every account and every tier change has its event",
        "DELETE FROM outbox WHERE type = 'loyalty.tier.changed'",
    ),
    ("an account, its lots and its events are on one shard", "UPDATE lots SET account_shard = 9 WHERE lot_number = 2"),
    (
        "an account, its lots and its events are on one shard",
        "UPDATE outbox SET account_shard = 9 WHERE type = 'loyalty.tier.changed'",
    ),
    ("no expired lot was taken from", "UPDATE lots SET expires_at = '2026-01-01T00:00:00Z'"),
    ("an expiry took what was due at its instant", "UPDATE lots SET expires_at = expires_at + interval '1 day'"),
    ("an expiry took what was due at its instant", "UPDATE lots SET expires_at = NULL"),
    ("what refunds excused as expired has ended", "UPDATE lots SET points_excused = 1, expires_at = '2999-01-01'"),
    ("what refunds excused as expired has ended", "UPDATE lots SET points_excused = points_granted"),
    ("members and orders are of their account's program", "DELETE FROM members WHERE customer_id = 'c1'"),
    (
        "members and orders are of their account's program",
        "UPDATE members SET program_id = 'x' WHERE customer_id = 'c2'",
    ),
    ("members and orders are of their account's program", "UPDATE orders SET program_id = 'x' WHERE order_id = 'o2'"),
    (
        "a program's balances are what it issued, less what was taken back or expired",
        "UPDATE accounts SET balance = balance + 1 WHERE customer_id = 'c1'",
    ),
]


def another(program_id: str) -> str:
    return PROGRAM_TEXT.replace("program_id: test", f"program_id: {program_id}").replace(
        "/shops/test", f"/{program_id}"
    )


HELD = """availability: {policy: on_fulfilled}
promotions:
  - {promotion_id: more, kind: addition, points: 5, limits: {budget_points: 12, orders_per_customer: 3}}
"""


@pytest.fixture(scope="module")
def ledger(open_database: OpenDatabase) -> Iterator[Shell]:
    """A ledger of everything: refunded, expired, excused, replayed, waiting and parked, a guest, tiers, programs.

    Every test leaves it as it was: what one plants it takes back.
    """
    with open_database() as url:
        engine = create_database_engine(url)
        shell = Shell(engine, shards=1, program_text=PROGRAM)
        shell.apply_program(another("other"))
        shell.apply_program(another("yearly") + "qualification: {window: calendar_year}\n")
        shell.apply_program(another("held") + HELD)
        shell.apply_program(another("later") + "availability: {policy: after_days, days: 30}\n")
        for name in ("Two", "Three"):
            shell.apply_program(another("later").replace("Test Rewards", name), "2098-01-01T00:00:00Z")
        shell.execute(CHANGE.format(3, 1, "'2099-01-01'"))
        yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        shell.take(
            order("o1", "620.00", time=yesterday),
            order("o2", "40.00", time=yesterday),
            refund("r1", "o1", amount="100.00", time=yesterday),
            order("old", "70.00", customer_id="c2", time="2026-01-10T12:00:00Z"),
            order("guest", customer_id=None),
            order("o1", "620.00", time=yesterday, event_id="again"),
            order("theirs", source="/other"),
            order("yearly", "600.00", source="/yearly", time="2025-03-01T12:00:00Z"),
            order("next-year", "20.00", source="/yearly", time="2026-03-01T12:00:00Z"),
            order("this-year", customer_id="c4", source="/yearly"),
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
            refund("r4", "sent", amount="20.00", source="/held"),
            fulfilment("sent", source="/held"),
            refund("r5", "sent", amount="20.00", source="/held"),
            order("late", source="/later", time="2020-01-01T12:00:00Z"),
            order("soon", source="/later", time=yesterday),
        )
        shell.expire("2026-04-30T00:00:00Z")
        shell.review("2027-01-02T00:00:00Z")
        shell.take(refund("r3", "old", amount="30.00"), order("o3", "5.00", customer_id="c2", time=yesterday))
        yield shell
        engine.dispose()


def found(connection: Connection) -> list[str]:
    return [f"{found.name}: {found.text}" for step in run_checks(connection) if step.is_done for found in step.found]


def test_a_clean_ledger_is_clean(ledger: Shell) -> None:
    kinds = {row.kind for row in ledger.rows("SELECT kind FROM entries")}
    states = {row.state for row in ledger.rows("SELECT state FROM inbox")}
    assert kinds == {"accrual", "clawback", "expiry", "release"}
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


@pytest.mark.parametrize(("name", "tampering"), TAMPERED)
def test_a_check_finds_what_it_is_there_for(ledger: Shell, name: str, tampering: str) -> None:
    (check,) = [check for check in CHECKS if check.name == name]
    with tampered(ledger, tampering) as connection:
        registry = load_registry(connection)
        periods = load_periods(connection, registry, EVERYTHING)
        differences = differences_of(connection, check, EVERYTHING, registry, periods, DIFFERENCES_MAX)
        assert differences
        assert all(difference.account_id is not None or check.is_global for difference in differences)


def test_every_check_is_tried_here() -> None:
    assert {check.name for check in CHECKS} == {check for check, _ in (*TAMPERED, *TAMPERED_LIMITS)}


def test_a_difference_names_the_row_and_both_values(ledger: Shell) -> None:
    account_id = ledger.value("SELECT account_id FROM accounts WHERE customer_id = 'c2'")
    with tampered(ledger, "UPDATE accounts SET lifetime_points = 7 WHERE customer_id = 'c2'") as connection:
        assert found(connection) == [
            f"lifetime points are accruals less clawbacks: account {account_id}: lifetime_points 7, entries give 75"
        ]


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
    assert [step.slices_done for step in by_accounts] == [*range(accounts + 1)] * (len(by_accounts) // (accounts + 1))
    assert [step.number for step in steps if step.is_done] == list(range(1, len(CHECKS) + 1))


def test_a_ruined_ledger_does_not_drown_the_reader(shell: Shell) -> None:
    shell.take(*(order(f"n{n}", customer_id=f"n{n}") for n in range(DIFFERENCES_MAX + 10)))
    shell.execute("UPDATE accounts SET lifetime_points = lifetime_points + 1")
    assert len(shell.differences()) == DIFFERENCES_MAX


def test_verifying_cannot_change_anything(ledger: Shell) -> None:
    with ledger.engine.connect() as connection:
        verify_ledger(connection)
        with pytest.raises(InternalError, match="read-only"):
            connection.execute(text("DELETE FROM outbox"))


PURGED = "DELETE FROM {table} WHERE {rows}; INSERT INTO retention SELECT '{table}', now() {offset}"


@pytest.mark.parametrize(
    ("table", "rows", "check"),
    [
        ("inbox", "state = 'posted'", "a posted message is in the ledger, once"),
        ("outbox", "true", "every entry has its event, and an account's events are in order"),
        ("outbox", "event_id ~ '^[^:]*:1$'", "every entry has its event, and an account's events are in order"),
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
    return {"every account and every tier change has its event"} if (table, rows) == ("outbox", "true") else set()
