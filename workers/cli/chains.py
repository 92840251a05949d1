"""The hash chain's part of `loyalty verify`: the walk along it, and heads that are kept elsewhere."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.store.proof.chain import ChainDifference, Head, HeadsDigest, has_chain, missing_heads, walk_chains
from core.store.proof.verify import DIFFERENCES_MAX, Difference
from workers.cli.errors import ChainKeyNeededError, HeadsFileError
from workers.cli.output import ProgressLine, count_text

_INVARIANT, _NAME = 3, "entries carry an unbroken hash chain"
_LINES_AT_ONCE = 5_000


class ChainVerdict(NamedTuple):
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
        """What --json tells of it."""
        return {name: getattr(self, name) for name in ("is_kept", "is_checked", "accounts", "entries", "digest")}

    def text(self) -> str | None:
        """What a person is told of it; None without a chain."""
        if self.is_checked and self.is_kept:
            chained = f"{count_text(self.entries, 'entry', 'entries')} of {count_text(self.accounts, 'account')}"
            return f"The heads of the hash chain, over {chained}: {self.digest}"
        if self.is_kept:
            return "Entries carry a hash chain, which was not checked: LOYALTY_CHAIN_KEY is not set here."
        return None


def refuse_without_key(keys: tuple[bytes, ...], heads: Path | None, against: Path | None) -> None:
    """Raise ChainKeyNeededError: heads that were never checked prove nothing."""
    for option, path in (("--heads", heads), ("--against", against)):
        if path is not None and not keys:
            raise ChainKeyNeededError(option=option)


def verify_chain(
    connection: Connection, keys: tuple[bytes, ...], progress: ProgressLine, heads: Path | None, against: Path | None
) -> ChainVerdict:
    """Walk along all chains, compare them with the heads in `against`, and write the present ones to `heads`.

    `heads` is written only if everything fits. HeadsFileError if a file cannot be used.
    """
    if not keys:
        return ChainVerdict(is_kept=has_chain(connection), is_checked=False)
    found = [] if against is None else _missing(connection, against)
    entries, digest = 0, HeadsDigest()
    lines = None if heads is None else _HeadsFile(heads)
    try:
        for step in walk_chains(connection, keys):
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
    return ChainVerdict(entries > 0, True, digest.accounts, entries, digest.hex(), shown)


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
        raise HeadsFileError(path=path, reason=getattr(error, "strerror", None) or "it is no such text") from error
    return missing


def _head(path: Path, number: int, line: str) -> Head:
    try:
        account_id, sequence, chain_hash = line.split()
        return Head(UUID(account_id), int(sequence), bytes.fromhex(chain_hash))
    except ValueError as error:
        raise HeadsFileError(path=path, reason=f"line {number} is no account, number and hash") from error
