"""The container files, as far as they can be held without an engine: what they run exists, and they keep the rules."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

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
