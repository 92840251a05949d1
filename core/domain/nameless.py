"""What is left of a person who was erased: a text in the place of their customer id, and data without what names them.

The text cannot be a customer id, which has no "@", so no message can mean it; it is drawn at random, so nobody can work
out from it whose it was.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from core.domain.value.commands import LINKED

#: What the text begins with.
MARK = "erased@"
#: Fields of messages, events and answers that hold the id of a customer.
CUSTOMER_FIELDS = frozenset(
    {"customer_id", "acting_customer_id", "previous_customer_id", "to_customer_id", "into_customer_id"}
)
#: Fields that hold a list of such ids.
CUSTOMER_LISTS = frozenset({"primary_of", "primary_no_longer_of"})
#: Fields that say something about a person, or in words of somebody's own.
_SAID = frozenset({"attributes", "customer_tags", "linked", "metadata", "reason", "tags", "unlinked"})
#: Fields that name an account by what is a person's own.
_OWN_NAMES = frozenset(LINKED)
Names = Mapping[str, str]  #: customer ids with what stands in their place


def nameless_id(drawn: UUID) -> str:
    """What stands in the place of a customer's id from their erasure on; `drawn` at random for it."""
    return f"{MARK}{drawn.hex}"


def is_erased(customer_id: str | None) -> bool:
    """Whether this stands for a customer who was erased."""
    return customer_id is not None and customer_id.startswith(MARK)


def names_erased(settled: str) -> bool:
    """Whether settled data name a customer who was erased, in whichever field."""
    return f'"{MARK}' in settled


def named_in(data: Any) -> frozenset[str]:
    """The ids of all customers that the data of a message, an event or an answer name."""
    found: set[str] = set()
    _collect(data, found)
    return frozenset(found)


def _collect(value: Any, found: set[str]) -> None:
    if isinstance(value, Mapping):
        for field, part in value.items():
            if field in CUSTOMER_FIELDS and isinstance(part, str):
                found.add(part)
            elif field in CUSTOMER_LISTS and isinstance(part, list):
                found.update(each for each in part if isinstance(each, str))
            else:
                _collect(part, found)
    elif isinstance(value, list):
        for part in value:
            _collect(part, found)


def without_names(value: Any, names: Names) -> Any:
    """The same data of somebody else's account, or of an event of it, without these customers."""
    return _without(value, _Left(names, frozenset(), {}))


def without_person(value: Any, names: Names, *, keeps: frozenset[str] = frozenset()) -> Any:
    """The same data of the customers' own account: also without what is said of them, and without what else names it.

    `keeps` are fields of it that are no words about a person here, such as the code of a reason.
    """
    token = next(iter(names.values()))
    return _without(value, _Left(names, _SAID - keeps, dict.fromkeys(_OWN_NAMES, token)))


def nameless_message(event_type: str, data: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """The settled data of a message of theirs, as it is posted without them.

    An order is a guest's then. What else names them has the text that stands for them, by which it is rejected, or
    comes to nothing.
    """
    token = next(iter(names.values()))
    is_told = _Left(names, _SAID, dict.fromkeys(_OWN_NAMES, token), drops_members=False)
    left: dict[str, Any] = _without(data, is_told)
    if event_type == "order.completed" and is_erased(left.get("customer_id")):
        del left["customer_id"]
    return left


class _Left(NamedTuple):
    """What is left of data."""

    names: Names
    left_out: frozenset[str]  #: fields that go
    replaced: Mapping[str, str]  #: fields with what stands there then
    drops_members: bool = True  #: of lists of members; else they are there, under the text that stands for them


def _without(value: Any, how: _Left) -> Any:
    if isinstance(value, Mapping):
        return {field: _field(field, part, how) for field, part in value.items() if field not in how.left_out}
    if isinstance(value, list):
        return [_without(part, how) for part in value]
    return value


def _field(field: str, part: Any, how: _Left) -> Any:
    if field in CUSTOMER_FIELDS and isinstance(part, str):
        return how.names.get(part, part)
    if field in CUSTOMER_LISTS and isinstance(part, list):
        return [how.names.get(each, each) for each in part]
    if field in how.replaced and isinstance(part, str):
        return how.replaced[field]
    if field == "members" and isinstance(part, list) and how.drops_members:
        return [each for each in part if not (isinstance(each, Mapping) and each.get("customer_id") in how.names)]
    return _without(part, how)
