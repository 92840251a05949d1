"""Compose files as Compose reads them, as far as ours need it: variables, `extends`, overlays, profiles.

Where the plugin is there, tests/test_containers.py holds this against Compose itself.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.pages import ROOT

Services = dict[str, dict[str, Any]]

_NAME = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*))")


class NotSetError(Exception):
    """A variable that must be set is not."""


def services(*files: str, environment: Mapping[str, str]) -> Services:
    """The services that `docker compose` would start with these files, in an environment that includes `.env`."""
    merged: dict[str, Any] = {}
    for file in files:
        merged = _merged(merged, _read(ROOT / file, environment))
    profiles = {name for name in environment.get("COMPOSE_PROFILES", "").split(",") if name}
    started = {
        name: service
        for name, service in merged["services"].items()
        if not service.get("profiles") or profiles & set(service["profiles"])
    }
    for service in started.values():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in started or not how.get("required", True), f"{needed} is needed and not started"
        service["environment"] = _passed_on(_by_name(service.get("environment", {})), environment)
    return started


def services_by_compose(*files: str, environment: Mapping[str, str]) -> Services | None:
    """The same, by Compose's own parser; None where the plugin is not there."""
    options = [word for file in files for word in ("-f", file)]
    try:
        done = subprocess.run(
            ["docker", "compose", *options, "--env-file", "/dev/null", "config", "--format", "json"],
            cwd=ROOT,
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    if "unknown command" in done.stderr or "is not a docker command" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    read: Services = json.loads(done.stdout)["services"]
    return read


def dotenv(text: str) -> dict[str, str]:
    """The variables of a file of lines such as `.env`."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)  # type: ignore[misc]


def substituted(text: str, environment: Mapping[str, str]) -> str:
    """Fill in `$NAME`, `${NAME}`, and the forms with `:-`, `-`, `:?` and `?`, whose words may hold others."""
    done, at = "", 0
    while found := _NAME.search(text, at):
        done += text[at : found.start()]
        at = found.end()
        if found[1]:
            done += "$"
        elif found[2]:
            done += environment.get(found[2], "")
        else:
            end = _closing_brace(text, at)
            done += _value(found[3], text[at:end], environment)
            at = end + 1
    return done + text[at:]


def _value(name: str, rest: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name)
    operator = re.match(r":?[-?]", rest)
    if operator is None:
        assert rest == "", rest
        return value or ""
    is_given = bool(value) if operator[0].startswith(":") else value is not None
    word = rest[operator.end() :]
    if is_given:
        return value or ""
    if operator[0].endswith("?"):
        raise NotSetError(name, word)
    return substituted(word, environment)


def _closing_brace(text: str, at: int) -> int:
    depth = 1
    while depth:
        depth += (text[at : at + 2] == "${") - (text[at] == "}")
        at += 1
    return at - 1


def _read(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    file: dict[str, Any] = _filled(yaml.safe_load(path.read_text()), environment)
    for name, service in file["services"].items():
        if "extends" in service:
            base = service.pop("extends")
            of_base = _read(path.parent / base["file"], environment)["services"][base["service"]]
            file["services"][name] = _merged(of_base, service)
    return file


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    match value:
        case str():
            return substituted(value, environment)
        case dict():
            return {name: _filled(item, environment) for name, item in value.items()}
        case list():
            return [_filled(item, environment) for item in value]
    return value


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {**below, **above}
    for name in below.keys() & above.keys():
        if name == "environment":
            both[name] = {**_by_name(below[name]), **_by_name(above[name])}
        elif isinstance(below[name], dict) and isinstance(above[name], dict):
            both[name] = _merged(below[name], above[name])
        else:
            assert not isinstance(below[name], list), f"{name}: Compose has rules for lists, of which ours need none"
    return both


def _by_name(variables: dict[str, Any] | list[str]) -> dict[str, Any]:
    """Variables in either form; None for one that has no value in the file."""
    if isinstance(variables, dict):
        return variables
    pairs = [item.partition("=") for item in variables]
    return {name: value if equals else None for name, equals, value in pairs}


def _passed_on(given: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """A variable without a value is that of the caller, and unset where he has none."""
    own = {name: environment.get(name) if value is None else str(value) for name, value in given.items()}
    return {name: value for name, value in own.items() if value is not None}
