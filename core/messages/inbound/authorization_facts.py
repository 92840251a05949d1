"""Makes the terms of commands on reserved points of the settled data of messages."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from core.domain.value.authorizations import AUTHORIZATION
from core.domain.value.commands import AuthorizeTerms, CaptureTerms, RedeemTerms, VoidTerms, Whom
from core.messages.inbound.command_facts import instant_of

Data = Mapping[str, Any]


def whom_of_authorization(data: Data) -> Whom:
    """Whose account a command on an authorization is about."""
    return Whom(AUTHORIZATION, data["authorization_id"])


def authorize_terms(data: Data) -> AuthorizeTerms:
    """What an authorization reserves."""
    seconds = data.get("expires_in_seconds")
    return AuthorizeTerms(
        data["points"],
        data["authorization_id"],
        instant_of(data.get("expires_at")),
        None if seconds is None else timedelta(seconds=seconds),
        data.get("reason"),
        data.get("order_id"),
    )


def capture_terms(data: Data) -> CaptureTerms:
    """What a capture takes."""
    return CaptureTerms(data.get("points"), data.get("is_final", True), data.get("reason"), data.get("order_id"))


def void_terms(data: Data) -> VoidTerms:
    """What a void says."""
    return VoidTerms(data.get("reason"), data.get("order_id"))


def redeem_terms(data: Data) -> RedeemTerms:
    """What a redemption takes."""
    return RedeemTerms(data["points"], data.get("reason"), data.get("order_id"))
