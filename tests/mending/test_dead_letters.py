"""Retrying dead letters: whatever kept a message out, taking it in again ends where its first coming would have."""

import threading
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import Engine

from core.mending.dead_letters import MendOutcome, RetryLimits, drop_letters, letters_that_fit, retry_letters
from core.mending.letters import Action, LetterFilter, first_message, load_actions, load_letter
from core.messages.inbound.reading import HEAD_BYTES, CutMessage
from core.receiving.receive import receive, receive_in_parts
from tests.factories import PROGRAM_TEXT, as_bytes, cancellation, order, refund
from tests.shell import EVENT_SOURCE, LIMITS, Shell

RETRY = RetryLimits(LIMITS, shards=4, event_source=EVENT_SOURCE, waiting_days_max=30)
SMALL = LIMITS._replace(message_bytes_max=1000, array_events_max=2)
PATIENT = RETRY._replace(messages=LIMITS._replace(clock_skew_seconds_max=10 * 86_400))
_TIME = "SELECT convert_from(body, 'UTF8')::json ->> 'time' FROM inbox WHERE inbox_id = :inbox_id"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def tomorrow(days: int = 5) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def parked(shell: Shell) -> list[int]:
    return [row.inbox_id for row in shell.rows("SELECT inbox_id FROM inbox WHERE state = 'dead' ORDER BY inbox_id")]


def retry(shell: Shell, inbox_id: int, limits: RetryLimits = RETRY) -> MendOutcome:
    (mended,) = retry_letters(shell.engine, [inbox_id], limits, "kim")
    return mended


def drop(shell: Shell, inbox_id: int, why: str) -> MendOutcome:
    (mended,) = drop_letters(shell.engine, [inbox_id], why, "kim")
    return mended


def test_an_event_from_the_future_is_posted_once_its_time_has_come(shell: Shell) -> None:
    shell.take(order("o1", time=tomorrow()))
    [inbox_id] = parked(shell)
    assert retry(shell, inbox_id).state == "dead"
    mended = retry(shell, inbox_id, PATIENT)
    assert (mended.state, mended.is_mended, len(mended.shards)) == ("received", True, 1)
    assert shell.post() == {"posted": 1}
    assert shell.outcome("completed-o1") == ("posted", None)
    assert shell.take(order("o1", time="2026-01-01T00:00:00Z")) == {}, "the retried row holds source and id now"
    assert shell.outcome("completed-o1") == ("dead", "event_conflict")


def test_a_retried_event_that_came_again_meanwhile_is_a_replay_of_it(shell: Shell) -> None:
    event = order("o1", time=tomorrow())
    shell.take(event)
    [inbox_id] = parked(shell)
    receive_with(shell, PATIENT, event)
    shell.post()
    mended = retry(shell, inbox_id, PATIENT)
    assert (mended.state, mended.is_mended) == ("replayed", True)
    assert shell.value("SELECT count(*) FROM entries") == 1
    assert shell.differences() == []


def test_a_retried_event_whose_id_another_content_has_stays_dead_as_a_conflict(shell: Shell) -> None:
    shell.take(order("o1", time=tomorrow()))
    [inbox_id] = parked(shell)
    shell.take(order("o1", "50.00"))
    mended = retry(shell, inbox_id, PATIENT)
    assert (mended.state, mended.is_mended) == ("dead", False)
    assert shell.rows("SELECT state, reason FROM inbox WHERE inbox_id = :id", id=inbox_id) == [
        ("dead", "event_conflict")
    ]


def test_a_cancellation_that_came_too_early_waits_for_its_order_after_its_retry(shell: Shell) -> None:
    shell.take(cancellation("o1", time=tomorrow()))
    [inbox_id] = parked(shell)
    assert retry(shell, inbox_id, PATIENT).state == "waiting"
    shell.execute(
        "UPDATE inbox SET state = 'dead', settled = NULL, reason = 'order_never_came', detail = 'x',"
        " settled_at = now(), received_at = now() - interval '31 days'"
    )
    mended = retry(shell, inbox_id, PATIENT)
    assert (mended.state, "send the order and retry, or drop this message" in mended.text) == ("dead", True)


def test_a_conflict_stays_dead_however_often_it_is_retried(shell: Shell) -> None:
    shell.take(order("o1", "10.00"))
    shell.take(order("o1", "20.00"))
    [inbox_id] = parked(shell)
    for _ in range(2):
        assert retry(shell, inbox_id).state == "dead"
    assert shell.balance() == 10


def test_the_same_event_that_comes_in_the_moment_of_its_retry_is_judged_against_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = order("o1", time=tomorrow())
    shell.take(event)
    [inbox_id] = parked(shell)
    found = first_message

    def first_message_just_before_it_comes(*arguments: Any) -> Any:
        answer = found(*arguments)
        monkeypatch.undo()
        receive_with(shell, PATIENT, event)
        return answer

    monkeypatch.setattr("core.mending.dead_letters.first_message", first_message_just_before_it_comes)
    assert retry(shell, inbox_id, PATIENT).state == "replayed"
    assert shell.post() == {"posted": 1}


@pytest.mark.parametrize("signature", [None, "k=" + "0" * 64])
def test_a_message_of_which_only_the_head_is_kept_stays_dead_though_the_head_could_be_read(
    shell: Shell, signature: str | None
) -> None:
    whole = as_bytes(order("o1")).ljust(HEAD_BYTES) + b"and more"
    cut = CutMessage(whole[:HEAD_BYTES], len(whole), sha256(whole).digest())
    list(
        receive_in_parts(
            shell.engine, [cut], limits=LIMITS, shards=4, event_source=EVENT_SOURCE, signatures=[signature]
        )
    )
    [inbox_id] = parked(shell)
    mended = retry(shell, inbox_id)
    assert (mended.state, mended.is_mended) == ("dead", False)
    assert "only the first 65536 are kept" in mended.text


def test_an_array_that_was_too_large_becomes_one_message_per_event(shell: Shell) -> None:
    events = [order("o1"), order("o2"), refund("r1", "o1"), {"type": "order.shipped"}]
    receive_with(shell, RETRY._replace(messages=SMALL), events)
    [inbox_id] = parked(shell)
    assert "stays dead (too_large)" in retry(shell, inbox_id, RETRY._replace(messages=SMALL)).text
    mended = retry(shell, inbox_id)
    assert mended.state == "dropped"
    assert mended.is_mended is False, "one of its events needs a person"
    assert "3 received, 0 waiting, 0 replayed, 1 parked" in mended.text
    assert shell.post() == {"posted": 3}
    assert retry(shell, inbox_id).text == "is not a dead letter: it is dropped"
    assert shell.differences() == []


def test_an_array_of_one_event_is_cut_too(shell: Shell) -> None:
    receive_with(shell, RETRY._replace(messages=SMALL._replace(message_bytes_max=10)), [order("o1")])
    [inbox_id] = parked(shell)
    assert "its events are message" in retry(shell, inbox_id).text
    assert shell.post() == {"posted": 1}


def test_a_refund_whose_order_never_came_is_posted_when_it_did(shell: Shell) -> None:
    shell.take(refund("r1", "o1"))
    shell.execute("UPDATE inbox SET received_at = now() - interval '31 days'")
    shell.sweep()
    [inbox_id] = parked(shell)
    mended = retry(shell, inbox_id)
    assert (mended.state, mended.is_mended) == ("dead", False), "it would be parked again at once"
    shell.take(order("o1"))
    assert retry(shell, inbox_id).state == "received"
    assert shell.post() == {"posted": 1}
    assert shell.balance() == 0


def test_a_young_refund_goes_back_to_waiting_when_its_order_is_unknown(shell: Shell) -> None:
    shell.take(refund("r1", "o1", program_id="nope", full=True))
    shell.sweep()
    shell.take(order("o0"))
    # Its program is unknown, but posting only finds that out once it has an order to look for.
    shell.execute(
        "UPDATE inbox SET state = 'dead', settled = NULL, reason = 'posting_failed', detail = '', settled_at = now()"
        " WHERE subject = 'order o1'"
    )
    [inbox_id] = parked(shell)
    mended = retry(shell, inbox_id)
    assert (mended.state, mended.shards) == ("waiting", frozenset())


def test_a_refund_follows_its_order_that_is_retried_with_it(shell: Shell) -> None:
    shell.take(order("o1", program_id="later"), refund("r1", "o1", program_id="later", full=True))
    shell.apply_program(later_program())
    for inbox_id in parked(shell):
        retry(shell, inbox_id)
    shell.post()
    assert shell.outcome("completed-o1") == ("posted", None)
    assert shell.outcome("refunded-r1") == ("posted", None)
    assert shell.balance("c1", "later") == 0


def test_a_message_that_is_parked_again_is_told_of_again(shell: Shell) -> None:
    shell.take(order("o1", program_id="nope"))
    [inbox_id] = parked(shell)
    retry(shell, inbox_id)
    assert shell.post() == {"parked": 1}
    ids = [event["id"] for event in shell.events("loyalty.message.parked")]
    assert ids == [f"parked:{inbox_id}", f"parked:{inbox_id}:2"]


def test_every_action_is_kept_with_the_reason_of_its_time(shell: Shell) -> None:
    shell.take(b"{")
    [inbox_id] = parked(shell)
    retry(shell, inbox_id)
    drop(shell, inbox_id, "a test")
    assert drop(shell, inbox_id, "again").is_mended is False
    actions = history(shell, inbox_id)
    assert [step[:2] for step in actions] == [("parked", "not_json"), ("retried", "not_json"), ("dropped", "not_json")]
    assert actions[2].detail == "a test"


def test_every_parking_is_kept_with_its_time_though_the_row_has_the_last_one_only(shell: Shell) -> None:
    shell.take(order("o1", program_id="later"))
    [inbox_id] = parked(shell)
    before = history(shell, inbox_id)
    assert [step[:2] for step in before] == [("parked", "unknown_program")]
    shell.apply_program(later_program().replace("currency: EUR", "currency: USD"))
    retry(shell, inbox_id)
    shell.post()
    steps = history(shell, inbox_id)
    assert [step[:2] for step in steps] == [
        ("parked", "unknown_program"),
        ("retried", "unknown_program"),
        ("parked", "wrong_currency"),
    ]
    assert steps[0] == before[0]
    assert [step.acted_at for step in steps] == sorted(step.acted_at for step in steps)
    drop(shell, inbox_id, "a test")
    assert history(shell, inbox_id)[:3] == steps


def test_two_people_who_retry_the_same_letter_retry_it_once(shell: Shell) -> None:
    shell.take(order("o1", program_id="nope"))
    [inbox_id] = parked(shell)
    results: list[MendOutcome] = []
    both = [threading.Thread(target=lambda: results.append(retry(shell, inbox_id))) for _ in range(2)]
    for person in both:
        person.start()
    for person in both:
        person.join()
    assert sorted(result.is_mended for result in results) == [False, True]
    assert shell.value("SELECT count(*) FROM dead_letter_actions WHERE action = 'retried'") == 1


def test_many_letters_are_retried_in_bounded_transactions_each_once(shell: Shell) -> None:
    shell.take(*(order(f"o{n}", program_id="later", customer_id=f"c{n}") for n in range(250)), b"{")
    shell.apply_program(later_program())
    chosen = LetterFilter(reason="unknown_program")
    groups = []
    for group in letters_that_fit(shell.engine, chosen):
        groups.append(len(group))
        assert all(mended.is_mended for mended in retry_letters(shell.engine, group, RETRY, "kim"))
    assert groups == [100, 100, 50]
    transactions = {row.xmin for row in shell.rows("SELECT DISTINCT xmin::text FROM inbox WHERE state = 'received'")}
    assert len(transactions) == 3
    assert shell.post() == {"posted": 250}
    assert shell.differences() == []


def test_letters_that_are_parked_again_while_all_are_retried_are_not_met_twice(shell: Shell) -> None:
    shell.take(*(order(f"o{n}", program_id="nope") for n in range(120)))
    met: list[int] = []
    for group in letters_that_fit(shell.engine, LetterFilter()):
        met += group
        assert all(mended.is_mended for mended in retry_letters(shell.engine, group, RETRY, "kim"))
        shell.post()
        shell.take(order(f"new-{len(met)}", program_id="nope"))
    assert len(met) == len(set(met)) == 120
    assert len(parked(shell)) == 122


def test_a_letter_that_the_database_refuses_is_left_and_holds_no_other_up(own_engine: Engine) -> None:
    shell = Shell(own_engine)
    shell.take(*(order(f"o{n}", program_id="later") for n in range(3)))
    shell.execute("ALTER TABLE inbox ADD CHECK (subject <> 'order o1' OR state <> 'received')")
    shell.apply_program(later_program())
    mended = list(retry_letters(own_engine, parked(shell), RETRY, "kim"))
    assert [(result.state, result.is_mended) for result in mended] == [
        ("received", True),
        ("dead", False),
        ("received", True),
    ]
    assert "CheckViolation" in mended[1].text
    assert shell.outcome("completed-o1") == ("dead", "unknown_program")


def test_a_number_that_does_not_exist_is_nothing_to_mend(shell: Shell) -> None:
    assert retry(shell, 1).state is None
    assert drop(shell, 1, "why").state is None


def history(shell: Shell, inbox_id: int) -> list[Action]:
    with shell.engine.begin() as connection:
        found = load_letter(connection, inbox_id)
        assert found is not None
        return load_actions(connection, found[0])


def receive_with(shell: Shell, limits: RetryLimits, message: Any) -> None:
    with shell.engine.begin() as connection:
        receive(connection, [as_bytes(message)], limits=limits.messages, shards=shell.shards, event_source=EVENT_SOURCE)


def later_program() -> str:
    return PROGRAM_TEXT.replace("program_id: test", "program_id: later").replace('["/shops/test"]', "[]")
