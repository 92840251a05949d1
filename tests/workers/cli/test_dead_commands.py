"""`loyalty dead`: what an operator sees of parked messages and does about them."""

import json
from getpass import getuser
from pathlib import Path

import pytest

from core.domain.outcomes import Reason
from core.messages.reasons import MENDS
from tests.factories import PROGRAM_TEXT, order, refund, task_of
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

OTHER_PROGRAM = PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace(
    'sources: ["/shops/test"]', "sources: []"
)


def number(shell: Shell, event_id: str) -> int:
    found: int = shell.value("SELECT inbox_id FROM inbox WHERE event_id = :event_id", event_id=event_id)
    return found


def test_dead_letters_are_listed_newest_first_with_what_is_wrong(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(b"{", order("o1", program_id="nope"), order("o2"))
    document = loyalty("dead", "list", "--json").json
    assert [message["reason"] for message in document["messages"]] == ["unknown_program", "not_json"]
    assert document["by_reason"] == {"not_json": 1, "unknown_program": 1}
    text = loyalty("dead", "list").out
    assert "names a program that is not here; programs here: test" in text
    assert "2 in all" in text


def test_the_list_is_narrowed_by_reason_and_limit(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(b"{", b"[", b"}", order("o1", program_id="nope"))
    document = loyalty("dead", "list", "--reason", "unknown_program", "--json").json
    assert (document["count"], len(document["messages"])) == (1, 1)
    assert "2 of 4; --limit shows more" in loyalty("dead", "list", "--limit", 2).out
    assert loyalty("dead", "list", "--reason", "nonsense").code == 2


FILTERS = [
    (["--reason", "not_json"], [1]),
    (["--source", "/shops/two"], [3, 5]),
    (["--type", "order.refunded"], [4]),
    (["--order", "o4"], [4]),
    (["--order", "o5"], [5]),
    (["--text", "AMOUNT is missing"], [5]),
    (["--since", "2026-02-02T00:00:00Z", "--until", "2026-02-04T00:00:00+00:00"], [2, 3]),
    (["--until", "2026-02-02T01:00:00+01:00"], [1]),
    (["--source", "/shops/two", "--reason", "invalid_data"], [5]),
    (["--state", "dropped"], [6]),
    (["--state", "all"], [1, 2, 3, 4, 5, 6]),
    (["--state", "all", "--reason", "not_json"], [1, 6]),
    (["--order", "o"], []),
]


@pytest.fixture
def six_letters(loyalty: CommandLine, shell: Shell) -> None:
    no_amount = order("o5", source="/shops/two")
    del no_amount["data"]["lines"][0]["amount"]
    shell.take(b"{", order("o2", program_id="nope"), order("o3", program_id="nope", source="/shops/two"))
    shell.take(refund("r4", "o4", program_id="nope"), no_amount, b"[", order("o7"))
    shell.execute(
        "UPDATE inbox SET state = 'dead', settled = NULL, reason = 'order_never_came', detail = '', settled_at = now()"
        " WHERE subject = 'order o4'"
    )
    sixth = shell.value("SELECT inbox_id FROM inbox WHERE body = :body", body=b"[")
    loyalty("dead", "drop", sixth, "--reason", "a test")
    for day, found in enumerate(shell.rows("SELECT inbox_id FROM inbox WHERE state <> 'posted' ORDER BY inbox_id"), 1):
        shell.execute(f"UPDATE inbox SET received_at = '2026-02-0{day} UTC' WHERE inbox_id = :n", n=found.inbox_id)


def test_the_list_is_narrowed_by_every_option(loyalty: CommandLine, shell: Shell, six_letters: None) -> None:
    days = {row.inbox_id: row.received_at.day for row in shell.rows("SELECT inbox_id, received_at FROM inbox")}
    found = []
    for options, _ in FILTERS:
        document = loyalty("dead", "list", *options, "--json").json
        assert document["count"] == len(document["messages"])
        found.append((options, sorted(days[message["inbox_id"]] for message in document["messages"])))
    assert found == FILTERS


def test_all_that_fit_are_retried_or_dropped_and_dropping_wants_a_yes(
    loyalty: CommandLine, shell: Shell, six_letters: None
) -> None:
    shell.apply_program(OTHER_PROGRAM.replace("program_id: other", "program_id: nope"))
    retried = loyalty("dead", "retry", "--source", "/shops/two", "--reason", "unknown_program", "--json")
    assert (retried.code, [result["state"] for result in retried.json]) == (0, ["received"])
    asked = loyalty("dead", "drop", "--source", "/shops/two", "--reason", "the shop is closed")
    assert asked == (2, "", asked.err)
    assert "1 dead letter would be dropped for good" in asked.err
    dropped = loyalty("dead", "drop", "--source", "/shops/two", "--reason", "the shop is closed", "--yes")
    assert (dropped.code, dropped.out.count("is dropped")) == (0, 1)
    assert loyalty("dead", "list", "--source", "/shops/two").out == "No dead letters.\n"
    assert loyalty("dead", "drop", "--parked-as", "not_json", "1", "--reason", "x", "--yes").code == 2
    assert loyalty("dead", "drop", "--reason", "x", "--yes").code == 2
    assert loyalty("dead", "list", "--since", "yesterday").code == 2


def test_many_are_counted_first_and_only_what_failed_is_printed(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(*(order(f"o{n}", program_id="other", customer_id=f"c{n}") for n in range(60)), b"{")
    shell.apply_program(OTHER_PROGRAM)
    retried = loyalty("dead", "retry", "--all")
    assert (retried.code, retried.err) == (1, "loyalty: 61 dead letters fit\n")
    assert len(retried.out.splitlines()) == 2
    assert "60 of 61 messages done, 1 not." in retried.out


def test_a_letter_is_fixed_with_a_mended_file_which_says_what_was_changed(
    loyalty: CommandLine, shell: Shell, tmp_path: Path
) -> None:
    event = order("o1")
    event["data"]["lines"][0] |= {"amount": 12.50, "note": "x"}
    shell.take(json.dumps(event).encode())
    [message] = loyalty("dead", "list", "--json").json["messages"]
    file = tmp_path / "mended.json"
    file.write_text(loyalty("dead", "show", message["inbox_id"], "--json").json["body_text"])
    refused = loyalty("dead", "fix", message["inbox_id"], file)
    assert (refused.code, "retry this one as it is" in refused.out) == (1, True)
    event["data"]["lines"][0] = {**event["data"]["lines"][0], "amount": "12.50", "kind": "product"}
    del event["data"]["lines"][0]["note"]
    file.write_text(json.dumps(event))
    fixed = loyalty("dead", "fix", message["inbox_id"], file)
    assert fixed.code == 0
    assert 'data.lines[0].amount: 12.5 is now "12.50"' in fixed.out
    assert 'data.lines[0].note: "x" is now nothing' in fixed.out
    assert 'data.lines[0].kind: nothing is now "product"' in fixed.out
    assert shell.post() == {"posted": 1}
    shown = loyalty("dead", "show", message["inbox_id"]).out
    assert f"replaced by {getuser()} (it was parked as invalid_data)" in shown
    assert "parked as invalid_data" in shown
    assert loyalty("dead", "fix", message["inbox_id"], file).code == 1
    file.write_text(" ")
    assert loyalty("dead", "fix", message["inbox_id"], file).code == 2


def test_no_dead_letters_is_nothing_to_worry_about(loyalty: CommandLine) -> None:
    assert loyalty("dead", "list") == (0, "No dead letters.\n", "")
    assert loyalty("dead", "list", "--waiting") == (0, "No messages wait for their orders.\n", "")
    assert loyalty("dead", "retry", "--all") == (0, "No dead letters fit.\n", "")


def test_waiting_refunds_are_listed_with_their_age(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(refund("r1", "o-late"))
    shell.execute("UPDATE inbox SET received_at = now() - interval '2 days'")
    [message] = loyalty("dead", "list", "--waiting", "--json").json["messages"]
    assert (message["order_id"], message["age_seconds"] // 86_400) == ("o-late", 2)
    assert "2 d 0 h" in loyalty("dead", "list", "--waiting").out
    assert loyalty("dead", "list", "--waiting", "--reason", "not_json").code == 2


def test_a_letter_is_shown_with_its_reason_what_mends_it_and_its_bytes(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", program_id="nope"))
    shell.take(order("o1", program_id="nope"))
    text = loyalty("dead", "show", number(shell, "completed-o1")).out
    assert MENDS[Reason.UNKNOWN_PROGRAM] in text
    assert "2 deliveries" in text
    assert '"program_id": "nope"' in text


def test_bytes_that_are_no_text_are_shown_in_hexadecimal(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(b"\xff\x00\x01")
    [message] = loyalty("dead", "list", "--json").json["messages"]
    text = loyalty("dead", "show", message["inbox_id"]).out
    assert "Its 3 bytes, which are not text, in hexadecimal:\n    ff 00 01" in text
    document = loyalty("dead", "show", message["inbox_id"], "--json").json
    assert (document["body_text"], document["body_hex"], document["body_bytes"]) == (None, "ff0001", 3)


def test_bytes_of_a_sender_cannot_command_the_terminal(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(b"\x1b[2J{")
    [message] = loyalty("dead", "list", "--json").json["messages"]
    assert "\\x1b[2J{" in loyalty("dead", "show", message["inbox_id"]).out


def test_a_number_that_does_not_exist_is_a_problem(loyalty: CommandLine) -> None:
    assert loyalty("dead", "show", 7).code == 1
    assert loyalty("dead", "retry", 7).code == 1
    assert loyalty("dead", "drop", 7, "--reason", "no such thing").code == 1
    assert loyalty("dead", "show", 2**63).code == 2


def test_what_was_mended_is_retried_and_posted(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", program_id="other"), b"{")
    shell.apply_program(OTHER_PROGRAM)
    retried = loyalty("dead", "retry", "--reason", "unknown_program")
    assert (retried.code, "is in the inbox again, to be posted" in retried.out) == (0, True)
    assert shell.post() == {"posted": 1}
    inbox_id = number(shell, "completed-o1")
    shown = loyalty("dead", "show", inbox_id, "--json").json
    assert (shown["state"], shown["reason"], shown["mend"]) == ("posted", None, None)
    steps = [(step["action"], step["reason"]) for step in shown["history"]]
    assert steps == [("parked", "unknown_program"), ("retried", "unknown_program")]
    again = loyalty("dead", "retry", inbox_id)
    assert again == (1, f"Message {inbox_id} is not a dead letter: it is posted.\n", "")
    assert shell.differences() == []


def test_what_still_cannot_be_read_stays_dead_and_says_so(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(b"{", order("o1", program_id="nope"))
    retried = loyalty("dead", "retry", "--all", "--json")
    assert retried.code == 1
    assert [(result["state"], result["is_mended"]) for result in retried.json] == [("dead", False), ("received", True)]
    assert "stays dead (not_json)" in retried.json[0]["text"]


@pytest.mark.parametrize(
    "arguments", [[], ["1", "--all"], ["--all", "--reason", "not_json"], ["1", "--source", "/shops/test"]]
)
def test_retry_wants_exactly_one_way_to_choose(loyalty: CommandLine, arguments: list[str]) -> None:
    printed = loyalty("dead", "retry", *arguments)
    assert printed.code == 2
    assert "one of the three" in printed.err


def test_a_dropped_letter_keeps_its_bytes_its_reason_and_why(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(b"{")
    [message] = loyalty("dead", "list", "--json").json["messages"]
    assert loyalty("dead", "drop", message["inbox_id"], "--reason", " ").code == 2
    assert loyalty("dead", "drop", message["inbox_id"]).code == 2
    assert loyalty("dead", "drop", message["inbox_id"], "--reason", "a test of the shop").code == 0
    shown = loyalty("dead", "show", message["inbox_id"], "--json").json
    assert (shown["state"], shown["reason"], shown["body_text"]) == ("dropped", "not_json", "{")
    assert (shown["history"][-1]["action"], shown["history"][-1]["detail"]) == ("dropped", "a test of the shop")
    assert loyalty("dead", "list").out == "No dead letters.\n"
    assert loyalty("dead", "retry", message["inbox_id"]).code == 1, "dropped is for good"


def test_of_a_celery_message_the_body_of_its_task_is_shown_too(loyalty: CommandLine, shell: Shell) -> None:
    shell.receive(task_of(order("o1"), task="shop.export"))
    [letter] = loyalty("dead", "list", "--json").json["messages"]
    text = loyalty("dead", "show", letter["inbox_id"]).out
    assert "it is the task shop.export; what may be sent here is the task loyalty.submit only" in text
    assert 'The body of the task in it:\n[[{"specversion"' in text
    assert "stays dead (unusable_task)" in loyalty("dead", "retry", letter["inbox_id"]).out
    assert shell.outcomes() == {("dead", "unusable_task"): 1}
