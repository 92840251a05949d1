"""What tasks and intake tell of their work, each time after its commit. Nobody listens unless a role has metrics."""

from collections.abc import Sequence

from core.posting.batch import BatchResult
from core.posting.tally import Tally
from core.receiving.receive import Receipt
from core.store.outbox import OutgoingEvent
from core.store.proof.differences import Difference


class Watcher:
    """Takes no notice of anything. What a subclass does here must not fail, and is done in the way of the work."""

    tallies: bool = False  #: whether transactions are to be counted for `posted` and `moved`

    def tally(self) -> Tally | None:
        """What the next transaction is counted in."""
        return Tally() if self.tallies else None

    def received(self, receipt: Receipt, seconds: float) -> None:
        """Messages of one transaction are stored, so many seconds after they had come."""

    def posted(self, batch: BatchResult, seconds: float) -> None:
        """A batch was posted, or nothing was found."""

    def relayed(self, events: Sequence[OutgoingEvent], seconds: float) -> None:
        """Events were published and marked, or none were found."""

    def relay_failed(self) -> None:
        """The broker did not confirm a batch of events."""

    def moved(self, tally: Tally | None) -> None:
        """A transaction of a periodic task is done."""

    def overdue(self, messages: int) -> None:
        """So many messages have waited too long for their orders, and are parked."""

    def audited(self, differences: Sequence[Difference]) -> None:
        """The audit has looked at accounts."""

    def ran(self, task: str, outcome: str, seconds: float) -> None:
        """A task has ended: done, interrupted (database or broker away), or failed."""

    def ticked(self, task: str, *, is_sent: bool) -> None:
        """Beat has sent a tick, or could not."""


UNWATCHED = Watcher()
