"""How commands are made: points that are given, taken and corrected beside orders, of one program."""

from typing import Any

from core.domain.outcomes import Reason
from tests.faults.fault_programs import DESK, SOURCES, VALUED
from tests.faults.makers import new_order, sell
from tests.faults.stream import COMMAND_PREFIX, NOT_ALLOWED, POSTED, Maker, envelope


def new_command(maker: Maker, verb: str, *, source: str = DESK, **data: Any) -> dict[str, Any]:
    """A command that nobody has sent yet, on the account of some customer."""
    data = {"customer_id": maker.customer(VALUED), **data}
    return envelope(COMMAND_PREFIX + verb, maker.new_id(verb), source, maker.time(0, 1), data)


def valued_order(maker: Maker) -> None:
    """Others give it back; its points may have been taken by then."""
    sell(maker, new_order(maker, VALUED))


def credit(maker: Maker) -> None:
    maker.add(new_command(maker, "credit", points=maker.random.randint(1, 60), reason="goodwill"), POSTED)


def debit(maker: Maker) -> None:
    """All or nothing; whether there is enough depends on what was posted before."""
    maker.add(new_command(maker, "debit", points=maker.random.randint(1, 120)), POSTED)


def redemption(maker: Maker) -> None:
    maker.add(new_command(maker, "redeem", points=maker.random.randint(1, 90)), POSTED)


def debit_of_what_there_is(maker: Maker) -> None:
    maker.add(new_command(maker, "debit", points=maker.random.randint(20, 200), allow_remainder=True), POSTED)


def adjustment(maker: Maker) -> None:
    points = maker.random.choice([-1, 1]) * maker.random.randint(1, 40)
    more = {"allow_negative_balance": True} if maker.random.random() < 0.5 else {}
    command = new_command(maker, "adjust", points=points, reason="counted anew", **more)
    # A customer without an account has nothing to correct: a credit comes with it, and may come after it.
    command["data"]["customer_id"] = f"{maker.stream.name}c0"
    maker.add(command, POSTED)


def command_conflict(maker: Maker) -> None:
    """The same id with other content. Whichever comes first is done, and the other one is refused."""
    command = new_command(maker, "credit", points=7)
    maker.add(command, POSTED)
    maker.add({**command, "data": {**command["data"], "points": 8}}, POSTED, is_twin=True)


def command_of_nobody(maker: Maker) -> None:
    """Its source may sell, and not command."""
    command = new_command(maker, "credit", source=SOURCES[VALUED], points=1_000)
    maker.add_unreadable(command, NOT_ALLOWED, command["type"])


def command_that_says_nothing(maker: Maker) -> None:
    command = new_command(maker, maker.random.choice(["credit", "debit"]), points=maker.random.choice([0, -5, "5"]))
    maker.add_unreadable(command, Reason.INVALID_DATA, command["type"])
