"""What can become of a message other than being posted: it waits, it was there before, it is parked or rejected.

These are values, since they are part of the business; errors are for what is broken (`core.errors`).
"""

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a message is parked. The order is the precedence: the first that holds is the one reported."""

    # Found while the message is read.
    TOO_LARGE = "too_large"  #: more bytes than the limit
    UNUSABLE_TASK = "unusable_task"  #: a Celery message on our queue that is not the task loyalty.submit in JSON
    NOT_JSON = "not_json"  #: not UTF-8, not JSON, or JSON nested too deeply to read
    NOT_AN_EVENT = "not_an_event"  #: not an object, an empty or nested array, or too many events in one array
    BAD_ENVELOPE = "bad_envelope"  #: a CloudEvents attribute is missing or wrong
    UNKNOWN_SOURCE = "unknown_source"  #: only listed sources may send, and this one is not
    BAD_SIGNATURE = "bad_signature"  #: the source must sign, and this message is not signed by it
    UNKNOWN_TYPE = "unknown_type"  #: a type that this release does not know
    INVALID_DATA = "invalid_data"  #: `data` breaks the contract of its type
    NO_REFERENCE_SALT = "no_reference_salt"  #: it names an account by what is kept as a hash, whose secret is not set
    TIME_IN_FUTURE = "time_in_future"  #: `time` is further ahead than clocks differ
    # Found while the message is stored.
    EVENT_CONFLICT = "event_conflict"  #: same source and id as an earlier event, other content
    # Found while the message is posted.
    UNKNOWN_PROGRAM = "unknown_program"  #: no such program, or none takes this source
    ORDER_CONFLICT = "order_conflict"  #: the order, its fulfilment or its cancellation is posted already, other content
    REFUND_CONFLICT = "refund_conflict"  #: same refund id as a posted refund, other content
    RETURN_CONFLICT = "return_conflict"  #: same return id as a posted return, other content
    WRONG_CURRENCY = "wrong_currency"  #: not the program's and without a rate there, or a refund's not its order's
    TOO_MANY_POINTS = "too_many_points"  #: the account would get more points than are counted
    ORDER_NEVER_CAME = "order_never_came"  #: a message about an order waited longer than the limit for it
    UNKNOWN_LINE = "unknown_line"  #: the refund names a line that the order lacks
    ALREADY_OWNED = "already_owned"  #: the order that is claimed is another customer's
    PROGRAM_INACTIVE = "program_inactive"  #: the order's program was not active at its time, and earns nothing
    ACCOUNT_CLOSED = "account_closed"  #: the account of who claims the order is closed
    UNKNOWN_ACCOUNT = "unknown_account"  #: what its account is named by leads to none of the program
    NOT_ENROLLED = "not_enrolled"  #: who claims the order has no account, and only a command opens one
    REFUNDED_LINE_MISSING = "refunded_line_missing"  #: the amendment leaves out a line that a refund names
    PAYMENT_TAKEN = "payment_taken"  #: the authorization or redemption that it names has paid another order
    REFUND_EXCEEDS_ORDER = "refund_exceeds_order"  #: more is given back than was paid
    TOO_HEAVY = "too_heavy"  #: its lines times the rules that look at them are more than one posting may work out
    POSTING_FAILED = "posting_failed"  #: posting this message alone raised an error
    POSTING_CRASHED = "posting_crashed"  #: the process died each time it posted this message


class Parked(NamedTuple):
    """The message needs a person."""

    reason: Reason
    detail: str  #: what is wrong, where, and how to mend it; no personal data


class RejectionCode(StrEnum):
    """Why a command is not done: what programs may rely on. The texts beside it are for people."""

    # Found while the command is received.
    INVALID_DATA = "invalid_data"  #: it breaks the contract of its type; its id is not used up
    NOT_ALLOWED = "not_allowed"  #: its source may not send such commands; its id is not used up
    COMMAND_CONFLICT = "command_conflict"  #: same source and id as an earlier command, other content
    # Found while it is posted.
    SOURCE_LIMIT_REACHED = "source_limit_reached"  #: its source may not move so many points, by one command or today
    UNKNOWN_PROGRAM = "unknown_program"  #: no such program, or none takes this source
    PROGRAM_INACTIVE = "program_inactive"  #: the program takes no commands now
    UNKNOWN_ACCOUNT = "unknown_account"  #: nobody has such an account
    WRONG_UNIT = "wrong_unit"  #: it counts something else than the program does
    ACCOUNT_FROZEN = "account_frozen"  #: nothing leaves the account by spending
    ACCOUNT_CLOSED = "account_closed"  #: nothing but corrections of what was before
    INSUFFICIENT_POINTS = "insufficient_points"  #: fewer points can be spent than it asks for
    TOO_MANY_POINTS = "too_many_points"  #: the account would get more points than are counted
    UNKNOWN_REASON = "unknown_reason"  #: it is none of those that the program lists for adjustments
    SAME_ACCOUNT = "same_account"  #: the points would go where they are
    OTHER_PROGRAM = "other_program"  #: the two accounts are of different programs
    UNKNOWN_COMMAND = "unknown_command"  #: what is to be reversed is not known, or was rejected
    NOT_REVERSIBLE = "not_reversible"  #: it is undone in another way, or is a reversal itself
    ALREADY_REVERSED = "already_reversed"  #: it has been undone, all of it or a part
    EXCEEDS_COMMAND = "exceeds_command"  #: more is to be undone than was done
    AUTHORIZATION_EXISTS = "authorization_exists"  #: another one has its id
    WRONG_DEADLINE = "wrong_deadline"  #: it would last less than an hour, or too long
    UNKNOWN_AUTHORIZATION = "unknown_authorization"  #: none has this id
    OVER_CAPTURE = "over_capture"  #: the authorization holds fewer points
    AUTHORIZATION_CLOSED = "authorization_closed"  #: it holds nothing any more: captured, voided, or past its deadline
    LIMIT_REACHED = "limit_reached"  #: the customer may move no more on this day, or in this month
    UNKNOWN_REWARD = "unknown_reward"  #: the program has no reward of this id
    REWARD_NOT_YET = "reward_not_yet"  #: the reward is not issued before a later day
    REWARD_OVER = "reward_over"  #: the reward is issued no more
    NOT_IN_TIER = "not_in_tier"  #: the reward is for other tiers
    REWARD_LIMIT_REACHED = "reward_limit_reached"  #: the customer has had the reward as often as anybody gets it
    OUT_OF_STOCK = "out_of_stock"  #: the reward has been given as often as it is given
    ISSUE_EXISTS = "issue_exists"  #: another issued reward has its id
    UNKNOWN_ISSUE = "unknown_issue"  #: no issued reward has this id
    ISSUE_CLOSED = "issue_closed"  #: the reward is redeemed, deleted, or past its deadline
    NOT_CONVERTIBLE = "not_convertible"  #: its points do not become those of the other program, or not so many
    BELOW_MINIMUM = "below_minimum"  #: fewer points than are converted at once
    ALREADY_EXPIRED = "already_expired"  #: the points that it gives would have expired
    ACCOUNT_EXISTS = "account_exists"  #: the account's own id is taken, or its customer may have one account only
    NOT_A_MEMBER = "not_a_member"  #: who asks for it neither owns the account nor is a member of it
    MEMBER_MAY_NOT_SPEND = "member_may_not_spend"  #: who asks for it may only see the account
    OWNER_LISTED = "owner_listed"  #: the owner of the account is among the members that it would have
    REFERENCE_TAKEN = "reference_taken"  #: the card, phone number or e-mail address that it links is another account's
    POINTS_LEFT = "points_left"  #: the account that it closes has points
    AUTHORIZATIONS_OPEN = "authorizations_open"  #: authorizations hold points of the account that it closes
    ALREADY_MERGED = "already_merged"  #: the account has been merged into another one
    NOT_MERGED = "not_merged"  #: the account that it undoes a merge of is one by itself
    NOT_MERGEABLE = "not_mergeable"  #: one of the accounts has something that a merge does not move
    CUSTOMER_ERASED = "customer_erased"  #: a customer that it names was erased
    UNKNOWN_CUSTOMER = "unknown_customer"  #: nothing is held of the customer that it erases
    ENROLMENT_IN_FUTURE = "enrolment_in_future"  #: the membership would begin later than now


class Rejected(NamedTuple):
    """The command is not done, now or ever: a normal outcome, which its sender is told."""

    code: "RejectionCode | Reason"  #: a reason where it could not be read
    detail: str  #: what stands against it; no personal data
    advice: str  #: what to do


class Waiting(NamedTuple):
    """It is about an order that is not known yet, or a refund; it is applied by itself when that comes."""

    order_id: str
    others_posted: int = 0  #: so many orders of this id are posted, in programs that it is not about
    refund_id: str | None = None  #: the order is known, and this refund of it is not, of the message's own source


class Replayed(NamedTuple):
    """The same business fact with the same content is posted already; nothing changes."""
