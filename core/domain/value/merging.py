"""Two accounts become one: all that the one has goes to the other, and what comes later for it does too.

Its lots move as they are, with their dates and what earned them, and its orders with what became of them. So refunds,
fulfilments and the like go on as if there had been one account all along, and the tier follows from all orders of both.
Entries stay where they are. Undone, what is left of each lot goes back, with the orders.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from core.domain.books import Books
from core.domain.decision import AccountChange, Answer, Decision, NoticeKind
from core.domain.ledger import POINTS_MAX, Account, Entry, EntryKind, entry_between
from core.domain.lots import Allocation, AllocationKind, Lot, taken_from
from core.domain.merges import LotMove, MergeRole, PostedMerge
from core.domain.message import Message
from core.domain.orders.limits import usage_changes
from core.domain.orders.posted import OrderEventKind, PostedOrder, PostedOrderEvent, Recovery, UsageChange
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, Reach, TierInstant, union
from core.domain.tiers.history import CountedOrder, OrdersByTime, TierFacts, counted_order
from core.domain.tiers.recounting import Recount, recount_all
from core.domain.value.account_terms import MergeTerms, StatusTerms
from core.domain.value.administering import notice_of
from core.domain.value.commands import Command
from core.domain.value.crediting import too_many, why_of
from core.domain.value.situations import Flow, Situation, reach_of, status_problem, unknown_account
from core.domain.value.transferring import named_account, receiver_reach

_TIER = (TierInstant(None, ("", ""), is_new=False),)
_ALL_OF_IT = AccountParts(LotsWanted.EVERY, tiers_at=_TIER, itself=True, merge=True)
_SURVIVOR = AccountParts(tiers_at=_TIER)


def merge_reach(message: Message[Command[MergeTerms]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What a merge asks of the books: all of the account, and what the tier of the survivor follows from."""
    own = reach_of(message, rules, as_of, _ALL_OF_IT)
    return union((own, receiver_reach(message, message.fact.terms.into, rules, as_of, _SURVIVOR)))


def unmerge_reach(message: Message[Command[StatusTerms]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What undoing a merge asks of the books: all of the account, and all lots of the survivor."""
    return reach_of(message, rules, as_of, _ALL_OF_IT)


def decide_merge(situation: Situation) -> Decision | Rejected:
    """Let all that the account has go to the survivor, which is found by every name of both from now on.

    Not of an account that owes points or has reserved some, nor where points expire by inactivity: that would take more
    than to move lots. The membership is the older one.
    """
    books, merged, into = situation.books, situation.account, situation.command.terms.into
    if merged.merged_into is not None:
        return _already_merged()
    survivor = named_account(situation, into)
    if survivor is None:
        return unknown_account(into, "into_")
    problem = _pair_problem(merged, survivor) or status_problem(survivor, Flow.IN, "the account that survives")
    problem = problem or _unmovable(situation, merged, survivor) or _enrolment_problem(merged, survivor)
    if problem is not None:
        return problem
    if survivor.balance + survivor.pending + survivor.reserved + merged.balance + merged.pending > POINTS_MAX:
        return too_many(merged.balance + merged.pending)
    orders = [posted for posted in books.orders_of(merged) if posted.account_id == merged.account_id]
    if (problem := _claimed_problem(books, orders, survivor)) is not None:
        return problem
    pairs: list[_LotPair] = []
    for number, lot in enumerate(books.every_lot(merged), start=survivor.lots_opened + 1):
        moved = lot._replace(lot_number=number, opened_by_sequence=survivor.sequence + 1)
        pairs.append(_LotPair(lot, moved, is_new=True))
    enrolled = [each for each in (survivor.enrolled_at, merged.enrolled_at) if each is not None]
    move = _Move(
        situation,
        _Side(merged, MergeRole.MERGED),
        _Side(survivor._replace(enrolled_at=min(enrolled, default=None)), MergeRole.SURVIVOR),
        pairs,
        [(posted, posted._replace(account_id=survivor.account_id, sequence=None)) for posted in orders],
        merged.lifetime_points,
    )
    return _decision(move, NoticeKind.MERGED)


def decide_unmerge(situation: Situation) -> Decision | Rejected:
    """Let what is left of what an account brought go back to it, with its orders: it is one by itself again.

    What came for it meanwhile, orders or commands, was the survivor's, and stays there.
    """
    books, merged = situation.books, situation.account
    if merged.merged_into is None:
        return _not_merged()
    survivor = books.account(merged.merged_into)
    if survivor.merged_into is not None:
        return _merged_on()
    went = books.merged.last_of(merged)
    key = went.event_key
    orders = [posted for posted in books.orders_of(merged) if _moved_by(books, posted, OrderEventKind.MOVED_AWAY, key)]
    if any(posted.account_id != survivor.account_id for posted in orders):
        return _not_mergeable("orders that it brought have gone on to other customers", "claim them back first")
    if survivor.deficit:
        return _not_mergeable("the survivor owes points", "credit them, or wait until they are paid off")
    own, theirs = ({lot.lot_number: lot for lot in books.every_lot(each)} for each in (merged, survivor))
    pairs = []
    for gone in books.merged.lot_moves(went):
        lot, back = theirs[gone.other_lot_number], own[gone.lot_number]
        moved = lot._replace(lot_number=back.lot_number, opened_by_sequence=back.opened_by_sequence)
        pairs.append(_LotPair(lot, moved._replace(points_granted=back.points_granted), is_new=False))
    before = {posted.key: _moved_by(books, posted, OrderEventKind.MOVED_AWAY, key) for posted in orders}
    lost = sum(_granted(posted) - event.recovery.points_taken for posted in orders if (event := before[posted.key]))
    went_back = []
    for posted in orders:
        event = before[posted.key]
        assert event is not None
        went_back.append((posted, posted._replace(account_id=merged.account_id, sequence=event.accrual_sequence)))
    move = _Move(
        situation,
        _Side(survivor, MergeRole.PARTED),
        _Side(merged._replace(merged_into=None), MergeRole.RESTORED),
        pairs,
        went_back,
        lost - went.lifetime_points,
    )
    return _decision(move, NoticeKind.UNMERGED)


class _LotPair(NamedTuple):
    """A lot in the account that it leaves, as it is, and in the one that it comes to, as it will be."""

    leaving: Lot
    coming: Lot
    is_new: bool


class _Side(NamedTuple):
    """One of the two accounts."""

    account: Account
    role: MergeRole


class _Move(NamedTuple):
    """All that goes from one account to another."""

    situation: Situation
    giving: _Side
    getting: _Side
    lots: Sequence[_LotPair]
    orders: Sequence[tuple[PostedOrder, PostedOrder]]  #: as they are and will be
    lifetime_points: int

    @property
    def available(self) -> int:
        """How many points go that are available."""
        return sum(pair.leaving.points_remaining for pair in self.lots if not pair.leaving.is_pending)

    @property
    def pending(self) -> int:
        """How many go that are pending."""
        return sum(pair.leaving.points_remaining for pair in self.lots if pair.leaving.is_pending)


def _granted(posted: PostedOrder) -> int:
    """What the entries of an order come to."""
    return posted.points_entitled + posted.points_excused + posted.points_shortfall


def _moved_by(books: Books, posted: PostedOrder, kind: OrderEventKind, key: str) -> PostedOrderEvent | None:
    return next((each for each in books.order_events_of(posted) if (each.kind, each.event_key) == (kind, key)), None)


def _decision(move: _Move, what: NoticeKind) -> Decision:
    situation = move.situation
    giving, getting = _changed(move, move.giving, sign=-1), _changed(move, move.getting, sign=1)
    is_merge = what is NoticeKind.MERGED
    merged, survivor = (giving, getting) if is_merge else (getting, giving)
    merged_into = survivor.account.account_id if is_merge else None
    notice = notice_of(situation, what)._replace(survivor=survivor.account.account_id)
    merged = merged._replace(account=merged.account._replace(merged_into=merged_into), notice=notice)
    told: dict[str, str | int | datetime] = {
        "points": move.available + move.pending,
        "merged_account_id": str(merged.account.account_id),
    }
    return Decision(
        (merged, survivor) if is_merge else (survivor, merged),
        tuple(_order_events(move, giving.entries[-1], getting.entries[-1])),
        tuple(after for _, after in move.orders),
        answer=Answer(survivor.account if is_merge else merged.account, told),
    )


def _changed(move: _Move, side: _Side, *, sign: int) -> AccountChange:
    """One of the accounts after all of it has gone, or come."""
    situation, before = move.situation, side.account
    other = (move.getting if sign < 0 else move.giving).account
    counted = [order for order, _ in move.orders]
    opened = sum(pair.is_new for pair in move.lots) if sign > 0 else 0
    after = before._replace(
        sequence=before.sequence + 1,
        lots_opened=before.lots_opened + opened,
        balance=before.balance + sign * move.available,
        pending=before.pending + sign * move.pending,
        lifetime_points=before.lifetime_points + sign * move.lifetime_points,
        orders_posted=before.orders_posted + sign * len(counted),
        orders_counted=before.orders_counted + sign * sum(order.is_counted for order in counted),
    )
    recounted = _recounted(move, after, other, sign=sign)
    command = situation.command
    why = why_of(situation, **{"from_account_id" if sign > 0 else "to_account_id": str(other.account_id)})
    entry = entry_between(
        before,
        recounted.account,
        EntryKind.MERGE,
        command.occurred_at,
        _allocations(move, sign=sign),
        {**why, "merge": side.role.value},
        source=command.source,
        command_id=situation.command_id,
    )
    merge = PostedMerge(
        before.account_id, entry.sequence, side.role, other.account_id, other.sequence + 1,
        sign * move.lifetime_points, command.source, situation.command_id,
    )  # fmt: skip
    return AccountChange(
        recounted.account,
        (entry,),
        tuple(pair.coming if sign > 0 else _empty(pair.leaving) for pair in move.lots),
        recounted.changes,
        (*_usages(move, before, sign=sign), *_used_by_commands(move, side)),
        merge=merge,
        lot_moves=tuple(_lot_moves(move, merge, sign=sign)),
    )


def _empty(lot: Lot) -> Lot:
    return lot._replace(points_remaining=0, points_expired=0, points_excused=0)


def _allocations(move: _Move, *, sign: int) -> list[Allocation]:
    found = []
    for leaving, coming, is_new in move.lots:
        if not (left := leaving.points_remaining):
            continue
        if sign < 0:
            found.append(taken_from(leaving, left))
        else:
            kind = AllocationKind.OPENED if is_new else AllocationKind.RETURNED
            found.append(Allocation(coming.lot_number, kind, left, coming.expires_at))
    return found


def _lot_moves(move: _Move, merge: PostedMerge, *, sign: int) -> Iterable[LotMove]:
    for leaving, coming, is_new in move.lots:
        lot, other = (coming, leaving) if sign > 0 else (leaving, coming)
        granted = leaving.points_granted - leaving.points_remaining if sign > 0 and is_new else 0
        yield LotMove(
            merge.account_id, merge.sequence, lot.lot_number, merge.other_account_id, other.lot_number,
            granted, sign * leaving.points_expired,
        )  # fmt: skip


def _recounted(move: _Move, account: Account, other: Account, *, sign: int) -> Recount:
    """The account in the tier that follows from all orders that it has now."""
    books = move.situation.books
    facts = books.tier_facts(account)
    moved = [counted_order(order) for order, _ in move.orders]
    orders = facts.orders | moved if sign > 0 else _less(facts.orders, moved)
    if not [*orders] and not account.is_enrolment_given:
        account = account._replace(enrolled_at=None)
    untils = [each for each in (account.counted_until, other.counted_until) if each is not None]
    untils += [order.occurred_at for order in orders]
    if not untils:
        return Recount(account, (), account.tier_id)
    program_at = move.situation.rules.in_force(account.program_id)
    return recount_all(books, account, TierFacts(orders, facts.holds), max(untils), program_at)


def _less(orders: OrdersByTime, gone: Iterable[CountedOrder]) -> OrdersByTime:
    for order in gone:
        orders = orders.changed(order, None)
    return orders


def _usages(move: _Move, account: Account, *, sign: int) -> Iterable[UsageChange]:
    """What the orders have of what each customer may have."""
    situation = move.situation
    for posted, _ in move.orders:
        program = situation.rules.version(posted.program_id, posted.program_version).program
        if not program.has_limits:
            continue
        kept = situation.books.kept(posted, program)
        earned = kept.earning.of(kept.basket)
        for used in usage_changes(program, account.account_id, posted.order, posted.judged, None, earned):
            yield used._replace(points=sign * used.points, orders=sign * used.orders, carried=sign * used.carried)


def _used_by_commands(move: _Move, side: _Side) -> Iterable[UsageChange]:
    """What commands of the merged account have used of limits counts for the survivor too, until they part.

    It stays with the merged account, for which nothing is counted meanwhile: so it is known what parts.
    """
    if side.role not in {MergeRole.SURVIVOR, MergeRole.PARTED}:
        return
    is_merge = side.role is MergeRole.SURVIVOR
    merged = (move.giving if is_merge else move.getting).account
    for (name, period), used in move.situation.books.used_by_commands(merged).items():
        points = used.points if is_merge else -used.points
        yield UsageChange(side.account.account_id, name, period, points, 0, Decimal(0))


def _order_events(move: _Move, giving: Entry, getting: Entry) -> Iterable[PostedOrderEvent]:
    situation = move.situation
    key = f"{situation.command.source}\t{situation.command_id}"
    for posted, _ in move.orders:
        granted = _granted(posted)
        for kind, entry, sign in (
            (OrderEventKind.MOVED_AWAY, giving, 1),
            (OrderEventKind.MOVED_IN, getting, -1),
        ):
            due, taken = sign * posted.points_entitled, sign * granted
            recovery = Recovery(due, taken, -sign * posted.points_excused, -sign * posted.points_shortfall)
            yield PostedOrderEvent(
                kind,
                key,
                *posted.key,
                situation.command.occurred_at,
                posted.program_id,
                situation.digest,
                entry.account_id,
                recovery,
                sequence=entry.sequence if granted else None,
                accrual_sequence=posted.sequence if kind is OrderEventKind.MOVED_AWAY else None,
            )


def _pair_problem(merged: Account, survivor: Account) -> Rejected | None:
    if merged.program_id != survivor.program_id:
        return Rejected(
            RejectionCode.OTHER_PROGRAM,
            "the account that survives is of another program",
            "name an account of the same program",
        )
    if merged.account_id == survivor.account_id:
        return Rejected(
            RejectionCode.SAME_ACCOUNT,
            "the account would be merged into itself",
            "check which account data.into_customer_id or data.into_account_id names, and what is merged into that",
        )
    return None


def _unmovable(situation: Situation, merged: Account, survivor: Account) -> Rejected | None:
    """Why a merge would not end where one account would have."""
    if merged.reserved:
        return Rejected(
            RejectionCode.AUTHORIZATIONS_OPEN,
            f"authorizations hold {merged.reserved:,} points of the account",
            "capture or void them, and merge it then",
        )
    if merged.deficit or survivor.deficit:
        whose = "it" if merged.deficit else "the account that survives"
        return _not_mergeable(f"{whose} owes points", "credit them, or wait until they are paid off")
    if any(program.has_inactivity for program in situation.rules.programs(merged.program_id)):
        return _not_mergeable("the program's points expire by inactivity", "transfer the points, and close the account")
    if merged.account_id in situation.books.merged.rewarded:
        return _not_mergeable("rewards of its customer are counted", "merge the other account into it")
    if situation.books.tier_facts(merged).holds:
        return _not_mergeable("its tier was set by a person", "merge the other account into it")
    return None


def _claimed_problem(books: Books, orders: Iterable[PostedOrder], survivor: Account) -> Rejected | None:
    """No order comes back to an account that a claim has taken it from."""
    events = (event for posted in orders for event in books.order_events_of(posted))
    if any((each.kind, each.account_id) == (OrderEventKind.GIVEN_UP, survivor.account_id) for each in events):
        return _not_mergeable("an order of it was claimed from the other account", "merge the other account into it")
    return None


def _enrolment_problem(merged: Account, survivor: Account) -> Rejected | None:
    is_given = merged.is_enrolment_given or survivor.is_enrolment_given
    if not is_given or merged.enrolled_at is None:
        return None
    if survivor.enrolled_at is None or merged.enrolled_at < survivor.enrolled_at:
        return _not_mergeable("its membership is the older one", "merge the other account into it")
    return None


def _not_mergeable(why: str, advice: str) -> Rejected:
    return Rejected(RejectionCode.NOT_MERGEABLE, f"the accounts cannot become one, or two again: {why}", advice)


def _already_merged() -> Rejected:
    return Rejected(
        RejectionCode.ALREADY_MERGED,
        "the account has been merged into another one",
        "name that one, or undo the merge first by account.unmerge",
    )


def _merged_on() -> Rejected:
    return Rejected(
        RejectionCode.ALREADY_MERGED,
        "the account that it was merged into has been merged into another one",
        "undo that merge first",
    )


def _not_merged() -> Rejected:
    return Rejected(RejectionCode.NOT_MERGED, "the account is not merged into another one", "check which one is named")
