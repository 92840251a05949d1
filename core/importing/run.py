"""Importing: plans are checked, decided as posting would decide them, and then received and posted like all messages.

A plan of which anything would be refused is left out as a whole, and nothing of it is stored. What has been posted is
known by its source and id, so a second run changes nothing, and an interrupted one goes on where it was.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from time import sleep
from typing import NamedTuple
from uuid import UUID

import psycopg
from sqlalchemy import Connection, Engine

from core.domain.decision import Decision
from core.domain.outcomes import Parked, Reason, Rejected, Replayed
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import ReferenceKey, union
from core.domain.value.commands import ACCOUNT
from core.importing.beside import Posting, PostingBeside
from core.importing.files import BadRow
from core.importing.keys import KeysSeen
from core.importing.plans import Hold, Part, Plan
from core.mending.letters import list_refused_among, load_states
from core.mending.tier_holds import HoldAsked, hold_tiers
from core.messages.inbound.reading import MessageLimits, ReadEvent, command_hash, read_message, read_settled
from core.posting.events import EventContext
from core.posting.handlers import HANDLERS, Outcome
from core.posting.loading import open_books
from core.receiving.receive import receive_read_by_operator
from core.store.account_names import ask_references
from core.store.commands import ask_commands
from core.store.engine import database_now
from core.store.imports import load_codes, load_first_by, load_held, shards_of_source, shards_with_any
from core.store.programs import load_registry
from core.store.proof.seals import require_key_of_books

#: So many messages are decided, received and posted at a time: what is held in memory, and lost by an interruption.
BATCH_PARTS = 10_000
_BATCH_BYTES = 10_000_000
_POSTED_AT_ONCE = 1_000
_PAUSE_SECONDS = 0.05
_TO_COME = "time is still to come; write when it was"
_FIELD = re.compile(r"data\.([a-z_]+)")
_CELL = re.compile(r"data\.lines\[(?P<place>\d+)\]\.(?P<column>[a-z_]+)\b")


class Step(NamedTuple):
    """What became of some records."""

    imported: int = 0  #: records of which something was new
    known: int = 0  #: records of which all was there
    messages: int = 0  #: new ones
    points: int = 0  #: that these gave, less what they took
    holds: int = 0  #: tiers that are held from now on
    bad: tuple[BadRow, ...] = ()  #: by their lines


class _Checked(NamedTuple):
    """A plan all of whose messages keep their contracts."""

    plan: Plan
    events: list[ReadEvent]


class _Decided(NamedTuple):
    """A plan of which nothing is refused: what of it is new."""

    plan: Plan
    new: Mapping[bytes, ReadEvent]  #: by their bodies
    points: int


def who_began(connection: Connection, source: str) -> str | None:
    """Who gave the first command of an import, whose words whoever goes on with it repeats; None: nobody has begun."""
    return load_first_by(connection, source)


class Importer:
    """Imports plans, batch by batch. The engine needs one connection at a time."""

    def __init__(
        self,
        engine: Engine,
        *,
        source: str,
        by: str,
        event_source: str,
        shards: int,
        limits: MessageLimits,
        new_id: Callable[[], UUID],
        chain_key: bytes | None = None,
        processes: int = 1,
        begin: Callable[[], None] | None = None,
        batch_parts: int = BATCH_PARTS,
    ) -> None:
        """All but `source`, under which the messages come, and `by`, who imports, must be as the workers have it.

        Where there is more than one batch of so many messages, it is posted by so many processes beside this one, which
        do `begin` first.
        """
        self._engine = engine
        self._source = source
        self._by = by
        self._event_source = event_source
        self._shards = shards
        self._limits = limits._replace(sources=None, is_trusted=True)
        self._new_id = new_id
        self._chain_key = chain_key
        self._batch_parts = batch_parts
        url = engine.url.render_as_string(hide_password=False)
        posting = Posting(url, event_source, new_id, chain_key, limits.reference_salt, begin)
        self._poster = posting.poster(engine)
        self._beside = PostingBeside(posting, processes)

    def run(self, plans: Iterable[Plan | BadRow], *, is_dry_run: bool = False) -> Iterator[Step]:
        """Import all plans, and tell after each batch what became of it; with `is_dry_run` what would.

        A worker may run beside it. Errors of the database are raised as they are: run it again then.
        ChainKeyMissingError, before anything is stored, where entries carry a hash chain and the key is not given.
        """
        if not is_dry_run:
            with self._engine.begin() as connection:
                require_key_of_books(connection, self._chain_key)
            self._post_what_is_left()
        with KeysSeen() as seen, self._beside:
            for is_full, batch in _batches(plans, seen, self._batch_parts):
                if is_full and not is_dry_run:
                    self._beside.start()
                yield self._batch(batch, is_dry_run=is_dry_run)

    def _batch(self, batch: Sequence[Plan | BadRow], *, is_dry_run: bool) -> Step:
        bad = [each for each in batch if isinstance(each, BadRow)]
        checked = self._checked([each for each in batch if isinstance(each, Plan)], bad)
        holds, decided = self._decided(checked, bad)
        if not is_dry_run:
            decided = self._imported(decided, holds, bad)
        done = [each for each in decided if each.new or each.plan.key in holds]
        return Step(
            len(done),
            len(decided) - len(done),
            sum(len(each.new) for each in done),
            sum(each.points for each in done),
            sum(each.plan.key in holds for each in done),
            tuple(sorted(bad, key=lambda each: each.line)),
        )

    def _checked(self, plans: Sequence[Plan], bad: list[BadRow]) -> list[_Checked]:
        """Those whose messages keep their contracts."""
        with self._engine.begin() as connection:
            now = database_now(connection)
        checked = []
        for plan in plans:
            events = []
            for part in plan.parts:
                [event] = read_message(part.body, limits=self._limits, now=now)
                if not isinstance(event, ReadEvent):
                    is_early = event.reason is Reason.TIME_IN_FUTURE
                    bad.append(_refused(plan, part, _TO_COME if is_early else event.detail))
                    break
                events.append(event)
            else:
                checked.append(_Checked(plan, events))
        return checked

    def _decided(self, checked: Sequence[_Checked], bad: list[BadRow]) -> tuple[set[str], list[_Decided]]:
        """The keys of plans whose tiers are to be held, and what posting would make of all now. Nothing is written."""
        with self._engine.connect() as connection, connection.begin() as transaction:
            now = database_now(connection)
            rules = load_registry(connection)
            outcomes = self._outcomes(connection, checked, rules, now)
            known = [(e.source, e.event_id) for key, e in _events(checked) if isinstance(outcomes.get(key), Replayed)]
            codes = load_codes(connection, known)
            holds = _open_holds(connection, checked, self._reason())
            transaction.rollback()
        decided = []
        for place, (plan, events) in enumerate(checked):
            problem = _tier_problem(plan, holds, now)
            new: dict[bytes, ReadEvent] = {}
            points = 0
            for number, (part, event) in enumerate(zip(plan.parts, events, strict=True)):
                outcome = outcomes.get((place, number))
                if outcome is None or problem is not None:
                    break
                if isinstance(outcome, Replayed):
                    code = codes.get((event.source, event.event_id))
                    problem = None if code is None else _refused(plan, part, _rejected_before(code))
                elif isinstance(outcome, Rejected):
                    problem = _refused(plan, part, f"{outcome.code}: {outcome.detail}; {outcome.advice}")
                elif isinstance(outcome, Parked):
                    problem = _refused(plan, part, f"{outcome.reason}: {outcome.detail}")
                else:
                    new[part.body] = event
                    points += _points(outcome)
            if problem is None:
                decided.append(_Decided(plan, new, points))
            else:
                bad.append(problem)
        return holds, decided

    def _outcomes(
        self, connection: Connection, checked: Sequence[_Checked], rules: ProgramRegistry, as_of: datetime
    ) -> dict[tuple[int, int], Outcome]:
        """What becomes of each message, up to the first of each plan that is refused."""
        outcomes = _done_before(connection, checked)
        read = {}
        for key, event in _events(checked):
            if key in outcomes:
                continue
            contract = HANDLERS[event.type].contract
            settled = read_settled(contract, event.source, event.occurred_at, event.settled, event.event_id)
            read[key] = HANDLERS[event.type], settled.message
        reach = union([handler.reach(message, rules, as_of) for handler, message in read.values()])
        books, _ = open_books(connection, reach, rules, self._new_id, as_of, is_contended=False)
        refused = set()
        for (place, number), (handler, message) in read.items():
            if place in refused:
                continue
            outcome = outcomes[place, number] = handler.decide(books, message, rules, as_of)
            if isinstance(outcome, Decision):
                books.apply(outcome)
            elif isinstance(outcome, Rejected | Parked):
                refused.add(place)
        return outcomes

    def _imported(self, decided: Sequence[_Decided], holds: set[str], bad: list[BadRow]) -> list[_Decided]:
        """Do it: first what opens accounts, so that nothing else comes where that is refused meanwhile."""
        left = self._posted(decided, bad, lambda parts: parts[:1])
        with self._engine.begin() as connection:
            self._hold([each.plan.hold for each in left if each.plan.key in holds and each.plan.hold], connection)
        return self._posted(left, bad, lambda parts: parts[1:])

    def _posted(
        self, decided: Sequence[_Decided], bad: list[BadRow], chosen: Callable[[tuple[Part, ...]], Sequence[Part]]
    ) -> list[_Decided]:
        """Receive and post these messages of each plan, as far as they are new. Returns the plans that stand."""
        asked = {
            part.body: (each, part) for each in decided for part in chosen(each.plan.parts) if part.body in each.new
        }
        received = receive_read_by_operator(
            self._engine,
            [(body, each.new[body]) for body, (each, _) in asked.items()],
            limits=self._limits,
            shards=self._shards,
            event_source=self._event_source,
        )
        owners = {each.inbox_id: asked[each.message.body] for _, receipt in received for each in receipt.stored}
        self._settle(owners.keys())
        with self._engine.begin() as connection:
            letters = list_refused_among(connection, owners.keys())
        failed = set()
        for letter in letters:
            (plan, *_), part = owners[letter.inbox_id]
            if plan.key not in failed:
                bad.append(_refused(plan, part, f"{letter.reason}: {letter.detail} (message {letter.inbox_id})"))
            failed.add(plan.key)
        return [each for each in decided if each.plan.key not in failed]

    def _settle(self, inbox_ids: Iterable[int]) -> None:
        """Post until these messages have their outcomes, or wait for others to."""
        left = list(inbox_ids)
        while True:
            with self._engine.begin() as connection:
                states = load_states(connection, left)
                left = [number for number, state in states.items() if state == "received"]
                shards = shards_with_any(connection, left)
            if not left:
                return
            self._post(shards)

    def _post_what_is_left(self) -> None:
        """Post what an earlier run has left behind: what it decides must be known before this one decides."""
        while True:
            with self._engine.begin() as connection:
                shards = shards_of_source(connection, self._source)
            if not shards:
                return
            self._post(shards)

    def _post(self, shards: Iterable[int]) -> None:
        if self._beside.is_started:
            is_idle = not self._beside.post(shards, _POSTED_AT_ONCE)
        else:
            is_idle = self._posted_here(shards) == 0
        if is_idle:
            sleep(_PAUSE_SECONDS)

    def _posted_here(self, shards: Iterable[int]) -> int:
        claimed = 0
        for shard in shards:
            try:
                claimed += self._poster.post_batch(shard, _POSTED_AT_ONCE).claimed
            except psycopg.errors.LockNotAvailable:
                continue
        return claimed

    def _hold(self, holds: Sequence[Hold], connection: Connection) -> None:
        if not holds:
            return
        keys = [_key(hold) for hold in holds]
        found = ask_references(connection, keys).found
        asked = [
            HoldAsked(found[key], hold.program, hold.tier_id, hold.until) for key, hold in zip(keys, holds, strict=True)
        ]
        context = EventContext(self._event_source, database_now(connection))
        hold_tiers(connection, asked, self._reason(), self._by, context, self._chain_key)

    def _reason(self) -> str:
        return f"import {self._source.rpartition('/')[2]}"


def _batches(
    plans: Iterable[Plan | BadRow], seen: KeysSeen, parts_max: int
) -> Iterator[tuple[bool, list[Plan | BadRow]]]:
    """Plans in parts that fit into memory, and whether each is full. A key that stood before in the file is bad."""
    batch: list[Plan | BadRow] = []
    parts = size_bytes = 0
    for plan in plans:
        if isinstance(plan, Plan) and not seen.add(plan.key):
            problem = f"{plan.key} stood above already; write the lines of one record below each other, and each once"
            batch.append(plan.bad(problem))
            parts += 1
        else:
            batch.append(plan)
            parts += len(plan.parts) if isinstance(plan, Plan) else 1
            size_bytes += sum(len(part.body) for part in plan.parts) if isinstance(plan, Plan) else 0
        if parts >= parts_max or size_bytes >= _BATCH_BYTES:
            yield True, batch
            batch, parts, size_bytes = [], 0, 0
    if batch:
        yield False, batch


def _events(checked: Sequence[_Checked]) -> Iterator[tuple[tuple[int, int], ReadEvent]]:
    """All messages, each with the places of its plan and of its own in that."""
    for place, each in enumerate(checked):
        for number, event in enumerate(each.events):
            yield (place, number), event


def _done_before(connection: Connection, checked: Sequence[_Checked]) -> dict[tuple[int, int], Outcome]:
    """The outcomes of plans of commands alone, all of which have their answers: no account is needed for that."""
    commands = {key: event for key, event in _events(checked) if event.is_command}
    posted = ask_commands(connection, {(event.source, event.event_id) for event in commands.values()}).found
    digests = {each.key: each.digest for each in posted}
    same = {
        key
        for key, event in commands.items()
        if digests.get((event.source, event.event_id)) == command_hash(event.type, event.settled)
    }
    outcomes: dict[tuple[int, int], Outcome] = {}
    for place, each in enumerate(checked):
        keys = [(place, number) for number in range(len(each.events))]
        if same.issuperset(keys):
            outcomes |= dict.fromkeys(keys, Replayed())
    return outcomes


def _open_holds(connection: Connection, checked: Sequence[_Checked], reason: str) -> set[str]:
    """The keys of the plans whose tiers this import has not held yet."""
    wanted = {each.plan.key: each.plan.hold for each in checked if each.plan.hold is not None}
    found = ask_references(connection, {_key(hold) for hold in wanted.values()}).found
    held = load_held(connection, found.values(), reason)
    return {key for key, hold in wanted.items() if found.get(_key(hold)) not in held}


def _key(hold: Hold) -> ReferenceKey:
    return ReferenceKey(ACCOUNT, hold.account_id)


def _tier_problem(plan: Plan, holds: set[str], now: datetime) -> BadRow | None:
    if plan.hold is None or plan.key not in holds or plan.hold.until > now:
        return None
    return plan.bad("is past; leave it out with the tier, or write a time that is to come", plan.line, "tier_until")


def _refused(plan: Plan, part: Part, detail: str) -> BadRow:
    """Why a plan is not imported, with the column that the detail names first, by the file's own names."""
    cell = _CELL.match(detail) if part.lines else None
    if cell is not None:
        text = detail.removeprefix(cell[0]).lstrip()
        return plan.bad(text, part.lines[int(cell["place"])], cell["column"])
    fields = _FIELD.findall(detail)
    named = "time" if not fields and detail.startswith("time ") else next(iter(fields), None)
    column = None if named is None else part.columns.get(named, named)
    text = _FIELD.sub(lambda field: part.columns.get(field[1], field[1]), detail)
    if column is not None:
        text = text.removeprefix(f"{named} ").removeprefix(f"{column} ")
    return plan.bad(text, part.line, column)


def _rejected_before(code: str) -> str:
    return (
        f"{code}: it was refused when it was first imported, which stands for this import; do it by hand, or "
        "import the row under another --name"
    )


def _points(outcome: Outcome) -> int:
    if not isinstance(outcome, Decision):
        return 0
    return sum(entry.points + entry.pending_change for change in outcome.changes for entry in change.entries)
