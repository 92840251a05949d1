"""`loyalty events replay`: past events once more, for a consumer that has lost some."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Engine

from config.settings import Settings
from core.reading.past_events import Choice, accounts_of, count_missing, past_events, traces_of
from core.upkeep.retention import OUTBOX, purged_before
from workers.brokers import EventPublisher, open_event_publisher, url_without_password
from workers.cli.broker_wiring import broker_url
from workers.cli.command_errors import WhichEventsError
from workers.cli.output import AsJson, count_text, note, print_json, say, time_text
from workers.cli.wiring import opened_database, read_instant


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    events = typer.Typer(no_args_is_help=True, help="Events that have gone out.")
    events.command()(replay)
    app.add_typer(events, name="events")


def replay(
    *,
    customer: Annotated[str | None, typer.Option(help="Events of this customer's accounts.")] = None,
    account: Annotated[UUID | None, typer.Option(help="Events of this account.")] = None,
    from_sequence: Annotated[
        int | None, typer.Option(min=1, help="Only balance changes from this sequence of each account on.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Events written since this instant, with its offset.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish past events again, in their order and with their own ids, so that consumers skip what they have.

    \b
    loyalty events replay --customer C-1001 --from-sequence 7
    loyalty events replay --account 0190c7c5-7b3a-7f1c-9d54-2f6f5c1f0a11
    loyalty events replay --since 2026-11-20T00:00:00+00:00

    Nothing is written. New events go out beside them: a consumer tells by id and sequence. What was published longer
    ago than LOYALTY_OUTBOX_RETENTION_DAYS is not kept: exit code 1 when entries of this choice have no event any more.
    """
    if customer is None and account is None and since is None:
        raise WhichEventsError
    instant = read_instant(since, "--since") if since is not None else None
    settings = Settings()
    url = broker_url(settings)
    with opened_database(settings) as engine:
        accounts = [account] if account is not None or customer is None else accounts_of(engine, customer)
        choices = [Choice(each, instant, from_sequence) for each in accounts]
        with engine.connect() as connection:
            complete_since = purged_before(connection, OUTBOX)
        publisher = open_event_publisher(url, declares=settings.declare)
        try:
            published = sum(_replay(engine, publisher, each) for each in choices)
        finally:
            publisher.close()
        missing = sum(count_missing(engine, each) for each in choices)
    document = {
        "published": published,
        "broker": url_without_password(url),
        "complete_since": complete_since,
        "entries_without_event": missing,
    }
    if as_json:
        print_json(document)
    else:
        say(f"Published {count_text(published, 'past event')} again to {document['broker']}.")
    _note_gaps(complete_since if instant is None or instant < (complete_since or instant) else None, missing)
    if missing:
        raise typer.Exit(1)


def _note_gaps(complete_since: datetime | None, missing: int) -> None:
    if complete_since is not None:
        note(f"Events that were published before {time_text(complete_since)} are purged; they were not among these.")
    if missing:
        note(
            f"{count_text(missing, 'entry', 'entries')} of this choice have no stored event any more. They are still in"
            " the ledger: `loyalty account history` shows them."
        )


def _replay(engine: Engine, publisher: EventPublisher, choice: Choice) -> int:
    published = 0
    for events in past_events(engine, choice):
        publisher.publish([(event.type, event.body) for event in events], (), traces_of(events))
        published += len(events)
    return published
