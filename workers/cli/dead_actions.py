"""`loyalty dead fix`, `retry` and `drop`: what a person does about messages that need one."""

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Annotated

import typer
from sqlalchemy import Engine

from config.settings import Settings
from core.domain.outcomes import Reason
from core.mending.dead_letters import MendOutcome, RetryLimits, drop_letters, letters_that_fit, retry_letters
from core.mending.letters import LetterFilter, count_letters, load_letter
from core.mending.replacing import replace_letter
from workers.bootstrap import message_limits
from workers.cli.broker_wiring import wake_posting
from workers.cli.command_errors import NoEventsError, SureToDropError, WhichLettersError, WhyDroppedError
from workers.cli.output import AsJson, count_text, note, print_json, say, say_below
from workers.cli.text_changes import changed_values
from workers.cli.wiring import By, acting, opened_database, read_instant

#: Numbers are 64-bit in the database.
INBOX_ID_MAX = 2**63 - 1

Numbers = Annotated[
    list[int] | None,
    typer.Argument(metavar="INBOX_ID", min=1, max=INBOX_ID_MAX, help="Numbers from `loyalty dead list`."),
]
OfReason = Annotated[
    Reason | None, typer.Option("--reason", help="Parked for this reason, such as unknown_program.", metavar="REASON")
]
OfSource = Annotated[str | None, typer.Option("--source", help="Sent by this source.", metavar="SOURCE")]
OfType = Annotated[str | None, typer.Option("--type", help="Of this type, such as order.refunded.", metavar="TYPE")]
OfOrder = Annotated[
    str | None,
    typer.Option("--order", help="Of this order; where it could not be read, with the id in its bytes.", metavar="ID"),
]
Since = Annotated[
    str | None, typer.Option("--since", help="Received from this instant on, with its offset.", metavar="TIME")
]
Until = Annotated[
    str | None, typer.Option("--until", help="Received before this instant, with its offset.", metavar="TIME")
]
OfText = Annotated[str | None, typer.Option("--text", help="With these words in the detail.", metavar="TEXT")]

#: Results and changes that are printed one by one; the rest is counted.
_SHOWN_MAX = 50
_PROGRESS_SECONDS = 5.0

MendLetters = Callable[[Engine, Sequence[int]], Iterator[MendOutcome]]


def fix(
    inbox_id: Annotated[int, typer.Argument(metavar="INBOX_ID", min=1, max=INBOX_ID_MAX)],
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(metavar="FILE", help="The mended event; - for standard input.")
    ],
    *,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Store a mended event in the place of a dead letter, which is settled as dropped; both or neither.

    \b
    loyalty dead show 17 --json | jq -r .body_text > event.json
    loyalty dead fix 17 event.json

    The mended event may keep its id, unless another message has it. What would be parked again at once is refused.
    """
    settings = Settings()
    raw = file.read().strip()
    if not raw:
        raise NoEventsError(file=file.name)
    with opened_database(settings) as engine:
        with engine.begin() as connection:
            found = load_letter(connection, inbox_id)
        result = replace_letter(engine, inbox_id, raw, _limits(settings), acting(by))
    wake_posting(settings, result.shards)
    if not as_json and result.is_mended and found is not None:
        _say_changes(found[1], raw)
    _print_results([result], as_json=as_json)


def retry(
    inbox_ids: Numbers = None,
    reason: OfReason = None,
    source: OfSource = None,
    of_type: OfType = None,
    order_id: OfOrder = None,
    since: Since = None,
    until: Until = None,
    text: OfText = None,
    *,
    all_letters: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Take dead letters in again, after what kept them out was mended. What cannot be read still stays dead.

    \b
    loyalty dead retry 17 18
    loyalty dead retry --reason unknown_program --source /shops/high-street
    """
    settings = Settings()
    limits, who = _limits(settings), acting(by)
    chosen = letters_of(reason, source, of_type, order_id, since, until, text)
    if (bool(inbox_ids) + (chosen != LetterFilter()) + all_letters) != 1:
        raise WhichLettersError
    with opened_database(settings) as engine:
        results = _mended(engine, inbox_ids, chosen, lambda engine, ids: retry_letters(engine, ids, limits, who))
    wake_posting(settings, {shard for result in results for shard in result.shards})
    _print_results(results, as_json=as_json)


def drop(
    inbox_ids: Numbers = None,
    parked_as: Annotated[
        Reason | None,
        typer.Option("--parked-as", help="Parked for this reason, such as not_json.", metavar="REASON"),
    ] = None,
    source: OfSource = None,
    of_type: OfType = None,
    order_id: OfOrder = None,
    since: Since = None,
    until: Until = None,
    text: OfText = None,
    *,
    why: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept beside each message.")],
    by: By = None,
    yes: Annotated[bool, typer.Option("--yes", help="Drop all that fit; without it they are only counted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Settle dead letters for good: nothing will be posted for them. Their bytes and reasons are kept.

    \b
    loyalty dead drop 17 --reason "test order of the shop, confirmed by Kim"
    loyalty dead drop --parked-as invalid_data --source /shops/old --reason "shop is closed" --yes
    """
    if not why.strip():
        raise WhyDroppedError
    chosen = letters_of(parked_as, source, of_type, order_id, since, until, text)
    if bool(inbox_ids) == (chosen != LetterFilter()):
        raise WhichLettersError
    with opened_database(Settings()) as engine:
        if not inbox_ids and not yes:
            raise SureToDropError(count=count_text(_count(engine, chosen), "dead letter"))
        who = acting(by)
        results = _mended(engine, inbox_ids, chosen, lambda engine, ids: drop_letters(engine, ids, why.strip(), who))
    _print_results(results, as_json=as_json)


def letters_of(  # one for each option
    reason: Reason | None,
    source: str | None,
    of_type: str | None,
    order_id: str | None,
    since: str | None,
    until: str | None,
    text: str | None,
) -> LetterFilter:
    """Read the options; InstantError for a time that is none."""
    return LetterFilter(
        reason=reason.value if reason else None,
        source=source,
        type=of_type,
        order_id=order_id,
        since=read_instant(since, "--since") if since is not None else None,
        until=read_instant(until, "--until") if until is not None else None,
        text=text,
    )


def _limits(settings: Settings) -> RetryLimits:
    return RetryLimits(message_limits(settings), settings.shards, settings.event_source, settings.waiting_days_max)


def _count(engine: Engine, chosen: LetterFilter) -> int:
    with engine.begin() as connection:
        return sum(count_letters(connection, chosen).values())


def _mended(engine: Engine, inbox_ids: list[int] | None, chosen: LetterFilter, mend: MendLetters) -> list[MendOutcome]:
    """Mend the letters of these numbers, else those that fit: then say how many before, and how far it is meanwhile."""
    if inbox_ids:
        return list(mend(engine, list(dict.fromkeys(inbox_ids))))
    count = _count(engine, chosen)
    if count > _SHOWN_MAX:
        note(f"loyalty: {count:,} dead letters fit")
    results: list[MendOutcome] = []
    told_at = monotonic()
    for group in letters_that_fit(engine, chosen):
        results += mend(engine, group)
        if monotonic() - told_at > _PROGRESS_SECONDS:
            told_at = monotonic()
            note(f"loyalty: {len(results):,} of {count:,}")
    return results


def _say_changes(before: bytes, after: bytes) -> None:
    changes = changed_values(before, after)
    if changes is None:
        say("The old bytes are not JSON, so there is nothing to compare.")
        return
    say("What was changed:" if changes else "Only the form was changed, no value.", style="bold")
    for change in changes[:_SHOWN_MAX]:
        say_below(f"{change.path}: {change.before} is now {change.after}")
    if len(changes) > _SHOWN_MAX:
        say_below(f"and {len(changes) - _SHOWN_MAX:,} more")


def _print_results(results: list[MendOutcome], *, as_json: bool) -> None:
    failed = [result for result in results if not result.is_mended]
    if as_json:
        print_json(
            [{"inbox_id": r.inbox_id, "state": r.state, "is_mended": r.is_mended, "text": r.text} for r in results]
        )
    elif not results:
        say("No dead letters fit.")
    else:
        shown = results if len(results) <= _SHOWN_MAX else failed[:_SHOWN_MAX]
        for result in shown:
            say(f"Message {result.inbox_id} {result.text}.")
        if len(results) > len(shown):
            say(f"{len(results) - len(failed):,} of {count_text(len(results), 'message')} done, {len(failed):,} not.")
    if failed:
        raise typer.Exit(1)
