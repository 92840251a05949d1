"""Every input that was ever found interesting, or that once failed, keeps the promises of its parser."""

from pathlib import Path

import pytest

from tests.fuzz.parsers import CORPUS, PARSERS

INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_of_the_corpus_keeps_the_promises_of_its_parser(path: Path) -> None:
    PARSERS[path.parent.name](path.read_bytes())


def test_every_parser_has_a_corpus() -> None:
    assert {path.parent.name for path in INPUTS} == set(PARSERS)
