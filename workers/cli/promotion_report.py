"""What `loyalty report promotion` says: uptake, cost and return rate of one promotion."""

from fractions import Fraction
from typing import Any

from core.domain.accounting.promotion import PromotionOutcome, Uptake
from workers.cli.output import count_text, time_text
from workers.cli.reports import NONE, Kind, Plot, Report, Table, money_text, month_name, plain_amount

PROMOTION = Kind(
    "What became of a promotion",
    (
        "program_id", "promotion_id", "month", "program_version", "orders", "points_given", "points_left", "currency",
        "value",
    ),
)  # fmt: skip


def promotion_report(found: PromotionOutcome) -> Report:
    """Put the report together."""
    return Report(
        _headline(found),
        () if found.had.orders else ("No order has had it yet.",),
        _facts(found) if found.had.orders else [],
        [_uptake(found), _months(found)] if found.had.orders else [],
        [_plot(found)],
        _document(found),
        [
            (
                found.program_id, found.promotion_id, month_name(each.month, ""), each.version, each.orders,
                each.points_given, each.points_left, found.currency, plain_amount(found.currency, each.worth),
            )
            for each in found.months
        ],
    )  # fmt: skip


def _headline(found: PromotionOutcome) -> str:
    orders = f"{count_text(found.had.orders, 'order')} of {count_text(found.had.customers, 'customer')}"
    return f"{found.promotion_id} of {found.program_id}: {orders}, {count_text(found.had.points_left, 'point')} left."


def _facts(found: PromotionOutcome) -> list[tuple[str, str]]:
    return [
        ("First order", time_text(found.first_at)),
        ("Last order", time_text(found.last_at)),
        ("Of the orders in that time", share_text(found.order_share)),
        ("Points given", f"{found.had.points_given:,}"),
        ("Points left", f"{found.had.points_left:,}"),
        ("Cost", money_text(found.currency, found.cost)),
        ("Came back with refunds", share_text(found.had.return_rate)),
        ("Of orders without it", share_text(found.others.return_rate)),
    ]


def share_text(share: Fraction | None) -> str:
    """A share in percent, to one place."""
    return NONE if share is None else f"{float(100 * share):.1f}%"


def _uptake(found: PromotionOutcome) -> Table:
    sides = (("with it: its points", found.had), ("without it: all that they earned", found.others))
    rows = [
        (
            name,
            f"{side.orders:,}",
            f"{side.customers:,}",
            f"{side.points_given:,}",
            f"{side.points_left:,}",
            share_text(side.return_rate),
        )
        for name, side in sides
    ]
    headers = ("Orders in that time that earned", ">Orders", ">Customers", ">Given", ">Left", ">Came back")
    return Table("Uptake", headers, rows)


def _months(found: PromotionOutcome) -> Table:
    rows = [
        (
            month_name(each.month, ""),
            str(each.version),
            f"{each.orders:,}",
            f"{each.points_given:,}",
            f"{each.points_left:,}",
            money_text(found.currency, each.worth),
        )
        for each in found.months
    ]
    return Table("By the month of the orders", ("Month", ">Version", ">Orders", ">Given", ">Left", ">Cost"), rows)


def _plot(found: PromotionOutcome) -> Plot:
    labels = sorted({month_name(each.month, "") for each in found.months})

    def points(name: str) -> list[int]:
        sums = dict.fromkeys(labels, 0)
        for each in found.months:
            gone = each.points_given - each.points_left
            sums[month_name(each.month, "")] += each.points_left if name == "left" else gone
        return list(sums.values())

    return Plot("Points by the month of the orders", labels, {"left": points("left"), "came back": points("gone")})


def _document(found: PromotionOutcome) -> dict[str, Any]:
    return {
        "program_id": found.program_id,
        "promotion_id": found.promotion_id,
        "unit": found.unit,
        "currency": found.currency,
        "first_at": found.first_at,
        "last_at": found.last_at,
        "order_share": _decimals(found.order_share),
        "cost": plain_amount(found.currency, found.cost),
        "had": _side(found.had),
        "others": _side(found.others),
        "months": [
            {
                "month": month_name(each.month, ""),
                "program_version": each.version,
                "orders": each.orders,
                "points_given": each.points_given,
                "points_left": each.points_left,
                "value": plain_amount(found.currency, each.worth),
            }
            for each in found.months
        ],
    }


def _side(side: Uptake) -> dict[str, Any]:
    return {**side._asdict(), "return_rate": _decimals(side.return_rate)}


def _decimals(share: Fraction | None) -> str | None:
    return None if share is None else f"{float(share):.4f}"
