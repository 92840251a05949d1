"""Erasing a customer: nothing names them afterwards, all numbers and proofs hold, and nothing brings them back."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine
from uuid6 import uuid7

from core.posting.batch import Poster
from core.receiving.executing import CommandAccepted, CommandRejected, CommandRequest, Executor
from core.store.engine import create_database_engine
from core.store.erasures import ErasureSaltError
from core.store.proof.chain import walk_chains
from tests.answers import answer, answers
from tests.conftest import OpenDatabase
from tests.factories import (
    PROGRAM_TEXT,
    amendment,
    cancellation,
    claim,
    command,
    fulfilment,
    goods_back,
    order,
    refund,
)
from tests.posting.erased_history import (
    ANN,
    CARD,
    EMAIL,
    KEY,
    KIM,
    LEE,
    MARKS,
    PAT,
    PHONE,
    SAM,
    WORDS,
    dump,
    erase,
    live,
    marked,
    marks_left,
    problems,
    shell_with_key,
    take,
)
from tests.shell import EVENT_SOURCE, LIMITS, Shell, tampered


class Erased:
    """A ledger with a whole life in it, and what it looked like before the customer was erased."""

    def __init__(self, engine: Engine) -> None:
        self.shell = shell_with_key(engine)
        self.sent = live(self.shell)
        self.problems_before = problems(self.shell)
        self.marks_before = marks_left(self.shell)
        self.heads = self.shell.rows("SELECT account_id, sequence, chain_hash FROM entries ORDER BY 1, 2")
        self.totals = self.shell.rows("SELECT kind, sum(points) FROM entries GROUP BY 1 ORDER BY 1")
        self.account_id = self.shell.value(
            f"SELECT account_id FROM members WHERE ({KIM!r}, 'test') = (customer_id, program_id)"
        )
        self.command = erase(self.shell)


@pytest.fixture(scope="module")
def erased(open_database: OpenDatabase) -> Iterator[Erased]:
    """Tests may add to it, and leave nothing in it that names the customer."""
    with open_database() as url:
        engine = create_database_engine(url)
        yield Erased(engine)
        engine.dispose()


def test_nothing_names_an_erased_customer(erased: Erased) -> None:
    """Every text, JSON and byte of every table is searched, those of events that are still to leave too."""
    found = {mark for marks in erased.marks_before.values() for mark in marks}
    assert found >= set(MARKS) - {"447400123456"}, "of the phone number a hash alone is kept, and the bytes that came"
    assert len(erased.marks_before) >= 12
    assert marks_left(erased.shell) == {}


def test_the_hashes_of_phone_and_address_are_gone_too(erased: Erased) -> None:
    left = erased.shell.rows("SELECT kind FROM account_references WHERE kind IN ('card', 'phone', 'email')")
    assert left == []


def test_all_numbers_and_proofs_hold(erased: Erased) -> None:
    shell = erased.shell
    assert (erased.problems_before, problems(shell)) == ([], [])
    known = "SELECT account_id, sequence, chain_hash FROM entries ORDER BY 1, 2"
    assert set(erased.heads) <= set(shell.rows(known)), "no hash of the chain has changed"
    assert shell.value("SELECT count(*) FROM erased_whys") > 20
    assert shell.value("SELECT count(*) FROM account_salts JOIN erased_accounts USING (account_id)") <= 2


def test_what_is_others_stays(erased: Erased) -> None:
    shell = erased.shell
    everything = "\n".join(dump(shell).values())
    assert all(other in everything for other in (LEE, PAT, SAM, ANN, "Pat's own words"))
    assert shell.rows("SELECT customer_id, role FROM account_members") == [(LEE, "member")]
    assert shell.value(f"SELECT balance FROM accounts WHERE customer_id = {PAT!r}") == 500 + 11 - 12
    assert shell.value(f"SELECT balance FROM accounts WHERE customer_id = {SAM!r}") == 505


def test_the_account_is_closed_and_its_points_are_given_up(erased: Erased) -> None:
    shell = erased.shell
    row = shell.rows(f"SELECT status, balance, customer_id FROM accounts WHERE account_id = '{erased.account_id}'")[0]
    assert (row.status, row.customer_id[:7]) == ("closed", "erased@")
    reasons = [event["data"]["reason"] for event in shell.events("loyalty.balance.changed")
               if event["data"]["kind"] == "debit" and event["data"]["customer_id"].startswith("erased@")]  # fmt: skip
    assert reasons.count("customer_erased") == 2


def test_consumers_learn_which_accounts_have_to_be_erased(erased: Erased) -> None:
    events = [event["data"] for event in erased.shell.events("loyalty.customer.erased")]
    assert [event["status"] for event in events] == ["closed", "closed", "active"]
    assert events[2]["customer_id"] == SAM
    assert [member["customer_id"] for member in events[2]["members"]] == [LEE]
    assert {event["command_id"] for event in events} == {"e1"}


def test_the_answer_counts_and_names_nobody(erased: Erased) -> None:
    told = answer(erased.shell, "e1")
    assert (told["type"], told["command"]) == ("accepted", "customer.erase")
    assert not told.keys() & {"account_id", "customer_id", "program_id"}
    assert {"accounts", "commands", "entries", "inbox", "orders", "outbox"} <= told["erased"].keys()


def test_the_same_messages_again_change_nothing_and_bring_nobody_back(erased: Erased) -> None:
    shell = erased.shell
    before = shell.rows("SELECT inbox_id, state, deliveries FROM inbox ORDER BY 1")
    entries = shell.value("SELECT count(*) FROM entries")
    for event in erased.sent:
        take(shell, [event])
    take(shell, erased.sent)
    after = shell.rows("SELECT inbox_id, state, deliveries FROM inbox ORDER BY 1")
    assert [row[:2] for row in before] == [row[:2] for row in after]
    assert all(now.deliveries == then.deliveries + 2 for then, now in zip(before, after, strict=True) if then != now)
    assert shell.value("SELECT count(*) FROM entries") == entries
    assert (marks_left(shell), problems(shell)) == ({}, [])


def test_the_same_command_again_has_the_same_answer_and_another_one_is_rejected(engine: Engine) -> None:
    shell = shell_with_key(engine)
    shell.take(order(customer_id=KIM))
    first = erase(shell)
    take(shell, [first])
    told = [event["data"] for event in answers(shell)]
    assert (len(told), told[0]) == (2, told[1])
    erase(shell, "e2")
    assert answer(shell, "e2")["code"] == "customer_erased"
    assert (marks_left(shell), problems(shell)) == ({}, [])


LATE: dict[str, tuple[list[dict[str, Any]], tuple[str, str | None]]] = {
    "a new order is a guest's": ([marked(order("new", customer_id=KIM, customer_tags=["vip-kim"]))], ("posted", None)),
    "and so is its amendment": (
        [order("new2", customer_id=KIM), amendment("new2", "5.00", customer_id=KIM)],
        ("posted", None),
    ),
    "a return takes nothing": ([marked(goods_back("late", customer_id=KIM))], ("posted", None)),
    "a claim comes to nothing": (
        [order("anyone", customer_id=None), claim("anyone", KIM, event_id="late-claim")],
        ("dead", "account_closed"),
    ),
    "an old order with other content": ([marked(order("k1", "61.00", customer_id=KIM))], ("dead", "event_conflict")),
    "also under a new id": (
        [marked(order("k1", "61.00", customer_id=KIM, event_id="other"))],
        ("dead", "order_conflict"),
    ),
    "the old order under a new id is a replay": ([], ("replayed", None)),
    "what cannot be read": ([marked(order("odd", customer_id=KIM, currency="EURO"))], ("dead", "invalid_data")),
    "a refund of an old order": ([marked(refund("r9", "k2", net="1.00"))], ("posted", None)),
    "one that cannot be read": ([marked(refund("r8", "k2", net="one"))], ("dead", "invalid_data")),
    **{
        f"{each['type']} is rejected": ([each], ("rejected", "customer_erased"))
        for each in (
            command("credit", "n1", customer_id=KIM, points=5, reason=WORDS),
            command("debit", "n2", customer_id=KIM, points=5),
            command("account.create", "n3", customer_id=KIM, account_id="new-1"),
            command("account.update", "n4", customer_id=PAT, members=[{"customer_id": KIM, "role": "viewer"}]),
            command("transfer", "n5", customer_id=PAT, to_customer_id=KIM, points=1),
            command("account.merge", "n6", customer_id=PAT, into_customer_id=KIM),
            command("account.link", "n7", customer_id=KIM, card="CARD-9"),
            command("reward.issue", "n8", customer_id=KIM, reward_id="mug"),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("what", LATE)
def test_what_comes_late_brings_nobody_back(erased: Erased, what: str) -> None:
    messages, outcome = LATE[what]
    shell = erased.shell
    messages = messages or [{**erased.sent[0], "id": "once more"}]
    opened, entries = shell.value("SELECT count(*) FROM accounts"), shell.value("SELECT count(*) FROM entries")
    for event in messages:
        take(shell, [event])
    assert shell.outcome(messages[-1]["id"]) == outcome
    take(shell, messages)
    assert shell.outcome(messages[-1]["id"]) == outcome
    is_report = messages[0]["id"] == "refunded-r9"
    assert shell.value("SELECT count(*) FROM accounts") == opened
    assert shell.value("SELECT count(*) FROM entries") == entries + is_report
    assert (marks_left(shell), problems(shell)) == ({}, [])


def test_a_new_order_is_recorded_without_whom_it_names(erased: Erased) -> None:
    shell = erased.shell
    take(shell, [order("alone", customer_id=KIM, attributes={"channel": "app"})])
    row = shell.rows("SELECT customer_id, account_id, attributes FROM orders WHERE order_id = 'alone'")[0]
    assert tuple(row) == (None, None, None)


def test_late_reports_of_old_orders_still_take_effect_on_the_nameless_account(engine: Engine) -> None:
    shell = shell_with_key(engine)
    shell.take(order("o1", "60.00", customer_id=KIM), order("o2", "40.00", customer_id=KIM))
    shell.receive(refund("r1", "o1", currency="USD", net="1.00"))
    shell.post()
    erase(shell)
    shell.take(
        refund("r2", "o1", net="10.00"), cancellation("o2"), fulfilment("o1"),
        amendment("o1", "55.00", customer_id=KIM), refund("r1", "o1", net="1.00", event_id="mended"),
    )  # fmt: skip
    states = [
        shell.outcome(each)[0] for each in ("refunded-r2", "cancelled-o2", "fulfilled-o1", "amended-o1-1", "mended")
    ]
    assert states == ["posted"] * 5
    assert shell.value("SELECT balance FROM accounts") == -(10 + 40 + 5 + 1)
    assert shell.outcome("refunded-r1") == ("dead", "wrong_currency"), "a parked report of an order names nobody"
    assert (marks_left(shell), problems(shell)) == ({}, [])


def test_messages_that_stand_behind_it_are_taken_without_the_customer(engine: Engine) -> None:
    """They came before the erasure, and are posted after it."""
    shell = shell_with_key(engine)
    shell.take(order("o1", customer_id=KIM))
    behind = [
        marked(order("o2", customer_id=KIM)),
        command("credit", "k1", customer_id=KIM, points=5, reason=WORDS),
        {**command("credit", "k2", points=7), "data": {"customer_id": KIM, "points": 7}},
    ]
    shell.limits = shell.limits._replace(is_trusted=True)
    shell.receive(command("customer.erase", "e1", customer_id=KIM, reason=WORDS), *behind)
    assert marks_left(shell)
    shell.post()
    assert marks_left(shell) == {}
    assert [shell.outcome(each) for each in ("completed-o2", "k1", "k2")] == [
        ("posted", None), ("rejected", "customer_erased"), ("rejected", "customer_erased"),
    ]  # fmt: skip
    shell.take(*behind)
    assert shell.value("SELECT count(*) FROM inbox") == 5
    assert (marks_left(shell), problems(shell)) == ({}, [])


def test_old_messages_are_known_when_the_inbox_has_forgotten_them(engine: Engine) -> None:
    shell = shell_with_key(engine)
    sent = live(shell)
    shell.execute(
        "DELETE FROM dead_letter_actions; DELETE FROM inbox WHERE state NOT IN ('waiting', 'received', 'dead')"
    )
    shell.execute("INSERT INTO retention VALUES ('inbox', now())")
    erase(shell)
    assert marks_left(shell) == {}
    entries = shell.value("SELECT count(*) FROM entries")
    take(shell, [each for each in sent if each["id"] != "c6"])
    assert shell.value("SELECT count(*) FROM entries") == entries
    assert marks_left(shell) == {}


def test_nobody_is_erased_of_whom_nothing_is_held(engine: Engine) -> None:
    """A slip of the pen must not make guests of all later orders of somebody else."""
    shell = shell_with_key(engine)
    shell.take(order("o1", customer_id=PAT))
    erase(shell)
    assert answer(shell, "e1")["code"] == "unknown_customer"
    shell.take(order("o2", customer_id=KIM))
    assert shell.balance(KIM) == 100
    assert problems(shell) == []


def test_open_authorizations_stand_in_the_way(engine: Engine) -> None:
    shell = shell_with_key(engine)
    shell.take(order("o1", customer_id=KIM))
    take(shell, [command("authorize", "h1", customer_id=KIM, points=10)])
    erase(shell)
    assert answer(shell, "e1")["code"] == "authorizations_open"
    assert shell.balance(KIM) == 90
    take(shell, [{**command("void", "h2"), "data": {"authorization_id": "h1"}}])
    erase(shell, "e2")
    assert (answer(shell, "e2")["points"], marks_left(shell), problems(shell)) == (100, {}, [])


def test_an_account_that_others_may_use_is_left_to_them(engine: Engine) -> None:
    shell = shell_with_key(engine)
    shell.take(order("o1", customer_id=KIM))
    take(shell, [command("account.update", "u1", customer_id=KIM, members=[{"customer_id": LEE, "role": "member"}])])
    shell.take(order("o2", "30.00", customer_id=LEE))
    erase(shell)
    row = shell.rows("SELECT status, balance, account_id FROM accounts")[0]
    assert row[:2] == ("active", 130)
    shell.take(order("o3", "20.00", customer_id=LEE))
    debit = {**command("debit", "d1"), "data": {"account_id": str(row[2]), "acting_customer_id": LEE, "points": 150}}
    take(shell, [debit])
    assert (answer(shell, "d1")["type"], shell.value("SELECT balance FROM accounts")) == ("accepted", 0)
    assert (marks_left(shell), problems(shell)) == ({}, [])


def test_whoever_was_merged_into_another_account_is_erased_there(engine: Engine) -> None:
    shell = shell_with_key(engine)
    shell.take(order("o1", customer_id=KIM), order("o2", "30.00", customer_id=PAT))
    take(shell, [command("account.merge", "m1", customer_id=KIM, into_customer_id=PAT)])
    erase(shell)
    assert (answer(shell, "e1")["points"], shell.balance(PAT)) == (0, 130)
    shell.take(refund("r1", "o1"))
    assert shell.balance(PAT) == 30
    assert (marks_left(shell), problems(shell)) == ({}, [])


def test_a_customer_without_an_account_is_erased_too(engine: Engine) -> None:
    shell = Shell(engine, program_text=PROGRAM_TEXT + "enrol: command\n")
    shell.take(marked(order("o1", customer_id=KIM)), marked(order("o2", customer_id=KIM, currency="EURO")))
    erase(shell)
    assert answer(shell, "e1")["type"] == "accepted"
    assert (marks_left(shell), shell.differences()) == ({}, [])
    assert shell.outcome("completed-o2") == ("dropped", "invalid_data")


def test_a_number_that_is_somebody_elses_now_can_be_linked_again(engine: Engine) -> None:
    shell = shell_with_key(engine)
    shell.take(order("o1", customer_id=KIM), order("o2", customer_id=PAT))
    take(shell, [command("account.link", f"l{number}", customer_id=KIM, **name)
                 for number, name in enumerate(({"card": CARD}, {"phone": PHONE}, {"email": EMAIL}))])  # fmt: skip
    erase(shell)
    take(shell, [command("account.link", f"n{number}", customer_id=PAT, **name)
                 for number, name in enumerate(({"card": CARD}, {"phone": PHONE}, {"email": EMAIL}))])  # fmt: skip
    shell.take(order("o3", "20.00", customer_id=None, phone=PHONE))
    assert shell.balance(PAT) == 120
    assert (marks_left(shell, (KIM,)), problems(shell)) == ({}, [])


@pytest.mark.parametrize("salt", [None, b"another secret than that of before"])
def test_nothing_is_received_without_the_secret_that_recognises_who_was_erased(
    engine: Engine, salt: bytes | None
) -> None:
    shell = shell_with_key(engine)
    shell.take(order("o1", customer_id=KIM))
    erase(shell)
    shell.limits = LIMITS._replace(reference_salt=salt)
    with pytest.raises(ErasureSaltError):
        shell.receive(order("o2", customer_id=KIM))
    assert marks_left(shell) == {}


def test_nobody_is_erased_without_the_secret(engine: Engine) -> None:
    shell = shell_with_key(engine)
    shell.take(order("o1", customer_id=KIM))
    shell.limits = LIMITS._replace(reference_salt=None, is_trusted=True)
    shell.receive(command("customer.erase", "e1", customer_id=KIM))
    assert shell.outcome("e1") == ("dead", "no_reference_salt")
    shell.limits = LIMITS._replace(is_trusted=True)
    shell.poster = Poster(engine, event_source=EVENT_SOURCE, new_account_id=uuid7, chain_key=KEY)
    shell.take(command("customer.erase", "e2", customer_id=KIM))
    assert (shell.outcome("e2"), shell.balance(KIM)) == (("rejected", "no_reference_salt"), 100)


def test_a_dry_run_counts_and_changes_nothing(engine: Engine) -> None:
    shell = shell_with_key(engine)
    live(shell)
    before = dump(shell)
    executor = Executor(engine, event_source=EVENT_SOURCE, shards=4, limits=LIMITS, new_id=uuid7, chain_key=KEY)
    request = CommandRequest("customer.erase", {"customer_id": KIM, "reason": WORDS}, command_id="e1")
    tried = executor.preview(request)
    assert dump(shell) == before
    done = executor.execute(request)
    assert isinstance(tried, CommandAccepted)
    assert isinstance(done, CommandAccepted)
    assert tried.data["erased"] == done.data["erased"]
    assert (executor.execute(request), marks_left(shell)) == (done._replace(is_repeated=True), {})
    late = CommandRequest("credit", {"customer_id": KIM, "points": 5})
    for refused in (executor.preview(late), executor.execute(late)):
        assert isinstance(refused, CommandRejected)
        assert refused.data["code"] == "customer_erased"
    assert (marks_left(shell), problems(shell)) == ({}, [])


TAMPERED = {
    "the explanation": "UPDATE entries SET why = '{}' WHERE sequence = 1",
    "its digest": "UPDATE erased_whys SET why_digest = 'x' WHERE sequence = 1",
    "an order's customer": "UPDATE orders SET customer_id = 'mallory'",
    "an order's lines": "UPDATE orders SET lines = '[]'",
    "the points": "UPDATE entries SET points = points + 1 WHERE sequence = 1",
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_is_changed_of_an_erased_customer_is_seen(erased: Erased, what: str) -> None:
    with tampered(erased.shell, TAMPERED[what]) as connection:
        broken = [each.text for step in walk_chains(connection, (KEY,)) for each in step.differences]
        assert broken
