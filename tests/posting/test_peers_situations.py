"""The situations that Lightrail's tests and Square's pages name, and what comes of each here.

Each case is of a row of docs/peers.md, which says why it differs where it does: before, asked for, told, and after.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine
from uuid6 import uuid7

from core.receiving.executing import (
    CommandAccepted,
    CommandAnswer,
    CommandRejected,
    CommandRequest,
    CommandUnreadableError,
    Executor,
)
from core.store.engine import create_database_engine
from tests.conftest import OpenDatabase
from tests.domain.book import Book
from tests.factories import PROGRAM_TEXT
from tests.facts import order, part, program_with, refund
from tests.shell import EVENT_SOURCE, LIMITS, Shell

PROGRAM = PROGRAM_TEXT + "rewards: [{reward_id: mug, name: A mug, cost: 60, kind: item, sku: MUG}]\n"
OTHER_PROGRAM = PROGRAM_TEXT.replace("program_id: test", "program_id: stars").replace('sources: ["/shops/test"]\n', "")
PAST, LATER = "2020-01-01T00:00:00Z", (datetime.now(UTC) + timedelta(days=9)).isoformat()


class Step(NamedTuple):
    """A command, on the account of `me` unless it names another."""

    verb: str
    data: Mapping[str, Any]

    @property
    def names_nobody(self) -> bool:
        return not self.data.keys() & {"customer_id", "account_id", "authorization_id", "issue_id", "command_id"}


def credit(points: Any = 100, **data: Any) -> Step:
    return Step("credit", {"points": points, **data})


def debit(points: Any, **data: Any) -> Step:
    return Step("debit", {"points": points, **data})


def transfer(points: Any, to: str = "other", **data: Any) -> Step:
    whom = {} if "to_account_id" in data else {"to_customer_id": to}
    return Step("transfer", {"points": points, **whom, **data})


def authorize(points: Any = 60, **data: Any) -> Step:
    return Step("authorize", {"customer_id": "me", "points": points, "authorization_id": "held", **data})


def adjust(points: int, **data: Any) -> Step:
    return Step("adjust", {"points": points, "reason": "fraud", **data})


def issue() -> Step:
    return Step("reward.issue", {"customer_id": "me", "reward_id": "mug", "issue_id": "mine"})


def on_hold(verb: str, **data: Any) -> Step:
    return Step(verb, {"authorization_id": "held", **data})


def on_reward(verb: str) -> Step:
    return Step(f"reward.{verb}", {"issue_id": "mine"})


def reverse(place: int, **data: Any) -> Step:
    """Undo the command at this place of the story."""
    return Step("reverse", {"command_id": place, **data})


FREEZE, CLOSE = Step("account.freeze", {}), Step("account.close", {"points_left": "forfeit"})
OPEN = Step("account.create", {"customer_id": "me", "account_id": "mine", "points": 100})
DONE = "accepted"


class Case(NamedTuple):
    """One case of a row of the page."""

    situation: str
    before: list[Step]
    asked: Step
    told: str  #: accepted, or the code of the rejection
    left: tuple[int, int] | None = (100, 0)  #: balance and reserved points of `me`; None: no account
    answer: Mapping[str, Any] = {}  #: some of what the answer tells
    others: tuple[int, int] | None = None  #: balance and reserved points of `other`


HAS = [credit(100)]
CASES = [
    Case("a credit", HAS, credit(50), DONE, (150, 0), {"points": 50}),
    Case("a debit", HAS, debit(40), DONE, (60, 0), {"points": 40}),
    Case("a debit of more than there is", HAS, debit(120), "insufficient_points"),
    Case("a debit of more than there is, with a remainder", HAS, debit(120, allow_remainder=True), DONE, (0, 0),
         {"points": 100, "remainder": 20}),
    Case("a debit of more than there is, with a remainder", [credit(9), debit(9)], debit(20, allow_remainder=True),
         "insufficient_points", (0, 0)),
    Case("the wrong currency", HAS, credit(50, unit="miles"), "wrong_unit"),
    Case("the wrong currency", HAS, debit(50, unit="miles"), "wrong_unit"),
    Case("the wrong currency", HAS, transfer(50, unit="miles"), "wrong_unit"),
    Case("an account that is canceled", [*HAS, CLOSE], credit(50), "account_closed", (0, 0)),
    Case("an account that is canceled", [*HAS, CLOSE], debit(50), "account_closed", (0, 0)),
    Case("an account that is canceled", [*HAS, CLOSE], transfer(50), "account_closed", (0, 0)),
    Case("an account that is canceled", [*HAS, credit(5, customer_id="other"), Step("account.close", {
        "customer_id": "other", "points_left": "forfeit"})], transfer(50), "account_closed", others=(0, 0)),
    Case("a debit of an account that is frozen", [*HAS, FREEZE], debit(50), "account_frozen"),
    Case("a debit of an account that is frozen", [*HAS, FREEZE], transfer(50), "account_frozen"),
    Case("a debit of an account that is frozen", [*HAS, FREEZE], authorize(), "account_frozen"),
    Case("a credit to an account that is frozen", [*HAS, FREEZE], credit(50), DONE, (150, 0)),
    Case("a credit to an account that is frozen", [*HAS, credit(5, customer_id="other"), Step("account.freeze", {
        "customer_id": "other"})], transfer(50), DONE, (50, 0), others=(55, 0)),
    Case("value that has not begun", [credit(100, available_at=LATER)], debit(50), "insufficient_points", (0, 0)),
    Case("value that has ended", [*HAS], credit(50, expires_at=PAST), "already_expired"),
    Case("a balance above the greatest number", HAS, credit(10**15), "too_many_points"),
    Case("a balance above the greatest number", [*HAS, credit(10**15, customer_id="other")], transfer(50),
         "too_many_points", others=(10**15, 0)),
    Case("an account that does not exist", [], debit(50), "unknown_account", None),
    Case("an account that does not exist", HAS, debit(50, account_id="nowhere"), "unknown_account"),
    Case("an account that does not exist", HAS, transfer(50, to_account_id="nowhere"), "unknown_account"),
    Case("a credit to a customer without an account", [], credit(50), DONE, (50, 0)),
    Case("a credit to a customer without an account", HAS, transfer(50), DONE, (50, 0), others=(50, 0)),
    *(Case("an amount below 0, of 0, a fraction, too large", HAS, step(amount), "invalid_data")
      for step in (credit, debit, transfer) for amount in (-1, 0, 1.5, 10**16)),
    Case("a transfer", HAS, transfer(30), DONE, (70, 0), {"points": 30}, (30, 0)),
    Case("a transfer of more than there is", HAS, transfer(120), "insufficient_points"),
    Case("a transfer of more than there is, with a remainder", HAS, transfer(120, allow_remainder=True), DONE, (0, 0),
         {"points": 100, "remainder": 20}, (100, 0)),
    Case("a transfer to where it comes from", HAS, transfer(30, to="me"), "same_account"),
    Case("a transfer to another currency", [*HAS, Step("account.create", {
        "customer_id": "other", "account_id": "abroad", "program_id": "stars"})], transfer(30, to_account_id="abroad"),
         "other_program"),
    Case("a pending debit", HAS, authorize(), DONE, (40, 60), {"points": 60}),
    Case("a pending debit, with a remainder", HAS, authorize(120), "insufficient_points"),
    Case("a pending debit that is voided", [*HAS, authorize()], on_hold("void"), DONE, (100, 0), {"points_held": 0}),
    Case("a pending debit that is captured", [*HAS, authorize()], on_hold("capture"), DONE, (40, 0), {"points": 60}),
    Case("a pending debit that is captured", [*HAS, authorize()], on_hold("capture", points=20), DONE, (80, 0),
         {"points": 20, "points_returned": 40}),
    Case("a pending debit that lasts an hour to three months", HAS, authorize(expires_in_seconds=3600), DONE, (40, 60)),
    Case("a pending debit that lasts an hour to three months", HAS, authorize(expires_in_seconds=60), "invalid_data"),
    Case("a pending debit that lasts an hour to three months", HAS, authorize(expires_in_seconds=91 * 86400),
         "invalid_data"),
    Case("a capture of a frozen account", [*HAS, authorize(), FREEZE], on_hold("capture"), "account_frozen", (40, 60)),
    Case("a void of a frozen account", [*HAS, authorize(), FREEZE], on_hold("void"), DONE),
    Case("a capture and a void of a canceled account", [*HAS, authorize()], CLOSE, "authorizations_open", (40, 60)),
    Case("a capture or a void of what is captured or voided", [*HAS, authorize(), on_hold("void")], on_hold("capture"),
         "authorization_closed"),
    Case("a capture or a void of what is captured or voided", [*HAS, authorize(), on_hold("capture")], on_hold("void"),
         "authorization_closed", (40, 0)),
    Case("a capture of what is not known", HAS, on_hold("capture"), "unknown_authorization"),
    Case("a credit that is reversed", [*HAS, credit(50)], reverse(1), DONE, (100, 0), {"points": 50}),
    Case("a credit that is reversed, and spent", [*HAS, debit(30)], reverse(0), "insufficient_points", (70, 0)),
    Case("a credit that is reversed, and spent", [*HAS, debit(30)], reverse(0, allow_negative_balance=True), DONE,
         (-30, 0)),
    Case("a debit that is reversed", [*HAS, debit(30)], reverse(1), DONE, (100, 0), {"points": 30}),
    Case("a debit that is reversed", [*HAS, debit(30)], reverse(1, points=10), DONE, (80, 0), {"points": 10}),
    Case("a debit with a remainder that is reversed", [*HAS, debit(120, allow_remainder=True)], reverse(1), DONE,
         (100, 0), {"points": 100}),
    Case("a transfer that is reversed", [*HAS, transfer(30)], reverse(1), DONE, (100, 0), {"points": 30}, (0, 0)),
    Case("an opening balance that is reversed", [OPEN], reverse(0), DONE, (0, 0), {"points": 100}),
    Case("a captured debit that is reversed", [*HAS, authorize(), on_hold("capture")], reverse(2), "not_reversible",
         (40, 0)),
    Case("a captured debit that is reversed", [*HAS, Step("redeem", {"points": 60})], reverse(1), DONE),
    Case("a pending debit that is reversed", [*HAS, authorize()], reverse(1), "not_reversible", (40, 60)),
    Case("a reverse that is reversed", [*HAS, debit(30), reverse(1)], reverse(2), "not_reversible"),
    Case("a second reverse", [*HAS, debit(30), reverse(1)], reverse(1), "already_reversed"),
    Case("a reverse of what is not known", HAS, reverse(7), "unknown_command"),
    Case("a reverse of a frozen account", [*HAS, debit(30), FREEZE], reverse(1), DONE),
    Case("a reverse of a canceled account", [*HAS, debit(100), CLOSE], reverse(1), DONE),
    Case("an account that is there already", [OPEN], Step("account.create", {**OPEN.data, "points": 5}),
         "account_exists"),
    # Square
    Case("AdjustLoyaltyPoints below 0", HAS, adjust(-120), "insufficient_points"),
    Case("AdjustLoyaltyPoints below 0", HAS, adjust(-120, allow_negative_balance=True), DONE, (-20, 0)),
    Case("CreateLoyaltyReward", HAS, issue(), DONE, (40, 60)),
    Case("CreateLoyaltyReward", [credit(59)], issue(), "insufficient_points", (59, 0)),
    Case("RedeemLoyaltyReward", [*HAS, issue()], on_reward("redeem"), DONE, (40, 0)),
    Case("DeleteLoyaltyReward", [*HAS, issue()], on_reward("delete"), DONE),
    Case("DeleteLoyaltyReward of a redeemed one", [*HAS, issue(), on_reward("redeem")], on_reward("delete"),
         "issue_closed", (40, 0)),
    Case("CreateLoyaltyAccount with enrolled_at in the future", [], Step("account.create", {
        "customer_id": "me", "account_id": "mine", "enrolled_at": LATER}), "enrolment_in_future", None),
]  # fmt: skip

#: Commands that are only simulated.
SIMULATED = [
    Case("a simulated credit, debit, transfer or pending debit", HAS, credit(50), DONE, answer={"points": 50}),
    Case("a simulated credit, debit, transfer or pending debit", HAS, debit(50), DONE, answer={"points": 50}),
    Case("a simulated credit, debit, transfer or pending debit", HAS, debit(120), "insufficient_points"),
    Case("a simulated credit, debit, transfer or pending debit", HAS, transfer(50), DONE, answer={"points": 50}),
    Case("a simulated credit, debit, transfer or pending debit", HAS, authorize(), DONE, answer={"points": 60}),
]
#: Orders that Square's pages work out: program, what the order comes to, what is refunded, the points that are left.
PER_TEN = [{"rule_id": "spend", "kind": "spend", "per_amount": "10.00", "points": {"bronze": "1"}}]
HALF_MORE = [{"promotion_id": "more", "kind": "multiplier", "multiplier": "1.5"}]
THREE_MORE = [{"promotion_id": "three", "kind": "addition", "points": 3}]
WORKED = [
    ("1 point for each 10.00, an order of 105.00", {}, "105.00", (), 10),
    ("a promotion of 1.5 times, on 4 points", {"promotions": HALF_MORE}, "40.00", (), 6),
    ("a promotion of 3 points more, on 5 points", {"promotions": THREE_MORE}, "50.00", (), 8),
    ("refunds of 1.00 and 5.00 of an order that earned 1 point for each 10.00", {}, "105.00", ("1.00", "5.00"), 9),
    ("a full refund", {}, "105.00", ("105.00",), 0),
]
AGAIN = "the same id again"
TOO_LONG = "an id that is too long"
CHAIN = "a chain"
SITUATIONS = {*(case.situation for case in (*CASES, *SIMULATED)), *(each[0] for each in WORKED), AGAIN, TOO_LONG, CHAIN}


class Desk(NamedTuple):
    """Asks for commands, each story with customers and ids of its own."""

    shell: Shell
    executor: Executor

    def ask(self, story: str, place: int, step: Step, *, is_simulated: bool = False) -> CommandAnswer | None:
        """Its answer; None where it is no command at all."""
        data = {"customer_id": "me", **step.data} if step.names_nobody else dict(step.data)
        for name in ("customer_id", "to_customer_id", "authorization_id", "issue_id", "account_id", "to_account_id"):
            if name in data:
                data[name] = f"{story}-{data[name]}"
        if "command_id" in data:
            data["command_id"] = f"{story}-{data['command_id']}"
        if "program_id" not in data and ("customer_id" in data or step.verb == "account.create"):
            data["program_id"] = "test"
        request = CommandRequest(step.verb, data, f"{story}-{place}")
        try:
            return self.executor.preview(request) if is_simulated else self.executor.execute(request)
        except CommandUnreadableError:
            return None

    def tell(self, story: str, before: list[Step]) -> None:
        for place, step in enumerate(before):
            assert isinstance(self.ask(story, place, step), CommandAccepted), step

    def holds(self, story: str, customer_id: str) -> tuple[int, int] | None:
        found = self.shell.rows(
            "SELECT balance, reserved FROM accounts WHERE customer_id = :whose AND program_id = 'test'",
            whose=f"{story}-{customer_id}",
        )
        return (found[0].balance, found[0].reserved) if found else None


@pytest.fixture(scope="module")
def desk(open_database: OpenDatabase) -> Iterator[Desk]:
    """One ledger for all stories."""
    with open_database() as url:
        engine: Engine = create_database_engine(url)
        shell = Shell(engine, program_text=PROGRAM)
        shell.apply_program(OTHER_PROGRAM)
        yield Desk(shell, Executor(engine, event_source=EVENT_SOURCE, shards=4, limits=LIMITS, new_id=uuid7))
        assert shell.differences() == []
        engine.dispose()


def told(answer: CommandAnswer | None) -> str:
    if answer is None:
        return "invalid_data"
    return answer.data["code"] if isinstance(answer, CommandRejected) else DONE


def check(desk: Desk, story: str, case: Case, answer: CommandAnswer | None) -> None:
    assert told(answer) == case.told
    if answer is not None:
        assert {name: answer.data.get(name) for name in case.answer} == case.answer
    assert desk.holds(story, "me") == case.left
    if case.others is not None:
        assert desk.holds(story, "other") == case.others


def _name(each: object) -> str | None:
    return each.situation if isinstance(each, Case) else None


@pytest.mark.parametrize(("story", "case"), [*enumerate(CASES)], ids=_name)
def test_it_is_answered(desk: Desk, story: int, case: Case) -> None:
    desk.tell(f"s{story}", case.before)
    answer = desk.ask(f"s{story}", len(case.before), case.asked)
    check(desk, f"s{story}", case, answer)


@pytest.mark.parametrize(("story", "case"), [*enumerate(SIMULATED)], ids=_name)
def test_it_is_answered_alike_where_it_is_simulated_and_changes_nothing(desk: Desk, story: int, case: Case) -> None:
    desk.tell(f"d{story}", case.before)
    answer = desk.ask(f"d{story}", len(case.before), case.asked, is_simulated=True)
    check(desk, f"d{story}", case, answer)
    assert told(desk.ask(f"d{story}", len(case.before), case.asked)) == case.told


def test_the_same_again_gets_the_first_answer_and_other_content_a_conflict(desk: Desk) -> None:
    first, again = (desk.ask("again", 0, credit(100)) for _ in range(2))
    assert first is not None
    assert again == first._replace(is_repeated=True)
    assert told(desk.ask("again", 0, credit(101))) == "command_conflict"
    assert desk.holds("again", "me") == (100, 0)


@pytest.mark.parametrize(("characters", "expected"), [(200, DONE), (201, "invalid_data")])
def test_an_id_has_so_many_characters(desk: Desk, characters: int, expected: str) -> None:
    asked = CommandRequest(
        "credit", {"customer_id": f"l{characters}", "program_id": "test", "points": 1}, "x" * characters
    )
    try:
        assert told(desk.executor.execute(asked)) == expected
    except CommandUnreadableError:
        assert expected == "invalid_data"


def test_what_follows_a_command_names_it(desk: Desk) -> None:
    desk.tell("chain", [*HAS, authorize(), on_hold("capture", points=20)])
    rows = desk.shell.rows(
        "SELECT kind, e.sequence, corrects_sequence FROM entries e JOIN accounts USING (account_id)"
        " WHERE customer_id = 'chain-me' ORDER BY e.sequence"
    )
    assert [tuple(row) for row in rows] == [
        ("credit", 1, None),
        ("authorization", 2, None),
        ("capture", 3, 2),
        ("void", 4, 2),
    ]


@pytest.mark.parametrize(("situation", "fields", "amount", "refunds", "points"), WORKED)
def test_an_order_earns_what_is_worked_out(
    situation: str, fields: Mapping[str, Any], amount: str, refunds: tuple[str, ...], points: int
) -> None:
    del situation
    program = program_with(earning_rules=PER_TEN, tiers=[{"tier_id": "bronze", "threshold_points": 0}], **fields)
    book = Book(program)
    book.complete(order(amount))
    for number, net in enumerate(refunds):
        book.refund(refund(part(net=net), refund_id=f"r{number}"))
    assert book.account.balance == points
