"""Under the chain's key: merges and points that come back leave everything proven; what is changed of them is seen."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection
from uuid6 import uuid7

from core.posting.batch import Poster
from core.store.engine import create_database_engine
from core.store.proof.chain import walk_chains
from core.store.proof.verify import run_checks
from tests.answers import TRUSTED
from tests.conftest import OpenDatabase
from tests.factories import PROGRAM_TEXT, command, order, refund
from tests.shell import EVENT_SOURCE, Shell, tampered

KEY = b"m" * 32
LATER = "2099-01-01T00:00:00Z"
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).isoformat()
GONE, STAYS, BACK = (f"(SELECT account_id FROM accounts WHERE customer_id = '{name}')" for name in ("c1", "c2", "c3"))
OF_MERGE = f"(SELECT account_id, sequence FROM merges WHERE role = 'survivor' AND account_id = {STAYS})"
OF_UNDONE = "(account_id, sequence) IN (SELECT account_id, sequence FROM merges WHERE role IN ('restored', 'parted'))"
MERGED = f"(account_id, sequence) = {OF_MERGE}"

HASH, SEAL = "does not fit its hash", "does not fit its seal"
LIKE = "a lot that a merge moved is the one that it was"
DATES = "a lot's dates are what its order and what moved it give"
#: What a thief might write, and what names it.
TAMPERINGS = {
    "points of a merge": (f"UPDATE entries SET points = points + 1 WHERE {MERGED}", HASH),
    "whose merge it is": (f"UPDATE entries SET command_id = 'another' WHERE {MERGED}", HASH),
    "what a merge took of a lot": (f"UPDATE allocations SET points = points + 1 WHERE {MERGED}", HASH),
    "which lot a merge opened": (
        f"UPDATE allocations SET kind = 'returned' WHERE {MERGED} AND kind = 'opened'",
        HASH,
    ),
    "points that came back": ("UPDATE entries SET points = points + 1 WHERE kind = 'repayment'", HASH),
    "who has an order that was moved": (f"UPDATE orders SET account_id = {GONE} WHERE account_id = {STAYS}", SEAL),
    "which entry an order has that went back": (f"UPDATE orders SET sequence = 9 WHERE account_id = {BACK}", SEAL),
    "what paid an order": ("UPDATE orders SET points_command_id = 'another' WHERE order_id = 'paid'", SEAL),
    "the end of a lot, on both sides": (
        f"UPDATE lots SET expires_at = '2222-01-01' WHERE account_id IN ({GONE}, {STAYS}) AND expires_at IS NULL",
        DATES,
    ),
    "the end of a lot that was moved": (
        f"UPDATE lots SET expires_at = '2222-01-01' WHERE account_id = {STAYS} AND expires_at = '{LATER}'",
        LIKE,
    ),
    "what is left of a lot": (
        f"UPDATE lots SET points_remaining = points_remaining - 1 WHERE account_id = {STAYS} AND points_remaining > 0",
        "a lot holds",
    ),
    "to which lot another one was moved": (
        "UPDATE lot_moves SET points_expired = points_expired + 1, points_granted = points_granted + 1",
        LIKE,
    ),
    "that it was merged": (
        f"UPDATE accounts SET merged_into = NULL WHERE account_id = {GONE}",
        "an account is merged into the one that its last merge says, and nothing comes to it since",
    ),
    "what it was merged into": (
        f"UPDATE accounts SET merged_into = {BACK} WHERE account_id = {GONE}",
        "an account is merged into the one that its last merge says, and nothing comes to it since",
    ),
    "how many lifetime points a merge moved": (
        "UPDATE merges SET lifetime_points = 2 * lifetime_points",
        "entries are numbered without gaps and their balances chain",
    ),
    "all that is known of an undone merge": (
        f"DELETE FROM lot_moves WHERE {OF_UNDONE}; DELETE FROM merges WHERE {OF_UNDONE}",
        "what a merge takes from one account it gives to the other",
    ),
    "that an order was moved": (
        "DELETE FROM order_events WHERE kind IN ('moved_away', 'moved_in')",
        "an order's entries are its entitlement, what expired and what was not taken",
    ),
    "how much should have come back": (
        "UPDATE order_payments SET points_due = points_due + 1",
        "points that paid an order came back in the share of it that is given back",
    ),
}


@pytest.fixture(scope="module")
def sealed(open_database: OpenDatabase) -> Iterator[Shell]:
    """An account that is merged into another one; one that was, and went back; and points that paid an order."""
    with open_database() as url:
        engine = create_database_engine(url)
        shell = Shell(engine, shards=1, program_text=PROGRAM_TEXT, limits=TRUSTED)
        shell.poster = Poster(engine, event_source=EVENT_SOURCE, new_account_id=uuid7, chain_key=KEY)
        for place, customer_id in enumerate(("c1", "c2", "c3", "c4"), start=1):
            shell.take(
                order(f"o{place}", f"{place}0.00", customer_id=customer_id, time=YESTERDAY),
                command("credit", f"g{place}", customer_id=customer_id, points=50, expires_at=LATER),
            )
        shell.take(refund("r1", "o1", net="4.00"), command("debit", "d3", customer_id="c3", points=7))
        shell.take(command("account.merge", "m1", customer_id="c1", into_customer_id="c2"))
        shell.take(command("account.merge", "m2", customer_id="c3", into_customer_id="c4"))
        shell.take(refund("r2", "o1", net="2.00"), refund("r3", "o3", net="3.00"))
        shell.take(command("redeem", "p1", customer_id="c1", points=20))
        paid = {"points_paid": "5.00", "points_command_id": "p1"}
        shell.take(order("paid", "20.00", customer_id="c2", time=YESTERDAY, **paid), refund("r4", "paid", net="10.00"))
        shell.take(command("account.unmerge", "u2", customer_id="c3"))
        shell.take(refund("r5", "o3", net="1.00"), refund("r6", "paid", net="5.00"))
        yield shell
        engine.dispose()


def seen(connection: Connection) -> list[str]:
    """What is wrong by chains and seals, and which checks of `verify` say so."""
    broken = [difference.text for step in walk_chains(connection, (KEY,)) for difference in step.differences]
    return broken + [found.name for step in run_checks(connection) if step.is_done for found in step.found]


def test_merges_their_undoing_and_points_that_come_back_leave_everything_proven(sealed: Shell) -> None:
    assert sealed.value("SELECT count(*) FROM entries WHERE kind = 'merge'") == 6
    assert sealed.value("SELECT count(*) FROM entries WHERE kind = 'repayment'") == 2
    assert sealed.value("SELECT bool_and(length(seal) = 32) FROM orders")
    assert sealed.value("SELECT bool_and(length(chain_hash) = 32) FROM entries")
    with tampered(sealed) as connection:
        assert seen(connection) == []
    assert sealed.differences() == []


@pytest.mark.parametrize("what", TAMPERINGS)
def test_whatever_is_changed_of_it_is_seen(sealed: Shell, what: str) -> None:
    change, said = TAMPERINGS[what]
    with tampered(sealed, change) as connection:
        assert any(said in text for text in seen(connection)), seen(connection)
