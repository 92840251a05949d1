"""Orders that are edited, and refunds that did not happen after all: posted in any order, batch and repetition."""

from itertools import permutations

import pytest
from sqlalchemy import Engine

from core.mending.dead_letters import drop_letters
from core.posting.handlers import HANDLERS
from core.store.letters_again import MENDABLE
from tests.arrivals import rounds
from tests.factories import PROGRAM_TEXT, SOURCE, amendment, cancellation, fulfilment, line, order, refund, reversion
from tests.shell import Shell

HELD = PROGRAM_TEXT + "availability: {policy: on_fulfilled}\n"
LIMITED = (
    PROGRAM_TEXT
    + """
promotions:
  - {promotion_id: tea, kind: addition, points: 30, lines: {skus: [tea]}, when: {channels: [web]},
     limits: {orders_per_customer: 1}}
"""
)


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def kinds(shell: Shell) -> list[str]:
    return [row.kind for row in shell.rows("SELECT kind FROM entries ORDER BY account_id, sequence")]


def test_the_difference_of_an_edited_order_is_posted(shell: Shell) -> None:
    assert shell.take(order("o1", "10.00"), amendment("o1", "20.00"), amendment("o1", "15.00", revision=2)) == {
        "posted": 3
    }
    assert (shell.balance(), kinds(shell), shell.differences()) == (15, ["accrual", "accrual", "clawback"], [])
    (row,) = shell.rows("SELECT amendment->>'revision' AS revision, points_entitled FROM orders")
    assert (row.revision, row.points_entitled) == ("2", 15)


def test_an_undone_refund_gives_back_what_it_took(shell: Shell) -> None:
    shell.take(order("o1"), refund("r1", lines=[{"line_id": "1", "quantity": 1}]), reversion("r1"))
    assert (shell.balance(), kinds(shell), shell.differences()) == (100, ["accrual", "clawback", "accrual"], [])


def test_an_edit_leaves_what_was_refunded_before(shell: Shell) -> None:
    for message in (
        order("o1", lines=[line("1", "60.00"), line("2", "40.00")]),
        refund("r1", lines=[{"line_id": "1", "quantity": 1}]),
        amendment("o1", lines=[line("1", "60.00"), line("2", "50.00")]),
    ):
        assert shell.take(message) == {"posted": 1}
    assert (shell.balance(), shell.differences()) == (50, [])


def test_what_is_given_back_comes_to_the_lots_that_it_was_taken_from(shell: Shell) -> None:
    for message in (order("o1"), order("o2", "30.00"), refund("r1"), reversion("r1")):
        assert shell.take(message) == {"posted": 1}
    lots = shell.rows("SELECT points_granted, points_remaining FROM lots ORDER BY lot_number")
    assert ([tuple(lot) for lot in lots], shell.differences()) == ([(100, 100), (30, 30)], [])


EDITED = (
    order("o1", lines=[line("1", "60.00"), line("2", "40.00")]),
    refund("r1", lines=[{"line_id": "1", "quantity": 1}]),
    refund("r2", lines=[{"line_id": "2", "quantity": 1}]),
    amendment("o1", lines=[line("1", "70.00"), line("2", "50.00"), line("3", "5.00")]),
    reversion("r1"),
)


@pytest.mark.parametrize("is_one_batch", [True, False])
@pytest.mark.parametrize("program_text", [PROGRAM_TEXT, HELD], ids=["at once", "held"])
def test_every_arrival_ends_alike(engine: Engine, program_text: str, is_one_batch: bool) -> None:
    shell = Shell(engine, program_text=program_text)
    arrivals = [*permutations(EDITED)][::7]
    for together in rounds(arrivals, is_one_batch=is_one_batch):
        shell.take(*together)
    while shell.sweep()["woken"]:
        shell.post()
    balances = [(row.balance, row.pending) for row in shell.rows("SELECT balance, pending FROM accounts")]
    assert balances == [(75, 0) if program_text is PROGRAM_TEXT else (0, 75)] * len(arrivals)
    assert shell.value("SELECT count(*) FROM inbox WHERE state <> 'posted'") == 0
    assert shell.differences() == []


BROUGHT_LATER = (
    order("o1", lines=[line("1", "60.00"), line("2", "40.00", 2)]),
    amendment("o1", lines=[line("1", "60.00"), line("2", "80.00", 4), line("3", "25.00", 5)], revision=2),
    refund("r1", lines=[{"line_id": "3", "quantity": 2}]),
    refund("r2", lines=[{"line_id": "2", "quantity": 3, "net": "60.00"}]),
    fulfilment("o1", fulfilment_id="p1", lines=[{"line_id": "3", "quantity": 4}]),
    cancellation("o1", cancellation_id="c1", lines=[{"line_id": "2", "quantity": 1}, {"line_id": "3", "quantity": 1}]),
)


@pytest.mark.parametrize("is_one_batch", [True, False])
@pytest.mark.parametrize("program_text", [PROGRAM_TEXT, HELD], ids=["at once", "held"])
def test_what_an_amendment_brings_may_be_given_back_called_off_or_delivered_before_it_comes(
    engine: Engine, program_text: str, is_one_batch: bool
) -> None:
    shell = Shell(engine, program_text=program_text)
    arrivals = [*permutations(BROUGHT_LATER)][::11]
    for together in rounds(arrivals, is_one_batch=is_one_batch):
        shell.take(*together)
    while shell.sweep()["woken"]:
        shell.post()
    balances = [(row.balance, row.pending) for row in shell.rows("SELECT balance, pending FROM accounts")]
    assert balances == [(70, 0) if program_text is PROGRAM_TEXT else (10, 60)] * len(arrivals)
    assert shell.value("SELECT count(*) FROM inbox WHERE state <> 'posted' OR settled IS NOT NULL") == 0
    assert shell.differences() == []


def test_which_message_took_a_parked_one_in_again_is_kept(shell: Shell) -> None:
    shell.take(order("o1"), refund("r1", lines=[{"line_id": "9", "quantity": 1}]))
    shell.take(amendment("o1", lines=[line("1"), line("8", "5.00")]))
    assert (shell.outcome("refunded-r1")[0], shell.balance()) == ("dead", 105)
    shell.take(amendment("o1", lines=[line("1"), line("9", "10.00")], revision=2))
    assert (shell.outcome("refunded-r1")[0], shell.balance(), shell.differences()) == ("posted", 100, [])
    actions = shell.rows("SELECT action, reason, detail, acted_by FROM dead_letter_actions ORDER BY action_id")
    assert [(row.action, row.reason, row.acted_by) for row in actions] == [
        ("parked", "unknown_line", None),
        ("retried", "unknown_line", None),
    ] * 2
    assert [row.detail for row in actions[1::2]] == [f"message {n} (order.amended) was posted" for n in (3, 4)]


def test_what_a_person_has_dropped_stays_dropped(shell: Shell) -> None:
    shell.take(order("o1"), refund("r1", lines=[{"line_id": "9", "quantity": 1}]))
    assert [mended.state for mended in drop_letters(shell.engine, [2], "sent twice", "kim")] == ["dropped"]
    shell.take(amendment("o1", lines=[line("1"), line("9", "10.00")]))
    assert (shell.outcome("refunded-r1")[0], shell.balance(), shell.differences()) == ("dropped", 110, [])


def test_a_revision_without_a_refunded_line_is_posted_once_the_refund_is_undone(shell: Shell) -> None:
    shell.take(order("o1", lines=[line("1", "60.00"), line("2", "40.00")]))
    shell.take(refund("r1", lines=[{"line_id": "1", "quantity": 1}]))
    shell.take(amendment("o1", lines=[line("2", "40.00"), line("3", "5.00")]))
    assert (shell.outcome("amended-o1-1"), shell.balance()) == (("dead", "refunded_line_missing"), 40)
    shell.take(reversion("r1"))
    assert (shell.outcome("amended-o1-1"), shell.balance()) == (("posted", None), 45)
    assert shell.differences() == []


def test_every_reason_that_a_message_mends_is_one_of_which_posting_keeps_what_it_read() -> None:
    assert frozenset().union(*(handler.mends for handler in HANDLERS.values())) == MENDABLE


def test_each_is_known_again(shell: Shell) -> None:
    messages = (order("o1"), refund("r1"), reversion("r1"), amendment("o1", "120.00"))
    shell.take(*messages)
    again = [message | {"id": f"{message['id']}-again"} for message in messages]
    assert shell.take(*again) == {"replayed": 4}
    assert shell.take(amendment("o1", "130.00", event_id="other")) == {"parked": 1}
    assert shell.outcome("other")[1] == "order_conflict"
    assert (shell.balance(), shell.differences()) == (120, [])


def test_a_refund_is_undone_by_its_own_source(engine: Engine) -> None:
    shell = Shell(engine, program_text=PROGRAM_TEXT.replace('["/shops/test"]', '["/shops/test", "/till"]'))
    shell.take(order("o1"), refund("r1", source="/till", order_source=SOURCE))
    assert shell.balance() == 0
    shell.take(reversion("r1", event_id="web"))
    assert shell.outcome("web")[0] == "waiting"
    shell.take(reversion("r1", source="/till", order_source=SOURCE))
    assert (shell.balance(), shell.differences()) == (100, [])


def test_a_rule_that_no_line_mattered_to_is_judged_when_the_order_is_edited(engine: Engine) -> None:
    shell = Shell(engine, program_text=LIMITED)
    tea, cup = line("1", "10.00", sku="tea"), line("2", "10.00", sku="cup")
    shell.take(
        order("o1", lines=[cup], attributes={"channel": "web"}),
        amendment("o1", lines=[cup, tea], attributes={"channel": "web"}),
    )
    assert shell.balance() == 20 + 30
    shell.take(
        order("o2", lines=[cup], attributes={"channel": "web"}),
        amendment("o2", lines=[cup, tea], attributes={"channel": "web"}),
    )
    assert (shell.balance(), shell.differences()) == (50 + 20, [])


def test_a_guests_order_is_edited_without_points(shell: Shell) -> None:
    shell.take(order("o1", customer_id=None), amendment("o1", "20.00", customer_id=None), refund("r1"), reversion("r1"))
    assert (shell.value("SELECT count(*) FROM entries"), shell.differences()) == (0, [])


def test_what_comes_back_to_a_held_order_is_held(engine: Engine) -> None:
    shell = Shell(engine, program_text=HELD)
    shell.take(order("o1"), refund("r1"), reversion("r1"), amendment("o1", "130.00"))
    (row,) = shell.rows("SELECT balance, pending FROM accounts")
    assert (row.balance, row.pending) == (0, 130)
    shell.take(fulfilment("o1"))
    (row,) = shell.rows("SELECT balance, pending FROM accounts")
    assert (row.balance, row.pending, shell.differences()) == (130, 0, [])
