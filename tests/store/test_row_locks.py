"""How rows are locked that several workers may want at the same time."""

from sqlalchemy import Engine, text

from core.store.inbox import claim_waiting
from core.store.ledger import lock_accounts
from tests.factories import SOURCE, order, refund
from tests.shell import Shell


def test_accounts_are_locked_in_the_order_of_their_ids_however_the_database_finds_them(engine: Engine) -> None:
    shell = Shell(engine)
    shell.take(*(order(f"o{n}", customer_id=f"c{n}") for n in range(12)))
    # Rewritten rows lie at the end of the table, and without an index only an ORDER BY brings them in order.
    shell.execute("UPDATE accounts SET updated_at = now() WHERE right(customer_id, 1)::integer % 3 = 1")
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_indexscan = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        ids = [row.account_id for row in shell.rows("SELECT account_id FROM accounts")]
        locked = list(lock_accounts(connection, ids))
    assert len(locked) == 12
    assert locked == sorted(locked)


def test_a_waiting_refund_that_posting_holds_is_left_to_it_by_the_sweep_and_by_others(engine: Engine) -> None:
    shell = Shell(engine)
    shell.take(order())
    shell.receive(refund())
    shell.execute("UPDATE inbox SET state = 'waiting', shard = NULL WHERE event_id = 'refunded-r1'")
    subjects = [(SOURCE, "order o1")]
    with engine.begin() as posting, engine.begin() as other:
        assert [message.event_id for message in claim_waiting(posting, subjects, 10)] == ["refunded-r1"]
        assert claim_waiting(other, subjects, 10) == []
        assert shell.sweep()["woken"] == 0
    assert shell.sweep()["woken"] == 1
