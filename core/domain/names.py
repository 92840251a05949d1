"""Whose accounts are: by what each is found, who may use it, and what is kept with it. A part of `Books`."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from core.domain.account_lots import NotLoadedError
from core.domain.decision import AccountChange
from core.domain.ledger import Account, AccountDetails
from core.domain.members import Member, OwnAccounts
from core.domain.reach import CustomerKey, ReferenceKey
from core.domain.reports import Reports


class Names(Reports):
    """Accounts, and what leads to each."""

    def __init__(self, *, are_whole: bool) -> None:
        """With `are_whole` what is absent does not exist."""
        super().__init__(are_whole=are_whole)
        self.accounts: dict[UUID, Account] = {}
        self._primaries: dict[CustomerKey, UUID | None] = {}
        self._members: dict[UUID, tuple[Member, ...]] = {}
        self._made: dict[CustomerKey, UUID | None] = {}
        self._survivors: dict[UUID, UUID] = {}  #: of accounts that need not be here themselves
        self._references: dict[ReferenceKey, UUID | None] = {}
        self._details: dict[UUID, AccountDetails] = {}
        self._persons: dict[str, list[UUID]] = {}
        self._opened: set[UUID] = set()  #: accounts that these books opened: all of them is here

    def put_primaries(self, primaries: Mapping[CustomerKey, UUID | None]) -> None:
        """Take in to which account each customer's orders come; None where there is none."""
        self._primaries.update(primaries)

    def put_members(self, members: Mapping[UUID, tuple[Member, ...]]) -> None:
        """Take in who may use these accounts beside their owners."""
        self._members.update(members)

    def put_own_accounts(self, found: Mapping[CustomerKey, OwnAccounts]) -> None:
        """Take in what decides where the orders of these customers come to."""
        for customer, (primary, survivor, made) in found.items():
            self._primaries.setdefault(customer, primary)
            self._made.setdefault(customer, made)
            if primary is not None and survivor is not None:
                self._survivors[primary] = survivor

    def put_persons(self, persons: Mapping[str, Iterable[UUID]]) -> None:
        """Take in which accounts these customers have, and may use."""
        self._persons.update((customer_id, sorted(account_ids)) for customer_id, account_ids in persons.items())

    def put_references(self, references: Mapping[ReferenceKey, UUID | None]) -> None:
        """Take in which account each reference leads to; None where it leads to none."""
        self._references.update(references)

    def put_accounts(self, accounts: Mapping[UUID, Account]) -> None:
        """Take in accounts."""
        self.accounts.update(accounts)

    def put_details(self, details: Mapping[UUID, AccountDetails]) -> None:
        """Take in the metadata and tags of accounts."""
        self._details.update(details)

    def account_of(self, program_id: str, customer_id: str) -> Account | None:
        """The account to which the customer's orders come, or the one it is merged into; None if there is none yet."""
        return self._survivor(self.account_itself((program_id, customer_id)))

    def primary_id(self, program_id: str, customer_id: str) -> UUID | None:
        """The id of that account, which itself need not be here."""
        return self._known(self._primaries, (program_id, customer_id))

    def survivor_id(self, account_id: UUID) -> UUID:
        """The account that this one is merged into, if it is; else this one."""
        if account_id not in self.accounts:
            return self._known(self._survivors, account_id)
        account = self._survivor(self.account(account_id))
        assert account is not None
        return account.account_id

    def made_id(self, program_id: str, customer_id: str) -> UUID | None:
        """The oldest account that a command made for the customer; None if there is none."""
        return self._known(self._made, (program_id, customer_id))

    def members(self, account: Account) -> tuple[Member, ...]:
        """Who may use an account beside its owner."""
        if account.account_id not in self._members and self._has_all_of(account):
            return ()
        return self._known(self._members, account.account_id)

    def accounts_of_person(self, customer_id: str) -> list[Account]:
        """All accounts that a customer has or may use, of whichever program, also merged ones, by their ids."""
        if self._are_whole:
            of_person = (each for each in self.accounts.values() if self._may_use(each, customer_id))
            return sorted(of_person, key=lambda account: account.account_id)
        return [self.account(account_id) for account_id in self._known(self._persons, customer_id)]

    def _may_use(self, account: Account, customer_id: str) -> bool:
        return account.customer_id == customer_id or any(
            member.customer_id == customer_id for member in self.members(account)
        )

    def account_by(self, reference: ReferenceKey) -> Account | None:
        """The account that a reference leads to, or the one that it is merged into; None if it leads to none."""
        return self._survivor(self.account_itself(reference))

    def account_itself(self, key: CustomerKey | ReferenceKey) -> Account | None:
        """The account that a customer or a reference names, even where it is merged into another."""
        account_id = self._known(self._references, key) if isinstance(key, ReferenceKey) else self.primary_id(*key)
        return None if account_id is None else self.account(account_id)

    def _survivor(self, account: Account | None) -> Account | None:
        """What comes to an account that is merged into another one comes to that one."""
        while account is not None and account.merged_into is not None:
            account = self.account(account.merged_into)
        return account

    def details(self, account: Account) -> AccountDetails:
        """The metadata and tags of an account."""
        if account.account_id not in self._details and self._has_all_of(account):
            return AccountDetails()
        return self._known(self._details, account.account_id)

    def account(self, account_id: UUID) -> Account:
        """An account by its id."""
        try:
            return self.accounts[account_id]
        except KeyError:
            raise NotLoadedError(f"account {account_id}") from None

    def _has_all_of(self, account: Account) -> bool:
        return self._are_whole or account.account_id in self._opened or account.account_id not in self.accounts

    def _keep_names(self, change: AccountChange) -> None:
        """Take in an account as a decision leaves it, and by what it is found."""
        account = change.account
        account_id = account.account_id
        self.accounts[account_id] = account
        if change.opened is not None:
            self._opened.add(account_id)
            owner = account.program_id, account.customer_id
            if account.own_account_id is not None and self._made.get(owner) is None:
                self._made[owner] = account_id
            if change.is_primary:
                self._primaries[owner] = account_id
        if change.details is not None:
            self._details[account_id] = change.details
        if change.members is not None:
            self._members[account_id] = change.members
        for customer_id, _, after in change.primaries:
            self._primaries[account.program_id, customer_id] = after
        if change.references or change.references_gone:
            self._references.update(dict.fromkeys(change.references_gone))
            self._references.update(dict.fromkeys(change.references, account_id))
