"""What `loyalty report activity` says: what became of a program's points, month by month."""

from collections.abc import Callable, Hashable
from decimal import Decimal
from typing import Any, TypeVar

from core.domain.accounting.activity import Activity, ActivityLine, Cause, CauseKind
from core.domain.accounting.flows import Flow
from workers.cli.output import count_text, points_text
from workers.cli.reports import Kind, Plot, Report, Table, money_text, plain_amount

_Key = TypeVar("_Key", bound=Hashable)

ACTIVITY = Kind(
    "What became of points",
    ("program_id", "month", "flow", "cause_kind", "cause", "program_version", "points", "currency", "value"),
)
_WORDS = {
    Flow.ISSUED: "Issued",
    Flow.CLAWED_BACK: "Clawed back",
    Flow.REDEEMED: "Redeemed",
    Flow.EXPIRED: "Expired",
    Flow.ADJUSTED: "Adjusted",
    Flow.MOVED: "Moved",
}
_ENTRIES = {
    "accrual": "orders, by no rule",
    "clawback": "refunds, by no rule",
    "credit": "credits",
    "debit": "debits",
    "redemption": "redemptions",
    "capture": "authorizations and rewards",
    "repayment": "payments of orders that came back",
    "expiry": "time",
    "forfeited": "closed accounts",
    "adjustment": "adjustments",
    "transfer": "transfers",
    "conversion": "conversions",
    "merge": "merges",
    "reversal": "reversals",
}


def cause_text(cause: Cause) -> str:
    """By what points were issued or taken, for people."""
    if cause.kind is CauseKind.ENTRY:
        return _ENTRIES.get(cause.name, cause.name)
    return f"{cause.kind.value} {cause.name}"


def activity_report(found: Activity) -> Report:
    """Put the report together; `found` has a month at least."""
    return Report(
        _headline(found),
        _notes(found),
        [],
        [_months(found), _causes(found), _versions(found)],
        [_plot(found)],
        _document(found),
        [
            (
                found.program_id, line.month, line.flow.value, line.cause.kind.value, line.cause.name, line.version,
                line.points, found.currency, plain_amount(found.currency, found.worth(line.points, line.version)),
            )
            for line in found.lines
        ],
    )  # fmt: skip


def _headline(found: Activity) -> str:
    first, last = found.months[0], found.months[-1]
    span = first.month.text if len(found.months) == 1 else f"{first.month.text} to {last.month.text}"
    issued = found.sums(lambda line: line.flow)[Flow.ISSUED]
    return f"{found.program_id}, {span}: {count_text(issued, 'point')} issued, {last.points_after:,} outstanding after."


def _notes(found: Activity) -> tuple[str, ...]:
    notes = []
    unkept = [each.month.text for each in found.months if each.kept_at is None and not each.is_open]
    if unkept:
        span = unkept[0] if len(unkept) == 1 else f"{unkept[0]} to {unkept[-1]}"
        were = "was" if len(unkept) == 1 else "were"
        notes.append(f"{span} {were} not kept yet, so all entries of then were read.")
    last = found.months[-1]
    if last.is_open:
        notes.append(f"{last.month.text} is not over: more will come to it.")
    return tuple(notes)


def _months(found: Activity) -> Table:
    sums = found.sums(lambda line: (line.month, line.flow))
    rows = [
        (
            each.month.text,
            f"{each.points_before:,}",
            *(points_text(sums[each.month.text, flow]) for flow in _WORDS),
            f"{each.points_after:,}",
        )
        for each in found.months
    ]
    return Table(
        "Points in each month", ("Month", ">Before", *(f">{name}" for name in _WORDS.values()), ">After"), rows
    )


def _causes(found: Activity) -> Table:
    rows = []
    sums = found.sums(lambda line: (line.flow, line.cause))
    worths = _worths(found, lambda line: (line.flow, line.cause))
    for flow, name in _WORDS.items():
        causes = sorted((cause for each, cause in sums if each is flow), key=lambda cause: (cause.kind, cause.name))
        rows += [
            (name, cause_text(cause), points_text(sums[flow, cause]), money_text(found.currency, worths[flow, cause]))
            for cause in causes
        ]
    return Table("By what", ("Flow", "By", ">Points", ">Worth"), rows)


def _versions(found: Activity) -> Table:
    sums = found.sums(lambda line: (line.version, line.flow))
    worths = _worths(found, lambda line: line.version if line.flow in {Flow.ISSUED, Flow.CLAWED_BACK} else 0)
    rows = []
    for version in sorted({version for version, _ in sums if version is not None}):
        issued, taken = sums[version, Flow.ISSUED], sums[version, Flow.CLAWED_BACK]
        rows.append(
            (
                str(version),
                points_text(issued),
                points_text(taken),
                points_text(issued + taken),
                money_text(found.currency, worths.get(version, Decimal(0))),
            )
        )
    headers = ("Version", ">Issued", ">Clawed back", ">Left", ">Cost")
    return Table("What each version of the program has cost", headers, rows)


def _worths(found: Activity, key: Callable[[ActivityLine], _Key]) -> dict[_Key, Decimal | None]:
    """What points are worth by `key`; none where one of them has no value."""
    sums: dict[_Key, Decimal | None] = {}
    for line in found.lines:
        worth, so_far = found.worth(line.points, line.version), sums.get(key(line), Decimal(0))
        sums[key(line)] = None if worth is None or so_far is None else so_far + worth
    return sums


def _plot(found: Activity) -> Plot:
    sums = found.sums(lambda line: (line.month, line.flow))
    labels = [each.month.text for each in found.months]
    series = {name.lower(): [sums[label, flow] for label in labels] for flow, name in _WORDS.items()}
    return Plot("Points in each month", labels, {name: points for name, points in series.items() if any(points)})


def _document(found: Activity) -> dict[str, Any]:
    return {
        "program_id": found.program_id,
        "unit": found.unit,
        "currency": found.currency,
        "point_value": found.point_value,
        "months": [_month_document(found, each.month.text) for each in found.months],
        "lines": [_line_document(found, line) for line in found.lines],
    }


def _month_document(found: Activity, month: str) -> dict[str, Any]:
    (each,) = (each for each in found.months if each.month.text == month)
    sums = found.sums(lambda line: (line.month, line.flow))
    return {
        "month": month,
        "starts_at": each.month.starts_at,
        "ends_at": each.month.ends_at,
        "is_open": each.is_open,
        "kept_at": each.kept_at,
        "points_before": each.points_before,
        **{flow.value: sums[month, flow] for flow in _WORDS},
        "points_after": each.points_after,
    }


def _line_document(found: Activity, line: ActivityLine) -> dict[str, Any]:
    return {
        "month": line.month,
        "flow": line.flow,
        "cause_kind": line.cause.kind,
        "cause": line.cause.name,
        "program_version": line.version,
        "points": line.points,
        "value": plain_amount(found.currency, found.worth(line.points, line.version)),
    }
