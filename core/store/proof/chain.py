"""The hash chain over each account's entries: what was changed behind the worker's back no longer fits.

chain_hash = HMAC-SHA256(key, the previous entry's chain_hash, or nothing, and then the entry), where the entry is a
JSON array of all its columns and allocations. Who has no key cannot make a hash that fits.

Of its explanation, which may name a person, the array has only a digest: HMAC-SHA256(the account's salt, the text).
Where a person is erased the salt goes, and the digests stay beside the entries, each with a seal over what is left of
the text: so nobody learns from them what it was, and the chain holds as it did.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from hashlib import sha256
from secrets import token_bytes
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Entry
from core.store import tables
from core.store.engine import driver_connection, run_bulk
from core.store.proof.hashing import KeyRing, canonical, hash_of
from core.store.proof.processes import ALONE, Look, Processes, look_side_by_side
from core.store.proof.scope import SLICE_ENTRIES_MIN, Scope, slices
from core.store.proof.seals import broken_seals, broken_seals_elsewhere, seal, seal_content
from core.store.rows import Append, Shape, arrays, selected, unnested

#: Of an account's salt: too many to be tried.
SALT_BYTES = 16

_PREVIOUS = f"""
SELECT k.account_id, e.chain_hash, s.salt, now()
FROM {unnested(tables.entries, ("account_id", "sequence"))} LEFT JOIN entries e USING (account_id, sequence)
     LEFT JOIN account_salts s USING (account_id)
"""  # noqa: S608  # our own names


def chain_hashes(connection: Connection, entries: Sequence[Entry], whys: Sequence[str], key: bytes) -> list[bytes]:
    """The hashes of new entries, in their order, with the texts of their calculations. Their accounts are locked.

    The first entry after a time without a key begins a chain: it follows nothing.
    """
    if not entries:
        return []
    before: dict[UUID, int] = {}
    for entry in entries:
        before.setdefault(entry.account_id, entry.sequence - 1)
    rows = run_bulk(connection, _PREVIOUS, (list(before), list(before.values())))
    last: dict[UUID, bytes | None] = {account_id: chain_hash for account_id, chain_hash, *_ in rows}
    salts = {account_id: salt for account_id, _, salt, _ in rows if salt is not None}
    _draw_salts(connection, salts, before)
    recorded_at = rows[0][3]  # what recorded_at is by default in this transaction
    hashes = []
    for entry, why in zip(entries, whys, strict=True):
        covered = why_digest(salts[entry.account_id], why).hex()
        content = canonical([*_HASHED.row(_HashedEntry(entry, covered, recorded_at)), _moves(entry)])
        chain_hash = hash_of(key, content, last[entry.account_id])
        last[entry.account_id] = chain_hash
        hashes.append(chain_hash)
    return hashes


def why_digest(salt: bytes, why: str) -> bytes:
    """What the chain covers of an entry's explanation, as the table holds it."""
    return hash_of(salt, why.encode())


class _Salted(NamedTuple):
    account_id: UUID
    salt: bytes


_APPEND_SALTS = Append(Shape(tables.account_salts, _Salted).new())


def _draw_salts(connection: Connection, salts: dict[UUID, bytes], account_ids: Iterable[UUID]) -> None:
    """Give these accounts a salt that have none: new ones, and those whose person was erased."""
    drawn = [_Salted(account_id, token_bytes(SALT_BYTES)) for account_id in account_ids if account_id not in salts]
    salts.update(drawn)
    _APPEND_SALTS.run(connection, drawn)


class _HashedEntry(NamedTuple):
    """What there is to know of an entry but its hash."""

    entry: Entry
    why_json: str
    recorded_at: datetime


#: All columns but the hash; in the place of the explanation its digest.
_HASHED = Shape(tables.entries, _HashedEntry, why="why_json").new()
_WHY = _HASHED.names.index("why")


def _moves(entry: Entry) -> list[list[str]]:
    """The allocations, as `_Walk` reads them."""
    moves = sorted(entry.allocations, key=lambda allocation: allocation.lot_number)
    return [[str(move.lot_number), move.kind.value, str(move.points)] for move in moves]


class ChainDifference(NamedTuple):
    """The first entry of an account that does not fit its chain, or a row that does not fit its seal."""

    account_id: UUID | None  #: None: a row of no account
    text: str


class Head(NamedTuple):
    """The last entry of an account's chain."""

    account_id: UUID
    sequence: int
    chain_hash: bytes


class ChainStep(NamedTuple):
    """What a walk along the chains came to in one slice of the accounts."""

    slices_done: int
    slices: int
    entries: int  #: with a hash, in this slice
    heads: list[Head]
    differences: list[ChainDifference]


def has_chain(connection: Connection) -> bool:
    """Whether any entry has a hash."""
    ((is_there,),) = run_bulk(connection, "SELECT EXISTS (SELECT 1 FROM entries WHERE chain_hash IS NOT NULL)")
    return bool(is_there)


_ENTRIES = f"""
SELECT {selected(tables.entries, _HASHED.names, "e")}, coalesce(n.moves, '{{}}'), s.salt, w.why_digest, w.seal,
       e.chain_hash
FROM entries e LEFT JOIN account_salts s USING (account_id) LEFT JOIN erased_whys w USING (account_id, sequence)
LEFT JOIN (SELECT account_id, sequence,
                  array_agg(ARRAY[lot_number::text, kind, points::text] ORDER BY lot_number) AS moves
           FROM allocations GROUP BY account_id, sequence) n USING (account_id, sequence)
ORDER BY e.account_id, e.sequence
"""  # noqa: S608  # our own names
_ROWS_AT_ONCE = 5_000


def walk_chains(connection: Connection, keys: Sequence[bytes], processes: Processes = ALONE) -> Iterator[ChainStep]:
    """Follow every account's chain, slice by slice, and look at its seals; a hash that any of `keys` gives is right.

    Rows are read as they are needed, so that an account of any size needs no more memory. VerifyStoppedError when one
    of several processes is killed.
    """
    # Entries come by way of their key, and heads are held: small slices cost nothing here.
    scopes = slices(connection, SLICE_ENTRIES_MIN)
    if processes.jobs > 1 and len(scopes) > 1:
        walk = partial(_opened_walk, tuple(keys))
        with look_side_by_side(connection, walk, scopes, processes) as walked:
            yield from _steps(connection, keys, walked, len(scopes))
    else:
        with _opened_walk(keys, connection) as look:
            yield from _steps(connection, keys, map(look, scopes), len(scopes))


class _Walked(NamedTuple):
    """What one slice showed."""

    entries: int
    heads: list[Head]
    differences: list[ChainDifference]


def _steps(
    connection: Connection, keys: Sequence[bytes], walked: Iterable[_Walked], slices_of_accounts: int
) -> Iterator[ChainStep]:
    for done, (entries, heads, differences) in enumerate(walked, start=1):
        is_last = done == slices_of_accounts
        elsewhere = broken_seals_elsewhere(connection, KeyRing(keys)) if is_last else []
        found = [*differences, *(ChainDifference(*each) for each in elsewhere)]
        yield ChainStep(done, slices_of_accounts, entries, heads, found)


@contextmanager
def _opened_walk(keys: Sequence[bytes], connection: Connection) -> Iterator[Look[_Walked]]:
    ring = KeyRing(keys)

    def look(scope: Scope) -> _Walked:
        walk = _Walk(ring)
        with driver_connection(connection).cursor(name="chain") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(scope.narrow(_ENTRIES).encode(), scope.parameters)
            for row in cursor:
                walk.take(row)
        broken = [ChainDifference(*each) for each in broken_seals(connection, ring, scope)]
        return _Walked(walk.entries, list(walk.heads.values()), walk.differences + broken)

    yield look


class ErasedWhy(NamedTuple):
    """What the chain covers of an explanation that is not there any more as it was."""

    account_id: UUID
    sequence: int
    why_digest: bytes
    seal: bytes


def erased_why(key: bytes, account_id: UUID, sequence: int, digest: bytes, left: str) -> ErasedWhy:
    """The row that stands for an explanation of which only `left` is kept; `digest` is of what it was."""
    proof = seal(key, tables.erased_whys, (account_id, sequence, digest.hex(), left))
    return ErasedWhy(account_id, sequence, digest, proof)


class _Walk:
    """One slice: the entries of some accounts, account by account and in order."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._account_id: UUID | None = None
        self._previous: bytes | None = None
        self._is_broken = False
        self.entries = 0
        self.heads: dict[UUID, Head] = {}
        self.differences: list[ChainDifference] = []

    def take(self, row: Sequence[Any]) -> None:
        """Look at the next entry. After the first that does not fit, the rest of its account shows nothing new."""
        *values, salt, erased_digest, erased_seal, chain_hash = row
        account_id, sequence, *_ = values  # the key stands first
        if account_id != self._account_id:
            self._account_id, self._previous, self._is_broken = account_id, None, False
        if chain_hash is not None:
            self.entries += 1
            self.heads[account_id] = Head(account_id, sequence, chain_hash)
            why = values[_WHY]
            covered = why_digest(salt or b"", why) if erased_digest is None else erased_digest
            values[_WHY] = covered.hex()
            if not self._keys.fits(chain_hash, canonical(values), self._previous):
                self._break(account_id, f"entry {sequence} of account {account_id} does not fit its hash")
            elif erased_digest is not None:
                kept = seal_content(tables.erased_whys, (account_id, sequence, erased_digest.hex(), why))
                if erased_seal is None or not self._keys.fits(erased_seal, kept):
                    what = f"what is left of the explanation of entry {sequence} of account {account_id}"
                    self._break(account_id, f"{what} does not fit its seal")
        elif self._previous is not None:
            self._break(account_id, f"entry {sequence} of account {account_id} has no hash, but the one before it has")
        self._previous = chain_hash

    def _break(self, account_id: UUID, text: str) -> None:
        if not self._is_broken:
            self.differences.append(ChainDifference(account_id, text))
        self._is_broken = True


class HeadsDigest:
    """One hash over the heads of all chains, in the order of the accounts' ids."""

    def __init__(self) -> None:
        """Begin with no accounts."""
        self._sum = sha256()
        self.accounts = 0

    def add(self, heads: Iterable[Head]) -> None:
        """Take in the next accounts."""
        for head in heads:
            self._sum.update(head.account_id.bytes + head.sequence.to_bytes(8) + head.chain_hash)
            self.accounts += 1

    def hex(self) -> str:
        """The digest so far."""
        return self._sum.hexdigest()


_MISSING = f"""
SELECT k.account_id, k.sequence
FROM {unnested(tables.entries, Head._fields)}
LEFT JOIN entries e USING (account_id, sequence) WHERE e.chain_hash IS DISTINCT FROM k.chain_hash
"""  # noqa: S608  # our own names


def missing_heads(connection: Connection, heads: Sequence[Head]) -> list[ChainDifference]:
    """Heads that were noted once and are in their chains no more."""
    rows = run_bulk(connection, _MISSING, arrays(heads, len(Head._fields)))
    return [
        ChainDifference(account_id, f"entry {sequence} of account {account_id} is not the one that was noted")
        for account_id, sequence in rows
    ]
