"""What a message is about decides where it is posted. An order is one kind of subject of many."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import pytest
from sqlalchemy import Engine
from typing_extensions import TypedDict

from core.domain.orders.facts import Fulfilment
from core.domain.subjects import order_id_of, order_subject, subject_id
from core.messages.inbound.contracts import CONTRACTS, Contract, Contracts
from core.messages.inbound.order_messages import Envelope
from core.receiving.receive import Receipt, receive
from tests.factories import as_bytes, order
from tests.shell import EVENT_SOURCE, LIMITS, Shell


class CardSwipedData(TypedDict):
    card_number: str


class CardSwipedEvent(Envelope):
    type: Literal["card.swiped"]  # type: ignore[misc]
    data: CardSwipedData


def swiped_fact(source: str, occurred_at: datetime, data: Mapping[str, Any]) -> Fulfilment:
    return Fulfilment(source, data["card_number"], occurred_at)


CARD_SWIPED = Contract(
    "card.swiped",
    CardSwipedEvent,
    subject=lambda data: f"card {data['card_number']}",
    customer=lambda data: data.get("customer_id"),
    is_subject=False,
    fact=swiped_fact,
)
WITH_CARDS = Contracts((*CONTRACTS, CARD_SWIPED))


def swiped(number: str, event_id: str = "swiped") -> dict[str, Any]:
    return {**order(event_id=event_id), "type": "card.swiped", "data": {"card_number": number}}


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def take_in(shell: Shell, *events: dict[str, Any]) -> Receipt:
    raw = [as_bytes(event) for event in events]
    with shell.engine.begin() as connection:
        return receive(connection, raw, limits=LIMITS, shards=4, event_source=EVENT_SOURCE, contracts=WITH_CARDS)


def refer(shell: Shell, kind: str, reference: str, shard: int) -> None:
    shell.execute(
        "INSERT INTO account_references SELECT :kind, :reference, program_id, account_id, :shard FROM accounts",
        kind=kind,
        reference=reference,
        shard=shard,
    )


def test_a_subject_is_a_kind_and_an_id_that_may_hold_blanks() -> None:
    assert (order_subject("5001 b"), subject_id("order 5001 b"), order_id_of("order 5001 b")) == (
        "order 5001 b",
        "5001 b",
        "5001 b",
    )
    assert (order_id_of("card 7"), order_id_of(None)) == (None, None)


def test_a_message_type_that_one_more_row_describes_is_taken_in(shell: Shell) -> None:
    shell.take(order())
    refer(shell, "card", "77 A", shard=3)
    receipt = take_in(shell, swiped("77 A"))
    [row] = shell.rows("SELECT type, subject, settled, state, shard FROM inbox WHERE event_id = 'swiped'")
    assert tuple(row) == ("card.swiped", "card 77 A", '{"card_number":"77 A"}', "received", 3)
    assert receipt.shards == {3}


def test_without_its_row_it_is_an_unknown_type_and_with_it_a_wrong_one_is_explained(shell: Shell) -> None:
    shell.receive(swiped("77"))
    assert shell.outcome("swiped") == ("dead", "unknown_type")
    take_in(shell, {**swiped("77", "wrong"), "data": {"cardNumber": "77"}})
    detail = shell.value("SELECT detail FROM inbox WHERE event_id = 'wrong'")
    assert detail == 'data.card_number is missing; did you mean it by "cardNumber"?'


def test_what_is_about_something_unknown_waits_and_is_woken_when_it_is_known(shell: Shell) -> None:
    shell.take(order())
    refer(shell, "phone", "77", shard=3)
    assert take_in(shell, swiped("77")).waiting == 1
    assert shell.sweep()["woken"] == 0
    refer(shell, "card", "77", shard=2)
    assert shell.sweep()["woken"] == 1
    assert shell.value("SELECT shard FROM inbox WHERE event_id = 'swiped'") == 2


def test_a_card_of_an_orders_number_is_not_looked_for_among_orders(shell: Shell) -> None:
    shell.take(order("77"))
    assert take_in(shell, swiped("77")).waiting == 1


def test_what_waits_too_long_is_parked_whatever_it_is_about(shell: Shell) -> None:
    shell.take(order())
    refer(shell, "card", "78", shard=2)
    take_in(shell, swiped("77"), swiped("78", "known"))
    shell.execute("UPDATE inbox SET state = 'waiting', shard = NULL WHERE event_id = 'known'")
    shell.execute("UPDATE inbox SET received_at = now() - interval '31 days' WHERE state = 'waiting'")
    assert shell.sweep() == {"woken": 1, "overdue": 1}
    assert shell.outcome("swiped") == ("dead", "order_never_came")
    [event] = shell.events("loyalty.message.parked")
    assert "order_id" not in event["data"]
