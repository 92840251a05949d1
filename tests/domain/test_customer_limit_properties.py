"""Whatever a customer asks for and when: never more than the program's limits, and as much as is said to be left."""

import re
from collections import Counter
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.message import Message
from core.domain.outcomes import Rejected
from core.domain.program import Program
from core.posting.handlers import HANDLERS
from tests.domain.book import Book
from tests.facts import AS_OF, SOURCE, instant, program_with

#: Around the end of a month, and of summer time in three of the zones.
START = instant("2026-10-24T00:00:00+00:00")
ZONES = ("Europe/Berlin", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu")
LIMIT_OF = {"redeem": "redeem", "authorize": "redeem", "transfer": "transfer", "credit": "credit"}


class Asked(NamedTuple):
    """One command. What it undoes, if it undoes one, is the last that was done of its kind."""

    verb: str
    points: int
    at: datetime


most = st.one_of(st.none(), st.integers(1, 300))
limits = st.fixed_dictionaries(
    {name: st.fixed_dictionaries({"per_day": most, "per_month": most}) for name in ("redeem", "transfer", "credit")}
)
commands = st.lists(
    st.builds(
        Asked,
        st.sampled_from([*LIMIT_OF, "redeem", "authorize", "void", "reverse"]),
        st.integers(1, 150),
        st.one_of(st.integers(0, 60), st.integers(180, 220)).map(lambda hours: START + timedelta(hours=hours)),
    ),
    min_size=1,
    max_size=25,
)


class Plain:
    """What counts, by limit, and day or month as the wall calendar of the zone has them."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.used: Counter[tuple[str, str]] = Counter()
        self.done: dict[str, tuple[Asked, str]] = {}  #: by command id: what was done, and by which limit

    def periods(self, limit: str, at: datetime) -> dict[str, int]:
        """How much may be used in the day and the month, as far as they are limited."""
        local, terms = at.astimezone(self._program.zone), getattr(self._program.limits, limit)
        found = {f"{local:%Y-%m-%d}": terms.per_day, f"{local:%Y-%m}": terms.per_month}
        return {period: points for period, points in found.items() if points is not None}

    def left(self, limit: str, at: datetime) -> int | None:
        """How much the customer may still move; None: there is no end to it."""
        lefts = [most - self.used[limit, period] for period, most in self.periods(limit, at).items()]
        return min(lefts, default=None)

    def count(self, limit: str, at: datetime, points: int) -> None:
        """Note that so many points are moved, or come back."""
        for period in self.periods(limit, at):
            self.used[limit, period] += points

    def is_kept(self) -> bool:
        """Whether no period has more than its limit."""
        for (limit, period), points in self.used.items():
            terms = getattr(self._program.limits, limit)
            if not 0 <= points <= (terms.per_day if len(period) > len("2026-10") else terms.per_month):
                return False
        return True


def data_of(asked: Asked, command_id: str, done: dict[str, tuple[Asked, str]]) -> dict[str, Any] | None:
    """The command's data; None: there is nothing to undo."""
    if asked.verb not in {"void", "reverse"}:
        more = {"transfer": {"to_customer_id": "c2"}, "authorize": {"authorization_id": command_id}}
        return {"customer_id": "c1", "points": asked.points, **more.get(asked.verb, {})}
    held = [name for name, (other, _) in done.items() if (other.verb == "authorize") is (asked.verb == "void")]
    return {("authorization_id" if asked.verb == "void" else "command_id"): held[-1]} if held else None


def why_not(book: Book, asked: Asked, command_id: str, data: dict[str, Any]) -> Rejected | None:
    """Why the command would be refused."""
    handler = HANDLERS[f"loyalty.command.{asked.verb}"]
    message = Message(handler.contract.fact(SOURCE, asked.at, data), None, b"", command_id)
    outcome = handler.decide(book.books, message, book.rules(AS_OF), AS_OF)
    return outcome if isinstance(outcome, Rejected) else None


@settings(max_examples=10 * settings().max_examples)
@given(st.sampled_from(ZONES), limits, commands)
def test_a_customer_moves_what_the_limits_leave_and_never_more(
    zone: str, terms: dict[str, dict[str, int | None]], story: list[Asked]
) -> None:
    program = program_with(time_zone=zone, limits=terms)
    book, plain = Book(program), Plain(program)
    Book(program, customer_id="c2", beside=book)
    rich = {"customer_id": "c1", "points": 10**9, "reason": "to begin with"}
    book.command("credit", "none", {**rich, "points": 1}, instant("2020-01-01"), AS_OF)
    assert book.command("adjust", "rich", rich, START, AS_OF)[0] == "accepted"
    for number, each in enumerate(story):
        command_id, asked = f"k{number}", each
        data = data_of(asked, command_id, plain.done)
        if data is None:
            continue
        if asked.verb in {"void", "reverse"}:
            undone, limit = plain.done.pop(str(next(iter(data.values()))))
            assert book.command(asked.verb, command_id, data, asked.at, AS_OF)[0] == "accepted"
            plain.count(limit, undone.at, -undone.points)
            continue
        limit = LIMIT_OF[asked.verb]
        left = plain.left(limit, asked.at)
        if left is not None and asked.points > left:
            problem = why_not(book, asked, command_id, data)
            assert problem is not None
            assert problem.code == "limit_reached"
            said = re.search(r": ([\d,]+) are left until", problem.detail)
            assert said is not None
            assert int(said[1].replace(",", "")) == left
            assert book.command(asked.verb, command_id, data, asked.at, AS_OF) == ("limit_reached", {})
            if not left:
                continue
            # As much as is said to be left may be had.
            command_id, asked = f"{command_id}-again", asked._replace(points=left)
            data = data_of(asked, command_id, {})
            assert data is not None
        assert book.command(asked.verb, command_id, data, asked.at, AS_OF)[0] == "accepted"
        plain.count(limit, asked.at, asked.points)
        plain.done[command_id] = asked, limit
        assert plain.is_kept()
