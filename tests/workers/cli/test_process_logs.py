"""Where logs are JSON, every line of a process is a record, whoever writes, and no record quotes what was printed."""

import json
import subprocess
import sys
from importlib.metadata import version
from socket import gethostname
from typing import Any

import pytest

from tests.pages import ROOT
from tests.workers.cli.command_line import CommandLine

SECRET = "kim@example.com"  # stands for what nobody has looked at
#: Every way in which Python or a library writes past the log.
WAYS = f"""
import logging, os, sys, threading, traceback, warnings
from config.settings import Settings
from workers.process_logs import log_as_process

def crash(): raise ValueError({SECRET!r})

class Fragile:
    def __del__(self): crash()

log_as_process(Settings(), "worker")
log_as_process(Settings(), "worker")
warnings.warn("a warning of Python", stacklevel=1)
logging.getLogger("celery.worker").error("a library's record")
print({SECRET!r})
print({SECRET!r}, file=sys.stderr)
try: crash()
except ValueError: traceback.print_exc()
thread = threading.Thread(target=crash); thread.start(); thread.join()
Fragile()
child = os.fork()
if child == 0:
    log_as_process(Settings(), "worker")
    logging.getLogger("celery.worker").error("of a child")
    os._exit(0)
os.waitpid(child, 0)
crash()
"""


def test_whoever_writes_the_lines_are_records_and_quote_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", WAYS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert SECRET not in done.stderr
    records = [json.loads(line) for line in done.stderr.splitlines()]
    common = {"role": "worker", "host": gethostname(), "version": version("loyalty-worker")}
    assert [record for record in records if {**record, **common} != record] == []
    assert len({record["pid"] for record in records}) == 2
    assert all({"timestamp", "level", "pid"} <= set(record) for record in records)
    events = [record["event"].partition(": ")[2] or record["event"] for record in records]
    printed = [event for event in events if event == "line_printed"]
    assert len(printed) > 2
    assert [event.splitlines()[0] for event in events if event != "line_printed"] == [
        "UserWarning: a warning of Python",
        "a library's record",
        "process_crashed",
        "error_ignored",
        "of a child",
        "process_crashed",
    ]
    crash = records[-1]
    assert (crash["error"], crash["level"]) == ("ValueError", "critical")
    assert crash["frames"][-1].startswith("crash (")


def records_of(err: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in err.splitlines()]


@pytest.mark.parametrize("role", ["up", "intake", "worker", "beat"])
def test_a_process_that_cannot_start_says_why_in_one_record(
    loyalty_alone: CommandLine, as_process: None, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setenv("LOYALTY_SHARDS", "many")
    printed = loyalty_alone(role)
    (record,) = records_of(printed.err)
    assert (printed.code, printed.out) == (2, "")
    assert (record["event"], record["error"]) == ("process_failed", "SettingsError")
    assert "LOYALTY_SHARDS" in record["reason"]
    assert record["role"] == ("supervisor" if role == "up" else role)


def test_a_process_names_misspelt_settings_and_goes_on(
    loyalty_alone: CommandLine, as_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_CHAINKEY", "x")
    monkeypatch.setenv("LOYALTY_DATABASE_URL", "mysql://h/d")
    told, failed = records_of(loyalty_alone("beat").err)
    assert (told["event"], told["name"], told["meant"]) == ("setting_unknown", "LOYALTY_CHAINKEY", "LOYALTY_CHAIN_KEY")
    assert failed["event"] == "process_failed"


def test_a_person_gets_text(loyalty_alone: CommandLine, as_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOYALTY_LOG_FORMAT", "console")
    monkeypatch.setenv("LOYALTY_SHARDS", "many")
    assert loyalty_alone("beat").err.startswith("loyalty: These settings cannot be used.")
