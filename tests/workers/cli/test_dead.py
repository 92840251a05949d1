"""`loyalty dead`: what an operator sees of parked messages and does about them."""

import pytest

from core.domain.outcomes import Reason
from core.messages.reasons import MENDS
from tests.factories import PROGRAM_TEXT, order, refund
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


def test_no_dead_letters_is_nothing_to_worry_about(loyalty: CommandLine) -> None:
    assert loyalty("dead", "list") == (0, "No dead letters.\n", "")
    assert loyalty("dead", "list", "--waiting") == (0, "No refunds wait for their orders.\n", "")
    assert loyalty("dead", "retry", "--all") == (0, "No dead letters to retry.\n", "")


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
    assert "Its 3 bytes, which are no text, in hexadecimal:\n    ff 00 01" in text
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
    [action] = shown["actions"]
    assert (action["action"], action["reason"]) == ("retried", "unknown_program")
    again = loyalty("dead", "retry", inbox_id)
    assert again == (1, f"Message {inbox_id} is no dead letter: it is posted.\n", "")
    assert shell.differences() == []


def test_what_still_cannot_be_read_stays_dead_and_says_so(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(b"{", order("o1", program_id="nope"))
    retried = loyalty("dead", "retry", "--all", "--json")
    assert retried.code == 1
    assert [(result["state"], result["is_mended"]) for result in retried.json] == [("dead", False), ("received", True)]
    assert "stays dead (not_json)" in retried.json[0]["text"]


@pytest.mark.parametrize("arguments", [[], ["1", "--all"], ["--all", "--reason", "not_json"]])
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
    assert [(action["action"], action["detail"]) for action in shown["actions"]] == [("dropped", "a test of the shop")]
    assert loyalty("dead", "list").out == "No dead letters.\n"
    assert loyalty("dead", "retry", message["inbox_id"]).code == 1, "dropped is for good"
