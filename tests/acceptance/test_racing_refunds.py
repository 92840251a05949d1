"""Orders, their refunds and what paid them race through the real processes: as many points come back as should."""

from random import Random

import pytest

from tests.acceptance.whole_worker import WholeWorker
from tests.factories import as_bytes, command, order, refund

pytestmark = pytest.mark.slow

ORDERS = 150


def test_points_that_paid_orders_come_back_whatever_comes_first(commanded: WholeWorker) -> None:
    worker = commanded
    payers = [f"payer-{number % 5}" for number in range(ORDERS)]
    granted = [command("credit", f"repay-{name}", customer_id=name, points=10_000) for name in sorted(set(payers))]
    before, _ = worker.inbox()
    worker.publish(*map(as_bytes, granted))
    worker.wait_through(before + len(granted))
    racing = []
    for number, payer in enumerate(payers):
        order_id, paid = f"repaid-{number}", {"points_paid": "40.00", "points_command_id": f"pays-{number}"}
        racing.append(command("redeem", f"pays-{number}", customer_id=payer, points=40))
        racing.append(order(order_id, "100.00", customer_id=f"buyer-{number % 40}", **paid))
        racing += [refund(f"{order_id}-{part}", order_id, paid="18.00") for part in range(number % 3)]
    Random(7).shuffle(racing)
    worker.publish(*map(as_bytes, racing))
    worker.wait_through(before + len(granted) + len(racing))
    due = {name: sum(40 - 12 * (number % 3) for number, payer in enumerate(payers) if payer == name) for name in payers}
    assert {name: worker.balance(name) for name in due} == {name: 10_000 - points for name, points in due.items()}
    assert worker.differences() == []
