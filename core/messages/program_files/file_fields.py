"""What may stand in each field of a program file, in words, and which fields there are in each part."""

from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args

from pydantic import BaseModel

from core.domain.program import AnyPromotion, AnyReward, AnyRule, Program
from core.domain.program.currencies import PERIODS_MAX
from core.domain.program.fields import (
    AMOUNT_MAX,
    DAYS_MAX,
    LISTED_MAX,
    MONTHS_MAX,
    POINTS_LIMIT_MAX,
    RATE_POINTS_MAX,
)
from core.domain.program.value import CONVERSIONS_MAX, METADATA_CHARACTERS_MAX, METADATA_MAX, REASONS_MAX, REWARDS_MAX
from core.messages.yaml_source import YamlPath

_NAME = "1 to 36 of the characters a-z, 0-9, _ and -"
_DECIMAL = 'a decimal number in quotes with at most 4 decimal places, such as "1.25", or an integer'
_RATE = f"{_DECIMAL}, from 0 to {RATE_POINTS_MAX}"
_AMOUNT = f"{_DECIMAL}, above 0 and at most {AMOUNT_MAX}"
_EXCHANGE_RATE = (
    "what one unit of the currency is worth in the program's, a decimal number above 0 in quotes with at most 12 "
    'decimal places, such as "0.0529"'
)
_COUNT = f"an integer from 1 to {POINTS_LIMIT_MAX}"
_DAYS = f"an integer from 1 to {DAYS_MAX}"
_MONTHS = f"an integer from 1 to {MONTHS_MAX}"
_DATE = "a date of the calendar, such as 2026-12-24"
_TIME = 'a time of day in quotes from "00:00" to "24:00", such as "18:30"'
_BOOL = "true or false"
_TIER_ID = "the tier_id of a tier of this program"


def _list(noun: str, example: str, most: int = LISTED_MAX, least: int = 0) -> str:
    return f"a list of {least or 'at most'}{' to' if least else ''} {most:,} {noun}, such as [{example}]"


#: By the end of the path: the longest that fits counts. `[]` is an element of a list, `*` any name.
_ALLOWED = {
    "program_id": _NAME,
    "name": "1 to 200 characters in one line",
    "tags": _list("tags", "retail, uk"),
    "tags[]": "a tag of 1 to 200 characters",
    "metadata": f'at most {METADATA_MAX} names, each with a value, such as {{owner: marketing, cost_center: "4711"}}',
    "metadata.*": f"a text of at most {METADATA_CHARACTERS_MAX:,} characters, an integer, true or false",
    "unit": "points, a word of your own in lower case such as megabucks, or the code of its currency for money",
    "active": _BOOL,
    "one_account_per_customer": _BOOL,
    "currency": "an ISO 4217 code of three upper-case letters, such as EUR",
    "currencies": 'at most 300 ISO 4217 codes, each with its rate or a list of them, such as {ZAR: "0.0529"}',
    "currencies.*": f"{_EXCHANGE_RATE}, or a list of 1 to {PERIODS_MAX:,} of them with their time, such as "
    '[{starts_on: 2026-01-01, rate: "0.0529"}, {starts_on: 2026-07-01, rate: "0.0512"}]',
    "currencies.*[]": 'a rate with its time, such as {starts_on: 2026-01-01, rate: "0.0529"}',
    "rate": _EXCHANGE_RATE,
    "time_zone": "a name of the IANA database, such as Europe/London",
    "default": _BOOL,
    "sources": "a list of message sources, such as [/shops/high-street]",
    "sources[]": "a source of messages, 1 to 200 visible characters, such as /shops/high-street",
    "kinds": "a list of at least one kind of order line",
    "earning_rules": "a list of at most 100 rules",
    "earning_rules[]": "a rule, such as {rule_id: spend, kind: spend, per_amount: 1, points: 1}",
    "rule_id": _NAME,
    "per_amount": _AMOUNT,
    "points": f'{_RATE}; or one rate for each tier, such as {{bronze: 1, silver: "1.25"}}',
    "points.*": _RATE,
    "carry": _BOOL,
    "caps.*": _COUNT,
    "skus": _list("SKUs", "A-100, A-200"),
    "skus[]": "an SKU of 1 to 200 characters; a number goes in quotes",
    "categories": _list("categories", "wine, cheese"),
    "categories[]": "a category of 1 to 200 characters",
    "exclude_skus": _list("SKUs", "A-100, A-200"),
    "exclude_skus[]": "an SKU of 1 to 200 characters; a number goes in quotes",
    "exclude_categories": _list("categories", "wine, cheese"),
    "exclude_categories[]": "a category of 1 to 200 characters",
    "exclude_kinds": "a list of kinds of order line, such as [shipping, tip]",
    "promotions": "a list of at most 100 promotions",
    "promotions[]": "a promotion, such as {promotion_id: twice, kind: multiplier, multiplier: 2}",
    "promotion_id": _NAME,
    "promotions[].multiplier": f"{_DECIMAL}, above 1 and at most 1000",
    "promotions[].points": _COUNT,
    "promotions[].limits.*": _COUNT,
    "limits.*": "the most points in a time: per_day, per_month, such as {per_day: 5000}",
    "limits.*.per_day": _COUNT,
    "limits.*.per_month": _COUNT,
    "starts_on": _DATE,
    "ends_on": _DATE,
    "hours": 'a list of at most 100 spans of hours, such as [{days: [sat, sun], start: "10:00", end: "12:00"}]',
    "hours[]": 'a span of hours, such as {days: [sat, sun], start: "10:00", end: "12:00"}',
    "hours[].days": "a list of 1 to 7 days of the week, such as [sat, sun]",
    "start": _TIME,
    "end": _TIME,
    "channels": _list("channels", "web, app"),
    "channels[]": "a channel of 1 to 200 characters, as orders give it in their attribute channel",
    "attributes": "at most 100 names of order attributes, each with a list of values, such as {gift: [true]}",
    "attributes.*": "a list of 1 to 1,000 values, such as [web, app]",
    "attributes.*[]": "a text of 1 to 200 characters, an integer, true or false",
    "tiers": "a list of 1 to 100 tiers, in ascending order of their thresholds",
    "tiers[]": "a tier, such as {tier_id: gold, threshold_points: 1000}",
    "when.tiers": "a list of at most 100 tier_ids, such as [gold]",
    "when.tiers[]": _TIER_ID,
    "customer_tags": _list("customer tags", "birthday"),
    "customer_tags[]": "a customer tag of 1 to 200 characters",
    "first_order": _BOOL,
    "minimum_amount": _AMOUNT,
    "minimum_quantity": f"a number of pieces, {_AMOUNT}",
    "minimum_price": f"the price of one piece, {_AMOUNT}",
    "maximum_price": f"the price of one piece, {_AMOUNT}",
    "tier_id": _NAME,
    "threshold_points": f"an integer from 0 to {POINTS_LIMIT_MAX}",
    "threshold_amount": f'a decimal number in quotes with at most 2 decimal places, such as "250.00", or an integer, '
    f"from 0 to {AMOUNT_MAX}",
    "threshold_orders": f"an integer from 0 to {POINTS_LIMIT_MAX}",
    "multiplier": f"{_DECIMAL}, above 0 and at most 1000",
    "qualification.months": _MONTHS,
    "grace_days": f"an integer from 0 to {DAYS_MAX}",
    "warning_days": _DAYS,
    "availability.days": _DAYS,
    "expiry.days": _DAYS,
    "expiry.months": _MONTHS,
    "takes_reserved": _BOOL,
    "returned_points_grace_days": f"an integer from 0 to {DAYS_MAX}",
    "point_value": _EXCHANGE_RATE,
    "adjustment_reasons": _list("names of reasons", "goodwill, mistake", REASONS_MAX),
    "adjustment_reasons[]": _NAME,
    "conversions": f"a list of at most {CONVERSIONS_MAX} conversions",
    "conversions[]": "a conversion, such as {to_program: account-money, points: 100, gives: 50}",
    "to_program": f"the program_id of another program, {_NAME}",
    "conversions[].points": _COUNT,
    "gives": _COUNT,
    "points_min": _COUNT,
    "points_step": _COUNT,
    "rewards": f"a list of at most {REWARDS_MAX:,} rewards",
    "rewards[]": "a reward, such as {reward_id: five-off, name: 5 off, cost: 500, kind: amount, amount: 5}",
    "reward_id": _NAME,
    "cost": _COUNT,
    "stock": _COUNT,
    "per_customer": _COUNT,
    "rewards[].tiers": "a list of at most 100 tier_ids, such as [gold]",
    "rewards[].tiers[]": _TIER_ID,
    "amount": _AMOUNT,
    "percent": f"{_DECIMAL}, above 0 and at most 100",
    "sku": "an SKU of 1 to 200 characters; a number goes in quotes",
    "units": _COUNT,
    "unit_name": "1 to 200 characters, such as hour of parking",
    "day": "a day of the year as month and day, such as 12-31",
    "days_ahead": "a list of at most 10 numbers of days, such as [30, 7]",
    "days_ahead[]": _DAYS,
    "authorization_hours_ahead": "an integer from 0 to 2160",
}  # fmt: skip
_FREE_NAMES = {"points", "attributes", "caps", "limits", "currencies", "metadata"}
_KINDS: dict[str, Any] = {"earning_rules": AnyRule, "promotions": AnyPromotion, "rewards": AnyReward}


def allowed_at(path: YamlPath, document: Any) -> str:
    """What may be written at `path` of the file."""
    parts: list[str] = []
    for n, part in enumerate(path):
        if isinstance(part, int):
            parts[-1] += "[]"
        else:
            parts.append("*" if n and path[n - 1] in _FREE_NAMES else part)
    for start in range(len(parts)):
        if text := _ALLOWED.get(".".join(parts[start:])):
            return text
    if parts[-1] == "kind":
        return _or(kinds_of(str(path[0])))
    if choices := _choices(path, document):
        return _or(choices)
    return f"fields indented below it: {', '.join(fields_at(path, document))}"


def fields_at(path: YamlPath, document: Any) -> list[str]:
    """The fields of the part at `path`: of a rule, promotion or reward those of its kind, else of all kinds."""
    return list(dict.fromkeys(name for model in _models_at(path, document) for name in model.model_fields))


def parts_with(path: YamlPath, field: str, document: Any) -> list[str]:
    """The parts right below `path` that have such a field."""
    return [
        name
        for model in _models_at(path, document)
        for name, info in model.model_fields.items()
        if any(field in part.model_fields for part in _models_in(info.annotation))
    ]


def is_required(path: YamlPath, document: Any) -> bool:
    """Whether the field at `path`, or the element of a list, cannot be left out."""
    fields = [model.model_fields.get(str(path[-1])) for model in _models_at(path[:-1], document)]
    return isinstance(path[-1], int) or any(field is not None and field.is_required() for field in fields)


def kinds_of(field: str) -> list[str]:
    """The kinds that the elements of `earning_rules`, `promotions` or `rewards` have; none for other fields."""
    union = _KINDS.get(field)
    return [_kind(model) for model in get_args(union)] if union else []


def kinds_with(path: YamlPath, field: str) -> list[str]:
    """The kinds of rule, promotion or reward that have such a field, for the path of one."""
    union = _KINDS.get(str(path[0]) if len(path) > 1 else "")
    if union is None or len(path) != 2:  # noqa: PLR2004 - field, place
        return []
    return [_kind(model) for model in get_args(union) if field in model.model_fields]


def value_at(path: YamlPath, document: Any) -> Any:
    """What stands at `path`; None where nothing does."""
    for part in path:
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and isinstance(part, int) and part < len(document):
            document = document[part]
        else:
            return None
    return document


def _models_at(path: YamlPath, document: Any) -> list[type[BaseModel]]:
    models: list[type[BaseModel]] = [Program]
    for n, part in enumerate(path):
        if isinstance(part, int):
            kind = value_at((*path[: n + 1], "kind"), document)
            models = [model for model in models if _kind(model) == kind] or models
        else:
            models = [
                below
                for model in models
                if part in model.model_fields
                for below in _models_in(model.model_fields[part].annotation)
            ]
    return list(dict.fromkeys(models))


def _choices(path: YamlPath, document: Any) -> list[str]:
    names = [part for part in path if isinstance(part, str)]
    for model in _models_at(path[: path.index(names[-1])], document):
        info = model.model_fields.get(names[-1])
        for found in _types_in(info.annotation) if info else ():
            if issubclass(found, Enum):
                return [str(choice.value) for choice in found]
    return []


def _kind(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind")
    return str(get_args(field.annotation)[0]) if field else ""


def _models_in(annotation: Any) -> tuple[type[BaseModel], ...]:
    return tuple(found for found in _types_in(annotation) if issubclass(found, BaseModel))


def _types_in(annotation: Any) -> Iterator[type]:
    """The classes that an annotation is made of."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _types_in(part)


def _or(choices: list[str]) -> str:
    return " or ".join(choices)
