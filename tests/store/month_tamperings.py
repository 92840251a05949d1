"""Ways to break what was kept of months in the ledger of test_verify.py."""

SPLIT = "what was kept of a month's end is split by tier, age and end as it was then"
ACTIVITY = "what was kept of a month's activity is what the entries recorded in it come to"

TAMPERED_MONTHS = [
    (
        "what was kept of a month's end is what the entries until then come to",
        "UPDATE liability_lines SET points = points - 1 WHERE bucket = 'available' AND line_number = 1",
    ),
    (
        "what was kept of a month's end is what the entries until then come to",
        "DELETE FROM liability_lines",
    ),
    (SPLIT, "UPDATE liability_lines SET tier_id = 'gold' WHERE bucket = 'available'"),
    (SPLIT, "UPDATE liability_lines SET earned_month = earned_month - interval '1 month' WHERE bucket = 'available'"),
    (SPLIT, "UPDATE liability_lines SET last_month = last_month + interval '1 month' WHERE last_month IS NOT NULL"),
    (SPLIT, "UPDATE liability_lines SET last_month = NULL WHERE bucket = 'available'"),
    (SPLIT, "UPDATE liability_lines SET bucket = 'available' WHERE bucket = 'pending'"),
    (SPLIT, "UPDATE liability_lines SET bucket = 'pending' WHERE bucket = 'available' AND program_id = 'idle'"),
    (SPLIT, "UPDATE liability_lines SET tier_id = 'gold' WHERE bucket = 'reserved'"),
    (SPLIT, "UPDATE liability_lines SET bucket = 'deficit' WHERE bucket = 'reserved'"),
    (SPLIT, "UPDATE liability_lines SET points = points - 1 WHERE bucket = 'available' AND line_number = 1"),
    (SPLIT, "DELETE FROM liability_lines"),
    (ACTIVITY, "UPDATE activity_lines SET points = points + 1 WHERE line_number = 1"),
    (ACTIVITY, "UPDATE activity_lines SET flow = 'adjusted' WHERE flow = 'issued'"),
    (ACTIVITY, "UPDATE activity_lines SET cause_kind = 'promotion' WHERE cause_kind = 'rule'"),
    (ACTIVITY, "UPDATE activity_lines SET cause = 'visit' WHERE cause = 'spend'"),
    (ACTIVITY, "UPDATE activity_lines SET program_version = NULL"),
    (ACTIVITY, "UPDATE activity_lines SET month = '2026-02-01' WHERE month = '2026-01-01'"),
    (ACTIVITY, "DELETE FROM activity_lines WHERE flow = 'expired'"),
    (ACTIVITY, "UPDATE entries SET recorded_at = now() + interval '1 day' WHERE kind = 'accrual'"),
    (ACTIVITY, "UPDATE entries SET kind = 'credit' WHERE kind = 'accrual'"),
]
