"""Plots as inline SVG, small and without scripts: they stand in one HTML file and need nothing else."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _LABEL, _VALUE = 720, 190, 110
_BAR, _GAP, _TOP = 13, 12, 24
_HEIGHT, _LEFT, _BELOW = 260, 70, 60
_TICKS = 4
_LABELS_MAX = 12
BEFORE, AFTER = "before", "after"


class Pair(NamedTuple):
    """One thing with its value on both sides."""

    label: str
    before: int
    after: int


def bars(title: str, pairs: Sequence[Pair]) -> str:
    """Two bars for each pair, one below the other, from a common zero."""
    lowest = min([0, *(min(pair.before, pair.after) for pair in pairs)])
    highest = max([1, *(max(pair.before, pair.after) for pair in pairs)])
    scale = (_WIDTH - _LABEL - _VALUE) / (highest - lowest)
    parts: list[str] = []
    for place, pair in enumerate(pairs):
        top = _TOP + place * (2 * _BAR + _GAP)
        parts.append(_text(_LABEL - 8, top + _BAR + 4, pair.label, "end"))
        for row, (side, value) in enumerate(((BEFORE, pair.before), (AFTER, pair.after))):
            left = _LABEL + (min(value, 0) - lowest) * scale
            y = top + row * _BAR
            parts.append(_rectangle(left, y, abs(value) * scale, _BAR - 1, side, f"{pair.label}, {side}: {value:,}"))
            parts.append(_text(left + abs(value) * scale + 4, y + 10, f"{value:,}", "start", "small"))
    return _figure(title, _TOP + len(pairs) * (2 * _BAR + _GAP), parts)


def lines(title: str, pairs: Sequence[Pair]) -> str:
    """Both sides over a row of labels, such as months."""
    highest = max([1, *(max(pair.before, pair.after) for pair in pairs)])
    wide, high = _WIDTH - _LEFT - 20, _HEIGHT - _TOP - _BELOW
    step = wide / max(1, len(pairs) - 1)

    def point(place: int, value: int) -> tuple[float, float]:
        return _LEFT + place * step, _TOP + high * (1 - max(0, value) / highest)

    parts: list[str] = []
    for tick in range(_TICKS + 1):
        y = _TOP + high * (1 - tick / _TICKS)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + wide}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{highest * tick // _TICKS:,}", "end", "small"))
    every = -(-len(pairs) // _LABELS_MAX)
    for place, pair in enumerate(pairs):
        if place % every == 0:
            parts.append(_text(point(place, 0)[0], _TOP + high + 18, pair.label, "middle", "small"))
    for side, values in ((BEFORE, [p.before for p in pairs]), (AFTER, [p.after for p in pairs])):
        points = [point(place, value) for place, value in enumerate(values)]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line {side}" points="{drawn}"/>')
        for (x, y), pair, value in zip(points, pairs, values, strict=True):
            tooltip = escape(f"{pair.label}, {side}: {value:,}")
            parts.append(f'<circle class="{side}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{tooltip}</title></circle>')
    return _figure(title, _HEIGHT, parts)


def _rectangle(x: float, y: float, width: float, height: float, side: str, title: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}"'
    return f'<rect class="{side}" {place}><title>{escape(title)}</title></rect>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _figure(title: str, height: float, parts: Sequence[str]) -> str:
    legend = (
        f'<rect class="before" x="{_LABEL}" y="4" width="10" height="10"/>{_text(_LABEL + 14, 13, "in force", "start")}'
        f'<rect class="after" x="{_LABEL + 90}" y="4" width="10" height="10"/>'
        f"{_text(_LABEL + 104, 13, 'simulated', 'start')}"
    )
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}">{legend}{"".join(parts)}</svg></figure>'
    )
