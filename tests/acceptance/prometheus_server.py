"""A real Prometheus that scrapes the ports of a running stack, each second."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.acceptance.whole_worker import wait_until
from tests.pages import ROOT

INSTALLED = shutil.which("prometheus") is not None
RULES_FILE = ROOT / "deploy/monitoring/rules.yml"


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens at."""
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            try:
                for port in range(first + 1, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except (OSError, OverflowError):
                continue
            return int(first)


class Prometheus:
    """Asks it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that an expression has now; it must be one that Prometheus takes."""
        return list(self._ask("query", query=expression)["result"])

    def value(self, expression: str) -> float | None:
        """The one sample; None where there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def targets_up(self) -> int:
        return sum(target["health"] == "up" for target in self._ask("targets")["activeTargets"])

    def is_ready(self) -> bool:
        try:
            with urlopen(f"{self._url}/-/ready", timeout=10) as response:  # noqa: S310  # of our own
                return bool(response.status == 200)
        except (URLError, ConnectionError):
            return False

    def _ask(self, what: str, **parameters: str) -> Any:
        with urlopen(f"{self._url}/api/v1/{what}?{urlencode(parameters)}", timeout=60) as response:  # noqa: S310
            document = json.load(response)
        assert document["status"] == "success", document
        return document["data"]


@contextmanager
def scraping(folder: Path, ports: range) -> Iterator[Prometheus]:
    """Run it on these ports, with our rules."""
    listen = f"127.0.0.1:{free_ports(1)}"
    targets = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES_FILE)],
        "scrape_configs": [{"job_name": "loyalty", "static_configs": targets}],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address={listen}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        prometheus = Prometheus(f"http://{listen}")
        wait_until(prometheus.is_ready, lambda: (folder / "prometheus.log").read_text()[-2000:])
        yield prometheus
    finally:
        process.terminate()
        process.wait(30)
