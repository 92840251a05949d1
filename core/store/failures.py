"""Whose fault an error is, and where it came from."""

from pathlib import Path
from traceback import extract_tb

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core.errors import ChainKeyMissingError
from core.store.sessions import CalculatedTooLongError

_OUTAGES = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.ProgrammingError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
    ChainKeyMissingError,
)


def is_outage(error: BaseException) -> bool:
    """Whether the error is about the database or its schema rather than about one message, or about what we do with it.

    psycopg's OperationalError covers lost connections, deadlocks, timeouts and a full disk; a ProgrammingError means
    that this release and the schema do not fit, which no message can help. A server that is read-only, or has ended a
    session while this process was frozen, is an InternalError. SQLAlchemy's own errors are the pool's. A process
    that lacks the key of the books' hash chain can post no message at all.

    That a session was ended because we calculated for too long is no outage: done again, it would be ended again.
    """
    if isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError):
        return True
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, _OUTAGES) and not isinstance(cause, CalculatedTooLongError)


def frames(error: BaseException) -> list[str]:
    """Where an error came from, without what it says: the database would quote the row, and so the customer."""
    return [f"{frame.name} ({Path(frame.filename).name}:{frame.lineno})" for frame in extract_tb(error.__traceback__)]
