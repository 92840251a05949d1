"""What docs/security.md shows works: its sources file, and its signatures in Python and in a shell."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.domain.value.verbs import Verb
from core.messages.inbound.sources import sign
from core.messages.inbound.sources_file import parse_sources
from tests.factories import as_bytes, order
from tests.pages import ROOT, blocks

PAGE = ROOT / "docs/security.md"
SECRET = bytes(range(64, 104))
RAW = json.dumps(order(), ensure_ascii=False, indent=2).encode()


def test_the_file_of_sources_on_the_page_is_one() -> None:
    [text] = blocks(PAGE, "yaml")
    file = parse_sources(text, path="sources.yaml")
    assert [len(source.keys) for source in file.sources] == [2, 0, 1]
    assert [[each.command for each in source.commands] for source in file.sources] == [
        [], [], [Verb.CREDIT, Verb.ACCOUNT_FREEZE],
    ]  # fmt: skip


def test_the_page_names_every_command_that_can_be_granted() -> None:
    [paragraph] = [part for part in PAGE.read_text().split("\n\n") if part.startswith("Points are money")]
    listed = paragraph.partition("in its type: ")[2].partition(". Those")[0]
    assert re.findall(r"`([a-z.]+)`", listed) == list(Verb)


def test_the_python_of_the_page_signs_as_we_check() -> None:
    [code] = blocks(PAGE, "python")
    found: dict[str, Any] = {}
    exec(code, found)  # noqa: S102  # the page's own code
    assert found["signature"](RAW, "2026-11", SECRET) == sign(RAW, "2026-11", SECRET)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_the_shell_line_of_the_page_signs_as_we_check(tmp_path: Path) -> None:
    [command] = [block for block in blocks(PAGE, "sh") if "openssl dgst" in block]
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "order.json").write_bytes(RAW)
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sign(RAW, "2026-11", SECRET)
    assert as_bytes(order()) != RAW, "the bytes as they are sent count"
