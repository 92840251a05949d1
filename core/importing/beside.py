"""Posting beside the import, in processes of its own: where there is much, deciding and writing take more than one.

Each posts whole shards as a worker does, so that what waits for what is the same as among workers. They are started
when the first full batch has come: a small file is imported before a process is there.
"""

import gc
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import UUID

import psycopg
from sqlalchemy import Engine

from core.errors import ImportStoppedError
from core.posting.batch import Poster
from core.store.engine import create_database_engine


class Posting(NamedTuple):
    """What a process needs to post as the workers do."""

    database_url: str
    event_source: str
    new_id: Callable[[], UUID]
    chain_key: bytes | None
    reference_salt: bytes | None
    #: What each process does first; it must be a function of a module.
    begin: Callable[[], None] | None = None

    def poster(self, engine: Engine | None = None) -> Poster:
        """A poster, with sessions of its own unless it is given an engine."""
        return Poster(
            engine or create_database_engine(self.database_url, application_name="loyalty-import"),
            event_source=self.event_source,
            new_account_id=self.new_id,
            chain_key=self.chain_key,
            reference_salt=self.reference_salt,
        )


class PostingBeside:
    """Some processes that post shards. Until `start` there are none, and at the end none is left."""

    def __init__(self, posting: Posting, processes: int) -> None:
        """At most so many processes; fewer than 2 are none."""
        self._posting = posting
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None
        self._thresholds = gc.get_threshold()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        gc.set_threshold(*self._thresholds)
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def start(self) -> None:
        """From now on there are processes to post; a second call changes nothing."""
        if self._pool is None and self._processes > 1:
            # Spawned, since a fork would share our session.
            self._pool = ProcessPoolExecutor(
                self._processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(self._posting,)
            )
            # A batch is a million objects and no cycles: to look for some at every 700th takes a tenth of the time.
            gc.set_threshold(300_000, 20, 20)

    @property
    def is_started(self) -> bool:
        """Whether `post` may be called."""
        return self._pool is not None

    def post(self, shards: Iterable[int], messages_max: int) -> int:
        """Post a batch of each shard, side by side; how many messages they were. Errors of posting are raised.

        ImportStoppedError when a process was killed.
        """
        assert self._pool is not None
        shards = list(shards)
        try:
            return sum(self._pool.map(_post, shards, [messages_max] * len(shards)))
        except BrokenProcessPool as error:
            raise ImportStoppedError from error


_own: dict[str, Any] = {}  #: of this process


def _begin(posting: Posting) -> None:
    # An interrupt from the terminal reaches all processes: the first one ends the others when their batch is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if posting.begin is not None:
        posting.begin()
    _own["poster"] = posting.poster()


def _post(shard: int, messages_max: int) -> int:
    try:
        claimed: int = _own["poster"].post_batch(shard, messages_max).claimed
    except psycopg.errors.LockNotAvailable:
        return 0
    return claimed
