"""Every command that the README and the docs name is run by a test, or by CI itself; the table says by which."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

from config.settings import ROLE_NAMES
from tests.fuzz.__main__ import MISSING
from tests.pages import PAGES, ROOT
from tests.test_docs import CommandLine, shell_code
from workers.cli import build_app

HERE = "tests/test_documented_commands.py"
CI = (".ci/run",)
FIRST_HOUR = ("tests/test_first_hour.py::test_the_first_hour_goes_as_the_readme_says",)


def cli(file: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"tests/workers/cli/{file}.py::{test}" for test in tests)


def benchmarks(test: str) -> tuple[str, ...]:
    return (f"tests/benchmarks/test_commands.py::{test}",)


RESTRICTED = "tests/acceptance/test_restricted_broker.py"
COMPOSE = ("tests/test_containers.py::test_what_the_pages_run_with_compose_is_there",)

#: What runs each command: tests, of which each must be there and contain it; another command; or CI itself. Of
#: `loyalty` the options that the pages show count too.
RUN_BY: dict[str, tuple[str, ...]] = {
    "docker compose exec": COMPOSE,
    "docker compose up": COMPOSE,
    "loyalty account explain": cli(
        "test_support_page", "test_the_example_of_the_support_page_is_what_the_commands_print"
    ),
    "loyalty account explain --order": cli(
        "test_support_page", "test_the_example_of_the_support_page_is_what_the_commands_print"
    ),
    "loyalty account explain --for": cli(
        "test_support_page", "test_the_example_of_the_support_page_is_what_the_commands_print"
    ),
    "loyalty account": cli("test_value_commands", "TestAccounts"),
    "loyalty account history": FIRST_HOUR,
    "loyalty account hold-tier": cli(
        "test_hold_tier_command", "test_with_apply_the_tier_is_changed_told_and_kept_with_its_reason"
    ),
    "loyalty account hold-tier --apply --reason --tier --until": cli(
        "test_hold_tier_command", "test_with_apply_the_tier_is_changed_told_and_kept_with_its_reason"
    ),
    "loyalty account hold-tier --reason --tier --until": cli(
        "test_hold_tier_command", "test_without_apply_it_only_tells_what_would_change"
    ),
    "loyalty account history --format": cli(
        "test_account_formats", "test_lightrail_is_told_transactions_with_their_steps"
    ),
    "loyalty account history --before --limit": cli(
        "test_account_commands", "test_the_history_is_paged_by_the_number_that_stands_below_a_page"
    ),
    "loyalty reward list": cli("test_reward_commands", "test_the_catalogue_says_what_there_is_and_what_is_left"),
    "loyalty account show": FIRST_HOUR,
    "loyalty account show --format": cli(
        "test_account_formats",
        "test_square_is_told_every_field_of_an_account",
        "test_lightrail_is_told_a_value_store",
    ),
    "loyalty account show --named-by": cli("test_named_by", "test_it_is_shown_that_they_are_there_and_not_which"),
    "loyalty account show --as-of": cli("test_past_accounts", "test_the_past_tier_is_the_one_that_was_recorded"),
    "loyalty addresses": cli("test_process_commands", "test_addresses_are_those_that_the_settings_name"),
    "loyalty beat": ("loyalty up",),
    "loyalty broker declare": (
        f"{RESTRICTED}::test_an_administrator_declares_once_and_roles_that_may_configure_nothing_do_all_their_work",
    ),
    "loyalty broker definitions --user --vhost": (
        f"{RESTRICTED}::test_the_printed_definitions_make_the_same_as_the_command_and_again_change_nothing",
    ),
    "loyalty db current": cli(
        "test_database_commands", "test_current_says_where_the_tables_stand_and_whether_this_release_can_work_there"
    ),
    "loyalty db grant": cli("test_database_commands", "test_grant_says_what_it_gave_and_upgrade_does_it_on_the_way"),
    "loyalty db grant --read-only": cli(
        "test_database_commands", "test_grant_says_what_it_gave_and_upgrade_does_it_on_the_way"
    ),
    "loyalty db grant --views": cli(
        "test_database_commands", "test_a_reporting_tool_gets_the_views_alone_by_grant_or_on_the_way"
    ),
    "loyalty customer erase": cli("test_customer_commands", "test_a_customer_is_erased_once_and_for_all"),
    "loyalty customer erase --dry-run": cli("test_customer_commands", "test_a_dry_run_says_where_a_customer_is_named"),
    "loyalty customer export": cli("test_customer_commands", "test_all_that_is_held_is_told_in_places"),
    "loyalty customer export --format --output": cli("test_customer_commands", "test_it_is_one_page_that_prints"),
    "loyalty customer export --json --output": cli("test_customer_commands", "test_programs_get_all_of_it_as_json"),
    "loyalty customer export --named-by": cli("test_customer_commands", "test_a_customer_is_found_by_an_account_too"),
    "loyalty db grant --may-erase": cli("test_database_commands", "test_a_role_may_erase_only_where_that_is_said"),
    "loyalty db upgrade --grant-erasing": cli(
        "test_database_commands", "test_a_role_may_erase_only_where_that_is_said"
    ),
    "loyalty db upgrade --grant-read": cli(
        "test_database_commands", "test_a_reporting_tool_gets_the_views_alone_by_grant_or_on_the_way"
    ),
    "loyalty db upgrade": cli("test_command_line", "test_a_database_without_tables_is_refused_until_it_is_upgraded"),
    "loyalty db upgrade --check": cli(
        "test_database_commands", "test_a_check_says_what_an_upgrade_would_do_and_changes_nothing"
    ),
    "loyalty db upgrade --grant --grant-read": cli(
        "test_database_commands", "test_an_upgrade_grants_all_roles_in_one_command"
    ),
    "loyalty db upgrade --grant": cli(
        "test_database_commands", "test_grant_says_what_it_gave_and_upgrade_does_it_on_the_way"
    ),
    "loyalty dead drop": cli("test_dead_commands", "test_a_dropped_letter_keeps_its_bytes_its_reason_and_why"),
    "loyalty dead drop --parked-as --reason --yes": (
        "tests/acceptance/test_prometheus.py::test_alarms_of_the_state_ring_by_its_faults_and_fall_silent_when_they_are_mended",
    ),
    "loyalty dead drop --parked-as --reason --source --yes": cli(
        "test_dead_commands", "test_all_that_fit_are_retried_or_dropped_and_dropping_wants_a_yes"
    ),
    "loyalty dead fix": cli(
        "test_dead_commands", "test_a_letter_is_fixed_with_a_mended_file_which_says_what_was_changed"
    ),
    "loyalty dead list": FIRST_HOUR,
    "loyalty dead list --waiting": cli("test_dead_commands", "test_waiting_refunds_are_listed_with_their_age"),
    "loyalty dead retry": cli("test_dead_commands", "test_what_was_mended_is_retried_and_posted"),
    "loyalty dead retry --reason": cli(
        "test_dead_commands", "test_all_that_fit_are_retried_or_dropped_and_dropping_wants_a_yes"
    ),
    "loyalty dead retry --reason --source": cli(
        "test_dead_commands", "test_all_that_fit_are_retried_or_dropped_and_dropping_wants_a_yes"
    ),
    "loyalty dead show": FIRST_HOUR,
    "loyalty dead show --json": cli(
        "test_dead_commands", "test_a_letter_is_fixed_with_a_mended_file_which_says_what_was_changed"
    ),
    "loyalty demo": ("make demo",),
    "loyalty events replay": cli("test_replay_command", "test_a_replay_since_an_instant_takes_every_account"),
    "loyalty events replay --customer --from-sequence": cli(
        "test_replay_command", "test_a_replay_from_a_sequence_leaves_out_what_the_consumer_has"
    ),
    "loyalty events replay --since": cli("test_replay_command", "test_a_replay_since_an_instant_takes_every_account"),
    "loyalty export": cli("test_export_command", "test_wrong_use_is_named_and_ends_with_2"),
    "loyalty export journal --month": cli("test_export_command", "test_names_are_such_as_beancount_takes"),
    "loyalty export journal --month --no-opening": cli(
        "test_export_command", "test_months_go_on_where_the_one_before_ends"
    ),
    "loyalty export journal --format --month --program": cli(
        "test_export_command", "test_its_balances_are_ours_to_the_point_at_each_months_end"
    ),
    "loyalty health live": cli("test_status_commands", "test_health_says_what_is_wrong_first_and_ends_with_1"),
    "loyalty health live --data-dir": cli("test_command_line", "test_the_health_of_another_folder_is_asked_for"),
    "loyalty health ready": cli("test_status_commands", "test_health_says_what_is_wrong_first_and_ends_with_1"),
    "loyalty import accounts": cli("test_import_page", "test_the_samples_of_accounts_in_json_are_imported"),
    "loyalty import accounts --dry-run": cli("test_import_page", "test_the_samples_of_accounts_are_imported"),
    "loyalty import accounts --bad-rows --by": cli("test_import_page", "test_the_samples_of_accounts_are_imported"),
    "loyalty import orders": cli("test_import_page", "test_the_samples_of_orders_are_imported"),
    "loyalty import orders --dry-run --source": cli("test_import_page", "test_the_samples_of_orders_are_imported"),
    "loyalty import orders --source": cli("test_import_page", "test_the_samples_of_orders_are_imported"),
    "loyalty intake": ("loyalty up",),
    "loyalty lots extend": cli("test_lot_commands", "test_without_apply_it_counts_and_shows_a_sample"),
    "loyalty lots extend --apply --by --customer --days --reason": cli(
        "test_lot_commands",
        "test_with_apply_lots_end_at_a_local_midnight_as_before",
        "test_pending_points_with_an_end_last_longer_too",
    ),
    "loyalty lots extend --expiring-before --program --to": cli(
        "test_lot_commands",
        "test_only_the_chosen_lots_are_extended",
        "test_a_last_day_can_be_given_again_and_changes_nothing_more",
    ),
    "loyalty command show": cli("test_value_commands", "TestCommandShow"),
    "loyalty points": cli("test_value_commands", "TestPoints"),
    "loyalty points adjust --id --reason": cli("test_value_commands", "TestPoints"),
    "loyalty points credit --dry-run --reason": cli("test_value_commands", "TestPoints"),
    "loyalty points credit --expires-at --reason": cli("test_value_commands", "TestPoints"),
    "loyalty points credit --reason": cli("test_value_commands", "TestPoints"),
    "loyalty points debit --dry-run --order": cli("test_value_commands", "TestPoints"),
    "loyalty points debit --reason": cli("test_value_commands", "TestPoints"),
    "loyalty points credit --id --reason": FIRST_HOUR,
    "loyalty points authorize --authorization-id": FIRST_HOUR,
    "loyalty points capture --order --points": FIRST_HOUR,
    "loyalty report": cli("test_report_commands", "TestLiability"),
    "loyalty report activity": cli("test_report_commands", "TestActivity"),
    "loyalty report activity --month": cli("test_report_commands", "TestActivity"),
    "loyalty report activity --csv --from --program --to": cli("test_report_commands", "TestActivity"),
    "loyalty report liability": cli("test_report_commands", "TestLiability"),
    "loyalty report liability --html --month": cli(
        "test_report_commands", "TestLiability", "test_a_page_has_plots_and_loads_nothing"
    ),
    "loyalty report liability --as-of --csv --program": cli("test_report_commands", "TestLiability"),
    "loyalty report promotion": cli("test_report_commands", "TestPromotion"),
    "loyalty report promotion --html --program": cli(
        "test_report_commands", "TestPromotion", "test_a_page_of_a_promotion_is_of_the_program_that_was_asked_for"
    ),
    "loyalty reward": cli("test_reward_commands", "test_one_is_issued_redeemed_and_told_of"),
    "loyalty reward list --customer": cli("test_reward_commands", "test_of_a_customer_it_says_what_is_within_reach"),
    "loyalty reward issue --issue-id": cli("test_reward_commands", "test_one_is_issued_redeemed_and_told_of"),
    "loyalty reward redeem --order": cli("test_reward_commands", "test_one_is_issued_redeemed_and_told_of"),
    "loyalty reward delete --dry-run": cli("test_reward_commands", "test_one_is_taken_back"),
    "loyalty program apply": FIRST_HOUR,
    "loyalty program apply --backdate --from": cli(
        "test_program_commands", "test_a_time_of_the_past_needs_backdate_and_is_told_what_it_does_not_touch"
    ),
    "loyalty program apply --dry-run": cli(
        "test_program_commands", "test_a_dry_run_says_what_applying_would_do_and_does_not_do_it"
    ),
    "loyalty program apply --from": cli(
        "test_program_commands", "test_a_day_is_its_midnight_in_the_time_zone_of_the_program"
    ),
    "loyalty program check": cli("test_program_commands", "test_a_file_is_checked_without_a_database"),
    "loyalty program move": cli("test_program_commands", "test_is_moved_and_keeps_its_number_and_its_place"),
    "loyalty program move --from --reason": cli(
        "test_program_commands", "test_is_moved_and_keeps_its_number_and_its_place"
    ),
    "loyalty program show": cli("test_program_commands", "test_a_shown_program_is_its_file_again"),
    "loyalty program show --version": cli("test_program_commands", "test_a_shown_program_is_its_file_again"),
    "loyalty program withdraw": cli(
        "test_program_commands", "test_makes_room_for_a_nearer_one_when_it_is_withdrawn_and_can_come_again"
    ),
    "loyalty program withdraw --reason": cli(
        "test_program_commands", "test_makes_room_for_a_nearer_one_when_it_is_withdrawn_and_can_come_again"
    ),
    "loyalty program simulate": cli("test_simulate_command", "test_it_shows_exactly_what_a_changed_rate_changes"),
    "loyalty program simulate --from --json --until": cli(
        "test_simulate_command",
        "test_from_an_instant_on_earlier_orders_keep_their_program_and_are_not_counted",
        "test_until_an_instant_later_orders_are_left_out",
    ),
    "loyalty program simulate --html --point-value": cli(
        "test_simulate_command", "test_it_shows_exactly_what_a_changed_rate_changes", "test_nothing_is_written"
    ),
    "loyalty publish": FIRST_HOUR,
    "loyalty quote": cli("test_quote_command", "test_a_quote_is_what_posting_the_same_order_then_gives"),
    "loyalty quote --customer --json": cli("test_quote_command", "test_for_a_customer_the_tier_counts"),
    "loyalty rebuild": cli("test_ledger_commands", "test_rebuild_on_right_books_says_so"),
    "loyalty rebuild --apply": cli("test_ledger_commands", "test_rebuild_applies_once_and_keeps_what_was_there"),
    "loyalty status": FIRST_HOUR,
    "loyalty status --json": cli(
        "test_database_commands", "test_grant_says_what_it_gave_and_upgrade_does_it_on_the_way"
    ),
    "loyalty upkeep": cli("test_upkeep_command", "test_without_apply_every_task_only_tells_what_it_would_do"),
    "loyalty upkeep --as-of": cli("test_upkeep_command", "test_without_apply_every_task_only_tells_what_it_would_do"),
    "loyalty upkeep --apply --by": cli("test_upkeep_command", "test_with_apply_it_is_done_and_keeps_who_asked"),
    "loyalty renew-stream": cli(
        "test_renew_command", "test_a_closed_stream_is_named_by_status_and_opened_by_the_command_that_it_names"
    ),
    "loyalty submit": cli(
        "test_event_commands", "test_submitted_events_are_counted_and_a_second_time_they_change_nothing"
    ),
    "loyalty tail": cli("test_event_commands", "test_tail_tells_every_event_in_one_line"),
    "loyalty tail --from-beginning --limit": FIRST_HOUR,
    "loyalty up": ("make up",),
    "loyalty verify": FIRST_HOUR,
    "loyalty verify --against --heads": cli(
        "test_ledger_commands", "test_heads_kept_elsewhere_show_that_the_end_of_a_chain_is_gone"
    ),
    "loyalty verify --heads": cli(
        "test_ledger_commands", "test_heads_kept_elsewhere_show_that_the_end_of_a_chain_is_gone"
    ),
    "loyalty verify --jobs": cli("test_ledger_commands", "test_verify_by_several_processes_prints_what_one_prints"),
    "loyalty worker": ("loyalty up",),
    "make client": benchmarks("test_make_writes_what_is_generated_where_it_is"),
    "make bench": benchmarks("test_make_bench_prints_every_ratio"),
    "make demo": CI,
    "make install": CI,
    "make protections": benchmarks("test_make_protections_takes_one_out_which_is_noticed"),
    "make docs": benchmarks("test_make_writes_what_is_generated_where_it_is"),
    "make sbom": ("tests/test_containers.py::test_the_bill_of_materials_has_every_package_that_runs_with_its_hashes",),
    "make schemas": benchmarks("test_make_writes_what_is_generated_where_it_is"),
    "make simulate": benchmarks("test_make_simulate_runs_seeds"),
    "make stories": benchmarks("test_make_stories_tells_stories"),
    "make test": CI,
    "make up": FIRST_HOUR,
    "python -m benchmarks": ("make bench",),
    "python -m benchmarks.against": benchmarks("test_two_checkouts_are_measured_in_turn"),
    "python -m benchmarks.capacity": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.expiry": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.latency": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.many_rules": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.importing": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.posted_commands": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.proof": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.reading": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.replay": benchmarks("test_the_replay_proves_itself_on_a_part_of_the_sample"),
    "python -m benchmarks.sizes": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.reports": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.simulating": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.watching": benchmarks("test_a_benchmark_ends_well"),
    "python -m benchmarks.worst": benchmarks("test_a_benchmark_ends_well"),
    "python -m tests.fuzz": (f"{HERE}::test_the_fuzzer_runs_or_says_what_it_needs",),
    "python -m tests.interleaving": ("make simulate",),
    "python -m workers.health": (
        "tests/workers/test_health.py::test_the_check_of_a_container_ends_in_time_though_its_servers_hang",
    ),
    "python docs/examples/durable_consumer.py": FIRST_HOUR,
}
#: What no test runs, and why.
NOT_RUN = {
    "make audit": "it asks the advisory service of the package index",
    "make lock": "it asks the package index",
    "make chaos": "its shortest run takes half a minute; tests/faults/test_fault_runs.py makes smaller ones",
}

#: A command, as far as the next sign of the shell.
_USE = re.compile(r"(?<![\w./:-])(?:loyalty [a-z-]|make [a-z]|python (?!- )|docker )[^|)<>#&;]*")


def used_commands() -> Iterator[str]:
    root: CommandLine = typer.main.get_command(build_app())
    for page in PAGES:
        for code in shell_code(page):
            for use in _USE.findall(code):
                yield without_values(use.replace('"', "").split(), root)


def without_values(words: list[str], command: CommandLine) -> str:
    """Which command it is, and of `loyalty` with which options."""
    if words[0] != "loyalty":
        return " ".join(words[: 3 if words[1] in {"-m", "compose"} else 2])
    path, rest = ["loyalty"], words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest[0]]
        path.append(rest.pop(0))
    return " ".join([*path, *sorted({word for word in rest if word.startswith("--")} - {"--help"})])


def test_a_command_that_another_one_starts_is_run_with_it() -> None:
    others = {named for each in RUN_BY.values() for named in each if named not in CI and "::" not in named}
    assert others <= set(RUN_BY)


def test_every_command_that_a_page_names_is_in_the_tables_and_no_other() -> None:
    assert set(used_commands()) == {*RUN_BY, *NOT_RUN}


@pytest.mark.parametrize("command", RUN_BY)
def test_what_the_table_names_runs_the_command(command: str) -> None:
    named = RUN_BY[command]
    texts = [text_of(each) for each in named]
    words = [word for word in command.split() if not word.startswith("--")]
    assert any(runs(spelling, text) for spelling in spellings(words) for text in texts), f"{named} does not run it"
    options = [word for word in command.split() if word.startswith("--")]
    assert [option for option in options if option not in " ".join(texts)] == []


def spellings(words: list[str]) -> list[list[str]]:
    """In which words a test may run a command."""
    match words:
        case ["loyalty", *rest]:
            return [words, ["-m", "workers", *rest]]
        case ["make", *rest]:
            return [words, ["loyalty", *rest]]
        case _:
            return [words[1:]]


def runs(words: list[str], text: str) -> bool:
    """Whether these words stand in the text one after the other, in one string or as arguments."""
    return re.search(r"(?<![\w-])" + r"\w*\W+".join(map(re.escape, words)) + r"(?![\w-])", text) is not None


def text_of(named: str) -> str:
    """The text of a test with all that it uses of its file, of what a command starts, or of what CI runs."""
    if named == "loyalty up":
        return " ".join(f"-m workers {role}" for role in ROLE_NAMES)
    if named.startswith("make "):
        target = named.removeprefix("make ")
        return "".join(re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    file, _, test = named.partition("::")
    if not test:
        return (ROOT / file).read_text()
    texts = definitions(ROOT / file)
    wanted, seen = [test], set[str]()
    while wanted:
        name = wanted.pop()
        if name in texts and name not in seen:
            seen.add(name)
            wanted += re.findall(r"\w+", texts[name])
    assert test in seen, f"there is no {test} in {file}"
    return "\n".join(texts[name] for name in seen)


@cache
def definitions(path: Path) -> dict[str, str]:
    """The text of each function, class and constant of a file."""
    source = path.read_text()
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                decorators = [ast.unparse(each) for each in node.decorator_list]
                found[name] = "\n".join([*decorators, ast.get_source_segment(source, node) or ""])
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = ast.get_source_segment(source, node) or ""
    return found


@pytest.mark.parametrize("command", NOT_RUN)
def test_what_is_not_run_names_a_program_that_is_there(command: str) -> None:
    target = command.removeprefix("make ")
    of_python = ("-o", f"{sys.prefix}/.ready", f"VENV={sys.prefix}")
    shown = subprocess.run(
        ["make", "--no-print-directory", "-n", *of_python, target],
        cwd=ROOT,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    program, *arguments = shown.stdout.split()
    assert Path(program).exists()
    assert arguments[0] != "-m" or find_spec(arguments[1]) is not None


def test_the_fuzzer_runs_or_says_what_it_needs() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "message", "--seconds", "1"]
    done = subprocess.run(command, cwd=ROOT, check=False, text=True, stderr=subprocess.PIPE)
    assert done.returncode == 0 or done.stderr.strip() == MISSING
