"""Program versions judge the orders of their time, and change only before that."""

from core.store.programs import VERSIONS
from core.store.proof.invariants.check import Check

PROGRAM_VERSIONS = (
    Check(
        4,
        "an order was judged by a version of its time",
        f"""
        SELECT o.account_id, format('order %s of %s at %s: judged by version %s of %s, which is %s', o.order_id,
                                    o.source, o.occurred_at, o.program_version, o.program_id,
                                    coalesce('from ' || v.effective_from, 'not there'))
        FROM orders o LEFT JOIN ({VERSIONS}) AS v
             ON v.program_id = o.program_id AND v.version = o.program_version
        WHERE o.account_id IS NOT NULL AND (v.version IS NULL OR o.occurred_at < v.effective_from)
        """,  # noqa: S608  # our own words
        is_of_facts=True,
    ),
    Check(
        9,
        "versions keep their order, and change only before they are in force",
        f"""
        SELECT NULL::uuid, format('version %s of program %s: from %s, but version %s is from %s', version, program_id,
                                  effective_from, version_before, before)
        FROM (SELECT *, lag(version) OVER w AS version_before, lag(effective_from) OVER w AS before
              FROM ({VERSIONS}) AS v WHERE NOT is_withdrawn WINDOW w AS (PARTITION BY program_id ORDER BY version)) AS v
        WHERE effective_from < before OR (version_before IS NULL AND effective_from <> '-infinity')
        UNION ALL
        SELECT NULL, format('change %s of version %s of program %s at %s: the version was %s', change_number, version,
                            program_id, changed_at, coalesce('in force from ' || before, 'withdrawn before'))
        FROM (SELECT c.*, CASE change_number WHEN 1 THEN p.effective_from
                          ELSE lag(c.effective_from) OVER (PARTITION BY program_id, version ORDER BY change_number)
                          END AS before
              FROM program_changes c JOIN programs p USING (program_id, version)) AS c
        WHERE before IS NULL OR before <= changed_at
        """,  # noqa: S608  # our own words
        is_global=True,
    ),
)
