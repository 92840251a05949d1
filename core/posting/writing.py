"""What decisions add to the ledger and to the outbox, collected in memory and then written in one go."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import Connection

from core.domain.books import Books
from core.domain.decision import AccountChange, Answer, Decision, Erasure, TierChange
from core.domain.ledger import Account, AccountDetails, Entry
from core.domain.lots import Lot, SharedExpiry
from core.domain.members import Member, PrimaryChange
from core.domain.merges import LotMove, PostedMerge
from core.domain.orders.posted import (
    Budget,
    OrderEventKind,
    PostedOrder,
    PostedOrderEvent,
    PostedRefund,
    PostedReturn,
)
from core.domain.outcomes import Parked, Rejected, RejectionCode, Replayed
from core.domain.program import UsageKey
from core.domain.reach import CustomerKey, ReferenceKey
from core.domain.value.authorizations import Authorization
from core.domain.value.payments import Payment, PaymentKey
from core.messages.trace_context import TraceContext
from core.posting.answers import (
    AnswerData,
    Asked,
    accepted,
    answer_event,
    asked_by,
    erased,
    new_command,
    refused_at_intake,
    rejected,
    told_again,
)
from core.posting.events import EventContext, decision_events, message_parked
from core.posting.shared_limits import BudgetKey, LoadedBudget
from core.store.account_names import NewReference, append_references, delete_references, write_details
from core.store.appending import (
    ClaimedOrder,
    NewOrder,
    NewOrderEvent,
    NewReturn,
    OutboxEvent,
    adopt_reports,
    append_accounts,
    append_allocations,
    append_entries,
    append_events,
    append_expiries,
    append_lots,
    append_order_events,
    append_orders,
    append_refunds,
    append_returns,
    append_tier_changes,
    claim_orders,
    move_orders,
    update_accounts,
    update_budgets,
    update_expiries,
    update_lots,
    update_orders,
    write_usages,
)
from core.store.authorizations import append_authorizations, update_authorizations
from core.store.commands import NewCommand, append_commands, load_answers
from core.store.inbox import AskedLast, ClaimedMessage
from core.store.judgements import why_json
from core.store.ledger import lock_budgets
from core.store.members import write_members, write_primaries
from core.store.merges import append_merges
from core.store.order_payments import write_payments
from core.store.proof.seals import require_key_of_books

_OrderRow = tuple[str, str, str]  #: source, order_id, program_id
_NONE: Mapping[BudgetKey, LoadedBudget] = MappingProxyType({})


class BudgetRaceError(Exception):
    """Other batches have meanwhile spent what this one promised of a budget; it has to be done again."""


#: Of the data of a message about an order: what names the order.
_NAMING = frozenset({"order_id", "order_source", "program_id"})


class Report(NamedTuple):
    """The message that reported a fact."""

    inbox_id: int
    shard: int
    data: Mapping[str, Any]  #: settled
    settled: str  #: the same as text
    trace: TraceContext | None = None  #: of its sender, which goes on to what it causes


def report_of(message: ClaimedMessage, data: Mapping[str, Any]) -> Report:
    """The message that is posted, with its settled data."""
    assert message.shard is not None
    return Report(message.inbox_id, message.shard, data, message.settled, message.trace)


class Writing:
    """The rows of one transaction: what is new, and the last state of what was there."""

    def __init__(self, context: EventContext) -> None:
        """`context` is what all events of the transaction share."""
        self._context = context
        self.tally = context.tally  #: counts what is kept; None: nobody asks
        self._opened: dict[UUID, None] = {}
        self._members: dict[UUID, tuple[Member, ...]] = {}
        self._primaries: dict[CustomerKey, PrimaryChange] = {}
        self._details: dict[UUID, AccountDetails] = {}
        self._references: dict[ReferenceKey, NewReference] = {}
        self._references_gone: dict[ReferenceKey, None] = {}
        self._accounts: dict[UUID, Account] = {}
        self._entries: list[Entry] = []  # without their calculations
        self._whys: list[str] = []
        self._lots: dict[tuple[UUID, int], Lot] = {}
        self._new_lots: set[tuple[UUID, int]] = set()
        self._expiries: dict[tuple[UUID, int], SharedExpiry] = {}
        self._new_expiries: set[tuple[UUID, int]] = set()
        self._tier_changes: list[TierChange] = []
        self._usages: dict[tuple[UUID, UsageKey], None] = {}
        self._budgets: dict[BudgetKey, None] = {}
        self._orders: dict[_OrderRow, PostedOrder] = {}
        self._new_orders: dict[_OrderRow, Report] = {}
        self._claimed: dict[_OrderRow, int] = {}  #: orders of another account now, with their shards
        self._moved: dict[_OrderRow, None] = {}  #: orders of another account now, by a merge
        self._merges: list[PostedMerge] = []
        self._lot_moves: list[LotMove] = []
        self._refunds: list[tuple[PostedRefund, int]] = []
        self._returns: list[NewReturn] = []
        self._order_events: list[NewOrderEvent] = []
        self._commands: list[NewCommand] = []
        self._authorizations: dict[ReferenceKey, Authorization] = {}
        self._new_authorizations: set[ReferenceKey] = set()
        self._payments: dict[PaymentKey, Payment] = {}
        self._asked_again: list[ClaimedMessage] = []
        self._answers: dict[int, OutboxEvent] = {}  #: by the message that asked
        self._events: list[OutboxEvent] = []

    def keep(self, decision: Decision, report: Report | None = None) -> None:
        """Collect what a decision changes. `report` is the message that it decides; None for a periodic run."""
        for change in decision.changes:
            self._keep_account(change)
            if change.references or change.references_gone:
                assert report is not None
                self._keep_references(change, report.shard)
        for fact in decision.facts:
            assert report is not None
            match fact:
                case PostedOrder():
                    self._new_orders[*fact.key, fact.program_id] = report
                    self._orders[*fact.key, fact.program_id] = fact
                case PostedRefund():
                    self._refunds.append((fact, report.inbox_id))
                case PostedReturn():
                    self._returns.append(NewReturn(fact, report.inbox_id, _text(report.data["lines"])))
                case PostedOrderEvent():
                    content = report.settled if fact.event_key or report.data.keys() - _NAMING else None
                    self._order_events.append(NewOrderEvent(fact, report.inbox_id, content))
                case Authorization():
                    self._new_authorizations.add(fact.key)
                    self._authorizations[fact.key] = fact
        for authorization in decision.authorizations:
            self._authorizations[authorization.key] = authorization
        if decision.orders:
            self._keep_orders(decision, report)
        self._payments.update((payment.key, payment) for payment in decision.payments)
        for spent in decision.budgets:
            self._budgets[spent.program_id, spent.name] = None
        self._events += decision_events(decision, self._context_of(report))
        if self.tally is not None:
            self.tally.add_decision(decision)

    def _context_of(self, report: Report | None) -> EventContext:
        if report is None or report.trace is None:
            return self._context
        return self._context._replace(trace=report.trace)

    def _keep_orders(self, decision: Decision, report: Report | None) -> None:
        kinds = {getattr(each, "kind", None) for each in decision.facts}
        for posted in decision.orders:
            row = *posted.key, posted.program_id
            self._orders[row] = posted
            if OrderEventKind.MOVED_IN in kinds:
                self._moved[row] = None
            if OrderEventKind.CLAIMED in kinds:
                assert report is not None
                self._claimed[row] = report.shard

    def keep_answer(self, message: ClaimedMessage, digest: bytes, outcome: object) -> None:
        """Collect the answer to a command that is decided; one that is known already is told its first answer."""
        asked = asked_by(message)
        match outcome:
            case Decision(answer=Answer(account) as answer):
                data: AnswerData = accepted(asked, outcome, answer, self._context)
                self._answer(new_command(message, digest, data, answer, None), asked, data, account)
            case Decision(erasure=Erasure() as erasure):
                told = erased(asked, outcome, erasure, self._context)
                self._answer(new_command(message, erasure.command_key, told, None, None), asked, told, None)
            case Rejected(RejectionCode.COMMAND_CONFLICT):
                self._tell(message.inbox_id, refused_at_intake(asked, outcome, message.inbox_id, 1, self._context))
            case Rejected(code):
                data = rejected(asked, outcome, self._context)
                self._answer(new_command(message, digest, data, None, code.value), asked, data, None)
            case Replayed():
                self._asked_again.append(message)

    def _answer(self, command: NewCommand, asked: Asked, data: AnswerData, account: Account | None) -> None:
        self._commands.append(command)
        self._tell(command.inbox_id, answer_event(asked, data, account, self._context))

    def _tell(self, inbox_id: int, answer: OutboxEvent) -> None:
        self._answers[inbox_id] = answer
        self._events.append(answer)

    def answer_also(self, asked: Iterable[AskedLast]) -> None:
        """Answer also whoever has sent a command again, and wants its answer elsewhere, while it was decided."""
        for last in asked:
            answer = self._answers.get(last.inbox_id)
            if answer is not None and (answer.reply_to, answer.correlation_id) != (last.reply_to, last.correlation_id):
                times = f" {last.inbox_id}:{last.deliveries}"
                self._events.append(
                    answer._replace(
                        event_key=answer.event_key + times, reply_to=last.reply_to, correlation_id=last.correlation_id
                    )
                )

    def _keep_references(self, change: AccountChange, shard: int) -> None:
        for gone in change.references_gone:
            self._references_gone[gone] = None
            self._references.pop(gone, None)
        for key in change.references:
            self._references[key] = NewReference(key, change.account.account_id, shard)

    def _keep_account(self, change: AccountChange) -> None:
        account_id = change.account.account_id
        if change.opened is not None:
            self._opened[account_id] = None
            if change.is_primary:
                self._keep_primary(change.account, PrimaryChange(change.account.customer_id, None, account_id))
        if change.members is not None:
            self._members[account_id] = change.members
        for moved in change.primaries:
            self._keep_primary(change.account, moved)
        if change.details is not None:
            self._details[account_id] = change.details
        self._accounts[account_id] = change.account
        for entry in change.entries:
            # A text from now on: a batch's calculations, as they are worked out, take more memory than caches hold.
            self._whys.append(why_json(entry.why))
            self._entries.append(entry._replace(why={}))
        opening = {entry.sequence for entry in change.entries}
        for lot in change.lots:
            key = account_id, lot.lot_number
            self._lots[key] = lot
            if lot.opened_by_sequence in opening:
                self._new_lots.add(key)
        for expiry in (*change.expiries_begun, *change.expiries):
            self._expiries[account_id, expiry.expires_with] = expiry
        self._new_expiries.update((account_id, expiry.expires_with) for expiry in change.expiries_begun)
        self._tier_changes += change.tier_changes
        if change.merge is not None:
            self._merges.append(change.merge)
            self._lot_moves += change.lot_moves
        for used in change.usages:
            self._usages[account_id, UsageKey(used.name, used.period)] = None

    def _keep_primary(self, account: Account, change: PrimaryChange) -> None:
        key = account.program_id, change.customer_id
        first = self._primaries.get(key, change)
        self._primaries[key] = change._replace(before=first.before)

    def write(
        self,
        connection: Connection,
        *,
        chain_key: bytes | None,
        books: Books | None = None,
        loaded: Mapping[BudgetKey, LoadedBudget] = _NONE,
    ) -> None:
        """Write what a periodic run or a person changed, who use up no limits; `books` where they give some back.

        ChainKeyMissingError without `chain_key` where there are entries to write and those before carry a hash chain.
        """
        if self._entries:
            require_key_of_books(connection, chain_key)
        self.write_ledger(connection, chain_key=chain_key, books=books)
        self.write_shared(connection, books, loaded)

    def write_ledger(self, connection: Connection, *, chain_key: bytes | None, books: Books | None = None) -> None:
        """Write everything but what others wait for.

        With `chain_key` entries carry their accounts' hash chains on, and orders a seal; without it the caller has made
        sure that there is no chain, which would be broken for good.
        `books` know the usages that decisions changed. Parents come before children, since foreign keys are checked at
        once.
        """
        opened = [self._accounts[account_id] for account_id in self._opened]
        # In one order everywhere: two shards that open the same accounts wait for each other, and must not in a circle.
        opened.sort(key=lambda account: (account.program_id, account.customer_id))
        append_accounts(connection, opened)
        write_primaries(connection, self._primaries)
        write_members(connection, self._members)
        delete_references(connection, self._references_gone)
        append_references(connection, sorted(self._references.values()))
        write_details(connection, self._details)
        update_accounts(connection, [account for i, account in self._accounts.items() if i not in self._opened])
        self._write_orders(connection, chain_key)
        append_entries(connection, self._entries, self._whys, chain_key)
        begun, moved = (
            [(key[0], expiry) for key, expiry in self._expiries.items() if (key in self._new_expiries) is is_new]
            for is_new in (True, False)
        )
        append_expiries(connection, begun)
        update_expiries(connection, moved)
        append_lots(connection, [(key[0], self._lots[key]) for key in self._lots if key in self._new_lots])
        update_lots(connection, [(key[0], lot) for key, lot in self._lots.items() if key not in self._new_lots])
        append_allocations(connection, self._entries)
        append_merges(connection, self._merges, self._lot_moves)
        new = [self._authorizations[key] for key in sorted(self._new_authorizations)]
        append_authorizations(connection, new)
        known = [each for key, each in self._authorizations.items() if key not in self._new_authorizations]
        update_authorizations(connection, known)
        write_payments(connection, list(self._payments.values()))
        append_tier_changes(connection, self._tier_changes)
        append_refunds(connection, self._refunds)
        append_returns(connection, self._returns, chain_key)
        append_order_events(connection, self._order_events)
        append_commands(connection, self._commands)
        self._tell_again(connection)
        adopt_reports(connection, [ClaimedOrder(self._orders[key], shard) for key, shard in self._claimed.items()])
        if books is not None:
            usages = {
                (account_id, key): books.usages(self._accounts[account_id], [key])[key]
                for account_id, key in self._usages
            }
            write_usages(connection, [(*key, usage) for key, usage in usages.items()])

    def _tell_again(self, connection: Connection) -> None:
        asked = {(message.source, message.event_id): message for message in self._asked_again}
        for stored in load_answers(connection, list(asked)):
            message = asked[stored.source, stored.command_id]
            answer = told_again(asked_by(message), stored, message.inbox_id, 1, self._context)
            self._tell(message.inbox_id, answer)

    def write_shared(
        self, connection: Connection, books: Books | None = None, loaded: Mapping[BudgetKey, LoadedBudget] = _NONE
    ) -> None:
        """Write what others wait for, from here to the commit: budgets, and events with their numbers.

        BudgetRaceError where others have meanwhile spent so much of a budget that this batch would go beyond it.
        """
        if books is not None and self._budgets:
            self._write_budgets(connection, books, loaded)
        append_events(connection, self._events)

    def _write_budgets(self, connection: Connection, books: Books, loaded: Mapping[BudgetKey, LoadedBudget]) -> None:
        now = lock_budgets(connection, self._budgets)
        written: list[tuple[str, str, Budget]] = []
        for program_id, name in self._budgets:
            (spent, limit), current = loaded[program_id, name], now[program_id][name]
            planned = books.budgets(program_id, [name])[name]
            total = Budget(
                current.points + planned.points - spent.points, current.orders + planned.orders - spent.orders
            )
            if current != spent and (
                _goes_beyond(total.points, current.points, limit.points)
                or _goes_beyond(total.orders, current.orders, limit.orders)
            ):
                raise BudgetRaceError
            written.append((program_id, name, total))
        update_budgets(connection, written)

    def _write_orders(self, connection: Connection, chain_key: bytes | None) -> None:
        new = [_new_order(self._orders[key], report) for key, report in self._new_orders.items()]
        append_orders(connection, new, chain_key)
        claimed = {key: shard for key, shard in self._claimed.items() if key not in self._new_orders}
        # Before they have points, which guests' orders must not have.
        claim_orders(connection, [ClaimedOrder(self._orders[key], shard) for key, shard in claimed.items()], chain_key)
        move_orders(connection, [self._orders[key] for key in self._moved], chain_key)
        update_orders(connection, [posted for key, posted in self._orders.items() if key not in self._new_orders])

    def announce_parked(self, message: ClaimedMessage, parked: Parked) -> None:
        """Notify the shop that a message needs a person."""
        self._events.append(message_parked(message, parked, self._context))

    def account_shards(self) -> Collection[int]:
        """The relay shards that have new events."""
        return {event.account_shard for event in self._events}


def _new_order(posted: PostedOrder, report: Report) -> NewOrder:
    data = report.data
    return NewOrder(
        posted, report.shard, report.inbox_id,
        _text(data["lines"]), _json(data.get("attributes")), _json(data.get("customer_tags")),
    )  # fmt: skip


def _json(value: object) -> str | None:
    return None if value is None else _text(value)


def _text(value: object) -> str:
    return to_json(value).decode()


def _goes_beyond(total: int, before: int, most: int | None) -> bool:
    return most is not None and before < total and total > most
