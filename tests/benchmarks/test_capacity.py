"""What an installation needs follows from its plan, and the page for operators tells what the command calculates."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import measured_costs
from benchmarks.capacity import parse_plan, rows_of
from benchmarks.measured_costs import INBOX_BYTES, POSTGRESQL, Measured, RoleCost, RowBytes
from benchmarks.needs import Plan, amount_text, limits_of, needs_of, wakes_per_second
from core.store.proof.scope import SLICE_ENTRIES_MAX, SLICE_ENTRIES_MIN
from tests.pages import ROOT, blocks, commands, table

PAGE = ROOT / "docs" / "scaling.md"
COMMAND = "python -m benchmarks.capacity "
PLAN = Plan()
COSTS = {
    name: value for name, value in vars(measured_costs).items() if isinstance(value, (Measured, RowBytes, RoleCost))
}
#: What each kind of server is short of.
SHORT = ("processors", "memory", "disk", "restore", "verify")


def rows(plan: Plan) -> dict[str, str]:
    return dict(rows_of(plan, needs_of(plan)))


def beyond(plan: Plan) -> set[str]:
    return {limit.of for limit in limits_of(plan, needs_of(plan)) if limit.is_beyond}


def test_twice_the_accounts_and_entries_take_twice_the_room_for_ever_and_leave_queues_as_they_are() -> None:
    once = needs_of(PLAN).disk
    twice = needs_of(PLAN._replace(accounts=2 * PLAN.accounts, entries=2 * PLAN.entries)).disk
    assert twice.for_ever == pytest.approx([2 * each for each in once.for_ever])
    assert twice.bounded == once.bounded


def test_queues_hold_the_days_of_their_retention() -> None:
    plan = PLAN._replace(lines=10, orders_per_day=1_000, inbox_days=7)
    assert needs_of(plan).disk.inbox.all == 7_000 * INBOX_BYTES.in_all(10)
    assert needs_of(plan._replace(inbox_days=14)).disk.for_ever == needs_of(plan).disk.for_ever


def test_an_order_takes_what_was_measured_of_one() -> None:
    """3,762 bytes of 2.8 lines, an account for 3.7 orders, and 4,627 of the write-ahead log."""
    plan = Plan(accounts=1_356, entries=5_000, lines=2.77, orders_per_day=5_000, inbox_days=1, outbox_days=1)
    needs = needs_of(plan)
    assert needs.disk.together.all / plan.entries == pytest.approx(3_762, rel=0.01)
    assert needs.wal.bytes_per_day / plan.entries == pytest.approx(4_627, rel=0.01)


def test_more_lines_take_more_of_disk_and_log() -> None:
    few, many = needs_of(PLAN), needs_of(PLAN._replace(lines=20))
    assert many.disk.together.all > few.disk.together.all
    assert many.wal.bytes_per_day > few.wal.bytes_per_day


def test_more_worker_processes_than_shards_are_said_to_idle() -> None:
    idle = "worker processes that idle, as shards are fewer"
    assert rows(PLAN._replace(shards=16, worker_processes=20))[idle] == "4"
    assert rows(PLAN._replace(shards=16, worker_processes=16))[idle] == "0"


def test_the_peak_is_ten_times_the_average_unless_it_is_given() -> None:
    assert Plan(orders_per_day=86_400).peak_per_second == 10
    assert Plan(orders_per_day=86_400, peak_orders_per_second=3).peak_per_second == 3


def test_a_flood_wakes_shards_no_more_often_than_intake_does() -> None:
    assert wakes_per_second(PLAN._replace(peak_orders_per_second=40)) == 40
    assert wakes_per_second(PLAN._replace(peak_orders_per_second=5_000)) == 100
    assert wakes_per_second(PLAN._replace(peak_orders_per_second=5_000, shards=64)) == 320


def test_an_order_alone_takes_the_time_of_one_alone_and_each_of_many_hardly_more_than_in_full_batches() -> None:
    alone = needs_of(PLAN._replace(peak_orders_per_second=1)).processors.postgresql
    assert alone.as_it_comes * 1_000 == pytest.approx(POSTGRESQL.alone_ms)
    many = needs_of(PLAN._replace(peak_orders_per_second=50_000)).processors.postgresql
    assert many.as_it_comes / many.in_batches < 1.1


def test_two_hundred_orders_a_second_are_too_many_for_two_cores_which_bear_fifty() -> None:
    """As was measured with whole roles."""

    def cores(rate: float) -> float:
        found = needs_of(PLAN._replace(peak_orders_per_second=rate)).processors
        roles = (found.intake, found.worker_children, found.worker_main, found.postgresql, found.broker)
        return sum(role.as_it_comes for role in roles)

    assert cores(50) < 2 < cores(200)


def test_every_consumer_is_given_every_event() -> None:
    broker = needs_of(PLAN._replace(consumers=3)).broker
    assert broker.events_delivered == 3 * broker.events_out > 3 * broker.orders_in


def test_jobs_share_the_time_of_verify_and_each_copies_a_slice() -> None:
    one, four = (needs_of(PLAN._replace(jobs=jobs)).hours for jobs in (1, 4))
    assert four.verify == one.verify / 4
    assert four.verify_temporary_bytes == 4 * one.verify_temporary_bytes


def test_verify_copies_a_tenth_of_the_ledger_but_no_more_than_a_slice_holds() -> None:
    def share(entries: int) -> float:
        plan = PLAN._replace(accounts=entries // 10, entries=entries, jobs=1, outbox_days=0.001)
        needs = needs_of(plan)
        return needs.hours.verify_temporary_bytes / needs.disk.for_ever.tables

    assert share(SLICE_ENTRIES_MIN) == 0
    assert share(1_000_000) == pytest.approx(0.2, rel=0.01)
    assert share(10_000_000) == pytest.approx(0.1, rel=0.01)
    assert share(10 * SLICE_ENTRIES_MAX * 5) == pytest.approx(0.02, rel=0.01)


def test_the_audit_of_a_small_ledger_goes_round_its_shards_once() -> None:
    assert needs_of(Plan(entries=1_000)).hours.audit * 60 == pytest.approx(40)


@pytest.mark.parametrize("of", SHORT)
def test_a_server_that_has_too_little_is_said_to_end_there(of: str) -> None:
    least = {
        "processors": {"server_cores": 1, "peak_orders_per_second": 5_000},
        "memory": {"server_memory_gb": 1},
        "disk": {"server_disk_gb": 1},
        "restore": {"backup_mb_per_second": 0.1},
        "verify": {"entries": 1_000_000_000, "jobs": 1, "server_memory_gb": 1e6},
    }
    assert beyond(PLAN) == set()
    assert beyond(PLAN._replace(**least[of])) == {of}


@pytest.mark.parametrize("name", COSTS)
def test_every_command_that_measures_a_cost_exists_with_its_options(name: str) -> None:
    text = COSTS[name].measured_by
    assert text.startswith("no command: ") or "python -m benchmarks." in text
    for module, options in re.findall(r"python -m benchmarks\.(\w+)((?: --[a-z]+ \d+)*)", text):
        source = (ROOT / "benchmarks" / f"{module}.py").read_text()
        assert 'if __name__ == "__main__":' in source
        assert [option for option in re.findall(r"--[a-z]+", options) if f'"{option}"' not in source] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (0.0, "0"), (0.004, "below 0.01"), (0.04, "0.04"), (0.44, "0.4"), (13_294.0, "13,300")],
)
def test_an_amount_has_no_more_figures_than_count(value: float, text: str) -> None:
    assert amount_text(value) == text


def test_nothing_may_be_zero(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_plan(["--orders-per-day", "0"])
    assert "--orders-per-day must be above 0" in capsys.readouterr().err


def test_programs_read_the_same_as_json() -> None:
    command = [sys.executable, "-m", "benchmarks.capacity", "--entries", "20000000", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE)
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["plan"]["entries"] == 20_000_000
    assert document["needs"]["years"] == needs_of(Plan(entries=20_000_000)).years
    assert [limit["of"] for limit in document["limits"]] == list(SHORT)


def plans_of_the_page() -> Iterator[Plan]:
    for block in blocks(PAGE, "sh"):
        for command in commands(block):
            if command.startswith(COMMAND):
                yield parse_plan(shlex.split(command.removeprefix(COMMAND)))[0]


def lines_of(cells: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def test_the_page_tells_what_the_command_calculates_of_its_three_sizes() -> None:
    found = [rows(plan) for plan in plans_of_the_page()]
    assert [plan.accounts for plan in plans_of_the_page()] == [10**5, 10**7, 10**8]
    expected = [[name, *(each[name] for each in found)] for name in found[0]]
    assert table(PAGE, "What it needs") == expected, f"write:\n{lines_of(expected)}"


def test_the_page_tells_where_one_server_ends() -> None:
    found = [limits_of(plan, needs_of(plan)) for plan in plans_of_the_page()]
    expected = [
        [
            f"{limits[0].of}, {limits[0].unit}, of {amount_text(limits[0].there)}",
            *(f"{amount_text(each.needed)}: {'not enough' if each.is_beyond else 'enough'}" for each in limits),
        ]
        for limits in zip(*found, strict=True)
    ]
    assert table(PAGE, "What one server has") == expected, f"write:\n{lines_of(expected)}"
