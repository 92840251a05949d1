"""Every kind of command beside what speaks against it: one table over all of them, so that a new one is not forgotten.

Without a database: commands are read as intake reads them, and decided on books that hold everything.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from core.domain.decision import Decision
from core.domain.ledger import AccountStatus
from core.domain.outcomes import Parked, Reason, Rejected, RejectionCode, Replayed
from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from core.domain.value.commands import LINKED, PostedCommand
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.reading import ReadEvent, UnreadableEvent, read_message, read_settled
from core.posting.handlers import HANDLERS
from tests.answers import TRUSTED
from tests.domain.book import whole_books
from tests.facts import SOURCE, instant, program_with

NOW = instant("2026-03-01")
#: What each kind asks for that is done in the world below. A new kind needs a row here, and one wherever else it says
#: something of its own.
ASKED: Mapping[str, dict[str, Any]] = {
    "credit": {"customer_id": "Ann", "points": 5},
    "debit": {"customer_id": "Ann", "points": 5},
    "adjust": {"customer_id": "Ann", "points": -5, "reason": "counted anew"},
    "transfer": {"customer_id": "Ann", "to_customer_id": "Bob", "points": 5},
    "convert": {"customer_id": "Ann", "to_program_id": "money", "points": 5},
    "reverse": {"command_id": "spent", "points": 5},
    "redeem": {"customer_id": "Ann", "points": 5},
    "authorize": {"customer_id": "Ann", "points": 5},
    "capture": {"authorization_id": "cart", "points": 5},
    "void": {"authorization_id": "cart"},
    "reward.issue": {"customer_id": "Ann", "reward_id": "mug"},
    "reward.redeem": {"issue_id": "coupon"},
    "reward.delete": {"issue_id": "coupon"},
    "account.create": {"account_id": "own-9", "customer_id": "Eve", "points": 5},
    "account.update": {"customer_id": "Ann", "tags": ["founding"]},
    "account.freeze": {"customer_id": "Ann"},
    "account.unfreeze": {"customer_id": "Ann"},
    "account.close": {"customer_id": "Bob", "points_left": "forfeit"},
    "account.merge": {"customer_id": "Bob", "into_customer_id": "Ann"},
    "account.unmerge": {"customer_id": "Cid"},
    "account.link": {"customer_id": "Ann", "card": "9801-0008"},
    "account.unlink": {"customer_id": "Ann", "card": "9801-0008"},
    "customer.erase": {"customer_id": "Bob"},
}
VERBS = sorted(filter(None, (contract.verb for contract in INBOUND.values())))
#: What gives something an id, and asks for nothing that is there.
MAKING = {"account.create"}
#: What is about a person, in all programs: what nobody knows of shows only where rows are looked for.
OF_PERSONS = {"customer.erase"}
#: What they name that is not an account, and why they are not done where nobody knows that.
NAMED = {
    "reverse": ("command_id", "unknown_command"),
    **dict.fromkeys(("capture", "void"), ("authorization_id", "unknown_authorization")),
    **dict.fromkeys(("reward.redeem", "reward.delete"), ("issue_id", "unknown_issue")),
}
#: They move no points, or the price of a reward.
WITHOUT_UNIT = {verb for verb in VERBS if verb.startswith("reward.")} | {
    "account.update", "account.freeze", "account.unfreeze", "account.merge", "account.unmerge", "account.link",
    "account.unlink", "customer.erase",
}  # fmt: skip
SPENDING = {
    "debit",
    "transfer",
    "convert",
    "redeem",
    "authorize",
    "capture",
    "reward.issue",
    "reward.redeem",
    "account.merge",
}
UNDOING = {"reverse", "void", "reward.delete", "account.unmerge"}


def envelope(verb: str, data: dict[str, Any], command_id: str = "asked") -> dict[str, Any]:
    return {
        "id": command_id,
        "source": SOURCE,
        "type": f"loyalty.command.{verb}",
        "time": NOW.isoformat(),
        "data": data,
    }


class World:
    """Ann has 100 points, of which 20 are reserved, 30 spent, 5 a reward, and a card; Bob has 15, 5 of them Cid's.

    Ann is found by a phone number and an e-mail address too.
    """

    def __init__(self) -> None:
        self.books = whole_books()
        self.apply()
        for verb, command_id, data in (
            ("account.create", "made", {"account_id": "own-1", "customer_id": "Ann", "points": 100}),
            ("credit", "given", {"customer_id": "Bob", "points": 10}),
            ("credit", "more", {"customer_id": "Cid", "points": 5}),
            ("account.merge", "merged", {"customer_id": "Cid", "into_customer_id": "Bob"}),
            ("authorize", "reserved", {"customer_id": "Ann", "points": 20, "authorization_id": "cart"}),
            ("redeem", "spent", {"customer_id": "Ann", "points": 30}),
            ("reward.issue", "issued", {"customer_id": "Ann", "reward_id": "mug", "issue_id": "coupon"}),
            ("account.link", "linked", {"customer_id": "Ann", "card": "9801-0007"}),
            ("account.link", "called", {"customer_id": "Ann", "phone": "+447400123455"}),
            ("account.link", "written", {"customer_id": "Ann", "email": "ann@example.com"}),
        ):
            assert self.ask(verb, data, command_id) == "accepted"

    def apply(self, **program: Any) -> None:
        """Put the program in force for all history, beside the other one."""
        conversions = [{"to_program": "money", "points": 1, "gives": 1}]
        rewards = [{"reward_id": "mug", "name": "A mug", "cost": 5, "kind": "item", "sku": "MUG"}]
        own = program_with(conversions=conversions, rewards=rewards, **program)
        programs = own, program_with(program_id="money", sources=["/bank"])
        versions = [ProgramVersion(each.program_id, 1, BEGINNING, each) for each in programs]
        self.rules = ProgramRegistry(versions, 0)

    def ask(self, verb: str, data: dict[str, Any], command_id: str = "asked") -> str:
        """What becomes of a command; what is told of a rejection is for people, and says nothing of others."""
        outcome = self._decided(verb, data, command_id)
        if isinstance(outcome, str):
            return outcome
        if isinstance(outcome, Rejected | Parked | UnreadableEvent):
            assert len(outcome.detail) > 20, "it says what stands against it"
            assert not any(name in outcome.detail for name in ("Ann", "Bob", "nobody", "+447400123455"))
        return outcome.code.value if isinstance(outcome, Rejected) else outcome.reason.value

    def rejected(self, verb: str, data: dict[str, Any]) -> Rejected | None:
        """Why a command is not done; None where it is."""
        outcome = self._decided(verb, data, "asked")
        return outcome if isinstance(outcome, Rejected) else None

    def _decided(self, verb: str, data: dict[str, Any], command_id: str) -> Rejected | UnreadableEvent | Parked | str:
        raw = json.dumps(envelope(verb, data, command_id)).encode()
        [event] = read_message(raw, limits=TRUSTED, now=NOW)
        if not isinstance(event, ReadEvent):
            return event
        handler = HANDLERS[event.type]
        settled = read_settled(handler.contract, SOURCE, event.occurred_at, event.settled, event.event_id)
        outcome = handler.decide(self.books, settled.message, self.rules, NOW)
        if isinstance(outcome, Replayed):
            return "replayed"
        assert isinstance(outcome, Decision | Rejected)
        if isinstance(outcome, Decision):
            self.books.apply(outcome)
        digest = settled.message.digest
        self.books.put_commands([], [PostedCommand(SOURCE, command_id, event.type, digest)])
        return "accepted" if isinstance(outcome, Decision) else self._with_advice(outcome)

    def _with_advice(self, rejected: Rejected) -> Rejected:
        assert len(rejected.advice) > 10, "it says what to do"
        return rejected

    def put_all_accounts(self, status: AccountStatus) -> None:
        accounts = self.books.accounts
        self.books.put_accounts({key: account._replace(status=status) for key, account in accounts.items()})


@pytest.fixture
def world() -> World:
    return World()


def test_every_kind_of_command_has_its_row() -> None:
    assert sorted(ASKED) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_it_is_done_once_and_its_id_names_it_for_ever(world: World, verb: str) -> None:
    other = {**ASKED[verb], "reason": "something else"}
    assert [world.ask(verb, data) for data in (ASKED[verb], ASKED[verb], other)] == [
        "accepted",
        "replayed",
        "command_conflict",
    ]


def namings(verb: str) -> list[str]:
    """The fields by one of which a command names what it is about."""
    if verb in NAMED:
        return [NAMED[verb][0]]
    if verb in OF_PERSONS:
        return ["customer_id"]
    # What is linked is the card.
    return ["customer_id", "account_id", *([] if "card" in ASKED[verb] else LINKED)]


@pytest.mark.parametrize(
    ("verb", "named_by"), [(verb, named_by) for verb in VERBS if verb not in MAKING for named_by in namings(verb)]
)
def test_about_what_nobody_knows_it_is_not_done(world: World, verb: str, named_by: str) -> None:
    data = {name: value for name, value in ASKED[verb].items() if name not in namings(verb)}
    _, code = NAMED.get(verb, ("", "unknown_account"))
    if (verb, named_by) == ("credit", "customer_id") or verb in OF_PERSONS:
        code = "accepted"  # it opens an account
    nobody = {"phone": "+447400123456", "email": "eve@example.com"}.get(named_by, "nobody")
    assert world.ask(verb, {**data, named_by: nobody}) == code


@pytest.mark.parametrize("verb", VERBS)
def test_of_a_frozen_account_nothing_is_spent(world: World, verb: str) -> None:
    world.put_all_accounts(AccountStatus.FROZEN)
    assert world.ask(verb, ASKED[verb]) == ("account_frozen" if verb in SPENDING else "accepted")


@pytest.mark.parametrize("verb", VERBS)
def test_of_a_closed_account_only_what_was_before_is_undone_and_what_is_kept_beside_it_changed(
    world: World, verb: str
) -> None:
    world.put_all_accounts(AccountStatus.CLOSED)
    goes_on = MAKING | UNDOING | OF_PERSONS | {"account.close", "account.update", "account.unlink"}
    assert world.ask(verb, ASKED[verb]) == ("accepted" if verb in goes_on else "account_closed")


@pytest.mark.parametrize("verb", VERBS)
def test_in_a_program_that_is_not_active_only_what_was_before_is_undone(world: World, verb: str) -> None:
    world.apply(active=False)
    assert world.ask(verb, ASKED[verb]) == ("accepted" if verb in UNDOING | OF_PERSONS else "program_inactive")


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in OF_PERSONS])
def test_in_a_program_that_nobody_knows_it_is_not_done(world: World, verb: str) -> None:
    _, code = NAMED.get(verb, ("", "unknown_program"))
    assert world.ask(verb, {**ASKED[verb], "program_id": "elsewhere"}) == code


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in WITHOUT_UNIT])
def test_in_another_unit_it_is_not_done(world: World, verb: str) -> None:
    assert world.ask(verb, {**ASKED[verb], "unit": "miles"}) == "wrong_unit"


@pytest.mark.parametrize("points", [0, -5, 10**15 + 1, 10**400, 2.5, 1e3, "5", True, [5], {"5": 5}])
@pytest.mark.parametrize("verb", [verb for verb in VERBS if "points" in ASKED[verb]])
def test_points_are_whole_and_above_nothing_and_not_beyond_counting(world: World, verb: str, points: Any) -> None:
    code = "accepted" if (verb, points) == ("adjust", -5) else "invalid_data"
    assert world.ask(verb, {**ASKED[verb], "points": points}) == code


@pytest.mark.parametrize("points", [81, 10**15])
@pytest.mark.parametrize("verb", [verb for verb in VERBS if "points" in ASKED[verb] and verb not in MAKING])
def test_no_more_than_there_is_and_no_more_than_is_counted(world: World, verb: str, points: int) -> None:
    code = {"capture": "over_capture", "reverse": "exceeds_command"}.get(verb, "insufficient_points")
    if verb == "credit":
        code = "accepted" if points == 81 else "too_many_points"
    data = {**ASKED[verb], "points": -points if verb == "adjust" else points}
    assert world.ask(verb, data) == code


@pytest.mark.parametrize("verb", VERBS)
def test_it_names_what_it_is_about_and_in_one_way(world: World, verb: str) -> None:
    named = NAMED.get(verb, ("customer_id", ""))[0]
    data = {name: value for name, value in ASKED[verb].items() if name != named}
    assert world.ask(verb, data) == "invalid_data"
    if verb not in MAKING and "card" in namings(verb):
        for name, value in (("card", "9801-0007"), ("phone", "+447400123456"), ("email", "eve@example.com")):
            assert world.ask(verb, {**ASKED[verb], name: value}) == "invalid_data"


@pytest.mark.parametrize("verb", VERBS)
def test_who_was_not_granted_it_may_not_send_it_and_nobody_from_the_future(verb: str) -> None:
    event = envelope(verb, ASKED[verb])
    [refused] = read_message(json.dumps(event).encode(), limits=TRUSTED._replace(is_trusted=False), now=NOW)
    assert isinstance(refused, UnreadableEvent)
    assert (refused.reason, refused.event_id) == (RejectionCode.NOT_ALLOWED, "asked")
    event["time"] = datetime(2026, 3, 9).astimezone().isoformat()
    [early] = read_message(json.dumps(event).encode(), limits=TRUSTED, now=NOW)
    assert isinstance(early, UnreadableEvent)
    assert early.reason is Reason.TIME_IN_FUTURE


@pytest.mark.parametrize(
    ("before", "verb", "data", "code"),
    [
        (["void"], "capture", {}, "authorization_closed"),
        (["void"], "void", {}, "authorization_closed"),
        (["capture"], "capture", {}, "authorization_closed"),
        (["capture"], "void", {}, "authorization_closed"),
        (["void"], "authorize", {"authorization_id": "cart"}, "authorization_exists"),
        ([], "authorize", {"expires_at": "2026-03-01T12:30:00Z"}, "wrong_deadline"),
        ([], "authorize", {"expires_at": "2026-06-01T12:00:00Z"}, "wrong_deadline"),
        (["reverse"], "reverse", {"command_id": "reverse"}, "not_reversible"),
        (["reverse"], "reverse", {"command_id": "spent"}, "already_reversed"),
        ([], "reward.issue", {"reward_id": "car"}, "unknown_reward"),
        ([], "reward.issue", {"issue_id": "coupon"}, "issue_exists"),
        (["reward.redeem"], "reward.redeem", {}, "issue_closed"),
        (["reward.redeem"], "reward.delete", {}, "issue_closed"),
        (["reward.delete"], "reward.redeem", {}, "issue_closed"),
        ([], "reverse", {"command_id": "issued"}, "not_reversible"),
        ([], "reverse", {"command_id": "reserved"}, "not_reversible"),
        (["capture"], "reverse", {"command_id": "capture"}, "not_reversible"),
        (["void"], "reverse", {"command_id": "void"}, "not_reversible"),
        ([], "reverse", {"command_id": "linked"}, "unknown_command"),
        ([], "reverse", {"command_id": "given", "points": 11}, "exceeds_command"),
        (["transfer"], "reverse", {"command_id": "transfer", "command_source": "/elsewhere"}, "unknown_command"),
        ([], "transfer", {"to_customer_id": "Ann"}, "same_account"),
        ([], "account.merge", {"customer_id": "Ann", "into_customer_id": "Bob"}, "authorizations_open"),
        ([], "account.merge", {"into_customer_id": "Bob"}, "same_account"),
        ([], "account.merge", {"customer_id": "Cid"}, "already_merged"),
        ([], "account.unmerge", {"customer_id": "Bob"}, "not_merged"),
        (["account.unmerge"], "account.unmerge", {}, "not_merged"),
        (["account.unmerge", "account.merge"], "account.merge", {}, "already_merged"),
        ([], "convert", {"to_program_id": "stars"}, "not_convertible"),
        ([], "account.create", {"customer_id": "Ann"}, "account_exists"),
        ([], "account.create", {"account_id": "own-1"}, "account_exists"),
        ([], "account.create", {"enrolled_at": "2026-03-01T12:00:01Z"}, "enrolment_in_future"),
        ([], "account.link", {"customer_id": "Bob", "card": "9801-0007"}, "reference_taken"),
        ([], "account.link", {"customer_id": "Bob", "card": None, "phone": "+447400123455"}, "reference_taken"),
        ([], "account.link", {"customer_id": "Bob", "card": None, "email": "Ann@example.com"}, "reference_taken"),
        ([], "account.link", {"phone": "+447400123455"}, "invalid_data"),
        ([], "account.link", {"card": None}, "invalid_data"),
        ([], "account.link", {"card": None, "phone": "07400 123455"}, "invalid_data"),
        ([], "account.unlink", {"card": None, "email": "ann"}, "invalid_data"),
        ([], "account.close", {"customer_id": "Ann"}, "authorizations_open"),
        ([], "customer.erase", {"customer_id": "Ann"}, "authorizations_open"),
        ([], "account.close", {"points_left": None}, "points_left"),
        ([], "credit", {"expires_at": "2026-03-01T12:00:00Z"}, "already_expired"),
    ],
)
def test_what_came_before_may_stand_against_it(
    world: World, before: list[str], verb: str, data: dict[str, Any], code: str
) -> None:
    for each in before:
        assert world.ask(each, ASKED[each] | ({"points": 20} if each == "capture" else {}), each) == "accepted"
    asked = {**ASKED[verb], **data}
    if verb == "reverse" and "points" not in data:
        del asked["points"]
    assert world.ask(verb, asked) == code


@pytest.mark.parametrize(
    ("undone", "words"),
    [("authorize", "void an authorization"), ("capture", "by a credit"), ("void", "send the command that is right")],
)
def test_what_is_not_reversed_is_undone_in_its_own_way(world: World, undone: str, words: str) -> None:
    world.ask(undone, ASKED[undone], "undone")
    refused = world.rejected("reverse", {"command_id": "undone"})
    assert refused is not None
    assert words in refused.advice
