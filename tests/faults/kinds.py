"""Every kind of message that there is, and how often: to make a new one known, write how to make it and add its row."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from tests.faults import changes, commands, makers, value_commands
from tests.faults.stream import Maker, Stream, deliveries

_DUPLICATES = 0.12  #: the share of messages that are sent once more


class Kind(NamedTuple):
    """One kind of message. `make` adds one or a few of it; their fate says what they do to ledger and inbox."""

    name: str
    weight: int
    make: Callable[[Maker], None]


def make_stream(seed: int, messages: int, now: datetime) -> Stream:
    """Make a stream of about so many messages, with at least one of every kind. The same arguments, the same stream."""
    maker = Maker(seed, now)
    for kind in KINDS:
        kind.make(maker)
    wanted = messages * (1 - _DUPLICATES)
    weights = [kind.weight for kind in KINDS]
    while len(maker.made) < wanted:
        maker.random.choices(KINDS, weights)[0].make(maker)
    maker.stream.deliveries += deliveries(maker, messages)
    return maker.stream


#: Orders first: the others name some that were sold.
KINDS = (
    Kind("order of a flat program", 30, makers.flat_order),
    Kind("order of a program with tiers", 14, makers.tiered_order),
    Kind("order whose points expire some day", 5, makers.fading_order),
    Kind("order whose points are long expired", 4, makers.old_order),
    Kind("order that comes months late", 3, makers.late_order),
    Kind("order of a guest", 3, makers.guest_order),
    Kind("order that earns nothing", 1, makers.order_of_nothing),
    Kind("order whose points are held", 7, makers.held_order),
    Kind("order of a program with limits", 7, makers.limited_order),
    Kind("order of a program where orders are changed", 7, changes.changed_order),
    Kind("order of a program where points are spent", 5, commands.valued_order),
    Kind("credit", 6, commands.credit),
    Kind("debit", 6, commands.debit),
    Kind("redemption", 3, commands.redemption),
    Kind("debit of what there is", 3, commands.debit_of_what_there_is),
    Kind("adjustment", 3, commands.adjustment),
    Kind("transfer", 3, commands.transfer),
    Kind("authorization that is captured or voided", 5, commands.authorization),
    Kind("command that is reversed", 3, commands.reversal),
    Kind("conversion", 3, value_commands.conversion),
    Kind("reward that is redeemed or deleted", 4, value_commands.reward),
    Kind("account that is shared", 2, value_commands.shared_account),
    Kind("accounts that are merged", 3, value_commands.merged_account),
    Kind("order that names what has paid it", 3, value_commands.paid_order),
    Kind("account by command", 2, commands.account),
    Kind("account that is frozen", 1, commands.frozen_account),
    Kind("conflict of commands", 1, commands.command_conflict),
    Kind("command of who may not", 1, commands.command_of_nobody),
    Kind("command that says nothing", 1, commands.command_that_says_nothing),
    Kind("refund in another channel", 3, changes.refund_at_the_till),
    Kind("refund in another currency", 1, changes.refund_in_another_currency),
    Kind("cancellation of lines", 3, changes.cancellation_of_lines),
    Kind("order that is amended", 4, changes.amended_order),
    Kind("refund that is undone", 4, changes.undone_refund),
    Kind("order of a guest that is claimed", 3, changes.claimed_order),
    Kind("goods without a receipt", 2, changes.goods_without_receipt),
    Kind("fulfilment of held points", 5, makers.fulfilment_of_held),
    Kind("order that is delivered in parcels", 4, makers.order_in_parcels),
    Kind("fulfilment that releases nothing", 1, makers.fulfilment),
    Kind("fulfilment before its order", 2, makers.fulfilment_before_order),
    Kind("cancellation", 4, makers.cancellation),
    Kind("cancellation before its order", 2, makers.cancellation_before_order),
    Kind("order that is fulfilled, cancelled and refunded", 2, makers.fulfilled_cancelled_and_refunded),
    Kind("conflict of fulfilments or cancellations", 1, makers.order_event_conflict),
    Kind("fulfilment or cancellation of an unknown order", 1, makers.event_of_unknown_order),
    Kind("refund of lines", 7, makers.refund_of_lines),
    Kind("refund of an amount", 5, makers.refund_of_amount),
    Kind("refund of everything", 2, makers.full_refund),
    Kind("refund in steps", 2, makers.split_refund),
    Kind("refund before its order", 3, makers.refund_before_order),
    Kind("refund of an unknown order", 1, makers.refund_of_unknown_order),
    Kind("refund of too much", 1, makers.refund_too_much),
    Kind("refund of an unknown line", 1, makers.refund_of_unknown_line),
    Kind("replay in another event", 3, makers.replay),
    Kind("order conflict", 2, makers.order_conflict),
    Kind("refund conflict", 1, makers.refund_conflict),
    Kind("event conflict", 2, makers.event_conflict),
    Kind("unknown program", 1, makers.unknown_program),
    Kind("wrong currency", 1, makers.wrong_currency),
    Kind("nothing to read", 2, makers.nothing_to_read),
    Kind("bad envelope", 1, makers.bad_envelope),
    Kind("invalid data", 1, makers.invalid_data),
    Kind("unknown type", 1, makers.unknown_type),
    Kind("time in the future", 1, makers.time_in_future),
)
