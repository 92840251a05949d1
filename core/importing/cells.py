"""What the cells of a file mean: texts become what messages hold. JSON has its own kinds, and passes as it is."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.domain.calendar import is_nameable, local_midnight
from core.importing.files import CellError

_SEPARATOR = ";"
_TIME_ADVICE = (
    "write a day such as 2024-03-31, which stands for its first instant, or a time with its offset such as "
    "2024-03-31T18:30:00+02:00"
)


def whole_number(value: Any, column: str) -> Any:
    """The number of a cell of digits."""
    if not isinstance(value, str):
        return value
    if not (value.isascii() and value.isdigit() and len(value) <= len(str(10**18))):
        raise CellError(column=column, problem='is not a whole number; write digits alone, such as "1500"')
    return int(value)


def instant(value: Any, column: str, zone: ZoneInfo) -> datetime:
    """The instant of a cell, in UTC; a day stands for its midnight in `zone`."""
    found = None
    if isinstance(value, str):
        try:
            found = local_midnight(date.fromisoformat(value), zone)
        except (ValueError, OverflowError):
            try:
                found = datetime.fromisoformat(value)
            except ValueError:
                found = None
    if found is None or found.tzinfo is None or not is_nameable(found):
        raise CellError(column=column, problem=f"is not a time; {_TIME_ADVICE}")
    return found.astimezone(UTC)


def several(value: Any) -> Any:
    """What stands in a cell with semicolons between."""
    return [part.strip() for part in value.split(_SEPARATOR) if part.strip()] if isinstance(value, str) else value


def members(value: Any, column: str) -> Any:
    """The members of a cell such as `C-2=member; C-3=viewer`."""
    if not isinstance(value, str):
        return value
    pairs = [part.rpartition("=") for part in several(value)]
    if not all(customer and role for customer, _, role in pairs):
        raise CellError(column=column, problem="is not a list of members; write it as in C-2=member; C-3=viewer")
    return [{"customer_id": customer.strip(), "role": role.strip()} for customer, _, role in pairs]
