"""What commands did, in sentences."""

from core.reading.accounts import HistoryEntry

#: Where points went or came from.
_OTHER_ACCOUNTS = {"to_account_id": "to", "from_account_id": "from"}


def command_text(entry: HistoryEntry) -> str:
    """Which command made an entry, what for, and why its sender says it did."""
    if (held := entry.why.get("deadline")) is not None:
        is_reward = "issue_id" in held
        what = f"issue {held['issue_id']}" if is_reward else f"authorization {held['authorization_id']}"
        return f"The deadline of {what} had passed."
    told = entry.why.get("command", {})
    order = f" for order {told['order_id']}" if "order_id" in told else ""
    reason = f": {told['reason']}" if "reason" in told else ""
    by = f" (by {told['by']})" if "by" in told else ""
    moved = abs(entry.points + entry.pending_change) or abs(entry.reserved_change)
    asked = told.get("points", moved)
    short = f" It asked for {asked:,}." if asked != moved else ""
    account = "".join(f" {way} account {told[name]}" for name, way in _OTHER_ACCOUNTS.items() if name in told)
    undone = (
        " reverses command {reversed_command_id} of {reversed_source}".format(**told)
        if "reversed_source" in told
        else ""
    )
    program = f" to program {told['to_program']}" if "to_program" in told else ""
    issued = " (reward {reward_id}, issue {issue_id})".format(**told) if "issue_id" in told else ""
    named = f"Command {entry.command_id or '?'} of {entry.source or '?'}{by}"
    return f"{named}{undone}{issued}{order}{account}{program}{reason}.{short}"
