"""What people read is plain: points expire, things are not something, and lay readers meet no word of the machinery."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from core.errors import LoyaltyError
from tests.pages import PAGES, ROOT
from workers.cli import build_app

#: What nobody reads, and what stands for it.
PLAIN = {
    r"(?<!here )\b(?:is|are|was|were|be) no (?!longer\b|more\b|sooner\b)": "is not a …",
    r"\b(?:points?|lots?) (?:that |which )?(?:end|ends|ended)\b(?! (?:up|with))": "expire",
    r"\bnever ends?\b|\bended on\b|\bends on\b|\bwithout end\b": "never expires; good until",
    r"\bat most so (?:long|many|much)\b|\bthe last so many\b": "at most this long",
    r"\b[Ww]hich \w+ (?:that|it) is, says\b": "… says which",
}
#: What those do not read who answer customers, own the points, or only try it: words of how the worker is built.
LAY = {
    r"\bshards?\b": "what is posted, and how long it has waited",
    r"\bnudges?\b|\bnudge_lost\b": "the worker is told",
    r"\b(?:in|out)box_after\b|\bwalk_began_at\b": "(nothing: it is for the next run)",
    r"\b[Ll]ots? (?:number\b|\d|\{)": "points, and until when they are good",
}
LAY_PAGES = [ROOT / "docs" / name for name in ("support.md", "simulating.md")]


def faults(text: str, words: dict[str, str], where: str) -> list[str]:
    """Each word of the list that the text has, with what to write."""
    found = [(match, plain) for word, plain in words.items() for match in re.finditer(word, text)]
    return [f"{where}: {text[max(0, m.start() - 40) : m.end() + 20]!r}: write {plain!r}" for m, plain in found]


def prose(page: Path) -> str:
    return " ".join(re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL).split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_says_it_in_other_words(page: Path) -> None:
    assert faults(prose(page), PLAIN | (LAY if page in LAY_PAGES else {}), page.name) == []


def sentences(path: Path) -> Iterator[str]:
    """The texts in a file that are made for people: those with a blank in them, but no docstrings and no SQL."""
    tree = ast.parse(path.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    pieces = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs | pieces:
            text = node.value
        elif isinstance(node, ast.JoinedStr) and id(node) not in docs:
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        else:
            continue
        if " " in text.strip() and not re.search(r"\b(?:SELECT|UPDATE|WHERE|CHECK|FROM [a-z])\b", text):
            yield text


def errors(kind: type[LoyaltyError] = LoyaltyError) -> Iterator[type[LoyaltyError]]:
    for each in kind.__subclasses__():
        yield each
        yield from errors(each)


def helps(command: Any) -> Iterator[str]:
    """The help of each command, and of its options."""
    yield command.help or ""
    yield from (getattr(each, "help", None) or "" for each in command.params)
    for each in getattr(command, "commands", {}).values():
        yield from helps(each)


def test_no_message_says_it_in_other_words() -> None:
    found: list[str] = []
    for path in (each for folder in ("core", "workers", "tasks", "config") for each in ROOT.glob(f"{folder}/**/*.py")):
        is_lay = path.parts[-2] in {"cli", "demo"} or path.parts[-3:-1] == ("program_files",)
        for text in sentences(path):
            found += faults(text, PLAIN | LAY if is_lay else PLAIN, path.name)
    for each in errors():
        found += faults(each.__doc__ or "", PLAIN | LAY, each.__name__)
    for text in helps(typer.main.get_command(build_app())):
        found += faults(text, PLAIN | LAY, "help")
    assert found == []


@pytest.mark.parametrize(
    "text",
    ["`yesterday` is no instant", "12 points never end", "points that ended", "3 points end on Friday", "lot 7 of 9"],
)
def test_the_list_knows_what_it_looks_for(text: str) -> None:
    assert faults(text, PLAIN | LAY, "")


def test_what_is_right_is_left_alone() -> None:
    for text in ("There is no program x.", "it is no longer there", "many refunds end up there", "no lots to extend"):
        assert faults(text, PLAIN | LAY, "") == []
