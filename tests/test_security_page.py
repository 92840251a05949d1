"""What docs/security.md shows works: its sources file, and its signatures in Python and in a shell."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

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
    assert [len(source.keys) for source in file.sources] == [2, 0]


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
