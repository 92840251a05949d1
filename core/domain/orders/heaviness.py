"""Orders that would take too long to work out: so many lines under so many rules."""

from core.domain.orders.facts import Order
from core.domain.outcomes import Parked, Reason
from core.domain.program import Program

#: How often the lines of one order may be looked at: a second or two. What takes minutes would stop its whole shard.
STEPS_MAX = 10_000_000


def too_heavy(order: Order, program: Program) -> Parked:
    """Why an order of so many lines is not worked out."""
    lines_max = STEPS_MAX // program.steps_per_line
    detail = (
        f"data.lines has {len(order.lines):,} lines, and program {program.program_id} looks at each of them "
        f"{program.steps_per_line:,} times: at most {lines_max:,} lines are worked out at once under its "
        f"{len(program.earning_rules)} rules and {len(program.promotions)} promotions; "
        "send the order in parts, each with an order_id of its own, or have fewer rules"
    )
    return Parked(Reason.TOO_HEAVY, detail)
