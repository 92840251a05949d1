"""An account and its transactions as Lightrail's drafts have them: a value store of type ACCOUNT, and its steps."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal, NotRequired, TypedDict

from sqlalchemy import Connection

from core.domain.ledger import AccountStatus, EntryKind
from core.domain.members import Role
from core.domain.program import Access
from core.domain.value.authorizations import AuthorizationState
from core.messages.outbound.event_json import instant_text
from core.reading.accounts import HistoryEntry, load_authorization_states
from core.reading.standing import Standing
from core.store.account_names import ask_details

NEVER = "never"


class LightrailCustomer(TypedDict):
    """A customer who may spend."""

    customerId: str


class LightrailAccount(TypedDict):
    """Lightrail's account: a value store, with its value in the smallest units of its currency."""

    valueStoreId: str
    programId: str
    currency: str
    value: int
    type: Literal["ACCOUNT"]
    preTax: bool
    appliesTo: Literal["cart"]
    expires: str
    active: bool
    accessedBy: list[LightrailCustomer]
    tags: list[str]
    metadata: dict[str, str | int | bool]


class LightrailStep(TypedDict):
    """What a transaction did to one value store."""

    rail: Literal["lightrail"]
    valueStoreId: str
    currency: str
    customerId: str
    valueBefore: int
    valueAfter: int
    valueChange: int


class LightrailTransaction(TypedDict):
    """What changed a value store, or ended what was pending."""

    transactionId: str
    transactionType: str
    currency: str
    steps: list[LightrailStep]
    pending: NotRequired[Literal["pending", "captured", "void"]]
    simulated: bool
    createdDate: str
    metadata: dict[str, str]


def lightrail_account(connection: Connection, standing: Standing) -> LightrailAccount:
    """The account of the present as a value store; ValueError of one of the past."""
    if standing.is_past:
        raise ValueError("a value store is one of the present")
    account, program = standing.account, standing.program
    details = ask_details(connection, [account.account_id]).found[account.account_id]
    others = standing.members if program.access is Access.MEMBERS else ()
    spenders = [account.customer_id, *(each.customer_id for each in others if each.role is Role.MEMBER)]
    return LightrailAccount(
        valueStoreId=_value_store_id(standing),
        programId=account.program_id,
        currency=program.unit,
        value=account.balance,
        type="ACCOUNT",
        preTax=False,
        appliesTo="cart",
        expires=_expires(standing),
        active=account.status is AccountStatus.ACTIVE and account.merged_into is None,
        accessedBy=[LightrailCustomer(customerId=each) for each in spenders],
        tags=list(details.tags),
        metadata=dict(details.metadata),
    )


def _value_store_id(standing: Standing) -> str:
    account = standing.account
    return str(account.account_id) if account.own_account_id is None else account.own_account_id


def _expires(standing: Standing) -> str:
    """From when on nothing is left of what is there now; "never" where some of it does not expire."""
    ends = [left.expires_at for left in standing.points_left]
    known = [end for end in ends if end is not None]
    return instant_text(max(known)) if known and len(known) == len(ends) else NEVER


def lightrail_transactions(
    connection: Connection, standing: Standing, entries: Sequence[HistoryEntry]
) -> list[LightrailTransaction]:
    """These entries of the account, which are in the order of their numbers, as transactions, in the same order.

    Entries of one command that follow each other are steps of one. What changes only what is pending or reserved is
    none, but for captures, which have no step.
    """
    reserved = [entry.sequence for entry in entries if entry.kind is EntryKind.AUTHORIZATION]
    states = load_authorization_states(connection, standing.account.account_id, reserved)
    told = (entry for entry in entries if entry.points or entry.kind is EntryKind.CAPTURE)
    return [_transaction(standing, group, states) for group in _by_command(told)]


def _by_command(entries: Iterator[HistoryEntry]) -> Iterator[list[HistoryEntry]]:
    def key(entry: HistoryEntry) -> tuple[str | None, str | None, int]:
        return entry.source, entry.command_id, 0 if entry.command_id is not None else entry.sequence

    for _, group in groupby(entries, key=key):
        yield list(group)


def _transaction(
    standing: Standing, entries: Sequence[HistoryEntry], states: Mapping[int, AuthorizationState]
) -> LightrailTransaction:
    first, unit = entries[0], standing.program.unit
    steps = [
        LightrailStep(
            rail="lightrail",
            valueStoreId=_value_store_id(standing),
            currency=unit,
            customerId=standing.account.customer_id,
            valueBefore=entry.balance_after - entry.points,
            valueAfter=entry.balance_after,
            valueChange=entry.points,
        )
        for entry in entries
        if entry.points
    ]
    found = LightrailTransaction(
        transactionId=f"{standing.account.account_id}-{first.sequence}",
        transactionType=_TYPES.get(first.kind) or ("credit" if first.points > 0 else "debit"),
        currency=unit,
        steps=steps,
        simulated=False,
        createdDate=instant_text(first.recorded_at),
        metadata=_metadata(first),
    )
    if first.sequence in states:
        found["pending"] = _PENDING[states[first.sequence]]
    return found


#: Of kinds that are always the same; the others credit or debit by their sign.
_TYPES: Mapping[EntryKind, str] = {
    EntryKind.TRANSFER: "transfer",
    EntryKind.CONVERSION: "transfer",
    EntryKind.MERGE: "transfer",
    EntryKind.REVERSAL: "reverse",
    EntryKind.CAPTURE: "capture",
    EntryKind.VOID: "void",
}
_PENDING: Mapping[AuthorizationState, Literal["pending", "captured", "void"]] = {
    AuthorizationState.OPEN: "pending",
    AuthorizationState.CAPTURED: "captured",
    AuthorizationState.VOIDED: "void",
    AuthorizationState.EXPIRED: "void",
    AuthorizationState.CLAWED_BACK: "void",
}


def _metadata(entry: HistoryEntry) -> dict[str, str]:
    told = entry.why.get("command") or {}
    named: dict[str, Any] = {
        "kind": entry.kind.value,
        "source": entry.source,
        "orderId": entry.order_id or told.get("order_id"),
        "refundId": entry.refund_id,
        "returnId": entry.return_id,
        "commandId": entry.command_id,
        "customerId": entry.acting_customer_id,
        "note": told.get("reason"),
    }
    return {name: value for name, value in named.items() if isinstance(value, str)}
