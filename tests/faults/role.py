"""`python -m tests.faults.role NAME`: the same as `python -m workers NAME`, with crash points that can be armed."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import tasks.relay
from core.posting.batch import Poster
from tests.faults.crash_points import (
    ACKNOWLEDGED,
    CLAIMED,
    COMMITTED,
    COUNTED,
    FOLDER_VARIABLE,
    MARKED,
    POSTED,
    PUBLISHED,
    STORED,
    pass_by,
)
from workers.brokers.amqp import AmqpEventPublisher, AmqpIntake
from workers.brokers.streams import StreamEventPublisher, StreamIntake
from workers.cli import main


def wrap_seams(folder: Path) -> None:
    """Put the crash points into this process and into those that it forks."""

    def passing(point: str) -> None:
        pass_by(folder, point)

    for source in (AmqpIntake, StreamIntake):
        _around(source, "acknowledge", before=lambda: passing(STORED), after=lambda: passing(ACKNOWLEDGED))
    for publisher in (AmqpEventPublisher, StreamEventPublisher):
        _around(publisher, "publish", before=lambda: passing(CLAIMED), after=lambda: passing(PUBLISHED))
    _around(tasks.relay, "mark_published", after=lambda: passing(MARKED))
    _wrap_posting(passing)


def _wrap_posting(passing: Callable[[str], None]) -> None:
    """A turn without work is no passing: most of them are."""
    original = Poster._turn  # noqa: SLF001  # the seam
    has_worked = False

    def worked() -> None:
        nonlocal has_worked
        has_worked = True
        passing(COUNTED)

    @contextmanager
    def turn(poster: Poster, *arguments: int) -> Iterator[Any]:
        nonlocal has_worked
        has_worked = False
        with original(poster, *arguments) as it:
            yield it
            if has_worked:
                passing(POSTED)
        if has_worked:
            passing(COMMITTED)

    _around(Poster, "_count_attempt", after=worked)
    setattr(Poster, original.__name__, turn)


def _around(
    owner: Any, name: str, *, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    @wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        is_work = _has_something(arguments)
        if before is not None and is_work:
            before()
        result = original(*arguments, **named)
        if after is not None and is_work:
            after()
        return result

    setattr(owner, name, wrapped)


def _has_something(arguments: Sequence[Any]) -> bool:
    """Whether the last argument is anything but an empty list."""
    return not (arguments and arguments[-1] == [])


if __name__ == "__main__":
    wrap_seams(Path(os.environ[FOLDER_VARIABLE]))
    main()
