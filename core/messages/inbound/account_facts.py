"""Makes what commands on accounts themselves ask for of the settled data of messages."""

from collections.abc import Mapping
from typing import Any

from core.domain.value.account_terms import CreateTerms
from core.messages.inbound.command_facts import instant_of

Data = Mapping[str, Any]


def create_terms(data: Data) -> CreateTerms:
    """The account that a command opens."""
    return CreateTerms(
        data["account_id"],
        data.get("points", 0),
        data.get("reason"),
        instant_of(data.get("expires_at")),
        instant_of(data.get("enrolled_at")),
        data.get("metadata", {}),
        tuple(data.get("tags", ())),
    )
