"""`loyalty program withdraw` and `move`: versions that are applied and not in force yet."""

from typing import Annotated

import typer

from config.settings import Settings
from core.domain.program.registry import BEGINNING, ProgramVersion
from core.messages.program_files.program_file import describe_differences
from core.reading.program_versions import last_change
from core.reading.snapshot import snapshot_of
from core.store.applying import ChangeOutcome, move_version, withdraw_version
from workers.cli.command_errors import WhyError
from workers.cli.output import say, time_text
from workers.cli.wiring import By, acting, opened_database, read_start

_Program = Annotated[str, typer.Argument(metavar="PROGRAM", show_default=False)]
_Version = Annotated[int | None, typer.Option("--version", min=1, help="This one; the only one to come by default.")]
_Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the change.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would do; change nothing.")]
_NOW = "now"


def withdraw(
    program_id: _Program,
    *,
    reason: _Reason,
    version: _Version = None,
    by: By = None,
    is_dry_run: DryRun = False,
) -> None:
    """Take back a version that was applied and is not in force yet, so that it never is.

    \b
    loyalty program withdraw high-street --reason "the prices are not settled" --dry-run
    loyalty program withdraw high-street --reason "the prices are not settled"

    Its file stays, with who withdrew it, when and why: loyalty program show PROGRAM --version NUMBER. A second time
    changes nothing. What is in force already is not withdrawn: apply a file that puts it right.
    """
    why = _why(reason)
    with opened_database(Settings()) as engine, engine.begin() as connection:
        found = withdraw_version(
            connection, program_id, version, changed_by=acting(by), reason=why, is_dry_run=is_dry_run
        )
        if found.before == found.after:
            last = last_change(connection, program_id, found.before.version)
            done = f"withdrawn already, {time_text(last.changed_at)} by {last.changed_by}: {last.reason}"
            say(f"Nothing changed: version {found.before.version} of {program_id} was {done}")
            return
    begun = "Would withdraw" if is_dry_run else "Withdrew"
    was = "is" if is_dry_run else "was"
    say(
        f"{begun} version {found.before.version} of {program_id}, which {was} to be in force "
        f"{since_text(found.before)}."
    )
    _say_rest(found, "It would have changed:", is_dry_run=is_dry_run)


def move(
    program_id: _Program,
    *,
    to: Annotated[
        str,
        typer.Option("--from", metavar="TIME", help="In force from this day's midnight, or this instant; or: now."),
    ],
    reason: _Reason,
    version: _Version = None,
    by: By = None,
    is_dry_run: DryRun = False,
) -> None:
    """Let a version that was applied and is not in force yet come into force sooner or later than that.

    \b
    loyalty program move high-street --from 2027-02-01 --reason "the shop opens a month later"

    A day without a time is its midnight in the version's time zone. Versions keep their order. Who moved it, when and
    why stays: loyalty program show PROGRAM --version NUMBER. The same time again changes nothing.
    """
    why = _why(reason)
    with opened_database(Settings()) as engine, engine.begin() as connection:
        now = snapshot_of(connection)
        now.program(program_id)
        registry = now.registry
        zone = registry.line(program_id)[-1].program.zone
        if version is not None and version < registry.next_number(program_id):
            zone = registry.version(program_id, version).program.zone
        start = None if to == _NOW else read_start(to, "--from", zone)
        found = move_version(
            connection, program_id, version, start, changed_by=acting(by), reason=why, is_dry_run=is_dry_run
        )
    number = found.before.version
    if found.before == found.after:
        say(f"Nothing changed: version {number} of {program_id} is to be in force {since_text(found.before)}.")
        return
    begun = "Would move" if is_dry_run else "Moved"
    say(
        f"{begun} version {number} of {program_id}: in force {since_text(found.after)}, not {since_text(found.before)}."
    )
    _say_rest(found, "It changes:", is_dry_run=is_dry_run)


def since_text(version: ProgramVersion) -> str:
    """From when on a version is in force: in UTC, and by the clocks of its program where they show another time."""
    start = version.effective_from
    if start == BEGINNING:
        return "for all orders, however old"
    local = start.astimezone(version.program.zone)
    here = f" ({local:%Y-%m-%d %H:%M} in {version.program.time_zone})" if local.utcoffset() else ""
    return f"from {time_text(start)}{here}"


def _why(reason: str) -> str:
    if not reason.strip():
        raise WhyError
    return reason.strip()


def _say_rest(found: ChangeOutcome, headline: str, *, is_dry_run: bool) -> None:
    """What the version changes in the one before it, and what is in force and to come."""
    line = found.registry.line(found.before.program_id)
    before = [version for version in line if version.version < found.before.version][-1]
    differences = describe_differences(before.program, found.before.program)
    if differences:
        say(headline)
    for difference in differences:
        say(f"  {difference}")
    say(f"{'Then' if is_dry_run else 'Now'}: " + "; ".join(f"version {v.version} {since_text(v)}" for v in line) + ".")
    if is_dry_run:
        say("Nothing is changed (--dry-run).")
