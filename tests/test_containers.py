"""The container files, as far as they can be held without an engine: what they run exists, and they keep the rules."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.settings import Settings
from workers.celery_app import _SETTINGS
from workers.cli import build_app

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ("migrate", "intake", "worker", "beat")


def test_compose_has_the_servers_the_one_shot_migration_and_the_three_roles() -> None:
    assert set(SERVICES) == {"postgres", "rabbitmq", "valkey", *OURS}


def test_each_broker_has_its_own_profile_and_nothing_else_has_one() -> None:
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert profiles.pop("rabbitmq") == ["rabbitmq"]
    assert profiles.pop("valkey") == ["valkey"]
    assert set(profiles.values()) == {None}


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "migrate"])
def test_every_lasting_service_has_a_health_check_in_exec_form(name: str) -> None:
    check = SERVICES[name]["healthcheck"]["test"]
    assert check[0] == "CMD"


@pytest.mark.parametrize("name", OURS)
def test_our_services_share_one_image_and_run_existing_commands_in_exec_form(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == "loyalty-worker"
    assert isinstance(service["command"], list)
    command = [registered.name or registered.callback.__name__ for registered in build_app().registered_commands]
    groups = [group.name for group in build_app().registered_groups]
    assert service["command"][0] in [*command, *groups]


@pytest.mark.parametrize("name", ["intake", "worker", "beat"])
def test_roles_start_after_the_migration_and_get_time_to_stop(name: str) -> None:
    service = SERVICES[name]
    assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert int(service["stop_grace_period"].rstrip("s")) > 60
    assert service["restart"] == "unless-stopped"


def test_roles_connect_as_the_role_that_compose_makes_and_the_migration_grants_to() -> None:
    """`migrate` alone connects as the owner of the tables."""
    users = {}
    for name in OURS:
        url = SERVICES[name]["environment"]["LOYALTY_DATABASE_URL"]
        (users[name],) = re.findall(r"postgresql://(\w+):", url)
    owner, *others = (users[name] for name in OURS)
    assert owner == SERVICES["postgres"]["environment"]["POSTGRES_USER"] != others[0]
    (made,) = re.findall(r"CREATE ROLE (\w+) LOGIN", COMPOSE["configs"]["worker-role"]["content"])
    granted = SERVICES["migrate"]["command"][SERVICES["migrate"]["command"].index("--grant") + 1]
    assert {*others, made, re.findall(r":-(\w+)}", granted)[0]} == {made}


@pytest.mark.parametrize("name", OURS)
def test_our_services_may_do_and_take_no_more_than_they_need(name: str) -> None:
    service = SERVICES[name]
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
    mounts = dict(mount.split(":", 1) for mount in SERVICES[name]["tmpfs"])
    assert f"uid={uid}" in mounts[data_dir].split(",")


def test_a_workers_memory_is_enough_for_its_children_at_their_largest() -> None:
    gibibytes = int(SERVICES["worker"]["mem_limit"].removesuffix("g"))
    children_kib = Settings().worker_processes * _SETTINGS["worker_max_memory_per_child"]
    assert children_kib < gibibytes * 1024 * 1024 * 0.75


def test_the_valkey_of_compose_keeps_what_it_took() -> None:
    command = SERVICES["valkey"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_the_image_runs_as_its_own_user_from_the_hashed_lock_with_an_exec_entry_point() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in text
    assert re.search(r"^USER loyalty$", text, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["loyalty"\]$', text, re.MULTILINE)
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for word in shlex.split(line)[:-1]
    }
    assert all((ROOT / path).exists() for path in copied)
