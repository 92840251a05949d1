"""What the demo prints at its end: rates, the top accounts, one history, counts, and the state of the books."""

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

from core.reading.progress import load_progress
from core.store.outbox import PUBLISHED_THROUGH
from core.store.proof.verify import verify_ledger
from workers.demo.sample import Traffic
from workers.stack import own_command

_TOP_ACCOUNTS = """
SELECT customer_id, tier_id AS tier, balance, lifetime_points, sequence AS entries
FROM accounts ORDER BY balance DESC, customer_id LIMIT 5
"""
# A story worth reading: earned, given back, and expired.
_STORY = """
SELECT e.sequence, e.kind, e.points, e.balance_after, e.occurred_at, e.order_id, e.refund_id, a.customer_id
FROM entries e JOIN accounts a USING (account_id)
WHERE e.account_id = (
    SELECT account_id FROM entries GROUP BY account_id
    HAVING count(*) BETWEEN 6 AND 10 AND count(DISTINCT kind) = 3
    ORDER BY count(*) DESC, account_id LIMIT 1)
ORDER BY e.sequence
"""
#: Headings with which a history fits into 80 columns.
_SHORT = {"sequence": "#", "balance_after": "balance", "occurred_at": "on", "order_id": "order", "refund_id": "refund"}
_EVENTS = f"""
SELECT type, count(*) FILTER (WHERE outbox_id <= {PUBLISHED_THROUGH.format(shard="outbox.account_shard")}) AS published
FROM outbox GROUP BY type ORDER BY type
"""  # noqa: S608  # our own words
_PARKED = "SELECT inbox_id, reason, detail FROM inbox WHERE state = 'dead' ORDER BY inbox_id"


def build_report(engine: Engine, traffic: Traffic, seconds: float) -> dict[str, Any]:
    """Count and verify. `is_clean`: every message has its one outcome, every event is out, the books are right."""
    with engine.begin() as connection:
        differences = verify_ledger(connection)
    with engine.connect() as connection:
        progress = load_progress(connection)
        top, story, events, parked = (
            [_plain(dict(row)) for row in connection.execute(text(query)).mappings()]
            for query in (_TOP_ACCOUNTS, _STORY, _EVENTS, _PARKED)
        )
    lost = traffic.distinct - progress.received + progress.unposted
    return {
        "messages_published": len(traffic.messages),
        "seconds": round(seconds, 2),
        "messages_per_s": round(len(traffic.messages) / seconds),
        "received": progress.received,
        "repeats": progress.repeats,
        "posted": progress.posted,
        "replayed": progress.replayed,
        "waiting": progress.waiting,
        "parked": progress.parked,
        "lost": lost,
        "events_published": progress.published,
        "events_unpublished": progress.events - progress.published,
        "events": {row["type"]: row["published"] for row in events},
        "top_accounts": top,
        "history": story,
        "dead_letters": parked,
        "differences": [difference.text for difference in differences],
        "is_clean": lost == 0
        and not differences
        and progress.published == progress.events
        and progress.parked == traffic.broken
        and progress.repeats == traffic.repeated,
    }


def print_report(console: Console, report: dict[str, Any], data_dir: Path) -> None:
    """Print the report for a person."""
    console.print()
    console.print(
        f"[bold]{report['messages_published']:,} messages in {report['seconds']} s[/bold] "
        f"({report['messages_per_s']:,} per second from the queue to the published event, processes starting included)"
    )
    console.print(
        f"  {report['posted']:,} posted · {report['repeats']} repeats changed nothing · {report['waiting']} refunds "
        f"wait for their order · {report['parked']} parked · {report['lost']} lost"
    )
    console.print("  events: " + " · ".join(f"{count:,} {name}" for name, count in report["events"].items()))
    console.print(_table("Top accounts", report["top_accounts"]))
    customer = report["history"][0]["customer_id"] if report["history"] else None
    history = [{_SHORT.get(k, k): v for k, v in row.items() if k != "customer_id"} for row in report["history"]]
    console.print(_table(f"History of customer {customer}", history))
    console.print(_table("Dead letters: parked with their bytes, for a person", report["dead_letters"]))
    if report["differences"]:
        console.print(_table("The books differ", [{"difference": text} for text in report["differences"]]))
    verdict = "[green]clean[/green]: nothing lost, nothing twice" if report["is_clean"] else "[red]NOT clean[/red]"
    console.print(f"[bold]verify:[/bold] {verdict}")
    console.print("\n[bold]For a manager[/bold]: what the points came to, and what another program would cost:")
    console.print(f"  {report['page']}", highlight=False, soft_wrap=True)
    command = f"{own_command()} --data-dir {shlex.quote(str(data_dir))}"
    console.print("\n[bold]Next[/bold]: look around in the demo's data. In one terminal, in this folder:")
    console.print(f"  {command} up", highlight=False, soft_wrap=True)
    console.print("and in another:")
    for question in (
        f"account history {shlex.quote(str(customer))}",
        "dead list",
        "verify",
        "tail --from-beginning --limit 5",
    ):
        console.print(f"  {command} {question}", highlight=False, soft_wrap=True)


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in rows[0] if rows else ():
        table.add_column(
            name.replace("_", " "),
            justify="right" if isinstance(rows[0][name], int) else "left",
            overflow="fold",  # an id that is cut is of no use
        )
    for row in rows:
        table.add_row(*(_text(name, value) for name, value in row.items()))
    return table


def _text(name: str, value: object) -> str:
    # Numbers of messages are typed into other commands, so they stand as those take them.
    is_count = isinstance(value, int) and not name.endswith("_id")
    return "" if value is None else f"{value:,}" if is_count else str(value)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Values that JSON has too."""
    return {
        name: value if value is None or isinstance(value, (int, str)) else f"{value:%Y-%m-%d}"
        for name, value in row.items()
    }
