"""Whose account a message is about: by a customer, or by a reference. One place, for orders and commands alike."""

from core.domain.ledger import Account
from core.domain.names import Names
from core.domain.reach import AccountParts, CustomerKey, Reach, ReferenceKey
from core.domain.value.commands import CUSTOMER, LINKED, Whom

#: Kinds of references that are of one program; the others are unique among all.
OF_PROGRAM = frozenset(LINKED)


def is_of_program(whom: Whom) -> bool:
    """Whether only a program makes it one account."""
    return whom.kind == CUSTOMER or whom.kind in OF_PROGRAM


def reference_key(whom: Whom, program_id: str = "") -> ReferenceKey:
    """The reference by which an account is found that is not named by its customer; a linked one is of one program."""
    return ReferenceKey(whom.kind, whom.id, program_id if whom.kind in OF_PROGRAM else "")


def key_of(whom: Whom, program_id: str) -> CustomerKey | ReferenceKey:
    """By what an account of this program is found."""
    return (program_id, whom.id) if whom.kind == CUSTOMER else reference_key(whom, program_id)


def account_reach(whom: Whom, program_id: str, parts: AccountParts) -> Reach:
    """These parts of the account."""
    if whom.kind == CUSTOMER:
        return Reach(customers={(program_id, whom.id): parts})
    return Reach(references={reference_key(whom, program_id): parts})


def account_found(names: Names, whom: Whom, program_id: str) -> Account | None:
    """The account, of whichever program where its reference is unique among all; None if there is none."""
    if whom.kind == CUSTOMER:
        return names.account_of(program_id, whom.id)
    return names.account_by(reference_key(whom, program_id))


def is_member(names: Names, account: Account, customer_id: str | None) -> bool:
    """Whether an order of this customer, which has come to the account by itself, has come as a member's order.

    The owner is no member, nor is who had an account that is merged into this one.
    """
    if customer_id is None or customer_id == account.customer_id:
        return False
    own = names.account_itself((account.program_id, customer_id))
    return own is not None and own.account_id == account.account_id


def field_of(whom: Whom) -> str:
    """The field that names it so."""
    return whom.kind if whom.kind in OF_PROGRAM else f"{whom.kind}_id"
