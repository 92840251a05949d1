"""`loyalty account explain`: why the balance is what it is, in sentences that can be read to the customer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import typer
from sqlalchemy import Connection

from config.settings import Settings
from core.domain.ledger import EntryKind, TierChange, TierChangeReason
from core.domain.program import Program
from core.reading.accounts import HistoryEntry, load_history, load_judging_versions, load_tier_changes
from core.store.programs import ProgramRegistry
from core.store.repairs import KeptRepair, load_repairs
from workers.cli.account_options import AsOf, CustomerId, EntriesMax, ProgramId
from workers.cli.explaining import headline, told_texts
from workers.cli.explaining_orders import explain_order, say_told
from workers.cli.output import AsJson, count_text, print_json, printable, say, time_text
from workers.cli.standing import (
    Standing,
    ending_texts,
    load_standings,
    measured_text,
    next_tier_text,
    pending_texts,
    standing_document,
    tier_text,
    units_text,
)
from workers.cli.wiring import opened_database


class _Explanation(NamedTuple):
    """All that there is to tell of one account."""

    standing: Standing
    summary: list[str]
    tiers: list[str]
    by_hand: list[str]
    entries: list[tuple[HistoryEntry, str, list[str]]]  #: with the headline and the sentences below it


def explain(
    customer_id: CustomerId,
    program_id: ProgramId = None,
    *,
    order_id: Annotated[
        str | None, typer.Option("--order", metavar="ID", help="Only this order, rule by rule, with its refunds.")
    ] = None,
    limit: EntriesMax = 50,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Tell why a customer has so many points, in sentences: every entry, rule by rule; what is pending; what ends.

    \b
    loyalty account explain C-1001
    loyalty account explain C-1001 --order 5001
    loyalty account explain C-1001 --as-of 2026-11-20T18:00:00+00:00 --json

    --order works out again what each rule and promotion gave the order, by the version and the conditions that were
    frozen with it, or says why one gave nothing. --as-of tells of what was recorded by then.
    """
    with opened_database(Settings()) as engine, engine.begin() as connection:
        found = load_standings(connection, customer_id, program_id, as_of)
        if order_id is not None:
            explain_order(connection, found, customer_id, program_id, order_id, as_json=as_json)
            return
        told = [_explanation(connection, found.registry, standing, limit) for standing in found.standings]
    if as_json:
        documents = [_document(each) for each in told]
        print_json({"customer_id": customer_id, "as_of": found.as_of, "accounts": documents})
        return
    for place, each in enumerate(told):
        if place:
            say()
        _print(customer_id, each)


def _explanation(connection: Connection, registry: ProgramRegistry, standing: Standing, limit: int) -> _Explanation:
    account = standing.account
    changes = load_tier_changes(connection, account.account_id)[: account.tier_changes]
    judged_by = load_judging_versions(connection, account.account_id)
    repairs = load_repairs(connection, account.account_id, standing.as_of)
    entries = load_history(connection, account.account_id, limit, through=account.sequence)
    zone = standing.program.zone
    told = [
        (
            entry,
            headline(entry, zone),
            [*told_texts(entry), *([tier] if (tier := _tier_of_entry(entry, changes, standing)) else [])],
        )
        for entry in entries
    ]
    return _Explanation(
        standing,
        _summary(standing),
        [
            _change_text(change, registry.version(account.program_id, judged_by[change.change_number]).program, repairs)
            for change in changes
        ],
        [_repair_text(repair, standing) for repair in repairs],
        told,
    )


def _summary(standing: Standing) -> list[str]:
    """Where the account stands: balance, deficit, pending, ends, tier, and what is on its way."""
    account = standing.account
    verb = "was" if standing.is_past else "is"
    texts = [f"The balance {verb} {count_text(account.balance, 'point')}."]
    if account.deficit:
        texts.append(
            f"Refunds took {count_text(account.deficit, 'point')} more than there were; the next points pay that off."
        )
    texts += [*pending_texts(standing), *ending_texts(standing), f"Tier: {tier_text(standing)}."]
    if not standing.is_past:
        texts.append(f"Next tier: {next_tier_text(standing)}.")
    for message in standing.open_messages:
        reason = "" if message.reason is None else f" ({message.reason}; loyalty dead show {message.inbox_id})"
        name = message.type.removeprefix("order.")
        texts.append(
            f"Not in the ledger: message {message.inbox_id}, order {message.order_id} {name}: {message.state}{reason}."
        )
    return texts


def _tier_of_entry(entry: HistoryEntry, changes: Sequence[TierChange], standing: Standing) -> str | None:
    """Why an order earned in its tier."""
    if entry.kind is not EntryKind.ACCRUAL:
        return None
    tier_id, zone = entry.why.get("tier"), standing.program.zone
    reached = [each for each in changes if each.effective_at <= entry.occurred_at and each.tier_id == tier_id]
    if not reached:
        is_first = not changes or tier_id == changes[0].previous_tier_id
        return f"Tier {tier_id}: the customer was in it from the beginning." if is_first else None
    since = reached[-1].effective_at
    if since == entry.occurred_at and reached[-1].reason is TierChangeReason.QUALIFIED:
        return f"Tier {tier_id}: this order reached it, and earned in it."
    return f"Tier {tier_id}: the customer was in it since {time_text(since, zone)[:16]}."


def _change_text(change: TierChange, program: Program, repairs: Sequence[KeptRepair]) -> str:
    had = measured_text(change.qualifying_points, program)
    tier = program.tier(change.tier_id)
    takes = (
        "" if tier is None else f", and it takes {units_text(tier.threshold(program.qualification.measure), program)}"
    )
    why = {
        TierChangeReason.QUALIFIED: f"{had} had been reached{takes}",
        TierChangeReason.REVIEWED: f"the period had ended with {had}",
        TierChangeReason.REFUNDED: f"a refund left {had}",
        TierChangeReason.HELD: f"it was set by hand{_reason_of(change, repairs)}",
    }[change.reason]
    when = time_text(change.effective_at, program.zone)[:16]
    return f"{when}  From {change.previous_tier_id} to {change.tier_id}: {why}."


def _reason_of(change: TierChange, repairs: Sequence[KeptRepair]) -> str:
    for repair in repairs:
        if repair.subject == "tier" and repair.rebuilt.get("change_number") == change.change_number:
            return f" ({repair.rebuilt['reason']})"
    return ""


def _repair_text(repair: KeptRepair, standing: Standing) -> str:
    zone = standing.program.zone
    names = [
        name
        for name in repair.rebuilt
        if name not in {"reason", "change_number"} and repair.rebuilt[name] != repair.found.get(name)
    ]
    parts = [
        f"{name} was {_value_text(repair.found.get(name), standing)}, "
        f"became {_value_text(repair.rebuilt[name], standing)}"
        for name in names
    ]
    reason = f" ({repair.rebuilt['reason']})" if repair.rebuilt.get("reason") else ""
    return f"{time_text(repair.applied_at, zone)[:16]}  {repair.subject}: {'; '.join(parts)}{reason}."


def _value_text(value: Any, standing: Standing) -> str:
    if isinstance(value, str) and value[:1].isdigit() and "T" in value:
        return time_text(datetime.fromisoformat(value), standing.program.zone)[:16]
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _document(told: _Explanation) -> dict[str, Any]:
    return {
        **standing_document(told.standing),
        "summary": told.summary,
        "tier_history": told.tiers,
        "changed_by_hand": told.by_hand,
        "entries_in_all": told.standing.account.sequence,
        "entries": [{**entry._asdict(), "headline": head, "sentences": texts} for entry, head, texts in told.entries],
    }


def _print(customer_id: str, told: _Explanation) -> None:
    standing, program = told.standing, told.standing.program
    then = f"; as it was recorded at {time_text(standing.as_of, program.zone)}" if standing.is_past else ""
    say(f"{customer_id} in {program.name} ({program.program_id}); times in {program.time_zone}{then}", style="bold")
    for text in told.summary:
        say(f"  {printable(text, is_line=True)}")
    if told.tiers:
        say("How the tier came to be", style="bold")
        for text in told.tiers:
            say(f"  {printable(text, is_line=True)}")
    if told.by_hand:
        say("What was changed by hand", style="bold")
        for text in told.by_hand:
            say(f"  {printable(text, is_line=True)}")
    say("How the balance came to be", style="bold")
    if not told.entries:
        say("  No entries: the customer's orders have earned nothing so far.")
    for _, head, texts in told.entries:
        say(f"  {head}")
        for text in texts:
            say_told(text)
    if standing.account.sequence > len(told.entries):
        in_all = count_text(standing.account.sequence, "entry", "entries")
        say(f"The last {len(told.entries):,} of {in_all}; --limit shows more.")
