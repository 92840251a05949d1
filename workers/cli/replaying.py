"""`loyalty events replay`: past events once more, for a consumer that has lost some."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Engine

from config.settings import Settings
from core.store.outbox import load_published
from core.store.reports import load_accounts
from workers.brokers import EventPublisher, open_event_publisher, url_without_password
from workers.cli.errors import UnknownCustomerError, WhichEventsError
from workers.cli.output import count_text, print_json, say
from workers.cli.wiring import broker_url, opened_database, read_instant

_BATCH_EVENTS = 1_000


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Publish past events again, in their order and with their own ids, so that consumers skip what they have.

    \b
    loyalty events replay --customer C-1001 --from-sequence 7
    loyalty events replay --since 2026-11-20T00:00:00+00:00

    Nothing is written. New events go out beside them: a consumer tells by id and sequence.
    """
    if customer is None and account is None and since is None:
        raise WhichEventsError
    instant = read_instant(since, "--since") if since is not None else None
    settings = Settings()
    url = broker_url(settings)
    with opened_database(settings) as engine:
        account_ids = _account_ids(engine, customer, account)
        publisher = open_event_publisher(url)
        try:
            published = sum(_replay(engine, publisher, each, instant, from_sequence) for each in account_ids)
        finally:
            publisher.close()
    if as_json:
        print_json({"published": published, "broker": url_without_password(url)})
    else:
        say(f"Published {count_text(published, 'past event')} again to {url_without_password(url)}.")


def _replay(
    engine: Engine,
    publisher: EventPublisher,
    account_id: UUID | None,
    since: datetime | None,
    from_sequence: int | None,
) -> int:
    published, after = 0, 0
    while True:
        with engine.begin() as connection:
            events = load_published(
                connection,
                after=after,
                rows_max=_BATCH_EVENTS,
                account_id=account_id,
                since=since,
                from_sequence=from_sequence,
            )
        if not events:
            return published
        publisher.publish([(event.type, event.body) for event in events])
        published += len(events)
        after = events[-1].outbox_id


def _account_ids(engine: Engine, customer: str | None, account: UUID | None) -> list[UUID | None]:
    """Give the accounts that are asked for; one None for every account."""
    if account is not None or customer is None:
        return [account]
    with engine.begin() as connection:
        found = load_accounts(connection, customer)
    if not found:
        raise UnknownCustomerError(customer_id=customer, where="")
    return [each.account_id for each in found]
