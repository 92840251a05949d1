"""Points that paid an order and came back, or were taken again, in sentences."""

from core.domain.orders.facts import Order
from core.domain.value.payments import PaymentKind
from core.reading.accounts import HistoryEntry
from workers.cli.output import count_text


def payment_text(order: Order) -> str:
    """What took the points that paid an order, in brackets; nothing where the shop did not say."""
    named = order.paid_by
    if named is None:
        return ""
    if named.kind is PaymentKind.AUTHORIZATION:
        return f" (authorization {named.payment_id})"
    return f" (command {named.payment_id} of {named.source})"


def repayment_text(entry: HistoryEntry) -> str:
    """How many of the points that paid an order came back, and why so many."""
    why = entry.why["repayment"]
    what = f"{abs(entry.points):,} of {count_text(why['points_taken'], 'point')} that paid order {entry.order_id}"
    verb = "was" if abs(entry.points) == 1 else "were"
    happened = f"{verb} taken again" if entry.points < 0 else "came back"
    had, due = why["points_due_before"], why["points_due_after"]
    in_all = f" In all {due:,} of them should have come back, {had:,} before." if had else ""
    reversed_ones = why.get("points_reversed")
    more = "" if not reversed_ones else f" A command has let {reversed_ones:,} more come back."
    return f"{what} {happened}{_occasion(entry)}: {_share_text(why['share'])}.{in_all}{more}{_not_taken_text(entry)}"


def repayment_headline(entry: HistoryEntry) -> str:
    """What happened, up to the number of points."""
    did = "took again" if entry.points < 0 else "gave back"
    why = entry.why["repayment"]
    if "revision" in why:
        return f"Order {{order}} was edited (revision {why['revision']}), which {did}"
    if "refund_reverted" in why:
        return f"Refund {{refund}} of order {{order}} did not happen after all, which {did}"
    if "cancelled" in why or "cancelled_lines" in why:
        return f"Order {{order}} was cancelled{' in part' if 'cancelled_lines' in why else ''}, which {did}"
    if "taken_by" in why:
        return f"Order {{order}} had been given back when its points were taken, which {did}"
    return f"Refund {{refund}} of order {{order}} {did}"


def void_text(entry: HistoryEntry) -> str:
    """Why points came back that an authorization had reserved for an order that was cancelled."""
    authorization_id = entry.why["authorization_id"]
    return f"Authorization {authorization_id} was to pay order {entry.order_id}, which was cancelled."


def void_headline(entry: HistoryEntry) -> str:
    """What let reserved points come back, up to their number."""
    if entry.command_id is not None:
        return "A command gave back"
    if "clawed_back" in entry.why:
        return "Authorization {held} gave back"
    return "Order {order} was cancelled, which gave back" if "cancelled_order" in entry.why else "A deadline gave back"


def _occasion(entry: HistoryEntry) -> str:
    why = entry.why["repayment"]
    if "taken_by" in why:
        return f" as soon as command {why['taken_by']['command_id']} had taken them"
    if "revision" in why:
        return f" with revision {why['revision']} of it"
    if entry.refund_id is None:
        return " with its cancellation"
    return (
        f", as refund {entry.refund_id} did not happen after all"
        if "refund_reverted" in why
        else (f" with refund {entry.refund_id}")
    )


def _share_text(share: str) -> str:
    part = {"0": "nothing", "1": "all"}.get(share, share)
    return f"{part} of what it cost is given back"


def _not_taken_text(entry: HistoryEntry) -> str:
    why, text = entry.why["repayment"], ""
    if entry.points < 0 and "points_excused" in why:
        text += f" Not taken a second time, as they have expired: {count_text(why['points_excused'], 'point')}."
    if entry.points < 0 and "points_shortfall" in why:
        text += f" Not taken, by the program's clawback policy: {count_text(why['points_shortfall'], 'point')}."
    return text
