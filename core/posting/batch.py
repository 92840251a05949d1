"""Posting: one batch of a shard's inbox rows in one transaction, and the bad message found when a batch fails."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import NamedTuple, TypeVar
from uuid import UUID

import psycopg
import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from core.domain.decision import Decision
from core.domain.outcomes import Parked, Reason, Rejected, Replayed, Waiting
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import union
from core.domain.subjects import refund_subject
from core.errors import ChainKeyMissingError
from core.messages.inbound.reading import read_settled
from core.posting.erasing import erased_with
from core.posting.events import EventContext
from core.posting.handlers import HANDLERS, Handler, Outcome
from core.posting.loading import open_books
from core.posting.sequence import ReadMessage, decided, in_order, through_first_subject
from core.posting.source_limits import add_daily, load_daily, within_limits
from core.posting.tally import Tally
from core.posting.writing import BudgetRaceError, Writing, report_of
from core.store.attempts import count_attempt, forget_attempts
from core.store.engine import sent_together
from core.store.erasing import Asking
from core.store.failures import frames, is_outage
from core.store.inbox import ClaimedMessage, Settlement, claim_waiting, settle, wait_for
from core.store.letters_again import Mended, take_again
from core.store.locks import LockClass, lock
from core.store.posting_turns import FEW_MESSAGES_MAX, ClaimBounds, PostingTurn, begin_posting
from core.store.programs import load_registry
from core.store.sessions import CalculatedTooLongError
from core.store.waiting import wake_waiting_for

log = structlog.get_logger(__name__)

#: After that many deaths in a row on one shard its messages are posted one by one, to find the one that kills.
CRASHES_BEFORE_SINGLE = 3
#: After that many the first message of the shard is parked: posted alone, it has killed several times in a row.
CRASHES_BEFORE_PARKING = 6
#: How often work is done again that another transaction came in between of, before it counts as failed.
RACES_MAX = 3

#: For how long a shard is left alone that could not have its rows: doubled each time.
HELD_UP_SECONDS_MIN, HELD_UP_SECONDS_MAX = 1.0, 8.0

T = TypeVar("T")


class BatchBounds(NamedTuple):
    """Where a batch is cut, so that no transaction takes too long; the rest comes with the next one."""

    #: Messages of other shards are taken along if there are no more of all together. 0: of no other shard.
    along_max: int = FEW_MESSAGES_MAX
    #: So much is read for it, about; more than 50,000 lines of orders.
    bytes_max: int = 4_000_000
    #: So many waiting messages are taken along with what they wait for; more are made ready for the next batches.
    waiting_messages_max: int = 1_000
    #: After so long no further message is decided: PostgreSQL takes us for lost in LOYALTY_DATABASE_IDLE_SECONDS_MAX.
    deciding_seconds_max: float = 5.0


class Turn(NamedTuple):
    """A transaction that has turns at shards."""

    connection: Connection
    begun: PostingTurn

    @property
    def as_of(self) -> datetime:
        """Its time."""
        return self.begun.as_of


@dataclass
class BatchResult:
    """What one call of `post_batch` did."""

    claimed: int = 0
    posted: int = 0
    replayed: int = 0
    waiting: int = 0
    parked: int = 0
    rejected: int = 0  #: commands
    shards: set[int] = field(default_factory=set)  #: whose messages these were
    account_shards: set[int] = field(default_factory=set)
    tallies: list[Tally] = field(default_factory=list)  #: of its transactions; none unless the poster is to count
    is_busy: bool = False  #: another worker has the shard, or one of the shards or messages of a call that took several

    def add(self, other: "BatchResult") -> None:
        """Count what another call did too."""
        for name in ("claimed", "posted", "replayed", "waiting", "parked", "rejected"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.shards |= other.shards
        self.account_shards |= other.account_shards
        self.tallies += other.tallies
        self.is_busy |= other.is_busy


class _HeldUp(NamedTuple):
    """A shard that could not have its rows."""

    until: float  #: on the monotonic clock
    seconds: float


class _TogetherError(Exception):
    """Messages of several shards could not be posted in one batch."""

    def __init__(self, shards: Sequence[int]) -> None:
        super().__init__()
        self.shards = shards


class Poster:
    """Posts batches; keeps the program registry between them and reloads it when there is a newer version."""

    def __init__(
        self,
        engine: Engine,
        *,
        event_source: str,
        new_account_id: Callable[[], UUID],
        chain_key: bytes | None = None,
        reference_salt: bytes | None = None,
        handlers: Mapping[str, Handler] = HANDLERS,
        bounds: BatchBounds = BatchBounds(),  # noqa: B008  # a tuple
        tallies: bool = False,
    ) -> None:
        """`event_source` is the CloudEvents source of what we publish; `new_account_id` draws account ids.

        With `chain_key` entries carry a hash chain (core.store.proof.chain); where they carry one, nothing is posted
        without it. Without `reference_salt` nobody is erased. With `tallies` results tell what was done by kind.
        """
        self._engine = engine
        self._handlers = handlers
        self._chain_key = chain_key
        self._reference_salt = reference_salt
        self.bounds = bounds  #: of each batch
        self._event_source = event_source
        self._new_account_id = new_account_id
        self._tallies = tallies
        self._registry = ProgramRegistry((), stamp=-1)
        #: Shards with an attempt of ours that ended in an error and is still counted as a death.
        self._unforgotten: set[int] = set()
        #: Shards whose rows somebody else holds: until when they are left alone.
        self._held_up: dict[int, _HeldUp] = {}

    def post_batch(self, shard: int, messages_max: int) -> BatchResult:
        """Post the shard's next messages, oldest first, in one transaction; nothing if another worker has the shard.

        What little has come for other shards is taken along. If that fails, each shard is posted by itself; and if a
        batch of one shard fails, it is done again message by message: the good ones are posted, the bad one is parked.
        A broken database or broker connection is not a message's fault: the error is raised and nothing has changed.
        Likewise where others hold rows that are needed; the shard is then left alone for some seconds. And
        ChainKeyMissingError where there is something to post, entries carry a hash chain and the poster has no key.
        """
        try:
            return self._post_unless_held_up(shard, messages_max, self.bounds.along_max)
        except _TogetherError as failed:
            return self._post_apart(failed.shards, messages_max)

    def _post_apart(self, shards: Sequence[int], messages_max: int) -> BatchResult:
        """One after the other; a shard whose rows others hold keeps none of them back."""
        total = BatchResult()
        held_up: psycopg.errors.LockNotAvailable | None = None
        for shard in shards:
            try:
                total.add(self._post_unless_held_up(shard, messages_max, along_max=0))
            except psycopg.errors.LockNotAvailable as error:
                held_up = error
        if held_up is not None and not total.claimed:
            raise held_up
        return total

    def _post_unless_held_up(self, shard: int, messages_max: int, along_max: int) -> BatchResult:
        held_up = self._held_up.get(shard)
        if held_up is not None and monotonic() < held_up.until:
            return BatchResult(is_busy=True)
        try:
            result = self._post_next(shard, messages_max, along_max)
        except psycopg.errors.LockNotAvailable:
            seconds = HELD_UP_SECONDS_MIN if held_up is None else min(2 * held_up.seconds, HELD_UP_SECONDS_MAX)
            self._held_up[shard] = _HeldUp(monotonic() + seconds, seconds)
            raise
        self._held_up.pop(shard, None)
        return result

    def _post_next(self, shard: int, messages_max: int, along_max: int) -> BatchResult:
        claimed: list[ClaimedMessage] = []
        shards: Sequence[int] = (shard,)
        if shard in self._unforgotten:
            self._forget_attempts(shards)  # or a long outage would look like deaths, and an innocent message be parked

        def work(is_contended: bool) -> BatchResult | None:
            nonlocal shards
            claimed.clear()
            with self._turn(shard, messages_max, along_max) as turn:
                if turn is None:
                    return BatchResult(is_busy=True)
                shards = turn.begun.shards
                claimed.extend(turn.begun.claimed)
                if turn.begun.crashes >= CRASHES_BEFORE_SINGLE and claimed:
                    return None
                return self._post(turn, claimed, is_contended=is_contended) if claimed else BatchResult()

        try:
            result = _redone_after_races(work)
        except Exception as error:
            self._forget_attempts(shards)
            # A statement about all of them may have been cancelled because they are many; each alone shows that.
            is_apart = len(shards) > 1
            is_our_fault = not is_outage(error) or isinstance(error, psycopg.errors.QueryCanceled)
            if not is_apart and (not claimed or not is_our_fault):
                raise
            failed = {"shards": [*shards], "error": type(error).__name__}
            log.warning("posting_batch_failed", action="posting_batch_failed", **failed)
            if is_apart:
                raise _TogetherError(shards) from error
            result = None
        return self._post_each(shard, claimed) if result is None else result

    def _post_each(self, shard: int, claimed: Sequence[ClaimedMessage]) -> BatchResult:
        total = BatchResult()
        for message in claimed:
            total.add(self._post_alone(shard, message))
        return total

    def _post_alone(self, shard: int, message: ClaimedMessage) -> BatchResult:
        try:
            return _redone_after_races(lambda _: self._in_turn(shard, message, None))
        except Exception as error:
            self._forget_attempts((shard,))
            if is_outage(error):
                raise
            log.error(  # noqa: TRY400  # the text of a database error holds the row, and so a customer's data
                "message_failed",
                action="message_failed",
                **message.log_fields,
                error=type(error).__name__,
                frames=frames(error),
            )
            return self._in_turn(shard, message, _parked_by(error, message))

    def _in_turn(self, shard: int, message: ClaimedMessage, parked: Parked | None) -> BatchResult:
        """Post or park this one message, unless another worker has done so since the batch failed."""
        with self._turn(shard, 1) as turn:
            if turn is None:
                return BatchResult(is_busy=True)
            first = turn.begun.claimed
            if not first or first[0].inbox_id != message.inbox_id:
                return BatchResult(is_busy=True)
            if turn.begun.crashes >= CRASHES_BEFORE_PARKING:
                detail = f"the worker died {turn.begun.crashes} times in a row at this message"
                parked = Parked(Reason.POSTING_CRASHED, detail)
            if parked is not None:
                writing = self._writing(turn)
                result = self._settle(turn, [(first[0], parked)], writing)
                writing.write_shared(turn.connection)
                return result
            return self._post(turn, first, is_alone=True)

    @contextmanager
    def _turn(self, shard: int, messages_max: int, along_max: int = 0) -> Iterator[Turn | None]:
        """A transaction with the shard's turn, its next messages and the newest programs; None if another has it."""
        bounds = ClaimBounds(messages_max, self.bounds.bytes_max, along_max, self._held_up)
        with self._engine.begin() as connection, sent_together(connection):
            begun = begin_posting(connection, shard, bounds)
            if begun.claimed and begun.is_chained and self._chain_key is None:
                raise ChainKeyMissingError
            if begun.programs_stamp != self._registry.stamp:
                self._registry = load_registry(connection)
            yield Turn(connection, begun) if shard in begun.shards else None

    def _post(
        self, turn: Turn, claimed: Sequence[ClaimedMessage], *, is_alone: bool = False, is_contended: bool = False
    ) -> BatchResult:
        """Post what is claimed, and what waits for its orders; what takes too long is left to the next batch.

        Not so a message that is posted alone to find out whether it is the bad one, or for which too many wait: what
        waits for it is made ready and comes after it.
        """
        self._count_attempt(turn.begun.shards)
        decide_until = monotonic() + self.bounds.deciding_seconds_max
        read = _through_one_alone([self._read(message) for message in claimed])
        _keep_others_out(turn.connection, read)
        subjects = [each.subject for each in read if each.handler.contract.is_subject]
        waiting_max = self.bounds.waiting_messages_max
        found = [] if is_alone else claim_waiting(turn.connection, subjects, waiting_max + 1)
        is_crowded = len(found) > waiting_max
        if is_crowded:
            read, subjects = through_first_subject(read), subjects[:1]
        shard_of = {each.subject: each.claimed.shard for each in read}
        waiting = [] if is_crowded else [self._read(each._replace(shard=shard_of[each.subject_key])) for each in found]
        rules = self._registry
        reach = union(each.handler.reach(each.message, rules, turn.as_of) for each in decided(read, waiting))
        books, budgets = open_books(
            turn.connection, reach, rules, self._new_account_id, turn.as_of, is_contended=is_contended or is_alone
        )
        writing = self._writing(turn)
        daily = load_daily(turn.connection, [*read, *waiting], turn.as_of, is_locked=is_contended or is_alone)

        def post(each: ReadMessage) -> Outcome:
            outcome = each.handler.decide(books, each.message, rules, turn.as_of)
            if isinstance(outcome, Decision):
                outcome = within_limits(outcome, each.claimed, daily, turn.as_of)
            if isinstance(outcome, Decision) and outcome.erasure is not None:
                outcome = self._erased(turn, each, outcome)
            if isinstance(outcome, Decision):
                books.apply(outcome)
                writing.keep(outcome, report_of(each.claimed, each.data))
            if each.handler.contract.verb is not None:
                writing.keep_answer(each.claimed, each.message.digest, outcome)
            return outcome

        outcomes = in_order(read, waiting, post, lambda: monotonic() > decide_until)
        writing.write_ledger(turn.connection, chain_key=self._chain_key, books=books)
        result = self._settle(turn, outcomes, writing)
        take_again(turn.connection, self._mended(outcomes))
        if is_alone or is_crowded:
            wake_waiting_for(turn.connection, {subject: shard_of[subject] for subject in subjects})
        add_daily(turn.connection, daily)
        writing.write_shared(turn.connection, books, budgets)
        return result

    def _read(self, claimed: ClaimedMessage) -> ReadMessage:
        handler = self._handlers[claimed.type]
        if handler.erases:
            claimed = claimed._replace(tracestate=None)  # whoever is erased may be named in it
        settled = read_settled(handler.contract, claimed.source, claimed.occurred_at, claimed.settled, claimed.event_id)
        return ReadMessage(claimed, handler, *settled)

    def _erased(self, turn: Turn, each: ReadMessage, decision: Decision) -> Outcome:
        """Let nothing that is there name the customer any more, before it is written what the decision adds."""
        claimed = each.claimed
        asking = Asking(claimed.source, claimed.event_id, each.message.digest, claimed.inbox_id)
        return erased_with(turn.connection, decision, asking, self._reference_salt, self._chain_key)

    def _mended(self, outcomes: Sequence[tuple[ClaimedMessage, Outcome]]) -> Iterator[Mended]:
        """What messages that were posted may have put right."""
        for message, outcome in outcomes:
            reasons = self._handlers[message.type].mends
            if reasons and isinstance(outcome, Decision):
                by = f"message {message.inbox_id} ({message.type})"
                yield Mended(*message.subject_key, reasons, by, message.shard)

    def _writing(self, turn: Turn) -> Writing:
        return Writing(EventContext(self._event_source, turn.as_of, Tally() if self._tallies else None))

    def _settle(self, turn: Turn, outcomes: Sequence[tuple[ClaimedMessage, Outcome]], writing: Writing) -> BatchResult:
        """Write every message's outcome, and announce what is parked."""
        result = BatchResult(claimed=len(outcomes))
        settlements: list[Settlement] = []
        awaiting: list[tuple[int, str]] = []
        for message, outcome in outcomes:
            match outcome:
                case Decision():
                    result.posted += 1
                    settlements.append(Settlement(message.inbox_id, "posted"))
                case Replayed():
                    result.replayed += 1
                    settlements.append(Settlement(message.inbox_id, "replayed"))
                case Rejected(code, detail):
                    result.rejected += 1
                    settlements.append(Settlement(message.inbox_id, "rejected", code.value, detail))
                case Waiting(_, others, refund_id):
                    result.waiting += 1
                    if refund_id is not None:
                        awaiting.append((message.inbox_id, refund_subject(refund_id)))
                    settlements.append(Settlement(message.inbox_id, "waiting", others_posted=others))
                case Parked(reason, detail):
                    result.parked += 1
                    settlements.append(Settlement(message.inbox_id, "dead", reason.value, detail))
                    writing.announce_parked(message, outcome)
        writing.answer_also(settle(turn.connection, settlements, turn.as_of))
        wait_for(turn.connection, awaiting)
        forget_attempts(turn.connection, turn.begun.shards)
        result.shards |= {*turn.begun.shards}
        result.account_shards |= set(writing.account_shards())
        if writing.tally is not None:
            writing.tally.add_outcomes(outcomes)
            result.tallies.append(writing.tally)
        return result

    def _count_attempt(self, shards: Sequence[int]) -> None:
        """Remember, before the work, that it is tried, so that a death counts: on a connection that it cannot undo.

        Only who holds the shards' turns counts, or many workers that come at once would look like deaths.
        """
        count_attempt(self._engine, shards)

    def _forget_attempts(self, shards: Sequence[int]) -> None:
        """A caught error is no death. If even that cannot be written, the next batch of a shard begins with it."""
        self._unforgotten.update(shards)
        try:
            with self._engine.begin() as connection:
                forget_attempts(connection, shards)
            self._unforgotten.difference_update(shards)
        except (DBAPIError, psycopg.Error):
            log.warning("attempt_not_forgotten", action="attempt_not_forgotten", shards=[*shards])


def _parked_by(error: Exception, message: ClaimedMessage) -> Parked:
    """Why a message is parked that raised this when it was posted alone."""
    retry = f"loyalty dead retry {message.inbox_id}"
    if isinstance(error, CalculatedTooLongError):
        took = f"working it out took {error.seconds:.0f} s, for which the database does not wait"
        return Parked(Reason.TOO_HEAVY, f"{took}; retry it after a repair: {retry}")
    return Parked(Reason.POSTING_FAILED, f"posting it raised {type(error).__name__}; retry it after a repair: {retry}")


def _redone_after_races(work: Callable[[bool], T]) -> T:
    """Do `work` again if another shard opened the same account, ran into the same rows, or took the same budget.

    Its argument says whether that has happened.
    """
    for number in range(RACES_MAX - 1):
        try:
            return work(number > 0)
        except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, BudgetRaceError) as error:
            log.info("posting_race_lost", action="posting_race_lost", error=type(error).__name__)
    return work(True)


def _keep_others_out(connection: Connection, read: Sequence[ReadMessage]) -> None:
    """While somebody is erased, what else is received and posted must not name them: it waits until that is done."""
    if any(each.handler.erases for each in read):
        lock(connection, LockClass.ERASURE)


def _through_one_alone(read: Sequence[ReadMessage]) -> Sequence[ReadMessage]:
    """The messages up to the first that is to be posted alone, or that one where it is the first of all."""
    place = next((place for place, each in enumerate(read) if each.handler.is_alone), len(read))
    return read[: max(place, 1)]
