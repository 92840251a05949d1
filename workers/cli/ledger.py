"""`loyalty verify` and `rebuild`: whether the books are right, and working their numbers out again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from config.settings import Settings
from core.store.proof.verify import DIFFERENCES_MAX, Difference, Step, verify_steps
from workers.bootstrap import chain_keys
from workers.cli.chains import refuse_without_key, verify_chain
from workers.cli.output import AsJson, ProgressLine, count_text, print_json, say, say_below
from workers.cli.rebuilding import rebuild
from workers.cli.wiring import opened_database


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(verify)
    app.command()(rebuild)


def verify(
    *,
    heads: Annotated[Path | None, typer.Option(help="Write the heads of all hash chains to this file.")] = None,
    against: Annotated[Path | None, typer.Option(help="Heads written earlier: they must still be in place.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check the invariants of the whole ledger in one snapshot, beside running workers. Changes nothing.

    \b
    loyalty verify && echo "the books are right"
    loyalty verify --against october.heads --heads november.heads

    Where entries carry a hash chain, it is checked with the key in LOYALTY_CHAIN_KEY. Exit code 1 when there are
    differences; each is named.
    """
    settings = Settings()
    keys = chain_keys(settings)
    refuse_without_key(keys, heads, against)
    checks: list[dict[str, object]] = []
    differences: list[Difference] = []
    progress = ProgressLine(is_quiet=as_json)

    def tell(invariant: int, name: str, found: Sequence[Difference]) -> None:
        checks.append({"invariant": invariant, "name": name, "differences": len(found)})
        differences.extend(found)
        if not as_json:
            progress.clear()
            _say_check(invariant, name, found)

    with opened_database(settings) as engine, engine.begin() as connection:
        for step in verify_steps(connection):
            progress.show(_progress_text(step))
            if step.is_done:
                tell(step.check.invariant, step.check.name, step.found)
        chain = verify_chain(connection, keys, progress, heads, against)
    if chain.is_checked:
        tell(chain.invariant, chain.name, chain.differences)
    if as_json:
        print_json(
            {"is_right": not differences, "checks": checks, "differences": differences, "chain": chain.document()}
        )
    else:
        _say_verdict(len(checks), len(differences), chain.text())
    if differences:
        raise typer.Exit(1)


def _progress_text(step: Step) -> str:
    part = f", {step.slices_done * 100 // step.slices} % of the accounts" if step.slices > 1 else ""
    return f"Check {step.number} of {step.checks}: {step.check.name}{part}"


def _say_check(invariant: int, name: str, found: Sequence[Difference]) -> None:
    say(f"{'FAIL' if found else 'ok  '}  {invariant}  {name}", style="red" if found else "")
    for difference in found:
        say_below(difference.text, indent=9)
    if len(found) == DIFFERENCES_MAX:
        say_below("There may be more: a check stops here.", indent=9)


def _say_verdict(checks: int, differences: int, chain_text: str | None) -> None:
    if chain_text is not None:
        say(chain_text)
    if differences:
        say(f"The books are not right: {count_text(differences, 'difference')}.")
    else:
        say(f"The books are right: {count_text(checks, 'check')}, no differences.")
