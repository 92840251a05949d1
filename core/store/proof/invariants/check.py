"""What a check is."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.domain.program.registry import ProgramRegistry
from core.store.proof.scope import Findings, Scope


class Check(NamedTuple):
    """One invariant as a set-based query: it finds the rows that break it, and says so in words.

    What SQL cannot work out, such as what an order earns, is a function instead, which streams its rows.

    The query is written as if for the whole ledger, and returns the account (null: it is about none) and the text of
    each difference; `core.store.proof.scope` narrows it to some accounts.

    The two sides of a check are put below each other and added up, or are added up before they are joined: a plain
    join would be quadratic for an account that thousands share, since it is the accounts that have an index.
    """

    invariant: int
    name: str
    query: str = ""
    is_global: bool = False  #: needs everything: left out when only some accounts are looked at
    #: Compares facts with facts: what breaks it cannot be rebuilt, and nothing of its account is.
    is_of_facts: bool = False
    #: Parameters of the query that only we can work out; of a global check, by going through the slices.
    load: Callable[[Connection, ProgramRegistry, Scope], dict[str, Any]] | None = None
    #: Instead of the query: yields what that would return.
    find: Callable[[Connection, ProgramRegistry, Scope], Findings] | None = None
