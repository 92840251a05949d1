"""Whoever posts an order that is paid by something unknown, and whoever takes points, come one after the other."""

import psycopg
import pytest
from sqlalchemy import Connection, Engine

from core.domain.value.payments import PaymentKey, PaymentKind
from core.store.engine import run_bulk
from core.store.order_payments import hold_payments

UNKNOWN = [
    PaymentKey(PaymentKind.AUTHORIZATION, "", "a1"),
    PaymentKey(PaymentKind.COMMAND, "/shops/test", "p1"),
]


def in_a_hurry(connection: Connection) -> None:
    run_bulk(connection, "SET LOCAL lock_timeout = '50ms'")


def test_who_takes_points_waits_for_nobody_else_who_does(engine: Engine) -> None:
    with engine.begin() as one, engine.begin() as other:
        hold_payments(one, [])
        in_a_hurry(other)
        hold_payments(other, [])


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_an_order_that_is_paid_by_something_unknown_waits_for_them(engine: Engine, unknown: PaymentKey) -> None:
    with engine.begin() as taking, engine.connect() as ordering:
        hold_payments(taking, [])
        in_a_hurry(ordering)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            hold_payments(ordering, [unknown])


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_and_they_for_it(engine: Engine, unknown: PaymentKey) -> None:
    with engine.begin() as ordering, engine.connect() as taking:
        hold_payments(ordering, [unknown])
        in_a_hurry(taking)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            hold_payments(taking, [])
