"""What an order may say of the points that paid a part of it: which authorization or command took them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import InitErrorDetails

from core.messages.inbound.fields import NUMBER_HIDDEN_FROM, Id, own_problem, plain_decimal

PointsAuthorization = Annotated[
    Id | None,
    Field(
        description="The authorization whose captured points paid that part. What is given back of the order then lets "
        "as great a share of them come back by itself, and what is still held when the order is cancelled."
    ),
]
PointsCommand = Annotated[
    Id | None,
    Field(
        description="Or the id of the command, redeem or debit, that took the points. One authorization or command "
        "pays one order; it may come later than the order."
    ),
]
PointsCommandSource = Annotated[Id | None, Field(description="The source of that command; left out, the order's own.")]


def paid_otherwise(data: Mapping[str, Any]) -> list[InitErrorDetails]:
    """Whether what took the points is named in two ways, in half of one, or where no points paid anything."""
    named = [name for name in ("points_authorization_id", "points_command_id") if name in data]
    if len(named) > 1:
        text = "stands beside points_authorization_id; name what took the points in one way"
        return [own_problem((named[1],), text)]
    if "points_command_source" in data and not named:
        text = "is the source of a command that points_command_id would name, which is missing; send both, or neither"
        return [own_problem(("points_command_source",), text)]
    if "points_command_source" in data and named != ["points_command_id"]:
        text = "is of a command, and points_authorization_id needs none; leave it out"
        return [own_problem(("points_command_source",), text)]
    if named and "points_paid" not in data:
        text = "names what took points, and points_paid says of no amount that they paid it; send both, or neither"
        return [own_problem((named[0],), text)]
    return []


def paid_beyond(data: Mapping[str, Any]) -> list[InitErrorDetails]:
    """Whether more is said to be paid with points than the whole order cost."""
    paid = Decimal(data.get("points_paid") or 0)
    cost = sum([Decimal(line["amount"]) + Decimal(line.get("tax") or 0) for line in data["lines"]], Decimal(0))
    if paid <= cost:
        return []
    most = plain_decimal(f"{cost:f}")
    said = f"is {paid}," if paid < NUMBER_HIDDEN_FROM else "is"
    text = f"{said} more than the {most} that all lines cost with their tax; send the part that points paid"
    return [own_problem(("points_paid",), text)]
