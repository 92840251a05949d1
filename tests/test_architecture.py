"""The arrows between the parts, and how large a part may be: docs and reviews rely on both."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from config.queues import PERIODIC, QUEUE_NAMES
from config.schedule import TICKS, beat_schedule
from tasks.registry import TASKS, queue_of

ROOT = Path(__file__).parents[1]
PARTS = ("core", "config", "tasks", "workers")
CLIENT = "clients/python"
LINES_MAX = 450  # past 400 look again; a fragment is no better than a long file
FUNCTION_LINES_MAX = 50

# What the modules below each name may import of our own, besides themselves. The longest name that fits counts.
ALLOWED = {
    "core.errors": set(),
    "core.domain": set(),
    "core.messages": {"core.errors", "core.domain"},
    "core.store": {"core.errors", "core.domain", "core.messages"},
    "core.posting": {"core.errors", "core.domain", "core.messages", "core.store"},
    "core.simulating": {"core.errors", "core.domain", "core.messages", "core.store", "core.posting"},
    # These rooms do what posting does for another occasion: they keep decisions and publish events as it does.
    "core.receiving": {"core.errors", "core.domain", "core.messages", "core.store", "core.posting"},
    "core.upkeep": {"core.errors", "core.domain", "core.messages", "core.store", "core.posting"},
    "core.reading": {"core.errors", "core.domain", "core.messages", "core.store", "core.posting"},
    "core.mending": {"core.errors", "core.domain", "core.messages", "core.store", "core.posting", "core.receiving"},
    "core.importing": {
        "core.errors",
        "core.domain",
        "core.messages",
        "core.store",
        "core.posting",
        "core.receiving",
        "core.mending",
    },
    "config": {"core"},
    "tasks": {"core"},
    "workers": {"core", "config", "tasks"},
}
# Libraries that only the parts below the names may import.
RESERVED = {
    "celery": {"workers"},
    "redis": {"workers"},
    "amqp": {"workers"},
    "kombu": {"workers", "config"},
    "typer": {"workers.cli"},
    "rich": {"workers"},
    "alembic": {"core.store"},
    "yaml": {"core.messages"},
    "pydantic_settings": {"config", "workers"},
    "prometheus_client": {"workers.metrics"},
}
#: What a script makes is as long as the schemas are.
MADE = {Path(CLIENT, "loyalty_client", f"{name}.py") for name in ("commands", "events")}
# Ways out of a pure function that the standard library offers.
IMPURE = {
    "asyncio", "io", "logging", "os", "pathlib", "random", "secrets", "socket", "subprocess", "sys", "tempfile",
    "threading", "time",
}  # fmt: skip
CLOCKS = {"now", "utcnow", "today"}


class Import(NamedTuple):
    """One import statement."""

    module: str  #: that imports
    target: str  #: what it imports, in full
    place: str

    def __str__(self) -> str:
        return f"{self.place} imports {self.target}"


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def place(path: Path, node: ast.AST | None = None) -> str:
    line = f":{node.lineno}" if isinstance(node, ast.stmt | ast.expr) else ""
    return f"{path.relative_to(ROOT)}{line}"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports() -> list[Import]:
    return list(_imports())


def _imports() -> Iterator[Import]:
    for path in sources(*PARTS):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                yield from (Import(module_name(path), alias.name, place(path, node)) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{place(path, node)}: write the whole name of what is imported"
                assert node.module is not None
                for alias in node.names:
                    # `from core import store` imports core.store: look for the module first.
                    full = f"{node.module}.{alias.name}"
                    is_module = (ROOT / Path(*full.split("."))).with_suffix(".py").exists()
                    is_package = (ROOT / Path(*full.split("."))).is_dir()
                    yield Import(module_name(path), full if is_module or is_package else node.module, place(path, node))


def is_below(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def part_of(module: str) -> str | None:
    fitting = [name for name in ALLOWED if is_below(module, name)]
    return max(fitting, key=len, default=None)


def test_every_module_is_in_a_part_with_rules() -> None:
    modules = {module_name(path) for path in sources(*PARTS)} - {"core"}
    assert {module for module in modules if part_of(module) is None} == set()


def test_every_import_follows_the_arrows() -> None:
    wrong = []
    for found in imports():
        part = part_of(found.module)
        is_ours = found.target.split(".")[0] in {*PARTS, "tests", "benchmarks"}
        if part is not None and is_ours and not any(is_below(found.target, name) for name in {part, *ALLOWED[part]}):
            wrong.append(str(found))
    assert wrong == []


def test_the_rules_of_points_need_pydantic_and_the_standard_library_only() -> None:
    known = {*sys.stdlib_module_names, "pydantic", "pydantic_core", "core"}
    domain = [found for found in imports() if is_below(found.module, "core.domain")]
    assert [str(found) for found in domain if found.target.split(".")[0] not in known] == []


def test_the_rules_of_points_know_no_clock_no_chance_and_no_outside() -> None:
    domain = [found for found in imports() if is_below(found.module, "core.domain")]
    assert [str(found) for found in domain if found.target.split(".")[0] in IMPURE] == []
    calls = [
        place(path, node)
        for path in sources("core/domain")
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Attribute) and node.attr in CLOCKS)
        or (isinstance(node, ast.Name) and node.id in {"open", "print", "input"})
    ]
    assert calls == []


@pytest.mark.parametrize("library", RESERVED)
def test_a_library_stays_in_its_part(library: str) -> None:
    users = [found for found in imports() if is_below(found.target, library)]
    assert users, f"nobody imports {library} any more: take the rule away"
    assert [str(use) for use in users if not any(is_below(use.module, name) for name in RESERVED[library])] == []


def test_the_command_line_queries_nothing_itself() -> None:
    """It may open transactions, and calls `core.reading` and its like for everything else."""
    ways = {"run_bulk", "copy_rows", "stream_rows", "driver_connection", "execute", "exec_driver_sql", "scalar"}
    nodes = [(path, node) for path in sources("workers/cli") for node in ast.walk(parsed(path))]
    called = [node.func for _, node in nodes if isinstance(node, ast.Call)]
    assert [ast.unparse(func) for func in called if ast.unparse(func).split(".")[-1] in ways] == []
    taken = {
        alias.name
        for _, node in nodes
        if isinstance(node, ast.ImportFrom) and is_below(str(node.module), "sqlalchemy")
        for alias in node.names
    }
    assert taken <= {"Connection", "Engine", "ArgumentError", "DBAPIError"}


def test_nothing_that_can_run_what_it_reads_is_used() -> None:
    read = [*sources(*PARTS, "benchmarks", "docs", "clients"), ROOT / "tests/conftest.py"]
    modules = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
    imported = [found for found in imports() if found.target.split(".")[0] in modules]
    assert [str(found) for found in imported] == []
    calls = [
        place(path, node)
        for path in read
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
    ]
    # Row makers are generated from the names of our own tables and fields, before anything is read.
    assert [found for found in calls if not found.startswith("core/store/rows.py")] == []
    assert len(calls) == 1
    loaders = {"load", "load_all", "unsafe_load", "full_load", "Loader", "UnsafeLoader", "FullLoader"}
    yaml_uses = [
        place(path, node)
        for path in read
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "yaml" and node.attr in loaders
    ]
    assert yaml_uses == []
    assert not [
        place(path, node)
        for path in read
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.keyword) and node.arg == "shell" and getattr(node.value, "value", None) is True
    ]


def test_nothing_but_tests_imports_tests() -> None:
    assert [str(found) for found in imports() if found.target.split(".")[0] in {"tests", "benchmarks", "pytest"}] == []


def test_clients_need_nothing_of_the_worker() -> None:
    known = {*sys.stdlib_module_names, "loyalty_client", "kombu", "amqp", "redis", "pydantic", "pydantic_core"}
    known.add("opentelemetry")  # where it is installed
    imported = [
        (place(path, node), name)
        for path in sources("clients")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    ]
    assert imported
    assert [found for found in imported if found[1].split(".")[0] not in known] == []


def test_only_tests_use_the_client() -> None:
    assert [str(found) for found in imports() if is_below(found.target, "loyalty_client")] == []


def test_no_module_is_named_after_nothing() -> None:
    empty = re.compile(r"(^|_)(utils?|helpers?|common|managers?|misc)(_|$)")
    assert [place(path) for path in sources(*PARTS, "tests", "benchmarks", "clients") if empty.search(path.stem)] == []


def test_files_stay_short() -> None:
    lengths = {
        path: len(path.read_text().splitlines())
        for path in sources(*PARTS, "tests", "benchmarks", "docs", "clients")
        if "migrations" not in path.parts  # a migration is one list of statements, written once
        and path.relative_to(ROOT) not in MADE
    }
    assert {place(path): length for path, length in lengths.items() if length > LINES_MAX} == {}


def test_functions_stay_short() -> None:
    long: dict[str, int] = {}
    for path in sources(*PARTS, "tests", "benchmarks", "docs", "clients"):
        if "migrations" in path.parts:
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    long[f"{place(path, node)} {node.name}"] = length
    assert long == {}


#: What the command line takes of `core.store` itself, and for what: to change, to prove and to administer. It reads
#: through `core.reading`, as a storefront does.
OF_STORE = {
    "database_commands": ({"grants", "migrate"}, "makes the tables, and says what a role may do"),
    "ledger_commands": ({"proof.chain", "proof.differences", "proof.processes", "proof.verify"}, "proves the ledger"),
    "program_commands": ({"applying"}, "applies versions of programs"),
    "upkeep_command": ({"outbox"}, "tells of the events that a trial run would write"),
    "version_commands": ({"applying"}, "moves and withdraws versions of programs"),
    "wiring": ({"engine", "migrate"}, "opens the database, and refuses tables of another release"),
}


def test_the_command_line_reads_through_core_reading() -> None:
    found: dict[str, set[str]] = {}
    for each in imports():
        if is_below(each.module, "workers.cli") and is_below(each.target, "core.store"):
            taken = found.setdefault(each.module.removeprefix("workers.cli."), set())
            taken.add(each.target.removeprefix("core.store."))
    assert found == {module: names for module, (names, _) in OF_STORE.items()}


class TestTasks:
    def test_every_task_has_a_queue_that_is_declared_and_every_queue_a_task(self) -> None:
        assert {row.queue for row in TASKS} == set(QUEUE_NAMES)

    def test_task_names_are_unique_and_say_what_is_done(self) -> None:
        names = [row.name for row in TASKS]
        assert len(names) == len(set(names))
        assert [name for name in names if not re.fullmatch(r"loyalty\.[a-z]+(_[a-z]+)*", name)] == []
        assert [row.name for row in TASKS if row.name != f"loyalty.{row.function.__name__}"] == []

    def test_every_tick_names_a_task_of_the_periodic_queue_once(self) -> None:
        assert {queue_of(tick.task) for tick in TICKS} == {PERIODIC}
        assert len({tick.task for tick in TICKS}) == len(TICKS)

    def test_every_periodic_task_has_a_tick(self) -> None:
        assert {row.name for row in TASKS if row.queue == PERIODIC} == {tick.task for tick in TICKS}

    def test_beat_sends_each_tick_to_the_queue_of_its_task(self) -> None:
        schedule = beat_schedule()
        assert {entry["task"]: entry["options"]["queue"] for entry in schedule.values()} == {
            tick.task: queue_of(tick.task) for tick in TICKS
        }

    def test_a_name_that_does_not_exist_has_no_queue(self) -> None:
        with pytest.raises(KeyError):
            queue_of("loyalty.post_imbox")
