"""`loyalty account`: what a customer has, and why; and the tier that a person puts them into."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Connection

from config.settings import Settings
from core.domain.ledger import Account, AccountStatus
from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry
from core.domain.value.authorizations import Authorization
from core.domain.value.commands import ACCOUNT, CARD, CUSTOMER, EMAIL, PHONE
from core.reading.accounts import HistoryEntry
from core.reading.open_lots import LOTS_LISTED_MAX
from core.reading.order_outcomes import load_order_outcomes
from core.reading.shapes.native import native_account, points_but_of
from core.reading.snapshot import Snapshot
from core.reading.standing import Standing, Standings, load_account_history, load_entries
from core.reading.storefront import HistoryPage, find_standings, page_of
from workers.cli.account_formats import (
    AccountFormat,
    HistoryFormat,
    HistoryInFormat,
    InFormat,
    account_documents,
    require_present,
    transaction_documents,
)
from workers.cli.account_sentences import (
    available_text,
    elsewhere_text,
    good_until_text,
    linked_text,
    members_text,
    next_tier_text,
    repair_text,
    status_text,
    summary_texts,
    tier_change_text,
    tier_text,
    tier_text_of_entry,
)
from workers.cli.command_errors import FutureInstantError
from workers.cli.customer_explanation import Audience, ForWhom, explain_to_customer, require_whole_present
from workers.cli.entry_sentences import headline, moves_text, reference_text, sentences_of, why_text
from workers.cli.hold_tier_command import hold_tier
from workers.cli.order_sentences import print_orders, print_section, say_sentence
from workers.cli.output import (
    LIMIT_MAX,
    AsJson,
    Row,
    command_text,
    count_text,
    points_text,
    print_facts,
    print_json,
    print_listing,
    printable,
    say,
    separated,
    time_text,
)
from workers.cli.value_commands import add_spellings
from workers.cli.wiring import CustomerId, ProgramId, opened_snapshot, read_instant
from workers.secrets import reference_salt

AsOf = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="As it was recorded at this instant, with its offset.")
]


class NameKind(StrEnum):
    """What an account is named by on the command line."""

    CUSTOMER = CUSTOMER
    ACCOUNT = ACCOUNT
    CARD = CARD
    PHONE = PHONE
    EMAIL = EMAIL


NamedBy = Annotated[
    NameKind,
    typer.Option("--named-by", help="What CUSTOMER is: the shop's id, an account's, or what is linked to the account."),
]
EntriesMax = Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="How many of the newest entries of each account.")]

_NONE_YET = "No entries: the customer's orders have earned nothing so far."
#: Lots that are shown of an account; the rest is summed up.
_LOTS_SHOWN_MAX = 100


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command()(show)
    group.command()(history)
    group.command()(explain)
    group.command("hold-tier")(hold_tier)
    add_spellings(group, "account")
    app.add_typer(group, name="account", help="What a customer has, and why; and what is done to accounts by hand.")


def show(
    customer_id: CustomerId,
    program_id: ProgramId = None,
    *,
    named_by: NamedBy = NameKind.CUSTOMER,
    as_of: AsOf = None,
    told: InFormat = None,
    as_json: AsJson = False,
) -> None:
    """Show a customer's points: balance, pending, tier, and the lots with their expiry; now or in the past.

    \b
    loyalty account show C-1001
    loyalty account show C-1001 --program high-street --json
    loyalty account show C-1001 --as-of 2026-11-20T18:00:00+00:00
    loyalty account show 9801-0007 --named-by card
    loyalty account show "+44 7400 123456" --named-by phone
    loyalty account show C-1001 --format square

    All accounts are shown that the customer owns or is a member of. --as-of shows what was recorded by then: what the
    customer could be shown. What happened before and came in later is not in it.
    """
    require_present(told, as_of)
    if as_json:
        told = told or AccountFormat.NATIVE
    with opened_snapshot(Settings()) as now:
        found = _standings(now, customer_id, program_id, as_of, named_by)
        documents = (
            [] if told is None else account_documents(now.connection, found.standings, told, customer_id, named_by)
        )
        customer_id = _customer_of(customer_id, named_by, found)
    if told is not None:
        print_json({"customer_id": customer_id, "as_of": found.as_of, "accounts": documents})
        return
    for standing in separated(found.standings):
        _print_account(customer_id, standing)


def history(
    customer_id: CustomerId,
    program_id: ProgramId = None,
    *,
    named_by: NamedBy = NameKind.CUSTOMER,
    limit: EntriesMax = 50,
    before: Annotated[
        int | None, typer.Option(min=1, metavar="ENTRY", help="Those before this entry, which is named below a page.")
    ] = None,
    as_of: AsOf = None,
    told: HistoryInFormat = None,
    as_json: AsJson = False,
) -> None:
    """List a customer's ledger entries and why each is there: how the balance came to be what it is.

    \b
    loyalty account history C-1001
    loyalty account history C-1001 --limit 5 --json
    loyalty account history C-1001 --limit 50 --before 71
    loyalty account history C-1001 --format lightrail
    """
    require_present(told, as_of)
    with opened_snapshot(Settings()) as now:
        found = _standings(now, customer_id, program_id, as_of, named_by)
        customer_id = _customer_of(customer_id, named_by, found)
        if told is HistoryFormat.LIGHTRAIL:
            documents = transaction_documents(now.connection, found.standings, limit, before)
            print_json({"customer_id": customer_id, "as_of": found.as_of, "accounts": documents})
            return
        histories = [
            (each, page_of(load_entries(now.connection, each, limit, before=before))) for each in found.standings
        ]
    if as_json or told is not None:
        documents = [
            {
                "account_id": standing.account.account_id,
                "program_id": standing.account.program_id,
                "entries_in_all": standing.account.sequence,
                "entries": [
                    {**entry._asdict(), "why_text": why_text(entry, standing.program.zone)} for entry in page.entries
                ],
                "before": page.before,
            }
            for standing, page in histories
        ]
        print_json({"customer_id": customer_id, "as_of": found.as_of, "accounts": documents})
        return
    for standing, page in separated(histories):
        _print_history(customer_id, standing.account, page, standing.program)


def explain(
    customer_id: CustomerId,
    program_id: ProgramId = None,
    *,
    order_id: Annotated[
        str | None, typer.Option("--order", metavar="ID", help="Only this order, rule by rule, with its refunds.")
    ] = None,
    named_by: NamedBy = NameKind.CUSTOMER,
    limit: EntriesMax = 50,
    as_of: AsOf = None,
    audience: ForWhom = Audience.SUPPORT,
    as_json: AsJson = False,
) -> None:
    """Explain in sentences why a customer has so many points: every entry, rule by rule; what is pending; what expires.

    \b
    loyalty account explain C-1001
    loyalty account explain C-1001 --order 5001
    loyalty account explain C-1001 --as-of 2026-11-20T18:00:00+00:00 --json
    loyalty account explain C-1001 --for customer

    --order works out again what each rule and promotion gave the order, by the version and the conditions that were
    frozen with it, or says why one gave nothing. --as-of explains what was recorded by then. --for customer answers
    what customers ask, without ids and rules: what they have, what is set aside, when it ends, what went and why, and
    why they are in their tier.
    """
    require_whole_present(audience, order_id, as_of)
    with opened_snapshot(Settings()) as now:
        found = _standings(now, customer_id, program_id, as_of, named_by)
        customer_id = _customer_of(customer_id, named_by, found)
        if audience is Audience.CUSTOMER:
            explain_to_customer(now, found, limit, as_json=as_json)
            return
        if order_id is not None:
            outcomes = load_order_outcomes(now.connection, found, order_id, LIMIT_MAX)
            print_orders(outcomes, found, customer_id, program_id, order_id, as_json=as_json)
            return
        explanations = [_explanation(now.connection, found.registry, standing, limit) for standing in found.standings]
    if as_json:
        documents = [_explained_document(each) for each in explanations]
        print_json({"customer_id": customer_id, "as_of": found.as_of, "accounts": documents})
        return
    for each in separated(explanations):
        _print_explanation(customer_id, each)


def _customer_of(name: str, named_by: NameKind, found: Standings) -> str:
    """The customer that is named, or whose the account is that is."""
    return name if named_by is NameKind.CUSTOMER else found.standings[0].account.customer_id


def _standings(
    now: Snapshot, name: str, program_id: str | None, as_of_text: str | None, named_by: NameKind
) -> Standings:
    """The accounts that a command is about; InstantError and FutureInstantError of --as-of, UnusableNameError."""
    as_of: datetime | None = None
    if as_of_text is not None:
        as_of = read_instant(as_of_text, "--as-of")
        if as_of > now.as_of:
            raise FutureInstantError(option="--as-of", text=as_of_text)
    salt = reference_salt(Settings())
    return find_standings(now, name, kind=named_by.value, program_id=program_id, as_of=as_of, salt=salt)


def _authorization_row(authorization: Authorization, zone: ZoneInfo) -> Row:
    ends = authorization.expires_at  # to the minute: it is no last day
    deadline = "no deadline" if ends is None else time_text(ends, zone)[:16]
    name = authorization.authorization_id
    if authorization.reward_id is not None:
        name = f"{name}, reward {authorization.reward_id}"
    return Row((name, f"{authorization.points_held:,}", deadline))


def _say_title(customer_id: str, standing: Standing) -> None:
    program = standing.program
    then = f"; as it was recorded at {time_text(standing.as_of, program.zone)}" if standing.is_past else ""
    say(f"{customer_id} in {program.name} ({program.program_id}); times in {program.time_zone}{then}", style="bold")


def _print_account(customer_id: str, standing: Standing) -> None:
    account, zone = standing.account, standing.program.zone
    is_usual = account.status is AccountStatus.ACTIVE and account.merged_into is None
    has_status = not standing.is_past and not is_usual
    _say_title(customer_id, standing)
    print_facts(
        [
            ("Balance", f"{account.balance:,}{_past_expiry_text(standing)}"),
            *([("Pending", f"{account.pending:,}, not available yet")] if account.pending else []),
            *([("Reserved", f"{account.reserved:,}, by authorizations and rewards")] if account.reserved else []),
            *([("Deficit", f"{account.deficit:,}, which the next points pay off")] if account.deficit else []),
            ("Lifetime points", f"{account.lifetime_points:,}"),
            ("Tier", tier_text(standing)),
            *([] if standing.is_past else [("Next tier", next_tier_text(standing))]),
            ("Entries", f"{account.sequence:,} ({command_text('account explain', customer_id)})"),
            *([("Status", status_text(standing))] if has_status else []),
            ("Account", str(account.account_id)),
            *([] if account.own_account_id is None else [("Its own id", account.own_account_id)]),
            *([("Owner", printable(account.customer_id))] if account.customer_id != customer_id else []),
            *([("Members", members_text(standing.members))] if standing.members else []),
            *([("Found by", linked_text(standing.linked))] if standing.linked else []),
        ]
    )
    if standing.lots:
        say()
        _print_lots(standing)
    if standing.authorizations:
        say()
        rows = [_authorization_row(each, zone) for each in standing.authorizations]
        print_listing(("Reserved by", ">Points", "Until"), rows)
    if standing.open_messages:
        say()
        say("Messages about this customer's orders that are not in the ledger", style="bold")
        rows = [
            Row((str(m.inbox_id), m.type, m.order_id, m.state, m.reason or "-", time_text(m.received_at, zone)))
            for m in standing.open_messages
        ]
        print_listing((">Message", "Type", "Order", "State", "Reason", "Received"), rows)
        for m in standing.open_messages:
            if m.to_add is not None:
                say(f"{m.type} of order {m.order_id}, {elsewhere_text(m.inbox_id, m.source, m.to_add)}")


def _print_lots(standing: Standing) -> None:
    zone, shown = standing.program.zone, standing.lots[:_LOTS_SHOWN_MAX]
    rows = [
        Row(
            (
                f"{lot.points_remaining:,}",
                f"{lot.points_granted:,}",
                available_text(lot, zone),
                good_until_text(lot, standing.program),
                f"{lot.origin.kind} {lot.origin.id}" + (f", {lot.earned_by}" if lot.earned_by else ""),
            )
        )
        for lot in shown
    ]
    print_listing((">Points left", ">Granted", "Available", "Good until", "From"), rows)
    if (more := sum(left.lots for left in standing.points_left) - len(shown)) > 0:
        points = count_text(points_but_of(standing, shown), "point")
        say(f"{count_text(more, 'more lot')} with {points} in all; --json lists the first {LOTS_LISTED_MAX:,}.")


def _past_expiry_text(standing: Standing) -> str:
    points = standing.points_past_expiry
    return f", of which {points:,} have expired and are taken by the next run of expiry" if points else ""


def _print_history(customer_id: str, account: Account, page: HistoryPage, program: Program) -> None:
    zone = program.zone
    say(f"{customer_id} in {program.name} ({program.program_id}); times in {program.time_zone}", style="bold")
    entries = page.entries
    if not entries:
        say(f"  {_NONE_YET}" if not account.sequence else "  No entry is before that.")
        return
    with_pending = any(entry.pending_after or entry.pending_change for entry in entries)
    rows = []
    for entry in entries:
        moves = moves_text(entry, zone)
        corrected = "" if entry.corrects_sequence is None else f"corrects entry {entry.corrects_sequence}; "
        recorded = f"{corrected}recorded {time_text(entry.recorded_at, zone)}"
        cells = (
            str(entry.sequence),
            time_text(entry.occurred_at, zone),
            entry.kind.value,
            points_text(entry.points),
            f"{entry.balance_after:,}",
            *((f"{entry.pending_after:,}",) if with_pending else ()),
            reference_text(entry),
        )
        rows.append(Row(cells, (why_text(entry, zone), f"{moves}; {recorded}" if moves else recorded)))
    pending = (">Pending",) if with_pending else ()
    print_listing((">#", "Happened", "Kind", ">Points", ">Balance", *pending, "What"), rows)
    if page.before is not None:
        in_all = count_text(account.sequence, "entry", "entries")
        which = "The last" if entries[-1].sequence == account.sequence else f"Up to entry {entries[-1].sequence:,},"
        say(f"{which} {len(entries):,} of {in_all}; --limit shows more, --before {page.before} those before them.")


class _Explanation(NamedTuple):
    """All that there is to say of one account."""

    standing: Standing
    summary: list[str]
    tiers: list[str]
    by_hand: list[str]
    entries: list[tuple[HistoryEntry, str, list[str]]]  #: with the headline and the sentences below it


def _explanation(connection: Connection, registry: ProgramRegistry, standing: Standing, limit: int) -> _Explanation:
    history, zone = load_account_history(connection, registry, standing, limit), standing.program.zone
    changes = [change for change, _ in history.tier_changes]
    return _Explanation(
        standing,
        summary_texts(standing),
        [tier_change_text(change, program, history.repairs) for change, program in history.tier_changes],
        [repair_text(repair, zone) for repair in history.repairs],
        [
            (
                entry,
                headline(entry, zone),
                [*sentences_of(entry, zone), *([tier] if (tier := tier_text_of_entry(entry, changes, zone)) else [])],
            )
            for entry in history.entries
        ],
    )


def _explained_document(explanation: _Explanation) -> dict[str, Any]:
    return {
        **native_account(explanation.standing),
        "summary": explanation.summary,
        "tier_history": explanation.tiers,
        "changed_by_hand": explanation.by_hand,
        "entries_in_all": explanation.standing.account.sequence,
        "entries": [
            {**entry._asdict(), "headline": head, "sentences": texts} for entry, head, texts in explanation.entries
        ],
    }


def _print_explanation(customer_id: str, explanation: _Explanation) -> None:
    standing = explanation.standing
    _say_title(customer_id, standing)
    for text in explanation.summary:
        say(f"  {printable(text, is_line=True)}")
    for title, texts in (
        ("How the tier came to be", explanation.tiers),
        ("What was changed by hand", explanation.by_hand),
    ):
        print_section(title, texts)
    say("How the balance came to be", style="bold")
    if not explanation.entries:
        say(f"  {_NONE_YET}")
    for _, head, texts in explanation.entries:
        say(f"  {head}")
        for text in texts:
            say_sentence(text)
    if standing.account.sequence > len(explanation.entries):
        in_all = count_text(standing.account.sequence, "entry", "entries")
        say(f"The last {len(explanation.entries):,} of {in_all}; --limit shows more.")
