"""How a person mends a parked message, for each reason."""

from core.domain.outcomes import Reason

#: One sentence per reason, shown beside the detail of a dead letter and in its event.
MENDS: dict[Reason, str] = {
    Reason.TOO_LARGE: "Send smaller messages, or raise LOYALTY_MESSAGE_BYTES_MAX or LOYALTY_ARRAY_EVENTS_MAX.",
    Reason.UNUSABLE_TASK: "Send the events again as the task loyalty.submit, in Celery's JSON; drop this one.",
    Reason.NOT_JSON: "Mend the sender to write JSON in UTF-8 and send the event again; drop this one.",
    Reason.NOT_AN_EVENT: "Send one event as an object, or an array of at least one; drop this one.",
    Reason.BAD_ENVELOPE: "Send the event again with the attributes that the detail names put right; drop this one.",
    Reason.UNKNOWN_SOURCE: "List the source if it may send, restart, then retry; else find out who sent it; drop it.",
    Reason.BAD_SIGNATURE: "If a key was not listed, list it, restart, then retry; else have it signed and sent again.",
    Reason.UNKNOWN_TYPE: "Send it again with a known type; if a later release knows this one, upgrade and retry.",
    Reason.INVALID_DATA: "Send the event again with the fields that the detail names put right; drop this one.",
    Reason.NO_REFERENCE_SALT: "Set LOYALTY_REFERENCE_SALT, the same for all roles, restart them, then retry.",
    Reason.TIME_IN_FUTURE: "Mend the sender's clock and send the event again; or retry when the time has come.",
    Reason.EVENT_CONFLICT: "The first content stays; if this one is right, send it with a new event id; drop this one.",
    Reason.UNKNOWN_PROGRAM: "Apply the missing program and retry, or send this anew with the program it is for.",
    Reason.ORDER_CONFLICT: "The first one stays; send a change of it, or another order, as the detail says; drop this.",
    Reason.REFUND_CONFLICT: "The first one stays; send another refund with a refund_id of its own; drop this one.",
    Reason.RETURN_CONFLICT: "The first one stays; send another return with a return_id of its own; drop this one.",
    Reason.WRONG_CURRENCY: "Send an order anew with rate or a program of its currency, a refund in the order's.",
    Reason.TOO_MANY_POINTS: "If the program's rates are wrong, mend them, then retry; if the order is, drop this one.",
    Reason.ORDER_NEVER_CAME: "Have the order sent and retry, or send this anew as the detail says; else drop it.",
    Reason.UNKNOWN_LINE: "Send the amendment that brings the line, or this in a new event with line_ids of the order.",
    Reason.ALREADY_OWNED: "If the order is to move, name whose it is in previous_customer_id, in a new event.",
    Reason.PROGRAM_INACTIVE: "Nothing is lost by it: the order earns nothing for anybody; drop this message.",
    Reason.ACCOUNT_CLOSED: "Claim the order for a customer whose account is open, in a new event; drop this one.",
    Reason.UNKNOWN_ACCOUNT: "Link what it names to the account, or create the account, then retry; or drop this one.",
    Reason.NOT_ENROLLED: "Create the customer's account by command, then retry; or drop this one.",
    Reason.REFUNDED_LINE_MISSING: "Send the next revision with all lines that its refunds name; drop this one.",
    Reason.PAYMENT_TAKEN: "Name the authorization or command that paid this order, or none, in a new event; drop this.",
    Reason.REFUND_EXCEEDS_ORDER: "See whether its money is paid or net; in a new event send at most what there was.",
    Reason.TOO_HEAVY: "Have the shop send the order in parts, or have fewer rules in the program; then retry or drop.",
    Reason.POSTING_FAILED: "Look up the error in the log, mend its cause, then retry.",
    Reason.POSTING_CRASHED: "Look up how the worker ended, mend the cause or upgrade, then retry.",
}


def never_came_advice(event_type: str) -> str:
    """What to do about a message of this type whose order never came."""
    back = ", send goods back of an order that nobody knows as order.returned" if event_type == "order.refunded" else ""
    return f"send the order and retry{back}, or drop this message"
