"""In which sequence messages of a batch are decided: as they came, and what waits right behind what it waits for."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from core.domain.message import Message
from core.domain.outcomes import Waiting
from core.posting.handlers import Handler, Outcome
from core.store.inbox import ClaimedMessage


class ReadMessage(NamedTuple):
    """A claimed message as it is decided."""

    claimed: ClaimedMessage
    handler: Handler
    message: Message[Any]
    data: Mapping[str, Any]  #: settled

    @property
    def subject(self) -> tuple[str, str]:
        """What it is about, within the source whose that is."""
        return self.claimed.subject_key


def decided(read: Sequence[ReadMessage], waiting: Sequence[ReadMessage]) -> Iterator[ReadMessage]:
    """The messages as `in_order` may decide them: one that may have to wait also behind each that it may wait for."""
    held: dict[tuple[str, str], list[ReadMessage]] = defaultdict(list)
    for each in waiting:
        held[each.subject].append(each)
    for first in read:
        yield first
        if first.handler.contract.is_subject:
            yield from sorted(held[first.subject], key=lambda each: each.claimed.inbox_id)
        else:
            held[first.subject].append(first)


def through_first_subject(read: Sequence[ReadMessage]) -> list[ReadMessage]:
    """The messages up to the first that others may wait for."""
    places = (place for place, each in enumerate(read) if each.handler.contract.is_subject)
    return list(read[: next(places) + 1])


def in_order(
    read: Sequence[ReadMessage],
    waiting: Sequence[ReadMessage],
    post: Callable[[ReadMessage], Outcome],
    is_over: Callable[[], bool],
) -> list[tuple[ClaimedMessage, Outcome]]:
    """Post in order of arrival; what came before its subject, in this batch or earlier, follows right behind that.

    So a batch ends as its messages would have, each posted alone. At least one is posted, and none after `is_over`.
    """
    held: dict[tuple[str, str], list[ReadMessage]] = defaultdict(list)
    for each in waiting:
        held[each.subject].append(each)
    outcomes: dict[int, tuple[ClaimedMessage, Outcome]] = {}
    for first in read:
        turn = [first]
        if held and first.handler.contract.is_subject:
            turn += sorted(held.pop(first.subject, ()), key=lambda held_back: held_back.claimed.inbox_id)
        for each in turn:
            outcome = post(each)
            outcomes[each.claimed.inbox_id] = each.claimed, outcome
            if isinstance(outcome, Waiting):
                held[each.subject].append(each)
        if is_over():
            break
    return list(outcomes.values())
