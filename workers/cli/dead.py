"""`loyalty dead`: messages that need a person."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from config.settings import Settings
from core.domain.outcomes import Reason
from core.messages.reasons import MENDS
from core.posting.mending import Mended, RetryLimits, drop_letter, retry_letter
from core.store.dead_letters import (
    Action,
    Letter,
    count_dead,
    count_waiting,
    dead_ids,
    list_dead,
    list_waiting,
    load_actions,
    load_letter,
)
from core.store.reports import database_now
from workers.bootstrap import message_limits
from workers.cli.errors import NoLetterError, NoReasonYetError, WhichLettersError, WhyDroppedError
from workers.cli.output import (
    LIMIT_MAX,
    Row,
    age_text,
    count_text,
    print_facts,
    print_json,
    print_listing,
    say,
    say_below,
    time_text,
)
from workers.cli.wiring import opened_database, wake_posting

#: Results that are printed one by one; the rest is counted.
_RESULTS_SHOWN_MAX = 50
_HEX_BYTES_SHOWN_MAX = 512
#: Numbers are 64-bit in the database.
INBOX_ID_MAX = 2**63 - 1
_SETTLED_NAMES = {"posted": "Posted", "replayed": "Replayed", "dead": "Parked", "dropped": "Dropped"}

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Numbers = Annotated[
    list[int] | None,
    typer.Argument(metavar="INBOX_ID", min=1, max=INBOX_ID_MAX, help="Numbers from `loyalty dead list`."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command("list")(list_letters)
    group.command()(show)
    group.command()(retry)
    group.command()(drop)
    app.add_typer(group, name="dead", help="Messages that need a person: list, show, retry, drop.")


def list_letters(
    reason: Annotated[
        Reason | None,
        typer.Option(help="Only those parked for this reason, such as unknown_program.", metavar="REASON"),
    ] = None,
    *,
    waiting: Annotated[bool, typer.Option("--waiting", help="Refunds that wait for their orders instead.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first; or, with --waiting, refunds whose order has not come, the oldest first.

    \b
    loyalty dead list
    loyalty dead list --reason unknown_program
    loyalty dead list --waiting
    """
    if waiting and reason is not None:
        raise NoReasonYetError
    with opened_database(Settings()) as engine, engine.begin() as connection:
        if waiting:
            letters = list_waiting(connection, limit)
            count = count_waiting(connection)
            counts: dict[str, int] = {}
        else:
            letters = list_dead(connection, reason.value if reason else None, limit)
            counts = count_dead(connection)
            count = counts.get(reason.value, 0) if reason else sum(counts.values())
        now = database_now(connection)
    if as_json:
        aged = [
            {**letter._asdict(), "age_seconds": int((now - letter.received_at).total_seconds())} for letter in letters
        ]
        print_json({"count": count, "by_reason": counts, "messages": aged})
        return
    _say_letters(letters, now, count, counts if reason is None else {}, is_waiting=waiting)


def show(
    inbox_id: Annotated[int, typer.Argument(metavar="INBOX_ID", min=1, max=INBOX_ID_MAX)], *, as_json: AsJson = False
) -> None:
    """Show one message: why it is parked, what mends it, what was done about it, and its bytes.

    \b
    loyalty dead show 17
    """
    with opened_database(Settings()) as engine, engine.begin() as connection:
        found = load_letter(connection, inbox_id)
        if found is None:
            raise NoLetterError(inbox_id=inbox_id)
        actions = load_actions(connection, inbox_id)
    letter, body = found
    text = _decoded(body)
    if as_json:
        print_json(
            {
                **letter._asdict(),
                "mend": _mend(letter),
                "actions": actions,
                "body_bytes": len(body),
                "body_text": text,
                "body_hex": body.hex() if text is None else None,
            }
        )
        return
    _print_letter(letter, actions)
    if text is None:
        say(f"Its {count_text(len(body), 'byte')}, which are no text, in hexadecimal:", style="bold")
        cut = body[:_HEX_BYTES_SHOWN_MAX]
        say_below(cut.hex(" ") + (f" … (--json shows all {len(body):,})" if len(body) > len(cut) else ""))
    else:
        say(f"Its {count_text(len(body), 'byte')}:", style="bold")
        say(text)


def retry(
    inbox_ids: Numbers = None,
    *,
    reason: Annotated[
        Reason | None, typer.Option(help="All parked for this reason, such as unknown_program.", metavar="REASON")
    ] = None,
    all_letters: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take dead letters in again, after what kept them out was mended. What cannot be read still stays dead.

    \b
    loyalty dead retry 17 18
    loyalty dead retry --reason unknown_program
    """
    if (bool(inbox_ids) + (reason is not None) + all_letters) != 1:
        raise WhichLettersError
    settings = Settings()
    limits = RetryLimits(message_limits(settings), settings.shards, settings.event_source, settings.waiting_days_max)
    with opened_database(settings) as engine:
        if inbox_ids:
            chosen = list(dict.fromkeys(inbox_ids))
        else:
            with engine.begin() as connection:
                chosen = dead_ids(connection, reason.value if reason else None)
        results = [retry_letter(engine, inbox_id, limits) for inbox_id in chosen]
    wake_posting(settings, {shard for result in results for shard in result.shards})
    _print_results(results, "No dead letters to retry.", as_json=as_json)


def drop(
    inbox_ids: Annotated[list[int], typer.Argument(metavar="INBOX_ID", min=1, max=INBOX_ID_MAX)],
    *,
    why: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept beside the message.")],
    as_json: AsJson = False,
) -> None:
    """Settle dead letters for good: nothing will be posted for them. Their bytes and reasons are kept.

    \b
    loyalty dead drop 17 --reason "test order of the shop, confirmed by Kim"
    """
    if not why.strip():
        raise WhyDroppedError
    with opened_database(Settings()) as engine:
        results = [drop_letter(engine, inbox_id, why.strip()) for inbox_id in dict.fromkeys(inbox_ids)]
    _print_results(results, "", as_json=as_json)


def _print_letter(letter: Letter, actions: list[Action]) -> None:
    say(f"Message {letter.inbox_id} is {letter.state}", style="bold")
    print_facts(
        [
            *([("Reason", letter.reason)] if letter.reason else []),
            *([("Detail", letter.detail)] if letter.detail else []),
            *([("To mend it", mend)] if (mend := _mend(letter)) else []),
            ("Type", letter.type or "-"),
            ("Source", letter.source or "-"),
            ("Event id", letter.event_id or "-"),
            *([("Order", letter.order_id)] if letter.order_id else []),
            ("Received", f"{time_text(letter.received_at)}, {count_text(letter.deliveries, 'delivery', 'deliveries')}"),
            *([(_SETTLED_NAMES[letter.state], time_text(letter.settled_at))] if letter.settled_at else []),
        ]
    )
    if actions:
        say("What was done about it:", style="bold")
        for action in actions:
            earlier = f" (it was parked as {action.reason})" if action.reason else ""
            say(f"  {time_text(action.acted_at)}  {action.action}{earlier}")
            if action.detail:
                say_below(action.detail)


def _mend(letter: Letter) -> str | None:
    if letter.state != "dead" or letter.reason is None:
        return None
    # A reason that a newer release wrote may be unknown here.
    return MENDS.get(Reason(letter.reason)) if letter.reason in set(Reason) else None


def _decoded(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _say_letters(
    letters: Sequence[Letter], now: datetime, count: int, counts: Mapping[str, int], *, is_waiting: bool
) -> None:
    if not letters:
        say("No refunds wait for their orders." if is_waiting else "No dead letters.")
        return
    rows = [
        Row(
            (
                str(letter.inbox_id),
                *(() if is_waiting else (letter.reason or "-",)),
                letter.type or "-",
                letter.event_id or "-",
                *((letter.order_id or "-",) if is_waiting else ()),
                time_text(letter.received_at),
                age_text((now - letter.received_at).total_seconds()),
            ),
            () if letter.detail is None else (letter.detail,),
        )
        for letter in letters
    ]
    if is_waiting:
        print_listing((">Number", "Type", "Event id", "Order", "Received", "Age"), rows)
        say(f"{_share_text(len(letters), count)}. Each is posted by itself when its order comes.")
        return
    print_listing((">Number", "Reason", "Type", "Event id", "Received", "Age"), rows)
    say(f"{_share_text(len(letters), count)}. What to do about one: loyalty dead show NUMBER")
    if len(counts) > 1:
        say("By reason: " + ", ".join(f"{name} {number:,}" for name, number in counts.items()))


def _share_text(shown: int, count: int) -> str:
    return f"{count:,} in all" if shown == count else f"{shown:,} of {count:,}; --limit shows more"


def _print_results(results: list[Mended], nothing_text: str, *, as_json: bool) -> None:
    failed = [result for result in results if not result.is_mended]
    if as_json:
        documents: list[dict[str, Any]] = [
            {"inbox_id": r.inbox_id, "state": r.state, "is_mended": r.is_mended, "text": r.text} for r in results
        ]
        print_json(documents)
    elif not results:
        say(nothing_text)
    else:
        shown = results if len(results) <= _RESULTS_SHOWN_MAX else failed[:_RESULTS_SHOWN_MAX]
        for result in shown:
            say(f"Message {result.inbox_id} {result.text}.")
        if len(results) > len(shown):
            say(f"{len(results) - len(failed):,} of {count_text(len(results), 'message')} done, {len(failed):,} not.")
    if failed:
        raise typer.Exit(1)
