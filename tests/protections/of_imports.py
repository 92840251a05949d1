"""The protections of imports: how they are taken out, and what must then go red."""

from tests.protections.protection import Edit, Protection

_RUN = "core/importing/run.py"
_ROWS = "core/importing/account_rows.py"
_TESTS = "tests/workers/cli/test_import_accounts.py::"
_ONCE = "an import gives no points twice"

OF_IMPORTS = (
    Protection(
        "the import's name in its commands",
        _ONCE,
        (Edit(_ROWS, 'return f"import {self._name}{earned}"', 'return f"import{earned}"'),),
        (f"{_TESTS}test_the_same_file_under_another_name_gives_no_points_again",),
    ),
    Protection(
        "the day of a lot in its command",
        "what an import contradicts is told",
        (Edit(_ROWS, 'f", earned at {earned_at.isoformat()}"', '""'),),
        (f"{_TESTS}test_other_points_under_the_same_import_are_a_contradiction_and_no_second_credit",),
    ),
    Protection(
        "a look for rows that stood above",
        "no row of a file is passed over in silence",
        (Edit(_RUN, "not seen.add(plan.key)", "plan.key in {None}"),),
        (f"{_TESTS}test_lines_of_one_account_that_stand_apart_are_bad",),
    ),
    Protection(
        "rows decided before any of them is stored",
        "an account is imported as a whole, or not at all",
        (Edit(_RUN, "            if problem is None:\n", "            if problem is None or new:\n"),),
        (f"{_TESTS}test_of_an_account_with_one_bad_line_nothing_is_imported",),
    ),
)
