"""A new kind of message is a contract, a decider and a row; nothing else from the queue to the event changes.

The kind here is made up: a shop that promotes a customer to a tier until a date.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, with_config
from sqlalchemy import Engine
from typing_extensions import TypedDict

from core.domain.books import Books
from core.domain.decision import Decision
from core.domain.message import Message
from core.domain.outcomes import Parked, Reason
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, Reach, TierInstant
from core.domain.tiers.qualification import decide_tier_hold
from core.messages.inbound.contracts import CONTRACTS, Contract, Contracts
from core.messages.inbound.fields import CustomerId, Id, UtcTime
from core.messages.inbound.order_messages import Envelope
from core.posting.handlers import HANDLERS, Handler, by_type
from tests.factories import order
from tests.shell import Shell

PROGRAM_ID = "test"
STRICT = ConfigDict(strict=True, extra="ignore")


# The contract.


@with_config(STRICT)
class PromotionData(TypedDict):
    customer_id: CustomerId
    tier_id: Id
    until: UtcTime


def settled(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "until": data["until"].isoformat()}


@with_config(STRICT)
class CustomerPromotedEvent(Envelope):
    type: Literal["customer.promoted"]  # type: ignore[misc]
    data: Annotated[PromotionData, AfterValidator(settled)]


class Promotion(NamedTuple):
    customer_id: str
    tier_id: str
    until: datetime


def promotion_of(_source: str, _occurred_at: datetime, data: Any) -> Promotion:
    return Promotion(data["customer_id"], data["tier_id"], datetime.fromisoformat(data["until"]))


CONTRACT = Contract(
    "customer.promoted",
    CustomerPromotedEvent,
    subject=lambda data: f"customer {data['customer_id']}",
    customer=lambda data: data["customer_id"],
    is_subject=False,
    fact=promotion_of,
)


# The decider, and what it needs.


#: A hold is told with what counts then, so all is needed that the tier follows from.
_EVERY_ORDER = TierInstant(None, ("", ""), is_new=False)


def promotion_reach(message: Message[Promotion], _rules: ProgramRegistry, _as_of: datetime) -> Reach:
    return Reach(customers={(PROGRAM_ID, message.fact.customer_id): AccountParts(tiers_at=(_EVERY_ORDER,))})


def decide_promotion(
    books: Books, message: Message[Promotion], rules: ProgramRegistry, as_of: datetime
) -> Decision | Parked:
    account = books.account_of(PROGRAM_ID, message.fact.customer_id)
    if account is None:
        return Parked(Reason.INVALID_DATA, "the customer has no account; send an order first")
    program = rules.at(PROGRAM_ID, as_of).program
    orders = books.tier_facts(account).orders
    return decide_tier_hold(account, program, message.fact.tier_id, message.fact.until, as_of, orders)


# The row.

WITH_PROMOTIONS = by_type([*HANDLERS.values(), Handler(CONTRACT, promotion_reach, decide_promotion)])


def promoted(customer_id: str, tier_id: str, event_id: str = "p1") -> dict[str, Any]:
    data = {"customer_id": customer_id, "tier_id": tier_id, "until": "2027-01-01T00:00:00Z"}
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/shops/test",
        "type": "customer.promoted",
        "time": "2026-03-02T12:00:00Z",
        "data": data,
    }


def shell_of(engine: Engine) -> Shell:
    return Shell(engine, contracts=Contracts([*CONTRACTS, CONTRACT]), handlers=WITH_PROMOTIONS)


def test_a_row_a_contract_and_a_decider_take_a_new_kind_of_message_from_the_queue_to_the_event(engine: Engine) -> None:
    shell = shell_of(engine)
    assert shell.take(order("o1", customer_id="c1"), promoted("c1", "gold")) == {"posted": 2}
    assert shell.value("SELECT tier_id FROM accounts") == "gold"
    assert shell.rows("SELECT type FROM outbox ORDER BY outbox_id")[-1] == ("loyalty.tier.changed",)


def test_it_is_known_by_its_content_like_every_other_message(engine: Engine) -> None:
    shell = shell_of(engine)
    shell.take(order("o1", customer_id="c1"), promoted("c1", "gold"))
    assert shell.receive(promoted("c1", "gold")).replayed == 1
    assert shell.receive(promoted("c1", "silver")).parked == 1


def test_what_its_contract_or_its_decider_refuses_is_parked_with_the_reason(engine: Engine) -> None:
    shell = shell_of(engine)
    wrong = promoted("c1", "gold")
    del wrong["data"]["until"]
    assert shell.receive(wrong).parked == 1
    assert shell.take(promoted("nobody", "gold", event_id="p2")) == {"parked": 1}
    details = [row[0] for row in shell.rows("SELECT detail FROM inbox WHERE state = 'dead' ORDER BY inbox_id")]
    assert details[0].startswith("data.until is missing")
    assert details[1:] == ["the customer has no account; send an order first"]


def test_nobody_else_takes_it(engine: Engine) -> None:
    assert Shell(engine).receive(promoted("c1", "gold")).parked == 1
