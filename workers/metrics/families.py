"""Every metric of ours with its labels and what it means: what is counted, what is read, what the page tells."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

#: Whatever is not in the contracts of this release, or one program too many.
OTHER = "other"
#: So many programs have a label value of their own, in each process.
PROGRAMS_MAX = 100

_SHORT = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0)
_TASKS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Kind = Literal["counter", "gauge", "histogram"]


class Family(NamedTuple):
    """One metric."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()  #: upper bounds, without the infinite one


def _counter(name: str, meaning: str, *labels: str) -> Family:
    return Family(name, "counter", labels, meaning)


def _gauge(name: str, meaning: str, *labels: str) -> Family:
    return Family(name, "gauge", labels, meaning)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Family:
    return Family(name, "histogram", labels, meaning, buckets)


#: Of every role, told by the process beside it.
OF_ROLE = (
    _gauge("loyalty_role_info", "1; which role of which release it is", "role", "version"),
    _gauge("loyalty_role_live", "1 while the role gets on, or waits for what it needs, as `/live` says", "role"),
    _gauge(
        "loyalty_role_working",
        "1 while it is alive and, if it is an intake, has stored something or found its queue empty lately",
        "role",
    ),
    _counter("loyalty_role_restarts_total", "how often its supervisor has started it again", "role"),
)
OF_INTAKE = (
    _counter(
        "loyalty_messages_received_total",
        "messages taken from the broker: `stored` (to be posted), `waiting` (for what they are about), `replayed` "
        "(there before), `parked`, or `rejected` (commands that are not let in)",
        "type",
        "outcome",
    ),
    _histogram("loyalty_intake_transaction_messages", "messages stored by one transaction", _SIZES),
    _histogram("loyalty_intake_seconds", "from when the broker gave a batch until its messages are stored", _SHORT),
)
OF_INTAKE_AND_WORKER = (
    _counter("loyalty_messages_parked_total", "messages that became dead letters", "reason"),
    _counter(
        "loyalty_commands_total",
        "commands answered: `accepted`, `replayed` (the first answer once more), or the code of the rejection",
        "verb",
        "answer",
    ),
)
OF_WORKER = (
    _counter(
        "loyalty_messages_posted_total",
        "messages that posting has decided: `posted`, `replayed`, `waiting`, `parked` or `rejected`",
        "type",
        "outcome",
    ),
    _counter(
        "loyalty_points_total",
        "points by which balances grew (`credited`) or fell (`debited`), each counted upwards; pending points count "
        "when they are released",
        "program",
        "kind",
        "direction",
    ),
    _histogram("loyalty_posting_batch_messages", "messages posted by one batch", _SIZES),
    _histogram("loyalty_posting_batch_seconds", "one batch, from its claim to its commit", _SHORT),
    _counter("loyalty_events_published_total", "events that the broker has confirmed", "type"),
    _histogram("loyalty_relay_batch_events", "events published before they are marked", _SIZES),
    _histogram("loyalty_relay_batch_seconds", "publishing one batch of events, confirms and marks included", _SHORT),
    _counter("loyalty_relay_failures_total", "batches of events that were not confirmed; they are published again"),
    _counter(
        "loyalty_task_runs_total",
        "runs of tasks: `done`, `interrupted` (database or broker away), or `failed`",
        "task",
        "outcome",
    ),
    _histogram("loyalty_task_seconds", "runs of tasks", _TASKS, "task"),
    _counter(
        "loyalty_ledger_differences_found_total",
        "differences that the audit found; one that stays is found, and counted, with each round",
        "invariant",
    ),
)
OF_BEAT = (_counter("loyalty_ticks_total", "ticks that beat has `sent`, or could not (`failed`)", "task", "outcome"),)
#: What the database and the broker tell, read by the process beside beat.
OF_STATE = (
    _gauge("loyalty_queue_messages", "messages that wait at the broker for intake"),
    _gauge("loyalty_queue_intakes", "intakes that the broker knows"),
    _gauge("loyalty_inbox_lag_messages", "messages that are stored and not posted"),
    _gauge("loyalty_inbox_lag_seconds", "for how long the oldest of them has been stored; 0 for none"),
    _gauge("loyalty_inbox_stored_timestamp_seconds", "when the newest message was stored"),
    _gauge("loyalty_outbox_lag_events", "events that are written and not published"),
    _gauge("loyalty_outbox_lag_seconds", "for how long the oldest of them has been written; 0 for none"),
    _gauge("loyalty_waiting_messages", "messages that wait for their orders"),
    _gauge("loyalty_waiting_lag_seconds", "for how long the oldest of them has waited; 0 for none"),
    _gauge("loyalty_dead_letters", "dead letters that nobody has settled", "reason"),
    _gauge(
        "loyalty_posting_attempts_max",
        "how many attempts in a row, at the worst shard, ended with the death of the worker",
    ),
    _gauge("loyalty_authorizations_open", "authorizations and rewards that hold points until a deadline"),
    _gauge("loyalty_periodic_last_run_timestamp_seconds", "when a periodic task last ended; 0: never", "task"),
    _gauge("loyalty_periodic_interval_seconds", "how often a periodic task is due", "task"),
    _gauge("loyalty_ledger_differences", "accounts that the audit found wrong, and has not found right since"),
    _gauge("loyalty_state_read_timestamp_seconds", "when the database was last read for all this"),
    _gauge("loyalty_state_read_seconds", "how long that took"),
)

#: What each role counts itself.
COUNTED = {
    "intake": (*OF_INTAKE, *OF_INTAKE_AND_WORKER),
    "worker": (*OF_WORKER, *OF_INTAKE_AND_WORKER),
    "beat": OF_BEAT,
}
FAMILIES = (*OF_ROLE, *OF_INTAKE, *OF_INTAKE_AND_WORKER, *OF_WORKER, *OF_BEAT, *OF_STATE)


def series_of(families: Iterable[Family]) -> dict[str, frozenset[str]]:
    """The names under which Prometheus knows them, with their labels."""
    found: dict[str, frozenset[str]] = {}
    for family in families:
        labels = frozenset(family.labels)
        if family.kind == "histogram":
            found |= {f"{family.name}_{part}": labels for part in ("sum", "count")}
            found[f"{family.name}_bucket"] = labels | {"le"}
        else:
            found[family.name] = labels
    return found
