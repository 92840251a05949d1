"""Who comes to an account as a member and who leaves it, and where their orders come to from then on."""

from collections.abc import Iterator

from core.domain.books import Books
from core.domain.ledger import Account
from core.domain.members import Member, PrimaryChange
from core.domain.outcomes import Rejected, RejectionCode


def primaries_after(
    books: Books, account: Account, before: tuple[Member, ...], after: tuple[Member, ...]
) -> Iterator[PrimaryChange]:
    """Whose orders come to the account, or no longer, once it has these members in place of those.

    Who has no account in the program lets their orders earn for this one; who has one keeps it. The orders of who
    leaves come to the oldest account of their own, if there is one; else their next order opens one.
    """
    customers_before, customers_after = ({member.customer_id for member in members} for members in (before, after))
    for customer_id in sorted(customers_before - customers_after):
        primary = books.primary_id(account.program_id, customer_id)
        if primary is not None and books.survivor_id(primary) == account.account_id:
            yield PrimaryChange(customer_id, primary, books.made_id(account.program_id, customer_id))
    for customer_id in sorted(customers_after - customers_before):
        if books.primary_id(account.program_id, customer_id) is None:
            yield PrimaryChange(customer_id, None, account.account_id)


def owner_listed() -> Rejected:
    """Why an account does not get members among whom its owner is."""
    return Rejected(
        RejectionCode.OWNER_LISTED,
        "data.members names the account's owner, who may do everything already",
        "leave the owner out of data.members",
    )
