"""Protections of orders that are edited, and of refunds that did not happen after all."""

from tests.protections.protection import Edit, Protection

_CHANGED_ORDERS = "tests/posting/test_changed_orders.py"

OF_ORDERS = (
    Protection(
        "the reach of an edited order",
        "what an edit leaves of an order is less what was refunded of it",
        (
            Edit(
                "core/domain/orders/amending.py",
                "Reach({key: raising(rules, key)})",
                "Reach({key: raising(rules, key)._replace(refunds=False)})",
            ),
        ),
        tests=(f"{_CHANGED_ORDERS}::test_an_edit_leaves_what_was_refunded_before",),
    ),
    Protection(
        "the reach of a refund that is undone",
        "a refund that is not known yet is waited for, and not taken for what is not there",
        (
            Edit(
                "core/domain/orders/reverting.py",
                "    return Reach({fact.order_key: parts}, refunds=frozenset({(fact.source, fact.refund_id)}))\n",
                "    return Reach({fact.order_key: parts})\n",
            ),
        ),
        tests=(f"{_CHANGED_ORDERS}::test_a_refund_is_undone_by_its_own_source",),
    ),
    Protection(
        "from which lots an order's clawbacks took",
        "what is given back comes to the lots that it was taken from",
        (Edit("core/domain/orders/settling.py", "._replace(takes=True)\n", "\n"),),
        tests=(f"{_CHANGED_ORDERS}::test_what_is_given_back_comes_to_the_lots_that_it_was_taken_from",),
    ),
    Protection(
        "the reach of what calls off a line below zero",
        "what was given back in exchange, and is called off, comes back in whatever batch that arrives",
        (
            Edit(
                "core/posting/loading.py",
                "    reach = with_raising(reach, rules, orders)\n",
                "",
            ),
        ),
        tests=(
            "tests/posting/test_lines_called_off.py::test_an_exchange_is_called_off_with_what_was_bought_in_it",
            "tests/posting/test_lines_called_off.py::test_a_refund_is_posted_that_shrinks_what_was_given_back",
        ),
    ),
    Protection(
        "the pieces of a line below zero that are called off",
        "of what was given back in exchange so many pieces are called off as is said",
        (
            Edit(
                "core/domain/orders/goods.py",
                "        ordered_pieces = abs(quantity)\n",
                "        ordered_pieces = quantity\n",
            ),
        ),
        tests=("tests/domain/test_exchanges.py::test_some_pieces_of_what_was_given_back_are_called_off",),
    ),
    Protection(
        "what comes for a merged account finds the survivor",
        "a command for a merged account is done in the one that survives",
        (
            Edit(
                "core/domain/names.py",
                "        while account is not None and account.merged_into is not None:\n",
                "        while False:\n",
            ),
        ),
        tests=("tests/posting/test_merges.py::TestNames::test_every_name_of_the_merged_account_leads_to_the_survivor",),
    ),
    Protection(
        "the lots that clawbacks took from are loaded",
        "what is given back comes to the lots that it was taken from",
        (
            Edit(
                "core/posting/loading.py",
                "        books.put_takes(account_id, key, takes)\n",
                "        books.put_takes(account_id, key, ())\n",
            ),
        ),
        tests=(f"{_CHANGED_ORDERS}::test_what_is_given_back_comes_to_the_lots_that_it_was_taken_from",),
    ),
)
