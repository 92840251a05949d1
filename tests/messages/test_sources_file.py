"""The file of sources: what it means, and of a wrong one where, what and what is allowed, without showing a secret."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.domain.value.verbs import Verb
from core.errors import SourcesFileError
from core.messages.inbound.sources import CommandGrant, SourceKey
from core.messages.inbound.sources_file import load_sources

SECRET = "correct-horse-battery-staple-32+"
FILE = """
unlisted: park
sources:
  - source: /shops/high-street
    keys:
      - {key_id: "2026-11", secret_file: new-secret}
      - {key_id: "2026-05", secret_variable: HIGH_STREET_SECRET, until: 2026-12-01T00:00:00+01:00}
  - source: /shops/market
  - source: /services/support
    commands:
      - command: credit
        points_per_command_max: 500
        points_per_day_max: 10000
      - {command: account.freeze}
"""
ENVIRONMENT = {"HIGH_STREET_SECRET": SECRET}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "new-secret").write_text(SECRET[::-1] + "\n")
    (tmp_path / "short-secret").write_text("only-16-letters!\n")
    (tmp_path / "long-secret").write_bytes(b"x" * 10_000)
    (tmp_path / "sources.yaml").write_text(FILE)
    return tmp_path / "sources.yaml"


def refused(path: Path, text: str, environment: dict[str, str] = ENVIRONMENT) -> str:
    path.write_text(text)
    with pytest.raises(SourcesFileError) as raised:
        load_sources(path, environment)
    return str(raised.value)


def test_a_file_names_its_sources_their_keys_and_where_the_secrets_are(path: Path) -> None:
    sources = load_sources(path, ENVIRONMENT)
    assert sources.parks_unlisted
    assert sources.keys == {
        "/shops/high-street": [
            SourceKey("2026-11", SECRET[::-1].encode()),
            SourceKey("2026-05", SECRET.encode(), datetime(2026, 11, 30, 23, tzinfo=UTC)),
        ],
        "/shops/market": [],
        "/services/support": [],
    }


def test_a_file_says_which_commands_a_source_may_send_and_for_how_many_points(path: Path) -> None:
    sources = load_sources(path, ENVIRONMENT)
    assert sources.command_grant("/services/support", Verb.CREDIT) == CommandGrant(500, 10_000)
    assert sources.command_grant("/services/support", Verb.ACCOUNT_FREEZE) == CommandGrant()
    assert sources.command_grant("/services/support", Verb.DEBIT) is None


@pytest.mark.parametrize("verb", Verb)
def test_a_source_may_command_nothing_unless_the_file_says_so(path: Path, verb: Verb) -> None:
    sources = load_sources(path, ENVIRONMENT)
    assert sources.command_grant("/shops/high-street", verb) is None
    assert sources.command_grant("/shops/nobody", verb) is None


@pytest.mark.parametrize("verb", Verb)
def test_every_command_can_be_granted(path: Path, verb: Verb) -> None:
    path.write_text(f"sources: [{{source: /a, commands: [{{command: {verb}}}]}}]")
    assert load_sources(path, {}).command_grant("/a", verb) == CommandGrant()


def test_unlisted_sources_may_send_unless_the_file_says_otherwise(path: Path) -> None:
    path.write_text("sources: [{source: /shops/market}]")
    assert not load_sources(path, {}).parks_unlisted


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("park", "drop", 'line 2: unlisted is the text "drop"; write accept, or park'),
        ("unlisted", "unlisteds", "line 2: unlisteds is not a field here; did you mean unlisted?"),
        ("sources:", "shops:", "sources is missing; write a list of 1 to 1,000 sources"),
        ("- source: /shops/market", "- /shops/market", "line 8: sources[1] is a text of 13 characters; write a source"),
        ("/shops/market", "", "line 8: sources[1].source is empty; write the source of the messages"),
        ("/shops/market", "/shops/high-street", "line 8: sources[1].source is listed before; put all its keys there"),
        ('"2026-05"', '"2026-11"', "sources[0].keys[1].key_id names another key of this source too"),
        ('"2026-05"', '"may 2026"', "sources[0].keys[1].key_id is a text of 8 characters; write 1 to 64 of"),
        ('"2026-05"', "2026-05-01", "sources[0].keys[1].key_id is a date, or a time without its offset"),
        ('"2026-05"', "202605", "sources[0].keys[1].key_id is a number"),
        ("+01:00", "", "line 7: sources[0].keys[1].until is a date, or a time without its offset; write a date and"),
        ("2026-12-01T00:00:00+01:00", "2026-13-01", "sources[0].keys[1].until cannot be read; quote it if it is text"),
        (", secret_file: new-secret", "", "sources[0].keys[0] needs one of secret_file and secret_variable"),
        ("secret_file: new", "secret_variable: A, secret_file: new", "needs one of secret_file and secret_variable"),
        ("secret_file: new-secret", "secret_file: [1]", "secret_file is a list of length 1; write the path"),
        ("until: 2026-12-01T00:00:00+01:00", "key_id: again", "keys[1].key_id stands twice, first in line 7"),
        ("- source: /shops/market", "- *other", "it is not YAML: found undefined alias"),
        ("new-secret", "no-secret", "sources[0].keys[0].secret_file no-secret cannot be read: No such file"),
        ("new-secret", ".", "sources[0].keys[0].secret_file . cannot be read: Is a directory"),
        ("new-secret", '"a\\0b"', "sources[0].keys[0].secret_file a\0b embedded null byte"),
        ("new-secret", "short-secret", "secret_file short-secret has 16 bytes; a secret has 32 to 4,096 random ones"),
        ("new-secret", "long-secret", "secret_file long-secret has more than 4,096 bytes"),
        ("command: credit", "command: credits", 'command is the text "credits"; did you mean credit?'),
        ("command: credit", "command: loyalty.command.account.freez", "did you mean account.freeze?"),
        ("command: credit", "command: pay", 'line 11: sources[2].commands[0].command is the text "pay"; write one of '),
        ("command: credit", "command: pay", "account.merge, account.unmerge, account.link, account.unlink"),
        ("command: credit", "command: 7", "sources[2].commands[0].command is a number"),
        ("command: credit", "command:", "sources[2].commands[0].command is empty; write one of credit, debit"),
        (
            "command: account.freeze",
            "command: credit",
            "sources[2].commands[1].command is granted to this source",
        ),
        ("command: account.freeze", "points_per_day_max: 1", "line 14: sources[2].commands[1].command is missing"),
        (
            "{command: account.freeze}",
            "account.freeze",
            "commands[1] is a text of 14 characters; write a command:",
        ),
        ("freeze}", "freeze, points_per_day_max: 1}", "commands[1] limits points, and account.freeze chooses none"),
        ("points_per_day_max", "points_a_day_max", "points_a_day_max is not a field here; did you mean points_per_day"),
        ("points_per_day_max", "daily", "known are command, points_per_command_max, points_per_day_max"),
        ("10000", "499", "line 11: sources[2].commands[0] allows less on a day than in one command; raise points_per"),
        (
            "10000",
            "0",
            "points_per_day_max is a number, or a word that YAML takes for true or false; write a",
        ),
        (
            "500",
            "1.5",
            "points_per_command_max is a number, or a word that YAML takes for true or false; write a whole",
        ),
        (
            "500",
            "yes",
            "points_per_command_max is a number, or a word that YAML takes for true or false; write a whole",
        ),
        ("500", "1000000000000001", "from 1 to 1,000,000,000,000,000, written without separators"),
        ("HIGH_STREET_SECRET", "NOT_SET", "keys[1].secret_variable NOT_SET is not set in the environment"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_the_value_and_what_is_allowed(
    path: Path, old: str, new: str, words: str
) -> None:
    text = refused(path, FILE.replace(old, new, 1))
    assert words in text
    assert text.startswith(f"The sources file {path} cannot be used:\n")
    assert SECRET not in text


@pytest.mark.parametrize("text", ["", "7", "[1]", "sources", "0x1F"])
def test_a_file_that_lists_nothing_is_refused(path: Path, text: str) -> None:
    assert "is not a list of sources: write unlisted and sources" in refused(path, text)


def test_a_list_without_sources_is_refused(path: Path) -> None:
    assert "sources is a list of length 0; write a list of 1 to 1,000 sources" in refused(path, "sources: []")


@pytest.mark.parametrize(
    "line",
    [
        "secret: {s}",
        "secret_file: {s}",
        "secret_variable: {s}",
        'key_id: "{s}"',
        "secret: 0x{h}",
        "secret_variable: 0x{h}",
    ],
)
def test_a_secret_that_stands_in_the_file_by_mistake_is_not_shown(path: Path, line: str) -> None:
    secret = "5up3r s3cr3t " * 4 if "file" not in line else "5up3r-s3cr3t"
    written = line.format(s=secret, h=SECRET.encode().hex())
    text = refused(path, f"sources:\n  - source: a\n    keys:\n      - {written}\n")
    assert SECRET.encode().hex() not in text
    assert str(int(SECRET.encode().hex(), 16)) not in text
    if "secret_file" not in line:  # the name of a file is shown, it is what the operator must find
        assert "5up3r" not in text


def test_a_file_that_cannot_be_read_or_is_huge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourcesFileError, match="No such file"):
        load_sources(tmp_path / "nothing", {})
    huge = tmp_path / "huge"
    huge.write_bytes(b"#" * 1_048_577)
    with pytest.raises(SourcesFileError, match="more than 1,048,576 bytes"):
        load_sources(huge, {})
    huge.write_bytes(b"\xff")
    with pytest.raises(SourcesFileError, match="not written in UTF-8"):
        load_sources(huge, {})
