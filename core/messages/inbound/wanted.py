"""What each field of a message must hold, in the words that its sender reads.

A field is looked up with the type of message that it stands in: the same name may stand for more in another one. What
stands here must agree with the contract; a test walks over the fields of all contracts and compares.
"""

from core.domain.ledger import POINTS_MAX
from core.domain.orders.facts import LineKind
from core.domain.value.commands import EMAIL, PHONE
from core.messages.inbound.account_messages import MEMBERS_MAX, OWN_ID_CHARACTERS_MAX
from core.messages.inbound.authorization_messages import SECONDS_MAX, SECONDS_MIN
from core.messages.inbound.command_messages import COMMAND_PREFIX, SWITCHES
from core.messages.inbound.fields import (
    ATTRIBUTE_CHARACTERS_MAX,
    ATTRIBUTES_MAX,
    ID_CHARACTERS_MAX,
    OPERATOR_CHARACTERS_MAX,
    TEXT_CHARACTERS_MAX,
)
from core.messages.inbound.order_changes import REVISION_MAX
from core.messages.inbound.order_messages import CATEGORIES_MAX, LINES_MAX, TAGS_MAX
from core.messages.inbound.personal_names import EMAIL_ADVICE, PHONE_ADVICE, PHONE_CHARACTERS_MAX
from core.messages.inbound.reward_messages import ISSUED_SECONDS_MAX

#: The fields of amounts, and those that hold a time.
AMOUNTS = ("amount", "tax", "points_paid", "paid", "net")
TIMES = ("time", "available_at", "expires_at", "enrolled_at")

_SEEN = "none of them invisible, and no blank at either end"
_ID = f"it must be a string of 1 to {ID_CHARACTERS_MAX} characters, {_SEEN}"
_CUSTOMER_ID = f'{_ID}, and without "@": an opaque id, no e-mail address'
_GUEST_TOO = f"{_CUSTOMER_ID}; leave it out for a guest"
_LABEL = f"it must be a string of 1 to {ID_CHARACTERS_MAX} characters without control characters"
_LABELS = f"strings of 1 to {ID_CHARACTERS_MAX} characters"
_NUMBER = "a whole number, written without quotes and without a point,"
_ATTRIBUTES = (
    f"it must be an object of at most {ATTRIBUTES_MAX} strings, integers, true or false; a string has at most "
    f"{ATTRIBUTE_CHARACTERS_MAX:,} characters, and a name {ID_CHARACTERS_MAX}"
)
_AMOUNT = "amounts are decimal strings in major units, not negative, at most 12 digits before and 4 after the point"
_SIGNED_AMOUNT = (
    "amounts are decimal strings in major units, at most 12 digits before and 4 after the point; below 0 for what is "
    "given back in exchange"
)
_QUANTITY = "write an integer or a decimal string {}, at most 12 digits before and 3 after the point{}"
_TIME = 'write the date, time and offset of RFC 3339, such as "2026-01-31T09:30:00Z"'

_WANTED = {
    "specversion": 'leave it out or write "1.0"',
    "data": "it must be an object with the facts of the event",
    "by": f'it must be a string of 1 to {OPERATOR_CHARACTERS_MAX} characters, {_SEEN}, and without "@": the name of '
    "who gave it, no e-mail address",
    **dict.fromkeys(
        ("customer_id", "previous_customer_id", "into_customer_id", "to_customer_id", "acting_customer_id"),
        _CUSTOMER_ID,
    ),
    "card": "it must be a string of 4 to 64 letters, digits and hyphens",
    PHONE: f"it must be a string of at most {PHONE_CHARACTERS_MAX} characters: {PHONE_ADVICE}",
    EMAIL: f"it must be a string: {EMAIL_ADVICE}",
    "sku": _LABEL,
    "currency": 'write the ISO 4217 code of three upper-case letters as a string, such as "EUR"',
    "rate": "it must be a decimal string above 0, at most 12 digits before and 12 after the point: what one unit of "
    "the order's currency is worth in the program's, such as \"0.0529\"",
    "revision": f"it must be {_NUMBER} from 1 to {REVISION_MAX:,}: 1 for the first edit, and more for each later one",
    "lines": f"it must be an array of 1 to {LINES_MAX:,} lines",
    "lines[]": "a line must be an object",
    "quantity": _QUANTITY.format("above 0", ', such as 2 or "0.250"'),
    **dict.fromkeys(AMOUNTS, _AMOUNT),
    **dict.fromkeys(TIMES, _TIME),
    "kind": f"leave it out or write one of {', '.join(LineKind)}",
    "categories": f"it must be an array of at most {CATEGORIES_MAX} {_LABELS}",
    "categories[]": _LABEL,
    **dict.fromkeys(("attributes", "metadata"), _ATTRIBUTES),
    **dict.fromkeys(("customer_tags", "tags"), f"it must be an array of at most {TAGS_MAX} {_LABELS}"),
    **dict.fromkeys(("customer_tags[]", "tags[]"), _LABEL),
    "members": f"it must be an array of at most {MEMBERS_MAX} objects, each with a customer_id and a role",
    "members[]": 'a member must be an object, such as {"customer_id": "C-17", "role": "member"}',
    "role": 'write the string "member" or "viewer"',
    "full": "write true, or leave it out",
    **dict.fromkeys(("points", "lifetime_points"), f"it must be {_NUMBER} from 1 to {POINTS_MAX:,}"),
    "points_left": 'write the string "forfeit" or "transfer", or leave it out',
    "expires_in_seconds": f"it must be {_NUMBER} from {SECONDS_MIN:,} to {SECONDS_MAX:,}",
    "reason": f"it must be a string of 1 to {TEXT_CHARACTERS_MAX} characters without control characters",
    **dict.fromkeys((*SWITCHES, "is_final"), "write true or false, or leave it out"),
}
#: What a name stands for in one type of message alone.
_WANTED_OF = {
    **dict.fromkeys(((of_order, "customer_id") for of_order in ("order.completed", "order.amended")), _GUEST_TOO),
    **dict.fromkeys((("order.amended", name) for name in ("amount", "tax")), _SIGNED_AMOUNT),
    ("order.amended", "quantity"): _QUANTITY.format("that is not 0", "; below 0 for what is given back in exchange"),
    (f"{COMMAND_PREFIX}account.create", "account_id"): f"it must be a string of 1 to {OWN_ID_CHARACTERS_MAX} "
    f'characters, {_SEEN}, without "@", and nothing that looks like a UUID',
    (f"{COMMAND_PREFIX}adjust", "points"): f"it must be {_NUMBER} from -{POINTS_MAX:,} to {POINTS_MAX:,}, and not 0",
    (f"{COMMAND_PREFIX}reward.issue", "expires_in_seconds"): f"it must be {_NUMBER} from {SECONDS_MIN:,} to "
    f"{ISSUED_SECONDS_MAX:,}",
}


def wanted(field: str, event_type: object) -> str:
    """What `field` must hold; "tags[]" is what stands in the array of that name.

    `event_type` is the type that the message says, whatever that is. A field that is not listed is an id.
    """
    of_type = _WANTED_OF.get((event_type, field)) if isinstance(event_type, str) else None
    return of_type or _WANTED.get(field, _ID)
