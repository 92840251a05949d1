"""How messages are cut into batches and shards must not matter, and neither must who posts them at the same time."""

import random
import threading
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text
from uuid6 import uuid7

from core.posting.batch import BatchBounds, Poster
from core.store.engine import create_database_engine
from tests.factories import PROGRAM_TEXT, cancellation, fulfilment, line, order, refund
from tests.ledger_rows import empty_ledger, ledger_rows
from tests.shell import EVENT_SOURCE, Shell, receive_into

YEARLY = (
    PROGRAM_TEXT.replace("program_id: test", "program_id: yearly").replace('["/shops/test"]', "[/shops/yearly]")
    + "qualification: {window: calendar_year}\nexpiry: {policy: after_months, months: 3}\ndefault: true\n"
)
#: What one customer's orders leave to the next follows from their order of arrival; the promotion is never used up.
HELD = (
    PROGRAM_TEXT.replace("program_id: test", "program_id: held")
    .replace('["/shops/test"]', "[/shops/held]")
    .replace('    per_amount: "1.00"\n', '    per_amount: "1.00"\n    caps: {per_month: 700, per_day: 500}\n')
    + """availability: {policy: on_fulfilled}
qualification: {window: rolling_months, months: 2, grace_days: 10}
expiry: {policy: inactivity, months: 6}
promotions:
  - {promotion_id: more, kind: addition, points: 30, limits: {orders: 1000000, orders_per_customer: 4}}
"""
)


def random_stream(seed: int, count: int) -> list[dict[str, Any]]:
    """Orders and refunds as careless shops send them: late, early, repeated, contradicting, of guests, too large."""
    rng = random.Random(seed)  # the same stream every time
    events: list[dict[str, Any]] = []
    for n in range(count):
        which = rng.randrange(count // 2)
        source = ("/shops/test", "/shops/yearly", "/shops/held")[which % 3]
        customer_id = None if which % 11 == 0 else f"c{which % 9}"
        time = f"202{4 + which % 2}-{1 + which % 12:02}-{1 + which % 28:02}T12:00:00Z"
        lines = [line(str(i), f"{which * 7 % 400 + i}.{which % 100:02}", 1 + i) for i in range(1 + which % 3)]
        more: dict[str, Any] = {"currency": "USD"} if rng.random() < 0.02 else {}
        if which % 7 == 0:
            more["program_id"] = "yearly"
        if rng.random() < 0.5:
            if rng.random() < 0.05:
                lines[0]["amount"] = "1.00"
            more |= {"event_id": f"e{n}", "customer_id": customer_id, "time": time, "source": source}
            events.append(order(f"o{which}", lines=lines, **more))
        elif rng.random() < 0.4:
            tell = rng.choice((fulfilment, fulfilment, cancellation))
            events.append(tell(f"o{which}", event_id=f"e{n}", source=source, time=f"2026-03-0{1 + n % 9}T12:00:00Z"))
        else:
            part = rng.choice(
                [{"full": True}, {rng.choice(["net", "paid"]): f"{rng.randrange(1, 99)}.00"}, {"lines": [_part(rng)]}]
            )
            number = rng.randrange(6)
            events.append(refund(f"r{which}-{number}", f"o{which}", event_id=f"e{n}", source=source, **part))
    return events


def _part(rng: random.Random) -> dict[str, Any]:
    return {"line_id": str(rng.randrange(4)), "quantity": 1}


def _reads(engine: Engine, column: str) -> dict[str, int]:
    """How often each table was read as a whole (`seq_scan`) or by an index (`idx_scan`)."""
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT relname, {column} FROM pg_stat_user_tables")).all()
    return {
        name: times for name, times in rows if name in {"inbox", "orders", "refunds", "members", "accounts", "lots"}
    }


def test_a_batch_reads_no_table_that_grows_as_a_whole_though_none_was_ever_analyzed(own_engine: Engine) -> None:
    shell = Shell(own_engine)
    shell.apply_program(PROGRAM_TEXT)
    for half in range(2):
        orders = [order(f"o{half}-{n}", event_id=f"e{half}-{n}", customer_id=f"c{n % 150}") for n in range(300)]
        refunds = [refund(f"r{half}-{n}", f"o{half}-{n}", event_id=f"r{half}-{n}", full=True) for n in range(150)]
        with own_engine.begin() as connection:
            receive_into(connection, *orders, *refunds, shards=1)
        before, by_keys_before = (_reads(own_engine, column) for column in ("seq_scan", "idx_scan"))
        posting = create_database_engine(own_engine.url.render_as_string(hide_password=False))
        Poster(posting, event_source=EVENT_SOURCE, new_account_id=uuid7).post_batch(0, 450)
        posting.dispose()  # a session that is closed has told what it read
        read, by_keys = (_reads(own_engine, column) for column in ("seq_scan", "idx_scan"))
    assert read == before
    assert all(by_keys[name] > times for name, times in by_keys_before.items())


def test_batches_of_any_size_and_any_number_of_shards_end_alike(engine: Engine) -> None:
    events = random_stream(seed=20_26, count=500)
    shell = Shell(engine)
    shell.apply_program(YEARLY)
    shell.apply_program(HELD)
    ledgers = []
    cut_early = BatchBounds(bytes_max=2_000, waiting_messages_max=1)
    sizes = ((500, 1), (1, 1), (7, 5), (500, 16))
    for (batch_messages, shards), bounds in (*((size, BatchBounds()) for size in sizes), ((500, 2), cut_early)):
        empty_ledger(shell)
        shell.poster = Poster(engine, event_source=EVENT_SOURCE, new_account_id=uuid7, bounds=bounds)
        shell.batch_messages, shell.shards = batch_messages, shards
        for start in range(0, len(events), 100):
            shell.receive(*events[start : start + 100])
        shell.post()
        shell.sweep()
        shell.post()
        assert shell.differences() == []
        ledgers.append(ledger_rows(shell))
    empty = {name for name, rows in ledgers[0].items() if len(rows) < (1 if name == "budgets" else 5)}
    assert empty == {"reminders"}  # posting writes none
    states = {state for state, _ in shell.outcomes()}
    assert states == {"posted", "replayed", "waiting", "dead"}
    for other in ledgers[1:]:
        assert other == ledgers[0]


@pytest.mark.parametrize("are_accounts_known", [True, False], ids=["known accounts", "new accounts"])
def test_two_shards_that_meet_on_the_same_accounts_end_right(engine: Engine, are_accounts_known: bool) -> None:
    shell = Shell(engine, shards=2)
    customers = [f"c{n}" for n in range(500)]
    if are_accounts_known:
        shell.take(*(order(f"first-{customer}", "1.00", customer_id=customer) for customer in customers))
    shell.receive(*(order(f"a-{customer}", "10.00", customer_id=customer) for customer in customers))
    shell.receive(*(order(f"b-{customer}", "10.00", customer_id=customer) for customer in reversed(customers)))
    shell.execute("UPDATE inbox SET shard = (subject LIKE 'order b-%')::integer WHERE state = 'received'")
    barrier = threading.Barrier(2)
    results = []
    url = engine.url.render_as_string(hide_password=False)

    def work(shard: int) -> None:
        own = create_database_engine(url)
        poster = Poster(own, event_source=EVENT_SOURCE, new_account_id=uuid7)
        barrier.wait()
        results.append(poster.post_batch(shard, 500))
        own.dispose()

    other = threading.Thread(target=work, args=(1,))
    other.start()
    work(0)
    other.join()
    assert [(result.posted, result.parked) for result in results] == [(500, 0)] * 2
    assert shell.value("SELECT count(*) FROM accounts") == 500
    assert {row.balance for row in shell.rows("SELECT balance FROM accounts")} == {20 + are_accounts_known}
    assert shell.differences() == []


def test_two_shards_that_meet_on_the_same_orders_end_right(engine: Engine) -> None:
    shell = Shell(engine, shards=2)
    numbers = range(200)
    shell.take(*(order(f"o{n}", "100.00", customer_id=f"c{n}") for n in numbers))
    shell.receive(*(refund(f"a{n}", f"o{n}", net="30.00") for n in numbers))
    shell.receive(*(refund(f"b{n}", f"o{n}", net="20.00") for n in numbers))
    shell.execute("UPDATE inbox SET shard = (event_id LIKE 'refunded-b%')::integer WHERE state = 'received'")
    barrier = threading.Barrier(2)
    url = engine.url.render_as_string(hide_password=False)

    def work(shard: int) -> None:
        own = create_database_engine(url)
        poster = Poster(own, event_source=EVENT_SOURCE, new_account_id=uuid7)
        barrier.wait()
        poster.post_batch(shard, 500)
        own.dispose()

    other = threading.Thread(target=work, args=(1,))
    other.start()
    work(0)
    other.join()
    assert shell.outcomes() == {("posted", None): 600}
    assert {row.balance for row in shell.rows("SELECT balance FROM accounts")} == {50}
    assert shell.differences() == []


def test_messages_that_are_delivered_again_while_they_are_posted_are_posted_once(engine: Engine) -> None:
    shell = Shell(engine, shards=1, batch_messages=25)
    messages = [order(f"o{n}", "10.00", customer_id=f"c{n % 20}") for n in range(400)]
    shell.receive(*messages)
    url = engine.url.render_as_string(hide_password=False)

    def deliver_again() -> None:
        own = create_database_engine(url)
        redelivered = 0
        while redelivered < 20:
            try:
                with own.begin() as connection:
                    receive_into(connection, *reversed(messages))
                redelivered += 1
            except psycopg.errors.DeadlockDetected:
                continue  # as intake does: what was not acknowledged comes again
        own.dispose()

    intake = threading.Thread(target=deliver_again)
    intake.start()
    while shell.value("SELECT count(*) FROM inbox WHERE state = 'received'"):
        with suppress(psycopg.errors.LockNotAvailable):  # intake came first again and again: the task tries once more
            shell.post()
    intake.join()
    assert {tuple(row) for row in shell.rows("SELECT state, deliveries FROM inbox")} == {("posted", 21)}
    assert {row.balance for row in shell.rows("SELECT balance FROM accounts")} == {200}
    assert shell.differences() == []


class TestTooMuchAtOnce:
    def test_an_order_with_too_many_lines_for_its_programs_rules_is_parked_with_advice(self, engine: Engine) -> None:
        rules = "".join(f"  - {{rule_id: r{n}, kind: spend, per_amount: 1, points: 1}}\n" for n in range(100))
        doubled = "".join(
            f"  - {{promotion_id: p{n}, kind: multiplier, multiplier: 2, lines: {{skus: [s{n}]}}}}\n"
            for n in range(100)
        )
        many = PROGRAM_TEXT.split("earning_rules:")[0] + f"earning_rules:\n{rules}promotions:\n{doubled}"
        shell = Shell(engine, program_text=many + "tiers: [{tier_id: bronze, threshold_points: 0}]\n")
        lines = [line(str(n), "1.00") for n in range(1_000)]
        counts = shell.take(order("big", lines=lines), order("small", lines=lines[:900]))
        assert (counts, shell.outcomes()) == (
            {"posted": 1, "parked": 1},
            {("posted", None): 1, ("dead", "too_heavy"): 1},
        )
        assert shell.value("SELECT detail FROM inbox WHERE state = 'dead'") == (
            "data.lines has 1,000 lines, and program test looks at each of them 10,200 times: at most 980 lines are"
            " worked out at once under its 100 rules and 100 promotions; send the order in parts, each with an order_id"
            " of its own, or have fewer rules"
        )

    def test_a_batch_that_takes_too_long_is_cut_and_the_rest_comes_with_the_next(self, engine: Engine) -> None:
        shell = Shell(engine, shards=1)
        shell.receive(*(order(f"o{n}", "10.00") for n in range(5)))
        poster = Poster(
            engine, event_source=EVENT_SOURCE, new_account_id=uuid7, bounds=BatchBounds(deciding_seconds_max=0)
        )
        assert [poster.post_batch(0, 500).claimed for _ in range(6)] == [1, 1, 1, 1, 1, 0]

    def test_a_batch_reads_no_more_than_its_bound_but_always_one_message(self, engine: Engine) -> None:
        shell = Shell(engine, shards=1)
        lines = [line(str(n), "1.00", sku=f"{n * 7919 % 100_003:x}") for n in range(300)]
        shell.take(*(order(f"big{n}", lines=lines) for n in range(3)))
        # Small as it is, a refund brings its whole order along; those of one order bring it once.
        shell.receive(*(refund(f"r{n}-{m}", f"big{n}", net="1.00") for n in range(3) for m in range(4)))
        bounds = BatchBounds(bytes_max=shell.value("SELECT max(4 * pg_column_size(lines)) FROM orders") + 500)
        poster = Poster(engine, event_source=EVENT_SOURCE, new_account_id=uuid7, bounds=bounds)
        assert [poster.post_batch(0, 500).claimed for _ in range(4)] == [4, 4, 4, 0]

    def test_waiting_messages_beyond_the_bound_follow_their_order_in_batches_of_their_own(self, engine: Engine) -> None:
        shell = Shell(engine, shards=1)
        shell.take(*(refund(f"r{n}", "o1", net="1.00") for n in range(7)))
        shell.receive(order("o0", "10.00"), order("o1", "10.00"), order("o2", "10.00"))
        poster = Poster(
            engine, event_source=EVENT_SOURCE, new_account_id=uuid7, bounds=BatchBounds(waiting_messages_max=6)
        )
        assert [poster.post_batch(0, 500).posted for _ in range(4)] == [1, 1, 8, 0]
        assert shell.outcomes() == {("posted", None): 10}
