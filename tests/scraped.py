"""What a port of a role tells, as Prometheus would read it."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """The one sample of these labels; 0 where there is none."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def sum(self, name: str, **labels: str) -> float:
        """All samples that have these labels, whatever others they have."""
        wanted = frozenset(labels.items())
        return sum(value for (each, found), value in self.samples.items() if each == name and wanted <= found)

    def label_values(self, name: str, label: str) -> set[str]:
        return {value for each, labels in self.samples if each == name for key, value in labels if key == label}

    def texts(self) -> Iterator[str]:
        """Every label value of every sample."""
        for _, labels in self.samples:
            yield from (value for _, value in labels)


def counted(folder: Path) -> Scraped:
    """What processes have counted in this folder, as the process with the port reads it."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    return Scraped(generate_latest(registry).decode())
