"""What shops really do to orders, on a real database: each case file of this folder, however its messages arrive.

All arrivals of all stories of a case go through one ledger at once, each with ids of its own: what is posted together
there belongs to many customers, as it does in life.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice, permutations
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from core.domain.outcomes import Reason
from core.messages.reasons import MENDS
from tests.arrivals import with_own_ids
from tests.cases.case_files import Case, Expected, Story, cases
from tests.shell import Shell

CASES = list(cases())
ARRIVALS_MAX = 24
TOLD = {"one by one", "reviewed in time"}  #: the arrivals in the sequence in which a story is told


@dataclass(frozen=True)
class Arrival:
    """One way in which the messages of a story arrive: in rounds, each of which is posted before the next."""

    story: Story
    how: str
    mark: str  #: makes its ids its own
    rounds: list[list[int]]  #: the places of the messages
    again: bool = False  #: all of them come once more, as other events

    def messages(self, number: int) -> list[dict[str, Any]]:
        """What comes in a round."""
        count = len(self.rounds)
        if number >= count:
            again = number - count if self.again else count
            found = self.rounds[again] if again < count else []
            return [self._marked(place, " again") for place in found]
        return [self._marked(place) for place in self.rounds[number]]

    def _marked(self, place: int, more: str = "") -> dict[str, Any]:
        return with_own_ids(self.story.messages[place], self.mark, more)


def arrivals(case: Case) -> Iterator[Arrival]:
    for number, story in enumerate(case.stories):
        places = list(range(len(story.messages)))
        mark = f"~{number}"
        one_by_one = [[place] for place in places]
        yield Arrival(story, "one by one", f"{mark}a", one_by_one)
        yield Arrival(story, "in one batch", f"{mark}b", [places])
        yield Arrival(story, "all once more", f"{mark}c", one_by_one, again=not story.parked)
        if story.is_any_arrival:
            others = list(islice(permutations(places), 1, 720))
            if len(others) > ARRIVALS_MAX:
                others = Random(number).sample(others, ARRIVALS_MAX)
            for place, other in enumerate(others):
                in_words = ", ".join(str(each + 1) for each in other)
                yield Arrival(story, f"as {in_words}", f"{mark}d{place}", [[each] for each in other])
                yield Arrival(story, f"in one batch as {in_words}", f"{mark}e{place}", [list(other)])


class Ledger:
    """What accounts and messages have become, read once for all arrivals."""

    def __init__(self, shell: Shell) -> None:
        accounts = shell.rows("SELECT account_id, program_id, customer_id, balance, pending, tier_id FROM accounts")
        changes = shell.rows(
            "SELECT account_id, to_char(effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD ') || tier_id AS change"
            " FROM tier_changes ORDER BY account_id, change_number"
        )
        self._accounts = {(row.program_id, row.customer_id): row for row in accounts}
        self._changes: dict[UUID, list[str]] = {}
        for row in changes:
            self._changes.setdefault(row.account_id, []).append(row.change)
        messages = shell.rows("SELECT event_id, state, reason, detail FROM inbox")
        self._messages = {row.event_id: row for row in messages}
        assert len(self._messages) == len(messages)

    def wrong(self, arrival: Arrival) -> Iterator[str]:
        """All that did not end right in one arrival."""
        for customer, told in arrival.story.then.items():
            # How often a tier was announced depends on what came first.
            expected = told if arrival.how in TOLD else replace(told, tiers=None)
            found = self._found_of(customer, arrival, expected)
            if found != expected:
                yield f"{arrival.story.says} ({arrival.how}): {customer} has {found}, not {expected}"
        for text in self._wrong_outcomes(arrival):
            yield f"{arrival.story.says} ({arrival.how}): {text}"

    def _found_of(self, customer: str, arrival: Arrival, expected: Expected) -> Expected:
        """What a customer has, as far as something is expected of it."""
        program_id, _, customer_id = customer.rpartition("/")
        row = self._accounts.get((program_id or "p1", f"{customer_id}{arrival.mark}"))
        if row is None:
            return replace(expected, available=0, pending=0)
        return Expected(
            row.balance,
            row.pending,
            None if expected.tier is None else row.tier_id,
            None if expected.tiers is None else self._changes.get(row.account_id, []),
        )

    def _wrong_outcomes(self, arrival: Arrival) -> Iterator[str]:
        """The messages that did not become what they must."""
        for place, message in enumerate(arrival.story.messages, start=1):
            row = self._messages[f"{message['id']}{arrival.mark}"]
            reason, *words = arrival.story.parked.get(place, [None])
            state = "dead" if reason else "waiting" if place in arrival.story.waiting else "posted"
            is_passed_over = row.state == "replayed" and place in arrival.story.passed_over
            if (row.state, row.reason) != (state, reason) and not is_passed_over:
                yield f"message {place} is {row.state} {row.reason} ({row.detail}), not {state} {reason}"
            elif reason:
                told = f"{row.detail} {MENDS[Reason(row.reason)]}"
                yield from (f'message {place} does not say "{word}": {told}' for word in words if word not in told)


def take(shell: Shell, messages: list[dict[str, Any]]) -> None:
    """Receive and post, then what the sweep finds: it wakes what waited for something else than an order."""
    shell.take(*messages)
    while shell.sweep()["woken"]:
        shell.post()


def reviewed_at(arrival: Arrival) -> str:
    reviewed = arrival.story.reviewed
    return "" if reviewed is None else reviewed.isoformat()


def opened(engine: Engine, case: Case) -> Shell:
    shell = Shell(engine, shards=1, program_text=None)
    for text in case.programs:
        shell.apply_program(text)
    return shell


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_ends_right_however_its_messages_arrive(engine: Engine, case: Case) -> None:
    shell = opened(engine, case)
    found = list(arrivals(case))
    for number in range(max(len(arrival.rounds) * (1 + arrival.again) for arrival in found)):
        if messages := [message for arrival in found for message in arrival.messages(number)]:
            take(shell, messages)
    problems = []
    for reviewed, together in groupby(sorted(found, key=reviewed_at), key=reviewed_at):
        if reviewed:
            shell.review(reviewed)
        ledger = Ledger(shell)
        problems += [problem for arrival in together for problem in ledger.wrong(arrival)]
    assert "\n".join(problems) == ""
    assert (shell.differences(), shell.repairs()) == ([], ([], []))


@pytest.mark.parametrize("case", [case for case in CASES if case.has_tiers], ids=lambda case: case.name)
def test_a_case_ends_right_where_reviews_run_in_time(engine: Engine, case: Case) -> None:
    """As in life: what is due before a message is done before it comes."""
    shell = opened(engine, case)
    problems = []
    for number, story in enumerate(case.stories):
        arrival = Arrival(story, "reviewed in time", f"~{number}", [[place] for place in range(len(story.messages))])
        for place, message in enumerate(story.messages):
            shell.review(message["time"])
            take(shell, arrival.messages(place))
        if reviewed_at(arrival):
            shell.review(reviewed_at(arrival))
        problems += Ledger(shell).wrong(arrival)
    assert "\n".join(problems) == ""
    assert (shell.differences(), shell.repairs()) == ([], ([], []))
