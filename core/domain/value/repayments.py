"""Points that paid an order come back to the lots that they were taken from, in the share of it that is given back.

How many should have come back is a function of what was taken and of that share; what lies between that and what has
come back is posted, up or down. So it cannot matter in how many steps, or in which order, the last state was reached.

Of what was taken at once the last comes back first; of an authorization that was captured in parts, the first part
does before the others, so that what came back stays the same whatever is captured later.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision
from core.domain.expiry.due import release
from core.domain.ledger import POINTS_MAX, Account, Entry, EntryKind, debit, entry_between
from core.domain.lots import Allocation, AllocationKind, Lot, take, taken_from
from core.domain.movements import Movement, movement_of
from core.domain.orders.units import UNITS, nearest, to_millionth
from core.domain.program import ClawbackPolicy
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import ReferenceKey
from core.domain.value.authorizations import AUTHORIZATION, Authorization, AuthorizationState
from core.domain.value.authorizing import come_back
from core.domain.value.payments import Payment, PaymentKind
from core.domain.value.reserves import parts_held
from core.domain.value.restoring import Taken, expire_restored, restore

#: The entries of commands that pay an order: by what a customer spends. What was authorized pays when it is captured.
#: What is forfeited as an account is closed buys nothing.
PAYING = frozenset({EntryKind.REDEMPTION, EntryKind.DEBIT})
_Parts = Sequence[tuple[int, int]]  #: lots by their numbers, with so many points of each


class Cause(NamedTuple):
    """Why points come back, or are taken again, for an order."""

    order: tuple[str, str, str]  #: its source, id and program
    occurred_at: datetime
    because: Mapping[str, Any]  #: for people
    refund_id: str | None = None


class Payer(NamedTuple):
    """What took the points of a payment, as it is by now."""

    movement: Movement  #: the entry that took them out of lots
    points: int  #: that are taken for good
    points_reversed: int  #: of these, that a command has let come back
    captures: tuple[int, ...] = ()  #: of an authorization: how they were taken for good, one after the other

    @property
    def returning(self) -> _Parts:
        """What was taken, in the order in which it comes back."""
        taken = [
            (each.lot_number, -each.points) for each in self.movement.allocations if each.kind is AllocationKind.TAKEN
        ]
        found: list[tuple[int, int]] = []
        start = 0
        for points in self.captures or (self.points,):
            found += reversed(_between(taken, start, start + points))
            start += points
        return found


def _between(parts: _Parts, start: int, end: int) -> list[tuple[int, int]]:
    """Those of the points, one after the other, that stand from `start` up to `end`."""
    found: list[tuple[int, int]] = []
    place = 0
    for number, points in parts:
        part = min(end, place + points) - max(start, place)
        if part > 0:
            found.append((number, part))
        place += points
    return found


class TooManyRepaid(NamedTuple):
    """An account would come to have more points than are counted."""

    points: int


class Repayments:
    """What comes back by one decision: it is added to what the decision does to the same accounts."""

    def __init__(self, books: Books, decision: Decision, rules: ProgramRegistry, as_of: datetime) -> None:
        """`decision` is not in the books yet."""
        self._books, self._decision, self._rules, self._as_of = books, decision, rules, as_of
        self._changes = {change.account.account_id: change for change in decision.changes}
        new = (fact for fact in decision.facts if isinstance(fact, Authorization))
        self._authorizations = {each.key: each for each in (*new, *decision.authorizations)}
        self._voided: dict[ReferenceKey, Authorization] = {}
        self._payments: list[Payment] = []

    def decision(self) -> Decision:
        """The decision with all that comes back by it."""
        answer = self._decision.answer
        if answer is not None and (change := self._changes.get(answer.account.account_id)) is not None:
            answer = answer._replace(account=change.account)
        voided = {each.key: each for each in self._decision.authorizations} | self._voided
        return self._decision._replace(
            changes=tuple(self._changes.values()),
            authorizations=tuple(voided.values()),
            payments=tuple(self._payments),
            answer=answer,
        )

    def settle(self, payment: Payment, cause: Cause) -> TooManyRepaid | None:
        """Let as many points have come back as should have, by the payment's share; it keeps the order that it has."""
        payer = self._payer(payment)
        if payer is None or self._account(payer).merged_into is not None:
            self._payments.append(payment)
            return None
        due = points_due(payment.share, payer.points, payer.points_reversed)
        more = due - payment.points_due
        settled = payment._replace(points_due=due)
        if more > 0:
            not_taken = min(more, payment.points_shortfall)
            excused = min(more - not_taken, payment.points_excused)
            settled = settled._replace(
                points_shortfall=payment.points_shortfall - not_taken,
                points_excused=payment.points_excused - excused,
            )
            points = more - not_taken - excused
            account = self._account(payer)
            if account.balance + account.pending + account.reserved + points > POINTS_MAX:
                return TooManyRepaid(points)
            if points:
                self._give_back(payment, settled, payer, points, cause)
        if more < 0:
            settled = self._take_again(payment, settled, payer, cause)
        self._payments.append(settled)
        return None

    def void(self, payment: Payment, cause: Cause) -> None:
        """Let come back what an authorization still holds for an order that is cancelled."""
        authorization = self._authorization(payment)
        if authorization is None or authorization.state is not AuthorizationState.OPEN:
            return
        if self._reserving(authorization).account_id != authorization.account_id:
            return  # it has moved to another account by a merge, and is voided there by command
        account = self._released_if_owing(self._changed(authorization))
        held = self._lots(account, parts_held(self._reserving(authorization), authorization))
        source, order_id, program_id = cause.order
        why = {"cancelled_order": {"program_id": program_id}, "authorization_id": payment.payment_id}
        back = come_back(
            self._books,
            account,
            authorization,
            AuthorizationState.VOIDED,
            self._rules,
            occurred_at=cause.occurred_at,
            as_of=self._as_of,
            why=why,
            source=source,
            order_id=order_id,
            returns=[Taken(lot, points) for lot, points in held],
        )
        self._add(back.change)
        self._authorizations[authorization.key] = self._voided[authorization.key] = back.authorization

    # What has taken the points.

    def _payer(self, payment: Payment) -> Payer | None:
        """None: nothing is known of it yet, or it is nothing that customers pay with."""
        if payment.kind is PaymentKind.AUTHORIZATION:
            authorization = self._authorization(payment)
            if authorization is None:
                return None
            movement = self._reserving(authorization)
            captures = (*movement.captures, *self._captured_now(movement))
            return Payer(movement, authorization.points_captured, 0, captures)
        for movement in self._done((payment.source, payment.payment_id)):
            if movement.kind in PAYING and not movement.is_forfeit:
                return Payer(movement, -movement.points, movement.points_corrected)
        return None

    def _authorization(self, payment: Payment) -> Authorization | None:
        if payment.kind is not PaymentKind.AUTHORIZATION:
            return None
        key = ReferenceKey(AUTHORIZATION, payment.payment_id)
        if key in self._authorizations:
            return self._authorizations[key]
        return None if self._books.account_by(key) is None else self._books.authorization(key)

    def _reserving(self, authorization: Authorization) -> Movement:
        """The entry that reserved the points, less what clawbacks have taken of them, by the decision too."""
        done = self._done(authorization.command_key)
        (movement,) = (each for each in done if each.sequence == authorization.sequence)
        for change in self._decision.changes:
            for entry in change.entries:
                is_of_it = (entry.account_id, entry.corrects_sequence) == movement.key
                if is_of_it and entry.kind is EntryKind.VOID and entry.command_id is None:
                    movement = movement.without(entry.allocations)
        return movement

    def _done(self, command: tuple[str, str]) -> list[Movement]:
        answer = self._decision.answer
        now = [
            movement_of(entry, 0 if answer is None else answer.program_version)
            for change in self._decision.changes
            for entry in change.entries
            if (entry.source, entry.command_id) == command
        ]
        return [*self._books.movements(command), *now]

    def _captured_now(self, movement: Movement) -> Iterable[int]:
        for change in self._decision.changes:
            for entry in change.entries:
                if entry.kind is EntryKind.CAPTURE and (entry.account_id, entry.corrects_sequence) == movement.key:
                    yield -entry.reserved_change

    # Accounts, with what the decision has done to them.

    def _account(self, payer: Payer) -> Account:
        return self._changed(payer.movement)

    def _changed(self, of: Movement | Authorization) -> Account:
        change = self._changes.get(of.account_id)
        return self._books.account(of.account_id) if change is None else change.account

    def _newer(self, account: Account) -> dict[int, Lot]:
        change = self._changes.get(account.account_id)
        return {} if change is None else {lot.lot_number: lot for lot in change.lots}

    def _lots(self, account: Account, parts: _Parts) -> list[tuple[Lot, int]]:
        """The lots of these numbers as they are by now, each once."""
        newer, points_of = self._newer(account), dict[int, int]()
        for number, points in parts:
            points_of[number] = points_of.get(number, 0) + points
        return [(newer.get(number) or self._books.lot(account, number), points) for number, points in points_of.items()]

    def _add(self, change: AccountChange) -> None:
        account_id = change.account.account_id
        had = self._changes.get(account_id)
        self._changes[account_id] = change if had is None else had.then(change)

    # What is posted.

    def _give_back(self, before: Payment, after: Payment, payer: Payer, points: int, cause: Cause) -> None:
        account = self._released_if_owing(self._account(payer))
        start = before.points_back + payer.points_reversed
        parts = _between(payer.returning, start, start + points)
        returns = [Taken(lot, part) for lot, part in reversed(self._lots(account, parts))]
        program = self._rules.at(account.program_id, self._as_of).program
        restored = restore(account, returns, self._as_of, program)
        entry = _entry(account, restored.account, restored.allocations, (before, after), payer, cause)
        change = expire_restored(restored, self._as_of)
        self._add(change._replace(entries=(entry, *change.entries)))

    def _take_again(self, before: Payment, after: Payment, payer: Payer, cause: Cause) -> Payment:
        """Take again what should not have come back: from the lots that it came back to, then as a clawback does."""
        released = self._released(self._account(payer))
        account, as_of = released.account, self._as_of
        changed = self._newer(account) | {lot.lot_number: lot for lot in released.lots}
        first, last = (payment.points_due + payer.points_reversed for payment in (after, before))
        own = [
            (changed.get(lot.lot_number, lot), points)
            for lot, points in self._lots(account, _between(payer.returning, first, last))
        ]
        due = last - first
        ended = [(lot, points) for lot, points in own if lot.is_due(as_of)]
        excused = sum(min(points, lot.points_expired + lot.points_remaining) for lot, points in ended)
        kept = [(lot, min(points, lot.points_remaining)) for lot, points in own if not lot.is_due(as_of)]
        lots = [lot._replace(points_remaining=lot.points_remaining - part) for lot, part in kept if part]
        allocations = [taken_from(lot, part) for lot, part in kept if part]
        missing = due - excused - sum(part for _, part in kept)
        if missing and not account.deficit:
            numbers = {lot.lot_number for lot, _ in own}
            more, taken, missing = take(self._books.lots_to_take(account, as_of, changed, numbers), missing)
            lots, allocations = lots + more, allocations + taken
        program = self._rules.at(account.program_id, as_of).program
        shortfall = 0 if program.clawback.policy is ClawbackPolicy.ALLOW_NEGATIVE else missing
        settled = after._replace(
            points_excused=before.points_excused + excused, points_shortfall=before.points_shortfall + shortfall
        )
        points = due - excused - shortfall
        if points:
            owing = debit(account, points, uncovered=missing - shortfall)
            entry = _entry(account, owing, allocations, (before, settled), payer, cause)
            self._add(AccountChange(owing, (*released.entries, entry), (*released.lots, *lots)))
        return settled

    def _released_if_owing(self, account: Account) -> Account:
        """The account that is about to get points: what is due to be released pays off what it owes before they do."""
        if account.deficit and account.pending:
            released = self._released(account)
            self._add(released)
            return released.account
        return account

    def _released(self, account: Account) -> AccountChange:
        newer = self._newer(account)
        due = [newer.get(lot.lot_number, lot) for lot in self._books.lots_to_release(account, self._as_of)]
        return release(account, [lot for lot in due if lot.is_to_release(self._as_of)], self._as_of)


def points_due(share: Fraction, points: int, points_reversed: int) -> int:
    """How many of `points` should have come back: one rounding, down. What was reversed does not come back again."""
    units = to_millionth(nearest(points * share.numerator * UNITS, share.denominator))
    return min(units // UNITS, points - points_reversed)


def _entry(
    before: Account,
    after: Account,
    allocations: Sequence[Allocation],
    payments: tuple[Payment, Payment],
    payer: Payer,
    cause: Cause,
) -> Entry:
    had, has = payments
    source, order_id, program_id = cause.order
    named = {"authorization_id": has.payment_id}
    if has.kind is PaymentKind.COMMAND:
        named = {"command_id": has.payment_id, "command_source": has.source}
    excused, shortfall = has.points_excused - had.points_excused, has.points_shortfall - had.points_shortfall
    notes = {"points_reversed": payer.points_reversed, "points_excused": excused, "points_shortfall": shortfall}
    why = {
        **named,
        "order_program_id": program_id,
        "points_taken": payer.points,
        "share": str(has.share),
        "points_due_before": had.points_due,
        "points_due_after": has.points_due,
        **{name: points for name, points in notes.items() if points},
        **cause.because,
    }
    return entry_between(
        before,
        after,
        EntryKind.REPAYMENT,
        cause.occurred_at,
        allocations,
        {"repayment": why},
        source=source,
        order_id=order_id,
        refund_id=cause.refund_id,
        corrects_sequence=payer.movement.sequence,
    )
