"""`loyalty verify` and `rebuild`: whether the books are right, and working their numbers out again."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple
from uuid import UUID

import typer
from sqlalchemy import Connection

from config.settings import Settings
from core.store.proof.chain import ChainDifference, Head, HeadsDigest, has_chain, missing_heads, walk_chains
from core.store.proof.differences import DIFFERENCES_MAX, Difference
from core.store.proof.processes import Processes
from core.store.proof.verify import Step, verify_steps
from workers.child_processes import begin_beside
from workers.cli.command_errors import ChainKeyNeededError, HeadsFileError
from workers.cli.output import AsJson, ProgressLine, count_text, print_json, say, say_below
from workers.cli.rebuild_command import rebuild
from workers.cli.wiring import opened_database
from workers.secrets import chain_keys

_INVARIANT, _NAME = 3, "the hash chain and its seals are unbroken"
_LINES_AT_ONCE = 5_000


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(verify)
    app.command()(rebuild)


def verify(
    *,
    heads: Annotated[Path | None, typer.Option(help="Write the heads of all hash chains to this file.")] = None,
    against: Annotated[Path | None, typer.Option(help="Heads written earlier: they must still be in place.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that look at accounts side by side.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Check the invariants of the whole ledger in one snapshot, beside running workers. Changes nothing.

    \b
    loyalty verify && echo "the books are right"
    loyalty verify --against october.heads --heads november.heads
    loyalty verify --jobs 4

    Where entries carry a hash chain, it is checked with the key in LOYALTY_CHAIN_KEY. Exit code 1 when there are
    differences; each is named.
    """
    settings = Settings()
    keys = chain_keys(settings)
    _refuse_without_key(keys, heads, against)
    checks: list[dict[str, object]] = []
    differences: list[Difference] = []
    progress = ProgressLine(is_quiet=as_json)

    def take(invariant: int, name: str, found: Sequence[Difference]) -> None:
        checks.append({"invariant": invariant, "name": name, "differences": len(found)})
        differences.extend(found)
        if not as_json:
            progress.clear()
            _say_check(invariant, name, found)

    processes = Processes(jobs, begin_beside)
    with opened_database(settings) as engine, engine.begin() as connection:
        for step in verify_steps(connection, processes):
            progress.show(_progress_text(step))
            if step.is_done:
                take(step.check.invariant, step.check.name, step.found)
        chain = _verify_chain(connection, keys, progress, heads, against, processes)
    if chain.is_checked:
        take(chain.invariant, chain.name, chain.differences)
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


class _ChainVerdict(NamedTuple):
    """What the walk came to."""

    is_kept: bool  #: there are hashes
    is_checked: bool  #: with the key; without one nothing can be said of them
    accounts: int = 0
    entries: int = 0
    digest: str | None = None  #: over the heads of all chains
    differences: tuple[Difference, ...] = ()
    invariant: int = _INVARIANT
    name: str = _NAME

    def document(self) -> dict[str, object]:
        """What --json says of it."""
        return {name: getattr(self, name) for name in ("is_kept", "is_checked", "accounts", "entries", "digest")}

    def text(self) -> str | None:
        """What a person reads of it; None without a chain."""
        if self.is_checked and self.is_kept:
            chained = f"{count_text(self.entries, 'entry', 'entries')} of {count_text(self.accounts, 'account')}"
            return f"The heads of the hash chain, over {chained}: {self.digest}"
        if self.is_kept:
            return "Entries carry a hash chain, which was not checked: LOYALTY_CHAIN_KEY is not set here."
        return None


def _refuse_without_key(keys: tuple[bytes, ...], heads: Path | None, against: Path | None) -> None:
    """Raise ChainKeyNeededError: heads that were never checked prove nothing."""
    for option, path in (("--heads", heads), ("--against", against)):
        if path is not None and not keys:
            raise ChainKeyNeededError(option=option)


def _verify_chain(
    connection: Connection,
    keys: tuple[bytes, ...],
    progress: ProgressLine,
    heads: Path | None,
    against: Path | None,
    processes: Processes,
) -> _ChainVerdict:
    """Walk along all chains, compare them with the heads in `against`, and write the present ones to `heads`.

    `heads` is written only if everything fits. HeadsFileError if a file cannot be used.
    """
    if not keys:
        return _ChainVerdict(is_kept=has_chain(connection), is_checked=False)
    found = [] if against is None else _missing(connection, against)
    entries, digest = 0, HeadsDigest()
    lines = None if heads is None else _HeadsFile(heads)
    try:
        for step in walk_chains(connection, keys, processes):
            progress.show(f"Hash chain: {step.slices_done * 100 // step.slices} % of the accounts")
            entries += step.entries
            digest.add(step.heads)
            found += step.differences[: DIFFERENCES_MAX - len(found)]
            if lines is not None:
                lines.add(step.heads)
        if lines is not None and not found:
            lines.keep()
    finally:
        progress.clear()
        if lines is not None:
            lines.close()
    shown = tuple(Difference(_INVARIANT, _NAME, *difference) for difference in found[:DIFFERENCES_MAX])
    return _ChainVerdict(entries > 0, True, digest.accounts, entries, digest.hex(), shown)


class _HeadsFile:
    """A file of heads, one account per line. It takes the place of an earlier one only when it is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        try:
            self._file = self._part.open("w", encoding="ascii")
        except OSError as error:
            raise HeadsFileError(path=path, reason=error.strerror) from error

    def add(self, heads: Iterable[Head]) -> None:
        """Write the next heads."""
        self._file.writelines(f"{head.account_id} {head.sequence} {head.chain_hash.hex()}\n" for head in heads)

    def keep(self) -> None:
        """Put the file in its place."""
        self._file.close()
        self._part.replace(self._path)

    def close(self) -> None:
        """Let go of the file; what was not kept is gone."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def _missing(connection: Connection, path: Path) -> list[ChainDifference]:
    missing: list[ChainDifference] = []
    try:
        with path.open(encoding="ascii") as file:
            heads = (_head(path, number, line) for number, line in enumerate(file, start=1))
            while batch := list(islice(heads, _LINES_AT_ONCE)):
                missing += missing_heads(connection, batch)[: DIFFERENCES_MAX - len(missing)]
    except (OSError, UnicodeDecodeError) as error:
        raise HeadsFileError(path=path, reason=getattr(error, "strerror", None) or "it is not text") from error
    return missing


def _head(path: Path, number: int, line: str) -> Head:
    try:
        account_id, sequence, chain_hash = line.split()
        return Head(UUID(account_id), int(sequence), bytes.fromhex(chain_hash))
    except ValueError as error:
        raise HeadsFileError(path=path, reason=f"line {number} is not an account, a number and a hash") from error
