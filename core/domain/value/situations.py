"""What a command on one account finds: whose it is, the rules in force, and what speaks against it from the start."""

from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision
from core.domain.expiry.dates import moved_by_activity
from core.domain.expiry.due import release
from core.domain.ledger import POINTS_MAX, SPENDING, Account, AccountStatus
from core.domain.members import Role
from core.domain.message import Message
from core.domain.outcomes import Rejected, RejectionCode, Replayed
from core.domain.program import Access, Enrol, Program
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, Reach
from core.domain.value.authorizations import AUTHORIZATION, REWARD
from core.domain.value.commands import CUSTOMER, LINKED, Command, Whom
from core.domain.value.customer_limits import held_to_limits
from core.domain.whose import account_found, account_reach, field_of, is_of_program, key_of


class Flow(Enum):
    """Which way value goes by a command, which decides what a frozen or closed account still takes."""

    IN = auto()  #: into the account: not when it is closed
    OUT = auto()  #: out of it, by spending: neither when it is closed nor when it is frozen
    BACK = auto()  #: what was done is undone: always
    NONE = auto()  #: nothing moves: not when it is closed
    KEPT = auto()  #: nothing moves, and only what is kept beside it changes, or it is closed: always


class Situation(NamedTuple):
    """What a command on one account finds."""

    books: Books
    command: Command[Any]
    command_id: str
    account: Account
    opened: Account | None  #: the account again, where the command opens it
    program: Program  #: the version in force
    program_version: int
    as_of: datetime
    rules: ProgramRegistry
    digest: bytes = b""  #: of the command's content


Decide = Callable[[Books, Message[Any], ProgramRegistry, datetime], Decision | Rejected | Replayed]
DecideSituation = Callable[[Situation], Decision | Rejected]


def command_reach(message: Message[Command[Any]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What a command asks of the books: its account, with what can be spent of it up to its points."""
    points = min(abs(getattr(message.fact.terms, "points", 0)), POINTS_MAX)
    parts = AccountParts(LotsWanted.TO_TAKE, points_to_take=points, expiries=True)
    return reach_of(message, rules, as_of, parts)


def reaching(parts: AccountParts) -> Callable[[Message[Command[Any]], ProgramRegistry, datetime], Reach]:
    """What commands ask of the books that need just these parts of their account."""
    return lambda message, rules, as_of: reach_of(message, rules, as_of, parts)


def reach_of(message: Message[Command[Any]], rules: ProgramRegistry, as_of: datetime, parts: AccountParts) -> Reach:
    """These parts of a command's account, and whether the command is known."""
    command = message.fact
    known = frozenset({(command.source, message.event_id)})
    parts = parts._replace(commands_at=(command.occurred_at,))
    if command.acting is not None:
        parts = parts._replace(members=True)
    if not is_of_program(command.whom):
        return account_reach(command.whom, "", parts)._replace(commands=known)
    program_id = rules.resolve(message.program_id, command.source, as_of)
    if program_id is None:
        return Reach(commands=known)
    return account_reach(command.whom, program_id, parts)._replace(commands=known)


def on_account(decide: DecideSituation, flow: Flow, *, opens: bool = False, itself: bool = False) -> Decide:
    """Let a decider of one situation decide messages: what every command on an account is checked for comes first.

    With `opens` a customer without an account gets one. With `itself` it is the account that is named, even where it is
    merged into another. A command that is known already changes nothing.
    """

    def decide_message(
        books: Books, message: Message[Command[Any]], rules: ProgramRegistry, as_of: datetime
    ) -> Decision | Rejected | Replayed:
        known = known_already(books, message)
        if known is not None:
            return known
        found = _situation(books, message, rules, as_of, opens=opens, itself=itself)
        if isinstance(found, Rejected):
            return found
        problem = (
            program_problem(found.program, flow)
            or status_problem(found.account, flow)
            or unit_problem(found)
            or acting_problem(found, flow)
        )
        decided = decide(found) if problem is None else problem
        return completed(decided, found) if isinstance(decided, Decision) else decided

    return decide_message


def known_already(books: Books, message: Message[Command[Any]]) -> Rejected | Replayed | None:
    """What becomes of a command whose source and id are known: it is not done again; None for a new one.

    A new one that names a customer who was erased is not done either.
    """
    known = books.command((message.fact.source, message.event_id))
    if known is None:
        return customer_erased() if message.names_erased else None
    return Replayed() if known.digest == message.digest else conflict()


def _situation(
    books: Books, message: Message[Command[Any]], rules: ProgramRegistry, as_of: datetime, *, opens: bool, itself: bool
) -> Situation | Rejected:
    command, opened = message.fact, None
    if not is_of_program(command.whom):
        account = account_found(books, command.whom, "")
    elif (program_id := rules.resolve(message.program_id, command.source, as_of)) is None:
        return unknown_program(message.program_id, rules)
    else:
        account, program = account_found(books, command.whom, program_id), rules.at(program_id, as_of).program
        may_open = opens and command.whom.kind == CUSTOMER and program.enrol is Enrol.FIRST_ACTIVITY
        if account is None and may_open:
            account = opened = books.new_account(program_id, command.whom.id, program.tiers[0].tier_id, None)
    if account is None or message.program_id not in (None, account.program_id):
        return unknown_account(command.whom)
    if itself:
        account = books.account_itself(key_of(command.whom, account.program_id)) or account
    version = rules.at(account.program_id, as_of)
    program, number = version.program, version.version
    digest = message.digest
    return Situation(books, command, message.event_id, account, opened, program, number, as_of, rules, digest)


def completed(decision: Decision, situation: Situation) -> Decision | Rejected:
    """What follows from every command: the version that decided it and who asked for it, or gave it, are kept.

    Spending is an activity. What goes beyond the limits of its customer is rejected after all.
    """
    assert decision.answer is not None
    told, (acting, by) = decision.answer.told, (situation.command.acting, situation.command.by)
    if acting is not None and acting != situation.account.customer_id:
        told = {**told, "acting_customer_id": acting}
    if by is not None:
        told = {**told, "by": by}
    answer = decision.answer._replace(program_version=situation.program_version, told=told)
    changes = tuple(_as_activity(change, situation) for change in decision.changes)
    done = decision._replace(changes=changes, answer=answer)
    return held_to_limits(done, situation.books, situation.program, situation.command.occurred_at, situation.rules)


def _as_activity(change: AccountChange, situation: Situation) -> AccountChange:
    """Let the other points last longer where spending does that."""
    account, program = change.account, situation.program
    if account.account_id != situation.account.account_id or not program.has_inactivity:
        return change
    if not any(entry.kind in SPENDING for entry in change.entries):
        return change
    changed = {each.expires_with: each for each in change.expiries}
    shared = [changed.get(each.expires_with, each) for each in situation.books.expiries(situation.account)]
    moved = moved_by_activity(shared, program, situation.command.occurred_at, situation.as_of)
    after = {**changed, **{each.expires_with: each for each in moved}}
    return change._replace(expiries=tuple(after.values()))


def released_if_owing(books: Books, account: Account, as_of: datetime) -> AccountChange:
    """The account that is about to get points: what is due to be released pays off what it owes before they do.

    So it does not matter whether the run of the release has come.
    """
    is_owing = account.deficit > 0 and account.pending > 0
    return release(account, books.lots_to_release(account, as_of) if is_owing else (), as_of)


def conflict() -> Rejected:
    """Why a command is not done whose source and id were those of another one."""
    return Rejected(
        RejectionCode.COMMAND_CONFLICT,
        "this source has sent another command with this id; the answer to that one stands",
        "give every command an id of its own, and send the same id again only with the same content",
    )


def customer_erased() -> Rejected:
    """Why a command is not done that names a customer who was erased."""
    return Rejected(
        RejectionCode.CUSTOMER_ERASED,
        "a customer that the command names was erased, and nothing is done for them any more",
        "leave that customer out, or name another one",
    )


def unknown_program(named: str | None, rules: ProgramRegistry) -> Rejected:
    """Why a command is not done of whose program nothing is known."""
    known = ", ".join(rules.program_ids()) or "none"
    if named is None:
        detail = f"data.program_id is absent, no program lists this source and none is the default; programs: {known}"
        return Rejected(RejectionCode.UNKNOWN_PROGRAM, detail, "name the program in data.program_id")
    detail = f"data.program_id names a program that is not here; programs: {known}"
    return Rejected(RejectionCode.UNKNOWN_PROGRAM, detail, "name one of these programs in data.program_id")


def unknown_account(whom: Whom, prefix: str = "") -> Rejected:
    """Why a command is not done that names an account that is not there, in a field with this prefix."""
    field = f"data.{prefix}{field_of(whom)}"
    if whom.kind == CUSTOMER:
        return Rejected(
            RejectionCode.UNKNOWN_ACCOUNT,
            f"the customer of {field} has no account in this program",
            f"check {field} and data.program_id; a credit or a first order opens an account",
        )
    if whom.kind == AUTHORIZATION:
        return Rejected(
            RejectionCode.UNKNOWN_AUTHORIZATION,
            "there is no authorization with this id",
            "check data.authorization_id, and that the authorization was accepted; rewards have commands of their own",
        )
    if whom.kind == REWARD:
        return Rejected(
            RejectionCode.UNKNOWN_ISSUE,
            "there is no issued reward with this id",
            "check data.issue_id, and that the reward was issued",
        )
    if whom.kind in LINKED:
        return Rejected(
            RejectionCode.UNKNOWN_ACCOUNT,
            f"the {LINKED[whom.kind]} of {field} is linked to no account of this program",
            f"check {field} and data.program_id, or link it by account.link",
        )
    return Rejected(
        RejectionCode.UNKNOWN_ACCOUNT,
        f"no account of this program has the {whom.kind} id of {field}",
        f"check {field} and data.program_id",
    )


def program_problem(program: Program, flow: Flow) -> Rejected | None:
    """Why a command is not done whose program is not active."""
    if program.active or flow is Flow.BACK:
        return None
    return Rejected(
        RejectionCode.PROGRAM_INACTIVE,
        f"program {program.program_id} is not active: it takes no commands but those that undo others",
        "use another program, or apply a version of this one that is active",
    )


def status_problem(account: Account, flow: Flow, what: str = "the account") -> Rejected | None:
    """Why a command is not done on an account that does not take part in everything."""
    match account.status:
        case AccountStatus.FROZEN if flow is Flow.OUT:
            return Rejected(
                RejectionCode.ACCOUNT_FROZEN,
                f"{what} is frozen: nothing leaves it by spending",
                "unfreeze it, if that is right, and send the command under a new id",
            )
        case AccountStatus.CLOSED if flow not in {Flow.BACK, Flow.KEPT}:
            return Rejected(RejectionCode.ACCOUNT_CLOSED, f"{what} is closed", "use another account of the customer")
    return None


def acting_problem(situation: Situation, flow: Flow) -> Rejected | None:
    """Why a command is not done for the customer who asks for it; None where nobody is named."""
    acting, account = situation.command.acting, situation.account
    named = situation.books.account_itself(key_of(situation.command.whom, account.program_id)) or account
    if acting is None or acting in {account.customer_id, named.customer_id}:  # of one that is merged into it
        return None
    role = next((each.role for each in situation.books.members(account) if each.customer_id == acting), None)
    if role is None:
        return Rejected(
            RejectionCode.NOT_A_MEMBER,
            "the customer who asks for it is neither the account's owner nor one of its members",
            "check the account and data.acting_customer_id, or make the customer a member by account.update",
        )
    if flow is Flow.OUT and (role is Role.VIEWER or situation.program.access is Access.OWNER):
        who = "the program lets an account's owner alone spend" if role is Role.MEMBER else "viewers spend nothing"
        return Rejected(
            RejectionCode.MEMBER_MAY_NOT_SPEND,
            f"the customer who asks for it is a {role.value} of the account, and {who}",
            "let the owner ask for it, or give the member another role by account.update",
        )
    return None


def unit_problem(situation: Situation) -> Rejected | None:
    """Why a command is not done whose points are not what the program counts."""
    unit, own = situation.command.unit, situation.program.unit
    if unit in (None, own):
        return None
    return Rejected(
        RejectionCode.WRONG_UNIT,
        f"data.unit is not what program {situation.program.program_id} counts, which is {own}",
        "check the program and the amount, and leave data.unit out or write the program's",
    )
