"""Invariant 9, of months: what was kept of their ends is what the entries until then say."""

from core.store.proof.invariants.check import Check
from core.store.proof.kept_activity import find_wrong_activity
from core.store.proof.kept_months import find_wrong_splits

#: Of each program the ends of its months, in the order of time: an entry is told by how many of them it came after.
_ENDS = "SELECT program_id, array_agg(as_of ORDER BY as_of) AS ends FROM liability_snapshots GROUP BY program_id"

SNAPSHOTS = (
    Check(
        9,
        "what was kept of a month's end is what the entries until then come to",
        f"""
        SELECT NULL::uuid, format('program %s, %s: kept are %s points in lots, %s reserved, %s of deficits, but the'
                                  ' entries before %s come to %s, %s, %s', program_id, to_char(month, 'YYYY-MM'),
                                  kept_lots, kept_reserved, kept_deficits, as_of, lots, reserved, deficits)
        FROM (
            SELECT s.program_id, s.month, s.as_of,
                   coalesce(sum(f.lots), 0) AS lots, coalesce(sum(f.reserved), 0) AS reserved,
                   coalesce(sum(f.deficits), 0) AS deficits,
                   max(coalesce(k.lots, 0)) AS kept_lots, max(coalesce(k.reserved, 0)) AS kept_reserved,
                   max(coalesce(k.deficits, 0)) AS kept_deficits
            FROM (SELECT *, row_number() OVER (PARTITION BY program_id ORDER BY as_of) AS number
                  FROM liability_snapshots) AS s
            LEFT JOIN (SELECT a.program_id, width_bucket(e.recorded_at, p.ends) AS ends_before,
                              sum(e.points + e.pending_change + e.deficit_change) AS lots,
                              sum(e.reserved_change) AS reserved, -sum(e.deficit_change) AS deficits
                       FROM entries e JOIN accounts a USING (account_id) JOIN ({_ENDS}) AS p USING (program_id)
                       GROUP BY a.program_id, ends_before) AS f
                 ON f.program_id = s.program_id AND f.ends_before < s.number
            LEFT JOIN (SELECT program_id, month,
                              sum(points) FILTER (WHERE bucket NOT IN ('reserved', 'deficit')) AS lots,
                              sum(points) FILTER (WHERE bucket = 'reserved') AS reserved,
                              sum(points) FILTER (WHERE bucket = 'deficit') AS deficits
                       FROM liability_lines GROUP BY program_id, month) AS k
                 ON k.program_id = s.program_id AND k.month = s.month
            GROUP BY s.program_id, s.month, s.as_of
        ) AS sides
        WHERE kept_lots <> lots OR kept_reserved <> reserved OR kept_deficits <> deficits
        """,  # noqa: S608  # our own words
        is_global=True,
    ),
    Check(
        9,
        "what was kept of a month's end is split by tier, age and end as it was then",
        find=find_wrong_splits,
        is_global=True,
    ),
    Check(
        9,
        "what was kept of a month's activity is what the entries recorded in it come to",
        find=find_wrong_activity,
        is_global=True,
    ),
)
