# ruff: noqa: E501  # a change is one line, and the table shows each whole
"""What changed between two versions is told by names, with values as the program file writes them."""

import pytest

from core.domain.program import Program
from core.messages.program_files.program_file import describe_differences, parse_program
from tests.messages.test_program_file import FULL
from tests.messages.test_program_file_problems import RICH


def program(*changes: tuple[str, str]) -> Program:
    text = RICH
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return parse_program(text, path="x.yaml")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("points: {member: 1, gold: 2}", "points: 1", ["earning_rules[spend].points: {member: 1, gold: 2} -> 1"]),
        ("gold: 2}", 'gold: "2.5"}', ["earning_rules[spend].points.gold: 2 -> 2.5"]),
        ("caps: {per_order: 50, per_month: 300}", "round_per: line", [
            "earning_rules[spend].caps.per_order: 50 -> none",
            "earning_rules[spend].caps.per_month: 300 -> none",
            "earning_rules[spend].round_per: order -> line",
        ]),
        ("categories: [wine]", "categories: [wine, cheese]", ["earning_rules[spend].lines.categories[cheese]: added"]),
        ("  - {rule_id: crates, kind: item, skus: [WATER], points: 5}\n", "", [
            "earning_rules[crates]: removed (points 5, kind item, skus [WATER])",
        ]),
        ("kind: item, skus: [WATER]", "kind: visit", [
            "earning_rules[crates].kind: item -> visit",
            "earning_rules[crates].skus: [WATER] -> none",
        ]),
        ("qualification:", "  - {promotion_id: more, kind: multiplier, multiplier: 3, when: {tiers: [gold]}}\nqualification:", [
            "promotions[more]: added (when {tiers: [gold]}, kind multiplier, multiplier 3)",
        ]),
        ("starts_on: 2027-11-01", "starts_on: 2027-11-08", ["promotions[nights].when.starts_on: 2027-11-01 -> 2027-11-08"]),
        ('end: "22:00"}', 'end: "23:00"}', [
            "promotions[nights].when.hours: [{days: [sat, sun], start: 18:00, end: 22:00}] -> [{days: [sat, sun], start: 18:00, end: 23:00}]",
        ]),
        ("attributes: {gift: [true], shop: [7, north]}", "attributes: {gift: [true, false]}", [
            "promotions[nights].when.attributes.gift[false]: added",
            "promotions[nights].when.attributes.shop: removed ([7, north])",
        ]),
        ("first_order: false", "first_order: true", ["promotions[nights].when.first_order: false -> true"]),
        ("budget_points: 1000", "budget_points: 2000", ["promotions[nights].limits.budget_points: 1000 -> 2000"]),
        (", expiry: {policy: after_days, days: 60}", "", ["promotions[hello].expiry: {policy: after_days, days: 60} -> none"]),
        ("days: 60", "days: 90", ["promotions[hello].expiry.days: 60 -> 90"]),
        ('multiplier: "1.1"', 'multiplier: "1.2"', ["tiers[gold].multiplier: 1.1 -> 1.2"]),
        ("[30, 7]", "[30]", ["reminders.days_ahead[7]: removed"]),
        ("policy: fixed_day, day: 12-31", "policy: never", ["expiry.policy: fixed_day -> never", "expiry.day: 12-31 -> none"]),
    ],
)  # fmt: skip
def test_a_change_is_told(old: str, new: str, told: list[str]) -> None:
    assert describe_differences(program(), program((old, new))) == told


def test_another_order_is_a_change_since_the_first_of_equals_counts_and_the_newest_is_the_last() -> None:
    hello = next(line for line in RICH.splitlines(keepends=True) if "promotion_id: hello" in line)
    turned = program((hello, ""), ("promotions:\n", f"promotions:\n{hello}"))
    assert describe_differences(program(), turned) == ["promotions: in another order, hello, nights"]


def test_long_lists_are_told_in_short() -> None:
    skus = ", ".join(f"S{n}" for n in range(30))
    crates = "  - {rule_id: crates, kind: item, skus: [WATER], points: 5}\n"
    many = f"  - {{rule_id: many, kind: item, skus: [{skus}], points: 5}}\n"
    (told,) = describe_differences(program(), program((crates, crates + many)))
    assert told == (
        "earning_rules[many]: added (points 5, kind item, skus [S0, S1, S2, S3, S4, S5, S6, S7, S8, S9, and 20 more])"
    )


def test_what_is_written_in_another_way_is_no_change() -> None:
    again = program(('"40.00"', "40"), ("2027-11-01", '"2027-11-01"'), ("multiplier: 2", 'multiplier: "2.0"'))
    assert describe_differences(program(), again) == []


def test_differences_are_told_by_rule_and_tier() -> None:
    old = parse_program(FULL, path="x.yaml")
    text = FULL
    for before, after in (
        ("threshold_points: 500", "threshold_points: 600"),
        ('silver: "1.25", gold: 2', 'silver: "1.5", gold: 2, black: 3'),
        ("threshold_points: 2000}", "threshold_points: 2000}\n  - {tier_id: black, threshold_points: 9000}"),
        ("default: true", "default: false"),
        ('["/shops/high-street"]', "[/shops/web]"),
        ("policy: after_months, months: 12", "policy: never"),
    ):
        text = text.replace(before, after)
    assert describe_differences(old, parse_program(text, path="x.yaml")) == [
        "default: true -> false",
        "sources[/shops/high-street]: removed",
        "sources[/shops/web]: added",
        "earning_rules[spend].points.silver: 1.25 -> 1.5",
        "earning_rules[spend].points.black: added (3)",
        "tiers[silver].threshold_points: 500 -> 600",
        "tiers[black]: added (threshold_points 9000)",
        "expiry.policy: after_months -> never",
        "expiry.months: 12 -> none",
    ]


def test_the_same_program_written_in_another_way_has_no_differences() -> None:
    again = FULL.replace('per_amount: "1.00"', "per_amount: 1").replace("gold: 2}", 'gold: "2.0"}')
    assert describe_differences(parse_program(FULL, path="x.yaml"), parse_program(again, path="x.yaml")) == []
