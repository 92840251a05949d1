"""What the README and the docs say is so: their commands, samples, settings, reasons, names and links."""

import json
import re
import runpy
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer
from jsonschema import Draft202012Validator

from config.queues import QUEUE_NAMES
from config.settings import Settings
from core.domain.ledger import EntryKind
from core.domain.outcomes import Reason, RejectionCode
from core.domain.program import Program
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.reading import MessageLimits, ReadEvent, read_message
from core.messages.outbound.published_events import OUTBOUND_EVENTS
from core.messages.program_files.program_file import load_program
from core.store.proof.invariants import CHECKS
from core.store.tables.messages import inbox
from tests.pages import PAGES, README, ROOT, anchors, blocks, commands, inline_code, links, section, table
from workers.brokers import topology
from workers.cli import build_app

DOCS = ROOT / "docs"
NOW = "2026-11-20T09:30:00Z"
#: Text that must not leave the machine it was written on.
PRIVATE = re.compile(r"/(?:work|tmp|root|home)/|pypi|index-url|artifactory|nexus", re.IGNORECASE)

CommandLine = Any  # typer's commands are click's, in a package of typer's own


def shell_code(page: Path) -> Iterator[str]:
    """Every line of shell, and every piece of inline code, without what stands in here-documents."""
    for block in blocks(page, "sh"):
        for command in commands(block):
            yield command.splitlines()[0]
    yield from inline_code(page)


def loyalty_commands() -> list[tuple[str, str]]:
    """Every use of the `loyalty` command: page and arguments."""
    use = re.compile(r"(?<![\w./-])loyalty( [a-z-][^|)<>#&;]*)")
    return [(page.name, found) for page in PAGES for code in shell_code(page) for found in use.findall(code)]


@pytest.fixture(scope="module")
def command_line() -> CommandLine:
    return typer.main.get_command(build_app())


@pytest.mark.parametrize(("page", "arguments"), loyalty_commands())
def test_every_loyalty_command_and_option_exists(page: str, arguments: str, command_line: CommandLine) -> None:
    command, words = command_line, shlex.split(arguments)
    while True:
        _, words, _ = command.make_parser(typer.Context(command, info_name="loyalty")).parse_args(words)
        if not words or not hasattr(command, "commands"):
            break
        assert words[0] in command.commands, f"{page}: there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    assert not words, f"{page}: too many arguments"


def test_the_docs_name_every_command(command_line: CommandLine) -> None:
    named = " ".join(arguments for _, arguments in loyalty_commands())
    assert [name for name in command_line.commands if name not in named.split()] == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    use = re.compile(r"(?:^|[ (])make ([a-z]+)")
    named = {target for page in PAGES for code in shell_code(page) for target in use.findall(code)}
    assert named
    assert named <= targets


def test_every_variable_that_is_named_exists() -> None:
    sources = "".join(path.read_text() for path in (*ROOT.glob("workers/**/*.py"), *ROOT.glob("tests/conftest.py")))
    read = set(re.findall(r'environ(?:\.get)?[\[(]"(LOYALTY_\w+)"', sources)) | {"LOYALTY_HEARTBEAT_FILE"}
    known = read | {f"LOYALTY_{name.upper()}" for name in Settings.model_fields}
    files = (*PAGES, ROOT / ".env.example", ROOT / "docker-compose.yml", ROOT / "Makefile", ROOT / "CHANGELOG.md")
    named = {name for file in files for name in re.findall(r"LOYALTY_[A-Z][A-Z_]+", file.read_text())}
    assert named <= known | {"LOYALTY_TEST_RABBITMQ_URL"}


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_in_the_operators_page(name: str) -> None:
    assert f"| `LOYALTY_{name.upper()}` |" in (DOCS / "operations.md").read_text()


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_in_the_page_of_messages(reason: Reason) -> None:
    assert f"| `{reason}` |" in (DOCS / "messages.md").read_text()


@pytest.mark.parametrize(
    "file", ["operations.md", "messages.md", "programs.md", "peers.md", "reading.md", "monitoring.md"]
)
def test_generated_tables_are_up_to_date(file: str) -> None:
    generate = runpy.run_path(str(DOCS / "generate.py"))
    page = (DOCS / file).read_text()
    assert generate["with_tables"](page, generate["tables"]()[file]) == page, "run: python docs/generate.py"


def json_samples() -> list[tuple[str, str]]:
    """Every JSON text on the pages: blocks, and here-documents of the shell."""
    samples = [(page.name, block) for page in PAGES for block in blocks(page, "json")]
    for page in PAGES:
        for block in blocks(page, "sh"):
            for command in commands(block):
                _, _, document = command.partition("\n")
                if document.startswith("{"):
                    samples.append((page.name, document.rpartition("\n")[0].replace("$now", NOW)))
    return samples


@pytest.mark.parametrize(("page", "sample"), json_samples())
def test_every_sample_keeps_its_published_schema(page: str, sample: str) -> None:
    event = json.loads(sample)
    schema = json.loads((DOCS / "schemas" / f"{event['type']}.json").read_text())
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(event)


@pytest.mark.parametrize(
    ("page", "sample"), [(page, sample) for page, sample in json_samples() if '"type": "order.' in sample]
)
def test_intake_takes_every_sample_of_a_shops_message(page: str, sample: str) -> None:
    if json.loads(sample)["type"] not in INBOUND:
        return  # a parked message that is told of
    limits = MessageLimits(message_bytes_max=100_000, array_events_max=10, clock_skew_seconds_max=0)
    (event,) = read_message(sample.encode(), limits=limits, now=datetime(2027, 1, 1, tzinfo=UTC))
    assert isinstance(event, ReadEvent), event


def test_the_page_of_messages_shows_or_names_every_type() -> None:
    pages = "".join((DOCS / name).read_text() for name in ("messages.md", "commands.md"))
    assert [kind for kind in (*INBOUND, *OUTBOUND_EVENTS) if f"`{kind}`" not in pages] == []


def test_the_page_of_messages_tells_every_state_of_a_message() -> None:
    (allowed,) = (str(each.sqltext) for each in inbox.constraints if each.name == "ck_inbox_state")
    assert {row[0].strip("`") for row in table(DOCS / "messages.md", "State")} == set(re.findall(r"'(\w+)'", allowed))


def reasons_of_balances() -> set[str]:
    """Every reason for which `core.posting.events` tells of a changed balance."""
    source = (ROOT / "core/posting/events.py").read_text()
    part = source[source.index("\n_REASONS = ") : source.index("\ndef _tier_changed")]
    kinds = re.findall(r"^ +\|? ?EntryKind\.(\w+)$", part, re.MULTILINE)
    of_commands = {f"command_{EntryKind[name].value}" for name in kinds}
    of_rewards = {f"reward_{step}" for step in re.findall(r'EntryKind\.\w+: "(\w+)"', part)}
    plain = set(re.findall(r'"([a-z]+_[a-z_]+)"', part)) - {"reward_id", "cancelled_order"}  # what a `why` has
    assert min(map(len, (of_commands, of_rewards, plain))) > 2
    return of_commands | of_rewards | plain


def test_the_page_of_messages_tells_every_reason_of_a_changed_balance() -> None:
    told = {name for row in table(DOCS / "messages.md", "`reason`") for name in re.findall(r"`(\w+)`", row[0])}
    assert told == reasons_of_balances()


def test_the_page_of_messages_has_a_row_for_every_event() -> None:
    rows = " ".join(row[0] for row in table(DOCS / "messages.md", "`type` | When"))
    assert [kind for kind in OUTBOUND_EVENTS if f"`{kind}`" not in rows] == []


def fields_of_commands() -> dict[str, set[str]]:
    """Every field of `data` of a command, with the verbs of those that have it."""
    having: dict[str, set[str]] = {}
    for name, contract in INBOUND.items():
        verb = name.removeprefix(COMMAND_PREFIX)
        if verb != name:
            for field in get_type_hints(get_type_hints(contract.model)["data"]):
                having.setdefault(field, set()).add(verb)
    return having


def test_the_table_of_fields_says_which_commands_have_each() -> None:
    having = fields_of_commands()
    every = set().union(*having.values())
    told: dict[str, set[str]] = {}
    for names, where, _ in table(DOCS / "commands.md", "Field | In"):
        fields, verbs = re.findall(r"`(\w+)`", names), set(re.findall(r"`([\w.]+)`", where)) & every
        if where.startswith("all"):
            verbs = every - verbs if where.startswith("all but") else every
        assert verbs <= set().union(*(having[field] for field in fields)), names
        for field in fields:
            told.setdefault(field, set()).update(verbs)
    assert {field: having[field] - told[field] for field in told if having[field] - told[field]} == {}


def test_the_page_of_the_ledger_names_every_kind_of_entry() -> None:
    kept = section(DOCS / "ledger.md", "## What is kept", "## Earning")
    assert [kind for kind in EntryKind if f"`{kind}`" not in kept] == []


def test_the_page_of_commands_has_every_code() -> None:
    page = (DOCS / "commands.md").read_text()
    assert [code for code in RejectionCode if f"| `{code}` |" not in page] == []


def test_the_page_of_messages_names_every_queue_exchange_and_stream() -> None:
    page = (DOCS / "messages.md").read_text()
    names = {
        topology.SHOP_EXCHANGE, topology.INTAKE_QUEUE, *topology.INTAKE_BINDINGS, topology.EVENT_EXCHANGE,
        topology.SHOP_STREAM, topology.INTAKE_GROUP, topology.EVENT_STREAM, topology.EVENT_FIELD, topology.TYPE_FIELD,
    }  # fmt: skip
    assert [name for name in names if f"`{name}`" not in page] == []
    assert [name for name in QUEUE_NAMES if f"`{name}`" not in (DOCS / "operations.md").read_text()] == []


def test_the_page_of_the_ledger_has_every_check_under_its_number() -> None:
    _, invariants = (DOCS / "ledger.md").read_text().split("\n## The nine invariants\n")
    parts = re.split(r"^(\d)\. ", invariants, flags=re.MULTILINE)[1:]
    said = {int(number): " ".join(part.split()) for number, part in batched_pairs(parts)}
    assert sorted(said) == list(range(1, 10))
    assert [check.name for check in CHECKS if f"*{check.name}*" not in said[check.invariant]] == []


def batched_pairs(parts: list[str]) -> Iterator[tuple[str, str]]:
    return zip(parts[::2], parts[1::2], strict=True)


def test_the_program_file_that_the_pages_name_gives_the_points_that_they_say() -> None:
    program: Program = load_program(ROOT / "config/programs/example.yaml")
    (rule,) = program.earning_rules
    assert {tier: str(rate) for tier, rate in rule.points.items()} == {"bronze": "1", "silver": "1.25", "gold": "1.5"}
    assert program.tier_for(1010).tier_id == "silver"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_package_index_or_a_path_of_one_machine(page: Path) -> None:
    assert PRIVATE.findall(page.read_text()) == []


def test_the_readme_begins_with_the_two_commands_that_need_nothing_installed() -> None:
    first = next(block for block in blocks(README, "sh"))
    assert [command.split("#")[0].strip() for command in commands(first)] == ["make demo", "make test"]


def test_the_folders_that_the_readme_explains_are_those_that_exist() -> None:
    named = set(re.findall(r"^\| `([a-z/]+)/`", README.read_text(), re.MULTILINE))
    assert named
    assert [folder for folder in named if not (ROOT / folder).is_dir()] == []
