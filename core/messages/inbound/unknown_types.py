"""Which type of event was probably meant by one that is unknown. A wrong answer is worse than none.

Types are compared by what they mean, not by their letters: `order.refund_failed` looks like `order.refunded` and says
the opposite. So every word of the unknown type must be understood; one that is not leaves it without an answer.
"""

import re
from collections.abc import Iterable

from core.messages.inbound.near_names import NAME_CHARACTERS_MAX, slips_between, words_of

_SUBJECTS = {"order", "orders", "sale", "purchase"}
_WORDS = {
    "complete": ("completed", "complete", "completion", "paid"),
    "refund": ("refunded", "refund", "refunds"),
    "return": ("returned", "return", "returns"),
    "cancel": ("cancelled", "canceled", "cancel", "cancellation", "cancelation", "voided", "void", "annulled"),
    "fulfil": (
        "fulfilled", "fulfil", "fulfill", "fulfilment", "fulfillment", "shipped", "delivered", "dispatched",
    ),
    "amend": (
        "amended", "amend", "amendment", "edited", "edit", "updated", "update", "changed", "change", "modified",
        "revised", "corrected",
    ),
    "claim": ("claimed", "claim"),
    "revert": ("reverted", "reversed", "undone", "failed", "rejected", "declined", "withdrawn", "bounced", "reversal"),
    "done": ("created", "issued", "processed", "succeeded", "made", "done", "confirmed"),
    "received": ("received",),
    "part": ("partially", "partial", "part"),
    "whole": ("fully", "full"),
}  # fmt: skip
_MEANINGS = {word: meaning for meaning, words in _WORDS.items() for word in words}
#: Of these a slip of the hand is forgiven. Of other words it might make the opposite: `charged` is not `changed`.
_OURS = ("completed", "refunded", "returned", "cancelled", "fulfilled", "amended", "claimed", "reverted", "refund")
_TYPES = {
    "order.completed": ("complete",),
    "order.refunded": ("refund", "refund done", "refund complete", "refund part", "refund whole"),
    "order.refund_reverted": ("refund revert", "refund cancel"),
    "order.returned": ("return", "return received", "return complete"),
    "order.cancelled": ("cancel", "cancel done", "cancel whole", "cancel part"),
    "order.fulfilled": ("fulfil", "fulfil complete", "fulfil whole", "fulfil part"),
    "order.amended": ("amend", "amend done"),
    "order.claimed": ("claim",),
}
_BY_MEANING = {frozenset(text.split()): event_type for event_type, texts in _TYPES.items() for text in texts}
_VERSION = re.compile(r"v?[0-9]+")
#: Whose type it is, before its name: the domain of a company, backwards.
_DOMAIN = re.compile(
    r"(?P<domain>(com|org|net|io|dev|app|[a-z]{2})[.][a-z0-9-]+([.][a-z0-9-]+)??)[.](?P<name>orders?[._/].+)"
)


def meant_type(event_type: str, known: Iterable[str]) -> str | None:
    """The one of the `known` types that was meant; None: there is none, or it is not sure."""
    if len(event_type) > NAME_CHARACTERS_MAX:
        return None
    owned = _DOMAIN.fullmatch(event_type)
    if owned and not any(word in _MEANINGS for word in words_of(owned["domain"])):
        event_type = owned["name"]
    words = [word for word in words_of(event_type) if not _VERSION.fullmatch(word)]
    by_words = {words_of(each): each for each in known}
    if tuple(words) in by_words:
        return by_words[tuple(words)]
    meanings = {_meaning(word) for word in words if not _is_subject(word)}
    meant = None if None in meanings else _BY_MEANING.get(frozenset(each for each in meanings if each))
    return meant if meant in by_words.values() else None


def _is_subject(word: str) -> bool:
    return word in _SUBJECTS or slips_between(word, "order") is not None


def _meaning(word: str) -> str | None:
    if word in _MEANINGS:
        return _MEANINGS[word]
    return next((_MEANINGS[ours] for ours in _OURS if slips_between(word, ours) == 1), None)
