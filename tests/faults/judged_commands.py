"""Whether every command of a run was answered, once and truly, and did what its answer says and nothing else."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from tests.faults.event_log import EventLog, Told
from tests.faults.fault_programs import COIN, COINS, CONVERTED, MUG_COST, MUGS
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
    yield from _undone_too_often(stream, log)
    yield from _refusal_differences(stream, log)


def points_moved(stream: Stream, log: EventLog) -> Counter[AccountKey]:
    """How many points commands have given to each account, less those that they took: by their answers."""
    moved: Counter[AccountKey] = Counter()
    converted = {told.data["to_account_id"] for told in log.answers.values() if "to_points" in told.data}
    for key, told in log.answers.items():
        if key in stream.events and told.code is None:
            whose = {each["account_id"]: each["customer_id"] for each in told.data["accounts"]}
            for entry in told.data["entries"]:
                program_id = COINS if entry["account_id"] in converted else told.data["program_id"]
                moved[program_id, whose[entry["account_id"]]] += entry["points"]
    moved.update(_come_back(stream, log))
    return moved


def _come_back(stream: Stream, log: EventLog) -> Counter[AccountKey]:
    """How many points have come back that paid orders: in the share of each order that is given back."""
    back: Counter[AccountKey] = Counter()
    for order, (field, name) in stream.model.paid.items():
        named = name if field == "points_command_id" else None
        for (_, command_id), told in log.answers.items():
            asked = told.data.get("authorization_id") if told.data["command"] == "capture" else None
            if told.code is None and (command_id == named or (asked == name and named is None)):
                points = told.data["points"]
                back[told.data["program_id"], told.data["customer_id"]] += int(points * stream.model.share_back(order))
    return back


#: What kinds of commands may meet, as messages come in any order.
_NOBODY = frozenset({"unknown_account"})
_TOO_FEW = frozenset({"insufficient_points"})
_SPENT = _NOBODY | _TOO_FEW | {"account_frozen", "account_closed"}
_MAY_MEET = {
    "credit": frozenset[str](),
    "account.create": frozenset[str](),
    "adjust": _NOBODY | _TOO_FEW,
    **dict.fromkeys(("debit", "redeem", "transfer", "authorize"), _SPENT),
    "capture": frozenset({"unknown_authorization", "authorization_closed", "over_capture"}),
    "void": frozenset({"unknown_authorization", "authorization_closed"}),
    "reverse": _TOO_FEW | {"unknown_command", "already_reversed", "exceeds_command"},
    "convert": _SPENT,
    "reward.issue": _SPENT | {"out_of_stock"},
    **dict.fromkeys(("reward.redeem", "reward.delete"), frozenset({"unknown_issue", "issue_closed"})),
    "account.merge": _NOBODY | {"already_merged"},
    "account.unmerge": _NOBODY | {"not_merged"},
    **dict.fromkeys(("account.freeze", "account.unfreeze", "account.close"), _NOBODY),
    **dict.fromkeys(("account.update", "account.unlink"), _NOBODY),
    "account.link": _NOBODY | {"account_closed"},
}
_NOT_OF_IT = frozenset({"not_a_member", "member_may_not_spend"})
_TAKING = {"debit", "redeem", "transfer", "authorize", "reward.issue"}


def _wrong(
    asked: dict[str, Any], told: Told, done: Sequence[_Done], balances: Sequence[int], row: InboxRow
) -> Iterator[str]:
    if told.code is None:
        yield from _wrongly_done(asked, told, done, row)
        return
    verb, data = asked["type"].removeprefix(COMMAND_PREFIX), asked["data"]
    if (row.state, row.reason) != (REJECTED, told.code):
        yield f"it was told {told.code}, and its message is {row.state} {row.reason or ''}"
    if done:
        yield f"it was rejected with {told.code}, and has {done}"
    may_meet = _MAY_MEET[verb] | (_NOT_OF_IT if "acting_customer_id" in data else frozenset())
    if told.code not in may_meet:
        yield f"it was rejected with {told.code}, which nothing explains"
    elif told.code in {"account_frozen", "account_closed"} and not data.keys() & {"account_id", "card", "email"}:
        yield f"it was rejected with {told.code}, which nothing explains: nobody has done that to its account"
    elif told.code in _TOO_FEW and verb != "reverse":
        least = 1 if data.get("allow_remainder") else abs(data.get("points", MUG_COST))
        if (verb == "adjust" and data["points"] > 0) or not any(balance < least for balance in balances):
            yield f"it was rejected, and the account never had less than {min(balances)} points"


def _wrongly_done(asked: dict[str, Any], told: Told, done: Sequence[_Done], row: InboxRow) -> Iterator[str]:
    verb, data = asked["type"].removeprefix(COMMAND_PREFIX), asked["data"]
    if row.state != "posted":
        yield f"it was told that it was done, and its message is {row.state} {row.reason or ''}"
    described = [
        (each["account_id"], each["sequence"], each["points"], each["balance"]) for each in told.data["entries"]
    ]
    made = [(str(each.account_id), each.entry.sequence, each.entry.points, each.entry.balance_after) for each in done]
    if sorted(described) != sorted(made):
        yield f"it was told {described}, and its entries are {made}"
    points = [each.entry.points for each in done]
    if sorted(points) not in [sorted(each) for each in _expected(verb, data, told.data)]:
        yield f"it asked for {data} and was told {told.data}, and its {len(done)} entries have {points} points"
    if "points" in data and told.data["points"] + told.data.get("remainder", 0) != abs(data["points"]):
        yield f"it asked for {data['points']} points, and was told {told.data}"
    for each in done:
        if each.entry.points < 0 and each.entry.balance_after < 0 and not data.get("allow_negative_balance"):
            yield f"it took more than there was: {each.entry}"


def _expected(verb: str, data: dict[str, Any], told: dict[str, Any]) -> list[list[int]]:
    """The points that the entries of a command may have that was done."""
    if "remainder" in told and not data.get("allow_remainder"):
        return []
    points, back = told.get("points", 0), told.get("points_returned", 0)
    found: dict[str, list[list[int]]] = {
        "adjust": [[data.get("points", 0)]],
        "transfer": [[-points, points]],
        "capture": [[0, back] if back else [0]],
        "reverse": [[points], [-points], [points, -_coins(points)]],
        "convert": [[-points, _coins(points)]],
        **{each: [[-points, points]] for each in ("account.merge", "account.unmerge")},
        "reward.redeem": [[0]],
        "account.close": [[-points] if points else []],
        **{each: [[]] for each in ("account.freeze", "account.unfreeze", "account.link")},
        **{each: [[]] for each in ("account.update", "account.unlink")},
    }
    return found.get(verb, [[-points if verb in _TAKING else points]])


def _coins(points: int) -> int:
    return points * COIN // CONVERTED


def _undone_too_often(stream: Stream, log: EventLog) -> Iterator[str]:
    """A command is reversed once, and an authorization gives out what it holds, once."""
    reversed_ones: Counter[str] = Counter()
    left: Counter[str] = Counter()
    issued: Counter[str] = Counter()
    mugs = 0
    for key, told in log.answers.items():
        if told.code is not None or key not in stream.events:
            continue
        asked = json.loads(stream.events[key][0].bodies[0])["data"]
        match told.data["command"]:
            case "reverse":
                reversed_ones[asked["command_id"]] += 1
            case "authorize":
                left[asked["authorization_id"]] += told.data["points"]
            case "reward.issue":
                issued[asked["issue_id"]] += 1
            case "reward.redeem" | "reward.delete":
                issued[asked["issue_id"]] -= 1
                mugs += told.data["command"] == "reward.redeem"
            case "capture" | "void":
                left[asked["authorization_id"]] -= told.data["points"] + told.data.get("points_returned", 0)
    yield from (f"doubled: {name} was reversed {times} times" for name, times in reversed_ones.items() if times > 1)
    yield from (f"doubled: reward {name} was ended {1 - rest} times" for name, rest in issued.items() if rest < 0)
    if (given := mugs + sum(issued.values())) > MUGS:
        yield f"doubled: {given} mugs were given, and there are {MUGS}"
    yield from (f"doubled: authorization {name} gave out {-rest} too many" for name, rest in left.items() if rest < 0)


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
