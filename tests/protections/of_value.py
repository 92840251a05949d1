"""What protects points that go from one account to another, and who may move them. See `table`."""

from tests.protections.protection import Edit, Protection

OF_VALUE = (
    Protection(
        "viewers of an account spend nothing",
        "only who may spend an account's points spends them",
        (
            Edit(
                "core/domain/value/situations.py",
                "    if flow is Flow.OUT and (role is Role.VIEWER or",
                "    if flow is Flow.BACK and (role is Role.VIEWER or",
            ),
        ),
        ("tests/posting/test_members.py",),
    ),
    Protection(
        "who is no member asks for nothing",
        "only who may use an account uses it",
        (Edit("core/domain/value/situations.py", "            or acting_problem(found, flow)\n", ""),),
        ("tests/posting/test_members.py",),
    ),
    Protection(
        "a conversion is done on both sides",
        "what is taken in one program is given in the other",
        (
            Edit(
                "core/domain/value/converting.py",
                "    return Decision((taken, *got.changes), answer=",
                "    return Decision((taken,), answer=",
            ),
        ),
        ("tests/posting/test_conversions.py",),
    ),
    Protection(
        "of two limits the one is told that leaves less",
        "who asks for what is said to be left gets it",
        (
            Edit(
                "core/domain/value/customer_limits.py",
                "*min(reached, key=lambda each: (each[0], -each[1].end.timestamp()))",
                "*reached[0]",
            ),
        ),
        ("tests/domain/test_customer_limit_properties.py",),
    ),
    Protection(
        "points come back to what they are by now",
        "nobody waits for points whose time has come",
        (
            Edit(
                "core/domain/value/restoring.py",
                "    return lot._replace(is_pending=False) if lot is not None and lot.is_to_release(as_of) else lot\n",
                "    return lot\n",
            ),
        ),
        ("tests/domain/test_restoring.py",),
    ),
    Protection(
        "a merge is alone in its batch",
        "what comes with a merge finds the account where it is by then",
        (
            Edit(
                "core/posting/handlers.py",
                "            on_account(decide_merge, Flow.OUT, itself=True),\n            is_alone=True,\n",
                "            on_account(decide_merge, Flow.OUT, itself=True),\n",
            ),
        ),
        ("tests/posting/test_merges.py",),
    ),
    Protection(
        "what is reserved stands in the way of a merge",
        "an authorization's points are captured, or come back, where they are reserved",
        (Edit("core/domain/value/merging.py", "    if merged.reserved:\n", "    if merged.reserved < 0:\n"),),
        ("tests/posting/test_merges.py",),
    ),
    Protection(
        "what commands have used of limits moves with a merge",
        "nobody has a limit twice by merging accounts",
        (
            Edit(
                "core/domain/value/merging.py",
                "        (*_usages(move, before, sign=sign), *_used_by_commands(move, side)),\n",
                "        tuple(_usages(move, before, sign=sign)),\n",
            ),
        ),
        ("tests/posting/test_merges.py::TestWhatIsUndone::test_what_its_commands_had_used_of_limits_is_its_own_again",),
    ),
    Protection(
        "all that a decision counts for one limit is counted",
        "of orders that a merge moves none is left behind in a limit",
        (
            Edit(
                "core/domain/books.py",
                "            after = self.usages(account, keys)\n"
                "            for key, used in zip(keys, change.usages, strict=True):\n"
                "                after[key] = after[key].plus(used)\n",
                "            before = self.usages(account, keys)\n"
                "            after = {key: before[key].plus(used)\n"
                "                     for key, used in zip(keys, change.usages, strict=True)}\n",
            ),
        ),
        ("tests/posting/test_merges.py::TestWhatComesLater",),
    ),
    Protection(
        "an order that changes hands is sealed anew",
        "what a merge or a claim writes is proven, and nothing else",
        (
            Edit(
                "core/store/proof/seals.py",
                "    run_bulk(connection, write, arrays(sealed, width + 1))\n",
                "    run_bulk(connection, write, arrays(sealed[:0], width + 1))\n",
            ),
        ),
        ("tests/store/test_sealed_merges.py",),
    ),
    Protection(
        "an order that is cancelled lets go what was authorized for it",
        "nobody's points stay reserved for what is not sold any more",
        (
            Edit(
                "core/domain/orders/repaying.py",
                "    if posted.cancelled_at is not None:\n",
                "    if posted.cancelled_at is None:\n",
            ),
        ),
        ("tests/posting/test_paid_orders.py",),
    ),
)
