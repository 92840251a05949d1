"""What docs/programs.md says is what the code does."""

import runpy
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from core.domain.expiry.dates import expires_at
from core.domain.orders.earning import entitlement
from core.domain.orders.limits import judge
from core.domain.orders.posted import Judgement
from core.domain.program import Circumstances, Expiry, Program
from core.messages.program_files.advice import advise
from core.messages.program_files.program_file import load_program, parse_program
from tests.facts import order, program_with
from tests.pages import ROOT, blocks, table

PAGE = ROOT / "docs" / "programs.md"
EXAMPLES: dict[str, Program] = {
    path.name: load_program(path) for path in sorted((ROOT / "config" / "programs").glob("*.yaml"))
}


def judgement(program: Program, sold: Any) -> Judgement:
    local = sold.occurred_at.astimezone(program.zone)
    return judge(program, Circumstances(sold, local, program.tiers[0].tier_id, True), {}, {})


@pytest.mark.parametrize("row", table(PAGE, "Policy"), ids=lambda row: row[0])
def test_the_examples_of_expiry(row: list[str]) -> None:
    policy, said = row
    expiry = Expiry.model_validate(yaml.safe_load(policy.strip("`")))
    zone = program_with(time_zone="Europe/London").zone
    end = expires_at(expiry, zone, datetime(2027, 1, 10, 12, tzinfo=UTC))
    assert end is not None
    last = datetime.strptime(said.partition(",")[0], "%d %B %Y").replace(tzinfo=zone)
    assert (end.astimezone(zone).date() - last.date()).days == 1


def test_the_programs_of_points_as_value_are_right() -> None:
    money, points = (
        parse_program(block, path="x.yaml") for block in blocks(PAGE, "yaml") if block.startswith("program_id:")
    )
    assert (money.is_money, money.earning_rules, [tier.tier_id for tier in money.tiers]) == (True, (), ["base"])
    assert [conversion.to_program for conversion in points.conversions] == [money.program_id]
    assert {reward.kind for reward in points.rewards} == {"amount", "percent", "item", "units"}
    assert [*advise(money), *advise(points)] == []


def test_two_multipliers_add_what_each_gives() -> None:
    promotions = [{"promotion_id": f"times-{by}", "kind": "multiplier", "multiplier": by} for by in (2, 3)]
    program = program_with(promotions=promotions)
    sold = order("100.00")
    plain = entitlement(sold, (), program_with(), "bronze").points
    assert entitlement(sold, (), program, "bronze", judgement(program, sold)).points == 4 * plain


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_page_leads_to_every_example_but_that_of_the_replay(name: str) -> None:
    assert (f"(../config/programs/{name})" in PAGE.read_text()) == (name != "online-retail.yaml")


def test_the_examples_to_copy_can_stand_beside_each_other() -> None:
    beside = [program for name, program in EXAMPLES.items() if name != "online-retail.yaml"]
    assert [program.program_id for program in beside if program.default] == ["high-street"]
    sources = [source for program in beside for source in program.sources]
    assert len(sources) == len(set(sources))
    assert len({program.program_id for program in EXAMPLES.values()}) == len(EXAMPLES)


def test_every_part_of_a_program_has_its_table() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    assert {f"| `{field}` |" in PAGE.read_text() for field in Program.model_fields} == {True}
    assert set(generate["tables"]()["programs.md"]) >= {"program", "rules", "promotions", "when", "tiers", "expiry"}
