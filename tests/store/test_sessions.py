"""What every session of ours asks of the database."""

import pytest
from sqlalchemy import text

from core.store.engine import _SESSION_SETTINGS, create_database_engine
from tests.administration import SESSION_SETTINGS


def test_a_commit_is_on_disk_before_it_is_answered_whatever_the_database_is_set_to(
    own_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SESSION_SETTINGS.items():
        monkeypatch.setitem(_SESSION_SETTINGS, name, value)  # for this run they are others
    for _ in range(2):
        engine = create_database_engine(own_database_url)
        with engine.begin() as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
            database = engine.url.database
            connection.execute(text(f'ALTER DATABASE "{database}" SET synchronous_commit = off'))
        engine.dispose()
