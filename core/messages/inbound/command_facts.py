"""Makes the commands of the domain of the settled data of messages."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from core.domain.value.commands import ACCOUNT, CUSTOMER, LINKED, Command, CreditTerms, DebitTerms, Whom

Data = Mapping[str, Any]


def whom_of(data: Data, prefix: str = "") -> Whom:
    """Whose account a command is about, or another one that it names in fields with this prefix."""
    if f"{prefix}customer_id" in data:
        return Whom(CUSTOMER, data[f"{prefix}customer_id"])
    if f"{prefix}account_id" in data:
        return Whom(ACCOUNT, data[f"{prefix}account_id"])
    return linked_of(data)


def linked_of(data: Data) -> Whom:
    """By which card, phone number or e-mail address an account is named, or which of these is linked to it."""
    return next(Whom(kind, data[kind]) for kind in LINKED if kind in data)


def command_of(
    terms: Callable[[Data], Any], whom: Callable[[Data], Whom] = whom_of
) -> Callable[[str, datetime, Data], Command[Any]]:
    """What makes commands, with these terms, of source, occurred_at and data."""

    def command(source: str, occurred_at: datetime, data: Data) -> Command[Any]:
        acting = data.get("acting_customer_id", data.get("customer_id"))
        return Command(source, occurred_at, whom(data), terms(data), data.get("unit"), acting, data.get("by"))

    return command


def credit_terms(data: Data) -> CreditTerms:
    """What a credit gives."""
    return CreditTerms(
        data["points"],
        data.get("reason"),
        data.get("order_id"),
        instant_of(data.get("available_at")),
        instant_of(data.get("expires_at")),
    )


def debit_terms(data: Data) -> DebitTerms:
    """What a debit takes."""
    return DebitTerms(
        data["points"],
        data.get("reason"),
        data.get("order_id"),
        allow_remainder=data.get("allow_remainder", False),
    )


def instant_of(text: str | datetime | None) -> datetime | None:
    """The instant that a field of settled data says."""
    return datetime.fromisoformat(text) if isinstance(text, str) else text
