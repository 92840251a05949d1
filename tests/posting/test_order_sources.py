"""An order is made in one channel and refunded, fulfilled or cancelled in another of the same program."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, SOURCE, cancellation, fulfilment, order, refund
from tests.shell import Shell

About = Callable[..., dict[str, Any]]
TILL = "/shops/till"
BOTH = PROGRAM_TEXT.replace('["/shops/test"]', '["/shops/test", "/shops/till"]')
ELSEWHERE = PROGRAM_TEXT.replace("program_id: test", "program_id: house").replace("/shops/test", "/shops/elsewhere")

every_message = pytest.mark.parametrize("about", [refund, fulfilment, cancellation])


def at_the_till(about: About, **data: Any) -> dict[str, Any]:
    named = {"order_id": "o1"} | data
    return about(**{"source": TILL, "order_source": SOURCE, "event_id": "till", **named})


@pytest.fixture
def shell(engine: Engine) -> Shell:
    shell = Shell(engine, program_text=BOTH)
    shell.apply_program(ELSEWHERE)
    return shell


@pytest.mark.parametrize("about", [refund, cancellation])
def test_what_was_bought_on_the_web_is_given_back_at_the_till(shell: Shell, about: About) -> None:
    shell.take(order("o1", "90.00"), at_the_till(about))
    assert (shell.balance(), shell.differences()) == (0, [])


@every_message
def test_it_may_come_before_its_order_and_waits_for_it_among_those_of_the_other_source(
    shell: Shell, about: About
) -> None:
    shell.take(at_the_till(about), order("o1", source=TILL, event_id="of the till"))
    assert shell.outcome("till")[0] == "waiting"
    assert shell.take(order("o1")) == {"posted": 2}
    assert (shell.outcome("till")[0], shell.differences()) == ("posted", [])


@every_message
def test_it_is_posted_on_the_shard_of_the_order(engine: Engine, about: About) -> None:
    shell = Shell(engine, shards=8, program_text=BOTH)
    orders = [order(f"o{n}", customer_id=f"c{n}") for n in range(8)]
    shell.take(*orders[:4])
    names = [{"order_id": f"o{n}", "event_id": f"till {n}"} for n in range(8)]
    extra = [{"refund_id": f"r{n}"} if about is refund else {} for n in range(8)]
    shell.receive(*orders[4:], *(at_the_till(about, **name, **more) for name, more in zip(names, extra, strict=True)))
    assert shell.post() == {"posted": 12}
    assert shell.differences() == []


@every_message
def test_an_order_source_that_is_the_messages_own_says_nothing(shell: Shell, about: About) -> None:
    shell.take(order("o1"), about(order_id="o1"))
    again = about(order_id="o1", order_source=SOURCE, event_id="again")
    assert (shell.take(again), shell.differences()) == ({"replayed": 1}, [])


def test_refunds_are_known_by_their_own_source_and_id_whosever_the_order_is(shell: Shell) -> None:
    half: dict[str, Any] = {"lines": [{"line_id": "1", "quantity": 1}], "time": "2026-03-05T12:00:00+01:00"}
    two = [{"line_id": "1", "sku": "a", "quantity": 2, "amount": "90.00"}]
    shell.take(order("o1", lines=two), refund("r1", **half), refund("r1", **half, **_till_names("same id")))
    assert (shell.balance(), shell.outcomes(), shell.differences()) == (0, {("posted", None): 3}, [])
    assert shell.take(refund("r1", **half, **_till_names("again"))) == {"replayed": 1}
    shell.take(order("o1", source=TILL, event_id="of the till"))
    assert shell.take(refund("r1", source=TILL, event_id="of the till's order")) == {"parked": 1}
    assert shell.outcome("of the till's order") == ("dead", "refund_conflict"), "its id is used up"


def _till_names(event_id: str) -> dict[str, str]:
    return {"source": TILL, "order_source": SOURCE, "event_id": event_id}


@every_message
def test_a_source_of_another_program_is_not_taken_unless_it_names_the_orders(shell: Shell, about: About) -> None:
    stranger = {"source": "/shops/elsewhere", "order_source": SOURCE, "order_id": "o1"}
    shell.take(about(**stranger, event_id="early"), order("o1"), about(**stranger, event_id="late"))
    assert [shell.outcome(name) for name in ("early", "late")] == [("dead", "unknown_program")] * 2
    detail = shell.value("SELECT detail FROM inbox WHERE event_id = 'late'")
    assert "in program test, which does not take this message's source" in detail
    assert shell.take(about(**stranger, event_id="named", program_id="test")) == {"posted": 1}
    assert shell.differences() == []


class TestWithoutOrderSource:
    """A refund of another source's order waits, and support is shown which order it may mean."""

    def test_what_waits_too_long_is_parked_with_what_to_send(self, shell: Shell) -> None:
        shell.take(order("T1"), refund("r1", "T1", source=TILL))
        shell.execute("UPDATE inbox SET received_at = now() - interval '31 days' WHERE state = 'waiting'")
        assert shell.sweep() == {"woken": 0, "overdue": 1}
        detail = shell.value("SELECT detail FROM inbox WHERE reason = 'order_never_came'")
        assert '"order_source": "/shops/test"' in detail

    def test_what_is_sent_again_with_the_source_is_posted(self, shell: Shell) -> None:
        shell.take(order("T1", "90.00"), refund("r1", "T1", source=TILL))
        shell.take(refund("r1", "T1", source=TILL, order_source=SOURCE, event_id="mended"))
        assert (shell.balance(), shell.differences()) == (0, [])
