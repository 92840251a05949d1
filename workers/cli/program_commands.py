"""`loyalty program`: program files, checked, put in force, and read back."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from config.settings import Settings
from core.domain.program import POINTS_UNIT, Program
from core.domain.program.registry import BEGINNING, ProgramVersion
from core.errors import ProgramFileError
from core.messages.program_files.program_file import (
    describe_differences,
    file_name,
    parse_program,
    program_advice,
    program_text,
)
from core.reading.program_versions import ShownVersion, load_version
from core.store.applying import (
    ApplyOutcome,
    apply_program,
    newest_version,
    program_problems,
)
from workers.cli.command_errors import ProgramRefusedError
from workers.cli.output import AsJson, Row, count_text, print_json, print_listing, printable, say, time_text
from workers.cli.simulate_command import simulate
from workers.cli.version_commands import DryRun, move, since_text, withdraw
from workers.cli.wiring import By, acting, has_database, opened_database, opened_snapshot, read_start

ProgramFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A program file (YAML); - for standard input.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command()(check)
    group.command()(apply)
    group.command("list")(list_programs)
    group.command()(show)
    group.command()(move)
    group.command()(withdraw)
    group.command()(simulate)
    app.add_typer(group, name="program", help="Program files: check them, put them in force, read them back.")


def check(file: ProgramFile, *, as_json: AsJson = False) -> None:
    """Check a program file, and say what it would change. Changes nothing; needs no database.

    Ends with 2 when the file is wrong, with 1 when it cannot be applied here. Advice, on what is allowed but has no
    effect, changes nothing about that.

    \b
    loyalty program check config/programs/example.yaml
    """
    settings = Settings()
    text = program_text(file)
    program = _checked(file, text, as_json=as_json)
    advice = program_advice(program, text, today=datetime.now(UTC).astimezone(program.zone).date())
    if not as_json:  # first, so that it is said also when the database does not answer
        say(f"{file_name(file)} is a valid program file: {program.program_id}, {_contents_text(program)}.")
    before, now = None, BEGINNING
    problems: list[str] = []
    is_compared = has_database(settings)
    if is_compared:
        with opened_snapshot(settings) as found:
            registry, now = found.registry, found.as_of
        before = newest_version(registry, program.program_id)
        # The soonest that it could be in force from: versions follow each other in time.
        problems = program_problems(registry, program, max(now, before.effective_from) if before else now)
    differences = describe_differences(before.program, program) if before else []
    if as_json:
        print_json(
            {
                "file": str(file),
                "program_id": program.program_id,
                "is_compared": is_compared,
                "newest_version": before.version if before else None,
                "differences": differences,
                "problems": problems,
                "advice": advice,
            }
        )
    else:
        _say_comparison(program, before, differences, is_compared=is_compared)
        if before is not None and before.effective_from > now:
            say(f"Before that it can be applied only in its place: loyalty program withdraw {program.program_id}.")
        if advice:
            say("Worth another look (advice, no errors):")
        for each in advice:
            say(f"  {each}")
        for problem in problems:
            say(f"It cannot be applied here: {problem}")
    if problems:
        raise typer.Exit(1)


def _checked(file: Path, text: str, *, as_json: bool) -> Program:
    """The program of a file. Of a wrong one JSON tells the problems, as it tells those of a good one."""
    try:
        return parse_program(text, path=file_name(file))
    except ProgramFileError as error:
        if not as_json:
            raise
        problems = [line.strip() for line in error.data["problems"].splitlines()]
        print_json({"file": str(file), "program_id": None, "is_compared": False, "problems": problems})
        raise typer.Exit(2) from error


def apply(
    file: ProgramFile,
    effective_from: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="In force from this day's midnight, or this instant; now by default."
        ),
    ] = None,
    *,
    is_backdated: Annotated[
        bool, typer.Option("--backdate", help="Let --from be past: recorded orders keep their rules, late ones do not.")
    ] = False,
    by: By = None,
    is_dry_run: DryRun = False,
) -> None:
    """Put a program file in force. Orders that are posted already keep their rules; the same file again does nothing.

    A program's first version is in force for all orders, however old; a later one for orders that occurred at or after
    its instant. A day without a time is its midnight in the program's time zone.

    \b
    loyalty program apply high-street.yaml --dry-run
    loyalty program apply high-street.yaml
    loyalty program apply high-street.yaml --from 2027-01-01

    Until it is in force it can be moved and withdrawn: loyalty program move, loyalty program withdraw.
    """
    text = program_text(file)  # read once: the text that is kept must be the text that was understood
    program = parse_program(text, path=file_name(file))
    start = None if effective_from is None else read_start(effective_from, "--from", program.zone)
    with opened_database(Settings()) as engine, engine.begin() as connection:
        applied = apply_program(
            connection, program, text, start,
            applied_by=acting(by), is_backdated=is_backdated, is_dry_run=is_dry_run,
        )  # fmt: skip
        if applied.problems:
            raise ProgramRefusedError(path=file_name(file), problems="\n".join(applied.problems))
    _say_applied(program, applied, is_dry_run=is_dry_run)


def list_programs(*, as_json: AsJson = False) -> None:
    """List the programs with the version in force.

    \b
    loyalty program list --json
    """
    with opened_snapshot(Settings()) as now:
        registry, as_of = now.registry, now.as_of
    current = [registry.at(program_id, as_of) for program_id in registry.program_ids()]
    to_come = [[v for v in registry.line(version.program_id) if v.effective_from > as_of] for version in current]
    if as_json:
        print_json(
            [
                {
                    "program_id": version.program_id,
                    "name": version.program.name,
                    "currency": version.program.currency,
                    "unit": version.program.unit,
                    "tags": version.program.tags,
                    "is_default": version.program.default,
                    "sources": version.program.sources,
                    "version": version.version,
                    "effective_from": _effective_from(version),
                    "to_come": [{"version": v.version, "effective_from": v.effective_from} for v in following],
                }
                for version, following in zip(current, to_come, strict=True)
            ]
        )
        return
    if not current:
        say("No programs. Put one in force with: loyalty program apply FILE")
        return
    rows = [
        Row(
            (
                version.program_id,
                version.program.name,
                str(version.version),
                since_text(version),
                version.program.currency,
                version.program.unit,
                "yes" if version.program.default else "no",
                ", ".join(version.program.sources) or "-",
            ),
            tuple(f"version {v.version} follows {since_text(v)}" for v in following),
        )
        for version, following in zip(current, to_come, strict=True)
    ]
    print_listing(("Program", "Name", ">Version", "In force", "Currency", "Unit", "Default", "Sources"), rows)


def show(
    program_id: Annotated[str, typer.Argument(metavar="PROGRAM", show_default=False)],
    version: Annotated[int | None, typer.Option(min=1, help="This version; the one in force by default.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Print the file of a program as it was applied, below a few lines about it: a program file again.

    \b
    loyalty program show high-street
    loyalty program show high-street --version 1 > old.yaml
    """
    with opened_snapshot(Settings()) as now:
        found = load_version(now, program_id, version)
    if as_json:
        print_json(_document(found))
        return
    for line in _header(found):
        say(f"# {printable(line, is_line=True)}", style="dim")
    say(found.file.file_text.rstrip("\n"))


def _document(found: ShownVersion) -> dict[str, Any]:
    return {
        "program_id": found.chosen.program_id,
        "version": found.chosen.version,
        "effective_from": _effective_from(found.chosen),
        "is_in_force": found.is_in_force,
        "is_withdrawn": found.chosen.is_withdrawn,
        "applied_at": found.file.applied_at,
        "applied_by": found.file.applied_by,
        "changes": found.changes,
        "orders_of_earlier_versions": found.earlier,
        "versions": [
            {"version": each.version, "effective_from": _effective_from(each), "is_withdrawn": each.is_withdrawn}
            for each in found.versions
        ],
        "program": found.chosen.program.model_dump(mode="json"),
        "file_text": found.file.file_text,
    }


def _header(found: ShownVersion) -> Iterator[str]:
    """What stands above the file, in comments."""
    state = "in force now, " if found.is_in_force else "not in force now: "
    if found.chosen.is_withdrawn:
        state = "withdrawn, was to be in force "
    yield f"Version {found.chosen.version} of {found.chosen.program_id}, {state}{since_text(found.chosen)}."
    by = f" by {found.file.applied_by}" if found.file.applied_by else ""
    yield f"Applied {time_text(found.file.applied_at)}{by}. {_versions_text(found.versions)}"
    for change in found.changes:
        done = "Withdrawn" if change.effective_from is None else f"Moved to {time_text(change.effective_from)}"
        yield f"{done}, {time_text(change.changed_at)} by {change.changed_by}: {change.reason}"
    if found.earlier:
        orders = count_text(found.earlier, "order of its time was", "orders of its time were")
        yield f"It was backdated: {orders} recorded before it was applied, and judged by an earlier version."


def _contents_text(program: Program) -> str:
    counts = [count_text(len(program.earning_rules), "earning rule")]
    if program.promotions:
        counts.append(count_text(len(program.promotions), "promotion"))
    tiers = ", ".join(tier.tier_id for tier in program.tiers)
    counts.append(f"{count_text(len(program.tiers), 'tier')} ({tiers})")
    if program.conversions:
        counts.append(count_text(len(program.conversions), "conversion"))
    if program.rewards:
        counts.append(count_text(len(program.rewards), "reward"))
    if program.unit != POINTS_UNIT:
        counts.append(f"counted in {program.unit}")
    return ", ".join(counts)


def _say_comparison(
    program: Program, before: ProgramVersion | None, differences: list[str], *, is_compared: bool
) -> None:
    if not is_compared:
        say("No comparison was made: no database is known here.")
    elif before is None:
        say(f"There is no program {program.program_id} yet; this would be its version 1, for all orders, however old.")
    elif not differences:
        say(f"It says the same as version {before.version}, {since_text(before)}.")
    else:
        say(f"Compared with version {before.version}, {since_text(before)}, it changes:")
        for difference in differences:
            say(f"  {difference}")


def _say_applied(program: Program, applied: ApplyOutcome, *, is_dry_run: bool) -> None:
    version, before = applied.version, applied.before
    if version is None:
        assert before is not None
        say(f"Nothing changed: version {before.version} of {program.program_id}, {since_text(before)}, says the same.")
        return
    begun = "Would apply" if is_dry_run else "Applied"
    say(f"{begun} version {version.version} of {program.program_id}, {since_text(version)}.")
    if before is not None:
        for difference in describe_differences(before.program, program):
            say(f"  {difference}")
    if applied.orders_kept:
        say(f"{count_text(applied.orders_kept, 'recorded order')} since then: judged before, and not judged again.")
    if is_dry_run:
        say("Nothing is changed (--dry-run).")


def _effective_from(version: ProgramVersion) -> datetime | None:
    """Give the instant for JSON; null stands for all orders, however old."""
    return None if version.effective_from == BEGINNING else version.effective_from


def _versions_text(versions: list[ProgramVersion]) -> str:
    if len(versions) == 1:
        return "It is the only version."
    return "All versions: " + "; ".join(f"{v.version} {_state_text(v)}" for v in versions) + "."


def _state_text(version: ProgramVersion) -> str:
    return "withdrawn" if version.is_withdrawn else since_text(version)
