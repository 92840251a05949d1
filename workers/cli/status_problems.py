"""What an operator must look at: the limits beyond which something that is under way is a problem, and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from config.schedule import TICKS
from config.settings import Settings
from core.reading.status import Backlog, Status
from workers.brokers import IntakeQueue
from workers.brokers.topology import SHOP_STREAM
from workers.cli.output import age_text, count_text

#: Ten missed runs are no accident. Not sooner than after a minute: the sweeps of each second keep few of their runs.
_PERIODS_MAX = 10
_OVERDUE_SECONDS_MIN = 60
#: So many deaths at one shard in a row, and posting looks for the message that kills.
_ATTEMPTS_MAX = 3
_SHOWN_MAX = 5


class Problem(NamedTuple):
    """One thing that is not as it should be."""

    name: str  #: stable
    text: str
    mend: str


class IntakeLook(NamedTuple):
    """What the broker tells of intake's queue."""

    queue: IntakeQueue | None  #: None: it does not answer
    refusal: str | None  #: why it does not
    is_moving: bool  #: nothing waits, or something of it is stored


def find_problems(
    status: Status, runs: Sequence[Mapping[str, Any]], settings: Settings, intake: IntakeLook | None
) -> list[Problem]:
    """Hold the status against the limits; the gravest first. `intake` is None where no broker is known."""
    return [
        *_differences(runs),
        *_intake(status, intake),
        *_lags(status, settings),
        *_crashes(status),
        *_overdue(status, runs),
        *_dead(status, settings),
        *_waiting(status, settings),
    ]


def overdue_seconds(status: Status, task: str, finished_at: datetime | None) -> float | None:
    """How long ago a periodic task should have run again; None if it is in time.

    One that has never run counts from the first program on: before that there is nothing for it to do.
    """
    every_seconds = next((tick.every_seconds for tick in TICKS if tick.task == task), None)
    since = finished_at or status.programs_since
    if every_seconds is None or since is None:
        return None
    age_seconds = (status.as_of - since).total_seconds()
    limit_seconds = max(_PERIODS_MAX * every_seconds, _OVERDUE_SECONDS_MIN)
    return age_seconds - every_seconds if age_seconds > limit_seconds else None


def _differences(runs: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    for run in runs:
        differences = list(run["result"].get("standing", {}).values())
        if differences:
            shown = "; ".join(str(text) for text in differences[:_SHOWN_MAX])
            yield Problem(
                "ledger_difference",
                f"{count_text(len(differences), 'difference')} found by {run['task']}: {shown}",
                "Stop the roles, keep the database as it is, run `loyalty verify`, and find out before you change it.",
            )


def is_standing_still(status: Status, settings: Settings) -> bool:
    """Whether nothing was stored for so long that it is a problem if something waits."""
    return status.stored_at is None or _seconds_since(status.stored_at, status) > settings.lag_alarm_seconds


def _intake(status: Status, intake: IntakeLook | None) -> Iterator[Problem]:
    if intake is None:
        return
    if intake.queue is None:
        yield Problem(
            "broker_away",
            f"the broker does not answer: {intake.refusal}",
            "Until it does, shops cannot send and no event is published; then everything goes on by itself.",
        )
        return
    if intake.queue.is_closed:
        yield Problem(
            "stream_closed",
            f"the stream {SHOP_STREAM} takes no more messages from any shop: somebody has used its greatest id",
            "`loyalty renew-stream` puts a fresh one in its place, with all that waits.",
        )
    if not intake.is_moving:
        since = (
            "none has ever been stored"
            if status.stored_at is None
            else f"none has been stored for {age_text(_seconds_since(status.stored_at, status))}"
        )
        nobody = "" if intake.queue.intakes else "; no intake takes messages"
        yield Problem(
            "intake_lag",
            f"{count_text(intake.queue.waiting, 'message waits', 'messages wait')} at the broker, and {since}{nobody}",
            "Is an intake running (`loyalty health ready`)? Its log says why not: intake_interrupted, role_exited.",
        )


def _lags(status: Status, settings: Settings) -> Iterator[Problem]:
    if _is_older(status.received, status, settings.lag_alarm_seconds):
        yield Problem(
            "inbox_lag",
            f"{count_text(status.received.rows, 'message')} to post, the oldest for {_age(status.received, status)}",
            "Is a worker running (`loyalty health live`)? Its log says why it does not post: role_exited, role_stalled "
            "or task_interrupted.",
        )
        if status.is_chained and not settings.chain_key:
            yield Problem(
                "chain_key_missing",
                "entries carry a hash chain, and LOYALTY_CHAIN_KEY is not set here: a worker without it posts nothing",
                "Set it for all roles as it was when the chain was begun; then what has come is posted by itself.",
            )
    if _is_older(status.unpublished, status, settings.lag_alarm_seconds):
        yield Problem(
            "outbox_lag",
            f"{count_text(status.unpublished.rows, 'event')} to publish, the oldest for "
            f"{_age(status.unpublished, status)}",
            "The worker's log says why: relay_failed. Usually the broker is away, full, or in alarm.",
        )


def _crashes(status: Status) -> Iterator[Problem]:
    for shard in status.shards:
        if shard.attempts >= _ATTEMPTS_MAX:
            yield Problem(
                "shard_crashes",
                f"workers died {shard.attempts} times in a row while they posted the same messages",
                "The message at fault will be parked as posting_crashed; the worker's log says how it died.",
            )


def _overdue(status: Status, runs: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    finished = {run["task"]: run["finished_at"] for run in runs}
    late = {tick.task: overdue_seconds(status, tick.task, finished.get(tick.task)) for tick in TICKS}
    names = [task if task in finished else f"{task} (never ran)" for task, seconds in late.items() if seconds]
    if names:
        yield Problem(
            "task_overdue",
            f"periodic tasks have not run for more than ten of their periods: {', '.join(names)}",
            "Are a beat and a worker running (`loyalty health live`)? Each does all that is due when it runs again.",
        )


def _dead(status: Status, settings: Settings) -> Iterator[Problem]:
    count = sum(status.dead.values())
    if count > settings.dead_alarm_messages:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in status.dead.items())
        yield Problem(
            "dead_letters",
            f"{count_text(count, 'dead letter')}: {reasons}",
            "`loyalty dead list`, then `loyalty dead show NUMBER` says what mends each.",
        )


def _waiting(status: Status, settings: Settings) -> Iterator[Problem]:
    if _is_older(status.waiting, status, settings.waiting_alarm_hours * 3600):
        yield Problem(
            "message_waits_long",
            f"{count_text(status.waiting.rows, 'message waits', 'messages wait')} for an order, the oldest for "
            f"{_age(status.waiting, status)}",
            "`loyalty dead list --waiting`; ask the shop for the orders: what waits follows them by itself.",
        )


def _is_older(backlog: Backlog, status: Status, seconds_max: float) -> bool:
    return backlog.oldest_at is not None and _seconds_since(backlog.oldest_at, status) > seconds_max


def _age(backlog: Backlog, status: Status) -> str:
    assert backlog.oldest_at is not None
    return age_text(_seconds_since(backlog.oldest_at, status))


def _seconds_since(instant: datetime, status: Status) -> float:
    return (status.as_of - instant).total_seconds()
