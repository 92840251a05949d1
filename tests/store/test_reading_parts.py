"""What is read of an account with a long history: no more than a message can need."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import Engine

from core.domain.lots import Lot, in_spending_order, take
from core.domain.orders.posted import Qualifying
from core.domain.tiers.history import CountedOrder
from core.reading.open_lots import load_open_lots
from core.store.ledger import ask_lots
from core.store.tables import FIRST_LOTS
from core.store.tier_facts import load_counted
from core.upkeep.due_rows import DueLots, load_due_lots
from tests.factories import PROGRAM_TEXT, order
from tests.shell import Shell

LOTS = FIRST_LOTS + 40
PROGRAM = PROGRAM_TEXT + "expiry: {policy: after_months, months: 12}\n"
NOW = datetime(2026, 9, 1, tzinfo=UTC)


@pytest.fixture
def lots_of_one(engine: Engine) -> Shell:
    """One account with more lots than are looked through; those that came last expire neither first nor last."""
    shell = Shell(engine, program_text=PROGRAM)
    days = [f"2025-{8 + n * 7 % 5:02}-{1 + n * 11 % 28:02}" for n in range(LOTS)]
    shell.take(*[order(f"o{n}", f"{1 + n % 9}.00", time=f"{day}T12:00:00Z") for n, day in enumerate(days)])
    shell.execute("UPDATE lots SET points_remaining = 0 WHERE lot_number % 10 = 0")
    shell.execute("UPDATE lots SET is_pending = true WHERE lot_number % 10 = 1")
    shell.execute("UPDATE lots SET expires_at = NULL WHERE lot_number % 10 = 2")
    for number, day in ((3, "2026-08-15"), (4, "2026-11-11"), (5, "2027-05-05")):
        shell.execute(
            "INSERT INTO shared_expiries (account_id, expires_with, account_shard, earned_by, expires_at)"
            " SELECT account_id, :number, account_shard, '', :day FROM accounts", number=number, day=day,
        )  # fmt: skip
        shell.execute(
            "UPDATE lots SET expires_at = NULL, expires_with = :number WHERE lot_number % 10 = :number", number=number
        )
    return shell


def found(shell: Shell, points: int | None) -> list[Lot]:
    """The lots that cover these points; None: every lot with points left."""
    account_id: UUID = shell.value("SELECT account_id FROM accounts")
    with shell.engine.connect() as connection:
        if points is None:
            return load_open_lots(connection, account_id)
        return ask_lots(connection, [], {account_id: points}, NOW).found.get(account_id, [])


@pytest.mark.parametrize("points", [1, 9, 60, 350, 10_000])
def test_the_lots_that_cover_the_points_in_spending_order_are_among_those_found(
    lots_of_one: Shell, points: int
) -> None:
    spendable = in_spending_order(lot for lot in found(lots_of_one, None) if lot.is_spendable(NOW))
    needed, _, _ = take(spendable, points)
    read = in_spending_order(lot for lot in found(lots_of_one, points) if lot.is_spendable(NOW))
    assert {lot.lot_number for lot in needed} <= {lot.lot_number for lot in read}
    beyond = {lot.lot_number for lot in read if lot.lot_number > FIRST_LOTS}
    for line in {lot.expires_with for lot in spendable}:
        of_line = [lot for lot in spendable if lot.lot_number > FIRST_LOTS and lot.expires_with == line]
        beyond -= {lot.lot_number for lot in take(of_line, points)[0]}
    assert beyond == set(), "no more of a line are read than cover them"


def test_lots_that_are_due_to_expire_are_found_whether_or_not_they_share_their_expiry(lots_of_one: Shell) -> None:
    account_id: UUID = lots_of_one.value("SELECT account_id FROM accounts")
    due = [lot for lot in found(lots_of_one, None) if lot.is_due(NOW) and not lot.is_pending]
    with lots_of_one.engine.connect() as connection:
        assert load_due_lots(connection, [account_id], NOW) == {account_id: DueLots(due, False)}
    assert {lot.expires_with for lot in due} == {None, 3}


def test_lots_that_are_due_to_be_released_are_found_without_any_points(lots_of_one: Shell) -> None:
    to_release = {lot.lot_number for lot in found(lots_of_one, None) if lot.is_to_release(NOW)}
    assert {lot.lot_number for lot in found(lots_of_one, 0)} == to_release != set()


def test_orders_are_counted_in_one_sum_between_each_two_bounds(engine: Engine) -> None:
    shell = Shell(engine)
    days = ["2025-12-31", "2026-01-01", "2026-01-02", "2026-02-01", "2026-03-01", "2026-03-02"]
    shell.take(*[order(f"o{n}", f"{1 + n}.00", time=f"{day}T00:00:00Z") for n, day in enumerate(days)])
    account_id: UUID = shell.value("SELECT account_id FROM accounts")
    instants = [datetime.fromisoformat(f"{day}T00:00:00Z") for day in days]
    with shell.engine.connect() as connection:
        counted = load_counted(connection, {account_id: instants[1]}, {account_id: [*instants[:3:2], instants[4]]})
    assert sorted(counted[account_id]) == [
        CountedOrder(instants[1], Qualifying(2, 200, 1)),
        CountedOrder(instants[2], Qualifying(3 + 4, 700, 2)),
        CountedOrder(instants[4], Qualifying(5 + 6, 1100, 2)),
    ]
