"""What an order's currency is worth in its program's."""

from decimal import Decimal

from core.domain.orders.facts import Order
from core.domain.outcomes import Parked, Reason
from core.domain.program import Program


def exchange_rate(order: Order, program: Program) -> Decimal | None:
    """What one unit of the order's currency is worth in the program's; None where it is the program's own.

    The order's message goes before the program file, of which the version is frozen with the order: so is the rate.
    """
    if order.currency == program.currency:
        return None
    return program.rate_on(order.currency, order.occurred_at) if order.rate is None else order.rate


def rate_problem(order: Order, program: Program) -> Parked | None:
    """Why nobody can say what the order is worth in the program's currency."""
    mine, own = order.currency, program.currency
    if mine == own:
        if order.rate is None or order.rate == 1:
            return None
        detail = (
            f"data.rate is {order.rate}, but the order is in {own}, the currency of program {program.program_id}; "
            "leave rate out, or correct currency, and send the order in a new event"
        )
        return Parked(Reason.WRONG_CURRENCY, detail)
    if exchange_rate(order, program) is not None:
        return None
    day = order.occurred_at.astimezone(program.zone).date()
    if program.currencies is not None and mine in program.currencies:
        lack = f"and its file has no rate of {mine} for {day}, the day of the order"
    else:
        lack = f"and its file has no rate of {mine} (currencies)"
    detail = (
        f"data.currency is {mine}, program {program.program_id} has {own}, {lack}; send the order in a new event with "
        f"data.rate, what 1 {mine} is worth in {own}, or name another program in data.program_id"
    )
    return Parked(Reason.WRONG_CURRENCY, detail)
