"""Whether every command of a run was answered, once and truly, and did what its answer says and nothing else."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from tests.faults.event_log import EventLog, Told
from tests.faults.model import AccountKey, LedgerEntry
from tests.faults.stream import COMMAND_CONFLICT, COMMAND_PREFIX, Key, Stream

REJECTED = "rejected"


class InboxRow(NamedTuple):
    """One row of the inbox."""

    inbox_id: int
    source: str
    event_id: str
    is_first: bool  #: of its event id
    body: bytes
    state: str
    reason: str | None
    deliveries: int


class _Done(NamedTuple):
    """An entry of a command, and every balance that its account ever had."""

    entry: LedgerEntry
    account_id: UUID


def command_differences(
    stream: Stream, inbox: Sequence[InboxRow], entries: Mapping[UUID, Sequence[LedgerEntry]], log: EventLog
) -> Iterator[str]:
    """What is wrong with the answers to commands, and with what they did."""
    done: dict[Key, list[_Done]] = defaultdict(list)
    balances: dict[UUID, list[int]] = {}
    for account_id, of_account in entries.items():
        balances[account_id] = [0, *(entry.balance_after for entry in of_account)]
        for entry in of_account:
            if entry.command_id is not None:
                done[entry.source or "", entry.command_id].append(_Done(entry, account_id))
    firsts = {(row.source, row.event_id): row for row in inbox if row.is_first}
    for key, contents in stream.events.items():
        if not contents[0].is_command:
            continue
        told = log.answers.get(key)
        if told is None or key not in firsts:
            yield f"lost: answers: command {key} has none"
            continue
        if len(contents) > 1 and (*key, COMMAND_CONFLICT) not in log.refused:
            yield f"lost: answers: nobody was told that {key} has other content too"
        asked = json.loads(firsts[key].body)
        seen = [0, *(each for account in balances.values() for each in account)]
        if done[key]:
            seen = balances[done[key][0].account_id]
        yield from (f"wrong: command {key}: {text}" for text in _wrong(asked, told, done.pop(key), seen, firsts[key]))
    ours = [key for key, made in done.items() if made and key[1].startswith(stream.name)]
    yield from (f"doubled: entries: {done[key]} are of no command that may have been done" for key in ours)
    yield from _refusal_differences(stream, log)


def points_moved(stream: Stream, log: EventLog) -> Counter[AccountKey]:
    """How many points commands have given to each account, less those that they took: by their answers."""
    moved: Counter[AccountKey] = Counter()
    for key, account in stream.model.commands.items():
        told = log.answers.get(key)
        if told is not None and told.code is None:
            moved[account] += sum(entry["points"] for entry in told.data["entries"])
    return moved


def _wrong(
    asked: dict[str, Any], told: Told, done: Sequence[_Done], balances: Sequence[int], row: InboxRow
) -> Iterator[str]:
    verb, data = asked["type"].removeprefix(COMMAND_PREFIX), asked["data"]
    signed = -data["points"] if verb in {"debit", "redeem"} else data["points"]
    if told.code is not None:
        if (row.state, row.reason) != (REJECTED, told.code):
            yield f"it was told {told.code}, and its message is {row.state} {row.reason or ''}"
        if done:
            yield f"it was rejected with {told.code}, and has {done}"
        may_meet = {"unknown_account"} if verb != "credit" else set()
        if told.code not in may_meet | ({"insufficient_points"} if signed < 0 else set()):
            yield f"it was rejected with {told.code}, which nothing explains"
        elif signed < 0 and not any(balance < (1 if data.get("allow_remainder") else -signed) for balance in balances):
            yield f"it was rejected, and the account never had less than {min(balances)} points"
        return
    if row.state != "posted":
        yield f"it was told that it was done, and its message is {row.state} {row.reason or ''}"
    if len(done) != 1:
        yield f"it has {len(done)} entries"
        return
    entry = done[0].entry
    moved = signed + (told.data.get("remainder", 0) if signed < 0 else 0)
    if entry.points != moved or (moved != signed and not data.get("allow_remainder")):
        yield f"it asked for {signed} and was told {told.data}, and its entry has {entry.points} points"
    if told.data["points"] != abs(entry.points):
        yield f"it was told {told.data['points']} points, and its entry has {entry.points}"
    described = [(each["sequence"], each["points"], each["balance"]) for each in told.data["entries"]]
    if described != [(entry.sequence, entry.points, entry.balance_after)]:
        yield f"it was told {described}, and its entry is {entry}"
    if entry.points < 0 and entry.balance_after < 0 and not data.get("allow_negative_balance"):
        yield f"it took more than there was: {entry}"


def _refusal_differences(stream: Stream, log: EventLog) -> Iterator[str]:
    """Who sends what is not even posted is told why."""
    for contents in stream.events.values():
        event = contents[0]
        if event.subject is None and event.routing_key.startswith(COMMAND_PREFIX):
            sent = json.loads(event.bodies[0])
            if (sent["source"], sent["id"], event.fate) not in log.refused:
                yield f"lost: answers: nobody was told that {sent['id']} of {sent['source']} is {event.fate}"
    for key in log.answers:
        if key[1].startswith(stream.name) and key not in stream.events:
            yield f"doubled: answers: {key} was sent by nobody"
