"""Reports as one HTML page with plots: no scripts, nothing loaded from elsewhere, made to be printed."""

from collections.abc import Iterable, Sequence
from html import escape

from workers.cli.reports import Plot, Report, Table

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1b1f24; background: #fff; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
.note { color: #59636e; font-size: .875rem; margin: .25rem 0; }
dl { display: grid; grid-template-columns: max-content auto; gap: .15rem 1.5rem; }
dt { color: #59636e; } dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding-bottom: .25rem; }
th, td { padding: .2rem .5rem; text-align: left; border-bottom: 1px solid #dde2e7; }
thead th { border-bottom: 2px solid #59636e; } .number { text-align: right; }
figure { margin: 1rem 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #1b1f24; }
svg .grid { stroke: #dde2e7; } svg .zero { stroke: #1b1f24; }
svg .s0 { fill: #0b6bcb; } svg .s1 { fill: #b35900; } svg .s2 { fill: #1a7f37; } svg .s3 { fill: #6b3fa0; }
svg .s4 { fill: #59636e; } svg .s5 { fill: #bf3989; }
@media print {
  @page { size: A4; margin: 15mm; }
  body { font-size: 10pt; margin: 0; max-width: none; padding: 0; print-color-adjust: exact; }
  h2 { break-after: avoid; } figure, dl { break-inside: avoid; } thead { display: table-header-group; }
  tr { break-inside: avoid; } table { font-size: 9pt; }
}
"""
_WIDTH, _HEIGHT, _LEFT, _TOP, _BELOW = 820, 260, 78, 26, 26
_LABELS_MAX = 12
_LEVELS_MAX = 5


def report_page(title: str, reports: Sequence[Report]) -> str:
    """Give the whole page."""
    sections = "\n".join(_section(report) for report in reports)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n{sections}\n</main>\n</body></html>\n"
    )


def _section(report: Report) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in report.facts)
    parts = [
        f"<section><h2>{escape(report.headline)}</h2>",
        *(f'<p class="note">{escape(note)}</p>' for note in report.notes),
        f"<dl>{facts}</dl>" if facts else "",
        *(columns(plot) for plot in report.plots if plot.labels),
        *(_table(table) for table in report.tables if table.rows),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _table(table: Table) -> str:
    kinds = [' class="number"' if header.startswith(">") else "" for header in table.headers]
    head = _cells("th", [header.removeprefix(">") for header in table.headers], kinds)
    body = "".join(f"<tr>{_cells('td', row, kinds)}</tr>" for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(name: str, cells: Iterable[str], kinds: Sequence[str]) -> str:
    return "".join(f"<{name}{kind}>{escape(cell)}</{name}>" for cell, kind in zip(cells, kinds, strict=True))


def columns(plot: Plot) -> str:
    """A column for each label, its series one upon the other: what is above zero upwards, the rest downwards."""
    places = range(len(plot.labels))
    highest = max(1, *(sum(max(0, points[place]) for points in plot.series.values()) for place in places))
    lowest = max(0, *(sum(max(0, -points[place]) for points in plot.series.values()) for place in places))
    scale = (_HEIGHT - _TOP - _BELOW) / (highest + lowest)
    zero, step = _TOP + highest * scale, (_WIDTH - _LEFT) / len(plot.labels)
    parts = [_legend(list(plot.series)), *(_level(value, zero - value * scale) for value in _levels(-lowest, highest))]
    every = -(-len(plot.labels) // _LABELS_MAX)
    for place, label in enumerate(plot.labels):
        left, above, below = _LEFT + place * step, zero, zero
        for number, (name, points) in enumerate(plot.series.items()):
            height = abs(points[place]) * scale
            top = above - height if points[place] > 0 else below
            told = f"{label}, {name}: {points[place]:,}"
            parts.append(_rectangle(number, left + 0.15 * step, top, 0.7 * step, height, told))
            above, below = (above - height, below) if points[place] > 0 else (above, below + height)
        if place % every == 0:
            parts.append(_text(left + step / 2, _HEIGHT - 6, label, "middle"))
    return (
        f'<figure><figcaption>{escape(plot.title)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(plot.title)}">{"".join(parts)}</svg></figure>'
    )


def _levels(lowest: int, highest: int) -> list[int]:
    """Give round values between these, a few of them."""
    step = 10 ** (len(str(highest - lowest)) - 1)
    step *= next(factor for factor in (1, 2, 5) if (highest - lowest) // (step * factor) <= _LEVELS_MAX)
    return list(range(-(-lowest // step) * step, highest + 1, step))


def _legend(names: Sequence[str]) -> str:
    places = [(number, name, _LEFT + 118 * number) for number, name in enumerate(names)]
    return "".join(_rectangle(n, x, 4, 11, 11, name) + _text(x + 16, 14, name, "start") for n, name, x in places)


def _level(value: int, y: float) -> str:
    kind = "grid" if value else "zero"
    line = f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(_LEFT - 6, y + 4, f"{value:,}", "end")


def _rectangle(number: int, x: float, y: float, width: float, height: float, title: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="s{number}" {place}><title>{escape(title)}</title></rect>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
