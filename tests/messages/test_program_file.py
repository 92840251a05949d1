"""A program file is read, or every problem of it is named with its line, what is allowed and what was meant."""

import contextlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.orders.facts import LineKind
from core.domain.program import (
    Basis,
    Clawback,
    ClawbackPolicy,
    Combine,
    Expiry,
    ExpiryPolicy,
    PointsPaidBasis,
    Program,
    Qualification,
    QualificationWindow,
    Rounding,
    SpendRule,
    TaxBasis,
    Tier,
)
from core.errors import ProgramFileError
from core.messages.program_files.program_file import (
    load_program,
    parse_program,
    program_document,
    program_from_document,
)

FULL = """\
program_id: high-street
name: High Street Rewards
currency: GBP
time_zone: Europe/London
default: true
sources: ["/shops/high-street"]
basis: {kinds: [product, shipping], tax: included, points_paid: included}
combine: stack
earning_rules:
  - rule_id: spend
    kind: spend
    per_amount: "1.00"
    points: {bronze: "1", silver: "1.25", gold: 2}
    rounding: half_up
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 500}
  - {tier_id: gold, threshold_points: 2000}
qualification: {window: calendar_year}
clawback: {policy: clamp}
expiry: {policy: after_months, months: 12}
"""
SHORT = """\
program_id: corner
name: Corner Shop
currency: EUR
time_zone: Europe/Berlin
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: 1, points: {member: 1}}
tiers:
  - {tier_id: member, threshold_points: 0}
"""


def problems(*changes: tuple[str, str], text: str = FULL) -> list[str]:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(ProgramFileError) as caught:
        parse_program(text, path="programs/x.yaml")
    first, *lines = str(caught.value).splitlines()
    assert first == "The program file programs/x.yaml cannot be used:"
    return lines


def test_a_full_file_is_read() -> None:
    assert parse_program(FULL, path="x.yaml") == Program(
        program_id="high-street",
        name="High Street Rewards",
        currency="GBP",
        time_zone="Europe/London",
        default=True,
        sources=("/shops/high-street",),
        basis=Basis(
            kinds=(LineKind.PRODUCT, LineKind.SHIPPING), tax=TaxBasis.INCLUDED, points_paid=PointsPaidBasis.INCLUDED
        ),
        combine=Combine.STACK,
        earning_rules=(
            SpendRule(
                rule_id="spend",
                kind="spend",
                per_amount=Decimal(1),
                points={"bronze": Decimal(1), "silver": Decimal("1.25"), "gold": Decimal(2)},
                rounding=Rounding.HALF_UP,
            ),
        ),
        tiers=(
            Tier(tier_id="bronze", threshold_points=0),
            Tier(tier_id="silver", threshold_points=500),
            Tier(tier_id="gold", threshold_points=2000),
        ),
        qualification=Qualification(window=QualificationWindow.CALENDAR_YEAR),
        clawback=Clawback(policy=ClawbackPolicy.CLAMP),
        expiry=Expiry(policy=ExpiryPolicy.AFTER_MONTHS, months=12),
    )


def test_what_is_left_out_has_its_default() -> None:
    program = parse_program(SHORT, path="x.yaml")
    assert not program.default
    assert program.sources == ()
    assert program.basis == Basis(
        kinds=(LineKind.PRODUCT,), tax=TaxBasis.EXCLUDED, points_paid=PointsPaidBasis.EXCLUDED
    )
    assert program.combine is Combine.BEST
    assert program.earning_rules[0].rounding is Rounding.FLOOR
    assert program.qualification.window is QualificationWindow.LIFETIME
    assert program.clawback.policy is ClawbackPolicy.ALLOW_NEGATIVE
    assert program.expiry == Expiry(policy=ExpiryPolicy.NEVER, months=None)


@pytest.mark.parametrize("text", [FULL, SHORT])
def test_a_program_comes_back_from_its_document(text: str) -> None:
    program = parse_program(text, path="x.yaml")
    assert program_from_document(program_document(program)) == program


def test_a_document_of_the_first_release_is_read() -> None:
    document = {
        "program_id": "corner",
        "name": "Corner Shop",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "default": False,
        "sources": ["/shops/corner"],
        "basis": {"kinds": ["product"], "tax": "excluded", "points_paid": "excluded"},
        "combine": "best",
        "earning_rules": [
            {"rule_id": "spend", "kind": "spend", "per_amount": "1", "points": {"member": "1.5"}, "rounding": "floor"}
        ],
        "tiers": [{"tier_id": "member", "threshold_points": 0}],
        "qualification": {"window": "calendar_year"},
        "clawback": {"policy": "allow_negative"},
        "expiry": {"policy": "never", "months": None},
    }
    program = program_from_document(document)
    assert program.is_plain
    assert program_from_document(program_document(program)) == program
    assert program.qualification.window is QualificationWindow.CALENDAR_YEAR


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'per_amount: "1.00"',
            "per_amount: 1.50",
            (
                "line 12: earning_rules[0].per_amount is the unquoted number 1.50, which is not exact; "
                'write it in quotes: "1.50"'
            ),
        ),
        (
            'per_amount: "1.00"',
            'per_amount: "0"',
            (
                'line 12: earning_rules[0].per_amount is the text "0"; write a decimal number in quotes with at most 4 '
                'decimal places, such as "1.25", or an integer, above 0 and at most 1000000000000'
            ),
        ),
        (
            'silver: "1.25"',
            "silver: -1",
            (
                "line 13: earning_rules[0].points.silver is the number -1; write a decimal number in quotes with "
                'at most 4 decimal places, such as "1.25", or an integer, from 0 to 1000000'
            ),
        ),
        (
            "gold: 2}",
            "glod: 2}",
            "line 13: earning_rules[0].points.glod is not a tier of this program; did you mean gold?",
        ),
        (
            "gold: 2}",
            "glod: 2}",
            ("line 13: earning_rules[0].points has no rate for tier gold; write 0 if that tier earns nothing"),
        ),
        ("kind: spend", "kind: spnd", 'line 11: earning_rules[0].kind is the text "spnd"; did you mean spend?'),
        (
            "half_up",
            "up",
            ('line 14: earning_rules[0].rounding is the text "up"; write floor or ceil or half_up or half_even'),
        ),
        (
            "currency: GBP",
            "currency: gbp",
            'line 3: currency is "gbp", which is not a known currency; did you mean GBP?',
        ),
        (
            "currency: GBP",
            "currency: GBX",
            (
                'line 3: currency is "GBX", which is not a known currency; write an ISO 4217 '
                "code of three upper-case letters, such as EUR"
            ),
        ),
        (
            "Europe/London",
            "Europe/Londn",
            (
                'line 4: time_zone is "Europe/Londn", which is not a time zone of the IANA database; '
                "did you mean Europe/London?"
            ),
        ),
        (
            "Europe/London",
            "berlin",
            (
                'line 4: time_zone is "berlin", which is not a time zone of the IANA database; '
                "did you mean Europe/Berlin?"
            ),
        ),
        (
            "Europe/London",
            "Europe",
            (
                'line 4: time_zone is "Europe", which is not a time zone of the IANA database; write a name of the '
                "IANA database, such as Europe/London"
            ),
        ),
        *[
            (
                "Europe/London",
                name,
                f'line 4: time_zone is "{name}", which is not a time zone of the IANA database; {mend}',
            )
            # What these mean is for the machine to say, or nobody; a path may even lead out of the folder.
            for name, mend in [
                *[
                    (name, "write a name of the IANA database, such as Europe/London")
                    for name in ("localtime", "posixrules", "Factory", "zone.tab", "../localtime", "/etc/localtime")
                ],
                ("right/Europe/London", "did you mean Europe/London?"),
                ("posix/Europe/London", "did you mean Europe/London?"),
                ("europe/london", "did you mean Europe/London?"),
            ]
        ],
        ("default: true", "default: maybe", 'line 5: default is the text "maybe"; write true or false'),
        (
            '["/shops/high-street"]',
            "/shops/a",
            ('line 6: sources is the text "/shops/a"; write a list of message sources, such as [/shops/high-street]'),
        ),
        ('["/shops/high-street"]', "[/a, /a]", "line 6: sources[1] is /a; it is there twice"),
        ("[product, shipping]", "[prodct]", 'line 7: basis.kinds[0] is the text "prodct"; did you mean product?'),
        (
            "combine: stack",
            "combine: best\ncombine: stack",
            ("line 9: combine stands twice, first in line 8; keep one of them"),
        ),
        ("combine: stack", "combin: stack", "line 8: combin is not a field here; did you mean combine?"),
        (
            "threshold_points: 500",
            "treshold: 500",
            ("line 17: tiers[1].treshold is not a field here; did you mean threshold_points?"),
        ),
        (
            "threshold_points: 500",
            'threshold_points: "500"',
            ('line 17: tiers[1].threshold_points is the text "500"; write an integer from 0 to 1000000000000000'),
        ),
        (
            "threshold_points: 500",
            "threshold_points: 0500",
            (
                "line 17: tiers[1].threshold_points is written 0500, which "
                "YAML reads as 320; write a plain integer, or quote it"
            ),
        ),
        (
            "threshold_points: 500",
            "threshold_points: 2000",
            ("line 18: tiers[2].threshold_points is 2000; it must be above 2000, the threshold of the tier before it"),
        ),
        (
            "threshold_points: 0}",
            "threshold_points: 1}",
            (
                "line 16: tiers[0].threshold_points is 1; it must be 0: the "
                "first tier is the one that everybody starts in"
            ),
        ),
        ("tier_id: silver", "tier_id: bronze", "line 17: tiers[1].tier_id is bronze; it is there twice"),
        (
            "tier_id: silver",
            "tier_id: no",
            (
                "line 17: tiers[1].tier_id is no, which YAML reads as false; if it is meant "
                'as text, write it in quotes: "no"'
            ),
        ),
        (
            "name: High Street Rewards",
            "name: 2026-01-01",
            ('line 2: name is the date 2026-01-01; if it is meant as text, write it in quotes: "2026-01-01"'),
        ),
        (
            "program_id: high-street\n",
            "",
            ("line 1: program_id is missing; write 1 to 36 of the characters a-z, 0-9, _ and -"),
        ),
        (
            "program_id: high-street",
            "program_id: High Street",
            ('line 1: program_id is the text "High Street"; write 1 to 36 of the characters a-z, 0-9, _ and -'),
        ),
        ("policy: clamp", "policy: clmap", 'line 20: clawback.policy is the text "clmap"; did you mean clamp?'),
        ("months: 12", "months: 1201", "line 21: expiry.months is the number 1201; write an integer from 1 to 1200"),
        (", months: 12", "", "line 21: expiry.months is missing: policy after_months needs it"),
        ("after_months", "never", "line 21: expiry.months means nothing with policy never"),
        ("name: High Street Rewards", "name: &n [*n]", "line 2: name[0] is an alias (*); write the value out"),
        (
            "name: High Street Rewards",
            "name: !!python/name:os.x ''",
            (
                "line 2: name cannot be read: could not determine "
                "a constructor for the tag 'tag:yaml.org,2002:python/name:os.x'"
            ),
        ),
    ],
)
def test_a_problem_names_line_place_value_and_what_is_allowed(old: str, new: str, problem: str) -> None:
    assert problem in problems((old, new))


def test_all_problems_are_named_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        ("GBP", "gbp"), ("Europe/London", "nowhere"), ("kind: spend", "kind: x"), ("months: 12", "months: 0")
    )
    assert [line.partition(":")[0] for line in found] == ["line 3", "line 4", "line 11", "line 21"]


def test_a_misspelt_field_is_not_reported_as_missing_too() -> None:
    assert problems(("tiers:", "teirs:")) == ["line 15: teirs is not a field here; did you mean tiers?"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is not a program: write fields such as program_id"),
        ("- program", "it is not a program"),
        ("tiers: [1", "line 1, column 10: it is not YAML: expected ',' or ']'"),
        ("a: 1\n---\nb: 2", "line 2, column 1: it is not YAML: a second document begins with ---; one file holds one"),
        ("a: 1\n\tb: 2", "line 2, column 1: it is not YAML: a tab; indent with spaces"),
        ("a: b: c", "line 1, column 5: it is not YAML: a colon where none can be; write text that has one in quotes"),
        ("name: \x07", "it is not YAML: unacceptable character"),
        ("[" * 20_000, "it is nested too deeply"),
    ],
)
def test_what_is_no_program_says_so(text: str, problem: str) -> None:
    assert problems(text=text)[0].startswith(problem)


def test_a_file_is_loaded_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "corner.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SHORT.encode())
    assert load_program(path) == parse_program(SHORT, path="x.yaml")


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (lambda path: path.write_bytes(b"name: \xff"), "it is not written in UTF-8 (byte 7)"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.with_suffix(".txt").touch(), "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why(tmp_path: Path, prepare: Callable[[Path], object], problem: str) -> None:
    path = tmp_path / "x.yaml"
    prepare(path)
    with pytest.raises(ProgramFileError, match=r"x\.yaml cannot be used") as caught:
        load_program(path)
    assert problem in str(caught.value)


@settings(max_examples=200)
@given(st.data())
def test_any_damage_to_a_file_is_a_program_file_error(data: st.DataObject) -> None:
    text = FULL
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 12))
        text = text[:place] + data.draw(st.text(alphabet="ab0.-:[]{}&*!\"'\n #", max_size=4)) + text[place + gone :]
    with contextlib.suppress(ProgramFileError):
        program = parse_program(text, path="x.yaml")
        assert program_from_document(program_document(program)) == program
