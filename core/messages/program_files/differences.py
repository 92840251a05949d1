"""Says what changed between two versions of a program: names and values as the program file writes them."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from core.domain.program import ANY_TIER, Program
from core.messages.inbound.shown_values import VALUE_CHARACTERS_MAX

_NAMES = ("rule_id", "promotion_id", "tier_id", "to_program", "reward_id")
_LISTED_MAX = 10


def describe_differences(old: Program, new: Program) -> list[str]:
    """Say what changed, one readable line for each value; nothing when both are the same.

    Rules, promotions, tiers, conversions and rewards are recognized by their names. What has its default on both sides
    is not mentioned.
    """
    return list(_differences("", old, new))


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        yield from _field_differences(path, old, new)
    elif isinstance(old, dict) and isinstance(new, dict) and not {ANY_TIER} & {*old, *new}:
        for key in dict.fromkeys([*old, *new]):
            yield from _member_differences(f"{path}.{key}", old.get(key), new.get(key), is_shown=True)
    elif isinstance(old, tuple) and isinstance(new, tuple):
        yield from _list_differences(path, old, new)
    else:
        yield f"{path}: {_text(old)} -> {_text(new)}"


def _field_differences(path: str, old: BaseModel, new: BaseModel) -> Iterator[str]:
    """Go through the fields. A rule of another kind than before may not have them all."""
    for field in dict.fromkeys([*type(old).model_fields, *type(new).model_fields]):
        before, after = _field(old, field, new), _field(new, field, old)
        yield from _differences(f"{path}.{field}".removeprefix("."), before, after)


def _field(part: BaseModel, field: str, other: BaseModel) -> Any:
    """A field's value; where there is none, what says that the least has changed."""
    value = getattr(part, field) if field in type(part).model_fields else None
    if value is not None or field not in type(other).model_fields:
        return value
    if field not in type(part).model_fields and getattr(other, field) == type(other).model_fields[field].default:
        return getattr(other, field)
    return {} if isinstance(getattr(other, field), dict) else None


def _list_differences(path: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> Iterator[str]:
    if not all(_name(value) for value in (*old, *new)):
        yield f"{path}: {_text(old)} -> {_text(new)}"
        return
    before, after = ({_name(value): value for value in values} for values in (old, new))
    for name in dict.fromkeys([*before, *after]):
        is_shown = isinstance(before.get(name, after.get(name)), BaseModel)
        yield from _member_differences(f"{path}[{name}]", before.get(name), after.get(name), is_shown=is_shown)
    if [name for name in before if name in after] != [name for name in after if name in before]:
        yield f"{path}: in another order, {', '.join(after)}"


def _member_differences(path: str, old: Any, new: Any, *, is_shown: bool) -> Iterator[str]:
    if old is None or new is None:
        value, what = (new, "added") if old is None else (old, "removed")
        yield f"{path}: {what} ({_text(value, is_outer=True)})" if is_shown else f"{path}: {what}"
    else:
        yield from _differences(path, old, new)


def _name(value: Any) -> str:
    if isinstance(value, BaseModel):
        return next((str(getattr(value, field)) for field in _NAMES if hasattr(value, field)), "")
    return _text(value)


def _text(value: Any, *, is_outer: bool = False) -> str:
    """Write a value as the file does, on one line; of a part what is not as by default, its name apart."""
    match value:
        case BaseModel():
            # By the fields: to go through a model would also give what it has worked out and kept.
            fields = [(name, field.default) for name, field in type(value).model_fields.items() if name not in _NAMES]
            written = [(name, getattr(value, name)) for name, default in fields if getattr(value, name) != default]
            if is_outer:
                return ", ".join(f"{name} {_text(found)}" for name, found in written)
            return _group_text(written)
        case dict():
            return _text(value[ANY_TIER]) if list(value) == [ANY_TIER] else _group_text(value.items())
        case tuple() if value:
            more = f", and {len(value) - _LISTED_MAX} more" if len(value) > _LISTED_MAX else ""
            return f"[{', '.join(map(_text, value[:_LISTED_MAX]))}{more}]"
        case _:
            text = "none" if value in {None, ()} else str(value)
            text = text.lower() if isinstance(value, bool) else text
            return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[: VALUE_CHARACTERS_MAX - 3]}..."


def _group_text(fields: Iterable[tuple[str, Any]]) -> str:
    return f"{{{', '.join(f'{name}: {_text(found)}' for name, found in fields)}}}"
