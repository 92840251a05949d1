"""What is about an order that has not come waits for it, whatever it is, and nothing of it is lost."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.factories import cancellation, fulfilment, order, refund
from tests.shell import Shell

pytestmark = pytest.mark.parametrize("about", [fulfilment, cancellation])
About = Callable[..., dict[str, Any]]


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def states(shell: Shell) -> dict[str, str]:
    return {row.event_id: row.state for row in shell.rows("SELECT event_id, state FROM inbox")}


def test_it_waits_until_its_order_is_posted_and_follows_right_behind_it(shell: Shell, about: About) -> None:
    assert shell.take(about(event_id="early")) == {}
    assert states(shell) == {"early": "waiting"}
    assert shell.take(order()) == {"posted": 2}
    assert states(shell) == {"early": "posted", "completed-o1": "posted"}


def test_it_waits_in_its_own_batch_too(shell: Shell, about: About) -> None:
    assert shell.take(about(event_id="early"), refund(net="10.00"), order()) == {"posted": 3}


def test_it_waits_for_an_order_of_its_own_source_only(shell: Shell, about: About) -> None:
    shell.take(order(), about(event_id="other", source="/shops/other"))
    assert states(shell)["other"] == "waiting"


def test_it_follows_an_order_that_is_posted_alone(shell: Shell, about: About) -> None:
    shell.receive(about(event_id="early"))
    shell.receive(order("o1"), order("bad"))
    shell.execute("UPDATE inbox SET settled = 'no longer an event' WHERE event_id = 'completed-bad'")
    assert shell.post() == {"posted": 2, "parked": 1}
    assert states(shell)["early"] == "posted"


def test_it_is_woken_by_the_sweep_if_its_orders_posting_overtook_it(shell: Shell, about: About) -> None:
    shell.take(order())
    shell.receive(about(event_id="late"))
    shell.execute("UPDATE inbox SET state = 'waiting', shard = NULL WHERE event_id = 'late'")
    assert shell.sweep() == {"woken": 1, "overdue": 0}
    assert shell.post() == {"posted": 1}


def test_it_is_parked_once_if_its_order_does_not_come_in_time(shell: Shell, about: About) -> None:
    shell.receive(about("o1", event_id="old"), about("o2", event_id="young"))
    shell.execute("UPDATE inbox SET received_at = now() - interval '31 days' WHERE event_id = 'old'")
    assert [shell.sweep(waiting_days_max=30)["overdue"] for _ in range(2)] == [1, 0]
    assert shell.outcome("old") == ("dead", "order_never_came")
    assert states(shell)["young"] == "waiting"
    assert shell.parked_events() == [("old", "order_never_came")]


def test_it_goes_on_waiting_while_its_order_is_parked(shell: Shell, about: About) -> None:
    shell.receive(about(event_id="early"))
    shell.take(order(currency="USD"))
    assert states(shell)["early"] == "waiting"
