"""Counting in a role: what tasks and intake tell becomes counters in files of the role's folder.

A child process has its files by its place in the pool, and not by its id: whoever takes the place of one that has ended
counts on where that one stopped. So nothing is counted twice or lost with a child, and there are never more files than
places. Only the child that has the place writes, so that no lock is shared.
"""

import os
from collections import Counter as Tallied
from collections.abc import Collection, Sequence
from pathlib import Path

from billiard.process import current_process
from prometheus_client import CollectorRegistry, Counter, Histogram, values
from typing_extensions import override

from core.domain.ledger import EntryKind
from core.domain.outcomes import Reason, RejectionCode
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.inbound.contracts import INBOUND
from core.messages.outbound.published_events import OUTBOUND_EVENTS
from core.posting.batch import BatchResult
from core.posting.tally import CountedOutcome, Tally
from core.receiving.receive import Receipt
from core.store.inbox import StoredMessage
from core.store.outbox import OutgoingEvent
from core.store.proof.differences import Difference
from tasks.registry import TASKS_BY_NAME
from tasks.watching import Watcher
from workers.metrics.families import OTHER, PROGRAMS_MAX, Family

#: prometheus-client looks for the folder of its files in this variable.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
#: Room for what one process counts, taken at once: a file that grew when the disk is full would end the process.
_FILE_BYTES = {"counter": 512 * 1024, "histogram": 256 * 1024}

_VERBS = frozenset(contract.verb for contract in INBOUND.values() if contract.verb is not None)
_REASONS = frozenset(Reason)
_ANSWERS = frozenset({"accepted", "replayed", *RejectionCode, *Reason})
_KINDS = frozenset(EntryKind)
_RECEIVED = {"received": "stored", "dead": "parked"}


def make_room(folder: Path, places: int) -> None:
    """Make the files of so many processes. OSError where there is no room for them."""
    for place in range(places):
        for kind, size_bytes in _FILE_BYTES.items():
            with (folder / f"{kind}_{place}.db").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size_bytes)


class Counting(Watcher):
    """Counts into the files of this process, in the folder that FOLDER_VARIABLE names."""

    tallies = True

    def __init__(self, families: Sequence[Family]) -> None:
        # Made anew, since prometheus-client chooses when it is imported, and by the id of the process.
        values.ValueClass = values.MultiProcessValue(_place)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self._counters = {each.name: _counter(each, registry) for each in families if each.kind == "counter"}
        self._histograms = {each.name: _histogram(each, registry) for each in families if each.kind == "histogram"}
        self._programs: set[str] = set()
        parked = self._counters.get("loyalty_messages_parked_total")
        if parked is not None:
            for reason in (*_REASONS, OTHER):
                parked.labels(reason)  # from 0 on, or the first one would be no increase

    @override
    def received(self, receipt: Receipt, seconds: float) -> None:
        outcomes = Tallied(
            (stored.message.type, _outcome(stored), stored.message.reason if stored.is_new else None)
            for stored in receipt.stored
        )
        for (message_type, outcome, reason), messages in outcomes.items():
            kind = _known(message_type, INBOUND)
            self._counters["loyalty_messages_received_total"].labels(kind, outcome).inc(messages)
            if outcome == "parked":
                self._parked(reason, messages)
            elif outcome == "rejected":
                self._answered(message_type, reason, messages)
        if receipt.stored:
            self._histograms["loyalty_intake_transaction_messages"].observe(len(receipt.stored))
            self._histograms["loyalty_intake_seconds"].observe(seconds)

    @override
    def posted(self, batch: BatchResult, seconds: float) -> None:
        if not batch.claimed:
            return
        self._histograms["loyalty_posting_batch_messages"].observe(batch.claimed)
        self._histograms["loyalty_posting_batch_seconds"].observe(seconds)
        for tally in batch.tallies:
            self.moved(tally)

    @override
    def moved(self, tally: Tally | None) -> None:
        if tally is None:
            return
        for outcome, messages in tally.outcomes.items():
            self._decided(outcome, messages)
        for (program_id, kind, is_credit), points in tally.points.items():
            labels = self._program(program_id), _known(kind, _KINDS), "credited" if is_credit else "debited"
            self._counters["loyalty_points_total"].labels(*labels).inc(points)

    def _decided(self, outcome: CountedOutcome, messages: int) -> None:
        kind = _known(outcome.type, INBOUND)
        self._counters["loyalty_messages_posted_total"].labels(kind, outcome.state).inc(messages)
        if outcome.state == "parked":
            self._parked(outcome.code, messages)
        elif outcome.type.startswith(COMMAND_PREFIX):
            answer = {"posted": "accepted", "rejected": outcome.code}.get(outcome.state, outcome.state)
            if outcome.state != "waiting":
                self._answered(outcome.type, answer, messages)

    def _answered(self, message_type: str | None, answer: str | None, commands: int) -> None:
        verb = _known((message_type or "").removeprefix(COMMAND_PREFIX), _VERBS)
        self._counters["loyalty_commands_total"].labels(verb, _known(answer, _ANSWERS)).inc(commands)

    def _parked(self, reason: str | None, messages: int) -> None:
        self._counters["loyalty_messages_parked_total"].labels(_known(reason, _REASONS)).inc(messages)

    def _program(self, program_id: str) -> str:
        if program_id not in self._programs and len(self._programs) == PROGRAMS_MAX:
            return OTHER
        self._programs.add(program_id)
        return program_id

    @override
    def relayed(self, events: Sequence[OutgoingEvent], seconds: float) -> None:
        if not events:
            return
        self._histograms["loyalty_relay_batch_events"].observe(len(events))
        self._histograms["loyalty_relay_batch_seconds"].observe(seconds)
        for event_type, count in Tallied(event.type for event in events).items():
            self._counters["loyalty_events_published_total"].labels(_known(event_type, OUTBOUND_EVENTS)).inc(count)

    @override
    def relay_failed(self) -> None:
        self._counters["loyalty_relay_failures_total"].inc()

    @override
    def overdue(self, messages: int) -> None:
        if messages:
            self._parked(Reason.ORDER_NEVER_CAME, messages)

    @override
    def audited(self, differences: Sequence[Difference]) -> None:
        for difference in differences:
            self._counters["loyalty_ledger_differences_found_total"].labels(str(difference.invariant)).inc()

    @override
    def ran(self, task: str, outcome: str, seconds: float) -> None:
        name = _known(task, TASKS_BY_NAME)
        self._counters["loyalty_task_runs_total"].labels(name, outcome).inc()
        self._histograms["loyalty_task_seconds"].labels(name).observe(seconds)

    @override
    def ticked(self, task: str, *, is_sent: bool) -> None:
        labels = _known(task, TASKS_BY_NAME), "sent" if is_sent else "failed"
        self._counters["loyalty_ticks_total"].labels(*labels).inc()


def _outcome(stored: StoredMessage) -> str:
    return _RECEIVED.get(stored.state, stored.state) if stored.is_new else "replayed"


def _place() -> int:
    """The place of this process in its pool; 0 for what has no pool."""
    return int(getattr(current_process(), "index", 0))


def _known(value: str | None, known: Collection[str]) -> str:
    """A value that the contracts know; no sender makes others."""
    return str(value) if value in known else OTHER


def _counter(family: Family, registry: CollectorRegistry) -> Counter:
    return Counter(family.name, family.meaning, family.labels, registry=registry)


def _histogram(family: Family, registry: CollectorRegistry) -> Histogram:
    return Histogram(family.name, family.meaning, family.labels, buckets=family.buckets, registry=registry)
