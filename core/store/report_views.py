"""The views for reporting tools: what stands in their columns. The migrations make them, a test holds both together.

Their names begin with `loyalty_`, which no table of ours does, so that they stand together in a tool's list, say whose
they are beside the shop's own tables, and stay when the tables behind them change. They are in the schema of the
tables: another one would take more rights to make, and would be one more place to name in every tool's settings.
"""

from collections.abc import Mapping

REPORT_PREFIX = "loyalty_"

_ACCOUNT = "the account, by the id that we drew"
_PROGRAM = "the program of the account"
_POINTS = "points, or the smallest units of money, as the program counts"

#: Every view with what one row is, and its columns in their order with what they hold.
REPORT_VIEWS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "loyalty_programs": (
        "a version of a program",
        {
            "program_id": "the program",
            "version": "1, 2, 3, … of the program",
            "name": "for people",
            "unit": "what it counts: points, a unit of its own, or an ISO 4217 code",
            "currency": "of its amounts, ISO 4217",
            "time_zone": "in which its days begin",
            "effective_from": "since when it is in force, or will be; null: from the beginning",
            "is_withdrawn": "it never came into force",
            "applied_at": "when its file was applied",
        },
    ),
    "loyalty_accounts": (
        "an account as it stands",
        {
            "account_id": _ACCOUNT,
            "own_account_id": "the id that its maker gave it; null: none",
            "program_id": "its program",
            "customer_id": "the owner, by the shop's id",
            "status": "active, frozen or closed",
            "merged_into": "the account that has all that was its own; null: it is one by itself",
            "balance": f"what can be spent, less the deficit; {_POINTS}",
            "pending": "what is not available yet",
            "reserved": "what authorizations and issued rewards hold",
            "deficit": "what refunds took beyond what there was",
            "lifetime_points": "what orders earned, less what refunds took",
            "tier_id": "the tier",
            "tier_since": "since when; null: from the beginning",
            "tier_until": "when it is reviewed; null: never",
            "enrolled_at": "since when the customer takes part; null: not yet",
            "entries": "how many entries it has; also the sequence of the last one",
            "created_at": "when it was made",
            "updated_at": "when something of it changed last",
        },
    ),
    "loyalty_entries": (
        "a change of an account, for good",
        {
            "account_id": _ACCOUNT,
            "sequence": "1, 2, 3, … of the account",
            "program_id": _PROGRAM,
            "kind": "why, such as accrual, clawback, expiry, redemption",
            "points": "change of the balance",
            "pending_change": "change of what is pending",
            "reserved_change": "change of what is reserved",
            "deficit_change": "change of the deficit",
            "balance_after": "the balance with it",
            "pending_after": "what is pending with it",
            "reserved_after": "what is reserved with it",
            "lifetime_points_after": "the lifetime points with it",
            "occurred_at": "when it happened, as its message says",
            "recorded_at": "when it was booked: months of account are by this",
            "source": "who sent what it is about; null: nobody did, as of expiries",
            "order_id": "the order that it is about; null: none",
            "refund_id": "the refund; null: none",
            "return_id": "the return without a receipt; null: none",
            "command_id": "the command; null: none",
            "corrects_sequence": "the entry that it corrects; null: none",
        },
    ),
    "loyalty_lots": (
        "points of one credit, with one end",
        {
            "account_id": _ACCOUNT,
            "lot_number": "1, 2, 3, … of the account",
            "program_id": _PROGRAM,
            "points_granted": "what it began with",
            "points_remaining": "what is left: balance and deficit, or what is pending, are the sums of these",
            "points_expired": "what has expired of it",
            "is_pending": "whether it is not available yet",
            "available_at": "since when, or from when on; null: when its order is fulfilled",
            "expires_at": "the first instant at which it cannot be spent; null: never, or not known yet",
            "earned_by": "the rule or promotion whose own expiry it has; empty: the program's",
            "origin_kind": "what first earned it: order or command",
            "origin_source": "who sent that",
            "origin_id": "the id of that",
            "origin_at": "when that was: the age of the points",
            "opened_by_sequence": "the entry that opened it in this account",
        },
    ),
    "loyalty_orders": (
        "an order, in the program in which it was posted",
        {
            "source": "the shop that sent it",
            "order_id": "its id there",
            "program_id": "the program",
            "account_id": "whose it is; null: a guest's",
            "customer_id": "whose it is, as its message says; null: it names nobody, or by another name",
            "currency": "of its amounts, ISO 4217",
            "occurred_at": "when it was placed",
            "recorded_at": "when it was posted",
            "program_version": "the version that was frozen with it",
            "tier_id": "the tier that it earned in; null: a guest's",
            "points_entitled": "what it earns, as it is now with all its refunds",
            "points_excused": "what refunds did not take, as it had expired",
            "points_shortfall": "what refunds did not take, by the program's policy",
            "is_counted": "whether it counts as an order of its customer",
            "fulfilled_at": "when all of it was delivered; null: not yet",
            "cancelled_at": "when it was called off; null: it was not",
        },
    ),
    "loyalty_tier_changes": (
        "a move of an account to another tier",
        {
            "account_id": _ACCOUNT,
            "change_number": "1, 2, 3, … of the account",
            "program_id": _PROGRAM,
            "previous_tier_id": "from this tier",
            "tier_id": "to this one",
            "reason": "qualified, reviewed, refunded, held or corrected",
            "qualifying_points": "what counted then, in units of the program's measure; of spend hundredths",
            "effective_at": "from when on",
            "recorded_at": "when that was known",
        },
    ),
    "loyalty_authorizations": (
        "points that were reserved, by an authorization or an issued reward",
        {
            "kind": "authorization or reward",
            "authorization_id": "its id",
            "account_id": _ACCOUNT,
            "program_id": _PROGRAM,
            "sequence": "the entry that reserved the points",
            "reward_id": "the reward of the program; null: it is none",
            "points_authorized": "what it reserved",
            "points_captured": "what was taken of that for good",
            "points_returned": "what came back, or was taken back with an order",
            "points_held": "what it still holds",
            "state": "open, captured, voided, expired or clawed_back",
            "expires_at": "its deadline; null: none",
        },
    ),
    "loyalty_liability_snapshots": (
        "the end of a month in a program, which never moves: what comes late is of the open month",
        {
            "program_id": "the program",
            "month": "its first day",
            "as_of": "its end: what was recorded before it counts",
            "program_version": "the version that was in force then",
            "unit": "what the program counted: points, a unit of its own, or an ISO 4217 code",
            "currency": "of its amounts, ISO 4217",
            "point_value": "what a point was worth in that currency; null: the file did not say, or it counts money",
            "points_available": "what customers could spend",
            "points_pending": "what was granted and not available yet",
            "points_reserved": "what authorizations and issued rewards held",
            "points_deficit": "what customers owed, as a number below zero",
            "points_outstanding": "what was owed: the sum of these four",
            "points_ended": "their time was over, and the entry that says so came later: owed to nobody",
            "kept_at": "when it was written down",
        },
    ),
    "loyalty_liability_lines": (
        "points at the end of a month that have all of this in common",
        {
            "program_id": "the program",
            "month": "its first day",
            "line_number": "1, 2, 3, … of the month in the program",
            "bucket": "available, pending, reserved, deficit or ended, as in loyalty_liability_snapshots",
            "tier_id": "the tier of their customers then",
            "earned_month": "the first day of the month in which they were first earned; null: they are in no lot",
            "last_month": "the first day of the last month in which they could be used; null: none, or not known then",
            "points": "how many; of a deficit below zero",
        },
    ),
    "loyalty_activity_lines": (
        "points of a month that was kept that have all of this in common",
        {
            "program_id": "the program",
            "month": "its first day",
            "line_number": "1, 2, 3, … of the month in the program",
            "flow": "issued, clawed_back, redeemed, expired, adjusted or moved",
            "cause_kind": "rule or promotion; or entry, where neither tells",
            "cause": "its id, or the kind of the entries (forfeited: given up with a closed account)",
            "program_version": "that judged the orders or commands (a conversion's: the other program's);"
            " null: neither, as when time alone moved the points or an erased customer gave them up",
            "points": "by which what is outstanding has changed: below zero, less",
        },
    ),
}
