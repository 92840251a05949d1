"""What a program owes in points at an instant: by bucket, tier, month in which they were earned, last month."""

from collections import Counter
from collections.abc import Callable, Hashable
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple, TypeVar

from core.domain.accounting.breakage import BreakageHistory, months_apart
from core.domain.currencies import smallest_unit

_Key = TypeVar("_Key", bound=Hashable)


class Bucket(StrEnum):
    """Where points are."""

    AVAILABLE = "available"  #: customers may spend them
    PENDING = "pending"  #: granted, and not available yet
    RESERVED = "reserved"  #: held by authorizations and issued rewards; in no lot, so without an age and an end
    DEFICIT = "deficit"  #: below zero: what customers owe, which the next points pay off
    ENDED = "ended"  #: their time was over, and the entry that lets them expire came later: owed to nobody


class LiabilityLine(NamedTuple):
    """Points that have all of this in common."""

    bucket: Bucket
    tier_id: str  #: of their customers
    earned_month: date | None  #: of the program's time zone; None: they are in no lot
    last_month: date | None  #: the month of the last day on which they can be used; None: no end, or none yet
    points: int


class Valuation(NamedTuple):
    """By what points are turned into money, and by what history their breakage is estimated."""

    version: int  #: of the program that was in force
    unit: str
    currency: str
    point_value: Decimal | None  #: in major units of the currency; None: the program does not say
    history: BreakageHistory


class Liability:
    """What a program owed at `as_of`, from what was recorded before it."""

    def __init__(
        self,
        program_id: str,
        as_of: datetime,
        day: date,
        valuation: Valuation,
        lines: tuple[LiabilityLine, ...],
        *,
        month: str | None = None,
        kept_at: datetime | None = None,
    ) -> None:
        """`day` is in the month of the books that ages count to; `kept_at` is when it was kept, at the month's end."""
        self.program_id = program_id
        self.as_of = as_of
        self.day = day
        self.valuation = valuation
        self.lines = lines
        self.month = month
        self.kept_at = kept_at

    @cached_property
    def by_bucket(self) -> Counter[Bucket]:
        """The points of each bucket."""
        return self.sums(lambda line: line.bucket, *Bucket)

    @property
    def outstanding(self) -> int:
        """What is owed: all but what has ended."""
        return self.by_bucket.total() - self.by_bucket[Bucket.ENDED]

    @property
    def by_entries(self) -> int:
        """The sum of all entries until then: with what has ended and had no entry yet."""
        return self.by_bucket.total()

    def sums(self, key: Callable[[LiabilityLine], _Key], *buckets: Bucket) -> Counter[_Key]:
        """The points of these buckets, by what `key` gives for their lines."""
        found: Counter[_Key] = Counter()
        for line in self.lines:
            if line.bucket in buckets:
                found[key(line)] += line.points
        return found

    def breakage_of(self, line: LiabilityLine) -> Fraction:
        """How many points of a line are expected to expire; none of those that never do, or are reserved."""
        if line.bucket not in {Bucket.AVAILABLE, Bucket.PENDING} or line.last_month is None:
            return Fraction(0)
        assert line.earned_month is not None
        age = months_apart((line.earned_month.year, line.earned_month.month), (self.day.year, self.day.month))
        return line.points * (self.valuation.history.rate(age) or Fraction(0))

    @cached_property
    def breakage(self) -> int | None:
        """How many of the outstanding points are expected to expire unused; None: there is no history."""
        if self.valuation.history.is_empty:
            return None
        return round(sum((self.breakage_of(line) for line in self.lines), start=Fraction(0)))

    def worth(self, points: int) -> Decimal | None:
        """What so many points are worth, exactly, in major units of the currency."""
        return None if self.valuation.point_value is None else points * self.valuation.point_value


def rounded(amount: Decimal, currency: str) -> Decimal:
    """An amount to the currency's smallest unit, half to even, as reports show it."""
    return amount.quantize(smallest_unit(currency), ROUND_HALF_EVEN)
