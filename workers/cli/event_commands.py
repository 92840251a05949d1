"""`loyalty submit`, `publish` and `tail`: events into the inbox, onto the queue, and out of the worker."""

import json as json_module
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic_core import from_json
from sqlalchemy import Engine

from config.settings import Settings
from core.mending.letters import Letter, list_refused_among, load_states
from core.messages.inbound.sources import KEY_ID_PATTERN, sign
from core.messages.inbound.sources_file import read_secret
from core.receiving.receive import receive_in_parts
from workers.bootstrap import message_limits
from workers.brokers import open_event_tail, open_shop_publisher, url_without_password
from workers.cli.broker_wiring import broker_url, wake_posting
from workers.cli.command_errors import NoEventsError, NothingKeptError, SigningError
from workers.cli.event_files import in_batches, split_events
from workers.cli.event_lines import event_line
from workers.cli.output import AsJson, count_text, note, print_json, printable, say, say_below
from workers.cli.wiring import opened_database

BATCH_EVENTS = 500
_POLL_SECONDS = 0.2
_SHOWN_MAX = 20
_TYPE_CHARACTERS_MAX = 200
#: The routing key of what has no readable type; `loyalty.intake` is bound to order.# and so gets it.
_UNREADABLE_KEY = "order.unreadable"

EventFile = Annotated[
    typer.FileBinaryRead,
    typer.Argument(metavar="FILE", help="One JSON event, an array, or one event per line; - for standard input."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(submit)
    app.command()(publish)
    app.command()(tail)


def submit(
    file: EventFile,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every event has its outcome.")] = False,
    wait_seconds: Annotated[float, typer.Option(min=0, help="With --wait: at most this long.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Store events in the inbox, as intake would, without a queue. The same events again change nothing.

    Whoever may write to the database need not sign: LOYALTY_SOURCES_FILE is for what comes from the broker.

    \b
    loyalty submit orders.ndjson --wait
    jq -c .event export.json | loyalty submit -

    Exit code 1 when an event is parked or a command rejected, or when --wait ends before all have an outcome.
    """
    settings = Settings().model_copy(update={"sources_file": None})
    with opened_database(settings) as engine:
        counts, inbox_ids, shards = _store(engine, settings, split_events(file))
        if not counts["events"]:
            raise NoEventsError(file=file.name)
        wake_posting(settings, shards)
        is_settled = not wait or _wait_for(engine, inbox_ids, wait_seconds)
        with engine.begin() as connection:
            outcomes = Counter(load_states(connection, inbox_ids).values())
            refused = list_refused_among(connection, inbox_ids)
    parked = [letter for letter in refused if letter.state == "dead"]
    rejected = [letter for letter in refused if letter.state != "dead"]
    if as_json:
        waited = {"outcomes": outcomes, "is_settled": is_settled} if wait else {"outcomes": None, "is_settled": None}
        print_json({**counts, **waited, "parked_messages": parked, "rejected_commands": rejected})
    else:
        _say_submitted(counts, outcomes if wait else None, parked, rejected)
    if not is_settled:
        note(
            f"loyalty: after {wait_seconds:g} s {outcomes['received']:,} have no outcome yet. "
            "Is a worker running? `loyalty status` shows what is under way."
        )
    if refused or not is_settled:
        raise typer.Exit(1)


def publish(
    file: EventFile,
    *,
    key_id: Annotated[str | None, typer.Option(help="Sign each message with the key of this name.")] = None,
    secret_file: Annotated[Path | None, typer.Option(help="The file that holds the key's secret.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish events to the broker, as a shop would: one message per line or array element, bytes unchanged.

    \b
    loyalty publish orders.ndjson
    echo '{"id": "1", ...}' | loyalty publish -
    loyalty publish orders.ndjson --key-id 2026-11 --secret-file high-street-2026-11
    """
    signer = _signer(key_id, secret_file)
    settings = Settings()
    url = broker_url(settings)
    published = 0
    publisher = open_shop_publisher(url, declares=settings.declare)
    try:
        for batch in in_batches(split_events(file), BATCH_EVENTS):
            publisher.publish([(_routing_key(body), body) for body in batch], sign=signer)
            published += len(batch)
    except Exception:
        if published:
            note(f"loyalty: {published:,} were published before this. Publish the file again: repeats change nothing.")
        raise
    finally:
        publisher.close()
    if not published:
        raise NoEventsError(file=file.name)
    if as_json:
        print_json({"published": published, "broker": url_without_password(url)})
    else:
        say(f"Published {count_text(published, 'message')} to {url_without_password(url)}.")


def tail(
    *,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="First what is kept (Redis and Valkey only).")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many events.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
) -> None:
    """Follow the events that go out, one line each, until Ctrl-C. Not durable: for a person to look at.

    \b
    loyalty tail
    loyalty tail --from-beginning --json --limit 10
    """
    settings = Settings()
    url = broker_url(settings)
    if from_beginning and url.startswith("amqp"):
        raise NothingKeptError
    shown = 0
    follower = open_event_tail(url, from_beginning=from_beginning, declares=settings.declare)
    try:
        while True:
            for body in follower.events(wait_seconds=1):
                print(_one_line(body) if as_json else printable(event_line(body), is_line=True), flush=True)  # noqa: T201
                shown += 1
                if shown == limit:
                    return
    except KeyboardInterrupt:
        return
    finally:
        follower.close()


def _store(engine: Engine, settings: Settings, events: Iterator[bytes]) -> tuple[dict[str, int], list[int], set[int]]:
    counts: Counter[str] = Counter(events=0, received=0, waiting=0, replayed=0, parked=0, rejected=0)
    inbox_ids: dict[int, None] = {}
    shards: set[int] = set()
    limits = message_limits(settings)
    try:
        for batch in in_batches(events, BATCH_EVENTS):
            parts = receive_in_parts(
                engine,
                batch,
                limits=limits,
                shards=settings.shards,
                event_source=settings.event_source,
                is_by_operator=True,
            )
            for _, receipt in parts:
                stored = {
                    name: getattr(receipt, name) for name in ("received", "waiting", "replayed", "parked", "rejected")
                }
                counts.update(stored, events=sum(stored.values()))
                inbox_ids.update(dict.fromkeys(message.inbox_id for message in receipt.stored))
                shards |= receipt.shards
    except BaseException:
        if counts["events"]:
            note(f"loyalty: {counts['events']:,} events are stored. Submit the file again: repeats change nothing.")
        raise
    return dict(counts), list(inbox_ids), shards


def _wait_for(engine: Engine, inbox_ids: list[int], seconds_max: float) -> bool:
    """Wait until posting has come to all of these; a message that waits for its order counts as settled."""
    deadline = time.monotonic() + seconds_max
    left = inbox_ids
    while True:
        with engine.begin() as connection:
            left = [number for number, state in load_states(connection, left).items() if state == "received"]
        if not left:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)


def _say_submitted(
    counts: dict[str, int], outcomes: Mapping[str, int] | None, parked: list[Letter], rejected: list[Letter]
) -> None:
    say(
        f"{count_text(counts['events'], 'event')}: {counts['received']:,} received, {counts['waiting']:,} waiting for "
        f"their order, {counts['replayed']:,} came before, {counts['parked']:,} parked."
    )
    if outcomes is not None:
        say("Outcomes by now: " + ", ".join(f"{count:,} {state}" for state, count in sorted(outcomes.items())) + ".")
    for what, letters in (("Parked: message", parked), ("Rejected: message", rejected)):
        for letter in letters[:_SHOWN_MAX]:
            named = f", event {letter.event_id}" if letter.event_id else ""
            say(f"{what} {letter.inbox_id}{named}: {letter.reason}")
            say_below(letter.detail or "")
        if len(letters) > _SHOWN_MAX:
            advice = ": loyalty dead list" if letters is parked else ", each with its answer"
            say(f"And {len(letters) - _SHOWN_MAX:,} more{advice}")


def _signer(key_id: str | None, secret_file: Path | None) -> Callable[[bytes], str] | None:
    if key_id is None and secret_file is None:
        return None
    if key_id is None or secret_file is None:
        raise SigningError(reason="--key-id and --secret-file belong together")
    if not re.fullmatch(KEY_ID_PATTERN, key_id):
        raise SigningError(reason="a key id has 1 to 64 of the characters A-Z, a-z, 0-9, '.', '_' and '-'")
    try:
        return partial(sign, key_id=key_id, secret=read_secret(secret_file))
    except OSError as error:
        raise SigningError(reason=f"{secret_file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SigningError(reason=f"{secret_file} {error}") from error


def _routing_key(body: bytes) -> str:
    try:
        event: Any = from_json(body)
    except ValueError:
        return _UNREADABLE_KEY
    kind = event.get("type") if isinstance(event, dict) else None
    if isinstance(kind, str) and 0 < len(kind) <= _TYPE_CHARACTERS_MAX and kind.isascii() and kind.isprintable():
        return kind
    return _UNREADABLE_KEY


def _one_line(body: bytes) -> str:
    """Give the event on one line whatever its own layout is; our own are on one line already."""
    text = body.decode(errors="backslashreplace")
    return text if text.isprintable() else json_module.dumps(from_json(body))
