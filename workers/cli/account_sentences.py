"""How an account stands and what made it so, in sentences that can be read to the customer."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from core.domain.decision import TierChange, TierChangeReason
from core.domain.ledger import AccountStatus, EntryKind
from core.domain.lots import Lot
from core.domain.members import Member
from core.domain.outcomes import Reason
from core.domain.program import SPEND_UNITS, Availability, AvailabilityPolicy, ExpiryPolicy, Measure, Program
from core.domain.tiers.qualification import review_due_at
from core.domain.tiers.timeline import settled
from core.domain.value.authorizations import Authorization
from core.domain.value.commands import HIDDEN, LINKED
from core.reading.accounts import HistoryEntry
from core.reading.open_lots import PointsLeft
from core.reading.open_messages import OpenMessage
from core.reading.standing import Repaired, Standing
from workers.cli.output import command_text, count_text, printable, time_text, until_text

NEVER = "never expires"
FROM_THEN = "counted from then"  #: of points that wait for their order to be fulfilled


def summary_texts(standing: Standing) -> list[str]:
    """Where the account stands: balance, deficit, pending, ends, tier, and what is on its way."""
    account = standing.account
    verb = "was" if standing.is_past else "is"
    texts = [f"The balance {verb} {count_text(account.balance, 'point')}."]
    if account.deficit:
        texts.append(
            f"Refunds took {count_text(account.deficit, 'point')} more than there were; the next points pay that off."
        )
    if account.merged_into is not None:
        texts.append(f"The account is {status_text(standing)}.")
    elif not standing.is_past and account.status is not AccountStatus.ACTIVE:
        texts.append(f"The account is {status_text(standing)}: {_STATUS_MEANS[account.status]}.")
    texts += [authorization_text(each, standing) for each in standing.authorizations]
    texts += [*pending_texts(standing), *expiring_texts(standing), f"Tier: {tier_text(standing)}."]
    if not standing.is_past:
        texts.append(f"Next tier: {next_tier_text(standing)}.")
    return texts + [open_message_text(message) for message in standing.open_messages]


def authorization_text(authorization: Authorization, standing: Standing) -> str:
    """What an authorization holds, and until when."""
    held = count_text(authorization.points_held, "point")
    name, undone = f"Authorization {authorization.authorization_id}", "captures"
    if authorization.reward_id is not None:
        name, undone = f"Reward {authorization.reward_id}, issued as {authorization.authorization_id},", "redeems"
    text = f"{name} reserves {held}"
    ends = authorization.expires_at  # to the minute: it is no last day
    if ends is None:
        return f"{text}."
    deadline = time_text(ends, standing.program.zone)[:16]
    return f"{text}, which come back on {deadline} if nobody {undone} {_IT[undone]}."


_IT = {"captures": "them", "redeems": "it"}
_STATUS_MEANS = {
    AccountStatus.FROZEN: "nothing leaves it by spending",
    AccountStatus.CLOSED: "orders that come are recorded, and earn nothing",
}


def status_text(standing: Standing) -> str:
    """The status of the account, and since when and by which command it has it."""
    status, change = standing.account.status.value, standing.status_change
    if standing.account.merged_into is not None:
        return f"merged into account {standing.account.merged_into}, which has all that was its own"
    if change is None:
        return status
    since = time_text(change.since, standing.program.zone)[:16]
    return f"{status} since {since}, by command {change.command_id} of {change.source}"


#: What each type of message is about an order.
_NOUNS = {
    "order.refunded": "a refund of",
    "order.fulfilled": "a fulfilment of",
    "order.cancelled": "a cancellation of",
    "order.amended": "a change of",
    "order.refund_reverted": "the undoing of a refund of",
    "order.claimed": "a claim of",
}


def open_message_text(message: OpenMessage) -> str:
    """A message about an order that has not come to the ledger, and why."""
    number = message.inbox_id
    state = {
        "received": "is about to be posted",
        "waiting": "waits for its order",
        "dead": f"is parked as {message.reason}, and needs a person: {command_text('dead show', number)}",
    }
    what = _NOUNS.get(message.type, "a message about")
    if message.type == "order.completed":
        what = "another content of" if message.reason == Reason.ORDER_CONFLICT else ""
    about = f"{what} order {message.order_id}".lstrip()
    if message.to_add is not None:
        return f"Not in the ledger: {about}, {elsewhere_text(number, message.source, message.to_add)}"
    return f"Not in the ledger: {about} (message {number}) {state.get(message.state, message.state)}."


def elsewhere_text(inbox_id: int, source: str, to_add: Mapping[str, str]) -> str:
    """What a message waits for that may mean another order, and how to say so."""
    ((name, value),) = to_add.items()
    owner = f"source {value}" if name == "order_source" else f"program {value}"
    return (
        f"which {source} sent (message {inbox_id}), waits for an order that has not come; {owner} has one of this id. "
        f'If that is meant, send the message again in a new event with "{name}": "{value}" in its data.'
    )


def tier_text_of_entry(entry: HistoryEntry, changes: Sequence[TierChange], zone: ZoneInfo) -> str | None:
    """Why an order earned in its tier; None for what is no order, or where that is not known."""
    if entry.kind is not EntryKind.ACCRUAL:
        return None
    tier_id = entry.why.get("tier")
    told = [each for each in changes if each.effective_at <= entry.occurred_at and each.tier_id == tier_id]
    reached = [each for each in settled(changes) if each.effective_at <= entry.occurred_at and each.tier_id == tier_id]
    if not reached and (not changes or tier_id == changes[0].previous_tier_id):
        return f"Tier {tier_id}: the customer was in it from the beginning."
    if not told:
        return None
    last = reached[-1] if reached else told[-1]
    if last.effective_at == entry.occurred_at and last.reason is TierChangeReason.QUALIFIED:
        return f"Tier {tier_id}: this order reached it, and earned in it."
    if not reached:  # it was told, and taken back by what came later
        return f"Tier {tier_id}: the customer was in it by what was known when the order came."
    return f"Tier {tier_id}: the customer was in it since {time_text(last.effective_at, zone)[:16]}."


def tier_change_text(change: TierChange, program: Program, repairs: Sequence[Repaired]) -> str:
    """What moved the account to another tier, and when; `program` is the version that judged it."""
    had = measured_text(change.qualifying_points, program)
    tier = program.tier(change.tier_id)
    takes = (
        "" if tier is None else f", and it takes {units_text(tier.threshold(program.qualification.measure), program)}"
    )
    why = {
        TierChangeReason.QUALIFIED: f"{had} had been reached{takes}",
        TierChangeReason.REVIEWED: f"the period had ended with {had}",
        TierChangeReason.REFUNDED: f"a refund left {had}",
        TierChangeReason.HELD: f"it was set by hand{_reason_of(change, repairs)}",
        TierChangeReason.CORRECTED: f"put right by what came later, with which it had been {had}",
    }[change.reason]
    when = time_text(change.effective_at, program.zone)[:16]
    return f"{when}  From {change.previous_tier_id} to {change.tier_id}: {why}."


def _reason_of(change: TierChange, repairs: Sequence[Repaired]) -> str:
    for repair in repairs:
        if repair.subject == "tier" and repair.rebuilt.get("change_number") == change.change_number:
            return f" by {_hand_text(repair)}"
    return ""


def repair_text(repair: Repaired, zone: ZoneInfo) -> str:
    """What was changed by hand: what was there, what is now, and why."""
    when = time_text(repair.applied_at, zone)[:16]
    if "expires_at" in repair.rebuilt:
        before, after = (
            until_text(datetime.fromisoformat(values["expires_at"]), zone) for values in (repair.found, repair.rebuilt)
        )
        return f"{when}  Points that could be used until {before} can be used until {after}, by {_hand_text(repair)}."
    names = [
        name for name in repair.rebuilt if name != "change_number" and repair.rebuilt[name] != repair.found.get(name)
    ]
    parts = [
        f"{name} was {_value_text(repair.found.get(name), zone)}, became {_value_text(repair.rebuilt[name], zone)}"
        for name in names
    ]
    subject = "points of one order" if repair.subject.startswith("lot ") else repair.subject
    return f"{when}  {subject}: {'; '.join(parts)}, by {_hand_text(repair)}."


def _hand_text(repair: Repaired) -> str:
    return repair.applied_by if repair.reason is None else f"{repair.applied_by} ({repair.reason})"


def _value_text(value: Any, zone: ZoneInfo) -> str:
    if isinstance(value, str) and value[:1].isdigit() and "T" in value:
        return time_text(datetime.fromisoformat(value), zone)[:16]
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def units_text(units: int, program: Program) -> str:
    """Units of the program's measure, as a number for people; of money with its currency."""
    if program.qualification.measure is Measure.SPEND:
        return f"{Decimal(units) / SPEND_UNITS:,.2f} {program.currency}"
    return f"{units:,}"


def measured_text(units: int, program: Program) -> str:
    """The same with what they are."""
    match program.qualification.measure:
        case Measure.POINTS:
            return f"{units_text(units, program)} qualifying {'point' if units == 1 else 'points'}"
        case Measure.SPEND:
            return f"{units_text(units, program)} of qualifying spend"
        case Measure.ORDERS:
            return f"{units_text(units, program)} qualifying {'order' if units == 1 else 'orders'}"


def tier_text(standing: Standing) -> str:
    """The tier, since when, and until when it is sure."""
    account, zone = standing.account, standing.program.zone
    since = "" if account.tier_since is None else f" since {time_text(account.tier_since, zone)[:16]}"
    until = "" if account.tier_until is None else f", reviewed at {time_text(account.tier_until, zone)[:16]}"
    grace = standing.program.qualification.grace_days
    if until and grace:
        due = time_text(review_due_at(account, standing.program), zone)[:16]
        until = f", reviewed at {due} for the time to {time_text(account.tier_until, zone)[:16]}"
    held = account.tier_held_until
    if held is not None and held > standing.as_of:
        until += f", held by hand until {until_text(held, zone)}"
    if account.tier_warned_until is not None and account.tier_warned_until == account.tier_until:
        until += "; the customer was warned that it is at risk"
    return f"{account.tier_id}{since}{until}"


def next_tier_text(standing: Standing) -> str:
    """The next tier and what is missing for it."""
    program, following = standing.program, standing.next_tier
    had = measured_text(standing.qualifying_units or 0, program)
    if following is None:
        return f"none above it ({had})"
    threshold = units_text(following.tier.threshold(program.qualification.measure), program)
    return f"{following.tier.tier_id}, {units_text(following.units_to_go, program)} to go ({had} of {threshold})"


def available_text(lot: Lot, zone: ZoneInfo) -> str:
    """When a lot became available, or will."""
    if lot.available_at is None:
        return "when the order is fulfilled"
    return f"{'pending until ' if lot.is_pending else ''}{time_text(lot.available_at, zone)[:16]}"


def after_text(availability: Availability) -> str:
    """How long after its fulfilment an order's points become available, as the beginning of a clause."""
    is_later = availability.policy is AvailabilityPolicy.DAYS_AFTER_FULFILMENT
    return f"{count_text(availability.days or 0, 'day')} after " if is_later else "when "


def good_until_text(lot: Lot | PointsLeft, program: Program) -> str:
    """The last day, or minute, on which the points of a lot, or of several that are alike, can be used."""
    if lot.expires_at is not None:
        return until_text(lot.expires_at, program.zone)
    expiry = program.expiries.get(lot.earned_by, program.expiry)
    if lot.is_pending and lot.available_at is None and expiry.policy is not ExpiryPolicy.NEVER:
        return FROM_THEN
    return NEVER


def pending_texts(standing: Standing) -> list[str]:
    """What is pending, and until when: one sentence for each instant."""
    held = [left for left in standing.points_left if left.is_pending]
    texts = []
    for when, group in groupby(
        sorted(held, key=lambda left: (left.available_at is None, left.available_at or standing.as_of)),
        key=lambda left: left.available_at,
    ):
        points = sum(left.points for left in group)
        until = f"{after_text(standing.program.availability)}their order is fulfilled"
        if when is not None:
            until = f"on {time_text(when, standing.program.zone)[:16]}"
        texts.append(f"{count_text(points, 'pending point')} will be available {until}.")
    return texts


def expiring_texts(standing: Standing) -> list[str]:
    """Until when which points can be used: one sentence for each end, the soonest first."""
    texts, zone = [], standing.program.zone
    expiring = [left for left in standing.points_left if left.expires_at is not None]
    for when, group in groupby(
        sorted(expiring, key=lambda left: left.expires_at or standing.as_of), lambda left: left.expires_at
    ):
        points = count_text(sum(left.points for left in group), "point")
        assert when is not None
        if when <= standing.as_of:
            texts.append(
                f"{points} could be used until {until_text(when, zone)}; the next run of expiry takes them from the"
                " balance."
            )
        else:
            texts.append(f"{points} can be used until {until_text(when, zone)}.")
    open_ended = [left for left in standing.points_left if left.expires_at is None]
    for end, group in groupby(
        sorted(open_ended, key=lambda x: good_until_text(x, standing.program)),
        lambda x: good_until_text(x, standing.program),
    ):
        count = sum(left.points for left in group)
        points = count_text(count, "point")
        if end == NEVER:
            texts.append(f"{points} never expire{'s' if count == 1 else ''}.")
        else:
            texts.append(f"How long {points} can be used is counted from the day on which they become available.")
    return texts


def members_text(members: Sequence[Member]) -> str:
    """Who may use an account beside its owner."""
    return ", ".join(f"{printable(member.customer_id)} ({member.role.value})" for member in members)


def linked_text(linked: Sequence[tuple[str, str]]) -> str:
    """By what else an account is found."""
    return ", ".join(f"{LINKED[kind]} {f'({told})' if kind in HIDDEN else told}" for kind, told in linked)
