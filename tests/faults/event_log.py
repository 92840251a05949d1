"""What a consumer may rely on, written down as the events come: each id one content, an account's events in order."""

import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.faults.stream import COMMAND_CONFLICT, NOT_ALLOWED, PROBE, Key


class Change(NamedTuple):
    """What a balance-changed event tells of its entry."""

    kind: str
    points: int
    balance: int
    lifetime_points: int
    order_id: str | None
    refund_id: str | None
    command_id: str | None = None


class Told(NamedTuple):
    """The answer to a command."""

    code: str | None  #: why it was rejected; None: it was done
    data: dict[str, Any]


@dataclass
class AccountLog:
    """The events of one account, each once."""

    customer_id: str = ""
    is_created: bool = False
    changes: dict[int, Change] = field(default_factory=dict)  #: by sequence
    tiers: dict[int, tuple[str, str]] = field(default_factory=dict)  #: by number: from, to


class EventLog:
    """Takes event after event. One writer; others may read single values meanwhile.

    What is a repeat of an event of the log `before` belongs there.
    """

    def __init__(self, before: "EventLog | None" = None) -> None:
        self.accounts: dict[str, AccountLog] = defaultdict(AccountLog)
        self.parked: dict[int, str] = {}  #: reason by inbox_id
        self.answers: dict[Key, Told] = {}  #: by the command's source and id
        self.refused: set[tuple[str, str, str]] = set()  #: source, id and code of what was not even posted
        self.problems: list[str] = []  #: what may never be
        self.disorder: list[str] = []  #: first deliveries out of order: only a failure of the broker excuses them
        self.deliveries = 0  #: repeats too
        self.told_at: dict[str, float] = {}  #: when a probe's order was told, by order_id
        self.contents: dict[str, int] = {}  #: a hash of each event's content, by its id
        self._before = {} if before is None else before.contents

    @property
    def distinct(self) -> int:
        """How many different events have come."""
        return len(self.contents)

    def add(self, body: bytes) -> None:
        """Take one delivery."""
        self.deliveries += 1
        event = json.loads(body)
        event_id, content = event["id"], hash(body)
        known = self.contents.get(event_id) or self._before.get(event_id)
        if known is None:
            self.contents[event_id] = content
            wanted = _TAKERS[event["type"]](self, event) if event["type"] in _TAKERS else "of a known type"
            if event_id != wanted:
                self.problems.append(f"event {event_id} is not {wanted}")
        elif known != content:
            self.problems.append(f"event {event_id} came again with another content: {body.decode()}")


def _take_change(log: EventLog, event: dict[str, Any]) -> str:
    data, account_id = event["data"], event["subject"]
    account, sequence = log.accounts[account_id], data["sequence"]
    if sequence in account.changes:
        log.problems.append(f"account {account_id} has sequence {sequence} in two events")
    if not account.is_created:
        log.disorder.append(f"account {account_id}: sequence {sequence} came before its creation")
    if sequence != len(account.changes) + 1:
        log.disorder.append(f"account {account_id}: sequence {sequence} came before {len(account.changes) + 1}")
    order_id = data.get("order_id")
    account.changes[sequence] = Change(
        data["kind"],
        data["points"],
        data["balance"],
        data["lifetime_points"],
        order_id,
        data.get("refund_id"),
        data.get("command_id"),
    )
    if order_id is not None and PROBE in order_id:
        log.told_at[order_id] = time.monotonic()
    return f"{account_id}:{sequence}"


def _take_creation(log: EventLog, event: dict[str, Any]) -> str:
    account = log.accounts[event["subject"]]
    account.is_created, account.customer_id = True, event["data"]["customer_id"]
    return f"{event['subject']}:created"


def _take_notice(log: EventLog, event: dict[str, Any]) -> str:
    """What a command did to an account beside its points."""
    data = event["data"]
    if not log.accounts[event["subject"]].is_created:
        log.disorder.append(f"account {event['subject']}: a change of it came before its creation")
    what = event["type"].removeprefix("loyalty.account.")
    return f"{event['subject']}:{what}:{data['command_source']} {data['command_id']}"


def _take_reward(log: EventLog, event: dict[str, Any]) -> str:
    """What became of an issued reward."""
    data, what = event["data"], event["type"].removeprefix("loyalty.reward.")
    if not log.accounts[event["subject"]].is_created:
        log.disorder.append(f"account {event['subject']}: a reward of it was {what} before its creation")
    return f"{event['subject']}:reward:{what}:{data['issue_id']}"


def _take_tier(log: EventLog, event: dict[str, Any]) -> str:
    data, account_id = event["data"], event["subject"]
    tiers, number = log.accounts[account_id].tiers, data["sequence"]
    if number != len(tiers) + 1:
        log.disorder.append(f"account {account_id}: tier change {number} came before {len(tiers) + 1}")
    tiers[number] = data["previous_tier"], data["tier"]
    return f"{account_id}:tier:{number}"


def _take_parked(log: EventLog, event: dict[str, Any]) -> str:
    data = event["data"]
    log.parked[data["inbox_id"]] = data["reason"]
    return f"parked:{data['inbox_id']}"


def _take_answer(log: EventLog, event: dict[str, Any]) -> str:
    data = event["data"]
    key, code = (data["command_source"], data["command_id"]), data.get("code")
    answer_id = f"answer:{key[0]} {key[1]}"
    if event["correlationid"] != key[1]:
        log.problems.append(f"event {event['id']} is correlated with {event['correlationid']}")
    if code in _REFUSALS:
        log.refused.add((*key, code))
        return str(event["id"]) if event["id"].startswith(f"{answer_id} ") else f"{answer_id} of a refusal"
    if key in log.answers:
        log.problems.append(f"command {key} has two answers")
    log.answers[key] = Told(code, data)
    return answer_id


#: Why a command is not even posted; its answer, if it has one, stands.
_REFUSALS = {COMMAND_CONFLICT, NOT_ALLOWED, "invalid_data"}

#: How each type of event is taken; each says which id it must have.
_TAKERS: dict[str, Callable[[EventLog, dict[str, Any]], str]] = {
    "loyalty.account.created": _take_creation,
    "loyalty.account.updated": _take_notice,
    "loyalty.account.frozen": _take_notice,
    "loyalty.account.closed": _take_notice,
    "loyalty.customer.erased": _take_notice,
    "loyalty.account.merged": _take_notice,
    "loyalty.account.unmerged": _take_notice,
    "loyalty.reward.issued": _take_reward,
    "loyalty.reward.redeemed": _take_reward,
    "loyalty.reward.deleted": _take_reward,
    "loyalty.balance.changed": _take_change,
    "loyalty.tier.changed": _take_tier,
    "loyalty.message.parked": _take_parked,
    "loyalty.command.accepted": _take_answer,
    "loyalty.command.rejected": _take_answer,
}
