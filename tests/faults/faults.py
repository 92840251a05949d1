"""The faults: what each breaks, for how long, and what it ends again as the outside world would.

Only causes are ended: a server that was killed is started again, a cut mended, a disk freed. Everything else must come
right by itself. Several faults may be under way at once.
"""

import random
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import psycopg

from tests.faults import crash_points
from tests.faults.network import Mode, Proxy
from tests.faults.processes import kill_all, send
from tests.faults.world import World

_VALKEY, _RABBITMQ = "valkey", "rabbitmq"
_BOTH = frozenset({_VALKEY, _RABBITMQ})
_OWN_DISK, _CLOCKS = "a disk of its own", "clocks of its own"

_HOUR_SECONDS = 3600
_PASSING_SECONDS_MAX = 5.0
_PID_SECONDS_MAX = 10.0
_RETURN_SECONDS_MAX = 90.0
_POLL_SECONDS = 0.02

#: Shorter than any timeout of the product; longer than those of the database; longer than the supervisor's patience.
_PAUSES_SECONDS = ((0.5, 3.0), (7.0, 11.0), (21.0, 24.0))
_PAUSE_WEIGHTS = (6, 5, 1)

Strike = Callable[[World, random.Random], None]


class Fault(NamedTuple):
    """One way to break a world.

    `strike` brings the fault about, holds it for a time drawn from the given generator, ends its cause and returns.
    `needs` is what a world may be without.
    """

    name: str
    strike: Strike
    brokers: frozenset[str] = _BOTH
    needs: str | None = None


def unavailable(fault: Fault, world: World) -> str | None:
    """Why a fault cannot be struck in this world, which was started; None if it can."""
    if world.broker_name not in fault.brokers:
        return f"there is no such thing on {world.broker_name}"
    if fault.needs == _OWN_DISK and not world.database.has_own_disk:
        return "the database has no disk of its own: mounting one in memory needs root"
    if fault.needs == _CLOCKS and world.roles_clock is None:
        return "the processes have no clock of their own: a C compiler (cc) and glibc are needed"
    return None


def _kill_role(role: str, world: World, chance: random.Random) -> None:
    """Once to three times, also while it is starting again."""
    for _ in range(chance.randint(1, 3)):
        kill_all(_pids_of(world, role, chance))
        time.sleep(chance.uniform(0.0, 1.5))


def _kill_all_roles(world: World, chance: random.Random) -> None:
    kill_all(world.pids().values())
    time.sleep(chance.uniform(0.0, 0.5))


def _crash(point: str, world: World, chance: random.Random) -> None:
    """At one of the next passings; without any, nothing."""
    world.arm(point, chance.randint(1, 6))
    deadline = time.monotonic() + _PASSING_SECONDS_MAX
    while crash_points.is_armed(world.crash_folder, point) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    crash_points.disarm(world.crash_folder, point)


def _freeze_role(role: str, world: World, chance: random.Random) -> None:
    pids = _pids_of(world, role, chance)
    send(pids, signal.SIGSTOP)
    _hold(chance)
    send(pids, signal.SIGCONT)


def _restart_roles_one_by_one(world: World, chance: random.Random) -> None:
    """TERM to each in turn, the next when the one before works again, as a deployment does it."""
    names = list(world.roles.names)
    chance.shuffle(names)
    for name in names:
        pid = world.pids().get(name)
        if pid is None:
            continue
        send([pid], signal.SIGTERM)
        _await(lambda name=name, pid=pid: _is_back(world, name, pid))  # type: ignore[misc]


def _start_roles_without_database(world: World, chance: random.Random) -> None:
    with world.database_power:
        world.roles.stop()
        world.database.stop()
        order = list(world.roles.names)
        chance.shuffle(order)
        world.roles.start(order)
        time.sleep(chance.uniform(1.0, 6.0))
        world.restart_database()


def _freeze_broker(world: World, chance: random.Random) -> None:
    world.broker.freeze()
    _hold(chance)
    world.broker.thaw()


def _freeze_database(world: World, chance: random.Random) -> None:
    world.database.freeze()
    _hold(chance)
    world.database.thaw()


def _kill_broker(world: World, chance: random.Random) -> None:
    with world.broker_power:
        world.broker.kill()
        time.sleep(chance.uniform(0.0, 3.0))
        world.restart_broker()


def _restart_broker(world: World, chance: random.Random) -> None:
    with world.broker_power:
        world.broker.stop()
        time.sleep(chance.uniform(0.0, 2.0))
        world.restart_broker()


def _kill_database(world: World, chance: random.Random) -> None:
    """With KILL to all of its processes, or QUIT to the first one, which is PostgreSQL's immediate shutdown."""
    with world.database_power:
        chance.choice([world.database.kill, world.database.quit])()
        time.sleep(chance.uniform(0.0, 3.0))
        world.restart_database()


def _restart_database(world: World, chance: random.Random) -> None:
    with world.database_power:
        world.database.stop()
        time.sleep(chance.uniform(0.0, 2.0))
        world.restart_database()


def _make_read_only(world: World, chance: random.Random) -> None:
    """By a setting: of the server, which sessions hear of, or of the database, which only new ones have, and keep."""
    with world.database_power:
        for_new_sessions = chance.random() < 0.5  # half of them each
        _await(_tried(partial(world.database.make_read_only, for_new_sessions=for_new_sessions)))
        _await(world.database.end_sessions)
        time.sleep(chance.uniform(1.0, 8.0))
        _await(_tried(world.database.make_writable))


def _fail_over(world: World, chance: random.Random) -> None:
    """To a standby that has every confirmed commit; it is reached before it is promoted, or only after."""
    with world.database_power:
        port = world.add_standby()
        _await(_tried(world.database.confirm_at_standby))
        chance.choice([world.database.kill, world.database.quit])()
        if chance.random() < 0.5:  # half of them each
            world.database_proxy.lead_to(port)
        time.sleep(chance.uniform(0.0, 4.0))
        world.database.kill()
        world.database.promote_standby()
        world.lead_to_primary()


def _lead_to_standby(world: World, chance: random.Random) -> None:
    """For a while, by mistake: what was opened then stays open to a server that takes no changes."""
    with world.database_power:
        world.database_proxy.lead_to(world.add_standby())
        world.database_proxy.reset()
        time.sleep(chance.uniform(1.0, 6.0))
        world.lead_to_primary()


def _limit_connections(world: World, chance: random.Random) -> None:
    with world.database_power:
        _await(_tried(partial(world.database.limit_connections, chance.randint(0, 4))))
        _await(world.database.end_sessions)
        time.sleep(chance.uniform(1.0, 8.0))
        _await(_tried(partial(world.database.limit_connections, -1)))


def _hold_rows(world: World, chance: random.Random) -> None:
    """Of a few customers, by a session that is not ours."""
    with suppress(psycopg.OperationalError), psycopg.connect(_plain(world.database_url)) as foreign:
        foreign.execute("SELECT 1 FROM accounts ORDER BY account_id LIMIT 3 FOR UPDATE")
        time.sleep(chance.uniform(2.0, 9.0))
        foreign.rollback()


def _kill_both_servers(world: World, chance: random.Random) -> None:
    with world.database_power, world.broker_power:
        world.database.kill()
        world.broker.kill()
        time.sleep(chance.uniform(0.0, 3.0))
        back = [world.restart_database, world.restart_broker]
        chance.shuffle(back)
        for restart in back:
            restart()


def _close_broker_connections(world: World, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        _await(world.broker.close_connections)
        time.sleep(chance.uniform(0.0, 0.5))


def _end_sessions(world: World, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        _await(world.database.end_sessions)
        time.sleep(chance.uniform(0.0, 0.5))


def _reset(name: str, world: World, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        _proxy(world, name).reset()
        time.sleep(chance.uniform(0.0, 0.8))


def _cut(mode: Mode, name: str, world: World, chance: random.Random) -> None:
    with world.network_weather:
        proxy = _proxy(world, name)
        proxy.set_mode(mode)
        _hold(chance)
        proxy.set_mode(Mode.PASS)


def _cut_both(world: World, chance: random.Random) -> None:
    with world.network_weather:
        for proxy in (world.database_proxy, world.broker_proxy):
            proxy.set_mode(chance.choice([Mode.HOLD, Mode.SWALLOW, Mode.REFUSE]))
        _hold(chance)
        for proxy in (world.database_proxy, world.broker_proxy):
            proxy.set_mode(Mode.PASS)


def _delay(name: str, world: World, chance: random.Random) -> None:
    proxy = _proxy(world, name)
    proxy.set_delay(chance.choice([0.02, 0.1, 0.4]))
    time.sleep(chance.uniform(2.0, 8.0))
    proxy.set_delay(0.0)


def _fill_disk(world: World, chance: random.Random) -> None:
    world.database.fill_disk()
    time.sleep(chance.uniform(2.0, 8.0))
    world.database.free_disk()


def _fill_broker(world: World, chance: random.Random) -> None:
    _await(world.broker.limit_memory)
    time.sleep(chance.uniform(2.0, 8.0))
    _await(world.broker.free_memory)


def _lose_nudges(world: World, chance: random.Random) -> None:
    until = time.monotonic() + chance.uniform(1.0, 4.0)
    while time.monotonic() < until:
        _await(world.broker.lose_nudges)
        time.sleep(chance.uniform(0.0, 0.2))


def _step_roles_clock(world: World, chance: random.Random) -> None:
    assert world.roles_clock is not None
    world.roles_clock.step(chance.choice([-_HOUR_SECONDS, _HOUR_SECONDS]))
    time.sleep(chance.uniform(2.0, 6.0))
    world.roles_clock.step(0)


def _step_database_clock(world: World, chance: random.Random) -> None:
    assert world.database_clock is not None
    world.database_clock.step(chance.choice([-_HOUR_SECONDS, _HOUR_SECONDS]))
    time.sleep(chance.uniform(2.0, 6.0))
    world.database_clock.step(0)


def _hold(chance: random.Random) -> None:
    ((low, high),) = chance.choices(_PAUSES_SECONDS, _PAUSE_WEIGHTS)
    time.sleep(chance.uniform(low, high))


def _proxy(world: World, name: str) -> Proxy:
    return world.database_proxy if name == "database" else world.broker_proxy


def _pids_of(world: World, role: str, chance: random.Random) -> list[int]:
    """One process of a role ("worker-child" is one, too), waiting for it to be there; none if it stays away."""
    deadline = time.monotonic() + _PID_SECONDS_MAX
    while time.monotonic() < deadline:
        pids = [pid for name, pid in sorted(world.pids().items()) if _is_of(role, name)]
        if pids:
            return [chance.choice(pids)]
        time.sleep(_POLL_SECONDS)
    return []


def _is_of(role: str, name: str) -> bool:
    """Whether "worker-child-0" is a "worker-child" and "intake-2" an "intake"."""
    return name == role or name.removeprefix(f"{role}-").isdigit()


def _is_back(world: World, name: str, old_pid: int) -> bool:
    pid = world.pids().get(name)
    return pid is not None and pid != old_pid and world.roles.hearts()[name]


def _plain(database_url: str) -> str:
    """Without the name of our driver."""
    return database_url.replace("postgresql+psycopg://", "postgresql://", 1)


def _tried(work: Callable[[], object]) -> Callable[[], bool]:
    """Whether the database answered."""

    def is_done() -> bool:
        try:
            work()
        except psycopg.OperationalError:
            return False
        return True

    return is_done


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _RETURN_SECONDS_MAX
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {_RETURN_SECONDS_MAX:.0f} s: {condition}")
        time.sleep(_POLL_SECONDS)


def _roles_faults() -> Iterable[Fault]:
    for role in ("intake", "worker", "worker-child", "beat"):
        yield Fault(f"{role}-killed", partial(_kill_role, role))
        yield Fault(f"{role}-frozen", partial(_freeze_role, role))
    for point in crash_points.CRASH_POINTS:
        yield Fault(f"crash-{point}", partial(_crash, point))
    yield Fault("all-roles-killed", _kill_all_roles)
    yield Fault("roles-restarted-one-by-one", _restart_roles_one_by_one)
    yield Fault("roles-started-without-database", _start_roles_without_database)
    yield Fault("roles-clock-stepped", _step_roles_clock, needs=_CLOCKS)


def _server_faults() -> Iterable[Fault]:
    yield Fault("broker-frozen", _freeze_broker)
    yield Fault("broker-killed", _kill_broker)
    yield Fault("broker-restarted", _restart_broker)
    yield Fault("broker-connections-closed", _close_broker_connections)
    yield Fault("broker-full", _fill_broker)
    yield Fault("nudges-lost", _lose_nudges)
    yield Fault("database-frozen", _freeze_database)
    yield Fault("database-killed", _kill_database)
    yield Fault("database-restarted", _restart_database)
    yield Fault("database-sessions-ended", _end_sessions)
    yield Fault("database-read-only", _make_read_only)
    yield Fault("database-failed-over", _fail_over)
    yield Fault("database-led-to-standby", _lead_to_standby)
    yield Fault("database-connections-limited", _limit_connections)
    yield Fault("database-rows-held", _hold_rows)
    yield Fault("database-disk-full", _fill_disk, needs=_OWN_DISK)
    yield Fault("database-clock-stepped", _step_database_clock, needs=_CLOCKS)
    yield Fault("both-servers-killed", _kill_both_servers)


def _network_faults() -> Iterable[Fault]:
    for name in ("database", "broker"):
        yield Fault(f"{name}-connections-reset", partial(_reset, name))
        yield Fault(f"{name}-cut", partial(_cut, Mode.HOLD, name))
        yield Fault(f"{name}-forgotten", partial(_cut, Mode.SWALLOW, name))
        yield Fault(f"{name}-refused", partial(_cut, Mode.REFUSE, name))
        yield Fault(f"{name}-slow", partial(_delay, name))
    yield Fault("both-cut", _cut_both)


FAULTS: tuple[Fault, ...] = (*_roles_faults(), *_server_faults(), *_network_faults())
