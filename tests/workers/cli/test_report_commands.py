"""`loyalty report`: what is owed and what became of points, as text, CSV, JSON and a page; wrong use is named."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from core.domain.accounting.liability import rounded
from core.store.engine import create_database_engine
from tasks.liability import keep_liability
from tests.conftest import OpenDatabase
from tests.factories import PROGRAM_TEXT, order, refund
from tests.pages import ROOT
from tests.reading.books_by_hand import Hand
from tests.reading.everything import with_everything
from tests.shell import Shell
from tests.tasks.runtimes import make_runtime
from tests.workers.cli.command_line import CommandLine
from workers.demo.sample import load_traffic


@pytest.fixture
def books(engine: Engine, months_settle_at_once: None) -> Shell:
    shell = Shell(engine, program_text=None)
    with_everything(shell)
    return shell


@pytest.fixture(scope="module")
def demo_url(open_database: OpenDatabase) -> Iterator[str]:
    """The demo's data, all of them, posted and expired up to now."""
    with open_database() as url:
        engine = create_database_engine(url)
        shell = Shell(engine, program_text=(ROOT / "config/programs/example.yaml").read_text())
        shell.take(*(body for _, body in load_traffic(datetime.now(UTC)).messages))
        shell.expire(datetime.now(UTC).isoformat())
        engine.dispose()
        yield url


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


class Page(HTMLParser):
    """What a page loads, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.links: list[str | None] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.links += [value for name, value in attributes if name in {"src", "href"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


class TestOnTheDemosData:
    @pytest.mark.slow
    def test_every_figure_is_the_one_that_is_counted_by_hand(
        self, loyalty_alone: CommandLine, demo_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOYALTY_DATABASE_URL", demo_url)
        hand = Hand(demo_url.replace("postgresql+psycopg", "postgresql"), "high-street", "Europe/London")
        [owed] = loyalty_alone("report", "liability", "--json").json["programs"]
        keys = ("bucket", "tier", "earned_month", "last_month")
        counted = hand.liability(datetime.fromisoformat(owed["as_of"]))
        assert {tuple(line[key] for key in keys): line["points"] for line in owed["lines"]} == counted
        assert owed["points"]["outstanding"] == sum(counted.values()) > 1_000_000
        assert (owed["breakage"]["points_expired"], {}) == hand.history(datetime.fromisoformat(owed["as_of"]))
        [became] = loyalty_alone("report", "activity", "--json").json["programs"]
        keys = ("month", "flow", "cause_kind", "cause")
        assert {tuple(line[key] for key in keys): line["points"] for line in became["lines"]} == hand.activity()
        assert [month["points_after"] for month in became["months"]][-1] == owed["points"]["by_entries"]


class TestLiability:
    def test_is_told_in_points_and_money_by_tier_age_and_expiry(self, loyalty: CommandLine, books: Shell) -> None:
        text = loyalty("report", "liability", "--program", "test").out
        held = books.value("SELECT sum(balance + pending + reserved) FROM accounts WHERE program_id = 'test'")
        owed = int(held) - 70  # of the account c5, whose time is over
        worth = rounded(owed * Decimal("0.005"), "EUR")
        assert f"test owes {owed:,} points, worth EUR {worth:,}, at " in text
        assert re.search(r"Over, not owed +70 \(-\)", text)
        assert "By the month after which they expire" in text
        assert "for good" in text

    @pytest.mark.usefixtures("books")
    def test_of_all_programs_is_told_one_after_the_other(self, loyalty: CommandLine) -> None:
        text = loyalty("report", "liability").out
        assert [line.split()[0] for line in text.splitlines() if " owes " in line] == ["money", "test"]

    @pytest.mark.usefixtures("books")
    def test_is_told_as_csv_for_a_spreadsheet(self, loyalty: CommandLine) -> None:
        lines = rows_of(loyalty("report", "liability", "--csv").out)
        [_, document] = loyalty("report", "liability", "--json").json["programs"]
        points = Counter[str]()
        for line in lines:
            if line["program_id"] == "test":
                points[line["bucket"]] += int(line["points"])
        assert {bucket: points[bucket] for bucket in points} == {
            bucket: n for bucket, n in document["points"].items() if bucket in points
        }
        assert sum(points.values()) == document["points"]["by_entries"]

    @pytest.mark.usefixtures("books")
    def test_of_a_month_that_is_over_is_what_was_recorded_by_its_end(self, loyalty: CommandLine) -> None:
        months = loyalty("report", "activity", "--program", "test", "--json").json["programs"][0]["months"]
        for month in months[:-1]:
            [found] = loyalty("report", "liability", "--program", "test", "--month", month["month"], "--json").json[
                "programs"
            ]
            assert found["points"]["by_entries"] == month["points_after"]
            assert found["as_of"] == month["ends_at"]
            assert found["month"] == month["month"]
        at = loyalty("report", "liability", "--program", "test", "--as-of", months[0]["ends_at"], "--json").json
        assert at["programs"][0]["points"]["by_entries"] == months[0]["points_after"]

    def test_of_a_month_that_was_kept_is_what_was_kept(self, loyalty: CommandLine, books: Shell) -> None:
        month = books.value("SELECT to_char(min(recorded_at) AT TIME ZONE 'Europe/Berlin', 'YYYY-MM') FROM entries")
        asked = ("report", "liability", "--program", "test", "--month", month)
        assert "has not been kept yet" in loyalty(*asked).out
        [before] = loyalty(*asked, "--json").json["programs"]
        assert keep_liability(make_runtime(books.engine))["months"] == 4
        [after] = loyalty(*asked, "--json").json["programs"]
        assert after.pop("kept_at") is not None
        assert before.pop("kept_at") is None
        assert after == before
        text = loyalty(*asked).out
        assert "Kept at" in text
        assert "has not been kept yet" not in text

    def test_without_a_value_of_a_point_is_told_in_points_alone(self, loyalty: CommandLine, shell: Shell) -> None:
        shell.take(order())
        text = loyalty("report", "liability").out
        assert "test owes 100 points, at " in text
        assert "add point_value to its file" in text
        assert "nothing tells how many of these will expire unused" in text

    def test_says_that_nothing_is_owed_where_there_is_no_program(self, loyalty: CommandLine) -> None:
        assert loyalty("report", "liability").out == "No program has been applied yet, so nothing is owed.\n"
        assert loyalty("report", "activity", "--json").json == {"programs": []}


class TestActivity:
    @pytest.mark.usefixtures("books")
    def test_is_told_month_by_month_by_what_and_by_version(self, loyalty: CommandLine) -> None:
        text = loyalty("report", "activity", "--program", "test").out
        assert "Points in each month" in text
        for told in ("rule spend", "rule visit", "promotion large", "closed accounts", "reversals"):
            assert told in text
        assert "What each version of the program has cost" in text
        assert "is not over: more will come to it." in text

    @pytest.mark.usefixtures("books")
    def test_of_some_months_begins_with_what_was_there(self, loyalty: CommandLine) -> None:
        def of(*options: str) -> Any:
            return loyalty("report", "activity", "--program", "test", "--json", *options).json["programs"][0]

        every = of()
        first, second, third = every["months"]
        assert of("--month", second["month"])["months"] == [second]
        assert of("--from", second["month"])["months"] == [second, third]
        assert of("--to", second["month"])["months"] == [first, second]
        alone = of("--month", third["month"])["lines"]
        assert alone == [line for line in every["lines"] if line["month"] == third["month"]]

    def test_of_months_that_were_kept_is_what_was_kept(self, loyalty: CommandLine, books: Shell) -> None:
        asked = ("report", "activity", "--program", "test")
        assert "were not kept yet, so all entries of then were read." in loyalty(*asked).out
        [before] = loyalty(*asked, "--json").json["programs"]
        keep_liability(make_runtime(books.engine))
        [after] = loyalty(*asked, "--json").json["programs"]
        assert "not kept yet" not in loyalty(*asked).out
        assert [month.pop("kept_at") is None for month in before["months"]] == [True, True, True]
        assert [month.pop("kept_at") is None for month in after["months"]] == [False, False, True]
        assert after == before

    @pytest.mark.usefixtures("books")
    def test_is_told_as_csv_for_a_spreadsheet(self, loyalty: CommandLine) -> None:
        lines = rows_of(loyalty("report", "activity", "--program", "test", "--csv").out)
        document = loyalty("report", "activity", "--program", "test", "--json").json["programs"][0]
        assert len(lines) == len(document["lines"])
        assert sum(int(line["points"]) for line in lines) == document["months"][-1]["points_after"]
        spend = next(line for line in lines if line["cause"] == "spend")
        assert (spend["program_version"], spend["currency"]) == ("1", "EUR")
        assert spend["value"] == str(rounded(int(spend["points"]) * Decimal("0.005"), "EUR"))


class TestPromotion:
    """o1 (150, all but 20 came back), o2 (350, of which 100 came back: 17 of 25 are left) and the claimed g1 had it."""

    def test_is_told_with_its_uptake_its_cost_and_what_came_back(self, loyalty: CommandLine, books: Shell) -> None:
        books.take(refund("r9", "o1", net="100.00"), order("small", "40.00", customer_id="c9"))
        [found] = loyalty("report", "promotion", "large", "--json").json["programs"]
        assert found["had"] == {
            "orders": 3, "customers": 3, "points_given": 75, "points_left": 42, "return_rate": "0.4400",
        }  # fmt: skip
        assert (found["currency"], found["cost"]) == ("EUR", "0.21")
        others = found["others"]
        assert (others["orders"], others["customers"]) == (3, 3), "o3, o4 and the small one"
        assert (others["points_given"], others["points_left"]) == (90 + 100 + 50, 90 + 50)
        assert found["order_share"] == "0.5000"
        text = loyalty("report", "promotion", "large").out
        assert text.startswith("large of test: 3 orders of 3 customers, 42 points left.")
        assert re.search(r"Came back with refunds +44.0%", text)
        assert re.search(r"Cost +EUR 0.21", text)

    def test_agrees_with_what_became_of_all_points(self, loyalty: CommandLine, books: Shell) -> None:
        books.take(refund("r9", "o1", net="100.00"))
        [line] = rows_of(loyalty("report", "promotion", "large", "--csv").out)
        lines = rows_of(loyalty("report", "activity", "--program", "test", "--csv").out)
        assert int(line["points_left"]) == sum(int(each["points"]) for each in lines if each["cause"] == "large")
        assert (line["month"], line["program_version"], line["orders"]) == ("2026-03", "1", "3")

    def test_that_no_order_has_had_is_told_as_such(self, loyalty: CommandLine, engine: Engine) -> None:
        Shell(engine, program_text=PROGRAM_TEXT + "promotions: [{promotion_id: new, kind: addition, points: 5}]\n")
        assert "No order has had it yet." in loyalty("report", "promotion", "new").out
        assert loyalty("report", "promotion", "new", "--json").json["programs"][0]["cost"] == "0.00"


@pytest.mark.parametrize("kind", ["liability", "activity"])
def test_a_page_has_plots_and_loads_nothing(kind: str, loyalty: CommandLine, books: Shell, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    printed = loyalty("report", kind, "--html", file)
    assert printed.err == f"The report is in {file}.\n"
    page = Page(file.read_text())
    assert page.open == []
    assert page.links == []
    assert page.tags["script"] == 0
    assert page.tags["svg"] >= 2
    assert page.tags["h2"] == 2, "of each program one"
    assert "@media print" in file.read_text()
    assert "NaN" not in file.read_text()


def test_a_page_of_a_promotion_is_of_the_program_that_was_asked_for(
    loyalty: CommandLine, books: Shell, tmp_path: Path
) -> None:
    assert books.differences() is not None
    file = tmp_path / "report.html"
    assert loyalty("report", "promotion", "large", "--program", "test", "--html", file).code == 0
    page = Page(file.read_text())
    assert (page.open, page.links, page.tags["svg"], page.tags["h2"]) == ([], [], 1, 1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("liability", "--program", "tset"), "There is no program tset; programs here: test."),
        (("liability", "--month", "2026-13"), "--month 2026-13 is not a month. Write one such as 2026-11"),
        (("liability", "--month", "november"), "--month november is not a month."),
        (("liability", "--month", "2199-01"), "2199-01 is not over in program test"),
        (("liability", "--as-of", "2199-01-01T00:00:00Z"), "--as-of 2199-01-01T00:00:00Z is in the future"),
        (("liability", "--as-of", "2026-01-01"), "--as-of 2026-01-01 is not a time."),
        (("liability", "--month", "2026-01", "--as-of", "2026-01-01T00:00:00Z"), "--month and --as-of cannot be given"),
        (("liability", "--csv", "--json"), "--csv and --json cannot be given together"),
        (("liability", "--html", "nowhere/report.html"), "The report nowhere/report.html cannot be written"),
        (("activity", "--month", "0000-01"), "--month 0000-01 is not a month."),
        (("activity", "--month", "2199-01"), "--month 2199-01 cannot be"),
        (("activity", "--to", "2199-01"), "--to 2199-01 cannot be"),
        (("activity", "--from", "2026-06", "--to", "2026-05"), "--from 2026-06 cannot be"),
        (("activity", "--month", "2026-05", "--to", "2026-05"), "--month and --to cannot be given together"),
        (("promotion", "large"), "No version of a program here has a promotion large; promotions here: none."),
        (("promotion", "large", "--program", "tset"), "There is no program tset"),
        (("promotion",), "Missing argument 'PROMOTION'"),
        (("activity", "--program", "tset"), "There is no program tset"),
    ],
)  # fmt: skip
def test_wrong_use_is_named_and_ends_with_2(
    arguments: tuple[str, ...], told: str, loyalty: CommandLine, shell: Shell
) -> None:
    printed = loyalty("report", *arguments)
    assert (printed.code, printed.out) == (2, "")
    assert told in printed.err


def test_what_others_wrote_cannot_break_the_page(loyalty: CommandLine, engine: Engine, tmp_path: Path) -> None:
    Shell(engine, program_text=PROGRAM_TEXT.replace("Test Rewards", '"</svg><script>x</script>"')).take(order())
    loyalty("report", "liability", "--html", tmp_path / "report.html")
    assert "<script" not in (tmp_path / "report.html").read_text()
