# ruff: noqa: E501  # a problem is one line, and the table shows each whole
"""Problems of conditions, promotions and policies: at every depth the line, the field, the value and what mends it."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from core.domain.program import AnyPromotion, AnyReward, AnyRule, Program
from core.errors import ProgramFileError
from core.messages.program_files.file_fields import allowed_at
from core.messages.program_files.program_file import parse_program, program_document, program_from_document

RICH = """\
program_id: rich
name: Rich
currency: EUR
time_zone: Europe/Paris
combine: stack
earning_rules:
  - rule_id: spend
    kind: spend
    per_amount: "2.00"
    points: {member: 1, gold: 2}
    lines: {categories: [wine], exclude_skus: [GIFT]}
    caps: {per_order: 50, per_month: 300}
  - {rule_id: crates, kind: item, skus: [WATER], points: 5}
  - {rule_id: saver, kind: spend, per_amount: 50, points: 1, carry: true}
promotions:
  - promotion_id: nights
    kind: multiplier
    multiplier: 2
    when:
      starts_on: 2027-11-01
      ends_on: "2027-11-30"
      hours: [{days: [sat, sun], start: "18:00", end: "22:00"}]
      channels: [app]
      attributes: {gift: [true], shop: [7, north]}
      tiers: [gold]
      customer_tags: [birthday]
      first_order: false
      minimum_amount: "40.00"
    limits: {orders_per_customer: 2, budget_points: 1000}
  - {promotion_id: hello, kind: addition, points: 100, clawback: full_refund, expiry: {policy: after_days, days: 60}}
qualification: {measure: spend, window: rolling_months, months: 12, grace_days: 30, warning_days: 42}
tiers:
  - {tier_id: member, threshold_amount: 0}
  - {tier_id: gold, threshold_amount: "500.00", multiplier: "1.1"}
availability: {policy: after_days, days: 14}
expiry: {policy: fixed_day, day: 12-31}
reminders: {days_ahead: [30, 7]}
"""
DECIMAL = 'a decimal number in quotes with at most 4 decimal places, such as "1.25", or an integer'
AMOUNT = f"{DECIMAL}, above 0 and at most 1000000000000"
RATE = f"{DECIMAL}, from 0 to 1000000"
COUNT = "an integer from 1 to 1000000000000000"
DATE = "a date of the calendar, such as 2026-12-24"
TIME = 'a time of day in quotes from "00:00" to "24:00", such as "18:30"'
RULE, NIGHTS, HELLO = "earning_rules[0]", "promotions[0]", "promotions[1]"
WHEN, HOURS = f"{NIGHTS}.when", f"{NIGHTS}.when.hours[0]"
POINTS = "points: {member: 1, gold: 2}"
SPAN = '{days: [sat, sun], start: "18:00", end: "22:00"}'


def problems(old: str, new: str) -> list[str]:
    assert RICH.count(old) >= 1
    with pytest.raises(ProgramFileError) as caught:
        parse_program(RICH.replace(old, new, 1), path="x.yaml")
    return str(caught.value).splitlines()[1:]


def test_the_rich_program_is_right() -> None:
    program = parse_program(RICH, path="x.yaml")
    assert program_from_document(program_document(program)) == program


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        # kinds
        ("kind: spend", "kind: spnd", f'line 8: {RULE}.kind is the text "spnd"; did you mean spend?'),
        ("kind: spend", "kind: foo", f'line 8: {RULE}.kind is the text "foo"; write spend or visit or item or category'),
        ("    kind: spend\n", "", f"line 7: {RULE}.kind is missing; write spend or visit or item or category"),
        ("kind: spend", "knd: spend", f"line 8: {RULE}.knd is not a field here; did you mean kind?"),
        ("kind: addition", "kind: add", f'line 30: {HELLO}.kind is the text "add"; write multiplier or addition'),
        (
            "  - rule_id: spend\n    kind: spend\n",
            "  - 5\n  - rule_id: spend\n    kind: spend\n",
            f"line 7: {RULE} is the number 5; write a rule, such as {{rule_id: spend, kind: spend, per_amount: 1, points: 1}}",
        ),
        # fields that are no fields there
        ("caps: {per_order", "cap: {per_order", f"line 12: {RULE}.cap is not a field here; did you mean caps?"),
        ("per_month: 300", "per_mont: 3", f"line 12: {RULE}.caps.per_mont is not a field here; did you mean per_month?"),
        (
            "per_month: 300",
            "weekly: 3",
            f"line 12: {RULE}.caps.weekly is not a field here; known are per_order, per_day, per_month",
        ),
        ("categories:", "catgories:", f"line 11: {RULE}.lines.catgories is not a field here; did you mean categories?"),
        ("channels:", "channel:", f"line 23: {WHEN}.channel is not a field here; did you mean channels?"),
        ("start:", "begin:", f"line 22: {HOURS}.begin is not a field here; known are days, start, end"),
        ("budget_points:", "budget:", f"line 29: {NIGHTS}.limits.budget is not a field here; did you mean budget_points?"),
        ("days: 60", "day_s: 60", f"line 30: {HELLO}.expiry.day_s is not a field here; did you mean days?"),
        ("grace_days", "grace", "line 31: qualification.grace is not a field here; did you mean grace_days?"),
        ("days_ahead", "ahead", "line 37: reminders.ahead is not a field here; did you mean days_ahead?"),
        ("caps:", "starts_on: 2027-01-01\n    caps:", f"line 12: {RULE}.starts_on is not a field here; it belongs below when"),
        ("caps:", "when: {skus: [A]}\n    caps:", f"line 12: {RULE}.when.skus is not a field here; it belongs below lines"),
        ("caps:", "when: {minimum_price: 2, maximum_price: 1}\n    caps:", f"line 12: {RULE}.when.maximum_price is less than minimum_price, 2"),
        ("categories:", "first_order: true, categories:", f"line 11: {RULE}.lines.first_order is not a field here; it belongs below when"),
        ("caps:", "when: {per_amount: 2}\n    caps:", f"line 12: {RULE}.when.per_amount is not a field here; it belongs beside when"),
        ("skus: [WATER]", "sku: [WATER]", "line 13: earning_rules[1].sku is not a field here; did you mean skus?"),
        (
            "skus: [WATER]",
            "skus: [WATER], per_amount: 1",
            "line 13: earning_rules[1].per_amount means nothing with kind item; it belongs to kind spend",
        ),
        (
            "caps:",
            "categories: [wine]\n    caps:",
            f"line 12: {RULE}.categories means nothing with kind spend; it belongs below lines or to kind category",
        ),
        (
            "points: 100,",
            "points: 100, multiplier: 2,",
            f"line 30: {HELLO}.multiplier means nothing with kind addition; it belongs to kind multiplier",
        ),
        # points, one for all tiers or one for each
        (POINTS, "points: 1.5", f'line 10: {RULE}.points is the unquoted number 1.5, which is not exact; write it in quotes: "1.5"'),
        (POINTS, "points: -1", f'line 10: {RULE}.points is the number -1; write {RATE}; or one rate for each tier, such as {{bronze: 1, silver: "1.25"}}'),
        (POINTS, "points: [1]", f'line 10: {RULE}.points is a list; write {RATE}; or one rate for each tier, such as {{bronze: 1, silver: "1.25"}}'),
        (POINTS, "points: {}", f'line 10: {RULE}.points is a group of fields; write {RATE}; or one rate for each tier, such as {{bronze: 1, silver: "1.25"}}'),
        (POINTS, "points:", f'line 10: {RULE}.points is empty; write {RATE}; or one rate for each tier, such as {{bronze: 1, silver: "1.25"}}'),
        (POINTS, "points: {member: 1, gold: x}", f'line 10: {RULE}.points.gold is the text "x"; write {RATE}'),
        (POINTS, "points: {member: 1, glod: 2}", f"line 10: {RULE}.points.glod is not a tier of this program; did you mean gold?"),
        ("points: 100,", "points: 2.5,", f"line 30: {HELLO}.points is the number 2.5; write {COUNT}"),
        ("multiplier: 2", "multiplier: 1", f"line 18: {NIGHTS}.multiplier is the number 1; write {DECIMAL}, above 1 and at most 1000"),
        # dates and times
        ("2027-11-01", "2027-11-31", f"line 20: {WHEN}.starts_on is 2027-11-31, which is not a day of the calendar; write one such as 2026-12-24"),
        ('"2027-11-30"', '"2027-11-31"', f'line 21: {WHEN}.ends_on is the text "2027-11-31"; write {DATE}'),
        ('"2027-11-30"', "30.11.2027", f'line 21: {WHEN}.ends_on is the text "30.11.2027"; write {DATE}'),
        ("2027-11-01", "2027-11-01 10:00:00", f"line 20: {WHEN}.starts_on is the date 2027-11-01 10:00:00; write {DATE}"),
        ("2027-11-01", "20271101", f"line 20: {WHEN}.starts_on is the number 20271101; write {DATE}"),
        ("2027-11-01", "2027-12-01", f"line 21: {WHEN}.ends_on is before starts_on, 2027-12-01"),
        ('"18:00"', "18:00", f'line 22: {HOURS}.start is written 18:00, which YAML reads as 1080; quote it: "18:00"'),
        ('"18:00"', "6 pm", f'line 22: {HOURS}.start is the text "6 pm"; write {TIME}'),
        ('"18:00"', "18", f"line 22: {HOURS}.start is the number 18; write {TIME}"),
        ('"18:00"', '"22:00"', f"line 22: {HOURS}.end is 22:00; it must be later than start, 22:00; write two spans of hours to go past midnight"),
        (SPAN, '{start: "24:00"}', f"line 22: {HOURS}.end must be later than start, 24:00; write two spans of hours to go past midnight"),
        (SPAN, "sat", f'line 22: {HOURS} is the text "sat"; write a span of hours, such as {{days: [sat, sun], start: "10:00", end: "12:00"}}'),
        ("[sat, sun]", "[sat, sunday]", f'line 22: {HOURS}.days[1] is the text "sunday"; did you mean sun?'),
        ("[sat, sun]", "[sat, sat]", f"line 22: {HOURS}.days[1] is sat; it is there twice"),
        ("[sat, sun]", "[]", f"line 22: {HOURS}.days is an empty list; write a list of 1 to 7 days of the week, such as [sat, sun]"),
        ("12-31", "02-30", 'line 36: expiry.day is the text "02-30"; write a day of the year as month and day, such as 12-31'),
        ("12-31", "1231", "line 36: expiry.day is the number 1231; write a day of the year as month and day, such as 12-31"),
        # conditions and lines
        ("[app]", "app", f'line 23: {WHEN}.channels is the text "app"; write a list of at most 10,000 channels, such as [web, app]'),
        ("[app]", "[1]", f'line 23: {WHEN}.channels[0] is the number 1; if it is meant as text, write it in quotes: "1"'),
        ("[app]", "[app, app]", f"line 23: {WHEN}.channels[1] is app; it is there twice"),
        ("[app]", "", f"line 23: {WHEN}.channels is empty; write a list of at most 10,000 channels, such as [web, app], or leave the field out"),
        ("gift: [true]", "gift: true", f"line 24: {WHEN}.attributes.gift is true; write a list of 1 to 1,000 values, such as [web, app]"),
        ("gift: [true]", "gift: [1.5]", f"line 24: {WHEN}.attributes.gift[0] is the number 1.5; write a text of 1 to 200 characters, an integer, true or false"),
        ("shop: [7, north]", "country: [se, no]", f'line 24: {WHEN}.attributes.country[1] is no, which YAML reads as false; write false, or quote it: "no"'),
        ("tiers: [gold]", "tiers: [glod]", f"line 25: {WHEN}.tiers[0] is glod; it is not a tier of this program; did you mean gold?"),
        ("first_order: false", "first_order: maybe", f'line 27: {WHEN}.first_order is the text "maybe"; write true or false'),
        ('minimum_amount: "40.00"', "minimum_amount: 0", f"line 28: {WHEN}.minimum_amount is the number 0; write {AMOUNT}"),
        ("exclude_skus: [GIFT]", "exclude_categories: [wine]", f"line 11: {RULE}.lines.exclude_categories[0] is wine; it is both included and excluded"),
        ("skus: [WATER]", "skus: []", "line 13: earning_rules[1].skus is an empty list; write a list of at most 10,000 SKUs, such as [A-100, A-200]"),
        # limits and caps
        ("per_month: 300", "per_month: 0", f"line 12: {RULE}.caps.per_month is the number 0; write {COUNT}"),
        ("per_month: 300", "per_month: ", f"line 12: {RULE}.caps.per_month is empty; write {COUNT}, or leave the field out"),
        ("{orders_per_customer: 2, budget_points: 1000}", "2", f"line 29: {NIGHTS}.limits is the number 2; write fields indented below it: orders_per_customer, orders_per_customer_and_day, orders, budget_points"),
        ("carry: true", "carry: true, round_per: line", "line 14: earning_rules[2].round_per cannot be line with carry: true"),
        ("carry: true", "carry: true, caps: {per_day: 1}", "line 14: earning_rules[2].caps cannot be together with carry: true"),
        ("combine: stack", "combine: best", "line 14: earning_rules[2].carry cannot be together with other rules and combine: best, where its remainder may lose"),
        ("promotion_id: hello", "promotion_id: nights", f"line 30: {HELLO}.promotion_id is nights; it is there twice"),
        ("promotion_id: hello", "promotion_id: spend", f"line 30: {HELLO}.promotion_id is spend; it is the name of an earning rule too; entries tell them apart by name"),
        # policies and what belongs to them
        ("clawback: full_refund", "clawback: full", f'line 30: {HELLO}.clawback is the text "full"; write proportional or full_refund or never'),
        (", days: 60", "", f"line 30: {HELLO}.expiry.days is missing: policy after_days needs it"),
        (", days: 60", ", days: 60, end_of: month", f"line 30: {HELLO}.expiry.end_of means nothing with policy after_days"),
        ("policy: fixed_day, day: 12-31", "policy: inactivity", "line 36: expiry needs either days or months with policy inactivity"),
        ("policy: fixed_day, day: 12-31", "policy: after_months, months: 3, end_of: week", 'line 36: expiry.end_of is the text "week"; write month or quarter or half_year or year'),
        ("{policy: after_days, days: 14}", "on_fulfilled", 'line 35: availability is the text "on_fulfilled"; write fields indented below it: policy, days'),
        ("after_days, days: 14", "on_fulfilled, days: 14", "line 35: availability.days means nothing with policy on_fulfilled; for points that wait so many days from the fulfilment on, write policy: days_after_fulfilment"),
        ("after_days, days: 14", "days_after_fulfilment", "line 35: availability.days is missing: policy days_after_fulfilment needs it"),
        (", months: 12", "", "line 31: qualification.months is missing: window rolling_months needs it"),
        ("rolling_months", "membership_year", "line 31: qualification.months means nothing with window membership_year"),
        ("rolling_months", "rolling_month", 'line 31: qualification.window is the text "rolling_month"; did you mean rolling_months?'),
        ("warning_days: 42", "warning_days: 0", "line 31: qualification.warning_days is the number 0; write an integer from 1 to 36500"),
        ("[30, 7]", "[30, 0]", "line 37: reminders.days_ahead[1] is the number 0; write an integer from 1 to 36500"),
        ("[30, 7]", str([*range(1, 12)]), "line 37: reminders.days_ahead has 11 items; write a list of at most 10 numbers of days, such as [30, 7]"),
        ("[30, 7]", "[30, 30]", "line 37: reminders.days_ahead[1] is 30; it is there twice"),
        # tiers, by the measure
        ('threshold_amount: "500.00"', 'threshold_amount: "500.001"', 'line 34: tiers[1].threshold_amount is the text "500.001"; write a decimal number in quotes with at most 2 decimal places, such as "250.00", or an integer, from 0 to 1000000000000'),
        ('threshold_amount: "500.00"', "threshold_points: 500", "line 34: tiers[1].threshold_amount is missing: qualification.measure is spend"),
        ('threshold_amount: "500.00"', "threshold_points: 500", "line 34: tiers[1].threshold_points means nothing with measure spend; write threshold_amount"),
        ('threshold_amount: "500.00"', "threshold_amount: 0", "line 34: tiers[1].threshold_amount is 0; it must be above 0, the threshold of the tier before it"),
    ],
)  # fmt: skip
def test_a_problem_names_line_field_value_and_what_is_allowed(old: str, new: str, problem: str) -> None:
    assert problem in problems(old, new)


def test_a_value_of_a_wrong_type_is_reported_once() -> None:
    assert len(problems("gift: [true]", "gift: [1.5]")) == 1
    assert len(problems("points: {member: 1, gold: 2}", "points:")) == 1


def fields(
    model: type[BaseModel], path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], type[BaseModel]]]:
    for name, info in model.model_fields.items():
        yield (*path, name), model
        found = str(info.annotation)
        for part in MODELS:
            if f".{part.__name__}]" in found or f".{part.__name__} " in found or found.endswith(f".{part.__name__}'>"):
                place: tuple[int, ...] = (0,) if "tuple" in found else ()
                yield from fields(part, (*path, name, *place))


def subclasses(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for below in model.__subclasses__():
        if below.__module__.startswith("core.domain.program"):
            yield below
            yield from subclasses(below)


MODELS = [model for model in subclasses(BaseModel) if model is not Program]


def test_every_field_says_what_is_allowed_in_it() -> None:
    kinds: dict[str, Any] = {"earning_rules": AnyRule, "promotions": AnyPromotion, "rewards": AnyReward}
    places = dict(fields(Program, ()))
    for field, union in kinds.items():
        for kind in union.__args__:
            places |= dict(fields(kind, (field, 0)))
    assert len(places) > 80
    for path in places:
        assert allowed_at(path, {}), path
        assert not allowed_at(path, {}).endswith(": "), path
