"""What a transaction does, counted for who watches: worth something once it is committed."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from core.domain.decision import Decision
from core.domain.outcomes import Parked, Rejected, Replayed, Waiting
from core.messages.trace_context import TraceContext
from core.store.inbox import ClaimedMessage


class CountedOutcome(NamedTuple):
    """What became of a message."""

    type: str
    state: str  #: posted, replayed, waiting, parked or rejected
    code: str | None  #: why it is parked or rejected


class CountedPoints(NamedTuple):
    """Entries that are counted together."""

    program_id: str
    kind: str
    is_credit: bool  #: the balance grew


class TracedMessage(NamedTuple):
    """What became of one message that belongs to a trace."""

    inbox_id: int
    type: str | None  #: None: it could not be read
    trace: TraceContext
    state: str
    code: str | None  #: why it is parked or rejected


class Tally:
    """Counts of one transaction, without anything that names a customer."""

    def __init__(self) -> None:
        self.outcomes: Counter[CountedOutcome] = Counter()  #: messages
        self.points: Counter[CountedPoints] = Counter()  #: by which balances changed, never below zero
        self.traced: list[TracedMessage] = []

    def add_decision(self, decision: Decision) -> None:
        """Count the points of its entries; one that leaves the balance as it was counts nothing."""
        for change in decision.changes:
            for entry in change.entries:
                if entry.points:
                    key = CountedPoints(change.account.program_id, entry.kind.value, entry.points > 0)
                    self.points[key] += abs(entry.points)

    def add_outcomes(self, outcomes: Iterable[tuple[ClaimedMessage, object]]) -> None:
        """Count what became of messages."""
        for message, outcome in outcomes:
            state, code = _state(outcome)
            self.outcomes[CountedOutcome(message.type, state, code)] += 1
            if (trace := message.trace) is not None:
                self.traced.append(TracedMessage(message.inbox_id, message.type, trace, state, code))


def _state(outcome: object) -> tuple[str, str | None]:
    match outcome:
        case Replayed():
            return "replayed", None
        case Waiting():
            return "waiting", None
        case Parked(reason):
            return "parked", reason.value
        case Rejected(code):
            return "rejected", code.value
    return "posted", None
