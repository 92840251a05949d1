"""What commands did, in sentences."""

from core.reading.accounts import HistoryEntry


def command_text(entry: HistoryEntry) -> str:
    """Which command made an entry, what for, and why its sender says it did."""
    told = entry.why.get("command", {})
    order = f" for order {told['order_id']}" if "order_id" in told else ""
    reason = f": {told['reason']}" if "reason" in told else ""
    asked = told.get("points", abs(entry.points + entry.pending_change))
    short = f" It asked for {asked:,}." if asked != abs(entry.points + entry.pending_change) else ""
    return f"Command {entry.command_id or '?'} of {entry.source or '?'}{order}{reason}.{short}"
