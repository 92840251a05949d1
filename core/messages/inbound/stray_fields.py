"""Fields that a contract does not know: most are the shop's own and are ignored, some would change the meaning.

Such a one is the near miss of a field that is absent (`pointsPaid`), a field of another type of message (`lines` where
the whole order is meant), or a field in the wrong place. It is refused, unless it says nothing (null, false, empty).

The parser does not read what it does not know. It only tells that something was there, which costs nothing where
nothing is; whether it matters is looked up in the message itself, by `stray_problems`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from threading import get_ident
from typing import Any, NamedTuple, cast

from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from core.messages.inbound.near_names import meant_names

STRAY = "loyalty_stray"  #: the type of the error that says: look whether it matters
#: So many different names of one place in a message are compared: whoever sends more has fields of his own there.
_NAMES_COMPARED_MAX = 30
_SAYS_NOTHING: tuple[Any, ...] = (None, False, "", [], {})

Path = tuple[str | int, ...]
_DATA, _LINES = ("data",), ("data", "lines")

_AS_REFUND = "is not a field of {type}; send what is given back as order.refunded"
_PART_OF_ORDER = "is not a field of {type}, which is of goods; send order.refunded for money that is given back"
_RATE_OF_ORDER = (
    "is not a field of {type}; the rate of the order stays, for its refunds and amendments too: leave this out"
)
_IN_LINES = "is not a field of {type} as a whole; write it in a line of data.lines"
_PIECES_ONLY = (
    "is not a field of a line of {type}, which counts pieces; send order.refunded for money that is given back"
)
_WHOLE_REFUND = (
    "is not a field of {type}, which is of the whole refund; send another order.refunded for what is kept of it"
)
_OF_NO_ORDER = (
    "is not a field of {type}, which is of goods whose order nobody can name; send order.refunded of their order"
)

#: What is known in another type of message and would mean something else where it is not.
_ELSEWHERE: Mapping[tuple[str, Path], Mapping[str, str]] = {
    ("order.completed", _DATA): dict.fromkeys(("full", "refund_id"), _AS_REFUND),
    ("order.amended", _DATA): {**dict.fromkeys(("full", "refund_id"), _AS_REFUND), "rate": _RATE_OF_ORDER},
    ("order.refunded", _DATA): {**dict.fromkeys(("line_id", "quantity"), _IN_LINES), "rate": _RATE_OF_ORDER},
    ("order.cancelled", _DATA): {
        **dict.fromkeys(("amount", "paid", "net"), _PART_OF_ORDER),
        **dict.fromkeys(("line_id", "quantity"), _IN_LINES),
    },
    ("order.cancelled", _LINES): dict.fromkeys(("amount", "paid", "net"), _PIECES_ONLY),
    ("order.fulfilled", _DATA): dict.fromkeys(("line_id", "quantity"), _IN_LINES),
    ("order.returned", _DATA): dict.fromkeys(("order_id", "refund_id", "order_source"), _OF_NO_ORDER),
    ("order.refund_reverted", _DATA): dict.fromkeys(
        ("lines", "amount", "paid", "net", "line_id", "quantity"), _WHOLE_REFUND
    ),
}
_COMMANDS = "loyalty.command."
_AS_IN_OTHERS = "is not a field of {type}, and would say something in other commands; leave it out"
#: What says in some commands how much is done, until when, or for whom: others must not be done as if it was not there.
_OF_COMMANDS = dict.fromkeys(
    (
        "acting_customer_id", "points", "allow_remainder", "allow_negative_balance", "is_final", "available_at",
        "expires_at", "expires_in_seconds", "points_left", "to_customer_id", "to_account_id", "to_program_id",
        "into_customer_id", "into_account_id", "members",
    ),
    _AS_IN_OTHERS,
)  # fmt: skip
_ORDERS = {"order.completed", "order.amended"}
#: Of all fields of `data`: it may stand beside it as well, as brokers have attributes of their own.
_NOT_MISPLACED = frozenset({"attributes"})
#: What is near to these changes no meaning: of a trace anything is taken.
_OF_TRACES = frozenset({"traceparent", "tracestate"})


class Place(NamedTuple):
    """The objects of one place in messages of one type."""

    type: str
    path: Path  #: without the numbers of lines
    known: frozenset[str]
    known_below: frozenset[str] = frozenset()  #: of the envelope: what would mean something in data


Places = Mapping[Path, Place]  #: of one type of message


class StrayProblem(NamedTuple):
    """A field that must not be ignored."""

    path: Path
    text: str
    meant: str | None = None  #: the field that it was probably meant to be


def noticing(schema: CoreSchema) -> tuple[CoreSchema, Mapping[str, Places]]:
    """The schema of a union of events, made to notice unknown fields, and the places that it has, by type.

    Unknown fields are left out as before. One that may matter raises a ValidationError with a `STRAY`.
    """
    found: dict[str, Places] = {}
    union = cast("dict[str, Any]", schema)
    definitions: dict[str, Any] = {}
    if union["type"] == "definitions":
        definitions = {each["ref"]: each for each in union["definitions"]}
        union = union["schema"]
    choices = {}
    for event_type, choice in union["choices"].items():
        noticing_type = _Noticing(event_type, definitions)
        choices[event_type] = noticing_type.of(choice, ())
        found[event_type] = noticing_type.places
    return cast("CoreSchema", {**union, "choices": choices}), found


def stray_problems(event: Any, places: Places) -> Iterator[StrayProblem]:
    """What of an event's unknown fields matters, envelope first; `event` is as it came, and of a known type."""
    if not isinstance(event, dict):
        return
    data = event.get("data")
    yield from _problems_of(event, places[()], (), event, _compared((event,), places[()]))
    if not isinstance(data, dict) or _DATA not in places:
        return
    yield from _problems_of(data, places[_DATA], _DATA, event, _compared((data,), places[_DATA]))
    lines = data.get("lines")
    if _LINES in places and isinstance(lines, list):
        objects = {number: line for number, line in enumerate(lines) if isinstance(line, dict)}
        names = _compared(objects.values(), places[_LINES])
        for number, line in objects.items():
            yield from _problems_of(line, places[_LINES], (*_LINES, number), event, names)


def _compared(each: Iterable[Mapping[str, Any]], place: Place) -> frozenset[str]:
    """The unknown names that are compared and may matter."""
    names = dict.fromkeys(name for there in each for name in there if name not in place.known)
    return frozenset(name for name in islice(names, _NAMES_COMPARED_MAX) if _may_matter(name, place))


def _problems_of(
    there: Mapping[str, Any], place: Place, path: Path, event: Mapping[str, Any], names: frozenset[str]
) -> Iterator[StrayProblem]:
    for name in there:
        if name in names and not any(there[name] is said or there[name] == said for said in _SAYS_NOTHING):
            meant = next(
                (field for field in meant_names(name, place.known - _OF_TRACES) if there.get(field) is None), None
            )
            text = (
                f"is not a field here; did you mean {_named(meant, place)}?"
                if meant
                else _text(name, there, place, event)
            )
            if text is not None:
                yield StrayProblem((*path, name), text, meant)


def _named(meant: str, place: Place) -> str:
    return "paid or net" if meant == "amount" and place.type == "order.refunded" else meant


def _text(name: str, there: Mapping[str, Any], place: Place, event: Mapping[str, Any]) -> str | None:
    """Why a field cannot be ignored that is no near miss; None: it can."""
    if name in (elsewhere := _elsewhere(place)):
        return elsewhere[name].format(type=place.type)
    data = event["data"] if isinstance(event.get("data"), dict) else {}
    if name in place.known_below and data.get(name) is None:
        return "stands beside data, where it means nothing; write it in data"
    if place.path == _LINES and name == "currency" and there[name] != data.get("currency"):
        return "is not the currency of the order; all lines of an order have the one in data.currency"
    if place.path == _LINES and name == "points_paid" and data.get(name) is None:
        return "is not a field of a line; write what all lines together had paid with points in data.points_paid"
    return None


def _elsewhere(place: Place) -> Mapping[str, str]:
    """What is known in another type of message and would mean something else here, with what is said of it."""
    if place.path == _DATA and place.type.startswith(_COMMANDS):
        return _OF_COMMANDS
    return _ELSEWHERE.get((place.type, place.path), {})


@lru_cache(maxsize=4_096)
def _may_matter(name: str, place: Place) -> bool:
    """Whether an unknown field has to be looked at; of most it is said once for all messages."""
    if name in place.known_below or name in _elsewhere(place):
        return True
    if place.path == _LINES and name in {"currency", "points_paid"} and place.type in _ORDERS:
        return True
    return bool(meant_names(name, place.known - _OF_TRACES))


class _Noticing:
    """Rebuilds the schema of one type of event, and keeps the places that it meets."""

    def __init__(self, event_type: str, definitions: Mapping[str, Any]) -> None:
        self.places: dict[Path, Place] = {}
        self._type, self._definitions = event_type, definitions

    def of(self, schema: Any, path: Path) -> Any:
        """The schema at `path`; what is neither an object nor around one stays as it is."""
        kind = schema["type"]
        if kind == "definition-ref":
            return self.of(self._definitions[schema["schema_ref"]], path)
        if kind == "typed-dict":
            return self._checked(self._object(schema, path), _check_of(self.places[path]))
        if kind == "list" and self._named(schema.get("items_schema", {}))["type"] == "typed-dict":
            items = self._object(self._named(schema["items_schema"]), path)
            return self._checked({**schema, "items_schema": items}, _check_of_each(self.places[path]))
        return (
            {**schema, "schema": self.of(schema["schema"], path)} if isinstance(schema.get("schema"), dict) else schema
        )

    def _named(self, schema: Any) -> Any:
        return self._definitions[schema["schema_ref"]] if schema.get("type") == "definition-ref" else schema

    def _object(self, schema: Any, path: Path) -> Any:
        fields = {
            name: {**field, "schema": self.of(field["schema"], (*path, name))}
            for name, field in schema["fields"].items()
        }
        below = self.places[_DATA].known - _NOT_MISPLACED if not path and _DATA in self.places else frozenset()
        known = frozenset(fields)
        self.places[path] = Place(self._type, path, known, below - known)
        nothing = core_schema.int_schema(gt=0, lt=0)
        unread = core_schema.with_default_schema(nothing, default_factory=_note, on_error="default")
        named = {key: value for key, value in schema.items() if key != "ref"}  # a second one of that name
        return {**named, "fields": fields, "extras_schema": unread, "extra_behavior": "allow"}

    @staticmethod
    def _checked(schema: Any, check: Callable[[Any], Any]) -> Any:
        return core_schema.no_info_after_validator_function(check, schema)


def _check_of(place: Place) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def check(fields: dict[str, Any]) -> dict[str, Any]:
        if _noticed and _is_noticed() and _any_may_matter(_taken_out((fields,), place), place):
            raise _suspicion()
        if _noticed and not place.path:
            _noticed.discard(get_ident())
        return fields

    return check


def _check_of_each(place: Place) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    def check(each: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if _noticed and _is_noticed() and _any_may_matter(_taken_out(each, place), place):
            raise _suspicion()
        return each

    return check


#: Threads that read a message with unknown fields; one that stays here too long costs a look, no more.
_noticed: set[int] = set()


def _note() -> None:
    """Stand for the value of an unknown field."""
    _noticed.add(get_ident())


def _is_noticed() -> bool:
    return get_ident() in _noticed


def _taken_out(each: Iterable[dict[str, Any]], place: Place) -> list[str]:
    """Take out what is unknown; give the names that are compared."""
    names: dict[str, None] = {}
    for fields in each:
        for name in [name for name in fields if name not in place.known]:
            del fields[name]
            names[name] = None
    return list(islice(names, _NAMES_COMPARED_MAX))


def _any_may_matter(names: Iterable[str], place: Place) -> bool:
    return any(_may_matter(name, place) for name in names)


def _suspicion() -> PydanticCustomError:
    return PydanticCustomError(STRAY, "a field that may matter")
