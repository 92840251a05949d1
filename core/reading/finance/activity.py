"""What became of a program's points month by month, as it was recorded: sums of entries, in SQL, however many.

An entry is of the month in which it was recorded, so that no month moves once it is over: what comes late is of the
month in which it came. By rules and promotions points are told as the orders' entries explain them: an entry's share
is what the order earns by a rule after it, less what it earned by it before.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from core.domain.accounting.activity import Activity, ActivityLine, ActivityMonth, Cause, CauseKind
from core.domain.accounting.flows import FLOWS, Flow
from core.domain.accounting.months import Month
from core.domain.ledger import EntryKind
from core.domain.program.registry import ProgramRegistry
from core.store.engine import run_bulk
from core.store.liability import value_of_point

#: Entries of the program that were recorded in the months, each with the place of its month: 1, 2, 3, …
_ENTRIES = """
FROM entries e JOIN accounts a ON a.account_id = e.account_id AND a.program_id = %(program_id)s
"""
_IN_MONTHS = """
WHERE e.recorded_at >= (%(starts)s::timestamptz[])[1] AND e.recorded_at < %(end)s
"""
_PLACE = "width_bucket(e.recorded_at, %(starts)s::timestamptz[])"
#: What an entry is about, for the version that judged it.
_VERSIONS = """
LEFT JOIN orders o ON e.command_id IS NULL AND o.source = e.source AND o.order_id = e.order_id
                  AND o.program_id = %(program_id)s
LEFT JOIN returns b ON b.source = e.source AND b.return_id = e.return_id AND b.program_id = %(program_id)s
LEFT JOIN commands m ON m.source = e.source AND m.command_id = e.command_id
"""
_VERSION = "coalesce(m.program_version, b.program_version, o.program_version)"
_TOTALS = f"""
SELECT {_PLACE}, CASE WHEN e.kind = 'reversal'
            THEN coalesce((SELECT c.kind FROM entries c WHERE c.account_id = e.account_id
                           AND c.sequence = e.corrects_sequence), 'adjustment')
            ELSE e.kind END,
       e.kind,
       e.kind = 'debit' AND coalesce((e.why->>'forfeited')::boolean, false), {_VERSION},
       sum(e.points + e.pending_change + e.reserved_change)::bigint
{_ENTRIES} {_VERSIONS}
{_IN_MONTHS} GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608  # our own words
_PARTS = """
CROSS JOIN LATERAL (
    SELECT 'rule' AS kind, r->>'rule_id' AS name, (r->>'points')::bigint AS points
    FROM json_array_elements({why}->'rules') AS r
    UNION ALL
    SELECT 'promotion', r->>'promotion_id', (r->>'points')::bigint FROM json_array_elements({why}->'promotions') AS r
) AS part
"""
_OF_ORDERS = "e.order_id IS NOT NULL AND e.kind IN ('accrual', 'clawback')"
_BY_RULE = f"""
SELECT {_PLACE}, e.kind, {_VERSION}, part.kind, part.name, sum(part.points)::bigint
{_ENTRIES} {_VERSIONS} {_PARTS.format(why="e.why")} {_IN_MONTHS} AND {_OF_ORDERS} GROUP BY 1, 2, 3, 4, 5
"""  # our own words
#: What the orders of these entries earned before them: by the entry before, of whichever account had the order then. Of
#: one instant may be two accounts between which an order moves: there the entries of its own account come first.
_BEFORE = f"""
SELECT later.place, later.kind, later.version, part.kind, part.name, sum(part.points)::bigint
FROM (
    SELECT DISTINCT ON (l.account_id, l.sequence) l.place, l.kind, l.version, p.account_id, p.sequence
    FROM (SELECT {_PLACE} AS place, e.account_id, e.sequence, e.kind, e.recorded_at, e.source, e.order_id,
                 {_VERSION} AS version
          {_ENTRIES} {_VERSIONS}
          {_IN_MONTHS} AND {_OF_ORDERS} AND coalesce((e.why->>'points_entitled_before')::bigint, 0) > 0) AS l
    JOIN entries p ON p.source = l.source AND p.order_id = l.order_id AND p.kind IN ('accrual', 'clawback')
                  AND CASE WHEN p.account_id = l.account_id THEN p.sequence < l.sequence
                           ELSE p.recorded_at <= l.recorded_at END
    JOIN accounts pa ON pa.account_id = p.account_id AND pa.program_id = %(program_id)s
    ORDER BY l.account_id, l.sequence, (p.account_id = l.account_id OR p.recorded_at < l.recorded_at) DESC,
             p.recorded_at DESC, (p.account_id = l.account_id) DESC, p.sequence DESC
) AS later
JOIN entries before ON before.account_id = later.account_id AND before.sequence = later.sequence
{_PARTS.format(why="before.why")}
GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608  # our own words
_OUTSTANDING = f"""
SELECT coalesce(sum(e.points + e.pending_change + e.reserved_change), 0)::bigint {_ENTRIES}
WHERE e.recorded_at < %(before)s
"""  # our own words
_FIRST = f"SELECT min(e.recorded_at) {_ENTRIES}"

_Key = tuple[int, Flow, int | None]


def load_activity(
    connection: Connection, registry: ProgramRegistry, program_id: str, months: Sequence[Month]
) -> Activity:
    """What was recorded in these months, of which there must be one, without a gap, in the order of time.

    The last may still be open. `connection` must see one snapshot. KeyError for an unknown program.
    """
    assert months
    asked: dict[str, Any] = {
        "program_id": program_id,
        "starts": [month.starts_at for month in months],
        "end": months[-1].ends_at,
        "before": months[0].starts_at,
    }
    _take_time(connection)
    by_cause = _by_cause(connection, asked)
    lines = tuple(
        ActivityLine(months[place - 1].text, flow, cause, version, points)
        for (place, flow, version, cause), points in sorted(by_cause.items(), key=_place)
        if points
    )
    ((outstanding,),) = run_bulk(connection, _OUTSTANDING, asked)
    ((now,),) = run_bulk(connection, "SELECT now()")
    found = []
    for month in months:
        before = outstanding
        outstanding += sum(line.points for line in lines if line.month == month.text)
        found.append(ActivityMonth(month, before, outstanding, now < month.ends_at))
    versions = {version.version: version.program for version in registry.versions() if version.program_id == program_id}
    program = registry.at(program_id, now).program
    return Activity(
        program_id,
        program.currency,
        program.unit,
        tuple(found),
        lines,
        {number: value_of_point(program) for number, program in versions.items()},
        value_of_point(program),
    )


def first_recorded(connection: Connection, program_id: str) -> Any:
    """When the first entry of the program was recorded; None: it has none."""
    _take_time(connection)
    ((first,),) = run_bulk(connection, _FIRST, {"program_id": program_id})
    return first


def _take_time(connection: Connection) -> None:
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    run_bulk(connection, "SET LOCAL work_mem = '64MB'")  # for sums and joins, so that fewer are put on disk


def _place(item: tuple[tuple[int, Flow, int | None, Cause], int]) -> tuple[Any, ...]:
    (place, flow, version, cause), _ = item
    return place, list(Flow).index(flow), list(CauseKind).index(cause.kind), cause.name, version or 0


def _by_cause(connection: Connection, asked: Mapping[str, Any]) -> Counter[tuple[int, Flow, int | None, Cause]]:
    found: Counter[tuple[int, Flow, int | None, Cause]] = Counter()
    for place, undone, kind, is_forfeited, version, points in run_bulk(connection, _TOTALS, asked):
        flow = Flow.EXPIRED if is_forfeited else FLOWS[EntryKind(undone)]
        name = "forfeited" if is_forfeited else kind
        found[place, flow, version, Cause(CauseKind.ENTRY, name)] += points
    for statement, sign in ((_BY_RULE, 1), (_BEFORE, -1)):
        for place, kind, version, part, name, points in run_bulk(connection, statement, asked):
            flow = FLOWS[EntryKind(kind)]
            found[place, flow, version, Cause(CauseKind(part), name)] += sign * points
            # What rules and promotions tell is no longer told of the entries as such.
            found[place, flow, version, Cause(CauseKind.ENTRY, kind)] -= sign * points
    return found
