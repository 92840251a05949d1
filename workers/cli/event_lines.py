"""Our events in one line each, for `loyalty tail`."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic_core import from_json

from core.messages.outbound.published_events import OutboundType
from workers.cli.output import points_text, until_text

_UTC = ZoneInfo("UTC")


def event_line(body: bytes) -> str:
    """Say what happened; an event of a type that this release does not know is named and no more."""
    try:
        event = from_json(body)
        time = str(event["time"])[:19].replace("T", " ") + "Z"
        return f"{time}  {_event_text(event['type'], event['data'])}"
    except (ValueError, KeyError, TypeError):
        return f"an event that this release cannot read: {body[:200].decode(errors='backslashreplace')}"


def _event_text(kind: str, data: dict[str, Any]) -> str:
    if kind == OutboundType.MESSAGE_PARKED:
        return f"message {data['inbox_id']} parked: {data['reason']}: {data['detail']}"
    text = _account_text(kind, data)
    return kind if text is None else f"{data['program_id']} {data['customer_id']}  {text}"


def _account_text(kind: str, data: dict[str, Any]) -> str | None:  # noqa: PLR0911  # one for each type
    match kind:
        case OutboundType.BALANCE_CHANGED:
            return _balance_text(data)
        case OutboundType.ACCOUNT_CREATED:
            return f"account opened, tier {data['tier']}"
        case OutboundType.TIER_CHANGED:
            return f"tier {data['previous_tier']} -> {data['tier']}  ({data['reason']})"
        case OutboundType.TIER_AT_RISK:
            return f"tier {data['tier']} at risk: {data['tier_after']} from {_minute(data['loses_at'])}"
        case OutboundType.POINTS_EXPIRING:
            until = _until(data["expires_at"])
            is_any = f"{data['points']:,} points can be used until {until} and no longer"
            return is_any if data["points"] else f"no points expire after {until} any more"
        case OutboundType.AUTHORIZATION_EXPIRING:
            held = f"{data['points_held']:,} points reserved by {data['authorization_id']}"
            return f"{held} come back at {_minute(data['expires_at'])}, unless captured"
        case OutboundType.POINTS_EXTENDED:
            points = sum(end["points"] for end in data["ends"])
            return f"{points:,} points can be used longer, until {_until(max(e['expires_at'] for e in data['ends']))}"
        case _:
            return None


def _until(expires_at: str) -> str:
    """In UTC, as the program's time zone is not known here."""
    return f"{until_text(datetime.fromisoformat(expires_at), _UTC)} UTC"


def _balance_text(data: dict[str, Any]) -> str:
    change = data.get("pending_change", 0)
    pending = f", {points_text(change)} pending" if change else ""
    subject = ", ".join(
        f"{name} {data[f'{name}_id']}" for name in ("order", "refund", "return") if f"{name}_id" in data
    )
    return (
        f"{points_text(data['points'])} {data['kind']}, balance {data['balance']:,}{pending}"
        f"  (#{data['sequence']}{', ' + subject if subject else ''})"
    )


def _minute(instant: str) -> str:
    return instant[:16].replace("T", " ") + "Z"
