"""What earlier commands did, as books know it: also what commands of the same batch did."""

import pytest
from sqlalchemy import Engine
from uuid6 import uuid7

from core.domain.account_lots import NotLoadedError
from core.domain.books import Books
from core.domain.ledger import EntryKind
from core.domain.reach import AccountParts, LotsWanted, Reach, union
from core.posting.loading import open_books
from core.store.engine import database_now
from core.store.programs import load_registry
from tests.factories import SOURCE, command
from tests.posting.test_posted_commands import LATER, TRUSTED
from tests.shell import Shell

PARTS = AccountParts(LotsWanted.TO_TAKE, points_to_take=10, expiries=True)


def books_with(shell: Shell, reach: Reach) -> Books:
    with shell.engine.begin() as connection:
        rules = load_registry(connection)
        return open_books(connection, reach, rules, uuid7, database_now(connection), is_contended=False).books


def test_what_a_command_took_is_known_by_the_command_in_the_order_taken(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED)
    shell.take(
        command("credit", "k1", points=100),
        command("credit", "k2", points=50, expires_at=LATER),
        command("debit", "k3", points=120),
    )
    # Moved since: in spending order it would be the other way round now.
    shell.execute("UPDATE lots SET expires_at = now() + interval '1 day' WHERE lot_number = 1")
    keys = {(SOURCE, name): PARTS for name in ("k3", "k9")}
    books = books_with(shell, Reach(movements=keys))
    [movement] = books.movements((SOURCE, "k3"))
    assert (movement.kind, movement.sequence, movement.points, movement.points_corrected) == (
        EntryKind.DEBIT,
        3,
        -120,
        0,
    )
    assert [(each.lot_number, each.points) for each in movement.allocations] == [(2, -50), (1, -70)]
    account = books.account(movement.account_id)
    assert [books.lot(account, number).points_remaining for number in (1, 2)] == [30, 0]
    assert books.movements((SOURCE, "k9")) == []
    with pytest.raises(NotLoadedError):
        books.movements((SOURCE, "k1"))


def test_what_undoes_a_command_of_its_own_batch_reaches_that_ones_accounts() -> None:
    customer = ("test", "c1")
    less = AccountParts(LotsWanted.TO_TAKE, points_to_take=1)
    done = Reach(customers={customer: less}, commands=frozenset({(SOURCE, "k1")}))
    undone = Reach(movements={(SOURCE, "k1"): PARTS}, commands=frozenset({(SOURCE, "k2")}))
    assert union([undone, done]).customers == {customer: less.union(PARTS)}
