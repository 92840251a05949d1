"""What commands are answered, for people: a sentence, and a table of before and after."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.messages.outbound.command_answers import AnsweredAccount, AnsweredEntry, CommandAcceptedData
from workers.cli.output import Row, count_text, points_text, print_listing, say, until_text

#: What an account has, in the order of the table, with the field of an entry that changes it.
_HOLDINGS = (("balance", "points"), ("pending", "pending_change"), ("reserved", "reserved_change"))


def done_text(done: str, data: CommandAcceptedData) -> str:
    """What was done, in a few words."""
    points: Any = data.get("points", 0)
    change = sum(entry["points"] for entry in data["entries"])
    told = {**data, "whom": data.get("customer_id"), "points": count_text(points, "point")}
    told["change"] = f"{points_text(change)} {'point' if abs(change) == 1 else 'points'}"
    text = done.format_map(told)
    remainder = data.get("remainder", 0)
    return f"{text}; {count_text(remainder, 'point')} could not be" if remainder else text


def print_accounts(data: CommandAcceptedData, zone_of: Callable[[str], ZoneInfo]) -> None:
    """Each account before and after the command, in its own program, and which points it gave or took."""
    for account in data["accounts"]:
        program_id = account.get("program_id")
        zone = zone_of(program_id or data["program_id"])
        where = "" if program_id is None else f" in {program_id}"
        entries = [entry for entry in data["entries"] if entry["account_id"] == account["account_id"]]
        say(f"{account['customer_id']}{where} (account {account['account_id']})")
        print_listing(("  ", ">before", ">after"), [*_holdings(account, entries)])
        lots = [part for entry in entries for part in entry["lots"]]
        if lots:
            rows = [Row(("", points_text(part["points"]), _until(part["expires_at"], zone))) for part in lots]
            print_listing(("  ", ">points", "good until"), rows)


def print_erased(data: CommandAcceptedData) -> None:
    """Where the customer was named until they were erased, and in how many rows."""
    rows = [Row((table.replace("_", " "), f"{count:,}")) for table, count in sorted(data["erased"].items())]
    print_listing(("  what named them", ">rows"), [Row((f"  {name}", count)) for (name, count), _ in rows])


def _holdings(account: AnsweredAccount, entries: Sequence[AnsweredEntry]) -> list[Row]:
    rows = []
    for name, change in _HOLDINGS:
        after: int = account[name]  # type: ignore[literal-required]
        before = after - sum(entry.get(change, 0) for entry in entries)  # type: ignore[misc]
        if before or after or name == "balance":
            rows.append(Row((f"  {name}", f"{before:,}", f"{after:,}")))
    return rows


def _until(expires_at: str | None, zone: ZoneInfo) -> str:
    return "for good" if expires_at is None else until_text(datetime.fromisoformat(expires_at), zone)
