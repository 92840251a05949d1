"""How commands are made: points that are given, taken and corrected beside orders, of one program."""

from typing import Any

from core.domain.outcomes import Reason
from tests.faults.fault_programs import DESK, SOURCES, VALUED
from tests.faults.makers import new_order, sell
from tests.faults.stream import COMMAND_PREFIX, NOT_ALLOWED, POSTED, Maker, envelope

_NAMING = {"customer_id", "account_id", "authorization_id", "issue_id", "command_id", "card", "email"}


def new_command(maker: Maker, verb: str, *, source: str = DESK, **data: Any) -> dict[str, Any]:
    """A command that nobody has sent yet, on the account of some customer unless `data` name another."""
    if not data.keys() & _NAMING or verb in {"authorize", "reward.issue"}:
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


def transfer(maker: Maker) -> None:
    """Between two customers, of whom the one that gets points has an account in any case."""
    giver, getter = maker.random.sample([f"{maker.stream.name}c{number}" for number in range(3)], 2)
    maker.add(new_command(maker, "credit", customer_id=getter, points=maker.random.randint(1, 30)), POSTED)
    points, more = maker.random.randint(1, 60), {"allow_remainder": True} if maker.random.random() < 0.3 else {}
    asked = new_command(maker, "transfer", customer_id=giver, to_customer_id=getter, points=points, **more)
    maker.add(asked, POSTED)


def authorization(maker: Maker) -> None:
    """One that is captured, in part or at once, or voided, or both: whichever comes first, and it may come before."""
    name, points = maker.new_id("hold"), maker.random.randint(2, 60)
    deadline = 60 * 86_400
    asked = new_command(maker, "authorize", authorization_id=name, points=points, expires_in_seconds=deadline)
    maker.add(asked, POSTED)
    for _ in range(maker.random.randint(0, 2)):
        part = {"points": maker.random.randint(1, points)} if maker.random.random() < 0.6 else {}
        part |= {"is_final": False} if maker.random.random() < 0.4 else {}
        maker.add(new_command(maker, "capture", authorization_id=name, **part), POSTED)
    if maker.random.random() < 0.5:
        maker.add(new_command(maker, "void", authorization_id=name), POSTED)


def reversal(maker: Maker) -> None:
    """Of a command that comes with it; now and then two of them, of which one is too many."""
    verb, points = maker.random.choice(["credit", "debit", "redeem", "adjust"]), maker.random.randint(2, 40)
    more = {"reason": "counted anew"} if verb == "adjust" else {}
    undone = new_command(maker, verb, points=points, **more)
    # A customer without an account has nothing to correct or to spend.
    undone["data"]["customer_id"] = f"{maker.stream.name}c0"
    maker.add(undone, POSTED)
    for _ in range(maker.random.randint(1, 2)):
        part = {"points": maker.random.randint(1, points)} if maker.random.random() < 0.4 else {}
        part |= {"allow_negative_balance": True} if maker.random.random() < 0.4 else {}
        maker.add(new_command(maker, "reverse", command_id=undone["id"], **part), POSTED)


def account(maker: Maker) -> None:
    """One with an id of its own and a card, or an e-mail address, by which it is named, also before it is there."""
    name = maker.new_id("account")
    linked = {"card": f"{name}-card"} if ord(name[-1]) % 2 else {"email": f"{name}@example.com"}
    made = new_command(maker, "account.create", account_id=name, customer_id=maker.new_id("new"), points=50)
    maker.add(made, POSTED)
    maker.add(new_command(maker, "debit", account_id=name, points=maker.random.randint(1, 70)), POSTED)
    maker.add(new_command(maker, "account.link", account_id=name, **linked), POSTED)
    maker.add(new_command(maker, "debit", **linked, points=maker.random.randint(1, 30)), POSTED)
    if maker.random.random() < 0.3:
        maker.add(new_command(maker, "account.close", account_id=name, points_left="forfeit"), POSTED)


def frozen_account(maker: Maker) -> None:
    """Points of one that is frozen and unfrozen are spent, or not."""
    name = maker.new_id("account")
    made = new_command(maker, "account.create", account_id=name, customer_id=maker.new_id("frozen"), points=50)
    maker.add(made, POSTED)
    for verb in ("account.freeze", "redeem", "account.unfreeze", "redeem"):
        more = {"points": maker.random.randint(1, 20)} if verb == "redeem" else {}
        maker.add(new_command(maker, verb, account_id=name, **more), POSTED)


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
