"""The protections of proof and reports: how they are taken out, and what must then go red."""

from tests.protections.protection import Edit, Protection

_PROCESSES = "core/store/proof/processes.py"
_VERIFY_TESTS = "tests/store/test_verify.py"

OF_PROOF = (
    Protection(
        "one snapshot for all processes of verify",
        "verify takes nothing for wrong that is posted beside it",
        (
            Edit(
                _PROCESSES,
                "    run_bulk(connection, f\"SET TRANSACTION SNAPSHOT '{snapshot}'\")"
                "  # takes no parameters; the server made the name\n",
                "",
            ),
        ),
        (f"{_VERIFY_TESTS}::test_several_processes_see_the_ledger_of_one_moment",),
    ),
    Protection(
        "a killed process of verify is an error",
        "verify says that the books are right only when it has looked at all of them",
        (Edit(_PROCESSES, "        raise VerifyStoppedError from error\n", "        return\n"),),
        (f"{_VERIFY_TESTS}::test_what_a_killed_process_was_to_look_at_is_not_taken_for_right",),
    ),
    Protection(
        "only orders to which nothing has happened are told by one entry",
        "what a promotion gave and cost is what its orders' entries come to",
        (Edit("core/reading/finance/promotion.py", 'v.kind <> \'fulfilled\')\n"""', 'v.kind = \'claimed\')\n"""'),),
        ("tests/reading/test_year_by_hand.py::test_each_promotion_had_the_orders_that_are_counted_by_hand",),
    ),
)
