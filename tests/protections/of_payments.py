"""What protects points that paid orders: they come back by themselves, as many as should, and never twice."""

from tests.protections.protection import Edit, Protection

_REPAYMENTS = "core/domain/value/repayments.py"
_PAID = "tests/posting/test_paid_orders.py"

OF_PAYMENTS = (
    Protection(
        "what has come back of points that paid an order is set off",
        "many refunds give back what one would",
        (Edit(_REPAYMENTS, "        more = due - payment.points_due\n", "        more = due\n"),),
        (f"{_PAID}::TestARefund", "tests/domain/test_repayments.py"),
    ),
    Protection(
        "an order that is paid by something unknown waits for who takes points",
        "what is taken for an order that is given back meanwhile comes back",
        (
            Edit(
                "core/store/order_payments.py",
                "        lock(connection, LockClass.PAYMENTS)\n",
                "        share_lock(connection, LockClass.PAYMENTS)\n",
            ),
        ),
        ("tests/store/test_order_payments.py",),
    ),
    Protection(
        "one authorization or redemption pays one order",
        "points come back for one order, not for each that says it was paid by them",
        (
            Edit(
                "core/domain/orders/repaying.py",
                "    if payment.order is not None and payment.order != order:\n",
                "    if payment.order is None and payment.order != order:\n",
            ),
        ),
        (f"{_PAID}::TestARedemption::test_pays_one_order",),
    ),
    Protection(
        "what has come back with refunds is not reversed again",
        "no more points come back than were taken",
        (
            Edit(
                "core/domain/value/reversing.py",
                "    points_back = 0 if payment is None else payment.points_back\n",
                "    points_back = 0\n",
            ),
        ),
        (f"{_PAID}::TestARedemption",),
    ),
)
