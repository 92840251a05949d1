"""Commands in process: done at once, and answered to the caller. For Python storefronts, and for the command line.

A command goes the way of all others, through the inbox, and is posted under the same locks. Whoever asks posts it,
instead of waiting for a worker.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from time import monotonic, sleep
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from pydantic_core import PydanticSerializationError, from_json, to_json
from sqlalchemy import Connection, Engine

from core.domain.decision import Answer, Decision, Erasure
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.reach import union
from core.domain.value.situations import conflict
from core.errors import LoyaltyError, UserError
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.inbound.reading import MessageLimits, ReadEvent, read_message, read_settled
from core.messages.outbound.command_answers import CommandAcceptedData, CommandRejectedData
from core.posting.answers import Asked, accepted, erased, rejected
from core.posting.batch import Poster
from core.posting.erasing import erased_with
from core.posting.events import EventContext
from core.posting.handlers import HANDLERS
from core.posting.loading import open_books
from core.receiving.erased_customers import nameless_event
from core.receiving.receive import receive_by_operator
from core.store.commands import load_answers, load_first_time
from core.store.engine import database_now
from core.store.erasing import Asking
from core.store.erasures import ErasedMeanwhileError
from core.store.inbox import MessageState, StoredMessage, load_message_state
from core.store.locks import LockClass, lock
from core.store.programs import load_registry
from core.store.proof.seals import require_key_of_books

#: The source of commands of which nobody says whose they are.
OPERATOR_SOURCE = "/loyalty/operator"
#: How many messages of the shard are posted at once, of those that stand before the command too.
_BATCH_MESSAGES = 100
#: How long a caller waits between two looks while another worker has the shard: doubled each time.
_PAUSE_SECONDS_MIN, _PAUSE_SECONDS_MAX = 0.005, 0.1
#: The same id from two callers at once: each time has been somebody else's by then.
_TRIES_MAX = 3


class CommandRequest(NamedTuple):
    """What is asked for."""

    verb: str  #: what stands behind `loyalty.command.` in the type of a message, such as credit
    data: Mapping[str, Any]  #: as in a message; instants may be datetimes, aware
    command_id: str | None = None  #: with the source it names the command for ever; None: one is drawn
    source: str = OPERATOR_SOURCE
    occurred_at: datetime | None = None  #: aware; None: now, or of a command that is known, as it was


class CommandAccepted(NamedTuple):
    """The command is done."""

    data: CommandAcceptedData
    is_repeated: bool = False  #: it was done before, and this is what its sender was told then


class CommandRejected(NamedTuple):
    """The command is not done, and under this id it will not be."""

    data: CommandRejectedData
    is_repeated: bool = False


CommandAnswer = CommandAccepted | CommandRejected


class CommandUnreadableError(UserError):
    """The command breaks its contract ({reason}): {detail}. Nothing was done, and its id is not used up."""


class CommandUndecidedError(LoyaltyError):
    """Command {command_id} of {source} had no answer within {seconds:g} s: a worker was posting other messages first.

    It is stored, and will be done once. To learn its answer, ask again with the same id and content.
    """


class CommandParkedError(LoyaltyError):
    """Command {command_id} of {source} could not be posted ({reason}): {detail}.

    It is parked as message {inbox_id}. `loyalty dead show` with this number says what mends it.
    """


class Executor:
    """Does commands at once. It keeps what it has read of the programs: one for each thread, for as long as it runs."""

    def __init__(
        self,
        engine: Engine,
        *,
        event_source: str,
        shards: int,
        limits: MessageLimits,
        new_id: Callable[[], UUID],
        chain_key: bytes | None = None,
    ) -> None:
        """All but `new_id`, which draws the ids of commands and accounts, must be as the workers have it.

        A call has two connections of `engine` at a time: where threads share one, its pool needs two for each.
        """
        self._engine = engine
        self._event_source = event_source
        self._shards = shards
        self._limits = limits._replace(sources=None, is_trusted=True)
        self._new_id = new_id
        self._chain_key = chain_key
        self._poster = Poster(
            engine,
            event_source=event_source,
            new_account_id=new_id,
            chain_key=chain_key,
            reference_salt=limits.reference_salt,
        )

    def execute(self, request: CommandRequest, *, timeout_seconds: float = 10.0) -> CommandAnswer:
        """Do the command and return its answer, which is published too, as that of any other command.

        The same again changes nothing and returns the first answer again, also to a caller who never saw that; other
        content under a known id is rejected. Who may write to the database may send any command.

        CommandUnreadableError: it breaks its contract, and nothing is stored. ChainKeyMissingError: entries carry a
        hash chain, and this process lacks its key; nothing is stored either. CommandUndecidedError: another worker was
        at the same shard for the whole time; the command will be done. CommandParkedError: posting it failed.
        Errors of the database are raised as they are; whether the command is stored then shows when it is sent again.
        """
        request = self._named(request)
        deadline = monotonic() + timeout_seconds
        stored = self._stored(request)
        asked = _asked(stored)
        if stored.message.reason is RejectionCode.COMMAND_CONFLICT:
            return self._conflicting(asked)
        state = self._settled(stored, deadline)
        if state is None:
            raise CommandUndecidedError(command_id=asked.command_id, source=asked.source, seconds=timeout_seconds)
        if state.state in {"dead", "dropped"}:
            raise CommandParkedError(
                command_id=asked.command_id,
                source=asked.source,
                inbox_id=stored.inbox_id,
                reason=state.reason,
                detail=state.detail,
            )
        if state.reason == RejectionCode.COMMAND_CONFLICT:
            return self._conflicting(asked)
        is_repeated = not stored.is_new or state.state == "replayed"
        with self._engine.begin() as connection:
            answer = _stored_answer(connection, asked, is_repeated=is_repeated)
        assert answer is not None  # it is written with the outcome
        return answer

    def preview(self, request: CommandRequest) -> CommandAnswer:
        """What the answer would be now. Decides as posting does, under its locks, and writes nothing.

        An account that the command would open has another id then. CommandUnreadableError as of `execute`.
        """
        request = self._named(request)
        with self._engine.connect() as connection, connection.begin() as transaction:
            as_of = database_now(connection)
            event = self._read(_body(self._timed(connection, request)), as_of)
            answer = self._decided(connection, event, as_of)
            transaction.rollback()
        return answer

    def _named(self, request: CommandRequest) -> CommandRequest:
        return request if request.command_id is not None else request._replace(command_id=str(self._new_id()))

    def _timed(self, connection: Connection, request: CommandRequest) -> CommandRequest:
        """The command with its time: as it was before if it is known, since another time is other content."""
        if request.occurred_at is not None:
            return request
        assert request.command_id is not None
        known = load_first_time(connection, request.source, request.command_id)
        return request._replace(occurred_at=known or database_now(connection))

    def _stored(self, request: CommandRequest) -> StoredMessage:
        """Store the command; again where a customer was erased in that very moment, whom it may name."""
        while True:
            try:
                return self._receive(request)
            except ErasedMeanwhileError:
                continue

    def _receive(self, request: CommandRequest) -> StoredMessage:
        """Store the command, once it is sure that it can be read."""
        for tries_left in range(_TRIES_MAX - 1, -1, -1):
            with self._engine.connect() as connection, connection.begin() as transaction:
                body = _body(self._timed(connection, request))
                self._read(body, database_now(connection))
                # Before it is stored: a worker that has the key would do it, and its sender was told that nothing is.
                require_key_of_books(connection, self._chain_key)
                [stored] = receive_by_operator(
                    connection, [body], limits=self._limits, shards=self._shards, event_source=self._event_source
                ).stored
                is_conflict = stored.message.reason is RejectionCode.COMMAND_CONFLICT
                if not (is_conflict and request.occurred_at is None and tries_left):
                    transaction.commit()
                    break
                # Perhaps somebody else has sent the same a moment ago: then it has that time.
                transaction.rollback()
        return stored

    def _read(self, body: bytes, now: datetime) -> ReadEvent:
        [event] = read_message(body, limits=self._limits, now=now)
        if not isinstance(event, ReadEvent):
            raise CommandUnreadableError(reason=event.reason.value, detail=event.detail.rstrip("."))
        return event

    def _settled(self, stored: StoredMessage, deadline: float) -> MessageState | None:
        """Post the shard until the command has its outcome; None if the time is up before."""
        pause = _PAUSE_SECONDS_MIN
        while True:
            with self._engine.begin() as connection:
                state = load_message_state(connection, stored.inbox_id)
            if state.state not in {"received", "waiting"}:
                return state
            if monotonic() >= deadline:
                return None
            if state.shard is None or not self._post(state.shard):
                sleep(min(pause, max(deadline - monotonic(), 0.0)))
                pause = min(2 * pause, _PAUSE_SECONDS_MAX)

    def _post(self, shard: int) -> bool:
        """Post what is next on the shard. False if others have it, or rows that it needs."""
        try:
            return not self._poster.post_batch(shard, _BATCH_MESSAGES).is_busy
        except psycopg.errors.LockNotAvailable:
            return False

    def _decided(self, connection: Connection, event: ReadEvent, as_of: datetime) -> CommandAnswer:
        event = nameless_event(connection, event, self._limits.reference_salt)
        asked = Asked(event.source, event.event_id, event.type)
        context = EventContext(self._event_source, as_of)
        handler, rules = HANDLERS[event.type], load_registry(connection)
        if handler.erases:
            lock(connection, LockClass.ERASURE)
        message = read_settled(handler.contract, event.source, event.occurred_at, event.settled, event.event_id).message
        reach = union([handler.reach(message, rules, as_of)])
        books, _ = open_books(connection, reach, rules, self._new_id, as_of, is_contended=False)
        outcome = handler.decide(books, message, rules, as_of)
        if isinstance(outcome, Decision):
            asking = Asking(asked.source, asked.command_id, message.digest)
            outcome = erased_with(connection, outcome, asking, self._limits.reference_salt, self._chain_key)
        match outcome:
            case Decision(erasure=Erasure() as erasure) as decision:
                return CommandAccepted(erased(asked, decision, erasure, context))
            case Decision(answer=Answer() as answer) as decision:
                return CommandAccepted(accepted(asked, decision, answer, context))
            case Rejected() as outcome:
                return CommandRejected(rejected(asked, outcome, context))
        known = _stored_answer(connection, asked, is_repeated=True)
        assert known is not None  # a command is done, rejected or known
        return known

    def _conflicting(self, asked: Asked) -> CommandRejected:
        with self._engine.begin() as connection:
            context = EventContext(self._event_source, database_now(connection))
        return CommandRejected(rejected(asked, conflict(), context))


def _body(request: CommandRequest) -> bytes:
    """The message that asks for the command."""
    event = {
        "id": request.command_id,
        "source": request.source,
        "type": COMMAND_PREFIX + request.verb,
        "time": request.occurred_at,
        "data": dict(request.data),
    }
    try:
        return to_json(event, inf_nan_mode="constants")
    except PydanticSerializationError as error:
        raise CommandUnreadableError(reason="not_json", detail=f"data cannot be written as JSON: {error}") from error


def _asked(stored: StoredMessage) -> Asked:
    message = stored.message
    assert message.type is not None
    return Asked(message.source, message.event_id, message.type)


def _stored_answer(connection: Connection, asked: Asked, *, is_repeated: bool) -> CommandAnswer | None:
    """The answer that a command has got; None if it has none."""
    for stored in load_answers(connection, [(asked.source, asked.command_id)]):
        data = from_json(stored.answer_json)
        return CommandAccepted(data, is_repeated) if stored.code is None else CommandRejected(data, is_repeated)
    return None
