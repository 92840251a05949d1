"""How commands are spelt on the command line: one row each. Which options it takes, its contract says."""

from collections.abc import Mapping
from typing import NamedTuple

from core.domain.value.verbs import Verb


class Option(NamedTuple):
    """How a field of a command's data is given."""

    help: str
    metavar: str | None = None  #: what stands for its value


#: Stand among the arguments of a command for the fields that name an account, of which one is given.
WHOM, TO, INTO = "whom", "to", "into"
#: What the names of these fields begin with.
PARTIES: Mapping[str, str] = {WHOM: "", TO: "to_", INTO: "into_"}
#: Every field that a command of the table takes, except those that name the account that it is about.
OPTIONS: Mapping[str, Option] = {
    "points": Option("How many points, or of money the smallest units.", "POINTS"),
    "customer_id": Option("The shop's own id of the customer whose account it is.", "CUSTOMER"),
    "account_id": Option("The account's own id: unique for ever, and nothing that looks like a UUID.", "ACCOUNT"),
    "enrolled_at": Option("When the membership began, with its offset; else with the first order.", "TIME"),
    "lifetime_points": Option("Points that the customer earned elsewhere before, spent or not.", "POINTS"),
    "metadata": Option("Whatever else is kept with the account; no personal data.", "NAME=VALUE"),
    "tags": Option("A word to find accounts by; no personal data.", "TAG"),
    "acting_customer_id": Option("The customer who asks for it, owner or member; else that of CUSTOMER.", "CUSTOMER"),
    "members": Option("Who may use it beside its owner: member or viewer; none for nobody.", "CUSTOMER=ROLE"),
    "is_primary": Option("Let the orders of its owner come to it from now on."),
    "program_id": Option("In this program; else the only one here, or the default.", "PROGRAM"),
    "unit": Option("What the points are; it is not done where the program counts others.", "UNIT"),
    "reason": Option("Why, as the customer may be shown it; no personal data.", "TEXT"),
    "by": Option("Who gives it; your user name by default.", "NAME"),
    "order_id": Option("The order that it is for, as people are shown it.", "ORDER"),
    "available_at": Option("From when on they can be spent, with its offset; else at once.", "TIME"),
    "expires_at": Option("The first instant at which they cannot be spent; else as the program says.", "TIME"),
    "command_id": Option("The command that is undone.", "COMMAND"),
    "command_source": Option("The source of that command; else the command line.", "SOURCE"),
    "to_program_id": Option("The program to which they go.", "PROGRAM"),
    "into_customer_id": Option("The customer whose account survives.", "CUSTOMER"),
    "into_account_id": Option("The account that survives, in place of a customer.", "ACCOUNT"),
    "points_left": Option("What becomes of points that are left: forfeit or transfer.", "WHAT"),
    "to_customer_id": Option("With transfer, the customer whose account gets them.", "CUSTOMER"),
    "to_account_id": Option("With transfer, the account that gets them, in place of a customer.", "ACCOUNT"),
    "authorization_id": Option("The authorization.", "AUTHORIZATION"),
    "reward_id": Option("The reward, as the program's file names it.", "REWARD"),
    "issue_id": Option("Names the issued reward for ever; else it has the command's id.", "ISSUE"),
    "expires_in_seconds": Option("The deadline, so many seconds from now.", "SECONDS"),
    "is_final": Option("Keep the rest reserved, for another capture."),
    "allow_remainder": Option("Where there are fewer points, take those."),
    "allow_negative_balance": Option("Where fewer points can be spent, let the account owe the rest."),
}
#: Options that have a shorter name than their field.
SHORTER = {
    "program_id": "program",
    "order_id": "order",
    "tags": "tag",
    "members": "member",
    "acting_customer_id": "acting",
    "command_source": "source",
}
#: Options that stand for false, where the field is true if it is left out.
NEGATED = {"is_final": "keep-rest"}


class Spelling(NamedTuple):
    """One command as a person types it."""

    words: str
    verb: Verb
    arguments: tuple[str, ...]  #: fields without an option's name, in order
    done: str  #: what it does, in the past, with what its answer tells in braces
    help: str
    options: Mapping[str, Option] = {}  #: fields that mean something of their own here


_LINKED = {
    "card": Option("The number of a loyalty card; no number of a payment card.", "CARD"),
    "phone": Option("A phone number, with + and the code of its country.", "PHONE"),
    "email": Option("An e-mail address.", "EMAIL"),
}
SPELLINGS = (
    Spelling(
        "points credit",
        Verb.CREDIT,
        (WHOM, "points"),
        "{points} given to {whom}",
        """Give points to a customer; who has no account gets one.

        \b
        loyalty points credit C-1001 500 --reason "late parcel"
        loyalty points credit C-1001 500 --expires-at 2027-12-31T23:00:00+00:00 --dry-run

        They pay off a deficit first, and count neither as lifetime points nor for a tier.
        """,
    ),
    Spelling(
        "points debit",
        Verb.DEBIT,
        (WHOM, "points"),
        "{points} taken from {whom}",
        """Take points that a customer can spend, soonest expiry first: all of them, or none.

        \b
        loyalty points debit C-1001 200 --reason "paid at the till" --order 5001
        loyalty points debit C-1001 200 --allow-remainder
        """,
    ),
    Spelling(
        "points adjust",
        Verb.ADJUST,
        (WHOM, "points"),
        "the points of {whom} corrected by {change}",
        """Correct what a customer has: more with points above 0, less with points below 0.

        \b
        loyalty points adjust C-1001 -120 --reason "counted twice"

        Where the program lists adjustment_reasons, the reason is one of them.
        """,
    ),
    Spelling(
        "points transfer",
        Verb.TRANSFER,
        (WHOM, TO, "points"),
        "{points} moved from {whom}",
        """Move points from one customer to another of the same program: all of them, or none.

        \b
        loyalty points transfer C-1001 C-1002 200 --reason "to her sister"

        They keep the dates that they have. Who has no account gets one.
        """,
    ),
    Spelling(
        "points convert",
        Verb.CONVERT,
        (WHOM, "to_program_id", "points"),
        "{points} of {whom} converted",
        """Turn points into those of another program, at the rate of the program's file: in both programs, or in none.

        \b
        loyalty points convert C-1001 account-money 500

        Of an account that is named otherwise, they go to that of its owner.
        """,
    ),
    Spelling(
        "points reverse",
        Verb.REVERSE,
        ("command_id",),
        "a command on the account of {whom} undone, {points}",
        """Undo a command, once: points that it took come back, points that it gave are taken again.

        \b
        loyalty points reverse gift-77 --source /shops/high-street
        loyalty points reverse gift-77 --points 100 --allow-negative-balance
        """,
    ),
    Spelling(
        "account create",
        Verb.ACCOUNT_CREATE,
        ("account_id", "customer_id"),
        "account opened for {whom}, with {points}",
        """Open an account for a customer, under an id of your own, with points or without.

        \b
        loyalty account create till-7-0001 C-1001 --points 100 --reason "from the old program" --tag staff
        loyalty account create till-7-0002 C-1002 --enrolled-at 2021-05-01T00:00:00+01:00 --metadata card=old
        """,
    ),
    Spelling(
        "points redeem",
        Verb.REDEEM,
        (
            WHOM,
            "points",
        ),
        "{points} redeemed by {whom}",
        """Take points that a customer spends: all of them, or none.

        \b
        loyalty points redeem C-1001 200 --order 5001
        """,
    ),
    Spelling(
        "points authorize",
        Verb.AUTHORIZE,
        (
            WHOM,
            "points",
        ),
        "{points} of {whom} reserved",
        """Reserve points: they leave the balance, and are the customer's until they are captured.

        \b
        loyalty points authorize C-1001 200 --authorization-id till-7-0042 --order 5001

        What is not captured by the deadline comes back, in seven days unless another one is said.
        """,
        {
            "authorization_id": Option("Names the authorization for ever; else it has the command's id.", "ID"),
            "expires_at": Option("The deadline, with its offset, an hour to 90 days from now.", "TIME"),
        },
    ),
    Spelling(
        "points capture",
        Verb.CAPTURE,
        ("authorization_id",),
        "{points} of {whom} captured",
        """Take points that an authorization has reserved; the rest comes back.

        \b
        loyalty points capture till-7-0042
        loyalty points capture till-7-0042 --points 50 --keep-rest
        """,
    ),
    Spelling(
        "points void",
        Verb.VOID,
        ("authorization_id",),
        "{points} given back to {whom}",
        """Give back what an authorization has reserved, with the dates that the points had.

        \b
        loyalty points void till-7-0042
        """,
    ),
    Spelling(
        "reward issue",
        Verb.REWARD_ISSUE,
        (WHOM, "reward_id"),
        "reward {reward[name]} issued to {whom} as {issue_id}, for {points}",
        """Give a customer a reward of the program's catalogue: its price is reserved until the reward is redeemed.

        \b
        loyalty reward issue C-1001 mug --issue-id till-7-0043
        loyalty reward issue C-1001 mug --expires-in-seconds 604800 --dry-run

        Without a deadline it stays issued until it is redeemed or deleted.
        """,
    ),
    Spelling(
        "reward redeem",
        Verb.REWARD_REDEEM,
        ("issue_id",),
        "reward {reward[name]} of {whom} redeemed, for {points}",
        """Let the customer have an issued reward: its price is gone for good.

        \b
        loyalty reward redeem till-7-0043 --order 5001
        """,
    ),
    Spelling(
        "reward delete",
        Verb.REWARD_DELETE,
        ("issue_id",),
        "reward {reward[name]} of {whom} taken back, {points} returned",
        """Take an issued reward back: its points return, and it can be given again.

        \b
        loyalty reward delete till-7-0043
        """,
    ),
    Spelling(
        "account freeze",
        Verb.ACCOUNT_FREEZE,
        (WHOM,),
        "account of {whom} frozen",
        """Let nothing leave an account by spending; it goes on to earn, and its points to expire.

        \b
        loyalty account freeze C-1001 --reason "card stolen"
        """,
    ),
    Spelling(
        "account unfreeze",
        Verb.ACCOUNT_UNFREEZE,
        (WHOM,),
        "account of {whom} unfrozen",
        """Let points of a frozen account be spent again.

        \b
        loyalty account unfreeze C-1001
        """,
    ),
    Spelling(
        "account close",
        Verb.ACCOUNT_CLOSE,
        (WHOM,),
        "account of {whom} closed",
        """Close an account for good: nothing comes to it any more, and only what was before is still corrected.

        \b
        loyalty account close C-1001 --reason "asked for it" --points-left forfeit
        loyalty account close C-1001 --points-left transfer --to-customer-id C-1002
        """,
    ),
    Spelling(
        "account merge",
        Verb.ACCOUNT_MERGE,
        (WHOM, INTO),
        "account merged into that of {whom}, with {points}",
        """Let an account become a part of another one of the program: its points, orders and names go there.

        \b
        loyalty account merge C-1001 C-1002 --reason "signed up twice"

        It can be undone: loyalty account unmerge.
        """,
    ),
    Spelling(
        "account unmerge",
        Verb.ACCOUNT_UNMERGE,
        (WHOM,),
        "merge of the account of {whom} undone, with {points}",
        """Undo the merge of an account: what is left of what it brought goes back, with its orders.

        \b
        loyalty account unmerge C-1001
        """,
    ),
    Spelling(
        "account update",
        Verb.ACCOUNT_UPDATE,
        (WHOM,),
        "account of {whom} updated",
        """Keep something else with an account: what is given stands in the place of all that was there.

        \b
        loyalty account update C-1001 --tag staff --metadata card=old
        loyalty account update C-1001 --member C-1002=member --member C-1003=viewer
        """,
    ),
    Spelling(
        "account link",
        Verb.ACCOUNT_LINK,
        (WHOM,),
        "linked to the account of {whom}",
        """Let an account be found by a loyalty card, a phone number or an e-mail address: one at a time.

        \b
        loyalty account link C-1001 --card 9780201379624
        loyalty account link C-1001 --phone "+44 7400 123456"

        Of a phone number and an e-mail address only a hash is kept.
        """,
        _LINKED,
    ),
    Spelling(
        "account unlink",
        Verb.ACCOUNT_UNLINK,
        (WHOM,),
        "unlinked from the account of {whom}",
        """Let an account no longer be found by a loyalty card, a phone number or an e-mail address.

        \b
        loyalty account unlink C-1001 --card 9780201379624
        """,
        _LINKED,
    ),
    Spelling(
        "customer erase",
        Verb.CUSTOMER_ERASE,
        ("customer_id",),
        "customer erased, with {points} given up",
        """Erase a customer in all programs: nothing that is kept names them afterwards. It cannot be undone.

        \b
        loyalty customer erase C-1001 --dry-run
        loyalty customer erase C-1001

        Their accounts are closed, their points given up. Totals, proofs and the ids of orders and commands stay.
        """,
        {"customer_id": Option("The shop's own id of the customer who is erased.", "CUSTOMER")},
    ),
)
