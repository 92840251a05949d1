"""What became of a program's points in months: summed up from entries, in SQL, however many; and as kept.

An entry is of the month in which it was recorded, so that no month moves once it is over: what comes late is of the
month in which it came. By rules and promotions points are told as the orders' entries explain them: an entry's share
is what the order earns by a rule after it, less what it earned by it before.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.domain.accounting.activity import ActivityLine, Cause, CauseKind
from core.domain.accounting.flows import FLOWS, Flow
from core.domain.accounting.months import Month, month_text
from core.domain.ledger import EntryKind
from core.store.engine import run_bulk

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
_PARTS = """
    SELECT 'rule' AS kind, r->>'rule_id' AS name, (r->>'points')::bigint AS points
    FROM json_array_elements({rules}) AS r
    UNION ALL
    SELECT 'promotion', r->>'promotion_id', (r->>'points')::bigint FROM json_array_elements({promotions}) AS r
"""
_OF_ORDERS = "e.order_id IS NOT NULL AND e.kind IN ('accrual', 'clawback')"
#: All that entries come to, and what of that rules and promotions tell. Entries that say the same are put together
#: first, so that what they say is taken apart once.
_SUMS = f"""
WITH alike AS MATERIALIZED (
    SELECT {_PLACE} AS place,
           CASE WHEN e.kind = 'reversal'
                THEN coalesce((SELECT c.kind FROM entries c WHERE c.account_id = e.account_id
                               AND c.sequence = e.corrects_sequence), 'adjustment')
                ELSE e.kind END AS undone,
           e.kind, e.kind = 'debit' AND coalesce((e.why->>'forfeited')::boolean, false) AS is_forfeited,
           {_VERSION} AS version, CASE WHEN {_OF_ORDERS} THEN e.why->>'rules' END AS rules,
           CASE WHEN {_OF_ORDERS} THEN e.why->>'promotions' END AS promotions,
           sum(e.points + e.pending_change + e.reserved_change)::bigint AS points, count(*) AS entries
    {_ENTRIES} {_VERSIONS}
    {_IN_MONTHS} GROUP BY 1, 2, 3, 4, 5, 6, 7
)
SELECT place, undone, alike.kind, is_forfeited, version, NULL, NULL, sum(points)::bigint
FROM alike GROUP BY 1, 2, 3, 4, 5
UNION ALL
SELECT place, undone, alike.kind, is_forfeited, version, part.kind, part.name, sum(part.points * entries)::bigint
FROM alike CROSS JOIN LATERAL ({_PARTS.format(rules="rules::json", promotions="promotions::json")}) AS part
WHERE rules IS NOT NULL OR promotions IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7
"""  # noqa: S608  # our own words
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
CROSS JOIN LATERAL ({_PARTS.format(rules="before.why->'rules'", promotions="before.why->'promotions'")}) AS part
GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608  # our own words

_Key = tuple[int, Flow, int | None, Cause]


def load_activity_lines(connection: Connection, program_id: str, months: Sequence[Month]) -> list[ActivityLine]:
    """Sum up what was recorded in these months, of which there must be one, without a gap, in the order of time.

    `connection` must see one snapshot, and have no limit of time.
    """
    assert months
    asked = {
        "program_id": program_id,
        "starts": [month.starts_at for month in months],
        "end": months[-1].ends_at,
    }
    return _lines(_by_cause(connection, asked), [month.text for month in months])


def load_month_activity(connection: Connection, program_id: str, month: Month) -> list[ActivityLine]:
    """The same of one month, by a statement for each day, so that none takes long."""
    found: Counter[_Key] = Counter()
    starts_at = month.starts_at
    while starts_at < month.ends_at:
        end = min(starts_at + timedelta(days=1), month.ends_at)
        asked = {"program_id": program_id, "starts": [starts_at], "end": end}
        for key, points in _by_cause(connection, asked).items():
            found[key] += points
        starts_at = end
    return _lines(found, [month.text])


def _lines(found: Counter[_Key], months: Sequence[str]) -> list[ActivityLine]:
    return [
        ActivityLine(months[place - 1], flow, cause, version, points)
        for (place, flow, version, cause), points in sorted(found.items(), key=_order)
        if points
    ]


def _order(item: tuple[_Key, int]) -> tuple[Any, ...]:
    (place, flow, version, cause), _ = item
    return place, list(Flow).index(flow), list(CauseKind).index(cause.kind), cause.name, version or 0


def _by_cause(connection: Connection, asked: Mapping[str, Any]) -> Counter[_Key]:
    found: Counter[_Key] = Counter()
    for place, undone, kind, is_forfeited, version, part, name, points in run_bulk(connection, _SUMS, asked):
        if part is None:
            flow = Flow.EXPIRED if is_forfeited else FLOWS[EntryKind(undone)]
            found[place, flow, version, Cause(CauseKind.ENTRY, "forfeited" if is_forfeited else kind)] += points
        else:
            _tell(found, (place, kind, version), Cause(CauseKind(part), name), points)
    for *entries, part, name, points in run_bulk(connection, _BEFORE, asked):
        _tell(found, tuple(entries), Cause(CauseKind(part), name), -points)
    return found


def _tell(found: Counter[_Key], entries: tuple[Any, ...], cause: Cause, points: int) -> None:
    """Let a rule or a promotion tell of points, which are no longer told of the entries as such."""
    place, kind, version = entries
    flow = FLOWS[EntryKind(kind)]
    found[place, flow, version, cause] += points
    found[place, flow, version, Cause(CauseKind.ENTRY, kind)] -= points


class KeptActivity(NamedTuple):
    """What became of points in a month, as it was kept."""

    kept_at: datetime
    lines: list[ActivityLine]


_KEEP = """
INSERT INTO activity_lines (program_id, month, line_number, flow, cause_kind, cause, program_version, points)
SELECT %(program_id)s, %(month)s, n.line_number, n.flow, n.cause_kind, n.cause, n.program_version, n.points
FROM unnest(%(flows)s::text[], %(kinds)s::text[], %(causes)s::text[], %(versions)s::integer[], %(points)s::bigint[])
     WITH ORDINALITY AS n(flow, cause_kind, cause, program_version, points, line_number)
"""
_KEPT = "SELECT month, taken_at FROM liability_snapshots WHERE program_id = %s AND month BETWEEN %s AND %s"
_KEPT_LINES = """
SELECT month, flow, cause_kind, cause, program_version, points FROM activity_lines
WHERE program_id = %s AND month BETWEEN %s AND %s ORDER BY month, line_number
"""
_FIRST_KEPT = "SELECT min(month) FROM activity_lines WHERE program_id = %s"
_FIRST = f"SELECT min(e.recorded_at) {_ENTRIES}"
#: The last end of a month that was kept and is not later; what was outstanding then is known.
_LAST_END = """
SELECT s.as_of, coalesce(sum(l.points), 0)::bigint
FROM (SELECT program_id, month, as_of FROM liability_snapshots
      WHERE program_id = %(program_id)s AND as_of <= %(before)s ORDER BY as_of DESC, month DESC LIMIT 1) AS s
LEFT JOIN liability_lines l USING (program_id, month)
GROUP BY s.as_of
"""
_OUTSTANDING = f"""
SELECT coalesce(sum(e.points + e.pending_change + e.reserved_change), 0)::bigint {_ENTRIES}
WHERE e.recorded_at >= %(since)s AND e.recorded_at < %(before)s
"""  # our own words


def append_activity(connection: Connection, program_id: str, month: Month, lines: Sequence[ActivityLine]) -> None:
    """Keep what became of points in a month, for good; what was owed at its end must have been kept just now."""
    columns = {
        "flows": [line.flow.value for line in lines],
        "kinds": [line.cause.kind.value for line in lines],
        "causes": [line.cause.name for line in lines],
        "versions": [line.version for line in lines],
        "points": [line.points for line in lines],
    }
    run_bulk(connection, _KEEP, {"program_id": program_id, "month": month.first_day, **columns})


def load_kept_activity(connection: Connection, program_id: str, first: date, last: date) -> Mapping[date, KeptActivity]:
    """What was kept of the months from that of `first` to that of `last`, by their first days."""
    key = (program_id, first, last)
    found = {month: KeptActivity(kept_at, []) for month, kept_at in run_bulk(connection, _KEPT, key)}
    for month, flow, kind, name, version, points in run_bulk(connection, _KEPT_LINES, key):
        cause = Cause(CauseKind(kind), name)
        found[month].lines.append(ActivityLine(month_text(month), Flow(flow), cause, version, points))
    return found


def first_kept(connection: Connection, program_id: str) -> date | None:
    """The first day of the first month that was kept in which points moved; None: there is none."""
    ((month,),) = run_bulk(connection, _FIRST_KEPT, (program_id,))
    assert month is None or isinstance(month, date)
    return month


def first_recorded(connection: Connection, program_id: str) -> datetime | None:
    """When the first entry of the program was recorded; None: it has none. All entries are looked at."""
    ((first,),) = run_bulk(connection, _FIRST, {"program_id": program_id})
    assert first is None or isinstance(first, datetime)
    return first


def points_outstanding(connection: Connection, program_id: str, before: datetime) -> int:
    """What all entries come to that were recorded before an instant: those since the last end of a month are read."""
    asked = {"program_id": program_id, "before": before}
    ends = run_bulk(connection, _LAST_END, asked)
    ((since, kept),) = ends or [("-infinity", 0)]
    if since == before:
        return int(kept)
    ((points,),) = run_bulk(connection, _OUTSTANDING, {**asked, "since": since})
    return int(kept + points)
