"""The protections of months that finance has closed: how they are taken out, and what must then go red."""

from tests.protections.protection import Edit, Protection

_LIABILITY = "core/store/liability.py"
_PROMISE = "what was told of a month never moves; what comes late is a correction of the open month"
_KEPT = "tests/tasks/test_kept_months.py::"
_ACTIVITY = "core/store/activity.py"
_SAME = "tests/reading/test_kept_activity.py::test_kept_months_are_what_is_counted_by_hand"
_GROUPED = ">= %(as_of)s GROUP BY n.account_id, n.lot_number) AS u\n"

OF_MONTHS = (
    Protection(
        "a month is kept once",
        _PROMISE,
        (
            Edit(
                _LIABILITY,
                "\nON CONFLICT DO NOTHING RETURNING 1\n",
                "\nON CONFLICT (program_id, month) DO UPDATE SET points_expired = 999 RETURNING 1\n",
            ),
        ),
        (f"{_KEPT}test_a_month_that_was_kept_is_kept_by_nobody_else",),
    ),
    Protection(
        "points belong to the month in which they were recorded",
        _PROMISE,
        (Edit(_LIABILITY, f"WHERE e.recorded_at {_GROUPED}", f"WHERE e.occurred_at {_GROUPED}"),),
        (f"{_KEPT}test_a_late_run_keeps_what_a_run_in_time_would_have",),
    ),
    Protection(
        "a month is kept when what began in it has ended",
        _PROMISE,
        (Edit("core/upkeep/snapshots.py", "SETTLED = timedelta(minutes=10)\n", "SETTLED = timedelta(0)\n"),),
        (f"{_KEPT}test_a_month_is_not_kept_before_what_began_in_it_has_ended",),
    ),
    Protection(
        "workers may not change a month that was kept",
        _PROMISE,
        (
            Edit(
                "core/store/grants.py",
                '"liability_lines": _APPEND,',
                '"liability_lines": Allowed(inserts=True, updates=("points",)),',
            ),
        ),
        ("tests/store/test_grants.py::test_the_workers_role_may_update_just_the_columns_that_some_statement_sets",),
    ),
    Protection(
        "workers may not change what became of points in a month that was kept",
        _PROMISE,
        (
            Edit(
                "core/store/grants.py",
                '"activity_lines": _APPEND,',
                '"activity_lines": Allowed(inserts=True, updates=("points",)),',
            ),
        ),
        ("tests/store/test_grants.py::test_the_workers_role_may_update_just_the_columns_that_some_statement_sets",),
    ),
    Protection(
        "every day of a month is of its activity",
        _PROMISE,
        (Edit(_ACTIVITY, "    while starts_at < month.ends_at:\n", "    if starts_at < month.ends_at:\n"),),
        (_SAME,),
    ),
    Protection(
        "verify asks for the activity of a month that was kept",
        _PROMISE,
        (Edit("core/store/proof/kept_activity.py", "if told[line] != there[line]:", "if not told[line]:"),),
        ("tests/store/test_verify.py::test_a_check_finds_what_it_is_there_for",),
    ),
    Protection(
        "verify asks for the split of a month that was kept",
        _PROMISE,
        (Edit("core/store/proof/kept_months.py", "(key for key, points in wrong.items() if points)", "()"),),
        ("tests/store/test_verify.py::test_a_check_finds_what_it_is_there_for",),
    ),
)
