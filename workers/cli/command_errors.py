"""Errors that only the command line knows. What they say goes to standard error; the kind decides the exit code."""

from core.errors import LoyaltyError, UserError


class NoDatabaseError(UserError):
    """No database is known here. Run `loyalty up` in this folder, or set LOYALTY_DATABASE_URL."""


class NoBrokerError(UserError):
    """No broker is known here. Run `loyalty up` in this folder, or set LOYALTY_BROKER_URL."""


class SettingsError(UserError):
    """These settings cannot be used.

    {problems}

    They come from environment variables and from the file .env of this folder.
    """


class ProgramRefusedError(UserError):
    """The program file {path} cannot be applied.

    {problems}
    """


class InstantError(UserError):
    """{option} {text} is not a time.

    Write a date and time with its offset from UTC, such as 2027-01-01T00:00:00+01:00.
    The year is from {first} to {last}.
    """


class StartError(UserError):
    """{option} {text} is not a time.

    Write a day such as 2027-01-01, which begins at midnight in {time_zone}, or a date and time with its offset from
    UTC, such as 2027-01-01T00:00:00+01:00. The year is from {first} to {last}.
    """


class FutureInstantError(UserError):
    """{option} {text} is in the future; only what was recorded by now can be asked for."""


class PresentOnlyError(UserError):
    """--format {told} tells of the present; leave out --as-of, or take --format native."""


class ForCustomerError(UserError):
    """--for customer answers for accounts as they are now: leave out --order and --as-of."""


class NothingHeldError(LoyaltyError):
    """Nothing is held of this customer."""


class WhichGrantError(UserError):
    """Give one alone: --may-erase, for workers, --read-only, for reading commands, or --views, for reporting tools."""


class CheckGrantsNothingError(UserError):
    """--check changes nothing, and so grants nothing: leave out --grant and --grant-read."""


class UnknownTierError(UserError):
    """Program {program_id} has no tier {tier_id}; its tiers: {known}."""


class WhichProgramError(UserError):
    """Customer {customer_id} has accounts in several programs ({known}). Say which with --program."""


class HoldUntilError(UserError):
    """--until {text} cannot be: {reason}."""


class WhyError(UserError):
    """Say why with --reason; it is kept with the change."""


class WhichLotsError(UserError):
    """Say which lots: --program, --customer, --expiring-before or --earned-by; --program alone for all of a program."""


class UntilWhenError(UserError):
    """Say until when: either --to, a last day such as 2027-12-31, or --days, how many days longer."""


class DayError(UserError):
    """{option} {text} is not a day; write one such as 2027-12-31, at most {years_max} years ahead."""


class EmptySpanError(UserError):
    """No order is between --from {since} and --until {until}: --until, now by default, must be later than --from."""


class PointValueError(UserError):
    """--point-value {text} is not an amount.

    Write what one point costs in major units of the program's currency, such as 0.01.
    """


class PageNotWrittenError(UserError):
    """The report {path} cannot be written: {reason}."""


class MonthError(UserError):
    """{option} {text} is not a month. Write one such as 2026-11; the year is from {first} to {last}."""


class MonthNotOverError(UserError):
    """{month} is not over in program {program_id}: what is owed now is told without --month."""


class JournalMonthError(UserError):
    """{month} is not over in program {program_id}: more will come to it, and its journal can be had afterwards."""


class OneProgramError(UserError):
    """A journal is of one program: say which with --program. Programs here: {known}."""


class UnknownPromotionError(UserError):
    """No version of a program here has a promotion {promotion_id}; promotions here: {known}."""


class MonthOrderError(UserError):
    """{option} {month} cannot be: it is later than the last month that is asked for, or than the present one."""


class OneOptionError(UserError):
    """{options} cannot be given together: choose one."""


class NoOrderToQuoteError(UserError):
    """{file} holds {found}; give the data of one order.completed event, or that event."""


class WhichEventsError(UserError):
    """Say which events: --customer, --account or --since."""


class SigningError(UserError):
    """These messages cannot be signed: {reason}."""


class NoEventsError(UserError):
    """{file} holds no events. Write one JSON event, an array of events, or one event per line."""


class WhichLettersError(UserError):
    """Say which dead letters: by their numbers, or by options such as --source, or (retry) --all; one of the three."""


class NoReasonYetError(UserError):
    """Waiting messages are not parked: --waiting lists all of them, without another option."""


class NotTextError(UserError):
    """An argument holds bytes that are not UTF-8."""


class SureToDropError(UserError):
    """{count} would be dropped for good. Look at them with `loyalty dead list`, then add --yes."""


class WhyDroppedError(UserError):
    """Say why with --reason; it is kept beside the message."""


class NothingKeptError(UserError):
    """RabbitMQ keeps no past events.

    --from-beginning needs Redis or Valkey. A consumer that must miss nothing declares a durable queue of its own.
    """


class ChainKeyNeededError(UserError):
    """{option} needs the key of the hash chain: set LOYALTY_CHAIN_KEY as it is for the workers."""


class HeadsFileError(UserError):
    """{path} cannot be used: {reason}. It must be a file that `loyalty verify --heads` wrote."""


class DatabaseFailedError(LoyaltyError):
    """The database {what}."""


class NotPermittedError(LoyaltyError):
    """The database role of LOYALTY_DATABASE_URL may not do this ({reason}).

    A role with `--read-only` may only read. Commands that change something take one that has what workers need:
    loyalty db grant ROLE
    """


class NoRoleNamedError(UserError):
    """The name of the database role is empty. Write the name of a role that exists."""


class NoOrderError(LoyaltyError):
    """The ledger has no order {order_id} of customer {customer_id}{where}.

    {known}Order ids are compared letter by letter. A guest's order has no customer.
    What is still under way: loyalty status.
    Whether it is parked: {looked_up}
    """


class NoLetterError(LoyaltyError):
    """There is no message {inbox_id} in the inbox. `loyalty dead list` shows the numbers of dead letters."""


class CommandNotDoneError(LoyaltyError):
    """Command {command_id} {verb} done: {detail} ({code}). What to do: {advice}."""


class WhichOfProgramsError(UserError):
    """Several programs are here ({known}). Say which with --program."""


class UnknownCommandError(LoyaltyError):
    """There is no command {command_id}{where}. Ids are compared letter by letter."""


class ImportNameError(UserError):
    """{name} {reason}, and an import needs a name for ever: say one with --name."""


class BadRowsFileError(UserError):
    """--bad-rows {path} cannot be made ({reason}). Name a file that is not there yet."""
