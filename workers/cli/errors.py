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


class UnknownProgramError(UserError):
    """There is no program {program_id}; programs here: {known}."""


class UnknownVersionError(UserError):
    """Program {program_id} has no version {version}; it has 1 to {newest}."""


class ProgramRefusedError(UserError):
    """The program file {path} cannot be applied.

    {problems}
    """


class InstantError(UserError):
    """{option} {text} is no instant.

    Write a date and time with its offset from UTC, such as 2027-01-01T00:00:00+01:00.
    """


class WhichEventsError(UserError):
    """Say which events: --customer, --account or --since."""


class NoEventsError(UserError):
    """{file} holds no events. Write one JSON event, an array of events, or one event per line."""


class WhichLettersError(UserError):
    """Say which dead letters: their numbers, or --reason, or --all (one of the three)."""


class NoReasonYetError(UserError):
    """Waiting refunds are not parked, so they have no reason: leave --reason or --waiting out."""


class NotTextError(UserError):
    """An argument holds bytes that are not UTF-8."""


class WhyDroppedError(UserError):
    """Say why with --reason; it is kept beside the message."""


class NothingKeptError(UserError):
    """RabbitMQ keeps no past events.

    --from-beginning needs Redis or Valkey. A consumer that must miss nothing declares a durable queue of its own.
    """


class DatabaseFailedError(LoyaltyError):
    """The database {what}."""


class UnknownCustomerError(LoyaltyError):
    """There is no account of customer {customer_id}{where}.

    Customer ids are compared letter by letter, also upper and lower case. An account is opened when the customer's
    first order is posted: `loyalty status` shows what is still under way, `loyalty dead list` what is parked.
    """


class NoLetterError(LoyaltyError):
    """There is no message {inbox_id} in the inbox. `loyalty dead list` shows the numbers of dead letters."""
