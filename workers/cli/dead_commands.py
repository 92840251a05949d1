"""`loyalty dead`: messages that need a person; looking at them. What is done about them is in `dead_actions`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from config.settings import Settings
from core.domain.outcomes import Reason
from core.mending.letters import (
    Action,
    Letter,
    LetterFilter,
    count_letters,
    count_waiting,
    list_letters,
    list_waiting,
    load_actions,
    load_letter,
)
from core.messages.inbound.celery_messages import open_envelope
from core.messages.reasons import MENDS
from core.reading.snapshot import snapshot_of
from workers.cli.command_errors import NoLetterError, NoReasonYetError
from workers.cli.dead_actions import (
    INBOX_ID_MAX,
    OfOrder,
    OfReason,
    OfSource,
    OfText,
    OfType,
    Since,
    Until,
    drop,
    fix,
    letters_of,
    retry,
)
from workers.cli.output import (
    LIMIT_MAX,
    AsJson,
    Row,
    age_text,
    command_text,
    count_text,
    print_facts,
    print_json,
    print_listing,
    say,
    say_below,
    time_text,
)
from workers.cli.wiring import opened_database

_HEX_BYTES_SHOWN_MAX = 512
_SETTLED_NAMES = {"posted": "Posted", "replayed": "Replayed", "dead": "Parked", "dropped": "Dropped"}


class LetterState(StrEnum):
    """Which letters are listed."""

    DEAD = "dead"
    DROPPED = "dropped"
    ALL = "all"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command("list")(list_dead)
    group.command()(show)
    group.command()(fix)
    group.command()(retry)
    group.command()(drop)
    app.add_typer(group, name="dead", help="Messages that need a person: list, show, fix, retry, drop.")


def list_dead(  # each is an option
    reason: OfReason = None,
    source: OfSource = None,
    of_type: OfType = None,
    order_id: OfOrder = None,
    since: Since = None,
    until: Until = None,
    text: OfText = None,
    *,
    state: Annotated[LetterState, typer.Option(help="Those that need somebody, those that were dropped, or all.")] = (
        LetterState.DEAD
    ),
    waiting: Annotated[bool, typer.Option("--waiting", help="Messages that wait for their orders instead.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first; or, with --waiting, messages whose order has not come, the oldest first.

    \b
    loyalty dead list
    loyalty dead list --reason unknown_program --source /shops/high-street
    loyalty dead list --state dropped --since 2026-11-20T00:00:00+01:00
    loyalty dead list --waiting
    """
    chosen = letters_of(reason, source, of_type, order_id, since, until, text)._replace(state=state.value)
    if waiting and chosen != LetterFilter():
        raise NoReasonYetError
    with opened_database(Settings()) as engine, engine.begin() as connection:
        if waiting:
            letters = list_waiting(connection, limit)
            count = count_waiting(connection)
            counts: dict[str, int] = {}
        else:
            letters = list_letters(connection, chosen, limit)
            counts = count_letters(connection, chosen)
            count = sum(counts.values())
        now = snapshot_of(connection).as_of
    if as_json:
        aged = [
            {**letter._asdict(), "age_seconds": int((now - letter.received_at).total_seconds())} for letter in letters
        ]
        print_json({"count": count, "by_reason": counts, "messages": aged})
        return
    _say_letters(letters, now, count, counts, is_waiting=waiting)


def show(
    inbox_id: Annotated[int, typer.Argument(metavar="INBOX_ID", min=1, max=INBOX_ID_MAX)], *, as_json: AsJson = False
) -> None:
    """Show one message: why it is parked, what mends it, all that became of it until now, and its bytes.

    \b
    loyalty dead show 17
    """
    with opened_database(Settings()) as engine, engine.begin() as connection:
        found = load_letter(connection, inbox_id)
        if found is None:
            raise NoLetterError(inbox_id=inbox_id)
        letter, body = found
        history = load_actions(connection, letter)
    text = _decoded(body)
    if as_json:
        print_json(
            {
                **letter._asdict(),
                "mend": _mend(letter),
                "history": history,
                "body_bytes": len(body),
                "body_text": text,
                "body_hex": body.hex() if text is None else None,
            }
        )
        return
    _print_letter(letter, history)
    if text is None:
        say(f"Its {count_text(len(body), 'byte')}, which are not text, in hexadecimal:", style="bold")
        cut = body[:_HEX_BYTES_SHOWN_MAX]
        say_below(cut.hex(" ") + (f" … (--json shows all {len(body):,})" if len(body) > len(cut) else ""))
    else:
        say(f"Its {count_text(len(body), 'byte')}:", style="bold")
        say(text)
    task = open_envelope(body)
    if task is not None:
        say("The body of the task in it:", style="bold")
        say(task.body.decode(errors="backslashreplace"))


def _print_letter(letter: Letter, history: list[Action]) -> None:
    say(f"Message {letter.inbox_id} is {letter.state}", style="bold")
    print_facts(
        [
            *([("Reason", letter.reason)] if letter.reason else []),
            *([("Detail", letter.detail)] if letter.detail else []),
            *([("To mend it", mend)] if (mend := _mend(letter)) else []),
            *([("Commands", _commands_text(letter.inbox_id))] if letter.state == "dead" else []),
            ("Type", letter.type or "-"),
            ("Source", letter.source or "-"),
            ("Event id", letter.event_id or "-"),
            *([("Order", letter.order_id)] if letter.order_id else []),
            ("Received", f"{time_text(letter.received_at)}, {count_text(letter.deliveries, 'delivery', 'deliveries')}"),
            *([(_SETTLED_NAMES[letter.state], time_text(letter.settled_at))] if letter.settled_at else []),
        ]
    )
    if history:
        say("History:", style="bold")
        for step in history:
            reason = "" if step.reason is None else f" as {step.reason}"
            earlier = reason if step.action == "parked" else f" (it was parked{reason})" if reason else ""
            by = "" if step.acted_by is None else f" by {step.acted_by}"
            say(f"  {time_text(step.acted_at)}  {step.action}{by}{earlier}")
            if step.detail:
                say_below(step.detail)


def _commands_text(inbox_id: int) -> str:
    kept, mended, dropped = (command_text(f"dead {name}", inbox_id) for name in ("retry", "fix", "drop"))
    return f"{kept}, {mended} FILE, {dropped} --reason WHY"


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
        say("No messages wait for their orders." if is_waiting else "No dead letters.")
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
