"""A walk over every column that the worker's role may update: who notices a wrong value, or why nobody needs to."""

from typing import NamedTuple

from sqlalchemy import Boolean, DateTime, Integer, LargeBinary, Numeric, String

from core.store.tables import metadata


class Named(NamedTuple):
    """`loyalty verify` names a wrong value by this check."""

    check: str
    value: str | None = None  #: SQL of a wrong value where that of the type would be refused, or be none


class Free(NamedTuple):
    """A wrong value changes nothing that anybody owns, or can be known by nobody."""

    reason: str
    value: str | None = None


#: A wrong value by the type of the column; null stays null.
VALUES = {
    Boolean: "NOT {}",
    DateTime: "{} + interval '1 day'",
    Integer: "{} + 1",
    LargeBinary: "{} || 'x'",
    Numeric: "{} + 1",
    String: "{} || 'x'",
}
_ENTRIES = "an account counts its entries and its lots"
_SUMS = "balance, pending, reserved and deficit are the sums of their changes"
_QUALIFYING = "qualifying points are what the orders of their period earn"
_LAST_CHANGE = "an account's tier is that of its last change"
_TIER_END = "a tier ends with a period, or as a person held it"
_HELD = "an authorization's points are those of its entries"
_ORDERS = "an account counts its orders"
_LOT = "a lot holds what its allocations left"
_DATES = "a lot's dates are what its order and what moved it give"
_ORDER = "an order's points are its accrual less its refunds"
_EARNS = "an order's points are what its program gives for it"
_AN_ACCOUNT = "(SELECT account_id FROM accounts ORDER BY customer_id DESC LIMIT 1)"
_CLAIMED = "an accrual is its order's, and a clawback is its refund's"
_REPORTED = "refunds and the like are of their order's account"
_AN_AMENDMENT = """'{"revision": 1, "lines": [], "points_paid": "0", "attributes": {}, "customer_tags": []}'"""
_REPAID = "points that paid an order came back in the share of it that is given back"
_BACK = "what came back of points that paid an order is in entries, and never more than they were"
_EVENTS = "an order is fulfilled and cancelled when its messages say so"
_LIMITS = "what a customer has had of a limit is what orders and commands have"
_BUDGETS = "what is spent of a budget, or of a reward's stock, is what orders and commands have"
_PRIMARY = "a customer's orders come to one of the customer's accounts"
_MESSAGE = "a posted message is of the time and the source of what it reported"
_OPEN = "what is still to be posted is what came"
_REPEATS = Free("only tells a message that comes again: what is posted is known by the ids of orders and refunds")
_TOLD = Free("is told to people, and decides on nothing")
_LETS = Free("limits a command until it is posted", "7")
_ASKED = Free("says where an answer goes besides to all who listen", "'x'")
_KEPT = Free("is kept with the account, and only tells whether a command that makes it says the same again", "'[1]'")
_REMINDS = Free("decides on what is told about points that expire, and the next run corrects it")

_TRACED = Free("is a label for tracing systems, which decides nothing")

UPDATED: dict[str, dict[str, Named | Free]] = {
    "inbox": {
        "source": Named(_MESSAGE),
        "event_id": _REPEATS,
        "variant": _REPEATS,
        "type": Named(_OPEN),
        "occurred_at": Named(_MESSAGE),
        "shard": Free("is only where the message is posted"),
        "subject": Named(_MESSAGE),
        "is_subject": Free("only tells messages that came before it where to wait"),
        "content_hash": Named(_OPEN),
        "settled": Named(_OPEN),
        "state": Named(
            "a posted message is in the ledger, once", "CASE state WHEN 'posted' THEN 'replayed' ELSE state END"
        ),
        "reason": _TOLD,
        "detail": _TOLD,
        "deliveries": _TOLD,
        "times_parked": _TOLD,
        "subject_source": Named(_MESSAGE, "'/elsewhere'"),
        "others_posted": Free("decides when a waiting message is looked at again"),
        "awaits": Free("decides when a waiting message is looked at again"),
        "reply_to": _ASKED,
        "correlation_id": _ASKED,
        "points_per_command_max": _LETS,
        "points_per_day_max": _LETS,
        "traceparent": _TRACED,
        "tracestate": _TRACED,
        "settled_at": Free("decides when the row is purged; what is gone too early is missed by its order"),
    },
    "accounts": {
        "sequence": Named(_ENTRIES),
        "lots_opened": Named(_ENTRIES),
        "balance": Named(_SUMS),
        "pending": Named(_SUMS),
        "reserved": Named(_SUMS),
        "deficit": Named(_SUMS),
        "lifetime_points": Named("lifetime points are accruals less clawbacks"),
        "qualifying_points": Named(_QUALIFYING),
        "qualifying_from": Named(_QUALIFYING),
        "tier_id": Named(_LAST_CHANGE),
        "tier_since": Named(_LAST_CHANGE),
        "tier_until": Named(_TIER_END),
        "tier_changes": Named(_LAST_CHANGE),
        "counted_until": Free("only decides whether what comes next is worked out with all that was before", "now()"),
        "orders_posted": Named(_ORDERS),
        "orders_counted": Named(_ORDERS),
        "enrolled_at": Named(_ORDERS),
        "tier_held_until": Named(_TIER_END, "now()"),
        "tier_warned_until": Free("only keeps a warning from being told twice", "now()"),
        "status": Named("an account is frozen or closed by a command", "'frozen'"),
        "merged_into": Named(
            "an account is merged into the one that its last merge says, and nothing comes to it since", "NULL"
        ),
        "updated_at": Free("nothing reads it"),
    },
    "members": {"account_id": Named(_PRIMARY, f"{_AN_ACCOUNT}")},
    "account_details": {"business_hash": _KEPT, "metadata": _KEPT, "tags": _KEPT},
    "lots": {
        "points_granted": Named(_LOT),
        "points_remaining": Named(_LOT, "greatest(points_remaining - 1, 0)"),
        "points_expired": Named(_LOT, "greatest(points_expired - 1, 0)"),
        "available_at": Named(_DATES),
        "expires_at": Named(_DATES),
        "is_pending": Named("balance and pending are the lots less the deficit", "true"),
        "points_excused": Named("what refunds excused of lots is what they excused of their orders", "0"),
        "expires_with": Named(_DATES, "NULL"),
    },
    "authorizations": {
        "points_captured": Named(_HELD, "points_captured + (state = 'open')::integer"),
        "points_returned": Named(_HELD, "points_returned + (state = 'open')::integer"),
        "state": Named(_HELD, "CASE state WHEN 'open' THEN state ELSE 'expired' END"),
        "told_at": Free("only keeps a deadline from being announced twice", "now()"),
    },
    "shared_expiries": {
        "expires_at": Named(_DATES),
        "extended_to": Named("points last as long as a person has let them", "now()"),
        "is_over": Named("lots that share their expiry are of one kind, and none is left once it is over"),
        "is_kept": Named(
            "a shared expiry is kept while an order that keeps something, or a command, has points with it"
        ),
    },
    "order_payments": {
        "order_source": Named(_BACK, "NULL, order_id = NULL, program_id = NULL"),
        "order_id": Named(_REPAID, "'o2'"),
        "program_id": Named(_BACK, "NULL, order_source = NULL, order_id = NULL"),
        "share": Named(_REPAID, "'1/7'"),
        "points_due": Named(_REPAID),
        "points_excused": Named(_BACK),
        "points_shortfall": Named(_BACK),
    },
    "orders": {
        "points_entitled": Named(_ORDER, "points_entitled + (account_id IS NOT NULL)::integer"),
        "points_excused": Named(_ORDER, "points_excused + (account_id IS NOT NULL)::integer"),
        "points_shortfall": Named(_ORDER, "points_shortfall + (account_id IS NOT NULL)::integer"),
        "qualifying_points": Named(_EARNS),
        "qualifying_spend": Named(_EARNS),
        "qualifying_orders": Named(_EARNS),
        "qualifying_steps": Named(_EARNS, """'[["2026-01-01T00:00:00+00:00", 1, 1, 1]]'"""),
        "is_counted": Named(_EARNS),
        "fulfilled_at": Named(_EVENTS),
        "cancelled_at": Named(_EVENTS),
        "amendment": Named(_EARNS, _AN_AMENDMENT),
        # What a claim changes, and seals anew.
        "account_id": Named(_CLAIMED, f"CASE WHEN account_id IS NOT NULL THEN {_AN_ACCOUNT} END"),
        "shard": Free("is only where messages about the order are posted"),
        "tier_id": Named(_EARNS, "'gone'"),
        "sequence": Named(_CLAIMED, "CASE WHEN account_id IS NOT NULL THEN 7 END"),
        "judgement": Named(
            _EARNS,
            """'{"excluded": ["spend"], "allowances": {"spend": 0}, "carried": {}, "is_first_order": false}'""",
        ),
        "seal": Free("is looked at by who has the chain's key", "'x'"),
    },
    "refunds": {"account_id": Named(_REPORTED, f"CASE WHEN account_id IS NOT NULL THEN {_AN_ACCOUNT} END")},
    "order_events": {"account_id": Named(_REPORTED, f"CASE WHEN account_id IS NOT NULL THEN {_AN_ACCOUNT} END")},
    "usages": {"points": Named(_LIMITS), "orders": Named(_LIMITS), "carried": Named(_LIMITS)},
    "source_days": {"points": Free("decides on what a source may still command today, and on nothing that is posted")},
    "budgets": {"points": Named(_BUDGETS), "orders": Named(_BUDGETS)},
    "reminders": {"points": _REMINDS, "days_ahead": _REMINDS, "number": _REMINDS, "told_at": _REMINDS},
    "outbox": {"correlation_id": _ASKED},
    "relay_positions": {"published_through": Free("which events went out is known to the broker alone")},
    "numbers": {"next_number": Named("events are numbered without gaps to the last, which is never purged")},
    "turns": {"shard": Free("the row is only locked; whoever misses it makes another")},
    "posting_attempts": {
        "attempts": Free("only makes posting more careful with the next batch, or less"),
        "started_at": _TOLD,
    },
    "periodic_runs": {
        "as_of": _TOLD,
        "finished_at": _TOLD,
        "result": Free("is where the next run goes on; all of them begin anew now and then", "'{}'"),
    },
    "retention": {
        "purged_before": Named("what retention may have purged is of the past", "now() + interval '1 day'"),
        "seal": Free("is looked at by who has the chain's key", "'x'"),
    },
}


def tampering(table: str, name: str) -> str:
    """The statement that puts wrong values into this column of every row."""
    value = UPDATED[table][name].value
    if value is None:
        kind = metadata.tables[table].columns[name].type
        value = next(text for of, text in VALUES.items() if isinstance(kind, of)).format(name)
    return f"UPDATE {table} SET {name} = {value}"
