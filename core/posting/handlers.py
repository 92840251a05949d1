"""The map of the program: one row for each kind of message, with its contract, what it needs, and what decides it.

A new kind of message is a row here, a contract in `core.messages.inbound` and a decider in `core.domain`.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from core.domain.books import Books
from core.domain.decision import Decision
from core.domain.message import Message
from core.domain.orders.accrual import decide_order, order_reach
from core.domain.orders.amending import amendment_reach, decide_amendment
from core.domain.orders.claiming import claim_reach, decide_claim
from core.domain.orders.clawback import cancellation_reach, decide_cancellation, decide_refund, refund_reach
from core.domain.orders.fulfilment import decide_fulfilment, fulfilment_reach
from core.domain.orders.repaying import offering, paying
from core.domain.orders.returning import decide_return, return_reach
from core.domain.orders.reverting import decide_reversion, reversion_reach
from core.domain.outcomes import Parked, Reason, Rejected, Replayed, Waiting
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, Reach
from core.domain.value.adjusting import decide_adjustment
from core.domain.value.administering import decide_freeze, decide_unfreeze, decide_update, update_reach
from core.domain.value.authorizing import (
    authorize_reach,
    decide_authorize,
    decide_capture,
    decide_redeem,
    decide_void,
    held_reach,
)
from core.domain.value.closing import close_reach, decide_close
from core.domain.value.converting import convert_reach, decide_conversion
from core.domain.value.crediting import decide_credit, decide_debit
from core.domain.value.erasing import decide_erase, erase_reach
from core.domain.value.linking import decide_link, decide_unlink, link_reach
from core.domain.value.merging import decide_merge, decide_unmerge, merge_reach, unmerge_reach
from core.domain.value.opening import create_reach, decide_create
from core.domain.value.reversing import decide_reversal, reverse_reach
from core.domain.value.rewarding import decide_delete_reward, decide_issue, decide_redeem_reward, issue_reach
from core.domain.value.situations import Flow, command_reach, on_account, reaching
from core.domain.value.transferring import decide_transfer, transfer_reach
from core.messages.inbound.contracts import INBOUND, Contract

Outcome = Decision | Replayed | Waiting | Parked | Rejected


class Handler(NamedTuple):
    """How one kind of message is posted."""

    contract: Contract  #: what it must look like, and which fact it reports
    reach: Callable[[Message[Any], ProgramRegistry, datetime], Reach]  #: what must be loaded and locked for it
    decide: Callable[[Books, Message[Any], ProgramRegistry, datetime], Outcome]
    #: Dead letters about the same, parked for one of these reasons, may be right by it, and are judged anew behind it.
    mends: frozenset[Reason] = frozenset()
    erases: bool = False  #: while it is posted, nothing else is received or posted
    is_alone: bool = False  #: it changes where others find what they are about: nothing else is in its batch


def by_type(handlers: Iterable[Handler]) -> Mapping[str, Handler]:
    """The handlers by the type of their messages."""
    return {handler.contract.type: handler for handler in handlers}


_OTHER_LINES = frozenset({Reason.UNKNOWN_LINE, Reason.REFUND_EXCEEDS_ORDER, Reason.REFUNDED_LINE_MISSING})

HANDLERS = by_type(
    (
        Handler(INBOUND["order.completed"], order_reach, decide_order),
        Handler(INBOUND["order.refunded"], refund_reach, decide_refund),
        Handler(INBOUND["order.fulfilled"], fulfilment_reach, decide_fulfilment),
        Handler(INBOUND["order.cancelled"], cancellation_reach, decide_cancellation),
        Handler(INBOUND["order.amended"], amendment_reach, decide_amendment, _OTHER_LINES),
        Handler(INBOUND["order.claimed"], claim_reach, decide_claim),
        Handler(
            INBOUND["order.refund_reverted"],
            reversion_reach,
            decide_reversion,
            frozenset({Reason.REFUNDED_LINE_MISSING}),
        ),
        Handler(INBOUND["order.returned"], return_reach, decide_return),
        Handler(INBOUND["loyalty.command.credit"], command_reach, on_account(decide_credit, Flow.IN, opens=True)),
        Handler(INBOUND["loyalty.command.debit"], offering(command_reach), paying(on_account(decide_debit, Flow.OUT))),
        Handler(INBOUND["loyalty.command.adjust"], command_reach, on_account(decide_adjustment, Flow.IN)),
        Handler(INBOUND["loyalty.command.transfer"], transfer_reach, on_account(decide_transfer, Flow.OUT)),
        Handler(INBOUND["loyalty.command.convert"], convert_reach, on_account(decide_conversion, Flow.OUT)),
        Handler(INBOUND["loyalty.command.reverse"], reverse_reach, decide_reversal),
        Handler(INBOUND["loyalty.command.account.create"], create_reach, decide_create),
        Handler(
            INBOUND["loyalty.command.account.update"],
            update_reach,
            on_account(decide_update, Flow.KEPT),
        ),
        Handler(
            INBOUND["loyalty.command.account.freeze"], reaching(AccountParts()), on_account(decide_freeze, Flow.NONE)
        ),
        Handler(
            INBOUND["loyalty.command.account.unfreeze"],
            reaching(AccountParts()),
            on_account(decide_unfreeze, Flow.NONE),
        ),
        Handler(INBOUND["loyalty.command.account.close"], close_reach, on_account(decide_close, Flow.KEPT)),
        Handler(
            INBOUND["loyalty.command.account.merge"],
            merge_reach,
            on_account(decide_merge, Flow.OUT, itself=True),
            is_alone=True,
        ),
        Handler(
            INBOUND["loyalty.command.account.unmerge"],
            unmerge_reach,
            on_account(decide_unmerge, Flow.BACK, itself=True),
            is_alone=True,
        ),
        Handler(
            INBOUND["loyalty.command.redeem"], offering(command_reach), paying(on_account(decide_redeem, Flow.OUT))
        ),
        Handler(
            INBOUND["loyalty.command.authorize"],
            offering(authorize_reach),
            on_account(decide_authorize, Flow.OUT),
        ),
        Handler(INBOUND["loyalty.command.capture"], offering(held_reach), paying(on_account(decide_capture, Flow.OUT))),
        Handler(INBOUND["loyalty.command.void"], held_reach, on_account(decide_void, Flow.BACK)),
        Handler(INBOUND["loyalty.command.reward.issue"], issue_reach, on_account(decide_issue, Flow.OUT)),
        Handler(INBOUND["loyalty.command.reward.redeem"], held_reach, on_account(decide_redeem_reward, Flow.OUT)),
        Handler(INBOUND["loyalty.command.reward.delete"], held_reach, on_account(decide_delete_reward, Flow.BACK)),
        Handler(INBOUND["loyalty.command.account.link"], link_reach, on_account(decide_link, Flow.NONE)),
        Handler(INBOUND["loyalty.command.account.unlink"], link_reach, on_account(decide_unlink, Flow.KEPT)),
        Handler(INBOUND["loyalty.command.customer.erase"], erase_reach, decide_erase, erases=True, is_alone=True),
    )
)
