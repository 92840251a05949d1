"""The demo's page for a manager: its figures are the ledger's, and it needs nothing but itself."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser

import pytest

from core.store.engine import create_database_engine
from tests.conftest import OpenDatabase
from tests.pages import README, ROOT
from tests.shell import Shell
from workers.demo.figures import changed_program, load_figures
from workers.demo.page import demo_page
from workers.demo.sample import load_traffic

EXAMPLE = (ROOT / "config/programs/example.yaml").read_text()
CHANGED = EXAMPLE.replace('silver: "1.25", gold: "1.5"', 'silver: "1.5", gold: "2"')
MESSAGES = 300
CONTRAST_MIN = 4.5


@cache
def messages() -> list[bytes]:
    """The first orders and cancellations of the demo."""
    return [body for _, body in load_traffic(datetime.now(UTC)).messages[:MESSAGES]]


@contextmanager
def books(open_database: OpenDatabase, program_text: str) -> Iterator[Shell]:
    """What they come to under a program, expired up to now."""
    with open_database() as url:
        engine = create_database_engine(url)
        shell = Shell(engine, program_text=program_text)
        shell.take(*messages())
        shell.expire(datetime.now(UTC).isoformat())
        yield shell
        engine.dispose()


class Page(HTMLParser):
    """What a reader finds on the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.facts: dict[str, str] = {}
        self.open: list[str] = []
        self.names: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)
        if tag == "tr" and self.names:
            self.tables[self.names[-1]].append([])

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        match self.open[-1] if self.open else "":
            case "caption":
                self.names.append(data)
                self.tables[data] = []
            case "td" | "th":
                self.tables[self.names[-1]][-1].append(data)
            case "dt":
                self.names.append(data)
            case "dd":
                self.facts[self.names.pop()] = data

    def column(self, caption: str, header: str) -> dict[str, str]:
        headers, *rows = self.tables[caption]
        place = headers.index(header)
        return {row[0]: row[place] for row in rows}


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.fixture(scope="module")
def shell(open_database: OpenDatabase) -> Iterator[Shell]:
    with books(open_database, EXAMPLE) as shell:
        yield shell


@pytest.fixture(scope="module")
def text(shell: Shell) -> str:
    return demo_page(load_figures(shell.engine, changed_program(EXAMPLE)))


@pytest.fixture(scope="module")
def found(text: str) -> Page:
    return Page(text)


def test_its_figures_are_those_of_the_ledger(shell: Shell, found: Page) -> None:
    moved = dict(shell.rows("SELECT kind, sum(points) FROM entries GROUP BY kind"))
    held = shell.value("SELECT sum(points_remaining) FROM lots") - shell.value("SELECT sum(deficit) FROM accounts")
    assert {kind for kind, points in moved.items() if points} == {"accrual", "clawback", "expiry"}
    shown = {name: number(value) for name, value in found.facts.items()}
    assert shown == {
        "Issued": moved["accrual"], "Taken back": -moved["clawback"], "Expired": -moved["expiry"], "Open": held
    }  # fmt: skip
    assert shown["Issued"] - shown["Taken back"] - shown["Expired"] == shown["Open"]
    for header in ("Issued", "Taken back", "Expired"):
        assert sum(map(number, found.column("Points in each month", header).values())) == shown[header]
    tiers = "Customers by tier, and the points that they hold"
    in_tiers = dict(shell.rows("SELECT tier_id, count(*) FROM accounts GROUP BY tier_id"))
    customers = {tier: number(count) for tier, count in found.column(tiers, "Customers").items()}
    assert customers == {"bronze": 0, "silver": 0, "gold": 0, **in_tiers}
    assert sum(map(number, found.column(tiers, "Open points").values())) == shown["Open"]


def test_another_program_costs_what_it_comes_to_when_it_is_in_force(
    shell: Shell, found: Page, open_database: OpenDatabase
) -> None:
    caption = "The same orders under both programs"

    def check(column: str, ledger: Shell) -> int:
        shown = found.column(caption, column)
        issued = ledger.value("SELECT sum(points) FROM entries WHERE kind = 'accrual'")
        held = int(ledger.value("SELECT sum(balance + pending) FROM accounts"))
        assert (number(shown["Points issued"]), number(shown["Points open"])) == (issued, held)
        assert number(shown["Points taken back or expired"]) == issued - held
        assert shown["Worth of the open points"] == f"GBP {held / 100:,.2f}"
        return held

    with books(open_database, CHANGED) as other:
        more = check("Changed", other) - check("Today", shell)
    assert more > 0
    assert found.column(caption, "Difference")["Points open"] == f"+{more:,}"


def test_it_needs_nothing_but_itself(text: str, found: Page) -> None:
    assert {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object", "base", "form"} == set()
    assert re.findall(r"https?:|url\(|@import| (?:src|href|on\w+)=", text) == []
    policies = [given.get("content") for tag, given in found.tags if tag == "meta" and "http-equiv" in given]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_it_can_be_read_aloud_and_seen_by_everybody(text: str, found: Page) -> None:
    tags = found.tags
    assert [given["lang"] for tag, given in tags if tag == "html"] == ["en"]
    assert sum(tag == "h1" for tag, _ in tags) == sum(tag == "main" for tag, _ in tags) == 1
    assert sum(tag == "table" for tag, _ in tags) == sum(tag == "caption" for tag, _ in tags) == len(found.tables)
    assert {given.get("scope") for tag, given in tags if tag == "th"} == {"col", "row"}
    ids = {given["id"] for _, given in tags if "id" in given}
    charts = [given for tag, given in tags if tag == "svg"]
    assert [chart["role"] for chart in charts] == ["img"]
    assert {name for chart in charts for name in str(chart["aria-labelledby"]).split()} <= ids
    assert [ratio for ratio in contrasts(text) if ratio < CONTRAST_MIN] == []


def contrasts(text: str) -> Iterator[float]:
    """Each colour of text and of what is to be told apart, against the white page."""
    colours = set(re.findall(r"(?:(?<![-\w])color|fill|border-top-color): (#[0-9a-f]{6})", text))
    assert len(colours) > 3
    for colour in colours:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        yield 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def test_its_picture_stands_in_the_readme_and_is_small() -> None:
    pictures = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", README.read_text())
    assert [path for _, path in pictures] == ["docs/images/demo-report.png"]
    assert all(len(said) > 40 for said, _ in pictures), "what it shows stands in its text"
    assert (ROOT / pictures[0][1]).stat().st_size < 100_000
