"""Orders that count no more, on a real database: points that inactivity ends last as long as the others let them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from sqlalchemy import Engine

from core.mending.lot_extensions import Hand, LotFilter, NewEnd, extend_everywhere
from core.store.programs import load_registry
from tests.factories import PROGRAM_TEXT, cancellation, claim, order, refund, reversion
from tests.shell import EVENT_SOURCE, Shell

NOW = datetime.now(UTC)
SLIDING = PROGRAM_TEXT + "expiry: {policy: inactivity, days: 100}\nreminders: {days_ahead: [30]}\n"


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat()


@pytest.fixture
def shell(engine: Engine) -> Iterator[Shell]:
    shell = Shell(engine, shards=1, program_text=SLIDING)
    yield shell
    assert (shell.differences(), shell.repairs()) == ([], ([], []))


def ends(shell: Shell) -> set[int]:
    """In how many days points end, to the day."""
    rows = shell.rows("SELECT expires_at FROM dated_lots WHERE points_remaining > 0")
    return {round((row.expires_at - NOW) / timedelta(days=1)) for row in rows}


def near(days: int) -> set[int]:
    """That many days, or one more: they end at a midnight."""
    return {days, days + 1}


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_the_end_comes_back_to_that_of_the_latest_order_that_is_kept(shell: Shell, is_one_batch: bool) -> None:
    messages = [
        *(order(f"o{n}", "10.00", time=ago(days)) for n, days in enumerate((90, 50, 20))),
        refund("r1", "o1", time=ago(10), full=True),
        cancellation("o2", time=ago(9)),
    ]
    for batch in [messages] if is_one_batch else [[each] for each in messages]:
        shell.take(*batch)
    assert ends(shell) <= near(10)
    assert shell.balance() == 10


def test_orders_that_are_not_of_the_batch_count(shell: Shell) -> None:
    shell.take(*(order(f"o{n}", "10.00", time=ago(60 - n)) for n in range(20)))
    shell.take(*(cancellation(f"o{n}", time=ago(1)) for n in range(10, 20)))
    assert ends(shell) <= near(100 - 51)


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_an_order_that_moves_to_another_customer_lets_points_last_there(shell: Shell, is_one_batch: bool) -> None:
    messages = [
        *(order(f"o{n}", "10.00", time=ago(days)) for n, days in enumerate((60, 50, 20))),
        claim("o2", "c2", time=ago(5), previous_customer_id="c1"),
    ]
    for batch in [messages] if is_one_batch else [[each] for each in messages]:
        shell.take(*batch)
    assert ends(shell) <= near(50) | near(80)
    shell.take(cancellation("o1", time=ago(1)))
    assert ends(shell) <= near(40) | near(80)


def test_reminders_follow(shell: Shell) -> None:
    shell.take(order("o1", time=ago(80)), order("o2", time=ago(10)))
    shell.remind(NOW.isoformat())
    shell.take(cancellation("o2", time=ago(1)))
    shell.remind(NOW.isoformat())
    told = [(each["data"]["points"], each["data"]["number"]) for each in shell.events("loyalty.points.expiring")]
    assert told == [(100, 1)]


def test_points_whose_end_would_have_passed_expire_with_the_next_run(shell: Shell) -> None:
    shell.take(order("o2", time=ago(20)))
    shell.take(order("late", "30.00", time=ago(110)))
    assert ends(shell) <= near(80)
    shell.take(cancellation("o2", time=ago(1)))
    assert (shell.balance(), shell.differences()) == (30, [])
    shell.expire(datetime.now(UTC).isoformat())
    assert shell.balance() == 0


def test_what_a_person_has_let_last_longer_lasts(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1", time=ago(50)), order("o2", time=ago(20)))
    with engine.begin() as connection:
        registry = load_registry(connection)
    chosen = LotFilter("test")
    list(
        extend_everywhere(
            engine, registry, chosen, NewEnd(days=30), NOW, EVENT_SOURCE, Hand("kim", "late parcel"), None
        )
    )
    assert ends(shell) <= near(110)
    shell.take(cancellation("o2", time=ago(1)))
    assert ends(shell) <= near(110)


@pytest.mark.parametrize("is_one_batch", [True, False])
@pytest.mark.parametrize("arrival", [*permutations(range(3))])
def test_an_order_whose_refund_is_reverted_has_its_points_though_older_ones_have_expired(
    shell: Shell, arrival: tuple[int, ...], is_one_batch: bool
) -> None:
    shell.take(order("old", "40.00", time=ago(200)))
    shell.expire(NOW.isoformat())
    story = order("o1", time=ago(20)), refund("r1", "o1", time=ago(10), full=True), reversion("r1", "o1")
    messages = [story[place] for place in arrival]
    for batch in [messages] if is_one_batch else [[each] for each in messages]:
        shell.take(*batch)
    while shell.sweep()["woken"]:
        shell.post()
    shell.expire(datetime.now(UTC).isoformat())
    assert (shell.balance(), ends(shell) <= near(80)) == (100, True)


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_nor_does_an_order_that_came_and_went_meanwhile_move_their_end(shell: Shell, is_one_batch: bool) -> None:
    shell.take(order("old", "40.00", time=ago(200)))
    shell.expire(NOW.isoformat())
    messages = [
        order("o1", time=ago(50)),
        refund("r1", "o1", time=ago(40), full=True),
        order("o2", time=ago(20)),
        cancellation("o2", time=ago(10)),
        reversion("r1", "o1"),
    ]
    for batch in [messages] if is_one_batch else [[each] for each in messages]:
        shell.take(*batch)
    assert (shell.balance(), ends(shell) <= near(50)) == (100, True)
