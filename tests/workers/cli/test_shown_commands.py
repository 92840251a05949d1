"""A command that a text suggests can be copied into a shell as it stands, whatever a sender put into its ids."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from core.errors import LoyaltyError
from tests.factories import order, refund
from tests.pages import ROOT
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from workers.cli import build_app
from workers.cli.output import command_text

IDS = ["C-9; touch pwned", "$(touch pwned)", "`touch pwned`", "it's", '"', "-9", "--json", "*", "a  b", "x && y", "#1"]
#: What may stand in a command without quotes: numbers and instants of our own, ids of letters and dashes, and what is
#: quoted already.
SAFE = re.compile(
    r"\w+\.(?:inbox_id|program_id|version)|start|task|own_command\(\)|command|shlex\.(?:quote|join)\(.*\)"
)
#: A command of ours that the text has not left again where a value follows.
NAMES = "|".join(typer.main.get_command(build_app()).commands)
OPEN_COMMAND = re.compile(rf"(?:loyalty (?:{NAMES})\b|own_command\(\)\}})[^`\n]*$")


def as_a_shell_reads(folder: Path, command: str) -> list[str]:
    """The words with which `loyalty` would be run; nothing else is."""
    script = f'loyalty() {{ printf "%s\\n" "$@"; }}\n{command}\n'
    done = subprocess.run(["sh", "-c", script], cwd=folder, check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout.splitlines()


@pytest.mark.parametrize("value", IDS)
def test_a_shell_reads_a_value_as_one_word(value: str, tmp_path: Path) -> None:
    words = as_a_shell_reads(tmp_path, command_text("account explain", value))
    assert words == ["account", "explain", *(["--"] if value.startswith("-") else []), value]
    assert as_a_shell_reads(tmp_path, command_text("dead list --order", value)) == ["dead", "list", "--order", value]
    assert list(tmp_path.iterdir()) == []


def test_what_an_account_suggests_can_be_copied(loyalty: CommandLine, shell: Shell, tmp_path: Path) -> None:
    customer = IDS[0]
    shell.take(order("o1", customer_id=customer), refund("r1", "o1", lines=[{"line_id": "9", "quantity": 1}]))
    shown = loyalty("account", "show", customer).out
    [command] = re.findall(r"\((loyalty account .*)\)", shown)
    assert as_a_shell_reads(tmp_path, command) == ["account", "explain", customer]
    unknown = loyalty("account", "explain", customer, "--order", IDS[1]).err
    [command] = re.findall(r"loyalty dead list .*", unknown)
    assert as_a_shell_reads(tmp_path, command) == ["dead", "list", "--order", IDS[1]]
    [number] = re.findall(r"loyalty dead show (\d+)", loyalty("account", "explain", customer).out)
    for command in re.findall(r"loyalty dead .*?(?=,|  |$)", loyalty("dead", "show", number).out, re.MULTILINE):
        assert number in as_a_shell_reads(tmp_path, command)


def sources() -> list[Path]:
    return [path for folder in ("core", "workers", "tasks", "config") for path in ROOT.glob(f"{folder}/**/*.py")]


def values_in_commands(path: Path) -> Iterator[str]:
    """What f-strings put into commands of ours."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.JoinedStr):
            continue
        before = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                before += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                value = ast.unparse(part.value)
                if OPEN_COMMAND.search(before):
                    yield value
                before += f"{{{value}}}"


def test_no_text_puts_a_value_into_a_command_by_itself() -> None:
    found = [(path.name, value) for path in sources() for value in values_in_commands(path)]
    assert [each for each in found if not SAFE.fullmatch(each[1])] == []
    assert len(found) > 1, "it finds those that there are"


def test_no_error_puts_a_value_into_a_command() -> None:
    def below(kind: type[LoyaltyError]) -> Iterator[type[LoyaltyError]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    messages = {each.__name__: each.__doc__ or "" for each in below(LoyaltyError)}
    is_open = re.compile(rf"loyalty (?:{NAMES})\b[^`\n]*\{{")
    assert [name for name, text in messages.items() if is_open.search(text)] == []
