"""Which conditions of a rule or promotion did not hold for an order, in words. Each is asked of the domain itself."""

from collections.abc import Iterator, Sequence
from typing import Any

from core.domain.program import Circumstances, Hours, When

_HOLDS_FOR_ALL = When()


def unmet_texts(when: When, circumstances: Circumstances) -> list[str]:
    """What kept the order out, one text for each condition; none if all hold that are judged when it is posted."""
    return [text for field, text in _conditions(when, circumstances) if not _holds(when, field, circumstances)]


def _holds(when: When, field: str, circumstances: Circumstances) -> bool:
    alone = _HOLDS_FOR_ALL.model_copy(update={field: getattr(when, field)})
    return alone.holds(circumstances)


def _conditions(when: When, circumstances: Circumstances) -> Iterator[tuple[str, str]]:
    """Each condition, and what to say if it does not hold."""
    order, local, tier_id, _ = circumstances
    day = f"{local:%Y-%m-%d}"
    yield "starts_on", f"it starts on {when.starts_on}, the order is of {day}"
    yield "ends_on", f"it ended on {when.ends_on}, the order is of {day}"
    yield "hours", f"it is for {_hours_text(when.hours)}, the order is of {local:%A %H:%M}"
    yield "tiers", f"it is for tier {_either(when.tiers)}, the order earned in {tier_id}"
    only = "only for a customer's first order, and this was not the first"
    yield "first_order", f"it is {only}" if when.first_order else "it is not for a customer's first order"
    yield "channels", _attribute_text("channel", when.channels, order.attributes.get("channel"))
    tags = ", ".join(order.customer_tags) or "none"
    yield "customer_tags", f"it is for customers with the tag {_either(when.customer_tags)}, the order names {tags}"
    attributes = when.attributes or {}
    wrong = [name for name, values in attributes.items() if not _has_one(name, values, circumstances)]
    texts = [_attribute_text(name, attributes[name], order.attributes.get(name)) for name in wrong]
    yield "attributes", "; ".join(texts)


def _has_one(name: str, values: Sequence[Any], circumstances: Circumstances) -> bool:
    return _HOLDS_FOR_ALL.model_copy(update={"attributes": {name: tuple(values)}}).holds(circumstances)


def _attribute_text(name: str, wanted: Sequence[Any], found: Any) -> str:
    said = "the order does not say it" if found is None else f"the order has {_value_text(found)}"
    return f"it wants {name} {_either([_value_text(value) for value in wanted])}, {said}"


def _value_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)


def _hours_text(hours: Sequence[Hours]) -> str:
    return " and ".join(f"{', '.join(span.days)} {span.start} to {span.end}" for span in hours)
