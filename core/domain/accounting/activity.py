"""What became of a program's points in months: how many were issued, by what, and how many left in which way."""

from collections import Counter
from collections.abc import Callable, Hashable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, TypeVar

from core.domain.accounting.flows import Flow
from core.domain.accounting.months import Month

_Key = TypeVar("_Key", bound=Hashable)


class CauseKind(StrEnum):
    """What a cause is."""

    RULE = "rule"
    PROMOTION = "promotion"
    ENTRY = "entry"  #: of what neither rules nor promotions tell: the kind of the entries


class Cause(NamedTuple):
    """By what points were issued or taken."""

    kind: CauseKind
    name: str  #: the id of the rule or promotion, or the kind of the entries


class ActivityLine(NamedTuple):
    """Points of one month that have all of this in common."""

    month: str
    flow: Flow
    cause: Cause
    version: int | None  #: of the program that judged their orders or commands; None: time alone moved them
    points: int  #: change of what is outstanding


class ActivityMonth(NamedTuple):
    """One month, with what was outstanding when it began and when it ended or, as yet, stands."""

    month: Month
    points_before: int
    points_after: int
    is_open: bool  #: more may still come
    kept_at: datetime | None = None  #: None: its entries were read


class Activity(NamedTuple):
    """What became of a program's points, as it was recorded."""

    program_id: str
    currency: str
    unit: str
    months: tuple[ActivityMonth, ...]
    lines: tuple[ActivityLine, ...]
    point_values: dict[int, Decimal | None]  #: by version, in major units of the currency
    point_value: Decimal | None  #: of the version that is in force

    def sums(self, key: Callable[[ActivityLine], _Key]) -> Counter[_Key]:
        """The points by what `key` gives for their lines."""
        found: Counter[_Key] = Counter()
        for line in self.lines:
            found[key(line)] += line.points
        return found

    def worth(self, points: int, version: int | None) -> Decimal | None:
        """What points are worth by the version that judged them; what none judged, by that in force."""
        value = self.point_value if version is None else self.point_values.get(version)
        return None if value is None else points * value
