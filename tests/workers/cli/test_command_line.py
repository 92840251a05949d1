"""What holds for every command: help, exit codes, and that expected errors are one message and no traceback."""

import re
import subprocess
import sys
from importlib.metadata import version
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from typer.main import get_command

from config.settings import unknown_variables
from tests.factories import PROGRAM_TEXT, order
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from workers import cli
from workers.cli import MODULES, build_app, commands_of
from workers.heartbeat import beat_heart

PROCESS_COMMANDS = ("up", "demo", "intake", "worker", "beat")
READING = [
    ("account", "show", "c1"),
    ("account", "history", "c1"),
    ("program", "list"),
    ("program", "show", "test"),
    ("dead", "list"),
    ("dead", "list", "--waiting"),
    ("dead", "show", "1"),
    ("verify",),
    ("status",),
    ("db", "current"),
]


def command_names() -> list[tuple[str, ...]]:
    names: list[tuple[str, ...]] = []
    for name, command in get_command(build_app()).commands.items():  # type: ignore[attr-defined]
        names += [(name, below) for below in getattr(command, "commands", {})] or [(name,)]
    return names


@pytest.mark.parametrize("name", command_names(), ids=" ".join)
def test_help_of_every_command_says_how_it_is_used(loyalty_alone: CommandLine, name: tuple[str, ...]) -> None:
    printed = loyalty_alone(*name, "--help")
    assert printed.code == 0
    assert f"Usage: loyalty {' '.join(name)}" in printed.out
    assert "--data-dir" in printed.out
    if re.search(r"Usage: .*\bFILE\b", printed.out):
        assert re.search(r"- for (stdin|standard input)", printed.out), "a file can be piped in"
    if name[0] not in PROCESS_COMMANDS:
        examples = [line for line in printed.out.splitlines() if f"loyalty {' '.join(name)}" in line]
        assert len(examples) > 1, "the help shows an example below the usage line"


@pytest.mark.parametrize("arguments", [("nonsense",), ("account", "show"), ("account", "show", "c1", "--nonsense")])
def test_wrong_use_ends_with_2(loyalty_alone: CommandLine, arguments: tuple[str, ...]) -> None:
    printed = loyalty_alone(*arguments)
    assert printed.code == 2
    assert printed.out == ""
    assert "Usage: loyalty" in printed.err


def test_without_any_database_it_says_how_to_get_one(loyalty_alone: CommandLine) -> None:
    printed = loyalty_alone("status")
    assert printed == (2, "", printed.err)
    assert "loyalty up" in printed.err
    assert "LOYALTY_DATABASE_URL" in printed.err


def test_without_any_broker_it_says_how_to_get_one(loyalty: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("{}")
    for command in (("tail",), ("publish", "one.json")):
        printed = loyalty(*command)
        assert printed == (2, "", printed.err)
        assert "LOYALTY_BROKER_URL" in printed.err


def test_a_database_that_does_not_answer_is_one_line_without_the_password(
    loyalty_alone: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", "postgresql://kim:sesame@127.0.0.1:1/loyalty")
    printed = loyalty_alone("status")
    assert printed == (1, "", printed.err)
    assert printed.err.startswith("loyalty: The database cannot be reached")
    assert len(printed.err.splitlines()) == 1
    assert "sesame" not in printed.err


@pytest.mark.parametrize(
    "url", ["mysql://kim:sesame@h/d", "sqlite:///x", "postgresql://kim:sesame@h:port/d", "nonsense"]
)
def test_a_database_url_that_cannot_be_one_is_refused_without_the_password(
    loyalty_alone: CommandLine, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", url)
    printed = loyalty_alone("status")
    assert printed == (2, "", printed.err)
    assert "postgresql://user:password@host" in printed.err
    assert "sesame" not in printed.err


def test_every_wrong_setting_is_named(loyalty: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOYALTY_SHARDS", "many")
    monkeypatch.setenv("LOYALTY_LOG_LEVEL", "loud")
    printed = loyalty("status")
    assert printed == (2, "", printed.err)
    assert "LOYALTY_SHARDS" in printed.err
    assert "'many'" in printed.err
    assert "LOYALTY_LOG_LEVEL" in printed.err


def test_a_database_without_tables_is_refused_until_it_is_upgraded(
    loyalty_alone: CommandLine, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", empty_database_url)
    loyalty = loyalty_alone
    assert "loyalty db upgrade" in loyalty("status").err
    assert loyalty("status").code == 2
    assert loyalty("db", "current").code == 1
    upgraded = loyalty("db", "upgrade")
    assert upgraded.code == 0
    assert "Upgraded the database from empty" in upgraded.out
    assert "Nothing to do" in loyalty("db", "upgrade").out
    assert loyalty("db", "current", "--json").json["is_current"] is True
    assert loyalty("status").code == 0


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_every_reading_command_prints_text_without_colours_and_json(
    loyalty: CommandLine, shell: Shell, command: tuple[str, ...]
) -> None:
    shell.take(order())
    text, document = loyalty(*command), loyalty(*command, "--json")
    assert (text.code, document.code) == (0, 0)
    assert (text.err, document.err) == ("", "")
    assert "\x1b" not in text.out
    assert all(line == line.rstrip() for line in text.out.splitlines())
    assert document.json is not None


def test_a_failing_command_with_json_prints_nothing_that_would_have_to_be_parsed(loyalty: CommandLine) -> None:
    printed = loyalty("account", "show", "nobody", "--json")
    assert (printed.code, printed.out) == (1, "")


def test_an_argument_that_is_no_text_is_refused(loyalty: CommandLine) -> None:
    printed = loyalty("account", "show", "caf\udce9")
    assert printed == (2, "", "loyalty: An argument holds bytes that are not UTF-8.\n")


@pytest.mark.parametrize(
    "line",
    [
        "--data-dir FOLDER status",
        "status --data-dir FOLDER",
        "status --json --data-dir=FOLDER",
        "--data-dir elsewhere status --data-dir FOLDER",
        "account --data-dir FOLDER show C-1",
        "account show --data-dir FOLDER C-1",
        "dead list --limit 3 --data-dir FOLDER",
        "demo --data-dir FOLDER",
        "--data-dir FOLDER demo",
        "up --data-dir FOLDER",
        "intake --data-dir FOLDER",
    ],
)
def test_the_data_folder_can_be_named_anywhere_on_the_line(
    loyalty_alone: CommandLine, tmp_path: Path, line: str, as_process: None
) -> None:
    (tmp_path / "file").write_text("")
    printed = loyalty_alone(*line.replace("FOLDER", "file").split())
    assert printed.code == 2
    assert f"{tmp_path / 'file'} cannot be used" in printed.err.replace(
        "data folder file", f"data folder {tmp_path / 'file'}"
    )


def test_the_health_of_another_folder_is_asked_for(loyalty_alone: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "heartbeats").mkdir()
    beat_heart(str(tmp_path / "heartbeats/worker.heartbeat"))
    assert loyalty_alone("health", "live").code == 1
    assert loyalty_alone("health", "live", "--data-dir", tmp_path).out == "ok    role worker\n"


def test_the_release_is_told(loyalty_alone: CommandLine) -> None:
    printed = loyalty_alone("--version")
    assert printed == (0, f"loyalty {version('loyalty-worker')}\n", "")


def test_a_misspelt_setting_is_named_with_the_one_that_is_near(
    loyalty: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOYALTY_LAG_ALARM_SECOND", "7")
    (tmp_path / ".env").write_text("LOYALTY_DATABSE_URL=postgresql://kim:sesame@h/d\nPOSTGRES_PASSWORD=x\n")
    printed = loyalty("status", "--json")
    assert printed.json
    assert printed.err == (
        "loyalty: LOYALTY_DATABSE_URL is not a setting; did you mean LOYALTY_DATABASE_URL?\n"
        "loyalty: LOYALTY_LAG_ALARM_SECOND is not a setting; did you mean LOYALTY_LAG_ALARM_SECONDS?\n"
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LOYALTY_CHAINKEY", "LOYALTY_CHAIN_KEY"),
        ("LOYALTY_BROKER", "LOYALTY_BROKER_URL"),
        ("loyalty_log_fmt", "LOYALTY_LOG_FORMAT"),
        ("LOYALTY_SERVICE_HOST", None),
    ],
)
def test_a_variable_that_nothing_reads_is_found(name: str, meant: str | None, loyalty_alone: CommandLine) -> None:
    known = {"LOYALTY_INTAKE_NAME": "", "loyalty_shards": "", "LOYALTY_TEST_X": "", "LOYALTY_OUR_KEY": "", "PATH": ""}
    assert unknown_variables({**known, name: ""}, {"LOYALTY_OUR_KEY"}) == [(name, meant)]


def test_the_installed_command_ends_as_the_function_does(database_url: str, tmp_path: Path) -> None:
    environment = {"LOYALTY_DATABASE_URL": database_url, "PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "workers", "account", "show", "Žofie"]
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("loyalty: There is no account of customer \\u017dofie.")


def test_every_command_refuses_a_password_that_is_not_encoded_before_a_client_quotes_it(
    loyalty_alone: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", "postgresql://loyalty:s3cr3t@t41l@127.0.0.1:1/points")
    monkeypatch.setenv("LOYALTY_BROKER_URL", "amqp://loyalty:s3cr3t@t41l@127.0.0.1:1/points")
    for command in (("status",), ("addresses",), ("tail",), ("db", "upgrade")):
        printed = loyalty_alone(*command)
        assert (printed.code, printed.out) == (2, "")
        assert "_URL cannot be used: it has a special character in its user" in " ".join(printed.err.split())
        assert not any(secret in printed.err for secret in ("s3cr3t", "t41l"))


def test_a_program_file_comes_from_standard_input(loyalty: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def piped(command: str, text: str) -> tuple[int, bool]:
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(text.encode())))
        printed = loyalty("program", command, "-")
        return printed.code, "program file standard input cannot be used" in printed.err

    for command in ("check", "apply", "simulate"):
        assert piped(command, PROGRAM_TEXT) == (0, False)
        assert piped(command, PROGRAM_TEXT.replace("EUR", "EURO")) == (2, True)


def test_every_command_is_found_in_the_module_that_has_it() -> None:
    files = Path(cli.__file__).parent.glob("*.py")
    registering = {file.stem for file in files if "\ndef register(" in file.read_text(encoding="utf-8")}
    assert {module: tuple(commands_of(module)) for module in registering} == MODULES


@pytest.mark.parametrize("module", ["account_commands", "customer_commands", "report_commands", "ledger_commands"])
def test_a_command_that_reads_does_not_wait_for_celery_and_brokers_to_be_imported(module: str) -> None:
    look = f"import sys, workers.cli.{module}; print(*{{'celery', 'kombu', 'redis'}} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout == "\n"
