"""The demo's last word, for a manager: one HTML page that loads nothing, runs nothing, and prints on two sheets."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from html import escape

from workers.demo.figures import QUESTION, Figures, Month

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; margin: 2rem auto; max-width: 54rem; padding: 0 1rem;
  color: #1b1f24; background: #fff; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
p { margin: .5rem 0; } .lead { font-size: 1.15rem; } .note { color: #59636e; font-size: .875rem; }
dl { display: grid; grid-template-columns: repeat(4, 1fr); gap: .75rem; margin: 1.25rem 0; }
dl div { border: 1px solid #c8d0d8; border-top: 4px solid #1b1f24; padding: .5rem .75rem; }
dt { color: #59636e; font-size: .875rem; } dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
dl .issued { border-top-color: #0b6bcb; } dl .taken_back { border-top-color: #b35900; }
dl .expired { border-top-color: #6b3fa0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #59636e; font-size: .875rem; padding-bottom: .25rem; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #dde2e7; }
thead th { border-bottom: 2px solid #59636e; } th:first-child { text-align: left; } tbody th { font-weight: normal; }
figure { margin: .5rem 0 1rem; } svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #1b1f24; }
svg .zero { stroke: #1b1f24; } svg .grid { stroke: #dde2e7; }
svg .issued { fill: #0b6bcb; } svg .taken_back { fill: #b35900; } svg .expired { fill: #6b3fa0; }
@media (max-width: 40rem) { dl { grid-template-columns: repeat(2, 1fr); } }
@media print {
  @page { size: A4; margin: 15mm; }
  body { font-size: 11pt; margin: 0; max-width: none; padding: 0; print-color-adjust: exact; }
  h2 { break-after: avoid; } figure, table, dl { break-inside: avoid; }
  table { font-size: 10pt; }
}
"""
_WIDTH, _HEIGHT, _LEFT, _TOP, _BELOW = 820, 270, 62, 26, 26
_LABELS_MAX = 14
_KINDS = (("issued", "issued"), ("taken_back", "taken back"), ("expired", "expired"))


def demo_page(figures: Figures) -> str:
    """Give the whole page."""
    title = f"{figures.program.name}: what the points came to"
    sections = (
        _summary(title, figures), _months(figures), _tiers(figures), _changed(figures), _months_table(figures), _SOURCE
    )  # fmt: skip
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<main>\n{chr(10).join(sections)}\n</main>\n</body></html>\n"
    )


_SOURCE = """<footer><p class="note">Real orders of an online shop, moved to the present: Online Retail,
Chen, D. (2015), UCI Machine Learning Repository, CC BY 4.0. Made by <code>loyalty demo</code> from its
ledger.</p></footer>"""


def _summary(title: str, figures: Figures) -> str:
    return f"""<header><h1>{escape(title)}</h1>
<p class="note">{figures.orders:,} orders of {figures.customers:,} customers, {_day(figures.first_day)} to
{_day(figures.last_day)}. A point is worth {_money(figures, 1)}.</p>
<p class="lead">Customers hold <strong>{figures.open:,} points</strong>, worth
<strong>{_money(figures, figures.open)}</strong>.</p></header>
<section><h2>Where the points are</h2>
{_facts(figures)}
<p class="note">Issued, less what refunds took back, less what expired, is what is open.</p></section>"""


def _facts(figures: Figures) -> str:
    facts = (
        ("issued", "Issued", figures.issued),
        ("taken_back", "Taken back", figures.taken_back),
        ("expired", "Expired", figures.expired),
        ("open", "Open", figures.open),
    )
    return "<dl>" + "".join(f'<div class="{c}"><dt>{n}</dt><dd>{v:,}</dd></div>' for c, n, v in facts) + "</dl>"


def _months(figures: Figures) -> str:
    return f"<section><h2>Month by month</h2>\n{_months_chart(figures.months)}</section>"


def _months_table(figures: Figures) -> str:
    rows = [
        (_month(each.month), f"{each.issued:,}", f"{each.taken_back:,}", f"{each.expired:,}") for each in figures.months
    ]
    table = _table("Points in each month", ("Month", "Issued", "Taken back", "Expired"), rows)
    return f"<section><h2>The months in figures</h2>\n{table}</section>"


def _tiers(figures: Figures) -> str:
    rows = [
        (tier.tier_id, f"{tier.customers:,}", _share(tier.customers, figures.customers), f"{tier.points_open:,}",
         _share(tier.points_open, figures.open), _money(figures, tier.points_open))
        for tier in figures.tiers
    ]  # fmt: skip
    headers = ("Tier", "Customers", "of all", "Open points", "of all", "Worth")
    table = _table("Customers by tier, and the points that they hold", headers, rows)
    return f"<section><h2>Tiers</h2>\n{table}</section>"


def _changed(figures: Figures) -> str:
    today, changed = figures.today, figures.changed
    counts = [
        ("Points issued", today.issued, changed.issued),
        ("Points taken back or expired", today.gone, changed.gone),
        ("Points open", today.open, changed.open),
    ]
    for tier in figures.tiers:
        customers = [outcome.customers.get(tier.tier_id, 0) for outcome in (today, changed)]
        counts.append((f"Customers in {tier.tier_id}", customers[0], customers[1]))
    rows = [(name, f"{one:,}", f"{other:,}", _signed(f"{other - one:,}")) for name, one, other in counts]
    more = changed.open - today.open
    worths = [_money(figures, points) for points in (today.open, changed.open, more)]
    rows.append(("Worth of the open points", worths[0], worths[1], _signed(worths[2])))
    table = _table("The same orders under both programs", ("Figure", "Today", "Changed", "Difference"), rows)
    return f"""<section><h2>What another program would cost</h2>
<p>{escape(QUESTION)}</p>
<p class="lead">With the same orders, customers would hold
<strong>{abs(more):,} {"fewer" if more < 0 else "more"} points</strong>, worth
<strong>{_money(figures, abs(more))}</strong>.</p>
{table}
<p class="note">Both columns are calculated from the recorded orders, refunds and cancellations, in the order in which
they happened.</p></section>"""


def _table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(header)}</th>' for header in headers)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _months_chart(months: Sequence[Month]) -> str:
    """What was issued above the line, what went below it, on one scale; the table below it has the figures."""
    highest = max(1, *(month.issued for month in months))
    lowest = max(0, *(month.taken_back + month.expired for month in months))
    scale = (_HEIGHT - _TOP - _BELOW) / (highest + lowest)
    zero, step = _TOP + highest * scale, (_WIDTH - _LEFT) / len(months)
    parts = [_legend(), *(_level(value, zero - value * scale) for value in _levels(-lowest, highest))]
    every = -(-len(months) // _LABELS_MAX)
    for place, month in enumerate(months):
        left = _LEFT + place * step
        heights = [month.issued * scale, month.taken_back * scale, month.expired * scale]
        tops = [zero - heights[0], zero, zero + heights[1]]
        for (kind, _), top, height in zip(_KINDS, tops, heights, strict=True):
            parts.append(_rectangle(kind, left + 0.15 * step, top, 0.7 * step, height))
        if place % every == 0:
            parts.append(_text(left + step / 2, _HEIGHT - 6, f"{month.month:%b %y}", "middle"))
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="months months-said">'
        '<title id="months">Points issued, taken back and expired in each month</title><desc id="months-said">Above '
        "the line what was issued, below it what was taken back and what expired. A table at the end of the page has "
        f"the figures.</desc>{''.join(parts)}</svg></figure>"
    )


def _levels(lowest: int, highest: int) -> list[int]:
    """Give round values between these, a few of them."""
    step = max(1, 10 ** (len(str(highest)) - 1))
    return [value for value in range(-10 * step, 10 * step, step) if lowest <= value <= highest]


def _legend() -> str:
    places = [(kind, name, _LEFT + 110 * place) for place, (kind, name) in enumerate(_KINDS)]
    return "".join(_rectangle(kind, x, 4, 11, 11) + _text(x + 16, 14, name, "start") for kind, name, x in places)


def _level(value: int, y: float) -> str:
    kind = "grid" if value else "zero"
    line = f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(_LEFT - 6, y + 4, f"{abs(value):,}", "end")


def _rectangle(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _money(figures: Figures, points: int) -> str:
    return f"{figures.program.currency} {(points * figures.point_value).quantize(Decimal('0.01')):,}"


def _signed(text: str) -> str:
    """Put the sign of a difference before all of it; nothing stands before none."""
    if "-" in text:
        return "\N{MINUS SIGN}" + text.replace("-", "")
    return "+" + text if any(digit in text for digit in "123456789") else text


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%" if whole else "-"


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _month(day: date) -> str:
    return f"{day:%B %Y}"
