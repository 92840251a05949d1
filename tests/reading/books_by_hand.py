"""What a program owes and what became of its points, counted by hand: forward, row by row, in plain Python.

It shares no code with the reports, and none of their ways: they sum in SQL, from what is there now backwards. It reads
entries, allocations and tier changes, and of lots only what never changes. As a script it prints its figures as JSON:

    python tests/reading/books_by_hand.py postgresql://… high-street Europe/London
"""

import json
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row

_ENTRIES = """
SELECT e.* FROM entries e JOIN accounts a USING (account_id) WHERE a.program_id = %s
ORDER BY e.recorded_at, e.account_id, e.sequence
"""
_SPENT = {"debit", "redemption", "authorization", "void", "repayment"}
_FLOW = {
    "accrual": "issued", "credit": "issued", "clawback": "clawed_back", "debit": "redeemed", "capture": "redeemed",
    "redemption": "redeemed", "repayment": "redeemed", "expiry": "expired", "adjustment": "adjusted",
    "transfer": "moved", "conversion": "moved", "merge": "moved",
}  # fmt: skip


class Hand:
    """All rows of one program, read once."""

    def __init__(self, database_url: str, program_id: str, zone: str) -> None:
        self.zone = ZoneInfo(zone)
        with psycopg.connect(database_url, row_factory=dict_row) as connection:

            def rows(statement: str) -> list[dict[str, Any]]:
                return connection.execute(statement, (program_id,)).fetchall()

            self.entries = rows(_ENTRIES)
            self.tier_changes = rows(
                "SELECT t.* FROM tier_changes t JOIN accounts a USING (account_id) WHERE a.program_id = %s"
                " ORDER BY change_number"
            )
            self.accounts = rows("SELECT account_id, tier_id FROM accounts WHERE program_id = %s")
            self.lots = {
                (row["account_id"], row["lot_number"]): row
                for row in rows(
                    "SELECT l.account_id, lot_number, origin_at, opened_by_sequence, expires_at FROM dated_lots l"
                    " JOIN accounts a USING (account_id) WHERE a.program_id = %s"
                )
            }
            self.moves: dict[Any, list[dict[str, Any]]] = defaultdict(list)
            for row in rows("SELECT n.* FROM allocations n JOIN accounts a USING (account_id) WHERE a.program_id = %s"):
                self.moves[row["account_id"], row["sequence"]].append(row)

    def month(self, instant: datetime) -> str:
        return f"{instant.astimezone(self.zone):%Y-%m}"

    def liability(self, as_of: datetime) -> dict[tuple[str, str, str | None, str | None], int]:
        """Points by bucket, tier, month in which they were earned, last month."""
        left: Counter[Any] = Counter()
        pending: dict[Any, bool] = {}
        reserved: Counter[Any] = Counter()
        deficit: Counter[Any] = Counter()
        for entry in self.entries:
            if entry["recorded_at"] >= as_of:
                continue
            account = entry["account_id"]
            reserved[account] += entry["reserved_change"]
            deficit[account] += entry["deficit_change"]
            for move in self.moves[account, entry["sequence"]]:
                lot = account, move["lot_number"]
                left[lot] += move["points"]
                if move["kind"] == "opened":
                    waits = entry["kind"] == "release" and entry["points"] == 0
                    pending[lot] = entry["pending_change"] > 0 or waits
            if entry["kind"] == "release":
                for number in entry["why"]["lots"]:
                    pending[account, number] = False
        tiers = self._tiers(as_of)
        found: Counter[tuple[str, str, str | None, str | None]] = Counter()
        for (account, number), points in left.items():
            lot = self.lots[account, number]
            end = lot["expires_at"]
            bucket = "pending" if pending[account, number] else "available"
            if end is not None and end <= as_of:
                bucket = "ended"
            last = None if end is None else self.month(end - timedelta(microseconds=1))
            found[bucket, tiers[account], self.month(lot["origin_at"]), last] += points
        for account in tiers:
            found["reserved", tiers[account], None, None] += reserved[account]
            found["deficit", tiers[account], None, None] -= deficit[account]
        return {key: points for key, points in found.items() if points}

    def _tiers(self, as_of: datetime) -> dict[Any, str]:
        tiers = {row["account_id"]: row["tier_id"] for row in self.accounts}
        first: dict[Any, str] = {}
        for change in self.tier_changes:
            first.setdefault(change["account_id"], change["previous_tier_id"])
        tiers |= first
        for change in self.tier_changes:
            if change["recorded_at"] < as_of:
                tiers[change["account_id"]] = change["tier_id"]
        return tiers

    def history(self, as_of: datetime, months: int = 24) -> tuple[int, dict[int, int]]:
        """Of points whose time was over in so many months before: how many expired, and the ages of those spent."""
        day = as_of.astimezone(self.zone).date().replace(day=1)
        if datetime(day.year, day.month, 1, tzinfo=self.zone) == as_of:  # the end of the month before
            day = (day - timedelta(days=1)).replace(day=1)
        place = day.year * 12 + day.month - 1 - months
        since = datetime(place // 12, place % 12 + 1, 1, tzinfo=self.zone)
        expired = sum(points for (bucket, *_), points in self.liability(as_of).items() if bucket == "ended")
        spent: Counter[int] = Counter()
        kinds = {(entry["account_id"], entry["sequence"]): entry["kind"] for entry in self.entries}
        for entry in self.entries:
            if entry["recorded_at"] >= as_of:
                continue
            kind = entry["kind"]
            if kind == "reversal":
                kind = kinds[entry["account_id"], entry["corrects_sequence"]]
            for move in self.moves[entry["account_id"], entry["sequence"]]:
                lot = self.lots[entry["account_id"], move["lot_number"]]
                if lot["expires_at"] is None or not since < lot["expires_at"] <= as_of or move["kind"] == "opened":
                    continue
                if move["kind"] == "expired" or entry["why"].get("forfeited"):
                    expired -= move["points"]
                elif kind in _SPENT:
                    then, born = (each.astimezone(self.zone) for each in (entry["occurred_at"], lot["origin_at"]))
                    spent[max(0, (then.year - born.year) * 12 + then.month - born.month)] -= move["points"]
        return expired, {age: points for age, points in spent.items() if points}

    def activity(self) -> dict[tuple[str, str, str, str], int]:
        """Points by month, flow, kind of cause and cause."""
        found: Counter[tuple[str, str, str, str]] = Counter()
        earned: dict[Any, dict[tuple[str, str], int]] = defaultdict(dict)
        kinds = {(entry["account_id"], entry["sequence"]): entry["kind"] for entry in self.entries}
        for entry in self.entries:
            change = entry["points"] + entry["pending_change"] + entry["reserved_change"]
            month, kind, cause = self.month(entry["recorded_at"]), entry["kind"], entry["kind"]
            if kind == "reversal":
                kind = kinds[entry["account_id"], entry["corrects_sequence"]]
            if entry["why"].get("forfeited"):
                kind, cause = "expiry", "forfeited"
            if kind in {"accrual", "clawback"} and entry["order_id"] is not None:
                order, why = (entry["source"], entry["order_id"]), entry["why"]
                now = {("rule", each["rule_id"]): each["points"] for each in why["rules"]}
                now |= {("promotion", each["promotion_id"]): each["points"] for each in why.get("promotions", ())}
                before = earned[order]
                for part in {*before, *now}:
                    difference = now.get(part, 0) - before.get(part, 0)
                    found[month, _FLOW[kind], *part] += difference
                    change -= difference
                earned[order] = now
            if change:
                found[month, _FLOW[kind], "entry", cause] += change
        return {key: points for key, points in found.items() if points}


def main(database_url: str, program_id: str, zone: str) -> None:
    hand = Hand(database_url, program_id, zone)
    now = datetime.now(UTC)
    liability = [{"key": key, "points": points} for key, points in sorted(hand.liability(now).items(), key=str)]
    activity = [{"key": key, "points": points} for key, points in sorted(hand.activity().items())]
    text = json.dumps({"as_of": str(now), "liability": liability, "activity": activity}, indent=2)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
