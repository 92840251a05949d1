"""What goods that come back without a receipt do to their customer's account: take what they would earn today."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision
from core.domain.expiry.due import release
from core.domain.ledger import POINTS_MAX, Account, Entry, EntryKind, debit, entry_between
from core.domain.message import Message
from core.domain.nameless import is_erased
from core.domain.orders.accrual import account_named, order_problem
from core.domain.orders.earning import Earning, Entitlement
from core.domain.orders.facts import Return
from core.domain.orders.limits import judge
from core.domain.orders.lookup import posted_before, unknown_program, unlisted_source
from core.domain.orders.posted import Judgement, PostedReturn, Recovery
from core.domain.orders.taking import Deduction, take_back
from core.domain.orders.withdrawing import Report, withdraw
from core.domain.outcomes import Parked, Reason, Replayed
from core.domain.program import Circumstances, ClawbackPolicy, Enrol, Program
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, Reach, TierInstant
from core.domain.tiers.recounting import meet
from core.domain.whose import account_found, account_reach


def return_reach(message: Message[Return], rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What `decide_return` asks of the books: as many points as the goods come to in the tier where they earn most."""
    returned, key = message.fact, (message.fact.source, message.fact.return_id)
    program_id = rules.resolve(message.program_id, returned.source, returned.occurred_at)
    if program_id is None:
        return Reach(returns=frozenset({key}))
    program = rules.at(program_id, returned.occurred_at).program
    most = 0
    if order_problem(returned.as_order, program) is None:
        most = max(worth_of(returned, program, tier.tier_id).points for tier in program.tiers)
    # It meets a tier as an order does; no order has this key, since no id holds that character.
    instant = TierInstant(returned.occurred_at, (returned.source, f"\t{returned.return_id}"), is_new=True)
    holding = program.clawback.takes_reserved
    parts = AccountParts(LotsWanted.TO_TAKE, (instant,), points_to_take=min(most, POINTS_MAX), holding=holding)
    return account_reach(returned.whom, program_id, parts)._replace(returns=frozenset({key}))


def decide_return(
    books: Books, message: Message[Return], rules: ProgramRegistry, as_of: datetime
) -> Decision | Replayed | Parked:
    """Take what an order of the same goods would earn now, from the points that expire soonest.

    The version in force when the goods came back decides, in the customer's tier of then. Nothing is known of their
    order, so it is no first order, and nothing of limits and budgets is used up or given back; no tier counts it. What
    no lot covers goes the way of the program's clawback policy. Where that lets a balance go below zero, a return may
    come before the customer's first order, and opens the account, unless only a command may; else there is nothing that
    it could take.
    """
    returned = message.fact
    program_id = rules.resolve(message.program_id, returned.source, returned.occurred_at)
    if program_id is None:
        named = message.program_id
        return unlisted_source(returned.occurred_at, rules) if named is None else unknown_program(named, rules)
    known = _known(books, message, program_id)
    if known is not None:
        return posted_before(known.digest == message.digest, Reason.RETURN_CONFLICT, "return")
    version = rules.at(program_id, returned.occurred_at)
    problem = order_problem(returned.as_order, version.program)
    if problem is not None:
        return problem
    posted = PostedReturn(returned, program_id, version.version, message.digest)
    is_nobodys = is_erased(returned.customer_id)
    account, opened = None if is_nobodys else account_found(books, returned.whom, program_id), None
    if returned.reference is not None:
        account_of = account_named(books, returned, program_id)
        if isinstance(account_of, Parked):
            return account_of
        posted = posted._replace(returned=returned._replace(customer_id=account_of.customer_id))
    if account is None:
        assert returned.customer_id is not None
        lowest = rules.at(program_id, as_of).program.tiers[0].tier_id
        account = opened = books.new_account(program_id, returned.customer_id, lowest, None)
    # What was due to be reviewed is left to the next order, or to its own run: a return counts for no tier.
    tier_id = meet(books, account, returned.occurred_at, version.program, rules.in_force(program_id)).tier_id
    return _taken(books, account, opened, posted._replace(tier_id=tier_id), version.program, as_of)


def worth_of(returned: Return, program: Program, tier_id: str) -> Entitlement:
    """What an order of the same goods would earn in this tier, as no first order and with limits that are unused."""
    order = returned.as_order
    if program.is_plain:
        return Earning(order, program, tier_id).after(())
    local = order.occurred_at.astimezone(program.zone)
    places = program.rule_index.places(order.lines)
    circumstances = Circumstances(order, local, tier_id, is_first_order=False)
    judgement: Judgement = judge(program, circumstances, {}, {}, places)
    return Earning(order, program, tier_id, judgement, places).after(())


def _known(books: Books, message: Message[Return], program_id: str) -> PostedReturn | None:
    """The return of this id that is posted already in this program; its source may lead to another one by now."""
    returns = books.returns((message.fact.source, message.fact.return_id))
    same = (posted for posted in returns.values() if posted.digest == message.digest)
    return returns.get(program_id) or next(same, None)


class _Taking(NamedTuple):
    """What is taken for a return."""

    worth: Entitlement
    deduction: Deduction
    recovery: Recovery


def _taken(
    books: Books, account: Account, opened: Account | None, posted: PostedReturn, program: Program, as_of: datetime
) -> Decision | Parked:
    returned = posted.returned
    assert posted.tier_id is not None
    worth = worth_of(returned, program, posted.tier_id)
    if max(worth.points, worth.points - account.balance, worth.points - account.lifetime_points) > POINTS_MAX:
        return _too_many_points(worth.points, program)
    # Pending lots that are due by now are released first, whether or not the run for it came.
    released = release(account, books.lots_to_release(account, as_of), as_of)
    newer = {lot.lot_number: lot for lot in released.lots}
    deduction = take_back((), books.lots_to_take(account, as_of, newer, set()), {"": worth.points}, program, as_of)
    report = Report(returned.source, returned.occurred_at, return_id=returned.return_id)
    before, entries, deduction, authorizations = withdraw(books, released.account, deduction, program, report, as_of)
    may_owe = program.clawback.policy is ClawbackPolicy.ALLOW_NEGATIVE
    may_owe = may_owe and (opened is None or program.enrol is Enrol.FIRST_ACTIVITY)
    may_owe = may_owe and not is_erased(account.customer_id if opened is not None else None)
    shortfall = 0 if may_owe else deduction.uncovered
    recovery = Recovery(worth.points, worth.points - shortfall, 0, shortfall)
    fact = posted._replace(account_id=account.account_id, recovery=recovery)
    if not recovery.points_taken:
        return Decision(facts=(fact if opened is None else fact._replace(account_id=None),), given=_less(worth))
    after = debit(before, recovery.points_taken, uncovered=deduction.uncovered - shortfall)
    after = after._replace(lifetime_points=before.lifetime_points - recovery.points_taken)
    entry = _entry(before, after, returned, _Taking(worth, deduction, recovery))
    lots = tuple({**newer, **deduction.lots}.values())
    change = AccountChange(after, (*released.entries, *entries, entry), lots, opened=opened)
    posted_fact = fact._replace(sequence=entry.sequence)
    return Decision((change,), (posted_fact,), authorizations=authorizations, given=_less(worth))


def _too_many_points(points: int, program: Program) -> Parked:
    detail = (
        f"the goods would earn {points:,} points, and taking them would leave the account further below zero than "
        f"{POINTS_MAX:,}; check the return's amounts and the rates of program {program.program_id}"
    )
    return Parked(Reason.TOO_MANY_POINTS, detail)


def _less(worth: Entitlement) -> dict[str, int]:
    return {name: -points for name, points in worth.given.items()}


def _entry(before: Account, after: Account, returned: Return, taking: _Taking) -> Entry:
    shortfall = taking.recovery.points_shortfall
    why: Mapping[str, Any] = {**taking.worth.why, "points_due": taking.recovery.points_due}
    return entry_between(
        before,
        after,
        EntryKind.CLAWBACK,
        returned.occurred_at,
        taking.deduction.allocations,
        {**why, "points_shortfall": shortfall} if shortfall else dict(why),
        source=returned.source,
        return_id=returned.return_id,
    )
