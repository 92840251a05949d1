"""The files for Kubernetes: valid by its own schemas, what they run exists, and pods get no more than they need."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import typer
from sqlalchemy import Engine, text

from config.settings import ROLE_NAMES, Settings
from core.store.engine import create_database_engine
from core.store.grants import grant_role
from tests.database_roles import database_role
from tests.factories import order
from tests.kustomization import Build, Resource, build, build_by_kustomize, strings
from tests.pages import ROOT, section_commands
from tests.shell import Shell
from tests.test_docs import CommandLine
from workers import health
from workers.celery_app import _SETTINGS
from workers.cli import build_app
from workers.stack import STOP_SECONDS

FOLDER = ROOT / "deploy/kubernetes"
#: Kustomizations that can be built by themselves.
ALONE = ("base", "migration", "example")
#: A release of Kubernetes that is in wide use, and the newest that the tool knows.
RELEASES = ("1.31", "1.37")
#: Kinds of KEDA and of the Prometheus Operator, whose schemas are their own.
FOREIGN = {"ScaledObject", "TriggerAuthentication", "PodMonitor"}
RUNNING = {"StatefulSet", "Deployment", "Job"}


@cache
def built(name: str) -> Build:
    return build(FOLDER / name)


def of_kind(*kinds: str, name: str = "example") -> list[Resource]:
    return [resource for resource in built(name) if resource["kind"] in kinds]


def pod_of(resource: Resource) -> dict[str, Any]:
    pod: dict[str, Any] = resource["spec"]["template"]["spec"]
    return pod


def containers(resource: Resource) -> list[dict[str, Any]]:
    pod = pod_of(resource)
    return [*pod["containers"], *pod.get("initContainers", [])]


def every_container() -> Iterator[Any]:
    for resource in of_kind(*RUNNING):
        for container in containers(resource):
            yield pytest.param(container, id=f"{resource['metadata']['name']} {container['name']}")


def role(name: str) -> Resource:
    (found,) = [each for each in of_kind(*RUNNING) if each["metadata"]["name"] == f"loyalty-{name}"]
    return found


def quantity_mib(text_of: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text_of).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit == "Gi" else 1)


@pytest.mark.parametrize("name", ALONE)
def test_our_reader_builds_as_kustomize_itself(name: str) -> None:
    by_kustomize = build_by_kustomize(FOLDER / name)
    if by_kustomize is None:
        pytest.skip("no kubectl here")

    def by_name(resources: Build) -> dict[tuple[str, str], Resource]:
        return {(each["kind"], each["metadata"]["name"]): each for each in resources}

    assert by_name(built(name)) == by_name(by_kustomize)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", ALONE)
def test_every_resource_is_valid_by_the_schemas_of_kubernetes(name: str, release: str) -> None:
    resources = [resource for resource in built(name) if resource["kind"] not in FOREIGN]
    assert resources
    for resource in resources:
        kubernetes_validate.validate(resource, release, strict=True)


def test_the_roles_are_those_that_there_are_and_each_can_be_evicted_one_by_one() -> None:
    components = {
        each["metadata"]["labels"]["app.kubernetes.io/component"] for each in of_kind("StatefulSet", "Deployment")
    }
    assert components == set(ROLE_NAMES)
    for budget in of_kind("PodDisruptionBudget"):
        chosen = [
            each
            for each in of_kind("StatefulSet", "Deployment")
            if budget["spec"]["selector"]["matchLabels"].items()
            <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert [each["metadata"]["name"] for each in chosen] == [budget["metadata"]["name"]]
    for each in of_kind("StatefulSet", "Deployment", name="base"):
        assert each["spec"]["replicas"] >= 2, "of one pod none could be evicted"


@pytest.mark.parametrize("container", list(every_container()))
def test_a_container_runs_a_command_that_exists_from_the_image_that_is_named(container: dict[str, Any]) -> None:
    assert container["image"].startswith("registry.example/loyalty-worker:")
    command: CommandLine = typer.main.get_command(build_app())
    words = container["args"]
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    _, rest, _ = command.make_parser(typer.Context(command, info_name="loyalty")).parse_args(words)
    assert rest == []


@pytest.mark.parametrize("container", list(every_container()))
def test_a_container_keeps_the_restricted_standard_and_has_bounds(container: dict[str, Any]) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert quantity_mib(container["resources"]["limits"]["memory"]) <= 1024


@pytest.mark.parametrize("resource", of_kind(*RUNNING), ids=lambda each: str(each["metadata"]["name"]))
def test_a_pod_runs_as_the_user_of_the_image_and_speaks_to_no_cluster(resource: Resource) -> None:
    pod = pod_of(resource)
    (uid,) = re.findall(r"--uid (\d+)", (ROOT / "Dockerfile").read_text())
    context = pod["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["seccompProfile"]) == (
        True,
        int(uid),
        {"type": "RuntimeDefault"},
    )
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


@pytest.mark.parametrize("name", ROLE_NAMES)
def test_a_role_writes_to_memory_where_the_image_has_its_data_and_gets_its_time_to_stop(name: str) -> None:
    pod = pod_of(role(name))
    (data_dir,) = re.findall(r"LOYALTY_DATA_DIR=(\S+)", (ROOT / "Dockerfile").read_text())
    (container,) = pod["containers"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {data_dir, "/tmp"}  # noqa: S108
    assert all(volume["emptyDir"]["medium"] == "Memory" for volume in pod["volumes"])
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS
    assert container["args"] == ["up", "--role", name]


@pytest.mark.parametrize("name", ROLE_NAMES)
def test_a_role_is_asked_by_checks_that_exist_and_end_within_their_time(name: str) -> None:
    (container,) = pod_of(role(name))["containers"]
    for probe, question in (("startupProbe", "ready"), ("readinessProbe", "working"), ("livenessProbe", "live")):
        assert container[probe]["exec"]["command"] == ["python", "-m", "workers.health", question]
        assert question in health._CHECKS  # noqa: SLF001
    assert container["startupProbe"]["timeoutSeconds"] > health.CHECK_SECONDS_MAX
    liveness = container["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] > 90, "the supervisor comes first"


def test_a_workers_memory_is_enough_for_its_children_at_their_largest() -> None:
    (container,) = pod_of(role("worker"))["containers"]
    limit_mib = quantity_mib(container["resources"]["limits"]["memory"])
    assert Settings().worker_processes * _SETTINGS["worker_max_memory_per_child"] < limit_mib * 1024 * 0.75


def test_settings_are_settings_and_what_is_secret_comes_from_secrets_alone() -> None:
    (settings,) = of_kind("ConfigMap")
    known = {f"LOYALTY_{name.upper()}" for name in Settings.model_fields}
    assert set(settings["data"]) <= known
    assert not [name for name in settings["data"] if name.endswith(("_URL", "_KEY", "_SALT"))]
    assert of_kind("Secret") == []
    assert not [
        each for resource in built("example") for each in strings(resource) if re.search(r"\w+://\w+:\w+@", each)
    ]
    for name in ROLE_NAMES:
        for container in containers(role(name)):
            names = [next(iter(source.values()))["name"] for source in container["envFrom"]]
            assert names == ["loyalty-settings", "loyalty"], "the owner's address never reaches a role"


def test_the_page_makes_every_secret_with_every_key_in_the_namespace_of_the_example() -> None:
    page = ROOT / "docs/deployment.md"
    lines = section_commands(page, "## On Kubernetes", "## A broker that somebody else runs")
    made = {
        line.split()[-1]: set(re.findall(r"--from-literal=(\w+)=", line)) for line in lines if "create secret" in line
    }
    referred = {
        (each["name"], each["key"])
        for resource in built("example")
        for each in mappings(resource)
        if {"name", "key"} <= set(each)
    }
    assert {name for name, _ in referred} | {"loyalty"} == set(made)
    assert all(key in made[name] for name, key in referred)
    assert made["loyalty"] == {"LOYALTY_DATABASE_URL", "LOYALTY_BROKER_URL"}
    (namespace,) = of_kind("Namespace")
    assert {found for line in lines for found in re.findall(r"--namespace (\S+)", line)} == {
        namespace["metadata"]["name"]
    }
    paths = [word for line in lines for word in line.split() if word.startswith("deploy/")]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a resource."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings(item)


def test_the_migration_is_the_owners_and_is_checked_as_the_role_of_the_workers() -> None:
    (job,) = of_kind("Job")
    upgrade, check = pod_of(job)["initContainers"][0], pod_of(job)["containers"][0]
    secrets = [each["env"][0]["valueFrom"]["secretKeyRef"]["name"] for each in (upgrade, check)]
    assert secrets == ["loyalty-owner", "loyalty"]
    assert check["args"][-1] == "--check"
    assert job["metadata"]["name"] != "loyalty-migrate", "a Job cannot be changed, so each release has its own"


def test_pods_take_no_connections_and_open_them_to_names_and_servers_alone() -> None:
    (policy,) = of_kind("NetworkPolicy", name="base")
    spec = policy["spec"]
    assert (spec["policyTypes"], spec["ingress"]) == (["Ingress", "Egress"], [])
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind(*RUNNING)]
    assert all(spec["podSelector"]["matchLabels"].items() <= each.items() for each in labels)
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 5432, 5671, 5672, 6379}


def test_prometheus_is_let_in_to_the_port_of_each_role_and_to_nothing_else() -> None:
    (settings,) = of_kind("ConfigMap")
    first = int(settings["data"]["LOYALTY_METRICS_PORT"])
    for place, name in enumerate(ROLE_NAMES):
        (container,) = pod_of(role(name))["containers"]
        assert container["ports"] == [{"name": "metrics", "containerPort": first + place}]
    (monitor,) = of_kind("PodMonitor")
    assert [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]] == ["metrics"]
    added = [policy for policy in of_kind("NetworkPolicy") if policy["spec"]["policyTypes"] == ["Ingress"]]
    ((rule,),) = [policy["spec"]["ingress"] for policy in added]
    assert [port["port"] for port in rule["ports"]] == [first, first + 1, first + 2]
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind("StatefulSet", "Deployment")]
    for selector in (monitor["spec"]["selector"], added[0]["spec"]["podSelector"]):
        assert all(selector["matchLabels"].items() <= each.items() for each in labels)


def test_without_the_component_no_role_has_a_port() -> None:
    assert not [text for resource in built("base") for text in strings(resource) if "METRICS" in text]


def scaled() -> dict[str, Any]:
    (found,) = of_kind("ScaledObject")
    spec: dict[str, Any] = found["spec"]
    return spec


def test_workers_are_scaled_to_as_many_as_find_work_and_nobody_else_says_how_many() -> None:
    spec, (settings,) = scaled(), of_kind("ConfigMap")
    assert "replicas" not in role(spec["scaleTargetRef"]["name"].removeprefix("loyalty-"))["spec"]
    shards, children = (int(settings["data"][f"LOYALTY_{name}"]) for name in ("SHARDS", "WORKER_PROCESSES"))
    assert spec["maxReplicaCount"] == shards // children
    (authentication,) = of_kind("TriggerAuthentication")
    assert spec["triggers"][0]["authenticationRef"]["name"] == authentication["metadata"]["name"]


def test_the_query_of_scaling_counts_what_waits_and_a_role_that_may_only_read_may_ask_it(
    engine: Engine, database_url: str
) -> None:
    shell = Shell(engine)
    query = scaled()["triggers"][0]["metadata"]["query"]
    assert f"```sql\n{query}\n```" in (ROOT / "docs/deployment.md").read_text()
    shell.receive(order("o1"), order("o2"))
    with database_role(database_url, "keda_") as reader:
        with engine.begin() as connection:
            grant_role(connection, reader.name, read_only=True)
        asking = create_database_engine(reader.url)
        for waiting in (2, 0):
            with asking.connect() as connection:
                assert connection.execute(text(query)).scalar_one() == waiting
            shell.post()
        asking.dispose()
