"""Where the database is, for whoever needs nothing else of the settings: commands that read would wait for the rest."""

from config.settings import Settings
from core.errors import DatabaseUrlError
from core.store.engine import normalized_url
from workers.servers.folder import read_addresses
from workers.urls import url_problem


def known_database_url(settings: Settings) -> str | None:
    """The database that the settings name, else the embedded one that runs in the data folder; None for neither.

    DatabaseUrlError for what can never work.
    """
    if settings.database_url is not None:
        return checked_database_url(settings.database_url.get_secret_value())
    embedded = read_addresses(settings.data_dir)
    return None if embedded is None else embedded.database_url


def checked_database_url(url: str) -> str:
    """Return it; DatabaseUrlError where no client could understand it as it was meant."""
    if not normalized_url(url).startswith("postgresql+psycopg://"):
        raise DatabaseUrlError(reason="it does not begin with postgresql://")
    problem = url_problem(url)
    if problem is not None:
        raise DatabaseUrlError(reason=problem)
    return url
