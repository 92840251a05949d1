"""What a program owes and what became of its points, counted by hand: forward, row by row, in plain Python.

It shares no code with the reports, and none of their ways: they sum in SQL, from what is there now backwards. It reads
entries, allocations and tier changes, of lots only what never changes, and messages as they came. As a script it prints
its figures as JSON:

    python tests/reading/books_by_hand.py postgresql://… high-street Europe/London
"""

import json
import math
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row

_ENTRIES = """
SELECT e.* FROM entries e JOIN accounts a USING (account_id) WHERE a.program_id = %s
ORDER BY e.recorded_at, e.account_id, e.sequence
"""
_ORDERS = "SELECT source, order_id, account_id, program_version, occurred_at FROM orders WHERE program_id = %s"
#: When it was recorded that all of an order was delivered.
_FULFILLED = """
SELECT source, order_id, recorded_at FROM order_events WHERE kind = 'fulfilled' AND event_key = '' AND program_id = %s
"""
#: Which version judged orders, returns and commands.
_VERSIONS = """
SELECT 'order' AS what, source, order_id AS id, program_version FROM orders WHERE program_id = %(program_id)s
UNION ALL
SELECT 'return', source, return_id, program_version FROM returns WHERE program_id = %(program_id)s
UNION ALL
SELECT 'command', source, command_id, program_version FROM commands WHERE code IS NULL
"""
#: What was sent and posted, as it was received; of the other programs too.
_MESSAGES = "SELECT type, convert_from(body, 'UTF8') AS body FROM inbox WHERE state = 'posted' AND %s::text IS NOT NULL"
_SPENT = {"debit", "redemption", "authorization", "void", "repayment"}
_FLOW = {
    "accrual": "issued", "credit": "issued", "clawback": "clawed_back", "debit": "redeemed", "capture": "redeemed",
    "redemption": "redeemed", "repayment": "redeemed", "expiry": "expired", "adjustment": "adjusted",
    "transfer": "moved", "conversion": "moved", "merge": "moved",
}  # fmt: skip


_EARNING = {"accrual", "clawback"}
_ASKED = {"credit", "redeem", "adjust", "transfer", "convert", "account.create"}


class Hand:
    """All rows of one program, read once."""

    def __init__(self, database_url: str, program_id: str, zone: str) -> None:
        self.zone = ZoneInfo(zone)
        with psycopg.connect(database_url, row_factory=dict_row) as connection:

            def rows(statement: str) -> list[dict[str, Any]]:
                return connection.execute(statement, (program_id,)).fetchall()

            self.entries = rows(_ENTRIES)
            self.kinds = {(entry["account_id"], entry["sequence"]): entry["kind"] for entry in self.entries}
            self.tier_changes = rows(
                "SELECT t.* FROM tier_changes t JOIN accounts a USING (account_id) WHERE a.program_id = %s"
                " ORDER BY change_number"
            )
            self.accounts = rows("SELECT account_id, tier_id FROM accounts WHERE program_id = %s")
            self.lots = {
                (row["account_id"], row["lot_number"]): row
                for row in rows(
                    "SELECT l.account_id, lot_number, origin_source, origin_id, origin_at, expires_at FROM dated_lots l"
                    " JOIN accounts a USING (account_id) WHERE a.program_id = %s"
                )
            }
            self.moves: dict[Any, list[dict[str, Any]]] = defaultdict(list)
            for row in rows("SELECT n.* FROM allocations n JOIN accounts a USING (account_id) WHERE a.program_id = %s"):
                self.moves[row["account_id"], row["sequence"]].append(row)
            self.fulfilled = {(row["source"], row["order_id"]): row["recorded_at"] for row in rows(_FULFILLED)}
            self.orders = {(row["source"], row["order_id"]): row for row in rows(_ORDERS)}
            self.versions = {
                (row["what"], row["source"], row["id"]): row["program_version"]
                for row in connection.execute(_VERSIONS, {"program_id": program_id})
            }
            self.messages = rows(_MESSAGES)

    def month(self, instant: datetime) -> str:
        return f"{instant.astimezone(self.zone):%Y-%m}"

    def liability(self, as_of: datetime) -> dict[tuple[str, str, str | None, str | None], int]:
        """Points by bucket, tier, month in which they were earned, last month."""
        left: Counter[Any] = Counter()
        pending: dict[Any, bool] = {}
        reserved: Counter[Any] = Counter()
        deficit: Counter[Any] = Counter()
        undated = set()
        for entry in self.entries:
            account = entry["account_id"]
            if entry["recorded_at"] >= as_of:
                # Before their order was fulfilled points had no end.
                if entry["kind"] == "release" and entry["order_id"] is not None:
                    undated |= {(account, number) for number in entry["why"]["lots"]}
                continue
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
            delivered = self.fulfilled.get((lot["origin_source"], lot["origin_id"]))
            waits = pending[account, number] and delivered is not None and delivered >= as_of
            end = None if waits or (account, number) in undated else lot["expires_at"]
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
        for entry in self.entries:
            if entry["recorded_at"] >= as_of:
                continue
            kind = entry["kind"]
            if kind == "reversal":
                kind = self.kinds[entry["account_id"], entry["corrects_sequence"]]
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
        for (*key, _), points in self.activity_by_version().items():
            month, flow, kind, cause = key
            found[month, flow, kind, cause] += points
        return {key: points for key, points in found.items() if points}

    def activity_by_version(self) -> dict[tuple[str, str, str, str, int | None], int]:
        """The same by the version of the program that judged the order, the return or the command too."""
        found: Counter[tuple[str, str, str, str, int | None]] = Counter()
        of_orders: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for entry in self.entries:
            if entry["kind"] in _EARNING and entry["order_id"] is not None:
                of_orders[entry["source"], entry["order_id"]].append(entry)
        for entry in self.entries:
            change = entry["points"] + entry["pending_change"] + entry["reserved_change"]
            month, version = self.month(entry["recorded_at"]), self._version(entry)
            flow, cause = self._flow(entry)
            if entry["kind"] in _EARNING and entry["order_id"] is not None:
                now = _parts(entry["why"])
                before = _earned_before(entry, of_orders[entry["source"], entry["order_id"]])
                for part in {*before, *now}:
                    difference = now.get(part, 0) - before.get(part, 0)
                    found[month, flow, *part, version] += difference
                    change -= difference
            if change:
                found[month, flow, "entry", cause, version] += change
        return {key: points for key, points in found.items() if points}

    def _flow(self, entry: dict[str, Any]) -> tuple[str, str]:
        """How an entry changes what is outstanding, and the kind of it."""
        if entry["why"].get("forfeited"):
            return "expired", "forfeited"
        kind = entry["kind"]
        if kind == "reversal":
            kind = self.kinds[entry["account_id"], entry["corrects_sequence"]]
        return _FLOW.get(kind, "held"), entry["kind"]

    def _version(self, entry: dict[str, Any]) -> int | None:
        for what in ("command", "return", "order"):
            if entry[f"{what}_id"] is not None:
                return self.versions.get((what, entry["source"], entry[f"{what}_id"]))
        return None

    def promotion(self, promotion_id: str) -> dict[str, Any]:
        """Orders, accounts, points given and left of those that had it and of others in its time; and by month."""
        told: dict[Any, list[tuple[int, int]]] = defaultdict(list)
        for entry in self.entries:
            if entry["kind"] in _EARNING and entry["order_id"] is not None:
                given = _parts(entry["why"]).get(("promotion", promotion_id), 0)
                changed = entry["points"] + entry["pending_change"]
                told[entry["source"], entry["order_id"]].append(
                    (given, entry["why"].get("points_entitled_after", changed))
                )
        rows = {key: self.orders[key] for key in told}
        had = {key for key, parts in told.items() if max(given for given, _ in parts) > 0}
        times = [rows[key]["occurred_at"] for key in had]
        others = {
            key for key in told if key not in had and times and min(times) <= rows[key]["occurred_at"] <= max(times)
        }

        def uptake(keys: set[Any], place: int) -> tuple[int, int, int, int]:
            accounts = {rows[key]["account_id"] for key in keys}
            most = sum(max(part[place] for part in told[key]) for key in keys)
            return len(keys), len(accounts), most, sum(told[key][-1][place] for key in keys)

        months: Counter[Any] = Counter()
        for key in had:
            months[self.month(rows[key]["occurred_at"]), rows[key]["program_version"]] += told[key][-1][0]
        return {"had": uptake(had, 0), "others": uptake(others, 1), "months": dict(months)}

    def balances(self, as_of: datetime) -> dict[str, int]:
        """What the books hold by what was recorded before an instant."""
        found: Counter[str] = Counter()
        for entry in self.entries:
            if entry["recorded_at"] < as_of:
                found["Available"] += entry["points"] + entry["deficit_change"]
                found["Pending"] += entry["pending_change"]
                found["Reserved"] += entry["reserved_change"]
                found["Deficit"] -= entry["deficit_change"]
        return dict(found)

    def flows(self, month: str) -> dict[tuple[str, str], int]:
        """What became of points in a month, by flow and kind of entry."""
        found: Counter[tuple[str, str]] = Counter()
        for entry in self.entries:
            if self.month(entry["recorded_at"]) == month:
                found[self._flow(entry)] += entry["points"] + entry["pending_change"] + entry["reserved_change"]
        return {key: points for key, points in found.items() if points}

    def asked(self) -> dict[str, int]:
        """What accepted commands asked for, as they were received: points by verb, of those that move what they say."""
        found: Counter[str] = Counter()
        for message in self.messages:
            verb = message["type"].removeprefix("loyalty.command.")
            if verb in _ASKED:
                found[verb] += json.loads(message["body"])["data"].get("points") or 0
        return dict(found)

    def ordered(self, source: str) -> int:
        """A point for each whole unit of money that is kept of each order, by the messages as they were received."""
        lines: dict[str, dict[str, Decimal]] = defaultdict(dict)  # the price of a piece of each line
        pieces: Counter[tuple[str, str]] = Counter()
        back: Counter[str] = Counter()
        for message in sorted(self.messages, key=lambda each: each["type"]):  # orders first
            event = json.loads(message["body"])
            data = event["data"]
            order_id = data.get("order_id", "")
            if event["source"] == source and message["type"] == "order.completed":
                for line in data["lines"]:
                    lines[order_id][line["line_id"]] = Decimal(line["amount"]) / int(line["quantity"])
                    pieces[order_id, line["line_id"]] = int(line["quantity"])
            elif event["source"] == source and message["type"] in {"order.refunded", "order.cancelled"}:
                money = data.get("net") or data.get("paid")
                if "lines" in data:
                    back[order_id] += sum(lines[order_id][each["line_id"]] * each["quantity"] for each in data["lines"])
                else:
                    back[order_id] += Decimal(money) if money else Decimal(10**6)  # all of it
        amounts = {
            order_id: sum(price * pieces[order_id, line_id] for line_id, price in prices.items())
            for order_id, prices in lines.items()
        }
        return sum(max(0, math.floor(amount - back[order_id])) for order_id, amount in amounts.items())


def _earned_before(entry: dict[str, Any], of_order: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """What the order earned before one of its entries: by its last entry, of whichever account had it.

    Where it moves between two accounts at one instant, their entries have no order there: what is the account's own, or
    earlier, comes before what is not.
    """
    if not entry["why"].get("points_entitled_before"):
        return {}
    best: tuple[Any, ...] = ()
    found: dict[tuple[str, str], int] = {}
    for other in of_order:
        is_own, at = other["account_id"] == entry["account_id"], other["recorded_at"]
        if (other["sequence"] < entry["sequence"]) if is_own else (at <= entry["recorded_at"]):
            place = (is_own or at < entry["recorded_at"], at, is_own, other["sequence"])
            if place > best:
                best, found = place, _parts(other["why"])
    return found


def _parts(why: dict[str, Any]) -> dict[tuple[str, str], int]:
    """What an order earns by rules and promotions, as an entry explains it."""
    rules = {("rule", each["rule_id"]): each["points"] for each in why["rules"]}
    return rules | {("promotion", each["promotion_id"]): each["points"] for each in why.get("promotions", ())}


def main(database_url: str, program_id: str, zone: str) -> None:
    hand = Hand(database_url, program_id, zone)
    now = datetime.now(UTC)
    liability = [{"key": key, "points": points} for key, points in sorted(hand.liability(now).items(), key=str)]
    activity = [{"key": key, "points": points} for key, points in sorted(hand.activity().items())]
    text = json.dumps({"as_of": str(now), "liability": liability, "activity": activity}, indent=2)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
