"""Commands within the stories of the property tests: what programs ask for between orders, from numbers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.domain.agreement import check_lots
from tests.domain.naive_value import NaiveValue
from tests.domain.stories import KINDS, Step
from tests.domain.story_run import StoryRun
from tests.domain.valid_programs import Versions

COMMANDS = (*["credit"] * 3, *["debit"] * 3, *["redeem"] * 2, *["adjust"] * 2, *["transfer"] * 3, "again", "clash")
ALL_KINDS = (*KINDS, *COMMANDS)
steps_with_commands = st.lists(
    st.tuples(st.sampled_from(ALL_KINDS), st.integers(0, 10_000), st.integers(0, 200)), min_size=2, max_size=20
)


def random_story(random: Random, kinds: Sequence[str], steps_max: int) -> list[Step]:
    """A story by chance alone."""
    return [
        (random.choice(kinds), random.randrange(10_001), random.randrange(201))
        for _ in range(random.randint(2, steps_max))
    ]


class CommandStoryRun(StoryRun):
    """Runs a story with commands on a book and on the naive model alike; each must tell the same of each command."""

    new_naive = NaiveValue

    def __init__(self, versions: Versions) -> None:
        super().__init__(versions)
        self.sent: list[tuple[str, str, dict[str, Any], datetime]] = []

    def check(self) -> None:
        """All invariants hold of the books, and the naive model agrees on every lot."""
        super().check()
        for book, naive in self.customers.values():
            assert isinstance(naive, NaiveValue)
            check_lots(book, naive)

    def _step(self, kind: str, number: int, days: int) -> None:
        match kind:
            case "credit":
                self._command(kind, {"customer_id": "c1", **self._credit_data(number, days)}, days)
            case "debit":
                self._command(kind, {"customer_id": "c1", **self._debit_data(number)}, days)
            case "redeem":
                self._command(kind, {"customer_id": "c1", "points": 1 + number % 120}, days)
            case "adjust":
                self._command(kind, {"customer_id": "c1", **self._adjust_data(number, days)}, days)
            case "transfer":
                giver, getter = ("c1", "c2") if days % 3 else ("c2", "c1")
                whom = {"customer_id": giver, "to_customer_id": getter}
                self._command(kind, {**whom, **self._debit_data(number)}, days)
            case "again" if self.sent:
                self._tell_command(*self.sent[number % len(self.sent)])
            case "clash" if self.sent:
                verb, command_id, data, at = self.sent[number % len(self.sent)]
                self._tell_command(verb, command_id, {**data, "points": data["points"] + 1}, at)
            case "again" | "clash":
                pass
            case _:
                super()._step(kind, number, days)

    def _command(self, verb: str, data: dict[str, Any], days: int) -> None:
        late = timedelta(days=days % 9 if days % 5 == 0 else 0)
        # Sources may number their commands as they number their orders.
        self.sent.append((verb, f"o{len(self.sent)}", data, self.now - late))
        self._tell_command(*self.sent[-1])

    def _tell_command(self, verb: str, command_id: str, data: dict[str, Any], at: datetime) -> None:
        book, naive = self.customers[data["customer_id"]]
        assert isinstance(naive, NaiveValue)
        told = naive.command(verb, command_id, data, at, self.now)
        assert book.command(verb, command_id, data, at, self.now) == told

    def _credit_data(self, number: int, days: int) -> dict[str, Any]:
        data: dict[str, Any] = {"points": 1 + number % 150}
        if number % 4 == 1:
            data["available_at"] = self.now + timedelta(days=days % 40 - 2)
        if number % 6 in {1, 2}:
            data["expires_at"] = self.now + timedelta(days=number % 60 - 1, hours=days % 24)
        if number % 31 == 7:
            data["unit"] = ("points", "miles")[days % 2]
        naive = self.customers["c1"].naive
        if number % 97 == 3 and naive.balance + naive.pending > days:
            data["points"] = 10**15 - days  # too many, so that there is room for what orders earn
        return data

    def _adjust_data(self, number: int, days: int) -> dict[str, Any]:
        data: dict[str, Any] = {"points": 1 + number % 80 if days % 2 else -1 - number % 80, "reason": "counted anew"}
        if data["points"] < 0 and number % 3 == 0:
            data["allow_negative_balance"] = True
        if data["points"] > 0 and number % 5 == 0:
            data["expires_at"] = self.now + timedelta(days=number % 60 - 1, hours=days % 24)
        return data

    def _debit_data(self, number: int) -> dict[str, Any]:
        data: dict[str, Any] = {"points": 1 + number % 120}
        if number % 3 == 0:
            data["allow_remainder"] = True
        if number % 31 == 7:
            data["unit"] = "miles"
        return data
