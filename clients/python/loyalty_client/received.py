"""Reading events: of a known type into its class, of a type that a later release adds into `Event`."""

from pydantic import ValidationError
from pydantic_core import from_json

from loyalty_client.envelope import Event
from loyalty_client.errors import UnreadableEventError
from loyalty_client.events import EVENTS


def read_event(raw: bytes | str) -> Event:
    """Read the JSON of an event; UnreadableEventError where it is none."""
    try:
        found = from_json(raw)
        kind = EVENTS.get(str(found.get("type")), Event) if isinstance(found, dict) else Event
        return kind.model_validate(found)
    except ValidationError as error:
        # What the values are may be personal: only say where something is wrong.
        reason = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False)
        )
        raise UnreadableEventError(reason=reason) from None
    except ValueError:
        raise UnreadableEventError(reason="it is not JSON") from None
