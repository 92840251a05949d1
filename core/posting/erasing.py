"""Erasing the customer of a command that was decided, in its transaction."""

from sqlalchemy import Connection

from core.domain.decision import Decision
from core.domain.outcomes import Reason, Rejected, RejectionCode
from core.domain.value.erasing import unknown_customer
from core.store.erasing import Asking, erase_customer
from core.store.grants import may_erase


def erased_with(
    connection: Connection, decision: Decision, asking: Asking, salt: bytes | None, chain_key: bytes | None
) -> Decision | Rejected:
    """The decision, once nothing names its customer any more; others are as they were.

    To be called before anything of it is written. Rejected where nothing is held of the customer.
    """
    if decision.erasure is None:
        return decision
    if salt is None:
        return Rejected(
            Reason.NO_REFERENCE_SALT,
            "late messages of an erased customer are recognised by a keyed hash, and its secret is not set here",
            "let the operators set LOYALTY_REFERENCE_SALT for all roles, and send it again under a new id",
        )
    if not may_erase(connection):
        return Rejected(
            RejectionCode.NOT_ALLOWED,
            "the database role that posts commands here may not erase customers",
            "let the operators grant it by loyalty db grant --may-erase, and send it again under a new id",
        )
    done = erase_customer(connection, decision.erasure, asking, salt, chain_key)
    return decision._replace(erasure=done) if done.command_key else unknown_customer()
