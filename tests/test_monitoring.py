"""Dashboard, alarms and the configuration of Prometheus: they name what there is, and Prometheus takes them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.pages import ROOT, anchors
from workers.metrics.families import FAMILIES, series_of

MONITORING = ROOT / "deploy/monitoring"
RULES = yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"][0]["rules"]
WAITS = {rule["alert"]: rule.get("for", "") for rule in RULES}
DASHBOARD = json.loads((MONITORING / "grafana/dashboards/loyalty.json").read_text())

#: What Prometheus and its client add to ours.
OF_OTHERS = {
    "ALERTS": frozenset({"alertname", "alertstate"}),
    "process_cpu_seconds_total": frozenset[str](),
    "process_resident_memory_bytes": frozenset[str](),
}
OF_TARGETS = frozenset({"job", "instance"})
SERIES = series_of(FAMILIES) | OF_OTHERS
FUNCTIONS = {
    "absent", "by", "clamp_min", "group_left", "histogram_quantile", "increase", "max", "min", "on", "or", "rate",
    "sum", "time", "unless", "vector",
}  # fmt: skip
_STRING = re.compile(r'"[^"]*"')
_RANGE = re.compile(r"\[[^]]*\]")
_SELECTOR = re.compile(r"\{([^}]*)\}")
_GROUPING = re.compile(r"\b(?:by|on|group_left) \(([^)]*)\)")


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]


def expressions() -> list[tuple[str, str]]:
    return [*((f"alert {rule['alert']}", rule["expr"]) for rule in RULES), *dashboard_expressions()]


def wrong_names(expression: str) -> set[str]:
    """What an expression names that is neither a series with such labels nor a word of the language."""
    bare = _RANGE.sub("", expression)
    wrong = set()
    for name, selector in re.findall(r"\b([A-Za-z_:][\w:]*)(\{[^}]*\})?", _STRING.sub('""', bare)):
        if name in SERIES:
            labels = {part.strip() for part in re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector)}
            wrong |= {f"{name}{{{label}}}" for label in labels - SERIES[name] - OF_TARGETS}
    grouped = {label.strip() for group in _GROUPING.findall(bare) for label in group.split(",")}
    known = frozenset().union(*SERIES.values(), OF_TARGETS)
    wrong |= grouped - known
    rest = _GROUPING.sub("", _SELECTOR.sub("", _STRING.sub('""', bare)))
    return wrong | (set(re.findall(r"\b[A-Za-z_:][\w:]*", rest)) - SERIES.keys() - FUNCTIONS)


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("max(loyalty_inbox_lag_seconds) > 60", set()),
        ("max(loyalty_inbox_lag) > 60", {"loyalty_inbox_lag"}),
        ('sum by (le) (rate(loyalty_intake_seconds_bucket{kind="x"}[5m]))', {"loyalty_intake_seconds_bucket{kind}"}),
        ("sum by (customer) (loyalty_dead_letters)", {"customer"}),
    ],
)
def test_what_does_not_exist_is_found_in_an_expression(expression: str, wrong: set[str]) -> None:
    assert wrong_names(expression) == wrong


@pytest.mark.parametrize(("where", "expression"), expressions(), ids=lambda each: each[:40])
def test_every_expression_names_metrics_and_labels_that_exist(where: str, expression: str) -> None:
    assert wrong_names(expression) == set(), where


def test_every_legend_names_labels_that_are_left() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = {label.strip() for group in _GROUPING.findall(target["expr"]) for label in group.split(",")}
            assert legend <= grouped | OF_TARGETS, panel["title"]


def test_panels_have_ids_of_their_own_and_lie_beside_each_other() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_shows_every_kind_of_metric_but_what_only_describes() -> None:
    shown = " ".join(expression for _, expression in expressions())
    missing = {family.name for family in FAMILIES if family.name not in shown}
    assert missing == {"loyalty_queue_intakes", "loyalty_ticks_total", "loyalty_ledger_differences_found_total"}


def test_every_alarm_leads_to_a_heading_of_the_operators_page_and_is_named_there() -> None:
    page = ROOT / "docs/operations.md"
    headings, text = anchors(page), page.read_text()
    for rule in RULES:
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (path, anchor in headings) == ("docs/operations.md", True), rule["alert"]
        assert f"`{rule['alert']}`" in text


def test_every_alarm_is_in_the_page_of_monitoring_with_its_severity() -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    for rule in RULES:
        assert f"| `{rule['alert']}` | {rule['labels']['severity']} |" in page


def test_the_page_says_of_every_alarm_that_waits_for_how_long() -> None:
    page = (ROOT / "docs/monitoring.md").read_text()
    rows = {rule["alert"]: next(line for line in page.splitlines() if f"| `{rule['alert']}`" in line) for rule in RULES}
    words = {"1m": r"for a minute|likewise", "2m": r"for two minutes"}
    assert [name for name, row in rows.items() if not re.search(words.get(WAITS[name], ""), row)] == []


def test_every_alarm_has_a_test_of_its_own_in_the_words_of_promtool() -> None:
    tested = (MONITORING / "rules.test.yml").read_text()
    assert [rule["alert"] for rule in RULES if rule["alert"].removeprefix("Loyalty") not in _names(tested)] == []


def _names(text: str) -> set[str]:
    found = set(re.findall(r"Loyalty(\w+)", text))
    return found | {name for either in re.findall(r"Loyalty\(([\w|]+)\)Down", text) for name in _downs(either)}


def _downs(either: str) -> set[str]:
    return {f"{name}Down" for name in either.split("|")}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: install Debian's package prometheus")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("check", "config", "prometheus-compose.yml"),
        ("test", "rules", "rules.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_takes_the_files_and_every_alarm_rings_when_it_should(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert (done.returncode, "FAILED" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr


def test_what_prometheus_scrapes_are_the_ports_of_the_page() -> None:
    ports = {f"{port}" for port in (9480, 9481, 9482)}
    on_one_machine: Any = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    targets = on_one_machine["scrape_configs"][0]["static_configs"][0]["targets"]
    assert {target.rpartition(":")[2] for target in targets} == ports
    in_compose: Any = yaml.safe_load((MONITORING / "prometheus-compose.yml").read_text())
    names = in_compose["scrape_configs"][0]["dns_sd_configs"]
    assert [(each["names"][0], each["port"]) for each in names] == [
        ("loyalty-intake", 9480),
        ("loyalty-worker", 9481),
        ("loyalty-beat", 9482),
    ]
