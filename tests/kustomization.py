"""Kustomizations as kustomize builds them, as far as ours need it.

Where kubectl is there, tests/test_kubernetes.py holds this against kustomize itself.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]
Build = list[Resource]

#: By which of its fields an item of a list is the same one, so that a patch is laid over it; other lists are replaced.
_KEYS = ("name", "mountPath")
_LABEL_TERM = re.compile(r"([\w./-]+)(?: in \(([^)]*)\)|=([\w.-]+))")
_HASH = re.compile(r"-[0-9a-z]{10}$")


def build(folder: Path) -> Build:
    """What `kubectl apply -k` would apply, but for the hash in the name of what is generated."""
    return _built(folder, [])


def build_by_kustomize(folder: Path) -> Build | None:
    """The same, by kustomize itself; None where kubectl is not there."""
    if shutil.which("kubectl") is None:
        return None
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [_without_hash(resource) for resource in yaml.safe_load_all(done.stdout)]


def strings(value: Any) -> Iterator[str]:
    """Every text in a resource."""
    match value:
        case dict():
            for item in value.values():
                yield from strings(item)
        case list():
            for item in value:
                yield from strings(item)
        case str():
            yield value


def _built(folder: Path, below: Build) -> Build:
    """Take up a kustomization; what it is laid over, of a component, is changed too."""
    file = yaml.safe_load((folder / "kustomization.yaml").read_text())
    known = {
        "apiVersion", "kind", "resources", "components", "patches", "configMapGenerator", "images", "namespace",
        "nameSuffix",
    }  # fmt: skip
    assert set(file) <= known, f"{folder}: {set(file) - known} is not read here"
    found = list(below)
    for resource in file.get("resources", []):
        path = folder / resource
        found += _built(path, []) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for component in file.get("components", []):
        found = _built(folder / component, found)
    for generator in file.get("configMapGenerator", []):
        found = _generated(folder, generator, found)
    for patch in file.get("patches", []):
        found = [_patched(folder, patch, resource) for resource in found]
    for image in file.get("images", []):
        named = f"{image['newName']}:{image['newTag']}"
        found = [
            _replaced(resource, lambda key, text, i=image, n=named: n if (key, text) == ("image", i["name"]) else text)
            for resource in found
        ]
    return [_named(resource, file) for resource in found]


def _named(resource: Resource, file: dict[str, Any]) -> Resource:
    metadata = {**resource["metadata"], "name": resource["metadata"]["name"] + file.get("nameSuffix", "")}
    if "namespace" in file and resource["kind"] != "Namespace":
        metadata["namespace"] = file["namespace"]
    return {**resource, "metadata": metadata}


def _generated(folder: Path, generator: dict[str, Any], found: Build) -> Build:
    lines = [line for name in generator.get("envs", []) for line in (folder / name).read_text().splitlines()]
    data = dict(line.split("=", 1) for line in [*lines, *generator.get("literals", [])])
    if generator.get("behavior") == "merge":
        (below,) = [
            each for each in found if each["kind"] == "ConfigMap" and each["metadata"]["name"] == generator["name"]
        ]
        return [{**each, "data": each["data"] | data} if each is below else each for each in found]
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}
    return [*found, made]


def _patched(folder: Path, patch: dict[str, Any], resource: Resource) -> Resource:
    if not _is_target(patch["target"], resource):
        return resource
    change = yaml.safe_load((folder / patch["path"]).read_text() if "path" in patch else patch["patch"])
    if isinstance(change, list):
        copied: Resource = json.loads(json.dumps(resource))
        for step in change:
            assert step["op"] == "remove"
            *parents, last = step["path"].strip("/").split("/")
            place = copied
            for parent in parents:
                place = place[parent]
            del place[last]
        return copied
    return {**resource, "spec": _merged(resource["spec"], change["spec"])}


def _is_target(target: dict[str, str], resource: Resource) -> bool:
    labels = resource["metadata"].get("labels", {})
    return (
        target.get("kind", resource["kind"]) == resource["kind"]
        and target.get("name", resource["metadata"]["name"]) == resource["metadata"]["name"]
        and all(
            labels.get(name) in (several.split(",") if several else [one])
            for name, several, one in _LABEL_TERM.findall(target.get("labelSelector", ""))
        )
    )


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{name: _merged(below.get(name), value) for name, value in above.items()}}
    if isinstance(below, list) and isinstance(above, list):
        key = next(
            (key for key in _KEYS if all(isinstance(item, dict) and key in item for item in below + above)), None
        )
        if key is not None:
            over = {item[key]: item for item in above}
            kept = [_merged(item, over.pop(item[key])) if item[key] in over else item for item in below]
            return [*over.values(), *kept]
    return above


def _replaced(value: Any, replace: Callable[[str, str], str], key: str = "") -> Any:
    match value:
        case dict():
            return {name: _replaced(item, replace, name) for name, item in value.items()}
        case list():
            return [_replaced(item, replace, key) for item in value]
        case str():
            return replace(key, value)
    return value


def _without_hash(resource: Resource) -> Resource:
    """The name of what is generated as it was given, here and where it is referred to."""
    is_generated = resource["kind"] == "ConfigMap"
    metadata = resource["metadata"]
    if is_generated:
        metadata = {**metadata, "name": _HASH.sub("", metadata["name"])}
    unhashed: Resource = _replaced(
        resource, lambda _, text: _HASH.sub("", text) if text.startswith("loyalty-settings-") else text
    )
    return {**unhashed, "metadata": {**unhashed["metadata"], "name": metadata["name"]}}
