"""The invariants of the ledger, in the order of their numbers in docs/ledger.md. Each file has those of one subject."""

from core.store.proof.invariants.authorizations import AUTHORIZATIONS
from core.store.proof.invariants.check import Check
from core.store.proof.invariants.commands import COMMANDS
from core.store.proof.invariants.contents import CONTENTS
from core.store.proof.invariants.limits import LIMITS
from core.store.proof.invariants.merges import MERGES
from core.store.proof.invariants.messages import MESSAGES_AND_EVENTS
from core.store.proof.invariants.orders import ORDERS_AND_TIERS
from core.store.proof.invariants.payments import PAYMENTS
from core.store.proof.invariants.points import POINTS
from core.store.proof.invariants.snapshots import SNAPSHOTS
from core.store.proof.invariants.versions import PROGRAM_VERSIONS

CHECKS: tuple[Check, ...] = tuple(
    sorted(
        (
            *POINTS,
            *AUTHORIZATIONS,
            *PAYMENTS,
            *ORDERS_AND_TIERS,
            *CONTENTS,
            *LIMITS,
            *PROGRAM_VERSIONS,
            *MESSAGES_AND_EVENTS,
            *COMMANDS,
            *MERGES,
            *SNAPSHOTS,
        ),
        key=lambda check: check.invariant,
    )
)

__all__ = ["CHECKS", "Check"]
