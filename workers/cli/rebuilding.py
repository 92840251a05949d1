"""`loyalty rebuild`: the numbers of accounts, lots and orders worked out again from what is only ever added."""

from itertools import groupby
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Engine

from config.settings import Settings
from core.store.engine import run_bulk
from core.store.rebuild import Contradiction, Examined, Repair, apply_repairs, examine
from core.store.reports import load_accounts
from core.store.scope import Scope, slices, these_accounts
from workers.cli.errors import UnknownCustomerError
from workers.cli.output import AsJson, ProgressLine, count_text, print_json, say, say_below
from workers.cli.wiring import opened_database

#: Accounts that are locked and written at once.
_ACCOUNTS_AT_ONCE = 200
#: Accounts that are shown one by one; all are counted, and with --apply all are put right.
_SHOWN_MAX = 1_000


def rebuild(
    *,
    customer: Annotated[str | None, typer.Option(help="Only this customer's accounts.")] = None,
    is_applied: Annotated[bool, typer.Option("--apply", help="Write what the facts give.")] = False,
    as_json: AsJson = False,
) -> None:
    """Work out balances, lots, orders and tiers again from entries and other facts, and show what differs.

    \b
    loyalty rebuild
    loyalty rebuild --customer C-1001 --apply

    Changes nothing without --apply. With it, differing numbers are put right, account by account, beside running
    workers; each change is kept in the table repairs. An account whose facts contradict each other is left alone:
    `loyalty verify` names what is wrong. Exit code 1 when differences are left.
    """
    found = _Found()
    progress = ProgressLine(is_quiet=as_json)
    with opened_database(Settings()) as engine:
        scopes = _scopes(engine, customer)
        for done, scope in enumerate(scopes):
            progress.show(f"Slice {done + 1} of {len(scopes)}, {count_text(found.accounts, 'account')} differ")
            examined = _examine(engine, scope)
            if is_applied:
                examined = Examined(_apply(engine, examined.repairs), examined.contradictions)
            progress.clear()
            found.take(examined, is_silent=as_json, is_applied=is_applied)
    is_right = not found.contradicting and (is_applied or not found.accounts)
    if as_json:
        print_json(
            {
                "is_right": is_right,
                "is_applied": is_applied,
                "accounts_differing": found.accounts,
                "accounts_contradicting": found.contradicting,
                "differences": [
                    {name: value for name, value in repair._asdict().items() if name not in {"table", "key", "numbers"}}
                    for repair in found.repairs
                ],
                "contradictions": found.contradictions,
            }
        )
    else:
        _say_summary(found, is_applied=is_applied)
    if not is_right:
        raise typer.Exit(1)


class _Found:
    """What there is to show, up to `_SHOWN_MAX` accounts, and the count of all."""

    def __init__(self) -> None:
        self.accounts = 0
        self.contradicting = 0
        self.numbers = 0
        self.repairs: list[Repair] = []
        self.contradictions: list[Contradiction] = []

    def take(self, examined: Examined, *, is_silent: bool, is_applied: bool) -> None:
        """Count and show what was found in one slice."""
        for _, group in groupby(examined.repairs, key=lambda repair: repair.account_id):
            repairs = list(group)
            self.accounts += 1
            self.numbers += sum(len(repair.found) for repair in repairs)
            if self.accounts > _SHOWN_MAX:
                continue
            self.repairs += repairs
            if not is_silent:
                _say_account(repairs[0], [_repair_text(repair, is_applied=is_applied) for repair in repairs])
        for contradiction in examined.contradictions:
            self.contradicting += 1
            if self.contradicting > _SHOWN_MAX:
                continue
            self.contradictions.append(contradiction)
            if not is_silent:
                _say_account(contradiction, [f"cannot be rebuilt: {text}" for text in contradiction.texts])


def _scopes(engine: Engine, customer: str | None) -> list[Scope]:
    with engine.begin() as connection:
        if customer is None:
            return slices(connection)
        accounts = load_accounts(connection, customer)
    if not accounts:
        raise UnknownCustomerError(customer_id=customer, where="")
    return [these_accounts([account.account_id for account in accounts])]


def _examine(engine: Engine, scope: Scope) -> Examined:
    with engine.begin() as connection:
        # One snapshot for the three statements, or a message that is posted between them would look like a difference.
        run_bulk(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        run_bulk(connection, "SET LOCAL statement_timeout = 0")
        run_bulk(connection, "SET LOCAL work_mem = '64MB'")
        return examine(connection, scope)


def _apply(engine: Engine, planned: list[Repair]) -> list[Repair]:
    """Put right so many accounts at a time, each time in a transaction of its own."""
    account_ids = list(dict.fromkeys(repair.account_id for repair in planned))
    applied: list[Repair] = []
    for start in range(0, len(account_ids), _ACCOUNTS_AT_ONCE):
        chosen: set[UUID] = set(account_ids[start : start + _ACCOUNTS_AT_ONCE])
        with engine.begin() as connection:
            applied += apply_repairs(connection, [repair for repair in planned if repair.account_id in chosen])
    return applied


def _say_account(about: Repair | Contradiction, texts: list[str]) -> None:
    say(f"{about.customer_id} in {about.program_id} (account {about.account_id})", style="bold")
    for text in texts:
        say_below(text)


def _repair_text(repair: Repair, *, is_applied: bool) -> str:
    verb = "was" if is_applied else "is"
    parts = [
        f"{name} {verb} {_value_text(value)}, the facts give {_value_text(repair.rebuilt[name])}"
        for name, value in repair.found.items()
    ]
    return f"{repair.subject}: {'; '.join(parts)}"


def _value_text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "none" if value is None else str(value)


def _say_summary(found: _Found, *, is_applied: bool) -> None:
    if found.accounts > _SHOWN_MAX or found.contradicting > _SHOWN_MAX:
        say(f"Shown are the first {_SHOWN_MAX:,} accounts.")
    if found.contradicting:
        say(f"The facts of {count_text(found.contradicting, 'account')} contradict each other: see `loyalty verify`.")
    if found.accounts == 0:
        say("Nothing to put right." if found.contradicting else "Everything is what the facts give.")
        return
    what = f"{count_text(found.numbers, 'number')} of {count_text(found.accounts, 'account')}"
    if is_applied:
        say(f"Put right: {what}. The table repairs keeps what was there.")
    else:
        say(f"{what} differ; nothing is changed. To put them right: loyalty rebuild --apply")
