"""The map of what is held of persons: what each column of each table may say of one, and how their rows are found.

Erasing a customer (`core.store.erasing`) and telling all that is held of one (`core.reading.customer_data`) both go by
it. A column that is not in it is a failing test.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Holds(StrEnum):
    """What a column may say of a customer."""

    NOTHING = "nothing"  #: numbers, instants, states, words of programs and of ours
    ACCOUNT = "account"  #: an id of an account, which leads to nobody once the account is nobody's
    KEY = "key"  #: the id that a shop gave an order, a refund, a command or a message, or the source of one
    OPERATOR = "operator"  #: who worked here by hand; that is no customer
    CUSTOMER = "customer"  #: the shop's id of a customer
    REFERENCE = "reference"  #: a card number, or the hash of a phone number or an e-mail address
    SAID = "said"  #: what is said of a customer: attributes, tags, metadata, reasons in somebody's words
    DATA = "data"  #: JSON that may have any of these in it
    RECEIVED = "received"  #: a message as it came, with whatever its sender wrote
    HASH = "hash"  #: a hash of content that may have named a customer
    SALT = "salt"  #: what makes the hashes that outlast a person


#: What is about a person. The other kinds stay as they are when somebody is erased.
PERSONAL = frozenset(Holds) - {Holds.NOTHING, Holds.ACCOUNT, Holds.KEY, Holds.OPERATOR}


def _columns(**kinds: str) -> Mapping[str, Holds]:
    return {name: Holds(kind) for kind, names in kinds.items() for name in names.split()}


_NUMBERS_OF_ACCOUNTS = """
program_id account_shard sequence lots_opened balance pending reserved deficit lifetime_points qualifying_points
qualifying_from tier_id tier_since tier_until tier_changes counted_until orders_posted orders_counted enrolled_at
tier_held_until tier_warned_until status is_enrolment_given lifetime_points_given created_at updated_at
"""
_NUMBERS_OF_ORDERS = """
program_id shard currency rate occurred_at recorded_at lines points_paid program_version tier_id sequence
points_entitled points_excused points_shortfall judgement qualifying_points qualifying_spend qualifying_orders
qualifying_steps is_counted fulfilled_at cancelled_at seal reference_kind
"""
_REPORTED = "occurred_at recorded_at points_due points_taken points_excused points_shortfall sequence"

COLUMNS: Mapping[str, Mapping[str, Holds]] = MappingProxyType(
    {
        "accounts": _columns(
            customer="customer_id", account="account_id own_account_id merged_into", nothing=_NUMBERS_OF_ACCOUNTS
        ),
        "account_details": _columns(account="account_id", said="metadata tags", hash="business_hash"),
        "account_members": _columns(account="account_id", customer="customer_id", nothing="role"),
        "account_references": _columns(account="account_id", reference="reference", nothing="kind program_id shard"),
        "account_salts": _columns(account="account_id", salt="salt"),
        "members": _columns(account="account_id", customer="customer_id", nothing="program_id"),
        "entries": _columns(
            account="account_id",
            key="source order_id refund_id return_id command_id",
            data="why",
            nothing="""sequence kind points pending_change reserved_change deficit_change balance_after pending_after
                reserved_after lifetime_points_after occurred_at recorded_at corrects_sequence chain_hash""",
        ),
        "erased_whys": _columns(account="account_id", nothing="sequence why_digest seal"),
        "erased_accounts": _columns(account="account_id", nothing="token is_closed"),
        "erased_contents": _columns(nothing="content_key content_hash"),
        "erasures": _columns(nothing="token name_key salt_check erased_at"),
        "orders": _columns(
            account="account_id",
            key="source order_id inbox_id points_authorization_id points_command_id points_command_source",
            customer="customer_id",
            reference="reference",
            said="attributes customer_tags",
            data="amendment",
            hash="business_hash",
            nothing=_NUMBERS_OF_ORDERS,
        ),
        "refunds": _columns(
            account="account_id",
            key="source refund_id order_source order_id inbox_id",
            nothing=f"program_id business_hash is_full currency paid net lines {_REPORTED}",
        ),
        "order_events": _columns(
            account="account_id",
            key="source order_id inbox_id",
            hash="event_key business_hash",
            data="content",
            nothing=f"program_id kind accrual_sequence {_REPORTED}",
        ),
        "returns": _columns(
            account="account_id",
            key="source return_id inbox_id",
            customer="customer_id",
            reference="reference",
            hash="business_hash",
            nothing=f"program_id reference_kind currency rate lines program_version tier_id seal {_REPORTED}",
        ),
        "order_payments": _columns(
            key="source payment_id order_source order_id",
            nothing="kind program_id share points_due points_excused points_shortfall",
        ),
        "commands": _columns(
            account="account_id",
            key="source command_id inbox_id",
            hash="business_hash",
            data="answer",
            nothing="type occurred_at recorded_at program_version code",
        ),
        "authorizations": _columns(
            account="account_id",
            key="authorization_id source command_id",
            nothing="""kind account_shard sequence points_authorized points_captured points_returned state expires_at
                reward_id told_at""",
        ),
        "inbox": _columns(
            key="inbox_id source event_id subject_source awaits",
            customer="subject",
            received="body signature reply_to correlation_id tracestate",
            data="settled",
            hash="content_hash variant",
            nothing="""type occurred_at shard is_subject state reason detail deliveries times_parked received_at
                settled_at others_posted points_per_command_max points_per_day_max traceparent""",
        ),
        "dead_letter_actions": _columns(
            key="inbox_id", said="reason detail", operator="acted_by", nothing="action_id action acted_at"
        ),
        "outbox": _columns(
            account="account_id",
            key="event_key",
            data="body",
            received="reply_to correlation_id tracestate",
            nothing="outbox_id account_shard type created_at traceparent",
        ),
        "lots": _columns(
            account="account_id",
            key="origin_source origin_id",
            nothing="""lot_number account_shard opened_by_sequence origin_kind origin_at points_granted points_remaining
                points_expired available_at expires_at earned_by is_pending points_excused expires_with""",
        ),
        "shared_expiries": _columns(
            account="account_id", nothing="expires_with account_shard earned_by expires_at extended_to is_over is_kept"
        ),
        "allocations": _columns(account="account_id", nothing="sequence lot_number kind points"),
        "merges": _columns(
            account="account_id other_account_id",
            key="source command_id",
            nothing="sequence role other_sequence lifetime_points",
        ),
        "lot_moves": _columns(
            account="account_id other_account_id",
            nothing="sequence lot_number other_lot_number points_granted points_expired",
        ),
        "tier_changes": _columns(
            account="account_id",
            nothing="change_number previous_tier_id tier_id qualifying_points effective_at reason recorded_at",
        ),
        "usages": _columns(account="account_id", nothing="name period points orders carried"),
        "reminders": _columns(account="account_id", nothing="expires_at points days_ahead number told_at"),
        "repairs": _columns(
            account="account_id",
            said="reason",
            operator="applied_by",
            nothing="repair_id subject found rebuilt applied_at seal",
        ),
        "budgets": _columns(nothing="program_id name points orders"),
        "source_days": _columns(key="source", nothing="type day points"),
        "programs": _columns(
            operator="applied_by", nothing="program_id version effective_from document file_text applied_at"
        ),
        "program_changes": _columns(
            operator="changed_by", nothing="program_id version change_number effective_from changed_at reason"
        ),
        "liability_snapshots": _columns(
            nothing="program_id month as_of program_version points_expired points_spent taken_at"
        ),
        "liability_lines": _columns(
            nothing="program_id month line_number bucket tier_id earned_month last_month points"
        ),
        "activity_lines": _columns(nothing="program_id month line_number flow cause_kind cause program_version points"),
        "numbers": _columns(nothing="name next_number erasures"),
        "turns": _columns(nothing="task shard"),
        "relay_positions": _columns(nothing="account_shard published_through"),
        "posting_attempts": _columns(nothing="shard attempts started_at"),
        "periodic_runs": _columns(nothing="task as_of finished_at result"),
        "retention": _columns(nothing="table_name purged_before seal"),
        "schema_support": _columns(nothing="is_only_row oldest_revision"),
    }
)

_OWN = "t.account_id = ANY(%(own)s)"


def _listed(*lists: str) -> str:
    """SQL of rows of these lists, each given by its name and type."""
    given = ", ".join("%({})s::{}[]".format(*each.split()) for each in lists)
    return f"SELECT * FROM unnest({given})"  # noqa: S608  # our own names


#: How the rows are found that may say something of a customer: SQL about a table `t`. `own` are the customer's
#: accounts, `named` is the customer's id as JSON has it, since others' rows may name the customer too: those of a
#: transfer, say, or of a shared account.
ROWS: Mapping[str, str] = MappingProxyType(
    {
        "accounts": "t.customer_id = %(customer_id)s",
        "account_details": _OWN,
        "account_members": "t.customer_id = %(customer_id)s",
        "account_references": f"{_OWN} AND t.kind = ANY(%(linked)s)",
        "account_salts": _OWN,
        "members": "t.customer_id = %(customer_id)s",
        "entries": _OWN + " OR (t.account_id, t.sequence) IN (" + _listed("accounts uuid", "sequences bigint") + ")",
        "orders": f"(t.customer_id = %(customer_id)s OR {_OWN} AND t.customer_id IS NULL)",
        "order_events": "(t.source, t.order_id, t.program_id) IN ("
        + _listed("sources text", "order_ids text", "programs text")
        + ") AND t.content IS NOT NULL OR position(%(named)s IN t.content::text) > 0",
        "returns": f"(t.customer_id = %(customer_id)s OR {_OWN})",
        "commands": f"({_OWN} OR position(%(named)s IN t.answer::text) > 0)",
        "inbox": "t.inbox_id = ANY(%(inbox_ids)s) OR t.subject = ANY(%(subjects)s)"
        " OR (coalesce(t.subject_source, t.source), t.subject) IN ("
        + _listed("of_sources text", "of_subjects text")
        + ") OR position(%(named)s IN t.settled) > 0"
        " OR position(%(named_bytes)s::bytea IN t.body) > 0 OR position(%(escaped_bytes)s::bytea IN t.body) > 0",
        "dead_letter_actions": "t.inbox_id = ANY(%(inbox_ids)s)",
        "outbox": f"({_OWN} OR position(%(named)s IN t.body) > 0)",
        "repairs": _OWN,
    }
)
