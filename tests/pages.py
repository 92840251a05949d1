"""The README and the docs as tests read them: their code blocks, their inline code, their headings and links."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = (
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "clients" / "python" / "README.md",
)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_HERE_DOCUMENT = re.compile(r"<<'?(\w+)'?$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language."""
    return [body for found, body in _BLOCK.findall(page.read_text(encoding="utf-8")) if found == language]


def sql_queries(page: Path) -> list[tuple[str, str]]:
    """Each SQL query with the paragraph above it."""
    return re.findall(r"((?:.+\n)+)\n```sql\n([^`]+)```", page.read_text(encoding="utf-8"))


def inline_code(page: Path) -> list[str]:
    """What stands between backticks, outside of blocks."""
    return _INLINE.findall(_BLOCK.sub("", page.read_text(encoding="utf-8")))


def commands(block: str) -> Iterator[str]:
    """Each command of a shell block, with its here-document."""
    lines = iter(block.splitlines())
    for line in lines:
        here = _HERE_DOCUMENT.search(line)
        if not line.strip() or line.startswith("#"):
            continue
        if here is None:
            yield line
            continue
        document = [line]
        for following in lines:
            document.append(following)
            if following == here[1]:
                break
        yield "\n".join(document)


def section(page: Path, start: str, end: str) -> str:
    """The text from one heading to another."""
    text = page.read_text(encoding="utf-8")
    return text[text.index(f"\n{start}\n") : text.index(f"\n{end}\n")]


def section_commands(page: Path, start: str, end: str) -> list[str]:
    """Every command of the shell blocks between two headings."""
    found = _BLOCK.findall(section(page, start, end))
    return [command for language, body in found if language == "sh" for command in commands(body)]


def table(page: Path, first_heading: str) -> list[list[str]]:
    """The cells of each row of the table whose first column has this heading."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(f"| {first_heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def links(page: Path) -> list[str]:
    """Where the page points to within this repository."""
    return [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """The names that links may use for the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
