"""Reaches: each asks for all that its decider asks the books for, also for messages that are decided after others."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.decision import Decision
from core.domain.orders.facts import Order, OrderClaim, Refund, RefundReversion, Return
from core.domain.outcomes import Waiting
from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from core.domain.reach import AccountParts, LotsWanted, OrderParts, Reach, TierInstant, union
from core.domain.subjects import order_subject
from core.posting.handlers import HANDLERS, Outcome
from core.posting.sequence import ReadMessage, decided, in_order
from core.store.inbox import ClaimedMessage
from tests.domain.book import DECIDERS, Book, ShopFact, message_of, whole_books
from tests.domain.loading import load
from tests.domain.stories import START, some_amendment, some_order, some_refund
from tests.domain.valid_programs import Versions, various_versions
from tests.facts import SOURCE, Parts, cancellation, fulfilment, instant, program_with, spend_rule

PROGRAM = program_with()
MARCH = instant("2026-03-01")
KEY = (SOURCE, "o1")
NOBODY = UUID(int=0)  #: an account that a decider thinks of and does not open
WAITING = Waiting("")
#: The rows of the map by the facts that their deciders are for.
HANDLER_OF = {
    fact: next(row for row in HANDLERS.values() if (row.reach, row.decide) == deciders)
    for fact, deciders in DECIDERS.items()
}


def test_a_union_asks_for_what_any_of_its_reaches_asks_for() -> None:
    made, refunded = TierInstant(START, KEY, is_new=True), TierInstant(MARCH, KEY, is_new=False)
    lots = AccountParts(LotsWanted.IF_OWING, (made,))
    history = AccountParts(LotsWanted.TO_TAKE, (refunded,), ((PROGRAM, MARCH),), expiries=True)
    other, customer = (SOURCE, "o2"), ("test", "c1")
    assert union([]) == Reach()
    assert union(
        [
            Reach({KEY: OrderParts(account=lots)}, customers={customer: lots}, owners={KEY: (customer,)}),
            Reach({KEY: OrderParts(refunds=True, limits=True)}, frozenset({(SOURCE, "r1")})),
            Reach({KEY: OrderParts(events=True, account=history), other: OrderParts()}, frozenset({(SOURCE, "r2")})),
            Reach(customers={customer: history}, owners={KEY: (("other", "c1"),)}),
        ]
    ) == Reach(
        {
            KEY: OrderParts(refunds=True, events=True, account=_together(made, refunded, 0, 2), limits=True),
            other: OrderParts(),
        },
        frozenset({(SOURCE, "r1"), (SOURCE, "r2")}),
        {customer: _together(made, refunded, 0, 3)},
        {KEY: (customer, ("other", "c1"))},
    )


def _together(made: TierInstant, refunded: TierInstant, *places: int) -> AccountParts:
    """Both instants, each with the place of its message in the batch."""
    instants = tuple(each._replace(place=place) for each, place in zip((made, refunded), places, strict=True))
    return AccountParts(LotsWanted.TO_TAKE, instants, ((PROGRAM, MARCH),), expiries=True)


VERSIONS = various_versions(300, seed=23)
OTHER = program_with(program_id="other", sources=[], currency="EUR")
CUSTOMERS = ("c1", "c1", "c2", None)
TELLING = (*["order"] * 5, *["ahead"] * 2, *["refund"] * 4, *["amend", "amend", "revert", "return", "claim", "claim"])
KINDS = (*TELLING, *["fulfil", "cancel", "again", "post", "post", "pass", "spend", "jobs"])
steps = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 10_000), st.integers(0, 200)), min_size=3, max_size=18
)


def _some_of(sold: Order, number: int) -> Parts | None:
    """All of an order, or a piece of one of its lines."""
    return {sold.lines[number % len(sold.lines)].line_id: 1 if number % 7 else None} if number % 3 else None


class BatchPosting:
    """Posts batches of messages on whole books and on books that hold what the reaches of each batch ask for."""

    def __init__(self, versions: Versions) -> None:
        self.whole = whole_books()
        self.now = START
        in_force = enumerate([(BEGINNING, versions.first), (START + timedelta(days=60), versions.second)], start=1)
        registered = [ProgramVersion("test", number, since, program) for number, (since, program) in in_force]
        self.rules = ProgramRegistry([*registered, ProgramVersion("other", 1, BEGINNING, OTHER)], 0)
        self.batch: list[ReadMessage] = []
        self.waiting: list[ReadMessage] = []
        self.sent: list[ShopFact] = []
        self._send(some_order("o0", 1001, START), 3)
        self._post()

    def run(self, story: Iterable[tuple[str, int, int]]) -> None:
        for kind, number, days in story:
            self._step(kind, number, days)
        self._post()

    def _step(self, kind: str, number: int, days: int) -> None:
        sold = [fact for fact in self.sent if isinstance(fact, Order)]
        one = sold[-1] if days % 2 else sold[days % len(sold)]
        match kind:
            case "order" | "ahead":
                self._sell(kind, one.order_id if number % 5 == 0 else f"o{len(self.sent)}", number, days)
            case "refund":
                at = self._at_or_before_now(number, days)
                self._send(some_refund(one, f"r{len(self.sent)}", number, at), days)
            case "fulfil":
                lines = _some_of(one, number)
                self._send(fulfilment(one.order_id, self.now - timedelta(days=days % 3), lines=lines), number)
            case "cancel":
                at = self._at_or_before_now(number, days)
                self._send(cancellation(one.order_id, at, lines=_some_of(one, number)), number)
            case "amend":
                amended = some_amendment(one, set(), 1 + days % 4, number, self.now)
                self._send(amended, days)
            case "revert":
                refunds = [fact for fact in self.sent if isinstance(fact, Refund)]
                if refunds:
                    undone = refunds[number % len(refunds)]
                    self._send(RefundReversion(undone.source, undone.refund_id, undone.order_id, self.now), days)
            case "return":
                goods = some_order("", number, self.now)
                back = goods.currency, goods.occurred_at, goods.lines, goods.rate
                self._send(Return(SOURCE, f"b{len(self.sent)}", CUSTOMERS[days % 3] or "c1", *back), days)
            case "claim":
                whose = CUSTOMERS[number % 3] or "c1", CUSTOMERS[days % 4]
                self._send(OrderClaim(SOURCE, one.order_id, *whose, self.now), days)
            case "again":
                self._send(self.sent[number % len(self.sent)], number)
            case "post" | "pass":
                self._post()
                self.now += timedelta(days=days if kind == "pass" else 0, hours=1)
            case _:
                self._post()
                self._run_jobs(kind, number)

    def _sell(self, kind: str, order_id: str, number: int, days: int) -> None:
        late = timedelta(days=days % 90 if days % 3 == 0 else 0, hours=days % 7 - 1)
        sold = some_order(order_id, number, self.now - late)._replace(customer_id=CUSTOMERS[number % 4])
        if kind == "ahead":  # its refund comes before it, perhaps in an earlier batch
            self._send(some_refund(sold, f"r{len(self.sent)}", number, self.now), 3)
            if days % 2:
                self._post()
        self._send(sold, days)

    def _at_or_before_now(self, number: int, days: int) -> datetime:
        return self.now - timedelta(days=days % 60 if number % 3 == 0 else 0)

    def _send(self, fact: ShopFact, number: int) -> None:
        program_id = ("other", "test", "nowhere", *[None] * 5)[number % 8]
        self.sent.append(fact)
        subject = f"return {fact.return_id}" if isinstance(fact, Return) else order_subject(fact.order_id)
        claimed = ClaimedMessage(len(self.sent), SOURCE, "", "", subject, fact.occurred_at, "", MARCH)
        self.batch.append(ReadMessage(claimed, HANDLER_OF[type(fact)], message_of(fact, program_id), {}))

    def _run_jobs(self, kind: str, number: int) -> None:
        known = [customer_id for customer_id in ("c1", "c2") if self.whole.account_of("test", customer_id)]
        for customer_id in known:
            book = Book(self.rules.at("test", self.now).program, customer_id=customer_id, books=self.whole)
            if kind == "spend":
                book.spend(number % 200, self.now)
            else:
                book.release(self.now)
                book.expire(self.now)
                book.review(self.now)

    def _post(self) -> None:
        """Decide the batch on both books, and what waited for its orders right behind these."""
        read, held, self.batch = self.batch, self.waiting, []
        subjects = {each.subject for each in read if each.handler.contract.is_subject}
        waiting = [each for each in held if each.subject in subjects]
        reach = union(each.handler.reach(each.message, self.rules, self.now) for each in decided(read, waiting))
        opened: list[UUID] = []
        loaded = load(self.whole, reach, self.rules, self.now, lambda: opened[-1] if opened else NOBODY)

        def post(each: ReadMessage) -> Outcome:
            on_whole = each.handler.decide(self.whole, each.message, self.rules, self.now)
            opened[:] = [change.account.account_id for change in getattr(on_whole, "changes", ()) if change.opened]
            assert each.handler.decide(loaded, each.message, self.rules, self.now) == on_whole
            if isinstance(on_whole, Decision):
                self.whole.apply(on_whole)
                loaded.apply(on_whole)
            return on_whole

        outcomes = dict(in_order(read, waiting, post, lambda: False))
        self.waiting = [each for each in (*held, *read) if isinstance(outcomes.get(each.claimed, WAITING), Waiting)]


@given(st.sampled_from(VERSIONS), steps)
def test_deciders_ask_for_nothing_beyond_their_reach_and_decide_as_on_whole_books(
    versions: Versions, story: list[tuple[str, int, int]]
) -> None:
    BatchPosting(versions).run(story)


AFTER_14_DAYS: dict[str, Any] = {"availability": {"policy": "after_days", "days": 14}}
INACTIVITY: dict[str, Any] = {"expiry": {"policy": "inactivity", "days": 400}}
BY_MONTHS: dict[str, Any] = {"expiry": {"policy": "after_months", "months": 6}}
BUDGET: dict[str, Any] = {
    "promotions": [{"promotion_id": "bonus", "kind": "addition", "points": 30, "limits": {"budget_points": 40}}]
}
BY_YEAR: dict[str, Any] = {
    "qualification": {"window": "calendar_year"},
    "tiers": [{"tier_id": "bronze", "threshold_points": 0}, {"tier_id": "silver", "threshold_points": 150}],
    "earning_rules": [spend_rule({"bronze": "1", "silver": "1"})],
}
BY_MEMBERSHIP = {**BY_YEAR, "qualification": {"window": "membership_year"}}
AT_ONCE = {**BY_YEAR, "qualification": {"window": "calendar_year", "refunds": "at_once"}}
ORDER, LATE_ORDER, REFUND, REFUND_OF_FIRST = ("order", 1001, 1), ("order", 1001, 87), ("refund", 0, 5), ("refund", 0, 4)
NEXT_DAY, TWO_MONTHS, TO_JANUARY = ("pass", 0, 1), ("pass", 0, 61), ("pass", 0, 357)
FREE_ORDER = "order", 12, 29
REFUND_AHEAD, EARLIER_ORDER = ("ahead", 1001, 27), ("order", 1001, 3)
GUEST_ORDER, CLAIM = ("order", 1003, 1), ("claim", 3, 7)
SPEND_ALL, JOBS = ("spend", 199, 0), ("jobs", 0, 0)


@pytest.mark.parametrize(
    ("first", "second", "story"),
    [
        pytest.param(
            AFTER_14_DAYS,
            AFTER_14_DAYS,
            [TWO_MONTHS, JOBS, SPEND_ALL, ORDER, NEXT_DAY, REFUND_OF_FIRST, NEXT_DAY, ORDER],
            id="pending points that may have to pay off a deficit",
        ),
        pytest.param(
            BY_MONTHS,
            BY_MONTHS,
            [
                *[("order", 1001, days) for days in (7, 3, 9, 15)],
                *[NEXT_DAY, ("spend", 150, 0), NEXT_DAY, ("refund", 0, 0), ("refund", 0, 1), ("refund", 0, 2)],
            ],
            id="lots of other orders, as many as the refunds of a batch may take",
        ),
        pytest.param(INACTIVITY, {}, [TWO_MONTHS, LATE_ORDER], id="the expiry that a late order shares"),
        pytest.param(
            {}, INACTIVITY, [TWO_MONTHS, LATE_ORDER], id="the expiry that an order moves on under the version in force"
        ),
        pytest.param(BUDGET, BUDGET, [ORDER, REFUND], id="budgets without other limits"),
        pytest.param(BUDGET, BUDGET, [GUEST_ORDER, CLAIM], id="limits of a guest's order that the same batch claims"),
        pytest.param({}, {}, [ORDER, REFUND], id="the account of an order that the same batch posts"),
        pytest.param(
            {},
            {},
            [("order", 2, 0), NEXT_DAY, ("order", 10, 0), ("order", 0, 0), ("refund", 0, 0)],
            id="the account of an order that the same batch reports for two customers",
        ),
        pytest.param(BY_YEAR, BY_YEAR, [TWO_MONTHS, ORDER, NEXT_DAY, LATE_ORDER], id="tiers before the present one"),
        pytest.param(
            BY_YEAR, BY_YEAR, [TO_JANUARY, LATE_ORDER, ORDER], id="a year that ends between two orders of a batch"
        ),
        pytest.param(
            AT_ONCE, AT_ONCE, [TWO_MONTHS, ORDER, NEXT_DAY, REFUND], id="tiers before the one that a refund may take"
        ),
        pytest.param(
            BY_YEAR, BY_YEAR, [TWO_MONTHS, REFUND_AHEAD, EARLIER_ORDER], id="tiers before a refund that waited"
        ),
        pytest.param(
            BY_MEMBERSHIP, BY_MEMBERSHIP, [FREE_ORDER, ORDER], id="tiers from the day of an order that counts nothing"
        ),
    ],
)
def test_what_is_seldom_needed_is_in_reach(
    first: dict[str, Any], second: dict[str, Any], story: list[tuple[str, int, int]]
) -> None:
    BatchPosting(Versions(program_with(**first), program_with(**second))).run(story)
