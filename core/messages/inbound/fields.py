"""The kinds of value that messages coming in hold, each with what it accepts and how its schema says so."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

from iso4217 import Currency
from pydantic import (
    AfterValidator,
    FailFast,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from core.domain.currencies import WITHDRAWN
from core.domain.ids import id_pattern
from core.domain.program.fields import EXCHANGE_RATE_PATTERN
from core.domain.value.commands import LINKED

AMOUNT_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,4})?$"
QUANTITY_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,3})?$"
ZERO_PATTERN = r"^0+(\.0+)?$"
LABEL_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*$"
TIME_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
#: Of a line that is given back in exchange: below zero.
SIGNED_AMOUNT_PATTERN = r"^-?[0-9]{1,12}(\.[0-9]{1,4})?$"
SIGNED_QUANTITY_PATTERN = r"^-?[0-9]{1,12}(\.[0-9]{1,3})?$"
QUANTITY_MAX = 10**12 - 1
#: From here on a whole number has as many digits as a telephone number, and no problem shows it.
NUMBER_HIDDEN_FROM = 10**9
ID_CHARACTERS_MAX = 200
TEXT_CHARACTERS_MAX = 500
OPERATOR_CHARACTERS_MAX = 100
ATTRIBUTES_MAX = 100
ATTRIBUTE_CHARACTERS_MAX = 1_000  #: of a text; a name has 200, as an id
ATTRIBUTE_INTEGER_MAX = 2**63 - 1
CURRENCIES = frozenset(currency.code for currency in Currency) | WITHDRAWN
TIME_MIN = datetime(1970, 1, 1, tzinfo=UTC)  #: older times are clocks that were never set

#: What a type of event looks like, or the name of a task: words in lower case, parted by dots. Only that is shown and
#: published of an unknown one, since anything may stand there: an e-mail address, a name, a number.
TYPE_LIKE = re.compile(r"[a-z][a-z_-]{0,30}[0-9]{0,2}([.][a-z][a-z_-]{0,30}[0-9]{0,2}){1,7}")

#: Problems that a check of our own found carry this type; their text is the whole sentence after the path.
OWN_PROBLEM = "loyalty_problem"
#: The fields that name whose account it is, of which a message has one at most.
NAMING = ("customer_id", "account_id", *LINKED)
_ATTRIBUTE_TOO_LONG = (
    f"has a name of more than {ID_CHARACTERS_MAX} characters, a text of more than {ATTRIBUTE_CHARACTERS_MAX:,}, or an "
    "integer of more than 64 bits; shorten it, or leave it out"
)

_TIME = re.compile(TIME_PATTERN.replace("$", r"\Z"))


def own_problem(where: tuple[str | int, ...], text: str) -> InitErrorDetails:
    """Word a problem at `where`, counted from the value that the check was given."""
    # The text goes in as a value, since a template would read braces in it as fields of its own.
    return InitErrorDetails(type=PydanticCustomError(OWN_PROBLEM, "{text}", {"text": text}), loc=where, input=None)


def named_twice(
    data: Any, fields: tuple[str, ...], advice: str = "name the account in one way"
) -> list[InitErrorDetails]:
    """What is wrong where an account is named in several of these fields."""
    named = [name for name in fields if name in data]
    return [own_problem((each,), f"stands beside {named[0]}; {advice}") for each in named[1:2]]


class Unread(NamedTuple):
    """A value that is not what its field takes, kept until it shows whether that matters."""

    value: Any
    error: ValidationError


def or_unread(value: Any, read: Callable[[Any], Any]) -> Any:
    """What is read of a value, or the value `Unread`: for a field that may be of no interest beside another one."""
    try:
        return read(value)
    except ValidationError as error:
        return Unread(value, error)


def settle_naming(data: Any) -> list[InitErrorDetails]:
    """What is wrong where an order names its account in two ways, or by what is no name.

    A customer decides. Shops send an address or a number with every order, in whatever form people typed it, or an
    empty text: what may be linked is left out beside a customer, and so is what is empty.
    """
    problems = []
    for name in LINKED:
        found = data.get(name)
        if "customer_id" in data or (isinstance(found, Unread) and found.value == ""):
            data.pop(name, None)
        elif isinstance(found, Unread):
            (error, *_) = found.error.errors(include_url=False, include_input=False)
            told = PydanticCustomError(error["type"], "{text}", {"text": error["msg"]})
            problems.append(InitErrorDetails(type=told, loc=(name,), input=None))
    return problems or named_twice(data, NAMING)


def named_nowhere(data: Any, fields: tuple[str, ...], advice: str) -> list[InitErrorDetails]:
    """What is wrong where none of these fields is there."""
    if any(name in data for name in fields):
        return []
    return [own_problem((), f"has none of {', '.join(fields)}; {advice}")]


def counting(problem: InitErrorDetails, more: int) -> InitErrorDetails:
    """Let `problem` say besides how many others there are that nobody words."""
    error = problem["type"]
    assert isinstance(error, PydanticCustomError)
    told = PydanticCustomError(OWN_PROBLEM, "{text}", {**(error.context or {}), "more": more})
    return InitErrorDetails(type=told, loc=problem.get("loc", ()), input=None)


def plain_decimal(text: str) -> str:
    """Write a decimal string in its one shortest form: "012.50" as "12.5", "3.00" as "3"."""
    if text[0] == "-":
        plain = plain_decimal(text[1:])
        return plain if plain == "0" else f"-{plain}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text[0] == "0":
        text = text.lstrip("0")
        return f"0{text}" if not text or text[0] == "." else text
    return text


def plain_quantity(text: str) -> int | str:
    """Write a quantity in its one shortest form: whole ones as integers."""
    plain = plain_decimal(text)
    return plain if "." in plain else int(plain)


class StopAtFirst(FailFast):
    """pydantic's FailFast, which cannot stand in a union as it has no hash."""

    def __hash__(self) -> int:
        return hash(self.fail_fast)


def _utc_time(value: Any) -> datetime:
    # pydantic's own datetime would also take Unix timestamps and times without seconds.
    if isinstance(value, str) and _TIME.match(value):
        try:
            time = datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):  # February 30th; the year 1 in an eastern zone
            pass
        else:
            if time >= TIME_MIN:
                return time
    raise PydanticCustomError("time", "no time")


def _known_currency(value: str) -> str:
    if value not in CURRENCIES:
        raise PydanticCustomError("currency", "no currency")
    return value


def _short_attributes(value: Any) -> dict[str, str | int | bool]:
    if not isinstance(value, dict) or len(value) > ATTRIBUTES_MAX:
        raise PydanticCustomError("attributes", "no attributes")
    if not all(isinstance(item, (str, int)) for item in value.values()):
        raise PydanticCustomError(
            OWN_PROBLEM, "has a value that is not a string, integer, true or false; write it as a string"
        )
    for name, item in value.items():
        is_long = len(item) > ATTRIBUTE_CHARACTERS_MAX if isinstance(item, str) else abs(item) > ATTRIBUTE_INTEGER_MAX
        if is_long or len(name) > ID_CHARACTERS_MAX:
            raise PydanticCustomError(OWN_PROBLEM, _ATTRIBUTE_TOO_LONG)
    return dict(sorted(value.items()))


Amount = Annotated[str, StringConstraints(pattern=AMOUNT_PATTERN), Field(examples=["12.50"])]
ExchangeRate = Annotated[
    str,
    StringConstraints(pattern=EXCHANGE_RATE_PATTERN),
    Field(examples=["0.0529"], json_schema_extra={"not": {"pattern": ZERO_PATTERN}}),
]
Quantity = Annotated[
    Annotated[int, Field(gt=0, le=QUANTITY_MAX)]
    | Annotated[
        str,
        StringConstraints(pattern=QUANTITY_PATTERN),
        Field(json_schema_extra={"not": {"pattern": ZERO_PATTERN}}),
    ],
    Field(union_mode="left_to_right", examples=[1, "0.250"]),
]
SignedAmount = Annotated[str, StringConstraints(pattern=SIGNED_AMOUNT_PATTERN), Field(examples=["12.50", "-50.00"])]
SignedQuantity = Annotated[
    Annotated[int, Field(ge=-QUANTITY_MAX, le=QUANTITY_MAX)]
    | Annotated[str, StringConstraints(pattern=SIGNED_QUANTITY_PATTERN)],
    Field(union_mode="left_to_right", examples=[1, -1, "0.250"]),
]
#: Names something for ever. An id that only looks like another one would open a second account, or lose a refund.
Id = Annotated[str, StringConstraints(min_length=1, max_length=ID_CHARACTERS_MAX, pattern=id_pattern())]
CustomerId = Annotated[str, StringConstraints(min_length=1, max_length=ID_CHARACTERS_MAX, pattern=id_pattern(but="@"))]
CardNumber = Annotated[str, StringConstraints(min_length=4, max_length=64, pattern=r"^[0-9A-Za-z-]+$")]
#: What a rule selects by, and no row is known by: a catalogue's own text, with whatever blanks it has.
Label = Annotated[str, StringConstraints(min_length=1, max_length=ID_CHARACTERS_MAX, pattern=LABEL_PATTERN)]
#: For people.
Text = Annotated[str, StringConstraints(min_length=1, max_length=TEXT_CHARACTERS_MAX, pattern=LABEL_PATTERN)]
#: Who acts by hand. No e-mail address: answers and entries show it.
OperatorName = Annotated[
    str, StringConstraints(min_length=1, max_length=OPERATOR_CHARACTERS_MAX, pattern=id_pattern(but="@"))
]
CurrencyCode = Annotated[
    str,
    AfterValidator(_known_currency),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["EUR"]}),
]
UtcTime = Annotated[
    datetime,
    PlainValidator(_utc_time),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": TIME_PATTERN}),
]
#: Of a trace anything is taken: what is not as W3C wants it is left out (core.messages.trace_context).
Traceparent = Annotated[
    Any,
    WithJsonSchema({"type": "string"}),
    Field(
        description="The trace of the sender, as W3C Trace Context writes it; all events that the message causes have "
        "it too. One that is wrong is ignored.",
        examples=["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    ),
]
Tracestate = Annotated[
    Any,
    WithJsonSchema({"type": "string"}),
    Field(
        description="What tracing systems add to it: at most 512 characters of it are kept. Name nobody in it.",
        examples=["congo=t61rcWkgMzE"],
    ),
]
Attributes = Annotated[
    dict[str, str | int | bool],
    PlainValidator(_short_attributes),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"maxLength": ID_CHARACTERS_MAX},
            "additionalProperties": {
                "type": ["string", "integer", "boolean"],
                "maxLength": ATTRIBUTE_CHARACTERS_MAX,
                "minimum": -ATTRIBUTE_INTEGER_MAX,
                "maximum": ATTRIBUTE_INTEGER_MAX,
            },
            "maxProperties": ATTRIBUTES_MAX,
        }
    ),
]
Kind = Literal["product", "shipping", "fee", "tip", "gift_card"]
