"""What customers have used of the limits on commands, from the entries of their commands."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

from core.domain.program import CustomerLimit, ValueLimits
from core.domain.program.registry import ProgramRegistry
from core.domain.value.customer_limits import counted_name
from core.store.engine import run_bulk
from core.store.proof.limits_used import days_of
from core.store.proof.scope import Scope

# An entry is counted under the version that decided its command. What a clawback took of an authorization stays used.
# What a merged account has used counts for the one that survives as well, and for the one that this is merged into.
_SURVIVORS = """
WITH RECURSIVE way AS (
    SELECT account_id, merged_into AS survivor FROM accounts WHERE merged_into IS NOT NULL
    UNION ALL
    SELECT w.account_id, a.merged_into FROM way w JOIN accounts a ON a.account_id = w.survivor
    WHERE a.merged_into IS NOT NULL
)
SELECT account_id, array_agg(survivor) AS account_ids FROM way GROUP BY account_id
"""
_COUNTED = """
SELECT e.account_id, a.program_id, c.program_version, e.occurred_at,
       CASE WHEN e.kind IN ('redemption', 'authorization') THEN 'redeem' WHEN e.kind = 'credit' THEN 'credit'
            WHEN e.kind = 'transfer' THEN 'transfer' ELSE 'convert' END AS name,
       abs(e.points + e.pending_change) - coalesce((
           SELECT sum(abs(b.points + b.pending_change)) FROM entries b
           WHERE b.account_id = e.account_id AND b.corrects_sequence = e.sequence
             AND (b.kind = 'reversal' OR (b.kind = 'void' AND (b.command_id IS NOT NULL OR b.source IS NULL)))
       ), 0) AS points
FROM entries e
JOIN accounts a ON a.account_id = e.account_id
JOIN commands c ON (c.source, c.command_id) = (e.source, e.command_id)
WHERE (e.kind IN ('redemption', 'authorization', 'credit') OR (e.kind IN ('transfer', 'conversion') AND e.points < 0))
  AND (a.program_id, c.program_version)
      IN (SELECT * FROM unnest(%(held_programs)s::text[], %(held_versions)s::integer[]))
"""
#: How many points each account has used; with the parameters of `command_limits_used`.
COMMAND_LIMITS_USED = f"""
SELECT w.used_by AS account_id, '{counted_name("")}' || u.name AS name,
       CASE l.period WHEN 'day' THEN d.day ELSE left(d.day, 7) END AS period, sum(u.points)::bigint AS points,
       0 AS orders, 0::numeric AS carried
FROM ({_COUNTED}) AS u
LEFT JOIN ({_SURVIVORS}) AS s USING (account_id)
CROSS JOIN LATERAL unnest(u.account_id || s.account_ids) AS w(used_by)
JOIN unnest(%(held_programs)s::text[], %(held_versions)s::integer[], %(held_names)s::text[], %(held_periods)s::text[],
            %(held_zones)s::text[]) AS l(program_id, version, name, period, zone)
     ON (l.program_id, l.version, l.name) = (u.program_id, u.program_version, u.name)
JOIN unnest(%(held_day_zones)s::text[], %(held_days_utc)s::date[], %(held_day_starts)s::timestamptz[],
            %(held_day_ends)s::timestamptz[], %(held_days)s::text[]) AS d(zone, utc, start, ending, day)
     ON d.zone = l.zone AND d.utc = (u.occurred_at AT TIME ZONE 'UTC')::date
        AND u.occurred_at >= d.start AND u.occurred_at < d.ending
GROUP BY 1, 2, 3
"""  # noqa: S608  # our own words
_UTC_DAYS = f"""
SELECT DISTINCT l.zone, (u.occurred_at AT TIME ZONE 'UTC')::date
FROM ({_COUNTED}) AS u
JOIN unnest(%(held_programs)s::text[], %(held_versions)s::integer[], %(held_zones)s::text[])
     AS l(program_id, version, zone) ON (l.program_id, l.version) = (u.program_id, u.program_version)
"""  # noqa: S608  # our own words
_HELD = ("held_programs", "held_versions", "held_names", "held_periods", "held_zones")
_DAYS = ("held_day_zones", "held_days_utc", "held_day_starts", "held_day_ends", "held_days")


def command_limits_used(connection: Connection, registry: ProgramRegistry, scope: Scope) -> dict[str, Any]:
    """Parameters of `COMMAND_LIMITS_USED`: what is limited in which version, and what the days are."""
    held = _columns(_HELD, list(_limits(registry)))
    days = []
    if held["held_programs"]:
        rows = run_bulk(connection, scope.narrow(_UTC_DAYS), {**scope.parameters, **held})
        days = [day for zone, utc in rows for day in days_of(zone, utc)]
    return {**held, **_columns(_DAYS, days)}


def _columns(names: tuple[str, ...], rows: list[Any]) -> dict[str, list[Any]]:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names]
    return dict(zip(names, columns, strict=True))


def _limits(registry: ProgramRegistry) -> Iterator[tuple[str, int, str, str, str]]:
    for version in registry.versions():
        program = version.program
        for name in ValueLimits.model_fields:
            limit: CustomerLimit = getattr(program.limits, name)
            for period, most in (("day", limit.per_day), ("month", limit.per_month)):
                if most is not None:
                    yield version.program_id, version.version, name, period, program.time_zone
