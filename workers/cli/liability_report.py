"""What `loyalty report liability` says: what a program owes, in words, tables, plots and JSON."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from core.domain.accounting.breakage import HISTORY_MONTHS
from core.domain.accounting.liability import Bucket, Liability, LiabilityLine
from workers.cli.output import count_text, time_text
from workers.cli.reports import NONE, Kind, Plot, Report, Table, money_text, month_name, plain_amount

LIABILITY = Kind(
    "What is owed in points",
    (
        "program_id", "as_of", "month", "bucket", "tier", "earned_month", "last_month", "points", "currency", "value",
        "breakage_points",
    ),
)  # fmt: skip
_WORDS = {
    Bucket.AVAILABLE: "Available",
    Bucket.PENDING: "Pending",
    Bucket.RESERVED: "Reserved",
    Bucket.DEFICIT: "Deficits",
    Bucket.ENDED: "Over, not owed",
}
_OWED = tuple(bucket for bucket in Bucket if bucket is not Bucket.ENDED)
_FOR_GOOD = "for good"


def liability_report(found: Liability) -> Report:
    """Put the report together."""
    return Report(_headline(found), _notes(found), _facts(found), _tables(found), _plots(found), _document(found), [
        (
            found.program_id, time_text(found.as_of), found.month, line.bucket.value, line.tier_id,
            month_name(line.earned_month, ""), month_name(line.last_month, ""), line.points, found.valuation.currency,
            plain_amount(found.valuation.currency, found.worth(line.points)), _breakage_text(found, [line]),
        )
        for line in found.lines
    ])  # fmt: skip


def _headline(found: Liability) -> str:
    worth = found.worth(found.outstanding)
    money = "" if worth is None else f", worth {money_text(found.valuation.currency, worth)}"
    when = f"at the end of {found.month}" if found.month else f"at {time_text(found.as_of)}"
    return f"{found.program_id} owes {count_text(found.outstanding, 'point')}{money}, {when}."


def _notes(found: Liability) -> tuple[str, ...]:
    notes = []
    if found.month is not None and found.kept_at is None:
        notes.append(
            "This month has not been kept yet, so it is worked out from the entries; expiries that were moved since"
            " then are those of now."
        )
    if found.valuation.point_value is None:
        notes.append("The program does not say what a point is worth: add point_value to its file.")
    if found.breakage is None:
        notes.append("No points have had their last day yet, so nothing tells how many of these will expire unused.")
    elif not any(found.valuation.history.points_spent.values()):
        notes.append("Nobody has spent points that had their last day, so all that can expire are expected to.")
    return tuple(notes)


def _facts(found: Liability) -> list[tuple[str, str]]:
    valuation = found.valuation
    value = valuation.point_value
    facts = [
        ("Recorded before", time_text(found.as_of)),
        ("Kept at", time_text(found.kept_at)),
        ("Program version", str(valuation.version)),
        ("A point is worth", NONE if value is None else f"{valuation.currency} {value}"),
    ]
    for bucket in Bucket:
        points = found.by_bucket[bucket]
        money = NONE if bucket is Bucket.ENDED else money_text(valuation.currency, found.worth(points))
        facts.append((_WORDS[bucket], f"{points:,} ({money})"))
    facts.append(("Owed", f"{found.outstanding:,} ({money_text(valuation.currency, found.worth(found.outstanding))})"))
    if found.breakage is not None:
        money = money_text(valuation.currency, found.worth(found.breakage))
        facts.append(("Expected to expire unused", f"{found.breakage:,} ({money})"))
        expired, spent = valuation.history.points_expired, sum(valuation.history.points_spent.values())
        facts.append(
            (f"By the {HISTORY_MONTHS} months before", f"{expired:,} points expired unused, {spent:,} were spent")
        )
    return [fact for fact in facts if fact != ("Kept at", NONE)]


def _tables(found: Liability) -> list[Table]:
    return [
        _table(found, "By tier", "Tier", lambda line: line.tier_id),
        _table(found, "By the month in which they were earned", "Earned", _earned),
        _table(found, "By the month after which they expire", "Last month", _last),
    ]


def _earned(line: LiabilityLine) -> str:
    return month_name(line.earned_month, line.bucket.value)


def _last(line: LiabilityLine) -> str:
    return month_name(line.last_month, _FOR_GOOD if line.earned_month else line.bucket.value)


def _table(found: Liability, caption: str, header: str, key: Callable[[LiabilityLine], str]) -> Table:
    rows = []
    for name in sorted({key(line) for line in found.lines if line.bucket in _OWED}):
        lines = [line for line in found.lines if line.bucket in _OWED and key(line) == name]
        points = {bucket: sum(line.points for line in lines if line.bucket is bucket) for bucket in _OWED}
        total = sum(points.values())
        rows.append(
            (
                name,
                *(f"{points[bucket]:,}" for bucket in _OWED),
                f"{total:,}",
                money_text(found.valuation.currency, found.worth(total)),
                NONE if found.breakage is None else f"{_breakage(found, lines):,.0f}",
            )
        )
    headers = (header, *(f">{_WORDS[bucket]}" for bucket in _OWED), ">Owed", ">Worth", ">Will expire")
    return Table(caption, headers, rows)


def _breakage_text(found: Liability, lines: Sequence[LiabilityLine]) -> str | None:
    return None if found.breakage is None else f"{_breakage(found, lines):.2f}"


def _breakage(found: Liability, lines: Sequence[LiabilityLine]) -> Decimal:
    exact = sum((found.breakage_of(line) for line in lines), start=Fraction(0))
    return Decimal(exact.numerator) / Decimal(exact.denominator)


def _plots(found: Liability) -> list[Plot]:
    return [
        _plot(found, "Points by the month in which they were earned", _earned),
        _plot(found, "Points by the month after which they expire", _last),
    ]


def _plot(found: Liability, title: str, key: Callable[[LiabilityLine], str]) -> Plot:
    shown = (Bucket.AVAILABLE, Bucket.PENDING)
    sums = {bucket: found.sums(key, bucket) for bucket in shown}
    labels = sorted({label for points in sums.values() for label in points})
    return Plot(title, labels, {_WORDS[bucket].lower(): [sums[bucket][label] for label in labels] for bucket in shown})


def _document(found: Liability) -> dict[str, Any]:
    valuation = found.valuation
    return {
        "program_id": found.program_id,
        "program_version": valuation.version,
        "as_of": found.as_of,
        "month": found.month,
        "kept_at": found.kept_at,
        "unit": valuation.unit,
        "currency": valuation.currency,
        "point_value": valuation.point_value,
        "points": {
            **{bucket.value: found.by_bucket[bucket] for bucket in Bucket},
            "outstanding": found.outstanding,
            "by_entries": found.by_entries,
        },
        "value": plain_amount(valuation.currency, found.worth(found.outstanding)),
        "breakage": {
            "points": found.breakage,
            "value": None if found.breakage is None else plain_amount(valuation.currency, found.worth(found.breakage)),
            "history_months": HISTORY_MONTHS,
            "points_expired": valuation.history.points_expired,
            "points_spent_by_age_months": dict(sorted(valuation.history.points_spent.items())),
        },
        "lines": [
            {
                "bucket": line.bucket,
                "tier": line.tier_id,
                "earned_month": month_name(line.earned_month, "") or None,
                "last_month": month_name(line.last_month, "") or None,
                "points": line.points,
                "value": plain_amount(valuation.currency, found.worth(line.points)),
                "breakage_points": _breakage_text(found, [line]),
            }
            for line in found.lines
        ],
    }
