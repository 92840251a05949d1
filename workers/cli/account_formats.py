"""`--format` of `loyalty account`: accounts and their entries in the words of other systems, as JSON."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from core.domain.value.commands import PHONE
from core.messages.inbound.personal_names import phone_of
from core.reading.shapes.lightrail import lightrail_account, lightrail_transactions
from core.reading.shapes.native import native_account
from core.reading.shapes.square import square_account
from core.reading.standing import Standing, load_entries
from core.reading.storefront import page_of
from workers.cli.command_errors import PresentOnlyError


class AccountFormat(StrEnum):
    """In whose words an account is told."""

    NATIVE = "native"
    SQUARE = "square"
    LIGHTRAIL = "lightrail"


class HistoryFormat(StrEnum):
    """In whose words entries are told."""

    NATIVE = "native"
    LIGHTRAIL = "lightrail"


InFormat = Annotated[
    AccountFormat | None,
    typer.Option("--format", help="Print JSON in these words: ours, Square's LoyaltyAccount, Lightrail's account."),
]
HistoryInFormat = Annotated[
    HistoryFormat | None,
    typer.Option("--format", help="Print JSON in these words: ours, or Lightrail's transactions."),
]


def require_present(told: StrEnum | None, as_of_text: str | None) -> None:
    """PresentOnlyError where the words of others are asked for the past, of which they say too much."""
    if told is not None and told.value != AccountFormat.NATIVE.value and as_of_text is not None:
        raise PresentOnlyError(told=told.value)


def account_documents(
    connection: Connection, standings: Sequence[Standing], told: AccountFormat, name: str, named_by: str
) -> list[Mapping[str, Any]]:
    """The accounts in these words; `name` is what they were found by."""
    shapes: Mapping[AccountFormat, Callable[[Standing], Mapping[str, Any]]] = {
        AccountFormat.NATIVE: native_account,
        AccountFormat.SQUARE: lambda each: square_account(
            connection, each, phone_of(name) if named_by == PHONE else None
        ),
        AccountFormat.LIGHTRAIL: lambda each: lightrail_account(connection, each),
    }
    return [shapes[told](standing) for standing in standings]


def transaction_documents(
    connection: Connection, standings: Sequence[Standing], entries_max: int, before: int | None
) -> list[Mapping[str, Any]]:
    """Entries of each account as Lightrail's transactions, with what asks for those before them."""
    documents: list[Mapping[str, Any]] = []
    for standing in standings:
        page = page_of(load_entries(connection, standing, entries_max, before=before))
        documents.append(
            {
                "valueStore": lightrail_account(connection, standing),
                "transactions": lightrail_transactions(connection, standing, page.entries),
                "before": page.before,
            }
        )
    return documents
