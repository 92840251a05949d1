"""The report of `loyalty program simulate` as one HTML file: no scripts, nothing loaded from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape

from core.simulating.comparing import AccountChange
from workers.cli.charts import Pair, bars, lines
from workers.cli.simulation_figures import Figures, Simulation

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 860px; padding: 0 1rem; color: #1b1f24; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .25rem .6rem; text-align: left; }
th { border-bottom: 2px solid #8a94a0; } td { border-bottom: 1px solid #dde2e7; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: #1b1f24; } svg text.small { font-size: 10px; fill: #59636e; }
.before { fill: #8a94a0; } .after { fill: #0b6bcb; } .line { fill: none; stroke-width: 2; }
.line.before { stroke: #8a94a0; } .line.after { stroke: #0b6bcb; } .grid { stroke: #dde2e7; }
.note { color: #59636e; } .headline { font-size: 1.2rem; font-weight: 600; }
"""


def simulation_page(simulation: Simulation, figures: Sequence[Figures], accounts: Sequence[AccountChange]) -> str:
    """Give the whole page; `accounts` are the most affected ones that it lists."""
    found = simulation.comparison
    title = f"Simulation of {simulation.title}"
    by_month = found.before.tally.granted_by_month.keys() | found.after.tally.granted_by_month.keys()
    months = [
        Pair(month, found.before.tally.granted_by_month[month], found.after.tally.granted_by_month[month])
        for month in sorted(by_month)
    ]
    sections = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="headline">{escape(simulation.headline)}</p>',
        f"<p>{escape(simulation.compared)}</p>",
        _list(simulation.differences),
        f'<p class="note">{escape(simulation.caption)}</p>',
        "<h2>Totals</h2>",
        _table(("", ">in force", ">simulated", ">difference"), (figure.cells for figure in figures)),
        lines("Points granted, by month", months) if months else "",
        "<h2>Rules and promotions</h2>",
        bars("Points by rule and promotion, after refunds", [Pair(*row) for row in simulation.given]),
        _table(
            ("Rule or promotion", ">in force", ">simulated", ">difference"),
            ((name, f"{one:,}", f"{other:,}", f"{other - one:+,}") for name, one, other in simulation.by_name),
        ),
        "<h2>Tiers</h2>",
        bars(
            "Accounts by tier",
            [Pair(tier, found.before.tiers[tier], found.after.tiers[tier]) for tier in simulation.tiers],
        ),
        "<p>In force in the rows, simulated in the columns.</p>",
        _table(("", *(f">{tier}" for tier in simulation.tiers)), simulation.matrix),
        "<h2>Accounts most affected</h2>",
        bars("Points granted less clawed back", [Pair(a.customer_id, *a[2:4]) for a in accounts]) if accounts else "",
        _table(
            ("Customer", ">in force", ">simulated", ">difference", "Tier"),
            (
                (
                    a.customer_id, f"{a.points_before:,}", f"{a.points_after:,}", f"{a.difference:+,}",
                    a.tier_after if a.tier_before == a.tier_after else f"{a.tier_before} → {a.tier_after}",
                )
                for a in accounts
            ),
        ),
    ]  # fmt: skip
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{chr(10).join(sections)}\n</body></html>\n"
    )


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>" if items else ""


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; a header that begins with > is for numbers."""
    kinds = [' class="number"' if header.startswith(">") else "" for header in headers]
    head = "".join(
        f"<th{kind}>{escape(header.removeprefix('>'))}</th>" for header, kind in zip(headers, kinds, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
