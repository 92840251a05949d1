"""Opening the books for a batch: everything that its messages reach, with a few set-based statements.

Locks are taken in one order everywhere: orders, accounts by their ids, budgets.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.books import Books
from core.domain.ledger import Account
from core.domain.lots import OriginKind
from core.domain.orders.clawback import points_at_stake, with_raising
from core.domain.orders.limits import usage_keys
from core.domain.orders.posted import OrderEventKind, PostedOrder, Usage
from core.domain.program import UsageKey
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import GETTING, AccountParts, CommandKey, CustomerKey, LotsWanted, OrderKey, Reach, ReferenceKey
from core.domain.takes import Take, note_takes
from core.domain.tiers.counting import counting_bounds, tier_needs
from core.domain.value.authorizations import Authorization
from core.domain.value.customer_limits import keys_of, limit_keys
from core.domain.value.payments import PaymentKind
from core.domain.value.rewards import usage_key as reward_usage_key
from core.posting.order_loading import load_all_orders_of, load_reported, with_payments
from core.posting.shared_limits import (
    BudgetKey,
    Limits,
    LoadedBudget,
    budgets_of_these_orders,
    load_limits,
    stocks_asked_of,
    stocks_of,
)
from core.store.account_names import ask_details, ask_references, load_owners
from core.store.authorizations import load_authorizations, load_holding
from core.store.commands import ask_commands
from core.store.keepings import load_keepings
from core.store.ledger import (
    ask_expiries,
    ask_lots,
    ask_orders,
    ask_primaries,
    load_all_open_lots,
    load_numbered_lots,
    load_takes,
    load_usages,
    lock_accounts,
)
from core.store.members import ask_members, load_own_accounts, load_persons
from core.store.merges import load_every_lot, load_merges, load_rewarded, load_used_by_commands, lots_moved
from core.store.movements import CommandEntry, load_entries_of_commands, load_movements
from core.store.order_payments import ask_payments
from core.store.tier_facts import load_counted, load_tier_facts, load_tier_history

_NO_PARTS = AccountParts()


class OpenBooks(NamedTuple):
    """The books of one batch, and the budgets as they were read."""

    books: Books
    budgets: Mapping[BudgetKey, LoadedBudget]


def open_books(
    connection: Connection,
    reach: Reach,
    rules: ProgramRegistry,
    new_account_id: Callable[[], UUID],
    as_of: datetime,
    *,
    is_contended: bool,
) -> OpenBooks:
    """Load and lock what the messages of a batch reach.

    Budgets, which all shards share, are read without a lock: when the books are written it shows whether they were
    enough. With `is_contended` they were not, and are locked first, so that this batch waits for the others.
    """
    books = Books(new_account_id)
    asked_orders = ask_orders(connection, reach.orders.keys())
    asked_primaries = ask_primaries(connection, reach.customers.keys())
    asked_commands = ask_commands(connection, reach.commands)
    orders = asked_orders.found
    reach = with_raising(reach, rules, orders)
    load_reported(connection, books, reach, orders)
    reach = with_payments(connection, reach, orders)
    references = ask_references(connection, reach.references.keys()).found
    books.put_references({key: references.get(key) for key in reach.references})
    primaries = asked_primaries.found
    books.put_primaries({key: primaries.get(key) for key in reach.customers})
    reach = _with_owners(connection, books, reach, references, primaries)
    books.put_commands(reach.commands, asked_commands.found)
    entries = load_entries_of_commands(connection, reach.movements.keys())

    parts = _account_parts(reach, orders, primaries, references, rules, entries)
    parts = _lock(connection, books, _with_persons(connection, books, reach, parts))
    payments = reach.payments.keys() | reach.offered
    asked_payments = ask_payments(connection, payments)
    own = [posted for posted in orders if reach.orders[posted.key].account is not None]
    load_parts(connection, books, parts, rules, as_of, orders=own)
    books.put_payments(payments, asked_payments.found)
    _load_takes(connection, books, [posted for posted in own if reach.orders[posted.key].takes])
    reserved = _load_authorizations(connection, books, references, parts)
    offered = [key[1:] for key in reach.offered if key.kind is PaymentKind.COMMAND]  # by later messages of the batch
    load_done(connection, books, {**dict.fromkeys((*reach.movements, *offered), ()), **reserved, **entries})
    ending = [each for each in books.authorizations() if each.key in references]
    load_uses(connection, books, ending, rules)
    of_orders = (each.account for each in reach.orders.values() if each.account is not None)
    wanted = [each.limits_of for each in (*reach.customers.values(), *parts.values(), *of_orders)]
    # Orders that are no account's, or come to one that is still to be opened.
    wanted.append(_limits_of(orders, reach, rules))
    limits = [*budgets_of_these_orders(wanted), *stocks_asked_of(books, reach, rules, as_of)]
    limits += stocks_of(books, ending, rules)
    return OpenBooks(books, load_limits(connection, books, limits, is_contended=is_contended))


def _with_owners(
    connection: Connection,
    books: Books,
    reach: Reach,
    references: Mapping[ReferenceKey, UUID],
    primaries: dict[CustomerKey, UUID],
) -> Reach:
    """What the batch reaches with the accounts, in other programs, of who owns those that references lead to.

    Which these are is added to `primaries`, and to the books.

    They are looked up before anything is locked, as the order of locks wants. Of an account that is merged just now
    another owner's may be asked for then: the message is done again.
    """
    wanted = {references[key]: parts.owner_gets_in for key, parts in reach.references.items()
              if parts.owner_gets_in and key in references}  # fmt: skip
    if not wanted:
        return reach
    customers = dict(reach.customers)
    for account_id, owners in load_owners(connection, wanted).items():
        for key in product(wanted[account_id], owners):
            customers[key] = customers.get(key, _NO_PARTS).union(GETTING)
    primaries |= ask_primaries(connection, customers.keys() - reach.customers.keys()).found
    books.put_primaries({key: primaries.get(key) for key in customers})
    return reach._replace(customers=customers)


def _with_persons(
    connection: Connection, books: Books, reach: Reach, parts: Mapping[UUID, AccountParts]
) -> dict[UUID, AccountParts]:
    """These parts, and what the batch reaches of all accounts of persons."""
    persons = load_persons(connection, reach.persons.keys())
    books.put_persons(persons)
    found = dict(parts)
    for customer_id, account_ids in persons.items():
        for account_id in account_ids:
            found[account_id] = found.get(account_id, _NO_PARTS).union(reach.persons[customer_id])
    return found


def _load_authorizations(
    connection: Connection,
    books: Books,
    references: Iterable[ReferenceKey],
    parts: Mapping[UUID, AccountParts],
) -> dict[CommandKey, list[CommandEntry]]:
    """Load the authorizations of these references, and all that hold points of accounts; the entries that made them."""
    books.put_authorizations(load_authorizations(connection, references))
    held = [account_id for account_id, wanted in parts.items() if wanted.holding and books.account(account_id).reserved]
    books.put_holding(
        (account_id for account_id, wanted in parts.items() if wanted.holding), load_holding(connection, held)
    )
    return load_entries_of_commands(connection, [each.command_key for each in books.authorizations()])


def _lock(connection: Connection, books: Books, wanted: Mapping[UUID, AccountParts]) -> dict[UUID, AccountParts]:
    """Lock and load these accounts, and those that they are merged into: what is wanted of them is wanted of these."""
    books.put_accounts(lock_accounts(connection, wanted.keys()))
    while merged := {each.merged_into for each in books.accounts.values()} - {None} - books.accounts.keys():
        books.put_accounts(lock_accounts(connection, [each for each in merged if each is not None]))
    found: dict[UUID, AccountParts] = {}
    for account_id, parts in wanted.items():
        survivor = books.account(account_id)
        while survivor.merged_into is not None:
            survivor = books.account(survivor.merged_into)
        if parts.itself and survivor.account_id != account_id:
            found[account_id] = found.get(account_id, _NO_PARTS).union(parts)
            parts = parts._replace(merge=False)  # noqa: PLW2901  # of the other account
        found[survivor.account_id] = found.get(survivor.account_id, _NO_PARTS).union(parts)
    return found


def _load_takes(connection: Connection, books: Books, orders: Iterable[PostedOrder]) -> None:
    """Load from which lots these orders' clawbacks took, and these lots, wherever merges have moved them."""
    owners = {posted.key: posted.account_id for posted in orders if posted.account_id is not None}
    left = {(event.account_id, posted.key) for posted in orders for event in books.order_events_of(posted)
            if event.kind is OrderEventKind.GIVEN_UP}  # fmt: skip
    found: dict[tuple[UUID, OrderKey], list[Take]] = {}
    for (account_id, key), allocations in load_takes(connection, list(owners)).items():
        if (account_id, key) not in left:
            note_takes(found.setdefault((account_id, key), []), allocations)
    elsewhere = [
        (account_id, key, take)
        for (account_id, key), takes in found.items()
        for take in takes
        if take.points and account_id != owners[key]
    ]
    moved = lots_moved(connection, owners, elsewhere)
    # What was taken before the order moved was taken first.
    takes_of = {(i, key): [*moved.get((i, key), ()), *found.get((i, key), ())] for key, i in owners.items()}
    numbers = {(account_id, take.lot_number) for (account_id, _), takes in takes_of.items() for take in takes}
    for account_id, lots in load_numbered_lots(connection, numbers).items():
        books.put_lots(account_id, lots, is_all_open=False)
    for (account_id, key), takes in takes_of.items():
        books.put_takes(account_id, key, takes)


def load_done(connection: Connection, books: Books, entries: Mapping[CommandKey, Iterable[CommandEntry]]) -> None:
    """Load what these entries of commands did, and the lots of which they did it."""
    found = load_movements(connection, [entry for of_command in entries.values() for entry in of_command])
    lots = {(each.account_id, allocation.lot_number) for each in found.values() for allocation in each.allocations}
    for account_id, numbered in load_numbered_lots(connection, lots).items():
        books.put_lots(account_id, numbered, is_all_open=False)
    done = [(key, found[entry.key]) for key, of_command in entries.items() for entry in of_command]
    books.put_movements(entries, done)


def _account_parts(
    reach: Reach,
    orders: Iterable[PostedOrder],
    primaries: Mapping[tuple[str, str], UUID],
    references: Mapping[ReferenceKey, UUID],
    rules: ProgramRegistry,
    entries: Mapping[CommandKey, Iterable[CommandEntry]],
) -> dict[UUID, AccountParts]:
    """Which parts of which accounts the batch reaches: those of customers, references, orders, and earlier commands."""
    found: dict[UUID, AccountParts] = {}

    def add(account_id: UUID | None, parts: AccountParts) -> None:
        if account_id is not None:
            found[account_id] = found[account_id].union(parts) if account_id in found else parts

    for customer, parts in reach.customers.items():
        add(primaries.get(customer), parts)
    for reference, parts in reach.references.items():
        add(references.get(reference), parts)
    for command, of_command in entries.items():
        for account_id in {entry.key[0] for entry in of_command}:
            add(account_id, reach.movements[command])
    for posted in orders:
        of_order = reach.orders[posted.key]
        if of_order.account is not None:
            add(posted.account_id, of_order.account._replace(limits_of=_limits_of([posted], reach, rules)))
    for key, customers in reach.owners.items():
        # The order may be posted by this batch; what reports its refund, say, then reaches its customer's account.
        if (of_account := reach.orders[key].account) is not None:
            # Or it comes to that account, and is then held against its limits.
            limits = _limits_of([posted for posted in orders if posted.key == key], reach, rules)
            for whose in customers:
                owner_id = references.get(whose) if isinstance(whose, ReferenceKey) else primaries.get(whose)
                add(owner_id, of_account._replace(limits_of=of_account.limits_of + limits))
    return found


def _limits_of(orders: Iterable[PostedOrder], reach: Reach, rules: ProgramRegistry) -> Limits:
    """Against which limits these posted orders are held."""
    wanted = [posted for posted in orders if reach.orders[posted.key].limits]
    return tuple(
        (rules.version(posted.program_id, posted.program_version).program, posted.order.occurred_at)
        for posted in wanted
    )


def load_parts(
    connection: Connection,
    books: Books,
    parts: Mapping[UUID, AccountParts],
    rules: ProgramRegistry,
    as_of: datetime,
    *,
    orders: Iterable[PostedOrder] = (),
) -> None:
    """Load these parts of accounts that are in the books, and the lots that `orders` opened."""
    asked_details = ask_details(connection, [i for i, wanted in parts.items() if wanted.details])
    asked_members = ask_members(connection, [i for i, wanted in parts.items() if wanted.members])
    asked_expiries = ask_expiries(connection, [i for i, wanted in parts.items() if wanted.expiries])
    _load_lots(connection, books, parts, orders, as_of)
    books.put_details(asked_details.found)
    books.put_members(asked_members.found)
    for account_id, expiries in asked_expiries.found.items():
        books.put_expiries(account_id, expiries)
    merging = [account_id for account_id, wanted in parts.items() if wanted.merge]
    limits = _load_merges(connection, books, merging, rules) if merging else ()
    used_by_commands = load_used_by_commands(connection, merging) if merging else ()
    books.put_own_accounts(load_own_accounts(connection, [i for i, wanted in parts.items() if wanted.primaries]))
    _load_keepings(connection, books, parts, rules, orders)
    load_tiers(connection, books, parts, rules, orders)
    keys = {
        account_id: {
            *(key for limit in (*wanted.limits_of, *limits) for key in usage_keys(*limit)),
            *used_by_commands,
            *map(reward_usage_key, wanted.rewards),
            *_limit_keys(books.account(account_id), wanted, rules, as_of),
        }
        for account_id, wanted in parts.items()
    }
    _load_usages(connection, books, keys)
    books.put_used_by_commands(merging)


def _limit_keys(account: Account, wanted: AccountParts, rules: ProgramRegistry, as_of: datetime) -> Iterator[UsageKey]:
    if wanted.commands_at:
        program = rules.at(account.program_id, as_of).program
        yield from (key for instant in wanted.commands_at for key in limit_keys(program, instant))


def _load_usages(connection: Connection, books: Books, keys: Mapping[UUID, Collection[UsageKey]]) -> None:
    wanted = [(account_id, key) for account_id, of_account in keys.items() for key in of_account]
    usages = load_usages(connection, wanted)
    for account_id, of_account in keys.items():
        had = usages.get(account_id, {})
        books.put_usages(account_id, {key: had.get(key, Usage()) for key in of_account})


def load_uses(
    connection: Connection, books: Books, authorizations: Iterable[Authorization], rules: ProgramRegistry
) -> None:
    """Load where these are counted, and all that commands did that are here: no longer once their points are back."""
    keys: dict[UUID, set[UsageKey]] = defaultdict(set)
    for movement in books.movements_here():
        keys[movement.account_id].update(keys_of(movement, books.account(movement.account_id).program_id, rules))
    for each in authorizations:
        if each.reward_id is not None:
            keys[each.account_id].add(reward_usage_key(each.reward_id))
    _load_usages(connection, books, keys)


def _load_merges(connection: Connection, books: Books, account_ids: Sequence[UUID], rules: ProgramRegistry) -> Limits:
    """Load the merges of these accounts and all of their orders; returns against which limits these are held."""
    books.merged.put(*load_merges(connection, account_ids))
    books.merged.rewarded |= load_rewarded(connection, account_ids)
    orders = load_all_orders_of(connection, books, account_ids)
    judged_by = [(rules.version(posted.program_id, posted.program_version).program, posted) for posted in orders]
    return tuple((program, posted.order.occurred_at) for program, posted in judged_by if program.has_limits)


def load_tiers(
    connection: Connection,
    books: Books,
    parts: Mapping[UUID, AccountParts],
    rules: ProgramRegistry,
    orders: Iterable[PostedOrder],
) -> None:
    """Load what the tiers follow from, as far as it is needed: mostly nothing."""
    orders_of: dict[UUID | None, list[PostedOrder]] = defaultdict(list)
    for posted in orders:
        orders_of[posted.account_id].append(posted)
    everything: list[UUID] = []
    since: dict[UUID, datetime] = {}
    bounds: dict[UUID, list[datetime]] = {}
    for account_id, wanted in parts.items():
        account = books.account(account_id)
        needs = tier_needs(account, wanted.tiers_at, orders_of[account_id], rules.in_force(account.program_id))
        if needs.everything:
            everything.append(account_id)
        elif needs.since is not None:
            since[account_id] = needs.since
            happened = [instant.at for instant in wanted.tiers_at if instant.at is not None]
            ends = [*happened, *(each for each in (account.tier_until, account.counted_until) if each is not None)]
            programs = rules.between(account.program_id, min(ends), max(ends))
            bounds[account_id] = counting_bounds(account, happened, programs)
    for account_id, facts in load_tier_facts(connection, everything).items():
        books.put_tier_facts(account_id, *facts)
    # An account that never changed its tier has no history.
    books.put_history(load_tier_history(connection, [i for i in everything if books.account(i).tier_changes]))
    for account_id, counted in load_counted(connection, since, bounds).items():
        books.put_counted(account_id, since[account_id], counted)


def _load_keepings(
    connection: Connection,
    books: Books,
    parts: Mapping[UUID, AccountParts],
    rules: ProgramRegistry,
    orders: Iterable[PostedOrder],
) -> None:
    """Load what lets points last that inactivity ends, of programs where it does; of the others there is nothing."""
    program_ids = {i: books.account(i).program_id for i, wanted in parts.items() if wanted.keepings}
    alike = rules.same_expiries(program_ids.values())
    concerned = {program_id for program_id, *_ in alike}
    accounts = {i: program_id for i, program_id in program_ids.items() if program_id in concerned}
    found = load_keepings(connection, accounts, alike, [posted.key for posted in orders])
    for account_id in program_ids:
        books.put_keepings(account_id, found.get(account_id, ()))


def _load_lots(
    connection: Connection,
    books: Books,
    parts: Mapping[UUID, AccountParts],
    orders: Iterable[PostedOrder],
    as_of: datetime,
) -> None:
    own = [posted for posted in orders if posted.account_id is not None]
    orders_of: dict[UUID | None, list[PostedOrder]] = defaultdict(list)
    for posted in own:
        orders_of[posted.account_id].append(posted)
    to_take: dict[UUID, int] = {}
    everything = [account_id for account_id, wanted in parts.items() if wanted.lots is LotsWanted.ALL]
    for account_id, open_lots in load_all_open_lots(connection, everything).items():
        books.put_lots(account_id, open_lots, is_all_open=True)
    every = [account_id for account_id, wanted in parts.items() if wanted.lots is LotsWanted.EVERY]
    for account_id, lots_of in load_every_lot(connection, every).items():
        books.put_every_lot(account_id, lots_of)
    for account_id, wanted in parts.items():
        account = books.account(account_id)
        if wanted.lots is LotsWanted.TO_TAKE:
            to_take[account_id] = points_at_stake(books, account, orders_of[account_id]) + wanted.points_to_take
        elif wanted.lots is LotsWanted.IF_OWING and account.deficit and account.pending:
            to_take[account_id] = 0
    origins = [(posted.account_id, OriginKind.ORDER, *posted.key) for posted in own if posted.account_id is not None]
    lots = ask_lots(connection, origins, to_take, as_of).found
    for account_id, found in lots.items():
        books.put_lots(account_id, found, is_all_open=False)
    for account_id, points in to_take.items():
        books.put_lots_to_take(account_id, lots.get(account_id, ()), points, as_of)
    for posted in own:
        if posted.account_id is not None:
            books.put_lots_of_order(posted.account_id, posted.key)
