"""`loyalty program simulate`: a changed program over recorded orders, on real tables that stay as they are."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from core.store.tables import metadata
from tests.factories import PROGRAM_TEXT, cancellation, line, order, refund
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

DOUBLED = PROGRAM_TEXT.replace('{bronze: "1", silver: "1.5", gold: "2"}', '{bronze: "2", silver: "2", gold: "2"}')
WITH_BONUS = PROGRAM_TEXT + (
    "promotions:\n"
    "  - {promotion_id: coffee, kind: addition, points: 50, lines: {skus: [coffee]}, limits: {budget_points: 70}}\n"
)


def changed(tmp_path: Path, text: str = DOUBLED) -> Path:
    path = tmp_path / "changed.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def digests(shell: Shell) -> dict[str, Any]:
    """Every table's rows, as one hash."""
    return {
        table.name: shell.value(f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t")
        for table in metadata.sorted_tables
    }


@pytest.fixture
def shop(shell: Shell) -> Shell:
    """Ann buys for 400 and 300 and gives 100 back; Bob buys for 100; Cleo's order is called off; a guest buys."""
    shell.take(
        order("a1", "400.00", customer_id="ann", time="2026-01-10T12:00:00Z"),
        order("a2", "300.00", customer_id="ann", time="2026-02-10T12:00:00Z"),
        refund("r1", "a2", time="2026-02-20T12:00:00Z", net="100.00"),
        order("b1", "100.00", customer_id="bob", time="2026-03-10T12:00:00Z"),
        order("c1", "50.00", customer_id="cleo", time="2026-03-11T12:00:00Z"),
        cancellation("c1", time="2026-03-12T12:00:00Z"),
        order("g1", "900.00", customer_id=None, time="2026-03-12T12:00:00Z"),
    )
    return shell


def test_it_shows_exactly_what_a_changed_rate_changes(shop: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    found = loyalty("program", "simulate", changed(tmp_path), "--point-value", "0.01", "--json").json
    in_force, simulated = found["in_force"], found["simulated"]
    # Ann: 400 + 300 - 100, bronze throughout; doubled: 800, silver from then on, + 600 - 200. Bob 100. Cleo 50 - 50.
    assert {name: in_force[name] for name in ("orders", "points_granted", "points_clawed_back", "points_open")} == {
        "orders": 4,
        "points_granted": 850,
        "points_clawed_back": 150,
        "points_open": 700,
    }
    assert {name: simulated[name] for name in ("orders", "points_granted", "points_clawed_back", "points_open")} == {
        "orders": 4,
        "points_granted": 1700,
        "points_clawed_back": 300,
        "points_open": 1400,
    }
    assert (in_force["cost"], simulated["cost"]) == ("7.00", "14.00")
    assert found["by_name"] == [{"name": "spend", "in_force": 700, "simulated": 1400}]
    assert found["tier_moves"] == [
        {"in_force": "bronze", "simulated": "bronze", "accounts": 2},
        {"in_force": "silver", "simulated": "silver", "accounts": 1},
    ]
    assert [(a["customer_id"], a["points_before"], a["points_after"]) for a in found["accounts_most_affected"]] == [
        ("ann", 600, 1200),
        ("bob", 100, 200),
    ]
    assert in_force["granted_by_month"] == {"2026-01": 400, "2026-02": 300, "2026-03": 150}


def test_what_is_in_force_comes_to_what_the_ledger_holds(shop: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    found = loyalty("program", "simulate", changed(tmp_path), "--json").json
    assert found["in_force"]["points_open"] == shop.value("SELECT sum(balance + pending) FROM accounts")
    assert found["in_force"]["tiers"] == {"bronze": 2, "silver": 1}
    assert [tuple(row) for row in shop.rows("SELECT tier_id, count(*) FROM accounts GROUP BY 1 ORDER BY 1")] == [
        ("bronze", 2),
        ("silver", 1),
    ]


def test_the_same_program_changes_nothing(shop: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    found = loyalty("program", "simulate", changed(tmp_path, PROGRAM_TEXT), "--json").json
    assert found["in_force"] == found["simulated"]
    assert found["accounts_most_affected"] == []
    assert found["headline"] == (
        "With this file nothing would have been different for the recorded orders of Test Rewards (test)."
    )
    assert (found["compared_with_version"], found["differences"]) == (1, [])
    assert "The file says the same as version 1" in loyalty("program", "simulate", changed(tmp_path, PROGRAM_TEXT)).out


def test_from_an_instant_on_earlier_orders_keep_their_program_and_are_not_counted(
    shop: Shell, loyalty: CommandLine, tmp_path: Path
) -> None:
    found = loyalty("program", "simulate", changed(tmp_path), "--from", "2026-02-01T00:00:00Z", "--json").json
    assert (found["in_force"]["points_granted"], found["simulated"]["points_granted"]) == (450, 900)
    # The refund is of an order of that time, so it takes what that order had earned.
    assert (found["in_force"]["points_clawed_back"], found["simulated"]["points_clawed_back"]) == (150, 300)
    assert found["simulated"]["points_open"] == 400 + 600 - 200 + 200


def test_until_an_instant_later_orders_are_left_out(shop: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    found = loyalty("program", "simulate", changed(tmp_path), "--until", "2026-02-15T00:00:00Z", "--json").json
    assert (found["in_force"]["orders"], found["in_force"]["points_clawed_back"]) == (2, 0)


def test_a_span_without_time_is_refused(shop: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    span = ("--from", "2026-02-15T00:00:00Z", "--until", "2026-02-01T00:00:00Z")
    printed = loyalty("program", "simulate", changed(tmp_path), *span)
    assert printed.code == 2
    assert "No order is between --from 2026-02-15 00:00:00Z and --until 2026-02-01 00:00:00Z" in printed.err


def test_a_budget_goes_to_the_customers_in_order_of_time(shell: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    coffee = [line("1", "10.00", sku="coffee")]
    shell.take(
        order("late", customer_id="late", time="2026-03-03T12:00:00Z", lines=coffee),
        order("first", customer_id="first", time="2026-03-01T12:00:00Z", lines=coffee),
        order("second", customer_id="second", time="2026-03-02T12:00:00Z", lines=coffee),
    )
    found = loyalty("program", "simulate", changed(tmp_path, WITH_BONUS), "--json").json
    assert {a["customer_id"]: a["points_after"] for a in found["accounts_most_affected"]} == {"first": 60, "second": 30}
    assert found["by_name"][1] == {"name": "coffee", "in_force": 0, "simulated": 70}


def test_points_end_as_the_changed_program_says(shop: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    ending = changed(tmp_path, PROGRAM_TEXT + "expiry: {policy: after_days, days: 20}\n")
    found = loyalty("program", "simulate", ending, "--until", "2026-03-01T00:00:00Z", "--json").json
    # a1 ends on 31 January; of a2, 100 are given back on 20 February, and the rest stays until 2 March.
    assert (found["in_force"]["points_expired"], found["simulated"]["points_expired"]) == (0, 400)
    assert found["simulated"]["points_open"] == 200


def test_what_expires_costs_nothing_and_the_headline_says_it_all(
    shop: Shell, loyalty: CommandLine, tmp_path: Path
) -> None:
    ending = changed(tmp_path, DOUBLED + "expiry: {policy: after_days, days: 20}\n")
    found = loyalty("program", "simulate", ending, "--until", "2026-03-01", "--point-value", "0.01", "--json").json
    # 800 of a1 expire; a2 gave 600, less 200.
    assert (found["in_force"]["cost"], found["simulated"]["cost"]) == ("6.00", "4.00")
    assert found["headline"] == (
        "With this file Test Rewards (test) would have given 1,200 points after refunds instead of 600 (+100.0%), "
        "let 800 points expire instead of 0 and cost EUR 4.00 instead of 6.00."
    )
    assert found["differences"] == [
        "earning_rules[spend].points.bronze: 1 -> 2",
        "earning_rules[spend].points.silver: 1.5 -> 2",
        "expiry.policy: never -> after_days",
        "expiry.days: none -> 20",
    ]


def test_in_force_is_for_each_order_what_judged_it_also_where_a_version_was_backdated(
    shop: Shell, loyalty: CommandLine, tmp_path: Path
) -> None:
    shop.apply_program(DOUBLED, "2026-02-01T00:00:00Z")  # Ann's first order is before it, the others stay as they were
    shop.take(order("b2", "10.00", customer_id="bob", time="2026-02-02T12:00:00Z"))
    found = loyalty("program", "simulate", changed(tmp_path), "--json").json
    assert found["compared_with_version"] == 2
    caption = "3 orders were judged by another version than that of the order's time, since that was backdated."
    assert caption in loyalty("program", "simulate", changed(tmp_path)).out
    assert found["in_force"]["points_open"] == shop.value("SELECT sum(balance + pending) FROM accounts") == 720
    assert found["simulated"]["points_open"] == 1420
    since = loyalty("program", "simulate", changed(tmp_path), "--from", "2026-03-01T00:00:00Z", "--json").json
    assert (since["in_force"]["points_open_before"], since["simulated"]["points_open_before"]) == (620, 620)


def test_the_orders_of_one_program_run_under_the_file_of_another(
    shop: Shell, loyalty: CommandLine, tmp_path: Path
) -> None:
    other = changed(tmp_path, DOUBLED.replace("program_id: test", "program_id: other"))
    for since in ([], ["--from", "2026-01-01T00:00:00Z"]):
        found = loyalty("program", "simulate", other, "--program", "test", *since, "--json").json
        assert (found["program_id"], found["simulated"]["points_open"]) == ("test", 1400)


def test_orders_in_another_currency_than_the_changed_program_are_refused(
    shop: Shell, loyalty: CommandLine, tmp_path: Path
) -> None:
    found = loyalty("program", "simulate", changed(tmp_path, PROGRAM_TEXT.replace("EUR", "GBP")), "--json").json
    assert (found["simulated"]["orders"], found["simulated"]["orders_refused"]) == (0, 4)
    assert {move["simulated"] for move in found["tier_moves"]} == {"-"}


def test_nothing_is_written(shop: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    before = digests(shop)
    assert loyalty("program", "simulate", changed(tmp_path), "--html", tmp_path / "report.html").code == 0
    assert digests(shop) == before


def test_the_table_names_totals_rules_tiers_and_accounts(shop: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    printed = loyalty("program", "simulate", changed(tmp_path))
    assert printed.code == 0
    rows = {tuple(words.split()) for words in printed.out.splitlines()}
    assert ("Points", "granted", "850", "1,700", "+850") in rows
    assert ("spend", "700", "1,400", "+700") in rows
    assert ("(points", "granted", "less", "clawed", "back)", "700", "1,400", "+700") in rows
    assert ("ann", "600", "1,200", "+600", "silver", "silver") in rows


class _Page(HTMLParser):
    """What stands in a page: tags, and addresses that it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "action"}]


def test_the_report_has_plots_loads_nothing_and_escapes_what_shops_write(
    shell: Shell, loyalty: CommandLine, tmp_path: Path
) -> None:
    shell.take(order("o1", customer_id='<script>alert("x")</script>'))
    report = tmp_path / "report.html"
    assert loyalty("program", "simulate", changed(tmp_path), "--html", report).code == 0
    text = report.read_text(encoding="utf-8")
    page = _Page(text)
    assert page.tags.count("svg") == 4
    assert "<h1>Simulation of Test Rewards (test)</h1>" in text
    assert "earning_rules[spend].points.bronze: 1 -&gt; 2" in text
    assert "With this file Test Rewards (test) would have given 200 points after refunds instead of 100" in text
    assert page.addresses == []
    assert "script" not in page.tags
    assert "&lt;script&gt;" in text
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--program", "other"], "There is no program other"),
        (["--from", "yesterday"], "--from yesterday is not a time"),
        (["--point-value", "much"], "--point-value much is not an amount"),
        (["--html", "nowhere/report.html"], "cannot be written"),
    ],
)
def test_wrong_use_is_told(shop: Shell, loyalty: CommandLine, tmp_path: Path, arguments: list[str], told: str) -> None:
    printed = loyalty("program", "simulate", changed(tmp_path), *arguments)
    assert printed.code == 2
    assert told in printed.err


def test_a_wrong_file_gets_the_problems_that_check_finds(shell: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    wrong = changed(tmp_path, PROGRAM_TEXT.replace("kind: spend", "kind: spent"))
    assert loyalty("program", "simulate", wrong).err == loyalty("program", "check", wrong).err != ""


def test_without_orders_there_is_nothing_to_compare(shell: Shell, loyalty: CommandLine, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    found = loyalty("program", "simulate", changed(tmp_path), "--json", "--html", report).json
    assert (found["accounts"], found["simulated"]["points_granted"]) == (0, 0)
    assert _Page(report.read_text(encoding="utf-8")).tags.count("svg") > 0
    assert found["headline"] == (
        "No order of Test Rewards (test) is recorded in that time, so there is nothing to compare."
    )
