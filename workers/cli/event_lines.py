"""Our events in one line each, for `loyalty tail`."""

from typing import Any

from pydantic_core import from_json

from core.messages.outbound_contract import OutboundType
from workers.cli.output import points_text


def event_line(body: bytes) -> str:
    """Say what an event tells; one of a type that this release does not know is named and no more."""
    try:
        event = from_json(body)
        time = str(event["time"])[:19].replace("T", " ") + "Z"
        return f"{time}  {_told(event['type'], event['data'])}"
    except (ValueError, KeyError, TypeError):
        return f"an event that this release cannot read: {body[:200].decode(errors='backslashreplace')}"


def _told(kind: str, data: dict[str, Any]) -> str:
    match kind:
        case OutboundType.BALANCE_CHANGED:
            subject = ", ".join(f"{name} {data[f'{name}_id']}" for name in ("order", "refund") if f"{name}_id" in data)
            return (
                f"{_who(data)}  {points_text(data['points'])} {data['kind']}, balance {data['balance']:,}"
                f"  (#{data['sequence']}{', ' + subject if subject else ''})"
            )
        case OutboundType.ACCOUNT_CREATED:
            return f"{_who(data)}  account opened, tier {data['tier']}"
        case OutboundType.TIER_CHANGED:
            return f"{_who(data)}  tier {data['previous_tier']} -> {data['tier']}  ({data['reason']})"
        case OutboundType.MESSAGE_PARKED:
            return f"message {data['inbox_id']} parked: {data['reason']}: {data['detail']}"
        case _:
            return f"{kind}"


def _who(data: dict[str, Any]) -> str:
    return f"{data['program_id']} {data['customer_id']}"
