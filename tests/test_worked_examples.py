"""The worked examples of docs/ledger.md, worked out by the code."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from core.domain.expiry.dates import expires_at
from core.domain.orders.earning import entitlement
from core.domain.orders.facts import OrderLine
from core.domain.orders.goods import Goods
from core.domain.orders.posted import PostedOrder, Qualifying
from core.domain.orders.refund_limits import refund_problem
from core.domain.program import Program
from core.domain.tiers.history import CountedOrder
from core.domain.tiers.qualification import decide_tier_review, qualify
from core.messages.program_files.program_file import load_program
from tests.domain.book import Book
from tests.facts import AS_OF, account, instant, line, lot, order, part, program_with, refund
from tests.pages import ROOT, blocks, table
from workers.cli.output import until_text

LEDGER = ROOT / "docs" / "ledger.md"
EXAMPLE: Program = load_program(ROOT / "config" / "programs" / "example.yaml")
TEAPOTS: tuple[OrderLine, ...] = (
    line("1", "49.00", 2, tax="9.80"),
    line("2", "4.95", kind="shipping"),
)


def first_number(cell: str) -> int:
    return int(re.findall(r"\d+", cell)[0])


def test_earning() -> None:
    cells = table(LEDGER, "Order")
    cases = [("0", cells[0]), ("0", cells[1]), ("12.75", cells[2])]
    for points_paid, (_, tier, basis, points) in cases:
        earned = entitlement(order(lines=TEAPOTS, points_paid=points_paid), (), EXAMPLE, tier)
        assert (Decimal(earned.why["basis_amount"]), earned.points) == (Decimal(basis), first_number(points))


def test_refunds_one_by_one() -> None:
    (_, ordered, *_), (_, after_one, *_), (_, after_both, *_) = table(LEDGER, "Message")
    one, other = (refund(part("1", quantity=1), refund_id=number) for number in ("77", "78"))
    known = ((), (one,), (one, other))
    points = [entitlement(order(lines=TEAPOTS), refunds, EXAMPLE, "bronze").points for refunds in known]
    assert points == [first_number(cell) for cell in (ordered, after_one, after_both)] == [49, 24, 0]


@pytest.mark.parametrize("row", table(LEDGER, "Policy"), ids=lambda row: row[0])
def test_clawback_policies(row: list[str]) -> None:
    policy, own, other, deficit, shortfall, entry = (cell.removesuffix(" (default)").strip("`") for cell in row)
    program = program_with(clawback={"policy": policy})
    holder = account(balance=19, sequence=2, lots_opened=2, lifetime_points=35, qualifying_points=35)
    book = Book(program, holder)
    book.books.put_lots(holder.account_id, [lot(1, 9, granted=25), lot(2, 10)], is_all_open=True)
    book.put_orders([PostedOrder(order("25.00"), "test", 1, b"", "bronze", holder.account_id, 1, 25)])
    change = book.refund(refund(), AS_OF)
    left = {1: 9, 2: 10} | {changed.lot_number: changed.points_remaining for changed in change.lots}
    points = [-found.points for found in change.entries]
    assert (9 - left[1], 10 - left[2]) == (int(own), int(other))
    assert (change.account.deficit, book.orders["o1"].points_shortfall) == (int(deficit), int(shortfall))
    assert points == ([] if entry == "none" else [first_number(entry)])


def test_a_refund_of_points_that_are_spent_leaves_a_deficit() -> None:
    (said,) = re.findall(r"the balance is \S(\d+) \(a deficit of (\d+)\)", LEDGER.read_text())
    book = Book(EXAMPLE, account(program_id=EXAMPLE.program_id))
    sold = book.complete(order(lines=TEAPOTS, currency=EXAMPLE.currency))
    book.spend(sold.account.balance, instant("2026-03-02"))
    change = book.refund(refund(part("1", quantity=1)))
    assert (-change.account.balance, change.account.deficit) == (int(said[0]), int(said[1])) == (25, 25)


def test_what_all_of_the_order_of_the_page_of_messages_is() -> None:
    page = ROOT / "docs" / "messages.md"
    cells = dict(table(page, "Money"))
    sold = next(sample for block in blocks(page, "json") if (sample := json.loads(block))["type"] == "order.completed")
    lines = [
        line(
            each["line_id"],
            each["amount"],
            each["quantity"],
            kind=each.get("kind", "product"),
            tax=each.get("tax", "0"),
        )
        for each in sold["data"]["lines"]
    ]
    goods = Goods(order(lines=lines, points_paid=sold["data"]["points_paid"]), EXAMPLE.basis)
    rounding = Decimal("0.01") * len(lines)
    for money in ("paid", "net"):
        (said,) = re.findall(rf'"{money}": "([0-9.]+)"', cells[f"`{money}`"])
        most = Decimal(said) + rounding
        assert refund_problem(goods, refund(**{money: str(most)})) is None
        assert refund_problem(goods, refund(**{money: str(most + rounding)})) is not None


def test_a_deficit_is_paid_off_first() -> None:
    book = Book(program_with(), account(balance=-6, deficit=6, sequence=3, lots_opened=1))
    assert [opened.points_granted for opened in book.complete(order("20.00")).lots] == [14]


@pytest.mark.parametrize("row", table(LEDGER, "Available (Europe/London)"), ids=lambda row: row[0])
def test_expiry(row: list[str]) -> None:
    available, months, last_day, expires = row
    expiry = EXAMPLE.expiry.model_copy(update={"months": int(months)})
    local = datetime.fromisoformat(available).replace(tzinfo=EXAMPLE.zone)
    end = expires_at(expiry, EXAMPLE.zone, local.astimezone(UTC))
    assert end is not None
    assert end.astimezone(EXAMPLE.zone).strftime("%Y-%m-%d %H:%M") == expires
    assert until_text(end, EXAMPLE.zone) == last_day


def test_the_order_that_reaches_silver_earns_in_bronze_and_the_next_in_silver() -> None:
    book = Book(EXAMPLE, account(program_id=EXAMPLE.program_id, qualifying_points=990, lifetime_points=990))
    first, second = (
        order("20.00", f"o{day}", at=f"2026-03-0{day}")._replace(currency=EXAMPLE.currency) for day in (1, 2)
    )
    change = book.complete(first)
    assert (change.entries[0].points, change.account.qualifying_points, change.account.tier_id) == (20, 1010, "silver")
    assert book.complete(second).entries[0].points == 25


def test_silver_of_june_2026_holds_through_2027_and_is_reviewed_with_the_points_of_2027() -> None:
    program = program_with(time_zone="Europe/London", qualification={"window": "calendar_year"})
    risen, _ = qualify(account(), CountedOrder(instant("2026-06-15"), Qualifying(600)), program, lambda _: ())
    kept = decide_tier_review(risen, lambda _: program, lambda _: ()).changes[0].account
    assert (kept.tier_id, kept.tier_until) == ("silver", datetime(2028, 1, 1, tzinfo=UTC))
    bought, _ = qualify(kept, CountedOrder(instant("2027-06-15"), Qualifying(40)), program, lambda _: ())
    fallen = decide_tier_review(bought, lambda _: program, lambda _: ()).changes[0].account
    assert fallen.tier_id == "bronze"
