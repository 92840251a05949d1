# ruff: noqa: E501  # a problem is one line, and the table shows each whole
"""What a program file says of value: read, refused where it is wrong, compared, and advised on."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from core.domain.program import (
    Access,
    AmountReward,
    Conversion,
    CustomerLimit,
    Enrol,
    ItemReward,
    PercentReward,
    Program,
    Rounding,
    Tier,
    UnitsReward,
    ValueLimits,
)
from core.errors import ProgramFileError
from core.messages.inbound.problems import path_text
from core.messages.program_files.advice import advise
from core.messages.program_files.program_file import (
    describe_differences,
    parse_program,
    program_document,
    program_from_document,
)
from core.messages.schemas import all_schemas

VALUE = """\
program_id: megabucks
name: Megabucks
tags: [retail, uk]
metadata: {owner: marketing, cost_center: 4711, is_new: true}
currency: EUR
unit: megabucks
time_zone: Europe/Berlin
enrol: command
one_account_per_customer: false
access: owner
clawback: {takes_reserved: true}
returned_points_grace_days: 30
adjustment_reasons: [goodwill, mistake]
point_value: "0.005"
limits:
  redeem: {per_day: 5000}
  transfer: {per_day: 1000, per_month: 5000}
conversions:
  - {to_program: account-money, points: 100, gives: 50, rounding: half_up, points_min: 500, points_step: 100}
  - {to_program: miles, points: 1, gives: 3}
rewards:
  - {reward_id: five-off, name: 5 euros off, cost: 1000, kind: amount, amount: "5.00"}
  - {reward_id: tenth-off, name: A tenth off, cost: 800, kind: percent, percent: 10, starts_on: 2027-01-01, ends_on: 2027-06-30}
  - {reward_id: mug, name: A mug, cost: 600, kind: item, sku: MUG, stock: 200, per_customer: 1, tiers: [base]}
  - {reward_id: parking, name: Two hours of parking, cost: 200, kind: units, units: 2, unit_name: hour}
"""
PLAIN = """\
program_id: money
name: Account money
currency: EUR
time_zone: Europe/Berlin
"""
COUNT = "an integer from 1 to 1000000000000000"
NAME = "1 to 36 of the characters a-z, 0-9, _ and -"
UNIT = "points, a word of your own in lower case such as megabucks, or the code of its currency for money"
AMOUNT = 'a decimal number in quotes with at most 4 decimal places, such as "1.25", or an integer, above 0 and at most 1000000000000'


def read(*changes: tuple[str, str], text: str = VALUE) -> Program:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return parse_program(text, path="x.yaml")


def problems(old: str, new: str) -> list[str]:
    with pytest.raises(ProgramFileError) as caught:
        read((old, new))
    return str(caught.value).splitlines()[1:]


def advice(*changes: tuple[str, str], today: date | None = None) -> dict[str, str]:
    return {path_text(each.path): each.text for each in advise(read(*changes), today)}


def test_what_a_file_says_of_value_is_read() -> None:
    program = read()
    assert program.tags == ("retail", "uk")
    assert program.metadata == {"owner": "marketing", "cost_center": 4711, "is_new": True}
    assert (program.unit, program.is_money) == ("megabucks", False)
    assert (program.enrol, program.one_account_per_customer, program.access) == (Enrol.COMMAND, False, Access.OWNER)
    assert program.clawback.takes_reserved
    assert program.returned_points_grace_days == 30
    assert program.adjustment_reasons == ("goodwill", "mistake")
    assert program.point_value == Decimal("0.005")
    assert program.limits == ValueLimits(
        redeem=CustomerLimit(per_day=5_000), transfer=CustomerLimit(per_day=1_000, per_month=5_000)
    )
    assert program.conversions == (
        Conversion(
            to_program="account-money", points=100, gives=50, rounding=Rounding.HALF_UP, points_min=500, points_step=100
        ),
        Conversion(to_program="miles", points=1, gives=3),
    )
    assert program.rewards == (
        AmountReward(reward_id="five-off", name="5 euros off", cost=1_000, kind="amount", amount=Decimal(5)),
        PercentReward(
            reward_id="tenth-off",
            name="A tenth off",
            cost=800,
            kind="percent",
            percent=Decimal(10),
            starts_on=date(2027, 1, 1),
            ends_on=date(2027, 6, 30),
        ),
        ItemReward(
            reward_id="mug", name="A mug", cost=600, kind="item", sku="MUG", stock=200, per_customer=1, tiers=("base",)
        ),
        UnitsReward(
            reward_id="parking", name="Two hours of parking", cost=200, kind="units", units=2, unit_name="hour"
        ),
    )


def test_a_program_of_credited_points_needs_neither_rules_nor_tiers() -> None:
    program = read(text=PLAIN)
    assert program.earning_rules == ()
    assert program.tiers == (Tier(tier_id="base", threshold_points=0),)
    assert program.tier_for(10**9).tier_id == "base"


def test_what_is_left_out_of_value_has_its_default() -> None:
    program = read(text=PLAIN)
    assert (program.tags, program.metadata, program.unit, program.is_money) == ((), None, "points", False)
    assert (program.enrol, program.one_account_per_customer) == (Enrol.FIRST_ACTIVITY, True)
    assert (program.access, program.clawback.takes_reserved) == (Access.MEMBERS, False)
    assert (program.returned_points_grace_days, program.adjustment_reasons) == (0, ())
    assert (program.limits, program.conversions, program.rewards) == (ValueLimits(), (), ())
    assert program.point_value is None


def test_a_unit_in_upper_case_is_the_currency_itself() -> None:
    assert read(("unit: megabucks", "unit: EUR"), ('point_value: "0.005"\n', "")).is_money


@pytest.mark.parametrize("text", [VALUE, PLAIN])
def test_the_database_keeps_what_is_not_the_default_and_reads_it_again(text: str) -> None:
    program = read(text=text)
    document = program_document(program)
    assert program_from_document(document) == program
    assert set(document) == set(yaml.safe_load(text)), "defaults are left out"
    assert Program.model_validate_json(program.model_dump_json()) == program


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[retail, uk]", "retail", 'line 3: tags is the text "retail"; write a list of at most 10,000 tags, such as [retail, uk]'),
        ("[retail, uk]", "[retail, retail]", "line 3: tags[1] is retail; it is there twice"),
        ("[retail, uk]", "[1]", 'line 3: tags[0] is the number 1; if it is meant as text, write it in quotes: "1"'),
        ("4711", "1.5", "line 4: metadata.cost_center is the number 1.5; write a text of at most 1,000 characters, an integer, true or false"),
        ("4711", "[1]", "line 4: metadata.cost_center is a list; write a text of at most 1,000 characters, an integer, true or false"),
        ("is_new: true", "is_new: no", 'line 4: metadata.is_new is no, which YAML reads as false; write false, or quote it: "no"'),
        ("is_new: true", "is_new:", "line 4: metadata.is_new is empty; write a text of at most 1,000 characters, an integer, true or false"),
        ("{owner: marketing, cost_center: 4711, is_new: true}", "[owner]", 'line 4: metadata is a list; write at most 100 names, each with a value, such as {owner: marketing, cost_center: "4711"}'),
        ("unit: megabucks", "unit: Megabucks", f'line 6: unit is the text "Megabucks"; write {UNIT}'),
        ("unit: megabucks", "unit: 5", 'line 6: unit is the number 5; if it is meant as text, write it in quotes: "5"'),
        ("unit: megabucks", "unit: EURO", 'line 6: unit is "EURO", which is not a known currency; did you mean EUR?'),
        ("unit: megabucks", "unit: XYZ", f'line 6: unit is "XYZ", which is not a known currency; write {UNIT}'),
        ("unit: megabucks", "unit: USD", "line 6: unit is USD; it must be EUR, the program's currency, or a word in lower case: orders and money are in one currency"),
        ("enrol: command", "enrol: commands", 'line 8: enrol is the text "commands"; did you mean command?'),
        ("enrol: command", "enrol: never", 'line 8: enrol is the text "never"; write first_activity or command'),
        ("one_account_per_customer: false", "one_account_per_customer: 1", "line 9: one_account_per_customer is the number 1; write true or false"),
        ("access: owner", "access: all", 'line 10: access is the text "all"; write members or owner'),
        ("takes_reserved: true", "takes_reserved: 1", "line 11: clawback.takes_reserved is the number 1; write true or false"),
        ("grace_days: 30", "grace_days: -1", "line 12: returned_points_grace_days is the number -1; write an integer from 0 to 36500"),
        ("[goodwill, mistake]", "[Good Will]", f'line 13: adjustment_reasons[0] is the text "Good Will"; write {NAME}'),
        ("[goodwill, mistake]", "[goodwill, goodwill]", "line 13: adjustment_reasons[1] is goodwill; it is there twice"),
        ('"0.005"', "0.005", 'line 14: point_value is the unquoted number 0.005, which is not exact; write it in quotes: "0.005"'),
        ('"0.005"', '"0"', 'line 14: point_value is the text "0"; write '),
        ('"0.005"', "half a cent", 'line 14: point_value is the text "half a cent"; write '),
        ("unit: megabucks", "unit: EUR", "line 14: point_value means nothing with unit EUR, which is money itself"),
        ("redeem: {per_day: 5000}", "redeem: 5000", "line 16: limits.redeem is the number 5000; write the most points in a time: per_day, per_month, such as {per_day: 5000}"),
        ("redeem: {per_day: 5000}", "redeem: {per_day: 0}", f"line 16: limits.redeem.per_day is the number 0; write {COUNT}"),
        ("redeem: {per_day: 5000}", "redeem: {per_week: 5000}", "line 16: limits.redeem.per_week is not a field here; known are per_day, per_month"),
        ("redeem: {per_day", "spend: {per_day", "line 16: limits.spend is not a field here; known are redeem, transfer, convert, credit"),
        ("to_program: account-money", "to: account-money", "line 19: conversions[0].to_program is missing; write the program_id of another program, 1 to 36"),
        ("to_program: account-money", "to_program: megabucks", "line 19: conversions[0].to_program is this program itself"),
        ("to_program: miles", "to_program: account-money", "line 20: conversions[1].to_program is account-money; it is there twice"),
        ("gives: 50", 'gives: "0.5"', f'line 19: conversions[0].gives is the text "0.5"; write {COUNT}'),
        ("points: 100, gives", "points: 0, gives", f"line 19: conversions[0].points is the number 0; write {COUNT}"),
        ("rounding: half_up", "rounding: up", 'line 19: conversions[0].rounding is the text "up"; write floor or ceil or half_up or half_even'),
        ("points_step: 100", "points_steps: 100", "line 19: conversions[0].points_steps is not a field here; did you mean points_step?"),
        ("  - {to_program: miles, points: 1, gives: 3}", "  - miles", 'line 20: conversions[1] is the text "miles"; write a conversion, such as {to_program: account-money, points: 100, gives: 50}'),
        ("kind: item", "kind: items", 'line 24: rewards[2].kind is the text "items"; did you mean item?'),
        ("kind: item", "kind: gift", 'line 24: rewards[2].kind is the text "gift"; write amount or percent or item or units'),
        (", kind: item", "", "line 24: rewards[2].kind is missing; write amount or percent or item or units"),
        ("sku: MUG", "amount: 5", "line 24: rewards[2].amount means nothing with kind item; it belongs to kind amount"),
        (", sku: MUG", "", "line 24: rewards[2].sku is missing; write an SKU of 1 to 200 characters; a number goes in quotes"),
        ('amount: "5.00"', "amount: 4.99", 'line 22: rewards[0].amount is the unquoted number 4.99, which is not exact; write it in quotes: "4.99"'),
        ('amount: "5.00"', "amount: 0", f"line 22: rewards[0].amount is the number 0; write {AMOUNT}"),
        ("percent: 10", "percent: 101", 'line 23: rewards[1].percent is the number 101; write a decimal number in quotes with at most 4 decimal places, such as "1.25", or an integer, above 0 and at most 100'),
        ("units: 2", "units: 0", f"line 25: rewards[3].units is the number 0; write {COUNT}"),
        ("unit_name: hour", "unit_name: 5", 'line 25: rewards[3].unit_name is the number 5; if it is meant as text, write it in quotes: "5"'),
        ("cost: 600", "cost: 0", f"line 24: rewards[2].cost is the number 0; write {COUNT}"),
        ("stock: 200", "stock: many", f'line 24: rewards[2].stock is the text "many"; write {COUNT}'),
        ("reward_id: mug", "reward_id: five-off", "line 24: rewards[2].reward_id is five-off; it is there twice"),
        ("reward_id: mug", "reward_id: Mug", f'line 24: rewards[2].reward_id is the text "Mug"; write {NAME}'),
        ("name: A mug", "name:", "line 24: rewards[2].name is empty; write 1 to 200 characters in one line"),
        ("tiers: [base]", "tiers: [bas]", "line 24: rewards[2].tiers[0] is bas; it is not a tier of this program; did you mean base?"),
        ("tiers: [base]", "tiers: [base, base]", "line 24: rewards[2].tiers[1] is base; it is there twice"),
        ("ends_on: 2027-06-30", "ends_on: 2026-06-30", "line 23: rewards[1].ends_on is before starts_on, 2027-01-01"),
        ("clawback:", "qualification: {measure: spend}\nclawback:", "line 11: qualification.measure means nothing without tiers; write tiers"),
        ("clawback:", "earning_rules: [{rule_id: a, kind: visit, points: {bass: 1}}]\nclawback:", "line 11: earning_rules[0].points.bass is not a tier of this program; did you mean base?"),
        ("clawback:", "tiers: []\nclawback:", "line 11: tiers is an empty list; write a list of 1 to 100 tiers, in ascending order of their thresholds"),
        ("enrol:", "colour: red\nenrol:", "line 8: colour is not a field here; known are program_id, name, active, tags, metadata, currency, unit, currencies, time_zone, default, sources, enrol and 20 more: see docs/programs.md"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_value_is_named_with_its_line_and_what_is_allowed(old: str, new: str, problem: str) -> None:
    assert any(line.startswith(problem) for line in problems(old, new)), problems(old, new)


def test_a_value_of_metadata_that_is_of_no_type_is_reported_once() -> None:
    assert len(problems("4711", "1.5")) == 1


@pytest.mark.parametrize(
    ("part", "right"),
    [
        ({"unit": "megabucks"}, True),
        ({"unit": "EUR"}, True),
        ({"unit": "Euro"}, False),
        ({"metadata": {"a": "b", "c": 1, "d": False}}, True),
        ({"metadata": {"a": [1]}}, False),
        ({"metadata": {"a": 1.5}}, False),
        ({"limits": {"redeem": {"per_day": 5}}}, True),
        ({"limits": {"redeem": 5}}, False),
        ({"conversions": [{"to_program": "miles", "points": 1, "gives": 3}]}, True),
        ({"conversions": [{"to_program": "miles", "points": 1}]}, False),
        ({"rewards": [{"reward_id": "a", "name": "A", "cost": 5, "kind": "item", "sku": "A"}]}, True),
        ({"rewards": [{"reward_id": "a", "name": "A", "cost": 5, "kind": "item", "amount": 5}]}, False),
        ({"enrol": "command", "access": "owner", "one_account_per_customer": False}, True),
        ({"adjustment_reasons": ["good will"]}, False),
        ({"point_value": "0.000125"}, True),
        ({"point_value": 1}, True),
        ({"point_value": "free"}, False),
        ({"returned_points_grace_days": 0, "clawback": {"takes_reserved": True}}, True),
    ],
)
def test_the_schema_of_value_agrees_with_the_parser(part: dict[str, Any], right: bool) -> None:
    program = {**yaml.safe_load(PLAIN), **part}
    schema = all_schemas()["program.schema.json"]
    assert Draft202012Validator(schema, format_checker=FormatChecker()).is_valid(program) is right
    try:
        parse_program(yaml.safe_dump(program), path="x.yaml")
    except ProgramFileError:
        assert not right
    else:
        assert right


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[retail, uk]", "[retail]", ["tags[uk]: removed"]),
        ("owner: marketing", "owner: sales", ["metadata.owner: marketing -> sales"]),
        ("metadata: {owner: marketing, cost_center: 4711, is_new: true}\n", "", [
            "metadata.owner: removed (marketing)", "metadata.cost_center: removed (4711)", "metadata.is_new: removed (true)",
        ]),
        ("redeem: {per_day: 5000}", "redeem: {per_day: 6000}", ["limits.redeem.per_day: 5000 -> 6000"]),
        ("gives: 50", "gives: 60", ["conversions[account-money].gives: 50 -> 60"]),
        ("  - {to_program: miles, points: 1, gives: 3}\n", "", ["conversions[miles]: removed (points 1, gives 3)"]),
        ("stock: 200", "stock: 300", ["rewards[mug].stock: 200 -> 300"]),
        ("kind: units, units: 2, unit_name: hour", "kind: item, sku: P", [
            "rewards[parking].kind: units -> item", "rewards[parking].units: 2 -> none",
            "rewards[parking].unit_name: hour -> none", "rewards[parking].sku: none -> P",
        ]),
        ("access: owner", "access: members", ["access: owner -> members"]),
        ('"0.005"', '"0.006"', ["point_value: 0.005 -> 0.006"]),
        ('point_value: "0.005"\n', "", ["point_value: 0.005 -> none"]),
    ],
)  # fmt: skip
def test_a_change_of_value_is_told(old: str, new: str, told: list[str]) -> None:
    assert describe_differences(read(), read((old, new))) == told


def test_a_good_file_of_value_needs_no_advice() -> None:
    assert advice(today=date(2027, 6, 30)) == {}


@pytest.mark.parametrize(
    ("old", "new", "path", "text"),
    [
        ("{takes_reserved: true}", "{takes_reserved: true, policy: pending_only}", "clawback.takes_reserved", "changes nothing, as policy pending_only takes"),
        ("per_month: 5000", "per_month: 1000", "limits.transfer.per_day", "changes nothing, as per_month is 1000"),
        ("points_min: 500", "points_min: 550", "conversions[0].points_min", "means 600, as only multiples of points_step, 100, are converted: write 600"),
        ("points_min: 500", "points_min: 50", "conversions[0].points_min", "changes nothing, as points_step is 100"),
        ("per_customer: 1", "per_customer: 200", "rewards[2].per_customer", "changes nothing, as stock is 200"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_advised_on(old: str, new: str, path: str, text: str) -> None:
    found = advice((old, new))
    assert text in found.get(path, ""), found


def test_a_limit_of_conversions_that_there_are_not_is_advised_on() -> None:
    start, end = VALUE.index("conversions:"), VALUE.index("rewards:")
    without = VALUE[start:end]
    assert advice((without, ""), ("redeem:", "convert:"))["limits.convert"].startswith("limits nothing")


def test_a_reward_that_is_over_is_advised_on_from_the_next_day_on() -> None:
    assert "is over" in advice(today=date(2027, 7, 1))["rewards[1].ends_on"]
