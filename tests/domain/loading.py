"""Books that hold what a reach asks for and nothing else: posting loads it from tables, here it is in whole books."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from core.domain.books import Books
from core.domain.expiry.lasting import condensed
from core.domain.ledger import Account
from core.domain.lots import in_spending_order, take
from core.domain.orders.clawback import points_at_stake, with_raising
from core.domain.orders.limits import budgets_of, usage_keys
from core.domain.orders.posted import PostedOrder, Qualifying
from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, Reach
from core.domain.tiers.counting import counting_bounds, tier_needs
from core.domain.tiers.history import CountedOrder, OrdersByTime

Limits = tuple[Program, datetime]


def load(
    whole: Books, reach: Reach, rules: ProgramRegistry, as_of: datetime, new_account_id: Callable[[], UUID]
) -> Books:
    """Take from whole books what `reach` asks for."""
    books = Books(new_account_id)
    orders = {key: whole.orders(key) for key in reach.orders}
    reach = with_raising(reach, rules, [posted for of_key in orders.values() for posted in of_key.values()])
    of_all = [(parts, posted) for key, parts in reach.orders.items() for posted in orders[key].values()]
    books.put_orders(orders, [posted for _, posted in of_all])
    _load_reports(books, whole, reach, [posted for _, posted in of_all])
    members = {key: whole.account_of(*key) for key in reach.customers}
    books.put_primaries({key: None if account is None else account.account_id for key, account in members.items()})

    wanted: list[tuple[Account | None, AccountParts]] = [(members[key], reach.customers[key]) for key in members]
    for key, parts in reach.orders.items():
        if parts.account is not None:
            owners = [members[owner] for owner in reach.owners.get(key, ())]
            # An order that comes to one of these accounts is held against its limits.
            of_key = [_limits_of(posted, rules) for posted in orders[key].values() if parts.limits]
            wanted += [(owner, parts.account.union(AccountParts(limits_of=tuple(of_key)))) for owner in owners]
    for parts, posted in of_all:
        if posted.account_id is None or parts.account is None:
            continue
        account = whole.account(posted.account_id)
        limits = (_limits_of(posted, rules),) if parts.limits else ()
        wanted.append((account, parts.account.union(AccountParts(limits_of=limits))))
        books.put_lots(account.account_id, whole.lots_of_order(account, posted.key), is_all_open=False)
        books.put_lots_of_order(account.account_id, posted.key)
    orders_of: dict[UUID | None, list[PostedOrder]] = {posted.account_id: [] for _, posted in of_all}
    for parts, posted in of_all:
        if parts.account is not None:
            orders_of[posted.account_id].append(posted)
    together: dict[UUID, AccountParts] = {}
    for owner, of_account in wanted:
        if owner is not None:
            together[owner.account_id] = together.get(owner.account_id, AccountParts()).union(of_account)
    for account_id, of_account in together.items():
        account = whole.account(account_id)
        _load_lots(
            books, whole, account, of_account.lots, orders_of.get(account_id, []), as_of, of_account.points_to_take
        )
        _load_account(books, whole, account, of_account, rules, orders_of.get(account_id, []))
    _load_budgets(books, whole, [limits for _, of_account in wanted for limits in of_account.limits_of])
    return books


def _limits_of(posted: PostedOrder, rules: ProgramRegistry) -> Limits:
    return rules.version(posted.program_id, posted.program_version).program, posted.order.occurred_at


def _load_reports(books: Books, whole: Books, reach: Reach, posted: Iterable[PostedOrder]) -> None:
    """Load the refunds and events of orders."""
    refunds = {key for key, parts in reach.orders.items() if parts.refunds}
    events = {key for key, parts in reach.orders.items() if parts.events}
    found = [each for order in posted if order.key in refunds for each in whole.refunds_of(order)]
    for key in reach.refunds:
        of_programs = [whole.refund(key, program_id) for program_id in ("test", "other")]
        books.put_refunds((), [key], ())
        found += [each for each in of_programs if each is not None and each not in found]
    books.put_refunds(refunds, (), found)
    of_orders = [event for order in posted if order.key in events for event in whole.order_events_of(order)]
    books.put_order_events(events, of_orders)
    for key in reach.returns:
        books.put_returns([key], whole.returns(key).values())
    for order in posted:
        if reach.orders[order.key].takes and order.account_id is not None:
            takes = whole.takes_of(whole.account(order.account_id), order.key)
            books.put_takes(order.account_id, order.key, takes)
            lots = [whole.lot(whole.account(order.account_id), take.lot_number) for take in takes]
            books.put_lots(order.account_id, lots, is_all_open=False)


def _load_lots(
    books: Books,
    whole: Books,
    account: Account,
    wanted: LotsWanted,
    orders: Iterable[PostedOrder],
    as_of: datetime,
    more: int,
) -> None:
    """Load lots of an account: to take from, no more than are needed to cover the points at stake, and `more`."""
    if wanted is LotsWanted.ALL:
        books.put_lots(account.account_id, whole.open_lots(account), is_all_open=True)
    if wanted is LotsWanted.TO_TAKE or (wanted is LotsWanted.IF_OWING and account.deficit and account.pending):
        points = points_at_stake(whole, account, orders) + more if wanted is LotsWanted.TO_TAKE else 0
        spendable = in_spending_order(lot for lot in whole.open_lots(account) if lot.is_spendable(as_of))
        numbers: set[int] = set()
        for line in {lot.expires_with for lot in spendable}:
            enough, _, _ = take([lot for lot in spendable if lot.expires_with == line], points)
            numbers |= {lot.lot_number for lot in enough}
        lots = [lot for lot in whole.open_lots(account) if lot.is_to_release(as_of) or lot.lot_number in numbers]
        books.put_lots_to_take(account.account_id, lots, points, as_of)


def _load_account(
    books: Books,
    whole: Books,
    account: Account,
    parts: AccountParts,
    rules: ProgramRegistry,
    known: Sequence[PostedOrder],
) -> None:
    account_id = account.account_id
    books.put_accounts({account_id: account})
    if parts.expiries:
        books.put_expiries(account_id, whole.expiries(account))
    if parts.keepings:
        books.put_keepings(account_id, condensed(whole.keepings(account, but=[posted.key for posted in known])))
    program_at = rules.in_force(account.program_id)
    needs = tier_needs(account, parts.tiers_at, known, program_at)
    if needs.everything:
        facts = whole.tier_facts(account)
        books.put_tier_facts(account_id, OrdersByTime(facts.orders), facts.holds)
        books.put_history({account_id: list(whole.history(account))})
    elif needs.since is not None:
        happened = [each.at for each in parts.tiers_at if each.at is not None]
        ends = [*happened, *(each for each in (account.tier_until, account.counted_until) if each is not None)]
        bounds = counting_bounds(account, happened, rules.between(account.program_id, min(ends), max(ends)))
        books.put_counted(account_id, needs.since, _added_up(whole.counted(account, needs.since), needs.since, bounds))
    keys = {key for program, instant in parts.limits_of for key in usage_keys(program, instant)}
    books.put_usages(account_id, whole.usages(account, keys))


def _added_up(counted: Iterable[CountedOrder], since: datetime, bounds: Sequence[datetime]) -> list[CountedOrder]:
    """What orders from `since` on count together between each two of the bounds."""
    found: dict[int, CountedOrder] = {}
    for order in counted:
        if order.occurred_at >= since:
            place = bisect_right(bounds, order.occurred_at)
            had = found.get(place, CountedOrder(order.occurred_at, Qualifying()))
            found[place] = CountedOrder(
                had.occurred_at,
                Qualifying(*map(sum, zip(had.qualifying, order.qualifying, strict=True))),
                Qualifying(*map(sum, zip(had.before_refunds, order.before_refunds, strict=True))),
            )
    return [*found.values()]


def _load_budgets(books: Books, whole: Books, limits: Iterable[Limits]) -> None:
    for program, instant in limits:
        names = [limit.name for limit in budgets_of(program, instant)]
        found = whole.budgets(program.program_id, names)
        books.put_budgets({(program.program_id, name): budget for name, budget in found.items()})
