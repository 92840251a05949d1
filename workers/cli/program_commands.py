"""`loyalty program`: program files, checked, put in force, and read back."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from config.settings import Settings
from core.domain.program import Program
from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from core.messages.program_files.program_file import (
    describe_differences,
    parse_program,
    program_advice,
    program_text,
)
from core.reading.accounts import load_program_file
from core.store.applying import ApplyOutcome, apply_program, newest_version, program_problems
from core.store.engine import database_now
from core.store.programs import load_registry, require_program
from workers.cli.command_errors import ProgramRefusedError, UnknownVersionError
from workers.cli.output import AsJson, Row, count_text, print_json, print_listing, say, time_text
from workers.cli.simulate_command import simulate
from workers.cli.wiring import has_database, opened_database, read_instant

ProgramFile = Annotated[Path, typer.Argument(metavar="FILE", help="A program file (YAML).", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True)
    group.command()(check)
    group.command()(apply)
    group.command("list")(list_programs)
    group.command()(show)
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
    program = parse_program(text, path=str(file))
    advice = program_advice(program, text, today=datetime.now(UTC).astimezone(program.zone).date())
    if not as_json:  # first, so that it is said also when the database does not answer
        say(f"{file} is a valid program file: {program.program_id}, {_contents_text(program)}.")
    before: ProgramVersion | None = None
    problems: list[str] = []
    is_compared = has_database(settings)
    if is_compared:
        with opened_database(settings) as engine, engine.begin() as connection:
            registry, now = load_registry(connection), database_now(connection)
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
        if advice:
            say("Worth another look (advice, no errors):")
        for each in advice:
            say(f"  {each}")
        for problem in problems:
            say(f"It cannot be applied here: {problem}")
    if problems:
        raise typer.Exit(1)


def apply(
    file: ProgramFile,
    effective_from: Annotated[
        str | None,
        typer.Option("--from", metavar="INSTANT", help="In force from this instant, with offset; now by default."),
    ] = None,
) -> None:
    """Put a program file in force. Orders that are posted already keep their rules; the same file again does nothing.

    A program's first version is in force for all orders, however old; a later one for orders that occurred at or after
    its instant.

    \b
    loyalty program apply high-street.yaml
    loyalty program apply high-street.yaml --from 2027-01-01T00:00:00+00:00
    """
    start = None if effective_from is None else read_instant(effective_from, "--from")
    text = program_text(file)  # read once: the text that is kept must be the text that was understood
    program = parse_program(text, path=str(file))
    with opened_database(Settings()) as engine, engine.begin() as connection:
        applied = apply_program(connection, program, text, start)
        if applied.problems:
            raise ProgramRefusedError(path=file, problems="\n".join(applied.problems))
    _say_applied(program, applied)


def list_programs(*, as_json: AsJson = False) -> None:
    """List the programs with the version in force.

    \b
    loyalty program list --json
    """
    with opened_database(Settings()) as engine, engine.begin() as connection:
        registry, as_of = load_registry(connection), database_now(connection)
    current = [registry.at(program_id, as_of) for program_id in registry.program_ids()]
    newest = [newest_version(registry, version.program_id) or version for version in current]
    if as_json:
        print_json(
            [
                {
                    "program_id": version.program_id,
                    "name": version.program.name,
                    "currency": version.program.currency,
                    "is_default": version.program.default,
                    "sources": version.program.sources,
                    "version": version.version,
                    "effective_from": _effective_from(version),
                    "newest_version": last.version,
                    "newest_effective_from": _effective_from(last),
                }
                for version, last in zip(current, newest, strict=True)
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
                _since_text(version),
                version.program.currency,
                "yes" if version.program.default else "no",
                ", ".join(version.program.sources) or "-",
            ),
            () if last.version == version.version else (f"version {last.version} follows {_since_text(last)}",),
        )
        for version, last in zip(current, newest, strict=True)
    ]
    print_listing(("Program", "Name", ">Version", "In force", "Currency", "Default", "Sources"), rows)


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
    with opened_database(Settings()) as engine, engine.begin() as connection:
        registry, as_of = load_registry(connection), database_now(connection)
        require_program(registry, program_id)
        versions = [v for v in registry.versions() if v.program_id == program_id]
        if version is not None and version > len(versions):
            raise UnknownVersionError(program_id=program_id, version=version, newest=len(versions))
        chosen = registry.at(program_id, as_of) if version is None else registry.version(program_id, version)
        kept = load_program_file(connection, program_id, chosen.version)
    is_in_force = registry.at(program_id, as_of).version == chosen.version
    if as_json:
        print_json(
            {
                "program_id": program_id,
                "version": chosen.version,
                "effective_from": _effective_from(chosen),
                "is_in_force": is_in_force,
                "applied_at": kept.applied_at,
                "versions": [{"version": v.version, "effective_from": _effective_from(v)} for v in versions],
                "program": chosen.program.model_dump(mode="json"),
                "file_text": kept.file_text,
            }
        )
        return
    now_text = "in force now, " if is_in_force else "not in force now: "
    say(f"# Version {chosen.version} of {program_id}, {now_text}{_since_text(chosen)}.", style="dim")
    say(f"# Applied {time_text(kept.applied_at)}. {_versions_text(registry, program_id)}", style="dim")
    say(kept.file_text.rstrip("\n"))


def _contents_text(program: Program) -> str:
    counts = [count_text(len(program.earning_rules), "earning rule")]
    if program.promotions:
        counts.append(count_text(len(program.promotions), "promotion"))
    rules = ", ".join(counts)
    return f"{rules}, {count_text(len(program.tiers), 'tier')} ({', '.join(tier.tier_id for tier in program.tiers)})"


def _say_comparison(
    program: Program, before: ProgramVersion | None, differences: list[str], *, is_compared: bool
) -> None:
    if not is_compared:
        say("No comparison was made: no database is known here.")
    elif before is None:
        say(f"There is no program {program.program_id} yet; this would be its version 1, for all orders, however old.")
    elif not differences:
        say(f"It says the same as version {before.version}, {_since_text(before)}.")
    else:
        say(f"Compared with version {before.version}, {_since_text(before)}, it changes:")
        for difference in differences:
            say(f"  {difference}")


def _say_applied(program: Program, applied: ApplyOutcome) -> None:
    if applied.version is None:
        assert applied.before is not None
        say(f"Nothing changed: version {applied.before.version} of {program.program_id} says the same.")
        return
    version = applied.version
    say(f"Applied version {version.version} of {program.program_id}, {_since_text(version)}.")
    if applied.before is not None:
        for difference in describe_differences(applied.before.program, program):
            say(f"  {difference}")


def _effective_from(version: ProgramVersion) -> datetime | None:
    """Give the instant for JSON; null stands for all orders, however old."""
    return None if version.effective_from == BEGINNING else version.effective_from


def _since_text(version: ProgramVersion) -> str:
    if version.effective_from == BEGINNING:
        return "for all orders, however old"
    return f"from {time_text(version.effective_from)}"


def _versions_text(registry: ProgramRegistry, program_id: str) -> str:
    versions: list[Any] = [v for v in registry.versions() if v.program_id == program_id]
    if len(versions) == 1:
        return "It is the only version."
    return "All versions: " + "; ".join(f"{v.version} {_since_text(v)}" for v in versions) + "."
