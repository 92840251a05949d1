"""Erasing a customer while their messages come and are posted, on a real database: nobody is left behind."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
from sqlalchemy import Engine
from uuid6 import uuid7

from core.posting.batch import Poster
from core.receiving.executing import CommandAccepted, CommandRequest, Executor
from core.store.engine import create_database_engine
from core.store.erasures import ErasedMeanwhileError
from tests.answers import TRUSTED
from tests.factories import command, order, refund
from tests.posting.erased_history import CARD, KEY, KIM, WORDS, marked, marks_left, problems, shell_with_key, take
from tests.shell import EVENT_SOURCE, LIMITS, SALT, Shell


def test_what_comes_and_is_posted_beside_an_erasure_leaves_nobody_behind(engine: Engine) -> None:
    """Orders and commands of the customer, by id and by card, on several workers, while they are erased."""
    shell = shell_with_key(engine)
    shell.take(order("first", customer_id=KIM))
    take(shell, [command("account.link", "l1", customer_id=KIM, card=CARD)])
    url = engine.url.render_as_string(hide_password=False)
    is_over = threading.Event()

    def worker(number: int) -> None:
        own = shell_on(create_database_engine(url))
        place = 0
        while not is_over.is_set() or place < 3:
            place += 1
            name = f"{number}-{place}"
            receive_again_if_erased_meanwhile(
                own,
                marked(order(f"a{name}", customer_id=KIM)),
                marked(order(f"b{name}", customer_id=None, card=CARD)),
                marked(refund(f"r{name}", f"a{name}", net="1.00")),
                command("credit", f"c{name}", customer_id=KIM, points=1, reason=WORDS),
            )
            with suppress(psycopg.errors.LockNotAvailable):
                own.post()
        own.engine.dispose()

    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(worker, number) for number in range(3)]
        executor = Executor(engine, event_source=EVENT_SOURCE, shards=4, limits=LIMITS, new_id=uuid7, chain_key=KEY)
        done = executor.execute(CommandRequest("customer.erase", {"customer_id": KIM}), timeout_seconds=60)
        is_over.set()
        for each in workers:
            each.result()
    assert isinstance(done, CommandAccepted)
    while shell.value("SELECT count(*) FROM inbox WHERE state = 'received'"):
        with suppress(psycopg.errors.LockNotAvailable):
            shell.post()
    # What names the card alone, and came after it, may be a new customer's.
    assert set(marks_left(shell, (KIM, "vip-kim"))) == set()
    assert shell.value("SELECT count(*) FROM accounts") == 1
    assert problems(shell) == []


def receive_again_if_erased_meanwhile(shell: Shell, *messages: object) -> None:
    try:
        shell.receive(*messages)
    except ErasedMeanwhileError:
        shell.receive(*messages)


def shell_on(engine: Engine) -> Shell:
    shell = Shell(engine, shards=4, program_text=None, limits=TRUSTED)
    shell.poster = Poster(
        engine, event_source=EVENT_SOURCE, new_account_id=uuid7, chain_key=KEY, reference_salt=SALT.encode()
    )
    return shell
