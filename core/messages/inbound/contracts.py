"""The types of messages that come in, one row for each. All that reads, places or describes a message asks its row."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import Field, TypeAdapter
from pydantic_core import SchemaValidator
from typing_extensions import is_typeddict

from core.domain.orders.facts import (
    AmendedOrder,
    Cancellation,
    Fulfilment,
    Order,
    OrderClaim,
    Refund,
    RefundReversion,
    Return,
)
from core.domain.subjects import (
    account_subject,
    authorization_subject,
    command_subject,
    customer_subject,
    linked_subject,
    order_subject,
    return_subject,
    reward_subject,
)
from core.domain.value.commands import Command
from core.messages.inbound.account_facts import (
    close_terms,
    create_terms,
    link_terms,
    merge_terms,
    status_terms,
    update_terms,
)
from core.messages.inbound.account_messages import (
    CloseCommand,
    CreateCommand,
    FreezeCommand,
    LinkCommand,
    MergeCommand,
    UnfreezeCommand,
    UnlinkCommand,
    UnmergeCommand,
    UpdateCommand,
)
from core.messages.inbound.authorization_facts import (
    authorize_terms,
    capture_terms,
    redeem_terms,
    void_terms,
    whom_of_authorization,
)
from core.messages.inbound.authorization_messages import AuthorizeCommand, CaptureCommand, RedeemCommand, VoidCommand
from core.messages.inbound.command_facts import command_of, credit_terms, debit_terms, linked_of
from core.messages.inbound.command_messages import COMMAND_PREFIX, CreditCommand, DebitCommand
from core.messages.inbound.customer_messages import EraseCommand, erase_terms
from core.messages.inbound.fields import NAMING
from core.messages.inbound.move_facts import adjust_terms, convert_terms, reversal_of, transfer_terms
from core.messages.inbound.move_messages import AdjustCommand, ConvertCommand, ReverseCommand, TransferCommand
from core.messages.inbound.order_changes import OrderAmendedEvent, OrderClaimedEvent, OrderRefundRevertedEvent
from core.messages.inbound.order_facts import (
    amended_order_of,
    cancellation_of,
    claim_of,
    fulfilment_of,
    order_of,
    refund_of,
    return_of,
    reversion_of,
)
from core.messages.inbound.order_messages import (
    OrderCancelledEvent,
    OrderCompletedEvent,
    OrderFulfilledEvent,
    OrderRefundedEvent,
)
from core.messages.inbound.return_messages import OrderReturnedEvent
from core.messages.inbound.reward_facts import issue_terms, issued_terms, whom_of_issue
from core.messages.inbound.reward_messages import DeleteRewardCommand, IssueRewardCommand, RedeemRewardCommand
from core.messages.inbound.stray_fields import noticing

Data = Mapping[str, Any]  #: of an event, settled
Model = type  #: the TypedDict of a whole event
Fact = Order | Refund | Fulfilment | Cancellation | AmendedOrder | OrderClaim | RefundReversion | Return | Command[Any]


def _no_other_source(data: Data) -> None:
    del data


class Contract(NamedTuple):
    """One type of message."""

    type: str
    model: Model
    subject: Callable[[Data], str]  #: what the message is about (core.domain.subjects)
    customer: Callable[[Data], str | None]  #: whose messages it is posted among; None: those of its subject
    is_subject: bool  #: it brings its subject into being; the others wait for it
    fact: Callable[[str, datetime, Data], Fact]  #: of source, occurred_at and data
    #: Whose the subject is, where that is another source than the message's.
    subject_source: Callable[[Data], str | None] = _no_other_source
    own_id: str | None = None  #: the field that names what it makes: left out, that has the event's id
    is_answered: bool = False  #: it asks for something, and where its answer goes is kept
    has_order_lines: bool = False  #: `lines` are those of an order, and are settled as such
    needs_salt: bool = False  #: it cannot be done without the secret of what is kept as a hash alone

    @property
    def verb(self) -> str | None:
        """What a command asks for; None: the message reports a fact.

        A command does not wait for what it is about. It is answered, and only who was granted it may send it.
        """
        return self.type.removeprefix(COMMAND_PREFIX) if self.type.startswith(COMMAND_PREFIX) else None

    def account_named(self, data: Data) -> str | None:
        """The subject of the account by whose id it says whose it is; None where it says so otherwise."""
        account_id = data.get("account_id")
        return account_subject(account_id) if account_id is not None and self.customer(data) == account_id else None


class Contracts(Mapping[str, Contract]):
    """The types that are taken, by their names, and the one validator of them all."""

    def __init__(self, rows: Iterable[Contract]) -> None:
        """At least two rows."""
        self._rows = {row.type: row for row in rows}
        self.answered = frozenset(row.type for row in self._rows.values() if row.is_answered)
        models = [row.model for row in self._rows.values()]
        any_model: Any = Annotated[reduce(or_, models), Field(discriminator="type")]
        adapter: TypeAdapter[Any] = TypeAdapter(any_model)
        schema, self.places = noticing(adapter.core_schema)
        validator = SchemaValidator(schema)
        self.validate_json = validator.validate_json
        self.validate_python = validator.validate_python
        self.validate_ignoring = adapter.validator.validate_json  #: without a look at what it does not know
        self.field_names = frozenset(name for model in models for part in _parts(model) for name in part)

    def __getitem__(self, event_type: str) -> Contract:
        return self._rows[event_type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _parts(annotation: Any) -> Iterator[Mapping[str, Any]]:
    """The fields of a TypedDict, and of those within it."""
    below: Iterable[Any] = get_args(annotation)
    if is_typeddict(annotation):
        yield annotation.__annotations__
        below = annotation.__annotations__.values()
    for each in below:
        yield from _parts(each)


def _order(data: Data) -> str:
    return order_subject(data["order_id"])


def _return(data: Data) -> str:
    return return_subject(data["return_id"])


def _named_customer(data: Data) -> str | None:
    return data.get("customer_id")


def _no_customer(data: Data) -> None:
    del data


def _order_source(data: Data) -> str | None:
    return data.get("order_source")


def _about_order(event_type: str, model: Model, fact: Callable[[str, datetime, Data], Fact]) -> Contract:
    """The contract of what is about an order: it waits for the order, and is posted where that is."""
    return Contract(event_type, model, _order, _no_customer, is_subject=False, fact=fact, subject_source=_order_source)


def _account(data: Data) -> str:
    if "customer_id" in data:
        return customer_subject(data["customer_id"])
    return account_subject(data["account_id"]) if "account_id" in data else linked_subject(*linked_of(data))


def _command_to_undo(data: Data) -> str:
    return command_subject(data["command_id"])


def _command_source(data: Data) -> str | None:
    return data.get("command_source")


def _command(verb: str, model: Model, terms: Callable[[Data], Any]) -> Contract:
    """The contract of a command on one account."""
    return Contract(
        COMMAND_PREFIX + verb,
        model,
        _account,
        _named_customer,
        is_subject=False,
        fact=command_of(terms),
        is_answered=True,
    )


def _own_account(data: Data) -> str:
    return account_subject(data["account_id"])


def _authorization(data: Data) -> str:
    return authorization_subject(data["authorization_id"])


def _named_account(data: Data) -> str | None:
    # Where other commands are posted that name the account so.
    return data.get("customer_id") or next((data[name] for name in NAMING if name in data), None)


def _issue(data: Data) -> str:
    return reward_subject(data["issue_id"])


def _on_authorization(verb: str, model: Model, terms: Callable[[Data], Any]) -> Contract:
    """The contract of a command on an authorization: it is posted where that is, and never waits for it."""
    return Contract(
        COMMAND_PREFIX + verb,
        model,
        _authorization,
        _no_customer,
        is_subject=False,
        fact=command_of(terms, whom_of_authorization),
        is_answered=True,
    )


def _on_issue(verb: str, model: Model) -> Contract:
    """The contract of a command on an issued reward, likewise."""
    fact = command_of(issued_terms, whom_of_issue)
    return _on_authorization(verb, model, issued_terms)._replace(subject=_issue, fact=fact)


CONTRACTS = (
    Contract(
        "order.completed",
        OrderCompletedEvent,
        _order,
        _named_account,
        is_subject=True,
        fact=order_of,
        has_order_lines=True,
    ),
    _about_order("order.refunded", OrderRefundedEvent, refund_of),
    _about_order("order.fulfilled", OrderFulfilledEvent, fulfilment_of),
    _about_order("order.cancelled", OrderCancelledEvent, cancellation_of),
    _about_order("order.amended", OrderAmendedEvent, amended_order_of)._replace(has_order_lines=True),
    _about_order("order.refund_reverted", OrderRefundRevertedEvent, reversion_of),
    Contract(
        "order.returned",
        OrderReturnedEvent,
        _return,
        _named_account,
        is_subject=True,
        fact=return_of,
        has_order_lines=True,
    ),
    Contract(
        "order.claimed",
        OrderClaimedEvent,
        _order,
        _named_account,
        is_subject=False,
        fact=claim_of,
        subject_source=_order_source,
    ),
    _command("credit", CreditCommand, credit_terms),
    _command("debit", DebitCommand, debit_terms),
    _command("adjust", AdjustCommand, adjust_terms),
    _command("transfer", TransferCommand, transfer_terms),
    _command("convert", ConvertCommand, convert_terms),
    Contract(
        COMMAND_PREFIX + "reverse",
        ReverseCommand,
        _command_to_undo,
        _no_customer,
        is_subject=False,
        fact=reversal_of,
        subject_source=_command_source,
        is_answered=True,
    ),
    # What names the account by its own id is posted where it is made, and after it.
    _command("account.create", CreateCommand, create_terms)._replace(subject=_own_account, is_subject=True),
    _command("account.update", UpdateCommand, update_terms),
    _command("account.freeze", FreezeCommand, status_terms),
    _command("account.unfreeze", UnfreezeCommand, status_terms),
    _command("account.close", CloseCommand, close_terms),
    _command("account.merge", MergeCommand, merge_terms),
    _command("account.unmerge", UnmergeCommand, status_terms),
    _command("redeem", RedeemCommand, redeem_terms),
    _command("authorize", AuthorizeCommand, authorize_terms)._replace(
        subject=_authorization, customer=_named_account, is_subject=True, own_id="authorization_id"
    ),
    _on_authorization("capture", CaptureCommand, capture_terms),
    _on_authorization("void", VoidCommand, void_terms),
    _command("reward.issue", IssueRewardCommand, issue_terms)._replace(
        subject=_issue, customer=_named_account, is_subject=True, own_id="issue_id"
    ),
    _on_issue("reward.redeem", RedeemRewardCommand),
    _on_issue("reward.delete", DeleteRewardCommand),
    _command("account.link", LinkCommand, link_terms),
    _command("account.unlink", UnlinkCommand, link_terms),
    _command("customer.erase", EraseCommand, erase_terms)._replace(needs_salt=True),
)
INBOUND = Contracts(CONTRACTS)
