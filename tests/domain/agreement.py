"""Whether the books of the domain and the naive model say the same."""

from collections import Counter
from fractions import Fraction

from core.domain.books import Books
from core.domain.orders.posted import Budget, Usage
from core.domain.program import QualificationWindow, UsageKey
from core.domain.value.authorizations import REWARD
from core.domain.value.payments import PaymentKey, PaymentKind
from tests.domain.book import Book
from tests.domain.naive import NaiveAccount
from tests.domain.naive_commands import NaiveCommands
from tests.domain.naive_holds import issue_name
from tests.domain.naive_payments import NaivePayments
from tests.domain.naive_value import NaiveValue, PileState
from tests.domain.valid_programs import REWARDS
from tests.facts import SOURCE

BILLIONTH = Fraction(1, 10**9)


def check_agreement(book: Book, naive: NaiveAccount) -> None:
    """The book is as the naive model says."""
    account = book.account
    assert (account.balance, account.pending, account.deficit) == (naive.balance, naive.pending, naive.debt)
    assert account.reserved == naive.reserved
    assert account.lifetime_points == naive.lifetime
    assert account.orders_counted == sum(sale.is_counted for sale in naive.sales.values())
    ends: Counter[object] = Counter()
    for lot in book.lots.values():
        ends[lot.expires_at, lot.is_pending] += lot.points_remaining
    assert +ends == naive.ends
    check_tiers(book, naive)
    for order_id, posted in book.orders.items():
        sale = naive.sales[order_id]
        assert posted.tier_id == sale.tier
        assert posted.points_entitled == sale.earned().points
        assert (posted.points_excused, posted.points_shortfall) == (sale.excused, sale.shortfall)
    for (name, period), usage in book.usages.items():
        if ":" in name:
            continue  # of commands: see `check_holds`
        if period == "ever" and not name.startswith("p"):
            assert abs(Fraction(usage.carried) - naive.left_over(name)) < BILLIONTH  # thirds are kept to a trillionth
            continue
        limit = {4: "ever", 7: "per_month", 10: "day" if name.startswith("p") else "per_day"}[len(period)]
        assert (usage.points, usage.orders) == naive.given(name, limit, "" if period == "ever" else period)
    for name, budget in book.budgets.items():
        if ":" in name:
            continue
        assert (budget.points, budget.orders) == naive.given(name, "budget")


def check_lots(book: Book, naive: NaiveValue) -> None:
    """Every lot is of what the naive model says, holds as much of it, and has the same dates."""
    found: Counter[PileState] = Counter(
        (
            lot.origin.kind.value,
            lot.origin.id,
            lot.points_remaining,
            lot.points_expired,
            lot.available_at,
            lot.expires_at,
            lot.is_pending and lot.points_remaining > 0,
        )
        for lot in book.lots.values()
    )
    assert found == naive.pile_states()


def check_holds(book: Book, naive: NaiveCommands) -> None:
    """Every authorization is in the state that the naive model says, and holds as much; so is the account."""
    found = {
        issue_name(each.authorization_id) if each.kind == REWARD else each.authorization_id: (
            each.state.value,
            each.points_held,
        )
        for each in book.authorizations
    }
    assert found == {name: (hold.state, hold.points) for name, hold in naive.holds.items()}
    used = Counter({(name.removeprefix("limit:"), period): usage.points for (name, period), usage in book.usages.items()
                    if name.startswith("limit:")})  # fmt: skip
    assert used == naive.limits.used()
    for reward_id in REWARDS:
        usage = book.usages.get(UsageKey(f"reward:{reward_id}", "ever"), Usage())
        assert usage.orders == naive.has_reward(reward_id)
        given = sum(each.has_reward(reward_id, of_stock=True) for each in naive.all)
        assert book.budgets.get(f"reward:{reward_id}", Budget()).orders == given
    if naive.has_account:
        members = book.books.members(book.account)
        assert {each.customer_id: each.role.value for each in members} == naive.members
        assert book.account.status.value == naive.status


def check_payments(books: Books, payments: NaivePayments) -> None:
    """As much has come back of what paid orders as the naive model says."""
    for (kind, name), payment in payments.known.items():
        source = SOURCE if kind == PaymentKind.COMMAND else ""
        found = books.payment(PaymentKey(PaymentKind(kind), source, name))
        assert found is not None
        assert (found.points_due, found.points_excused) == (payment.due, payment.excused)
        assert found.points_shortfall == payment.shortfall
        assert found.order_id == (None if payment.told is None else payment.told.order.order_id)


def check_tiers(book: Book, naive: NaiveAccount) -> None:
    """The tiers that the book tells are those of all facts, at every instant."""
    account = book.account
    known = [instant for sale in naive.sales.values() if not sale.has_left for instant, _ in sale.counts().kept]
    if not known:
        return
    now = account.counted_until or max(known)
    tiers = naive.tiers(now)
    told = [(change.effective_at, change.tier_id) for change in book.tier_changes]
    for instant in {at for at, _ in (*told, *tiers.changes)}:
        assert [tiers.first, *(tier for at, tier in told if at <= instant)][-1] == tiers.at(instant)
    assert (account.tier_id, account.tier_until) == (tiers.tier, tiers.until)
    window = book.rules(now).at("test", now).program.qualification.window
    if account.qualifying_from is not None or window is QualificationWindow.LIFETIME:
        assert account.qualifying_points == tiers.counted(account.qualifying_from, now)
