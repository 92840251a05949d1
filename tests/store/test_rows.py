"""Rows made from the tables: what is written comes back as it was, of every type that stands in a table."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
import pytest
from sqlalchemy import BigInteger, Column, Connection, Engine, MetaData, String, Table
from uuid6 import uuid7

from core.domain.decision import TierChange, TierChangeReason
from core.domain.expiry.reminders import Reminder
from core.domain.ledger import Account, AccountStatus, Entry, EntryKind, entry_between
from core.domain.lots import Allocation, AllocationKind, Lot, Origin, OriginKind, SharedExpiry
from core.domain.members import PrimaryChange
from core.domain.orders.facts import LineKind, Order, OrderLine, Refund, RefundLine
from core.domain.orders.posted import (
    Budget,
    Judgement,
    OrderEventKind,
    PostedOrder,
    PostedOrderEvent,
    PostedRefund,
    Qualifying,
    QualifyingStep,
    Recovery,
    Usage,
)
from core.domain.program import UsageKey
from core.domain.tiers.history import CountedOrder, TierHistoryEntry, TierHold
from core.reading.accounts import load_tier_changes
from core.reading.open_lots import load_open_lots
from core.store import tables
from core.store.appending import (
    NewOrder,
    NewOrderEvent,
    append_accounts,
    append_allocations,
    append_entries,
    append_expiries,
    append_lots,
    append_order_events,
    append_orders,
    append_refunds,
    append_tier_changes,
    update_accounts,
    update_budgets,
    update_expiries,
    update_lots,
    update_orders,
    write_usages,
)
from core.store.ledger import (
    ask_expiries,
    ask_lots,
    ask_orders,
    ask_primaries,
    load_budgets,
    load_order_events,
    load_refunds,
    load_usages,
    lock_accounts,
    lock_budgets,
)
from core.store.members import write_primaries
from core.store.repairs import KeptRepair, Repair, append_repairs, load_repairs
from core.store.rows import Shape
from core.store.tier_facts import load_counted, load_tier_facts, load_tier_history
from core.upkeep.due_rows import (
    DueLots,
    finish_expiries,
    load_due_lots,
    load_lots_to_release,
    load_reminders,
    write_reminders,
)

SOURCE = "/shops/täst"
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOON + timedelta(days=90)
ACCOUNT = Account(
    account_id=uuid7(), program_id="test", customer_id="ç1", tier_id="silver", sequence=1, lots_opened=1, balance=7,
    pending=3, reserved=2, deficit=1, lifetime_points=12, qualifying_points=11, qualifying_from=NOON, tier_since=NOON,
    tier_until=LATER, tier_changes=1, counted_until=LATER, orders_posted=1, orders_counted=1,
    enrolled_at=NOON, tier_held_until=LATER, tier_warned_until=NOON,
)  # fmt: skip
LOT = Lot(
    1,
    1,
    Origin(OriginKind.ORDER, SOURCE, "o1", NOON),
    12,
    9,
    2,
    NOON,
    LATER,
    "double",
    is_pending=True,
    points_excused=1,
)
ENTRY = entry_between(
    ACCOUNT._replace(sequence=0, balance=0, pending=0, reserved=2, deficit=2),
    ACCOUNT,
    EntryKind.ACCRUAL,
    NOON,
    (Allocation(1, AllocationKind.OPENED, 12, LATER),),
    {},
    source=SOURCE,
    order_id="o1",
)
ORDER = PostedOrder(
    Order(
        SOURCE, "o1", "ç1", "EUR", NOON,
        (OrderLine("1", "sku", Decimal("1.5"), Decimal("12.50"), Decimal("2.00"), LineKind.TIP, ("a", "b")),),
        Decimal("0.10"), {"channel": "app", "gift": True}, ("vip",), Decimal("0.0529"),
    ),
    "test", 3, b"digest", "silver", ACCOUNT.account_id, 1, 12, 2, 1,
    Judgement(("double",), {"spend": 5}, {"spend": Decimal("20.3333")}, True), Qualifying(11, 1250, 1), True,
    (), LATER, LATER,
)  # fmt: skip
GUEST_ORDER = PostedOrder(
    ORDER.order._replace(order_id="o2", customer_id=None, attributes={}, customer_tags=()), "test", 1, b"other"
)
TAKEN = Recovery(6, 3, 2, 1)
REFUNDS = [
    PostedRefund(Refund(SOURCE, "r1", "o1", LATER, True, None, None, ()), "test", b"1", ACCOUNT.account_id, TAKEN, 7),
    PostedRefund(
        Refund(SOURCE, "r2", "o1", LATER, False, None, Decimal("12.50"), (), "EUR"), "test", b"2", ACCOUNT.account_id
    ),
    PostedRefund(
        Refund(
            SOURCE, "r3", "o1", LATER, False, None, None,
            (RefundLine("1", Decimal("0.5"), None, Decimal("0.001")), RefundLine("2", None, Decimal("7.25"), None)),
        ),
        "test", b"3", ACCOUNT.account_id,
    ),
    PostedRefund(Refund(SOURCE, "r4", "o2", LATER, True, None, None, ()), "test", b"4", None),
]  # fmt: skip
EVENTS = [
    PostedOrderEvent(OrderEventKind.FULFILLED, "", SOURCE, "o1", NOON, "test", b"f", ACCOUNT.account_id),
    PostedOrderEvent(OrderEventKind.CANCELLED, "", SOURCE, "o1", LATER, "test", b"c", ACCOUNT.account_id, TAKEN, 8),
]


def primaries(account: Account) -> dict[tuple[str, str], PrimaryChange]:
    change = PrimaryChange(account.customer_id, None, account.account_id)
    return {(account.program_id, account.customer_id): change}


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction that is taken back, in which one customer's order is posted, and a guest's."""
    with engine.connect() as opened:
        append_accounts(opened, [ACCOUNT])
        write_primaries(opened, primaries(ACCOUNT))
        append_orders(opened, [new_order(ORDER), new_order(GUEST_ORDER)], None)
        append_entries(opened, [ENTRY], ['{"rules": []}'], None)
        append_lots(opened, [(ACCOUNT.account_id, LOT)])
        append_allocations(opened, [ENTRY])
        yield opened


LINES_JSON = (
    '{"line_id":["1"],"sku":["sku"],"quantity":["1.5"],"amount":["12.5"],"tax":["2"],"kind":["tip"],'
    '"categories":[["a","b"]]}'
)


def new_order(posted: PostedOrder) -> NewOrder:
    has_more = posted is ORDER
    return NewOrder(
        posted, 0, 7, LINES_JSON,
        '{"channel":"app","gift":true}' if has_more else None, '["vip"]' if has_more else None,
    )  # fmt: skip


def stored(connection: Connection, table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}").mappings()]


def test_an_account_comes_back_and_its_customer_leads_to_it(connection: Connection) -> None:
    assert lock_accounts(connection, [ACCOUNT.account_id, uuid7()]) == {ACCOUNT.account_id: ACCOUNT}
    assert ask_primaries(connection, [("test", "ç1"), ("test", "nobody")]).found == {("test", "ç1"): ACCOUNT.account_id}


def test_all_of_an_account_but_who_it_is_can_change(connection: Connection) -> None:
    who = {"account_id", "program_id", "customer_id", "own_account_id", "is_enrolment_given", "lifetime_points_given"}
    others = [(name, value) for name, value in ACCOUNT._asdict().items() if name not in who]
    numbers: dict[str, Any] = {name: value + 5 for name, value in others if isinstance(value, int)}
    instants: dict[str, Any] = dict.fromkeys(
        name for name in Account._fields if name not in {*who, *numbers, "tier_id", "status"}
    )
    changed = ACCOUNT._replace(tier_id="gold", status=AccountStatus.FROZEN, **numbers, **instants)
    update_accounts(connection, [changed])
    assert lock_accounts(connection, [ACCOUNT.account_id]) == {ACCOUNT.account_id: changed}


def test_an_entry_stands_under_the_names_of_its_columns(connection: Connection) -> None:
    (entry,) = stored(connection, "entries")
    assert {name: entry[name] for name in Entry._fields if name not in {"allocations", "kind", "why"}} == {
        name: getattr(ENTRY, name) for name in Entry._fields if name not in {"allocations", "kind", "why"}
    }
    assert (entry["kind"], entry["why"], entry["chain_hash"]) == ("accrual", {"rules": []}, None)
    (allocation,) = stored(connection, "allocations")
    assert allocation == {
        "account_id": ACCOUNT.account_id, "sequence": 1, "lot_number": 1, "kind": "opened", "points": 12,
    }  # fmt: skip


def test_a_lot_comes_back_with_its_origin(connection: Connection) -> None:
    own = (ACCOUNT.account_id, OriginKind.ORDER, SOURCE, "o1")
    assert ask_lots(connection, [own], {}, LATER).found == {ACCOUNT.account_id: [LOT]}
    assert load_open_lots(connection, ACCOUNT.account_id) == [LOT]
    assert load_lots_to_release(connection, [ACCOUNT.account_id], LATER) == {ACCOUNT.account_id: DueLots([LOT], False)}
    assert load_due_lots(connection, [ACCOUNT.account_id], LATER) == {}, "it is pending"
    released = LOT._replace(is_pending=False)
    update_lots(connection, [(ACCOUNT.account_id, released)])
    assert load_due_lots(connection, [ACCOUNT.account_id], LATER) == {ACCOUNT.account_id: DueLots([released], False)}


def test_a_lot_without_points_is_found_by_its_origin_only(connection: Connection) -> None:
    spent = LOT._replace(points_remaining=0, points_expired=12, available_at=LATER, expires_at=None, is_pending=False)
    update_lots(connection, [(ACCOUNT.account_id, spent)])
    own = (ACCOUNT.account_id, OriginKind.ORDER, SOURCE, "o1")
    other = (ACCOUNT.account_id, OriginKind.ORDER, SOURCE, "o2")
    assert ask_lots(connection, [other], {}, LATER).found == {}
    assert ask_lots(connection, [own], {}, LATER).found == {ACCOUNT.account_id: [spent]}


def test_lots_that_share_their_expiry_follow_it(connection: Connection) -> None:
    account_id, expiry = ACCOUNT.account_id, SharedExpiry(1, "double", NOON, NOON)
    append_expiries(connection, [(account_id, expiry)])
    update_lots(connection, [(account_id, LOT._replace(expires_with=1, expires_at=NOON))])
    moved = expiry._replace(expires_at=LATER)
    update_expiries(connection, [(account_id, moved)])
    assert ask_expiries(connection, [account_id]).found == {account_id: [moved]}
    assert load_open_lots(connection, account_id) == [LOT._replace(expires_with=1, expires_at=LATER)]
    (stored_lot,), (stored_expiry,) = stored(connection, "lots"), stored(connection, "shared_expiries")
    assert (stored_lot["expires_at"], stored_expiry["account_shard"]) == (None, stored_lot["account_shard"])
    update_lots(connection, [(account_id, LOT._replace(points_remaining=0, points_expired=12, expires_at=LATER))])
    assert finish_expiries(connection, [account_id], NOON) == 0, "it is not due"
    assert finish_expiries(connection, [account_id], LATER) == 1
    assert ask_expiries(connection, [account_id]).found == {account_id: []}


def test_the_view_of_lots_has_all_their_columns(connection: Connection) -> None:
    assert [*stored(connection, "dated_lots")[0]] == [column.name for column in tables.lots.columns]


def test_orders_come_back_in_the_order_of_their_keys(connection: Connection) -> None:
    keys = [(SOURCE, "o2"), (SOURCE, "o1"), (SOURCE, "o1"), (SOURCE, "o3")]
    assert ask_orders(connection, keys).found == [ORDER, GUEST_ORDER]


def test_what_became_of_an_order_can_change(connection: Connection) -> None:
    changed = ORDER._replace(
        points_entitled=5,
        points_excused=0,
        points_shortfall=4,
        qualifying=Qualifying(),
        fulfilled_at=None,
        qualifying_steps=(QualifyingStep(NOON, ORDER.qualifying), QualifyingStep(LATER, Qualifying())),
    )
    update_orders(connection, [changed])
    assert ask_orders(connection, [(SOURCE, "o1")]).found == [changed]


def test_what_an_order_counts_for_the_tier_is_found_from_an_instant_on(connection: Connection) -> None:
    account_id = ACCOUNT.account_id
    counted = {account_id: [CountedOrder(NOON, ORDER.qualifying)]}
    assert load_counted(connection, {account_id: NOON}, {account_id: []}) == counted
    assert load_counted(connection, {account_id: LATER}, {account_id: [NOON]}) == {account_id: []}
    steps = QualifyingStep(NOON, ORDER.qualifying), QualifyingStep(LATER, Qualifying(1, 2, 0))
    refunded = ORDER._replace(qualifying=Qualifying(1, 2, 0), qualifying_steps=steps)
    update_orders(connection, [refunded])
    (counted_together,) = load_counted(connection, {account_id: NOON}, {account_id: []})[account_id]
    assert counted_together == CountedOrder(NOON, Qualifying(1, 2, 0), ORDER.qualifying)


def test_all_that_a_tier_follows_from_comes_back(connection: Connection) -> None:
    account_id = ACCOUNT.account_id
    hold = TierHold(NOON, "gold", LATER)
    rebuilt = {"tier_id": "gold", "tier_held_until": LATER, "tier_until": LATER, "held_at": NOON}
    append_repairs(connection, [Repair(account_id, "tier", {}, rebuilt, "ann", "she asked")])
    orders, holds = load_tier_facts(connection, [account_id])[account_id]
    assert ([*orders], [*holds]) == ([CountedOrder(NOON, ORDER.qualifying)], [hold])


def test_refunds_come_back_by_their_order_or_by_their_own_id(connection: Connection) -> None:
    append_refunds(connection, [(posted, 7) for posted in REFUNDS])
    of_order = load_refunds(connection, [(SOURCE, "o1")], [])
    assert sorted(of_order, key=lambda posted: posted.refund.refund_id) == REFUNDS[:3]
    assert load_refunds(connection, [], [(SOURCE, "r4"), (SOURCE, "r5")]) == [REFUNDS[3]]
    both = load_refunds(connection, [(SOURCE, "o1")], [(SOURCE, "r1"), (SOURCE, "r4")])
    assert sorted(both, key=lambda posted: posted.refund.refund_id) == REFUNDS


def test_fulfilments_and_cancellations_come_back(connection: Connection) -> None:
    append_order_events(connection, [NewOrderEvent(event, 7, None) for event in EVENTS])
    found = load_order_events(connection, [(SOURCE, "o1"), (SOURCE, "o2")])
    assert sorted(found, key=lambda event: event.digest, reverse=True) == EVENTS


def test_tier_changes_come_back_oldest_first(connection: Connection) -> None:
    changes = [
        TierChange(ACCOUNT.account_id, 1, "bronze", "silver", 11, NOON, TierChangeReason.QUALIFIED),
        TierChange(ACCOUNT.account_id, 2, "silver", "bronze", 0, LATER, TierChangeReason.REVIEWED),
    ]
    append_tier_changes(connection, changes)
    assert [change for change, _ in load_tier_changes(connection, ACCOUNT.account_id)] == changes
    history = [TierHistoryEntry(NOON, "silver"), TierHistoryEntry(LATER, "bronze")]
    assert load_tier_history(connection, [ACCOUNT.account_id]) == {ACCOUNT.account_id: history}


def test_usages_are_added_and_written_again(connection: Connection) -> None:
    daily, ever = UsageKey("spend", "2026-03-01"), UsageKey("spend", "ever")
    account_id = ACCOUNT.account_id
    write_usages(connection, [(account_id, daily, Usage(5, 1)), (account_id, ever, Usage(5, 1, Decimal("20.3333")))])
    write_usages(connection, [(account_id, daily, Usage(7, 2))])
    found = load_usages(connection, [(account_id, daily), (account_id, ever), (account_id, UsageKey("x", "ever"))])
    assert found == {account_id: {daily: Usage(7, 2), ever: Usage(5, 1, Decimal("20.3333"))}}


def test_budgets_begin_when_they_are_locked(connection: Connection) -> None:
    keys = [("test", "launch"), ("test", "autumn")]
    assert load_budgets(connection, keys) == {}
    assert lock_budgets(connection, keys) == {"test": {"launch": Budget(), "autumn": Budget()}}
    update_budgets(connection, [("test", "launch", Budget(9, 2))])
    assert load_budgets(connection, keys) == {"test": {"launch": Budget(9, 2), "autumn": Budget()}}


def test_reminders_are_written_again_under_the_same_instant(connection: Connection) -> None:
    write_reminders(connection, [(ACCOUNT.account_id, Reminder(LATER, 5, 30))])
    connection.exec_driver_sql("UPDATE reminders SET told_at = '2020-01-01'")
    write_reminders(connection, [(ACCOUNT.account_id, Reminder(LATER, 4, 7, 2))])
    assert load_reminders(connection, [ACCOUNT.account_id], NOON) == {ACCOUNT.account_id: [Reminder(LATER, 4, 7, 2)]}
    assert stored(connection, "reminders")[0]["told_at"].year > 2020


def test_repairs_keep_instants_as_text(connection: Connection) -> None:
    append_repairs(
        connection, [Repair(ACCOUNT.account_id, "lot 1", {"expires_at": LATER}, {"name": "ö", "points": 1}, "kim", "ß")]
    )
    (kept,) = load_repairs(connection, ACCOUNT.account_id, datetime.now(UTC) + timedelta(days=1))
    assert kept._replace(applied_at=NOON) == KeptRepair(
        "lot 1", {"expires_at": LATER.isoformat()}, {"name": "ö", "points": 1}, "ß", "kim", NOON
    )


def test_nothing_to_write_is_written_without_a_statement(connection: Connection) -> None:
    connection.exec_driver_sql("SET LOCAL default_transaction_read_only = on")
    for write in (
        append_accounts,
        append_lots,
        append_refunds,
        append_tier_changes,
        update_lots,
        write_usages,
    ):
        write(connection, [])
    append_orders(connection, [], None)
    append_entries(connection, [], [], None)


@pytest.mark.parametrize(
    ("write", "constraint"),
    [
        (lambda c: append_accounts(c, [ACCOUNT]), "pk_accounts"),
        (lambda c: write_primaries(c, primaries(ACCOUNT)), "pk_members"),
        (lambda c: update_accounts(c, [ACCOUNT._replace(reserved=-1)]), "ck_accounts_reserved"),
        (lambda c: append_entries(c, [ENTRY], ["{}"], None), "pk_entries"),
        (lambda c: append_entries(c, [second(reserved_change=1)], ["{}"], None), "ck_entries_sign"),
        (lambda c: append_entries(c, [second(reserved_after=-1)], ["{}"], None), "ck_entries_reserved_after"),
        (lambda c: append_lots(c, [(ACCOUNT.account_id, LOT)]), "pk_lots"),
        (lambda c: append_allocations(c, [moved(AllocationKind.TAKEN, 5)]), "ck_allocations_sign"),
        (lambda c: append_allocations(c, [moved(AllocationKind.RETURNED, -5)]), "ck_allocations_sign"),
        (lambda c: append_allocations(c, [moved(AllocationKind.EXPIRED, 0)]), "ck_allocations_sign"),
        (lambda c: append_orders(c, [new_order(ORDER)], None), "pk_orders"),
        (lambda c: append_refunds(c, [(twofold(), 7)]), "ck_refunds_in_one_way"),
        (lambda c: append_refunds(c, [(REFUNDS[0]._replace(account_id=uuid7()), 7)]), "fk_refunds_account_id"),
        (
            lambda c: append_order_events(c, [NewOrderEvent(EVENTS[0]._replace(account_id=uuid7()), 7, None)]),
            "fk_order_events_account_id",
        ),
    ],
)  # fmt: skip
def test_what_the_tables_refuse_is_not_written(connection: Connection, write: Any, constraint: str) -> None:
    with pytest.raises(psycopg.errors.IntegrityError) as refused:
        write(connection)
    assert refused.value.diag.constraint_name == constraint


def second(**over: Any) -> Entry:
    return ENTRY._replace(sequence=2, **over)


def moved(kind: AllocationKind, points: int) -> Entry:
    return ENTRY._replace(allocations=(Allocation(1, kind, points, None),))


def twofold() -> PostedRefund:
    return REFUNDS[0]._replace(refund=REFUNDS[0].refund._replace(net=Decimal(1)))


THINGS = Table("things", MetaData(), Column("kind", String, nullable=False), Column("points", BigInteger))


class Two(NamedTuple):
    first: Usage
    second: Usage


def test_a_column_that_may_hold_either_of_two_fields_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"things.points may hold any of \['first.points', 'second.points'\]"):
        Shape(THINGS, Two)


def test_a_column_that_must_be_filled_and_is_not_is_refused() -> None:
    with pytest.raises(AssertionError, match="nothing fills kind of things"):
        Shape(THINGS, Usage).new()


def test_an_exception_for_no_column_is_refused() -> None:
    with pytest.raises(AssertionError):
        Shape(THINGS, Usage, kinds="points")
