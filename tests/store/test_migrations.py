"""Bringing a database to this release's tables."""

import subprocess
import sys
import uuid
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, make_url, text

from core.errors import DatabaseEncodingError, DatabaseNotReadyError, DatabaseTooNewError, TablesInUseError
from core.store import migrate
from core.store.engine import create_database_engine
from core.store.migrate import current_revision, head_revision, pending_migrations, require_current, upgrade
from core.store.tables import metadata
from tests.administration import administrate, drop_database
from tests.conftest import Servers
from tests.factories import order
from tests.shell import Shell
from tests.store.made_up_release import LAST_REVISION, REVISION, copy_last_migrations, copy_migrations

ROOT = Path(__file__).parents[2]
UPGRADE = """
import sys
from core.store.engine import create_database_engine
from core.store.migrate import upgrade
upgrade(create_database_engine(sys.argv[1]))
"""

# Everything about tables that alembic does not compare: checks, keys, index predicates, defaults, identities.
SHAPE = """
SELECT conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT concat_ws(' ', oid::regclass, reloptions) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
UNION ALL
SELECT concat_ws(' ', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
                 pg_get_expr(adbin, adrelid))
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
"""


@pytest.fixture
def empty_engine(empty_database_url: str) -> Any:
    engine = create_database_engine(empty_database_url)
    yield engine
    engine.dispose()


def shape(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        lines = connection.execute(text(SHAPE)).scalars()
        return sorted(line for line in lines if "alembic_version" not in line)


def test_an_empty_database_is_brought_to_this_release(empty_engine: Engine) -> None:
    assert current_revision(empty_engine) is None
    upgrade(empty_engine)
    assert current_revision(empty_engine) == head_revision()
    assert Shell(empty_engine).take(order()) == {"posted": 1}


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_name_is_refused_and_left_empty(servers: Servers, encoding: str) -> None:
    name = f"loyalty_{encoding.lower()}_{uuid.uuid4().hex[:8]}"
    made = f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    administrate(servers.database_url, made)
    engine = create_database_engine(
        make_url(servers.database_url).set(database=name).render_as_string(hide_password=False)
    )
    for attempt in (upgrade, require_current):
        with pytest.raises(DatabaseEncodingError, match=encoding):
            attempt(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None
    engine.dispose()
    drop_database(servers.database_url, name)


def test_the_files_of_the_migrations_are_named_by_their_age() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "core/store/migrations"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert [script.revision for script in scripts.walk_revisions()] == sorted(revisions(), reverse=True)
    assert scripts.get_current_head() == head_revision()


def revisions() -> list[str]:
    return [path.name.partition("_")[0] for path in (ROOT / "core/store/migrations/versions").glob("*.py")]


def test_a_second_upgrade_changes_nothing_and_keeps_the_data(own_engine: Engine) -> None:
    shell = Shell(own_engine)
    shell.take(order())
    before = shape(own_engine)
    upgrade(own_engine)
    assert shape(own_engine) == before
    assert (shell.balance(), shell.differences()) == (100, [])


def test_the_migrations_lead_to_the_tables_of_the_code(engine: Engine) -> None:
    options = {"compare_type": True, "compare_server_default": True}
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_the_migrations_lead_to_the_very_checks_keys_and_indexes_of_the_code(
    engine: Engine, empty_engine: Engine
) -> None:
    metadata.create_all(empty_engine)
    assert shape(engine) == shape(empty_engine)


def test_upgrades_at_the_same_time_wait_for_each_other(empty_database_url: str, empty_engine: Engine) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", UPGRADE, empty_database_url], stderr=subprocess.PIPE) for _ in range(3)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    require_current(empty_engine)


def test_work_is_refused_on_a_database_without_tables(empty_engine: Engine) -> None:
    with pytest.raises(DatabaseNotReadyError, match="none, wanted"):
        require_current(empty_engine)


def as_of_release(engine: Engine, revision: str, oldest_revision: str) -> None:
    """Make the tables those of another release, as far as a release can tell."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
        connection.execute(text("UPDATE schema_support SET oldest_revision = :oldest"), {"oldest": oldest_revision})


def bring_to(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "core/store/migrations"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_a_release_works_on_later_tables_that_say_that_they_suit_it(own_engine: Engine) -> None:
    as_of_release(own_engine, "9999", head_revision())
    require_current(own_engine)
    assert Shell(own_engine).take(order()) == {"posted": 1}
    upgrade(own_engine)
    assert current_revision(own_engine) == "9999"


def test_work_is_refused_on_later_tables_that_do_not_suit_it(own_engine: Engine) -> None:
    as_of_release(own_engine, "9999", "9998")
    for refused in (require_current, upgrade):
        with pytest.raises(DatabaseTooNewError, match="tables 9998 or later"):
            refused(own_engine)
    assert current_revision(own_engine) == "9999"


@pytest.fixture
def later_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is a later release, with one migration more."""
    monkeypatch.setattr(migrate, "_FOLDER", copy_migrations(tmp_path))


def test_work_is_refused_on_the_tables_of_an_earlier_release(empty_engine: Engine, later_release: None) -> None:
    bring_to(empty_engine, "0001")
    with pytest.raises(DatabaseNotReadyError) as refused:
        require_current(empty_engine)
    assert refused.value.data == {"found": "0001", "wanted": REVISION}


def test_this_release_works_on_the_tables_of_the_next(
    own_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as as_later_release:
        as_later_release.setattr(migrate, "_FOLDER", copy_migrations(tmp_path))
        upgrade(own_engine)
    assert current_revision(own_engine) == REVISION
    require_current(own_engine)
    shell = Shell(own_engine)
    assert (shell.take(order()), shell.differences()) == ({"posted": 1}, [])


def test_what_a_later_release_takes_away_suits_the_release_before_it_and_no_older_one(
    own_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, copy in (("next", copy_migrations), ("last", copy_last_migrations)):
        with monkeypatch.context() as as_later_release:
            as_later_release.setattr(migrate, "_FOLDER", copy(tmp_path / name))
            assert [each.revision for each in pending_migrations(current_revision(own_engine))] == [head_revision()]
            upgrade(own_engine)
    assert current_revision(own_engine) == LAST_REVISION
    with pytest.raises(DatabaseTooNewError, match=rf"tables {REVISION} or later"):
        require_current(own_engine)
    with monkeypatch.context() as as_next_release:
        as_next_release.setattr(migrate, "_FOLDER", tmp_path / "next" / "migrations")
        require_current(own_engine)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS_MAX", 0.2)
    monkeypatch.setattr(migrate, "_PAUSE_SECONDS", 0.1)


@pytest.mark.parametrize("table", ["inbox", "entries", "accounts"])
def test_a_migration_gives_way_to_who_holds_a_table_and_is_done_later(
    empty_engine: Engine, later_release: None, hurried: None, table: str
) -> None:
    bring_to(empty_engine, "0001")
    with empty_engine.begin() as holder:
        holder.execute(text(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE"))
        with pytest.raises(TablesInUseError, match="loyalty, process"):
            upgrade(empty_engine, tries_max=2)
        assert current_revision(empty_engine) == "0001"
        with empty_engine.begin() as other:  # nobody waits behind it
            other.execute(text(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE NOWAIT"))
    upgrade(empty_engine, tries_max=1)
    require_current(empty_engine)
    assert [line for line in shape(empty_engine) if line.startswith(f"{table} note ")]


def test_a_migration_is_tried_again_until_the_table_is_free(
    empty_engine: Engine, later_release: None, hurried: None
) -> None:
    bring_to(empty_engine, "0001")
    is_held = Event()

    def hold() -> None:
        with empty_engine.begin() as connection:
            connection.execute(text("LOCK TABLE entries IN ACCESS SHARE MODE"))
            is_held.set()
            connection.execute(text("SELECT pg_sleep(0.6)"))

    holder = Thread(target=hold)
    holder.start()
    is_held.wait()
    upgrade(empty_engine)
    holder.join()
    require_current(empty_engine)
