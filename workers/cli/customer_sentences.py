"""What a customer asks about an account, answered in sentences that can be sent to them: no ids, no words of ours."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from core.domain.currencies import decimal_places
from core.domain.decision import TierChange, TierChangeReason
from core.domain.ledger import AccountStatus, EntryKind
from core.domain.merges import MergeRole
from core.domain.program import Measure, Program
from core.domain.tiers.timeline import settled
from core.domain.value.authorizations import Authorization
from core.reading.accounts import HistoryEntry
from core.reading.standing import AccountHistory, Standing
from workers.cli.account_sentences import after_text, units_text
from workers.cli.output import count_text, until_text

OrderTimes = Mapping[tuple[str, str], datetime]

_STATUS = {
    AccountStatus.ACTIVE: None,
    AccountStatus.FROZEN: "Your account is locked for the time being: it goes on to earn, and nothing can be spent.",
    AccountStatus.CLOSED: "Your account is closed.",
}


def amount_of(points: int, program: Program) -> str:
    """So many points, in what the program calls them; of money in its smallest units."""
    if program.is_money:
        places = decimal_places(program.currency)
        return f"{Decimal(points).scaleb(-places):,.{places}f} {program.currency}"
    return count_text(points, "point") if program.unit == "points" else f"{points:,} {program.unit}"


def standing_sentences(standing: Standing) -> list[str]:
    """What the customer has, and what is still to come."""
    account, program = standing.account, standing.program
    if account.merged_into is not None:
        return ["Your account was joined with another one, which has everything that was in it."]
    texts = [f"You can spend {amount_of(standing.points_spendable, program)}."]
    if account.balance < 0:
        owed = amount_of(-account.balance, program)
        texts.append(f"More was taken back than you had; what you get next makes up for it first: {owed}.")
    for when, points in _waiting(standing):
        coming = "can be spent" if when is None else f"can be spent from {_day(when, program.zone)} on"
        rest = f" {after_text(program.availability)}its order is delivered" if when is None else ""
        texts.append(f"{amount_of(points, program)} more {coming}{rest}.")
    status = _STATUS[account.status]
    return texts + ([] if status is None else [status]) + _unfinished(standing)


def _waiting(standing: Standing) -> list[tuple[datetime | None, int]]:
    points: Counter[datetime | None] = Counter()
    for left in standing.points_left:
        if left.is_pending:
            points[left.available_at] += left.points
    return sorted(points.items(), key=lambda each: (each[0] is None, each[0] or standing.as_of))


def _unfinished(standing: Standing) -> list[str]:
    orders = len({(each.source, each.order_id) for each in standing.open_messages})
    if not orders:
        return []
    return [f"Something about {count_text(orders, 'order')} of yours is not settled yet; it may change what you have."]


def reserved_sentences(standing: Standing) -> list[str]:
    """What is set aside, for what, and until when."""
    return [_reserved_text(each, standing.program) for each in standing.authorizations]


def _reserved_text(held: Authorization, program: Program) -> str:
    amount = amount_of(held.points_held, program)
    what = "a purchase" if held.reward_id is None else _reward_name(held.reward_id, program)
    aside = f"{amount} {_are(held.points_held)} set aside for {what}"
    if held.expires_at is None:
        return f"{aside}."
    end = held.expires_at.astimezone(program.zone)
    return f"{aside}. What is not used by {end.day} {end:%B %Y, %H:%M} comes back to you."


def _reward_name(reward_id: str | None, program: Program) -> str:
    name = next((each.name for each in program.rewards if each.reward_id == reward_id), None)
    return "a reward" if name is None else f'the reward "{name}"'


def _are(points: int) -> str:
    return "is" if points == 1 else "are"


def _day(instant: datetime, zone: ZoneInfo) -> str:
    local = instant.astimezone(zone)
    return f"{local.day} {local:%B %Y}"


def ending_sentences(standing: Standing) -> list[str]:
    """Until when what can be spent, now or later: the soonest end first."""
    program = standing.program
    ends: Counter[datetime | None] = Counter()
    later: Counter[datetime] = Counter()
    for left in standing.points_left:
        if left.is_pending and left.expires_at is not None:
            later[left.expires_at] += left.points
        elif not left.is_pending and (left.expires_at is None or left.expires_at > standing.as_of):
            ends[left.expires_at] += left.points
    dated = sorted((end, points) for end, points in ends.items() if end is not None)
    zone = program.zone
    texts = [f"{amount_of(points, program)} can be spent until {until_text(end, zone)}." for end, points in dated]
    if undated := ends[None]:
        texts.append(f"{amount_of(undated, program)} {'does' if undated == 1 else 'do'} not end.")
    for end, points in sorted(later.items()):
        texts.append(f"{amount_of(points, program)} still to come can be spent until {until_text(end, zone)}.")
    return texts


def change_of(entry: HistoryEntry) -> int:
    """What an entry did to all that the customer has, whether it can be spent, waits or is set aside."""
    return entry.points + entry.pending_change + entry.reserved_change


def loss_sentences(standing: Standing, history: AccountHistory, orders: OrderTimes) -> list[str]:
    """What went, when and why, the newest first by when it happened, not by when we heard of it: of these entries."""
    program = standing.program
    texts = []
    for entry in sorted(history.entries, key=lambda each: (each.occurred_at, each.sequence), reverse=True):
        if (change := change_of(entry)) < 0:
            amount, why = amount_of(-change, program), _why_lost(entry, program, orders)
            texts.append(f"{_day(entry.occurred_at, program.zone)}: {amount}. {why}")
    return texts


def _why_lost(entry: HistoryEntry, program: Program, orders: OrderTimes) -> str:
    match entry.kind:
        case EntryKind.CLAWBACK:
            text = _why_taken_back(entry, _order_text(entry, program.zone, orders))
        case EntryKind.EXPIRY:
            text = f"They were not used in time: their last day was {until_text(entry.occurred_at, program.zone)}."
        case EntryKind.CAPTURE if (reward_id := entry.why.get("command", {}).get("reward_id")) is not None:
            text = f"You used {_reward_name(reward_id, program)}."
        case EntryKind.CAPTURE | EntryKind.REDEMPTION:
            text = "You spent them."
        case EntryKind.DEBIT if "forfeited" in entry.why:
            text = "Your account was closed, and they went with it."
        case EntryKind.DEBIT:
            text = "They were taken from your account."
        case EntryKind.MERGE:
            is_whole = MergeRole(entry.why["merge"]) is MergeRole.MERGED
            whose = (
                "to the account that yours was joined with" if is_whole else "back to an account that had been joined"
            )
            text = f"They went {whose}."
        case EntryKind.REPAYMENT:
            order = _order_text(entry, program.zone, orders)
            text = f"They had paid {order} and had come back with a refund, which then did not happen."
        case kind:
            text = _OTHERWISE[kind]
    reason = entry.why.get("command", {}).get("reason")
    return text if reason is None else f"{text} The reason we noted: {reason}"


_OTHERWISE: Mapping[EntryKind, str] = {
    EntryKind.ADJUSTMENT: "We put your account right.",
    EntryKind.TRANSFER: "They went to another account.",
    EntryKind.CONVERSION: "They were exchanged.",
    EntryKind.REVERSAL: "What had brought them was undone.",
    EntryKind.VOID: "They were set aside, and what had earned them was given back.",
    EntryKind.ACCRUAL: "An order earns less than before.",
    EntryKind.RELEASE: "An order earns less than before.",
    EntryKind.CREDIT: "What had been given was put right.",
    EntryKind.AUTHORIZATION: "They were set aside.",
}


def _order_text(entry: HistoryEntry, zone: ZoneInfo, orders: OrderTimes) -> str:
    when = orders.get((entry.source or "", entry.order_id or ""))
    return "an order of yours" if when is None else f"your order of {_day(when, zone)}"


def _why_taken_back(entry: HistoryEntry, order: str) -> str:
    if entry.return_id is not None:
        return "You gave goods back without a receipt, and they went with what these goods would have earned."
    if "revision" in entry.why:
        return f"You changed {order}, and as it is now it earns less."
    if "claimed" in entry.why:
        return f"It turned out that {order} was another customer's."
    if entry.refund_id is not None:
        return f"You gave back something of {order} or were paid back for it, so it earns less."
    if "cancelled_lines" in entry.why:
        return f"A part of {order} was cancelled."
    return f"{order[:1].upper()}{order[1:]} was cancelled."


def tier_sentences(standing: Standing, history: AccountHistory) -> list[str]:
    """Which tier the customer has, why it is that one, or no longer another, and what the next one takes."""
    account, program = standing.account, standing.program
    texts = [f"You are {account.tier_id}."]
    judged = {change.change_number: version for change, version in history.tier_changes}
    moves = settled([change for change, _ in history.tier_changes])  # what was taken back is no reason
    texts += [_tier_change_text(change, judged[change.change_number]) for change in reversed(moves)]
    if not moves:
        texts.append("That is where everybody begins.")
    held = account.tier_held_until
    if held is not None and held > standing.as_of:
        texts.append(f"You keep it at least until {until_text(held, program.zone)}.")
    elif account.tier_until is not None and account.tier_until > standing.as_of:
        texts.append(f"What you earn until {until_text(account.tier_until, program.zone)} decides what comes after it.")
    following = standing.next_tier
    if following is not None:
        texts.append(f"For {following.tier.tier_id} you need {_measured(following.units_to_go, program)} more.")
    return texts


def _tier_change_text(change: TierChange, program: Program) -> str:
    ranks = {tier.tier_id: rank for rank, tier in enumerate(program.tiers)}
    is_up = ranks.get(change.tier_id, -1) > ranks.get(change.previous_tier_id, -1)
    moved = f"you became {change.tier_id}" if is_up else f"you ceased to be {change.previous_tier_id}"
    line = program.tier(change.tier_id if is_up else change.previous_tier_id)
    had = _measured(change.qualifying_points, program)
    takes = ""
    if line is not None:
        takes = f", and {line.tier_id} takes {_measured(line.threshold(program.qualification.measure), program)}"
    why = {
        TierChangeReason.QUALIFIED: f"you had reached {had}{takes}",
        TierChangeReason.REVIEWED: f"only {had} counted for it when we looked{takes}",
        TierChangeReason.REFUNDED: f"what you gave back left {had}{takes}",
        TierChangeReason.HELD: "we gave you this tier",
        TierChangeReason.CORRECTED: f"with what we heard of later you had {had}{takes}",
    }[change.reason]
    return f"{_day(change.effective_at, program.zone)}: {moved}, since {why}."


def _measured(units: int, program: Program) -> str:
    match program.qualification.measure:
        case Measure.POINTS:
            return f"{units_text(units, program)} {'point' if units == 1 else 'points'}"
        case Measure.SPEND:
            return f"{units_text(units, program)} of purchases"
        case Measure.ORDERS:
            return count_text(units, "order")


def questions(standing: Standing, history: AccountHistory, orders: OrderTimes) -> Sequence[tuple[str, str, list[str]]]:
    """Each question by a short name and in the customer's words, with its answers; at least one of each.

    Nobody asks for the tier where there is only one.
    """
    is_all = len(history.entries) >= standing.account.sequence
    losses = loss_sentences(standing, history, orders)
    if not is_all:
        losses.append("What happened before that is not listed here.")
    answered = [
        ("have", "What do I have?", standing_sentences(standing)),
        ("reserved", "What is set aside?", reserved_sentences(standing) or ["Nothing."]),
        ("ends", "When does it end?", ending_sentences(standing) or ["There is nothing that could end."]),
        ("lost", "What did I lose or spend, and why?", losses or ["Nothing."]),
    ]
    if len(standing.program.tiers) > 1 or history.tier_changes:
        answered.append(("tier", f"Why am I {standing.account.tier_id}?", tier_sentences(standing, history)))
    return answered
