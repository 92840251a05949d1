"""What can be commanded: the words behind `loyalty.command.` in the type of a message."""

from enum import StrEnum


class Verb(StrEnum):
    """One kind of command."""

    CREDIT = "credit"
    DEBIT = "debit"
    ADJUST = "adjust"
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REDEEM = "redeem"
    REVERSE = "reverse"
    TRANSFER = "transfer"
    CONVERT = "convert"
    REWARD_ISSUE = "reward.issue"
    REWARD_REDEEM = "reward.redeem"
    REWARD_DELETE = "reward.delete"
    ACCOUNT_CREATE = "account.create"
    ACCOUNT_UPDATE = "account.update"
    ACCOUNT_FREEZE = "account.freeze"
    ACCOUNT_UNFREEZE = "account.unfreeze"
    ACCOUNT_CLOSE = "account.close"
    ACCOUNT_MERGE = "account.merge"
    ACCOUNT_UNMERGE = "account.unmerge"
    ACCOUNT_LINK = "account.link"
    ACCOUNT_UNLINK = "account.unlink"
    CUSTOMER_ERASE = "customer.erase"


#: The commands that move points of a number that is chosen: by the command, by a price, or as an opening value.
#: The others move none, or all that is there.
VERBS_OF_CHOSEN_POINTS = frozenset(
    {
        Verb.CREDIT, Verb.DEBIT, Verb.ADJUST, Verb.AUTHORIZE, Verb.CAPTURE, Verb.REDEEM, Verb.REVERSE, Verb.TRANSFER,
        Verb.CONVERT, Verb.REWARD_ISSUE, Verb.ACCOUNT_CREATE,
    }
)  # fmt: skip
