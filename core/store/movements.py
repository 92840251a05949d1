"""What the entries of commands did, for those that undo them."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import EntryKind
from core.domain.lots import Allocation, AllocationKind
from core.domain.movements import Movement
from core.domain.reach import CommandKey
from core.store import tables
from core.store.engine import run_bulk
from core.store.rows import arrays, unnested

EntryKey = tuple[UUID, int]  #: account, sequence


class CommandEntry(NamedTuple):
    """An entry that a command made."""

    key: EntryKey
    lot_numbers: Sequence[int]  #: in the order in which it took from them


# The answer keeps the order of allocations, which the ends of lots may have had when they were taken from, and not now.
_ENTRIES_OF_COMMANDS = f"""
SELECT c.source, c.command_id, (e->>'account_id')::uuid, (e->>'sequence')::bigint,
       ARRAY(SELECT (l->>'lot_number')::integer FROM json_array_elements(e->'lots') WITH ORDINALITY AS k(l, place)
             ORDER BY place)
FROM {unnested(tables.commands, ("source", "command_id"))} JOIN commands c USING (source, command_id)
     CROSS JOIN LATERAL json_array_elements(c.answer->'entries') AS e
WHERE c.code IS NULL
"""  # noqa: S608  # our own names


def load_entries_of_commands(
    connection: Connection, keys: Collection[CommandKey]
) -> dict[CommandKey, list[CommandEntry]]:
    """Which entries these (source, command_id) made, as their answers say; nothing of one that is not accepted."""
    found: dict[CommandKey, list[CommandEntry]] = {}
    if keys:
        rows = run_bulk(connection, _ENTRIES_OF_COMMANDS, arrays(keys, 2))
        for source, command_id, account_id, sequence, numbers in rows:
            found.setdefault((source, command_id), []).append(CommandEntry((account_id, sequence), numbers))
    return found


_OF_ENTRIES = ("account_id", "sequence")
_MOVEMENTS = f"""
SELECT e.account_id, e.sequence, e.kind, e.points, e.pending_change, e.reserved_change, e.deficit_change,
       (SELECT coalesce(sum(c.points), 0)::bigint FROM entries c
        WHERE c.account_id = e.account_id AND c.corrects_sequence = e.sequence AND c.command_id IS NOT NULL),
       EXISTS (SELECT FROM entries c WHERE c.account_id = e.account_id AND c.corrects_sequence = e.sequence
               AND c.kind = 'reversal'),
       e.occurred_at, coalesce(m.program_version, 1),
       e.kind = 'debit' AND m.type IN ('loyalty.command.account.close', 'loyalty.command.customer.erase'),
       ARRAY(SELECT -c.reserved_change FROM entries c
             WHERE c.account_id = e.account_id AND c.corrects_sequence = e.sequence AND c.kind = 'capture'
               AND c.command_id IS NOT NULL ORDER BY c.sequence)
FROM {unnested(tables.entries, _OF_ENTRIES)} JOIN entries e USING (account_id, sequence)
     JOIN commands m ON (m.source, m.command_id) = (e.source, e.command_id)
"""  # noqa: S608  # our own names
# What clawbacks let come back of an authorization, and took.
_BACK = """coalesce((
    SELECT sum(b.points) FROM entries c JOIN allocations b USING (account_id, sequence)
    WHERE c.account_id = a.account_id AND c.corrects_sequence = a.sequence AND c.kind = 'void'
      AND c.command_id IS NULL AND c.source IS NOT NULL AND b.lot_number = a.lot_number), 0)::bigint"""
_ALLOCATIONS = f"""
SELECT account_id, sequence, l.lot_number, a.kind, a.points + {_BACK}, l.expires_at
FROM {unnested(tables.allocations, _OF_ENTRIES)} JOIN allocations a USING (account_id, sequence)
     JOIN dated_lots l USING (account_id, lot_number)
"""  # noqa: S608  # our own names


def load_movements(connection: Connection, entries: Iterable[CommandEntry]) -> dict[EntryKey, Movement]:
    """What these entries did, and what others have undone of it."""
    places = {each.key: {number: place for place, number in enumerate(each.lot_numbers)} for each in entries}
    if not places:
        return {}
    keys = arrays(places, 2)
    allocations: dict[EntryKey, list[Allocation]] = {key: [] for key in places}
    for account_id, sequence, number, kind, points, end in run_bulk(connection, _ALLOCATIONS, keys):
        if points:
            allocations[account_id, sequence].append(Allocation(number, AllocationKind(kind), points, end))
    found: dict[EntryKey, Movement] = {}
    rows = run_bulk(connection, _MOVEMENTS, keys)
    for account_id, sequence, kind, *changes, corrected, is_reversed, at, version, is_forfeit, captures in rows:
        place = places[account_id, sequence]
        moved = tuple(sorted(allocations[account_id, sequence], key=lambda each: place[each.lot_number]))
        found[account_id, sequence] = Movement._make(
            (
                account_id, sequence, EntryKind(kind), *changes, moved, at, version, corrected, is_reversed,
                is_forfeit, tuple(captures),
            )
        )  # fmt: skip
    return found
