"""What a protection is, and how it is seen that one was taken out."""

from collections.abc import Sequence
from typing import NamedTuple


class Edit(NamedTuple):
    """A text that stands in a file exactly once, and what takes its place."""

    file: str
    text: str
    replacement: str


class Protection(NamedTuple):
    """What keeps a promise, and how it is seen to be kept."""

    name: str
    promise: str
    edits: tuple[Edit, ...]  #: that take the protection out, and nothing else
    tests: tuple[str, ...] = ()  #: that must fail then; none: the simulation must
    seeds: tuple[int, ...] = ()  #: that have noticed; when that has become untrue, others will
    needs_rabbitmq: bool = False


def simulation_command(first: Sequence[int], count: int) -> tuple[str, ...]:
    """Arguments to Python: these seeds, and then `count` others."""
    return ("-m", "tests.interleaving", "--jobs", "1", "--seeds", str(count), "--first", *map(str, first))


def pytest_command(names: Sequence[str]) -> tuple[str, ...]:
    """Arguments to Python: these tests, up to the first that fails."""
    return ("-m", "pytest", "-x", "-q", "--tb=short", "-p", "no:randomly", "-p", "no:cacheprovider", *names)
