"""An unknown type is compared with ours by what it means: a wrong answer is worse than none."""

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.outcomes import Reason
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.unknown_types import meant_type
from tests.messages.inbound_samples import ORDER, changed, refused

ALL = (
    "order.completed", "order.refunded", "order.fulfilled", "order.cancelled",
    "order.amended", "order.refund_reverted", "order.returned", "order.claimed",
)  # fmt: skip
TAKING = {"order.refunded", "order.cancelled", "order.returned"}
GIVING = {"order.completed", "order.fulfilled", "order.refund_reverted"}
UNDOING = (
    "failed", "reverted", "reversed", "rejected", "declined", "undone", "withdrawn", "bounced",
    "not", "un", "requested", "pending", "denied", "refused",
)  # fmt: skip


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [
        ("order.complete", "order.completed"),
        ("order.paid", "order.completed"),
        ("Order.Completed", "order.completed"),
        ("orderCompleted", "order.completed"),
        ("orders/completed", "order.completed"),
        ("order.completed.v2", "order.completed"),
        ("oder.completed", "order.completed"),
        ("order.refund", "order.refunded"),
        ("order.refundd", "order.refunded"),
        ("order.partially_refunded", "order.refunded"),
        ("refund.created", "order.refunded"),
        ("order.refund_cancelled", "order.refund_reverted"),
        ("order.refund_canceled", "order.refund_reverted"),
        ("order.refund_failed", "order.refund_reverted"),
        ("order.refund_reversed", "order.refund_reverted"),
        ("refund.rejected", "order.refund_reverted"),
        ("order.canceled", "order.cancelled"),
        ("order.voided", "order.cancelled"),
        ("order.partially_cancelled", "order.cancelled"),
        ("order.shipped", "order.fulfilled"),
        ("order.partially_fulfilled", "order.fulfilled"),
        ("order.fulfillment", "order.fulfilled"),
        ("order.fulfiled", "order.fulfilled"),
        ("order.updated", "order.amended"),
        ("order.edited", "order.amended"),
        ("order.return", "order.returned"),
        ("order.claim", "order.claimed"),
        ("com.shop.order.completed", "order.completed"),
        ("com.shop.order.refund_failed", "order.refund_reverted"),
        ("de.my-shop.tills.order.paid.v1", "order.completed"),
    ],
)
def test_a_type_of_the_same_meaning_is_named(unknown: str, meant: str) -> None:
    assert meant_type(unknown, ALL) == meant
    assert meant_type(unknown, [known for known in ALL if known != meant]) is None  # what is not taken is not named


@pytest.mark.parametrize(
    "unknown",
    [
        "order.created", "order.placed", "order.failed", "order.payment_failed", "order.refund_requested",
        "order.refund_pending", "order.refund_updated", "order.return_requested", "order.return_cancelled",
        "order.cancellation_reverted", "order.uncancelled", "order.cancel_requested", "order.unfulfilled",
        "order.incomplete", "order.not_completed", "order.charged", "order.refused",
        "order.reopened", "order.status_changed", "cart.completed", "customer.claimed", "loyalty.command.credit",
        "order", "order.", "x" * 200, "no.order.completed", "com.order.completed", "not.yet.order.completed",
        "com.refund.order.completed", "com.shop.order.failed", "com.shop.completed", "com.shop.not.yet.order.completed",
    ],
)  # fmt: skip
def test_where_the_meaning_is_another_or_not_sure_nothing_is_named(unknown: str) -> None:
    assert meant_type(unknown, ALL) is None


def test_a_type_of_somebody_else_is_found_by_its_words_alone() -> None:
    assert meant_type("cardSwiped", ["card.swiped", "order.completed"]) == "card.swiped"
    assert meant_type("card.wiped", ["card.swiped", "order.completed"]) is None


def test_no_combination_of_a_known_word_with_one_that_undoes_it_is_taken_for_the_thing_itself() -> None:
    nouns = (
        "refund",
        "refunded",
        "return",
        "returned",
        "cancel",
        "cancelled",
        "cancellation",
        "completed",
        "fulfilled",
    )
    for words in [
        *permutations(("refund", "cancelled")),
        *((n, u) for n in nouns for u in UNDOING),
        *((u, n) for n in nouns for u in UNDOING),
    ]:
        for separator in "._":
            meant = meant_type("order." + separator.join(words), ALL)
            assert meant in {None, "order.refund_reverted"}
            assert (meant is None) or any(word.startswith("refund") for word in words)


@given(
    st.lists(
        st.sampled_from([*UNDOING, "refund", "refunded", "return", "cancelled", "completed", "fulfilled", "updated"]),
        max_size=4,
    )
)
def test_what_takes_points_is_never_named_for_what_gives_them(words: list[str]) -> None:
    meant = meant_type(".".join(["order", *words]), ALL)
    undone = bool(set(words) & set(UNDOING))
    takes = bool({"refund", "refunded", "return", "cancelled"} & set(words))
    if meant in TAKING:
        assert takes
        assert not undone
    if meant in GIVING:
        assert not takes or undone or {"refund", "cancelled"} <= set(words) or {"refunded", "cancelled"} <= set(words)


def test_no_two_meanings_share_a_word_of_another_type() -> None:
    for one, other in combinations(ALL, 2):
        assert meant_type(one, [other]) is None


def test_the_reader_of_a_dead_letter_gets_the_type_or_all_that_are_known() -> None:
    facts = ", ".join(name for name in INBOUND if name.startswith("order."))
    commands = ", ".join(name for name in INBOUND if name.startswith("loyalty.command."))
    for unknown, words in [
        ("order.canceled", "did you mean order.cancelled?"),
        ("order.refund_requested", f"known are {facts}, and commands, which begin with loyalty.command."),
        ("loyalty.command.regift", f"known commands are {commands}"),
    ]:
        result = refused(changed(ORDER, "type", unknown))
        assert result.reason is Reason.UNKNOWN_TYPE
        assert result.detail == f'type is the string "{unknown}", which this release does not know; {words}'
