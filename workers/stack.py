"""The whole worker on one machine: servers where none are named, and the roles under their supervisor."""

import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.exc import OperationalError

from config.settings import ROLE_NAMES, Settings
from core.store.engine import create_database_engine
from core.store.migrate import upgrade
from core.store.programs import load_registry
from workers.bootstrap import Addresses, checked_broker_url
from workers.brokers import refuse_server_mode
from workers.database_address import checked_database_url
from workers.embedded import EmbeddedServers
from workers.heartbeat import beat_heart
from workers.roles import await_database
from workers.supervisor import Role, Supervisor

#: How long a role may go without a sign of progress. Longer than every timeout inside it, so that it can help itself.
STALL_SECONDS = 90.0
#: How long a role may take to stop: a worker under load needs half a minute, its longest task a whole one.
STOP_SECONDS = 60.0


class Stack(NamedTuple):
    """Running servers."""

    addresses: Addresses
    embedded: EmbeddedServers


@contextmanager
def running_servers(settings: Settings, roles: Sequence[str] = ()) -> Iterator[Stack]:
    """Start the servers that the settings do not name, and stop them at the end.

    The embedded database is brought to this release's tables; one that the settings name is waited for, and must have
    them. `roles` are said to be alive meanwhile: to start them again would not bring the database back.
    """
    database_url = checked_database_url(settings.database_url.get_secret_value()) if settings.database_url else None
    broker_url = checked_broker_url(settings.broker_url.get_secret_value()) if settings.broker_url else None
    if broker_url is not None:
        refuse_server_mode(broker_url)
    servers = EmbeddedServers(settings.data_dir, postgres=database_url is None, valkey=broker_url is None)
    with servers:
        found = servers.addresses
        assert found is not None
        addresses = Addresses(database_url or found.database_url or "", broker_url or found.broker_url or "")
        engine = create_database_engine(addresses.database_url)
        try:
            if database_url is None:
                upgrade(engine)
            await_database(engine, partial(_beat_for, settings.data_dir, roles))
        finally:
            engine.dispose()
        yield Stack(addresses, servers)


def _beat_for(data_dir: Path, roles: Sequence[str]) -> None:
    for role in roles:
        file = data_dir / "heartbeats" / f"{role}.heartbeat"
        file.parent.mkdir(parents=True, exist_ok=True)
        beat_heart(str(file))


def has_programs(database_url: str) -> bool:
    """Whether any program was applied; without one every order is parked. True if the database has just gone."""
    engine = create_database_engine(database_url)
    try:
        with engine.connect() as connection:
            return bool(load_registry(connection).program_ids())
    except OperationalError:
        return True
    finally:
        engine.dispose()


def own_command() -> str:
    """Give what the reader of our texts types for `loyalty`: its name where the shell finds this one, else its path.

    Quoted for the shell, as far as it needs that.
    """
    program = Path(sys.argv[0])
    if program.name != "loyalty" or not program.is_file():
        return shlex.join([sys.executable, "-m", "workers"])
    found = shutil.which("loyalty")
    if found is not None and Path(found).samefile(program):
        return "loyalty"
    program = program.absolute()
    return shlex.quote(str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program))


def supervisor_of(
    settings: Settings,
    addresses: Addresses,
    roles: Sequence[str] = ROLE_NAMES,
    *,
    log_folder: Path | None = None,
    stop_seconds: float = STOP_SECONDS,
    stall_seconds: float = STALL_SECONDS,
) -> Supervisor:
    """Make the supervisor of these roles, each a process of its own, which logs in the format of `settings`."""
    environment = {
        "LOYALTY_DATABASE_URL": addresses.database_url,
        "LOYALTY_BROKER_URL": addresses.broker_url,
        "LOYALTY_LOG_FORMAT": settings.log_format,
    }
    return Supervisor(
        [
            Role(name, (sys.executable, "-m", "workers", name), environment, stall_seconds, stop_seconds)
            for name in roles
        ],
        heartbeat_folder=settings.data_dir / "heartbeats",
        log_folder=log_folder,
    )
