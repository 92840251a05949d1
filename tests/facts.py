"""Facts as the domain takes them. Plain functions: every test says what matters to it, the rest is usual."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from core.domain.ledger import Account
from core.domain.lots import Lot, Origin, OriginKind
from core.domain.orders.facts import (
    AmendedOrder,
    AttributeValue,
    Cancellation,
    Fulfilment,
    LineKind,
    LinePart,
    Order,
    OrderLine,
    Refund,
    RefundLine,
    RefundReversion,
)
from core.domain.program import Program

SOURCE = "/shops/test"

#: Later than every order of the tests, so that nothing of theirs is ahead of the clock.
AS_OF = datetime(2100, 1, 1, tzinfo=UTC)
#: Until when accounts of tests have counted what makes them what they are, unless they say so.
_LONG_AGO = datetime(1999, 12, 31, tzinfo=UTC)
ACCOUNT_ID = UUID("00000000-0000-7000-8000-000000000001")
TIER_IDS = ("bronze", "silver", "gold")
_USUAL: dict[str, Any] = {
    "program_id": "test",
    "name": "Test Rewards",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "sources": [SOURCE],
    "earning_rules": [
        {
            "rule_id": "spend",
            "kind": "spend",
            "per_amount": "1.00",
            "points": {"bronze": "1", "silver": "1.5", "gold": "2"},
        }
    ],
    "tiers": [
        {"tier_id": "bronze", "threshold_points": 0},
        {"tier_id": "silver", "threshold_points": 500},
        {"tier_id": "gold", "threshold_points": 2000},
    ],
}


def program_with(**fields: Any) -> Program:
    """The usual program with other fields, as a program file gives them."""
    return Program.model_validate({**_USUAL, **fields})


def spend_rule(points: str | dict[str, str] = "1", **over: Any) -> dict[str, Any]:
    """A rule that gives `points` for each 1.00, by tier or the same in every tier."""
    by_tier = points if isinstance(points, dict) else dict.fromkeys(TIER_IDS, points)
    return {"rule_id": "spend", "kind": "spend", "per_amount": "1.00", "points": by_tier, **over}


def instant(text: str) -> datetime:
    """A day ("2026-03-01", its noon in UTC), or a date and time with offset."""
    return datetime.fromisoformat(text if "T" in text else f"{text}T12:00+00:00").astimezone(UTC)


def line(
    line_id: str = "1",
    amount: str | Decimal = "100.00",
    quantity: str | int = 1,
    *,
    tax: str = "0",
    kind: str = "product",
    sku: str | None = None,
    categories: Iterable[str] = (),
) -> OrderLine:
    return OrderLine(line_id, sku, Decimal(quantity), Decimal(amount), Decimal(tax), LineKind(kind), tuple(categories))


def order(
    amount: str | Decimal = "100.00",
    order_id: str = "o1",
    *,
    at: str | datetime = "2026-03-01",
    lines: Iterable[OrderLine] = (),
    points_paid: str | Decimal = "0",
    customer_id: str | None = "c1",
    attributes: Mapping[str, AttributeValue] | None = None,
    customer_tags: Iterable[str] = (),
    currency: str = "EUR",
    rate: str | None = None,
) -> Order:
    return Order(
        source=SOURCE,
        order_id=order_id,
        customer_id=customer_id,
        currency=currency,
        occurred_at=instant(at) if isinstance(at, str) else at,
        lines=tuple(lines) or (line(amount=amount),),
        points_paid=Decimal(points_paid),
        attributes=attributes or {},
        customer_tags=tuple(customer_tags),
        rate=None if rate is None else Decimal(rate),
    )


#: Pieces by line_id; None: all of the line.
Parts = Mapping[str, str | int | None]


def fulfilment(
    order_id: str = "o1", at: str | datetime = "2026-03-03", *, lines: Parts | None = None, part_id: str | None = None
) -> Fulfilment:
    """Of the whole order, or of so many pieces of these lines (None: all of a line)."""
    return Fulfilment(
        SOURCE, order_id, instant(at) if isinstance(at, str) else at, lines=_parts(lines), part_id=part_id
    )


def cancellation(
    order_id: str = "o1", at: str | datetime = "2026-03-04", *, lines: Parts | None = None, part_id: str | None = None
) -> Cancellation:
    """Of the whole order, or of so many pieces of these lines (None: all of a line)."""
    return Cancellation(
        SOURCE, order_id, instant(at) if isinstance(at, str) else at, lines=_parts(lines), part_id=part_id
    )


def _parts(lines: Parts | None) -> tuple[LinePart, ...]:
    of_lines = (lines or {}).items()
    return tuple([LinePart(each, None if pieces is None else Decimal(pieces)) for each, pieces in of_lines])


def amendment(
    *lines: OrderLine, revision: int = 1, order_id: str = "o1", at: str | datetime = "2026-03-06", **over: Any
) -> AmendedOrder:
    """The order of this id as it is now."""
    now = order(order_id=order_id, at=at, lines=lines, **over)
    return AmendedOrder(SOURCE, order_id, now.occurred_at, revision, now)


def reversion(refund_id: str = "r1", order_id: str = "o1", at: str | datetime = "2026-03-07") -> RefundReversion:
    return RefundReversion(SOURCE, refund_id, order_id, instant(at) if isinstance(at, str) else at)


def part(
    line_id: str = "1", *, quantity: str | int | None = None, net: str | None = None, paid: str | None = None
) -> RefundLine:
    return RefundLine(line_id, _decimal(quantity), _decimal(paid), _decimal(net))


def _decimal(number: str | int | Decimal | None) -> Decimal | None:
    return None if number is None else Decimal(number)


def refund(
    *parts: RefundLine,
    net: str | Decimal | None = None,
    paid: str | Decimal | None = None,
    currency: str | None = None,
    refund_id: str = "r1",
    order_id: str = "o1",
    at: str | datetime = "2026-03-05",
) -> Refund:
    """A refund of `parts`, or of money of the whole order; in full when neither is given."""
    return Refund(
        source=SOURCE,
        refund_id=refund_id,
        order_id=order_id,
        occurred_at=instant(at) if isinstance(at, str) else at,
        full=not parts and net is None and paid is None,
        paid=_decimal(paid),
        net=_decimal(net),
        lines=parts,
        currency=currency,
    )


def account(**over: Any) -> Account:
    usual = {"account_id": ACCOUNT_ID, "program_id": "test", "customer_id": "c1", "tier_id": "bronze"}
    return Account(**{**usual, "counted_until": _LONG_AGO, **over})


def origin(order_id: str = "o1", at: str = "2026-03-01") -> Origin:
    return Origin(OriginKind.ORDER, SOURCE, order_id, instant(at))


def lot(
    lot_number: int = 1,
    remaining: int = 100,
    *,
    granted: int | None = None,
    expired: int = 0,
    available: str | None = "2026-01-01",
    expires: str | None = None,
    earned_by: str = "",
    is_pending: bool = False,
    opened_by: int | None = None,
    order_id: str | None = None,
) -> Lot:
    """A lot of order o1, o2, … by its number. Nothing was taken yet, unless `granted` says that it was larger."""
    return Lot(
        lot_number=lot_number,
        opened_by_sequence=lot_number if opened_by is None else opened_by,
        origin=origin(order_id or f"o{lot_number}"),
        points_granted=remaining + expired if granted is None else granted,
        points_remaining=remaining,
        points_expired=expired,
        available_at=None if available is None else instant(available),
        expires_at=None if expires is None else instant(expires),
        earned_by=earned_by,
        is_pending=is_pending,
    )
