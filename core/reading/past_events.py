"""Events that have gone out and are still kept, for a consumer that has lost some."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Engine

from core.reading.standing import require_accounts
from core.store.outbox import OutgoingEvent, count_entries_without_event, load_published, number_before, traces_of

__all__ = ["Choice", "accounts_of", "count_missing", "past_events", "traces_of"]

_EVENTS_AT_ONCE = 1_000


class Choice(NamedTuple):
    """Which events are meant: all that meet each of these that is not None."""

    account_id: UUID | None = None
    since: datetime | None = None  #: written since then
    from_sequence: int | None = None  #: only balance changes, from this sequence of each account on


def accounts_of(engine: Engine, customer_id: str) -> list[UUID]:
    """The accounts that a customer may use; UnknownCustomerError where there is none."""
    with engine.begin() as connection:
        return [each.account_id for each in require_accounts(connection, customer_id)]


def past_events(engine: Engine, choice: Choice) -> Iterator[list[OutgoingEvent]]:
    """The events in their order, some at a time; no transaction is open between them."""
    after: int | None = 0
    if choice.since is not None:
        with engine.begin() as connection:
            after = number_before(connection, choice.since)
    while after is not None:
        with engine.begin() as connection:
            events = load_published(connection, after=after, rows_max=_EVENTS_AT_ONCE, **choice._asdict())
        if not events:
            return
        yield events
        after = events[-1].outbox_id


def count_missing(engine: Engine, choice: Choice) -> int:
    """How many entries have no event any more among those that are kept."""
    with engine.begin() as connection:
        return count_entries_without_event(connection, **choice._asdict())
