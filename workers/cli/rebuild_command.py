"""`loyalty rebuild`: the numbers of accounts, lots, orders and limits worked out again from what is only ever added."""

from itertools import groupby
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from config.settings import Settings
from core.mending.rebuilding import (
    BudgetRepair,
    Contradiction,
    Examination,
    Repair,
    Scope,
    examine_all_budgets,
    examine_scope,
    repair_accounts,
    repair_budgets,
    scopes_of,
)
from core.reading.standing import require_accounts
from workers.cli.output import AsJson, ProgressLine, count_text, print_json, say, say_below
from workers.cli.wiring import By, acting, opened_database

#: Accounts that are shown one by one; all are counted, and with --apply all are put right.
_SHOWN_MAX = 1_000


def rebuild(
    *,
    customer: Annotated[str | None, typer.Option(help="Only this customer's accounts.")] = None,
    is_applied: Annotated[bool, typer.Option("--apply", help="Write what the facts give.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Work out balances, lots, orders, tiers and limits again from entries and other facts, and show what differs.

    \b
    loyalty rebuild
    loyalty rebuild --customer C-1001 --apply

    Changes nothing without --apply. With it, differing numbers are put right, account by account, beside running
    workers; each change is kept in the table repairs. An account whose facts contradict each other is left alone:
    `loyalty verify` names what is wrong. Promotions' budgets are of all customers: not looked at with --customer, and
    left alone where an account of their program is. Exit code 1 when differences are left.
    """
    found = _Report(is_silent=as_json, is_applied=is_applied)
    progress = ProgressLine(is_quiet=as_json)
    with opened_database(Settings()) as engine:
        scopes = _scopes(engine, customer)
        for done, scope in enumerate(scopes):
            progress.show(f"Slice {done + 1} of {len(scopes)}, {count_text(found.accounts, 'account')} differ")
            examined = examine_scope(engine, scope)
            if is_applied:
                examined = Examination(repair_accounts(engine, examined.repairs, acting(by)), examined.contradictions)
            progress.clear()
            found.take(examined)
        if customer is None:
            progress.show(f"Budgets of promotions, {count_text(found.accounts, 'account')} differ")
            budgets = [repair for repair in examine_all_budgets(engine) if repair.program_id not in found.untrusted]
            if is_applied:
                budgets = repair_budgets(engine, budgets, acting(by))
            progress.clear()
            found.take_budgets(budgets)
    if as_json:
        print_json(found.document())
    else:
        _say_summary(found)
    if not found.is_right:
        raise typer.Exit(1)


class _Report:
    """What there is to show, up to `_SHOWN_MAX` accounts, and the count of all."""

    def __init__(self, *, is_silent: bool, is_applied: bool) -> None:
        self.is_silent, self.is_applied = is_silent, is_applied
        self.accounts = 0
        self.contradicting = 0
        self.numbers = 0
        self.repairs: list[Repair] = []
        self.contradictions: list[Contradiction] = []
        self.untrusted: set[str] = set()  #: programs of which an account's facts contradict each other
        self.budgets: list[BudgetRepair] = []

    @property
    def is_right(self) -> bool:
        """Whether nothing is left that differs."""
        return not self.contradicting and (self.is_applied or not (self.accounts or self.budgets))

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "is_right": self.is_right,
            "is_applied": self.is_applied,
            "accounts_differing": self.accounts,
            "accounts_contradicting": self.contradicting,
            "differences": [
                {name: value for name, value in repair._asdict().items() if name not in {"table", "key", "numbers"}}
                for repair in self.repairs
            ],
            "contradictions": self.contradictions,
            "budgets": [
                {name: getattr(budget, name) for name in ("program_id", "name", "found", "rebuilt")}
                for budget in self.budgets
            ],
        }

    def take(self, examined: Examination) -> None:
        """Count and show what was found in one slice."""
        for _, group in groupby(examined.repairs, key=lambda repair: repair.account_id):
            repairs = list(group)
            self.accounts += 1
            self.numbers += sum(len(repair.found) for repair in repairs)
            if self.accounts > _SHOWN_MAX:
                continue
            self.repairs += repairs
            if not self.is_silent:
                _say_account(
                    repairs[0], [_repair_text(repair, repair.subject, is_applied=self.is_applied) for repair in repairs]
                )
        for contradiction in examined.contradictions:
            self.contradicting += 1
            self.untrusted.add(contradiction.program_id)
            if self.contradicting > _SHOWN_MAX:
                continue
            self.contradictions.append(contradiction)
            if not self.is_silent:
                _say_account(contradiction, [f"cannot be rebuilt: {text}" for text in contradiction.texts])

    def take_budgets(self, budgets: list[BudgetRepair]) -> None:
        """Count and show what was found of promotions' budgets."""
        self.budgets += budgets
        for budget in budgets:
            if not self.is_silent:
                say(f"{budget.name} in {budget.program_id}", style="bold")
                say_below(_repair_text(budget, "budget", is_applied=self.is_applied))


def _scopes(engine: Engine, customer: str | None) -> list[Scope]:
    with engine.begin() as connection:
        accounts = None if customer is None else require_accounts(connection, customer)
        return scopes_of(connection, None if accounts is None else [account.account_id for account in accounts])


def _say_account(about: Repair | Contradiction, texts: list[str]) -> None:
    say(f"{about.customer_id} in {about.program_id} (account {about.account_id})", style="bold")
    for text in texts:
        say_below(text)


def _repair_text(repair: Repair | BudgetRepair, subject: str, *, is_applied: bool) -> str:
    verb = "was" if is_applied else "is"
    parts = [
        f"{name} {verb} {_value_text(value)}, the facts give {_value_text(repair.rebuilt[name])}"
        for name, value in repair.found.items()
    ]
    return f"{subject}: {'; '.join(parts)}"


def _value_text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "none" if value is None else str(value)


def _say_summary(found: _Report) -> None:
    if found.accounts > _SHOWN_MAX or found.contradicting > _SHOWN_MAX:
        say(f"Shown are the first {_SHOWN_MAX:,} accounts.")
    if found.contradicting:
        say(f"The facts of {count_text(found.contradicting, 'account')} contradict each other: see `loyalty verify`.")
    if found.accounts == 0 and not found.budgets:
        say("Nothing to put right." if found.contradicting else "Everything is what the facts give.")
        return
    parts = [f"{count_text(found.numbers, 'number')} of {count_text(found.accounts, 'account')}"] * bool(found.accounts)
    parts += [count_text(len(found.budgets), "budget")] * bool(found.budgets)
    what = " and ".join(parts)
    if found.is_applied:
        say(f"Put right: {what}. The table repairs keeps what was there.")
    else:
        say(f"{what} differ; nothing is changed. To put them right: loyalty rebuild --apply")
