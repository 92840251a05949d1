"""Makes the terms of commands on rewards of the settled data of messages."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from core.domain.value.authorizations import REWARD
from core.domain.value.commands import Whom
from core.domain.value.rewarding import IssuedTerms, IssueTerms
from core.messages.inbound.command_facts import instant_of

Data = Mapping[str, Any]


def whom_of_issue(data: Data) -> Whom:
    """Whose account a command on an issued reward is about."""
    return Whom(REWARD, data["issue_id"])


def issue_terms(data: Data) -> IssueTerms:
    """What is issued."""
    seconds = data.get("expires_in_seconds")
    return IssueTerms(
        data["reward_id"],
        data["issue_id"],
        instant_of(data.get("expires_at")),
        None if seconds is None else timedelta(seconds=seconds),
        data.get("reason"),
        data.get("order_id"),
    )


def issued_terms(data: Data) -> IssuedTerms:
    """What a command on an issued reward says."""
    return IssuedTerms(data.get("reason"), data.get("order_id"))
